//! Replacing files of a mailbox so that at every moment the old or the new one is there: a temporary file in the same
//! directory, fsync, rename, fsync of the directory (`mail-index-write.c`, which leaves out the last step).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::source::with_suffix;

/// The extended attributes that say who may use a file: its POSIX ACL and its SELinux context.
const ACL: &str = "system.posix_acl_access";
const SELINUX: &str = "security.selinux";
/// Mode bits that a file is given: not set-user-ID and its like, which an index never has, but a forged undo file might.
const PERMISSIONS: u32 = 0o777;
/// Largest extended attribute of Linux.
const MAX_XATTR: usize = 1 << 16;

/// What a file is besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, UNIX seconds.
    pub mtime: i64,
    /// Its nanoseconds.
    pub mtime_nsec: i64,
    /// POSIX ACL beyond the permission bits, as the kernel codes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<u8>>,
    /// SELinux context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<Vec<u8>>,
}

impl Attributes {
    /// The attributes of the file at `path`.
    ///
    /// # Errors
    /// As stat(2) and getxattr(2).
    pub fn at(path: &Path) -> io::Result<Attributes> {
        let meta = std::fs::metadata(path)?;
        let xattr = |name| {
            let mut value = vec![0; MAX_XATTR];
            match rustix::io::retry_on_intr(|| rustix::fs::getxattr(path, name, &mut value[..])) {
                Ok(len) => {
                    value.truncate(len);
                    Ok(Some(value))
                }
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
                Err(error) => Err(io::Error::from(error)),
            }
        };
        Ok(Attributes {
            mode: meta.mode() & PERMISSIONS,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: meta.mtime(),
            mtime_nsec: meta.mtime_nsec(),
            acl: xattr(ACL)?,
            selinux: xattr(SELINUX)?,
        })
    }
}

/// The name under which a file is written before it takes its place. That of the index is Dovecot's own: a leftover is
/// removed by whoever writes the index next, under the same lock.
pub fn temporary(path: &Path) -> PathBuf {
    with_suffix(path, ".tmp")
}

/// Writes a file whole: under a temporary name, synced, with owner and mode, then renamed. `keep_mtime` also restores the
/// modification time.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2); the temporary file is then removed.
pub fn write_file(
    path: &Path,
    attributes: &Attributes,
    keep_mtime: bool,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StoreError> {
    let temp = temporary(path);
    stage(&temp, attributes, keep_mtime, fill)?;
    rename(&temp, path).inspect_err(|_| remove_quietly(&temp))?;
    sync_dir(path)
}

/// The first half of [`write_file`]: the synced temporary file.
///
/// # Errors
/// As open(2), write(2) and fsync(2); the temporary file is then removed.
pub fn stage(
    temp: &Path,
    attributes: &Attributes,
    keep_mtime: bool,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StoreError> {
    let fail = |what: &'static str| move |source: io::Error| StoreError::new(temp, what, source);
    match std::fs::remove_file(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("cannot remove")(error)),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::io::retry_on_intr(|| rustix::fs::open(temp, flags, Mode::RUSR | Mode::WUSR))
        .map_err(|error| fail("cannot create")(error.into()))?;
    let written = write_staged(&File::from(file), attributes, keep_mtime, fill);
    written.map_err(fail("cannot write")).inspect_err(|_| remove_quietly(temp))
}

fn write_staged(
    file: &File,
    attributes: &Attributes,
    keep_mtime: bool,
    fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    give(file, attributes)?;
    if keep_mtime {
        set_mtime(file, attributes)?;
    }
    file.sync_all()
}

/// Owner first, mode last: chown may clear bits, and a directory may have given the file an ACL.
fn give(file: &File, attributes: &Attributes) -> io::Result<()> {
    let have = file.metadata()?;
    if (have.uid(), have.gid()) != (attributes.uid, attributes.gid) {
        let uid = (have.uid() != attributes.uid).then(|| Uid::from_raw(attributes.uid));
        let gid = (have.gid() != attributes.gid).then(|| Gid::from_raw(attributes.gid));
        rustix::fs::fchown(file, uid, gid)?;
    }
    match &attributes.acl {
        Some(acl) => rustix::fs::fsetxattr(file, ACL, acl, XattrFlags::empty())?,
        None => match rustix::fs::fremovexattr(file, ACL) {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        },
    }
    if let Some(context) = &attributes.selinux {
        // Who may not relabel gets the context of the directory, as Dovecot does.
        let _ = rustix::fs::fsetxattr(file, SELINUX, context, XattrFlags::empty());
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(attributes.mode & PERMISSIONS))?;
    Ok(())
}

/// Restores a modification time.
///
/// # Errors
/// As futimens(2).
pub fn set_mtime(file: &File, attributes: &Attributes) -> io::Result<()> {
    let mtime = Timespec { tv_sec: attributes.mtime, tv_nsec: attributes.mtime_nsec as _ };
    let keep = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ };
    rustix::fs::futimens(file, &Timestamps { last_access: keep, last_modification: mtime })?;
    Ok(())
}

/// Renames, over an existing file if there is one.
///
/// # Errors
/// As rename(2).
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    rustix::io::retry_on_intr(|| rustix::fs::rename(from, to))
        .map_err(|error| StoreError::new(to, "cannot put the new file in place", error))
}

/// Exchanges two files at one stroke.
///
/// # Errors
/// As renameat2(2).
pub fn exchange(a: &Path, b: &Path) -> Result<(), StoreError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    rustix::io::retry_on_intr(|| renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE))
        .map_err(|error| StoreError::new(a, "cannot exchange with the other log", error))
}

/// Removes a file; that there is none is fine.
///
/// # Errors
/// As unlink(2).
pub fn remove(path: &Path) -> Result<(), StoreError> {
    match rustix::io::retry_on_intr(|| rustix::fs::unlink(path)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(StoreError::new(path, "cannot remove", error)),
    }
}

fn remove_quietly(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Cuts a file at its end.
///
/// # Errors
/// As ftruncate(2) and fsync(2).
pub fn cut(file: &File, path: &Path, len: u64) -> Result<(), StoreError> {
    rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file, len))
        .map_err(|error| StoreError::new(path, "cannot cut", error))?;
    file.sync_all().map_err(|error| StoreError::new(path, "cannot sync", error))
}

/// Puts the end back that was cut off.
///
/// # Errors
/// As pwrite(2) and fsync(2).
pub fn uncut(file: &File, path: &Path, len: u64, rest: &[u8]) -> Result<(), StoreError> {
    let fail = |error| StoreError::new(path, "cannot write", error);
    file.write_all_at(rest, len).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// Makes renames and removals in the directory of `path` last.
///
/// # Errors
/// As open(2) and fsync(2).
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let file = File::open(dir).map_err(|error| StoreError::new(dir, "cannot open", error))?;
    file.sync_all().map_err(|error| StoreError::new(dir, "cannot sync", error))
}
