//! Support for the tests that compare `idx` with real Dovecot, live (`live.rs`) or as recorded (`corpus.rs`).
//!
//! * [`dovecot`] starts a private Dovecot on pipes; nothing listens on a port and no daemon runs.
//! * [`imap`] is the client side of such a session.
//! * [`workload`] makes random but reproducible histories of a mailbox.
//! * [`doveadm_dump`] parses the text of `doveadm dump`.
//! * [`idx`] runs the binary under test, and [`compare`] holds its answers against Dovecot's.
//!
//! Nothing here decodes index files: whatever is expected comes from Dovecot's own mouth.

#![allow(dead_code, reason = "every test binary uses its own part of the support code")]

pub mod build;
pub mod compare;
pub mod doveadm_dump;
pub mod dovecot;
pub mod idx;
pub mod imap;
pub mod large;
pub mod workload;
pub mod writer;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The recorded mailboxes.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// `root` and all below it. Links are left out: the kernel marks one as read whenever it is looked through.
pub fn all_below(root: &Path) -> Vec<PathBuf> {
    let (mut paths, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = todo.pop() {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            todo.extend(std::fs::read_dir(&path).expect("directory").map(|entry| entry.expect("entry").path()));
        }
        paths.push(path);
    }
    paths
}

/// The times of last access, change of content and change of anything, with nanoseconds.
pub fn stamps(paths: &[PathBuf]) -> Vec<[i64; 6]> {
    let of = |path: &PathBuf| {
        let meta = path.metadata().expect("metadata");
        [meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]
    };
    paths.iter().map(of).collect()
}
