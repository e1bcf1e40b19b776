//! Reading a mailbox that is being changed: a set of files is read as one state, or not at all, and a file that is cut
//! while it is read ends no process.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use idx::format::index::{IndexFile, IndexHeader};
use idx::format::log::{LogFile, LogHeader};
use idx::format::{Disk, Endian};
use idx::source::{MailboxFiles, MmapPolicy, PathError, Role};
use support::dovecot::{Dovecot, Format};
use support::workload::Workload;

fn log(seq: u32) -> Vec<u8> {
    LogHeader {
        major_version: 1,
        minor_version: 3,
        hdr_size: 40,
        indexid: 7,
        file_seq: seq,
        prev_file_seq: seq - 1,
        prev_file_offset: 40,
        create_stamp: 7,
        initial_modseq: 1,
        compat_flags: 1,
        unused: [0; 3],
        unused2: 0,
    }
    .to_bytes(Endian::Little)
}

fn index(seq: u32) -> Vec<u8> {
    let mut header = IndexHeader::empty(7, Endian::Little);
    header.log_file_seq = seq;
    header.log_file_head_offset = 40;
    header.to_bytes(Endian::Little)
}

/// One rotation in Dovecot's order: link the old log, rename the new one over it, rewrite the index.
fn rotate(dir: &Path, seq: u32) {
    let at = |name: &str| dir.join(name);
    fs::write(at("dovecot.index.log.newlock"), log(seq)).expect("written");
    let _ = fs::remove_file(at("dovecot.index.log.2"));
    fs::hard_link(at("dovecot.index.log"), at("dovecot.index.log.2")).expect("linked");
    fs::rename(at("dovecot.index.log.newlock"), at("dovecot.index.log")).expect("renamed");
    fs::write(at("dovecot.index.tmp"), index(seq)).expect("written");
    fs::rename(at("dovecot.index.tmp"), at("dovecot.index")).expect("renamed");
}

#[test]
fn a_set_of_files_is_one_state_however_often_they_are_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("dovecot.index.log"), log(2)).expect("written");
    rotate(dir.path(), 3);
    let files = MailboxFiles::locate(dir.path()).expect("a mailbox");
    let stop = AtomicBool::new(false);
    let (mut read, mut busy) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seq = 4;
            while !stop.load(Ordering::Relaxed) {
                rotate(dir.path(), seq);
                seq += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        for _ in 0..400 {
            match files.read(&[Role::Index, Role::OldLog, Role::Log], MmapPolicy::Auto) {
                Err(PathError::Busy(_)) => busy += 1,
                Err(error) => panic!("{error}"),
                Ok(snapshot) => {
                    read += 1;
                    let seq = |role| {
                        let input = snapshot.get(role)?;
                        let log = LogFile::parse(&input.bytes, input.bytes.len() as u64).expect("a log");
                        Some(log.header.file_seq)
                    };
                    let input = snapshot.get(Role::Index).expect("always there");
                    let have = IndexFile::parse(&input.bytes).expect("an index").header.log_file_seq;
                    let new = seq(Role::Log).expect("always there");
                    // Between the two renames the index is one log behind; then the old log is there.
                    assert!(have == new || have + 1 == new, "index at log {have}, log {new}");
                    if have + 1 == new {
                        assert_eq!(seq(Role::OldLog), Some(have));
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(read > 0, "{busy} times busy, never read");
}

/// Files that are large enough to be mapped, in a mailbox beside a damaged one and a sound one.
fn spool(owner: Option<u32>) -> tempfile::TempDir {
    use support::build::{Log, cache, index, words};
    let temp = tempfile::tempdir().expect("a directory");
    let from = support::fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    for name in ["bad", "good"] {
        fs::create_dir(temp.path().join(name)).expect("a directory");
        for file in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2"] {
            fs::copy(from.join(file), temp.path().join(name).join(file)).expect("a fixture");
        }
    }
    fs::write(temp.path().join("bad/dovecot.index"), [7; 300]).expect("written");
    let large = temp.path().join("large");
    fs::create_dir(&large).expect("a directory");
    let records: Vec<u8> = (1..=1200_u32).flat_map(|uid| words(&[uid]).repeat(1024)).collect();
    fs::write(large.join("dovecot.index"), index(&[], 4096, &records, |header| header.uid_validity = 7)).expect("file");
    fs::write(large.join("dovecot.index.log"), Log::new(1).bytes).expect("written");
    let mut bytes = cache(&[("flags", 4, 3)], 1);
    bytes.resize(5 << 20, 0xa5);
    fs::write(large.join("dovecot.index.cache"), bytes).expect("written");
    for path in support::all_below(temp.path()) {
        if let Some(owner) = owner {
            std::os::unix::fs::chown(&path, Some(owner), Some(owner)).expect("owner");
        }
    }
    temp
}

/// A user cuts and regrows his index and his cache without end, beside every verb that reads them: no process dies of it,
/// what is wrong beside them is found, and the exit code is one of the three.
#[test]
fn a_file_that_is_cut_while_it_is_read_kills_nobody() {
    const SIGBUS: i32 = 7;
    let owners = if rustix::process::geteuid().is_root() { vec![None, Some(54_324)] } else { vec![None] };
    for owner in owners {
        let spool = spool(owner);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let names = ["dovecot.index", "dovecot.index.cache"].map(|name| spool.path().join("large").join(name));
                let whole = names.each_ref().map(|name| fs::read(name).expect("a file"));
                while !stop.load(Ordering::Relaxed) {
                    for (name, bytes) in names.iter().zip(&whole) {
                        fs::File::options().write(true).open(name).and_then(|file| file.set_len(0)).expect("cut");
                        std::thread::sleep(std::time::Duration::from_millis(1));
                        use std::os::unix::fs::FileExt;
                        let file = fs::File::options().write(true).open(name).expect("a file");
                        file.write_all_at(bytes, 0).expect("written");
                        std::thread::sleep(std::time::Duration::from_millis(8));
                    }
                }
            });
            let runs = std::panic::catch_unwind(|| {
                for mmap in ["auto", "never", "always"] {
                    for (verb, below) in [
                        ("check", ""),
                        ("scan", ""),
                        ("show", "large"),
                        ("log", "large"),
                        ("dump", "large/dovecot.index.cache"),
                        ("dump", "large/dovecot.index"),
                    ] {
                        for _ in 0..2 {
                            let output = Command::new(env!("CARGO_BIN_EXE_idx"))
                                // With a faked date files of this moment are old.
                                .env_remove("LD_PRELOAD")
                                .args([verb, "-f", "ndjson", "--mmap", mmap])
                                .arg(spool.path().join(below))
                                .stdin(Stdio::null())
                                .output()
                                .expect("idx runs");
                            let what = format!("{verb} {below} --mmap {mmap}: {}", output.status);
                            // Who maps such a file all the same has asked for it.
                            if mmap == "always" && output.status.signal() == Some(SIGBUS) {
                                continue;
                            }
                            let code = output.status.code().expect(&what);
                            let text = String::from_utf8_lossy(&output.stdout);
                            assert!((0..=2).contains(&code), "{what}");
                            if below.is_empty() {
                                let wrong = if verb == "check" { 1..=2 } else { 0..=2 };
                                assert!(wrong.contains(&code), "{what}");
                                assert!(text.contains("/bad"), "{what}: {text}");
                            }
                            if verb == "scan" {
                                assert!(text.contains("/good") && text.contains("/large"), "{what}: {text}");
                            }
                        }
                    }
                }
            });
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = runs {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// Settings under which almost every session rotates the log and writes the index anew.
const RESTLESS: [(&str, &str); 5] = [
    ("mail_index_log_rotate_min_size", "512"),
    ("mail_index_log_rotate_max_size", "1k"),
    ("mail_index_log_rotate_min_age", "1 s"),
    ("mail_index_rewrite_min_log_bytes", "256"),
    ("mail_index_rewrite_max_log_bytes", "512"),
];

/// Which of its openat(2) calls a run makes for files of a mailbox: numbers as strace counts them, each thread by itself.
fn opens(args: &[&str], path: &Path) -> BTreeSet<usize> {
    let trace = tempfile::NamedTempFile::new().expect("file");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=openat", "-o"])
        .arg(trace.path())
        .arg(env!("CARGO_BIN_EXE_idx"))
        .args(args)
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace");
    assert_eq!(status.code(), Some(0), "{args:?}");
    let (mut counts, mut wanted) = (BTreeMap::new(), BTreeSet::new());
    for line in fs::read_to_string(trace.path()).expect("a trace").lines().filter(|line| line.contains("openat(")) {
        let count = counts.entry(line.split_whitespace().next().unwrap_or_default().to_owned()).or_insert(0);
        *count += 1;
        if ["dovecot", "\"cur\"", "\"new\"", "\".\"", "\"u."].iter().any(|name| line.contains(name)) {
            wanted.insert(*count);
        }
    }
    wanted
}

/// Between two opens of a verb that reads, a real server rotates the log, writes the index anew, takes a message in and
/// throws one away: nothing is called damaged, and what is shown is a state that there was.
#[test]
#[ignore = "needs dovecot"]
fn a_busy_server_between_two_opens_is_no_damage() {
    let verbs: [&[&str]; 7] =
        [&["check"], &["check", "--deep"], &["show"], &["scan"], &["log"], &["expunges"], &["modseq"]];
    for (format, step) in [(Format::Maildir, 2), (Format::Sdbox, 5), (Format::Mdbox, 5)] {
        let dovecot = Dovecot::new(format, &RESTLESS);
        Workload::new(8).operations(25).run(&dovecot);
        let dir = dovecot.index_dir("INBOX");
        let mut session = dovecot.imap();
        (0..3).for_each(|_| _ = session.append("INBOX", &[], None, b"Subject: before\r\n\r\nbody\r\n"));
        session.logout();
        for verb in verbs {
            for n in opens(verb, &dir).into_iter().step_by(step) {
                let child = Command::new("strace")
                    .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject=openat:delay_exit=150000:when={n}")])
                    .arg(env!("CARGO_BIN_EXE_idx"))
                    .args(verb)
                    .args(["-f", "json"])
                    .arg(&dir)
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("strace");
                std::thread::sleep(std::time::Duration::from_millis(40));
                let mut session = dovecot.imap();
                session.select("INBOX");
                session.append("INBOX", &[], None, b"Subject: meanwhile\r\n\r\nbody\r\n");
                session.ok("STORE 1 +FLAGS (\\Deleted)");
                session.ok("EXPUNGE");
                session.ok("STORE 1:* +FLAGS (kw)");
                session.logout();
                if format == Format::Mdbox {
                    dovecot.doveadm_mail(&["purge"], &[]);
                }
                let output = child.wait_with_output().expect("strace ends");
                let text = String::from_utf8_lossy(&output.stdout);
                let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let what = format!("{format:?} {verb:?}, openat {n}: {:?}: {text}", output.status.code());
                let found = [&report["findings"], &report["problems"]].into_iter().filter_map(|list| list.as_array());
                let errors = found.flatten().filter(|one| one["severity"] == "error").count();
                assert_eq!(errors, 0, "{what}");
                assert_ne!(report["mailboxes"][0]["state"], "damaged", "{what}");
                // Changed too often to be read is an answer, too.
                let stderr = String::from_utf8_lossy(&output.stderr);
                let is_busy = stderr.contains("busy") || stderr.contains("replaced") || text.contains("busy");
                assert!(output.status.code() == Some(0) || is_busy, "{what}: {stderr}");
            }
        }
    }
}
