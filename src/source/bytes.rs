//! One file as bytes: copied when it is small or may be truncated under us, mapped when it is large.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Files below this size are always copied: that is faster than mapping, and a stable view.
const MAP_FROM: u64 = 4 << 20;

/// When to map a file into memory instead of copying it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmapPolicy {
    /// Map from 4 MiB on, if nobody truncates such files in place.
    #[default]
    Auto,
    /// Map whatever is not empty.
    Always,
    /// Copy everything.
    Never,
}

/// What identifies a file and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, UNIX seconds and nanoseconds.
    pub mtime: (i64, i64),
}

impl Stat {
    /// The state of an open file.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of(file: &File) -> io::Result<Stat> {
        file.metadata().map(|meta| Stat::from(&meta))
    }

    /// The state of the file a path leads to now.
    ///
    /// # Errors
    /// As stat(2).
    pub fn at(path: &Path) -> io::Result<Stat> {
        std::fs::metadata(path).map(|meta| Stat::from(&meta))
    }

    /// True when both are the same file, whatever its size.
    pub fn same_file(&self, other: &Stat) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl From<&std::fs::Metadata> for Stat {
    fn from(meta: &std::fs::Metadata) -> Stat {
        Stat { dev: meta.dev(), ino: meta.ino(), size: meta.size(), mtime: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Bytes {
    /// A copy.
    Owned(Vec<u8>),
    /// A private mapping.
    Mapped(memmap2::Mmap),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// A file that has been read.
#[derive(Debug)]
pub struct Input {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its state when it was opened.
    pub stat: Stat,
}

/// Opens a file for reading without touching its access time where the kernel lets us (owner or root).
///
/// # Errors
/// As open(2); a directory or a device is refused.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => rustix::fs::open(path, flags, Mode::empty())?,
        other => other?,
    };
    let file = File::from(fd);
    regular(&file)?;
    Ok(file)
}

/// Reads a whole file. `stable` says that writers replace this kind of file by rename and never truncate it, so that it may be
/// mapped.
///
/// # Errors
/// As open(2), read(2) and mmap(2).
pub fn read(path: &Path, policy: MmapPolicy, stable: bool) -> io::Result<Input> {
    contents(open(path)?, policy, stable)
}

/// Reads a whole file in an open directory, as [`read`] does it.
///
/// # Errors
/// As open(2), read(2) and mmap(2).
pub(super) fn read_at(dir: BorrowedFd<'_>, name: &[u8], policy: MmapPolicy, stable: bool) -> io::Result<Input> {
    contents(open_at(dir, name)?, policy, stable)
}

/// The first bytes of a file in an open directory, at most `len`, and its size.
///
/// # Errors
/// As open(2) and read(2).
pub(super) fn head_at(dir: BorrowedFd<'_>, name: &[u8], len: usize) -> io::Result<(Vec<u8>, u64)> {
    let file = open_at(dir, name)?;
    let size = regular(&file)?.size;
    let mut head = Vec::new();
    file.take(len as u64).read_to_end(&mut head)?;
    Ok((head, size))
}

fn open_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    Ok(File::from(match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty())?,
        other => other?,
    }))
}

fn regular(file: &File) -> io::Result<Stat> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Stat::from(&meta))
}

fn contents(mut file: File, policy: MmapPolicy, stable: bool) -> io::Result<Input> {
    let stat = regular(&file)?;
    let map = match policy {
        MmapPolicy::Auto => stable && stat.size >= MAP_FROM,
        MmapPolicy::Always => stat.size > 0,
        MmapPolicy::Never => false,
    };
    let bytes = if map {
        // SAFETY: the mapping is private and read-only. A writer that truncated the file would make reads fault; Dovecot
        // replaces indexes and caches by rename, and `MmapPolicy::Always` is the user's own choice.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        let _ = map.advise(memmap2::Advice::Sequential);
        Bytes::Mapped(map)
    } else {
        let mut bytes = Vec::new();
        // One byte more than needed, so that the first read also tells that there is no more.
        let room = usize::try_from(stat.size).unwrap_or(usize::MAX).saturating_add(1);
        bytes.try_reserve_exact(room)?;
        while bytes.len() < room {
            match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(_) if bytes.len() as u64 == stat.size => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Longer than it was when it was opened: the rest belongs to the same read.
        if bytes.len() == room {
            file.read_to_end(&mut bytes)?;
        }
        Bytes::Owned(bytes)
    };
    Ok(Input { bytes, stat })
}
