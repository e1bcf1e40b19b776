//! The logs of a mailbox as streams, oldest first: what questions about the past need, in memory that does not grow
//! with them.

use std::io;
use std::path::PathBuf;

use crate::format::log::{EndReason, LogEnd};
use crate::format::record::Record;
use crate::model::LogPos;
use crate::model::chain::{Segment, Unlinked, belongs};
use crate::model::qresync::Finder;
use crate::model::reach::{Lack, TooOld, segment_of};
use crate::source::{LogStream, MailboxFiles, PathError, Role, Stat, StreamStep, TailState, tail_state};

/// How often logs that are rotated while they are opened are opened again.
const TRIES: u32 = 5;

/// One log file.
#[derive(Debug)]
pub struct Log {
    /// Where it is.
    pub path: PathBuf,
    /// Its records.
    pub stream: LogStream,
    /// Its place among the others.
    pub segment: Segment,
}

/// The logs of a mailbox.
#[derive(Debug, Default)]
pub struct Logs {
    /// The files, oldest first: `.log` is the newest by its role.
    pub list: Vec<Log>,
    /// Number of the `.log.2` that is not among them, and why.
    pub left_out: Option<(u32, Unlinked)>,
    /// What is wrong, each with the file it is in.
    pub problems: Vec<(PathBuf, String)>,
    /// Where the logs do not decode, as far as [`Logs::each`] has read: no Dovecot reads past these. What stands in
    /// `.log.2` behind the place where `.log` goes on is not among them.
    pub damaged: Vec<LogPos>,
}

impl Logs {
    /// Opens `.log.2` and `.log`, as one set: if they are rotated meanwhile, again.
    ///
    /// # Errors
    /// When there is no log that can be read, or when the files keep being replaced.
    pub fn open(files: &MailboxFiles) -> Result<Logs, PathError> {
        for _ in 0..TRIES {
            let logs = Logs::open_once(files)?;
            let unchanged = |log: &Log| Stat::at(&log.path).is_ok_and(|now| now.same_file(&log.stream.stat));
            if logs.list.iter().all(unchanged) {
                return Ok(logs);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(PathError::Busy(files.path(Role::Log)))
    }

    fn open_once(files: &MailboxFiles) -> Result<Logs, PathError> {
        let mut logs = Logs::default();
        let mut first_error = None;
        for role in [Role::Log, Role::OldLog] {
            let path = files.path(role);
            let stream = match LogStream::open(&path) {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    logs.problems.push((path.clone(), error.to_string()));
                    first_error.get_or_insert(PathError::Io { path, source: error });
                    continue;
                }
                Err(error) => return Err(PathError::Io { path, source: error }),
            };
            logs.problems.extend(stream.log.problems.iter().map(|problem| (path.clone(), problem.to_string())));
            let segment = Segment::of_header(&stream.log);
            logs.list.insert(0, Log { path, stream, segment });
        }
        if let [old, log] = logs.list.as_slice()
            && let Err(why) = belongs(&old.segment, &log.segment)
        {
            let (seq, path) = (old.segment.seq, old.path.clone());
            // A log that starts anew leaves the one before it where it is, and in a rotation both names lead to one
            // file.
            let same = old.stream.stat.same_file(&log.stream.stat);
            let harmless = same || (seq < log.segment.seq && !matches!(why, Unlinked::Foreign { .. }));
            if !harmless {
                logs.problems.push((path, format!("left out, .log does not continue it: {why}")));
            }
            logs.left_out = Some((seq, why));
            logs.list.remove(0);
        }
        if logs.list.is_empty() {
            let path = files.path(Role::Log);
            let nothing = || PathError::Io { path, source: io::Error::new(io::ErrorKind::NotFound, "there is no log") };
            return Err(first_error.unwrap_or_else(nothing));
        }
        logs.find_ends()?;
        Ok(logs)
    }

    /// Finds out where each log but the last one ends. A log that is finished ends with its file; only if the next one
    /// says otherwise it has to be read.
    fn find_ends(&mut self) -> Result<(), PathError> {
        for i in 1..self.list.len() {
            let Some(continued_at) = self.list.get(i).map(|log| u64::from(log.segment.prev_file_offset)) else { break };
            let Some(log) = self.list.get_mut(i - 1) else { break };
            let size = log.stream.stat.size;
            log.segment.end = Some(match size == continued_at {
                true => size,
                false => {
                    let mut reader = LogStream::open(&log.path).map_err(|e| PathError::io(&log.path, e))?;
                    walk(&mut reader, |_| true).map_err(|e| PathError::io(&log.path, e))?.offset
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
        let begin = (log.segment.records_at, log.segment.initial_modseq);
        log.stream.seek(begin.0, begin.1);
        let end = walk(&mut log.stream, |record| !finder.record(record)).map_err(|e| PathError::io(&log.path, e))?;
        let offset = finder.finish(end.offset, log.stream.modseq());
        log.stream.seek(begin.0, begin.1);
        Ok(Ok((i, LogPos { seq: log.segment.seq, offset })))
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
        let (mut problems, mut damaged) = (Vec::new(), Vec::new());
        let continued: Vec<Option<u64>> =
            self.list.iter().skip(1).map(|log| Some(u64::from(log.segment.prev_file_offset))).chain([None]).collect();
        'files: for (i, log) in self.list.iter_mut().enumerate().skip(first) {
            log.stream.seek(log.segment.records_at, log.segment.initial_modseq);
            let seq = log.segment.seq;
            let mut result = Ok(true);
            let mut invalid = false;
            loop {
                let end = walk(&mut log.stream, |record| {
                    if let Some(error) = record.fatal_error().filter(|_| !invalid) {
                        invalid = true;
                        damaged.push(LogPos { seq, offset: record.offset });
                        problems.push((log.path.clone(), error.to_string()));
                    }
                    result = take(i, seq, record);
                    matches!(result, Ok(true))
                })?;
                if !std::mem::replace(&mut result, Ok(true))? {
                    break 'files;
                }
                let Some(error) = &end.error else { break };
                let live = i == last
                    && end.reason == EndReason::Partial
                    && tail_state(&log.path, &log.stream.stat).is_ok_and(|state| state == TailState::BeingWritten);
                if live {
                    break;
                }
                let passed = continued.get(i).is_some_and(|at| *at == Some(end.offset));
                damaged.extend((!passed).then_some(LogPos { seq, offset: end.offset }));
                match log.stream.resynchronize(end.offset.saturating_add(1))? {
                    Some(at) => {
                        problems.push((log.path.clone(), format!("{error}; reading goes on at offset {at}")));
                        log.stream.seek(at, 0);
                    }
                    None => {
                        problems.push((log.path.clone(), error.to_string()));
                        break;
                    }
                }
            }
        }
        // Several passes find the same damage.
        problems.retain(|problem| !self.problems.contains(problem));
        self.problems.extend(problems);
        damaged.retain(|pos| !self.damaged.contains(pos));
        self.damaged.extend(damaged);
        Ok(())
    }
}

/// Reads records until there is none, or until `take` says so; says where that is.
fn walk(stream: &mut LogStream, mut take: impl FnMut(&Record<'_>) -> bool) -> io::Result<LogEnd> {
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
