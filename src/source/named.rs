//! Files that the user named himself. What lies below a mailbox is opened through its directory instead.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::bytes::{Input, MmapPolicy, contents};
use super::dir::open_regular;

/// Opens a file that the user named himself, links and all, for reading. Its access time stays where the kernel lets us
/// (owner or root). What lies below a mailbox is opened through [`Dir`](super::Dir) instead.
///
/// # Errors
/// As open(2), or [`NotRegular`](super::NotRegular).
pub fn open(path: &Path) -> io::Result<File> {
    open_regular(rustix::fs::CWD, path.as_os_str().as_bytes(), OFlags::empty()).map(|(file, _)| file)
}

/// Reads a whole file that the user named. `stable` says that writers replace this kind of file by rename and never
/// truncate it.
///
/// # Errors
/// As open(2), read(2) and mmap(2).
pub fn read(path: &Path, policy: MmapPolicy, stable: bool) -> io::Result<Input> {
    let (file, meta) = open_regular(rustix::fs::CWD, path.as_os_str().as_bytes(), OFlags::empty())?;
    contents(&file, &meta, policy, stable)
}

/// Bytes of settings, traces and transcripts that are read: what goes on for ever is none of them.
const MAX_TEXT: u64 = 64 << 20;

/// Reads a text that the user named: a file, or what another program writes.
///
/// # Errors
/// As open(2) and read(2), and when there are more than 64 MiB.
pub fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_TEXT {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB, which is not read")),
        false => Ok(bytes),
    }
}
