//! L9 to L16 for logs of version 1.3, that is, of Dovecot 2.2.29 and later: what it writes has one shape
//! (`mail-index-transaction-export.c`, `mail-index-transaction-finish.c`, `mail-transaction-log-append.c`). It reads
//! any other without a word, so that only damage, or another writer, can be behind it.

use std::collections::HashMap;

use super::names::one_bit_off;
use super::{Code, Finding, Findings, Log, Severity, Subject};
use crate::format::changes::{Change, Effect, FlagChange};
use crate::format::ext::KnownExt;
use crate::format::index::IndexHeader;
use crate::format::intros::{BY_NAME, ExtNames};
use crate::format::log::Txn;
use crate::format::record::{EXTERNAL, ExtIntro, ExtReset, FlagUpdate, Record, RecordType, SYNC};
use crate::format::{Disk, Field, align4};
use crate::model::{Mailbox, UidSet};

/// Bytes of a boundary record.
const BOUNDARY_SIZE: u32 = 12;
/// Fields of the base header that are only written together.
const DAYS: [Field; 2] = [IndexHeader::day_stamp, IndexHeader::day_first_uid];

/// Judges the logs of this mailbox's present life; `mailbox` is the state they lead to.
pub(super) fn check(subject: &Subject<'_>, mailbox: &Mailbox, found: &mut Findings) {
    let mut messages = Messages::default();
    let mut names = ExtNames::new(mailbox.extensions.iter().map(|ext| ext.name.clone()));
    let mut shapes = HashMap::new();
    for log in subject.history().rev() {
        if found.any(&log.path, Severity::Error) {
            return;
        }
        let strict = log.file.log.header.minor_version >= 3 && !subject.is_old();
        messages.begin(log);
        let mut judge = Judge {
            log,
            mailbox,
            found,
            unit: Unit::default(),
            names: &mut names,
            messages: &mut messages,
            shapes: &mut shapes,
        };
        let mut records = log.file.records().peekable();
        while let Some(record) = records.next() {
            if strict {
                judge.record(&record, records.peek());
            }
            judge.names.follow(&record);
            judge.messages.note(&record);
        }
        if strict {
            judge.close();
        }
    }
}

/// What there has ever been of messages.
#[derive(Default)]
struct Messages {
    /// Every UID from here on was given out in the logs that are there; 0: unknown yet.
    from: u32,
    appended: UidSet,
}

impl Messages {
    fn begin(&mut self, log: &Log<'_>) {
        if log.file.log.header.starts_empty() {
            *self = Messages { from: 1, appended: UidSet::new() };
        }
    }

    fn note(&mut self, record: &Record<'_>) {
        for uid in record.appended() {
            if self.from == 0 {
                self.from = uid;
            }
            self.appended.insert(uid);
        }
    }

    /// A UID of the range that no message ever had.
    fn never(&self, uid1: u32, uid2: u32) -> Option<u32> {
        let mut uid = uid1.max(self.from);
        if self.from == 0 || uid > uid2 {
            return None;
        }
        let ranges = self.appended.ranges();
        let at = ranges.partition_point(|(_, last)| *last < uid);
        match ranges.get(at) {
            Some((first, last)) if *first <= uid => {
                uid = last.checked_add(1)?;
                (uid <= uid2).then_some(uid)
            }
            _ => Some(uid),
        }
    }

    fn highest(&self) -> u32 {
        self.appended.ranges().last().map_or(0, |(_, last)| *last)
    }
}

/// What is known of the transaction that a record belongs to.
#[derive(Default)]
struct Unit {
    txn: Txn,
    /// Its boundary's type word.
    boundary: Option<u32>,
    /// The type word of its first record.
    first: Option<u32>,
    records: u32,
    /// The place of the last record in the order in which a transaction is exported.
    rank: u8,
    before: Option<RecordType>,
    /// What an ext-reset in it has set.
    reset_id: Option<u32>,
}

#[derive(Clone, Copy)]
struct Shape {
    hdr_size: u32,
    record_size: u16,
    record_align: u16,
}

struct Judge<'a, 'b> {
    log: &'a Log<'b>,
    mailbox: &'a Mailbox,
    found: &'a mut Findings,
    unit: Unit,
    names: &'a mut ExtNames,
    messages: &'a mut Messages,
    /// The last introduction of each extension, by its place.
    shapes: &'a mut HashMap<usize, Shape>,
}

impl Judge<'_, '_> {
    fn info(&mut self, code: Code, at: u64, message: impl Into<String>) {
        self.found.add(Finding::new(code, &self.log.path, message).at(at).severity(Severity::Info));
    }

    fn record(&mut self, record: &Record<'_>, next: Option<&Record<'_>>) {
        let mut txn = self.unit.txn;
        if txn.follow(record) {
            self.close();
            self.unit = Unit { txn, boundary: txn.is_announced.then_some(record.type_raw), ..Unit::default() };
            if txn.is_announced {
                if record.size != BOUNDARY_SIZE {
                    self.info(Code::L9, record.offset, format!("a boundary record of {} bytes", record.size));
                }
                return;
            }
            // A log that is to start from nothing is created with the header of the storage's extension in it
            // (log_write_ext_hdr_init_data).
            if record.offset == self.log.file.log.records_at
                && record.kind() == Some(RecordType::ExtIntro)
                && self.log.file.log.header.starts_empty()
                && let Some(next) = next.filter(|next| next.kind() == Some(RecordType::ExtHdr))
            {
                self.unit.txn.end = next.end();
            }
        }
        self.bits(record);
        self.place(record, next);
        self.unit.records += 1;
        self.unit.before = record.kind();
        self.content(record, next);
    }

    /// L9: one change has no boundary.
    fn close(&mut self) {
        if self.unit.boundary.is_some() && self.unit.records < 2 {
            let message = format!("a boundary around {} records, where there are at least 2", self.unit.records);
            self.info(Code::L9, self.unit.txn.begin, message);
        }
        self.unit = Unit::default();
    }

    /// L10: the bits that say who made the change are the same all through a transaction.
    fn bits(&mut self, record: &Record<'_>) {
        let differs = |mask: u32, other: Option<u32>| other.is_some_and(|other| (other ^ record.type_raw) & mask != 0);
        if differs(SYNC, self.unit.boundary) || differs(SYNC | EXTERNAL, self.unit.first) {
            let message = format!(
                "type word 0x{:08x} says otherwise than the rest of its transaction who made the change",
                record.type_raw
            );
            self.info(Code::L10, record.offset + 4, message);
        }
        self.unit.first.get_or_insert(record.type_raw);
    }

    /// L9 and L12: the order in which a transaction is exported.
    fn place(&mut self, record: &Record<'_>, next: Option<&Record<'_>>) {
        let Some(kind) = record.kind() else { return };
        let inside = self.unit.boundary.is_some();
        let follower = next.filter(|next| next.offset < self.unit.txn.end).and_then(Record::kind);
        if record.is_tail_update() {
            if inside {
                self.info(Code::L16, record.offset, "the tail is published inside a transaction, not after one");
            }
            return;
        }
        let needs_intro = matches!(
            kind,
            RecordType::ExtReset
                | RecordType::ExtHdr
                | RecordType::ExtHdr32
                | RecordType::ExtRec
                | RecordType::ExtAtomicInc
        );
        let introduced = match self.unit.before {
            Some(RecordType::ExtIntro) => true,
            Some(RecordType::ExtReset) => matches!(kind, RecordType::ExtHdr | RecordType::ExtHdr32),
            _ => false,
        };
        if needs_intro && !introduced {
            self.info(
                Code::L12,
                record.offset,
                format!("{kind} without an introduction just before it in its transaction"),
            );
        }
        let rank = match kind {
            RecordType::IndexUndeleted => 0,
            RecordType::ExtIntro if follower == Some(RecordType::ExtRec) => 6,
            RecordType::ExtIntro if follower == Some(RecordType::ExtAtomicInc) => 7,
            // Nothing is written where nothing is left to be written.
            RecordType::ExtIntro if matches!(self.unit.rank, 6 | 7) => self.unit.rank,
            RecordType::ExtIntro | RecordType::ExtReset | RecordType::ExtHdr | RecordType::ExtHdr32 => 1,
            RecordType::HeaderUpdate if self.unit.rank < 2 => 2,
            RecordType::AttributeUpdate => 3,
            RecordType::Append => 4,
            RecordType::FlagUpdate => 5,
            RecordType::ExtRec => 6,
            RecordType::ExtAtomicInc => 7,
            RecordType::KeywordUpdate | RecordType::KeywordReset => 8,
            RecordType::ModseqUpdate => 9,
            RecordType::Expunge | RecordType::ExpungeGuid => 10,
            RecordType::HeaderUpdate => 11,
            RecordType::IndexDeleted => 12,
            RecordType::Boundary => return,
        };
        let repeats = matches!(rank, 1 | 6 | 7 | 8) || self.unit.records == 0;
        if rank < self.unit.rank || (rank == self.unit.rank && !repeats) {
            let message = format!("{kind} comes too late in a transaction: it goes on past its end");
            self.info(Code::L9, record.offset, message);
        }
        self.unit.rank = self.unit.rank.max(rank);
    }

    fn content(&mut self, record: &Record<'_>, next: Option<&Record<'_>>) {
        let mut last = 0;
        for Change { uid1, uid2, at, effect } in record.changes_as_stored(self.names.current()) {
            match effect {
                Effect::Flags(_) | Effect::Keyword { .. } => {}
                // What is about single messages is in their order.
                Effect::Expunge { guid: Some(_), .. } | Effect::Extension { .. } | Effect::Increment { .. } => {
                    self.ascends(record, at, &mut last, uid1);
                }
                _ => break,
            }
            self.uids(record, at, uid1, uid2);
            match effect {
                Effect::Flags(FlagChange { add, remove, .. }) if add & remove != 0 => {
                    let message = format!("flags 0x{add:02x} added and 0x{remove:02x} removed at once");
                    self.info(Code::L11, record.payload_at(at + FlagUpdate::add_flags.offset), message);
                }
                Effect::Flags(FlagChange { add: 0, remove: 0, internal: true }) => {
                    let at = record.payload_at(at + FlagUpdate::add_flags.offset);
                    self.info(Code::L11, at, "a flag update that changes nothing");
                }
                // Behind the index nobody reads it again; before it, replay has said so.
                Effect::Extension { .. } if uid1 == 0 && !self.found.has(Code::L13, Some(&self.log.path)) => {
                    let finding = Finding::new(Code::L13, &self.log.path, "ext-rec of UID 0");
                    self.found.add(finding.at(record.payload_at(at)).severity(Severity::Warning));
                }
                Effect::Extension { data } if uid1 != 0 => {
                    let end = at + 4 + data.len();
                    let padding = record.payload.get(end..align4(end)).unwrap_or_default();
                    if padding.iter().any(|byte| *byte != 0) {
                        self.info(Code::L13, record.payload_at(at + 4), "padding that is not zero");
                    }
                }
                _ => {}
            }
        }
        match record.kind() {
            Some(RecordType::ExtIntro) => self.intros(record, next),
            Some(RecordType::ExtReset) => {
                self.unit.reset_id = Some(ExtReset::read(record.payload, record.endian).new_reset_id);
            }
            Some(RecordType::HeaderUpdate) => self.header_update(record),
            Some(RecordType::ExtHdr | RecordType::ExtHdr32) => self.ext_hdr(record),
            _ => {}
        }
    }

    /// L11: ranges are made of messages that the writer saw.
    fn uids(&mut self, record: &Record<'_>, at: usize, uid1: u32, uid2: u32) {
        // UIDs that are still to come are another matter, and reported as such; but not of extension data.
        let of_extension = matches!(record.kind(), Some(RecordType::ExtRec | RecordType::ExtAtomicInc));
        if uid2 >= self.mailbox.header.next_uid && !of_extension {
            return;
        }
        if let Some(uid) = self.messages.never(uid1, uid2) {
            let path = &self.log.path;
            self.found.info(Code::L11, path, || {
                let kind = record.kind().map_or("record", RecordType::name);
                let message = format!("{kind} of UIDs {uid1} to {uid2}, but there was never a UID {uid}");
                Finding::new(Code::L11, path, message).at(record.payload_at(at)).uid(uid)
            });
        }
    }

    /// L11: what is about single messages is in their order.
    fn ascends(&mut self, record: &Record<'_>, at: usize, last: &mut u32, uid: u32) {
        if uid <= *last {
            let kind = record.kind().map_or("record", RecordType::name);
            self.info(Code::L11, record.payload_at(at), format!("{kind} of UID {uid} after UID {last}"));
        }
        *last = uid;
    }

    /// L12.
    fn intros(&mut self, record: &Record<'_>, next: Option<&Record<'_>>) {
        for (i, intro) in record.intros().enumerate() {
            let at = record.payload_at(intro.at);
            let ExtIntro { ext_id, reset_id, .. } = intro.intro;
            if i > 0 {
                self.info(Code::L12, at, "a second introduction in one record");
            }
            if let Some(known) = one_bit_off(intro.name, KnownExt::names()) {
                let name = String::from_utf8_lossy(intro.name).into_owned();
                self.info(Code::L12, at + 20, format!("extension {name:?} is {known:?} with one bit flipped"));
            }
            let by_name = ext_id == BY_NAME;
            let place = self.mailbox.introduced(&intro);
            let Some(ext) = place.and_then(|place| self.mailbox.extensions.get(place)) else {
                if !by_name {
                    self.info(
                        Code::L12,
                        at,
                        format!("introduction of extension number {ext_id}, which does not exist"),
                    );
                }
                continue;
            };
            // The cache is introduced with the file_seq of its file, whatever the index knew of it.
            if by_name && reset_id != 0 && ext.name != b"cache" && self.unit.reset_id != Some(reset_id) {
                self.info(Code::L12, at + 4, format!("a new extension with reset_id {reset_id}"));
            }
            self.shape(&intro.intro, at, place.unwrap_or(usize::MAX), next);
        }
    }

    /// L12: an extension keeps its sizes; a larger header is introduced with the bytes that need it.
    fn shape(&mut self, intro: &ExtIntro, at: u64, place: usize, next: Option<&Record<'_>>) {
        let ExtIntro { hdr_size, record_size, record_align, .. } = *intro;
        let resize = intro.flags & 1 == 0;
        if let Some(before) = self.shapes.get(&place).copied().filter(|_| !resize) {
            if (record_size, record_align) != (before.record_size, before.record_align) {
                let message = format!(
                    "introduction with records of {record_size} bytes (aligned by {record_align}), the one before it \
                     had {} ({})",
                    before.record_size, before.record_align
                );
                self.info(Code::L12, at + 12, message);
            }
            let written = next
                .filter(|next| matches!(next.kind(), Some(RecordType::ExtHdr | RecordType::ExtHdr32)))
                .and_then(|next| next.header_chunks().last())
                .map(|chunk| u64::from(chunk.offset) + chunk.data.len() as u64);
            if intro.ext_id != BY_NAME && hdr_size > before.hdr_size && written != Some(u64::from(hdr_size)) {
                let message = format!(
                    "introduction with a header of {hdr_size} bytes, the one before it had {}",
                    before.hdr_size
                );
                self.info(Code::L12, at + 8, message);
            }
        }
        let hdr_size =
            if resize { hdr_size } else { self.shapes.get(&place).map_or(hdr_size, |old| old.hdr_size.max(hdr_size)) };
        self.shapes.insert(place, Shape { hdr_size, record_size, record_align });
    }

    /// L15 and L16: fields of the base header.
    fn header_update(&mut self, record: &Record<'_>) {
        let mut last: Option<u32> = None;
        let chunks = record.header_chunks().count();
        for chunk in record.header_chunks() {
            let at = record.payload_at(chunk.at);
            let end = chunk.offset.saturating_add(u32::try_from(chunk.data.len()).unwrap_or(u32::MAX));
            if last.is_some_and(|last| chunk.offset <= last) {
                self.info(
                    Code::L15,
                    at,
                    format!("header update of byte {} after byte {}", chunk.offset, last.unwrap_or(0)),
                );
            }
            last = Some(end);
            let from = chunk.offset as usize;
            let days = DAYS.map(|field| field.bytes_in(chunk.data, from).is_some());
            if days[0] != days[1] {
                self.info(Code::L15, at, "header update of a part of the days".to_owned());
            }
            let value = |field: Field| field.u32_in(chunk.data, from, record.endian);
            let tail = value(IndexHeader::log_file_tail_offset).is_some();
            if tail && (chunks != 1 || chunk.data.len() != 4 || !record.external()) {
                self.info(Code::L16, at, "the tail is published together with something else, or by a request");
            }
            if let Some(next_uid) = value(IndexHeader::next_uid).filter(|uid| *uid <= self.messages.highest()) {
                let highest = self.messages.highest();
                self.info(
                    Code::L15,
                    at + 4,
                    format!("header update sets next_uid to {next_uid}, but there is a UID {highest}"),
                );
            }
        }
    }

    /// L12: the bytes of an extension's header.
    fn ext_hdr(&mut self, record: &Record<'_>) {
        let mut last: Option<u64> = None;
        let mut used = 0;
        for chunk in record.header_chunks() {
            let begin = u64::from(chunk.offset);
            if last.is_some_and(|last| begin <= last) || chunk.data.is_empty() {
                let message = format!("header update of {} bytes at byte {begin}", chunk.data.len());
                self.info(Code::L12, record.payload_at(chunk.at), message);
            }
            last = Some(begin + chunk.data.len() as u64);
            let fixed = if record.kind() == Some(RecordType::ExtHdr32) { 8 } else { 4 };
            used = chunk.at + fixed + chunk.data.len();
        }
        let rest = record.payload.get(used..).unwrap_or_default();
        if rest.len() > 3 || rest.iter().any(|byte| *byte != 0) {
            let message = format!("{} bytes after the last element are not padding", rest.len());
            self.info(Code::L12, record.payload_at(used), message);
        }
    }
}
