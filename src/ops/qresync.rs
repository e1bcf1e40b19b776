//! `idx qresync`: what a server must answer to a client that comes back, and where a recorded session went wrong.

use std::io;
use std::path::{Path, PathBuf};

use super::opened::{LoadedMailbox, Opened};
use super::show::ShowError;
use super::versus::{self, Deviation};
use crate::model::UidSet;
use crate::model::qresync::{Answer, Question, answer};
use crate::model::session::Session;

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.qresync/1";

/// What to answer, and what to hold against the answer.
#[derive(Clone, Debug)]
pub struct Options {
    /// The UIDVALIDITY the client knows; as the transcript says when `None`.
    pub uid_validity: Option<u32>,
    /// The modseq the client knows; as the transcript says when `None`.
    pub modseq: Option<u64>,
    /// The UIDs it knows.
    pub known: Option<UidSet>,
    /// Sequence match data.
    pub sample: Option<crate::model::qresync::Sample>,
    /// A recorded session.
    pub versus: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QresyncError {
    /// The mailbox cannot be read.
    #[error(transparent)]
    Mailbox(#[from] ShowError),
    /// The transcript cannot be read.
    #[error("{}: {source}", path.display())]
    Transcript {
        /// The transcript.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The transcript has nothing to compare.
    #[error("{}: no SELECT or EXAMINE with QRESYNC in this session", .0.display())]
    NoSelect(PathBuf),
}

/// An answer with all that is needed to print it.
#[derive(Debug)]
pub struct QresyncOutcome<'s> {
    /// The mailbox.
    pub state: LoadedMailbox<'s>,
    /// What was asked.
    pub question: Question,
    /// What a server answers.
    pub answer: Answer,
    /// What a recorded session has otherwise; `None` when there is no transcript.
    pub differences: Option<Vec<Deviation>>,
    /// Lines of it whose answer cannot be judged, and why.
    pub not_judged: Vec<(usize, String)>,
}

/// Answers the question, and compares a recorded session with the answer.
///
/// # Errors
/// When the mailbox or the transcript cannot be read, or has nothing to compare.
pub fn run<'s>(path: &Path, opened: &'s Opened, options: &Options) -> Result<QresyncOutcome<'s>, QresyncError> {
    let now = opened.state(path)?;
    let uid_validity = now.loaded.replayed.mailbox.header.uid_validity;
    let sessions = match &options.versus {
        None => Vec::new(),
        Some(file) => {
            let bytes =
                crate::source::text(file).map_err(|source| QresyncError::Transcript { path: file.clone(), source })?;
            Session::find(&bytes, options.uid_validity.unwrap_or(uid_validity))
        }
    };
    let said = sessions.last().map(|session| &session.question);
    if let (Some(file), None) = (&options.versus, said) {
        return Err(QresyncError::NoSelect(file.clone()));
    }
    let question = Question {
        uid_validity: options.uid_validity.or(said.map(|q| q.uid_validity)).unwrap_or(0),
        modseq: options.modseq.or(said.map(|q| q.modseq)).unwrap_or(0),
        known: options.known.clone().or_else(|| said.and_then(|q| q.known.clone())),
        sample: options.sample.clone().or_else(|| said.and_then(|q| q.sample.clone())),
    };
    let (mut differences, mut not_judged, mut gone) = (Vec::new(), Vec::new(), UidSet::new());
    let mut state = now;
    for (i, session) in sessions.iter().enumerate() {
        // What came later is nobody's fault.
        let then = match session.at_modseq() {
            Some(modseq) if modseq < state.loaded.replayed.highest_modseq() || i > 0 => opened.state_at(path, modseq),
            _ => opened.state(path),
        };
        state = match then {
            Ok(then) => then,
            Err(error) => {
                not_judged.push((session.line, error.to_string()));
                opened.state(path)?
            }
        };
        let asked = if i + 1 == sessions.len() { &question } else { &session.question };
        let right = answer(&state.chain, &state.loaded.replayed, state.loaded.lost.as_ref(), asked);
        let told = session.vanished.iter().flat_map(|(_, set)| set.ranges()).copied();
        gone = gone.ranges().iter().copied().chain(told).collect();
        if not_judged.last().is_none_or(|(line, _)| *line != session.line) {
            differences.extend(versus::compare(session, &state, asked, &right, &gone));
        }
    }
    let answer = answer(&state.chain, &state.loaded.replayed, state.loaded.lost.as_ref(), &question);
    let differences = options.versus.as_ref().map(|_| differences);
    Ok(QresyncOutcome { state, question, answer, differences, not_judged })
}
