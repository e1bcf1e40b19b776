//! One verdict: whatever `check` says of a mailbox, `scan` and `show` say too, of sound mailboxes, of broken ones, and of a
//! mailbox with one byte changed, wherever it is.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

/// What `check` or `show` finds above an info in a mailbox: codes by severity.
type Verdict = BTreeSet<(String, String)>;

fn idx<A: AsRef<OsStr>>(args: &[A]) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_idx")).args(args).stdin(Stdio::null()).output().expect("idx runs");
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{:?}: {error}: {}", args[0].as_ref(), String::from_utf8_lossy(&output.stderr)));
    (document, output.status.code().expect("idx ends by itself"))
}

/// The index that a file belongs to.
fn index_of(file: &str) -> String {
    let mut name = file;
    for suffix in [".newlock", ".lock", ".tmp", ".2", ".log", ".cache", ".backup"] {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    name.to_owned()
}

/// The findings in a list, by index.
fn verdicts(list: &Value) -> BTreeMap<String, Verdict> {
    let mut all: BTreeMap<String, Verdict> = BTreeMap::new();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    for finding in list.as_array().expect("a list").iter().filter(|finding| finding["severity"] != "info") {
        let (code, severity) = (text(&finding["code"]), text(&finding["severity"]));
        all.entry(index_of(&text(&finding["file"]))).or_default().insert((severity, code));
    }
    all
}

/// The rules that only `check` and `scan` look at: the cache, lock files, names, the index against the logs from their
/// beginning on, and what no Dovecot complains about.
fn is_shown((severity, code): &(String, String)) -> bool {
    severity == "error" && !code.starts_with(['C', 'D', 'N', 'T']) && !["I12", "I18", "L23"].contains(&code.as_str())
}

/// Holds the verbs against each other for everything below `root`, and returns how many indexes there were.
fn agree(root: &Path) -> usize {
    let os = |path: &Path| path.as_os_str().to_owned();
    let (checked, _) = idx(&["check".into(), "-f".into(), "json".into(), os(root)]);
    let checked = verdicts(&checked["findings"]);
    let (scanned, _) = idx(&["scan".into(), "--all".into(), "-f".into(), "json".into(), os(root)]);
    let rows = scanned["mailboxes"].as_array().expect("rows");
    let mut wrong = Vec::new();
    let none = Verdict::new();
    let mut indexes = Vec::new();
    for row in rows {
        let name = match row["kind"].as_str().expect("a kind") {
            "mailbox" => "dovecot.index",
            "private" => "dovecot.index.pvt",
            "list" => "dovecot.list.index",
            "map" => "dovecot.map.index",
            _ => continue,
        };
        let index = Path::new(row["path"].as_str().expect("a path")).join(name);
        let found = checked.get(index.to_str().expect("UTF-8")).unwrap_or(&none);
        let wanted = match found.first() {
            None => "sound",
            Some((severity, _)) if severity == "error" => "damaged",
            Some(_) => "warning",
        };
        // A name that cannot be decoded, and no other fault, is no fault of the files.
        let only_name = found.iter().all(|(_, code)| code == "N1");
        if row["state"] != wanted && !only_name {
            wrong.push(format!("{}: scan says {}, check {found:?}", index.display(), row["state"]));
        }
        indexes.push(index);
    }
    for index in &indexes {
        let (shown, exit) = idx(&["show".into(), "-f".into(), "json".into(), os(index)]);
        let found = checked.get(index.to_str().expect("UTF-8")).unwrap_or(&none);
        let wanted: BTreeSet<_> = found.iter().filter(|one| is_shown(one)).cloned().collect();
        if exit == 2 {
            // Nothing that could be shown.
            if wanted.is_empty() {
                wrong.push(format!("{}: show fails, check says {found:?}", index.display()));
            }
            continue;
        }
        let told = verdicts(&shown["problems"]).remove(index.to_str().expect("UTF-8")).unwrap_or_default();
        let told_errors: BTreeSet<_> = told.iter().filter(|one| is_shown(one)).cloned().collect();
        if told_errors != wanted {
            wrong.push(format!("{}: show says {told:?}, check {found:?}", index.display()));
        }
        if (exit == 1) != told.iter().any(|(severity, _)| severity == "error") {
            wrong.push(format!("{}: show says {told:?} and exits with {exit}", index.display()));
        }
        if found.is_empty() && !told.is_empty() {
            wrong.push(format!("{}: check says sound, show {told:?}", index.display()));
        }
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
    indexes.len()
}

#[test]
fn sound_mailboxes() {
    assert!(agree(&support::fixtures()) > 60);
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn broken_mailboxes_of_the_corpus() {
    let corpus = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    assert!(agree(&corpus.join("broken")) > 90);
}

/// Every 7th byte of the index and of both logs, one mutant each, and the counter that once made two verdicts.
#[test]
fn one_byte_changed() {
    let base = support::fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    let spool = tempfile::tempdir().expect("a directory");
    let names = ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"];
    let files: Vec<(&str, Vec<u8>)> =
        names.iter().filter_map(|name| Some((*name, fs::read(base.join(name)).ok()?))).collect();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let mutant = |number: usize, which: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let dir = spool.path().join(format!("{number:04}"));
        fs::create_dir(&dir).expect("a directory");
        for (i, (name, bytes)) in files.iter().enumerate() {
            let mut bytes = bytes.clone();
            if i == which {
                change(&mut bytes);
            }
            fs::write(dir.join(name), bytes).expect("written");
            let file = fs::File::options().write(true).open(dir.join(name)).expect("a file");
            file.set_modified(old).expect("a time");
        }
    };
    mutant(0, 0, &|bytes| bytes[40] += 1);
    let mut number = 0;
    for (which, size) in files.iter().map(|(_, bytes)| bytes.len()).enumerate() {
        for at in (0..size.min(480)).step_by(7).chain((480..size).step_by(size / 16)) {
            number += 1;
            mutant(number, which, &|bytes| bytes[at] ^= 1 << (at % 8));
        }
    }
    assert_eq!(agree(spool.path()), number + 1);
}
