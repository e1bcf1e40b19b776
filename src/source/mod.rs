//! Reading from disk: files as bytes, the files of a mailbox as one consistent set, large logs as a stream. Nothing
//! here writes, locks, or changes a timestamp.

mod bytes;
mod dir;
mod fileset;
mod generation;
mod guard;
pub mod place;
mod stream;
mod time;
pub mod walk;
mod watch;

pub use crate::format::walk::{Hole, Passage, Place, StreamStep};
#[cfg(feature = "cli")]
pub(crate) use bytes::contents;
pub use bytes::{Bytes, Input, MmapPolicy, Stat, open, read, remember_rights};
pub use dir::{Dir, Entry, Meta, NotRegular, Special};
pub use fileset::{Family, MailboxFiles, PathError, Role, Subject, recognise, with_suffix};
pub use generation::{Generation, Single, Snapshot, Tail, lock_holder};
pub use guard::{Panicked, guarded};
pub use place::{Name, Named, Signs};
pub use stream::{AtEnd, LogStream};
pub use time::{now, passed};
pub use walk::{Found, Unit, Walk, WalkError, walk};
pub use watch::Watch;
