//! What survives of a log: where its whole transactions end, which records are damaged, and what its header should say.
//!
//! Damage is looked at in a copy in memory: there a damaged stretch becomes one record that means nothing, so that all
//! other records keep their offsets and can be replayed. That copy is never written.

use std::borrow::Cow;

use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::{ExtNames, Introduced};
use crate::format::log::{EndReason, LogEnd, LogFile, LogHeader, Txn, resynchronize};
use crate::format::record::{Append, AtomicInc, EXTERNAL, HEADER_SIZE, ModseqUpdate, Record, RecordType};
use crate::format::walk::Records;
use crate::format::{Disk, Endian, Flaw, FlawKind, align4, packed};
use crate::model::ChainFile;

/// Damaged stretches that are told apart.
const MAX_HOLES: usize = 1000;
/// Bytes of a boundary: its header, and the size of its transaction.
const BOUNDARY_SIZE: u32 = 12;
/// Bytes of the smallest piece that a disk writes.
const SECTOR: usize = 512;
/// Sectors behind the last whole transaction that are looked for in front of it.
const MAX_SECTORS: usize = 8;
/// So many zero bytes in a row are no content of a record whose size is damaged as well.
const ZERO_RUN: usize = 24;

/// A stretch of a log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First byte.
    pub at: u64,
    /// First byte that can be read again.
    pub end: u64,
    /// What is wrong.
    pub what: String,
    /// No extension was created in it, so that the numbers of extensions mean what they did.
    pub keeps_ids: bool,
    /// It is a whole record that names what this log cannot have: it may be the end of another log.
    pub is_strange: bool,
}

/// A log file, decoded as far as its bytes allow.
#[derive(Clone, Debug)]
pub struct Survey<'a> {
    /// The file's bytes.
    pub bytes: &'a [u8],
    /// Its header, restored where it was damaged.
    pub log: LogFile,
    /// The readable part: up to the last whole transaction, damaged stretches made harmless.
    pub readable: Cow<'a, [u8]>,
    /// Where the last whole transaction ends.
    pub end: u64,
    /// Why bytes follow there, if any do.
    pub tail: Option<Flaw>,
    /// They are whole records, but none of this log.
    pub alien: bool,
    /// Damaged stretches whose content is lost.
    pub holes: Vec<Hole>,
    /// Damage that could be read all the same.
    pub mended: Vec<String>,
    /// What is wrong with the header, so that Dovecot would discard the file.
    pub header_flaws: Vec<String>,
    /// The last word on deletion: true when the mailbox is being deleted.
    pub deleted: bool,
}

impl<'a> Survey<'a> {
    /// Reads a log. `None` when there is not even a header.
    pub fn new(bytes: &'a [u8], index: Option<&IndexFile<'_>>) -> Option<Survey<'a>> {
        let (log, header_flaws) = header(bytes, index)?;
        let mut survey = Survey {
            bytes,
            end: log.records_at.min(bytes.len() as u64),
            log,
            readable: Cow::Borrowed(bytes),
            tail: None,
            alien: false,
            holes: Vec::new(),
            mended: Vec::new(),
            header_flaws,
            deleted: false,
        };
        survey.walk();
        Some(survey)
    }

    /// Whether the first message that it appends is UID 1, after UIDVALIDITY was set.
    pub fn begins_a_mailbox(&self) -> bool {
        begins_a_mailbox(&self.log, &self.readable)
    }

    /// `file_seq`.
    pub fn seq(&self) -> u32 {
        self.log.header.file_seq
    }

    /// The readable part as a member of a chain.
    pub fn file(&self) -> ChainFile<'_> {
        let mut log = self.log.clone();
        log.size = self.end;
        ChainFile::new(log, self.readable.get(..usize::try_from(self.end).unwrap_or(0)).unwrap_or_default())
    }

    /// The readable part starting from a mailbox that is not empty, whatever the header says: for an index that a log
    /// of number 0 behind it would wipe.
    pub fn file_without_reset(&self) -> ChainFile<'_> {
        let mut file = self.file();
        file.log.header.prev_file_seq = u32::MAX;
        file
    }

    /// Makes records harmless that cannot be what they seem: see [`Survey::distrust_ids`].
    fn blank(&mut self, at: u64, end: u64) {
        let Ok(start) = usize::try_from(at) else { return };
        let size = end.saturating_sub(at);
        let endian = self.log.endian;
        let Some(coded) = u32::try_from(size).ok().and_then(packed::encode) else { return };
        if let Some(record) = self.readable.to_mut().get_mut(start..start.saturating_add(12)) {
            let (head, rest) = record.split_at_mut(4);
            head.copy_from_slice(&coded);
            let (kind, own) = rest.split_at_mut(4);
            kind.copy_from_slice(&endian.u32_bytes(RecordType::Boundary.raw() | EXTERNAL));
            own.copy_from_slice(&endian.u32_bytes(u32::try_from(size).unwrap_or(12)));
        }
    }

    /// After a hole, extension numbers from `known` on may mean another extension than they did: a creation may have
    /// been lost. Everything about them is left out.
    pub fn distrust_ids(&mut self, from: u64, known: usize) {
        let mut doubtful = Vec::new();
        let mut ignore = false;
        for record in self.file().records().filter(|record| record.offset >= from) {
            match record.kind() {
                Some(RecordType::ExtIntro) => {
                    ignore = record.intros().any(|intro| intro.intro.is_numbered_from(known));
                    if ignore {
                        doubtful.push((record.offset, record.end()));
                    }
                }
                Some(
                    RecordType::ExtReset
                    | RecordType::ExtHdr
                    | RecordType::ExtHdr32
                    | RecordType::ExtRec
                    | RecordType::ExtAtomicInc,
                ) if ignore && record.size >= 12 => doubtful.push((record.offset, record.end())),
                _ => {}
            }
        }
        doubtful.into_iter().for_each(|(at, end)| self.blank(at, end));
    }

    /// Whether what follows the last whole transaction is damage: an unfinished one begins with a record that has only
    /// not all of its bytes yet, or, before 2.2, with a record of size 0.
    pub fn has_damaged_tail(&self) -> bool {
        let Some(tail) = &self.tail else { return false };
        let rest = usize::try_from(self.end).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        let begun = rest.starts_with(&[0; 4]) && self.log.endian.u32_at(rest, 4).and_then(RecordType::of).is_some();
        let cut =
            matches!(tail.kind, FlawKind::RecordHeaderCut | FlawKind::RecordPastEnd | FlawKind::TransactionPastEnd);
        (!cut && !begun && rest.len() >= HEADER_SIZE) || self.ends_in_repeated_sector()
    }

    /// Whether the last whole transaction ends in front of, or inside, a sector that stands in this log before, too: a
    /// disk has written it to the wrong place, over what was there.
    fn ends_in_repeated_sector(&self) -> bool {
        let from = usize::try_from(self.end).unwrap_or(usize::MAX) / SECTOR * SECTOR;
        let (before, rest) = self.bytes.split_at(from.min(self.bytes.len()));
        let is_content = |sector: &&[u8]| sector.iter().any(|byte| Some(byte) != sector.first());
        let mut last = rest.chunks_exact(SECTOR).filter(is_content).take(MAX_SECTORS);
        last.any(|sector| before.chunks_exact(SECTOR).any(|one| one == sector))
    }

    fn walk(&mut self) {
        let endian = self.log.endian;
        let mut at = self.log.records_at;
        let mut txn = Txn::default();
        // The records of the present transaction: a damaged size may show only behind the record that has it.
        let mut before = Vec::new();
        loop {
            let mut log = self.log.clone();
            log.size = self.bytes.len() as u64;
            let readable = std::mem::take(&mut self.readable);
            let mut scan = log.records(&readable).from(at, 1);
            let mut bad = None;
            let mut misframed = None;
            for record in scan.by_ref() {
                // A record that sticks out of its transaction has a damaged size, unless good records follow it: then
                // it is the transaction's size that is wrong, which Dovecot does not look at.
                if record.offset < txn.end
                    && record.end() > txn.end
                    && record.end() < log.size
                    && resynchronize(self.bytes, record.end(), endian) != Some(record.end())
                {
                    misframed = Some(record.offset);
                    break;
                }
                if let Some(error) = damage(&record) {
                    bad = Some((record.offset, record.end(), error));
                    break;
                }
                self.deleted = record.deletion().unwrap_or(self.deleted);
                txn.follow(&record);
                self.end = record.end();
                if record.kind() == Some(RecordType::Boundary) {
                    before.clear();
                } else {
                    before.push(record.offset);
                }
            }
            let broken = match misframed {
                Some(offset) => Some(LogEnd { offset, reason: EndReason::Corrupt, error: None }),
                None => scan.end().filter(|end| end.reason != EndReason::Eof).cloned(),
            };
            self.readable = readable;
            let broken_at = bad.as_ref().map(|(from, ..)| *from).or(broken.as_ref().map(|end| end.offset));
            // Each attempt looks at what follows: a log that is nothing but damage must not be looked through again and
            // again.
            if let Some(broken_at) = broken_at.filter(|_| self.mended.len() < MAX_HOLES)
                && self.mend_boundary(broken_at)
            {
                self.end = broken_at;
                at = broken_at;
                continue;
            }
            if let Some(broken_at) = broken_at
                && self.mended.len() < MAX_HOLES
                && let Some(next) = self.told_size(&mut before, broken_at, txn)
            {
                self.end = next;
                at = next;
                continue;
            }
            let (from, next) = match bad {
                Some((from, to, error)) => {
                    self.hole(from, to, error.to_string());
                    let is_strange = error.kind == FlawKind::TailPastSync;
                    if let Some(hole) = self.holes.last_mut() {
                        (hole.is_strange, hole.keeps_ids) = (is_strange, is_strange);
                    }
                    (from, self.holes.last().map_or(to, |hole| hole.end))
                }
                None => {
                    let Some(end) = broken else { return };
                    self.end = end.offset;
                    match self.after_break(end.offset) {
                        None => {
                            // Not even the transaction that the last records belong to is whole.
                            if txn.end > end.offset {
                                self.end = txn.begin;
                            }
                            self.tail = end.error.clone();
                            return;
                        }
                        Some(next) => {
                            let inside = end.offset < txn.end && next > txn.end;
                            if inside || !self.reframe(end.offset, next, txn) {
                                let size = || "record size reaches into the next transaction".to_owned();
                                let why = end.error.as_ref().map_or_else(size, ToString::to_string);
                                self.hole(end.offset, next, why);
                            }
                            (end.offset, self.holes.last().map_or(next, |hole| hole.end).max(next))
                        }
                    }
                }
            };
            if next <= from {
                return;
            }
            self.end = next;
            at = next;
            if self.holes.len() + self.mended.len() >= MAX_HOLES {
                let end = self.bytes.len() as u64;
                self.hole(at, end, "too much damage to go on".into());
                self.end = end;
                return;
            }
        }
    }

    /// Where records go on after reading stopped at `at`; `None` when what follows is an unfinished transaction.
    fn after_break(&self, at: u64) -> Option<u64> {
        let endian = self.log.endian;
        let rest = self.bytes.get(usize::try_from(at).ok()?..)?;
        let kind = endian.u32_at(rest, 4).and_then(RecordType::of);
        let size = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw));
        // Before 2.2 the size of the first record was written last: a 0 with a type is a transaction that was never
        // committed.
        if rest.starts_with(&[0; 4]) && kind.is_some() {
            return None;
        }
        if kind == Some(RecordType::Boundary) && size == Some(12) {
            let log = LogFile { size: self.bytes.len() as u64, ..self.log.clone() };
            let Ok(is_unfinished) = log.records(self.bytes).is_unfinished(at);
            return (!is_unfinished).then_some(at.saturating_add(12));
        }
        resynchronize(self.bytes, at.saturating_add(1), endian)
    }

    /// A boundary whose size is not the one that all boundaries have.
    fn mend_boundary(&mut self, at: u64) -> bool {
        let endian = self.log.endian;
        let (Ok(start), Some(coded)) = (usize::try_from(at), packed::encode(BOUNDARY_SIZE)) else { return false };
        let next = at.saturating_add(u64::from(BOUNDARY_SIZE));
        let Some(record) = self.readable.get(start..) else { return false };
        let is_boundary = endian.u32_at(record, 4).and_then(RecordType::of) == Some(RecordType::Boundary);
        if !is_boundary || record.starts_with(&coded) || resynchronize(self.bytes, at + 1, endian) != Some(next) {
            return false;
        }
        if let Some(to) = self.readable.to_mut().get_mut(start..start + coded.len()) {
            to.copy_from_slice(&coded);
        }
        self.mended.push(format!("record at {at}: a boundary has {BOUNDARY_SIZE} bytes"));
        true
    }

    /// Finds the record whose damaged size made reading fail at `broken_at`, if there is only one that it can have
    /// been, and mends it. Returns where reading goes on.
    fn told_size(&mut self, before: &mut Vec<u64>, broken_at: u64, txn: Txn) -> Option<u64> {
        let endian = self.log.endian;
        if self.after_break(broken_at).is_none() && broken_at >= txn.end {
            return None;
        }
        let next = resynchronize(self.bytes, broken_at.saturating_add(1), endian)?;
        let inside = broken_at < txn.end;
        // Where the transaction is to end there its last record ends: what reaches beyond is no record of it.
        if inside && next > txn.end {
            return None;
        }
        let list = before.iter().copied().filter(|at| inside && *at > txn.begin).rev().take(16);
        // A size that led to the next record so far is one bit away from its own.
        let list = list.filter(|at| self.is_near(*at, next));
        let mut fit: Vec<u64> = list.chain([broken_at]).filter(|at| self.fits(*at, next, txn)).collect();
        // Anything between the two would have to be part of the record: the later ones explain less.
        fit.sort_unstable();
        let [first] = fit[..] else { return None };
        before.retain(|at| *at <= first);
        self.reframe(first, next, txn);
        Some(next)
    }

    /// Whether the size of a record is but one bit away from leading to that place.
    fn is_near(&self, at: u64, next: u64) -> bool {
        let start = usize::try_from(at).ok();
        let stored = start.and_then(|start| self.readable.get(start..)).and_then(|rest| rest.first_chunk::<4>());
        let coded = u32::try_from(next.saturating_sub(at)).ok().and_then(packed::encode);
        stored.zip(coded).is_some_and(|(stored, coded)| {
            stored.iter().zip(coded).map(|(one, other)| (one ^ other).count_ones()).sum::<u32>() == 1
        })
    }

    /// Whether the bytes between two places are one good record, whatever its size field says.
    fn fits(&self, at: u64, next: u64, txn: Txn) -> bool {
        let (Ok(start), Ok(end)) = (usize::try_from(at), usize::try_from(next)) else { return false };
        let Some(bytes) = self.bytes.get(start..end).filter(|bytes| bytes.len() > HEADER_SIZE) else { return false };
        let endian = self.log.endian;
        let (Some(type_raw), Some(payload)) = (endian.u32_at(bytes, 4), bytes.get(HEADER_SIZE..)) else { return false };
        // Where much is zero it is a sector that was lost, not a size.
        if bytes.split(|byte| *byte != 0).any(|zeros| zeros.len() >= ZERO_RUN) {
            return false;
        }
        let size = u32::try_from(bytes.len()).unwrap_or(0);
        let record = Record { offset: at, size, type_raw, payload, bytes, endian, modseq: 0 };
        // What is taken for one record must not have others hidden in it.
        let hides = (12..bytes.len()).step_by(4).any(|at| {
            let rest = bytes.get(at..).unwrap_or_default();
            let size = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).unwrap_or(0);
            let kind = endian.u32_at(rest, 4).and_then(RecordType::of);
            size as usize >= HEADER_SIZE && size as usize <= rest.len() && kind.is_some()
        });
        // Introductions have to fill their record.
        let filled = record.intros().last().is_none_or(|last| {
            let size = crate::format::record::ExtIntro::SIZE + last.name.len();
            payload.len().saturating_sub(last.at) < size.saturating_add(4)
        });
        match record.kind() {
            None | Some(RecordType::Boundary) => false,
            Some(RecordType::ExtIntro) if !filled => false,
            Some(RecordType::ExtRec) if !self.holds_whole_elements(&record, txn) => false,
            Some(_) => !hides && damage(&record).is_none(),
        }
    }

    /// Whether an ext-rec consists of elements of the extension that its transaction has introduced last.
    fn holds_whole_elements(&self, record: &Record<'_>, txn: Txn) -> bool {
        if record.offset >= txn.end {
            return true;
        }
        let mut names = ExtNames::default();
        let log = LogFile { size: self.bytes.len() as u64, ..self.log.clone() };
        let before = log.records(&self.readable).from(txn.begin, 1).take_while(|one| one.offset < record.offset);
        before.for_each(|one| names.follow(&one));
        let size = |intro: &Introduced| align4(4 + usize::from(intro.record_size));
        names.current().is_none_or(|intro| record.payload.len().is_multiple_of(size(intro)))
    }

    /// Gives a record the size that the next one tells.
    fn reframe(&mut self, at: u64, next: u64, txn: Txn) -> bool {
        if !self.fits(at, next, txn) {
            return false;
        }
        let size = next.saturating_sub(at);
        let Some(coded) = u32::try_from(size).ok().and_then(packed::encode) else { return false };
        let Ok(start) = usize::try_from(at) else { return false };
        if let Some(to) = self.readable.to_mut().get_mut(start..start.saturating_add(4)) {
            to.copy_from_slice(&coded);
        }
        self.mended.push(format!("record at {at}: its size is damaged, the next record tells it: {size}"));
        true
    }

    /// Makes a damaged stretch one record without meaning. It needs 12 bytes for that.
    fn hole(&mut self, at: u64, end: u64, what: String) {
        let mut end = end;
        if end.saturating_sub(at) < 12 {
            let mut log = self.log.clone();
            log.size = self.bytes.len() as u64;
            let next = log.records(self.bytes).from(end, 1).next().map(|record| record.end());
            let after = || resynchronize(self.bytes, at.saturating_add(12), self.log.endian);
            end = next.or_else(after).unwrap_or(self.bytes.len() as u64);
        }
        self.blank(at, end);
        self.holes.push(Hole { at, end, what, keeps_ids: false, is_strange: false });
    }

    /// Gives up a record that is whole, but cannot mean what it says.
    pub fn give_up(&mut self, at: u64, end: u64, what: String) {
        self.blank(at, end);
        self.holes.push(Hole { at, end, what, keeps_ids: true, is_strange: true });
        self.holes.sort_by_key(|hole| hole.at);
    }
}

/// What is wrong with a record, in the eyes of Dovecot or because nobody could know what it means.
fn damage(record: &Record<'_>) -> Option<Flaw> {
    let flaw = record.flaw().or_else(|| names_uid_0(record));
    flaw.or_else(|| wrong_boundary(record)).or_else(|| wrong_header(record)).or_else(|| {
        // "log_file_tail_offset goes past sync offset": a released Dovecot marks the log corrupted.
        let (_, value) = record.published_tail()?;
        (u64::from(value) > record.end()).then(|| {
            Flaw::new(
                crate::format::FileKind::Log,
                record.offset,
                FlawKind::TailPastSync,
                format!("at most {}", record.end()),
                value.to_string(),
            )
        })
    })
}

/// A boundary that has more to it than the size of its transaction: it has swallowed what follows it.
fn wrong_boundary(record: &Record<'_>) -> Option<Flaw> {
    let is_wrong = record.kind() == Some(RecordType::Boundary) && record.size != BOUNDARY_SIZE;
    is_wrong.then(|| {
        Flaw::new(
            crate::format::FileKind::Log,
            record.offset,
            FlawKind::BoundarySize,
            format!("a record of {BOUNDARY_SIZE} bytes"),
            record.size.to_string(),
        )
    })
}

/// A header update of what describes the index itself, or of what is counted: no Dovecot writes one.
fn wrong_header(record: &Record<'_>) -> Option<Flaw> {
    let derived = [
        0..IndexHeader::flags.offset,
        IndexHeader::messages_count.offset..IndexHeader::first_recent_uid.offset,
        IndexHeader::log_file_seq.offset..IndexHeader::log_file_tail_offset.offset,
        IndexHeader::log_file_head_offset.offset..IndexHeader::unused_old_sync_size_part1.offset,
    ];
    let chunks = record.header_chunks().filter(|_| record.kind() == Some(RecordType::HeaderUpdate));
    let chunk = chunks.into_iter().find(|chunk| {
        let from = chunk.offset as usize;
        derived.iter().any(|field| from < field.end && field.start < from + chunk.data.len())
    })?;
    Some(Flaw::new(
        crate::format::FileKind::Log,
        record.payload_at(chunk.at),
        FlawKind::RangeInvalid,
        "an update of header fields that are not derived",
        format!("{} bytes at {}", chunk.data.len(), chunk.offset),
    ))
}

/// The place of a UID 0: no message has it, but a payload that was zeroed has many. A modseq-update of UID 0 raises
/// HIGHESTMODSEQ alone, where it has a modseq (mail-index-sync-update.c).
fn names_uid_0(record: &Record<'_>) -> Option<Flaw> {
    let step = match record.kind()? {
        RecordType::Append => Append::SIZE,
        RecordType::ModseqUpdate => ModseqUpdate::SIZE,
        RecordType::ExtAtomicInc => AtomicInc::SIZE,
        // How long the later ones are only the introduction knows.
        RecordType::ExtRec => record.payload.len(),
        _ => return None,
    };
    let mut places = (0..record.payload.len()).step_by(step.max(1));
    let word = |at: usize| record.endian.u32_at(record.payload, at);
    let raises = |at: usize| {
        record.kind() == Some(RecordType::ModseqUpdate) && (word(at + 4), word(at + 8)) != (Some(0), Some(0))
    };
    let at = places.find(|at| word(*at) == Some(0) && !raises(*at))?;
    let kind = crate::format::FileKind::Log;
    Some(Flaw::new(kind, record.payload_at(at), FlawKind::RangeInvalid, "the UID of a message", "0"))
}

/// True when the first message that a log appends is UID 1, after UIDVALIDITY was set, or when it appends none and
/// gives no UID either.
fn begins_a_mailbox(log: &LogFile, bytes: &[u8]) -> bool {
    let mut validity = false;
    for record in log.records(bytes) {
        validity |= record.sets(IndexHeader::uid_validity).next().is_some();
        if let Some(first) = record.appended().next() {
            return validity && first == 1;
        }
        if record.sets(IndexHeader::next_uid).any(|next| next > 1) {
            return false;
        }
    }
    validity
}

/// Whether so many fields are none of a log's that others have taken its place: the rest says what it says by chance.
fn is_overwritten(header: &LogHeader) -> bool {
    let wrong = [
        header.major_version != 1,
        usize::from(header.hdr_size) > LogHeader::SIZE,
        header.compat_flags > 1,
        header.prev_file_seq >= header.file_seq,
    ];
    wrong.into_iter().filter(|is_wrong| *is_wrong).count() > 2
}

/// The header of a log, with what is wrong in it. What is lost is taken from the index that points into the log.
fn header(bytes: &[u8], index: Option<&IndexFile<'_>>) -> Option<(LogFile, Vec<String>)> {
    let size = bytes.len() as u64;
    if let Ok(mut log) = LogFile::parse(bytes, size)
        && size >= 24
        && log.header.file_seq != 0
        && log.records_at <= size
        && !is_overwritten(&log.header)
    {
        let mut flaws: Vec<String> = log.problems.iter().map(ToString::to_string).collect();
        let known = LogHeader::SIZE as u64;
        let begins = |at: u64| {
            let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            let first = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).unwrap_or(0) as usize;
            first >= HEADER_SIZE && first <= rest.len() && log.endian.u32_at(rest, 4).and_then(RecordType::of).is_some()
        };
        // No Dovecot has written a longer header.
        let too_far = log.records_at > known || !begins(log.records_at);
        if log.records_at != known && size > known && too_far && begins(known) {
            flaws.push(format!("hdr_size is {}, but the records begin at {known}", log.header.hdr_size));
            log.records_at = known;
        }
        // No log continues itself or a later one.
        if log.header.prev_file_seq >= log.header.file_seq && begins_a_mailbox(&log, bytes) {
            flaws.push(format!(
                "prev_file_seq is {}, but log {} begins with the mailbox",
                log.header.prev_file_seq, log.header.file_seq
            ));
            (log.header.prev_file_seq, log.header.prev_file_offset) = (0, 0);
        }
        log.header.major_version = 1;
        log.header.compat_flags = u8::from(log.endian == Endian::Little);
        if u64::from(log.header.hdr_size) != log.records_at {
            log.header.hdr_size = u16::try_from(log.records_at).unwrap_or(40);
        }
        return Some((log, flaws));
    }
    let index = index?;
    let pos = &index.header;
    let first_size = bytes.get(LogHeader::SIZE..).and_then(<[u8]>::first_chunk::<4>)?;
    if packed::decode(*first_size).is_none_or(|n| n < 8) || u64::from(pos.log_file_head_offset) > size {
        return None;
    }
    let mut header = LogHeader {
        major_version: 1,
        minor_version: 3,
        hdr_size: 40,
        indexid: pos.indexid,
        file_seq: pos.log_file_seq,
        prev_file_seq: pos.log_file_seq.saturating_sub(1).max(1),
        prev_file_offset: u32::MAX,
        create_stamp: 0,
        initial_modseq: 1,
        compat_flags: u8::from(index.endian == Endian::Little),
        unused: [0; 3],
        unused2: 0,
    };
    let log_of = |header: &LogHeader| LogFile {
        header: header.clone(),
        endian: index.endian,
        endian_guessed: false,
        records_at: 40,
        size,
        problems: Vec::new(),
    };
    // The index knows the highest modseq at its position: counting back gives the one the log started with.
    let head = u64::from(pos.log_file_head_offset);
    let log = log_of(&header);
    let mut scan = log.records(bytes);
    while scan.pos() < head && scan.next().is_some() {}
    if scan.pos() != head {
        return None;
    }
    let steps = scan.modseq().saturating_sub(1);
    let highest = index.extension(b"modseq").and_then(|ext| index.endian.u64_at(ext.data, 0));
    header.initial_modseq = highest?.saturating_sub(steps).max(1);
    Some((log_of(&header), vec!["the header is destroyed; the index tells what it said".into()]))
}
