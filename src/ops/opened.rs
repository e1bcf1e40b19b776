//! A mailbox with the private flags of its user, as `qresync` and `modseq` ask it.

use std::path::Path;

use super::inspect::{self, Look};
use super::load::{self, Loaded};
use super::show::{self, ShowError};
use crate::check::{Finding, Severity};
use crate::format::record::flag;
use crate::model::replay::Until;
use crate::model::{Chain, Mailbox};
use crate::source::{MailboxFiles, MmapPolicy, Snapshot};
/// The files of a mailbox, read, with the user's own flags where they are kept apart.
#[derive(Debug)]
pub struct Opened {
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
        Ok(Opened { snapshot, private, problems, now: inspect::options().now })
    }

    /// The mailbox at the end of its logs.
    ///
    /// # Errors
    /// When the files are no index files.
    pub fn state<'s>(&'s self, path: &Path) -> Result<LoadedMailbox<'s>, ShowError> {
        let chain = load::live_chain(&self.snapshot, self.now);
        let loaded = show::load(path, &self.snapshot, &chain, Until::End)?;
        Ok(LoadedMailbox { chain, loaded, private: self.private.as_ref(), problems: &self.problems })
    }

    /// The mailbox as it was at a modseq, with its logs up to there.
    ///
    /// # Errors
    /// When the logs do not reach back to it.
    pub fn state_at<'s>(&'s self, path: &Path, modseq: u64) -> Result<LoadedMailbox<'s>, ShowError> {
        let mut chain = load::live_chain(&self.snapshot, self.now);
        if chain.head().is_none_or(|head| modseq >= head.end_modseq) {
            return self.state(path);
        }
        let loaded = show::load(path, &self.snapshot, &chain, Until::Modseq(modseq))?;
        chain.cut(loaded.replayed.position);
        Ok(LoadedMailbox { chain, loaded, private: self.private.as_ref(), problems: &self.problems })
    }
}

/// A mailbox with the logs it came from.
#[derive(Debug)]
pub struct LoadedMailbox<'s> {
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

impl LoadedMailbox<'_> {
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

/// Positions of messages with their sequence numbers.
pub fn numbered(mailbox: &Mailbox, wanted: &[usize]) -> Vec<(usize, u32)> {
    let mut wanted = wanted.iter().copied().peekable();
    let numbered = mailbox.positions().zip(1..);
    numbered.filter(|(i, _)| wanted.next_if_eq(i).is_some()).collect()
}

/// The IMAP names of flags and keywords, as a FETCH line has them.
pub(super) fn flag_names(message: &Fetched) -> Vec<String> {
    let system = flag::NAMES.iter().filter(|(bit, _)| message.flags & bit != 0).map(|(_, name)| (*name).to_owned());
    system.chain(message.keywords.iter().map(|name| String::from_utf8_lossy(name).into_owned())).collect()
}
