//! `idx rebuild` and `idx undo` on recorded mailboxes: the indexes Dovecot wrote come out again, damage is mended where any
//! file still tells what was there, and an interrupted run leaves nothing half done.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, FileTimes};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::dovecot::copy_tree;
use support::{fixtures, on_threads};

const INDEX: &str = "dovecot.index";

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_idx"))
}

fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output = binary().args(args).args(["--format", "json"]).arg(path).output().expect("idx runs");
    (output.status.code().unwrap_or(-1), document(&output))
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// Every directory below `root` with a log of that name.
fn mailboxes(root: &Path, list: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(root).expect("directory").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_symlink() {
            continue;
        } else if path.is_dir() {
            mailboxes(&path, list);
        } else if path.file_name().is_some_and(|name| name == "dovecot.index.log") {
            list.push(path.parent().expect("parent").to_owned());
        }
    }
}

/// The index files of a mailbox: name to bytes, mode, modification time.
type Files = BTreeMap<String, (Vec<u8>, u32, (i64, i64))>;

fn files(dir: &Path) -> Files {
    let names = fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry"));
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(INDEX) && entry.path().is_file())
        .map(|entry| {
            let meta = entry.metadata().expect("metadata");
            let bytes = fs::read(entry.path()).expect("bytes");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, (bytes, meta.permissions().mode(), (meta.mtime(), meta.mtime_nsec())))
        })
        .collect()
}

fn bytes(files: &Files) -> BTreeMap<&str, &[u8]> {
    files.iter().map(|(name, (bytes, ..))| (name.as_str(), bytes.as_slice())).collect()
}

/// A copy of the index files of a mailbox, old enough not to look as if somebody was writing.
fn copy(dir: &Path) -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("directory");
    let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
    for (name, (bytes, ..)) in files(dir) {
        let path = temp.path().join(name);
        fs::write(&path, bytes).expect("copy");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
        fs::File::options().write(true).open(&path).expect("copy").set_times(old).expect("time");
    }
    temp
}

fn chain() -> tempfile::TempDir {
    copy(&fixtures().join("2.3.19.1-maildir-chain/files/Maildir"))
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut data = fs::read(path).expect("file");
    change(&mut data);
    fs::write(path, data).expect("file");
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Fields of the base header that are not compared: the rotation time is in no log, and the tail is written as the head by
/// Dovecot 2.3.19 and later, whatever it was.
const NOT_COMPARED: [std::ops::Range<usize>; 2] = [64..68, 76..80];

/// Deletes every index that Dovecot wrote at the end of a whole history, rebuilds it, and compares.
fn rewrite_all(root: &Path) -> usize {
    let mut list = Vec::new();
    mailboxes(root, &mut list);
    list.retain(|dir| !dir.starts_with(root.join("broken")));
    let mut equal = 0;
    for dir in list {
        let Ok(want) = fs::read(dir.join(INDEX)) else { continue };
        // Of other ages, an fsck's, or of the other byte order: see tests/replay.rs.
        if want.len() < 120 || want[1] != 3 || want[12] != 1 || u32_at(&want, 20) & 4 != 0 {
            continue;
        }
        let log = fs::read(dir.join("dovecot.index.log")).expect("log");
        if log.len() < 40 {
            continue;
        }
        let head = u32_at(&want, 68) as usize;
        // The log must be what it was when this index was written, and start from nothing, at some remove.
        let chain_starts = |log: &[u8]| matches!((u32_at(log, 12), u32_at(log, 16)), (0, _) | (1, 0));
        let old = fs::read(dir.join("dovecot.index.log.2")).ok();
        let complete = chain_starts(&log)
            || old.is_some_and(|old| chain_starts(&old) && u32_at(&log, 16) as usize == old.len() && old[1] == 3);
        if !complete || log[1] != 3 || u32_at(&log, 8) != u32_at(&want, 60) || log.len() < head {
            continue;
        }
        let temp = copy(&dir);
        fs::remove_file(temp.path().join(INDEX)).expect("index");
        // The cache may have been purged after the index was written; then its links would be cleared.
        for later in ["dovecot.index.backup", "dovecot.index.cache"] {
            let _ = fs::remove_file(temp.path().join(later));
        }
        // What was logged after this index was written is cut off, unless it was written in the middle of a transaction.
        edit(&temp.path().join("dovecot.index.log"), |log| log.truncate(head));
        let (code, report) = idx(&["rebuild"], temp.path());
        if report["actions"][0].as_str().is_some_and(|action| action.starts_with("cut ")) {
            continue;
        }
        assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{}: {report}", dir.display());
        assert_eq!(report["base"], "log");
        let mut have = fs::read(temp.path().join(INDEX)).expect("index");
        let mut want = want;
        for range in NOT_COMPARED {
            have[range.clone()].fill(0);
            want[range].fill(0);
        }
        assert!(have == want, "{}: differs at {:?}", dir.display(), have.iter().zip(&want).position(|(a, b)| a != b));
        equal += 1;
    }
    equal
}

#[test]
fn indexes_of_the_fixtures_come_out_byte_for_byte() {
    let equal = rewrite_all(&fixtures());
    assert!(equal >= 10, "only {equal}");
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn indexes_of_the_corpus_come_out_byte_for_byte() {
    let root = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    let equal = rewrite_all(&root);
    assert!(equal >= 30, "only {equal}");
}

/// Whatever Dovecot left behind at rest is fine, or lacks nothing but the index; a second run changes not a byte.
#[test]
fn healthy_mailboxes_stay_as_they_are() {
    let mut list = Vec::new();
    mailboxes(&fixtures(), &mut list);
    assert!(list.len() > 40);
    for dir in list {
        let temp = copy(&dir);
        let before = files(temp.path());
        let (code, report) = idx(&["rebuild"], temp.path());
        let status = if before.contains_key(INDEX) { "unchanged" } else { "rebuilt" };
        assert_eq!((code, report["status"].as_str()), (0, Some(status)), "{}: {report}", dir.display());
        assert_eq!(report["lost"], Value::Array(vec![]));
        let after = files(temp.path());
        for (name, file) in &before {
            assert!(after.get(name) == Some(file), "{}: {name} was touched", dir.display());
        }
        let (code, report) = idx(&["rebuild"], temp.path());
        assert_eq!((code, report["status"].as_str()), (0, Some("unchanged")), "{}: {report}", dir.display());
        assert!(files(temp.path()) == after, "{}: a second run changes something", dir.display());
    }
}

#[test]
fn a_dry_run_and_another_directory_leave_the_mailbox_alone() {
    let temp = chain();
    edit(&temp.path().join(INDEX), |b| b[0] = 9);
    let before = files(temp.path());
    let (code, report) = idx(&["rebuild", "-n"], temp.path());
    assert_eq!((code, report["status"].as_str(), report["dry_run"].as_bool()), (0, Some("rebuilt"), Some(true)));
    assert_eq!(report["undo"], Value::Null);
    let out = tempfile::tempdir().expect("directory");
    let (code, _) = idx(&["rebuild", "-o", out.path().to_str().expect("UTF-8")], temp.path());
    assert_eq!(code, 0);
    assert!(files(temp.path()) == before);
    let (code, report) = idx(&["rebuild"], out.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("unchanged")), "{report}");
}

#[test]
fn undo_restores_every_byte_mode_and_time() {
    for damage in [
        (|dir: &Path| edit(&dir.join(INDEX), |b| b.truncate(60))) as fn(&Path),
        |dir| fs::remove_file(dir.join(INDEX)).expect("index"),
        |dir| edit(&dir.join("dovecot.index.log"), |b| b.extend([0x80, 0x80, 0x80, 0x8a, 4, 0, 0])),
        |dir| edit(&dir.join("dovecot.index.log"), |b| b[4..8].fill(0)),
        |dir| edit(&dir.join("dovecot.index.cache"), |b| b[4] ^= 1),
    ] {
        let temp = chain();
        damage(temp.path());
        let before = files(temp.path());
        let (code, report) = idx(&["rebuild"], temp.path());
        assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{report}");
        assert!(bytes(&files(temp.path())) != bytes(&before));
        let (code, report) = idx(&["undo"], temp.path());
        assert_eq!((code, report["status"].as_str()), (0, Some("restored")), "{report}");
        assert!(files(temp.path()) == before, "{report}");
        let (code, report) = idx(&["undo"], temp.path());
        assert_eq!(code, 2, "there is nothing left to undo: {report}");
        assert!(report["error"].is_string());
    }
}

/// `getfacl` of a file, without its name.
fn acl(path: &Path) -> Vec<u8> {
    let mut value = vec![0; 1024];
    let len = rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]).unwrap_or(0);
    value.truncate(len);
    value
}

/// A shared mailbox that is open to one more user stays open to that user, and one that is not has the ACL that the directory
/// hands to new files within the mode of the directory.
#[test]
fn access_lists_are_kept() {
    // `user::rw-, user:1234:rw-, group::r--, mask::rw-, other::---` as linux/posix_acl_xattr.h codes it.
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 6, 1234), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend(tag.to_le_bytes());
        list.extend(perm.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let temp = chain();
    let index = temp.path().join(INDEX);
    let flags = rustix::fs::XattrFlags::empty();
    edit(&index, |b| b.truncate(60));
    rustix::fs::setxattr(&index, "system.posix_acl_access", &list, flags).expect("a file system with ACLs");
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
    assert_eq!(acl(&index), list);
    assert_eq!(fs::metadata(&index).expect("index").mode() & 0o777, 0o660);
    assert_eq!(idx(&["undo"], temp.path()).0, 0);
    assert_eq!((acl(&index), fs::metadata(&index).expect("index").len()), (list.clone(), 60));

    let temp = chain();
    let index = temp.path().join(INDEX);
    edit(&index, |b| b.truncate(60));
    rustix::fs::setxattr(temp.path(), "system.posix_acl_default", &list, flags).expect("a file system with ACLs");
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
    // As Dovecot 2.3.19 leaves an index of mode 0640 when it rewrites it there: the list, and of what that gives to others as
    // much as the mode of the directory gives to its group (of a directory of mode 0700, nothing).
    let group = fs::metadata(temp.path()).expect("directory").mode() >> 3 & 6;
    list[4 + 3 * 8 + 2] = group as u8;
    assert_eq!((acl(&index), fs::metadata(&index).expect("index").mode() & 0o777), (list, 0o600 | group << 3));
}

/// Whoever owns a mailbox can write an undo file: it is believed about bytes and times, and about nothing else.
#[test]
fn a_forged_undo_file_decides_neither_owner_nor_mode() {
    let temp = chain();
    let undo = temp.path().join("dovecot.index.idx-undo");
    edit(&temp.path().join(INDEX), |b| b.truncate(60));
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
    let mut old = tar::Archive::new(fs::File::open(&undo).expect("undo file"));
    let mut new = tar::Builder::new(Vec::new());
    for entry in old.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("readable");
        if name.ends_with("manifest.json") {
            let mut manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
            manifest["files"][0]["before"]["mode"] = 0o6755.into();
            manifest["files"][0]["before"]["uid"] = 12_345.into();
            bytes = serde_json::to_vec(&manifest).expect("JSON");
        }
        let mut header = entry.header().clone();
        header.set_size(bytes.len() as u64);
        new.append_data(&mut header, name, &bytes[..]).expect("appended");
    }
    fs::write(&undo, new.into_inner().expect("written")).expect("undo file");
    let (code, report) = idx(&["undo", "--force"], temp.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("restored")), "{report}");
    let meta = fs::metadata(temp.path().join(INDEX)).expect("index");
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o640, rustix::process::geteuid().as_raw()));
}

#[test]
fn undo_refuses_what_was_written_since_unless_forced() {
    let temp = chain();
    edit(&temp.path().join(INDEX), |b| b.truncate(60));
    let before = files(temp.path());
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
    // A whole record, as another session would append it.
    let record = [0x80, 0x80, 0x80, 0x85, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0];
    edit(&temp.path().join("dovecot.index.log"), |b| b.extend(record));
    let now = files(temp.path());
    let (code, report) = idx(&["undo"], temp.path());
    assert_eq!((code, report["status"].as_str()), (2, Some("refused")), "{report}");
    assert_eq!(report["changed_since"][0], "dovecot.index.log");
    assert!(files(temp.path()) == now);
    assert_eq!(idx(&["undo", "--force"], temp.path()).0, 0);
    assert_eq!(bytes(&files(temp.path()))[INDEX], bytes(&before)[INDEX]);
}

/// A client's change that was logged but not yet made in the storage must survive the log it was logged in: the next log
/// begins with it, the index has it, and its tail stands before it (format/log.md, section 7).
#[test]
fn pending_requests_move_to_the_next_log() {
    let temp = chain();
    let log = temp.path().join("dovecot.index.log");
    let (_, shown) = idx(&["show"], temp.path());
    let uid = shown["messages"][0]["uid"].as_u64().and_then(|uid| u8::try_from(uid).ok()).expect("a small UID");
    // Without the external bit: a request for +\Draft.
    let request = [0x80, 0x80, 0x80, 0x85, 4, 0, 0, 0, uid, 0, 0, 0, uid, 0, 0, 0, 0x10, 0, 0, 0];
    edit(&log, |b| b.extend(request));
    let old = fs::read(&log).expect("log");
    let (_, before) = idx(&["show"], temp.path());
    edit(&log, |b| b[4..8].fill(0));
    let (code, report) = idx(&["rebuild"], temp.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{report}");
    let new = fs::read(&log).expect("log");
    assert_eq!(new.get(40..), Some(&request[..]));
    // It continues the old log, which is kept whole.
    assert_eq!((u32_at(&new, 8), u32_at(&new, 12)), (u32_at(&old, 8) + 1, u32_at(&old, 8)));
    assert_eq!(u32_at(&new, 16) as usize, old.len());
    assert!(fs::read(temp.path().join("dovecot.index.log.2")).expect("old log") == old);
    let index = fs::read(temp.path().join(INDEX)).expect("index");
    assert_eq!((u32_at(&index, 60), u32_at(&index, 64), u32_at(&index, 68)), (u32_at(&new, 8), 40, 60));
    let (_, after) = idx(&["show"], temp.path());
    let flags = |shown: &Value| -> Vec<Value> {
        shown["messages"].as_array().expect("messages").iter().map(|message| message["flags"].clone()).collect()
    };
    assert_eq!(flags(&before), flags(&after));
    assert!(after["highest_modseq"].as_u64() >= before["highest_modseq"].as_u64());
    let (code, report) = idx(&["rebuild"], temp.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("unchanged")), "{report}");
}

/// A log that starts from nothing, and an index that stands at its start: Dovecot would wipe the index without a word
/// (format/log.md, section 10). The messages must survive.
#[test]
fn an_index_is_not_wiped_by_a_log_that_starts_from_nothing() {
    let temp = chain();
    let (_, before) = idx(&["show"], temp.path());
    let log = temp.path().join("dovecot.index.log");
    assert_eq!(idx(&["rebuild", "-o", temp.path().join("new").to_str().expect("UTF-8")], temp.path()).0, 0);
    fs::remove_file(temp.path().join(INDEX)).expect("index");
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
    fs::remove_file(temp.path().join("dovecot.index.log.2")).expect("old log");
    let mut header = fs::read(&log).expect("log");
    header.truncate(40);
    let seq = u32_at(&header, 8) + 1;
    header[8..12].copy_from_slice(&seq.to_le_bytes());
    header[12..20].fill(0);
    fs::write(&log, &header).expect("log");
    edit(&temp.path().join(INDEX), |b| {
        for (at, value) in [(60, seq), (64, 40), (68, 40)] {
            b[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    });
    let (code, report) = idx(&["rebuild"], temp.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{report}");
    let (_, after) = idx(&["show"], temp.path());
    assert_eq!(before["messages"], after["messages"]);
    let log = fs::read(&log).expect("log");
    assert_eq!((u32_at(&log, 8), u32_at(&log, 12), u32_at(&log, 16)), (seq + 1, seq, 40));
    let (code, report) = idx(&["rebuild"], temp.path());
    assert_eq!((code, report["status"].as_str()), (0, Some("unchanged")), "{report}");
}

/// Without anything to build on, and with a deletion on record, nothing is done.
#[test]
fn refusals_name_their_reason_and_change_nothing() {
    let temp = chain();
    fs::remove_file(temp.path().join(INDEX)).expect("index");
    fs::remove_file(temp.path().join("dovecot.index.log.2")).expect("old log");
    let before = files(temp.path());
    let (code, report) = idx(&["rebuild", "--accept-loss"], temp.path());
    assert_eq!((code, report["status"].as_str()), (2, Some("refused")), "{report}");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("neither index nor backup")), "{report}");
    assert!(files(temp.path()) == before);

    let temp = chain();
    fs::remove_file(temp.path().join(INDEX)).expect("index");
    let deleted = [0x80, 0x80, 0x80, 0x83, 0, 0, 2, 0x10, 0, 0, 0, 0];
    edit(&temp.path().join("dovecot.index.log"), |b| b.extend(deleted));
    let before = files(temp.path());
    let (code, report) = idx(&["rebuild", "--accept-loss"], temp.path());
    assert_eq!((code, report["status"].as_str()), (2, Some("refused")), "{report}");
    assert!(report["reason"].as_str().is_some_and(|why| why.contains("deleted")), "{report}");
    assert!(files(temp.path()) == before);
}

#[test]
fn a_held_lock_is_waited_for_and_its_holder_is_named() {
    let temp = chain();
    fs::remove_file(temp.path().join(INDEX)).expect("index");
    let log = fs::File::options().read(true).write(true).open(temp.path().join("dovecot.index.log")).expect("log");
    rustix::fs::fcntl_lock(&log, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("lock");
    let (code, report) = idx(&["rebuild", "--lock-timeout", "100ms"], temp.path());
    assert_eq!(code, 2);
    let error = report["error"].as_str().expect("an error");
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(!temp.path().join(INDEX).exists());
    drop(log);
    assert_eq!(idx(&["rebuild"], temp.path()).0, 0);
}

#[test]
fn what_is_no_mailbox_is_named() {
    let temp = tempfile::tempdir().expect("directory");
    for path in [temp.path().to_owned(), temp.path().join("nowhere")] {
        let (code, report) = idx(&["rebuild"], &path);
        assert_eq!(code, 2);
        assert!(report["error"].is_string(), "{report}");
        assert_eq!(idx(&["undo"], &path).0, 2);
    }
}

/// What each broken mailbox of the corpus must come back with. Its `before` is the healthy mailbox; the truth is IMAP's.
#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn broken_mailboxes_of_the_corpus() {
    let root = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS")).join("broken");
    let mut seen = 0;
    let mut failures = Vec::new();
    let mut cases: Vec<_> = fs::read_dir(&root).expect("corpus").map(|entry| entry.expect("entry").path()).collect();
    cases.sort();
    for case in cases.iter().filter(|case| case.join("meta.json").exists() && case.join("files").exists()) {
        let name = case.file_name().expect("name").to_string_lossy().into_owned();
        // A killed writer's mailbox has no healthy state to compare with.
        if name.contains("kill9") {
            continue;
        }
        let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).expect("JSON")).expect("JSON") };
        let meta = json(case.join("meta.json"));
        let truth = json(case.join("truth/imap-INBOX.json"));
        let temp = tempfile::tempdir().expect("directory");
        let home = temp.path().join("home");
        copy_tree(&case.join("files"), &home).expect("copy");
        let dir = home.join(meta["index_dir"].as_str().expect("index_dir"));
        let damaged = files(&dir);
        let (code, report) = idx(&["rebuild"], &dir);
        seen += 1;
        if code == 2 {
            if files(&dir) != damaged {
                failures.push(format!("{name}: refused, but changed"));
            }
            // The expunges behind the hole in a .log.2 are in no other file: history, and nothing else, is named.
            let grades = report["losses"].as_array().into_iter().flatten().map(|loss| &loss["grade"]);
            if name.contains("log2-corrupt") && grades.clone().count() > 0 && grades.clone().all(|one| one == "history")
            {
                continue;
            }
            // Records change places whole, or only their UIDs do: what is whose is not told, and the flags are named.
            if name.contains("records-unordered")
                && grades.clone().count() > 0
                && grades.clone().all(|one| one == "flags")
            {
                continue;
            }
            // What one file alone told cannot be had any more when that file is gone.
            let hopeless = ["deleted", "empty", "trunc", "zero", "stale", "flip", "only", "missing"];
            if !hopeless.iter().any(|word| name.contains(word)) {
                failures.push(format!("{name}: {report}"));
            }
            continue;
        }
        if code != 0 || report["lost"] != Value::Array(vec![]) {
            failures.push(format!("{name}: exit code {code}: {report}"));
        }
        let rebuilt = files(&dir);
        let (again, second) = idx(&["rebuild"], &dir);
        if (again, second["status"].as_str()) != (0, Some("unchanged")) || files(&dir) != rebuilt {
            failures.push(format!("{name}: a second run is not unchanged: {second}"));
        }
        // These logs end early: what came after is in no file.
        if ["log-trunc-tail", "log-trunc-midrecord", "log-zero-tailrec"].iter().any(|cut| name.ends_with(cut)) {
            continue;
        }
        let (_, shown) = idx(&["show"], &dir);
        for (ours, theirs) in
            [("uid_validity", "uidvalidity"), ("next_uid", "uidnext"), ("highest_modseq", "highestmodseq")]
        {
            if shown[ours] != truth[theirs] {
                failures.push(format!("{name}: {ours} is {}, not {}", shown[ours], truth[theirs]));
            }
        }
        let messages = |value: &Value| -> BTreeMap<u64, (Vec<String>, Value)> {
            let list = value["messages"].as_array().expect("messages");
            list.iter()
                .map(|message| {
                    let mut flags: Vec<String> = ["flags", "keywords"]
                        .iter()
                        .filter_map(|key| message[key].as_array())
                        .flatten()
                        .filter_map(|flag| flag.as_str().map(str::to_owned))
                        .filter(|flag| flag != "\\Recent")
                        .collect();
                    flags.sort();
                    (message["uid"].as_u64().expect("uid"), (flags, message["modseq"].clone()))
                })
                .collect()
        };
        if messages(&shown) != messages(&truth) {
            failures.push(format!("{name}: messages differ"));
        }
    }
    assert!(seen > 50, "only {seen} cases");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The system calls of a rebuild that can fail or be the last.
fn calls(dir: &Path, trace: &Path) -> Vec<(String, usize)> {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(trace)
        .arg(env!("CARGO_BIN_EXE_idx"))
        .args(["rebuild", "-f", "json"])
        .arg(dir)
        .output()
        .expect("strace is installed");
    assert!(status.status.success());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in fs::read_to_string(trace).expect("trace").lines() {
        let call = line.split_whitespace().nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
        *counts.entry(call.to_owned()).or_default() += 1;
    }
    let writing = [
        "openat",
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "link",
        "linkat",
        "ftruncate",
        "fchmod",
        "fchown",
        "fcntl",
        "statx",
        "fstat",
        "read",
        "pread64",
        "close",
        "utimensat",
    ];
    counts.into_iter().filter(|(call, _)| writing.contains(&call.as_str())).collect()
}

/// Kills a rebuild at each of its system calls, and lets each of them fail: what is then there is the old or the new, another
/// run completes it, and undo brings back what was there at first.
fn interrupt_everywhere(scenario: &str, damage: impl Fn(&Path) + Sync) {
    let fresh = || {
        let temp = chain();
        damage(temp.path());
        temp
    };
    let done = fresh();
    let trace = done.path().join("trace");
    let calls = calls(done.path(), &trace);
    let (_, wanted) = idx(&["show"], done.path());
    let index_only = scenario == "index";
    let mut places = Vec::new();
    for (call, count) in &calls {
        for n in 1..=*count {
            for fault in ["signal=KILL", "error=EIO", "error=ENOSPC", "error=EINTR", "retval=1"] {
                // Only a write can be short; and reading that goes on failing with EINTR is not what EINTR is.
                let write = matches!(call.as_str(), "write" | "pwrite64");
                let always = fault == "signal=KILL" || fault == "error=EIO";
                let other = write || (fault != "retval=1" && (call == "fsync" || call.starts_with("rename")));
                if always || other {
                    places.push((call.as_str(), n, fault));
                }
            }
        }
    }
    let one = |&(call, n, fault): &(&str, usize, &str)| -> Vec<String> {
        let mut failures = Vec::new();
        let temp = fresh();
        let before = files(temp.path());
        // Only the call in question stops the process.
        let output = Command::new("strace")
            .args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:{fault}:when={n}")])
            .arg(env!("CARGO_BIN_EXE_idx"))
            .args(["rebuild", "-f", "json", "--lock-timeout", "1"])
            .arg(temp.path())
            .output()
            .expect("strace");
        let place = format!("{scenario}: {call} {n} {fault}");
        let now = files(temp.path());
        if index_only {
            // The old set, or the new one.
            let new = files(done.path());
            let (now, old, new) = (bytes(&now), bytes(&before), bytes(&new));
            let is = |set: &BTreeMap<&str, &[u8]>| {
                ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"]
                    .iter()
                    .all(|name| now.get(name) == set.get(name))
            };
            if !is(&old) && !is(&new) {
                failures.push(format!("{place}: neither old nor new"));
            }
            if output.status.code() == Some(0) && !is(&new) {
                failures.push(format!("{place}: says it is done"));
            }
        } else if output.status.code() == Some(2) && !output.stdout.is_empty() {
            let (now, old) = (bytes(&now), bytes(&before));
            let same = old.iter().all(|(name, bytes)| now.get(name) == Some(bytes));
            if !same {
                failures.push(format!("{place}: failed, but changed: {}", String::from_utf8_lossy(&output.stdout)));
            }
        }
        let (code, report) = idx(&["rebuild"], temp.path());
        if code != 0 {
            failures.push(format!("{place}: a second run fails: {report}"));
            return failures;
        }
        let (_, shown) = idx(&["show"], temp.path());
        if shown["messages"] != wanted["messages"] || shown["highest_modseq"] != wanted["highest_modseq"] {
            failures.push(format!("{place}: the second run made something else"));
        }
        let (code, report) = idx(&["undo"], temp.path());
        let restored = files(temp.path());
        let same = before.iter().all(|(name, file)| restored.get(name) == Some(file));
        if code != 0 || !same {
            failures.push(format!("{place}: undo does not restore: {report}"));
        }
        failures
    };
    // A run waits for its disk and its tracer more than it computes.
    let failures: Vec<String> = on_threads(4, &places, one).into_iter().flatten().collect();
    let runs = places.len();
    assert!(runs > 100, "{scenario}: only {runs} faults");
    assert!(failures.is_empty(), "{} of {runs} faults:\n{}", failures.len(), failures.join("\n"));
}

#[test]
#[ignore = "needs strace"]
fn no_interruption_leaves_an_index_half_done() {
    interrupt_everywhere("index", |dir| edit(&dir.join(INDEX), |b| b[0] = 9));
}

#[test]
#[ignore = "needs strace"]
fn no_interruption_leaves_index_and_log_half_done() {
    interrupt_everywhere("index and torn log", |dir| {
        edit(&dir.join(INDEX), |b| b.truncate(100));
        edit(&dir.join("dovecot.index.log"), |b| b.extend([0x80, 0x80, 0x80, 0x8a, 4, 0, 0]));
    });
}

#[test]
#[ignore = "needs strace"]
fn no_interruption_leaves_a_new_log_half_done() {
    interrupt_everywhere("log marked corrupted, foreign cache", |dir| {
        edit(&dir.join("dovecot.index.log"), |b| b[4..8].fill(0));
        edit(&dir.join("dovecot.index.cache"), |b| b[4] ^= 1);
    });
}
