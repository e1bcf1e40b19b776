//! Reading from disk: files as bytes, the files of a mailbox as one consistent set, large logs as a stream. Nothing here
//! writes, locks, or changes a timestamp.

mod bytes;
mod files;
mod stream;

pub use bytes::{Bytes, Input, MmapPolicy, Stat, open, read};
pub use files::{Family, MailboxFiles, PathError, Role, Snapshot, TailState, is_locked, recognise, tail_state};
pub use stream::{LogStream, StreamStep};
