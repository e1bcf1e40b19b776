//! What a mailbox *is*: owned state, no I/O. [`Mailbox`] is the map Dovecot keeps in memory, [`apply`] gives a log
//! record its one meaning, [`chain`] puts the log files in order, [`replay`] reads them onto a state.

pub mod apply;
pub mod chain;
pub mod diff;
pub mod ext;
pub mod ids;
mod keywords;
pub mod list;
pub mod mailbox;
pub mod qresync;
pub mod reach;
pub mod replay;
pub mod session;
pub mod sync;
pub mod uidset;

pub use chain::{Chain, ChainFile, Lost};
pub use list::MailboxList;
pub use mailbox::{Extension, Mailbox};
pub use replay::{Replayed, Until};
pub use sync::{Ignored, IgnoredKind, SyncError, SyncKind};
pub use uidset::UidSet;

/// A position in the logs: file number and byte offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPos {
    /// `file_seq` of the log.
    pub seq: u32,
    /// Byte offset in it.
    pub offset: u64,
}

impl std::fmt::Display for LogPos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.offset)
    }
}
