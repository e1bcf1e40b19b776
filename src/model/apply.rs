//! The one meaning of a log record (`mail-index-sync-update.c`, `mail-index-modseq.c`): messages, flags, the base
//! header. Extensions are in `model/ext.rs`, keywords in `model/keywords.rs`.
//!
//! A record that Dovecot would complain about is complained about here in the same words, and skipped to the same
//! extent; what comes after it is applied. Nothing here knows of files: what a replay needs of the logs themselves it
//! asks of [`Past`].

use std::cmp::Ordering;

use super::LogPos;
use super::mailbox::{Extension, Mailbox};
use super::sync::{Ignored, SyncError, SyncKind};
use crate::format::Disk;
use crate::format::flaw::MAX_FLAWS;
use crate::format::index::header_flag;
use crate::format::intros::Introduced;
use crate::format::record::{
    Append, ExpungeGuid, ExtReset, FlagUpdate, HeaderChunk, ModseqUpdate, Record, RecordType, UidRange, flag,
};

/// The logs that a replay reads from, as far as applying a record needs them.
pub trait Past: std::fmt::Debug {
    /// Bytes of all logs.
    fn bytes(&self) -> usize;
    /// Fills in modseqs for changes between the modseq header's position and the present one
    /// (`mail_index_modseq_sync_init`).
    fn catch_up(&self, mailbox: &mut Mailbox, run: &mut Run<'_>);
}

/// The state of one replay, from one record to the next.
#[derive(Debug)]
pub struct Run<'p> {
    past: &'p dyn Past,
    /// What ext records are about: the last introduction.
    pub(super) current: Option<Introduced>,
    pub(super) unknown_ids: Vec<u32>,
    /// Bytes that headers and records may grow to: a log cannot ask for more memory than it could fill.
    pub(super) budget: usize,
    /// Steps of work left, a step being a message or a few bytes touched. A log can ask for more than any time allows:
    /// each of its records may be about every message, or lay out all records anew.
    work: u64,
    /// What Dovecot would have logged.
    pub errors: Vec<SyncError>,
    /// What Dovecot ignores without a word: introductions whose `reset_id` is not that of the extension.
    pub ignored: Vec<Ignored>,
    pub(super) pos: LogPos,
    pub(super) modseq: u64,
}

impl<'p> Run<'p> {
    /// Begins a replay of the logs `past` onto `mailbox` at `pos` (`mail_index_sync_map_init`): modseqs that an index
    /// writer left behind are caught up first.
    pub fn begin(past: &'p dyn Past, mailbox: &mut Mailbox, pos: LogPos, modseq: u64) -> Run<'p> {
        let bytes = past.bytes().saturating_add(mailbox.records_bytes()).saturating_add(mailbox.header_size());
        let mut run = Run {
            past,
            current: None,
            unknown_ids: Vec::new(),
            budget: (24 << 20) + bytes.saturating_mul(3),
            work: (64 << 20) + (bytes as u64).saturating_mul(64),
            errors: Vec::new(),
            ignored: Vec::new(),
            pos,
            modseq,
        };
        if mailbox.extension(b"modseq").is_some() {
            run.catch_up(mailbox);
        }
        run
    }

    /// The modseq header says something new: see [`Past::catch_up`].
    pub(super) fn catch_up(&mut self, mailbox: &mut Mailbox) {
        let past = self.past;
        past.catch_up(mailbox, self);
    }

    pub(super) fn error(&mut self, kind: SyncKind) {
        let kind = match self.errors.len().cmp(&MAX_FLAWS) {
            Ordering::Less => kind,
            Ordering::Equal => SyncKind::More,
            Ordering::Greater => return,
        };
        self.errors.push(SyncError { pos: self.pos, kind });
    }

    /// Takes note of work about to be done; false when there has been too much of it, and it is to be left.
    pub(super) fn spend(&mut self, steps: usize) -> bool {
        match self.work.checked_sub(steps as u64) {
            Some(left) => self.work = left,
            None => self.work = 0,
        }
        self.work > 0
    }

    /// True when the records so far have asked for more work than a log of that size can need; the last one may have
    /// been applied in part.
    pub fn is_exhausted(&self) -> bool {
        self.work == 0
    }
}

/// Sets the modseq of every message that has none to `modseq`; with `only_zero` false also of those that have a lower
/// one.
pub(super) fn raise_all(mailbox: &mut Mailbox, modseq: u64, only_zero: bool, run: &mut Run<'_>) {
    raise(mailbox, 0..mailbox.physical_len(), modseq, only_zero, run);
}

/// Raises the modseq of the messages in a UID range (`mail_index_modseq_update_to_highest`).
pub(super) fn raise_range(mailbox: &mut Mailbox, uid1: u32, uid2: u32, modseq: u64, run: &mut Run<'_>) {
    raise(mailbox, mailbox.lookup_range(uid1, uid2), modseq, false, run);
}

/// Raises the modseq of the messages at these positions, as far as the work allowed lasts.
pub(super) fn raise(
    mailbox: &mut Mailbox,
    positions: std::ops::Range<usize>,
    modseq: u64,
    only_zero: bool,
    run: &mut Run<'_>,
) {
    if !run.spend(positions.len()) {
        return;
    }
    let Some(at) = mailbox.extension(b"modseq").map(|ext| usize::from(ext.record_offset)) else { return };
    let endian = mailbox.endian;
    for i in positions {
        let record = mailbox.record_mut(i);
        let Some(old) = endian.u64_at(record, at) else { continue };
        if old == 0 || (!only_zero && old < modseq) {
            record[at..at + 8].copy_from_slice(&endian.u64_bytes(modseq));
        }
    }
}

impl Mailbox {
    /// Applies one log record. `pos` is where the record starts.
    pub fn apply(&mut self, record: &Record<'_>, pos: LogPos, run: &mut Run<'_>) {
        run.pos = pos;
        run.modseq = record.modseq;
        // Extensions are found by going through them.
        if !run.spend(1 + self.extensions.len()) {
            return;
        }
        match record.kind() {
            None => run.error(SyncKind::UnknownType(record.type_raw & crate::format::record::TYPE_MASK)),
            Some(RecordType::Append) => {
                for append in record.elements::<Append>() {
                    if !self.append(&append, run) {
                        break;
                    }
                }
            }
            Some(RecordType::Expunge) if record.external() => {
                let ranges: Vec<_> =
                    record.elements::<UidRange>().map(|range| self.lookup_range(range.uid1, range.uid2)).collect();
                ranges.into_iter().for_each(|positions| self.expunge(positions, run));
                self.compact_if_sparse();
            }
            Some(RecordType::ExpungeGuid) if record.external() => {
                for one in record.elements::<ExpungeGuid>() {
                    if let Some(i) = self.lookup(one.uid) {
                        self.expunge(i..i + 1, run);
                    }
                }
                self.compact_if_sparse();
            }
            // Without EXTERNAL this is a request: the message stays until the storage has expunged it.
            Some(RecordType::Expunge | RecordType::ExpungeGuid) => {}
            Some(RecordType::FlagUpdate) => {
                record.elements::<FlagUpdate>().for_each(|update| self.update_flags(&update, run));
            }
            Some(RecordType::HeaderUpdate) => {
                let mut chunks = record.header_chunks();
                for chunk in chunks.by_ref() {
                    if !self.update_header(&chunk, run) {
                        break;
                    }
                }
                if chunks.truncated.is_some() {
                    run.error(SyncKind::HeaderUpdateCut);
                }
            }
            Some(RecordType::ExtIntro) => {
                for intro in record.intros() {
                    if !self.introduce(&intro.intro, intro.name, false, run) {
                        break;
                    }
                }
            }
            Some(RecordType::ExtReset) => {
                if record.payload.len() < 4 {
                    run.error(SyncKind::ExtResetSize);
                } else {
                    self.reset_extension(&ExtReset::read(record.payload, record.endian), run);
                }
            }
            Some(RecordType::ExtHdr | RecordType::ExtHdr32) => {
                let mut chunks = record.header_chunks();
                for chunk in chunks.by_ref() {
                    if !self.update_ext_header(&chunk, run) {
                        return;
                    }
                }
                if chunks.truncated.is_some() {
                    run.error(SyncKind::ExtHdrSize);
                }
            }
            Some(RecordType::ExtRec) => self.update_ext_records(record, run),
            Some(RecordType::ExtAtomicInc) => self.add_to_ext_records(record, run),
            Some(RecordType::KeywordUpdate) => self.update_keyword(record, run),
            Some(RecordType::KeywordReset) => {
                let Some(range) = self.extension(b"keywords").map(Extension::range) else { return };
                for uids in record.elements::<UidRange>() {
                    raise_range(self, uids.uid1, uids.uid2, run.modseq, run);
                    let positions = self.lookup_range(uids.uid1, uids.uid2);
                    if !run.spend(positions.len()) {
                        return;
                    }
                    for i in positions {
                        if let Some(bytes) = self.record_mut(i).get_mut(range.clone()) {
                            bytes.fill(0);
                        }
                    }
                }
            }
            Some(RecordType::ModseqUpdate) => self.update_modseqs(record, run),
            Some(
                RecordType::IndexDeleted
                | RecordType::IndexUndeleted
                | RecordType::Boundary
                | RecordType::AttributeUpdate,
            ) => {}
        }
    }

    fn append(&mut self, append: &Append, run: &mut Run<'_>) -> bool {
        if append.uid < self.header.next_uid {
            run.error(SyncKind::AppendBelowNextUid { uid: append.uid, next_uid: self.header.next_uid });
            return false;
        }
        if self.records_bytes() + self.record_size() > run.budget {
            run.error(SyncKind::AppendTooMany);
            return false;
        }
        let [a, b, c] = append.padding;
        self.push_record(append.uid, [append.flags, a, b, c]);
        let last = self.physical_len() - 1;
        raise(self, last..last + 1, run.modseq, false, run);
        self.header.messages_count = self.header.messages_count.saturating_add(1);
        self.header.next_uid = append.uid.saturating_add(1);
        if append.flags & flag::DIRTY != 0 {
            self.header.flags |= header_flag::HAVE_DIRTY;
        }
        self.lower_lowwaters(append.uid, append.flags);
        self.update_counts(0, append.flags, run);
        true
    }

    fn expunge(&mut self, positions: std::ops::Range<usize>, run: &mut Run<'_>) {
        if !run.spend(positions.len()) {
            return;
        }
        let mut gone = 0;
        for i in positions {
            if self.is_dead(i) {
                continue;
            }
            let uid = self.uid(i);
            if uid >= self.header.next_uid {
                run.error(SyncKind::UidNotGiven { uid, next_uid: self.header.next_uid });
            } else {
                self.update_counts(self.flags(i), 0, run);
            }
            self.kill(i);
            gone += 1;
        }
        self.header.messages_count = self.header.messages_count.saturating_sub(gone);
    }

    fn update_flags(&mut self, update: &FlagUpdate, run: &mut Run<'_>) {
        let positions = self.lookup_range(update.uid1, update.uid2);
        if !run.spend(2 * positions.len()) {
            return;
        }
        if !positions.clone().any(|i| !self.is_dead(i)) {
            return;
        }
        if !update.is_internal() {
            raise(self, positions.clone(), run.modseq, false, run);
        }
        if update.add_flags & flag::DIRTY != 0 {
            self.header.flags |= header_flag::HAVE_DIRTY;
        }
        let counted = (update.add_flags | update.remove_flags) & (flag::SEEN | flag::DELETED) != 0;
        for i in positions {
            if self.is_dead(i) {
                continue;
            }
            let old = self.flags(i);
            let new = (old & !update.remove_flags) | update.add_flags;
            self.record_mut(i)[4] = new;
            if counted {
                let uid = self.uid(i);
                self.lower_lowwaters(uid, new);
                if uid < self.header.next_uid {
                    self.update_counts(old, new, run);
                }
            }
        }
    }

    /// `mail_index_header_update_counts`.
    fn update_counts(&mut self, old: u8, new: u8, run: &mut Run<'_>) {
        let header = &mut self.header;
        if (old ^ new) & flag::SEEN != 0 {
            if old & flag::SEEN != 0 {
                match header.seen_messages_count.checked_sub(1) {
                    Some(count) => header.seen_messages_count = count,
                    None => return run.error(SyncKind::SeenCounter),
                }
            } else if header.seen_messages_count >= header.messages_count {
                return run.error(SyncKind::SeenCounter);
            } else {
                header.seen_messages_count += 1;
                if header.seen_messages_count == header.messages_count {
                    header.first_unseen_uid_lowwater = header.next_uid;
                }
            }
        }
        if (old ^ new) & flag::DELETED != 0 {
            if old & flag::DELETED == 0 {
                header.deleted_messages_count = header.deleted_messages_count.saturating_add(1);
                if header.deleted_messages_count > header.messages_count {
                    run.error(SyncKind::DeletedCounter);
                }
            } else if header.deleted_messages_count == 0 || header.deleted_messages_count > header.messages_count {
                run.error(SyncKind::DeletedCounter);
            } else {
                header.deleted_messages_count -= 1;
                if header.deleted_messages_count == 0 {
                    header.first_deleted_uid_lowwater = header.next_uid;
                }
            }
        }
    }

    fn lower_lowwaters(&mut self, uid: u32, flags: u8) {
        let header = &mut self.header;
        if flags & flag::SEEN == 0 {
            header.first_unseen_uid_lowwater = header.first_unseen_uid_lowwater.min(uid);
        }
        if flags & flag::DELETED != 0 {
            header.first_deleted_uid_lowwater = header.first_deleted_uid_lowwater.min(uid);
        }
    }

    fn update_header(&mut self, chunk: &HeaderChunk<'_>, run: &mut Run<'_>) -> bool {
        let size = chunk.data.len();
        let base = usize::from(self.header.base_header_size);
        let start = chunk.offset as usize;
        if start >= base || start + size > base {
            run.error(SyncKind::HeaderUpdateOutside { start, size, base });
            return false;
        }
        if !run.spend(base / 8) {
            return false;
        }
        let mut bytes = self.header.to_bytes(self.endian);
        bytes.extend(&self.base_rest);
        if let Some(to) = bytes.get_mut(start..start + size) {
            to.copy_from_slice(chunk.data);
        }
        let (tail, next_uid) = (self.header.log_file_tail_offset, self.header.next_uid);
        let (record_size, header_size) = (self.header.record_size, self.header.header_size);
        self.header = Disk::read(&bytes, self.endian);
        self.base_rest = bytes.split_off(crate::format::index::IndexHeader::SIZE);
        self.header.next_uid = self.header.next_uid.max(next_uid);
        self.header.log_file_tail_offset = tail;
        // Dovecot would believe these two and crash; no writer changes them.
        self.header.record_size = record_size;
        self.header.header_size = header_size;
        true
    }

    fn update_modseqs(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let endian = self.endian;
        for update in record.elements::<ModseqUpdate>() {
            if update.uid == 0 {
                continue;
            }
            let Some(i) = self.lookup(update.uid) else { continue };
            let Some(at) = self.extension(b"modseq").map(|ext| usize::from(ext.record_offset)) else {
                return run.error(SyncKind::ModseqsNotEnabled);
            };
            let Some(bytes) = self.record_mut(i).get_mut(at..at + 8) else { continue };
            if endian.u64_at(bytes, 0).is_some_and(|old| old <= update.modseq()) {
                bytes.copy_from_slice(&endian.u64_bytes(update.modseq()));
            }
        }
    }
}
