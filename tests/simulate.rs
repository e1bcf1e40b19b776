//! `idx simulate` at the command line. Expected rotations are worked out by hand from Dovecot's conditions; whether these are
//! the right ones is for `simulate_live.rs`.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

fn idx(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_idx")).arg("simulate").args(args).stdin(Stdio::null()).output();
    command.expect("idx can be started")
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

/// Exit code 2, a document with the error, and a word in it.
fn refused(args: &[&str], word: &str) {
    let output = idx(&[&["-f", "json"], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert!(stderr.contains(word), "{args:?}: {stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["schema"], "idx.simulate/1");
    assert!(document["error"].as_str().is_some_and(|error| error.contains(word)), "{document}");
}

struct Traces {
    dir: TempDir,
}

impl Traces {
    fn new() -> Traces {
        Traces { dir: tempfile::tempdir().expect("temporary directory") }
    }

    fn file(&self, text: &str) -> String {
        let path = self.dir.path().join("trace");
        fs::write(&path, text).expect("trace");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Simulates events `(at, bytes, modseq, sync)`.
    fn run(&self, events: &[(i64, u64, u64, bool)], args: &[&str]) -> Value {
        let line = |&(at, bytes, modseq, sync): &(i64, u64, u64, bool)| {
            format!("{}\n", json!({"at": at, "bytes": bytes, "modseq": modseq, "expunged": null, "sync": sync}))
        };
        let file = self.file(&events.iter().map(line).collect::<String>());
        json(&[&["--trace", file.as_str()], args].concat())
    }
}

fn list(document: &Value, key: &str, keys: &[&str]) -> Vec<Vec<Value>> {
    let list = document[key].as_array().expect("a list");
    list.iter().map(|one| keys.iter().map(|key| one[*key].clone()).collect()).collect()
}

const ROTATION: [&str; 5] = ["at", "file_seq", "size", "reason", "initial_modseq"];
const T: i64 = 1_800_000_000;

#[test]
fn a_log_of_exactly_min_size_is_rotated_when_it_is_older_than_min_age() {
    let traces = Traces::new();
    // The header has 40 bytes, so that the log has 32768 with the first event.
    let events = [(T, 32_728, 2, true), (T + 300, 0, 2, true), (T + 301, 0, 2, true), (T + 302, 100, 3, true)];
    let document = traces.run(&events, &[]);
    let rotations = list(&document, "rotations", &ROTATION);
    assert_eq!(rotations, [[json!(T + 301), json!(3), json!(32_768), json!("min_age"), json!(2)]]);
    // Before 2.2.29 it has to be larger.
    let document = traces.run(&events, &["--dovecot", "2.2.28"]);
    assert_eq!(list(&document, "rotations", &["at", "size"]), [[json!(T + 302), json!(32_868)]]);
}

#[test]
fn a_log_above_max_size_is_rotated_at_the_next_full_sync_whatever_its_age() {
    let traces = Traces::new();
    let events = [
        (T, 1_048_536, 2, true),
        (T + 1, 4, 2, false),
        (T + 2, 400, 3, false),
        (T + 3, 4, 4, true),
        (T + 4, 1_048_540, 5, true),
    ];
    let document = traces.run(&events, &["--log-rotate-min-age", "1 day"]);
    let expected = [
        [json!(T + 3), json!(3), json!(1_048_984), json!("max_size"), json!(4)],
        [json!(T + 4), json!(4), json!(1_048_580), json!("max_size"), json!(5)],
    ];
    assert_eq!(list(&document, "rotations", &ROTATION), expected);
}

#[test]
fn log2_is_unlinked_by_the_first_sync_that_finds_it_old_enough() {
    let traces = Traces::new();
    let day = 86_400;
    let first = [(T, 40_000, 2, true), (T + 1000, 100, 3, true)];
    let later =
        [(T + 1000 + 2 * day - 1, 4, 4, true), (T + 1000 + 2 * day, 4, 5, false), (T + 5 + 3 * day, 4, 6, true)];
    let document = traces.run(&[&first[..], &later[..]].concat(), &[]);
    assert_eq!(list(&document, "rotations", &["at", "file_seq"]), [[json!(T + 1000), json!(3)]]);
    assert_eq!(list(&document, "log2_deletions", &["at", "file_seq"]), [[json!(T + 5 + 3 * day), json!(2)]]);
    // Exactly two days are enough.
    let exact = [(T + 1000 + 2 * day, 4, 4, true)];
    let document = traces.run(&[&first[..], &exact[..]].concat(), &[]);
    assert_eq!(list(&document, "log2_deletions", &["at", "file_seq"]), [[json!(T + 1000 + 2 * day), json!(2)]]);
    // Before 2.2.32 it ages from its last write, which was the event before the rotation here.
    let events = [(T, 40_000, 2, true), (T + 1000, 0, 2, true), (T + 2 * day, 4, 3, true)];
    let document = traces.run(&events, &["--dovecot", "2.2.31"]);
    assert_eq!(list(&document, "log2_deletions", &["at"]), [[json!(T + 2 * day)]]);
    let document = traces.run(&events, &["--dovecot", "2.2.32"]);
    assert_eq!(list(&document, "log2_deletions", &["at"]), Vec::<Vec<Value>>::new());
}

#[test]
fn the_window_is_a_sawtooth() {
    let traces = Traces::new();
    // A log is full each 10,000 seconds, and .log.2 never too old: the window goes from 10,000 to 20,000.
    let events: Vec<_> = (0..100).map(|i| (T + i * 10_000, 32_728, u64::try_from(i).unwrap() + 2, true)).collect();
    let document = traces.run(&events, &["--offline", "10000,15000,20000,25000"]);
    let retention = &document["retention"];
    assert_eq!((&retention["min_seconds"], &retention["max_seconds"]), (&json!(10_000), &json!(20_000)));
    assert_eq!(retention["median_seconds"], json!(15_000));
    assert_eq!(retention["p1_seconds"], json!(10_100));
    let shares: Vec<f64> =
        list(&document, "clients", &["exact_share"]).iter().map(|one| one[0].as_f64().unwrap()).collect();
    assert!(shares[0] > 0.999 && (shares[1] - 0.5).abs() < 0.02 && shares[2] < 0.03 && shares[3] < 0.01, "{shares:?}");
}

#[test]
fn vanished_is_counted_in_bytes_of_its_line() {
    let traces = Traces::new();
    let mut text = String::new();
    for (at, uid) in [(T, None), (T + 1000, Some("1:3")), (T + 1500, Some("7")), (T + 100_000, None)] {
        text += &format!("{}\n", json!({"at": at, "bytes": 4, "modseq": at - T + 1, "expunged": uid, "sync": true}));
    }
    let file = traces.file(&text);
    let document = json(&["--trace", &file, "--offline", "50000"]);
    let client = &document["clients"][0];
    // Nothing vanished in the last 50,000 seconds of any instant that can be asked about.
    assert_eq!((&client["exact_share"], &client["vanished_bytes_exact"]), (&json!(1.0), &json!(0)));
    assert_eq!(client["vanished_bytes_fallback"], json!("* VANISHED (EARLIER) 1:3,7\r\n".len()));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let traces = Traces::new();
    refused(&[], "replay needs a mailbox");
    refused(&["/nonexistent"], "No such file");
    refused(&["--synthetic"], "nothing happens");
    refused(&["--synthetic", "--appends-per-day", "-5"], "rate");
    refused(&["--synthetic", "--appends-per-day", "5", "--want", "14d", "--share", "1.5"], "--share");
    refused(&["--synthetic", "--appends-per-day", "5", "--for", "0"], "no time");
    refused(&["--trace", &traces.file("")], "no events");
    refused(&["--trace", &traces.file("{\"at\":1,\"bytes\":4}\n")], "line 1");
    let falls =
        "{\"at\":5,\"bytes\":4,\"modseq\":2,\"sync\":true}\n{\"at\":4,\"bytes\":4,\"modseq\":2,\"sync\":true}\n";
    refused(&["--trace", &traces.file(falls)], "line 2");
    refused(&["--trace", "/nonexistent"], "/nonexistent");
    let old = ["--synthetic", "--appends-per-day", "5", "--dovecot", "2.1", "--log2-max-age", "9d"];
    refused(&old, "no settings for rotation");
    for bad in [["--dovecot", "1.2"], ["--log-rotate-min-size", "many"], ["--log2-max-age", "soon"]] {
        assert_eq!(
            idx(&[&["--synthetic", "--appends-per-day", "5"], &bad[..]].concat()).status.code(),
            Some(2),
            "{bad:?}"
        );
    }
}

#[test]
fn contradictory_settings_are_simulated_and_named() {
    let args =
        ["--synthetic", "--appends-per-day", "500", "--log-rotate-min-size", "1M", "--log-rotate-max-size", "64k"];
    let document = json(&args);
    let notes = document["notes"].to_string();
    assert!(notes.contains("min_size 1M is above mail_index_log_rotate_max_size 64k"), "{notes}");
    let reasons = list(&document, "rotations", &["reason"]);
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason[0] == "max_size"));
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let args =
        ["--synthetic", "--appends-per-day", "300", "--expunges-per-day", "200", "--pattern", "office", "--burst", "5"];
    let run = |seed: &str| json(&[&["--seed", seed], &args[..]].concat());
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7"), run("8"));
}

#[test]
fn full_syncs_that_are_rare_let_the_log_grow() {
    let args = ["--synthetic", "--storage", "sdbox", "--flags-per-day", "20000", "--sync-every", "12h", "--seed", "3"];
    let document = json(&args);
    // 20,000 changes of 36 bytes in a day: about 360,000 bytes in 12 hours.
    for rotation in list(&document, "rotations", &["at", "size"]) {
        assert_eq!(rotation[0].as_i64().unwrap() % 43_200, 0);
        let size = rotation[1].as_u64().unwrap();
        assert!((340_000..380_000).contains(&size), "{size}");
    }
    assert_eq!(document["rotations"].as_array().unwrap().len(), 59);
}

#[test]
fn recommended_settings_keep_the_window() {
    let args = ["--synthetic", "--appends-per-day", "200", "--flags-per-day", "500", "--for", "120d", "--seed", "5"];
    let document = json(&[&args[..], &["--want", "14d", "--share", "0.99", "--offline", "14d"]].concat());
    let recommended = &document["recommended"];
    assert_eq!(recommended["reached"], true);
    assert!(document["clients"][0]["exact_share"].as_f64().unwrap() < 0.5);
    // Used as a configuration, the lines do what they are to do.
    let lines: Vec<&str> =
        recommended["dovecot_conf"]["2.4"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let traces = Traces::new();
    let config = traces.file(&lines.join("\n"));
    let again = json(&[&args[..], &["--config", &config, "--offline", "14d"]].concat());
    assert_eq!(again["settings"]["mail_index_log2_max_age"], recommended["settings"]["mail_index_log2_max_age"]);
    assert!(again["clients"][0]["exact_share"].as_f64().unwrap() >= 0.99);
    assert_eq!(again["disk"]["mean_bytes"], recommended["disk_bytes_mean"]);
}

fn fixture(name: &str) -> PathBuf {
    support::fixtures().join(name).join("files")
}

#[test]
fn a_mailbox_tells_how_far_it_reaches() {
    let dir = fixture("2.3.19.1-sdbox-chain").join("sdbox/mailboxes/INBOX/dbox-Mails");
    let header = |name: &str| {
        let bytes = fs::read(dir.join(name)).expect("a log");
        let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (field(8) & 0xffff_ffff, bytes.len() as u64, field(24))
    };
    let (log, old) = (header("dovecot.index.log"), header("dovecot.index.log.2"));
    let document = json(&[dir.to_str().unwrap(), "--for", "10d"]);
    let now = &document["now"];
    let file = |value: &Value| {
        let number = |key: &str| value[key].as_u64().unwrap();
        (number("file_seq"), number("size"), number("initial_modseq"))
    };
    assert_eq!((file(&now["log"]), file(&now["log2"])), (log, old));
    assert_eq!(now["oldest_modseq"], json!(old.2));
    // The first log began with the mailbox: every client gets an exact answer today.
    assert_eq!(now["complete"], true);
    assert_eq!(file(&now["next_rotation"]["drops"]), old);
    assert_eq!(now["next_rotation"]["loses_exactness"], json!({"from": old.2, "to": log.2 - 1}));
}

#[test]
fn a_log_without_records_is_answered_for() {
    let source = fixture("2.3.19.1-sdbox-chain").join("sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log");
    let dir = tempfile::tempdir().expect("temporary directory");
    let bytes = fs::read(source).expect("a log");
    fs::write(dir.path().join("dovecot.index.log"), &bytes[..40]).expect("a log");
    let path = dir.path().to_str().unwrap();
    // The judge says that the log continues one that is gone; the answer is given all the same.
    let answer = |args: &[&str]| -> Value {
        let output = idx(&[&["-f", "json"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let document = answer(&[path]);
    assert_eq!(document["retention"], Value::Null);
    assert!(document["notes"].to_string().contains("no records"), "{}", document["notes"]);
    assert_eq!(document["now"]["log"]["size"], json!(40));
    // A clock that is behind the log's.
    let document = answer(&[path, "--now", "2020-01-01T00:00:00Z"]);
    assert!(document["notes"].to_string().contains("later than now"), "{}", document["notes"]);
    fs::write(dir.path().join("dovecot.index.log"), b"").expect("a file");
    assert_eq!(idx(&[path]).status.code(), Some(2));
}

#[test]
fn many_mailboxes_the_worst_first() {
    let paths: Vec<String> = ["2.3.19.1-sdbox-chain/files/sdbox", "2.3.19.1-mdbox-busy/files/mdbox"]
        .iter()
        .map(|dir| support::fixtures().join(dir).join("mailboxes/INBOX").display().to_string())
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let document = json(&paths);
    let medians: Vec<i64> = document["mailboxes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["retention"]["median_seconds"].as_i64().unwrap())
        .collect();
    assert!(medians.len() == 2 && medians[0] <= medians[1], "{medians:?}");
    assert_eq!(document["distribution"]["mailboxes"], 2);
    let lines = idx(&[&["-f", "ndjson"], &paths[..]].concat()).stdout;
    let lines: Vec<Value> =
        String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["schema"] == "idx.simulate/1"));
    // One that cannot be read does not hide the others.
    let output = idx(&[&["-f", "json", "/nonexistent"], &paths[..1]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|one| one["retention"].is_object()));
}

#[test]
fn pictures_have_labelled_axes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let args = ["--synthetic", "--appends-per-day", "200", "--for", "90d", "--want", "10d"];
    json(&[&args[..], &["--plot", &file("a.svg")]].concat());
    let svg = fs::read_to_string(file("a.svg")).expect("a picture");
    for text in
        ["window (days)", "time (UTC)", "exact answers (%)", "time away", "present settings", "recommended settings"]
    {
        assert!(svg.contains(text), "{text}");
    }
    json(&[&args[..], &["--plot", &file("a.png")]].concat());
    assert!(fs::read(file("a.png")).expect("a picture").starts_with(b"\x89PNG"));
    assert_eq!(idx(&[&args[..], &["--plot", &file("a.gif")]].concat()).status.code(), Some(2));
}

#[test]
fn the_index_is_rewritten_by_a_process_that_had_much_to_read() {
    let traces = Traces::new();
    let event = |at: i64, bytes: u64, opens: bool| {
        let modseq = 2 + at;
        format!(
            "{}\n",
            json!({"at": T + at, "bytes": bytes, "modseq": modseq, "expunged": null, "sync": true, "opens": opens})
        )
    };
    let rewrites = |events: &[(u64, bool)]| {
        let lines: String = (0..).zip(events).map(|(at, (bytes, opens))| event(at, *bytes, *opens)).collect();
        json(&["--trace", &traces.file(&lines)])["index_rewrites"].clone()
    };
    // One process writes 12,000 bytes bit by bit: it never has to read more than 8 KiB.
    let mut events = vec![(1000, true)];
    events.extend([(1000, false); 11]);
    assert_eq!(rewrites(&events), 0);
    // The next one has; once written, nothing is left to do for those after it.
    events.extend([(1000, true), (1000, false), (1000, true)]);
    assert_eq!(rewrites(&events), 1);
    // What a process appends at once it reads at once.
    assert_eq!(rewrites(&[(100, true), (9000, false)]), 1);
    // Beyond 128 KiB it does not matter who has read what.
    let mut events = vec![(1000, true)];
    events.extend([(1000, false); 140]);
    assert_eq!(rewrites(&events), 1);
}
