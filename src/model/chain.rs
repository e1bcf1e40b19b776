//! The log files of a mailbox as one history: their order, where reading starts, and how far back they reach
//! (`mail-transaction-log.c`, `mail-transaction-log-view.c`). The one place that answers these, for logs in memory
//! ([`Chain`]) and for streams of which only the headers are known ([`Segment`]).
//!
//! `.log` is the newest log whatever `.log.2` says of itself: files of different lives are not put in order by their
//! numbers.

use super::LogPos;
use super::mailbox::{Mailbox, ModseqHeader};
use crate::format::log::{EndReason, LogEnd, LogFile, starts_empty};
use crate::format::record::Record;
use crate::format::{Endian, Flaw};

/// One log file, wholly in memory.
#[derive(Clone, Debug)]
pub struct ChainFile<'a> {
    /// Its header.
    pub log: LogFile,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Where its whole transactions end, and why: Dovecot's `sync_offset`.
    pub end: LogEnd,
    /// The modseq there.
    pub end_modseq: u64,
}

impl<'a> ChainFile<'a> {
    /// Frames a log from start to end.
    pub fn new(log: LogFile, bytes: &'a [u8]) -> ChainFile<'a> {
        let mut scan = log.records(bytes);
        scan.by_ref().for_each(drop);
        let end_modseq = scan.modseq();
        let eof = LogEnd { offset: scan.pos(), reason: EndReason::Eof, error: None };
        let end = scan.end().cloned().unwrap_or(eof);
        ChainFile { log, bytes, end, end_modseq }
    }

    /// `file_seq`.
    pub fn seq(&self) -> u32 {
        self.log.header.file_seq
    }

    /// The records from the start of the file.
    pub fn records(&self) -> crate::format::log::Scan<'a> {
        self.log.records(self.bytes)
    }

    /// The first place at or after an offset where the file does not decode, and why; `None` when it does to its end.
    pub fn damage_since(&self, from: u64) -> Option<(u64, Flaw)> {
        let later = self.records().filter(|record| record.offset >= from);
        let broken = later.filter_map(|record| Some((record.offset, record.flaw()?))).next();
        broken.or_else(|| self.end.error.as_ref().map(|error| (self.end.offset, error.clone())))
    }
}

/// One log file as far as its place among the others is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `file_seq`.
    pub seq: u32,
    /// `indexid`; 0 when the log was marked corrupted.
    pub indexid: u32,
    /// Log that this one continues; 0: it starts from an empty index.
    pub prev_file_seq: u32,
    /// Where that log ended, if this is to be held against it.
    pub prev_file_offset: u32,
    /// Highest modseq when the file was created.
    pub initial_modseq: u64,
    /// Offset of the first record.
    pub records_at: u64,
    /// Where the file's whole transactions end; `None` while that has not been read.
    pub end: Option<u64>,
}

impl Segment {
    /// The segment of a log in memory.
    pub fn of(file: &ChainFile<'_>) -> Segment {
        Segment { end: Some(file.end.offset), ..Segment::of_header(&file.log) }
    }

    /// The segment of a log of which only the header has been read.
    pub fn of_header(log: &LogFile) -> Segment {
        let header = &log.header;
        Segment {
            seq: header.file_seq,
            indexid: header.indexid,
            prev_file_seq: header.prev_file_seq,
            prev_file_offset: header.prev_file_offset,
            initial_modseq: header.initial_modseq,
            records_at: log.records_at,
            end: None,
        }
    }

    /// The position it continues.
    pub fn prev(&self) -> LogPos {
        LogPos { seq: self.prev_file_seq, offset: u64::from(self.prev_file_offset) }
    }

    /// True when the log continues none: the index was created with it, or begun anew. That the *mailbox* was empty
    /// then is another claim, see [`Births`](super::reach::Births).
    pub fn starts_empty(&self) -> bool {
        starts_empty(self.prev_file_seq, self.prev_file_offset)
    }
}

/// Why `.log` does not continue the `.log.2` beside it, or another log that should have come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlinked {
    /// `.log` begins an index of its own.
    #[error("log {new} starts from an empty index: what is older counts for nothing")]
    Reset {
        /// Number of `.log`.
        new: u32,
    },
    /// There is no `.log.2`.
    #[error("log {wanted} is gone")]
    Gone {
        /// The log that is missing.
        wanted: u32,
    },
    /// `.log.2` is another log than the one before `.log`.
    #[error("log {wanted} is gone: .log.2 contains file_seq={have}")]
    Number {
        /// The log that is missing.
        wanted: u32,
        /// Number of `.log.2`.
        have: u32,
    },
    /// `.log.2` is of another life of the mailbox.
    #[error("log {seq} has indexid {have} instead of {want}")]
    Foreign {
        /// Number of `.log.2`.
        seq: u32,
        /// Its `indexid`.
        have: u32,
        /// That of `.log`.
        want: u32,
    },
    /// `.log.2` does not end where `.log` begins.
    #[error("Invalid transaction log size ({end} vs {want}): log {seq}")]
    Size {
        /// Number of `.log.2`.
        seq: u32,
        /// Where it ends.
        end: u64,
        /// Where it ended when `.log` was begun.
        want: u32,
    },
}

/// Whether `new` continues `old`, as Dovecot decides it (`mail_transaction_log_find_file`,
/// `mail_transaction_log_view_set`).
///
/// # Errors
/// [`Unlinked`] when it does not.
pub fn follows(old: Option<&Segment>, new: &Segment) -> Result<(), Unlinked> {
    if new.starts_empty() {
        return Err(Unlinked::Reset { new: new.seq });
    }
    let wanted = new.seq.wrapping_sub(1);
    let Some(old) = old else { return Err(Unlinked::Gone { wanted }) };
    if old.indexid != new.indexid && new.indexid != 0 {
        return Err(Unlinked::Foreign { seq: old.seq, have: old.indexid, want: new.indexid });
    }
    if old.seq != wanted {
        return Err(Unlinked::Number { wanted, have: old.seq });
    }
    match old.end {
        Some(end) if new.prev_file_seq == old.seq && u64::from(new.prev_file_offset) != end => {
            Err(Unlinked::Size { seq: old.seq, end, want: new.prev_file_offset })
        }
        _ => Ok(()),
    }
}

/// Whether `.log.2` belongs before `.log` at all. One that merely does not end where it should is kept: what a damaged
/// end hides is said where it matters.
///
/// # Errors
/// [`Unlinked`] when it is to be left out of every answer.
pub fn belongs(old: &Segment, log: &Segment) -> Result<(), Unlinked> {
    match follows(Some(old), log) {
        Ok(()) | Err(Unlinked::Size { .. }) => Ok(()),
        Err(why) => Err(why),
    }
}

/// Of files in order, oldest first, the oldest from which each continues the one before it, up to the newest.
pub fn oldest_linked(segments: &[Segment]) -> Option<usize> {
    let mut i = segments.len().checked_sub(1)?;
    while let Some(older) = i.checked_sub(1) {
        if follows(segments.get(older), segments.get(i)?).is_err() {
            break;
        }
        i = older;
    }
    Some(i)
}

/// The log files of a mailbox, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Chain<'a> {
    /// The files.
    pub files: Vec<ChainFile<'a>>,
    /// Number of the `.log.2` that is not among them, and why.
    pub left_out: Option<(u32, Unlinked)>,
    /// True when the unfinished end of the newest log is being written: it is no damage.
    pub live: bool,
}

/// Where a replay has to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Position in [`Chain::files`].
    pub file: usize,
    /// Byte offset in that file.
    pub offset: u64,
    /// True when the log starts from an empty mailbox there: what an index says counts for nothing.
    pub reset: bool,
}

/// The logs do not reach back to the position a replay would have to start from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Lost log for seq={seq} offset={offset}: {reason}")]
pub struct Lost {
    /// Wanted log.
    pub seq: u32,
    /// Wanted offset.
    pub offset: u64,
    /// Why it cannot be had.
    pub reason: String,
}

impl<'a> Chain<'a> {
    /// The two logs of a mailbox by their roles: `.log` is the newest, and `.log.2` comes before it if it belongs
    /// there.
    pub fn of(log: Option<ChainFile<'a>>, old: Option<ChainFile<'a>>) -> Chain<'a> {
        let left_out = match (&log, &old) {
            (Some(log), Some(old)) => belongs(&Segment::of(old), &Segment::of(log)).err().map(|why| (old.seq(), why)),
            _ => None,
        };
        let old = old.filter(|_| left_out.is_none());
        Chain { files: old.into_iter().chain(log).collect(), left_out, live: false }
    }

    /// Logs of one life whose roles nobody tells, by their numbers. Of two with the same number the first given wins.
    pub fn new(files: impl IntoIterator<Item = ChainFile<'a>>) -> Chain<'a> {
        let mut list: Vec<ChainFile<'a>> = Vec::new();
        for file in files {
            if !list.iter().any(|other| other.seq() == file.seq()) {
                list.push(file);
            }
        }
        list.sort_by_key(ChainFile::seq);
        Chain { files: list, left_out: None, live: false }
    }

    /// The files as far as their order is concerned.
    pub fn segments(&self) -> Vec<Segment> {
        self.files.iter().map(Segment::of).collect()
    }

    /// The mailbox before the first record of the logs.
    pub fn empty_mailbox(&self) -> Mailbox {
        let head = self.head();
        let indexid = head.map_or(0, |file| file.log.header.indexid);
        let mut mailbox = Mailbox::empty(indexid, head.map_or(Endian::default(), |file| file.log.endian));
        if let Some(first) = self.files.first().filter(|file| file.log.header.starts_empty()) {
            mailbox.header.log_file_seq = first.log.header.prev_file_seq.max(1);
        }
        mailbox
    }

    /// The first place at or after a position where the logs do not decode. The end of a log that is being written is
    /// none, nor is what stands in an older log behind the place where the next one goes on.
    pub fn damage_since(&self, from: LogPos) -> Option<(LogPos, Flaw)> {
        let newer = self.files.iter().skip(1).map(Some).chain([None]);
        self.files.iter().zip(newer).filter(|(file, _)| file.seq() >= from.seq).find_map(|(file, newer)| {
            let begin = if file.seq() == from.seq { from.offset } else { 0 };
            let (offset, error) = file.damage_since(begin)?;
            let at_end = offset == file.end.offset;
            let harmless = match newer {
                None => self.live && file.end.reason == EndReason::Partial,
                Some(newer) => follows(Some(&Segment::of(file)), &Segment::of(newer)).is_ok(),
            };
            (!(at_end && harmless)).then_some((LogPos { seq: file.seq(), offset }, error))
        })
    }

    /// Forgets what the logs hold from a position on, at which a record begins or ends.
    pub fn cut(&mut self, end: LogPos) {
        self.files.retain(|file| file.seq() <= end.seq);
        let Some(file) = self.files.last_mut().filter(|file| file.seq() == end.seq) else { return };
        let bytes = usize::try_from(end.offset).ok().and_then(|end| file.bytes.get(..end)).unwrap_or(file.bytes);
        let log = LogFile { size: bytes.len() as u64, ..file.log.clone() };
        *file = ChainFile::new(log, bytes);
        self.live = false;
    }

    /// The newest file.
    pub fn head(&self) -> Option<&ChainFile<'a>> {
        self.files.last()
    }

    /// Position of the file with that number.
    pub fn position_of(&self, seq: u32) -> Option<usize> {
        self.files.iter().position(|file| file.seq() == seq)
    }

    /// The end of the newest log.
    pub fn end(&self) -> LogPos {
        self.head().map_or(LogPos::default(), |file| LogPos { seq: file.seq(), offset: file.end.offset })
    }

    /// The files from the last one that starts from an empty mailbox on, when they follow each other without a gap:
    /// what a mailbox can be built from with nothing but logs.
    pub fn complete_from(&self) -> Option<usize> {
        let start = self.files.iter().rposition(|file| file.log.header.starts_empty())?;
        self.links_hold(start).then_some(start)
    }

    /// True when each file from `start` on begins where the one before it ends.
    pub fn links_hold(&self, start: usize) -> bool {
        self.files.get(start..).unwrap_or_default().windows(2).all(|pair| match pair {
            [old, new] => {
                new.log.header.prev_file_seq == old.seq()
                    && u64::from(new.log.header.prev_file_offset) == old.end.offset
            }
            _ => true,
        })
    }

    /// Finds where reading has to start for a map that is at (`seq`, `offset`), by the rules of
    /// `mail_transaction_log_view_set`.
    ///
    /// # Errors
    /// [`Lost`] when the logs do not reach back to that position.
    pub fn start(&self, seq: u32, offset: u64) -> Result<Start, Lost> {
        let lost = |reason: String| Lost { seq, offset, reason };
        let Some(head) = self.head() else { return Err(lost("no log file".into())) };
        let (mut want, mut at) = (seq, offset);
        let next = self.files.iter().find(|file| file.log.header.prev_file_seq == seq);
        if let Some(file) = next
            && u64::from(file.log.header.prev_file_offset) == offset
        {
            (want, at) = (file.seq(), file.log.records_at);
        }
        if want > head.seq() {
            return Err(lost(format!("Requested newer log than exists ({})", head.seq())));
        }
        let mut tail = None;
        let mut expected = want;
        for (i, file) in self.files.iter().enumerate().filter(|(_, file)| file.seq() >= want) {
            if file.seq() != expected {
                if file.log.header.prev_file_seq != 0 {
                    // A later file may still start from nothing.
                    match self.files.iter().skip(i).position(|later| later.log.header.prev_file_seq == 0) {
                        Some(_) => continue,
                        None => return Err(lost(format!("Missing middle file seq={expected}"))),
                    }
                }
                tail = Some(i);
            }
            tail.get_or_insert(i);
            expected = file.seq().saturating_add(1);
        }
        let Some(mut cur) = tail else { return Err(lost("not found".into())) };
        let mut at = match &self.files[cur] {
            file if file.seq() != want || at == 0 => file.log.records_at,
            file if at < file.log.records_at => {
                return Err(lost(format!("offset < hdr_size ({})", file.log.records_at)));
            }
            _ => std::mem::take(&mut at),
        };
        for i in (cur..self.files.len()).rev() {
            if let Some(newer) = self.files.get(i + 1)
                && newer.log.header.prev_file_seq == self.files[i].seq()
                && u64::from(newer.log.header.prev_file_offset) != self.files[i].end.offset
            {
                return Err(lost(format!(
                    "Invalid transaction log size ({} vs {})",
                    self.files[i].end.offset, newer.log.header.prev_file_offset
                )));
            }
            let file = &self.files[i];
            if file.log.header.prev_file_seq == 0 && (i != cur || at == file.log.records_at) {
                (cur, at) = (i, file.log.records_at);
                return Ok(Start { file: cur, offset: at, reset: true });
            }
        }
        let file = &self.files[cur];
        if at > file.end.offset {
            return Err(lost(format!("Invalid offset: offset ({at}) > sync_offset ({})", file.end.offset)));
        }
        if at != file.end.offset && !file.records().any(|record| record.offset == at) {
            return Err(lost(format!("offset {at} is not a record boundary")));
        }
        Ok(Start { file: cur, offset: at, reset: false })
    }

    /// The log's modseq at a position (`mail_transaction_log_file_get_highest_modseq_at`). `known` is the index's
    /// modseq header, from which Dovecot counts on when it lies in the same file.
    pub fn modseq_at(&self, file: usize, offset: u64, known: Option<ModseqHeader>) -> u64 {
        let Some(file) = self.files.get(file) else { return 0 };
        let mut scan = file.records();
        if let Some(known) = known.filter(|known| known.log_seq == file.seq()) {
            let from = u64::from(known.log_offset);
            if (file.log.records_at..=offset).contains(&from) {
                let mut counted = file.records().from(from, known.highest_modseq);
                if advance(&mut counted, offset) {
                    return counted.modseq();
                }
            }
        }
        advance(&mut scan, offset);
        scan.modseq()
    }

    /// The records from (`file`, `offset`) up to but not including `end`, across files. `modseq` is the log's modseq at
    /// the start.
    pub fn records_between(
        &self,
        file: usize,
        offset: u64,
        modseq: u64,
        end: LogPos,
    ) -> impl Iterator<Item = Record<'a>> + '_ {
        self.files.iter().enumerate().skip(file).flat_map(move |(i, one)| {
            let scan = if i == file { one.records().from(offset, modseq) } else { one.records() };
            let seq = one.seq();
            scan.take_while(move |record| LogPos { seq, offset: record.offset } < end)
        })
    }
}

/// Advances a scan to `offset`; false when that is not a record boundary.
fn advance(scan: &mut crate::format::log::Scan<'_>, offset: u64) -> bool {
    while scan.pos() < offset {
        if scan.next().is_none() {
            return false;
        }
    }
    scan.pos() == offset
}
