//! When log records were written. A record carries no time, but the files hold clocks: stamps in headers and records,
//! GUIDs, and the times of the files themselves. Each says of some position in the logs "not written before" or "not
//! written after", and since a log only grows, the first kind holds for all later records and the second for all
//! earlier ones.
//!
//! A clock counts only for what it proves. Most stamps are taken before their record is written, by a process that may
//! then wait for a lock or still be busy with its command, and many are copied from elsewhere (save dates, GUIDs,
//! attribute stamps): these are lower bounds and nothing more. Only file times, and the few stamps that are known to be
//! fresh, bound from above; the latter with [`LAG`] to spare. UIDVALIDITY and `indexid` are no clocks: both are counted
//! up where several are made in a second, and kept when a mailbox is copied. A clock that contradicts a stronger one is
//! left out.

use std::io;

use crate::format::ext::{Clocks, IndexFlavor, KnownExt, MaildirHeader, MboxHeader, SdboxHeader};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, LogHeader, Txn};
use crate::format::record::{ExpungeGuid, ExtReset, Record, RecordType};
use crate::format::{Disk, Endian, Field};
use crate::model::LogPos;
use crate::source::{Generation, LogStream, MmapPolicy, PathError, Role, Stat, StreamStep};

/// Seconds by which a fresh stamp may be older than the record it is in: `ioloop_time` stands still during a command,
/// and a lock may be waited for 180 seconds.
pub const LAG: i64 = 600;
/// Nanoseconds by which a file's mtime may lag behind the clock: the kernel takes it from its tick.
const TICK: i64 = 10_000_000;
/// Seconds by which a clock may be ahead of ours before it is called wrong.
const FUTURE: i64 = 86_400;
/// Clocks kept for each direction. Past that every second one is dropped: brackets get wider, never wrong.
const MOST: usize = 1 << 15;
/// Hosts whose GUIDs are told apart.
const MOST_HOSTS: usize = 64;
/// Mtimes in the header of a Maildir's extension.
const MTIMES: [Field; 3] = [MaildirHeader::new_mtime, MaildirHeader::cur_mtime, MaildirHeader::uidlist_mtime];
/// The times at which two of them were looked at.
const CHECKS: [Field; 2] = [MaildirHeader::new_check_time, MaildirHeader::cur_check_time];
/// Largest process number of Linux.
const MAX_PID: u32 = 1 << 22;

/// What a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClockKind {
    /// `create_stamp` of a log.
    CreateStamp,
    /// mtime of `dovecot.index.log`.
    LogMtime,
    /// mtime of `dovecot.index.log.2`.
    OldLogMtime,
    /// mtime of `dovecot.index`: all records before its head are older.
    IndexMtime,
    /// mtime of `dovecot.index.backup`.
    BackupMtime,
    /// `log2_rotate_time`.
    RotateTime,
    /// `last_temp_file_scan`.
    TempFileScan,
    /// `day_stamp`: when the local day began.
    DayStamp,
    /// `new_check_time` or `cur_check_time` of the `maildir` extension.
    MaildirCheck,
    /// mtime of a directory or of the uidlist in the `maildir` extension.
    MaildirMtime,
    /// `sync_mtime` of the `mbox` extension.
    MboxMtime,
    /// Stamp of an attribute-update.
    Attribute,
    /// `save_date` of a mail in mdbox.
    SaveDate,
    /// First `reset_id` of a cache.
    CacheReset,
    /// A GUID that Dovecot generated.
    Guid,
    /// The record was there when it was read.
    Read,
}

impl ClockKind {
    /// The word used in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            ClockKind::CreateStamp => "create_stamp",
            ClockKind::LogMtime => "log_mtime",
            ClockKind::OldLogMtime => "log2_mtime",
            ClockKind::IndexMtime => "index_mtime",
            ClockKind::BackupMtime => "backup_mtime",
            ClockKind::RotateTime => "log2_rotate_time",
            ClockKind::TempFileScan => "last_temp_file_scan",
            ClockKind::DayStamp => "day_stamp",
            ClockKind::MaildirCheck => "maildir_check_time",
            ClockKind::MaildirMtime => "maildir_mtime",
            ClockKind::MboxMtime => "mbox_sync_mtime",
            ClockKind::Attribute => "attribute_timestamp",
            ClockKind::SaveDate => "save_date",
            ClockKind::CacheReset => "cache_reset_id",
            ClockKind::Guid => "guid",
            ClockKind::Read => "read",
        }
    }
}

/// One clock and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// What it was read from.
    pub kind: ClockKind,
    /// The record, or the end of the records, that it was found at.
    pub pos: LogPos,
    /// The time it shows, UNIX seconds.
    pub value: i64,
    /// The bound that follows, UNIX seconds: rounded, and with what must be allowed for.
    pub bound: i64,
}

/// The time in which a record was written, UNIX seconds, both ends included. `None` when no clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bracket {
    /// It was not written before this.
    pub not_before: Option<i64>,
    /// It was not written after this.
    pub not_after: Option<i64>,
}

/// The clocks that gave a bracket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The clock of the lower bound.
    pub not_before: Option<Stamp>,
    /// The clock of the upper bound.
    pub not_after: Option<Stamp>,
}

/// A GUID that Dovecot made (`guid_128_generate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid {
    /// UNIX seconds.
    pub seconds: u32,
    /// Nanoseconds.
    pub nanoseconds: u32,
    /// Process that made it.
    pub pid: u32,
    /// Last four bytes of the SHA-1 of the host's name.
    pub host_hash: [u8; 4],
}

impl Guid {
    /// Takes a GUID apart; `None` when it was not made from a clock. Maildir GUIDs are digests of file names, of which
    /// one in four thousand passes: [`Clock`] wants to have seen the host before it believes one.
    pub fn decode(raw: &[u8]) -> Option<Guid> {
        let word = |at| Endian::Little.u32_at(raw, at);
        let host_hash = *raw.get(12..16)?.first_chunk::<4>()?;
        let guid = Guid { nanoseconds: word(0)?, seconds: word(4)?, pid: word(8)?, host_hash };
        // 2000-01-01; there was no Dovecot before.
        let sane = guid.nanoseconds < 1_000_000_000 && guid.seconds > 946_684_800 && (1..=MAX_PID).contains(&guid.pid);
        sane.then_some(guid)
    }
}

/// GUIDs of one host, until a second one shows that these are no accident.
#[derive(Clone, Debug)]
struct Host {
    hash: [u8; 4],
    /// The GUID it was first seen in; `None` once confirmed.
    first: Option<Guid>,
    /// What that GUID says, if it is true.
    pending: Option<Stamp>,
}

/// What is known of the log that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    seq: u32,
    txn: Txn,
    ext: Clocks,
    /// `reset_id` of the last intro.
    reset_id: u32,
    record_size: u16,
}

/// All clocks of a mailbox, in memory that does not grow with its logs.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// "Not before", by position; bounds rise.
    lowers: Vec<Stamp>,
    /// "Not after" for everything before the position, in the order found.
    fresh: Vec<Stamp>,
    /// "Not after" from file times, by position.
    files: Vec<Stamp>,
    /// Lowers that were not found in the order of their positions: merged into `lowers` by `settle`.
    late: Vec<Stamp>,
    hosts: Vec<Host>,
    names: ExtNames,
    /// What the extensions are that `names` knows by number.
    kinds: Vec<Clocks>,
    /// Some of them have clocks in their headers.
    header_clocks: bool,
    /// Some of them have clocks in their records.
    record_clocks: bool,
    /// `names` knows the number of the keywords.
    keywords: bool,
    flavor: IndexFlavor,
    now: i64,
    current: Current,
    last_check: i64,
}

impl Clock {
    /// Reads the clocks of a mailbox whose files were opened at `now`, UNIX seconds: one pass over its logs.
    ///
    /// # Errors
    /// When a file cannot be read. Files that are missing or no index files are left out.
    pub fn build(generation: &Generation, now: i64) -> Result<Clock, PathError> {
        let mut logs = Vec::new();
        for role in [Role::OldLog, Role::Log] {
            match generation.stream(role) {
                Some(Ok(stream)) => logs.push((role, stream)),
                Some(Err(error)) if error.kind() != io::ErrorKind::InvalidData => {
                    return Err(PathError::io(&generation.files().path(role), error));
                }
                _ => {}
            }
        }
        if let [(_, old), (_, new)] = logs.as_slice()
            && old.stat.same_file(&new.stat)
        {
            // In the middle of a rotation both names lead to one file.
            logs.remove(0);
        }
        logs.sort_by_key(|(_, log)| log.log.header.file_seq);
        let known: Vec<_> = logs.iter().map(|(role, log)| (*role, log)).collect();
        let mut clock = Clock::before(generation, &known, now)?;
        for (role, stream) in &mut logs {
            clock.read(stream).map_err(|error| PathError::io(&generation.files().path(*role), error))?;
        }
        clock.settle();
        Ok(clock)
    }

    /// The clocks that are known before the first record of `logs`, oldest first, is read: file times, and what the
    /// index says.
    ///
    /// # Errors
    /// When an index that exists cannot be read.
    pub fn before(generation: &Generation, logs: &[(Role, &LogStream)], now: i64) -> Result<Clock, PathError> {
        let mut clock = Clock::new(now);
        for role in [Role::Backup, Role::Index] {
            let Some(input) = generation.input(role, MmapPolicy::Auto)? else { continue };
            if let Ok(index) = IndexFile::parse(&input.bytes) {
                let log = logs.iter().find(|(_, log)| log.log.header.file_seq == index.header.log_file_seq);
                clock.index(role, &index, &input.stat, log.map(|(_, log)| &log.log.header));
            }
        }
        for (role, stream) in logs {
            clock.log_file(*role, &stream.log.header, &stream.stat);
        }
        Ok(clock)
    }

    /// Takes the clocks of a log from where `stream` stands to its end.
    ///
    /// # Errors
    /// As read(2).
    pub fn read(&mut self, stream: &mut LogStream) -> io::Result<()> {
        self.log_begin(&stream.log.header);
        loop {
            match stream.step()? {
                StreamStep::Record(record) => self.record(&record),
                StreamStep::End(end) => {
                    if end.reason != EndReason::Eof {
                        self.names.after_hole();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// No clocks yet, at `now`, UNIX seconds.
    pub fn new(now: i64) -> Clock {
        Clock { now, ..Clock::default() }
    }

    /// Takes the clocks of an index file: its mtime, and the stamps in its headers. `log` is the log it points into, if
    /// that is there.
    pub fn index(&mut self, role: Role, index: &IndexFile<'_>, stat: &Stat, log: Option<&LogHeader>) {
        let header = &index.header;
        let pos = LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_head_offset) };
        let kind = if role == Role::Backup { ClockKind::BackupMtime } else { ClockKind::IndexMtime };
        self.mtime(kind, pos, stat, log.map(|log| log.create_stamp));
        self.names = ExtNames::new(index.extensions.iter().map(|ext| ext.name.to_vec()));
        self.learn();
        self.base_header(pos, pos, 0, &header.to_bytes(index.endian), index.endian);
        for ext in &index.extensions {
            self.ext_header(pos, pos, self.clocks_of(ext.name), 0, ext.data, index.endian);
        }
        // What the index repeats was fresh when it was logged, not when the index was written; and the records before
        // its head are still to come.
        self.fresh.clear();
        self.last_check = 0;
        self.late.append(&mut self.lowers);
    }

    /// Takes the mtime of a log. To be called for all logs before the records of any.
    pub fn log_file(&mut self, role: Role, header: &LogHeader, stat: &Stat) {
        let kind = if role == Role::OldLog { ClockKind::OldLogMtime } else { ClockKind::LogMtime };
        self.mtime(kind, LogPos { seq: header.file_seq, offset: u64::MAX }, stat, Some(header.create_stamp));
    }

    /// Takes the clocks in the header of a log, whose records are to follow.
    pub fn log_begin(&mut self, header: &LogHeader) {
        self.current = Current { seq: header.file_seq, ..Current::default() };
        if header.starts_empty() {
            self.names = ExtNames::from_nothing();
        }
        self.learn();
        self.introduced();
        self.keywords = false;
        let pos = LogPos { seq: header.file_seq, offset: 0 };
        let stamp = i64::from(header.create_stamp);
        self.lower(ClockKind::CreateStamp, pos, pos, stamp);
        self.fresh(ClockKind::CreateStamp, pos, pos, stamp);
    }

    /// A mtime bounds all records before `pos`. One that is older than the file's own first byte was set by hand.
    fn mtime(&mut self, kind: ClockKind, pos: LogPos, stat: &Stat, created: Option<u32>) {
        let (seconds, nanoseconds) = stat.mtime;
        let created = created.map_or(0, i64::from);
        if seconds < created && created <= self.now.saturating_add(FUTURE) {
            return;
        }
        let up = nanoseconds.saturating_add(TICK).saturating_add(999_999_999) / 1_000_000_000;
        self.files.push(Stamp { kind, pos, value: seconds, bound: seconds.saturating_add(up) });
        self.files.sort_by_key(|stamp| stamp.pos);
    }

    /// The record was read at `at`, so that it and all before it had been written by then.
    pub fn seen(&mut self, pos: LogPos, at: i64) {
        self.now = self.now.max(at);
        self.files.retain(|stamp| stamp.kind != ClockKind::Read && stamp.kind != ClockKind::LogMtime);
        self.files.push(Stamp { kind: ClockKind::Read, pos, value: at, bound: at.saturating_add(1) });
        self.files.sort_by_key(|stamp| stamp.pos);
    }

    fn lower(&mut self, kind: ClockKind, start: LogPos, pos: LogPos, value: i64) {
        // Most stamps repeat what is known.
        if self.lowers.last().is_some_and(|last| last.bound >= value) {
            return;
        }
        let Some(stamp) = self.sane(kind, start, pos, value) else { return };
        if self.lowers.len() >= MOST {
            thin(&mut self.lowers);
        }
        self.lowers.push(stamp);
    }

    /// A lower bound that contradicts neither the file times nor, by more than a day, our own clock.
    fn sane(&self, kind: ClockKind, start: LogPos, pos: LogPos, value: i64) -> Option<Stamp> {
        let limit = self.file_bound(start).map_or(self.now.saturating_add(FUTURE), |upper| upper.bound);
        (value > 0 && value <= limit).then_some(Stamp { kind, pos: start.min(pos), value, bound: value })
    }

    /// A stamp that was taken at most [`LAG`] before its record was written: what lies before `start` is not younger.
    fn fresh(&mut self, kind: ClockKind, start: LogPos, pos: LogPos, value: i64) {
        let bound = value.saturating_add(LAG);
        let before = self.lowers.iter().rev().find(|lower| lower.pos < start);
        if value <= 0 || before.is_some_and(|lower| lower.bound > bound) || value > self.now.saturating_add(FUTURE) {
            return;
        }
        // Later and earlier at once: what was kept before says less.
        while self.fresh.last().is_some_and(|last| last.bound >= bound) {
            self.fresh.pop();
        }
        if self.fresh.len() >= MOST {
            thin(&mut self.fresh);
        }
        self.fresh.push(Stamp { kind, pos: start.min(pos), value, bound });
    }

    /// A GUID is a clock once two different ones name the same host.
    fn guid(&mut self, start: LogPos, pos: LogPos, raw: &[u8]) {
        let Some(guid) = Guid::decode(raw) else { return };
        let value = i64::from(guid.seconds);
        let known = self.hosts.iter().position(|host| host.hash == guid.host_hash);
        let Some(known) = known else {
            if self.hosts.len() < MOST_HOSTS {
                let pending = self.sane(ClockKind::Guid, start, pos, value);
                self.hosts.push(Host { hash: guid.host_hash, first: Some(guid), pending });
            }
            return;
        };
        if let Some(host) = self.hosts.get_mut(known)
            && let Some(first) = host.first
        {
            if first == guid {
                return;
            }
            host.first = None;
            self.late.extend(host.pending.take());
        }
        self.lower(ClockKind::Guid, start, pos, value);
    }

    /// When and by whom a GUID was made, if Dovecot made it: its host must be known from another one.
    pub fn guid_of(&self, raw: &[u8]) -> Option<Guid> {
        let guid = Guid::decode(raw)?;
        self.hosts.iter().any(|host| host.hash == guid.host_hash && host.first.is_none()).then_some(guid)
    }

    /// The lower bound of the record that was taken last.
    #[inline]
    pub fn running(&self) -> Option<i64> {
        self.lowers.last().map(|stamp| stamp.bound)
    }

    /// Takes the clocks of a record of the log that was begun.
    #[inline(always)]
    pub fn record(&mut self, record: &Record<'_>) {
        let kind = record.kind();
        match kind {
            Some(RecordType::Boundary) => {
                self.current.txn.follow(record);
            }
            // The tail offset alone is by far the most frequent of them.
            Some(RecordType::HeaderUpdate) if record.is_tail_update() => {}
            Some(RecordType::ExtIntro) => self.introduction(record),
            Some(RecordType::ExtHdr) if self.current.ext == Clocks::None => {}
            Some(RecordType::ExtHdr) if self.current.ext == Clocks::Maildir && self.old_maildir(record) => {}
            Some(RecordType::ExtRec) if !matches!(self.current.ext, Clocks::SaveDates | Clocks::Guids) => {}
            Some(RecordType::KeywordUpdate) if self.keywords => {}
            Some(
                RecordType::Append
                | RecordType::FlagUpdate
                | RecordType::Expunge
                | RecordType::KeywordReset
                | RecordType::ModseqUpdate
                | RecordType::ExtAtomicInc,
            ) => {}
            _ => self.look_into(record, kind),
        }
    }

    /// The types of which [`record`](Clock::record) must see every record, as bits of the type word; of boundaries and
    /// of intros by number it needs only the last before one of these. An expunge by GUID shares bits with some of
    /// them. It changes only with what `record` is shown.
    pub fn watched(&self) -> u32 {
        const ALWAYS: u32 = RecordType::HeaderUpdate.raw()
            | RecordType::ExtIntro.raw()
            | RecordType::ExtReset.raw()
            | RecordType::ExtHdr32.raw()
            | RecordType::AttributeUpdate.raw();
        let header = if self.header_clocks { RecordType::ExtHdr.raw() } else { 0 };
        let record = if self.record_clocks { RecordType::ExtRec.raw() } else { 0 };
        let keyword = if self.keywords { 0 } else { RecordType::KeywordUpdate.raw() };
        ALWAYS | header | record | keyword
    }

    /// Takes an introduction. What an ext record says of the time is true whether or not Dovecot applies it.
    #[inline]
    fn introduction(&mut self, record: &Record<'_>) {
        self.names.follow(record);
        if self.kinds.len() != self.names.count() {
            self.learn();
        }
        self.introduced();
    }

    /// Looks up what the introduced extension is.
    #[inline]
    fn introduced(&mut self) {
        if let Some(intro) = self.names.current() {
            self.current.ext = self.kinds.get(intro.id).copied().unwrap_or_default();
            self.current.reset_id = intro.reset_id;
            self.current.record_size = intro.record_size;
        }
    }

    /// True for a whole `maildir` header whose stamps are no news.
    #[inline]
    fn old_maildir(&self, record: &Record<'_>) -> bool {
        let Some(chunk) = record.payload.get(4..40).filter(|_| record.size == 48) else { return false };
        let field = |field: Field| field.u32_in(chunk, 0, record.endian).map_or(0, i64::from);
        let check = CHECKS.into_iter().map(field).max().unwrap_or(0);
        let latest = MTIMES.into_iter().map(field).fold(check, i64::max);
        check <= self.last_check && self.running().is_some_and(|known| latest <= known)
    }

    /// Takes the clocks of a record that may have some.
    fn look_into(&mut self, record: &Record<'_>, kind: Option<RecordType>) {
        let endian = record.endian;
        let seq = self.current.seq;
        let pos = LogPos { seq, offset: record.offset };
        // A transaction is written at once, so what holds for one of its records holds for all.
        self.current.txn.follow(record);
        let start = LogPos { seq, offset: self.current.txn.begin };
        match kind {
            Some(RecordType::HeaderUpdate) => {
                for chunk in record.header_chunks() {
                    self.base_header(start, pos, chunk.offset as usize, chunk.data, endian);
                }
            }
            // The first keyword makes an extension without an intro.
            Some(RecordType::KeywordUpdate) if !self.keywords => {
                self.keywords = true;
                self.names.follow(record);
                if self.names.current().is_none() {
                    self.current = Current { seq, txn: self.current.txn, ..Current::default() };
                }
            }
            Some(RecordType::ExtReset) if self.current.ext == Clocks::ResetId && self.current.reset_id == 0 => {
                // A later cache counts up from the one before it and may be ahead of the clock.
                let reset = ExtReset::read(record.payload, endian);
                self.lower(ClockKind::CacheReset, start, pos, i64::from(reset.new_reset_id));
            }
            Some(RecordType::ExtHdr | RecordType::ExtHdr32) if self.current.ext != Clocks::None => {
                let ext = self.current.ext;
                for chunk in record.header_chunks() {
                    self.ext_header(start, pos, ext, chunk.offset as usize, chunk.data, endian);
                }
            }
            Some(RecordType::ExtRec) if self.current.ext == Clocks::SaveDates && self.current.record_size >= 8 => {
                let dates = record.ext_recs(self.current.record_size).filter_map(|(_, data)| endian.u32_at(data, 4));
                if let Some(latest) = dates.max() {
                    self.lower(ClockKind::SaveDate, start, pos, i64::from(latest));
                }
            }
            Some(RecordType::ExtRec) if self.current.ext == Clocks::Guids && self.current.record_size >= 16 => {
                for (_, data) in record.ext_recs(self.current.record_size) {
                    self.guid(start, pos, data);
                }
            }
            Some(RecordType::ExpungeGuid) => {
                for one in record.elements::<ExpungeGuid>() {
                    self.guid(start, pos, &one.guid_128);
                }
            }
            Some(RecordType::AttributeUpdate) => {
                for attribute in record.attributes() {
                    self.lower(ClockKind::Attribute, start, pos, attribute.timestamp.map_or(0, i64::from));
                }
            }
            _ => {}
        }
    }

    /// Looks up what the extensions are.
    #[cold]
    fn learn(&mut self) {
        if self.names.flavor() != IndexFlavor::Mailbox {
            self.flavor = self.names.flavor();
        }
        self.kinds = (0..).map_while(|id| self.names.name(id)).map(|name| self.clocks_of(name)).collect();
        self.header_clocks = self.kinds.iter().any(|ext| *ext != Clocks::None);
        self.record_clocks = self.kinds.iter().any(|ext| matches!(ext, Clocks::SaveDates | Clocks::Guids));
    }

    fn clocks_of(&self, name: &[u8]) -> Clocks {
        KnownExt::of(name, self.flavor).map_or(Clocks::None, |known| known.clocks)
    }

    fn base_header(&mut self, start: LogPos, pos: LogPos, offset: usize, data: &[u8], endian: Endian) {
        let field = |field: Field| {
            let value = field.u32_in(data, offset, endian)?;
            (value != 0 && value != u32::MAX).then_some(i64::from(value))
        };
        if let Some(time) = field(IndexHeader::log2_rotate_time) {
            self.lower(ClockKind::RotateTime, start, pos, time);
        }
        if let Some(time) = field(IndexHeader::last_temp_file_scan) {
            self.lower(ClockKind::TempFileScan, start, pos, time);
            self.fresh(ClockKind::TempFileScan, start, pos, time);
        }
        if let Some(time) = field(IndexHeader::day_stamp) {
            self.lower(ClockKind::DayStamp, start, pos, time);
        }
    }

    fn ext_header(&mut self, start: LogPos, pos: LogPos, ext: Clocks, offset: usize, data: &[u8], endian: Endian) {
        let field = |field: Field| field.u32_in(data, offset, endian).map_or(0, i64::from);
        match ext {
            Clocks::Maildir => {
                for time in MTIMES.map(field) {
                    self.lower(ClockKind::MaildirMtime, start, pos, time);
                }
                let check = CHECKS.into_iter().map(field).max().unwrap_or(0);
                self.lower(ClockKind::MaildirCheck, start, pos, check);
                // The header is written whole: only a check time that rises is the one just taken.
                if check > self.last_check {
                    self.last_check = check;
                    self.fresh(ClockKind::MaildirCheck, start, pos, check);
                }
            }
            Clocks::Mbox => self.lower(ClockKind::MboxMtime, start, pos, field(MboxHeader::sync_mtime)),
            // Both dbox headers have it in one place.
            Clocks::MailboxGuid => {
                if let Some(raw) = SdboxHeader::mailbox_guid.bytes_in(data, offset) {
                    self.guid(start, pos, raw);
                }
            }
            _ => {}
        }
    }

    /// Puts late findings in order. To be called once the records have been taken, before the first question.
    pub fn settle(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.lowers);
        all.append(&mut self.late);
        all.sort_by_key(|stamp| (stamp.pos, stamp.bound));
        for stamp in all {
            if self.lowers.last().is_none_or(|last| last.bound < stamp.bound) {
                self.lowers.push(stamp);
            }
        }
    }

    /// The least bound of the file times for the record at `pos`.
    fn file_bound(&self, pos: LogPos) -> Option<&Stamp> {
        // There are at most five.
        self.files
            .iter()
            .filter(|stamp| stamp.pos > pos || stamp.kind == ClockKind::Read && stamp.pos == pos)
            .min_by_key(|stamp| stamp.bound)
    }

    /// The clocks that say when the record at `pos` was written.
    pub fn evidence(&self, pos: LogPos) -> Evidence {
        let file = self.file_bound(pos).copied();
        // Bounds rise along the list, so the first one behind the record is the least.
        let fresh = self.fresh.get(self.fresh.partition_point(|stamp| stamp.pos <= pos)).copied();
        let not_after = match (file, fresh) {
            (Some(file), Some(fresh)) => Some(if fresh.bound < file.bound { fresh } else { file }),
            (file, fresh) => file.or(fresh),
        };
        let known = self.lowers.get(..self.lowers.partition_point(|stamp| stamp.pos <= pos)).unwrap_or_default();
        let limit = not_after.map_or(i64::MAX, |stamp| stamp.bound);
        let known = known.get(..known.partition_point(|stamp| stamp.bound <= limit)).unwrap_or_default();
        Evidence { not_before: known.last().copied(), not_after }
    }

    /// When the record at `pos` was written.
    pub fn bracket(&self, pos: LogPos) -> Bracket {
        let evidence = self.evidence(pos);
        Bracket {
            not_before: evidence.not_before.map(|stamp| stamp.bound),
            not_after: evidence.not_after.map(|stamp| stamp.bound),
        }
    }
}

/// Drops every second clock.
fn thin(stamps: &mut Vec<Stamp>) {
    let mut keep = false;
    stamps.retain(|_| {
        keep = !keep;
        keep
    });
}
