//! A transaction log read in pieces, in memory that does not grow with the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};

use super::meta::Stat;
use super::named::open;
use super::tail::Tail;
use crate::format::Disk;
use crate::format::log::{EndReason, Framer, LogEnd, LogFile, LogHeader, Step, resynchronize};
use crate::format::walk::{Passage, Records, StreamStep, walk};

/// Bytes read at a time: large enough to make the system calls cheap, small enough to stay in a core's cache.
const CHUNK: usize = 256 << 10;

/// Bytes looked at together when records have to be found again.
const SEARCH: usize = 4 << 20;
/// Bytes of an unfinished record that [`LogStream::blocks`] takes over into the next block.
const CARRY: usize = 64 << 10;

/// What a walk does where the records of a log end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Says what is there and looks for records behind it.
    Search,
    /// The same, but the file may be in the middle of a write at this time, UNIX seconds.
    Live(i64),
    /// Leaves it: more may come.
    Wait,
}

/// Reads the records of a log one by one.
#[derive(Debug)]
pub struct LogStream {
    file: File,
    /// The file's header.
    pub log: LogFile,
    /// The file's state when it was opened.
    pub stat: Stat,
    framer: Framer,
    /// Bytes read at a time.
    chunk: usize,
    buf: Vec<u8>,
    filled: usize,
    base: u64,
}

impl LogStream {
    /// Opens a log.
    ///
    /// # Errors
    /// As open(2) and read(2), or when the file is not a log (`InvalidData`, carrying a `Flaw`).
    pub fn open(path: &Path) -> io::Result<LogStream> {
        LogStream::open_with(path, CHUNK)
    }

    /// Reads a log that is open.
    ///
    /// # Errors
    /// As read(2), or when the file is not a log (`InvalidData`, carrying a `Flaw`).
    pub fn of(file: File) -> io::Result<LogStream> {
        LogStream::of_with(file, CHUNK)
    }

    /// Opens a log to be read through a window of `chunk` bytes, at least the 40 of the header.
    ///
    /// # Errors
    /// As [`open`](LogStream::open).
    pub fn open_with(path: &Path, chunk: usize) -> io::Result<LogStream> {
        LogStream::of_with(open(path)?, chunk)
    }

    fn of_with(file: File, chunk: usize) -> io::Result<LogStream> {
        let stat = Stat::of(&file)?;
        let chunk = chunk.max(LogHeader::SIZE);
        let mut buf = vec![0; chunk];
        let filled = read_at(&file, &mut buf, 0)?;
        let size = stat.size.max(filled as u64);
        let log = LogFile::parse(&buf[..filled], size).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let framer = log.framer();
        Ok(LogStream { file, log, stat, framer, chunk, buf, filled, base: 0 })
    }

    /// What the end of the log means, where reading ended with `end`. `now` is in UNIX seconds.
    pub fn tail(&self, end: &LogEnd, now: i64) -> Tail {
        match &end.error {
            Some(_) => Tail::of_damaged(&self.file, &self.stat, now),
            None => Tail::Whole,
        }
    }

    /// Offset of the next record.
    pub fn pos(&self) -> u64 {
        self.framer.pos
    }

    /// The log's modseq before the next record.
    pub fn modseq(&self) -> u64 {
        self.framer.modseq
    }

    /// The framer, at the next record.
    pub fn framer(&self) -> &Framer {
        &self.framer
    }

    /// Goes to `pos`, where the log's modseq is `modseq`.
    pub fn seek(&mut self, pos: u64, modseq: u64) {
        self.framer.pos = pos;
        self.framer.modseq = modseq;
    }

    /// Finds the next place at or after `from` where plausible records start again: as
    /// [`resynchronize`](crate::format::log::resynchronize), but through a window of the file. Behind damage a record
    /// longer than that window is not found.
    ///
    /// # Errors
    /// As read(2).
    pub fn resynchronize(&mut self, from: u64) -> io::Result<Option<u64>> {
        let from = from.checked_next_multiple_of(4).unwrap_or(u64::MAX);
        if from >= self.framer.size {
            return Ok(None);
        }
        // What was read is looked at before anything is read again: a log may be damaged in many places.
        if let Some(at) = self.search_buffer(from) {
            return Ok(Some(at));
        }
        self.fill(from, 0)?;
        if let Some(at) = self.search_buffer(from) {
            return Ok(Some(at));
        }
        let mut window = vec![0; SEARCH];
        let mut base = from;
        while base < self.framer.size {
            let filled = read_at(&self.file, &mut window, base)?;
            let found = resynchronize(&window[..filled], 0, self.log.endian);
            let last = filled < window.len();
            // A chain that begins late in the window may not fit into it, and one that ends with it proves nothing.
            let far = (SEARCH / 2) as u64;
            match found.filter(|at| last || *at < far) {
                Some(at) => return Ok(Some(base + at)),
                None if last => return Ok(None),
                None => base += far,
            }
        }
        Ok(None)
    }

    fn search_buffer(&self, from: u64) -> Option<u64> {
        let skip = usize::try_from(from.checked_sub(self.base)?).ok()?;
        let rest = self.buf.get(..self.filled)?.get(skip..)?;
        let at = resynchronize(rest, 0, self.log.endian)?;
        let is_last = self.base + self.filled as u64 >= self.framer.size;
        let is_early = at < (rest.len() as u64).saturating_sub((CHUNK / 4) as u64);
        (is_last || is_early).then_some(from + at)
    }

    /// Takes a new look at the size of the file, so that records appended since can be read.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn refresh(&mut self) -> io::Result<Stat> {
        let stat = Stat::of(&self.file)?;
        self.framer.size = stat.size;
        // What was read beyond whole records may have been half written.
        let keep = usize::try_from(self.framer.pos.saturating_sub(self.base)).unwrap_or(0);
        self.filled = self.filled.min(keep);
        Ok(stat)
    }

    /// The next record, or why there is none.
    ///
    /// # Errors
    /// As read(2).
    #[inline]
    pub fn step(&mut self) -> io::Result<StreamStep<'_>> {
        if let Some((at, len)) = self.framer.lacking(&self.buf[..self.filled], self.base) {
            self.fill(at, len)?;
        }
        Ok(match self.framer.step(&self.buf[..self.filled], self.base) {
            Step::Record(record) => StreamStep::Record(record),
            Step::End(end) => StreamStep::End(end),
            Step::NeedMore { at, len } => StreamStep::End(LogEnd::shrank(at, len)),
        })
    }

    /// [`walk`]s over the records from here on.
    ///
    /// # Errors
    /// As read(2). The inner error is that of `visit`.
    pub fn walk<E>(
        &mut self,
        at_end: AtEnd,
        visit: impl FnMut(Passage<'_, '_>) -> Result<bool, E>,
    ) -> io::Result<Result<bool, E>> {
        let is_being_written = |stream: &LogStream, end: &LogEnd| match at_end {
            AtEnd::Live(now) => Some(end.reason == EndReason::Partial && stream.tail(end, now) == Tail::BeingWritten),
            AtEnd::Search => Some(false),
            AtEnd::Wait => None,
        };
        walk(self, is_being_written, visit)
    }

    /// Reads the file on a thread of its own and hands out its bytes from the next record on, block by block. `take`
    /// gets a block and says how many of its bytes it has used up; the rest comes again in front of the next block. It
    /// ends the reading with `None`, as does a rest of more than `CARRY` bytes. Returns how many bytes were used.
    ///
    /// # Errors
    /// As read(2).
    pub fn blocks(&self, mut take: impl FnMut(&[u8]) -> Option<usize>) -> io::Result<u64> {
        let (to, blocks) = sync_channel::<io::Result<Vec<u8>>>(1);
        let (back, spare) = channel::<Vec<u8>>();
        let (start, end) = (self.framer.pos, self.framer.size);
        let read = |at: u64, mut block: Vec<u8>| {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
            block.resize(CARRY + want, 0);
            let read = read_at(&self.file, block.get_mut(CARRY..).unwrap_or_default(), at);
            block.truncate(CARRY + *read.as_ref().unwrap_or(&0));
            read.map(|_| block)
        };
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new().spawn_scoped(scope, move || {
                let mut at = start;
                while at < end {
                    let block = read(at, spare.try_recv().unwrap_or_default());
                    let filled = block.as_ref().map_or(0, |block| block.len().saturating_sub(CARRY));
                    at += filled as u64;
                    if to.send(block).is_err() || filled == 0 {
                        return;
                    }
                }
            });
            let (mut rest, mut used, mut at) = (Vec::new(), 0, start);
            loop {
                let block = match &reader {
                    Ok(_) => blocks.recv().ok(),
                    // The system gives us no second thread.
                    Err(_) => (at < end).then(|| read(at, Vec::new())),
                };
                let Some(mut block) = block.transpose()?.filter(|block| block.len() > CARRY) else { break };
                at += (block.len() - CARRY) as u64;
                let from = CARRY.saturating_sub(rest.len());
                let Some(room) = block.get_mut(from..CARRY).filter(|room| room.len() == rest.len()) else { break };
                room.copy_from_slice(&rest);
                let window = block.get(from..).unwrap_or_default();
                let Some(n) = take(window) else { break };
                used += n as u64;
                rest.clear();
                rest.extend_from_slice(window.get(n..).unwrap_or_default());
                let _ = back.send(block);
            }
            drop(blocks);
            Ok(used)
        })
    }

    /// Reads so that at least `len` bytes from `at` on are in the buffer, if the file has them.
    #[cold]
    fn fill(&mut self, at: u64, len: u64) -> io::Result<()> {
        let mut wanted = len;
        // Twice: once for the record's size, once for the record.
        for _ in 0..2 {
            let want =
                usize::try_from(wanted).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?.max(self.chunk);
            if self.buf.len() < want {
                self.buf.try_reserve_exact(want - self.buf.len())?;
                self.buf.resize(want, 0);
            } else if self.buf.len() > want {
                self.buf.truncate(want);
                self.buf.shrink_to_fit();
            }
            self.filled = read_at(&self.file, &mut self.buf, at)?;
            self.base = at;
            match self.framer.lacking(&self.buf[..self.filled], self.base) {
                Some((_, more)) if more > self.filled as u64 => wanted = more,
                _ => break,
            }
        }
        Ok(())
    }
}

impl Records for LogStream {
    type Error = io::Error;
    fn place(&self) -> (u64, u64) {
        (self.pos(), self.modseq())
    }
    fn seek(&mut self, pos: u64, modseq: u64) {
        self.seek(pos, modseq);
    }
    #[inline]
    fn step(&mut self) -> io::Result<StreamStep<'_>> {
        self.step()
    }
    fn resynchronize(&mut self, from: u64) -> io::Result<Option<u64>> {
        self.resynchronize(from)
    }
}

/// Fills `buf` from offset `at`, as far as the file goes.
pub(super) fn read_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
