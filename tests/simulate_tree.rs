//! `idx simulate` over trees. What it says of each mailbox, and of all, is held against what it says of one mailbox at a time,
//! which `simulate_live.rs` holds against a real Dovecot.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::build::{self, Log, words};
use support::dovecot::copy_tree;
use support::{all_below, stamps};
use tempfile::TempDir;

/// All answers are as of this time: the fixtures were made days before.
const NOW: &str = "2026-12-01T00:00:00Z";

fn idx(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    command.args(["simulate", "--now", NOW]).args(args).stdin(Stdio::null());
    command.output().expect("idx can be started")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn json(args: &[&str]) -> Value {
    let output = idx(&[&["-f", "json"], args].concat());
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["schema"], "idx.simulate/1");
    // The time of the run is its own.
    assert!(document["at"].take().is_string());
    document
}

fn rows(document: &Value) -> &Vec<Value> {
    document["mailboxes"].as_array().expect("mailboxes")
}

/// Five users with mailboxes of all formats; 33 mailboxes.
fn spool() -> TempDir {
    let fixtures = support::fixtures();
    let spool = tempfile::tempdir().expect("directory");
    for (from, to) in [
        ("2.4.1-maildir-list/files/Maildir", "example.org/alice/Maildir"),
        ("2.3.19.1-mdbox-busy/files/mdbox", "example.org/bob/mdbox"),
        ("2.3.19.1-mbox-list/files/mbox", "carol@example.net/mail"),
        ("2.4.1-sdbox-list-index/files/sdbox", "example.org/dave/sdbox"),
        ("2.3.19.1-maildir-chain/files/Maildir", "example.org/erin/Maildir"),
    ] {
        copy_tree(&fixtures.join(from), &spool.path().join(to)).expect("copy");
    }
    age(spool.path());
    spool
}

/// Gives every file the same time, whenever the fixtures were checked out: 2026-11-24T00:00:00Z.
fn age(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).expect("directory").for_each(|entry| age(&entry.expect("entry").path()));
    } else {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_795_478_400);
        let file = fs::OpenOptions::new().write(true).open(path);
        file.and_then(|file| file.set_modified(time)).expect("mtime can be set");
    }
}

/// What `idx simulate` says of each mailbox of a tree when asked for that alone.
fn alone(document: &Value, more: &[&str]) -> BTreeMap<String, Value> {
    let path = |row: &Value| row["path"].as_str().expect("path").to_owned();
    rows(document).iter().map(|row| (path(row), json(&[&[path(row).as_str()], more].concat()))).collect()
}

#[test]
fn each_mailbox_is_answered_as_if_it_were_alone() {
    let spool = spool();
    let more = ["--want", "10d", "--clients", "3", "--log-rotate-min-size", "3k", "--for", "50d"];
    let document = json(&[&[text(spool.path())], &more[..]].concat());
    let alone = alone(&document, &more);
    assert!(alone.len() > 30, "{}", alone.len());
    for row in rows(&document) {
        let path = row["path"].as_str().unwrap();
        let one = &alone[path];
        for key in ["retention", "disk", "clients", "population", "index_rewrites"] {
            assert_eq!(row[key], one[key], "{path}: {key}");
        }
        for (count, list) in [("rotation_count", "rotations"), ("log2_deletion_count", "log2_deletions")] {
            assert_eq!(row[count], json!(one[list].as_array().unwrap().len()), "{path}: {list}");
        }
        let now = &one["now"];
        for key in ["highest_modseq", "oldest_modseq", "complete", "window_seconds", "bytes_per_day"] {
            assert_eq!(row["now"][key], now[key], "{path}: {key}");
        }
        for key in ["due", "reason", "at"] {
            assert_eq!(row["now"]["next_rotation"][key], now["next_rotation"][key], "{path}: {key}");
        }
        let size = |file: &Value| file["size"].as_u64().unwrap_or(0);
        assert_eq!(row["now"]["log_bytes"], json!(size(&now["log"]) + size(&now["log2"])), "{path}");
        let share = &one["recommended"]["exact_share_present"];
        assert_eq!(&row["want"]["exact_share"], share, "{path}");
        assert_eq!(row["want"]["kept"], json!(share.as_f64().unwrap() >= 0.99), "{path}");
        let guess = one["notes"].to_string().contains("no more than a guess");
        assert_eq!(row["guess"], json!(guess), "{path}");
    }
    // The worst first.
    let rank = |row: &Value| {
        let retention = &row["retention"];
        let class = if retention.is_null() { 1 } else { 2 * u8::from(retention["complete"] == true) };
        (class, retention["median_seconds"].as_i64())
    };
    let ranks: Vec<_> = rows(&document).iter().map(rank).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    compare(&document["distribution"], &alone);
}

/// The distribution follows from the answers about the mailboxes alone.
fn compare(distribution: &Value, alone: &BTreeMap<String, Value>) {
    let lossy = || alone.values().map(|one| &one["retention"]).filter(|r| r["complete"] == false);
    let sorted = |mut list: Vec<i64>| {
        list.sort_unstable();
        list
    };
    let medians = sorted(lossy().map(|r| r["median_seconds"].as_i64().unwrap()).collect());
    let shortest = sorted(lossy().map(|r| r["min_seconds"].as_i64().unwrap()).collect());
    assert!(medians.len() > 5);
    let at = |list: &[i64], percent: usize| json!(list[(list.len() - 1) * percent / 100]);
    for (percent, flat, nested) in [
        (0, "min_median_seconds", "min_seconds"),
        (1, "p1_median_seconds", "p1_seconds"),
        (10, "p10_median_seconds", "p10_seconds"),
        (50, "median_seconds", "median_seconds"),
        (90, "p90_median_seconds", "p90_seconds"),
        (100, "max_median_seconds", "max_seconds"),
    ] {
        assert_eq!(distribution[flat], at(&medians, percent), "{flat}");
        assert_eq!(distribution["shortest"][nested], at(&shortest, percent), "{nested}");
    }
    assert_eq!(distribution["mailboxes"], json!(alone.len()));
    assert_eq!(distribution["complete"], json!(alone.len() - medians.len()));
    let sum = |key: &str| alone.values().map(|one| one["disk"][key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(distribution["disk"], json!({"mean_bytes": sum("mean_bytes"), "max_bytes": sum("max_bytes")}));
    // All are simulated for the same time, so the mean of the shares is the share of the answers.
    for (i, client) in distribution["clients"].as_array().unwrap().iter().enumerate() {
        let shares: Vec<f64> = alone.values().filter_map(|one| one["clients"][i]["exact_share"].as_f64()).collect();
        assert_eq!(client["mailboxes"], json!(shares.len()));
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((client["exact_share"].as_f64().unwrap() - mean).abs() < 1e-9, "{client}");
    }
    let missing = alone.values().filter(|one| one["recommended"]["exact_share_present"].as_f64().unwrap() < 0.99);
    assert_eq!(distribution["want"]["missing"], json!(missing.count()));
    let cost = |key: &str| alone.values().map(|one| one["population"][key].as_f64().unwrap()).sum::<f64>();
    assert!((distribution["population"]["clients"].as_f64().unwrap() - cost("clients")).abs() < 1e-9);
}

#[test]
fn one_set_of_settings_is_recommended_for_all() {
    let spool = spool();
    let path = text(spool.path());
    let question = ["--want", "5d", "--for", "60d"];
    let more = [&question[..], &["--log-rotate-min-size", "1k", "--log2-max-age", "1d"]].concat();
    let document = json(&[&[path], &more[..]].concat());
    let recommended = &document["recommended"];
    assert_eq!((&recommended["reached"], &recommended["missing"]), (&json!(true), &json!(0)));
    assert!(recommended["missing_present"].as_u64().unwrap() > 0);
    assert_eq!(recommended["missing_present"], document["distribution"]["want"]["missing"]);
    // As a configuration the lines do, mailbox by mailbox, what they are to do, at the price that was told.
    let lines: Vec<&str> =
        recommended["dovecot_conf"]["2.4"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let config = spool.path().join("dovecot.conf");
    fs::write(&config, lines.join("\n")).expect("written");
    let with = alone(&document, &[&question[..], &["--config", text(&config)]].concat());
    let without = alone(&document, &more);
    let disk = |all: &BTreeMap<String, Value>| {
        all.values().map(|one| one["disk"]["mean_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(recommended["disk_bytes_mean"], json!(disk(&with)));
    assert_eq!(recommended["disk_bytes_mean_present"], json!(disk(&without)));
    for (path, one) in &with {
        let share = one["recommended"]["exact_share_present"].as_f64().unwrap();
        assert!(share >= 0.99, "{path}: {share}");
    }
    // No mailbox alone would be served for less than it takes in the best case for it.
    let least: u64 = without.values().map(|one| one["recommended"]["disk_bytes_mean"].as_u64().unwrap()).sum();
    assert!(least <= disk(&with));
    // When fewer mailboxes must keep the window, it does not cost more.
    let fewer = json(&[&[path], &more[..], &["--mailboxes", "0.5"]].concat());
    let fewer = &fewer["recommended"];
    assert!(fewer["disk_bytes_mean"].as_u64().unwrap() <= disk(&with));
    assert!(fewer["missing"].as_u64().unwrap() * 2 <= fewer["mailboxes"].as_u64().unwrap());
    // Mailboxes that are named one by one get the same advice.
    let named: Vec<&str> = without.keys().map(String::as_str).collect();
    let named = json(&[&named[..], &more[..]].concat());
    assert_eq!(&named["recommended"], recommended);
    assert_eq!(named["distribution"], document["distribution"]);
}

#[test]
fn the_answer_does_not_depend_on_threads() {
    let spool = spool();
    let run = |jobs: &str, format: &str| {
        let output = idx(&["-j", jobs, "-f", format, "--want", "7d", text(spool.path())]);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        // The time of the run is its own.
        match text.split_once(",\"at\":\"") {
            Some((before, rest)) => before.to_owned() + rest.split_once('"').expect("an end").1,
            None => text,
        }
    };
    for format in ["table", "json", "ndjson"] {
        let one = run("1", format);
        assert!(!one.is_empty());
        for jobs in ["2", "7"] {
            assert!(run(jobs, format) == one, "{format} with {jobs} threads");
        }
    }
}

#[test]
fn what_cannot_be_simulated_is_named_and_counted() {
    let spool = spool();
    let before = json(&[text(spool.path())]);
    let alice = spool.path().join("example.org/alice/Maildir");
    fs::write(alice.join(".Archive/dovecot.index.log"), b"this is no log").expect("written");
    // An index alone.
    let source = support::fixtures().join("2.3.19.1-sdbox-chain/files/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index");
    fs::create_dir(alice.join(".Index")).expect("created");
    fs::copy(source, alice.join(".Index/dovecot.index")).expect("copied");
    // A log that began before modseqs did, and one without records.
    let mut old = Log::new(1);
    old.append(1..=3);
    old.bytes[24..32].copy_from_slice(&0_u64.to_le_bytes());
    fs::create_dir(alice.join(".Untracked")).expect("created");
    fs::write(alice.join(".Untracked/dovecot.index.log"), &old.bytes).expect("written");
    let mut log = Log::new(2);
    fs::create_dir(alice.join(".Empty")).expect("created");
    fs::write(alice.join(".Empty/dovecot.index.log"), &log.bytes).expect("written");
    // A record of a type that does not exist: what is before it counts.
    log.append(1..=2);
    log.record(build::FLAG_UPDATE, &words(&[1, 2, 8]));
    let end = log.bytes.len();
    log.append(3..=4);
    log.bytes[end + 4..end + 8].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    fs::create_dir(alice.join(".Damaged")).expect("created");
    fs::write(alice.join(".Damaged/dovecot.index.log"), &log.bytes).expect("written");

    for jobs in ["1", "4"] {
        let output = idx(&["-f", "json", "-j", jobs, text(spool.path())]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let errors = document["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 2, "{errors:?}");
        for (error, name) in errors.iter().zip([".Archive", ".Index"]) {
            assert!(error["path"].as_str().unwrap().ends_with(name), "{error}");
            assert!(stderr.contains(error["error"].as_str().unwrap()), "{stderr}");
        }
        assert!(stderr.contains(".Damaged/dovecot.index.log"), "{stderr}");
        let distribution = &document["distribution"];
        let number = |key: &str| distribution[key].as_u64().unwrap();
        assert_eq!((number("unreadable"), number("untold"), number("untracked")), (2, 2, 1), "{distribution}");
        // One is unreadable now, three are new.
        assert_eq!(number("mailboxes"), before["distribution"]["mailboxes"].as_u64().unwrap() + 2);
        let find = |name: &str| rows(&document).iter().find(|row| row["name"] == name).expect("a row");
        assert_eq!(find("Untracked")["retention"], Value::Null);
        assert!(find("Untracked")["reason"].as_str().unwrap().contains("not tracked"));
        assert!(find("Empty")["reason"].as_str().unwrap().contains("no records"));
        // All others are answered as before.
        for row in rows(&before).iter().filter(|row| row["path"] != text(&alice.join(".Archive"))) {
            assert!(rows(&document).contains(row), "{row}");
        }
    }
    let table = String::from_utf8(idx(&[text(spool.path())]).stdout).expect("UTF-8");
    for words in ["without an answer: 2", "not tracked", "no records", "2 could not be simulated"] {
        assert!(table.contains(words), "{words}:\n{table}");
    }
    // A root that does not exist, and one without mailboxes, do not stop the others.
    let (missing, bare) = (spool.path().join("nobody"), spool.path().join("bare"));
    fs::create_dir(&bare).expect("created");
    let output = idx(&["-f", "json", text(&missing), text(&bare), text(&spool.path().join("carol@example.net"))]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(2));
    assert!(rows(&document).len() > 5);
}

#[test]
fn a_mailbox_with_folders_is_one_mailbox_unless_all_are_asked_for() {
    let spool = spool();
    let alice = spool.path().join("example.org/alice/Maildir");
    let one = json(&[text(&alice)]);
    assert!(one["rotations"].is_array() && one["mailboxes"].is_null());
    let all = json(&["-r", text(&alice)]);
    assert_eq!(rows(&all).len(), 12);
    assert_eq!(json(&["--tree", text(&alice)]), all);
    let inbox = rows(&all).iter().find(|row| row["name"] == "INBOX").expect("INBOX");
    assert_eq!(inbox["retention"], one["retention"]);
    // A mail root that is no mailbox itself is searched, although it has the list of mailboxes.
    let dave = spool.path().join("example.org/dave/sdbox");
    assert!(rows(&json(&[text(&dave)])).len() > 5);
    let bob = spool.path().join("example.org/bob/mdbox/mailboxes/INBOX");
    assert!(json(&[text(&bob)])["rotations"].is_array());
    // With one mailbox more the document is about many.
    let both = json(&[text(&bob), text(&alice)]);
    assert_eq!(rows(&both).len(), 2);
    assert!(rows(&both).iter().all(|row| row["rotations"].is_array()));
    // The index that was named is the one that is simulated.
    let list = dave.join("dovecot.list.index.log");
    let list = json(&[text(&list)]);
    assert!(list["rotations"].is_array() && list["notes"].to_string().contains("8k, 64k"), "{}", list["notes"]);
}

#[test]
fn lines_come_one_for_each_mailbox_and_one_for_all() {
    let spool = spool();
    let document = json(&[text(spool.path())]);
    let output = idx(&["-f", "ndjson", text(spool.path())]);
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(lines.iter().all(|line| line["schema"] == "idx.simulate/1"));
    let (last, each) = lines.split_last().expect("lines");
    assert_eq!(last["section"], "summary");
    assert_eq!(last["distribution"], document["distribution"]);
    assert_eq!(each.len(), rows(&document).len());
    for (line, row) in each.iter().zip(rows(&document)) {
        assert_eq!((&line["section"], &line["path"]), (&json!("mailboxes"), &row["path"]));
    }
}

#[test]
fn the_table_shows_the_worst() {
    let spool = spool();
    let document = json(&[text(spool.path())]);
    let table = |more: &[&str]| String::from_utf8(idx(&[&[text(spool.path())], more].concat()).stdout).expect("UTF-8");
    let shown = |table: &str| {
        let paths = rows(&document).iter().map(|row| row["path"].as_str().unwrap().to_owned());
        paths.filter(|path| table.lines().any(|line| line.ends_with(&format!(" {path}")))).collect::<Vec<_>>()
    };
    let worst: Vec<&str> = rows(&document).iter().take(3).map(|row| row["path"].as_str().unwrap()).collect();
    let three = table(&["--worst", "3"]);
    assert_eq!(shown(&three), worst);
    assert!(three.contains(&format!("{} more", rows(&document).len() - 3)), "{three}");
    assert_eq!(shown(&table(&["--worst", "0"])).len(), rows(&document).len());
}

#[test]
fn pictures_of_many_mailboxes_have_labelled_axes() {
    let spool = spool();
    let file = spool.path().join("a.svg");
    json(&["--want", "10d", "--plot", text(&file), text(spool.path())]);
    let svg = fs::read_to_string(&file).expect("a picture");
    for text in ["mailboxes (%)", "window (", "exact answers (%)", "time away", "median over", "wanted", "never lose"] {
        assert!(svg.contains(text), "{text}");
    }
    let file = spool.path().join("a.png");
    json(&["--plot", text(&file), text(spool.path())]);
    assert!(fs::read(file).expect("a picture").starts_with(b"\x89PNG"));
}

#[test]
fn links_are_not_followed_and_no_timestamp_moves() {
    let spool = spool();
    let outside = tempfile::tempdir().expect("directory");
    copy_tree(&spool.path().join("example.org/bob"), &outside.path().join("bob")).expect("copy");
    symlink(outside.path().join("bob"), spool.path().join("example.org/zoe")).expect("link");
    symlink(spool.path(), spool.path().join("example.org/loop")).expect("link");
    let paths = all_below(spool.path());
    let before = stamps(&paths);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let document = json(&["--want", "3d", text(spool.path())]);
    for ((path, before), after) in paths.iter().zip(before).zip(stamps(&paths)) {
        assert_eq!(before, after, "{}", path.display());
    }
    assert!(!document.to_string().contains("/zoe/") && !document.to_string().contains("/loop/"));
    // A root that is a link itself is what its target is.
    let linked = json(&[text(&spool.path().join("example.org/zoe"))]);
    assert_eq!(rows(&linked).len(), rows(&document).iter().filter(|row| row["user"] == "bob@example.org").count());
}
