//! Writing to disk: Dovecot's own locks, several files changed as one, the one file that can put everything back, and
//! the outputs that a caller names. What to write is decided elsewhere.

pub mod acl;
pub mod alone;
pub mod dir;
pub mod home;
pub mod journal;
pub mod lock;
pub mod output;
pub mod owner;
pub mod signals;
pub mod transaction;
pub mod undo;

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}: {source}", path.display())]
pub struct StoreError {
    /// The file or directory.
    pub path: PathBuf,
    /// What was being done.
    pub what: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl StoreError {
    pub(crate) fn new(path: &Path, what: &'static str, source: impl Into<io::Error>) -> StoreError {
        StoreError { path: path.to_owned(), what, source: source.into() }
    }
}
