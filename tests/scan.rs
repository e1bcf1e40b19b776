//! `idx scan` against what servers say: LIST and STATUS recorded with the fixtures and the corpus, and live servers for the
//! layouts that neither has. Names are compared as people read them; the one name with letters beyond ASCII is spelt out.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use support::dovecot::{Dovecot, Format, Installation, copy_tree};
use support::{all_below, stamps};

/// A mailbox: messages, unseen, uid_validity, next_uid, highest_modseq; what the truth does not have is `None`.
type Numbers = [Option<u64>; 5];

fn idx<A: AsRef<std::ffi::OsStr>>(args: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_idx")).args(args).stdin(Stdio::null()).output().expect("idx runs")
}

fn scan(root: &Path) -> Vec<Value> {
    let output = idx(&[Path::new("scan"), Path::new("--format"), Path::new("ndjson"), root]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {} {stderr}", root.display(), output.status);
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    rows.filter(|row| row["section"] == "mailboxes").collect()
}

fn scanned(root: &Path) -> BTreeMap<String, Numbers> {
    let key = |row: &Value| row["name"].as_str().expect("name").to_owned();
    let number = |row: &Value, name: &str| row[name].as_u64();
    scan(root)
        .iter()
        .map(|row| {
            assert_eq!(row["schema"], "idx.scan/1");
            assert_eq!(row["state"], "sound", "{row}");
            let names = ["messages", "unseen", "uid_validity", "next_uid", "highest_modseq"];
            (key(row), names.map(|name| number(row, name)))
        })
        .collect()
}

/// `&AOQ-iti` is how the recorded truth spells it.
fn readable(name: &str) -> String {
    name.replace("&AOQ-iti", "äiti")
}

/// Reads a recorded LIST with STATUS.
fn recorded(list: &Path) -> BTreeMap<String, Numbers> {
    let list: Value = serde_json::from_slice(&fs::read(list).expect("list.json")).expect("JSON");
    let entries = list["list"].as_array().expect("list");
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    entries
        .iter()
        .filter(|entry| !entry["status"].is_null())
        .map(|entry| {
            let status = &entry["status"];
            let names = ["MESSAGES", "UNSEEN", "UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ"];
            (readable(entry["name"].as_str().expect("name")), names.map(|name| number(&status[name])))
        })
        .collect()
}

/// Every mailbox of the truth is found under its name with its numbers, and no other. A mailbox that has no index yet
/// cannot be found in indexes.
fn compare(what: &str, truth: &BTreeMap<String, Numbers>, found: &BTreeMap<String, Numbers>) {
    let names = |map: &BTreeMap<String, Numbers>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(truth), names(found), "{what}");
    for (name, want) in truth {
        for (want, have) in want.iter().zip(&found[name]).filter(|(want, _)| want.is_some()) {
            assert_eq!(want, have, "{what}: {name}: {truth:?}\n{found:?}");
        }
    }
}

#[test]
fn fixtures_are_listed_as_the_server_lists_them() {
    let fixtures = support::fixtures();
    let mut compared = 0;
    for entry in fs::read_dir(fixtures).expect("fixtures") {
        let dir = entry.expect("entry").path();
        let list = dir.join("list.json");
        if list.exists() {
            compare(&dir.display().to_string(), &recorded(&list), &scanned(&dir.join("files")));
            compared += 1;
        }
    }
    assert_eq!(compared, 8);
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn the_corpus_is_listed_as_the_servers_list_it() {
    let corpus = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    let mut compared = 0;
    for version in fs::read_dir(corpus).expect("corpus") {
        let Ok(formats) = fs::read_dir(version.expect("entry").path()) else { continue };
        for format in formats {
            let dir = format.expect("entry").path().join("list");
            let list = dir.join("truth/list.json");
            if list.exists() {
                compare(&dir.display().to_string(), &recorded(&list), &scanned(&dir.join("files")));
                compared += 1;
            }
        }
    }
    assert!(compared >= 3, "{compared} lists");
}

/// What `doveadm mailbox status` says of every mailbox.
fn status(dovecot: &Dovecot) -> BTreeMap<String, Numbers> {
    let fields = ["messages", "unseen", "uidvalidity", "uidnext", "highestmodseq"];
    let text = dovecot.doveadm_mail(&["-f", "tab", "mailbox", "status"], &[&fields.join(" "), "*"]);
    let text = String::from_utf8(text).expect("UTF-8");
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let heading = lines.next().expect("heading");
    let at = |name: &str| heading.iter().position(|title| *title == name).expect("column");
    lines
        .map(|cells| {
            let numbers = fields.map(|name| cells.get(at(name)).and_then(|cell| cell.parse().ok()));
            (cells[at("mailbox")].to_owned(), numbers)
        })
        .collect()
}

const NAMES: [&str; 7] = ["Drafts", "Archive", "Archive/2024", "Archive/2024/Q1", "äiti/R&D", "mailboxes", "日本語"];

fn fill(dovecot: &Dovecot) {
    // A folder of mbox files is no mailbox itself.
    let exists = |name: &&str| dovecot.format() != Format::Mbox || !["Archive", "Archive/2024"].contains(name);
    dovecot.doveadm_mail(&["mailbox", "create"], &NAMES.into_iter().filter(exists).collect::<Vec<_>>());
    let mut session = dovecot.qresync();
    for (mailbox, messages) in [("INBOX", 3), ("Drafts", 1), ("Archive/2024/Q1", 4)] {
        for i in 0..messages {
            let flags: &[&str] = if i == 0 { &["\\Seen"] } else { &[] };
            session.append(mailbox, flags, None, b"Subject: one\r\n\r\ntext\r\n");
        }
        session.select(mailbox);
    }
    session.logout();
    // Opening each mailbox makes its index.
    let mut session = dovecot.qresync();
    let all =
        ["INBOX", "Drafts", "Archive", "Archive/2024", "Archive/2024/Q1", "&AOQ-iti/R&-D", "mailboxes", "&ZeVnLIqe-"];
    for mailbox in all.into_iter().filter(exists) {
        session.select(mailbox);
    }
    session.logout();
}

#[test]
#[ignore = "needs dovecot"]
fn every_layout_is_listed_as_a_live_server_lists_it() {
    let old: [(&str, Format, &str); 14] = [
        ("Maildir++", Format::Maildir, "maildir:~/Maildir"),
        ("Maildir++ with INDEX", Format::Maildir, "maildir:~/Maildir:INDEX=~/index"),
        ("Maildir++ with CONTROL and INDEX", Format::Maildir, "maildir:~/Maildir:INDEX=~/index:CONTROL=~/control"),
        ("Maildir fs", Format::Maildir, "maildir:~/Maildir:LAYOUT=fs"),
        ("Maildir fs with INDEX", Format::Maildir, "maildir:~/Maildir:LAYOUT=fs:INDEX=~/index"),
        ("Maildir by index", Format::Maildir, "maildir:~/Maildir:LAYOUT=index"),
        ("Maildir with UTF-8 names", Format::Maildir, "maildir:~/Maildir:UTF-8"),
        ("sdbox", Format::Sdbox, "sdbox:~/sdbox"),
        ("sdbox with INDEX", Format::Sdbox, "sdbox:~/sdbox:INDEX=~/index"),
        ("sdbox by index with INDEX", Format::Sdbox, "sdbox:~/sdbox:LAYOUT=index:INDEX=~/index"),
        ("mdbox by index", Format::Mdbox, "mdbox:~/mdbox:LAYOUT=index"),
        ("mdbox, another root for mailboxes", Format::Mdbox, "mdbox:~/mdbox:ALT=~/alt:INDEX=~/index"),
        ("mbox with INDEX", Format::Mbox, "mbox:~/mbox:INBOX=~/inbox:INDEX=~/index"),
        ("Maildir++ with a cache root", Format::Maildir, "maildir:~/Maildir:INDEXCACHE=~/cache"),
    ];
    for (what, format, location) in old {
        let dovecot = Dovecot::with(Installation::system(), format, &[("mail_location", location)]);
        live(what, &dovecot);
    }
    type Settings = &'static [(&'static str, &'static str)];
    let new: [(&str, Format, Settings); 5] = [
        ("2.4 Maildir fs", Format::Maildir, &[("mailbox_list_layout", "fs")]),
        ("2.4 Maildir++ with index", Format::Maildir, &[("mail_index_path", "~/index")]),
        ("2.4 sdbox by index", Format::Sdbox, &[("mailbox_list_layout", "index"), ("mail_index_path", "~/index")]),
        ("2.4 mdbox by index", Format::Mdbox, &[("mailbox_list_layout", "index")]),
        ("2.4 Maildir by index", Format::Maildir, &[("mailbox_list_layout", "index")]),
    ];
    for installation in Installation::all().into_iter().filter(|i| i.version().starts_with("2.4")) {
        for (what, format, settings) in new {
            live(what, &Dovecot::with(installation.clone(), format, settings));
        }
    }
}

fn live(what: &str, dovecot: &Dovecot) {
    fill(dovecot);
    let mut truth = status(dovecot);
    assert_eq!(truth.len(), if dovecot.format() == Format::Mbox { 6 } else { 8 }, "{what}: {truth:?}");
    let mut found = scanned(&dovecot.home());
    // A server with UTF-8 names on disk does not write `&-` for `&`; idx shows that name as it is.
    assert_eq!(truth.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{what}");
    compare(what, &truth, &found);
    // The messages are where the layout puts them, and nothing is wrong with them.
    let output = idx(&[
        Path::new("check"),
        Path::new("--deep"),
        Path::new("-v"),
        Path::new("--fail-on"),
        Path::new("warning"),
        &dovecot.home(),
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {text}");
    // The same from inside the mail root.
    let below = dovecot.mail_root();
    if !below.join("dovecot.list.index.log").exists() {
        return;
    }
    truth.remove("INBOX");
    found = scanned(&below);
    found.remove("INBOX");
    compare(what, &truth, &found);
}

/// Two users under a domain, one tree of each format.
fn spool() -> tempfile::TempDir {
    let fixtures = support::fixtures();
    let spool = tempfile::tempdir().expect("directory");
    for (from, to) in [
        ("2.4.1-maildir-list/files/Maildir", "example.org/alice/Maildir"),
        ("2.3.19.1-mdbox-list/files/mdbox", "example.org/bob/mdbox"),
        ("2.3.19.1-mbox-list/files/mbox", "carol@example.net/mail"),
    ] {
        copy_tree(&fixtures.join(from), &spool.path().join(to)).expect("copy");
    }
    spool
}

#[test]
fn users_and_formats_are_told_by_the_tree() {
    let spool = spool();
    let mut count = BTreeMap::new();
    for row in scan(spool.path()) {
        let key = (row["user"].as_str().expect("user").to_owned(), row["format"].as_str().expect("format").to_owned());
        *count.entry(key).or_insert(0) += 1;
    }
    let want =
        [("alice@example.org", "maildir", 12), ("bob@example.org", "mdbox", 12), ("carol@example.net", "mbox", 9)];
    let want: BTreeMap<_, _> = want.into_iter().map(|(u, f, n)| ((u.to_owned(), f.to_owned()), n)).collect();
    assert_eq!(count, want);
}

#[test]
fn order_is_stable_and_bad_mailboxes_do_not_stop_the_walk() {
    let spool = spool();
    let before = scan(spool.path());
    let broken = spool.path().join("example.org/alice/Maildir/.Archive/dovecot.index.log");
    fs::write(&broken, b"this is no log").expect("write");
    let mut runs = Vec::new();
    for jobs in ["1", "2", "7"] {
        let output = idx(&["scan", "-f", "ndjson", "-j", jobs, spool.path().to_str().expect("UTF-8")]);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let paths: Vec<String> = rows.iter().filter_map(|row| Some(row["path"].as_str()?.to_owned())).collect();
        assert_eq!(paths.len(), before.len());
        let bad: Vec<&Value> = rows.iter().filter(|row| row["state"] == "unreadable").collect();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0]["name"], "Archive");
        runs.push(paths);
    }
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
    let mut sorted = runs[0].clone();
    sorted.sort_by(|a, b| Path::new(a).cmp(Path::new(b)));
    assert_eq!(runs[0], sorted);
    // A root that does not exist is named, and the others are still scanned.
    let missing = spool.path().join("nobody");
    let output = idx(&[
        Path::new("scan"),
        Path::new("-f"),
        Path::new("json"),
        &missing,
        &spool.path().join("carol@example.net"),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["mailboxes"].as_array().map(Vec::len), Some(9));
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(1));
}

#[test]
fn links_are_not_followed_and_no_timestamp_moves() {
    let spool = spool();
    let outside = tempfile::tempdir().expect("directory");
    copy_tree(&spool.path().join("example.org/bob"), &outside.path().join("bob")).expect("copy");
    symlink(outside.path().join("bob"), spool.path().join("example.org/dave")).expect("link");
    symlink(spool.path(), spool.path().join("example.org/loop")).expect("link");
    let drafts = spool.path().join("example.org/alice/Maildir/.Drafts");
    fs::remove_file(drafts.join("dovecot.index.log")).expect("remove");
    symlink(
        outside.path().join("bob/mdbox/mailboxes/Drafts/dbox-Mails/dovecot.index.log"),
        drafts.join("dovecot.index.log"),
    )
    .expect("link");
    let paths = all_below(spool.path());
    let before = stamps(&paths);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let rows = scan(spool.path());
    for ((path, before), after) in paths.iter().zip(before).zip(stamps(&paths)) {
        assert_eq!(before, after, "{}", path.display());
    }
    assert_eq!(rows.len(), 32, "all but the mailbox whose only log is elsewhere");
}

/// `mailbox_list_index_prefix` and copies give index files other names; their content tells what they are.
#[test]
fn unusual_names_are_recognised_by_content() {
    let spool = tempfile::tempdir().expect("directory");
    let fixtures = support::fixtures();
    let mdbox = fixtures.join("2.4.1-mdbox-list/files/mdbox");
    for (from, to) in [
        ("mailboxes/Sent/dbox-Mails/dovecot.index.log", "saved.index.log"),
        ("dovecot.list.index.log", "boxes.index.log"),
        ("storage/dovecot.map.index.log", "mails.index.log"),
    ] {
        fs::copy(mdbox.join(from), spool.path().join(to)).expect("copy");
    }
    fs::write(spool.path().join("other.index.log"), "2026-11-23 started\n2026-11-23 stopped\n").expect("write");
    let output = idx(&[Path::new("scan"), Path::new("-af"), Path::new("ndjson"), spool.path()]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
    assert_eq!(kinds, ["list", "map", "mailbox"]);
}

#[test]
fn deep_trees_and_many_threads() {
    let spool = tempfile::tempdir().expect("directory");
    let from = support::fixtures().join("2.4.1-maildir-list/files/Maildir/.Sent");
    let mut dir = spool.path().to_owned();
    for level in 0..300 {
        dir.push(format!("{}", level % 10));
        if level % 100 == 99 {
            copy_tree(&from, &dir.join("Maildir")).expect("copy");
        }
    }
    let mut rows = Vec::new();
    for jobs in ["1", "256"] {
        let output = idx(&["scan", "-f", "json", "-j", jobs, spool.path().to_str().expect("UTF-8")]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        rows.push(document["mailboxes"].as_array().expect("mailboxes").len());
    }
    assert_eq!(rows, [3, 3]);
}
