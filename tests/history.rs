//! Compares `idx modseq` and `idx expunges` with what `doveadm dump` says of the logs and what servers answered.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ::idx::model::UidSet;
use serde_json::{Value, json};
use support::doveadm_dump::{LogDump, LogItem};
use support::idx;

fn run<A: AsRef<OsStr>>(args: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_idx")).args(args).output().expect("idx can be started")
}

fn fixtures() -> Vec<PathBuf> {
    let root = support::fixtures();
    let mut list: Vec<_> = fs::read_dir(root)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
        .collect();
    list.sort();
    list
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a readable file")).expect("JSON")
}

/// The mailboxes of a fixture: what IMAP said, and the index directory relative to `files/`.
fn mailboxes(fixture: &Path) -> Vec<(Value, String)> {
    let mut list = Vec::new();
    for entry in fs::read_dir(fixture).expect("a fixture") {
        let path = entry.expect("entry").path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with("imap-") {
            let truth = read_json(&path);
            let dir = truth["index_dir"].as_str().expect("index_dir").to_owned();
            list.push((truth, dir));
        }
    }
    list.sort_by(|(_, a), (_, b)| a.cmp(b));
    list
}

/// The dumps of the logs of a mailbox, oldest first.
fn log_dumps(fixture: &Path, dir: &str) -> Vec<LogDump> {
    let names = ["dovecot.index.log.2", "dovecot.index.log"];
    let path = |name: &str| fixture.join("dump").join(dir).join(format!("{name}.txt"));
    let text = |name: &&str| fs::read_to_string(path(name)).ok();
    names.iter().filter_map(text).map(|text| LogDump::parse(&text)).collect()
}

/// Every UID's append in the dumps, with its modseq; the dumps print it from the log alone.
#[test]
fn createseq_and_modseq_equal_the_dumps_and_the_server() {
    let (mut messages, mut created) = (0, 0);
    for fixture in fixtures() {
        for (truth, dir) in mailboxes(&fixture) {
            let shown = idx::json("modseq", &[fixture.join("files").join(&dir)]).expect("a document");
            let place = format!("{} {dir}", fixture.display());
            assert_eq!(shown["agree"], true, "{place}");
            if !truth["highestmodseq"].is_null() {
                assert_eq!(shown["highest_modseq"], truth["highestmodseq"], "{place}");
            }
            let mut createseq = BTreeMap::new();
            let mut positions = BTreeMap::new();
            for dump in log_dumps(&fixture, &dir) {
                for record in &dump.records {
                    let position = (dump.header["file_seq"], record.offset);
                    positions.insert(position, record.modseq);
                    for item in &record.items {
                        if let (LogItem::Append { uid, .. }, Some(modseq)) = (item, record.modseq) {
                            createseq.insert(*uid, modseq);
                        }
                    }
                }
            }
            let by_uid: BTreeMap<u64, &Value> = truth["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .map(|message| (message["uid"].as_u64().expect("uid"), message))
                .collect();
            for message in shown["messages"].as_array().expect("messages") {
                let uid = message["uid"].as_u64().expect("uid");
                let right = by_uid[&uid];
                if !right["modseq"].is_null() {
                    assert_eq!(message["modseq"], right["modseq"], "{place} UID {uid}");
                }
                assert_eq!(message["createseq"].as_u64(), createseq.get(&uid).copied(), "{place} UID {uid}");
                created += u64::from(createseq.contains_key(&uid));
                if let (Some(seq), Some(offset)) = (message["log_file_seq"].as_u64(), message["offset"].as_u64()) {
                    let at = positions[&(seq, offset)];
                    assert!(at.is_none() || at == message["modseq"].as_u64(), "{place} UID {uid}: {at:?} {message}");
                }
                messages += 1;
            }
        }
    }
    println!("{messages} messages, {created} of them with createseq");
    assert!(messages > 500 && created > 300, "only {messages} messages, {created} with createseq");
}

/// The dumps have every expunge with its modseq and GUID, and every request before it.
#[test]
fn expunges_equal_the_dumps() {
    let (mut expunges, mut requested) = (0, 0);
    for fixture in fixtures() {
        for (_, dir) in mailboxes(&fixture) {
            let mut right = Vec::new();
            let mut requests: BTreeMap<u64, (u64, u64, String)> = BTreeMap::new();
            let none = "0".repeat(32);
            for dump in log_dumps(&fixture, &dir) {
                let seq = dump.header["file_seq"];
                for record in &dump.records {
                    for item in &record.items {
                        let LogItem::ExpungeGuid { uid, guid } = item else { continue };
                        if !record.external {
                            requests.insert(*uid, (seq, record.offset, guid.clone()));
                            continue;
                        }
                        let request = requests.get(uid);
                        let guids = [Some(guid), request.map(|(.., guid)| guid)];
                        right.push(json!({
                            "uid": uid,
                            "guid": guids.into_iter().flatten().find(|guid| **guid != none),
                            "modseq": record.modseq,
                            "log_file_seq": seq,
                            "offset": record.offset,
                            "requested": request.map(|(seq, offset, _)| json!({"log_file_seq": seq, "offset": offset})),
                            "sync": record.sync,
                        }));
                    }
                }
            }
            let files = fixture.join("files").join(&dir);
            if log_dumps(&fixture, &dir).is_empty() {
                continue;
            }
            let shown = idx::json("expunges", &[&files]).expect("a document");
            let mut found = shown["expunges"].as_array().expect("expunges").clone();
            for one in &mut found {
                let one = one.as_object_mut().expect("an object");
                let order =
                    [one.remove("not_before"), one.remove("not_after")].map(|time| time.expect("a time").to_string());
                assert!(order[0] <= order[1], "{order:?}");
                let (by, origin) = (one.remove("by").expect("by"), one.remove("origin").expect("the key of 0.1"));
                let pairs = [("asked", "request"), ("storage", "external"), ("dsync", "dsync")];
                assert!(pairs.iter().any(|(new, old)| by == *new && origin == *old), "{by} {origin}");
                // tests/moved_live.rs asks servers where mails went.
                one.remove("moved_to").expect("a place, or null");
            }
            assert_eq!(found, right, "{}", files.display());
            let uids: UidSet = right.iter().map(|one| one["uid"].as_u64().expect("uid") as u32).collect();
            assert_eq!(shown["vanished"], uids.to_string());
            expunges += right.len();
            requested += right.iter().filter(|one| !one["requested"].is_null()).count();
        }
    }
    println!("{expunges} expunges, {requested} of them with a request");
    assert!(expunges > 50 && requested > 50, "only {expunges} expunges, {requested} with a request");
}

/// A client that knows a modseq which the logs cover is told exactly the expunges since then; `complete` says whether they do.
#[test]
fn expunges_since_a_modseq_are_what_the_server_said() {
    let mut exact = 0;
    for fixture in fixtures()
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("chain") || path.to_string_lossy().contains("sdbox-busy"))
    {
        for (_, dir) in mailboxes(&fixture) {
            let box_of =
                |entry: &PathBuf| entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("qresync-"));
            for path in
                fs::read_dir(&fixture).expect("a fixture").map(|entry| entry.expect("entry").path()).filter(box_of)
            {
                let recorded = read_json(&path);
                let truth = read_json(&PathBuf::from(path.to_string_lossy().replace("qresync-", "imap-")));
                if truth["index_dir"] != dir.as_str() {
                    continue;
                }
                for row in
                    recorded["selects"].as_array().expect("selects").iter().filter(|row| row["variant"] == "plain")
                {
                    let modseq = row["modseq"].as_u64().expect("modseq");
                    let files = fixture.join("files").join(&dir);
                    let args = ["--since", &modseq.to_string(), &files.to_string_lossy()].map(str::to_owned);
                    let shown = idx::json("expunges", &args).expect("a document");
                    let oldest = shown["oldest_modseq"].as_u64().expect("oldest_modseq");
                    // A modseq above HIGHESTMODSEQ is of another life: what its client missed nobody knows.
                    let now = idx::show(&files, None).expect("a document")["highest_modseq"].as_u64();
                    let known = now.is_some_and(|highest| modseq <= highest);
                    assert_eq!(shown["complete"], modseq >= oldest && known, "{args:?}");
                    if shown["complete"] == true {
                        assert_eq!(shown["vanished"].as_str(), row["vanished"].as_str().or(Some("")), "{args:?}");
                        exact += 1;
                    }
                    let located = idx::json("modseq", &["--locate".to_owned(), modseq.to_string(), args[2].clone()]);
                    let located = located.expect("a document");
                    assert_eq!(located["answer"] == "exact", shown["complete"] == true, "{args:?}");
                }
            }
        }
    }
    println!("{exact} exact answers");
    assert!(exact > 50, "only {exact} exact answers");
}

/// Everything printed in one format, and the exit code.
fn printed(args: &[&str], path: &Path) -> (Option<i32>, String) {
    let mut all: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    all.push(path.as_os_str());
    let output = run(&all);
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn busy() -> PathBuf {
    fixtures()[0].with_file_name("2.3.19.1-maildir-busy").join("files/Maildir")
}

#[test]
fn every_line_has_its_schema() {
    let uid_validity = idx::show(&busy(), None).expect("a document")["uid_validity"].to_string();
    for args in [
        vec!["modseq"],
        vec!["modseq", "--history"],
        vec!["modseq", "--locate", "100"],
        vec!["modseq", "--decode", "100"],
        vec!["expunges"],
        vec!["qresync", "--modseq", "100", "--uidvalidity", &uid_validity],
    ] {
        let schema = format!("idx.{}/1", args[0]);
        let (code, text) = printed(&[&args[..], &["-f", "ndjson"]].concat(), &busy());
        assert_eq!(code, Some(0), "{args:?}");
        let mut lines = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["schema"], schema.as_str(), "{args:?}");
            lines += 1;
        }
        assert!(lines > 0, "{args:?}");
        let (code, text) = printed(&[&args[..], &["-f", "json"]].concat(), &busy());
        let document: Value = serde_json::from_str(&text).expect("one document");
        assert_eq!((code, &document["schema"]), (Some(0), &json!(schema)), "{args:?}");
        assert_eq!(printed(&args, &busy()).0, Some(0), "{args:?}");
    }
}

/// rotation.md 7: `((indexid + log_file_seq) << 32) | log_file_offset`. The record at 888 ends at 920 and made modseq 100
/// (`doveadm dump`).
#[test]
fn numbers_of_both_schemes_are_told_apart() {
    let log = idx::dump(&busy().join("dovecot.index.log")).expect("a document");
    let (indexid, seq) =
        (log["header"]["indexid"].as_u64().expect("indexid"), log["header"]["file_seq"].as_u64().expect("seq"));
    let position = ((indexid + seq) << 32) | 920;
    let decode = |value: u64| {
        let path = busy().display().to_string();
        idx::json("modseq", &["--decode".to_owned(), value.to_string(), path]).expect("a document")
    };
    let counter = decode(100);
    assert_eq!(counter["scheme"], "counter");
    assert_eq!(counter["as_counter"], json!({"log_file_seq": seq, "offset": 920, "position_modseq": position}));
    let decoded = decode(position);
    assert_eq!(decoded["scheme"], "position");
    assert_eq!(decoded["as_position"], json!({"log_file_seq": seq, "offset": 920, "counter_there": 100}));
    assert_eq!(decode(1 << 40)["scheme"], "raised");
    assert_eq!(decode(u64::MAX)["valid_in_imap"], false);
}

#[test]
fn damage_is_named_and_reading_goes_on() {
    let whole = idx::json("expunges", &[busy()]).expect("a document");
    let all = whole["expunges"].as_array().expect("expunges").len();
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("dovecot.index.log");
    for name in ["dovecot.index.log", "dovecot.index.log.2"] {
        fs::copy(busy().join(name), dir.path().join(name)).expect("a copy");
    }
    // A record in the middle of the present log gets an impossible size.
    let mut bytes = fs::read(&log).expect("a log");
    bytes[888..892].copy_from_slice(&[0x80, 0x80, 0x80, 0x81]);
    fs::write(&log, &bytes).expect("a log");
    let (code, text) = printed(&["expunges", "-f", "json"], dir.path());
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, shown["complete"].as_bool()), (Some(1), Some(false)));
    assert_eq!(shown["vanished"], whole["vanished"], "expunges behind the damage are listed");
    assert_eq!(shown["expunges"].as_array().map(Vec::len), Some(all));
    assert_eq!(printed(&["expunges", "--since", "120", "-f", "json"], dir.path()).0, Some(1));
    for args in [vec!["modseq"], vec!["modseq", "--history"]] {
        assert_eq!(printed(&args, dir.path()).0, Some(1), "{args:?}");
    }
    fs::write(&log, b"").expect("an empty log");
    fs::remove_file(dir.path().join("dovecot.index.log.2")).expect("removed");
    for args in [
        vec!["modseq"],
        vec!["modseq", "--locate", "5"],
        vec!["expunges"],
        vec!["qresync", "--uidvalidity", "1", "--modseq", "1"],
    ] {
        let (code, text) = printed(&[&args[..], &["-f", "json"]].concat(), dir.path());
        let document: Value = serde_json::from_str(&text).expect("a document in every case");
        assert!(code == Some(2) && document["error"].is_string(), "{args:?}: {code:?} {document}");
    }
}

/// A log that is broken early has a complaint for every record behind it; nobody reads a thousand lines.
#[test]
fn complaints_about_one_file_are_cut_short() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = support::build::Log::new(1);
    for _ in 0..=99 {
        log.append(7..=7);
    }
    fs::write(dir.path().join("dovecot.index.log"), &log.bytes).expect("written");
    let output = run(&["modseq".as_ref(), dir.path().as_os_str()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(text.lines().count(), 10, "{text}");
    assert!(text.lines().all(|line| line.contains("append of UID 7 after UID 7")), "{text}");
    assert!(text.lines().last().is_some_and(|last| last.contains("(and 89 more like this)")), "{text}");
}
