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
pub mod counting;
pub mod doveadm_dump;
pub mod dovecot;
pub mod idx;
pub mod imap;
pub mod large;
pub mod workload;
pub mod writer;

use std::fs::{File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// What `one` gives for each of a list, on so many threads; in no order.
pub fn on_threads<T: Sync, R: Send>(threads: usize, list: &[T], one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::with_capacity(list.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = one(item);
                    all.lock().expect("no panic").push(result);
                }
            });
        }
    });
    all.into_inner().expect("no panic")
}

/// The recorded mailboxes; `IDX_FIXTURES` names a copy whose files have other times.
pub fn fixtures() -> PathBuf {
    std::env::var_os("IDX_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), PathBuf::from)
}

/// A rebuild in this process: of the files of their owner, with an undo file; what is lost is accepted, or nothing is.
pub fn rebuild_options(accept: bool) -> ::idx::ops::rebuild::Options {
    ::idx::ops::rebuild::Options {
        dry_run: false,
        output: None,
        base: None,
        accept: if accept { ::idx::repair::Grade::ALL.to_vec() } else { Vec::new() },
        lock_method: ::idx::store::lock::LockMethod::Fcntl,
        lock_timeout: Duration::from_secs(5),
        no_undo: false,
        any_owner: false,
        mmap: ::idx::source::MmapPolicy::Never,
    }
}

/// Copies `files/` of a fixture to `to`, with the times that the server left them with, which git does not keep.
pub fn dated(fixture: &str, to: &Path) {
    let from = fixtures().join(fixture);
    std::fs::create_dir_all(to).expect("a directory");
    dovecot::copy_tree(&from.join("files"), to).expect("a copy");
    let text = std::fs::read_to_string(from.join("meta.json")).expect("meta.json");
    let meta: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (name, time) in meta["mtime_ns"].as_object().expect("mtime_ns") {
        let time = UNIX_EPOCH + Duration::from_nanos(time.as_u64().expect("nanoseconds"));
        if let Ok(file) = File::open(to.join(name)) {
            file.set_times(FileTimes::new().set_modified(time)).expect("times");
        }
    }
}

/// A [`dated`] copy of a recorded mailbox.
pub struct Dated(tempfile::TempDir);

impl Dated {
    /// Copies `files/` of this fixture.
    pub fn of(fixture: &str) -> Self {
        let copy = Self(tempfile::tempdir().expect("temporary directory"));
        dated(fixture, &copy.files());
        copy
    }

    /// The user's home directory.
    pub fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }
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
