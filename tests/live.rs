//! Compares `idx` with a real Dovecot: sessions are driven, closed, and their files read by both.
//!
//! Run with `cargo test --test live -- --ignored`. It needs Dovecot's `imap` and `doveadm`, no running service, and
//! listens on no port. `IDX_DOVECOT_24` may name the root directory of an installation of 2.4 to test with as well.

mod support;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use support::compare::{self, ByteOrder, Differences, Expected};
use support::doveadm_dump::{IndexDump, LogDump};
use support::dovecot::{Dovecot, Format, Installation};
use support::idx;
use support::imap::MailboxState;
use support::workload::{ROTATE_NEVER, ROTATE_OFTEN, Workload};

/// Runs a test with every installation and format.
fn with_all(settings: &[(&str, &str)], test: impl Fn(&mut Differences, &Dovecot)) {
    let mut differences = Differences::default();
    for installation in Installation::all() {
        for format in Format::ALL {
            let dovecot = Dovecot::with(installation.clone(), format, settings);
            differences.at(place(&dovecot, ""));
            test(&mut differences, &dovecot);
            let problems = dovecot.error_log();
            assert!(problems.is_empty(), "Dovecot logged {problems:#?}");
        }
    }
    differences.finish();
}

fn place(dovecot: &Dovecot, what: &str) -> String {
    format!("{} {} {what}", dovecot.installation().version(), dovecot.format().name())
}

/// Compares everything `idx` says of a mailbox at rest with IMAP and with `doveadm dump`.
///
/// The order matters: reading through IMAP may write, so the files are copied after it, and only the copy is read.
fn compare_mailbox(differences: &mut Differences, dovecot: &Dovecot, mailbox: &str, condstore: bool) {
    let mut session = dovecot.imap();
    if condstore {
        session.enable_qresync();
    }
    let state = session.state(mailbox);
    session.logout();
    let copy = dovecot.snapshot(&dovecot.index_dir(mailbox));
    differences.at(place(dovecot, mailbox));
    match idx::show(&copy, None) {
        Ok(shown) => compare::show(differences, &expected(&state), &shown),
        Err(problem) => differences.add("show: no document", problem),
    }
    compare_dumps(differences, dovecot, &copy);
}

fn expected(state: &MailboxState) -> Expected {
    let selected = &state.selected;
    let count = |flag: &str| {
        let has = |flags: &Vec<String>| flags.iter().any(|name| name == flag);
        Some(state.messages.iter().filter(|message| has(&message.flags)).count() as u64)
    };
    let numbers = vec![
        ("uid_validity", Some(u64::from(selected.uid_validity))),
        ("next_uid", Some(u64::from(selected.next_uid))),
        ("highest_modseq", selected.highest_modseq),
        ("messages_count", Some(u64::from(selected.exists))),
        ("seen_messages_count", count("\\Seen")),
        ("deleted_messages_count", count("\\Deleted")),
    ];
    Expected { numbers, messages: state.messages.clone(), keywords: None }
}

/// Compares the dumps of all index files in a directory that nobody else uses.
fn compare_dumps(differences: &mut Differences, dovecot: &Dovecot, dir: &Path) {
    for name in ["dovecot.index.log.2", "dovecot.index.log"] {
        let path = dir.join(name);
        if path.exists() {
            differences.at(place(dovecot, name));
            compare_log(differences, dovecot, &path);
        }
    }
    let index = dir.join("dovecot.index");
    differences.at(place(dovecot, "dovecot.index with its log"));
    let dump = index_dump(differences, dovecot, &index);
    match idx::show(dir, None) {
        Ok(shown) => compare::show_with_dump(differences, &dump, &shown),
        Err(problem) => differences.add("show: no document", problem),
    }
    if let Some(cache) = &dump.cache {
        differences.at(place(dovecot, "dovecot.index.cache"));
        match idx::dump(&dir.join("dovecot.index.cache")) {
            Ok(found) => compare::cache(differences, &dump, cache, ByteOrder::NATIVE, &found),
            Err(problem) => differences.add("dump: no document", problem),
        }
    }
    if index.exists() {
        compare_index(differences, dovecot, dir);
    }
}

fn compare_log(differences: &mut Differences, dovecot: &Dovecot, path: &Path) {
    let dump = LogDump::parse(&dovecot.dump("log", path));
    assert!(dump.unknown.is_empty(), "lines not understood: {:#?}", dump.unknown);
    match idx::dump(path) {
        Ok(found) => compare::log(differences, &dump, false, &found),
        Err(problem) => differences.add("dump: no document", problem),
    }
}

/// Compares `dovecot.index` itself: Dovecot replays the log when it dumps an index, so this does it with a copy
/// whose log ends where the index stands. The cache may have been purged after that, so it is left out.
fn compare_index(differences: &mut Differences, dovecot: &Dovecot, dir: &Path) {
    let copy = dovecot.snapshot(dir);
    differences.at(place(dovecot, "dovecot.index"));
    let index = copy.join("dovecot.index");
    let found = match idx::dump(&index) {
        Ok(found) => found,
        Err(problem) => return differences.add("dump: no document", problem),
    };
    let log = copy.join("dovecot.index.log");
    let head = found["header"]["log_file_head_offset"].as_u64().unwrap_or(0);
    let length = fs::metadata(&log).expect("a mailbox has a log").len();
    assert!((24..=length).contains(&head), "the index stands at {head} of a log of {length} bytes");
    OpenOptions::new().write(true).open(&log).and_then(|file| file.set_len(head)).expect("the log can be cut");
    fs::remove_file(copy.join("dovecot.index.cache")).or_else(not_found_is_fine).expect("the cache can be removed");
    let dump = index_dump(differences, dovecot, &index);
    compare::index(differences, &dump, ByteOrder::NATIVE, &found);
}

fn not_found_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn index_dump(differences: &mut Differences, dovecot: &Dovecot, path: &Path) -> IndexDump {
    let text = dovecot.dump("index", path);
    let dump = IndexDump::parse(&text).unwrap_or_else(|| panic!("doveadm dump printed {text:?}"));
    for line in &dump.unknown {
        differences.add("doveadm dump: line not understood", line);
    }
    dump
}

#[test]
#[ignore = "needs dovecot"]
fn a_session_of_every_kind_of_change() {
    with_all(&[("mail_index_rewrite_min_log_bytes", "500")], |differences, dovecot| {
        let mut session = dovecot.qresync();
        session.ok("CREATE work/deep");
        session.select("INBOX");
        for number in 0..12 {
            let flags: &[&str] = if number % 3 == 0 { &["\\Seen", "first"] } else { &[] };
            let text = format!("From: a@example.com\r\nSubject: message {number}\r\n\r\nbody\r\n");
            session.append("INBOX", flags, Some("01-Jan-2021 10:00:00 +0000"), text.as_bytes());
        }
        session.ok("UID STORE 2:4,7 +FLAGS (\\Flagged second)");
        session.ok("UID STORE 3 FLAGS (\\Draft $Forwarded)");
        session.ok("UID STORE 1:2 -FLAGS (first)");
        session.ok("UID STORE 5,9:10 +FLAGS (\\Deleted)");
        session.ok("UID EXPUNGE 5,9");
        session.ok("UID FETCH 1:4 (ENVELOPE BODYSTRUCTURE RFC822.SIZE)");
        session.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT X-NONE)])");
        session.ok("UID COPY 1:6 work/deep");
        session.ok("UID MOVE 7:8 work/deep");
        session.ok("CLOSE");
        session.logout();
        for mailbox in ["INBOX", "work/deep"] {
            compare_mailbox(differences, dovecot, mailbox, true);
        }
    });
}

#[test]
#[ignore = "needs dovecot"]
fn a_mailbox_that_lost_all_messages_and_an_empty_one() {
    with_all(&[], |differences, dovecot| {
        let mut session = dovecot.qresync();
        session.ok("CREATE empty");
        session.append("INBOX", &["\\Deleted"], None, b"Subject: x\r\n\r\nx\r\n");
        session.select("INBOX");
        session.ok("EXPUNGE");
        session.logout();
        for mailbox in ["INBOX", "empty"] {
            compare_mailbox(differences, dovecot, mailbox, true);
        }
    });
}

#[test]
#[ignore = "needs dovecot"]
fn a_mailbox_that_never_saw_condstore() {
    with_all(&[("mail_index_rewrite_min_log_bytes", "300")], |differences, dovecot| {
        Workload::new(11).operations(120).condstore(false).run(dovecot);
        compare_mailbox(differences, dovecot, "INBOX", false);
    });
}

#[test]
#[ignore = "needs dovecot"]
fn random_histories() {
    with_all(&[], |differences, dovecot| {
        Workload::new(21).operations(300).second_session(true).run(dovecot);
        compare_mailbox(differences, dovecot, "INBOX", true);
        compare_mailbox(differences, dovecot, "other", true);
    });
}

#[test]
#[ignore = "needs dovecot"]
fn random_histories_with_rotation() {
    with_all(&ROTATE_OFTEN, |differences, dovecot| {
        let history = Workload::new(31).operations(600).keywords(40).second_session(true).run(dovecot);
        assert!(!history.uids.is_empty());
        let log2 = dovecot.index_dir("INBOX").join("dovecot.index.log.2");
        assert!(log2.exists(), "the log was never rotated");
        compare_mailbox(differences, dovecot, "INBOX", true);
    });
}

#[test]
#[ignore = "needs dovecot"]
fn random_histories_in_the_log_alone() {
    with_all(&ROTATE_NEVER, |differences, dovecot| {
        Workload::new(41).operations(300).run(dovecot);
        assert!(!dovecot.index_dir("INBOX").join("dovecot.index").exists());
        compare_mailbox(differences, dovecot, "INBOX", true);
    });
}

/// The driver itself: two runs of a seed make the same mailbox, and checkpoints tell what QRESYNC then answers.
#[test]
#[ignore = "needs dovecot"]
fn workloads_are_reproducible() {
    let run = || {
        let dovecot = Dovecot::new(Format::Sdbox, &ROTATE_NEVER);
        let history = Workload::new(51).operations(200).second_session(true).checkpoint_every(50).run(&dovecot);
        let mut session = dovecot.qresync();
        let state = session.state("INBOX");
        let before = &history.checkpoints[1];
        let modseq = before.selected.highest_modseq.expect("modseqs are kept");
        let answer = session.examine_qresync("INBOX", &format!("{} {modseq}", state.selected.uid_validity));
        let vanished = answer.vanished().unwrap_or_default();
        for message in &before.messages {
            let exists = history.uids.contains(&message.uid);
            assert_ne!(exists, vanished.uids().any(|uid| uid == message.uid), "uid {}", message.uid);
        }
        let uids: Vec<u32> = state.messages.iter().map(|message| message.uid).collect();
        assert_eq!(uids, history.uids);
        (history.commands, state.messages)
    };
    assert_eq!(run(), run());
}

/// What clients saw along the way is what `show --at` says of those moments afterwards.
#[test]
#[ignore = "needs dovecot"]
fn earlier_states_are_shown_as_clients_saw_them() {
    with_all(&ROTATE_NEVER, |differences, dovecot| {
        let history = Workload::new(77).operations(150).checkpoint_every(15).run(dovecot);
        let copy = dovecot.snapshot(&dovecot.index_dir("INBOX"));
        // Only the logs: an index may be newer than the moment asked for.
        let _ = fs::remove_file(copy.join("dovecot.index"));
        let _ = fs::remove_file(copy.join("dovecot.index.backup"));
        assert!(history.checkpoints.len() >= 8, "too few moments to compare");
        for state in &history.checkpoints {
            let modseq = state.selected.highest_modseq.expect("QRESYNC is on");
            let at = format!("modseq:{modseq}");
            differences.at(place(dovecot, &at));
            match idx::json("show", &["--at".as_ref(), at.as_ref(), copy.as_os_str()]) {
                Ok(shown) => compare::show(differences, &expected(state), &shown),
                Err(problem) => differences.add("show --at: no document", problem),
            }
        }
    });
}
