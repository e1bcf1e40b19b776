//! The one error of the decoders: where, what, what was needed, what was there.

use std::borrow::Cow;

use super::FileKind;

/// Bytes that do not mean what the format says they must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} offset {at}: {what}: need {need}, found {have}")]
pub struct DecodeError {
    /// The kind of file being read.
    pub kind: FileKind,
    /// Absolute byte offset in that file.
    pub at: u64,
    /// The field or rule, in Dovecot's terms.
    pub what: Cow<'static, str>,
    /// What the rule asks for.
    pub need: Cow<'static, str>,
    /// What the bytes say.
    pub have: Cow<'static, str>,
}

/// How many problems of one file are told apart; a damaged one can have as many as it has bytes.
pub const MAX_PROBLEMS: usize = 1000;

/// Adds to a list of problems that does not grow with the damage: the last entry stands for all that are not listed.
pub fn note(problems: &mut Vec<DecodeError>, more: impl IntoIterator<Item = DecodeError>) {
    for problem in more {
        match problems.len().cmp(&MAX_PROBLEMS) {
            std::cmp::Ordering::Less => problems.push(problem),
            std::cmp::Ordering::Equal => problems.push(DecodeError::new(
                problem.kind,
                problem.at,
                "more problems from here on",
                format!("at most {MAX_PROBLEMS}"),
                "more, which are not listed",
            )),
            std::cmp::Ordering::Greater => return,
        }
    }
}

impl DecodeError {
    /// Builds an error; the three texts are `&'static str` or `String`.
    pub fn new(
        kind: FileKind,
        at: u64,
        what: impl Into<Cow<'static, str>>,
        need: impl Into<Cow<'static, str>>,
        have: impl Into<Cow<'static, str>>,
    ) -> Self {
        DecodeError { kind, at, what: what.into(), need: need.into(), have: have.into() }
    }
}
