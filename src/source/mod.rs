//! Reading from disk: files as bytes, the files of a mailbox as one consistent set, large logs as a stream. Nothing here
//! writes, locks, or changes a timestamp.

mod bytes;
mod dir;
mod files;
mod guard;
pub mod place;
mod stream;
pub mod walk;
mod watch;

pub use bytes::{Bytes, Input, MmapPolicy, Stat, head, open, read, remember_rights};
pub use dir::{Dir, Entry, Meta, NotRegular, Special};
pub use files::{
    Family, MailboxFiles, PathError, Role, Snapshot, TailState, is_locked, lock_holder, recognise, tail_state,
    with_suffix,
};
pub use guard::{Panicked, guarded};
pub use place::{Name, Named, Signs};
pub use stream::{LogStream, StreamStep};
pub use walk::{Found, Unit, WalkError, walk};
pub use watch::Watch;
