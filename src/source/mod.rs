//! Reading from disk: files as bytes, the files of a mailbox as one consistent set, large logs as a stream. Nothing
//! here writes, locks, or changes a timestamp.

mod bytes;
mod dir;
mod fileset;
mod generation;
mod guard;
mod meta;
mod named;
pub mod place;
mod stream;
mod tail;
mod time;
pub mod walk;
mod watch;

pub use crate::format::walk::{Hole, Passage, Place, StreamStep};
#[cfg(feature = "cli")]
pub(crate) use bytes::contents;
pub use bytes::{Bytes, Input, MmapPolicy, remember_rights};
pub use dir::{Dir, Entry};
pub use fileset::{Family, MailboxFiles, PathError, Role, Subject, recognise, with_suffix};
pub use generation::{Generation, Single, Snapshot};
pub use guard::{Panicked, guarded};
pub use meta::{Meta, NotRegular, Special, Stat};
pub use named::{open, read, text};
pub use place::{Name, Named, Signs};
pub use stream::{AtEnd, LogStream};
pub use tail::{Tail, lock_holder};
pub use time::{now, passed, wait};
pub use walk::{Found, Unit, Walk, WalkError, walk};
pub use watch::Watch;
