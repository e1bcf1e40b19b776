//! `idx rebuild` beside the mail storage: recorded mailboxes lose logs, or parts of them, and what the server had said of
//! each message before that must come back from logs and storage, or be named as lost.
//!
//! The truth is `imap-INBOX.json`, the answers of the server that wrote the files. The live test wants a Dovecot:
//! `cargo test --test rebuild_storage -- --ignored`.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use idx::model::UidSet;
use serde_json::Value;

use support::Dated;
use support::dovecot::{Dovecot, Format};

/// One answer of `rebuild`: exit code and document.
fn rebuild(dir: &Path, more: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    let out = command.args(["rebuild", "-f", "json"]).args(more).arg(dir).output().expect("idx runs");
    (out.status.code().expect("no signal"), serde_json::from_slice(&out.stdout).unwrap_or_default())
}

/// What a message is: flags and keywords, sorted.
type Messages = BTreeMap<u32, Vec<String>>;

fn sorted(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = values.filter(|flag| flag != "\\Recent").collect();
    all.sort();
    all
}

fn texts(value: &Value) -> impl Iterator<Item = String> + '_ {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned))
}

fn uid_of(message: &Value) -> u32 {
    u32::try_from(message["uid"].as_u64().expect("uid")).expect("32 bits")
}

/// What the server that wrote a fixture said of its INBOX.
struct Truth {
    dir: String,
    uid_validity: u64,
    next_uid: u64,
    highest_modseq: u64,
    messages: Messages,
}

impl Truth {
    fn of(fixture: &str) -> Truth {
        let path = support::fixtures().join(fixture).join("imap-INBOX.json");
        let said: Value = serde_json::from_str(&fs::read_to_string(path).expect("answers")).expect("JSON");
        let messages = said["messages"].as_array().expect("messages");
        Truth {
            dir: said["index_dir"].as_str().expect("a directory").to_owned(),
            uid_validity: said["uidvalidity"].as_u64().expect("UIDVALIDITY"),
            next_uid: said["uidnext"].as_u64().expect("UIDNEXT"),
            highest_modseq: said["highestmodseq"].as_u64().unwrap_or(0),
            messages: messages.iter().map(|one| (uid_of(one), sorted(texts(&one["flags"])))).collect(),
        }
    }
}

/// The messages that `show` has.
fn shown(dir: &Path) -> (Value, Messages) {
    let document = support::idx::show(dir, None).expect("a mailbox");
    let messages = document["messages"].as_array().expect("messages");
    let all = messages.iter().map(|one| (uid_of(one), sorted(texts(&one["flags"]).chain(texts(&one["keywords"])))));
    let all = all.collect();
    (document, all)
}

/// The UIDs that losses of these grades name.
fn named(answer: &Value, grades: &[&str]) -> UidSet {
    let mut uids = UidSet::new();
    for loss in answer["losses"].as_array().into_iter().flatten() {
        if grades.iter().any(|grade| loss["grade"] == *grade) {
            let set: UidSet = loss["uids"].as_str().unwrap_or_default().parse().unwrap_or_default();
            set.iter().for_each(|uid| uids.insert(uid));
        }
    }
    uids
}

/// Rebuilds a damaged mailbox, first without accepting anything, and holds it against the truth. What is lost may be
/// `unseen`: an end of the log that looks like a transaction that was never finished, and is cut when no storage refutes
/// that. Then flags are only asked for where the storage has them.
fn holds(name: &str, dir: &Path, truth: &Truth, unseen: bool) {
    let (code, answer) = rebuild(dir, &[]);
    let answer = if code == 2 {
        let lost = answer["lost"].as_array().map_or(0, Vec::len);
        assert!(
            lost > 0 && answer["losses"].as_array().map(Vec::len) == Some(lost),
            "{name}: refused without a loss: {answer}"
        );
        let (code, accepted) = rebuild(dir, &["--accept-loss"]);
        assert_eq!(code, 1, "{name}: {accepted}");
        assert_eq!(accepted["lost"], answer["lost"], "{name}: what was said and what was done");
        accepted
    } else {
        assert_eq!((code, answer["lost"].as_array().map(Vec::len)), (0, Some(0)), "{name}: {answer}");
        answer
    };
    let cut = unseen && answer["lost"].as_array().is_some_and(Vec::is_empty);
    let keeps_flags = !cut || dir.join("cur").exists();
    let (document, have) = shown(dir);
    let new_life = answer["losses"].as_array().into_iter().flatten().any(|loss| loss["grade"] == "uidvalidity");
    if !new_life {
        assert_eq!(document["uid_validity"].as_u64(), Some(truth.uid_validity), "{name}");
    }
    assert_ne!(document["uid_validity"], 0, "{name}");
    assert!(document["next_uid"].as_u64() >= Some(truth.next_uid), "{name}: next_uid {}", document["next_uid"]);
    let highest = document["highest_modseq"].as_u64().expect("HIGHESTMODSEQ");
    assert!(new_life || cut || (truth.highest_modseq..1 << 32).contains(&highest), "{name}: HIGHESTMODSEQ {highest}");
    let (gone, bare) = (named(&answer, &["messages"]), named(&answer, &["messages", "flags"]));
    for (uid, flags) in &truth.messages {
        match have.get(uid) {
            None => assert!(gone.contains(*uid), "{name}: UID {uid} is lost and not named: {}", answer["lost"]),
            Some(found) if found != flags && keeps_flags => {
                assert!(bare.contains(*uid), "{name}: UID {uid} has {found:?}, not {flags:?}: {}", answer["lost"]);
            }
            Some(_) => {}
        }
    }
    // Mails of a map may come back under UIDs that nobody had, which is named.
    let is_named = |uid: u32| u64::from(uid) >= truth.next_uid && gone.contains(uid);
    let extra: Vec<&u32> = have.keys().filter(|uid| !truth.messages.contains_key(uid) && !is_named(**uid)).collect();
    assert!(extra.is_empty(), "{name}: UIDs {extra:?} were expunged: {}", answer["lost"]);
    let (code, again) = rebuild(dir, &[]);
    assert_eq!((code, &again["status"]), (0, &Value::from("unchanged")), "{name}: a second run: {again}");
}

/// Each recorded mailbox that has only a log: what is done to that log, and its name.
fn each(change: &dyn Fn(&str, &Truth, &dyn Fn() -> (Dated, PathBuf))) {
    for storage in ["maildir", "sdbox", "mdbox"] {
        for version in ["2.3.19.1", "2.4.1"] {
            let fixture = format!("{version}-{storage}-fresh");
            let truth = Truth::of(&fixture);
            let copy = || {
                let copy = Dated::of(&fixture);
                let dir = copy.files().join(&truth.dir);
                assert!(!dir.join("dovecot.index").exists(), "{fixture} has only a log");
                (copy, dir)
            };
            change(&fixture, &truth, &copy);
        }
    }
}

fn edit_log(dir: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let path = dir.join("dovecot.index.log");
    let mut bytes = fs::read(&path).expect("a log");
    edit(&mut bytes);
    fs::write(path, bytes).expect("written");
}

fn log_size(dir: &Path) -> usize {
    fs::read(dir.join("dovecot.index.log")).expect("a log").len()
}

#[test]
fn a_log_that_ends_too_early() {
    each(&|fixture, truth, copy| {
        let size = log_size(&copy().1);
        for eighths in 2..8 {
            let at = size * eighths / 8 / 4 * 4 + 2;
            let (_home, dir) = copy();
            edit_log(&dir, |log| log.truncate(at));
            holds(&format!("{fixture} cut to {at} bytes"), &dir, truth, true);
        }
    });
}

#[test]
fn a_log_whose_end_is_zero() {
    each(&|fixture, truth, copy| {
        let size = log_size(&copy().1);
        for eighths in 2..8 {
            let at = size * eighths / 8 / 4 * 4;
            let (_home, dir) = copy();
            edit_log(&dir, |log| log[at..].fill(0));
            holds(&format!("{fixture} zero from {at}"), &dir, truth, false);
        }
    });
}

#[test]
fn a_log_with_a_hole() {
    each(&|fixture, truth, copy| {
        let size = log_size(&copy().1);
        for at in (256..size.saturating_sub(64)).step_by(132) {
            let (_home, dir) = copy();
            edit_log(&dir, |log| log[at..at + 64].fill(0));
            holds(&format!("{fixture} 64 zero bytes at {at}"), &dir, truth, false);
        }
    });
}

#[test]
fn no_index_file_at_all() {
    each(&|fixture, truth, copy| {
        let (_home, dir) = copy();
        for suffix in ["", ".log", ".log.2", ".cache", ".backup", ".thread"] {
            let _ = fs::remove_file(dir.join(format!("dovecot.index{suffix}")));
        }
        if fixture.contains("mdbox") {
            // The map has every mail, and not its UID: they come back above all that were given, and that is named.
            let (code, answer) = rebuild(&dir, &[]);
            assert_eq!((code, &answer["status"]), (2, &Value::from("refused")), "{answer}");
            let (code, answer) = rebuild(&dir, &["--accept-loss"]);
            assert_eq!((code, &answer["base"]), (1, &Value::from("storage")), "{answer}");
            let (document, have) = shown(&dir);
            assert_eq!(have.len(), truth.messages.len(), "{fixture}: {answer}");
            let fresh = named(&answer, &["messages"]);
            let both = have.keys().chain(truth.messages.keys());
            assert!(both.into_iter().all(|uid| fresh.contains(*uid)), "{fixture}: {answer}");
            let is_new_life = document["uid_validity"].as_u64() != Some(truth.uid_validity);
            assert!(
                is_new_life == answer["losses"].to_string().contains("uidvalidity")
                    && (is_new_life || have.keys().all(|uid| u64::from(*uid) >= truth.next_uid)),
                "{fixture}: {answer}"
            );
            let (code, again) = rebuild(&dir, &[]);
            assert_eq!((code, &again["status"]), (0, &Value::from("unchanged")), "{fixture}: {again}");
        } else {
            holds(&format!("{fixture} without index files"), &dir, truth, false);
        }
    });
}

#[test]
fn without_its_storage_a_mailbox_is_not_compared() {
    each(&|fixture, truth, copy| {
        let (_home, dir) = copy();
        for name in support::all_below(&dir) {
            let text = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if text.starts_with("u.") || text == "dovecot-uidlist" {
                fs::remove_file(&name).expect("removed");
            }
        }
        let (code, answer) = rebuild(&dir, &[]);
        assert_eq!((code, answer["lost"].as_array().map(Vec::len)), (0, Some(0)), "{fixture}: {answer}");
        assert_eq!(shown(&dir).1, truth.messages, "{fixture}");
    });
}

/// The server opens what was built from the storage alone, sees the UIDs it had given, says nothing, and gives the next
/// mail a UID that was never used.
#[test]
#[ignore = "needs dovecot"]
fn the_server_opens_what_the_storage_told() {
    for format in [Format::Maildir, Format::Sdbox, Format::Mdbox] {
        let dovecot = Dovecot::new(format, &[]);
        let mut session = dovecot.imap();
        for i in 0..6 {
            let message = format!("Subject: {i}\r\n\r\nbody {i}\r\n");
            session.append("INBOX", if i == 2 { &["\\Flagged"] } else { &[] }, None, message.as_bytes());
        }
        session.select("INBOX");
        session.ok("UID STORE 3 +FLAGS (\\Deleted)");
        session.ok("UID EXPUNGE 3");
        let before: Vec<u32> = session.state("INBOX").messages.iter().map(|one| one.uid).collect();
        session.logout();
        let dir = dovecot.index_dir("INBOX");
        for suffix in ["", ".log", ".log.2", ".cache"] {
            let _ = fs::remove_file(dir.join(format!("dovecot.index{suffix}")));
        }
        let (code, answer) = rebuild(&dir, &["--accept-loss"]);
        assert_eq!((code, &answer["base"]), (1, &Value::from("storage")), "{answer}");
        dovecot.give_back();
        let said = dovecot.error_log().len();
        let mut session = dovecot.imap();
        let after: Vec<u32> = session.state("INBOX").messages.iter().map(|one| one.uid).collect();
        if format == Format::Mdbox {
            // All are there, and none under a UID that a client may know for another mail.
            assert_eq!(after.len(), before.len(), "{after:?}");
            assert!(after.iter().all(|uid| *uid > 6), "{after:?}");
        } else {
            assert_eq!(after, before, "{}", format.name());
        }
        session.ok("UID FETCH 1:* BODY.PEEK[]");
        let new = session.append("INBOX", &[], None, b"Subject: new\r\n\r\nbody\r\n").append_uid();
        assert!(new > Some(6), "{}: {new:?}", format.name());
        session.logout();
        assert_eq!(dovecot.error_log()[said..], [] as [String; 0], "{}", format.name());
    }
}

/// Only uidlist or list index knows that the log went on: the mails themselves are not here.
#[test]
fn a_next_uid_that_only_the_storage_knows() {
    for (fixture, dir) in [
        ("2.3.19.1-maildir-chain", "Maildir/.Archive"),
        ("2.3.19.1-sdbox-chain", "sdbox/mailboxes/Archive/dbox-Mails"),
        ("2.4.1-maildir-pvt", "Maildir"),
    ] {
        let copy = Dated::of(fixture);
        let dir = copy.files().join(dir);
        let next_uid = support::idx::show(&dir, None).expect("a mailbox")["next_uid"].clone();
        edit_log(&dir, |log| log.truncate(log.len() / 8 * 4 + 2));
        let (code, answer) = rebuild(&dir, &[]);
        assert_eq!(code, 2, "{fixture}: {answer}");
        let last = u32::try_from(next_uid.as_u64().expect("a number") - 1).expect("32 bits");
        assert!(named(&answer, &["messages"]).contains(last), "{fixture}: {answer}");
        let (code, answer) = rebuild(&dir, &["--accept-loss"]);
        assert_eq!(code, 1, "{fixture}: {answer}");
        assert!(answer["kept"]["next_uid"].as_u64() >= next_uid.as_u64(), "{fixture}: {answer}");
        let (code, again) = rebuild(&dir, &[]);
        assert_eq!((code, &again["status"]), (0, &Value::from("unchanged")), "{fixture}: a second run: {again}");
    }
}

/// A session that saves writes UIDs to the uidlist, lets the log's lock go, and then appends them to the log: as long as it
/// holds the lock of the list nothing is missing, and nothing is done.
#[test]
fn a_session_between_uidlist_and_log() {
    let aged = |path: &Path, seconds: u64| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::create(path).expect("created").set_times(FileTimes::new().set_modified(time)).expect("time");
    };
    let copy = Dated::of("2.3.19.1-maildir-chain");
    let dir = copy.files().join("Maildir/.Archive");
    let (lock, log) = (dir.join("dovecot-uidlist.lock"), dir.join("dovecot.index.log"));
    let whole = fs::read(&log).expect("a log");
    edit_log(&dir, |log| log.truncate(log.len() / 8 * 4 + 2));

    aged(&lock, 3);
    for more in [&[][..], &["-n"], &["--accept-loss"]] {
        let (code, answer) = rebuild(&dir, &[more, &["--lock-timeout", "50ms"]].concat());
        assert!(code == 2 && answer["error"].as_str().is_some_and(|text| text.contains("busy")), "{more:?}: {answer}");
    }
    let (code, answer) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            fs::write(&log, &whole).expect("written");
            fs::remove_file(&lock).expect("removed");
        });
        rebuild(&dir, &["-n"])
    });
    assert_eq!((code, &answer["losses"]), (0, &Value::from([] as [Value; 0])), "{answer}");

    // What a killed session left behind holds nobody up after two minutes.
    edit_log(&dir, |log| log.truncate(log.len() / 8 * 4 + 2));
    aged(&lock, 121);
    let (code, answer) = rebuild(&dir, &[]);
    assert!(code == 2 && answer["status"] == "refused", "{answer}");
}

fn grades(answer: &Value) -> Vec<&str> {
    answer["losses"].as_array().into_iter().flatten().filter_map(|loss| loss["grade"].as_str()).collect()
}

/// A list of UIDs that names none of the files that are here does not take their messages away without a word.
#[test]
fn a_uidlist_of_another_mailbox() {
    let copy = Dated::of("2.3.19.1-maildir-fresh");
    let dir = copy.files().join("Maildir");
    let other = support::fixtures().join("2.3.19.1-maildir-onelog/files/Maildir/dovecot-uidlist");
    fs::write(dir.join("dovecot-uidlist"), fs::read(other).expect("a list")).expect("written");
    let truth = Truth::of("2.3.19.1-maildir-fresh");
    let (code, answer) = rebuild(&dir, &[]);
    let state = support::idx::show(&dir, None).expect("a mailbox");
    match code {
        // Nothing is done: the index is as it was.
        0 => assert_eq!(answer["status"], "unchanged", "{answer}"),
        _ => assert!(code == 2 && grades(&answer).contains(&"uidvalidity"), "{answer}"),
    }
    assert_eq!(state["uid_validity"], truth.uid_validity);
    let mut check = Command::new(env!("CARGO_BIN_EXE_idx"));
    let checked = check.args(["check", "-f", "json"]).arg(&dir).output().expect("idx runs");
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(text.contains(r#""D1""#) && text.contains("names none of the files here"), "{text}");
}

/// One byte of a name in dovecot-keywords: a name that no client can set is refuted by the log, between two that clients
/// can set nobody decides without saying so.
#[test]
fn a_damaged_name_of_a_keyword() {
    for (byte, is_certain) in [(b'%', true), (b'l', false)] {
        let copy = Dated::of("2.3.19.1-maildir-fresh");
        let dir = copy.files().join("Maildir");
        let path = dir.join("dovecot-keywords");
        let names = fs::read(&path).expect("names");
        let at = names.windows(7).position(|part| part == b"$Label1").expect("a name") + 3;
        let mut damaged = names.clone();
        damaged[at] = byte;
        fs::write(&path, damaged).expect("written");
        let (code, answer) = rebuild(&dir, &["--accept-loss"]);
        assert!((0..=1).contains(&code), "{answer}");
        let state = support::idx::show(&dir, None).expect("a mailbox");
        let truth = Truth::of("2.3.19.1-maildir-fresh");
        for message in state["messages"].as_array().expect("messages") {
            let have = sorted(texts(&message["flags"]).chain(texts(&message["keywords"])));
            let uid = uid_of(message);
            let same = truth.messages.get(&uid) == Some(&have);
            assert!(same || !is_certain && named(&answer, &["flags"]).contains(uid), "UID {uid}: {have:?}: {answer}");
        }
    }
}

/// The log of a Maildir in the place of an sdbox's: another mailbox's, however sound it is.
#[test]
fn a_log_of_another_storage_format() {
    let copy = Dated::of("2.3.19.1-sdbox-fresh");
    let dir = copy.files().join("sdbox/mailboxes/INBOX/dbox-Mails");
    let other = support::fixtures().join("2.3.19.1-maildir-fresh/files/Maildir/dovecot.index.log");
    fs::write(dir.join("dovecot.index.log"), fs::read(other).expect("a log")).expect("written");
    let (code, answer) = rebuild(&dir, &[]);
    assert!(code == 2 && answer["status"] == "refused", "{answer}");
    let text = answer["actions"].to_string();
    assert!(text.contains("another storage format"), "{answer}");
}
