//! `idx qresync`: what a server must answer to a client that comes back, and where a recorded session went wrong.

use std::io;
use std::path::{Path, PathBuf};

use super::inspect::Look;
use super::load::{self, Loaded};
use super::show::{self, ShowError};
use super::versus::{self, Difference};
use crate::check::{Finding, Severity};
use crate::format::record::flag;
use crate::model::qresync::{Answer, Question, answer};
use crate::model::replay::Until;
use crate::model::session::Session;
use crate::model::{Chain, Mailbox, UidSet};
use crate::source::{MailboxFiles, MmapPolicy, Snapshot};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.qresync/1";

/// The files of a mailbox, read, with the user's own flags where they are kept apart.
#[derive(Debug)]
pub struct Opened {
    /// The files' names.
    pub files: MailboxFiles,
    /// The files' bytes.
    pub snapshot: Snapshot,
    /// The user's private index, where there is one.
    pub private: Option<Mailbox>,
    problems: Vec<Finding>,
    /// When they were read, UNIX seconds.
    now: i64,
}

impl Opened {
    /// Reads a mailbox.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn read(path: &Path, pvt: Option<&Path>, mmap: MmapPolicy) -> Result<Opened, ShowError> {
        let files = MailboxFiles::locate(path)?;
        let Look { snapshot, findings: mut problems, .. } = show::look(&files, mmap)?;
        let private = match show::private_files(&files, pvt) {
            Some(files) => {
                let Look { snapshot, findings, .. } = show::look(&files, mmap)?;
                problems.extend(findings);
                let loaded = show::load(&files.index, &snapshot, &load::chain(&snapshot), Until::End)?;
                Some(loaded.replayed.mailbox)
            }
            None => None,
        };
        problems.retain(|finding| finding.severity > Severity::Info);
        Ok(Opened { files, snapshot, private, problems, now: crate::source::now() })
    }

    /// The mailbox at the end of its logs.
    ///
    /// # Errors
    /// When the files are no index files.
    pub fn state<'s>(&'s self, path: &Path) -> Result<State<'s>, ShowError> {
        let chain = load::live_chain(&self.snapshot, self.now);
        let loaded = show::load(path, &self.snapshot, &chain, Until::End)?;
        Ok(State { chain, loaded, private: self.private.as_ref(), problems: &self.problems })
    }

    /// The mailbox as it was at a modseq, with its logs up to there.
    ///
    /// # Errors
    /// When the logs do not reach back to it.
    pub fn state_at<'s>(&'s self, path: &Path, modseq: u64) -> Result<State<'s>, ShowError> {
        let mut chain = load::live_chain(&self.snapshot, self.now);
        if chain.head().is_none_or(|head| modseq >= head.end_modseq) {
            return self.state(path);
        }
        let loaded = show::load(path, &self.snapshot, &chain, Until::Modseq(modseq))?;
        chain.cut(loaded.replayed.position);
        Ok(State { chain, loaded, private: self.private.as_ref(), problems: &self.problems })
    }
}

/// A mailbox with the logs it came from.
#[derive(Debug)]
pub struct State<'s> {
    /// Its logs.
    pub chain: Chain<'s>,
    /// Its state at their end.
    pub loaded: Loaded,
    /// The user's private index.
    pub private: Option<&'s Mailbox>,
    /// What is wrong with the files.
    pub problems: &'s [Finding],
}

/// A message as a FETCH line would describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its position, from 1.
    pub seq: u32,
    /// Its UID.
    pub uid: u32,
    /// Its system flags.
    pub flags: u8,
    /// Its keywords.
    pub keywords: Vec<Vec<u8>>,
    /// Its modseq.
    pub modseq: u64,
}

impl State<'_> {
    /// The message at position `i` of the mailbox; `seq` counts from 1.
    pub fn message(&self, i: usize, seq: u32) -> Fetched {
        let mailbox = &self.loaded.replayed.mailbox;
        let keywords = mailbox.keywords_at(i).map(<[u8]>::to_vec).collect();
        Fetched {
            seq,
            uid: mailbox.uid(i),
            flags: show::flags_of(mailbox, self.private, i),
            keywords,
            modseq: self.loaded.replayed.message_modseq(i),
        }
    }
}

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
    /// Directory of the private index; beside the shared one when `None`.
    pub pvt: Option<PathBuf>,
    /// When to map files.
    pub mmap: MmapPolicy,
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
pub struct Outcome<'s> {
    /// The mailbox.
    pub state: State<'s>,
    /// What was asked.
    pub question: Question,
    /// What a server answers.
    pub answer: Answer,
    /// What a recorded session has otherwise; `None` when there is no transcript.
    pub differences: Option<Vec<Difference>>,
    /// Lines of it whose answer cannot be judged, and why.
    pub not_judged: Vec<(usize, String)>,
}

/// Answers the question, and compares a recorded session with the answer.
///
/// # Errors
/// When the mailbox or the transcript cannot be read, or has nothing to compare.
pub fn run<'s>(path: &Path, opened: &'s Opened, options: &Options) -> Result<Outcome<'s>, QresyncError> {
    let now = opened.state(path)?;
    let uid_validity = now.loaded.replayed.mailbox.header.uid_validity;
    let sessions = match &options.versus {
        None => Vec::new(),
        Some(file) => {
            let bytes =
                std::fs::read(file).map_err(|source| QresyncError::Transcript { path: file.clone(), source })?;
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
    Ok(Outcome { state, question, answer, differences, not_judged })
}

/// Positions of messages with their sequence numbers.
pub fn numbered(mailbox: &Mailbox, wanted: &[usize]) -> Vec<(usize, u32)> {
    let mut wanted = wanted.iter().copied().peekable();
    let numbered = mailbox.positions().zip(1..);
    numbered.filter(|(i, _)| wanted.next_if_eq(i).is_some()).collect()
}

/// Every message the answer sends a FETCH line for.
pub fn fetched(outcome: &Outcome<'_>) -> Vec<Fetched> {
    let mailbox = &outcome.state.loaded.replayed.mailbox;
    numbered(mailbox, &outcome.answer.changed).into_iter().map(|(i, seq)| outcome.state.message(i, seq)).collect()
}

/// The IMAP names of flags and keywords, as a FETCH line has them.
pub(super) fn flag_names(message: &Fetched) -> Vec<String> {
    let system = flag::NAMES.iter().filter(|(bit, _)| message.flags & bit != 0).map(|(_, name)| (*name).to_owned());
    system.chain(message.keywords.iter().map(|name| String::from_utf8_lossy(name).into_owned())).collect()
}
