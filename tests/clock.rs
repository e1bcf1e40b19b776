//! The wall clock of log records against sessions whose times are known.
//!
//! The driver of the fixtures noted when it began each command and when the answer was there. Messages are matched by UID: the
//! record that appends, expunges or changes a message was written in between.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use idx::format::record::{Append, ExpungeGuid, FlagUpdate, RecordType};
use idx::model::LogPos;
use idx::ops::clock::{Clock, ClockKind};
use idx::source::{LogStream, MailboxFiles, Role, StreamStep};
use serde_json::Value;

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

/// Puts back the modification times that git does not keep.
fn with_times(fixture: &Path, meta: &Value, to: &Path) -> PathBuf {
    let home = to.join("files");
    support::dovecot::copy_tree(&fixture.join("files"), &home).expect("a copy");
    for (name, time) in meta["mtime_ns"].as_object().expect("mtime_ns") {
        let time = UNIX_EPOCH + Duration::from_nanos(time.as_u64().expect("nanoseconds"));
        if let Ok(file) = File::open(home.join(name)) {
            file.set_times(FileTimes::new().set_modified(time)).expect("times");
        }
    }
    home
}

fn median(mut list: Vec<i64>) -> i64 {
    list.sort_unstable();
    list.get(list.len() / 2).copied().unwrap_or(0)
}

/// Checks all traces of a mailbox whose event is known; returns the widths of all brackets.
fn check(name: &str, files: &MailboxFiles, events: &[Event], whole: (f64, f64)) -> (usize, Vec<i64>) {
    let clock = Clock::build(files).expect("readable files");
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let (mut matched, mut widths, mut mailboxes) = (0, Vec::new(), 0);
    for fixture in fs::read_dir(&root).expect("fixtures").map(|entry| entry.expect("entry").path()) {
        let Ok(text) = fs::read_to_string(fixture.join("meta.json")) else { continue };
        let meta: Value = serde_json::from_str(&text).expect("JSON");
        let temp = tempfile::tempdir().expect("temporary directory");
        let home = with_times(&fixture, &meta, temp.path());
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
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/2.3.19.1-maildir-busy");
    let files = MailboxFiles::locate(&fixture.join("files/Maildir")).expect("a mailbox");
    let clock = Clock::build(&files).expect("readable files");
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
