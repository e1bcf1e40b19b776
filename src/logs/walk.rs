//! `idx log`: the joined history of `.log.2` and `.log`, record by record, in memory that does not grow with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::clock::{self, Bracket, Clock, Evidence};
use super::note::{Note, NoteKind};
use super::records::{names_before, touches};
use super::stats::{Stats, tally};
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, LogHeader};
use crate::format::record::{Record, RecordType};
use crate::format::{FileKind, Flaw, FlawKind};
use crate::model::chain::{Segment, Unlinked, belongs};
use crate::model::{LogPos, UidSet};
use crate::source::{
    LogStream, MailboxFiles, MmapPolicy, PathError, Role, Stat, StreamStep, TailState, Watch, tail_state,
};

/// How often a mailbox that rotates while it is opened is opened again.
const TRIES: u32 = 5;
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

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is no log.
    #[error("{}: no transaction log here (dovecot.index.log, .log.2)", .0.display())]
    NoLog(PathBuf),
    /// The output cannot be written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// One log that is open.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    stream: LogStream,
}

impl Open {
    fn header(&self) -> &LogHeader {
        &self.stream.log.header
    }

    fn seq(&self) -> u32 {
        self.header().file_seq
    }

    /// Where the next record is, or the end.
    fn pos(&self) -> LogPos {
        LogPos { seq: self.seq(), offset: self.stream.pos() }
    }

    fn error(&self, source: io::Error) -> LogError {
        PathError::Io { path: self.path.clone(), source }.into()
    }

    fn note(&self, kind: NoteKind, finding: bool, message: String) -> Note {
        Note { kind, file: self.path.clone(), pos: self.pos(), resumes_at: None, message, finding }
    }

    fn damage(&self, error: &Flaw) -> Note {
        let mut note = self.note(NoteKind::Damage, true, error.to_string());
        note.pos.offset = error.at;
        note
    }

    /// The extensions before the first record, as far as other files tell.
    fn names_before(&self) -> ExtNames {
        names_before(&self.path, &self.stream.log, MmapPolicy::Auto)
    }

    /// What is to be said before the first record, after a history that ended at `before`.
    fn link(&self, before: Option<LogPos>) -> Note {
        let this = Segment::of_header(&self.stream.log);
        let (seq, prev) = (this.seq, this.prev());
        let (kind, finding, message) = match before {
            None if this.starts_empty() => {
                (NoteKind::Start, false, format!("log {seq} continues no other: the history of the index begins here"))
            }
            None => {
                (NoteKind::Begins, false, format!("log {seq} continues {prev}, which is gone: the history begins here"))
            }
            Some(end) if prev == end => (NoteKind::Rotation, false, format!("log {seq} continues {end}")),
            Some(end) if this.starts_empty() => (
                NoteKind::Reset,
                false,
                format!("log {seq} starts from an empty index; what came before, up to {end}, was given up"),
            ),
            Some(end) if prev.seq == end.seq => {
                (NoteKind::Gap, true, format!("log {seq} continues {prev}, but log {} ends at {end}", end.seq))
            }
            Some(end) => {
                (NoteKind::Gap, false, format!("log {seq} continues {prev}: what came between {end} and there is gone"))
            }
        };
        self.note(kind, finding, message)
    }
}

/// What a walk over the records comes by.
enum Found<'a> {
    File(&'a LogHeader),
    Record { pos: LogPos, record: &'a Record<'a>, names: &'a ExtNames, salvaged: bool },
    Note(Note),
}

/// What to do where the records end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// Say what is there and look for records behind it.
    Search,
    /// The same, but the file may be in the middle of a write.
    Live,
    /// Leave it: more may come.
    Wait,
}

/// The logs of a mailbox, open and with their clocks read.
#[derive(Debug)]
pub struct History {
    files: MailboxFiles,
    logs: Vec<Open>,
    clock: Clock,
    /// Files that could not be opened.
    bad: Vec<Note>,
}

impl History {
    /// Opens the logs of a mailbox. `timed` says that the times of records will be asked for, which takes a pass over
    /// the logs.
    ///
    /// # Errors
    /// When there is no readable log.
    pub fn open(path: &Path, timed: bool) -> Result<History, LogError> {
        let files = MailboxFiles::locate(path)?;
        // A log with a name of its own is read for itself.
        let family = [Role::Index, Role::Backup, Role::OldLog, Role::Log, Role::Cache];
        let stray = path.is_file()
            && !family.iter().skip(1).any(|role| files.path(*role) == path)
            && LogStream::open(path).is_ok();
        let mut bad = Vec::new();
        let mut streams = Vec::new();
        let mut failed: Option<PathError> = None;
        let candidates = if stray { vec![(Role::Log, path.to_owned())] } else { Vec::new() };
        let opened = if stray { open_each(candidates)? } else { open_pair(&files)? };
        for (role, path, result) in opened {
            match result {
                Ok(stream) => streams.push((role, path, stream)),
                Err(error) => {
                    let seq = LogPos::default();
                    let message = error.to_string();
                    failed.get_or_insert(PathError::Unknown { path: path.clone(), error });
                    bad.push(Note {
                        kind: NoteKind::Damage,
                        file: path,
                        pos: seq,
                        resumes_at: None,
                        message,
                        finding: true,
                    });
                }
            }
        }
        if streams.is_empty() {
            return Err(failed.map_or_else(|| LogError::NoLog(path.to_owned()), LogError::Path));
        }
        // `.log` is the newest by its role.
        streams.sort_by_key(|(role, ..)| *role == Role::Log);
        if let [(_, path, old), (_, _, log)] = streams.as_slice() {
            let segment = |stream: &LogStream| Segment::of_header(&stream.log);
            if let Err(why) = belongs(&segment(old), &segment(log)) {
                let (seq, log_seq) = (old.log.header.file_seq, log.log.header.file_seq);
                let finding = seq >= log_seq || matches!(why, Unlinked::Foreign { .. });
                let message = format!(".log.2 is left out, .log does not continue it: {why}");
                let (file, pos) = (path.clone(), LogPos { seq, offset: 0 });
                bad.push(Note { kind: NoteKind::LeftOut, file, pos, resumes_at: None, message, finding });
                streams.remove(0);
            }
        }
        let stats: Vec<_> = streams.iter().map(|(role, _, stream)| (*role, stream)).collect();
        let mut clock = Clock::before(&files, &stats)?;
        let mut logs = Vec::new();
        for (_, path, stream) in streams {
            let mut log = Open { path, stream };
            if timed {
                let start = (log.stream.log.records_at, log.header().initial_modseq);
                clock.read(&mut log.stream).map_err(|error| log.error(error))?;
                log.stream.seek(start.0, start.1);
            }
            logs.push(log);
        }
        if timed {
            clock.settle();
        }
        Ok(History { files, logs, clock, bad })
    }

    /// Visits every record and every word between them, in order.
    fn walk(
        &mut self,
        last: AtEnd,
        mut visit: impl FnMut(Found<'_>) -> Result<(), LogError>,
    ) -> Result<ExtNames, LogError> {
        for note in std::mem::take(&mut self.bad) {
            visit(Found::Note(note))?;
        }
        let mut names = ExtNames::default();
        let mut before = None;
        let count = self.logs.len();
        for (i, log) in self.logs.iter_mut().enumerate() {
            enter(log, before, &mut names, &mut visit)?;
            let at_end = if i + 1 == count { last } else { AtEnd::Search };
            read_on(log, &mut names, at_end, &mut visit)?;
            before = Some(log.pos());
        }
        Ok(names)
    }

    /// Gives every wanted record, and every word between them, to `sink`.
    ///
    /// # Errors
    /// When a log cannot be read, or what `sink` returns.
    pub fn records(&mut self, options: &Options, sink: &mut dyn Sink) -> Result<(), LogError> {
        let clock = std::mem::take(&mut self.clock);
        let result = self.walk(AtEnd::Live, |found| pass(options, &clock, found, sink));
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
            for log in &mut self.logs {
                tally(&mut log.stream, &mut stats, &mut clock).map_err(|error| log.error(error))?;
            }
        }
        let result = self.walk(AtEnd::Live, |found| {
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
        if let Some(log) = self.logs.last() {
            let end = LogPos { seq: log.seq(), offset: log.stream.pos().saturating_sub(1) };
            stats.until = clock.bracket(end).not_after;
        }
        stats.files = self.logs.iter().map(|log| (log.path.clone(), log.stream.stat.size)).collect();
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
        let Some(newest) = self.logs.last() else { return Ok(()) };
        let successors = Successors::watch(&self.files, newest.stream.stat, newest.seq());
        let mut names = self.walk(AtEnd::Wait, |found| pass(options, &clock, found, sink))?;
        let Some(mut current) = self.logs.pop() else { return Ok(()) };
        self.logs.clear();
        let mut next: Option<Open> = None;
        let mut told = None;
        let watch = Watch::new(directory(&self.files));
        loop {
            // A file is read to its end once more after it is known to be replaced: then nothing more is written to it.
            next = next.or_else(|| successors.next());
            let stat = current.stream.refresh().map_err(|error| current.error(error))?;
            if stat.size < current.stream.pos() {
                let message = format!("the file shrank to {} bytes", stat.size);
                pass(options, &clock, Found::Note(current.note(NoteKind::Damage, true, message)), sink)?;
                current.stream.seek(stat.size, 0);
            }
            read_on(&mut current, &mut names, AtEnd::Wait, &mut |found| {
                // What comes now is dated by when it is seen.
                if let Found::Record { pos, record, .. } = &found {
                    clock.seen(*pos, clock::now());
                    clock.record(record);
                }
                pass(options, &clock, found, sink)
            })?;
            let end = match current.stream.step() {
                Ok(StreamStep::End(end)) => Some(end),
                Ok(StreamStep::Record(_)) => None,
                Err(error) => return Err(current.error(error)),
            };
            if let Some(end) = end {
                let wrong = end.reason == EndReason::Corrupt || (end.reason == EndReason::Partial && next.is_some());
                if let Some(error) = end.error.filter(|_| wrong && told != Some(current.pos())) {
                    told = Some(current.pos());
                    pass(options, &clock, Found::Note(current.damage(&error)), sink)?;
                }
            }
            if let Some(log) = next.take() {
                let before = current.pos();
                if log.header().indexid != current.header().indexid || log.seq() <= before.seq {
                    let message = format!("the mailbox was recreated: log {} after {before}", log.seq());
                    pass(options, &clock, Found::Note(log.note(NoteKind::Recreated, false, message)), sink)?;
                }
                current = log;
                clock.log_begin(current.header());
                enter(&mut current, Some(before), &mut names, &mut |found| pass(options, &clock, found, sink))?;
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

/// Where the files of a mailbox are.
fn directory(files: &MailboxFiles) -> &Path {
    files.index.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens each log that replaces another as soon as it is there, on a thread of its own: once open, a log can be read
/// however often it is rotated away meanwhile.
struct Successors {
    logs: Receiver<Open>,
    stop: Arc<AtomicBool>,
    /// Where the system allows no thread, this one looks: for what comes after the log with that state and number.
    here: RefCell<Option<(Stat, u32)>>,
    found: RefCell<VecDeque<Open>>,
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
            let watch = Watch::new(directory(&around));
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

    fn next(&self) -> Option<Open> {
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
fn successors(files: &MailboxFiles, stat: &Stat, seq: u32) -> Vec<Open> {
    let path = files.path(Role::Log);
    let mut list = Vec::new();
    if Stat::at(&path).is_ok_and(|now| now.same_file(stat)) {
        return list;
    }
    let Some(log) = LogStream::open(&path).ok().filter(|log| !log.stat.same_file(stat)) else { return list };
    if log.log.header.prev_file_seq != seq {
        // More than one rotation has happened; the log between may still be there.
        let path = files.path(Role::OldLog);
        let between = LogStream::open(&path).ok().filter(|old| {
            let old_seq = old.log.header.file_seq;
            old_seq < log.log.header.file_seq && old_seq > seq && !old.stat.same_file(&log.stat)
        });
        list.extend(between.map(|stream| Open { path, stream }));
    }
    list.push(Open { path, stream: log });
    list
}

/// Says what is to be said before the first record of a log.
fn enter(
    log: &mut Open,
    before: Option<LogPos>,
    names: &mut ExtNames,
    visit: &mut impl FnMut(Found<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let link = log.link(before);
    // The extensions keep their numbers, and what was introduced is still what was introduced.
    if link.kind != NoteKind::Rotation {
        *names = log.names_before();
    }
    visit(Found::File(log.header()))?;
    visit(Found::Note(link))?;
    for problem in &log.stream.log.problems {
        visit(Found::Note(log.damage(problem)))?;
    }
    Ok(())
}

/// Reads a log from where it stands.
fn read_on(
    log: &mut Open,
    names: &mut ExtNames,
    at_end: AtEnd,
    visit: &mut impl FnMut(Found<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let seq = log.seq();
    let mut salvaged = false;
    loop {
        let step = log.stream.step();
        let end = match step {
            Ok(StreamStep::Record(record)) => {
                names.follow(&record);
                let pos = LogPos { seq, offset: record.offset };
                visit(Found::Record { pos, record: &record, names, salvaged })?;
                continue;
            }
            Ok(StreamStep::End(end)) => end,
            Err(error) => return Err(log.error(error)),
        };
        let Some(error) = end.error.filter(|_| at_end != AtEnd::Wait) else { return Ok(()) };
        let live = at_end == AtEnd::Live
            && end.reason == EndReason::Partial
            && tail_state(&log.path, &log.stream.stat).is_ok_and(|state| state == TailState::BeingWritten);
        if live {
            let message = format!("a transaction is being written: {error}");
            return visit(Found::Note(log.note(NoteKind::Tail, false, message)));
        }
        let mut note = log.damage(&error);
        note.pos.offset = end.offset;
        let found = log.stream.resynchronize(end.offset.saturating_add(1));
        note.resumes_at = found.map_err(|error| log.error(error))?;
        if note.resumes_at.is_none() && end.reason == EndReason::Partial {
            note.kind = NoteKind::TornTail;
        }
        let resumes_at = note.resumes_at;
        visit(Found::Note(note))?;
        let Some(at) = resumes_at else { return Ok(()) };
        log.stream.seek(at, 0);
        names.after_hole();
        salvaged = true;
    }
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
            let problem = record.fatal_error().or_else(|| record.payload_error());
            let uid = options.uid.as_ref();
            sink.record(&Entry { pos, record, names, salvaged, bracket, evidence, uid, problem, clock })?;
        }
    }
    Ok(())
}

type Opened = (Role, PathBuf, Result<LogStream, Flaw>);

/// Opens logs; those that do not exist are left out, those that are no logs come with the reason.
fn open_each(paths: Vec<(Role, PathBuf)>) -> Result<Vec<Opened>, PathError> {
    let mut list = Vec::new();
    for (role, path) in paths {
        match LogStream::open(&path) {
            Ok(stream) => list.push((role, path, Ok(stream))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let empty = || Flaw::new(FileKind::Log, 0, FlawKind::NoLog, "24 bytes or more", "something else");
                let inner = error.into_inner().and_then(|inner| inner.downcast::<Flaw>().ok());
                list.push((role, path, Err(inner.map_or_else(empty, |inner| *inner))));
            }
            Err(source) => return Err(PathError::Io { path, source }),
        }
    }
    Ok(list)
}

/// Opens `.log` and `.log.2` as they were at one time.
fn open_pair(files: &MailboxFiles) -> Result<Vec<Opened>, PathError> {
    let path = files.path(Role::Log);
    for _ in 0..TRIES {
        let mut list = open_each(vec![(Role::Log, path.clone()), (Role::OldLog, files.path(Role::OldLog))])?;
        let stat = |role: Role, list: &[Opened]| {
            let one = list.iter().find(|(have, ..)| *have == role)?;
            one.2.as_ref().ok().map(|stream| stream.stat)
        };
        let (log, old) = (stat(Role::Log, &list), stat(Role::OldLog, &list));
        let replaced = log.is_some_and(|log| Stat::at(&path).is_ok_and(|now| !now.same_file(&log)));
        // In the middle of a rotation both names lead to one file.
        let linked = log.zip(old).is_some_and(|(log, old)| log.same_file(&old));
        if replaced || linked {
            std::thread::sleep(Duration::from_millis(10));
            if replaced {
                continue;
            }
        }
        if linked {
            list.retain(|(role, ..)| *role == Role::Log);
        }
        // Of two logs with one number the present one counts.
        let seq = |one: &Opened| one.2.as_ref().ok().map(|stream| stream.log.header.file_seq);
        if let [log, old] = list.as_slice()
            && seq(log).is_some()
            && seq(log) == seq(old)
        {
            list.pop();
        }
        return Ok(list);
    }
    Err(PathError::Busy(path))
}
