//! Compares the answers of `idx qresync` with those of real servers: recorded ones, in `fixtures/` and in the corpus that
//! `IDX_CORPUS` names, and those of a live Dovecot.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use idx::model::qresync::{AnswerKind, Question, Sample, answer};
use idx::model::{Chain, UidSet};
use idx::ops::opened::{LoadedMailbox, Opened};
use idx::source::MmapPolicy;
use serde_json::Value;

use support::dovecot::{Dovecot, Format, Installation};
use support::imap::{Message, Status};
use support::workload::{ROTATE_NEVER, Rng, Workload};

/// What is compared, and what came out otherwise.
#[derive(Debug, Default)]
struct Tally {
    compared: BTreeMap<String, u64>,
    kinds: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

impl Tally {
    fn finish(self, at_least: u64) {
        let all: u64 = self.compared.values().sum();
        println!("compared {all} answers: {:?}; kinds {:?}", self.compared, self.kinds);
        assert!(all >= at_least, "only {all} answers were compared");
        let examples: Vec<_> = self.wrong.iter().take(20).collect();
        assert!(self.wrong.is_empty(), "{} of {all} answers differ: {examples:#?}", self.wrong.len());
    }
}

/// The words that follow the modseq: known UIDs and sequence match data.
fn question(uid_validity: u32, modseq: u64, words: &str) -> Question {
    let mut question = Question { uid_validity, modseq, ..Question::default() };
    let mut words = words.split([' ', '(', ')']).filter(|word| !word.is_empty()).peekable();
    if let Some(known) = words.next() {
        question.known = Some(known.parse().expect("known UIDs"));
    }
    if let (Some(seqs), Some(uids)) = (words.next(), words.next()) {
        question.sample = Sample::new(&seqs.parse().expect("a set"), &uids.parse().expect("a set"));
        assert!(question.sample.is_some(), "sequence match data of unequal sizes");
    }
    question
}

/// The set of the VANISHED line and the UIDs with modseqs of the FETCH lines.
type Said = (String, Vec<(u32, u64)>);

fn ours(state: &LoadedMailbox<'_>, question: &Question) -> (Said, AnswerKind) {
    let answer = answer(&state.chain, &state.loaded.replayed, None, question);
    let mailbox = &state.loaded.replayed.mailbox;
    let fetched = answer.changed.iter().map(|i| (mailbox.uid(*i), state.loaded.replayed.message_modseq(*i))).collect();
    ((answer.vanished.to_string(), fetched), answer.kind)
}

fn pairs(value: &Value) -> Vec<(u32, u64)> {
    let pair = |one: &Value| {
        let (uid, modseq) = if one.is_object() { (&one["uid"], &one["modseq"]) } else { (&one[0], &one[1]) };
        Some((u32::try_from(uid.as_u64()?).ok()?, modseq.as_u64()?))
    };
    value.as_array().into_iter().flatten().filter_map(pair).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn small(value: &Value) -> u32 {
    u32::try_from(number(value)).expect("32 bits")
}

/// Every file below a directory, in order.
fn files_below(dir: &Path, list: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() { files_below(&path, list) } else { list.push(path) }
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a readable file")).expect("JSON")
}

fn recordings(root: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    files_below(root, &mut list);
    let is_recording = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("qresync-") && name.ends_with(".json")
    };
    list.into_iter().filter(is_recording).collect()
}

/// The fixtures: every modseq and six variants, each answered on a copy of the files.
#[test]
fn answers_equal_those_recorded_with_the_fixtures() {
    let mut tally = Tally::default();
    for path in recordings(&support::fixtures()) {
        let recorded = read_json(&path);
        let dir = path.parent().expect("a directory");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let truth = read_json(&dir.join(name.replace("qresync-", "imap-")));
        let index_dir = dir.join("files").join(truth["index_dir"].as_str().expect("index_dir"));
        let opened = Opened::read(&index_dir, None, MmapPolicy::Auto).expect("a mailbox");
        let state = opened.state(&index_dir).expect("a mailbox");
        let uid_validity = small(&recorded["uidvalidity"]);
        let mut plain = Vec::new();
        for row in recorded["selects"].as_array().expect("selects") {
            let variant = row["variant"].as_str().expect("variant");
            let words = recorded["variants"][variant].as_str().unwrap_or("");
            let wrong = u32::from(variant == "wrong_uidvalidity");
            let question = question(uid_validity + wrong, number(&row["modseq"]), words);
            let fetched = if row["fetched"] == "same as plain" { plain.clone() } else { pairs(&row["fetched"]) };
            if variant == "plain" {
                plain.clone_from(&fetched);
            }
            let right = (row["vanished"].as_str().unwrap_or("").to_owned(), fetched);
            let (found, kind) = ours(&state, &question);
            *tally.compared.entry(variant.to_owned()).or_default() += 1;
            *tally.kinds.entry(kind.name()).or_default() += 1;
            if found != right {
                let place = path.strip_prefix(dir.parent().expect("fixtures")).expect("below").display();
                tally
                    .wrong
                    .push(format!("{place} {variant} {}: {kind:?} {found:?} instead of {right:?}", row["modseq"]));
            }
        }
    }
    tally.finish(5000);
}

/// The index directory in the home of a mailbox before it was broken.
fn healthy(home: &Path) -> PathBuf {
    let mut list = Vec::new();
    files_below(home, &mut list);
    let is_log = |path: &PathBuf| path.file_name().is_some_and(|name| name == "dovecot.index.log");
    list.into_iter().find(is_log).and_then(|log| Some(log.parent()?.to_owned())).expect("a log")
}

/// Whether the log before the present one was written by a Dovecot that did not track modseqs from the start.
fn is_old(recorded: &Value) -> bool {
    let log = &recorded["logs"]["dovecot.index.log.2"];
    log["initial_modseq"] == 0 && log["minor"].as_u64() < Some(3)
}

fn ours_without_old_log(opened: &Opened, path: &Path, question: &Question) -> Said {
    let mut state = opened.state(path).expect("a mailbox");
    state.chain.files.remove(0);
    let (found, kind) = ours(&state, question);
    assert_eq!(kind, AnswerKind::Fallback);
    found
}

/// The corpus: nine versions of Dovecot in both byte orders, every recorded answer.
#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn answers_equal_those_recorded_in_the_corpus() {
    let root = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("set IDX_CORPUS to the directory of the corpus"));
    let mut tally = Tally::default();
    for path in recordings(&root) {
        let place = path.strip_prefix(&root).expect("below the root").display().to_string();
        let recorded = read_json(&path);
        let scenario = path.parent().and_then(Path::parent).expect("a scenario");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let index_dir = match name.strip_prefix("qresync-healthy-") {
            Some(of) => healthy(&path.with_file_name("_before").join(of.trim_end_matches(".json"))),
            None => {
                let truth = read_json(&path.with_file_name(name.replace("qresync-", "imap-")));
                let meta = read_json(&scenario.join("meta.json"));
                let of_mailbox = |entry: &&Value| entry["name"] == recorded["mailbox"];
                let listed = meta["mailboxes"].as_array().and_then(|list| list.iter().find(of_mailbox));
                let index_dir = truth["index_dir"].as_str().or_else(|| listed?["index_dir"].as_str());
                scenario.join("files").join(index_dir.expect("index_dir"))
            }
        };
        let opened = Opened::read(&index_dir, None, MmapPolicy::Auto).expect("a mailbox");
        let state = opened.state(&index_dir).expect("a mailbox");
        let uid_validity = small(&recorded["uidvalidity"]);
        let mut plain = Vec::new();
        for row in recorded["selects"].as_array().expect("selects") {
            let variant = row["variant"].as_str().expect("variant");
            let request = row["request"].as_str().expect("request");
            let (_, words) = request.split_once("(QRESYNC (").expect("QRESYNC");
            let mut words = words.splitn(3, [' ', ')']);
            let asked = words.next().and_then(|word| word.parse().ok()).expect("UIDVALIDITY");
            assert_eq!(asked == uid_validity, variant != "wrong_uidvalidity", "{place}: {request}");
            let question = question(asked, number(&row["modseq"]), {
                words.next();
                words.next().unwrap_or("")
            });
            let fetched = if row["fetched"] == "same as plain" { plain.clone() } else { pairs(&row["fetched"]) };
            if variant == "plain" {
                plain.clone_from(&fetched);
            }
            let right = (row["vanished"].as_str().unwrap_or("").to_owned(), fetched);
            let (mut found, kind) = ours(&state, &question);
            *tally.compared.entry(variant.to_owned()).or_default() += 1;
            *tally.kinds.entry(kind.name()).or_default() += 1;
            if found != right && is_old(&recorded) {
                // 2.0 and 2.1 do not read a `.log.2` that began untracked, and send all gaps; 2.1 does not look at the
                // sequence match data.
                let sample = question.sample.clone().filter(|_| !place.starts_with("2.1"));
                let question = Question { sample, ..question.clone() };
                found = ours_without_old_log(&opened, &index_dir, &question);
                *tally.kinds.entry("fallback where 2.2 and later are exact").or_default() += 1;
            }
            if found != right {
                tally.wrong.push(format!("{place} {request}: {kind:?} {found:?} instead of {right:?}"));
            }
        }
    }
    tally.finish(2000);
}

/// Settings under which a short history rotates the log and keeps `.log.2`.
const ROTATE_SMALL: [(&str, &str); 6] = [
    ("mail_index_log_rotate_min_size", "1k"),
    ("mail_index_log_rotate_max_size", "4k"),
    ("mail_index_log_rotate_min_age", "1s"),
    ("mail_index_log2_max_age", "10d"),
    ("mail_index_rewrite_min_log_bytes", "512"),
    ("mail_index_rewrite_max_log_bytes", "2k"),
];

/// The random histories: what each is, and what is done to its files before the questions are put.
const HISTORIES: u64 = 50;

/// How a mailbox's logs are changed before a server answers from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// As the history left them.
    None,
    /// `.log.2` is removed.
    WithoutOldLog,
    /// The present log says that it starts from nothing; the index is ahead of its first record.
    Reset,
    /// `.log.2` is of log version 1.2, in which internal changes raise modseqs.
    OldVersion,
    /// The same, and modseqs were not tracked when it began.
    Untracked,
    /// The present log is of version 1.2 and there is no index: the server rotates it at once.
    OldHead,
}

const LOG: &str = "dovecot.index.log";
const OLD_LOG: &str = "dovecot.index.log.2";

fn patch(file: &Path, at: usize, new: &[u8]) {
    let mut bytes = fs::read(file).expect("a log");
    bytes[at..at + new.len()].copy_from_slice(new);
    fs::write(file, bytes).expect("a log that can be written");
}

impl Change {
    /// Changes the files in `dir`; false when there is nothing to change.
    fn apply(self, dir: &Path) -> bool {
        let (log, old) = (dir.join(LOG), dir.join(OLD_LOG));
        match self {
            Change::None => true,
            Change::WithoutOldLog => old.exists() && fs::remove_file(&old).is_ok(),
            Change::Reset => {
                // An index at the very start of a reset log would be emptied, so it has to be ahead.
                let index = fs::read(dir.join("dovecot.index")).unwrap_or_default();
                let word =
                    |at: usize| index.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes")));
                let seq = fs::read(&log).expect("a log")[8..12].to_vec();
                let ahead = index.get(60..64) == Some(&seq[..]) && word(68) > Some(40);
                ahead.then(|| patch(&log, 12, &[0; 8])).is_some()
            }
            Change::OldVersion => old.exists().then(|| patch(&old, 1, &[2])).is_some(),
            Change::Untracked => Change::OldVersion.apply(dir) && (patch(&old, 24, &[0; 8]), true).1,
            Change::OldHead => !dir.join("dovecot.index").exists() && (patch(&log, 1, &[2]), true).1,
        }
    }
}

/// What a server says to every modseq from 0 to one above the highest, and what `idx` says.
fn every_modseq(dovecot: &Dovecot, rng: &mut Rng, place: &str, tally: &mut Tally) {
    let dir = dovecot.index_dir("INBOX");
    // The first session may write: what it brings up to date is what later sessions see.
    let mut session = dovecot.qresync();
    let state = session.state("INBOX");
    session.logout();
    let copy = dovecot.snapshot(&dir);
    let opened = Opened::read(&copy, None, MmapPolicy::Auto).expect("a mailbox");
    let ours_state = opened.state(&copy).expect("a mailbox");
    let selected = state.selected;
    let highest = selected.highest_modseq.expect("modseqs are kept");
    assert_eq!(ours_state.loaded.replayed.highest_modseq(), highest, "{place}: HIGHESTMODSEQ");
    let before = inodes(&dir);
    let mut session = dovecot.qresync();
    for modseq in 0..=highest + 1 {
        // Known sets with UIDs that were never assigned and sequence match data, now right and now stale.
        let words = match rng.below(5) {
            0 => format!(" 1:{}", selected.next_uid + 5),
            1 => {
                let (a, b) = (1 + rng.below(20), 1 + rng.below(60));
                format!(" {}:{}", a.min(b), a.max(b))
            }
            2 if state.messages.len() > 4 => {
                let wrong = u32::from(rng.chance(40));
                let (a, b) = (&state.messages[1], &state.messages[state.messages.len() / 2]);
                format!(" 1:{} ({},{} {},{})", selected.next_uid + 1, a.seq, b.seq, a.uid, b.uid + wrong)
            }
            _ => String::new(),
        };
        let answer = session.examine_qresync("INBOX", &format!("{} {modseq}{words}", selected.uid_validity));
        assert_eq!(answer.status, Status::Ok, "{place} {modseq}{words}: {}", answer.text);
        let line = answer.lines.iter().find_map(|line| line.strip_prefix("* VANISHED (EARLIER) "));
        let pair = |message: Message| (message.uid, message.modseq.expect("a FETCH with MODSEQ"));
        let right = (line.unwrap_or("").to_owned(), answer.fetches().into_iter().map(pair).collect::<Vec<_>>());
        let question = question(selected.uid_validity, modseq, &words);
        let (found, kind) = ours(&ours_state, &question);
        *tally.compared.entry(place.split(' ').next_back().unwrap_or("").to_owned()).or_default() += 1;
        *tally.kinds.entry(kind.name()).or_default() += 1;
        if found != right {
            tally.wrong.push(format!("{place} {modseq}{words}: {kind:?} {found:?} instead of {right:?}"));
        }
        if found == right && is_proof(&ours_state, &question, kind) {
            *tally
                .kinds
                .entry(if kind == AnswerKind::Exact { "exact (proven)" } else { "fallback (proven)" })
                .or_default() += 1;
        }
    }
    session.logout();
    assert_eq!(inodes(&dir), before, "{place}: the sessions rotated the log");
}

/// Whether an answer of the other kind would have been another one.
fn is_proof(state: &LoadedMailbox<'_>, question: &Question, kind: AnswerKind) -> bool {
    let replayed = &state.loaded.replayed;
    let said = answer(&state.chain, replayed, None, question).vanished;
    match kind {
        AnswerKind::Exact => answer(&Chain::default(), replayed, None, question).vanished != said,
        _ => {
            let records = state.chain.files.iter().flat_map(|file| file.records());
            let logged: UidSet = records.flat_map(|record| record.expunged().collect::<Vec<_>>()).collect();
            !said.difference(&logged).is_empty()
        }
    }
}

/// Which files the logs are. A session may append bookkeeping of the maildir, but must not rotate while questions are answered.
fn inodes(dir: &Path) -> Vec<Option<u64>> {
    [LOG, OLD_LOG].iter().map(|name| fs::metadata(dir.join(name)).ok().map(|meta| meta.ino())).collect()
}

/// The kind of an answer cannot be seen from outside where both kinds would send the same, so the histories expunge, leave
/// gaps of UIDs that were never assigned (`doveadm mailbox update --min-next-uid`), and ask with unknown UIDs.
#[test]
#[ignore = "needs dovecot"]
fn every_modseq_of_random_histories() {
    let mut tally = Tally::default();
    for seed in 0..HISTORIES {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let installations = Installation::all();
        let installation = installations[seed as usize % installations.len()].clone();
        let format = [Format::Maildir, Format::Sdbox, Format::Mdbox, Format::Maildir][seed as usize / 2 % 4];
        let settings: &[(&str, &str)] = match seed % 5 {
            0 => &ROTATE_NEVER,
            _ => &ROTATE_SMALL,
        };
        let dovecot = Dovecot::with(installation, format, settings);
        let operations = 60 + rng.below(60);
        Workload::new(seed).operations(operations).max_messages(30).second_session(seed % 3 == 0).run(&dovecot);
        if seed % 2 == 0 {
            let mut session = dovecot.qresync();
            let next = session.state("INBOX").selected.next_uid + 7;
            session.logout();
            dovecot.doveadm(&["mailbox", "update", "--min-next-uid", &next.to_string(), "INBOX"]);
            Workload::new(seed + 1000).operations(30).max_messages(30).run(&dovecot);
        }
        let place = format!("history {seed} {} {}", dovecot.installation().version(), format.name());
        // From here on nothing is rotated away before the answer.
        dovecot.reconfigure(&ROTATE_NEVER);
        let home = dovecot.snapshot(&dovecot.home());
        for change in
            [Change::None, Change::WithoutOldLog, Change::Reset, Change::OldVersion, Change::Untracked, Change::OldHead]
        {
            dovecot.restore(&home, &dovecot.home());
            if change.apply(&dovecot.index_dir("INBOX")) {
                dovecot.give_back();
                every_modseq(&dovecot, &mut rng, &format!("{place} {change:?}"), &mut tally);
            }
        }
    }
    tally.finish(10_000);
}

/// A mailbox that never saw CONDSTORE: the first client that enables QRESYNC starts the tracking.
#[test]
#[ignore = "needs dovecot"]
fn a_mailbox_without_modseqs() {
    for installation in Installation::all() {
        for format in [Format::Maildir, Format::Sdbox] {
            let dovecot = Dovecot::with(installation.clone(), format, &ROTATE_NEVER);
            Workload::new(77).operations(80).condstore(false).run(&dovecot);
            let home = dovecot.snapshot(&dovecot.home());
            let copy = dovecot.snapshot(&dovecot.index_dir("INBOX"));
            let opened = Opened::read(&copy, None, MmapPolicy::Auto).expect("a mailbox");
            let state = opened.state(&copy).expect("a mailbox");
            let uid_validity = state.loaded.replayed.mailbox.header.uid_validity;
            for modseq in [0, 1, 2, 20, 40, 60, 80, 100, 1000] {
                dovecot.restore(&home, &dovecot.home());
                let mut session = dovecot.qresync();
                let said = session.examine_qresync("INBOX", &format!("{uid_validity} {modseq}"));
                session.logout();
                let line = said.lines.iter().find_map(|line| line.strip_prefix("* VANISHED (EARLIER) "));
                let fetched = said.fetches().into_iter().map(|one| (one.uid, one.modseq.expect("a modseq"))).collect();
                let right = ((line.unwrap_or("").to_owned(), fetched), AnswerKind::NotTracked);
                assert_eq!(ours(&state, &question(uid_validity, modseq, "")), right, "{} {modseq}", format.name());
                assert_eq!(said.selected().highest_modseq, Some(state.loaded.replayed.highest_modseq()));
            }
        }
    }
}

/// A fixture's mailbox and one of the answers recorded with it, as a client would have logged the session.
struct Recorded {
    index_dir: PathBuf,
    uid_validity: u64,
    lines: Vec<String>,
}

fn recorded_session(fixture: &str, modseq: u64, variant: &str) -> Recorded {
    let dir = support::fixtures().join(fixture);
    let recorded = read_json(&dir.join("qresync-INBOX.json"));
    let truth = read_json(&dir.join("imap-INBOX.json"));
    let rows = recorded["selects"].as_array().expect("selects");
    let row_of = |variant| rows.iter().find(|row| row["modseq"] == modseq && row["variant"] == variant).expect("a row");
    let row = row_of(variant);
    let fetched = if row["fetched"] == "same as plain" { &row_of("plain")["fetched"] } else { &row["fetched"] };
    let uid_validity = number(&recorded["uidvalidity"]);
    let words = recorded["variants"][variant].as_str().unwrap_or("");
    let mut lines = vec![
        "S: * PREAUTH [CAPABILITY IMAP4rev1] ready".to_owned(),
        "C: a1 ENABLE QRESYNC".to_owned(),
        "S: * ENABLED QRESYNC".to_owned(),
        "S: a1 OK Enabled".to_owned(),
        format!("C: a2 SELECT INBOX (QRESYNC ({uid_validity} {modseq}{words}))"),
        format!("S: * {} EXISTS", row["exists"]),
        format!("S: * OK [UIDVALIDITY {uid_validity}] UIDs valid"),
        format!("S: * OK [UIDNEXT {}] Predicted next UID", recorded["uidnext"]),
        format!("S: * OK [HIGHESTMODSEQ {}] Highest", row["highestmodseq"]),
    ];
    lines.extend(row["vanished"].as_str().map(|set| format!("S: * VANISHED (EARLIER) {set}")));
    for (uid, modseq) in pairs(fetched) {
        let all = truth["messages"].as_array().expect("messages");
        let message = all.iter().find(|message| message["uid"] == uid).expect("a message");
        let flags: Vec<_> = message["flags"].as_array().expect("flags").iter().filter_map(Value::as_str).collect();
        let seq = &message["seq"];
        lines.push(format!("S: * {seq} FETCH (MODSEQ ({modseq}) UID {uid} FLAGS ({}))", flags.join(" ")));
    }
    lines.push("S: a2 OK [READ-WRITE] Select completed.".to_owned());
    Recorded { index_dir: dir.join("files").join(truth["index_dir"].as_str().expect("index_dir")), uid_validity, lines }
}

/// Runs `idx qresync --versus` and returns the exit code and the differences as `who/what`.
fn versus(recorded: &Recorded, lines: &[String], more: &[&str]) -> (Option<i32>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), lines.join("\r\n") + "\r\n").expect("a transcript");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["qresync", "--format", "json", "--versus"])
        .arg(file.path())
        .args(more)
        .arg(&recorded.index_dir)
        .output()
        .expect("idx can be started");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["schema"], "idx.qresync/1");
    let list = document["differences"].as_array().cloned().unwrap_or_default();
    let text = |one: &Value| format!("{}/{}", one["who"].as_str().unwrap_or(""), one["what"].as_str().unwrap_or(""));
    (output.status.code(), list.iter().map(text).collect())
}

#[test]
fn sessions_of_real_servers_have_no_differences() {
    for variant in ["plain", "known_all", "known_half", "seqmatch"] {
        for modseq in [20, 40, 57] {
            let recorded = recorded_session("2.3.19.1-maildir-chain", modseq, variant);
            assert_eq!(versus(&recorded, &recorded.lines, &[]), (Some(0), vec![]), "{variant} {modseq}");
            let bare: Vec<_> = recorded.lines.iter().map(|line| line[3..].to_owned()).collect();
            assert_eq!(versus(&recorded, &bare, &[]), (Some(0), vec![]), "{variant} {modseq} without marks");
        }
    }
}

#[test]
fn what_a_session_has_wrong_is_named() {
    let recorded = recorded_session("2.3.19.1-maildir-chain", 20, "known_all");
    let at = |what: &str| {
        recorded.lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in the session"))
    };
    let check = |edit: &dyn Fn(&mut Vec<String>), more: &[&str], right: &[&str]| {
        let mut lines = recorded.lines.clone();
        edit(&mut lines);
        let (code, found) = versus(&recorded, &lines, more);
        assert_eq!((code, found.iter().map(String::as_str).collect::<Vec<_>>()), (Some(1), right.to_vec()));
    };
    let vanished = at("VANISHED");
    let first = at("FETCH");
    check(&|lines| drop(lines.remove(vanished)), &[], &["server/vanished"]);
    check(&|lines| lines[vanished] += ",1", &[], &["server/vanished"]);
    check(&|lines| lines.swap(vanished, first), &[], &["server/order"]);
    check(&|lines| drop(lines.remove(first)), &[], &["server/fetch"]);
    check(&|lines| lines[first] = lines[first].replace("MODSEQ (", "MODSEQ (1"), &[], &["server/modseq"]);
    check(&|lines| lines[first] = lines[first].replace("FLAGS (", "FLAGS (extra "), &[], &["server/flags"]);
    let highest = at("HIGHESTMODSEQ");
    check(&|lines| lines[highest] = "S: * OK [HIGHESTMODSEQ 1] x".into(), &[], &["server/highest_modseq"]);
    check(&|lines| drop(lines.remove(highest)), &[], &["server/highest_modseq"]);
    let validity = at("UIDVALIDITY");
    check(&|lines| lines[validity] = "S: * OK [UIDVALIDITY 1] x".into(), &[], &["server/uid_validity"]);
    check(&|lines| drop(lines.drain(1..4)), &[], &["client/enable"]);
    check(&|_| {}, &["--modseq", "21"], &["client/modseq"]);
    let future = recorded_session("2.3.19.1-maildir-chain", 60, "plain");
    assert_eq!(versus(&future, &future.lines, &[]), (Some(1), vec!["client/modseq".to_owned()]), "a modseq to come");
    let exists = at("EXISTS");
    check(&|lines| lines[exists] = "S: * 9999 EXISTS".into(), &[], &["server/exists"]);
    let uid =
        |line: &str| line.split_once("EARLIER) ").and_then(|(_, set)| set.split([',', ':']).next()).map(str::to_owned);
    let gone = uid(&recorded.lines[vanished]).expect("a UID");
    check(&|lines| lines.push(format!("C: a3 UID FETCH {gone} (FLAGS)")), &[], &["client/vanished"]);
    assert!(recorded.uid_validity > 0);
}

#[test]
fn bad_input_of_qresync() {
    let recorded = recorded_session("2.3.19.1-maildir-chain", 20, "plain");
    assert_eq!(versus(&recorded, &["C: a NOOP".to_owned()], &[]), (Some(2), vec![]));
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_idx"))
            .args(["qresync", "-f", "json"])
            .args(args)
            .arg(&recorded.index_dir)
            .output()
            .expect("idx can be started");
        output.status.code()
    };
    assert_eq!(run(&["--uidvalidity", "1"]), Some(2), "no modseq");
    assert_eq!(run(&["--uidvalidity", "1", "--modseq", "1", "--seq-match", "1:3", "1:2"]), Some(2), "unequal sets");
    assert_eq!(run(&["--uidvalidity", "1", "--modseq", "1", "--known", "0"]), Some(2), "no UID");
    assert_eq!(run(&["--uidvalidity", "1", "--modseq", "1", "--versus", "/nonexistent"]), Some(2), "no transcript");
    assert_eq!(run(&["--uidvalidity", "1", "--modseq", "1"]), Some(0), "an answer is not a finding");
}
