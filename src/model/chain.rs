//! The log files of a mailbox as one history: their order and where reading starts (`mail-transaction-log-view.c`).

use super::LogPos;
use super::mailbox::ModseqHeader;
use crate::format::log::{LogEnd, LogFile};
use crate::format::record::Record;

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
        let eof = LogEnd { offset: scan.pos(), reason: crate::format::log::EndReason::Eof, error: None };
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
}

/// The log files of a mailbox, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Chain<'a> {
    /// The files by rising `file_seq`.
    pub files: Vec<ChainFile<'a>>,
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
    /// Puts log files in order. Of two with the same number the first given wins.
    pub fn new(files: impl IntoIterator<Item = ChainFile<'a>>) -> Chain<'a> {
        let mut list: Vec<ChainFile<'a>> = Vec::new();
        for file in files {
            if !list.iter().any(|other| other.seq() == file.seq()) {
                list.push(file);
            }
        }
        list.sort_by_key(ChainFile::seq);
        Chain { files: list }
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

    /// The files from the last one that starts from an empty mailbox on, when they follow each other without a gap: what a
    /// mailbox can be built from with nothing but logs.
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

    /// The log's modseq at a position (`mail_transaction_log_file_get_highest_modseq_at`). `known` is the index's modseq
    /// header, from which Dovecot counts on when it lies in the same file.
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

    /// The records from (`file`, `offset`) up to but not including `end`, across files. `modseq` is the log's modseq at the
    /// start.
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
