//! Compares `idx` with recorded answers of nine versions of Dovecot in both byte orders.
//!
//! The corpus is not part of the project. Unpack it and run
//! `IDX_CORPUS=DIRECTORY cargo test --test corpus -- --ignored`.
//!
//! What can be compared depends on the version:
//! * Mailboxes that never saw CONDSTORE, and all of 1.0 and 1.1, have no modseqs. Their truth has no `highestmodseq`
//!   and no `modseq` of a message, so only UIDs, flags, keywords and the rest are compared.
//! * In logs of version 1.2 a flag update without IMAP flags (`\Dirty` alone, say) raises the modseq for Dovecot
//!   2.2.29 and later, and for `idx`, but not for 1.2 to 2.1 which wrote them. Dumps of these versions are compared
//!   with the modseqs corrected by this; of a mailbox with such a record the modseqs of the IMAP truth are left out.
//! * 1.0 has no dump tool; its mailboxes are compared with the IMAP truth alone.
//! * A dump of an index shows it after the log was replayed. It is compared with `idx show`, and with `idx dump` of
//!   `dovecot.index` where that has nothing to replay.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use support::compare::{self, ByteOrder, Differences, Expected};
use support::doveadm_dump::{IndexDump, LogDump};
use support::idx;
use support::imap::{Message, split_flags};

/// Names the directory of the unpacked corpus.
const CORPUS: &str = "IDX_CORPUS";

/// One scenario of the corpus: a home directory and what Dovecot said of it.
struct Scenario {
    dir: PathBuf,
    /// Its path in the corpus, for messages.
    name: String,
    meta: Value,
}

impl Scenario {
    fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    fn byte_order(&self) -> ByteOrder {
        if self.meta["byte_order"] == "big" { ByteOrder::Big } else { ByteOrder::Little }
    }

    /// Whether the version that answered is older than 2.2.29, where modseqs were counted differently.
    fn has_old_modseqs(&self) -> bool {
        let version = self.meta["version"].as_str().unwrap_or_default();
        ["1.", "2.0", "2.1"].iter().any(|old| version.starts_with(old))
    }

    /// All recorded dumps with the file, relative to `files/`, that each belongs to.
    fn dumps(&self) -> Vec<(PathBuf, String)> {
        let root = self.dir.join("truth/dump");
        let mut dumps = Vec::new();
        walk(&root, &mut |path| {
            let name = path.strip_prefix(&root).expect("a path below the root").to_str().expect("a UTF-8 name");
            if let Some((file, _)) = name.split_once(".dump.txt") {
                dumps.push((PathBuf::from(file), read_text(path)));
            }
        });
        dumps
    }

    /// The directory of the private indexes of a mailbox, if the configuration has such.
    fn pvt(&self, mailbox: &str) -> Option<PathBuf> {
        let text = fs::read_to_string(self.dir.join("truth/dovecot.conf")).ok()?;
        let start =
            ["INDEXPVT=", "mail_index_private_path = "].iter().find_map(|key| Some(text.find(key)? + key.len()))?;
        let path = text[start..].split([':', '\n']).next()?;
        let home = self.meta["home_in_truth"].as_str()?;
        let root = self.files().join(Path::new(path).strip_prefix(home).ok()?);
        Some(match self.meta["format"].as_str()? {
            "maildir" => root.join(format!(".{}", mailbox.replace('/', "."))),
            "mbox" => root.join(mailbox),
            _ => root.join("mailboxes").join(mailbox),
        })
    }
}

/// Every scenario of healthy files. Panics without a corpus: the test must not pass for want of it.
fn scenarios() -> Vec<Scenario> {
    let root = std::env::var_os(CORPUS).unwrap_or_else(|| panic!("set {CORPUS} to the directory of the corpus"));
    let root = PathBuf::from(root);
    let mut scenarios = Vec::new();
    walk(&root, &mut |path| {
        let name = path.strip_prefix(&root).expect("a path below the root");
        if path.file_name().is_some_and(|file| file == "meta.json") && !name.starts_with("broken") {
            let dir = path.parent().expect("a file has a parent").to_owned();
            let name = name.parent().expect("a file has a parent").display().to_string();
            let meta = serde_json::from_str(&read_text(path)).unwrap_or_else(|error| panic!("{name}: {error}"));
            scenarios.push(Scenario { dir, name, meta });
        }
    });
    assert!(!scenarios.is_empty(), "{CORPUS} names a directory without any scenario");
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    scenarios
}

/// Calls `visit` for every file of a tree; a tree that does not exist has none.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.expect("directory entry");
        if entry.file_type().expect("file type").is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}

/// Reads a text that may be compressed; bytes that are not UTF-8 are replaced.
fn read_text(path: &Path) -> String {
    let bytes = if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").arg("-dc").arg(path).stdin(Stdio::null()).output().expect("xz can be started");
        assert!(output.status.success(), "xz failed");
        output.stdout
    } else {
        fs::read(path).expect("a readable file")
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Unwraps a document of `idx`, or notes why there is none.
fn document(differences: &mut Differences, verb: &str, result: Result<Value, String>) -> Option<Value> {
    result.map_err(|problem| differences.add(&format!("{verb}: no document"), problem)).ok()
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn show_equals_what_imap_said() {
    let mut differences = Differences::default();
    for scenario in scenarios() {
        walk(&scenario.dir.join("truth"), &mut |path| {
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if file.starts_with("imap-") && !file.ends_with(".txt") {
                let truth: Value = serde_json::from_str(&read_text(path)).expect("JSON");
                show_one(&mut differences, &scenario, &truth);
            }
        });
    }
    differences.finish();
}

fn show_one(differences: &mut Differences, scenario: &Scenario, truth: &Value) {
    let mailbox = truth["mailbox"].as_str().unwrap_or_default();
    let Some(index_dir) = truth["index_dir"].as_str().or_else(|| index_dir(scenario, mailbox)) else { return };
    differences.at(format!("{} {mailbox}", scenario.name));
    let pvt = scenario.pvt(mailbox);
    let shown = idx::show(&scenario.files().join(index_dir), pvt.as_deref());
    let Some(shown) = document(differences, "show", shown) else { return };
    compare::show(differences, &expected(scenario, truth, index_dir, pvt.is_some()), &shown);
}

/// The index directory of a mailbox as `meta.json` has it.
fn index_dir<'a>(scenario: &'a Scenario, mailbox: &str) -> Option<&'a str> {
    let mailboxes = scenario.meta["mailboxes"].as_array()?;
    mailboxes.iter().find(|entry| entry["name"] == mailbox)?["index_dir"].as_str()
}

fn expected(scenario: &Scenario, truth: &Value, index_dir: &str, is_private: bool) -> Expected {
    let without_modseqs = scenario.has_old_modseqs() && has_uncounted_updates(scenario, index_dir);
    let exists = truth["exists"].as_u64();
    // The counters of the index do not know the private \Seen flags.
    let unseen = truth["status"]["UNSEEN"].as_u64().filter(|_| !is_private);
    let numbers = vec![
        ("uid_validity", truth["uidvalidity"].as_u64()),
        ("next_uid", truth["uidnext"].as_u64()),
        ("highest_modseq", truth["highestmodseq"].as_u64().filter(|_| !without_modseqs)),
        ("messages_count", exists),
        ("seen_messages_count", exists.zip(unseen).map(|(exists, unseen)| exists.saturating_sub(unseen))),
    ];
    let mut messages: Vec<Message> = truth["messages"].as_array().into_iter().flatten().map(message).collect();
    messages.sort_by_key(|message| message.uid);
    if without_modseqs {
        messages.iter_mut().for_each(|message| message.modseq = None);
    }
    Expected { numbers, messages, keywords: None }
}

fn message(truth: &Value) -> Message {
    let all: Vec<&str> = truth["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (flags, keywords) = split_flags(&all);
    let small = |name: &str| truth[name].as_u64().and_then(|number| number.try_into().ok()).unwrap_or(0);
    Message { seq: small("seq"), uid: small("uid"), flags, keywords, modseq: truth["modseq"].as_u64() }
}

/// Whether the logs of a mailbox have flag updates that the version of the truth did not count.
fn has_uncounted_updates(scenario: &Scenario, index_dir: &str) -> bool {
    let logs = scenario.dumps().into_iter().filter(|(file, _)| {
        file.parent() == Some(Path::new(index_dir)) && file.to_string_lossy().contains("dovecot.index.log")
    });
    let is_uncounted = |text: String| {
        let dump = LogDump::parse(&text);
        let mut tracked = dump.header.get("initial_modseq").is_some_and(|modseq| *modseq > 0);
        dump.records.iter().any(|record| {
            tracked |= record.modseq.is_some();
            tracked && record.kind == "flag-update" && record.modseq.is_none()
        })
    };
    logs.map(|(_, text)| text).any(is_uncounted)
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn dump_equals_doveadm_dump() {
    let mut differences = Differences::default();
    for scenario in scenarios() {
        for (file, text) in scenario.dumps() {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            differences.at(format!("{} {}", scenario.name, file.display()));
            if name.contains("index.log") || name.ends_with(".pvt.log") {
                log_one(&mut differences, &scenario, &file, &text);
            } else if name.ends_with("index") {
                index_one(&mut differences, &scenario, &file, &text);
            }
        }
    }
    for what in ["log", "index", "cache", "show"] {
        assert!(differences.compared(what) > 0, "no {what} was compared: {differences:#?}");
    }
    differences.finish();
}

fn log_one(differences: &mut Differences, scenario: &Scenario, file: &Path, text: &str) {
    let dump = LogDump::parse(text);
    note_unknown(differences, &dump.unknown);
    let counts_internal = scenario.has_old_modseqs() && dump.header.get("minor_version") < Some(&3);
    let document_of = idx::dump(&scenario.files().join(file));
    if let Some(found) = document(differences, "dump", document_of) {
        compare::log(differences, &dump, counts_internal, &found);
    }
}

fn index_one(differences: &mut Differences, scenario: &Scenario, file: &Path, text: &str) {
    // Of a file without a log of its own, as dovecot.index.backup, there is only an error message.
    let Some(dump) = IndexDump::parse(text) else { return };
    note_unknown(differences, &dump.unknown);
    let path = scenario.files().join(file);
    if file.ends_with("dovecot.index") {
        let shown = idx::show(path.parent().expect("a file has a parent"), None);
        if let Some(shown) = document(differences, "show", shown) {
            compare::show_with_dump(differences, &dump, &shown);
        }
    }
    if path.exists()
        && let Some(found) = document(differences, "dump", idx::dump(&path))
    {
        let head = |name: &str| found["header"][name].as_u64();
        let dumped = |name: &str| dump.header.get(name).copied();
        if ["log_file_seq", "log_file_head_offset"].iter().all(|name| head(name) == dumped(name)) {
            compare::index(differences, &dump, scenario.byte_order(), &found);
        }
    }
    if let Some(cache) = &dump.cache {
        let found = idx::dump(&path.with_extension("index.cache"));
        if let Some(found) = document(differences, "dump", found) {
            compare::cache(differences, &dump, cache, scenario.byte_order(), &found);
        }
    }
}

/// A line the parser does not know would be one that is not compared.
fn note_unknown(differences: &mut Differences, lines: &[String]) {
    for line in lines {
        differences.add("doveadm dump: line not understood", line);
    }
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn every_line_of_the_dumps_is_understood() {
    let mut differences = Differences::default();
    for scenario in scenarios() {
        for (file, text) in scenario.dumps() {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            differences.at(format!("{} {}", scenario.name, file.display()));
            if name.contains(".log") && name != "dovecot.mailbox.log" {
                note_unknown(&mut differences, &LogDump::parse(&text).unknown);
            } else if let Some(dump) = IndexDump::parse(&text) {
                note_unknown(&mut differences, &dump.unknown);
            }
        }
    }
    differences.finish();
}
