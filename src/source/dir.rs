//! One open directory, and the only way to what lies in it. A mail user may turn every name below his directory into
//! something else at any time, so a path is resolved once: after that names are looked up in the descriptor, links are
//! not followed, and only regular files are opened. Reading goes through here, and so does writing (`store`).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, openat, openat2, readlinkat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::bytes::copy;
use super::meta::{Meta, NotRegular, Special, Stat};

/// Bytes of directory entries that are read at a time.
const LISTING: usize = 32 << 10;
/// How often `openat2` is asked again when somebody renames directories meanwhile.
const TRIES: usize = 8;
/// Set when the kernel (before 5.6) or a sandbox has no `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// What it is; `None` for a regular file.
    pub special: Option<Special>,
}

/// An open directory; clones share the descriptor.
#[derive(Clone, Debug)]
pub struct Dir {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a directory by the path that the user gave; links in that path are the user's will. An empty path is the
    /// current directory. The descriptor is one of `O_PATH`: good for everything that ends in `at`.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(path: &Path) -> io::Result<Dir> {
        let to = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let fd = rustix::fs::open(to, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Dir { fd: Arc::new(fd), path: path.into() })
    }

    /// A directory that is open already; `path` is for messages and for the names of what is in it.
    pub fn of_fd(fd: Arc<OwnedFd>, path: &Path) -> Dir {
        Dir { fd, path: path.into() }
    }

    /// A directory that is open already; `path` is for messages.
    #[cfg(feature = "cli")]
    pub(crate) fn from_fd(fd: OwnedFd, path: &Path) -> Dir {
        Dir { fd: fd.into(), path: path.into() }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the directory itself.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn meta(&self) -> io::Result<Meta> {
        Meta::of(&*self.fd)
    }

    /// Device and inode: the same for one directory, whatever path led to it. `None` where fstat(2) fails.
    pub fn id(&self) -> Option<(u64, u64)> {
        self.meta().ok().map(|meta| (meta.stat.dev, meta.stat.ino))
    }

    /// Opens a directory below this one, by a relative path without `..`; no part of it may be a link.
    ///
    /// # Errors
    /// As open(2); `ELOOP` or `ENOTDIR` for a link.
    pub fn below(&self, path: impl AsRef<[u8]>) -> io::Result<Dir> {
        let path = Path::new(OsStr::from_bytes(path.as_ref()));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = beneath(self.fd.as_fd(), path, flags)?;
        let path = if path == Path::new(".") { Arc::clone(&self.path) } else { self.path.join(path).into() };
        Ok(Dir { fd: Arc::new(fd), path })
    }

    /// The directory that this one lies in, and the name that this one has there. It is where `..` leads, whatever
    /// path this one was opened by, so that nobody who turns a part of that path into a link can lead there elsewhere.
    /// `None` at the root of the file system, and where the name is not to be had (moved meanwhile, or no `/proc`).
    pub fn above(&self) -> Option<(Dir, Vec<u8>)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(&*self.fd, "..", flags, Mode::empty()).ok()?;
        let own = self.meta().ok()?.stat;
        let is_here = |name: &[u8]| {
            statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
                let there = Meta::from(stat);
                there.is_dir() && there.stat.same_file(&own)
            })
        };
        let by = |path: &Path| Some((path.parent()?.to_owned(), path.file_name()?.as_bytes().to_vec()));
        let as_given = by(&self.path).filter(|(_, name)| is_here(name));
        let (path, name) = as_given.or_else(|| by(&self.real_path()).filter(|(_, name)| is_here(name)))?;
        Some((Dir { fd: Arc::new(fd), path: path.into() }, name))
    }

    /// The path of the directory without links, as the system tells it now: for names, and not to be opened.
    pub(crate) fn real_path(&self) -> PathBuf {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        match readlinkat(CWD, link, Vec::new()) {
            Ok(path) => OsString::from_vec(path.into_bytes()).into(),
            Err(_) => std::path::absolute(&self.path).unwrap_or_else(|_| self.path.to_path_buf()),
        }
    }

    /// This directory and those above it.
    pub fn upwards(&self) -> impl Iterator<Item = Dir> {
        std::iter::successors(Some(self.clone()), |dir| Some(dir.above()?.0))
    }

    /// Opens the directory that a link in this one leads to, as a root of its own. The link is the word of this one's
    /// owner, so whoever may read everything goes along only to what is that owner's, too.
    ///
    /// # Errors
    /// As readlink(2) and open(2); `PermissionDenied` for what is somebody else's.
    pub fn behind_link(&self, name: impl AsRef<[u8]>) -> io::Result<Dir> {
        let target = self.link(name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(&*self.fd, &target, flags, Mode::empty())?;
        let dir = Dir { fd: Arc::new(fd), path: self.path.join(target).into() };
        if dir.is_trusted_by(self) { Ok(dir) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Opens another root of the same mail, by the path that the caller told (`--mail-location`). Names in that path
    /// may be a user's, who can turn them into links, so whoever may read everything goes along only to what has the
    /// same owner as this directory.
    ///
    /// # Errors
    /// As open(2); `PermissionDenied` for what is somebody else's.
    pub fn root_beside(&self, path: &Path) -> io::Result<Dir> {
        let dir = Dir::open(path)?;
        if dir.is_trusted_by(self) { Ok(dir) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Whether what lies here may be taken for a part of what lies in another directory: for whoever may read
    /// everything only when both have the same owner. The system asks everybody else for his rights.
    pub fn is_trusted_by(&self, other: &Dir) -> bool {
        let owner = |dir: &Dir| dir.meta().map(|meta| meta.uid).ok();
        !reads_everything() || owner(self) == owner(other)
    }

    /// What a name is now; of a link, the link itself.
    ///
    /// # Errors
    /// As stat(2).
    pub fn stat(&self, name: impl AsRef<[u8]>) -> io::Result<Meta> {
        Ok(Meta::from(statat(&*self.fd, one_name(name.as_ref())?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// Opens a regular file for reading, without touching its access time where the kernel lets us (owner or root).
    /// Nothing else is opened, not for a moment.
    ///
    /// # Errors
    /// As open(2), or [`NotRegular`].
    pub fn file(&self, name: impl AsRef<[u8]>) -> io::Result<File> {
        self.file_meta(name).map(|(file, _)| file)
    }

    /// As [`file`](Dir::file), with the state of the file.
    ///
    /// # Errors
    /// As [`file`](Dir::file).
    pub fn file_meta(&self, name: impl AsRef<[u8]>) -> io::Result<(File, Meta)> {
        let (file, meta) = open_regular(self.fd.as_fd(), one_name(name.as_ref())?, OFlags::NOFOLLOW)?;
        // Whoever owns a directory may give any file on the same disk a name in it.
        if meta.links > 1 && self.meta()?.uid != meta.uid && reads_everything() {
            let why = format!("belongs to uid {}, not to the owner of the directory, and has other names", meta.uid);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok((file, meta))
    }

    /// Reads a file of at most `most` bytes that is not mostly holes.
    ///
    /// # Errors
    /// As [`file`](Dir::file) and read(2); `FileTooLarge` when it is larger, or [hollow](Meta::is_hollow).
    pub fn read_small(&self, name: impl AsRef<[u8]>, most: u64) -> io::Result<(Vec<u8>, Stat)> {
        let (file, meta) = self.file_meta(name)?;
        if meta.stat.size > most || meta.is_hollow() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = copy(&file, meta.stat.size, most)?;
        if bytes.len() as u64 > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((bytes, meta.stat))
    }

    /// Where a symbolic link leads, unresolved.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn link(&self, name: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let target = readlinkat(&*self.fd, one_name(name.as_ref())?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// The names in the directory, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// As open(2) and getdents(2).
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut list = Vec::new();
        self.each(|name, special| list.push(Entry { name: name.to_vec(), special }))?;
        Ok(list)
    }

    /// Hands out the names in the directory one by one, as [`list`](Dir::list) does, in constant memory.
    ///
    /// # Errors
    /// As [`list`](Dir::list).
    pub fn each(&self, mut take: impl FnMut(&[u8], Option<Special>)) -> io::Result<()> {
        self.each_until(|name, special| {
            take(name, special);
            ControlFlow::Continue(())
        })
    }

    /// The same, until `take` has seen enough: of a directory with a hundred thousand names only the first are read.
    ///
    /// # Errors
    /// As [`list`](Dir::list).
    pub fn each_until(&self, mut take: impl FnMut(&[u8], Option<Special>) -> ControlFlow<()>) -> io::Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; LISTING];
        let fd = open_dir(self.fd.as_fd(), b".")?;
        names(&fd, &mut buffer, |name, kind| take(name, Special::of(kind)))
    }

    /// Opens a directory in this one and hands out the names in it, with one descriptor for both. Returns it with its
    /// state before it was listed.
    ///
    /// # Errors
    /// As open(2) and getdents(2); `ELOOP` or `ENOTDIR` for a link.
    pub fn each_below(&self, name: &str, mut take: impl FnMut(&[u8], Option<Special>)) -> io::Result<(Dir, Meta)> {
        let fd = open_dir(self.fd.as_fd(), one_name(name.as_bytes())?)?;
        let meta = Meta::of(&fd)?;
        let mut buffer = [const { MaybeUninit::uninit() }; LISTING];
        names(&fd, &mut buffer, |name, kind| {
            take(name, Special::of(kind));
            ControlFlow::Continue(())
        })?;
        Ok((Dir { fd: Arc::new(fd), path: self.path.join(name).into() }, meta))
    }

    /// Whether this directory, or one that it lies in, has that name, as the system tells it now.
    pub fn is_under(&self, name: &[u8]) -> bool {
        self.real_path().components().any(|part| part.as_os_str().as_bytes() == name)
    }
}

/// True for root, and for whoever has been given root's right to read what belongs to others (`CAP_DAC_READ_SEARCH`).
fn reads_everything() -> bool {
    let wanted = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    geteuid().is_root() || capabilities(None).is_ok_and(|sets| sets.effective.intersects(wanted))
}

/// A name of one part, so that a lookup cannot leave the directory.
fn one_name(name: &[u8]) -> io::Result<&[u8]> {
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of a file in a directory"));
    }
    Ok(name)
}

/// Opens what a relative path means below a directory without following a link.
fn beneath(dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below a directory")),
        }
    }
    if parts.len() > 1 && !NO_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match openat2(dir, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                Err(Errno::NOSYS | Errno::PERM) => {
                    NO_OPENAT2.store(true, Ordering::Relaxed);
                    break;
                }
                other => return Ok(other?),
            }
        }
    }
    let mut fd: Option<OwnedFd> = None;
    for part in &parts {
        let at = fd.as_ref().map_or(dir, |fd| fd.as_fd());
        fd = Some(openat(at, *part, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    match fd {
        Some(fd) => Ok(fd),
        None => Ok(openat(dir, ".", flags, Mode::empty())?),
    }
}

/// Opens a regular file for reading. It is looked at before it is opened; what has taken its place by then cannot hold
/// us up (`O_NONBLOCK`) and is noticed.
pub(super) fn open_regular(dir: BorrowedFd<'_>, path: &[u8], more: OFlags) -> io::Result<(File, Meta)> {
    let at = if more.contains(OFlags::NOFOLLOW) { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
    Meta::from(statat(dir, path, at)?).regular()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | more;
    let opened = match openat(dir, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(dir, path, flags, Mode::empty()),
        other => other,
    };
    let fd = match opened {
        // Turned into a link, or a socket, since it was looked at.
        Err(Errno::LOOP) if more.contains(OFlags::NOFOLLOW) => return Err(NotRegular(Special::Link).into()),
        Err(Errno::NXIO) => return Err(NotRegular(Special::Socket).into()),
        other => other?,
    };
    let meta = Meta::of(&fd)?.regular()?;
    Ok((File::from(fd), meta))
}

/// The names in an open directory but for `.` and `..`, one by one, each with what it stands for; a name that is gone
/// before that can be asked is left out. `take` may end it.
pub(super) fn names(
    fd: impl AsFd,
    buffer: &mut [MaybeUninit<u8>],
    mut take: impl FnMut(&[u8], FileType) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut reader = RawDir::new(fd.as_fd(), buffer);
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        if take(name, kind).is_break() {
            break;
        }
    }
    Ok(())
}

/// Opens a directory below another for listing, without following a link and without touching its access time.
pub(super) fn open_dir(at: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let below = Path::new(OsStr::from_bytes(path));
    let open = |flags: OFlags| match below.components().nth(1) {
        Some(_) => beneath(at, below, flags),
        None => Ok(openat(at, path, flags, Mode::empty())?),
    };
    match open(flags | OFlags::NOATIME) {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => open(flags),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_regular_files_is_opened_and_no_link_is_followed() {
        let home = tempfile::tempdir().expect("directory");
        let path = home.path();
        std::fs::create_dir_all(path.join("box/cur")).expect("directory");
        std::fs::write(path.join("secret"), b"secret").expect("file");
        std::fs::write(path.join("box/cur/1"), b"mail").expect("file");
        std::os::unix::fs::symlink("../secret", path.join("box/link")).expect("link");
        std::os::unix::fs::symlink("..", path.join("box/up")).expect("link");
        let fifo = rustix::fs::CWD;
        rustix::fs::mknodat(fifo, path.join("box/fifo"), FileType::Fifo, Mode::RUSR, 0).expect("fifo");
        let dir = Dir::open(&path.join("box")).expect("open");
        let why = |name: &str| NotRegular::of(&dir.file(name).expect_err(name)).map(|reason| reason.0);
        assert_eq!(why("link"), Some(Special::Link));
        assert_eq!(why("fifo"), Some(Special::Fifo));
        assert_eq!(why("cur"), Some(Special::Directory));
        assert_eq!(why("absent"), None);
        for out in ["../secret", "/etc/passwd", "..", ".", "", "cur/1"] {
            assert!(dir.file(out).is_err() && dir.stat(out).is_err(), "{out}");
        }
        for out in ["up", "up/box", "cur/../cur", "/"] {
            assert!(dir.below(out).is_err(), "{out}");
        }
        let cur = dir.below("cur").expect("a directory");
        assert_eq!(cur.read_small("1", 4).expect("small").0, b"mail");
        assert_eq!(cur.read_small("1", 3).expect_err("large").kind(), io::ErrorKind::FileTooLarge);
        let mut names = dir.list().expect("list");
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = names.iter().map(|entry| entry.special).collect();
        assert_eq!(kinds, [Special::Directory, Special::Fifo, Special::Link, Special::Link].map(Some));
        // The name of the directory may change hands: what was opened stays.
        std::fs::rename(path.join("box"), path.join("moved")).expect("rename");
        assert!(dir.stat("fifo").is_ok() && dir.below("cur").is_ok());
        assert_eq!(dir.link("link").expect("link"), Path::new("../secret"));
    }
}
