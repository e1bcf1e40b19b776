//! `idx undo`: puts back, byte for byte, what the last rebuild replaced.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::render::path_text;
use crate::repair::put_back;
use crate::source::{MailboxFiles, MmapPolicy, PathError, Role, Stat, read};
use crate::store::StoreError;
use crate::store::commit;
use crate::store::lock::{LockError, LockMethod, LogLock};
use crate::store::undo::{Sum, Undo, path_of};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Restore although something has been written since.
    pub force: bool,
    /// Dovecot's `lock_method`.
    pub lock_method: LockMethod,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything is as it was before the rebuild.
    Restored,
    /// Somebody has written since; nothing was changed.
    Refused,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct UndoReport {
    /// The index.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
    /// How it went.
    pub status: Status,
    /// When the rebuild was, RFC 3339 UTC.
    pub created: String,
    /// What the rebuild had done.
    pub undone: Vec<String>,
    /// Files that got their former content.
    pub restored: Vec<String>,
    /// Files that did not exist before the rebuild.
    pub removed: Vec<String>,
    /// Files that are not as the rebuild left them.
    pub changed_since: Vec<String>,
}

/// Why nothing could be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// No mailbox.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No rebuild to undo.
    #[error("{}: nothing to undo", .0.display())]
    Nothing(PathBuf),
    /// The undo file cannot be used.
    #[error("{}: cannot be used: {source}", path.display())]
    Damaged {
        /// The undo file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed; the undo file is still there, another run goes on.
    #[error("{0}; the undo file is kept, so that it can be tried again")]
    Store(#[from] StoreError),
}

/// Undoes the last rebuild of a mailbox.
///
/// # Errors
/// [`UndoError::Nothing`] when there is no undo file.
pub fn run(path: &Path, options: &Options) -> Result<UndoReport, UndoError> {
    let files = MailboxFiles::locate(path)?;
    let undo_path = path_of(&files.index);
    if !undo_path.exists() {
        return Err(UndoError::Nothing(files.index));
    }
    let lock = LogLock::acquire(&files.path(Role::Log), options.lock_method, options.lock_timeout)?;
    let undo = match Undo::read(&undo_path) {
        Ok(undo) => undo,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UndoError::Nothing(files.index)),
        Err(source) => return Err(UndoError::Damaged { path: undo_path, source }),
    };
    let place = |name: &str| files.index.with_file_name(name);
    let mut changed = Vec::new();
    for entry in &undo.manifest.files {
        let now = content(&place(&entry.name), &lock)?.map(|bytes| Sum::of(&bytes));
        let was = entry.before.as_ref().map(|saved| &saved.sum);
        if now.as_ref() != entry.after.as_ref() && now.as_ref() != was {
            changed.push(entry.name.clone());
        }
    }
    for witness in &undo.manifest.untouched {
        let path = place(&witness.name);
        let size = std::fs::metadata(&path).ok().map(|meta| meta.len());
        let same = size == witness.size
            && match &witness.sha256 {
                None => true,
                Some(sum) => content(&path, &lock)?.is_some_and(|bytes| Sum::of(&bytes).sha256 == *sum),
            };
        if !same {
            changed.push(witness.name.clone());
        }
    }
    let mut report = UndoReport {
        path: files.index.clone(),
        status: Status::Restored,
        created: undo.manifest.created.clone(),
        undone: undo.manifest.why.clone(),
        restored: Vec::new(),
        removed: Vec::new(),
        changed_since: changed,
    };
    if !report.changed_since.is_empty() && !options.force {
        report.status = Status::Refused;
        return Ok(report);
    }
    // The index last, as always.
    let mut entries: Vec<_> = undo.manifest.files.iter().collect();
    entries.sort_by_key(|entry| place(&entry.name) == files.index);
    for entry in entries {
        let path = place(&entry.name);
        match (&entry.before, undo.saved(&entry.name)) {
            (Some(saved), Some(bytes)) => {
                put_back(&path, bytes, &saved.attributes, &lock)?;
                report.restored.push(entry.name.clone());
            }
            _ => {
                commit::remove(&path)?;
                report.removed.push(entry.name.clone());
            }
        }
    }
    commit::sync_dir(&files.index)?;
    commit::remove(&undo_path)?;
    commit::sync_dir(&files.index)?;
    Ok(report)
}

/// The bytes of a file now; the locked log is read through the lock.
fn content(path: &Path, lock: &LogLock) -> Result<Option<Vec<u8>>, UndoError> {
    let fail = |source| PathError::Io { path: path.to_owned(), source };
    if let (Some(file), Some(stat)) = (lock.file(), lock.stat())
        && Stat::at(path).is_ok_and(|now| now.same_file(stat))
    {
        let len = file.metadata().map_err(fail)?.len();
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0).map_err(fail)?;
        return Ok(Some(bytes));
    }
    match read(path, MmapPolicy::Never, false) {
        Ok(input) => Ok(Some(input.bytes.to_vec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error).into()),
    }
}
