//! What the file system says of a file: what it is, whose, how large, when it changed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, fstat};

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
        Meta::of(file).map(|meta| meta.stat)
    }

    /// True when both are the same file, whatever its size.
    pub fn same_file(&self, other: &Stat) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// What stands where a regular file should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// A symbolic link, wherever it leads.
    Link,
    /// A directory.
    Directory,
    /// A FIFO: opening it may wait for ever.
    Fifo,
    /// A socket.
    Socket,
    /// A device: opening it may do something.
    Device,
}

impl Special {
    /// The kind in words, with an article.
    pub const fn name(self) -> &'static str {
        match self {
            Special::Link => "a symbolic link",
            Special::Directory => "a directory",
            Special::Fifo => "a FIFO",
            Special::Socket => "a socket",
            Special::Device => "a device",
        }
    }

    pub(super) fn of(kind: FileType) -> Option<Special> {
        match kind {
            FileType::RegularFile => None,
            FileType::Symlink => Some(Special::Link),
            FileType::Directory => Some(Special::Directory),
            FileType::Fifo => Some(Special::Fifo),
            FileType::Socket => Some(Special::Socket),
            _ => Some(Special::Device),
        }
    }
}

/// The reason inside an [`io::Error`] when a file was not opened because it is no regular one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular file but {}", .0.name())]
pub struct NotRegular(pub Special);

impl NotRegular {
    /// The reason, if an error has this one.
    pub fn of(error: &io::Error) -> Option<NotRegular> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<NotRegular> for io::Error {
    fn from(reason: NotRegular) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    }
}

/// What stat(2) says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What identifies it and its state.
    pub stat: Stat,
    /// `None` for a regular file.
    pub special: Option<Special>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits with set-uid, set-gid and sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    /// Number of names.
    pub links: u64,
    /// Bytes the file takes up on the disk: fewer than its size when it has holes.
    pub allocated: u64,
    /// Time of the last change of the file or of what the system keeps about it, UNIX seconds and nanoseconds.
    pub ctime: (i64, i64),
}

impl Meta {
    /// The state of an open file or directory.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of(fd: impl AsFd) -> io::Result<Meta> {
        Ok(Meta::from(fstat(fd)?))
    }

    /// True for a directory.
    pub fn is_dir(&self) -> bool {
        self.special == Some(Special::Directory)
    }

    /// True for a file of more than 16 MiB that is mostly holes: nobody has written what it says it is, and to read it
    /// takes memory that its owner has not even paid for with disk.
    pub fn is_hollow(&self) -> bool {
        self.stat.size > (16_u64 << 20).saturating_add(self.allocated.saturating_mul(4))
    }

    /// # Errors
    /// [`NotRegular`] for anything that is not a regular file.
    pub(super) fn regular(self) -> io::Result<Meta> {
        self.special.map_or(Ok(self), |special| Err(NotRegular(special).into()))
    }
}

impl From<rustix::fs::Stat> for Meta {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "struct stat differs between platforms")]
    fn from(stat: rustix::fs::Stat) -> Meta {
        let time = |s: i64, ns: u64| (s, i64::try_from(ns).unwrap_or(0));
        Meta {
            stat: Stat {
                dev: stat.st_dev.into(),
                ino: stat.st_ino.into(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                mtime: time(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            },
            special: Special::of(FileType::from_raw_mode(stat.st_mode)),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: u32::from(stat.st_mode) & 0o7777,
            links: u64::try_from(stat.st_nlink).unwrap_or(u64::MAX),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            ctime: time(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}
