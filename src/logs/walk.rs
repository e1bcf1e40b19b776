//! `idx log`: the joined history of `.log.2` and `.log`, record by record, in memory that does not grow with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::clock::{Bracket, Clock, Evidence};
use super::history::{LeftOut, Log, LogError, Logs, names_before};
use super::note::{Note, NoteKind};
use super::records::touches;
use super::stats::{Stats, tally};
use crate::format::Flaw;
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, LogHeader};
use crate::format::record::{Record, RecordType};
use crate::model::chain::{self, Segment, Unlinked};
use crate::model::{LogPos, UidSet};
use crate::source::{
    AtEnd, Generation, Hole, MailboxFiles, Passage, PathError, Place, Role, Stat, StreamStep, Subject, Watch,
};

/// How often a follower looks for more, even if nobody wakes it.
const POLL: Duration = Duration::from_millis(50);
/// Logs that are held open for a follower that is behind.
const MOST_WAITING: usize = 32;

/// Which records to show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only records that name one of these messages, told as the life of these.
    pub uid: Option<UidSet>,
    /// Only these types.
    pub types: Option<Vec<RecordType>>,
    /// Only records after which the modseq is in this range, both ends included.
    pub modseq: Option<(u64, u64)>,
    /// Only records that begin in this range, both ends included.
    pub position: Option<(LogPos, LogPos)>,
    /// Only records that may have been written at or after this, UNIX seconds.
    pub since: Option<i64>,
    /// Only records that may have been written at or before this, UNIX seconds.
    pub until: Option<i64>,
    /// Say which clocks gave the brackets.
    pub evidence: bool,
}

impl Options {
    /// True when all that matters can be seen in the record itself.
    pub fn timeless(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }

    /// True when some property of a record itself is asked for.
    fn filters(&self) -> bool {
        self.uid.is_some() || self.types.is_some() || self.modseq.is_some() || self.position.is_some()
    }

    #[inline]
    fn wants(&self, pos: LogPos, record: &Record<'_>, names: &ExtNames, salvaged: bool) -> bool {
        if let Some((from, to)) = self.position
            && !(from..=to).contains(&pos)
        {
            return false;
        }
        if let Some((from, to)) = self.modseq
            && (salvaged || !(from..=to).contains(&record.modseq))
        {
            return false;
        }
        if let Some(types) = &self.types
            && !record.kind().is_some_and(|kind| types.contains(&kind))
        {
            return false;
        }
        self.uid.as_ref().is_none_or(|set| touches(record, names, set))
    }

    /// A record whose time is not known may have been written at any time.
    fn wants_time(&self, bracket: Bracket) -> bool {
        self.since.is_none_or(|since| bracket.not_after.is_none_or(|at| at >= since))
            && self.until.is_none_or(|until| bracket.not_before.is_none_or(|at| at <= until))
    }
}

/// One record and all that is known of it.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Where it is.
    pub pos: LogPos,
    /// The record.
    pub record: &'a Record<'a>,
    /// The extensions it may be about.
    pub names: &'a ExtNames,
    /// Found again behind damage: its modseq is not known.
    pub salvaged: bool,
    /// When it was written.
    pub bracket: Bracket,
    /// The clocks that say so, when they were asked for.
    pub evidence: Option<Evidence>,
    /// The messages whose life is told.
    pub uid: Option<&'a UidSet>,
    /// What is wrong with the record.
    pub problem: Option<Flaw>,
    /// All clocks.
    pub clock: &'a Clock,
}

/// Takes what a history has to say, in order.
pub trait Sink {
    /// A record.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn record(&mut self, entry: &Entry<'_>) -> io::Result<()>;
    /// A word between two records.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn note(&mut self, note: &Note) -> io::Result<()>;
    /// What was given so far is to be seen now.
    ///
    /// # Errors
    /// When the output cannot be written to.
    fn flush(&mut self) -> io::Result<()>;
}

/// Who made the change of a record.
pub fn origin(record: &Record<'_>) -> &'static str {
    match (record.sync(), record.external()) {
        (true, _) => "sync",
        (_, true) => "external",
        _ => "request",
    }
}

/// A word about a place in a log.
fn note(log: &Log, kind: NoteKind, finding: bool, message: String) -> Note {
    Note { kind, file: log.path.clone(), pos: log.pos(), resumes_at: None, message, finding }
}

/// A word about a flaw.
fn damage(log: &Log, error: &Flaw) -> Note {
    let mut note = note(log, NoteKind::Damage, true, error.to_string());
    note.pos.offset = error.at;
    note
}

/// A log of the same index that ended there.
fn ended(end: LogPos, log: &Segment) -> Segment {
    Segment { seq: end.seq, end: Some(end.offset), ..*log }
}

/// What is to be said before the first record of a log, after a history that ended at `before`.
fn link(log: &Log, before: Option<LogPos>) -> Note {
    let this = log.segment;
    let (seq, prev) = (this.seq, this.prev());
    let (kind, finding, message) = match before.map(|end| (end, chain::follows(Some(&ended(end, &this)), &this))) {
        None if this.starts_empty() => {
            (NoteKind::Start, false, format!("log {seq} continues no other: the history of the index begins here"))
        }
        None => {
            (NoteKind::Begins, false, format!("log {seq} continues {prev}, which is gone: the history begins here"))
        }
        Some((end, Ok(()))) => (NoteKind::Rotation, false, format!("log {seq} continues {end}")),
        Some((end, Err(Unlinked::Reset { .. }))) => (
            NoteKind::Reset,
            false,
            format!("log {seq} starts from an empty index; what came before, up to {end}, was given up"),
        ),
        Some((end, Err(Unlinked::Size { .. }))) => {
            (NoteKind::Gap, true, format!("log {seq} continues {prev}, but log {} ends at {end}", end.seq))
        }
        Some((end, Err(_))) => {
            (NoteKind::Gap, false, format!("log {seq} continues {prev}: what came between {end} and there is gone"))
        }
    };
    note(log, kind, finding, message)
}

/// What a walk over the records comes by.
enum Found<'a> {
    File(&'a LogHeader),
    Record { pos: LogPos, record: &'a Record<'a>, names: &'a ExtNames, salvaged: bool },
    Note(Note),
}

/// The logs of a mailbox, open and with their clocks read.
#[derive(Debug)]
pub struct History {
    generation: Generation,
    /// The logs, and what is wrong with them.
    pub logs: Logs,
    clock: Clock,
    now: i64,
}

impl History {
    /// The history in the logs of a generation, opened at `now`, UNIX seconds. `is_timed` says that the times of
    /// records will be asked for, which takes a pass over the logs.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(generation: Generation, mut logs: Logs, is_timed: bool, now: i64) -> Result<History, LogError> {
        let known: Vec<_> = logs.list.iter().map(|log| (log.role, &log.stream)).collect();
        let mut clock = Clock::before(&generation, &known, now)?;
        if is_timed {
            for log in &mut logs.list {
                clock.read(&mut log.stream).map_err(|error| PathError::io(&log.path, error))?;
                log.rewind();
            }
            clock.settle();
        }
        Ok(History { generation, logs, clock, now })
    }

    /// What is to be said before the first record: files that could not be read, and a `.log.2` that is left out.
    fn preface(&self) -> Vec<Note> {
        let bad = self.logs.unreadable.iter().map(|(file, flaw)| {
            let (file, message) = (file.clone(), flaw.to_string());
            Note { kind: NoteKind::Damage, file, pos: LogPos::default(), resumes_at: None, message, finding: true }
        });
        let left_out = self.logs.left_out.iter().map(|LeftOut { path, seq, why, is_finding }| {
            let message = format!(".log.2 is left out, .log does not continue it: {why}");
            let (file, pos) = (path.clone(), LogPos { seq: *seq, offset: 0 });
            Note { kind: NoteKind::LeftOut, file, pos, resumes_at: None, message, finding: *is_finding }
        });
        bad.chain(left_out).collect()
    }

    /// Visits every record and every word between them, in order.
    fn walk(
        &mut self,
        last: AtEnd,
        mut visit: impl FnMut(Found<'_>) -> Result<(), LogError>,
    ) -> Result<ExtNames, LogError> {
        for note in self.preface() {
            visit(Found::Note(note))?;
        }
        let mut names = ExtNames::default();
        let mut before = None;
        let count = self.logs.list.len();
        for i in 0..count {
            let Some(log) = self.logs.list.get_mut(i) else { break };
            enter(log, &self.generation, before, &mut names, &mut visit)?;
            let at_end = if i + 1 == count { last } else { AtEnd::Search };
            let mut flaws = Vec::new();
            read_on(log, &mut names, at_end, &mut flaws, &mut visit)?;
            before = Some(log.pos());
            flaws.into_iter().for_each(|flaw| self.logs.flaw(i, flaw));
        }
        Ok(names)
    }

    /// Gives every wanted record, and every word between them, to `sink`.
    ///
    /// # Errors
    /// When a log cannot be read, or what `sink` returns.
    pub fn records(&mut self, options: &Options, sink: &mut dyn Sink) -> Result<(), LogError> {
        let clock = std::mem::take(&mut self.clock);
        let result = self.walk(AtEnd::Live(self.now), |found| pass(options, &clock, found, sink));
        self.clock = clock;
        result.map(drop)
    }

    /// Counts the wanted records.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn stats(&mut self, options: &Options) -> Result<Stats, LogError> {
        let mut clock = std::mem::take(&mut self.clock);
        let mut stats = Stats::default();
        // Where nobody asks for a time, one pass does: the clock runs along.
        let running = options.timeless();
        let all = running && !options.filters();
        if all {
            for log in &mut self.logs.list {
                tally(&mut log.stream, &mut stats, &mut clock).map_err(|error| failed(log, error))?;
            }
        }
        let result = self.walk(AtEnd::Live(self.now), |found| {
            match found {
                Found::Note(note) => stats.notes.extend(Some(note).filter(|note| note.finding)),
                Found::File(header) if running && !all => clock.log_begin(header),
                Found::File(_) => {}
                Found::Record { pos, record, names, salvaged } => {
                    if running {
                        clock.record(record);
                    }
                    if all || options.wants(pos, record, names, salvaged) {
                        if running {
                            stats.add(record, clock.running());
                        } else {
                            let bracket = clock.bracket(pos);
                            if options.wants_time(bracket) {
                                stats.add(record, bracket.not_before);
                            }
                        }
                    }
                }
            }
            Ok(())
        });
        clock.settle();
        if let Some(log) = self.logs.list.last() {
            let end = LogPos { seq: log.seq(), offset: log.stream.pos().saturating_sub(1) };
            stats.until = clock.bracket(end).not_after;
        }
        stats.files = self.logs.list.iter().map(|log| (log.path.clone(), log.stream.stat.size)).collect();
        self.clock = clock;
        result.map(|_| stats)
    }

    /// Shows what is there and then what comes, until `stop` says so: across rotations, without loss and without
    /// doubling.
    ///
    /// # Errors
    /// When a log cannot be read, or what `sink` returns.
    pub fn follow(&mut self, options: &Options, sink: &mut dyn Sink, stop: &dyn Fn() -> bool) -> Result<(), LogError> {
        let mut clock = std::mem::take(&mut self.clock);
        // From now on no rotation is missed, however long it takes to write out what is there already.
        let files = self.generation.files().closed();
        let Some(newest) = self.logs.list.last() else { return Ok(()) };
        let successors = Successors::watch(&files, newest.stream.stat, newest.seq());
        let mut names = self.walk(AtEnd::Wait, |found| pass(options, &clock, found, sink))?;
        let Some(mut current) = self.logs.list.pop() else { return Ok(()) };
        self.logs.list.clear();
        let mut next: Option<Log> = None;
        let mut told = None;
        let watch = Watch::new(&files);
        loop {
            // A file is read to its end once more after it is known to be replaced: then nothing more is written to it.
            next = next.or_else(|| successors.next());
            let stat = current.stream.refresh().map_err(|error| failed(&current, error))?;
            if stat.size < current.stream.pos() {
                let message = format!("the file shrank to {} bytes", stat.size);
                pass(options, &clock, Found::Note(note(&current, NoteKind::Damage, true, message)), sink)?;
                current.stream.seek(stat.size, 0);
            }
            read_on(&mut current, &mut names, AtEnd::Wait, &mut Vec::new(), &mut |found| {
                // What comes now is dated by when it is seen.
                if let Found::Record { pos, record, .. } = &found {
                    clock.seen(*pos, crate::source::now());
                    clock.record(record);
                }
                pass(options, &clock, found, sink)
            })?;
            let end = match current.stream.step() {
                Ok(StreamStep::End(end)) => Some(end),
                Ok(StreamStep::Record(_)) => None,
                Err(error) => return Err(failed(&current, error)),
            };
            if let Some(end) = end {
                let wrong = end.reason == EndReason::Corrupt || (end.reason == EndReason::Partial && next.is_some());
                if let Some(error) = end.error.filter(|_| wrong && told != Some(current.pos())) {
                    told = Some(current.pos());
                    pass(options, &clock, Found::Note(damage(&current, &error)), sink)?;
                }
            }
            if let Some(log) = next.take() {
                let before = current.pos();
                if log.segment.indexid != current.segment.indexid || log.seq() <= before.seq {
                    let message = format!("the mailbox was recreated: log {} after {before}", log.seq());
                    pass(options, &clock, Found::Note(note(&log, NoteKind::Recreated, false, message)), sink)?;
                }
                current = log;
                clock.log_begin(&current.stream.log.header);
                let generation = Generation::open(&files.closed(), &[Role::Index, Role::OldLog])?;
                enter(&current, &generation, Some(before), &mut names, &mut |found| {
                    pass(options, &clock, found, sink)
                })?;
                continue;
            }
            sink.flush()?;
            if stop() {
                return Ok(());
            }
            watch.wait(POLL);
        }
    }
}

/// Opens each log that replaces another as soon as it is there, on a thread of its own: once open, a log can be read
/// however often it is rotated away meanwhile.
struct Successors {
    logs: Receiver<Log>,
    stop: Arc<AtomicBool>,
    /// Where the system allows no thread, this one looks: for what comes after the log with that state and number.
    here: RefCell<Option<(Stat, u32)>>,
    found: RefCell<VecDeque<Log>>,
    files: MailboxFiles,
}

impl Successors {
    /// Waits for what comes after the log with that state and number.
    fn watch(files: &MailboxFiles, mut stat: Stat, mut seq: u32) -> Successors {
        let stop = Arc::new(AtomicBool::new(false));
        let (to, logs) = sync_channel(MOST_WAITING);
        let (around, stopped) = (files.clone(), Arc::clone(&stop));
        let then = (stat, seq);
        let thread = std::thread::Builder::new().spawn(move || {
            let watch = Watch::new(&around);
            while !stopped.load(Ordering::Relaxed) {
                for log in successors(&around, &stat, seq) {
                    (stat, seq) = (log.stream.stat, log.seq());
                    if to.send(log).is_err() {
                        return;
                    }
                }
                watch.wait(POLL);
            }
        });
        let here = RefCell::new(thread.is_err().then_some(then));
        Successors { logs, stop, here, found: RefCell::default(), files: files.clone() }
    }

    fn next(&self) -> Option<Log> {
        let mut here = self.here.borrow_mut();
        let Some((stat, seq)) = here.as_mut() else { return self.logs.try_recv().ok() };
        let mut found = self.found.borrow_mut();
        for log in successors(&self.files, stat, *seq) {
            (*stat, *seq) = (log.stream.stat, log.seq());
            found.push_back(log);
        }
        found.pop_front()
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The logs that came after the one with that state and number, if it has been replaced.
fn successors(files: &MailboxFiles, stat: &Stat, seq: u32) -> Vec<Log> {
    // The directory may be another one by now.
    let files = files.closed();
    let mut list = Vec::new();
    if files.stat(Role::Log).is_ok_and(|now| now.stat.same_file(stat)) {
        return list;
    }
    let Ok(generation) = Generation::open(&files, &[Role::OldLog, Role::Log]) else { return list };
    let open = |role| Some(Log::of(files.path(role), role, generation.stream(role)?.ok()?));
    let Some(log) = open(Role::Log).filter(|log| !log.stream.stat.same_file(stat)) else { return list };
    if log.segment.prev_file_seq != seq {
        // More than one rotation has happened; the log between may still be there.
        let between = open(Role::OldLog).filter(|old| {
            (seq.saturating_add(1)..log.seq()).contains(&old.seq()) && !old.stream.stat.same_file(&log.stream.stat)
        });
        list.extend(between);
    }
    list.push(log);
    list
}

/// True when a path leads to a log with a name of its own: it is read for itself.
pub fn is_stray(subject: &Subject, generation: &Generation) -> bool {
    subject.role == Some(Role::Index) && generation.stream(Role::Index).is_some_and(|stream| stream.is_ok())
}

/// Says what is to be said before the first record of a log.
fn enter(
    log: &Log,
    generation: &Generation,
    before: Option<LogPos>,
    names: &mut ExtNames,
    visit: &mut impl FnMut(Found<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let link = link(log, before);
    // The extensions keep their numbers, and what was introduced is still what was introduced.
    if link.kind != NoteKind::Rotation {
        *names = names_before(generation, log.role, &log.stream.log);
    }
    visit(Found::File(&log.stream.log.header))?;
    visit(Found::Note(link))?;
    for problem in &log.stream.log.problems {
        visit(Found::Note(damage(log, problem)))?;
    }
    Ok(())
}

/// Reads a log from where it stands, and notes its flaws.
fn read_on(
    log: &mut Log,
    names: &mut ExtNames,
    at_end: AtEnd,
    flaws: &mut Vec<Flaw>,
    visit: &mut impl FnMut(Found<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let (seq, path) = (log.seq(), log.path.clone());
    let about = |kind, offset, finding, message| {
        let (file, pos) = (path.clone(), LogPos { seq, offset });
        Note { kind, file, pos, resumes_at: None, message, finding }
    };
    let mut is_invalid = false;
    let walked = log.stream.walk(at_end, |passage| {
        match passage {
            Passage::Record(record, place) => {
                if !is_invalid && let Some(flaw) = record.fatal_error() {
                    is_invalid = true;
                    flaws.push(flaw);
                }
                names.follow(record);
                let pos = LogPos { seq, offset: record.offset };
                visit(Found::Record { pos, record, names, salvaged: place == Place::Salvaged })?;
            }
            Passage::Hole(Hole { at, error, is_being_written: true, .. }) => {
                let message = format!("a transaction is being written: {error}");
                visit(Found::Note(about(NoteKind::Tail, at, false, message)))?;
            }
            Passage::Hole(Hole { at, error, is_partial, resumes_at, .. }) => {
                let is_torn = resumes_at.is_none() && is_partial;
                let kind = if is_torn { NoteKind::TornTail } else { NoteKind::Damage };
                visit(Found::Note(Note { resumes_at, ..about(kind, at, true, error.to_string()) }))?;
                flaws.push(error);
                names.after_hole();
            }
        }
        Ok(true)
    });
    match walked {
        Ok(result) => result.map(drop),
        Err(error) => Err(failed(log, error)),
    }
}

fn failed(log: &Log, source: io::Error) -> LogError {
    PathError::io(&log.path, source).into()
}

/// Gives a record to `sink` if it is wanted.
fn pass(options: &Options, clock: &Clock, found: Found<'_>, sink: &mut dyn Sink) -> Result<(), LogError> {
    match found {
        Found::File(_) => {}
        Found::Note(note) => sink.note(&note)?,
        Found::Record { pos, record, names, salvaged } => {
            if !options.wants(pos, record, names, salvaged) {
                return Ok(());
            }
            let bracket = clock.bracket(pos);
            if !options.wants_time(bracket) {
                return Ok(());
            }
            let evidence = options.evidence.then(|| clock.evidence(pos));
            let problem = record.flaw();
            let uid = options.uid.as_ref();
            sink.record(&Entry { pos, record, names, salvaged, bracket, evidence, uid, problem, clock })?;
        }
    }
    Ok(())
}
