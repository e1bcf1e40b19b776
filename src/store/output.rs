//! Files that the caller names outside of mailboxes: pictures, metrics, completions, and the directory that `-o` means.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fcntl_setfl, mkdirat, open, openat, readlinkat, statat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::{StoreError, dir};
use crate::render::text::printable;
use crate::source::{Dir, Meta, Special};

/// How many temporary names are tried.
const TRIES: u32 = 100;

/// Links on the way to a file, at most.
const MOST_LINKS: usize = 40;
/// How long a FIFO waits for somebody who reads it.
const READER: Duration = Duration::from_secs(10);
/// How often it looks for one.
const LOOK: Duration = Duration::from_millis(20);

/// Opens a directory that the caller named, part by part. Links in it are his will if they are his own or root's; one
/// that somebody else has put on the way is not followed (as the kernel does in sticky directories,
/// `fs.protected_symlinks`, where that is on).
pub(super) fn open_dir(path: &Path) -> io::Result<Dir> {
    let mut todo: Vec<Vec<u8>> = Vec::new();
    let push = |todo: &mut Vec<Vec<u8>>, path: &[u8]| {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        todo.extend(parts.rev().map(<[u8]>::to_vec));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = |path: &[u8]| open(if path.starts_with(b"/") { "/" } else { "." }, flags, Mode::empty());
    let bytes = path.as_os_str().as_bytes();
    let mut fd = top(bytes)?;
    push(&mut todo, bytes);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let stat = statat(&fd, part.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            fd = openat(&fd, part.as_slice(), flags, Mode::empty())?;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        if ![0, geteuid().as_raw()].contains(&stat.st_uid) {
            let name = printable(&part);
            let why = format!("{name} on the way there is a symbolic link of uid {}", stat.st_uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let target = readlinkat(&fd, part.as_slice(), Vec::new())?.into_bytes();
        if target.starts_with(b"/") {
            fd = top(&target)?;
        }
        push(&mut todo, &target);
    }
    Ok(Dir::from_fd(fd, path))
}

/// A directory for files that the caller wants written, and is made if it is not there.
///
/// # Errors
/// As mkdir(2) and open(2); `PermissionDenied` for somebody else's link on the way.
pub fn directory(path: &Path) -> io::Result<Dir> {
    match open_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let name = path.file_name().ok_or(io::ErrorKind::NotFound)?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = directory(above)?;
    match retry_on_intr(|| mkdirat(&above, name, Mode::from_raw_mode(0o777))) {
        Ok(()) | Err(Errno::EXIST) => open_dir(path),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file that the caller named, so that a reader sees the old one or the new one and never a part. A regular
/// file is replaced if it is the caller's own; a device or a FIFO, his or root's, is written to; a link is not
/// followed, and neither is one replaced. Its mode is `mode`, whatever the umask.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2). What was there then is there still.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let fail = |what| move |source: io::Error| StoreError::new(path, what, source);
    if let Some(written) = to_stream(path, bytes) {
        return written.map_err(fail("cannot write"));
    }
    let name = path.file_name().ok_or_else(|| fail("cannot be written")(io::ErrorKind::IsADirectory.into()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = open_dir(parent).map_err(fail("cannot open the directory"))?;
    replace_in(&parent, name.as_bytes(), mode, bytes)
}

/// The same for a file in a directory that is open.
///
/// # Errors
/// As [`replace`].
pub fn replace_in(parent: &Dir, name: &[u8], mode: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let path = parent.path().join(OsStr::from_bytes(name));
    let path = &path;
    let fail = |what| move |source: io::Error| StoreError::new(path, what, source);
    let refused = |why: String| StoreError::new(path, "cannot be written", io::Error::other(why));
    match parent.stat(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("cannot look at")(error)),
        Ok(meta) => match meta.special {
            None if meta.uid != geteuid().as_raw() => return Err(refused("it belongs to somebody else".into())),
            None => {}
            Some(special @ (Special::Device | Special::Fifo)) => {
                if ![0, geteuid().as_raw()].contains(&meta.uid) && special == Special::Fifo {
                    return Err(refused(format!("it is a FIFO of uid {}", meta.uid)));
                }
                return write_to(parent, name, &meta, bytes).map_err(fail("cannot write"));
            }
            Some(special) => return Err(refused(format!("it is {}", special.name()))),
        },
    }
    let (file, temp) = temporary(parent, name).map_err(fail("cannot create"))?;
    let written = || -> io::Result<()> {
        fchmod(&file, Mode::from_raw_mode(mode))?;
        (&file).write_all(bytes)?;
        file.sync_all()?;
        dir::rename(parent, &temp, name)
    };
    written().map_err(|error| {
        let _ = dir::remove(parent, &temp);
        fail("cannot write")(error)
    })
}

/// Writes to a device, or to a FIFO as soon as somebody reads that.
fn write_to(parent: &Dir, name: &[u8], then: &Meta, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let begun = Instant::now();
    let fd = loop {
        match retry_on_intr(|| openat(parent, name, flags, Mode::empty())) {
            Err(Errno::NXIO) if begun.elapsed() < READER => std::thread::sleep(LOOK),
            Err(Errno::NXIO) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
            done => break done?,
        }
    };
    if !Meta::of(&fd)?.stat.same_file(&then.stat) {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    fcntl_setfl(&fd, OFlags::empty())?;
    File::from(fd).write_all(bytes)
}

/// Writes to a stream of this process, which the system shows as a link: `/dev/stdout`, or `/dev/fd/63` as a shell
/// calls what it reads by `>(...)`. `None`: the path is none.
fn to_stream(path: &Path, bytes: &[u8]) -> Option<io::Result<()>> {
    let text = path.to_str()?;
    let number = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|dir| text.strip_prefix(dir));
    match (text, number) {
        // Where these are files there is more in them already, and that is not to be written over.
        ("/dev/stdout", _) | (_, Some("1")) => Some(io::stdout().write_all(bytes).and_then(|()| io::stdout().flush())),
        ("/dev/stderr", _) | (_, Some("2")) => Some(io::stderr().write_all(bytes)),
        (_, Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            let open = File::options().append(true).open(path);
            Some(open.and_then(|mut file| file.write_all(bytes)))
        }
        _ => None,
    }
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
        // The way there is gone once, so that what is made is what is opened; `.` and `..` are there already.
        let (above, name) = match (plain.parent(), plain.file_name()) {
            (Some(above), Some(name)) if !above.as_os_str().is_empty() => (above, name),
            _ => (Path::new("."), plain.as_os_str()),
        };
        let above = open_dir(above).map_err(fail("cannot open the directory"))?;
        match retry_on_intr(|| mkdirat(&above, name, Mode::RWXU)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fail("cannot create")(error.into())),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| openat(&above, name, flags, Mode::empty()))
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
