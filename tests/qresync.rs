//! Compares the answers of `idx qresync` with those of real servers: recorded ones, in `fixtures/` and in the corpus that
//! `IDX_CORPUS` names, and those of a live Dovecot.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use idx::model::qresync::{Kind, Question, Sample, answer};
use idx::ops::qresync::{Opened, State};
use idx::source::MmapPolicy;
use serde_json::Value;

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

fn ours(state: &State<'_>, question: &Question) -> (Said, Kind) {
    let answer = answer(&state.chain, &state.loaded.replayed, question);
    let mailbox = &state.loaded.replayed.mailbox;
    let fetched = answer.changed.iter().map(|i| (mailbox.uid(*i), state.loaded.replayed.message_modseq(*i))).collect();
    ((answer.vanished.to_string(), fetched), answer.kind)
}

fn pairs(value: &Value) -> Vec<(u32, u64)> {
    let pair = |one: &Value| Some((u32::try_from(one[0].as_u64()?).ok()?, one[1].as_u64()?));
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
    for path in recordings(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")) {
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
        let truth_path = path.with_file_name(name.replace("qresync-", "imap-"));
        if !truth_path.exists() {
            *tally.compared.entry("(no mailbox beside the answers)".into()).or_default() += 0;
            continue;
        }
        let truth = read_json(&truth_path);
        let meta = read_json(&scenario.join("meta.json"));
        let mailbox = recorded["mailbox"].as_str().expect("mailbox");
        let of_mailbox = |entry: &&Value| entry["name"] == mailbox;
        let listed = meta["mailboxes"].as_array().and_then(|list| list.iter().find(of_mailbox));
        let index_dir = truth["index_dir"].as_str().or_else(|| listed?["index_dir"].as_str()).expect("index_dir");
        let index_dir = scenario.join("files").join(index_dir);
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
            let (found, kind) = ours(&state, &question);
            *tally.compared.entry(variant.to_owned()).or_default() += 1;
            *tally.kinds.entry(kind.name()).or_default() += 1;
            if found != right {
                tally.wrong.push(format!("{place} {request}: {kind:?} {found:?} instead of {right:?}"));
            }
        }
    }
    tally.finish(2000);
}
