//! What the verbs claim to know of the past: each claim goes when its evidence is withheld, and what belongs to another life
//! of the mailbox has no part in it.

#[path = "support/build.rs"]
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod build;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use build::{EXPUNGE, EXTERNAL, Ext, FLAG_UPDATE, HEADER_UPDATE, Log, words};
use serde_json::Value;
use tempfile::TempDir;

const UID_VALIDITY: u32 = 1_700_000_000;

/// Runs a verb on a mailbox; the exit code and the document.
fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args([args, &["-f", "json"]].concat())
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("idx runs");
    let document = serde_json::from_slice(&output.stdout).expect("a document");
    (output.status.code().expect("an exit code"), document)
}

fn qresync(modseq: u64, path: &Path) -> (i32, Value) {
    idx(&["qresync", "--uidvalidity", &UID_VALIDITY.to_string(), "--modseq", &modseq.to_string()], path)
}

/// A log from nothing, with UIDVALIDITY, modseqs and messages.
fn begin(initial_modseq: u64, uids: std::ops::RangeInclusive<u32>) -> Log {
    let mut log = Log::new(initial_modseq);
    log.record(HEADER_UPDATE | EXTERNAL, &words(&[24 | 4 << 16, UID_VALIDITY]));
    log.intro(u32::MAX, b"modseq", 16, 8, 8);
    log.record(build::EXT_HDR, &words(&[16 << 16, 0, 0, 0, 0]));
    // One record for each, so that each has a modseq of its own.
    uids.for_each(|uid| {
        log.record(build::APPEND | EXTERNAL, &words(&[uid, 0]));
    });
    log
}

fn expunge(log: &mut Log, first: u32, last: u32) {
    log.record(EXPUNGE | EXTERNAL, &words(&[first, last]));
}

/// Makes a log another one: its number, what it continues, its `indexid`.
fn renumber(log: &mut Log, seq: u32, prev: (u32, u32), indexid: u32) {
    log.bytes[4..8].copy_from_slice(&indexid.to_le_bytes());
    log.bytes[8..12].copy_from_slice(&seq.to_le_bytes());
    log.bytes[12..16].copy_from_slice(&prev.0.to_le_bytes());
    log.bytes[16..20].copy_from_slice(&prev.1.to_le_bytes());
}

/// A mailbox of these files, old enough that nobody is writing it.
fn mailbox(files: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("a file");
        let file = fs::File::options().write(true).open(&path).expect("the file");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("a time");
    }
    let path = dir.path().to_owned();
    (dir, path)
}

/// UIDs 1 to 5 from the beginning, 2 expunged.
fn life() -> Log {
    let mut log = begin(1, 1..=5);
    expunge(&mut log, 2, 2);
    log
}

#[test]
fn a_whole_life_is_complete_and_exact() {
    let (_dir, path) = mailbox(&[("dovecot.index.log", &life().bytes)]);
    let (code, shown) = idx(&["expunges"], &path);
    assert_eq!((code, &shown["complete"], &shown["reason"]), (0, &true.into(), &Value::Null));
    assert_eq!(shown["vanished"], "2");
    let (code, answer) = qresync(3, &path);
    assert_eq!((code, &answer["answer"], &answer["vanished"]), (0, &"exact".into(), &"2".into()), "{answer}");
    assert_eq!(idx(&["expunges", "--since", "3"], &path).1["complete"], true);
}

/// A frame that cannot be, in the middle: the expunge behind it is not to be known.
#[test]
fn a_hole_takes_exact_and_complete_away() {
    let whole = life().bytes;
    let expunge_at = whole.len() - 16;
    for at in [expunge_at, expunge_at - 16] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&[0x80, 0x80, 0x80, 0x81]);
        let (_dir, path) = mailbox(&[("dovecot.index.log", &bytes)]);
        for modseq in [3, 4] {
            let (code, answer) = qresync(modseq, &path);
            assert_eq!((code, &answer["answer"]), (1, &"damaged".into()), "{answer}");
            assert!(answer["problems"].as_array().is_some_and(|list| !list.is_empty()), "{answer}");
            let (code, shown) = idx(&["expunges", "--since", &modseq.to_string()], &path);
            assert_eq!((code, &shown["complete"]), (1, &false.into()), "{shown}");
            let (code, located) = idx(&["modseq", "--locate", &modseq.to_string()], &path);
            assert_eq!((code, &located["answer"]), (1, &"damaged".into()), "{located}");
        }
        for verb in ["expunges", "show"] {
            let (code, shown) = idx(&[verb], &path);
            assert_eq!(code, 1, "{verb}");
            assert!(shown["problems"].as_array().is_some_and(|list| !list.is_empty()), "{shown}");
        }
        assert_eq!(idx(&["expunges"], &path).1["complete"], false);
    }
}

/// The same for a tail that was torn an hour ago: a transaction is missing, whatever it was.
#[test]
fn a_torn_tail_takes_exact_and_complete_away() {
    let mut bytes = life().bytes;
    bytes.truncate(bytes.len() - 4);
    let (_dir, path) = mailbox(&[("dovecot.index.log", &bytes)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], false);
    let (code, answer) = qresync(3, &path);
    assert_eq!((code, &answer["answer"]), (1, &"damaged".into()), "{answer}");
}

/// And for damage in `.log.2`, which the present log goes on from.
#[test]
fn damage_in_the_old_log_takes_exact_and_complete_away() {
    let mut old = life();
    let end = u32::try_from(old.bytes.len()).expect("short");
    let mut log = Log::new(6);
    renumber(&mut log, 3, (2, end), build::INDEXID);
    expunge(&mut log, 4, 4);
    let (_dir, path) = mailbox(&[("dovecot.index.log.2", &old.bytes), ("dovecot.index.log", &log.bytes)]);
    let (code, answer) = qresync(3, &path);
    assert_eq!((code, &answer["answer"], &answer["vanished"]), (0, &"exact".into(), &"2,4".into()), "{answer}");
    let at = old.bytes.len() - 16;
    old.bytes[at..at + 4].copy_from_slice(&[0x80, 0x80, 0x80, 0x81]);
    let (_dir, path) = mailbox(&[("dovecot.index.log.2", &old.bytes), ("dovecot.index.log", &log.bytes)]);
    let (code, answer) = qresync(3, &path);
    assert_eq!(code, 1);
    assert_ne!(answer["answer"], "exact", "{answer}");
    let (code, shown) = idx(&["expunges"], &path);
    assert_eq!((code, &shown["complete"]), (1, &false.into()), "{shown}");
}

#[test]
fn a_modseq_of_an_earlier_life_is_not_exact() {
    let (_dir, path) = mailbox(&[("dovecot.index.log", &life().bytes)]);
    let highest = qresync(3, &path).1["highest_modseq"].as_u64().expect("highest_modseq");
    for (modseq, want) in [(highest, "exact"), (highest + 1, "future"), (1 << 40, "future")] {
        let (code, answer) = qresync(modseq, &path);
        assert_eq!((code, &answer["answer"]), (0, &want.into()), "{answer}");
        let (_, shown) = idx(&["expunges", "--since", &modseq.to_string()], &path);
        assert_eq!(shown["complete"], want == "exact", "{shown}");
        let (_, located) = idx(&["modseq", "--locate", &modseq.to_string()], &path);
        assert_eq!(located["answer"], want, "{located}");
    }
}

/// A log begun after the index files were removed says by its header that it continues none. The mailbox is older.
#[test]
fn a_log_that_was_begun_anew_is_not_the_whole_history() {
    for prev in [(0, 0), (1, 0)] {
        let mut log = begin(1, 4..=8);
        renumber(&mut log, 2, prev, build::INDEXID);
        let (_dir, path) = mailbox(&[("dovecot.index.log", &log.bytes)]);
        let (code, shown) = idx(&["expunges"], &path);
        assert_eq!((code, &shown["complete"]), (0, &false.into()), "{shown}");
        assert!(shown["reason"].as_str().is_some_and(|reason| reason.contains("1:3")), "{shown}");
        let output = Command::new(env!("CARGO_BIN_EXE_idx")).arg("log").arg(&path).output().expect("idx runs");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("complete"));
    }
    // A gap in the middle is one too: a message may have come and gone where nobody logged it.
    let mut log = begin(1, 1..=3);
    log.record(build::APPEND | EXTERNAL, &words(&[5, 0]));
    let (_dir, path) = mailbox(&[("dovecot.index.log", &log.bytes)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], false);
}

/// `.log.2` of another life: by its indexid, its number, or because `.log` starts anew.
#[test]
fn a_log_of_another_life_has_no_part_in_any_answer() {
    let log = life();
    let end = u32::try_from(log.bytes.len()).expect("short");
    let mut next = begin(8, 6..=7);
    let mut old = begin(1, 1..=9);
    expunge(&mut old, 1, 9);
    for (seq, new, indexid) in [(5, None, 7), (2, None, 7), (1, None, 7), (2, Some(3), 7), (1, Some(3), build::INDEXID)]
    {
        renumber(&mut old, seq, (0, 0), indexid);
        let present = match new {
            None => &log,
            Some(new) => {
                renumber(&mut next, new, (new - 1, end), build::INDEXID);
                &next
            }
        };
        let (_dir, both) = mailbox(&[("dovecot.index.log.2", &old.bytes), ("dovecot.index.log", &present.bytes)]);
        let (_other, alone) = mailbox(&[("dovecot.index.log", &present.bytes)]);
        let without = |args: &[&str], path: &Path, keys: &[&str]| {
            let (_, shown) = idx(args, path);
            keys.iter().map(|key| shown[*key].clone()).collect::<Vec<_>>()
        };
        let modseq = ["qresync", "--uidvalidity", &UID_VALIDITY.to_string(), "--modseq", "3"];
        let cases: [(&[&str], &[&str]); 4] = [
            (&["show"], &["messages", "uid_validity", "highest_modseq", "next_uid"]),
            (&["expunges"], &["vanished", "complete", "oldest_modseq"]),
            (&modseq, &["answer", "vanished", "changed"]),
            (&["log"], &["records"]),
        ];
        for (args, keys) in cases {
            let (with, want) = (without(args, &both, keys), without(args, &alone, keys));
            if args == ["log"] {
                // The times may rest on fewer clocks.
                let positions = |value: &Value| {
                    let list = value.as_array().expect("records");
                    list.iter().map(|one| (one["log_file_seq"].clone(), one["offset"].clone())).collect::<Vec<_>>()
                };
                assert_eq!(positions(&with[0]), positions(&want[0]), "{seq} {new:?}");
            } else {
                assert_eq!(with, want, "{args:?} {seq} {new:?}");
            }
        }
        for args in [&["show"] as &[&str], &["expunges"], &modseq] {
            assert!(idx(args, &both).1["left_out"].is_string(), "{args:?} names it");
        }
    }
}

/// An index that has seen more than the log holds: what was cut off may have been an expunge.
#[test]
fn a_log_that_ends_before_the_index_is_not_complete() {
    let whole = life();
    let seen = u32::try_from(whole.bytes.len()).expect("short");
    let records: Vec<u8> = [1, 3, 4, 5].iter().flat_map(|uid| words(&[*uid, 0])).collect();
    let index = build::index(&[], 8, &records, |header| {
        header.uid_validity = UID_VALIDITY;
        header.next_uid = 6;
        header.log_file_seq = 2;
        header.log_file_head_offset = seen;
        header.log_file_tail_offset = seen;
    });
    let cut = &whole.bytes[..whole.bytes.len() - 16];
    let (_dir, path) = mailbox(&[("dovecot.index", &index), ("dovecot.index.log", &whole.bytes)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], true);
    let (_dir, path) = mailbox(&[("dovecot.index", &index), ("dovecot.index.log", cut)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], false);
    assert_eq!(idx(&["expunges", "--since", "3"], &path).1["complete"], false);
    // The log begins from nothing and so adds up to a mailbox by itself; it is not the one that the index has seen.
    let (_, answer) = qresync(3, &path);
    assert_eq!(answer["answer"], "fallback", "{answer}");
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains(&format!("2:{seen}"))), "{answer}");
}

/// A record that no Dovecot reads past, though frames go on behind it: every verb says so, whatever it was asked for.
#[test]
fn a_log_that_does_not_decode_is_a_problem_of_every_verb() {
    let mut log = begin(1, 1..=5);
    log.record(EXPUNGE | EXTERNAL, &words(&[3, 2]));
    log.record(FLAG_UPDATE, &words(&[1, 1, 8]));
    let (_dir, path) = mailbox(&[("dovecot.index.log", &log.bytes)]);
    let verbs: [&[&str]; 6] =
        [&["show"], &["expunges"], &["expunges", "--uid", "1"], &["log"], &["log", "--uid", "1"], &["log", "--stats"]];
    let mut said = Vec::new();
    for args in verbs {
        let (code, document) = idx(args, &path);
        let codes: Vec<_> = document["problems"].as_array().expect("problems").iter().map(|one| &one["code"]).collect();
        assert_eq!(code, 1, "{args:?}: {document}");
        said.push(serde_json::to_value(codes).expect("codes"));
    }
    assert!(said.iter().all(|codes| *codes == said[0]), "{said:?}");
    // The same without the record: nothing is wrong, and the key is there.
    let (_dir, path) = mailbox(&[("dovecot.index.log", &life().bytes)]);
    for args in verbs {
        let (code, document) = idx(args, &path);
        assert_eq!((code, document["problems"].as_array().map(Vec::len)), (0, Some(0)), "{args:?}");
    }
}

/// A modseq that the index has had is of this life, though no log counts so far.
/// The index of [`life`] at the end of its log: its modseq header says `highest`, and a record has `size` bytes of modseq,
/// the UID.
fn counting(log: &Log, highest: u32, size: u16) -> Vec<u8> {
    let head = u32::try_from(log.bytes.len()).expect("short");
    let records: Vec<u8> =
        [1, 3, 4, 5].iter().flat_map(|uid| words(&[*uid, 0, *uid, 0])[..8 + usize::from(size)].to_vec()).collect();
    let modseq = Ext {
        name: b"modseq".into(),
        header: words(&[highest, 0, 2, head]),
        reset_id: 0,
        record_offset: if size == 0 { 0 } else { 8 },
        record_size: size,
        record_align: 8,
    };
    build::index(&[modseq], 8 + u32::from(size), &records, |header| {
        header.uid_validity = UID_VALIDITY;
        header.next_uid = 6;
        header.log_file_seq = 2;
        header.log_file_head_offset = head;
        header.log_file_tail_offset = head;
    })
}

#[test]
fn a_modseq_is_held_against_index_and_log() {
    let log = life();
    let index = counting(&log, 90, 0);
    let (_dir, alone) = mailbox(&[("dovecot.index.log", &log.bytes)]);
    let (_dir, both) = mailbox(&[("dovecot.index", &index), ("dovecot.index.log", &log.bytes)]);
    let future = |path: &Path, modseq: &str| idx(&["modseq", "--locate", modseq], path).1["future"].clone();
    assert_eq!([future(&alone, "90"), future(&both, "90"), future(&both, "91")], [true, false, true]);
}

/// An index says what was there before its log, as long as it stands in that log.
#[test]
fn what_the_index_has_need_not_have_been_appended() {
    let mut log = begin(1, 4..=5);
    expunge(&mut log, 2, 2);
    let records: Vec<u8> = [1, 2, 3].iter().flat_map(|uid| words(&[*uid, 0])).collect();
    let index = |seq| {
        build::index(&[], 8, &records, |header| {
            header.uid_validity = UID_VALIDITY;
            header.next_uid = 4;
            header.log_file_seq = seq;
            header.log_file_head_offset = 40;
        })
    };
    let (_dir, path) = mailbox(&[("dovecot.index", &index(2)), ("dovecot.index.log", &log.bytes)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], true);
    // An index of before: what happened between it and the log nobody knows.
    let (_dir, path) = mailbox(&[("dovecot.index", &index(1)), ("dovecot.index.log", &log.bytes)]);
    assert_eq!(idx(&["expunges"], &path).1["complete"], false);
}

#[test]
fn a_modseq_header_of_zero_does_not_agree_with_a_log_that_counts() {
    let log = life();
    for (highest, agree) in [(0, false), (7, true), (6, false)] {
        let index = counting(&log, highest, 8);
        let (_dir, path) = mailbox(&[("dovecot.index", &index), ("dovecot.index.log", &log.bytes)]);
        let (code, shown) = idx(&["modseq"], &path);
        assert_eq!((code == 0, &shown["agree"]), (agree, &agree.into()), "{shown}");
    }
}

/// threats.md D: a log of 112 bytes that expunges nearly every UID there is, and flag updates of every message over and over.
#[test]
fn few_bytes_ask_for_little_work() {
    let mut log = begin(1, 4_294_967_293..=4_294_967_293);
    expunge(&mut log, 1, 4_294_967_292);
    let (_dir, path) = mailbox(&[("dovecot.index.log", &log.bytes)]);
    let (code, shown) = idx(&["expunges", "--uid", "5"], &path);
    assert_eq!((code, &shown["vanished"]), (0, &"5".into()), "{shown}");
    let mut everything = Command::new(env!("CARGO_BIN_EXE_idx"));
    everything.args(["expunges", "-f", "ndjson"]).arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(everything.status().expect("idx runs").code(), Some(1), "the list is cut");
    let mut log = begin(1, 1..=1);
    log.append(2..=20_000);
    for _ in 0..20_000 {
        log.record(FLAG_UPDATE | EXTERNAL, &words(&[1, 20_000, 1 << 8]));
    }
    let (_dir, path) = mailbox(&[("dovecot.index.log", &log.bytes)]);
    idx(&["modseq"], &path);
}
