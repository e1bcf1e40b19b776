//! `idx check` over trees: what it finds, in which order, and that nothing stops it.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use support::dovecot::{Dovecot, Format, copy_tree};
use support::fixtures;
use support::workload::ROTATE_OFTEN;

fn check(args: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    command.arg("check").args(args).arg(path).stdin(Stdio::null()).output().expect("idx runs")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Four users: a Maildir, an sdbox by GUID, an mdbox, an mbox.
fn spool() -> tempfile::TempDir {
    let spool = tempfile::tempdir().expect("directory");
    for (from, user) in [
        ("2.4.1-maildir-list", "a"),
        ("2.3.19.1-sdbox-list-index", "b"),
        ("2.3.19.1-mdbox-list", "c"),
        ("2.3.19.1-mbox-list", "d"),
    ] {
        copy_tree(&fixtures().join(from).join("files"), &spool.path().join(user)).expect("copy");
    }
    spool
}

#[test]
fn a_sound_spool_says_nothing() {
    let spool = spool();
    let output = check(&["--fail-on", "warning"], spool.path());
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(0), &b""[..], &b""[..]));
    let summary = document(&check(&["-f", "json"], spool.path()))["summary"].clone();
    // As many as LIST had with a STATUS: 12 in each format but mbox, where folders hold no messages.
    let want = serde_json::json!({"mailboxes": 45, "sound": 45, "warning": 0, "error": 0, "busy": 0, "unreadable": 0});
    assert_eq!(summary, want);
}

#[test]
fn damage_is_found_wherever_it_is_and_in_the_same_order() {
    let spool = spool();
    let broken = [
        "a/Maildir/.Archive/dovecot.index.log",
        "a/Maildir/dovecot.list.index",
        "c/mdbox/mailboxes/Trash/dbox-Mails/dovecot.index.log",
        "c/mdbox/storage/dovecot.map.index.log",
        "d/mbox/Archive/2024/.imap/Q1/dovecot.index.log",
    ];
    for name in broken {
        // Neither version of the header exists.
        let path = spool.path().join(name);
        let mut bytes = fs::read(&path).expect("file");
        bytes[0] = 9;
        fs::write(&path, bytes).expect("write");
    }
    let mut runs = Vec::new();
    for jobs in ["1", "2", "5"] {
        let output = check(&["-f", "json", "-j", jobs], spool.path());
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let mut run = document(&output);
        // The time of the run is its own.
        assert!(run["at"].take().is_string());
        runs.push(run);
    }
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
    let findings = runs[0]["findings"].as_array().expect("findings");
    let mut files: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["severity"] == "error")
        .map(|finding| finding["file"].as_str().expect("file"))
        .collect();
    files.dedup();
    let want: Vec<String> = broken.iter().map(|name| spool.path().join(name).display().to_string()).collect();
    let mut sorted = files.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let mut wanted: Vec<&str> = want.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    let summary = &runs[0]["summary"];
    // The three mailboxes, the INBOX whose directory has the broken list, and the map.
    assert_eq!((&summary["error"], &summary["sound"]), (&5.into(), &41.into()), "{summary}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_checked() {
    let spool = spool();
    let log = spool.path().join("a/Maildir/.Sent/dovecot.index.log");
    fs::remove_file(&log).expect("remove");
    fs::create_dir(&log).expect("directory");
    let output = check(&["-f", "json"], spool.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains(log.to_str().expect("UTF-8")));
    let summary = &document(&output)["summary"];
    assert_eq!((&summary["unreadable"], &summary["sound"]), (&1.into(), &44.into()), "{summary}");
    let none = tempfile::tempdir().expect("directory");
    let output = check(&[], none.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no Dovecot index files"));
}

#[test]
fn names_that_no_server_writes() {
    use std::os::unix::ffi::OsStrExt;
    let spool = spool();
    let from = spool.path().join("a/Maildir/.Sent");
    let bad = spool.path().join("a/Maildir").join(std::ffi::OsStr::from_bytes(b".caf\xe9"));
    copy_tree(&from, &bad).expect("copy");
    let findings = document(&check(&["-f", "json"], spool.path()))["findings"].clone();
    let codes: Vec<_> =
        findings.as_array().expect("list").iter().map(|f| (f["code"].clone(), f["severity"].clone())).collect();
    assert_eq!(codes, [("N1".into(), "warning".into())], "{findings}");
}

#[test]
fn deep_findings_reach_the_report() {
    let home = tempfile::tempdir().expect("directory");
    copy_tree(&fixtures().join("2.4.1-sdbox-fresh/files"), home.path()).expect("copy");
    assert_eq!(check(&["--deep"], home.path()).status.code(), Some(0));
    let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
    fs::remove_file(dir.join("u.2")).expect("remove");
    assert_eq!(check(&[], home.path()).status.code(), Some(0));
    let output = check(&["--deep", "-f", "ndjson"], home.path());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["code"], &first["uid"], &first["schema"]), (&"D6".into(), &2.into(), &"idx.check/1".into()));
}

/// Sessions store, copy, expunge and append at full speed with rotation every few KiB, while the tree is checked deeply.
#[test]
#[ignore = "needs dovecot"]
fn no_alarm_while_mailboxes_change() {
    for format in Format::ALL {
        let dovecot = Dovecot::new(format, &ROTATE_OFTEN);
        dovecot.doveadm_mail(&["mailbox", "create"], &["Other"]);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for start in [0_u32, 1] {
                let stop = &stop;
                let mut session = dovecot.qresync();
                scope.spawn(move || {
                    session.select("INBOX");
                    let mut i = start;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        session.append("INBOX", &["\\Seen"], None, format!("Subject: {i}\r\n\r\ntext\r\n").as_bytes());
                        session.cmd("NOOP");
                        session.cmd("STORE * +FLAGS (\\Flagged $Label1)");
                        session.cmd("COPY * Other");
                        if i.is_multiple_of(3) {
                            session.cmd("STORE 1 +FLAGS (\\Deleted)");
                            session.cmd("EXPUNGE");
                        }
                        i += 2;
                    }
                    session.logout();
                });
            }
            let mut alarms = Vec::new();
            for _ in 0..60 {
                let output = check(&["--deep", "-f", "json"], &dovecot.home());
                let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let findings = document["findings"].as_array().cloned().unwrap_or_default();
                alarms.extend(findings.into_iter().filter(|finding| finding["severity"] != "info"));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(alarms.is_empty(), "{}: {alarms:#?}", format.name());
        });
    }
}
