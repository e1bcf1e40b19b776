//! One file as bytes: copied when it is small or somebody else may truncate it under us, mapped when it is large and
//! ours.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::meta::{Meta, Stat};

/// Files below this size are always copied: that is faster than mapping, and a stable view.
const MAP_FROM: u64 = 1 << 20;

/// A file that has changed in the last so many seconds may change again.
const QUIET: i64 = 10;

/// Bytes by which a copy grows when its file has grown.
const GROWTH: usize = 64 << 10;
/// From this size on a file is asked for its holes.
const HOLES_FROM: u64 = 1 << 20;
/// Every offset that Dovecot keeps in an index, a log or a cache has 32 bits.
const MOST: u64 = u32::MAX as u64 + 1;
/// Memory is had, and holes are kept out of it, in pages of this many bytes.
const PAGE: usize = 4096;

/// When to map a file into memory instead of copying it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmapPolicy {
    /// Map from 1 MiB on, if Dovecot never truncates such a file in place, nobody but the user who started idx may do
    /// so (owner, and no write permission for others), idx still has that user's rights, and nothing has happened to
    /// the file for ten seconds.
    #[default]
    Auto,
    /// Map whatever is not empty.
    Always,
    /// Copy everything.
    Never,
}

/// The bytes of a file.
#[derive(Debug)]
pub enum Bytes {
    /// A copy.
    Owned(Vec<u8>),
    /// A copy that others have too.
    Shared(Arc<[u8]>),
    /// A private mapping, of the file or of memory that holds what the file holds between its holes.
    Mapped(memmap2::Mmap),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
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

/// The rights this process began with, remembered by [`remember_rights`].
static STARTED_AS: OnceLock<[u32; 2]> = OnceLock::new();

fn rights() -> [u32; 2] {
    [rustix::process::getuid().as_raw(), rustix::process::geteuid().as_raw()]
}

/// Remembers who started this process. To be called before a process or one of its threads takes on another user's
/// rights: from then on no file is mapped, since its owner could be somebody who wants the mapping to fault.
pub fn remember_rights() {
    STARTED_AS.get_or_init(rights);
}

/// True for a file that nobody but the user who started this process can truncate, and that is at rest.
fn is_ours(meta: &Meta) -> bool {
    let started = *STARTED_AS.get_or_init(rights);
    // That user may be cutting it this very moment: what has just changed is copied.
    let is_quiet = meta.ctime.0 < super::time::now().saturating_sub(QUIET);
    started == rights() && started == [meta.uid; 2] && meta.mode & 0o022 == 0 && is_quiet
}

/// Reads an open file from its beginning.
pub(crate) fn contents(file: &File, meta: &Meta, policy: MmapPolicy, stable: bool) -> io::Result<Input> {
    let stat = meta.stat;
    // What a mapping shows of a hole takes memory like anything else.
    let is_hollow = stat.size >= HOLES_FROM && meta.allocated < stat.size / 2;
    let map = match policy {
        MmapPolicy::Auto => stable && stat.size >= MAP_FROM && !is_hollow && is_ours(meta),
        MmapPolicy::Always => stat.size > 0,
        MmapPolicy::Never => false,
    };
    if stat.size > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than the 4 GiB that Dovecot's offsets reach"));
    }
    let bytes = if map {
        // SAFETY: the mapping is private and read-only, and it lives as long as its owner. A writer that cut the file
        // short would make reads fault: with `Auto` only the user who runs idx can, and Dovecot does not (it replaces
        // indexes and caches by rename); `Always` is that user's own choice.
        let map = unsafe { memmap2::Mmap::map(file)? };
        let _ = map.advise(memmap2::Advice::Sequential);
        Bytes::Mapped(map)
    } else if is_hollow {
        Bytes::Mapped(between_holes(file, stat.size)?)
    } else {
        Bytes::Owned(copy(file, stat.size, u64::MAX)?)
    };
    Ok(Input { bytes, stat })
}

/// Copies what a file of `size` bytes holds into memory that takes no more room than that: pages that nobody has
/// written to are one page of zeros, however many they are. Anybody can make a file of gigabytes that holds nothing.
fn between_holes(file: &File, size: u64) -> io::Result<memmap2::Mmap> {
    let len = usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut memory = memmap2::MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
    let mut window = vec![0; GROWTH];
    let mut at = 0;
    while at < size {
        // Where the file system cannot say, all of it counts as data.
        let (from, to) = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => (from, seek(file, SeekFrom::Hole(from)).unwrap_or(size)),
            Err(Errno::NXIO) => break,
            Err(_) => (at, size),
        };
        let start = from & !(PAGE as u64 - 1);
        at = start;
        while at < to.min(size) {
            let want = usize::try_from(size - at).unwrap_or(GROWTH).min(GROWTH);
            let part = window.get_mut(..want).unwrap_or_default();
            let read = match rustix::io::pread(file, &mut *part, at) {
                // Cut short meanwhile: the rest is as if it held nothing, and whoever compares states will notice.
                Ok(0) => return memory.make_read_only(),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let place = usize::try_from(at).unwrap_or(len);
            let pages = part.get(..read).unwrap_or_default().chunks(PAGE).enumerate();
            for (i, page) in pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
                let from = place + i * PAGE;
                if let Some(room) = memory.get_mut(from..from + page.len()) {
                    room.copy_from_slice(page);
                }
            }
            at += read as u64;
        }
    }
    memory.make_read_only()
}

/// Copies an open file of about `size` bytes, from its beginning; of one that grows meanwhile little more than `most`.
pub(super) fn copy(file: &File, size: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than needed, so that the first read also tells that there is no more.
    let mut room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(room)?;
    loop {
        let at = bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) if bytes.len() as u64 == size || bytes.len() as u64 > most => break,
            // Longer than it was when it was opened: the rest belongs to the same read.
            Ok(_) if bytes.len() >= room => {
                room = bytes.len() + GROWTH;
                bytes.try_reserve(GROWTH)?;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
