//! The wall clock of log records against sessions whose times are known.
//!
//! The driver of the fixtures noted when it began each command and when the answer was there. Messages are matched by UID: the
//! record that appends, expunges or changes a message was written in between.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idx::format::record::{Append, ExpungeGuid, FlagUpdate, RecordType};
use idx::logs::clock::{Clock, ClockKind};
use idx::model::LogPos;
use idx::source::{Generation, LogStream, MailboxFiles, PathError, Role, StreamStep};
use serde_json::Value;

use support::{Dated, fixtures};

/// All clocks of a mailbox, read now.
fn build(files: &MailboxFiles) -> Result<Clock, PathError> {
    Clock::build(&Generation::open(files, &Role::ALL)?, idx::source::now())
}

/// What happened to a message, and when at the earliest and at the latest.
#[derive(Debug)]
struct Event {
    uid: u32,
    action: String,
    at: f64,
    done: f64,
}

/// A record that says what happened to a message.
struct Trace {
    pos: LogPos,
    uid: u32,
    action: &'static str,
}

fn traces(files: &MailboxFiles) -> (Vec<Trace>, Vec<LogPos>) {
    let (mut traces, mut all) = (Vec::new(), Vec::new());
    for role in [Role::OldLog, Role::Log] {
        let Ok(mut stream) = LogStream::open(&files.path(role)) else { continue };
        let seq = stream.log.header.file_seq;
        while let StreamStep::Record(record) = stream.step().expect("a readable log") {
            let pos = LogPos { seq, offset: record.offset };
            all.push(pos);
            let mut add = |uid, action| traces.push(Trace { pos, uid, action });
            match record.kind() {
                Some(RecordType::Append) => record.elements::<Append>().for_each(|one| add(one.uid, "append")),
                Some(RecordType::ExpungeGuid) => {
                    record.elements::<ExpungeGuid>().for_each(|one| add(one.uid, "expunge"))
                }
                // External ones and \Dirty come from later syncs.
                Some(RecordType::FlagUpdate) if !record.external() => {
                    record.elements::<FlagUpdate>().filter(|one| !one.is_internal()).for_each(|one| {
                        (one.uid1..=one.uid2.min(one.uid1 + 1000)).for_each(|uid| add(uid, "store"));
                    })
                }
                _ => {}
            }
        }
    }
    (traces, all)
}

fn median(mut list: Vec<i64>) -> i64 {
    list.sort_unstable();
    list.get(list.len() / 2).copied().unwrap_or(0)
}

/// Checks all traces of a mailbox whose event is known; returns the widths of all brackets.
fn check(name: &str, files: &MailboxFiles, events: &[Event], whole: (f64, f64)) -> (usize, Vec<i64>) {
    let clock = build(files).expect("readable files");
    let (traces, all) = traces(files);
    let mut by: BTreeMap<(u32, &str), Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| by.entry((event.uid, event.action.as_str())).or_default().push(event));
    let mut matched = 0;
    for trace in &traces {
        // Several changes of the flags of a message cannot be told apart here, but all of them lie in between.
        let Some(events) = by.get(&(trace.uid, trace.action)) else { continue };
        let at = events.iter().map(|event| event.at).fold(f64::INFINITY, f64::min);
        let done = events.iter().map(|event| event.done).fold(0.0, f64::max);
        let bracket = clock.bracket(trace.pos);
        let evidence = clock.evidence(trace.pos);
        // The record was written in [at, done] and in [not_before, not_after]: these must meet, and when there was only
        // one event the ends of the bracket may not cut into it by more than that command took.
        let below = bracket.not_before.is_none_or(|low| low as f64 <= done);
        let above = bracket.not_after.is_none_or(|high| high as f64 >= at);
        assert!(
            below && above,
            "{name}: {} of UID {} at {}: {at}..{done} against {evidence:?}",
            trace.action,
            trace.uid,
            trace.pos
        );
        matched += 1;
    }
    let mut widths = Vec::new();
    let mut last = i64::MIN;
    for pos in all {
        let bracket = clock.bracket(pos);
        let (low, high) = (bracket.not_before.expect("a lower bound"), bracket.not_after.expect("an upper bound"));
        assert!(low >= last, "{name}: {pos} goes back");
        last = low;
        assert!(low as f64 <= whole.1 && high as f64 >= whole.0, "{name}: {pos}: {low}..{high} outside of {whole:?}");
        assert!(low <= high, "{name}: {pos}");
        widths.push(high - low);
    }
    (matched, widths)
}

fn events_of(meta: &Value, mailbox: &str) -> Vec<Event> {
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or(0.0);
    let mut list = Vec::new();
    for event in meta["events"].as_array().into_iter().flatten().filter(|event| event["mailbox"] == mailbox) {
        let action = match event["action"].as_str() {
            Some("copy") => "append",
            Some(action) => action,
            None => continue,
        };
        let Some(uid) = event["uid"].as_u64().and_then(|uid| u32::try_from(uid).ok()) else { continue };
        list.push(Event { uid, action: action.to_owned(), at: number(event, "at"), done: number(event, "done") });
        // The client asked for it with a flag, and \Seen may come with a FETCH.
    }
    list
}

#[test]
fn the_true_time_lies_inside_in_every_fixture() {
    let (mut matched, mut widths, mut mailboxes) = (0, Vec::new(), 0);
    for fixture in fs::read_dir(fixtures()).expect("fixtures").map(|entry| entry.expect("entry").path()) {
        let Ok(text) = fs::read_to_string(fixture.join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&text).expect("JSON");
        let dated = Dated::of(&fixture.file_name().expect("a name").to_string_lossy());
        let home = dated.files();
        for mailbox in meta["mailboxes"].as_array().into_iter().flatten() {
            let (Some(name), Some(dir)) = (mailbox["name"].as_str(), mailbox["index_dir"].as_str()) else { continue };
            let Ok(files) = MailboxFiles::locate(&home.join(dir)) else { continue };
            let whole = (meta["start"].as_f64().expect("start"), meta["end"].as_f64().expect("end"));
            let label = format!("{} {name}", fixture.display());
            let (some, more) = check(&label, &files, &events_of(&meta, name), whole);
            matched += some;
            widths.extend(more);
            mailboxes += 1;
        }
    }
    println!(
        "{mailboxes} mailboxes, {matched} records with known times, {} in all, median width {} s",
        widths.len(),
        median(widths.clone())
    );
    assert!(matched > 1000, "only {matched} records could be compared");
}

#[test]
fn a_copy_without_times_still_brackets() {
    let fixture = fixtures().join("2.3.19.1-maildir-busy");
    let files = MailboxFiles::locate(&fixture.join("files/Maildir")).expect("a mailbox");
    let clock = build(&files).expect("readable files");
    let meta: Value =
        serde_json::from_str(&fs::read_to_string(fixture.join("meta.json")).expect("meta")).expect("JSON");
    let end = meta["end"].as_f64().expect("end");
    let (_, all) = traces(&files);
    for pos in all {
        let evidence = clock.evidence(pos);
        let low = evidence.not_before.expect("a lower bound");
        assert!(low.bound as f64 <= end, "{pos}: {low:?}");
        assert_ne!(low.kind, ClockKind::LogMtime);
    }
}

/// The end of the newest log.
fn end_of(files: &MailboxFiles) -> LogPos {
    LogStream::open(&files.path(Role::Log))
        .map(|stream| LogPos { seq: stream.log.header.file_seq, offset: stream.stat.size })
        .unwrap_or_default()
}

fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs_f64()
}

/// Drives Dovecot with pauses between the commands. Whatever a command added to the log was written while it ran.
fn drive(installation: support::dovecot::Installation, format: support::dovecot::Format) -> Vec<i64> {
    let label = format!("{} {}", installation.version(), format.name());
    let settings = [("mail_index_log_rotate_min_size", "1500"), ("mail_index_log_rotate_min_age", "4s")];
    let dovecot = support::dovecot::Dovecot::with(installation, format, &settings);
    let mut session = dovecot.qresync();
    let mut spans: Vec<(LogPos, f64, f64)> = Vec::new();
    session.append("INBOX", &[], None, b"Subject: first\r\n\r\nbody\r\n");
    let files = MailboxFiles::locate(&dovecot.index_dir("INBOX")).expect("a mailbox");
    let first = end_of(&files);
    session.select("INBOX");
    let mut step = |run: &mut dyn FnMut()| {
        std::thread::sleep(Duration::from_millis(1300));
        let at = unix();
        run();
        spans.push((end_of(&files), at, unix()));
    };
    step(&mut || drop(session.ok("NOOP")));
    for round in 1..=4 {
        step(&mut || {
            drop(session.append("INBOX", &["\\Seen"], Some("01-Jan-2001 00:00:00 +0000"), b"Subject: a\r\n\r\nb\r\n"))
        });
        step(&mut || drop(session.ok("NOOP")));
        step(&mut || drop(session.ok("UID STORE 1 +FLAGS (\\Flagged one)")));
        step(&mut || drop(session.ok("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] RFC822.SIZE INTERNALDATE)")));
        step(&mut || drop(session.ok("UID COPY 1 INBOX")));
        step(&mut || drop(session.ok(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", round + 1))));
        step(&mut || drop(session.ok("EXPUNGE")));
        step(&mut || drop(session.ok("UID STORE 1 -FLAGS (\\Flagged one)")));
    }
    session.logout();
    let clock = build(&files).expect("readable files");
    let (_, all) = traces(&files);
    let mut widths = Vec::new();
    for pos in all.into_iter().filter(|pos| *pos >= first) {
        let Some((_, at, done)) = spans.iter().find(|(end, ..)| pos < *end) else { continue };
        let evidence = clock.evidence(pos);
        let bracket = clock.bracket(pos);
        let (low, high) = (bracket.not_before.expect("a lower bound"), bracket.not_after.expect("an upper bound"));
        assert!(low as f64 <= *done && high as f64 >= *at, "{label}: {pos}: {at}..{done} against {evidence:?}");
        widths.push(high - low);
    }
    assert!(widths.len() > 50, "{label}: only {} records", widths.len());
    println!(
        "{label}: {} records in {} logs, median width {} s",
        widths.len(),
        end_of(&files).seq - 1,
        median(widths.clone())
    );
    widths
}

#[test]
#[ignore = "needs dovecot"]
fn the_true_time_lies_inside_when_dovecot_is_driven() {
    let runs: Vec<_> = support::dovecot::Installation::all()
        .into_iter()
        .flat_map(|installation| support::dovecot::Format::ALL.map(|format| (installation.clone(), format)))
        .map(|(installation, format)| std::thread::spawn(move || drive(installation, format)))
        .collect();
    let widths: Vec<i64> = runs.into_iter().flat_map(|run| run.join().expect("sound brackets")).collect();
    println!("{} records, median width {} s", widths.len(), median(widths.clone()));
}

/// A mailbox of one log with these records, written at `stamp` and last touched ten minutes later.
fn mailbox(stamp: u32, records: &[Vec<u8>]) -> (tempfile::TempDir, MailboxFiles) {
    use support::writer::header;
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("dovecot.index.log");
    fs::write(&path, [header(2, (0, 0), stamp, 1), records.concat()].concat()).expect("a log");
    let time = UNIX_EPOCH + Duration::from_secs(u64::from(stamp) + 600);
    File::open(&path).expect("a file").set_times(FileTimes::new().set_modified(time)).expect("times");
    let files = MailboxFiles::locate(dir.path()).expect("a mailbox");
    (dir, files)
}

/// An expunge request that names a GUID (`guid_128_generate`: nanoseconds, seconds, process, host).
fn expunge(seconds: u32, pid: u32, host: u32) -> Vec<u8> {
    let words = [7, 1000, seconds, pid, host];
    support::writer::record(0xed90, &words.map(u32::to_le_bytes).concat())
}

#[test]
fn a_guid_is_a_clock_once_its_host_is_known() {
    let start = 1_790_000_000;
    let digest = expunge(start + 300, 0xdead_beef, 1);
    let records = [expunge(start + 100, 77, 1), digest, expunge(start + 200, 78, 2), expunge(start + 150, 79, 1)];
    let (_dir, files) = mailbox(start, &records);
    let clock = build(&files).expect("readable");
    let low = |i: u64| clock.bracket(LogPos { seq: 2, offset: 40 + 28 * i }).not_before.map(|at| at - i64::from(start));
    // The second GUID of host 1 vouches for the first; the digest of a file name and the only GUID of host 2 count for nothing.
    assert_eq!([low(0), low(1), low(2), low(3)], [Some(100), Some(100), Some(100), Some(150)]);
}

#[test]
fn a_clock_that_contradicts_a_stronger_one_is_left_out() {
    let start = 1_790_000_000;
    let attribute = |time: u32| {
        let payload = [&b"+pa\0\0\0\0\0"[..], &time.to_le_bytes(), &1_u32.to_le_bytes()].concat();
        support::writer::record(0x10_0000, &payload)
    };
    // The log was last written to at start + 600.
    let records =
        [attribute(start + 50), attribute(start + 100_000), attribute(u32::MAX), attribute(0), attribute(start + 60)];
    let (_dir, files) = mailbox(start, &records);
    let clock = build(&files).expect("readable");
    let bracket = |i: u64| clock.bracket(LogPos { seq: 2, offset: 40 + 24 * i });
    let low = |i: u64| bracket(i).not_before.map(|at| at - i64::from(start));
    assert_eq!([low(0), low(1), low(2), low(3), low(4)], [Some(50), Some(50), Some(50), Some(50), Some(60)]);
    assert_eq!(bracket(4).not_after, Some(i64::from(start) + 601));

    // A file time from before the file was made was set by hand.
    let log = files.path(Role::Log);
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(&log).expect("a file").set_times(FileTimes::new().set_modified(time)).expect("times");
    let clock = build(&files).expect("readable");
    assert_eq!(clock.bracket(LogPos { seq: 2, offset: 40 }).not_after, None);
}
