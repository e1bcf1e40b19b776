//! Files that the caller names outside of mailboxes: pictures, metrics, completions, and the directory that `-o` means.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::{StoreError, dir};
use crate::source::{Dir, Special};

/// How many temporary names are tried.
const TRIES: u32 = 100;

/// Writes a file that the caller named, so that a reader sees the old one or the new one and never a part. A regular
/// file is replaced if it is the caller's own; a device or a FIFO is written to; a link is not followed, and neither is
/// one replaced. Its mode is `mode`, whatever the umask.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2). What was there then is there still.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let fail = |what| move |source: io::Error| StoreError::new(path, what, source);
    let refused = |why: &str| StoreError::new(path, "cannot be written", io::Error::other(why.to_owned()));
    let name = path.file_name().ok_or_else(|| refused("it is the name of a directory"))?.as_bytes();
    let parent = Dir::open(path.parent().unwrap_or(Path::new(""))).map_err(fail("cannot open the directory"))?;
    match parent.stat(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("cannot look at")(error)),
        Ok(meta) => match meta.special {
            None if meta.uid != geteuid().as_raw() => return Err(refused("it belongs to somebody else")),
            None => {}
            Some(Special::Device | Special::Fifo) => {
                let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
                let fd = retry_on_intr(|| openat(&parent, name, flags, Mode::empty()));
                let mut file = File::from(fd.map_err(|error| fail("cannot open")(error.into()))?);
                return file.write_all(bytes).map_err(fail("cannot write"));
            }
            // The names of this process's own streams are links that the system made.
            Some(Special::Link) if is_stream(path) => {
                return File::options()
                    .write(true)
                    .open(path)
                    .and_then(|mut file| file.write_all(bytes))
                    .map_err(fail("cannot write"));
            }
            Some(special) => return Err(refused(&format!("it is {}", special.name()))),
        },
    }
    let (file, temp) = temporary(&parent, name).map_err(fail("cannot create"))?;
    let written = || -> io::Result<()> {
        fchmod(&file, Mode::from_raw_mode(mode))?;
        (&file).write_all(bytes)?;
        file.sync_all()?;
        dir::rename(&parent, &temp, name)
    };
    written().map_err(|error| {
        let _ = dir::remove(&parent, &temp);
        fail("cannot write")(error)
    })
}

fn is_stream(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr"].iter().any(|stream| path == Path::new(stream))
}

/// A new file under a name that nobody else has.
fn temporary(parent: &Dir, name: &[u8]) -> io::Result<(File, Vec<u8>)> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for i in 0..TRIES {
        let temp = [name, format!(".{}.{i}.tmp", std::process::id()).as_bytes()].concat();
        match dir::create(parent, &temp) {
            Ok(file) => return Ok((file, temp)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// The directory that `-o` means: a new one, or one of the caller's that nobody else may write to. What is written
/// there is the caller's, of mode 0600.
#[derive(Debug)]
pub struct OutputDir(Dir);

impl OutputDir {
    /// Opens the directory, or makes it, of mode 0700. It must not be `mailbox`.
    ///
    /// # Errors
    /// As mkdir(2) and open(2); when it belongs to somebody else or somebody else may write to it.
    pub fn open(path: &Path, mailbox: &Dir) -> Result<OutputDir, StoreError> {
        let fail = |what| move |source: io::Error| StoreError::new(path, what, source);
        let refused = |why: String| StoreError::new(path, "cannot write there", io::Error::other(why));
        // Without the slash that would have a link followed.
        let trimmed = path.as_os_str().as_bytes();
        let len = trimmed.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1).min(trimmed.len());
        let plain = Path::new(OsStr::from_bytes(trimmed.get(..len).unwrap_or_default()));
        match retry_on_intr(|| mkdirat(rustix::fs::CWD, plain, Mode::RWXU)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fail("cannot create")(error.into())),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| openat(rustix::fs::CWD, plain, flags, Mode::empty()))
            .map_err(|error| fail("cannot open")(error.into()))?;
        let dir = Dir::from_fd(fd, path);
        let meta = dir.meta().map_err(fail("cannot look at"))?;
        if mailbox.meta().is_ok_and(|other| other.stat.same_file(&meta.stat)) {
            return Err(refused("it is the mailbox itself".into()));
        }
        if meta.uid != geteuid().as_raw() {
            return Err(refused(format!("it belongs to uid {}, who would get what is written", meta.uid)));
        }
        if meta.mode & 0o022 != 0 {
            return Err(refused(format!("others may write to it (mode {:04o})", meta.mode)));
        }
        Ok(OutputDir(dir))
    }

    /// Writes a file, over one of that name.
    ///
    /// # Errors
    /// As open(2), write(2), fsync(2) and rename(2).
    pub fn write(&self, name: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        let written = || -> io::Result<()> {
            let (file, temp) = temporary(&self.0, name)?;
            let put = (&file).write_all(bytes).and_then(|()| file.sync_all());
            put.and_then(|()| dir::rename(&self.0, &temp, name)).inspect_err(|_| drop(dir::remove(&self.0, &temp)))?;
            dir::sync(&self.0)
        };
        let path = self.0.path().join(OsStr::from_bytes(name));
        written().map_err(|error| StoreError::new(&path, "cannot write", error))
    }
}
