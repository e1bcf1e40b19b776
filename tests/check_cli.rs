//! The manners of `idx check`: silence, exit codes, JSON keys, Nagios and Prometheus output.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

fn fixture(path: &str) -> PathBuf {
    support::fixtures().join(path)
}

fn sound() -> PathBuf {
    fixture("2.3.19.1-maildir-busy/files/Maildir")
}

/// A copy of a sound mailbox after a change to one of its files.
fn damaged(file: &str, flaw: impl Fn(&mut Vec<u8>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["dovecot.index", "dovecot.index.cache", "dovecot.index.log", "dovecot.index.log.2"] {
        let mut bytes = fs::read(sound().join(name)).expect("readable");
        if name == file {
            flaw(&mut bytes);
        }
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        let written = fs::OpenOptions::new().write(true).open(&path).expect("a file");
        written.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("times set");
    }
    dir
}

/// A log that ends in garbage: L8, an error.
fn torn() -> tempfile::TempDir {
    damaged("dovecot.index.log", |log| log.extend([7; 5]))
}

/// A wrong count of deleted messages: I5, a warning.
fn miscounted() -> tempfile::TempDir {
    damaged("dovecot.index", |index| index[44] += 1)
}

fn idx(args: &[&str], paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    command.arg("check").args(args).args(paths).stdin(Stdio::null()).output().expect("idx can be started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn silent_when_all_is_well() {
    let out = idx(&[], &[&sound(), &fixture("2.4.1-sdbox-busy/files/sdbox/mailboxes/INBOX")]);
    assert_eq!((out.status.code(), text(&out.stdout), text(&out.stderr)), (Some(0), "", ""));
}

#[test]
fn exit_codes() {
    let (torn, miscounted) = (torn(), miscounted());
    let code = |args: &[&str], path: &Path| idx(args, &[path]).status.code();
    assert_eq!(code(&[], torn.path()), Some(1));
    assert_eq!(code(&[], miscounted.path()), Some(0), "a warning is no failure by default");
    assert_eq!(code(&["--fail-on", "warning"], miscounted.path()), Some(1));
    assert_eq!(code(&[], Path::new("/nonexistent")), Some(2));
    // One that cannot be read does not keep the others from being checked.
    let out = idx(&[], &[Path::new("/nonexistent"), torn.path()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stdout).starts_with("L8 "), "{}", text(&out.stdout));
}

#[test]
fn json_has_the_promised_keys() {
    let torn = torn();
    let out = idx(&["-f", "json"], &[torn.path(), &sound(), Path::new("/nonexistent")]);
    let document: Value = serde_json::from_slice(&out.stdout).expect("one document");
    assert!(text(&out.stdout).starts_with("{\"schema\":\"idx.check/1\""));
    let finding = &document["findings"][0];
    assert_eq!((&finding["code"], &finding["severity"]), (&"L8".into(), &"error".into()));
    let size = fs::metadata(sound().join("dovecot.index.log")).expect("a file").len();
    assert_eq!(finding["offset"], size);
    assert!(finding["uid"].is_null() && finding["message"].is_string() && finding["dovecot"].is_string());
    assert_eq!(finding["mailbox"], torn.path().to_str().expect("UTF-8"));
    assert_eq!(finding["file"], torn.path().join("dovecot.index.log").to_str().expect("UTF-8"));
    assert_eq!(finding["fix"], format!("idx rebuild {}", torn.path().display()));
    // The sound one is a mail root: INBOX and a folder.
    let summary = serde_json::json!({
        "mailboxes": 4, "sound": 2, "warning": 0, "error": 1, "busy": 0, "unreadable": 1,
    });
    assert_eq!(document["summary"], summary);
    let lines = idx(&["-f", "ndjson"], &[torn.path()]);
    for line in text(&lines.stdout).lines() {
        let line: Value = serde_json::from_str(line).expect("an object on each line");
        assert_eq!(line["schema"], "idx.check/1");
    }
}

#[test]
fn a_nagios_plugin() {
    let (torn, miscounted) = (torn(), miscounted());
    let line = |path: &Path| {
        let out = idx(&["--nagios"], &[path]);
        assert_eq!(text(&out.stdout).lines().count(), 1);
        (out.status.code(), text(&out.stdout).split(" - ").next().expect("a state").to_owned())
    };
    assert_eq!(line(&sound()), (Some(0), "IDX OK".into()));
    assert_eq!(line(miscounted.path()), (Some(1), "IDX WARNING".into()));
    assert_eq!(line(torn.path()), (Some(2), "IDX CRITICAL".into()));
    assert_eq!(line(Path::new("/nonexistent")), (Some(3), "IDX UNKNOWN".into()));
}

#[test]
fn a_file_for_prometheus() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("idx.prom");
    let torn = torn();
    let out = idx(&["--prometheus", path.to_str().expect("UTF-8")], &[torn.path(), &sound()]);
    assert_eq!(out.status.code(), Some(1));
    let metrics = fs::read_to_string(&path).expect("written");
    for line in [
        "idx_last_run_success 1",
        "idx_mailboxes{state=\"sound\"} 2",
        "idx_mailboxes{state=\"error\"} 1",
        "idx_findings{code=\"L8\",severity=\"error\"} 1",
        "idx_qresync_window_seconds_count 2",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    let names: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(names.iter().any(|name| line.starts_with(name)), "{line} has no TYPE");
        assert_eq!(line.split(' ').count(), 2, "{line} has a time");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "no temporary file is left");
}

#[test]
fn reading_changes_nothing() {
    let torn = torn();
    let state = || {
        let mut list: Vec<_> = fs::read_dir(torn.path())
            .expect("a directory")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let meta = entry.metadata().expect("metadata");
                (entry.file_name(), meta.modified().expect("a time"), meta.accessed().expect("a time"), meta.len())
            })
            .collect();
        list.sort();
        list
    };
    let before = state();
    idx(&[], &[torn.path()]);
    assert_eq!(state(), before);
}
