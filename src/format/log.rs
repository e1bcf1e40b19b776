//! `dovecot.index.log` and `.log.2`: header, framing, and the modseq counter (`mail-transaction-log-file.c`).
//!
//! A log has no checksums and no end marker. [`Framer`] walks it record by record through any window of its bytes, so
//! the same code reads a log in memory and one that is streamed.

use super::disk::{Disk, disk_struct};
use super::record::{Append, ExtIntro, FlagUpdate, HEADER_SIZE, ModseqUpdate, Record, RecordType, is_internal};
use super::{Endian, FileKind, Flaw, FlawKind, packed};

disk_struct! {
    /// The file header (`struct mail_transaction_log_header`); 24 bytes before log 1.1, 40 since log 1.2.
    pub struct LogHeader, 40 {
        0 => major_version: u8, "1";
        1 => minor_version: u8, "0 (Dovecot 1.0, 1.1), 2 (1.2 to 2.2.28), 3 (2.2.29 and later)";
        2 => hdr_size: u16, "offset of the first record";
        4 => indexid: u32, "ties index, log and cache; 0: the log was marked corrupted";
        8 => file_seq: u32, "number of this log; rises with each rotation";
        12 => prev_file_seq: u32, "log that this one continues; 0: this log starts from an empty index";
        16 => prev_file_offset: u32, "where that log ended";
        20 => create_stamp: u32 as time, "UNIX time of creation";
        24 => initial_modseq: u64, "highest modseq when the file was created; 0: not tracked";
        32 => compat_flags: u8, "bit 0: little-endian";
        33 => unused: [u8; 3], "zero";
        36 => unused2: u32, "zero";
    }
}

/// Smallest header there ever was: log version 1.0.
pub const MIN_HEADER: usize = 24;
/// Log version from which compat_flags tells the byte order.
const VERSION_COMPAT_FLAGS: u16 = 0x102;
/// Log version from which internal flag changes raise no modseq.
const VERSION_HIDE_INTERNAL_MODSEQS: u16 = 0x103;

impl LogHeader {
    /// `major << 8 | minor`, for feature tests.
    pub fn version(&self) -> u16 {
        u16::from(self.major_version) << 8 | u16::from(self.minor_version)
    }

    /// True when the log starts from an empty mailbox: `(0, _)`, or `(1, 0)` as Dovecot 1.x to 2.1 wrote it.
    pub fn starts_empty(&self) -> bool {
        starts_empty(self.prev_file_seq, self.prev_file_offset)
    }
}

/// What [`LogHeader::starts_empty`] says, by the two fields of the header.
pub const fn starts_empty(prev_file_seq: u32, prev_file_offset: u32) -> bool {
    matches!((prev_file_seq, prev_file_offset), (0, _) | (1, 0))
}

/// A log file's header, decoded as far as the bytes allow.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The header; bytes past `hdr_size` or past the file count as zero.
    pub header: LogHeader,
    /// Byte order of the file.
    pub endian: Endian,
    /// True when the byte order was inferred: logs before version 1.2 do not say it.
    pub endian_guessed: bool,
    /// Where the records start: `hdr_size`, or its most likely value when that is damaged.
    pub records_at: u64,
    /// Bytes of the file.
    pub size: u64,
    /// What is wrong with the header. Empty for a sound log.
    pub problems: Vec<Flaw>,
}

impl LogFile {
    /// Decodes the header from the first bytes of a file of `size` bytes.
    ///
    /// # Errors
    /// When this is not a log at all: shorter than 4 bytes, or the first bytes fit no version in either byte order.
    pub fn parse(head: &[u8], size: u64) -> Result<LogFile, Flaw> {
        let error = |at, kind, need: &'static str, have: String| Flaw::new(FileKind::Log, at, kind, need, have);
        let (Some(major), Some(minor)) = (head.first().copied(), head.get(1).copied()) else {
            return Err(error(0, FlawKind::NoLog, "24 bytes or more", format!("{} bytes", head.len())));
        };
        let plausible = |endian: Endian| {
            endian.u16_at(head, 2).is_some_and(|n| (MIN_HEADER..=4096).contains(&usize::from(n)) && n.is_multiple_of(4))
        };
        let said = match head.get(32).copied() {
            Some(flags) if u16::from(major) << 8 | u16::from(minor) >= VERSION_COMPAT_FLAGS => {
                Some(if flags & 1 != 0 { Endian::Little } else { Endian::Big })
            }
            _ => None,
        };
        // hdr_size reads sanely in one order only, so it outvotes a damaged compat_flags byte.
        let seen = match (plausible(Endian::Little), plausible(Endian::Big)) {
            (true, _) => Some(Endian::Little),
            (false, true) => Some(Endian::Big),
            (false, false) => None,
        };
        let endian = seen.or(said).unwrap_or_default();
        if major != 1 && seen.is_none() {
            return Err(error(0, FlawKind::LogVersion, "1", major.to_string()));
        }

        let known = endian.u16_at(head, 2).map_or(0, usize::from).clamp(MIN_HEADER, LogHeader::SIZE);
        let header = LogHeader::read(head.get(..known).unwrap_or(head), endian);
        let mut problems = Vec::new();
        if size < MIN_HEADER as u64 {
            problems.push(error(0, FlawKind::LogShort, "24 bytes", format!("{size} bytes")));
        }
        if major != 1 {
            problems.push(error(0, FlawKind::LogVersion, "1", major.to_string()));
        }
        let broken_size = usize::from(header.hdr_size) < MIN_HEADER;
        if broken_size {
            problems.push(error(2, FlawKind::LogHeaderSmall, "at least 24", header.hdr_size.to_string()));
        } else if u64::from(header.hdr_size) > size {
            problems.push(error(2, FlawKind::LogHeaderPastFile, "at most the file size", header.hdr_size.to_string()));
        }
        if let (Some(said), Some(seen)) = (said, seen)
            && said != seen
        {
            problems.push(error(32, FlawKind::LogByteOrder, seen.name(), said.name().to_owned()));
        }
        if size >= 8 && header.indexid == 0 {
            problems.push(error(4, FlawKind::LogCorrupted, "the index's indexid", "0".into()));
        }
        let records_at = match (broken_size, minor) {
            (false, _) => u64::from(header.hdr_size),
            (true, 0) => MIN_HEADER as u64,
            (true, _) => LogHeader::SIZE as u64,
        };
        Ok(LogFile { header, endian, endian_guessed: said.is_none(), records_at, size, problems })
    }

    /// A framer that starts at the first record.
    pub fn framer(&self) -> Framer {
        Framer {
            pos: self.records_at,
            size: self.size,
            endian: self.endian,
            version: self.header.version(),
            whole_only: true,
            modseq: self.header.initial_modseq,
        }
    }

    /// The records of a log that is wholly in memory.
    pub fn records<'a>(&self, bytes: &'a [u8]) -> Scan<'a> {
        Scan { bytes, framer: self.framer(), end: None }
    }
}

/// The transaction that a record belongs to: records that are written at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Byte offset of its first record.
    pub begin: u64,
    /// Byte offset of its end: where its boundary puts it, or its only record ends.
    pub end: u64,
    /// True when it begins with a boundary.
    pub is_announced: bool,
}

impl Txn {
    /// Goes on to the next record of the log; true when a transaction begins with it.
    #[inline]
    pub fn follow(&mut self, record: &Record<'_>) -> bool {
        let announced = record.boundary_size();
        let begins = announced.is_some() || record.offset >= self.end;
        if begins {
            let size = u64::from(announced.unwrap_or(record.size));
            let end = record.offset.saturating_add(size);
            *self = Txn { begin: record.offset, end, is_announced: announced.is_some() };
        }
        begins
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The last record ends where the file ends.
    Eof,
    /// Bytes follow that are not a whole transaction: being written just now, or torn.
    Partial,
    /// Bytes follow that no writer leaves behind.
    Corrupt,
}

impl EndReason {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::Eof => "eof",
            EndReason::Partial => "partial",
            EndReason::Corrupt => "corrupt",
        }
    }
}

/// Where and why reading stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// First byte that is not part of a whole record: Dovecot's `sync_offset`.
    pub offset: u64,
    /// Why.
    pub reason: EndReason,
    /// What was needed there and what was found; `None` at the end of the file.
    pub error: Option<Flaw>,
}

impl LogEnd {
    /// The end of a file that shrank while it was read: `len` bytes were wanted from `offset` on.
    #[cold]
    pub fn shrank(offset: u64, len: u64) -> LogEnd {
        let (need, have) = (format!("{len} bytes"), "the end of the file");
        let error = Flaw::new(FileKind::Log, offset, FlawKind::FileShrank, need, have);
        LogEnd { offset, reason: EndReason::Partial, error: Some(error) }
    }
}

/// What a [`Framer`] found.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// The window ends too early: call again with at least `len` bytes from offset `at` on.
    NeedMore {
        /// File offset that the window must start at or before.
        at: u64,
        /// Bytes wanted from there.
        len: u64,
    },
    /// No further record.
    End(LogEnd),
}

/// Walks the records of a log through windows of its bytes.
#[derive(Clone, Debug)]
pub struct Framer {
    /// Offset of the next record.
    pub pos: u64,
    /// Bytes of the file, or of the part of it that counts.
    pub size: u64,
    endian: Endian,
    version: u16,
    /// A transaction of which the end is missing has no records.
    whole_only: bool,
    /// The modseq before the next record.
    pub modseq: u64,
}

impl Framer {
    fn stop(&self, reason: EndReason, kind: FlawKind, need: String, have: String) -> Step<'static> {
        let error = Flaw::new(FileKind::Log, self.pos, kind, need, have);
        Step::End(LogEnd { offset: self.pos, reason, error: Some(error) })
    }

    /// The bytes of a window from the next record on.
    #[inline]
    fn rest<'a>(&self, window: &'a [u8], base: u64) -> &'a [u8] {
        let skip = self.pos.checked_sub(base).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| window.get(skip..)).unwrap_or_default()
    }

    /// What `window`, whose first byte has file offset `base`, lacks for the next record: offset and bytes wanted.
    #[inline]
    pub fn lacking(&self, window: &[u8], base: u64) -> Option<(u64, u64)> {
        let left = self.size.saturating_sub(self.pos);
        let rest = self.rest(window, base);
        let have = rest.len() as u64;
        if have >= left {
            return None;
        }
        let size = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).map_or(0, u64::from);
        let need = size.max(12).min(left);
        (have < need).then_some((self.pos, need))
    }

    /// Takes the next record out of `window`, whose first byte has file offset `base`.
    #[inline]
    pub fn step<'a>(&mut self, window: &'a [u8], base: u64) -> Step<'a> {
        let left = self.size.saturating_sub(self.pos);
        if left == 0 {
            return Step::End(LogEnd { offset: self.pos, reason: EndReason::Eof, error: None });
        }
        if left < HEADER_SIZE as u64 {
            return self.stop(
                EndReason::Partial,
                FlawKind::RecordHeaderCut,
                format!("{HEADER_SIZE} bytes"),
                format!("{left} bytes to the end of the file"),
            );
        }
        let rest = self.rest(window, base);
        // A boundary's size word has to be seen before its record can be called whole.
        let Some(head) = rest.get(..12).or(rest.get(..HEADER_SIZE).filter(|_| left < 12)) else {
            return Step::NeedMore { at: self.pos, len: left.min(12) };
        };
        let coded = head.first_chunk::<4>().copied().unwrap_or_default();
        let Some(size) = packed::decode(coded).filter(|n| *n != 0) else {
            return self.stop(
                EndReason::Partial,
                FlawKind::RecordSizeCode,
                "a coded size, each byte with bit 7 set".into(),
                format!("{:02x?}", coded),
            );
        };
        if (size as usize) < HEADER_SIZE {
            return self.stop(EndReason::Corrupt, FlawKind::RecordSize, "at least 8".into(), size.to_string());
        }
        let type_raw = self.endian.u32_at(head, 4).unwrap_or(0);
        if u64::from(size) > left {
            return self.stop(
                EndReason::Partial,
                FlawKind::RecordPastEnd,
                format!("at most the {left} bytes to the end of the file"),
                format!("{size} (type=0x{type_raw:x})"),
            );
        }
        if self.pos.saturating_add(u64::from(size)) > u64::from(u32::MAX) {
            return self.stop(
                EndReason::Corrupt,
                FlawKind::RecordOffset,
                "below 4 GiB".into(),
                self.pos.saturating_add(u64::from(size)).to_string(),
            );
        }
        let kind = RecordType::of(type_raw);
        if kind == Some(RecordType::Boundary)
            && self.whole_only
            && let Some(transaction) = self.endian.u32_at(head, 8)
            && size >= 12
            && u64::from(transaction) > left
        {
            return self.stop(
                EndReason::Partial,
                FlawKind::TransactionPastEnd,
                format!("at most the {left} bytes to the end of the file"),
                transaction.to_string(),
            );
        }
        let Some(bytes) = usize::try_from(size).ok().and_then(|size| rest.get(..size)) else {
            return Step::NeedMore { at: self.pos, len: u64::from(size) };
        };
        let offset = self.pos;
        self.pos = offset.saturating_add(u64::from(size));
        let payload = bytes.get(HEADER_SIZE..).unwrap_or_default();
        let mut record = Record { offset, size, type_raw, payload, bytes, endian: self.endian, modseq: 0 };
        self.modseq = modseq_after(self.modseq, &record, kind, self.version);
        record.modseq = self.modseq;
        Step::Record(record)
    }
}

/// The log's modseq after `record` (`mail_transaction_update_modseq`): at most one step per record, whatever the number
/// of messages.
#[inline]
fn modseq_after(modseq: u64, record: &Record<'_>, kind: Option<RecordType>, version: u16) -> u64 {
    if modseq == 0 {
        return u64::from(kind == Some(RecordType::ExtIntro) && record.introduces_modseqs());
    }
    match kind {
        Some(
            RecordType::Append | RecordType::KeywordUpdate | RecordType::KeywordReset | RecordType::AttributeUpdate,
        ) => modseq.saturating_add(1),
        Some(RecordType::Expunge | RecordType::ExpungeGuid) if record.external() => modseq.saturating_add(1),
        Some(RecordType::FlagUpdate) => {
            let visible = version < VERSION_HIDE_INTERNAL_MODSEQS
                || record.payload.chunks_exact(FlagUpdate::SIZE).any(|raw| match raw.get(8..11) {
                    Some([add, remove, inc]) => !is_internal(*add, *remove, *inc),
                    _ => false,
                });
            modseq.saturating_add(u64::from(visible))
        }
        Some(RecordType::ModseqUpdate) => {
            record.elements::<ModseqUpdate>().map(|update| update.modseq()).fold(modseq, u64::max)
        }
        _ => modseq,
    }
}

/// The records of a log in memory.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    pub(super) bytes: &'a [u8],
    framer: Framer,
    end: Option<LogEnd>,
}

impl<'a> Scan<'a> {
    /// Starts at `pos` instead of the first record; `modseq` is the log's modseq there.
    #[must_use]
    pub fn from(mut self, pos: u64, modseq: u64) -> Self {
        self.framer.pos = pos;
        self.framer.modseq = modseq;
        self.end = None;
        self
    }

    /// Where records stop following each other, whatever boundaries announce.
    pub fn frames_end(mut self) -> u64 {
        self.framer.whole_only = false;
        self.by_ref().for_each(drop);
        self.pos()
    }

    /// Offset of the next record, or of the end.
    pub fn pos(&self) -> u64 {
        self.framer.pos
    }

    /// The modseq before the next record.
    pub fn modseq(&self) -> u64 {
        self.framer.modseq
    }

    /// Where and why reading stopped; `None` while there are records.
    pub fn end(&self) -> Option<&LogEnd> {
        self.end.as_ref()
    }

    /// Byte order of the log.
    pub fn endian(&self) -> Endian {
        self.framer.endian
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Record<'a>;
    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.end.is_some() {
            return None;
        }
        match self.framer.step(self.bytes, 0) {
            Step::Record(record) => Some(record),
            Step::End(end) => {
                self.end = Some(end);
                None
            }
            // The file is shorter than its announced size: it shrank while being read.
            Step::NeedMore { at, len } => {
                self.end = Some(LogEnd::shrank(at, len));
                None
            }
        }
    }
}

/// Finds the next place at or after `from` (4-byte aligned) where plausible records start again: a chain of at least
/// three records, or one that ends exactly with the bytes. `None` when there is none. Linear in the distance searched.
pub fn resynchronize(bytes: &[u8], from: u64, endian: Endian) -> Option<u64> {
    // No record begins with a zero, and a file may have gigabytes of them that nobody wrote.
    const NOTHING: [u8; 4096] = [0; 4096];
    let mut at = usize::try_from(from).ok()?.checked_next_multiple_of(4)?;
    while bytes.len().saturating_sub(at) >= HEADER_SIZE {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(&NOTHING)) {
            at = at.saturating_add(NOTHING.len());
            continue;
        }
        if chain_is_plausible(bytes, at, endian) {
            return u64::try_from(at).ok();
        }
        at = at.saturating_add(4);
    }
    None
}

fn chain_is_plausible(bytes: &[u8], start: usize, endian: Endian) -> bool {
    let mut at = start;
    for _ in 0..3 {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return at > start };
        let size = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).map_or(0, |n| n as usize);
        let (Some(type_raw), Some(payload)) = (endian.u32_at(rest, 4), rest.get(HEADER_SIZE..size)) else {
            return false;
        };
        let record = Record { offset: 0, size: 0, type_raw, payload, bytes: payload, endian, modseq: 0 };
        let size_fits = match record.kind() {
            None => false,
            Some(RecordType::Append) => payload.len().is_multiple_of(Append::SIZE),
            Some(RecordType::ExtIntro) => payload.len() >= ExtIntro::SIZE,
            Some(_) => true,
        };
        if !size_fits || record.flaw().is_some() {
            return false;
        }
        at = at.saturating_add(size);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(minor: u8, initial_modseq: u64) -> LogHeader {
        LogHeader {
            major_version: 1,
            minor_version: minor,
            hdr_size: 40,
            indexid: 7,
            file_seq: 2,
            prev_file_seq: 0,
            prev_file_offset: 0,
            create_stamp: 7,
            initial_modseq,
            compat_flags: 1,
            unused: [0; 3],
            unused2: 0,
        }
    }

    fn log(header: &LogHeader, records: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = header.to_bytes(Endian::Little);
        for (type_raw, payload) in records {
            let size = u32::try_from(payload.len() + HEADER_SIZE).expect("short");
            bytes.extend(packed::encode(size).expect("multiple of 4"));
            bytes.extend(type_raw.to_le_bytes());
            bytes.extend(*payload);
        }
        bytes
    }

    fn scan(bytes: &[u8]) -> Scan<'_> {
        LogFile::parse(bytes, bytes.len() as u64).expect("a log").records(bytes)
    }

    const INTERNAL: &[u8] = &[1, 0, 0, 0, 1, 0, 0, 0, 0x80, 0, 0, 0];
    const SEEN: &[u8] = &[1, 0, 0, 0, 1, 0, 0, 0, 0x08, 0, 0, 0];

    #[test]
    fn internal_flag_changes_raise_the_modseq_only_before_log_1_3() {
        let records: [(u32, &[u8]); 2] = [(4, INTERNAL), (4, SEEN)];
        let new = log(&header(3, 5), &records);
        assert_eq!(scan(&new).map(|r| r.modseq).collect::<Vec<_>>(), [5, 6]);
        let old = log(&header(2, 5), &records);
        assert_eq!(scan(&old).map(|r| r.modseq).collect::<Vec<_>>(), [6, 7]);
    }

    #[test]
    fn tracking_starts_with_the_modseq_intro() {
        let mut intro = vec![0xff; 4];
        intro.extend([0, 0, 0, 0, 16, 0, 0, 0, 8, 0, 8, 0, 1, 0, 6, 0]);
        intro.extend(b"modseq\0\0");
        let bytes = log(&header(2, 0), &[(4, SEEN), (0x40, &intro), (4, SEEN)]);
        assert_eq!(scan(&bytes).map(|r| r.modseq).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_torn_tail_is_partial_and_a_bad_size_is_corrupt() {
        let mut bytes = log(&header(3, 1), &[(4, SEEN)]);
        bytes.extend([0x80, 0x80, 0x80, 0x85, 4, 0, 0]);
        let mut torn = scan(&bytes);
        assert_eq!(torn.by_ref().count(), 1);
        assert_eq!(torn.end().map(|e| (e.offset, e.reason)), Some((60, EndReason::Partial)));

        let mut bad = log(&header(3, 1), &[(4, SEEN)]);
        bad.extend([0x80, 0x80, 0x80, 0x81, 4, 0, 0, 0]);
        let mut corrupt = scan(&bad);
        assert_eq!(corrupt.by_ref().count(), 1);
        assert_eq!(corrupt.end().map(|e| (e.offset, e.reason)), Some((60, EndReason::Corrupt)));
    }

    #[test]
    fn a_transaction_is_invisible_until_it_is_whole() {
        let bytes = log(&header(3, 1), &[(0x8_0000 | 0x1000_0000, &[52, 0, 0, 0]), (4, SEEN)]);
        let mut records = scan(&bytes);
        assert_eq!(records.by_ref().count(), 0);
        assert_eq!(records.end().map(|e| (e.offset, e.reason)), Some((40, EndReason::Partial)));
    }

    #[test]
    fn short_and_old_headers() {
        assert!(LogFile::parse(&[], 0).is_err());
        assert!(LogFile::parse(&[1], 1).is_err());
        let mut bytes = header(0, 0).to_bytes(Endian::Big);
        bytes[2..4].copy_from_slice(&[0, 24]);
        let file = LogFile::parse(&bytes[..24], 24).expect("a log");
        assert_eq!((file.endian, file.endian_guessed, file.records_at), (Endian::Big, true, 24));
        assert_eq!(file.header.initial_modseq, 0);
        assert!(file.problems.is_empty());
    }

    #[test]
    fn hdr_size_outvotes_a_damaged_compat_byte() {
        let mut bytes = header(3, 1).to_bytes(Endian::Little);
        bytes[32] = 0;
        let file = LogFile::parse(&bytes, 40).expect("a log");
        assert_eq!(file.endian, Endian::Little);
        assert_eq!(file.problems.len(), 1);
        assert_eq!(file.problems[0].at, 32);
    }

    #[test]
    fn records_are_found_again_after_damage() {
        let mut bytes = log(&header(3, 1), &[(4, SEEN), (4, SEEN), (4, SEEN)]);
        bytes[40..44].fill(0);
        assert_eq!(resynchronize(&bytes, 40, Endian::Little), Some(60));
        bytes.truncate(50);
        assert_eq!(resynchronize(&bytes, 40, Endian::Little), None);
    }
}
