//! What happens between two system calls of a commit: idx is killed there, one call fails, or a real Dovecot comes in.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, FileTimes};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::dovecot::{Dovecot, Format, Installation};
use support::fixtures;
use support::workload::Workload;

const NAMES: [&str; 4] = ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"];
/// A user whom nobody knows: root works with other rights then, if it is root who runs the tests.
const USER: u32 = 54_323;
/// The calls that change what others see, or by which rights are changed.
const CALLS: [&str; 11] = [
    "renameat2",
    "renameat",
    "linkat",
    "unlinkat",
    "fsync",
    "ftruncate",
    "pwrite64",
    "fchmod",
    "setgroups",
    "setresgid",
    "setresuid",
];

/// Settings under which there is an index after a few operations, and one log.
const REWRITE_OFTEN: [(&str, &str); 4] = [
    ("mail_index_log_rotate_min_size", "1G"),
    ("mail_index_log_rotate_max_size", "1G"),
    ("mail_index_rewrite_min_log_bytes", "512"),
    ("mail_index_rewrite_max_log_bytes", "1k"),
];

type Files = BTreeMap<&'static str, Option<Vec<u8>>>;

fn files(dir: &Path) -> Files {
    NAMES.into_iter().map(|name| (name, fs::read(dir.join(name)).ok())).collect()
}

const MAILDIR: &str = "2.3.19.1-maildir-chain/files/Maildir";
const SDBOX: &str = "2.3.19.1-sdbox-chain/files/sdbox/mailboxes/INBOX/dbox-Mails";
const MDBOX: &str = "2.4.1-mdbox-busy/files/mdbox/mailboxes/Archive/dbox-Mails";

fn mailbox(damage: fn(&Path)) -> tempfile::TempDir {
    mailbox_of(MAILDIR, damage)
}

fn mailbox_of(fixture: &str, damage: fn(&Path)) -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("directory");
    let from = fixtures().join(fixture);
    for name in NAMES {
        let Ok(bytes) = fs::read(from.join(name)) else { continue };
        fs::write(temp.path().join(name), bytes).expect("copy");
    }
    damage(temp.path());
    for name in NAMES {
        let Ok(file) = fs::File::options().write(true).open(temp.path().join(name)) else { continue };
        let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        file.set_times(old).expect("time");
        if rustix::process::geteuid().is_root() {
            chown(temp.path().join(name), Some(USER), Some(USER)).expect("owner");
        }
    }
    if rustix::process::geteuid().is_root() {
        chown(temp.path(), Some(USER), Some(USER)).expect("owner");
    }
    temp
}

fn idx(args: &[&str], dir: &Path) -> (i32, Value) {
    traced(&[], args, dir)
}

/// Runs idx, under strace if that has options.
fn traced(strace: &[&str], args: &[&str], dir: &Path) -> (i32, Value) {
    let program = env!("CARGO_BIN_EXE_idx");
    let mut command = Command::new(if strace.is_empty() { program } else { "strace" });
    if !strace.is_empty() {
        command.args(["-f", "-qq"]).args(strace).arg(program);
    }
    let output = command.args(args).args(["-f", "json"]).arg(dir).output().expect("idx runs");
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// How often a run makes each of [`CALLS`].
fn calls(args: &[&str], dir: &Path) -> Vec<(&'static str, usize)> {
    let trace = tempfile::NamedTempFile::new().expect("file");
    let (code, report) = traced(&["-o", trace.path().to_str().expect("UTF-8")], args, dir);
    assert!(matches!(code, 0 | 1), "{report}");
    let text = fs::read_to_string(trace.path()).expect("a trace");
    let name = |line: &str| line.split_whitespace().nth(1)?.split('(').next().map(str::to_owned);
    let count = |call: &str| text.lines().filter(|line| name(line).is_some_and(|name| name == call)).count();
    CALLS.into_iter().map(|call| (call, count(call))).filter(|(_, count)| *count > 0).collect()
}

/// A mailbox without a log, and `undo`: killed or failing at each call they end in the old state or the new one, what they said
/// is true, and the next run ends where this one would have.
#[test]
#[ignore = "needs strace"]
fn no_gap_leaves_half_a_change_without_a_log_or_in_undo() {
    let without_log: fn(&Path) = |dir| {
        for name in ["dovecot.index.log", "dovecot.index.log.2"] {
            fs::remove_file(dir.join(name)).expect("a log");
        }
    };
    let marked: fn(&Path) = |dir| {
        let mut log = fs::read(dir.join(NAMES[1])).expect("log");
        log[4..8].fill(0);
        fs::write(dir.join(NAMES[1]), log).expect("log");
        let index = fs::read(dir.join(NAMES[0])).expect("index");
        fs::write(dir.join(NAMES[0]), &index[..100]).expect("index");
    };
    let rebuild: &[&str] = &["rebuild", "--accept-loss", "--lock-timeout", "1"];
    let mut failures = Vec::new();
    let mut runs = 0;
    for (fixture, what, damage, undo) in [
        (MAILDIR, "rebuild", without_log, false),
        (MAILDIR, "undo", marked, true),
        (MAILDIR, "undo", without_log, true),
        (SDBOX, "rebuild", marked, false),
        (SDBOX, "undo", marked, true),
        (MDBOX, "rebuild", marked, false),
        (MDBOX, "undo", marked, true),
    ] {
        let args = if undo { &["undo"] } else { rebuild };
        let fresh = || {
            let temp = mailbox_of(fixture, damage);
            let damaged = files(temp.path());
            if undo {
                let (code, report) = idx(rebuild, temp.path());
                assert!(matches!(code, 0 | 1), "{report}");
            }
            (temp, damaged)
        };
        let (counted, damaged) = fresh();
        let calls = calls(args, counted.path());
        assert!(!undo || files(counted.path()) == damaged, "undo restores");
        for (call, n) in calls.iter().flat_map(|(call, count)| (1..=*count).map(move |n| (call, n))) {
            for fault in ["signal=KILL", "error=EIO"] {
                runs += 1;
                let (temp, damaged) = fresh();
                let before = files(temp.path());
                let inject = format!("inject={call}:{fault}:when={n}");
                let (code, report) = traced(&["-o", "/dev/null", "-e", &inject], args, temp.path());
                let place = format!("{fixture}: {what}: {call} {n} {fault}: {code} {report}");
                let now = files(temp.path());
                if report["error"].as_str().is_some_and(|error| error.contains("nothing is changed")) && now != before {
                    failures.push(format!("{place}: it is changed"));
                }
                if undo {
                    if code == 0 && now != damaged {
                        failures.push(format!("{place}: says it is restored"));
                    }
                    let (code, report) = idx(&["undo"], temp.path());
                    let nothing = report["error"].as_str().is_some_and(|error| error.contains("nothing to undo"));
                    if files(temp.path()) != damaged || (code != 0 && !nothing) {
                        failures.push(format!("{place}: a second undo: {code} {report}"));
                    }
                } else {
                    let (code, report) = idx(rebuild, temp.path());
                    if !matches!(code, 0 | 1) || idx(&["check"], temp.path()).0 == 2 {
                        failures.push(format!("{place}: a second run: {code} {report}"));
                    }
                    let (code, report) = idx(&["undo", "--all"], temp.path());
                    if code != 0 || files(temp.path()) != damaged {
                        failures.push(format!("{place}: undo: {code} {report}"));
                    }
                }
            }
        }
    }
    assert!(runs > 60, "only {runs} faults");
    assert!(failures.is_empty(), "{} of {runs}:\n{}", failures.len(), failures.join("\n"));
}

/// A file system without RENAME_EXCHANGE and RENAME_NOREPLACE, such as NFS.
#[test]
#[ignore = "needs strace"]
fn names_are_changed_without_help_of_the_file_system() {
    let marked: fn(&Path) = |dir| {
        let mut log = fs::read(dir.join(NAMES[1])).expect("log");
        log[4..8].fill(0);
        fs::write(dir.join(NAMES[1]), log).expect("log");
        fs::write(dir.join(NAMES[0]), b"gone").expect("index");
    };
    let (with, without) = (mailbox(marked), mailbox(marked));
    let damaged = files(with.path());
    let inject = ["-o", "/dev/null", "-e", "inject=renameat2:error=EINVAL"];
    let (code, report) = traced(&inject, &["rebuild", "--accept-loss"], without.path());
    assert!(matches!(code, 0 | 1), "{report}");
    assert_eq!(idx(&["rebuild", "--accept-loss"], with.path()).0, code);
    let states = [&with, &without].map(|temp| idx(&["show"], temp.path()).1["messages"].to_string());
    assert_eq!(states[0], states[1]);
    let (code, report) = traced(&inject, &["undo"], without.path());
    assert_eq!(code, 0, "{report}");
    assert!(files(without.path()) == damaged);
    let left = fs::read_dir(without.path()).expect("directory").flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Every point, or in `tests/run`, which has no time for thousands, one of so many.
fn sample<T>(points: Vec<T>, step: usize) -> impl Iterator<Item = T> {
    let step = if std::env::var_os("IDX_EACH_GAP").is_some() { 1 } else { step };
    points.into_iter().skip(step / 2).step_by(step)
}

/// A mailbox without a log, one whose log Dovecot would throw away, and one whose index is cut short.
const DAMAGES: [(&str, fn(&Path)); 3] = [
    ("no log", |dir| {
        ["dovecot.index.log", "dovecot.index.log.2"].iter().for_each(|n| fs::remove_file(dir.join(n)).expect("log"))
    }),
    ("marked", |dir| {
        let mut log = fs::read(dir.join(NAMES[1])).expect("log");
        log[4..8].fill(0);
        fs::write(dir.join(NAMES[1]), log).expect("log");
        fs::write(dir.join(NAMES[0]), [7; 100]).expect("index");
    }),
    ("index", |dir| fs::write(dir.join(NAMES[0]), [7; 100]).expect("index")),
];
const REBUILD: &[&str] = &["rebuild", "--accept-loss", "--lock-timeout", "100ms"];
const UNDO: &[&str] = &["undo", "--lock-timeout", "100ms"];

/// A damaged mailbox, rebuilt already if that is to be undone, and its files when it was damaged.
fn damaged(damage: fn(&Path), rebuilt: bool) -> (tempfile::TempDir, Files) {
    let temp = mailbox(damage);
    let before = files(temp.path());
    assert!(!rebuilt || idx(REBUILD, temp.path()).0 < 2);
    (temp, before)
}

/// The points at which a run can be met: each of [`CALLS`].
fn points(args: &[&str], damage: fn(&Path), rebuilt: bool) -> Vec<(&'static str, usize)> {
    let (temp, _) = damaged(damage, rebuilt);
    let calls = calls(args, temp.path());
    calls.into_iter().flat_map(|(call, count)| (1..=count).map(move |n| (call, n))).collect()
}

/// The child of strace, if it has been stopped.
fn stopped(strace: u32) -> Option<rustix::process::Pid> {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    let child: i32 = children.trim().parse().ok()?;
    let rests = |_| {
        std::thread::sleep(Duration::from_millis(5));
        fs::read_dir(format!("/proc/{child}/task")).ok()?.flatten().find(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
        })
    };
    // Each call that is traced stops it for a moment.
    (0..3).all(|i| rests(i).is_some()).then(|| rustix::process::Pid::from_raw(child))?
}

/// Two at once, rebuilds and undos, one of them stopped at a call of its commit until the other has ended: none is torn, one
/// of the two does its work, nothing is left lying about, and what can be undone is exactly what there was before.
#[test]
#[ignore = "needs strace"]
fn one_of_two_that_is_stopped_anywhere_harms_nobody() {
    let mut failures = Vec::new();
    let mut runs = 0;
    for (what, damage) in DAMAGES {
        for (first, second) in [(REBUILD, REBUILD), (REBUILD, UNDO), (UNDO, REBUILD), (UNDO, UNDO)] {
            let rebuilt = first == UNDO || second == UNDO;
            for (call, n) in sample(points(first, damage, rebuilt && first == UNDO), 23) {
                runs += 1;
                let (temp, start) = damaged(damage, rebuilt);
                let mut child = Command::new("strace")
                    .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}:signal=STOP:when={n}")])
                    .arg(env!("CARGO_BIN_EXE_idx"))
                    .args(first)
                    .args(["-f", "json"])
                    .arg(temp.path())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("strace");
                let begun = std::time::Instant::now();
                let mut held = false;
                while !held && child.try_wait().expect("strace").is_none() {
                    assert!(begun.elapsed() < Duration::from_secs(60), "{call} {n}: neither stopped nor ended");
                    held = stopped(child.id()).is_some();
                }
                let (b, second_report) = idx(second, temp.path());
                // It may have been taken for stopped a moment too early.
                while child.try_wait().expect("strace").is_none() {
                    if let Some(pid) = stopped(child.id()) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
                    }
                }
                let output = child.wait_with_output().expect("strace ends");
                let a = output.status.code().unwrap_or(-1);
                let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
                let place =
                    format!("{what}, {first:?} at {call} {n} beside {second:?}: {a} {report}, {b} {second_report}");
                let mut fail = |why: &str| failures.push(format!("{place}: {why}"));
                let both = report.to_string() + &second_report.to_string();
                if a < 0 || b < 0 || both.contains("not taken back") || both.contains("somebody else") {
                    fail("torn");
                }
                if a == 2 && b == 2 && !(rebuilt && both.contains("nothing to undo")) {
                    fail("neither did its work");
                }
                let names = fs::read_dir(temp.path()).expect("directory").flatten().map(|entry| entry.file_name());
                let left: Vec<_> =
                    names.filter(|n| ["tmp", "lock"].iter().any(|x| n.to_string_lossy().contains(x))).collect();
                if !left.is_empty() {
                    fail(&format!("{left:?} is left"));
                }
                if !rebuilt && idx(&["rebuild"], temp.path()).1["status"] != "unchanged" {
                    fail("it is not whole");
                }
                let undone = idx(&["undo", "--all"], temp.path()).1;
                if files(temp.path()) != start {
                    fail(&format!("undo leads elsewhere: {undone}"));
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs >= 12 && failures.is_empty(), "{} of {runs}:\n{}", failures.len(), failures.join("\n"));
}

/// A signal at each call of a commit, and right after it: nothing is changed, or all is, and then that is said and the exit
/// status is that of the work.
#[test]
#[ignore = "needs strace"]
fn signals_at_each_call_of_a_commit() {
    let mut failures = Vec::new();
    let mut runs = 0;
    for (what, damage) in DAMAGES {
        for (args, rebuilt) in [(REBUILD, false), (UNDO, true)] {
            let points = points(args, damage, rebuilt);
            let each =
                points.into_iter().flat_map(|point| ["TERM", "INT", "HUP", "XFSZ"].map(|signal| (point, signal)));
            for ((call, n), signal) in sample(each.collect(), 15) {
                runs += 1;
                let (temp, start) = damaged(damage, rebuilt);
                let before = files(temp.path());
                let inject = format!("inject={call}:signal={signal}:when={n}");
                let (code, report) = traced(&["-o", "/dev/null", "-e", &inject], args, temp.path());
                let now = files(temp.path());
                let place = format!("{what}, {args:?}, {call} {n}, {signal}: {code} {report}");
                if (now != before) != matches!(code, 0 | 1) || (now != before && report["status"].is_null()) {
                    failures.push(place);
                } else if now != before && rebuilt && now != start {
                    failures.push(format!("{place}: half"));
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs >= 12 && failures.is_empty(), "{} of {runs}:\n{}", failures.len(), failures.join("\n"));
}

/// In each gap of a commit a real Dovecot opens the mailbox, stores a flag and appends a message: what it has confirmed is
/// there afterwards, and the mailbox is sound.
#[test]
#[ignore = "needs dovecot"]
fn a_session_in_each_gap_keeps_what_it_was_told() {
    session_in_each_gap(&Dovecot::new(Format::Maildir, &REWRITE_OFTEN), 1);
}

/// The same where the messages lie beside the index, and a delivery makes a file there before it has the log's lock.
#[test]
#[ignore = "needs dovecot"]
fn a_session_in_each_gap_of_an_sdbox_keeps_what_it_was_told() {
    session_in_each_gap(&Dovecot::new(Format::Sdbox, &REWRITE_OFTEN), 1);
}

/// The same with the other Dovecots there are, and where the messages lie elsewhere.
#[test]
#[ignore = "needs dovecot"]
fn a_session_in_a_gap_of_other_servers_and_storages_keeps_what_it_was_told() {
    session_in_each_gap(&Dovecot::new(Format::Mdbox, &REWRITE_OFTEN), 5);
    for installation in Installation::all().into_iter().filter(Installation::has_new_settings) {
        session_in_each_gap(&Dovecot::with(installation.clone(), Format::Maildir, &REWRITE_OFTEN), 5);
        session_in_each_gap(&Dovecot::with(installation, Format::Sdbox, &REWRITE_OFTEN), 5);
    }
}

/// Each gap, or one of so many, of the commits of two rebuilds.
fn session_in_each_gap(dovecot: &Dovecot, step: usize) {
    Workload::new(5).operations(25).run(dovecot);
    let (root, dir) = (dovecot.mail_root(), dovecot.index_dir("INBOX"));
    let rebuild: &[&str] = &["rebuild", "--accept-loss"];
    let whole = dovecot.snapshot(&root);
    let (mut done, mut kept) = (0, 0);
    let mut gaps = Vec::new();
    // Without an index the log is locked; without a log there is only the lock on the making of one.
    // Of a dbox without its log the server alone refuses the APPEND (sdbox: "u.10 already exists, rebuilding index") or gives
    // UIDs again (mdbox), and what only that log knew comes back under new UIDs.
    let names = if dovecot.format() == Format::Maildir { &NAMES[..2] } else { &NAMES[..1] };
    for missing in names.iter().copied() {
        dovecot.restore(&whole, &root);
        let _ = fs::remove_file(dir.join(missing));
        let calls = calls(rebuild, &dir);
        gaps.extend(calls.into_iter().flat_map(|(call, count)| (1..=count).map(move |n| (missing, call, n))));
    }
    for (missing, call, n) in gaps.into_iter().step_by(step) {
        dovecot.restore(&whole, &root);
        let before = dovecot.imap().state("INBOX");
        let _ = fs::remove_file(dir.join(missing));
        let undo = dir.join("dovecot.index.idx-undo.tmp");
        let inject = format!("inject={call}:delay_exit=300000:when={n}");
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, env!("CARGO_BIN_EXE_idx")])
            .args(rebuild)
            .args(["-f", "json"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("strace");
        // The undo file is the first that idx writes.
        for _ in 0..200 {
            if undo.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let uid = before.messages.first().expect("a message").uid;
        let mut session = dovecot.imap();
        session.select("INBOX");
        session.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
        let appended = session.append("INBOX", &["\\Draft"], None, b"Subject: in the gap\r\n\r\nbody\r\n");
        let appended = appended.append_uid().expect("APPENDUID");
        session.logout();
        let output = child.wait_with_output().expect("strace ends");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let place = format!("without {missing}, {call} {n}: {:?} {report}", output.status.code());
        match report["error"].as_str() {
            None => done += 1,
            Some(error) => {
                let told = ["busy", "nothing is changed", "not taken back"].iter().any(|word| error.contains(word));
                assert!(told, "{place}");
                kept += 1;
            }
        }
        dovecot.give_back();
        let after = dovecot.imap().state("INBOX");
        assert_eq!(after.selected.uid_validity, before.selected.uid_validity, "{place}");
        let flags = |uid: u32| after.messages.iter().find(|one| one.uid == uid).map(|one| one.flags.join(" "));
        assert!(flags(uid).is_some_and(|flags| flags.contains("\\Flagged")), "{place}: the flag is lost");
        assert_eq!(flags(appended).as_deref(), Some("\\Draft"), "{place}: the message {appended} is lost");
        assert!(before.messages.iter().all(|one| flags(one.uid).is_some()), "{place}");
        assert!(before.messages.iter().all(|one| one.uid < appended), "{place}: a UID is given twice");
        assert!(after.selected.next_uid > appended, "{place}");
        let (_, found) = idx(&["check"], &dir);
        let errors =
            found["findings"].as_array().into_iter().flatten().filter(|one| one["severity"] == "error").count();
        assert_eq!(errors, 0, "{place}: {found}");
    }
    println!("{:?}: {done} rebuilt, {kept} left to Dovecot", dovecot.format());
    assert!(done > 0);
}
