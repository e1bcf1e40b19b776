//! A directory for one run of a target: what a mailbox is read from, and written to.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The files below a directory by their relative paths, sorted.
pub type Files = Vec<(String, Vec<u8>)>;

/// A directory of this process, in memory where the system has such a place.
pub fn dir(name: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    base.join(format!("idx-fuzz-{}", std::process::id())).join(name)
}

/// Removes what the targets of this process have left.
pub fn clear() {
    if let Some(all) = dir("x").parent() {
        let _ = fs::remove_dir_all(all);
    }
}

/// The recorded mailboxes, whether it is the package or the crate of the targets that was built.
pub fn fixtures() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    [package.join("fixtures"), package.join("../fixtures")].into_iter().find(|dir| dir.is_dir()).unwrap_or_default()
}

/// Reads every file below a directory.
pub fn read(root: &Path) -> Files {
    let (mut files, mut todo) = (Files::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for path in fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                todo.push(path);
            } else if let (Ok(below), Ok(bytes)) = (path.strip_prefix(root), fs::read(&path)) {
                files.push((below.to_string_lossy().into_owned(), bytes));
            }
        }
    }
    files.sort();
    files
}

/// Makes a directory hold these files and nothing else. All of them are old: nobody is writing.
pub fn write(root: &Path, files: &Files) {
    let _ = fs::remove_dir_all(root);
    fs::create_dir_all(root).expect("a directory");
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("a directory");
        // The names of messages are mutated, too: one may have become that of a directory.
        let _ = fs::write(&path, bytes);
        age(&path);
    }
    // Git keeps no empty directory.
    for (name, _) in files.iter().filter(|(name, _)| name.ends_with("dovecot-uidlist")) {
        for sub in ["cur", "new", "tmp"] {
            let _ = fs::create_dir_all(root.join(name).with_file_name(sub));
        }
    }
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        todo.extend(fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|path| path.is_dir()));
        age(&dir);
    }
}

fn age(path: &Path) {
    let old = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    if let Ok(file) = File::open(path) {
        let _ = file.set_times(old);
    }
}

/// Name, content and permissions of what lies in a directory itself.
pub fn listing(dir: &Path) -> Vec<(String, Vec<u8>, u32)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut list: Vec<_> = entries
        .map(|entry| {
            let meta = entry.metadata();
            let mode = meta.as_ref().map_or(0, |meta| meta.permissions().mode() & 0o7777);
            let bytes = if meta.is_ok_and(|meta| meta.is_file()) { fs::read(entry.path()) } else { Ok(Vec::new()) };
            (entry.file_name().to_string_lossy().into_owned(), bytes.unwrap_or_default(), mode)
        })
        .collect();
    list.sort();
    list
}
