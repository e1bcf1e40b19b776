//! Claims and their evidence, a table: what the log, the index and the storage prove is taken away piece by piece from sound
//! mailboxes, and every verb that claimed something because of it must stop, or say what it could not compare.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{fixtures, on_threads};

fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).args(["-f", "json"]).arg(path).output().expect("runs");
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// A copy of a recorded home in which nobody has written for an hour.
struct Home {
    temp: tempfile::TempDir,
    from: PathBuf,
    index: PathBuf,
}

impl Home {
    fn of(from: PathBuf, index: PathBuf) -> Home {
        let home = Home { temp: tempfile::tempdir().expect("a directory"), from, index };
        home.reset();
        home
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    fn index(&self) -> PathBuf {
        self.dir().join(&self.index)
    }

    fn reset(&self) {
        let _ = fs::remove_dir_all(self.dir());
        support::dovecot::copy_tree(&self.from, &self.dir()).expect("a copy");
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

const ALL: &[Claim] = &[
    Claim::Sound,
    Claim::State,
    Claim::Complete,
    Claim::Exact,
    Claim::Shown,
    Claim::Logged,
    Claim::Agree,
    Claim::NothingLost,
];

/// What `check --deep` says: findings above an info, and what was not compared.
fn deep(home: &Home) -> BTreeSet<String> {
    let document = idx(&["check", "--deep"], &home.dir()).1;
    let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
    let found = list("findings").into_iter().filter(|one| one["severity"] != "info");
    let found = found.map(|one| format!("{} {}", one["code"], one["file"]));
    let skipped = list("not_compared").into_iter().map(|one| format!("{} {}", one["what"], one["mailbox"]));
    found.chain(skipped).chain(list("errors").into_iter().map(|one| one.to_string())).collect()
}

/// Which of these claims are made now.
fn claims(home: &Home, before: &BTreeSet<String>, client: (&str, &str), asked: &[Claim]) -> BTreeSet<Claim> {
    let index = home.index();
    let stands = |claim: &Claim| match claim {
        Claim::Sound => deep(home).is_subset(before),
        Claim::State => {
            let rows = idx(&["scan"], &home.dir()).1["mailboxes"].as_array().cloned().unwrap_or_default();
            let dir = index.parent().expect("a directory").to_string_lossy().into_owned();
            rows.iter().any(|row| row["path"] == dir.as_str() && row["state"] == "sound")
        }
        Claim::Complete => idx(&["expunges"], &index).1["complete"] == true,
        Claim::Exact => {
            let (validity, modseq) = client;
            idx(&["qresync", "--uidvalidity", validity, "--modseq", modseq], &index).1["answer"] == "exact"
        }
        Claim::Shown => idx(&["show"], &index).0 == 0,
        Claim::Logged => idx(&["log"], &index).0 == 0,
        Claim::Agree => {
            let (code, said) = idx(&["modseq"], &index);
            code == 0 && said["agree"] == true
        }
        Claim::NothingLost => {
            let (code, plan) = idx(&["rebuild", "-n"], &index);
            code != 2 && plan["lost"].as_array().is_none_or(Vec::is_empty)
        }
    };
    asked.iter().copied().filter(stands).collect()
}

/// Whether the storage of the mailbox has any mail: that of the corpus has been left out in part.
fn has_mails(home: &Home) -> bool {
    let dir = home.index().parent().expect("a directory").to_owned();
    let names = ["cur", "new"].map(|sub| fs::read_dir(dir.join(sub)));
    let is_mail = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("u.");
    names.into_iter().flatten().any(|mut dir| dir.next().is_some())
        || fs::read_dir(&dir).into_iter().flatten().flatten().any(|entry| is_mail(&entry))
        || !dir.join("dovecot-uidlist").exists() && !dir.ends_with("dbox-Mails")
        || support::all_below(&home.dir()).iter().any(|path| path.parent().is_some_and(|dir| dir.ends_with("storage")))
}

type Take = Box<dyn Fn(&Path)>;

/// The evidence in the directory of a mailbox, what takes it away, and the claims that rest on it.
fn evidence(home: &Home) -> Vec<(String, Take, &'static [Claim])> {
    use Claim::{Agree, Complete, Exact, Logged, NothingLost, Shown, Sound, State};
    const LOG: &[Claim] = &[Sound, State, Complete, Exact, Shown, Logged, Agree];
    const OLD: &[Claim] = &[Complete, Exact];
    const ALL: &[Claim] = &[Sound, State, Complete, Exact, Shown, Agree, NothingLost];
    const FILES: &[Claim] = &[Sound];
    let mut list: Vec<(String, Take, &[Claim])> = Vec::new();
    let dir = home.index().parent().expect("a directory").to_owned();
    let (log, old) = (dir.join("dovecot.index.log"), dir.join("dovecot.index.log.2"));
    let size = fs::metadata(&log).expect("a log").len();
    let records = idx(&["log"], &log).1["records"].as_array().cloned().unwrap_or_default();
    let number = |record: &Value, key: &str| record[key].as_u64().unwrap_or(0);
    let data: Vec<(u64, u64)> = records
        .iter()
        .filter(|record| record["type"] == "ext-rec")
        .map(|record| (number(record, "offset"), number(record, "offset") + number(record, "size")))
        .collect();
    for at in [40, size / 3 / 4 * 4, size / 2 / 4 * 4].into_iter().filter(|at| at + 64 <= size) {
        let log = log.clone();
        let hole: Take = Box::new(move |_| {
            let mut bytes = fs::read(&log).expect("a log");
            let at = usize::try_from(at).expect("small");
            bytes[at..at + 64].fill(0);
            fs::write(&log, bytes).expect("written");
        });
        // The data of an extension tell nothing of messages, flags and expunges, and where the record ends is plain.
        let is_data = data.iter().any(|(from, to)| from + 8 <= at && at + 64 <= *to);
        list.push((format!("a hole at {at}"), hole, if is_data { FILES } else { LOG }));
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
        // Without modseqs (bytes 24 to 32 of the header) nothing else tells that the one log goes on where the other ends.
        let counts = fs::read(&log).is_ok_and(|bytes| bytes[2] >= 32 && bytes[24..32] != [0; 8]);
        list.push(("a prev_file_seq of 0".into(), lie, if counts { &[Complete, Sound] } else { &[Complete] }));
    }
    // Where the logs do not tell everything from the beginning, only the index knows the rest.
    // (1, 0) is how 1.x to 2.1 wrote that a log continues none.
    let begins = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes[12..16] == [0; 4] || bytes[16..20] == [0; 4]);
    if home.index().exists() && !begins(&log) && !(old.exists() && begins(&old)) {
        let index = home.index();
        list.push(("the index is gone".into(), Box::new(move |_| fs::remove_file(&index).expect("removed")), ALL));
    }
    let gone = log.clone();
    list.push(("the log is gone".into(), Box::new(move |_| fs::remove_file(&gone).expect("removed")), LOG));
    for (name, path) in witnesses(home, &dir) {
        let (one, two, three) = (path.clone(), path.clone(), path.clone());
        let is_dir = path.is_dir();
        let away = move |_: &Path| if is_dir { fs::remove_dir_all(&one) } else { fs::remove_file(&one) }.expect("gone");
        list.push((format!("{name} is gone"), Box::new(away), FILES));
        if is_dir {
            continue;
        }
        list.push((format!("{name} is empty"), Box::new(move |_| fs::write(&two, "").expect("emptied")), FILES));
        let other = move |_: &Path| {
            fs::remove_file(&three).expect("removed");
            fs::create_dir(&three).expect("a directory");
        };
        list.push((format!("{name} cannot be read"), Box::new(other), FILES));
    }
    list
}

/// The files that say something of the messages of the mailbox in `dir`, by a name that is the same for all of a kind.
fn witnesses(home: &Home, dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let first = |dir: &Path, start: &str| {
        let is_it = |path: &PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.strip_prefix(start).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut all: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|one| one.path()).collect();
        all.sort();
        all.into_iter().find(is_it)
    };
    let mut list = vec![
        ("dovecot-uidlist", dir.join("dovecot-uidlist")),
        ("dovecot-keywords", dir.join("dovecot-keywords")),
        ("cur", dir.join("cur")),
    ];
    list.extend(first(dir, "u.").map(|path| ("u.N", path)));
    if let Some(root) = dir.ancestors().skip(2).find(|above| above.join("storage").is_dir()) {
        list.extend(first(&root.join("storage"), "m.").map(|path| ("m.N", path)));
        list.push(("the map", root.join("storage/dovecot.map.index.log")));
    }
    if dir.parent().is_some_and(|imap| imap.ends_with(".imap")) {
        let name = dir.file_name().expect("a name");
        let root = dir.parent().and_then(Path::parent).expect("a root");
        list.push(("the mbox", if name == "INBOX" { home.dir().join("inbox") } else { root.join(name) }));
    }
    list.retain(|(_, path)| path.exists());
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

/// How many trials of each kind of evidence there were, and in how many a claim stood.
type Tried = BTreeMap<String, (usize, usize)>;

/// Takes each piece of evidence of a mailbox away in turn; which claims stand that must not.
fn try_one((name, from, index): &(String, PathBuf, PathBuf)) -> (Vec<String>, Tried) {
    let (mut wrong, mut tried) = (Vec::new(), Tried::new());
    let home = Home::of(from.clone(), index.clone());
    let before = deep(&home);
    let shown = idx(&["show"], &home.index()).1;
    let client = (shown["uid_validity"].to_string(), "1".to_owned());
    let client = (client.0.as_str(), client.1.as_str());
    let at_first = claims(&home, &before, client, ALL);
    // Without a message there is nothing that a storage could prove, and without its log no mailbox at all.
    let is_empty = shown["messages_count"] == 0;
    let is_bare = !home.index().exists() && (is_empty || !has_mails(&home));
    for (what, take, rests) in evidence(&home) {
        let of_storage = ["the mbox", "dovecot-uidlist"].iter().any(|file| what.starts_with(file));
        let proves_nothing = (is_empty && of_storage) || (is_bare && what == "the log is gone");
        if proves_nothing || !rests.iter().any(|one| at_first.contains(one)) {
            continue;
        }
        home.reset();
        take(&home.dir());
        home.age();
        let asked: Vec<_> = rests.iter().copied().filter(|one| at_first.contains(one)).collect();
        let mut now = claims(&home, &before, client, &asked);
        let kind = tried.entry(what.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()).or_default();
        kind.0 += 1;
        // Nothing is lost where other files have what stood there: a backup, say, and the logs behind it.
        if what.starts_with("a hole") || now.contains(&Claim::NothingLost) {
            let plan = idx(&["rebuild", "-n"], &home.index()).1;
            let kept = &plan["kept"];
            let have = (&plan["messages"]["total"], &kept["highest_modseq"], &kept["next_uid"]);
            let is_all = have == (&shown["messages_count"], &shown["highest_modseq"], &shown["next_uid"]);
            now.remove(&Claim::NothingLost);
            if !is_all && !claims(&home, &before, client, &[Claim::NothingLost]).is_empty() {
                now.insert(Claim::NothingLost);
            }
        }
        if !now.is_empty() {
            kind.1 += 1;
            wrong.push(format!("{name}, {what}: {now:?}"));
        }
    }
    (wrong, tried)
}

fn try_all(mailboxes: &[(String, PathBuf, PathBuf)]) -> (Vec<String>, Tried) {
    let (mut all, mut kinds) = (Vec::new(), Tried::new());
    for (wrong, tried) in on_threads(2, mailboxes, try_one) {
        all.extend(wrong);
        for (what, (trials, stood)) in tried {
            let kind = kinds.entry(what).or_default();
            *kind = (kind.0 + trials, kind.1 + stood);
        }
    }
    (all, kinds)
}

#[test]
fn no_claim_outlives_its_evidence() {
    let mailboxes: Vec<_> = MAILBOXES
        .into_iter()
        .map(|(fixture, index)| (fixture.to_owned(), fixtures().join(fixture).join("files"), PathBuf::from(index)))
        .collect();
    for (name, from, index) in &mailboxes {
        let home = Home::of(from.clone(), index.clone());
        let at_first = claims(&home, &deep(&home), ("1", "1"), &[Claim::Sound, Claim::State]);
        assert_eq!(at_first.len(), 2, "{name}: {at_first:?}");
    }
    let (wrong, tried) = try_all(&mailboxes);
    let all: usize = tried.values().map(|(all, _)| all).sum();
    assert!(wrong.is_empty(), "{} claims of {all} trials stand:\n{}", wrong.len(), wrong.join("\n"));
    assert!(all > 60, "{all} trials");
}

/// The mailboxes below a directory, as name, home and index.
fn mailboxes_in(name: &str, home: &Path, list: &mut Vec<(String, PathBuf, PathBuf)>) {
    let mut logs: Vec<PathBuf> =
        support::all_below(home).into_iter().filter(|path| path.ends_with("dovecot.index.log")).collect();
    logs.sort();
    for log in logs {
        let index = log.with_extension("").strip_prefix(home).expect("below").to_owned();
        list.push((format!("{name} {}", index.display()), home.to_owned(), index));
    }
}

/// The same for one in forty mailboxes of the fixtures and of the corpus, chosen by their names; `just claims` takes all
/// of them, and writes the figures.
#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn no_claim_outlives_its_evidence_anywhere() {
    let mut mailboxes = Vec::new();
    let below = |dir: &Path| -> Vec<PathBuf> {
        let mut list: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|one| one.path()).collect();
        list.sort();
        list
    };
    let corpus = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    let scenarios = below(&corpus).into_iter().filter(|dir| !dir.ends_with("broken")).flat_map(|dir| below(&dir));
    let scenarios: Vec<PathBuf> = scenarios.flat_map(|dir| below(&dir)).collect();
    for dir in below(&fixtures()).into_iter().chain(scenarios) {
        let files = dir.join("files");
        if files.is_dir() {
            let name = dir.strip_prefix(&corpus).unwrap_or(dir.strip_prefix(fixtures()).unwrap_or(&dir));
            mailboxes_in(&name.to_string_lossy(), &files, &mut mailboxes);
        }
    }
    let part: u64 = std::env::var("IDX_PART").map_or(40, |n| n.parse().expect("a number"));
    let hash = |name: &str| {
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |n, b| (n ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
    };
    mailboxes.retain(|(name, ..)| (hash(name) >> 20).is_multiple_of(part));
    let (wrong, tried) = try_all(&mailboxes);
    let mut table = format!(
        "# Claims without their evidence\n\nWritten by `just claims`: {} mailboxes \
         of the fixtures and of the corpus. Each piece of\nevidence in turn is taken away, and every claim that rested on \
         it (\"sound\", \"complete\", \"exact\", \"agree\", exit 0 of `show`\nand `log`, \"nothing lost\") must go.\n\n\
         | what | trials | a claim stood |\n|---|---|---|\n",
        mailboxes.len()
    );
    for (what, (all, bad)) in &tried {
        table.push_str(&format!("| {what} | {all} | {bad} |\n"));
    }
    println!("{table}");
    if std::env::var_os("IDX_BLESS").is_some() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evidence/claims.md");
        fs::write(page, &table).expect("written");
    }
    assert!(wrong.is_empty(), "{} claims stand:\n{}", wrong.len(), wrong.join("\n"));
}
