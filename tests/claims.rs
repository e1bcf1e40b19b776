//! Claims and their evidence, a table: what the log, the index and the storage prove is taken away piece by piece from sound
//! mailboxes, and every verb that claimed something because of it must stop, or say what it could not compare.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::fixtures;

fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).args(["-f", "json"]).arg(path).output().expect("runs");
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A copy of a recorded home in which nobody has written for an hour.
struct Home {
    temp: tempfile::TempDir,
    fixture: &'static str,
    index: &'static str,
}

impl Home {
    fn of(fixture: &'static str, index: &'static str) -> Home {
        let home = Home { temp: tempfile::tempdir().expect("a directory"), fixture, index };
        home.reset();
        home
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    fn index(&self) -> PathBuf {
        self.dir().join(self.index)
    }

    fn reset(&self) {
        let _ = fs::remove_dir_all(self.dir());
        support::dovecot::copy_tree(&fixtures().join(self.fixture).join("files"), &self.dir()).expect("a copy");
        self.age();
    }

    fn age(&self) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        for path in support::all_below(&self.dir()) {
            fs::File::open(&path).and_then(|file| file.set_modified(old)).expect("a time");
        }
    }
}

/// What a verb claims of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// `check --deep` finds nothing new, and leaves out nothing more than before.
    Sound,
    /// `scan` says "sound".
    State,
    /// `expunges` says "complete".
    Complete,
    /// `qresync` says "exact" for a client of the first modseq.
    Exact,
    /// `show`, `log` exit with 0.
    Shown,
    Logged,
    /// `modseq` says that index and log agree.
    Agree,
    /// `rebuild -n` goes on and names no loss.
    NothingLost,
}

/// What `check --deep` says: findings above an info, and what was not compared.
fn deep(home: &Home) -> BTreeSet<String> {
    let document = idx(&["check", "--deep"], &home.dir()).1;
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let found = list("findings").into_iter().filter(|one| one["severity"] != "info");
    let found = found.map(|one| format!("{} {}", one["code"], one["file"]));
    let skipped = list("not_compared").into_iter().map(|one| format!("{} {}", one["what"], one["mailbox"]));
    found.chain(skipped).chain(list("errors").into_iter().map(|one| one.to_string())).collect()
}

fn claims(home: &Home, before: &BTreeSet<String>, client: (&str, &str)) -> BTreeSet<Claim> {
    let index = home.index();
    let mut all = BTreeSet::new();
    if deep(home).is_subset(before) {
        all.insert(Claim::Sound);
    }
    let rows = idx(&["scan"], &home.dir()).1["mailboxes"].as_array().cloned().unwrap_or_default();
    let dir = index.parent().expect("a directory").to_string_lossy().into_owned();
    if rows.iter().any(|row| row["path"] == dir.as_str() && row["state"] == "sound") {
        all.insert(Claim::State);
    }
    if idx(&["expunges"], &index).1["complete"] == true {
        all.insert(Claim::Complete);
    }
    let (validity, modseq) = client;
    if idx(&["qresync", "--uidvalidity", validity, "--modseq", modseq], &index).1["answer"] == "exact" {
        all.insert(Claim::Exact);
    }
    for (verb, claim) in [("show", Claim::Shown), ("log", Claim::Logged)] {
        if idx(&[verb], &index).0 == 0 {
            all.insert(claim);
        }
    }
    if idx(&["modseq"], &index).1["agree"] == true && idx(&["modseq"], &index).0 == 0 {
        all.insert(Claim::Agree);
    }
    let (code, plan) = idx(&["rebuild", "-n"], &index);
    if code != 2 && plan["lost"].as_array().is_none_or(Vec::is_empty) {
        all.insert(Claim::NothingLost);
    }
    all
}

type Take = Box<dyn Fn(&Path)>;

/// The evidence in the directory of a mailbox, what takes it away, and the claims that rest on it.
fn evidence(home: &Home) -> Vec<(String, Take, &'static [Claim])> {
    use Claim::{Agree, Complete, Exact, Logged, Shown, Sound, State};
    const LOG: &[Claim] = &[Sound, State, Complete, Exact, Shown, Logged, Agree];
    const OLD: &[Claim] = &[Complete, Exact];
    const FILES: &[Claim] = &[Sound];
    let mut list: Vec<(String, Take, &[Claim])> = Vec::new();
    let dir = home.index().parent().expect("a directory").to_owned();
    let (log, old) = (dir.join("dovecot.index.log"), dir.join("dovecot.index.log.2"));
    let size = fs::metadata(&log).expect("a log").len();
    for at in [40, size / 3 / 4 * 4, size / 2 / 4 * 4] {
        let log = log.clone();
        let hole: Take = Box::new(move |_| {
            let mut bytes = fs::read(&log).expect("a log");
            let at = usize::try_from(at).expect("small");
            bytes[at..at + 64].fill(0);
            fs::write(&log, bytes).expect("written");
        });
        list.push((format!("a hole at {at}"), hole, LOG));
    }
    if old.exists() {
        let gone = old.clone();
        list.push((".log.2 is gone".into(), Box::new(move |_| fs::remove_file(&gone).expect("removed")), OLD));
        let begins = log.clone();
        let lie: Take = Box::new(move |_| {
            let mut bytes = fs::read(&begins).expect("a log");
            bytes[12..20].fill(0);
            fs::write(&begins, bytes).expect("written");
        });
        list.push(("a prev_file_seq of 0".into(), lie, &[Complete, Sound]));
    }
    let named = |name: &str| dir.join(name);
    for name in ["dovecot-uidlist", "dovecot-keywords", "cur", "u.1"] {
        let path = named(name);
        if !path.exists() {
            continue;
        }
        let is_dir = path.is_dir();
        let (one, two) = (path.clone(), path);
        let away = move |_: &Path| if is_dir { fs::remove_dir_all(&one) } else { fs::remove_file(&one) }.expect("gone");
        list.push((format!("{name} is gone"), Box::new(away), FILES));
        if !is_dir {
            list.push((format!("{name} is empty"), Box::new(move |_| fs::write(&two, "").expect("emptied")), FILES));
        }
    }
    for name in ["mdbox/storage/m.1", "mdbox/storage/dovecot.map.index.log"] {
        if home.dir().join(name).exists() {
            let away = move |home: &Path| fs::remove_file(home.join(name)).expect("removed");
            list.push((format!("{name} is gone"), Box::new(away), FILES));
            let empty = move |home: &Path| fs::write(home.join(name), "").expect("emptied");
            list.push((format!("{name} is empty"), Box::new(empty), FILES));
        }
    }
    list
}

const MAILBOXES: [(&str, &str); 10] = [
    ("2.3.19.1-maildir-fresh", "Maildir/dovecot.index"),
    ("2.4.1-maildir-fresh", "Maildir/dovecot.index"),
    ("2.3.19.1-maildir-chain", "Maildir/dovecot.index"),
    ("2.4.1-maildir-chain", "Maildir/dovecot.index"),
    ("2.4.1-maildir-onelog", "Maildir/dovecot.index"),
    ("2.3.19.1-sdbox-fresh", "sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index"),
    ("2.4.1-sdbox-fresh", "sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index"),
    ("2.3.19.1-mdbox-fresh", "mdbox/mailboxes/INBOX/dbox-Mails/dovecot.index"),
    ("2.4.1-mdbox-fresh", "mdbox/mailboxes/INBOX/dbox-Mails/dovecot.index"),
    ("2.4.1-mbox-fresh", "mbox/.imap/INBOX/dovecot.index"),
];

#[test]
fn no_claim_outlives_its_evidence() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (fixture, index) in MAILBOXES {
        let home = Home::of(fixture, index);
        let before = deep(&home);
        let shown = idx(&["show"], &home.index()).1;
        let client = (shown["uid_validity"].to_string(), "1".to_owned());
        let client = (client.0.as_str(), client.1.as_str());
        let at_first = claims(&home, &before, client);
        assert!(at_first.contains(&Claim::Sound) && at_first.contains(&Claim::State), "{fixture}: {at_first:?}");
        for (what, take, rests) in evidence(&home) {
            home.reset();
            take(&home.dir());
            home.age();
            let now = claims(&home, &before, client);
            let stands: Vec<_> = rests.iter().filter(|one| at_first.contains(one) && now.contains(one)).collect();
            if !stands.is_empty() {
                wrong.push(format!("{fixture}, {what}: {stands:?}"));
            }
            // A damaged log costs nothing only where other files have what stood there.
            if what.starts_with("a hole") && now.contains(&Claim::NothingLost) {
                let plan = idx(&["rebuild", "-n"], &home.index()).1;
                let have = (&plan["messages"]["total"], &plan["kept"]["highest_modseq"]);
                assert_eq!(have, (&shown["messages_count"], &shown["highest_modseq"]), "{fixture}, {what}: {plan}");
            }
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "{} claims of {tried} trials stand:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 40, "{tried} trials");
}
