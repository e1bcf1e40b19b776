//! `idx log`: the joined history against `doveadm dump` of its files, filters, damage, and a writer that is followed.

mod support;

use std::fs::{self, File, FileTimes};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use support::build::{self, words};
use support::doveadm_dump::LogDump;
use support::writer::{self, LogWriter};
use support::{Dated, fixtures};

fn run(args: &[&str], path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    command.arg("log").args(args).arg(path).stdin(Stdio::null()).output().expect("idx can be started")
}

fn json(args: &[&str], path: &Path) -> (Value, Option<i32>) {
    let output = run(&[&["-f", "json"], args].concat(), path);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    (document, output.status.code())
}

fn records(document: &Value) -> &[Value] {
    document["records"].as_array().expect("records")
}

/// Position, size, type, external, sync, modseq.
type Line = (u64, u64, u64, String, bool, bool, Option<u64>);

fn lines(document: &Value) -> Vec<Line> {
    let number = |record: &Value, key: &str| record[key].as_u64().expect("a number");
    let line = |record: &Value| {
        (
            number(record, "log_file_seq"),
            number(record, "offset"),
            number(record, "size"),
            record["type"].as_str().expect("a type").to_owned(),
            record["external"].as_bool().expect("external"),
            record["sync"].as_bool().expect("sync"),
            record["modseq"].as_u64(),
        )
    };
    records(document).iter().map(line).collect()
}

fn notes(document: &Value) -> Vec<&str> {
    document["notes"].as_array().expect("notes").iter().map(|note| note["note"].as_str().expect("a kind")).collect()
}

/// What doveadm says of the logs in a directory, `.log.2` first.
fn dumped(dumps: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in ["dovecot.index.log.2.txt", "dovecot.index.log.txt"] {
        let Ok(text) = fs::read_to_string(dumps.join(name)) else { continue };
        let dump = LogDump::parse(&text);
        let (seq, mut modseq) = (dump.header["file_seq"], dump.header["initial_modseq"]);
        let line = |record: &support::doveadm_dump::LogRecord| {
            // doveadm tells the modseq of the records that raise it.
            modseq = record.modseq.unwrap_or(modseq);
            (seq, record.offset, record.size, record.kind.clone(), record.external, record.sync, Some(modseq))
        };
        lines.extend(dump.records.iter().map(line));
    }
    lines
}

/// A copy of a mailbox whose logs are old enough that nobody can be writing them.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(mailbox: &str) -> Self {
        let copy = Self(tempfile::tempdir().expect("temporary directory"));
        for name in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2"] {
            let from = fixtures().join(mailbox).join(name);
            if from.exists() {
                fs::copy(from, copy.path().join(name)).expect("a copy");
            }
        }
        copy.age();
        copy
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path().join(name);
        let mut bytes = fs::read(&path).expect("a file");
        change(&mut bytes);
        fs::write(&path, bytes).expect("written");
        self.age();
    }

    fn age(&self) {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        for entry in fs::read_dir(self.path()).expect("a directory") {
            let file = File::open(entry.expect("an entry").path()).expect("a file");
            file.set_times(FileTimes::new().set_modified(hour_ago)).expect("times");
        }
    }
}

/// Two logs that follow each other.
const CHAIN: &str = "2.3.19.1-maildir-chain/files/Maildir";
const CHAIN_DUMP: &str = "2.3.19.1-maildir-chain/dump/Maildir";

#[test]
fn the_joined_history_is_what_doveadm_dumps() {
    let mut compared = 0;
    for fixture in fs::read_dir(fixtures()).expect("fixtures").map(|entry| entry.expect("an entry").path()) {
        let Ok(text) = fs::read_to_string(fixture.join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&text).expect("JSON");
        for mailbox in meta["mailboxes"].as_array().into_iter().flatten() {
            let Some(dir) = mailbox["index_dir"].as_str() else { continue };
            let expected = dumped(&fixture.join("dump").join(dir));
            if expected.is_empty() {
                continue;
            }
            let (document, code) = json(&[], &fixture.join("files").join(dir));
            assert_eq!(code, Some(0), "{} {dir}", fixture.display());
            assert_eq!(lines(&document), expected, "{} {dir}", fixture.display());
            compared += expected.len();
        }
    }
    assert!(compared > 5000, "only {compared} records were compared");
}

#[test]
fn filters_keep_what_they_say() {
    let home = Dated::of("2.3.19.1-maildir-chain");
    let path = home.files().join("Maildir");
    let all = dumped(&fixtures().join(CHAIN_DUMP));
    let kept = |args: &[&str]| lines(&json(args, &path).0);
    let expect = |test: &dyn Fn(&Line) -> bool| all.iter().filter(|line| test(line)).cloned().collect::<Vec<_>>();

    assert_eq!(
        kept(&["--type", "append,expunge-guid"]),
        expect(&|line| ["append", "expunge-guid"].contains(&&*line.3))
    );
    assert_eq!(kept(&["--modseq", "30:40"]), expect(&|line| line.6.is_some_and(|modseq| (30..=40).contains(&modseq))));
    assert_eq!(
        kept(&["--position", "2:5000..3:200"]),
        expect(&|line| ((2, 5000)..=(3, 200)).contains(&(line.0, line.1)))
    );
    assert_eq!(kept(&["--position", "3"]), expect(&|line| line.0 == 3));
    assert_eq!(kept(&["--since", "2026-11-24"]), []);
    assert_eq!(kept(&["--until", "2026-11-22"]), []);
    assert_eq!(kept(&["--since", "1795421939"]), all);
}

#[test]
fn the_life_of_a_message() {
    // As doveadm shows them, UIDs 5 and 8 are in the expunge-guid records at 2:3388 (asked for) and 2:3604 (done).
    let path = fixtures().join(CHAIN);
    let (document, code) = json(&["--uid", "5"], &path);
    assert_eq!(code, Some(0));
    let events: Vec<(&str, u64)> = records(&document)
        .iter()
        .filter_map(|record| Some((record["event"].as_str()?, record["offset"].as_u64()?)))
        .filter(|(event, _)| *event != "extension" && *event != "flags" && *event != "keywords")
        .collect();
    assert_eq!(events.first().map(|(event, _)| *event), Some("saved"));
    assert_eq!(events[1..], [("expunge_requested", 3388), ("expunge_done", 3604)]);
    let table = String::from_utf8(run(&["--uid", "5"], &path).stdout).expect("UTF-8");
    let content = |position: &str| table.lines().find(|line| line.trim_start().starts_with(position)).expect("a line");
    assert!(content("2:3388").ends_with("expunge requested"), "{table}");
    assert!(content("2:3604").ends_with("expunge done, as requested at 2:3388"), "{table}");
}

/// An extension that was created in a hole has the number that the next one would have had: behind the hole a number
/// is no name any more. A rebuild leaves out records about such a number, and `log` took it for the next extension.
#[test]
fn numbers_of_extensions_behind_damage() {
    const EXT_REC: u32 = 0x200;
    let mut log = build::Log::new(1);
    log.record(build::HEADER_UPDATE, &[words(&[0x0004_0018]), words(&[1])].concat()).append(1..=3);
    log.intro(u32::MAX, b"vsize", 0, 4, 4).record(EXT_REC, &words(&[1, 7]));
    let hole = log.bytes.len();
    log.intro(u32::MAX, b"cache", 0, 4, 4).record(EXT_REC, &words(&[1, 9]));
    log.append(4..=4);
    log.intro(u32::MAX, b"hdr-pop3", 0, 4, 4).record(EXT_REC, &words(&[2, 8]));
    for number in [0, 1, 2] {
        log.intro(number, b"", 0, 4, 4).record(EXT_REC, &words(&[3, number]));
    }
    let names = |bytes: &[u8]| -> Vec<Option<String>> {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("dovecot.index.log");
        fs::write(&path, bytes).expect("a log");
        // Nobody is writing to it.
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        File::options().write(true).open(&path).and_then(|file| file.set_times(times)).expect("times");
        let [logged, dumped] = ["log", "dump"].map(|verb| {
            let output = Command::new(env!("CARGO_BIN_EXE_idx")).args([verb, "--format", "json"]).arg(&path).output();
            let document: Value = serde_json::from_slice(&output.expect("idx").stdout).expect("JSON");
            let lists = ["records", "salvaged"].map(|key| document[key].as_array().cloned().unwrap_or_default());
            let intros = lists.concat().into_iter().filter(|one| one["type"] == "ext-intro");
            let intros = intros.flat_map(|one| one["data"].as_array().cloned().unwrap_or_default());
            intros.map(|one| one["name"].as_str().map(ToOwned::to_owned)).collect::<Vec<_>>()
        });
        assert_eq!(logged, dumped);
        logged
    };
    let known = ["vsize", "cache", "hdr-pop3", "vsize", "cache", "hdr-pop3"];
    assert_eq!(names(&log.bytes), known.map(|name| Some(name.to_owned())));
    log.bytes[hole..hole + 4].fill(0);
    let known = [Some("vsize"), Some("hdr-pop3"), Some("vsize"), None, None];
    assert_eq!(names(&log.bytes), known.map(|name| name.map(ToOwned::to_owned)));
}

#[test]
fn records_behind_damage_are_shown() {
    let copy = Copy::of(CHAIN);
    let (whole, _) = json(&[], copy.path());
    let whole = lines(&whole);
    let second: Vec<&Line> = whole.iter().filter(|line| line.0 == 3).collect();
    let victim = second[second.len() / 2].clone();
    copy.edit("dovecot.index.log", |bytes| bytes[usize::try_from(victim.1).expect("an offset")..][..4].fill(0));
    let (document, code) = json(&[], copy.path());
    assert_eq!(code, Some(1));
    let damage =
        &document["notes"].as_array().expect("notes").iter().find(|note| note["note"] == "damage").expect("a note");
    assert_eq!(damage["offset"].as_u64(), Some(victim.1));
    let resumed = damage["resumes_at"].as_u64().expect("records go on");
    // Every record is there but those between the damage and where the chain is found again, which is close.
    let place = |line: &Line| (line.0, line.1, line.2, line.3.clone());
    let expected: Vec<_> =
        whole.iter().filter(|line| line.0 != 3 || line.1 < victim.1 || line.1 >= resumed).map(place).collect();
    assert_eq!(lines(&document).iter().map(place).collect::<Vec<_>>(), expected);
    assert!(resumed <= victim.1 + victim.2, "resumed at {resumed} after {victim:?}");
    let behind = records(&document)
        .iter()
        .find(|record| record["offset"].as_u64() == Some(resumed) && record["log_file_seq"] == 3);
    let behind = behind.expect("the first record behind");
    assert!(behind["modseq"].is_null() && behind["salvaged"] == true);
}

#[test]
fn gaps_resets_and_tails_are_named_where_they_lie() {
    let copy = Copy::of(CHAIN);
    assert_eq!(notes(&json(&[], copy.path()).0), ["start", "rotation"]);

    // The last record of .log.2 is gone.
    let (document, _) = json(&["--position", "2"], copy.path());
    let last = records(&document).last().expect("a record")["size"].as_u64().expect("a size");
    copy.edit("dovecot.index.log.2", |bytes| bytes.truncate(bytes.len() - usize::try_from(last).expect("small")));
    let (document, code) = json(&[], copy.path());
    assert_eq!((notes(&document), code), (vec!["start", "gap"], Some(1)));

    // .log.2 is gone altogether, which is how Dovecot itself leaves a mailbox after two days.
    fs::remove_file(copy.path().join("dovecot.index.log.2")).expect("removed");
    let (document, code) = json(&[], copy.path());
    assert_eq!((notes(&document), code), (vec!["begins"], Some(0)));

    // A log that starts from nothing: what is in .log.2 is no part of its history.
    let reset = Copy::of(CHAIN);
    reset.edit("dovecot.index.log", |bytes| bytes[12..20].fill(0));
    let (document, code) = json(&[], reset.path());
    assert_eq!((notes(&document), code), (vec!["left_out", "start"], Some(0)));

    // The beginning of a record: torn when old, being written when young.
    let torn = Copy::of(CHAIN);
    torn.edit("dovecot.index.log", |bytes| bytes.extend([0x80, 0x80, 0x80, 0x85, 4, 0, 0]));
    let (document, code) = json(&[], torn.path());
    assert_eq!((notes(&document), code), (vec!["start", "rotation", "torn_tail"], Some(1)));
    let log = torn.path().join("dovecot.index.log");
    File::open(&log).expect("a file").set_times(FileTimes::new().set_modified(SystemTime::now())).expect("times");
    let (document, code) = json(&[], torn.path());
    assert_eq!((notes(&document), code), (vec!["start", "rotation", "tail"], Some(0)));

    // In the middle of a rotation both names lead to one file.
    let linked = Copy::of(CHAIN);
    fs::remove_file(linked.path().join("dovecot.index.log.2")).expect("removed");
    fs::hard_link(linked.path().join("dovecot.index.log"), linked.path().join("dovecot.index.log.2")).expect("linked");
    let (document, code) = json(&[], linked.path());
    assert_eq!((notes(&document), code), (vec!["begins"], Some(0)));
}

#[test]
fn what_is_no_log_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let output = run(&[], dir.path());
    assert_eq!(output.status.code(), Some(2));
    fs::write(dir.path().join("dovecot.index.log"), b"").expect("written");
    for format in ["json", "ndjson"] {
        let output = run(&["-f", format], dir.path());
        assert_eq!(output.status.code(), Some(2));
        let document: Value = serde_json::from_slice(&output.stdout).expect("a document in every case");
        assert_eq!(document["schema"], "idx.log/1");
        assert!(document["error"].is_string());
        assert!(String::from_utf8_lossy(&output.stderr).contains("dovecot.index.log"));
    }
    for bad in [["--type", "nonsense"], ["--modseq", "9:7"], ["--position", "x"], ["--since", "soon"]] {
        assert_eq!(run(&bad, dir.path()).status.code(), Some(2), "{bad:?}");
    }
    // A header and no records is sound.
    let fresh = tempfile::tempdir().expect("temporary directory");
    LogWriter::create(fresh.path(), 1_795_000_000);
    let (document, code) = json(&[], fresh.path());
    assert_eq!((records(&document).len(), code), (0, Some(0)));
}

#[test]
fn statistics_are_the_sums() {
    let path = fixtures().join(CHAIN);
    let all = dumped(&fixtures().join(CHAIN_DUMP));
    let (document, code) = json(&["--stats"], &path);
    assert_eq!(code, Some(0));
    assert_eq!(document["count"].as_u64(), Some(all.len() as u64));
    assert_eq!(document["bytes"].as_u64(), Some(all.iter().map(|line| line.2).sum()));
    for (name, count) in document["types"].as_object().expect("types") {
        let of_type: Vec<_> = all.iter().filter(|line| line.3 == *name).collect();
        assert_eq!(count["count"].as_u64(), Some(of_type.len() as u64), "{name}");
        assert_eq!(count["bytes"].as_u64(), Some(of_type.iter().map(|line| line.2).sum()), "{name}");
    }
    let external = all.iter().filter(|line| line.4 && !line.5).count() as u64;
    assert_eq!(document["origins"]["external"]["count"].as_u64(), Some(external));
    let hours: u64 =
        document["hours"].as_array().expect("hours").iter().filter_map(|hour| hour["bytes"].as_u64()).sum();
    assert_eq!(Some(hours), document["bytes"].as_u64());
    let (some, _) = json(&["--stats", "--type", "append"], &path);
    assert_eq!(some["count"].as_u64(), Some(all.iter().filter(|line| line.3 == "append").count() as u64));
}

/// Follows a writer for `time` and checks that every record comes once and in order.
fn follow(time: Duration, rotate_at: u32, pause: Duration) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let mut log = LogWriter::create(dir.path(), u32::try_from(stamp).expect("a stamp"));
    let mut next = 1;
    let mut write = |log: &mut LogWriter| {
        // Now one record, now a transaction.
        if next % 3 == 0 {
            log.append(&writer::transaction(&[writer::seen(next), writer::seen(next + 1)]), 2);
            next += 2;
        } else {
            log.append(&writer::seen(next), 1);
            next += 1;
        }
        next
    };
    for _ in 0..10 {
        write(&mut log);
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["log", "--follow", "-f", "ndjson"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("idx can be started");
    let stdout = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut seen: Vec<(u64, u64, u64, u64)> = Vec::new();
        let mut notes = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let value: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            let number = |key: &str| value[key].as_u64().expect("a number");
            match value["note"].as_str() {
                Some(kind) => notes.push(kind.to_owned()),
                None if value["type"] == "flag-update" => seen.push((
                    value["data"][0]["uid1"].as_u64().expect("a UID"),
                    number("log_file_seq"),
                    number("offset"),
                    number("modseq"),
                )),
                None => assert_eq!(value["type"], "boundary"),
            }
        }
        (seen, notes)
    });
    let begin = Instant::now();
    let mut last = 0;
    while begin.elapsed() < time {
        last = write(&mut log);
        if log.size() > rotate_at {
            log.rotate();
        }
        std::thread::sleep(pause);
    }
    // Long enough to be read even without being woken.
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    let (seen, notes) = reader.join().expect("the reader");
    let uids: Vec<u64> = seen.iter().map(|(uid, ..)| *uid).collect();
    assert_eq!(uids, (1..u64::from(last)).collect::<Vec<_>>(), "of {last} records");
    assert!(seen.is_sorted_by_key(|(_, seq, offset, _)| (*seq, *offset)));
    // Every flag change is one step.
    assert!(seen.iter().all(|(uid, .., modseq)| *modseq == uid + 1));
    let rotations = notes.iter().filter(|kind| *kind == "rotation").count();
    assert_eq!(u32::try_from(rotations).expect("few"), log.seq() - 2, "{notes:?}");
    assert!(rotations > 5, "only {rotations} rotations");
    println!("{} records, {rotations} rotations", seen.len());
}

#[test]
fn a_writer_is_followed_across_rotations() {
    follow(Duration::from_secs(2), 2048, Duration::from_millis(1));
}

#[test]
#[ignore = "takes a minute"]
fn a_writer_is_followed_for_a_minute() {
    follow(Duration::from_secs(60), 3000, Duration::from_micros(300));
}

#[test]
fn a_closed_pipe_ends_a_follower() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = LogWriter::create(dir.path(), 1_795_000_000);
    log.append(&writer::seen(1), 1);
    let mut child = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["log", "--follow"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("idx can be started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

/// Peak resident memory of a run in KiB.
fn peak_memory(args: &[&str], path: &Path) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_idx"))
        .arg("log")
        .args(args)
        .arg(path)
        .stdout(Stdio::from(File::create("/dev/null").expect("/dev/null")))
        .spawn()
        .expect("idx can be started");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{args:?}: {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_log_takes_little_memory() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let real = fs::read(fixtures().join(CHAIN).join("dovecot.index.log.2")).expect("a log");
    writer::huge(&real, &dir.path().join("dovecot.index.log"), 64 << 20);
    for args in [&["--stats"][..], &["-f", "ndjson"]] {
        let memory = peak_memory(args, dir.path());
        assert!(memory <= 32 << 10, "{args:?}: {memory} KiB for a log of 64 MiB");
    }
}

/// Any bytes: no panic, no endless loop, and what is shown is framed.
#[test]
fn torn_and_flipped_logs_are_survived() {
    use idx::logs::walk::Options;
    use idx::ops::log::OpenHistory;
    use idx::render::{Format, Style};
    use idx::view::log::{Options as Writing, write};

    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("dovecot.index.log");
    let real =
        fs::read(fixtures().join("2.3.19.1-mdbox-meta/files/mdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log"))
            .or_else(|_| fs::read(fixtures().join(CHAIN).join("dovecot.index.log")))
            .expect("a log");
    let real = &real[..real.len().min(3000)];
    let open = |is_timed| OpenHistory::open(dir.path(), is_timed, idx::source::MmapPolicy::Never, idx::source::now());
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        // A file of this moment may be one that somebody writes: a run waits for those, and not for ever.
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        File::options().append(true).open(&path).expect("a file").set_modified(hour_ago).expect("times");
        for (format, uid) in [(Format::Table, None), (Format::Json, Some("1:*")), (Format::Table, Some("2:3"))] {
            let options = Options {
                uid: uid.map(|uid| uid.parse().expect("a set")),
                evidence: format == Format::Json,
                ..Options::default()
            };
            let Ok(mut opened) = open(true) else { return };
            let mut out = Vec::new();
            let writing = Writing { format, style: Style::default(), whole: false };
            let (_, read) = write(&path, &writing, &mut out, &mut |sink| {
                let read = opened.history.records(&options, sink);
                (opened.problems(), read)
            });
            read.expect("readable");
            if format == Format::Json {
                serde_json::from_slice::<Value>(&out).expect("JSON");
            }
        }
        let mut opened = open(false).expect("readable");
        opened.history.stats(&Options::default()).expect("readable");
    };
    for len in (0..real.len()).step_by(7) {
        check(&real[..len]);
    }
    let mut bytes = real.to_vec();
    for at in (0..bytes.len()).step_by(5) {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        check(&bytes);
        bytes[at] = !bytes[at];
        check(&bytes);
        bytes[at] = real[at];
    }
}

/// A server finds the older log by its number (mail_transaction_log_find_file): a damaged prev_file_seq parts no history
/// that every other verb takes for whole.
#[test]
fn a_wrong_number_of_the_log_before_parts_no_history() {
    let home = Dated::of("2.3.19.1-maildir-chain");
    let mailbox = home.files().join("Maildir");
    let log = mailbox.join("dovecot.index.log");
    let mut bytes = fs::read(&log).expect("a log");
    bytes[12] ^= 3;
    fs::write(&log, bytes).expect("written");
    let (document, code) = json(&[], &mailbox);
    assert_eq!((notes(&document).as_slice(), code), (&["start", "rotation"][..], Some(1)));
}
