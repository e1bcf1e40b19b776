//! Replaying the logs onto a state (`mail_index_sync_map`): from which record to which, and what is left to do at the
//! end.

use super::LogPos;
use super::apply::{Past, Run, raise_all, raise_range};
use super::chain::{Chain, ChainFile, Lost};
use super::mailbox::{Mailbox, ModseqHeader};
use super::sync::{Ignored, SyncError};
use crate::format::Flaw;
use crate::format::changes::Effect;
use crate::format::index::header_flag;
use crate::format::record::{Record, flag};

/// How far to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// To the end of the last log.
    End,
    /// To this position, which must be a record boundary.
    Pos(LogPos),
    /// To just before the first record that raises the modseq above this.
    Modseq(u64),
}

/// The outcome of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The state.
    pub mailbox: Mailbox,
    /// Where the replay ended.
    pub position: LogPos,
    /// The log's modseq there.
    pub log_modseq: u64,
    /// Records that Dovecot would have complained about and skipped.
    pub errors: Vec<SyncError>,
    /// Records whose changes Dovecot ignores without a word.
    pub ignored: Vec<Ignored>,
    /// A record that makes a released Dovecot stop reading and mark the log corrupted, or one that asks for more work
    /// than any log of that size needs; nothing after it was applied.
    pub stopped: Option<Flaw>,
}

impl Replayed {
    /// HIGHESTMODSEQ: the modseq header's if there is one, else the log's, at least 1.
    pub fn highest_modseq(&self) -> u64 {
        let header = self.mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
        if header != 0 { header } else { self.log_modseq.max(1) }
    }

    /// The modseq of the message at position `i`, as IMAP FETCH MODSEQ reports it (`mail_index_modseq_lookup`).
    pub fn message_modseq(&self, i: usize) -> u64 {
        match self.mailbox.record_modseq(i) {
            None => self.log_modseq.max(1),
            Some(0) => self.highest_modseq(),
            Some(modseq) => modseq,
        }
    }
}

impl Chain<'_> {
    /// Replays the logs onto a state read from an index, or from nothing (`Mailbox::empty`).
    ///
    /// # Errors
    /// [`Lost`] when the logs do not reach back to the state's position.
    pub fn replay(&self, mut mailbox: Mailbox, until: Until) -> Result<Replayed, Lost> {
        let from = (mailbox.header.log_file_seq, u64::from(mailbox.header.log_file_head_offset));
        let start = self.start(from.0, from.1)?;
        let tracker = TailTracker::new(self, &mailbox);
        let known = mailbox.modseq_header();
        let mut modseq = self.modseq_at(start.file, start.offset, known);
        let had_dirty = mailbox.header.flags & header_flag::HAVE_DIRTY != 0;
        mailbox.header.flags &= !header_flag::HAVE_DIRTY;
        let first = &self.files[start.file];
        let mut position = LogPos { seq: first.seq(), offset: start.offset };
        if start.reset {
            let fscked = mailbox.header.flags & header_flag::FSCKD;
            mailbox = Mailbox::empty(first.log.header.indexid, first.log.endian);
            mailbox.header.flags |= fscked;
            mailbox.header.log_file_seq = first.seq();
        }
        let mut run = Run::begin(self, &mut mailbox, position, modseq);
        let mut stopped = None;
        let mut reached = match until {
            Until::Pos(pos) => position >= pos,
            Until::Modseq(limit) => modseq > limit,
            Until::End => false,
        };
        'files: for (i, file) in self.files.iter().enumerate().skip(start.file) {
            if reached {
                break;
            }
            let mut scan = if i == start.file { file.records().from(start.offset, modseq) } else { file.records() };
            position = LogPos { seq: file.seq(), offset: scan.pos() };
            modseq = scan.modseq();
            loop {
                if let Until::Pos(pos) = until
                    && position >= pos
                {
                    reached = true;
                    continue 'files;
                }
                let Some(record) = scan.next() else { break };
                if let Until::Modseq(limit) = until
                    && record.modseq > limit
                {
                    reached = true;
                    continue 'files;
                }
                if let Some(error) = record.fatal_error() {
                    stopped = Some(error);
                    break 'files;
                }
                mailbox.apply(&record, position, &mut run);
                if run.is_exhausted() {
                    stopped = Some(too_much_work(&record));
                    break 'files;
                }
                modseq = record.modseq;
                position.offset = record.end();
            }
        }
        let errors = std::mem::take(&mut run.errors);
        let ignored = std::mem::take(&mut run.ignored);
        let max_tail = match self.position_of(position.seq) {
            Some(file) => tracker.run(&self.files[file], position.offset),
            None => 0,
        };
        mailbox.finish(position, modseq, max_tail, had_dirty);
        Ok(Replayed { mailbox, position, log_modseq: modseq, errors, ignored, stopped })
    }
}

fn too_much_work(record: &Record<'_>) -> Flaw {
    Flaw::new(
        crate::format::FileKind::Log,
        record.offset,
        crate::format::FlawKind::ReplayWork,
        "changes in proportion to the size of the files",
        "records that change everything over and over",
    )
}

impl Past for Chain<'_> {
    fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.bytes.len()).sum()
    }

    fn catch_up(&self, mailbox: &mut Mailbox, run: &mut Run<'_>) {
        let Some(header) = mailbox.modseq_header() else { return };
        let seen = LogPos { seq: header.log_seq, offset: u64::from(header.log_offset) };
        // Finding the position means reading the log from its start.
        if run.pos <= seen || !run.spend(self.bytes()) {
            return;
        }
        let start = self.start(header.log_seq.max(1), u64::from(header.log_offset)).ok();
        let highest = header.highest_modseq;
        let (file, offset, modseq) = match start {
            Some(start) => {
                raise_all(mailbox, highest, true, run);
                let modseq = self.modseq_at(start.file, start.offset, None);
                (start.file, start.offset, modseq)
            }
            None => {
                let Some(file) = self.position_of(run.pos.seq) else { return };
                let initial = self.files[file].log.header.initial_modseq;
                raise_all(mailbox, initial.max(highest), false, run);
                (file, self.files[file].log.records_at, initial)
            }
        };
        for record in self.records_between(file, offset, modseq, run.pos) {
            if !run.spend(record.bytes.len() / 4) {
                return;
            }
            for change in record.changes(None) {
                match change.effect {
                    Effect::Append { .. } | Effect::Flags(_) | Effect::Keyword { .. } | Effect::KeywordReset => {
                        raise_range(mailbox, change.uid1, change.uid2, record.modseq, run);
                    }
                    Effect::Expunge { .. }
                    | Effect::Extension { .. }
                    | Effect::Increment { .. }
                    | Effect::Modseq { .. } => {}
                }
            }
        }
    }
}

impl Mailbox {
    /// The end of a replay (`mail_index_sync_map`): positions, the dirty flag, the modseq header.
    fn finish(&mut self, pos: LogPos, modseq: u64, max_tail: u64, had_dirty: bool) {
        self.compact();
        if had_dirty && self.header.flags & header_flag::HAVE_DIRTY == 0 {
            let dirty = self.positions().any(|i| self.flags(i) & flag::DIRTY != 0);
            if dirty {
                self.header.flags |= header_flag::HAVE_DIRTY;
            }
        }
        let offset = u32::try_from(pos.offset).unwrap_or(u32::MAX);
        if let Some(old) = self.modseq_header()
            && (old.log_seq, old.log_offset) < (pos.seq, offset)
        {
            self.set_modseq_header(ModseqHeader { highest_modseq: modseq, log_seq: pos.seq, log_offset: offset });
        }
        if self.header.log_file_seq != pos.seq {
            self.header.log_file_seq = pos.seq;
            self.header.log_file_tail_offset = 0;
        }
        self.header.log_file_head_offset = offset;
        let max_tail = u32::try_from(max_tail).unwrap_or(u32::MAX);
        self.header.log_file_tail_offset = self.header.log_file_tail_offset.max(max_tail);
    }
}

/// Follows the tail offset through a log (`log_file_track_sync`): all requests before it have been executed.
#[derive(Clone, Copy, Debug)]
struct TailTracker {
    seq: u32,
    from: Option<u64>,
    tail: u64,
}

impl TailTracker {
    /// Starts where Dovecot would start reading with this index (`mail_transaction_log_file_skip_to_head`).
    fn new(chain: &Chain<'_>, mailbox: &Mailbox) -> TailTracker {
        let header = &mailbox.header;
        let seq = header.log_file_seq;
        let Some(file) = chain.position_of(seq).filter(|_| header.log_file_head_offset != 0) else {
            return TailTracker { seq: 0, from: None, tail: 0 };
        };
        let file = &chain.files[file];
        let head = u64::from(header.log_file_head_offset);
        let from = match mailbox.modseq_header() {
            None if file.log.header.initial_modseq == 0 => Some(head),
            Some(known) if known.log_seq == seq && u64::from(known.log_offset) <= head => {
                Some(u64::from(known.log_offset))
            }
            _ => None,
        };
        TailTracker { seq, from, tail: u64::from(header.log_file_tail_offset) }
    }

    fn run(self, file: &ChainFile<'_>, end: u64) -> u64 {
        let (from, start) = if file.seq() == self.seq { (self.from, self.tail) } else { (None, 0) };
        let (mut published, mut tail) = (start, start);
        let scan = match from {
            Some(from) => file.records().from(from.max(file.log.records_at), 0),
            None => file.records(),
        };
        for record in scan.take_while(|record| record.offset < end) {
            if !record.external() {
                continue;
            }
            if let Some((_, value)) = record.published_tail() {
                let value = u64::from(value);
                if value >= published && value <= record.end() {
                    published = value;
                    tail = tail.max(value);
                }
                continue;
            }
            if tail == record.offset {
                tail = record.end();
            }
        }
        tail
    }
}
