//! The logs of a mailbox as streams, oldest first: what questions about the past need, in memory that does not grow
//! with them. They are those of one generation: the files are opened by [`Generation`] and nowhere else.

use std::io;
use std::path::PathBuf;

use crate::format::Flaw;
use crate::format::flaw::note;
use crate::format::index::IndexFile;
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, LogEnd, LogFile};
use crate::format::record::Record;
use crate::model::LogPos;
use crate::model::chain::{Segment, Unlinked, belongs};
use crate::model::qresync::Finder;
use crate::model::reach::{Lack, TooOld, segment_of};
use crate::source::{AtEnd, Generation, LogStream, MmapPolicy, Passage, PathError, Role, StreamStep};

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

/// One log file.
#[derive(Debug)]
pub struct Log {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for.
    pub role: Role,
    /// Its records.
    pub stream: LogStream,
    /// Its place among the others.
    pub segment: Segment,
}

impl Log {
    /// A log that is open.
    pub fn of(path: PathBuf, role: Role, stream: LogStream) -> Log {
        let segment = Segment::of_header(&stream.log);
        Log { path, role, stream, segment }
    }

    /// `file_seq`.
    pub fn seq(&self) -> u32 {
        self.segment.seq
    }

    /// Where the next record is, or the end.
    pub fn pos(&self) -> LogPos {
        LogPos { seq: self.seq(), offset: self.stream.pos() }
    }

    /// Goes back to the first record.
    pub fn rewind(&mut self) {
        self.stream.seek(self.segment.records_at, self.segment.initial_modseq);
    }
}

/// A `.log.2` that has no part in any answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Its number.
    pub seq: u32,
    /// Why.
    pub why: Unlinked,
    /// False where it must be so: a log that starts anew leaves the one before it where it is.
    pub is_finding: bool,
}

/// The logs of a mailbox.
#[derive(Debug, Default)]
pub struct Logs {
    /// The files, oldest first: `.log` is the newest by its role.
    pub list: Vec<Log>,
    /// The `.log.2` that is not among them.
    pub left_out: Option<LeftOut>,
    /// Files that are no logs.
    pub unreadable: Vec<(PathBuf, Flaw)>,
    /// What is wrong with the others, as far as they have been read.
    pub flaws: Vec<(PathBuf, Vec<Flaw>)>,
    /// Where the logs do not decode, as far as [`Logs::each`] has read: no Dovecot reads past these. What stands in
    /// `.log.2` behind the place where `.log` goes on is not among them.
    pub damaged: Vec<LogPos>,
    /// The time at which they were opened, UNIX seconds.
    now: i64,
}

impl Logs {
    /// The logs of a generation, opened at `now`, UNIX seconds.
    ///
    /// # Errors
    /// When none of them can be read.
    pub fn of(generation: &Generation, now: i64) -> Result<Logs, LogError> {
        let mut logs = Logs { now, ..Logs::default() };
        for role in [Role::Log, Role::OldLog] {
            logs.open(generation, role)?;
        }
        if let [old, log] = logs.list.as_slice() {
            if old.stream.stat.same_file(&log.stream.stat) {
                // In the middle of a rotation both names lead to one file.
                logs.list.remove(0);
            } else if let Err(why) = belongs(&old.segment, &log.segment) {
                let is_finding = old.seq() >= log.seq() || matches!(why, Unlinked::Foreign { .. });
                logs.left_out = Some(LeftOut { path: old.path.clone(), seq: old.seq(), why, is_finding });
                logs.list.remove(0);
            }
        }
        logs.begun(generation)
    }

    /// A log with a name of its own, which the generation has as its index.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stray(generation: &Generation, now: i64) -> Result<Logs, LogError> {
        let mut logs = Logs { now, ..Logs::default() };
        logs.open(generation, Role::Index)?;
        logs.begun(generation)
    }

    fn open(&mut self, generation: &Generation, role: Role) -> Result<(), LogError> {
        let path = generation.files().path(role);
        match generation.stream(role) {
            None => {}
            Some(Ok(stream)) => self.list.insert(0, Log::of(path, role, stream)),
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                let flaw = error.into_inner().and_then(|inner| inner.downcast::<Flaw>().ok());
                self.unreadable.extend(flaw.map(|flaw| (path, *flaw)));
            }
            Some(Err(error)) => return Err(PathError::io(&path, error).into()),
        }
        Ok(())
    }

    fn begun(mut self, generation: &Generation) -> Result<Logs, LogError> {
        if self.list.is_empty() {
            return Err(match self.unreadable.pop() {
                Some((path, error)) => PathError::Unknown { path, error }.into(),
                None => LogError::NoLog(generation.files().index.clone()),
            });
        }
        self.flaws = self.list.iter().map(|log| (log.path.clone(), log.stream.log.problems.clone())).collect();
        Ok(self)
    }

    /// Finds out where each log but the last one ends. A log that is finished ends with its file; only if the next one
    /// says otherwise it has to be read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn find_ends(&mut self) -> Result<(), PathError> {
        for i in 1..self.list.len() {
            let Some(continued_at) = self.list.get(i).map(|log| u64::from(log.segment.prev_file_offset)) else { break };
            let Some(log) = self.list.get_mut(i - 1) else { break };
            let size = log.stream.stat.size;
            log.segment.end = Some(match size == continued_at {
                true => size,
                false => {
                    let end = until(&mut log.stream, |_| true).map_err(|e| PathError::io(&log.path, e))?;
                    log.rewind();
                    end.offset
                }
            });
        }
        Ok(())
    }

    /// The files as [`segment_of`] wants them.
    pub fn segments(&self) -> Vec<Segment> {
        self.list.iter().map(|log| log.segment).collect()
    }

    /// `indexid` of the present log.
    pub fn indexid(&self) -> u32 {
        self.list.last().map_or(0, |log| log.segment.indexid)
    }

    /// The position that a modseq stands for, as the number of the file and the offset in it.
    ///
    /// # Errors
    /// When the file cannot be read. The inner error says that the logs do not reach back to the modseq.
    pub fn locate(&mut self, modseq: u64) -> Result<Result<(usize, LogPos), TooOld>, PathError> {
        let i = match segment_of(&self.segments(), modseq) {
            Ok(i) => i,
            Err(error) => return Ok(Err(error)),
        };
        let Some(log) = self.list.get_mut(i) else {
            return Ok(Err(TooOld { modseq, reason: Lack::NoLog }));
        };
        let mut finder = Finder::new(modseq, &log.segment);
        log.rewind();
        let end = until(&mut log.stream, |record| !finder.record(record)).map_err(|e| PathError::io(&log.path, e))?;
        let offset = finder.finish(end.offset, log.stream.modseq());
        log.rewind();
        Ok(Ok((i, LogPos { seq: log.seq(), offset })))
    }

    /// Takes note of a flaw in file number `i`; those of a file that are too many are not listed.
    pub fn flaw(&mut self, i: usize, flaw: Flaw) {
        if let Some((_, list)) = self.flaws.get_mut(i)
            && !list.contains(&flaw)
        {
            note(list, [flaw]);
        }
    }

    /// Hands every record of every file from file number `first` on to `take`, with the file's number, until that says
    /// to stop. Damage is noted and read over; the records behind it have modseq 0, since nobody can say what it hides.
    ///
    /// # Errors
    /// What `take` returns, or when a file cannot be read.
    pub fn each(
        &mut self,
        first: usize,
        mut take: impl FnMut(usize, u32, &Record<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let last = self.list.len().saturating_sub(1);
        let (mut flaws, mut damaged) = (Vec::new(), Vec::new());
        let continued: Vec<Option<u64>> =
            self.list.iter().skip(1).map(|log| Some(u64::from(log.segment.prev_file_offset))).chain([None]).collect();
        for (i, log) in self.list.iter_mut().enumerate().skip(first) {
            log.rewind();
            let seq = log.seq();
            let at_end = if i == last { AtEnd::Live(self.now) } else { AtEnd::Search };
            let mut is_invalid = false;
            let goes_on = log.stream.walk(at_end, |passage| match passage {
                Passage::Record(record, _) => {
                    if let Some(error) = record.fatal_error().filter(|_| !is_invalid) {
                        is_invalid = true;
                        damaged.push(LogPos { seq, offset: record.offset });
                        flaws.push((i, error));
                    } else if record.payload_error().is_some() {
                        damaged.push(LogPos { seq, offset: record.offset });
                    }
                    take(i, seq, record)
                }
                Passage::Hole(hole) => {
                    let is_passed = continued.get(i).is_some_and(|at| *at == Some(hole.at));
                    if !hole.is_being_written {
                        damaged.extend((!is_passed).then_some(LogPos { seq, offset: hole.at }));
                        flaws.push((i, hole.error));
                    }
                    Ok(true)
                }
            })??;
            if !goes_on {
                break;
            }
        }
        // Several passes find the same damage.
        flaws.into_iter().for_each(|(i, flaw)| self.flaw(i, flaw));
        damaged.retain(|pos| !self.damaged.contains(pos));
        self.damaged.extend(damaged);
        Ok(())
    }
}

/// Reads records until there is none, or until `take` says so; says where that is.
fn until(stream: &mut LogStream, mut take: impl FnMut(&Record<'_>) -> bool) -> io::Result<LogEnd> {
    loop {
        match stream.step()? {
            StreamStep::Record(record) => {
                if !take(&record) {
                    return Ok(LogEnd { offset: record.end(), reason: EndReason::Eof, error: None });
                }
            }
            StreamStep::End(end) => return Ok(end),
        }
    }
}

/// The extensions before the first record of a log of a generation: what the log before it says, or the index knows.
/// `role` is the log's own.
pub fn names_before(generation: &Generation, role: Role, log: &LogFile) -> ExtNames {
    if log.header.starts_empty() {
        return ExtNames::from_nothing();
    }
    if role == Role::Log
        && let Some(Ok(mut stream)) = generation.stream(Role::OldLog)
        && stream.log.header.starts_empty()
        && stream.log.header.file_seq == log.header.prev_file_seq
    {
        let mut names = ExtNames::from_nothing();
        loop {
            match stream.step() {
                Ok(StreamStep::Record(record)) => names.follow(&record),
                Ok(StreamStep::End(end)) if end.reason == EndReason::Eof => return names,
                Ok(StreamStep::End(_)) | Err(_) => {
                    names.after_hole();
                    return names;
                }
            }
        }
    }
    let index = generation.input(Role::Index, MmapPolicy::Auto).ok().flatten();
    let names = index.and_then(|input| {
        let index = IndexFile::parse(&input.bytes).ok()?;
        Some(index.extensions.iter().map(|ext| ext.name.to_vec()).collect::<Vec<_>>())
    });
    ExtNames::new(names.unwrap_or_default())
}
