//! The journal of a run over many mailboxes: a line of JSON for each thing that was begun and ended, there before the
//! next one is begun, so that a run that was killed tells how far it came.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use rustix::process::geteuid;

use super::{StoreError, output};
use crate::source::Meta;

/// Bytes at the end of a file that are looked at.
const TAIL: u64 = 1;

/// A journal that lines are added to. Several runs may follow each other in one file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The first error of writing: after it nothing more may be begun.
    failed: Mutex<Option<String>>,
}

impl Journal {
    /// Opens a journal, or begins one, of mode 0600. A file that is there must be the caller's own, of one name, and
    /// its first line begin with `head`: nothing is added to any other file. The way there is that of other outputs
    /// ([`super::output`]).
    ///
    /// # Errors
    /// As open(2) and read(2); for a file that is no journal.
    pub fn open(path: &Path, head: &str) -> Result<Journal, StoreError> {
        let fail = |source: io::Error| StoreError::new(path, "cannot keep the journal", source);
        let name = path.file_name().ok_or_else(|| fail(io::Error::other("it is the name of a directory")))?;
        let parent = output::open_dir(path.parent().unwrap_or(Path::new(""))).map_err(fail)?;
        if let Ok(meta) = parent.stat(name.as_bytes())
            && let Some(special) = meta.special
        {
            return Err(fail(io::Error::other(format!("it is {}", special.name()))));
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| openat(&parent, name, flags | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR));
        let file = File::from(fd.map_err(|error| fail(error.into()))?);
        let meta = Meta::of(&file).map_err(fail)?;
        if meta.special.is_some() || meta.uid != geteuid().as_raw() || meta.links > 1 {
            return Err(fail(io::Error::other("it is no file of the caller's alone")));
        }
        let size = meta.stat.size;
        let mut journal = Journal { path: path.to_owned(), file, failed: Mutex::new(None) };
        if size > 0 {
            let mut first = vec![0; head.len()];
            let is_ours = journal.file.read_exact_at(&mut first, 0).is_ok() && first == head.as_bytes();
            if !is_ours {
                return Err(fail(io::Error::other("it is there already, and no journal of idx")));
            }
            let mut last = [0];
            journal.file.read_exact_at(&mut last, size - TAIL).map_err(fail)?;
            // The last line of a run that was killed.
            if last != *b"\n" {
                journal.file.write_all(b"\n").map_err(fail)?;
            }
        }
        Ok(journal)
    }

    /// Adds a line, without its end, in one piece; `lasting` waits until it would outlast a loss of power.
    ///
    /// # Errors
    /// As write(2) and fdatasync(2).
    pub fn add(&self, mut line: Vec<u8>, lasting: bool) -> Result<(), StoreError> {
        line.push(b'\n');
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &*failed {
            Some(before) => Err(io::Error::other(before.clone())),
            None => (&self.file).write_all(&line),
        };
        let written = written.and_then(|()| if lasting { self.file.sync_data() } else { Ok(()) });
        written.map_err(|error| {
            failed.get_or_insert_with(|| error.to_string());
            StoreError::new(&self.path, "cannot keep the journal", error)
        })
    }

    /// True when it could not be written to.
    pub fn has_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
