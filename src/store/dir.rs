//! Changing the names in an open directory. Every name is of one part, and no link is followed.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, linkat, openat, renameat, renameat_with, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::source::Dir;

/// Creates a file, of mode 0600, that can be written and read back. The name must be free.
///
/// # Errors
/// As open(2).
pub fn create(dir: &Dir, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(retry_on_intr(|| openat(dir, name, flags, Mode::RUSR | Mode::WUSR))?))
}

/// Removes a file, or an empty directory in its place; that there is none is fine.
///
/// # Errors
/// As unlink(2) and rmdir(2).
pub fn remove(dir: &Dir, name: &[u8]) -> io::Result<()> {
    match retry_on_intr(|| unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Ok(retry_on_intr(|| unlinkat(dir, name, AtFlags::REMOVEDIR))?),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file another name, over whatever has that name.
///
/// # Errors
/// As rename(2).
pub fn rename(dir: &Dir, from: &[u8], to: &[u8]) -> io::Result<()> {
    Ok(retry_on_intr(|| renameat(dir, from, dir, to))?)
}

/// Gives a file another name, which must be free.
///
/// # Errors
/// As renameat2(2); `EEXIST` when the name is taken.
pub fn rename_new(dir: &Dir, from: &[u8], to: &[u8]) -> io::Result<()> {
    match retry_on_intr(|| renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE)) {
        // A file system without it, such as NFS: a link does not replace anything either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            link(dir, from, to)?;
            remove(dir, from)
        }
        other => Ok(other?),
    }
}

/// Gives a file a second name, which must be free.
///
/// # Errors
/// As link(2).
pub fn link(dir: &Dir, from: &[u8], to: &[u8]) -> io::Result<()> {
    Ok(retry_on_intr(|| linkat(dir, from, dir, to, AtFlags::empty()))?)
}

/// Exchanges two files, at one stroke where the file system can do that; else `a` always leads to one of the two.
///
/// # Errors
/// As renameat2(2), link(2) and rename(2); both names then lead where they led before.
pub fn exchange(dir: &Dir, a: &[u8], b: &[u8]) -> io::Result<()> {
    match retry_on_intr(|| renameat_with(dir, a, dir, b, RenameFlags::EXCHANGE)) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let kept = [a, b".old.tmp"].concat();
            remove(dir, &kept)?;
            link(dir, a, &kept)?;
            rename(dir, b, a).inspect_err(|_| drop(remove(dir, &kept)))?;
            rename(dir, &kept, b).or_else(|error| {
                link(dir, a, b)?;
                rename(dir, &kept, a).and(Err(error))
            })
        }
        other => Ok(other?),
    }
}

/// Puts the file `new` under `name`, at one stroke; the file that was there is kept under the name that `new` had.
///
/// # Errors
/// As renameat2(2).
pub fn replace(dir: &Dir, new: &[u8], name: &[u8]) -> io::Result<()> {
    match retry_on_intr(|| renameat_with(dir, new, dir, name, RenameFlags::EXCHANGE)) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let kept = [name, b".old.tmp"].concat();
            remove(dir, &kept)?;
            link(dir, name, &kept)?;
            rename(dir, new, name)?;
            rename(dir, &kept, new).or_else(|error| rename(dir, &kept, name).and(Err(error)))
        }
        other => Ok(other?),
    }
}

/// Makes what happened to the names last.
///
/// # Errors
/// As open(2) and fsync(2).
pub fn sync(dir: &Dir) -> io::Result<()> {
    let fd = readable(dir)?;
    Ok(retry_on_intr(|| fsync(&fd))?)
}

/// The same directory, for what asks for more than names: listing, fsync(2), flock(2), extended attributes.
///
/// # Errors
/// As open(2).
pub fn readable(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| openat(dir, ".", flags, Mode::empty()))?)
}
