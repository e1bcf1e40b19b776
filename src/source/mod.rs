//! Reading from disk: files as bytes, the files of a mailbox as one consistent set, large logs as a stream. Nothing
//! here writes, locks, or changes a timestamp.

mod bytes;
mod dir;
mod fileset;
mod generation;
mod guard;
pub mod place;
mod stream;
pub mod walk;
mod watch;

#[cfg(feature = "cli")]
pub(crate) use bytes::contents;
pub use bytes::{Bytes, Input, MmapPolicy, Stat, head, open, read, remember_rights};
pub use dir::{Dir, Entry, Meta, NotRegular, Special};
pub use fileset::{Family, MailboxFiles, PathError, Role, Subject, recognise, with_suffix};
pub use generation::{Generation, Snapshot, Tail, Tail as TailState, is_locked, lock_holder, tail_state};
pub use guard::{Panicked, guarded};
pub use place::{Name, Named, Signs};
pub use stream::{LogStream, StreamStep};
pub use walk::{Found, Unit, Walk, WalkError, walk};
pub use watch::Watch;
