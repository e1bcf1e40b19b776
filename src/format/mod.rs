//! The on-disk formats: `&[u8]` to borrowed views, and back. Pure: no file system, no clap, no printing, and nothing is
//! allocated from a count that the bytes could not hold. Decoding is lenient; judging what was decoded is the work of
//! the layers above.

#![deny(clippy::cast_possible_truncation, clippy::unwrap_used)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod cache;
pub mod changes;
pub mod disk;
pub mod endian;
pub mod ext;
pub mod flaw;
pub mod index;
pub mod intros;
pub mod log;
pub mod mailbox_log;
pub mod mime;
pub mod mutf7;
pub mod packed;
pub mod record;
pub mod spans;
pub mod thread;
pub mod unseen;
pub mod walk;

pub use disk::{Disk, Field, Value};
pub use endian::Endian;
pub use flaw::{Flaw, FlawKind};

/// What a file is, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `dovecot.index` and its siblings (list, map, private, backup).
    Index,
    /// `dovecot.index.log`, `.log.2`.
    Log,
    /// `dovecot.index.cache`.
    Cache,
    /// `dovecot.index.thread`.
    Thread,
    /// `dovecot.mailbox.log`.
    MailboxLog,
}

impl FileKind {
    /// All kinds, in the order in which they are tried.
    pub const ALL: [FileKind; 5] =
        [FileKind::Index, FileKind::Log, FileKind::Cache, FileKind::Thread, FileKind::MailboxLog];

    /// The word used in JSON and by `--kind`.
    pub const fn name(self) -> &'static str {
        match self {
            FileKind::Index => "index",
            FileKind::Log => "log",
            FileKind::Cache => "cache",
            FileKind::Thread => "thread",
            FileKind::MailboxLog => "mailbox-log",
        }
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Rounds up to a multiple of 4, as log payloads and cache fields are padded.
#[inline]
pub(crate) const fn align4(n: usize) -> usize {
    n.saturating_add(3) & !3
}

/// Rounds up to a multiple of 8, as extension headers are padded.
#[inline]
pub(crate) const fn align8(n: usize) -> usize {
    n.saturating_add(7) & !7
}
