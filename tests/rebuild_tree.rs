//! `idx rebuild` and `idx undo` on trees: every mailbox comes to what it would have come to alone, in the order of the walk
//! and by any number of threads; none ends the others; the journal tells how far a run came, whatever ended it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use idx::ops::rebuild;
use rustix::fs::{FlockOperation, Mode, fcntl_lock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::workload::Rng;
use support::{all_below, dated};

/// Homes of every format, with mailboxes in each other and beside each other.
const HOMES: [(&str, &str); 6] = [
    ("ann", "2.3.19.1-maildir-chain"),
    ("bob", "2.3.19.1-sdbox-chain"),
    ("cat", "2.3.19.1-mdbox-busy"),
    ("dan", "2.3.19.1-mbox-busy"),
    ("eve", "2.4.1-maildir-onelog"),
    ("fay", "2.4.1-sdbox-busy"),
];
/// Random trees of a run that does not say how many (`IDX_TREES`).
const TREES: u64 = 6;

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    for (name, fixture) in HOMES {
        dated(fixture, &root.path().join(name));
    }
    root
}

fn command(args: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    command.args(args).args(paths).stdin(Stdio::null());
    command
}

fn idx(args: &[&str], path: &Path) -> Output {
    command(args, &[path]).output().expect("idx runs")
}

fn document(args: &[&str], path: &Path) -> (Option<i32>, Value) {
    let output = idx(&[args, &["-f", "json"]].concat(), path);
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code(), document)
}

fn rows(document: &Value) -> &Vec<Value> {
    document["mailboxes"].as_array().expect("mailboxes")
}

fn journal(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a journal");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The paths below `root` of the lines of a journal with this event.
fn events<'j>(journal: &'j [Value], event: &str) -> Vec<&'j str> {
    journal.iter().filter(|line| line["event"] == event).map(|line| line["path"].as_str().expect("a path")).collect()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut data = fs::read(path).expect("file");
    change(&mut data);
    fs::write(path, data).expect("file");
    rest(path);
}

/// Files of this moment may still be written.
fn rest(path: &Path) {
    let old = fs::FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1_796_000_000));
    fs::File::open(path).and_then(|file| file.set_times(old)).expect("times");
}

fn bytes(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = all_below(root).into_iter().filter(|path| path.is_file());
    files.map(|path| (path.strip_prefix(root).expect("below").to_owned(), fs::read(&path).expect("file"))).collect()
}

/// The index of ann's INBOX marked corrupted, a hole in the log of bob's, fay's without index.
fn damage(root: &Path) {
    edit(&root.join("ann/Maildir/dovecot.index"), |index| index[20] |= 1);
    fs::remove_file(root.join("fay/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index")).expect("removed");
    let bob = root.join("bob/sdbox/mailboxes/INBOX/dbox-Mails");
    edit(&bob.join("dovecot.index.log"), |log| {
        let at = log.len() / 4;
        log[at..at + 64].fill(0);
    });
    for name in ["dovecot.index", "dovecot.index.backup"] {
        fs::remove_file(bob.join(name)).expect("removed");
    }
}

#[test]
fn a_tree_is_rebuilt_and_undone() {
    let root = tree();
    damage(root.path());
    let before = bytes(root.path());
    let (code, dry) = document(&["rebuild", "-n"], root.path());
    assert_eq!((code, bytes(root.path()) == before), (Some(2), true), "{}", dry["summary"]);
    assert_eq!(dry["given"][0], root.path().to_str().expect("UTF-8"));
    let summary = &dry["summary"];
    let sum = |key: &str| summary[key].as_u64().unwrap_or_else(|| panic!("{key}: {summary}"));
    assert_eq!(sum("unchanged") + sum("rebuilt") + sum("refused"), rows(&dry).len() as u64);
    assert_eq!(sum("mailboxes") + sum("others"), rows(&dry).len() as u64);
    assert_eq!((sum("refused"), sum("failed")), (1, 0), "{summary}");
    let refused = rows(&dry).iter().find(|row| row["status"] == "refused").expect("bob's");
    assert!(refused["path"].as_str().expect("a path").contains("/bob/"), "{refused}");
    let accept = refused["command"].as_str().expect("a command");
    assert!(accept.starts_with("idx rebuild --accept-loss="), "{accept}");
    for (loss, known) in refused["losses"].as_array().expect("losses").iter().zip(1..) {
        assert!(loss["dovecot"].is_string(), "loss {known} does not tell what Dovecot does: {loss}");
        let graded = summary["losses"].as_array().expect("losses").iter().any(|sum| sum["grade"] == loss["grade"]);
        assert!(graded, "{loss} in {summary}");
    }
    let commands: Vec<&str> =
        summary["commands"].as_array().expect("commands").iter().filter_map(|c| c["command"].as_str()).collect();
    assert!(commands[0].starts_with("idx rebuild --preen "), "{commands:?}");
    assert!(commands[1].starts_with("idx rebuild --accept-loss="), "{commands:?}");

    // What loses nothing; the rest stays byte for byte.
    let (code, done) = document(&["rebuild", "--preen"], root.path());
    assert_eq!(code, Some(2));
    assert_eq!(done["summary"]["rebuilt"], summary["rebuilt"]);
    let row = |document: &Value| -> Vec<Value> {
        let keys = ["path", "status", "base", "actions", "messages", "losses", "kept"];
        rows(document).iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
    };
    assert_eq!(row(&done), row(&dry), "dry run and run say the same");
    let after = bytes(root.path());
    let bobs = |all: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<(PathBuf, Vec<u8>)> {
        all.clone().into_iter().filter(|(path, _)| path.starts_with("bob/sdbox/mailboxes/INBOX")).collect()
    };
    assert_eq!(bobs(&after), bobs(&before));
    assert_ne!(after, before);

    // A second run finds nothing more, and the accepted loss is done and said.
    let (_, again) = document(&["rebuild", "--preen"], root.path());
    assert_eq!(again["summary"]["rebuilt"], 0, "{}", again["summary"]);
    let (code, lost) = document(&["rebuild", "--accept-loss"], root.path());
    assert_eq!((code, &lost["summary"]["with_loss"]), (Some(1), &Value::from(1)), "{}", lost["summary"]);
    let (code, none) = document(&["rebuild"], root.path());
    assert_eq!((code, &none["summary"]["unchanged"]), (Some(0), &Value::from(rows(&none).len())));

    // And back.
    let (code, undone) = document(&["undo"], root.path());
    assert_eq!((code, &undone["summary"]["failed"]), (Some(0), &Value::from(0)));
    assert_eq!(undone["summary"]["restored"], rows(&undone).len());
    assert!(bytes(root.path()) == before, "byte for byte");
    let nothing = idx(&["undo"], root.path());
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing to undo"));
}

#[test]
fn people_get_a_line_for_each_and_a_summary() {
    let root = tree();
    damage(root.path());
    let output = idx(&["rebuild", "-n"], root.path());
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, document) = document(&["rebuild", "-n"], root.path());
    let (lines, all): (Vec<&str>, _) = (text.lines().collect(), rows(&document));
    for (line, row) in lines.iter().zip(all) {
        assert!(line.starts_with(row["path"].as_str().expect("a path")), "{line} is not of {row}");
    }
    let below = &lines[all.len()..];
    assert!(below[0].contains("mailboxes") && below[0].contains("1 left alone"), "{below:?}");
    assert!(below.iter().any(|line| line.starts_with("next, for ") && line.contains("--preen")), "{below:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("refused") && said.contains("to accept it: idx rebuild --accept-loss="), "{said}");
    // Lines of JSON: one for each, then the summary; only the first one says of what run.
    let lines = idx(&["rebuild", "-n", "-f", "ndjson"], root.path());
    let lines: Vec<Value> =
        String::from_utf8_lossy(&lines.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), all.len() + 1);
    assert!(lines.iter().all(|line| line["schema"] == "idx.rebuild/1"));
    assert_eq!(lines.iter().filter(|line| line["host"].is_string()).count(), 1);
    assert_eq!(lines.last().expect("a line")["summary"], document["summary"]);
}

#[test]
fn a_mailbox_with_folders_is_one_mailbox_unless_it_is_told_otherwise() {
    let root = tree();
    let maildir = root.path().join("ann/Maildir");
    let (_, one) = document(&["rebuild", "-n"], &maildir);
    assert_eq!((&one["status"], one.get("mailboxes")), (&Value::from("unchanged"), None));
    let (_, all) = document(&["rebuild", "-n", "-r"], &maildir);
    assert!(rows(&all).len() > 1, "{all}");
    // A directory without mailboxes is no empty tree.
    let empty = tempfile::tempdir().expect("a directory");
    let (code, error) = document(&["rebuild"], empty.path());
    assert_eq!((code, error["error"].is_string(), error.get("mailboxes")), (Some(2), true, None), "{error}");
    // The files of several mailboxes have the same names.
    let (code, refused) = document(&["rebuild", "-o", "/nonexistent"], root.path());
    assert_eq!((code, refused["summary"]["failed"].as_u64()), (Some(2), Some(1)), "{refused}");
}

/// What cannot be read, and what is no file, is said, and ends nothing.
#[test]
fn one_bad_mailbox_never_ends_the_run() {
    let root = tree();
    damage(root.path());
    let (_, without) = document(&["rebuild", "-n"], root.path());
    let bad = root.path().join("ann/Maildir/.AFifo");
    fs::create_dir(&bad).expect("a directory");
    rustix::fs::mkfifoat(rustix::fs::CWD, bad.join("dovecot.index"), Mode::RUSR).expect("a FIFO");
    let begun = Instant::now();
    let (code, with) = document(&["rebuild", "-n", "-j", "1"], root.path());
    assert!(begun.elapsed() < Duration::from_secs(120), "a FIFO is not waited for");
    assert_eq!(code, Some(2));
    assert_eq!(rows(&with).len(), rows(&without).len() + 1);
    let error = rows(&with).iter().find(|row| row["error"].is_string()).expect("an error");
    assert!(error["path"].as_str().expect("a path").contains(".AFifo"), "{error}");
    assert_eq!(with["errors"][0]["path"], error["path"]);
    assert_eq!(with["summary"]["failed"], 1);
    let others: Vec<&Value> = rows(&with).iter().filter(|row| row.get("error").is_none()).collect();
    assert_eq!(others, rows(&without).iter().collect::<Vec<_>>());
}

/// Reports and files of a tree are those of single runs, in the order of the walk, by one thread and by four.
#[test]
fn a_tree_is_as_its_mailboxes_alone() {
    let trees = std::env::var("IDX_TREES").ok().and_then(|n| n.parse().ok()).unwrap_or(TREES);
    let seed = std::env::var("IDX_TREES_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(20_261_128);
    let (mut mailboxes, mut damaged, mut refused) = (0, 0, 0);
    for number in 0..trees {
        let make = || {
            let root = tree();
            let count = random_damage(root.path(), &mut Rng::new(seed + number));
            (root, count)
        };
        let accept = if number % 2 == 0 { &["--accept-loss"][..] } else { &[] };
        let ((single, count), one, four) = (make(), make().0, make().0);
        let mut runs = Vec::new();
        for (root, jobs) in [(&one, "1"), (&four, "4")] {
            let (code, document) = document(&[&["rebuild", "-j", jobs], accept].concat(), root.path());
            let status = rows(&document).iter().fold(0, |worst, row| match row["status"].as_str() {
                Some("rebuilt") if row["lost"] != Value::Array(Vec::new()) => worst.max(1),
                Some("rebuilt" | "unchanged") => worst,
                _ => 2,
            });
            assert_eq!(code, Some(status), "tree {number}: {}", document["summary"]);
            runs.push(rows(&document).iter().map(|row| plain(row, root.path())).collect::<Vec<_>>());
        }
        let alone: Vec<Value> = runs[0]
            .iter()
            .map(|row| {
                let path = single.path().join(row["path"].as_str().expect("a path").trim_start_matches("ROOT/"));
                let report = match rebuild::run(&path, &support::rebuild_options(!accept.is_empty())) {
                    Ok(report) => serde_json::to_value(report).expect("JSON"),
                    Err(error) => serde_json::json!({"path": path, "error": error.to_string()}),
                };
                plain(&report, single.path())
            })
            .collect();
        for (i, row) in runs[0].iter().enumerate() {
            assert_eq!(*row, alone[i], "tree {number}: with one thread and alone");
            assert_eq!(*row, runs[1][i], "tree {number}: with one thread and with four");
            mailboxes += 1;
            refused += usize::from(row["status"] == "refused");
        }
        assert_eq!(runs[0].len(), runs[1].len());
        let names = |root: &Path| -> Vec<PathBuf> { bytes(root).into_keys().collect() };
        assert_eq!(names(one.path()), names(single.path()), "tree {number}");
        assert_eq!(names(one.path()), names(four.path()), "tree {number}");
        damaged += count;
    }
    println!("{trees} trees, {mailboxes} mailboxes, {damaged} damages, {refused} refused");
    assert!(mailboxes > 0 && damaged > 0);
}

/// A report without what is of this run: where the tree is, what was drawn anew, and the schema.
fn plain(row: &Value, root: &Path) -> Value {
    let mut row = row.clone();
    let object = row.as_object_mut().expect("an object");
    object.remove("schema");
    // A new indexid is the time, and some words name it.
    let id = object.get("kept").map(|kept| kept["indexid"].to_string()).unwrap_or_default();
    let id = if id.len() > 4 { id } else { "no indexid".to_owned() };
    let text = row.to_string().replace(root.to_str().expect("UTF-8"), "ROOT").replace(&id, "7");
    serde_json::from_str(&text).expect("JSON")
}

/// Damages about every third index file of a tree, and says how many.
fn random_damage(root: &Path, rng: &mut Rng) -> usize {
    let mut files = all_below(root);
    files.retain(|path| {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        path.is_file() && name.starts_with("dovecot.index")
    });
    files.sort();
    let mut count = 0;
    for path in files {
        if !rng.chance(30) {
            continue;
        }
        count += 1;
        let size = usize::try_from(path.metadata().expect("file").len()).expect("small");
        let at = rng.below(size.max(1));
        match rng.below(5) {
            0 => fs::remove_file(&path).expect("removed"),
            1 => edit(&path, |data| data.truncate(at)),
            2 => edit(&path, |data| data[at] ^= 1 << rng.below(8)),
            3 => edit(&path, |data| data[at..].iter_mut().take(64).for_each(|byte| *byte = 0)),
            _ => edit(&path, |data| data.extend(data.clone().into_iter().skip(at).take(200))),
        }
    }
    count
}

/// A run that waits for the lock of one mailbox, which this process holds.
struct Waiting {
    root: tempfile::TempDir,
    notes: tempfile::TempDir,
    journal: PathBuf,
    lock: Option<fs::File>,
    child: Child,
}

impl Waiting {
    /// Begins a run by one thread, and waits until it is about to write bob's INBOX.
    fn begin() -> Waiting {
        let root = tree();
        damage(root.path());
        let held = root.path().join("bob/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log");
        let lock = fs::File::options().read(true).write(true).open(held).expect("a log");
        fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).expect("a lock");
        let notes = tempfile::tempdir().expect("a directory");
        let journal = notes.path().join("journal");
        let args = ["rebuild", "--accept-loss", "-j", "1", "-f", "json", "--lock-timeout", "60s", "--journal"];
        let child = command(&args, &[&journal, root.path()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("idx runs");
        let waiting = Waiting { root, notes, journal, lock: Some(lock), child };
        let begun = Instant::now();
        let is_there = || {
            let text = fs::read_to_string(&waiting.journal).unwrap_or_default();
            text.lines().any(|line| line.contains("\"event\":\"write\"") && line.contains("/bob/sdbox/mailboxes/INBOX"))
        };
        while !is_there() {
            assert!(begun.elapsed() < Duration::from_secs(60), "bob's INBOX is not about to be written");
            std::thread::sleep(Duration::from_millis(10));
        }
        waiting
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("sent");
        // It is noted at once; what is in work goes on.
        std::thread::sleep(Duration::from_millis(300));
    }

    fn end(mut self) -> (tempfile::TempDir, tempfile::TempDir, Output) {
        drop(self.lock.take());
        (self.root, self.notes, self.child.wait_with_output().expect("it ends"))
    }
}

#[test]
fn a_signal_ends_the_run_after_the_mailbox_in_work() {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let waiting = Waiting::begin();
        waiting.signal(signal);
        let (root, notes, output) = waiting.end();
        let journal_at = notes.path().join("journal");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(name), "{said}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("a whole document");
        assert_eq!(document["summary"]["interrupted"], name);
        let lines = journal(&journal_at);
        let (begun, ended) = (events(&lines, "begin"), events(&lines, "end"));
        assert_eq!(begun, ended, "what was begun was ended");
        assert!(begun.last().expect("some").contains("/bob/sdbox/mailboxes/INBOX"), "{begun:?}");
        assert_eq!(rows(&document).len(), begun.len());
        assert_eq!(lines.last().expect("a line")["interrupted"], name);
        // The next run does the rest, and what was done is done.
        let (_, rest) = self::document(&["rebuild", "--accept-loss"], root.path());
        for row in rows(&rest) {
            let path = row["path"].as_str().expect("a path");
            assert!(!begun.contains(&path) || row["status"] == "unchanged", "{row}");
        }
        assert!(rest["summary"]["rebuilt"].as_u64().expect("a number") > 0, "{}", rest["summary"]);
    }
}

/// Who was killed left a journal: what was begun and not ended is what to look at, and only what was about to be written
/// can have changed.
#[test]
fn a_journal_outlives_its_run() {
    let mut waiting = Waiting::begin();
    waiting.child.kill().expect("killed");
    let (root, notes, _) = waiting.end();
    let journal_at = notes.path().join("journal");
    let killed = journal(&journal_at);
    assert_eq!(killed[0]["event"], "run");
    assert_eq!(killed[0]["given"][0], root.path().to_str().expect("UTF-8"));
    assert!(killed[0]["host"].is_string() && killed[0]["pid"].is_u64() && killed[0]["at"].is_string());
    let (begun, ended) = (events(&killed, "begin"), events(&killed, "end"));
    assert_eq!(begun.len(), ended.len() + 1);
    assert_eq!(events(&killed, "write").last(), begun.last(), "its plan is there");
    assert!(killed.iter().all(|line| line["schema"] == "idx.rebuild/1"));
    // A line that was cut stays what it is; the next run begins behind it.
    fs::write(&journal_at, [fs::read(&journal_at).expect("a journal"), b"{\"schema\":\"id".to_vec()].concat())
        .expect("written");
    let at = journal_at.to_str().expect("UTF-8");
    assert_eq!(idx(&["rebuild", "--accept-loss", "--journal", at], root.path()).status.code(), Some(1));
    let text = fs::read_to_string(&journal_at).expect("a journal");
    assert_eq!(text.lines().filter(|line| line.contains("\"event\":\"run\"")).count(), 2);
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["event"], &last["refused"], &last["failed"]), (&"summary".into(), &0.into(), &0.into()));
}

#[test]
fn a_journal_is_written_or_nothing_is_done() {
    let root = tree();
    damage(root.path());
    let before = bytes(root.path());
    let elsewhere = tempfile::tempdir().expect("a directory");
    let other = elsewhere.path().join("letter");
    fs::write(&other, "Dear Ann,\n").expect("written");
    let missing = elsewhere.path().join("not/there");
    let fifo = elsewhere.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(&other, &link).expect("a link");
    for bad in [&other, &missing, &fifo, &link, &elsewhere.path().to_owned()] {
        let output = idx(&["rebuild", "--journal", bad.to_str().expect("UTF-8")], root.path());
        assert_eq!(output.status.code(), Some(2), "{}", bad.display());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(bad.to_str().expect("UTF-8")), "{said}");
        assert!(bytes(root.path()) == before, "{}: nothing is changed", bad.display());
    }
    assert_eq!(fs::read(&other).expect("a letter"), b"Dear Ann,\n");
    // A disk that is full in the middle: no mailbox is written that could not be noted before.
    let full = elsewhere.path().join("journal");
    let script = format!("ulimit -f 2; exec \"$0\" rebuild -j 1 --journal {} \"$1\"", full.display());
    let output = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_idx")])
        .arg(root.path())
        .output()
        .expect("idx runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot keep the journal"), "{said}");
    let text = fs::read_to_string(&full).expect("a journal");
    let noted: Vec<&str> = text.lines().filter(|line| line.contains("\"event\":\"write\"")).collect();
    for path in bytes(root.path()).keys().filter(|path| !before.contains_key(*path)) {
        let index = path.to_str().expect("UTF-8").trim_end_matches(".idx-undo");
        assert!(noted.iter().any(|line| line.contains(&format!("/{index}\""))), "{} was not noted", path.display());
    }
}

/// A mailbox that goes away while the run is on its way to it is none.
#[test]
fn a_mailbox_removed_meanwhile_is_passed_over() {
    let waiting = Waiting::begin();
    fs::remove_dir_all(waiting.root.path().join("fay")).expect("removed");
    let (_root, _, output) = waiting.end();
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(document["summary"]["failed"], 0, "{document}");
    let fays = rows(&document).iter().filter(|row| row["path"].as_str().expect("a path").contains("/fay/"));
    assert_eq!(fays.count(), 0);
}

/// Each mailbox is worked on with the rights of its owner, and what is written is his.
#[test]
#[ignore = "needs root"]
fn every_mailbox_is_its_owners() {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = tree();
    damage(root.path());
    fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    for (uid, (home, _)) in (64_001..).zip(HOMES) {
        for path in all_below(&root.path().join(home)) {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).expect("owner");
        }
    }
    // One of a stranger's is refused, and the others are not.
    let strange = root.path().join("ann/Maildir/dovecot.index.log");
    std::os::unix::fs::chown(&strange, Some(64_099), None).expect("owner");
    let (code, document) = document(&["rebuild", "--accept-loss", "-j", "4"], root.path());
    assert_eq!((code, &document["summary"]["failed"]), (Some(2), &Value::from(1)), "{}", document["summary"]);
    assert!(document["errors"][0]["error"].as_str().expect("text").contains("64099"), "{}", document["errors"]);
    let mut written = 0;
    for (uid, (home, _)) in (64_001..).zip(HOMES) {
        for path in all_below(&root.path().join(home)).into_iter().filter(|path| *path != strange) {
            assert_eq!(path.metadata().expect("file").uid(), uid, "{}", path.display());
            written += usize::from(path.to_string_lossy().ends_with(".idx-undo"));
        }
    }
    assert!(written > 3);
}

/// Thirty mailboxes of a real server, two thirds of them damaged, rebuilt in one run beside a session that has one of
/// them selected: no client sees a difference, and the server has nothing to say.
#[test]
#[ignore = "needs dovecot"]
fn thirty_mailboxes_beside_a_running_session() {
    use support::dovecot::{Dovecot, Format, Installation};
    for installation in Installation::all() {
        for format in [Format::Maildir, Format::Sdbox] {
            let dovecot = Dovecot::with(installation.clone(), format, &[]);
            let boxes: Vec<String> = (0..30).map(|i| format!("box{i:02}")).collect();
            let mut session = dovecot.qresync();
            for name in &boxes {
                session.ok(&format!("CREATE {name}"));
                for flags in [&["\\Seen"][..], &["\\Flagged", "kw"]] {
                    session.append(name, flags, None, b"Subject: one\r\n\r\ntext\r\n");
                }
            }
            let mut look = || boxes.iter().map(|name| session.state(name)).collect::<Vec<_>>();
            let before = look();
            session.logout();
            let mut running = dovecot.qresync();
            running.select(&boxes[0]);
            for (i, name) in boxes.iter().enumerate() {
                let dir = dovecot.index_dir(name);
                let log = dir.join("dovecot.index.log");
                match i % 3 {
                    1 => fs::write(dir.join("dovecot.index"), b"no index at all").expect("written"),
                    2 => edit(&log, |log| log.extend([0; 7])),
                    _ => {}
                }
                for file in [log, dir.join("dovecot.index")].iter().filter(|file| file.exists()) {
                    rest(file);
                }
            }
            dovecot.give_back();
            let place = format!("{} {}", installation.version(), format.name());
            let (code, report) = document(&["rebuild", "--preen", "-r", "-j", "2"], &dovecot.mail_root());
            assert_eq!(code, Some(0), "{place}: {report}");
            assert!(report["summary"]["rebuilt"].as_u64().expect("a number") >= 20, "{place}: {}", report["summary"]);
            running.ok("NOOP");
            running.ok("UID STORE 1 +FLAGS (\\Answered)");
            running.ok("UID STORE 1 -FLAGS (\\Answered)");
            running.logout();
            let mut session = dovecot.qresync();
            for (name, before) in boxes.iter().zip(&before).skip(1) {
                assert!(session.state(name) == *before, "{place}: {name} is not what it was");
            }
            let problems = dovecot.error_log();
            assert!(problems.is_empty(), "{place}: Dovecot logged {problems:#?}");
        }
    }
}
