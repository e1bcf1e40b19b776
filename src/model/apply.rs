//! The one meaning of a log record (`mail-index-sync-update.c`, `mail-index-sync-ext.c`, `mail-index-sync-keywords.c`,
//! `mail-index-modseq.c`).
//!
//! A record that Dovecot would complain about is complained about here in the same words, and skipped to the same extent;
//! what comes after it is applied.

use std::cmp::Ordering;

use super::LogPos;
use super::chain::Chain;
use super::mailbox::{Extension, Mailbox, ModseqHeader, keywords_header_with};
use super::sync::{Ignored, IgnoredKind, SyncError, SyncKind};
use crate::format::error::MAX_PROBLEMS;
use crate::format::ext::{ExtHeader, ext_hdr_check};
use crate::format::index::{RECORD_MIN_SIZE, RECORD_SIZE, header_flag};
use crate::format::record::{
    Append, AtomicInc, ExpungeGuid, ExtIntro, ExtReset, FlagUpdate, HeaderChunk, ModseqUpdate, Record, RecordType,
    UidRange, flag,
};
use crate::format::{Disk, align4, align8};

/// The extension that ext records are about, set by the last intro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// No intro seen.
    None,
    /// The intro was broken.
    Broken,
    /// This extension.
    Extension(usize),
}

/// Bits of `ExtIntro::flags`.
const INTRO_NO_SHRINK: u16 = 1;
/// Unnumbered in an intro: the extension is given by name.
pub const BY_NAME: u32 = u32::MAX;

/// The state of one replay, from one record to the next.
#[derive(Debug)]
pub struct Run<'c> {
    chain: &'c Chain<'c>,
    current: Current,
    ignore: bool,
    record_size: u16,
    unknown_ids: Vec<u32>,
    /// Bytes that headers and records may grow to: a log cannot ask for more memory than it could fill.
    budget: usize,
    /// Steps of work left, a step being a message or a few bytes touched. A log can ask for more than any time allows: each of
    /// its records may be about every message, or lay out all records anew.
    work: u64,
    /// What Dovecot would have logged.
    pub errors: Vec<SyncError>,
    /// What Dovecot ignores without a word: introductions whose `reset_id` is not that of the extension.
    pub ignored: Vec<Ignored>,
    pos: LogPos,
    modseq: u64,
}

impl<'c> Run<'c> {
    /// Begins a replay of `chain` onto `mailbox` at `pos` (`mail_index_sync_map_init`): modseqs that an index writer left
    /// behind are caught up first.
    pub fn begin(chain: &'c Chain<'c>, mailbox: &mut Mailbox, pos: LogPos, modseq: u64) -> Run<'c> {
        let bytes = chain.bytes().saturating_add(mailbox.records_bytes()).saturating_add(mailbox.header_size());
        let mut run = Run {
            chain,
            current: Current::None,
            ignore: false,
            record_size: 0,
            unknown_ids: Vec::new(),
            budget: (24 << 20) + bytes.saturating_mul(3),
            work: (64 << 20) + (bytes as u64).saturating_mul(64),
            errors: Vec::new(),
            ignored: Vec::new(),
            pos,
            modseq,
        };
        if mailbox.extension(b"modseq").is_some() {
            run.init_modseqs(mailbox);
        }
        run
    }

    fn error(&mut self, kind: SyncKind) {
        let kind = match self.errors.len().cmp(&MAX_PROBLEMS) {
            Ordering::Less => kind,
            Ordering::Equal => SyncKind::More,
            Ordering::Greater => return,
        };
        self.errors.push(SyncError { pos: self.pos, kind });
    }

    /// Takes note of work about to be done; false when there has been too much of it, and it is to be left.
    fn spend(&mut self, steps: usize) -> bool {
        match self.work.checked_sub(steps as u64) {
            Some(left) => self.work = left,
            None => self.work = 0,
        }
        self.work > 0
    }

    /// True when the records so far have asked for more work than a log of that size can need; the last one may have been
    /// applied in part.
    pub fn is_exhausted(&self) -> bool {
        self.work == 0
    }

    /// Fills in modseqs for changes between the modseq header's position and the present one
    /// (`mail_index_modseq_sync_init`).
    fn init_modseqs(&mut self, mailbox: &mut Mailbox) {
        let Some(header) = mailbox.modseq_header() else { return };
        let seen = LogPos { seq: header.log_seq, offset: u64::from(header.log_offset) };
        // Finding the position means reading the log from its start.
        if self.pos <= seen || !self.spend(self.chain.bytes()) {
            return;
        }
        let start = self.chain.start(header.log_seq.max(1), u64::from(header.log_offset)).ok();
        let highest = header.highest_modseq;
        let (file, offset, modseq) = match start {
            Some(start) => {
                raise_all(mailbox, highest, true, self);
                let modseq = self.chain.modseq_at(start.file, start.offset, None);
                (start.file, start.offset, modseq)
            }
            None => {
                let Some(file) = self.chain.position_of(self.pos.seq) else { return };
                let initial = self.chain.files[file].log.header.initial_modseq;
                raise_all(mailbox, initial.max(highest), false, self);
                (file, self.chain.files[file].log.records_at, initial)
            }
        };
        let chain = self.chain;
        for record in chain.records_between(file, offset, modseq, self.pos) {
            if !self.spend(record.bytes.len() / 4) {
                return;
            }
            match record.kind() {
                Some(RecordType::Append) => {
                    for append in record.elements::<Append>() {
                        raise_range(mailbox, append.uid, append.uid, record.modseq, self);
                    }
                }
                Some(RecordType::FlagUpdate) => {
                    for update in record.elements::<FlagUpdate>() {
                        raise_range(mailbox, update.uid1, update.uid2, record.modseq, self);
                    }
                }
                Some(RecordType::KeywordReset) => {
                    for range in record.elements::<UidRange>() {
                        raise_range(mailbox, range.uid1, range.uid2, record.modseq, self);
                    }
                }
                Some(RecordType::KeywordUpdate) => {
                    for range in record.keyword_update().into_iter().flat_map(|(.., ranges)| ranges) {
                        raise_range(mailbox, range.uid1, range.uid2, record.modseq, self);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Sets the modseq of every message that has none to `modseq`; with `only_zero` false also of those that have a lower one.
fn raise_all(mailbox: &mut Mailbox, modseq: u64, only_zero: bool, run: &mut Run<'_>) {
    raise(mailbox, 0..mailbox.physical_len(), modseq, only_zero, run);
}

/// Raises the modseq of the messages in a UID range (`mail_index_modseq_update_to_highest`).
fn raise_range(mailbox: &mut Mailbox, uid1: u32, uid2: u32, modseq: u64, run: &mut Run<'_>) {
    raise(mailbox, mailbox.lookup_range(uid1, uid2), modseq, false, run);
}

fn raise(mailbox: &mut Mailbox, positions: std::ops::Range<usize>, modseq: u64, only_zero: bool, run: &mut Run<'_>) {
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

    fn introduce(&mut self, intro: &ExtIntro, name: &[u8], internal: bool, run: &mut Run<'_>) -> bool {
        run.current = Current::Broken;
        run.ignore = true;
        run.record_size = 0;
        let known = if intro.ext_id == BY_NAME {
            if name.is_empty() {
                run.error(SyncKind::IntroNameless);
                return false;
            }
            self.extension_id(name)
        } else {
            let id = intro.ext_id as usize;
            if id >= self.extensions.len() {
                // Once per id, as Dovecot does: a lost intro otherwise fills the error log.
                if id >= 1024 || !run.unknown_ids.contains(&intro.ext_id) {
                    run.unknown_ids.push(intro.ext_id);
                    run.error(SyncKind::IntroUnknownId(intro.ext_id));
                }
                return false;
            }
            Some(id)
        };
        let name = known.map_or_else(|| name.to_vec(), |id| self.extensions[id].name.clone());
        if !internal && name == b"keywords" {
            run.error(SyncKind::IntroKeywords);
            return false;
        }
        let proposed = ExtHeader {
            hdr_size: intro.hdr_size,
            reset_id: intro.reset_id,
            record_offset: 0,
            record_size: intro.record_size,
            record_align: intro.record_align,
            name_size: u16::try_from(name.len()).unwrap_or(u16::MAX),
        };
        if let Err(why) = ext_hdr_check(self.header.record_size, &proposed, &name) {
            run.error(SyncKind::IntroBroken(why));
            return false;
        }
        let old_hdr = known.map_or(0, |id| self.extensions[id].data.len());
        let old_size = known.map_or(0, |id| self.extensions[id].record_size);
        let grown = usize::from(intro.record_size.saturating_sub(old_size)) + 8;
        let records = self.physical_len().saturating_mul(self.record_size() + grown);
        if (self.header_size() - old_hdr).saturating_add(intro.hdr_size as usize).saturating_add(records) > run.budget {
            run.error(SyncKind::IntroTooLarge);
            return false;
        }
        let changed = known.is_none_or(|id| {
            let ext = &self.extensions[id];
            (ext.hdr_size, ext.record_size, ext.record_align) != (intro.hdr_size, intro.record_size, intro.record_align)
        });
        let each = 32 + 8 * self.extensions.iter().filter(|ext| ext.record_size > 0).count();
        let moved = records / 4 + self.physical_len() * each + (old_hdr + intro.hdr_size as usize) / 4;
        if changed && !run.spend(moved + 128 * self.extensions.len()) {
            return false;
        }
        run.record_size = intro.record_size;
        match known {
            Some(id) => {
                if intro.reset_id == self.extensions[id].reset_id {
                    if !self.resize_extension(id, intro) {
                        run.error(SyncKind::IntroRecordTooLarge);
                        return false;
                    }
                    run.ignore = false;
                } else {
                    let have = self.extensions[id].reset_id;
                    let kind = IgnoredKind::ResetId { ext: name, want: intro.reset_id, have };
                    run.ignored.push(Ignored { pos: run.pos, kind });
                }
                run.current = Current::Extension(id);
            }
            None => {
                self.extensions.push(Extension {
                    name,
                    reset_id: intro.reset_id,
                    record_offset: 0,
                    record_size: intro.record_size,
                    record_align: intro.record_align,
                    hdr_size: intro.hdr_size,
                    data: vec![0; align8(intro.hdr_size as usize)],
                });
                self.update_header_size();
                let id = self.extensions.len() - 1;
                if !self.lay_out_records(id, 0) {
                    self.extensions.pop();
                    self.update_header_size();
                    run.error(SyncKind::IntroRecordTooLarge);
                    return false;
                }
                run.ignore = false;
                run.current = if internal { Current::None } else { Current::Extension(id) };
            }
        }
        true
    }

    /// `sync_ext_resize`. False, with nothing changed, when the record would not fit any more.
    fn resize_extension(&mut self, id: usize, intro: &ExtIntro) -> bool {
        let no_shrink = intro.flags & INTRO_NO_SHRINK != 0;
        let before = self.extensions[id].clone();
        let (old_padded, new_padded) = (before.data.len(), align8(intro.hdr_size as usize));
        let record_same = before.record_align == intro.record_align && before.record_size == intro.record_size;
        if record_same && ((new_padded < old_padded && no_shrink) || before.hdr_size == intro.hdr_size) {
            return true;
        }
        let ext = &mut self.extensions[id];
        if new_padded >= old_padded || !no_shrink {
            ext.data.resize(new_padded, 0);
            ext.hdr_size = intro.hdr_size;
        }
        let mut reorder = false;
        let differs = |old: u16, new: u16| old < new || (old > new && !no_shrink);
        if differs(ext.record_align, intro.record_align) {
            ext.record_align = intro.record_align;
            reorder = true;
        }
        if differs(ext.record_size, intro.record_size) {
            ext.record_size = intro.record_size;
            reorder = true;
        }
        self.update_header_size();
        if reorder && !self.lay_out_records(id, before.record_size) {
            self.extensions[id] = before;
            self.update_header_size();
            return false;
        }
        true
    }

    /// Places the extensions in the record anew (`sync_ext_reorder`); `changed` had `old_size` bytes before. False, with
    /// nothing changed, when the record would become too large.
    fn lay_out_records(&mut self, changed: usize, old_size: u16) -> bool {
        let old: Vec<(usize, usize)> = self
            .extensions
            .iter()
            .enumerate()
            .map(|(id, ext)| {
                let size = if id == changed { ext.record_size.min(old_size) } else { ext.record_size };
                (usize::from(ext.record_offset), usize::from(size))
            })
            .collect();
        let Some((offsets, new_size)) = layout(&self.extensions) else { return false };
        let old_stride = self.record_size();
        let count = self.physical_len();
        let mut moved = vec![0; new_size];
        let mut relocate = |records: &mut Vec<u8>, i: usize| {
            let from = &records[i * old_stride..(i + 1) * old_stride];
            moved.fill(0);
            moved[..RECORD_SIZE].copy_from_slice(&from[..RECORD_SIZE]);
            for (&(old_offset, size), &new_offset) in old.iter().zip(&offsets) {
                if size > 0
                    && let Some(data) = from.get(old_offset..old_offset + size)
                {
                    moved[new_offset..new_offset + size].copy_from_slice(data);
                }
            }
            records[i * new_size..(i + 1) * new_size].copy_from_slice(&moved);
        };
        // In place: a mailbox of a million messages is not held in memory twice.
        let records = self.records_mut();
        if new_size >= old_stride {
            records.resize(count * new_size, 0);
            (0..count).rev().for_each(|i| relocate(records, i));
        } else {
            (0..count).for_each(|i| relocate(records, i));
            records.truncate(count * new_size);
        }
        self.header.record_size = new_size as u32;
        for (ext, offset) in self.extensions.iter_mut().zip(offsets) {
            ext.record_offset = offset as u16;
        }
        true
    }

    fn reset_extension(&mut self, reset: &ExtReset, run: &mut Run<'_>) {
        let id = match run.current {
            Current::None => return run.error(SyncKind::ExtResetWithoutIntro),
            Current::Broken => return,
            Current::Extension(id) => id,
        };
        let ext = &mut self.extensions[id];
        ext.reset_id = reset.new_reset_id;
        if reset.preserve_data == 0 && run.spend(ext.hdr_size as usize / 8) {
            let size = ext.hdr_size as usize;
            ext.data.iter_mut().take(size).for_each(|byte| *byte = 0);
            let range = ext.range();
            if range.is_empty() || !run.spend(2 * self.physical_len()) {
                return;
            }
            for i in 0..self.physical_len() {
                if let Some(bytes) = self.record_mut(i).get_mut(range.clone()) {
                    bytes.fill(0);
                }
            }
        }
    }

    fn update_ext_header(&mut self, chunk: &HeaderChunk<'_>, run: &mut Run<'_>) -> bool {
        let id = match run.current {
            Current::None => {
                run.error(SyncKind::ExtHdrWithoutIntro);
                return false;
            }
            _ if run.ignore => return true,
            Current::Broken => return true,
            Current::Extension(id) => id,
        };
        let ext = &mut self.extensions[id];
        let (start, size) = (chunk.offset as usize, chunk.data.len());
        let limit = ext.hdr_size as usize;
        match ext.data.get_mut(start..start.saturating_add(size)) {
            Some(to) if start + size <= limit => to.copy_from_slice(chunk.data),
            _ => {
                run.error(SyncKind::ExtHdrOutside);
                return false;
            }
        }
        if ext.name == b"modseq" {
            run.init_modseqs(self);
        }
        true
    }

    /// The extension that ext-rec and ext-atomic-inc records are about; `None` when they are to be skipped.
    fn current_extension(&self, run: &mut Run<'_>) -> Option<usize> {
        match run.current {
            Current::None => {
                run.error(SyncKind::ExtRecWithoutIntro);
                None
            }
            Current::Extension(id) if !run.ignore => Some(id),
            _ => None,
        }
    }

    /// Where the message is that an element is about, if it is there at all; `wrong` says what is wrong with a UID that was
    /// never given.
    fn ext_target(&self, uid: u32, wrong: fn(u32) -> SyncKind) -> Result<Option<usize>, SyncKind> {
        if uid == 0 || uid >= self.header.next_uid { Err(wrong(uid)) } else { Ok(self.lookup(uid)) }
    }

    fn update_ext_records(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some(id) = self.current_extension(run) else { return };
        let size = usize::from(run.record_size);
        let range = self.extensions[id].range();
        for (uid, data) in record.ext_recs(run.record_size) {
            let target = match self.ext_target(uid, SyncKind::ExtRecUid) {
                Ok(target) => target,
                Err(kind) => return run.error(kind),
            };
            if let Some(i) = target
                && let Some(to) = self.record_mut(i).get_mut(range.clone())
            {
                let (head, rest) = to.split_at_mut(size.min(range.len()));
                head.copy_from_slice(&data[..head.len()]);
                rest.fill(0);
            }
        }
        if !record.payload.len().is_multiple_of(align4(4 + size)) {
            run.error(SyncKind::ExtRecSize);
        }
    }

    fn add_to_ext_records(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some(id) = self.current_extension(run) else { return };
        let size = usize::from(run.record_size);
        if !matches!(size, 1 | 2 | 4 | 8) {
            return run.error(SyncKind::ExtIncSize(size));
        }
        let max = if size == 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
        let at = usize::from(self.extensions[id].record_offset);
        let endian = self.endian;
        for inc in record.elements::<AtomicInc>() {
            let target = match self.ext_target(inc.uid, SyncKind::ExtIncUid) {
                Ok(target) => target,
                Err(kind) => return run.error(kind),
            };
            let Some(i) = target else { continue };
            let Some(bytes) = self.record_mut(i).get_mut(at..at + size) else { continue };
            let mut wide = [0; 8];
            let low = if endian == crate::format::Endian::Little { 0 } else { 8 - size };
            wide[low..low + size].copy_from_slice(bytes);
            let old = endian.u64_at(&wide, 0).unwrap_or(0);
            match old.checked_add_signed(i64::from(inc.diff)) {
                Some(new) if new <= max => {
                    bytes.copy_from_slice(&endian.u64_bytes(new)[low..low + size]);
                }
                _ => return run.error(SyncKind::ExtIncRange { uid: inc.uid, diff: inc.diff, old }),
            }
        }
    }

    fn update_keyword(&mut self, record: &Record<'_>, run: &mut Run<'_>) {
        let Some((update, name, ranges)) = record.keyword_update() else { return };
        if !run.spend(self.keywords().len()) {
            return;
        }
        let keyword = match self.keyword_id(name) {
            Some(id) => id,
            None => match self.add_keyword(name, run) {
                Some(id) => id,
                None => return,
            },
        };
        let (byte, bit) = (keyword / 8, 1_u8 << (keyword % 8));
        let Some(ext_id) = self.extension_id(b"keywords") else { return };
        if byte >= usize::from(self.extensions[ext_id].record_size) {
            if update.modify_type != 0 {
                return;
            }
            let hdr_size = self.extensions[ext_id].hdr_size;
            if !self.register_keywords(Some(ext_id), hdr_size, self.keywords().len(), run) {
                return;
            }
        }
        let at = usize::from(self.extensions[ext_id].record_offset) + byte;
        for range in ranges {
            raise_range(self, range.uid1, range.uid2, run.modseq, run);
            let positions = self.lookup_range(range.uid1, range.uid2);
            if !run.spend(positions.len()) {
                return;
            }
            for i in positions {
                let Some(bits) = self.record_mut(i).get_mut(at).filter(|_| at >= RECORD_MIN_SIZE) else { continue };
                if update.modify_type == 0 { *bits |= bit } else { *bits &= !bit }
            }
        }
    }

    /// `keywords_header_add`: the number of the new keyword.
    fn add_keyword(&mut self, name: &[u8], run: &mut Run<'_>) -> Option<usize> {
        let ext_id = self.extension_id(b"keywords");
        let header = ext_id.map_or(0, |id| self.extensions[id].data.len());
        // All names are copied.
        if !run.spend(header / 2) {
            return None;
        }
        let ext = ext_id.map(|id| &self.extensions[id]);
        let (mut content, count) = keywords_header_with(ext.map(Extension::header), name, self.endian);
        let fits =
            ext.is_some_and(|ext| content.len() <= ext.hdr_size as usize && usize::from(ext.record_size) * 8 >= count);
        if !fits {
            // Room for the next keywords, so that the header does not grow with each.
            content.resize(content.len() + 128, 0);
            if !self.register_keywords(ext_id, content.len() as u32, count, run) {
                return None;
            }
        }
        let ext = self.extensions.iter_mut().find(|ext| ext.name == b"keywords")?;
        ext.data.get_mut(..content.len())?.copy_from_slice(&content);
        self.keyword_added(name, count);
        Some(count - 1)
    }

    /// `keywords_ext_register`. Creates or resizes the keywords extension.
    fn register_keywords(&mut self, ext_id: Option<usize>, hdr_size: u32, count: usize, run: &mut Run<'_>) -> bool {
        let bytes = count.div_ceil(8);
        // One spare byte unless the size is a multiple of 4 anyway.
        let record_size = bytes + usize::from(!bytes.is_multiple_of(4));
        let intro = ExtIntro {
            ext_id: ext_id.map_or(BY_NAME, |id| id as u32),
            reset_id: ext_id.map_or(0, |id| self.extensions[id].reset_id),
            hdr_size,
            record_size: u16::try_from(record_size).unwrap_or(u16::MAX),
            record_align: 1,
            flags: 0,
            name_size: 0,
        };
        self.introduce(&intro, b"keywords", true, run)
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

    /// The end of a replay (`mail_index_sync_map`): positions, the dirty flag, the modseq header.
    pub(super) fn finish(&mut self, pos: LogPos, modseq: u64, max_tail: u64, had_dirty: bool) {
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

/// Where Dovecot places extensions in a record, and the record's size: largest alignment first, gaps filled where something fits.
/// `None` when the record would not stay below 64 KiB.
pub fn layout(extensions: &[Extension]) -> Option<(Vec<usize>, usize)> {
    let mut unplaced: Vec<usize> = (0..extensions.len()).filter(|id| extensions[*id].record_size > 0).collect();
    unplaced.sort_by_key(|id| std::cmp::Reverse(extensions[*id].record_align));
    let mut offsets = vec![0; extensions.len()];
    let mut offset = RECORD_MIN_SIZE;
    loop {
        let align = |id: usize| usize::from(extensions[id].record_align.max(1));
        if let Some(first) = unplaced.iter().position(|id| offset.is_multiple_of(align(*id))) {
            let id = unplaced.remove(first);
            offsets[id] = offset;
            offset += usize::from(extensions[id].record_size);
        } else {
            let Some(least) = unplaced.iter().map(|id| align(*id)).min() else { break };
            offset = offset.next_multiple_of(least);
        }
        if offset >= usize::from(u16::MAX) {
            return None;
        }
    }
    let max_align = extensions.iter().map(|ext| usize::from(ext.record_align)).fold(4, usize::max);
    Some((offsets, offset.next_multiple_of(max_align)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext(name: &str, hdr_size: u32, record_size: u16, record_align: u16) -> Extension {
        Extension {
            name: name.into(),
            reset_id: 0,
            record_offset: 0,
            record_size,
            record_align,
            hdr_size,
            data: vec![0; align8(hdr_size as usize)],
        }
    }

    /// Dovecot 2.3.19.1's own layout of a maildir index (format/replay.md, section 4).
    #[test]
    fn layout_of_a_maildir_index() {
        let list =
            [ext("maildir", 36, 0, 0), ext("cache", 0, 4, 4), ext("keywords", 144, 2, 1), ext("modseq", 16, 8, 8)];
        let (offsets, size) = layout(&list).expect("fits");
        assert_eq!(offsets, [0, 16, 5, 8]);
        assert_eq!(size, 24);
    }

    #[test]
    fn a_record_that_would_be_too_large_is_refused() {
        assert!(layout(&[ext("a", 0, 32767, 1), ext("b", 0, 32767, 1), ext("c", 0, 32767, 1)]).is_none());
    }
}
