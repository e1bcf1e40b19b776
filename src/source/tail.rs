//! Whether somebody is writing to a file just now.

use std::fs::File;
use std::io;

use super::meta::{Meta, Stat};

/// A log that was written to this recently may still be in the middle of a write, seconds.
const YOUNG: i64 = 10;

/// What the end of a log means, where records stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The last record ends with the file.
    Whole,
    /// It does not, but somebody is writing: the bytes will be completed.
    BeingWritten,
    /// It does not, and nobody is: a released Dovecot will mark the log corrupted when it next locks it.
    Torn,
}

impl Tail {
    /// Finds out whether the damaged end of a file is being written: the file moves, somebody holds its lock, or it is
    /// younger than ten seconds at the time `now` (UNIX seconds). A file from the future is old: a clock that was wrong
    /// once must not make its damage invisible for years.
    pub(super) fn of_damaged(file: &File, read: &Stat, now: i64) -> Tail {
        let Ok(meta) = Meta::of(file) else { return Tail::Torn };
        let moves = (meta.stat.size, meta.stat.mtime) != (read.size, read.mtime);
        let is_young = (0..YOUNG).contains(&now.saturating_sub(meta.stat.mtime.0));
        let is_locked = || lock_holder(file).is_ok_and(|holder| holder.is_some());
        if moves || is_young || is_locked() { Tail::BeingWritten } else { Tail::Torn }
    }
}

/// The process that holds a POSIX write lock on a file, if any. Asking takes no lock.
///
/// # Errors
/// As fcntl(2).
pub fn lock_holder(file: &File) -> io::Result<Option<i32>> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    let question =
        Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let holder = fcntl_getlk(file, &question)?;
    Ok(holder.map(|lock| lock.pid.map_or(0, |pid| pid.as_raw_nonzero().get())))
}
