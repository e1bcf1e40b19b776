//! Transaction log records: types, payloads and Dovecot's validity rules (`mail-transaction-log.h`,
//! `mail-transaction-log-view.c`). What a record *means* is decided in `model::apply`, not here.

use std::fmt;

use super::disk::{Disk, disk_struct};
use super::{Endian, FileKind, Flaw, FlawKind, align4};

/// Bit 28 of the type word: the change has already happened in the mail storage, or is bookkeeping.
pub const EXTERNAL: u32 = 0x1000_0000;
/// Bit 29 of the type word: the change was made by dsync.
pub const SYNC: u32 = 0x2000_0000;
/// The bits of the type word that carry the record type.
pub const TYPE_MASK: u32 = 0x0fff_ffff;
/// Size of a record's own header: coded size and type word.
pub const HEADER_SIZE: usize = 8;

/// The expunge types carry these extra bits, so that a damaged type word is not taken for an expunge.
const EXPUNGE_PROT: u32 = 0xcd90;

/// System flags and the two bits Dovecot keeps for itself in a record's flags byte.
pub mod flag {
    /// `\Answered`.
    pub const ANSWERED: u8 = 0x01;
    /// `\Flagged`.
    pub const FLAGGED: u8 = 0x02;
    /// `\Deleted`.
    pub const DELETED: u8 = 0x04;
    /// `\Seen`.
    pub const SEEN: u8 = 0x08;
    /// `\Draft`.
    pub const DRAFT: u8 = 0x10;
    /// Private to the storage backend; dbox: the mail is in alternate storage.
    pub const BACKEND: u8 = 0x40;
    /// The flags have not been written to the mail storage yet.
    pub const DIRTY: u8 = 0x80;
    /// The five IMAP flags; a change of any other bit is internal and raises no modseq.
    pub const IMAP: u8 = 0x1f;
    /// IMAP names, lowest bit first.
    pub const NAMES: [(u8, &str); 5] = [
        (ANSWERED, "\\Answered"),
        (FLAGGED, "\\Flagged"),
        (DELETED, "\\Deleted"),
        (SEEN, "\\Seen"),
        (DRAFT, "\\Draft"),
    ];

    /// The IMAP flags among `flags` by name, lowest bit first.
    pub fn names(flags: u8) -> impl Iterator<Item = &'static str> + Clone {
        NAMES.into_iter().filter(move |(bit, _)| flags & bit != 0).map(|(_, name)| name)
    }
}

/// The types whose type word is a single bit, by the number of the bit.
const SINGLE_BITS: [Option<RecordType>; 21] = {
    let mut table = [None; 21];
    table[1] = Some(RecordType::Append);
    table[2] = Some(RecordType::FlagUpdate);
    table[5] = Some(RecordType::HeaderUpdate);
    table[6] = Some(RecordType::ExtIntro);
    table[7] = Some(RecordType::ExtReset);
    table[8] = Some(RecordType::ExtHdr);
    table[9] = Some(RecordType::ExtRec);
    table[10] = Some(RecordType::KeywordUpdate);
    table[11] = Some(RecordType::KeywordReset);
    table[12] = Some(RecordType::ExtAtomicInc);
    table[15] = Some(RecordType::ModseqUpdate);
    table[16] = Some(RecordType::ExtHdr32);
    table[17] = Some(RecordType::IndexDeleted);
    table[18] = Some(RecordType::IndexUndeleted);
    table[19] = Some(RecordType::Boundary);
    table[20] = Some(RecordType::AttributeUpdate);
    table
};

/// A record type (`enum mail_transaction_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// Expunge by UID ranges (Dovecot 1.x).
    Expunge,
    /// Expunge by UID and GUID (2.0 and later).
    ExpungeGuid,
    /// New messages.
    Append,
    /// Flags added to and removed from UID ranges.
    FlagUpdate,
    /// Bytes of the base header.
    HeaderUpdate,
    /// Names the extension that the following ext records are about.
    ExtIntro,
    /// New `reset_id` for the extension; its data is cleared unless preserved.
    ExtReset,
    /// Bytes of the extension header, 16-bit offsets.
    ExtHdr,
    /// Bytes of the extension header, 32-bit offsets (2.0 and later).
    ExtHdr32,
    /// Extension data of messages.
    ExtRec,
    /// A keyword added to or removed from UID ranges.
    KeywordUpdate,
    /// All keywords removed from UID ranges.
    KeywordReset,
    /// Signed additions to an extension number (mdbox reference counts).
    ExtAtomicInc,
    /// Modseqs raised to given values.
    ModseqUpdate,
    /// The mailbox is being deleted.
    IndexDeleted,
    /// The deletion was taken back.
    IndexUndeleted,
    /// Byte count of the transaction that starts here (2.2 and later).
    Boundary,
    /// Mailbox attributes (METADATA) set or unset.
    AttributeUpdate,
}

impl RecordType {
    /// Every type with its masked type word and doveadm's name.
    pub const ALL: [(RecordType, u32, &'static str); 18] = [
        (RecordType::Expunge, EXPUNGE_PROT | 0x1, "expunge"),
        (RecordType::ExpungeGuid, EXPUNGE_PROT | 0x2000, "expunge-guid"),
        (RecordType::Append, 0x2, "append"),
        (RecordType::FlagUpdate, 0x4, "flag-update"),
        (RecordType::HeaderUpdate, 0x20, "header-update"),
        (RecordType::ExtIntro, 0x40, "ext-intro"),
        (RecordType::ExtReset, 0x80, "ext-reset"),
        (RecordType::ExtHdr, 0x100, "ext-hdr"),
        (RecordType::ExtHdr32, 0x1_0000, "ext-hdr32"),
        (RecordType::ExtRec, 0x200, "ext-rec"),
        (RecordType::KeywordUpdate, 0x400, "keyword-update"),
        (RecordType::KeywordReset, 0x800, "keyword-reset"),
        (RecordType::ExtAtomicInc, 0x1000, "ext-atomic-inc"),
        (RecordType::ModseqUpdate, 0x8000, "modseq-update"),
        (RecordType::IndexDeleted, 0x2_0000, "index-deleted"),
        (RecordType::IndexUndeleted, 0x4_0000, "index-undeleted"),
        (RecordType::Boundary, 0x8_0000, "boundary"),
        (RecordType::AttributeUpdate, 0x10_0000, "attribute-update"),
    ];

    /// The type of a type word; `None` when it is not exactly one of the known values.
    #[inline]
    pub fn of(type_raw: u32) -> Option<RecordType> {
        let masked = type_raw & TYPE_MASK;
        if masked.is_power_of_two() {
            // All but the expunges are one bit: a look-up instead of a search, since this is asked of every record.
            return *SINGLE_BITS.get(masked.trailing_zeros() as usize)?;
        }
        match masked {
            0xcd91 => Some(RecordType::Expunge),
            0xed90 => Some(RecordType::ExpungeGuid),
            _ => None,
        }
    }

    /// The masked type word.
    pub const fn raw(self) -> u32 {
        let mut all: &[(RecordType, u32, &str)] = &Self::ALL;
        while let [(kind, raw, _), rest @ ..] = all {
            if *kind as u8 == self as u8 {
                return *raw;
            }
            all = rest;
        }
        0
    }

    /// doveadm's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., name)| name)
    }

    /// The type with that doveadm name.
    pub fn from_name(name: &str) -> Option<RecordType> {
        Self::ALL.iter().find(|(.., known)| *known == name).map(|(kind, ..)| *kind)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

disk_struct! {
    /// An appended message (`struct mail_index_record`).
    pub struct Append, 8 {
        0 => uid: u32, "UID of the new message";
        4 => flags: u8, "its flags byte";
        5 => padding: [u8; 3], "copied into the record; zero";
    }
}

disk_struct! {
    /// A UID range: expunge, keyword-reset and the list of a keyword-update (`struct mail_transaction_expunge`).
    pub struct UidRange, 8 {
        0 => uid1: u32, "first UID";
        4 => uid2: u32, "last UID";
    }
}

disk_struct! {
    /// An expunged message (`struct mail_transaction_expunge_guid`).
    pub struct ExpungeGuid, 20 {
        0 => uid: u32, "UID of the message";
        4 => guid_128: [u8; 16], "its GUID; zero when the storage did not say";
    }
}

disk_struct! {
    /// A change of flags (`struct mail_transaction_flag_update`).
    pub struct FlagUpdate, 12 {
        0 => uid1: u32, "first UID";
        4 => uid2: u32, "last UID";
        8 => add_flags: u8, "bits to set";
        9 => remove_flags: u8, "bits to clear before";
        10 => modseq_inc_flag: u8, "non-zero: raise the modseq although no IMAP flag changes (2.2 and later)";
        11 => padding: u8, "unused";
    }
}

/// `MAIL_TRANSACTION_FLAG_UPDATE_IS_INTERNAL`: no IMAP flag changes, and no new modseq is asked for.
#[inline]
pub(super) fn is_internal(add_flags: u8, remove_flags: u8, modseq_inc_flag: u8) -> bool {
    (add_flags | remove_flags) & flag::IMAP == 0 && modseq_inc_flag == 0
}

impl FlagUpdate {
    /// True when the change touches no IMAP flag and does not ask for a new modseq.
    #[inline]
    pub fn is_internal(&self) -> bool {
        is_internal(self.add_flags, self.remove_flags, self.modseq_inc_flag)
    }
}

disk_struct! {
    /// The fixed part of an ext-intro element (`struct mail_transaction_ext_intro`).
    pub struct ExtIntro, 20 {
        0 => ext_id: u32, "position in the map's extension list, 0xffffffff: by name";
        4 => reset_id: u32, "must equal the extension's for updates to count";
        8 => hdr_size: u32, "extension header bytes";
        12 => record_size: u16, "bytes per record";
        14 => record_align: u16, "alignment in the record";
        16 => flags: u16, "bit 0: never shrink";
        18 => name_size: u16, "bytes of the name that follows, 0 when ext_id is given";
    }
}

disk_struct! {
    /// `struct mail_transaction_ext_reset`; 4 bytes long before 1.1.
    pub struct ExtReset, 8 {
        0 => new_reset_id: u32, "reset_id from here on";
        4 => preserve_data: u8, "non-zero: keep header and records";
        5 => padding: [u8; 3], "unused";
    }
}

disk_struct! {
    /// `struct mail_transaction_ext_atomic_inc`.
    pub struct AtomicInc, 8 {
        0 => uid: u32, "UID of the message";
        4 => diff: i32, "number to add";
    }
}

disk_struct! {
    /// `struct mail_transaction_modseq_update`.
    pub struct ModseqUpdate, 12 {
        0 => uid: u32, "UID of the message; 0 raises only the highest modseq";
        4 => modseq_low32: u32, "low half";
        8 => modseq_high32: u32, "high half";
    }
}

impl ModseqUpdate {
    /// The modseq.
    #[inline]
    pub fn modseq(&self) -> u64 {
        u64::from(self.modseq_high32) << 32 | u64::from(self.modseq_low32)
    }
}

disk_struct! {
    /// The fixed part of a keyword-update (`struct mail_transaction_keyword_update`).
    pub struct KeywordUpdate, 4 {
        0 => modify_type: u8, "0 add, 1 remove";
        1 => padding: u8, "unused";
        2 => name_size: u16, "bytes of the name that follows";
    }
}

/// A fixed-size array of elements; a rest shorter than one element is left out.
#[derive(Clone, Debug)]
pub struct Elements<'a, T> {
    bytes: &'a [u8],
    endian: Endian,
    of: std::marker::PhantomData<T>,
}

impl<'a, T: Disk> Elements<'a, T> {
    /// The elements of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Elements { bytes, endian, of: std::marker::PhantomData }
    }

    /// The bytes of the elements not yet taken.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes at the end that do not fill an element.
    pub fn rest(&self) -> usize {
        self.bytes.len().checked_rem(T::SIZE).unwrap_or(0)
    }
}

impl<T: Disk> Iterator for Elements<'_, T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        let (one, rest) = self.bytes.split_at_checked(T::SIZE)?;
        self.bytes = rest;
        Some(T::read(one, self.endian))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = self.bytes.len().checked_div(T::SIZE).unwrap_or(0);
        (n, Some(n))
    }
}

/// One element of a header-update, ext-hdr or ext-hdr32 record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderChunk<'a> {
    /// Where the element starts in the payload.
    pub at: usize,
    /// Offset of the changed bytes in the header.
    pub offset: u32,
    /// The new bytes.
    pub data: &'a [u8],
}

/// The elements of a header-update, ext-hdr or ext-hdr32 record. Ends early, with `truncated` set, where an element runs
/// past the payload.
#[derive(Clone, Debug)]
pub struct HeaderChunks<'a> {
    payload: &'a [u8],
    pos: usize,
    wide: bool,
    endian: Endian,
    /// Where in the payload the first element that does not fit starts.
    pub truncated: Option<usize>,
}

impl<'a> Iterator for HeaderChunks<'a> {
    type Item = HeaderChunk<'a>;
    fn next(&mut self) -> Option<HeaderChunk<'a>> {
        let at = self.pos;
        if at >= self.payload.len() {
            return None;
        }
        let (offset, size, fixed) = if self.wide {
            (self.endian.u32_at(self.payload, at), self.endian.u32_at(self.payload, at.saturating_add(4)), 8)
        } else {
            (
                self.endian.u16_at(self.payload, at).map(u32::from),
                self.endian.u16_at(self.payload, at.saturating_add(2)).map(u32::from),
                4,
            )
        };
        let chunk = offset.zip(size).and_then(|(offset, size)| {
            let start = at.checked_add(fixed)?;
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            Some((HeaderChunk { at, offset, data: self.payload.get(start..end)? }, end))
        });
        let Some((chunk, end)) = chunk else {
            self.truncated = Some(at);
            self.pos = self.payload.len();
            return None;
        };
        self.pos = align4(end);
        Some(chunk)
    }
}

/// One element of an ext-intro record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intro<'a> {
    /// Where the element starts in the payload.
    pub at: usize,
    /// The fixed part.
    pub intro: ExtIntro,
    /// The name; empty when the extension is given by number.
    pub name: &'a [u8],
}

/// The elements of an ext-intro record; fewer than 20 bytes at the end are padding.
#[derive(Clone, Debug)]
pub struct Intros<'a> {
    payload: &'a [u8],
    pos: usize,
    endian: Endian,
}

impl<'a> Iterator for Intros<'a> {
    type Item = Intro<'a>;
    fn next(&mut self) -> Option<Intro<'a>> {
        let at = self.pos;
        let start = at.checked_add(ExtIntro::SIZE)?;
        let intro = ExtIntro::read(self.payload.get(at..start)?, self.endian);
        let end = start.checked_add(usize::from(intro.name_size))?;
        let Some(name) = self.payload.get(start..end) else {
            self.pos = self.payload.len();
            return None;
        };
        self.pos = align4(end);
        Some(Intro { at, intro, name })
    }
}

/// One attribute of an attribute-update record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The key, without the two prefix letters.
    pub key: &'a [u8],
    /// True for a private attribute, false for a shared one.
    pub private: bool,
    /// True when the attribute was set, false when it was unset.
    pub set: bool,
    /// UNIX time of the change; `None` when the record is cut short.
    pub timestamp: Option<u32>,
    /// Bytes of the value; only for `set`. The value itself is not in the log.
    pub value_len: Option<u32>,
}

/// A record of a transaction log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Byte offset of the record in its file.
    pub offset: u64,
    /// Bytes of the record, its 8-byte header included.
    pub size: u32,
    /// The type word with all its bits.
    pub type_raw: u32,
    /// The bytes after the record's header.
    pub payload: &'a [u8],
    /// All bytes of the record.
    pub bytes: &'a [u8],
    /// Byte order of the file.
    pub endian: Endian,
    /// The log's modseq after this record (`mail_transaction_update_modseq`); 0 while the log does not track modseqs.
    pub modseq: u64,
}

impl<'a> Record<'a> {
    /// The type, `None` when the type word is unknown.
    #[inline]
    pub fn kind(&self) -> Option<RecordType> {
        RecordType::of(self.type_raw)
    }

    /// True when the change has already happened in the storage.
    #[inline]
    pub fn external(&self) -> bool {
        self.type_raw & EXTERNAL != 0
    }

    /// True when a client asked for a change of messages that the storage has yet to execute: it counts as pending until the
    /// tail offset has passed it.
    pub fn is_request(&self) -> bool {
        !self.external()
            && matches!(
                self.kind(),
                Some(
                    RecordType::FlagUpdate
                        | RecordType::KeywordUpdate
                        | RecordType::KeywordReset
                        | RecordType::Expunge
                        | RecordType::ExpungeGuid
                )
            )
    }

    /// True when dsync made the change.
    #[inline]
    pub fn sync(&self) -> bool {
        self.type_raw & SYNC != 0
    }

    /// Offset of the first byte after the record.
    #[inline]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.size))
    }

    /// File offset of a position in the payload.
    pub fn payload_at(&self, at: usize) -> u64 {
        self.offset.saturating_add(HEADER_SIZE as u64).saturating_add(at as u64)
    }

    /// The payload as an array of fixed-size elements.
    #[inline]
    pub fn elements<T: Disk>(&self) -> Elements<'a, T> {
        Elements::new(self.payload, self.endian)
    }

    /// The elements of a header-update, ext-hdr or ext-hdr32 record.
    pub fn header_chunks(&self) -> HeaderChunks<'a> {
        HeaderChunks {
            payload: self.payload,
            pos: 0,
            wide: self.kind() == Some(RecordType::ExtHdr32),
            endian: self.endian,
            truncated: None,
        }
    }

    /// The elements of an ext-intro record.
    pub fn intros(&self) -> Intros<'a> {
        Intros { payload: self.payload, pos: 0, endian: self.endian }
    }

    /// The parts of a keyword-update: fixed part, name, ranges. `None` when the name runs past the payload.
    pub fn keyword_update(&self) -> Option<(KeywordUpdate, &'a [u8], Elements<'a, UidRange>)> {
        let fixed = KeywordUpdate::read(self.payload, self.endian);
        let end = KeywordUpdate::SIZE.checked_add(usize::from(fixed.name_size))?;
        let name = self.payload.get(KeywordUpdate::SIZE..end)?;
        // strndup in Dovecot: the name ends at a NUL.
        let name = name.split(|b| *b == 0).next().unwrap_or(name);
        let ranges = self.payload.get(align4(end)..)?;
        Some((fixed, name, Elements::new(ranges, self.endian)))
    }

    /// The size of the transaction that a boundary record opens, itself included.
    pub fn boundary_size(&self) -> Option<u32> {
        self.endian.u32_at(self.payload, 0)
    }

    /// The elements of an ext-rec record, given the record size of the last intro: UID and data.
    pub fn ext_recs(&self, record_size: u16) -> impl Iterator<Item = (u32, &'a [u8])> + Clone + use<'a> {
        let size = usize::from(record_size);
        let stride = align4(size.saturating_add(4));
        let endian = self.endian;
        self.payload
            .chunks_exact(stride)
            .filter_map(move |one| Some((endian.u32_at(one, 0)?, one.get(4..4_usize.saturating_add(size))?)))
    }

    /// The attributes of an attribute-update record, as far as they can be read.
    pub fn attributes(&self) -> Vec<Attribute<'a>> {
        let mut list = Vec::new();
        let mut rest = self.payload;
        while let Some(len) = rest.iter().position(|b| *b == 0).filter(|len| *len >= 3) {
            let Some((entry, after)) = rest.split_at_checked(len) else { break };
            let (Some(sign), Some(scope), Some(key)) = (entry.first(), entry.get(1), entry.get(2..)) else { break };
            list.push(Attribute { key, private: *scope == b'p', set: *sign == b'+', timestamp: None, value_len: None });
            rest = after.get(1..).unwrap_or_default();
        }
        let text = self.payload.len().saturating_sub(rest.len()).saturating_add(1);
        let mut at = align4(text);
        for attribute in &mut list {
            attribute.timestamp = self.endian.u32_at(self.payload, at);
            at = at.saturating_add(4);
            if attribute.set {
                attribute.value_len = self.endian.u32_at(self.payload, at);
                at = at.saturating_add(4);
            }
        }
        list
    }

    fn error(&self, at: usize, kind: FlawKind, need: String, have: String) -> Flaw {
        Flaw::new(FileKind::Log, self.payload_at(at), kind, need, have)
    }

    fn ranges_error<T: Disk>(&self, bytes: &[u8], base: usize, ends: fn(&T) -> (u32, u32)) -> Option<Flaw> {
        let elements = Elements::<T>::new(bytes, self.endian);
        if elements.rest() != 0 {
            return Some(self.error(
                base,
                FlawKind::RangesSize,
                format!("a multiple of {}", T::SIZE),
                bytes.len().to_string(),
            ));
        }
        if bytes.is_empty() {
            return Some(self.error(base, FlawKind::RangesNone, "at least one".into(), "none".into()));
        }
        let mut last = 0;
        for (i, one) in elements.enumerate() {
            let at = base.saturating_add(i.saturating_mul(T::SIZE));
            let (uid1, uid2) = ends(&one);
            if uid1 == 0 || uid1 > uid2 {
                return Some(self.error(
                    at,
                    FlawKind::RangeInvalid,
                    "1 <= uid1 <= uid2".into(),
                    format!("{uid1} .. {uid2}"),
                ));
            }
            if uid1 <= last {
                return Some(self.error(at, FlawKind::RangesOrder, format!("uid1 > {last}"), uid1.to_string()));
            }
            last = uid2;
        }
        None
    }

    fn array_error(&self, element: usize, kind: FlawKind) -> Option<Flaw> {
        let rest = self.payload.len().checked_rem(element)?;
        (rest != 0)
            .then(|| self.error(0, kind, format!("a multiple of {element} bytes"), self.payload.len().to_string()))
    }

    /// Dovecot's own rules (`log_view_is_record_valid`): a record that breaks one makes a released Dovecot mark the
    /// whole log corrupted and stop reading.
    pub fn fatal_error(&self) -> Option<Flaw> {
        let masked = self.type_raw & TYPE_MASK;
        let type_error = |need: &str| {
            Some(Flaw::new(
                FileKind::Log,
                self.offset.saturating_add(4),
                FlawKind::ExpungeMask,
                need.to_owned(),
                format!("0x{masked:x}"),
            ))
        };
        if masked & 0x1 != 0 && masked != (EXPUNGE_PROT | 0x1) {
            return type_error("0xcd91");
        }
        if masked & 0x2000 != 0 && masked != (EXPUNGE_PROT | 0x2000) {
            return type_error("0xed90");
        }
        if self.payload.is_empty() {
            return Some(self.error(0, FlawKind::RecordEmpty, "a payload".into(), "0 bytes".into()));
        }
        match self.kind()? {
            RecordType::Append => self.array_error(Append::SIZE, FlawKind::AppendSize),
            RecordType::Expunge | RecordType::KeywordReset => {
                self.ranges_error::<UidRange>(self.payload, 0, |r| (r.uid1, r.uid2))
            }
            RecordType::ExpungeGuid => self.array_error(ExpungeGuid::SIZE, FlawKind::ExpungeGuidSize).or_else(|| {
                let i = self.elements::<ExpungeGuid>().position(|e| e.uid == 0)?;
                Some(self.error(
                    i.saturating_mul(ExpungeGuid::SIZE),
                    FlawKind::ExpungeGuidUid,
                    "uid > 0".into(),
                    "0".into(),
                ))
            }),
            RecordType::FlagUpdate => self.ranges_error::<FlagUpdate>(self.payload, 0, |u| (u.uid1, u.uid2)),
            RecordType::KeywordUpdate => {
                let fixed = KeywordUpdate::read(self.payload, self.endian);
                if fixed.name_size == 0 {
                    return Some(self.error(2, FlawKind::KeywordEmpty, "name_size > 0".into(), "0".into()));
                }
                let start = align4(KeywordUpdate::SIZE.saturating_add(usize::from(fixed.name_size)));
                match self.payload.get(start..) {
                    None => Some(self.error(
                        2,
                        FlawKind::KeywordUpdateSize,
                        format!("name_size <= {}", self.payload.len().saturating_sub(KeywordUpdate::SIZE)),
                        fixed.name_size.to_string(),
                    )),
                    Some(ranges) => self.ranges_error::<UidRange>(ranges, start, |r| (r.uid1, r.uid2)),
                }
            }
            RecordType::ExtIntro => {
                let mut at = 0_usize;
                while let Some(fixed) = self
                    .payload
                    .get(at..)
                    .and_then(|rest| rest.get(..ExtIntro::SIZE))
                    .map(|b| ExtIntro::read(b, self.endian))
                {
                    let end = at.saturating_add(ExtIntro::SIZE).saturating_add(usize::from(fixed.name_size));
                    if end > self.payload.len() {
                        return Some(self.error(
                            at.saturating_add(18),
                            FlawKind::IntroNameSize,
                            format!("at most {}", self.payload.len().saturating_sub(at).saturating_sub(ExtIntro::SIZE)),
                            fixed.name_size.to_string(),
                        ));
                    }
                    at = align4(end);
                }
                None
            }
            RecordType::HeaderUpdate if self.external() => {
                let mut chunks = self.header_chunks();
                let first = chunks.next();
                (first.is_none()).then(|| {
                    self.error(0, FlawKind::HeaderUpdateSize, "4 + size bytes".into(), self.payload.len().to_string())
                })
            }
            RecordType::AttributeUpdate => self.attribute_error(),
            _ => None,
        }
    }

    fn attribute_error(&self) -> Option<Flaw> {
        let byte = |at: usize| self.payload.get(at).copied().unwrap_or(0);
        let hex = |at: usize| format!("0x{:02x}", byte(at));
        let mut i = 0_usize;
        while i.saturating_add(2) < self.payload.len() && byte(i) != 0 {
            if !matches!(byte(i), b'+' | b'-') {
                return Some(self.error(i, FlawKind::AttributePrefix, "+ or -".into(), hex(i)));
            }
            i = i.saturating_add(1);
            if !matches!(byte(i), b'p' | b's') {
                return Some(self.error(i, FlawKind::AttributeScope, "p or s".into(), hex(i)));
            }
            i = i.saturating_add(1);
            let len = self.payload.get(i..).unwrap_or_default().iter().take_while(|b| **b != 0).count();
            if len == 0 {
                return Some(self.error(i, FlawKind::AttributeKey, "a key".into(), "NUL".into()));
            }
            i = i.saturating_add(len).saturating_add(1);
        }
        (i == 0 || (i < self.payload.len() && byte(i) != 0))
            .then(|| self.error(i, FlawKind::AttributeEnd, "NUL".into(), hex(i)))
    }

    /// Rules that Dovecot does not check, or only complains about while it goes on (log.md, "Bounds a decoder must check
    /// itself"). The record is still framed correctly.
    pub fn payload_error(&self) -> Option<Flaw> {
        match self.kind() {
            None => Some(Flaw::new(
                FileKind::Log,
                self.offset.saturating_add(4),
                FlawKind::RecordTypeUnknown,
                "a type of mail-transaction-log.h",
                format!("0x{:x}", self.type_raw & TYPE_MASK),
            )),
            Some(RecordType::HeaderUpdate | RecordType::ExtHdr | RecordType::ExtHdr32) => {
                let mut chunks = self.header_chunks();
                chunks.by_ref().for_each(drop);
                let at = chunks.truncated?;
                Some(self.error(
                    at,
                    FlawKind::HeaderUpdateElement,
                    "an element inside the record".into(),
                    format!("{} bytes left", self.payload.len().saturating_sub(at)),
                ))
            }
            Some(RecordType::ModseqUpdate) => self.array_error(ModseqUpdate::SIZE, FlawKind::ModseqUpdateSize),
            Some(RecordType::ExtAtomicInc) => self.array_error(AtomicInc::SIZE, FlawKind::AtomicIncSize),
            Some(RecordType::ExtReset) if self.payload.len() < 4 => {
                Some(self.error(0, FlawKind::ExtResetSize, "at least 4 bytes".into(), self.payload.len().to_string()))
            }
            Some(RecordType::KeywordUpdate) => {
                let fixed = KeywordUpdate::read(self.payload, self.endian);
                (fixed.modify_type > 1).then(|| {
                    self.error(
                        0,
                        FlawKind::KeywordModifyType,
                        "0 (add) or 1 (remove)".into(),
                        fixed.modify_type.to_string(),
                    )
                })
            }
            Some(RecordType::Boundary) => {
                let size = self.boundary_size().unwrap_or(0);
                (size < 12).then(|| self.error(0, FlawKind::BoundarySize, "at least 12".into(), size.to_string()))
            }
            Some(RecordType::AttributeUpdate) => {
                let cut = self.attributes().iter().any(|a| a.timestamp.is_none() || (a.set && a.value_len.is_none()));
                cut.then(|| {
                    self.error(
                        0,
                        FlawKind::AttributeNumbers,
                        "a timestamp for each key".into(),
                        format!("{} bytes", self.payload.len()),
                    )
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(type_raw: u32, payload: &[u8]) -> Record<'_> {
        let size = u32::try_from(payload.len() + HEADER_SIZE).expect("short");
        Record { offset: 100, size, type_raw, payload, bytes: payload, endian: Endian::Little, modseq: 0 }
    }

    #[test]
    fn every_type_word_maps_back() {
        for (kind, raw, name) in RecordType::ALL {
            assert_eq!(RecordType::of(raw | EXTERNAL | SYNC), Some(kind));
            assert_eq!(kind.raw(), raw);
            assert_eq!(RecordType::from_name(name), Some(kind));
        }
        assert_eq!(RecordType::of(0x8), None);
    }

    /// Bytes of the worked example in `format/replay.md`, offset 136: two fields in one header-update.
    #[test]
    fn header_update_shows_every_element() {
        let payload = [0x18, 0, 4, 0, 2, 0xbb, 3, 0x6b, 0x4c, 0, 4, 0, 0xff, 0xff, 0xff, 0xff];
        let chunks: Vec<_> = record(0x20 | EXTERNAL, &payload).header_chunks().collect();
        assert_eq!(chunks.len(), 2);
        assert_eq!((chunks[0].offset, chunks[0].data), (24, &payload[4..8]));
        assert_eq!((chunks[1].offset, chunks[1].at), (76, 8));
    }

    #[test]
    fn a_chunk_past_the_payload_is_reported_not_read() {
        let payload = [0x18, 0, 9, 0, 1, 2, 3, 4];
        let rec = record(0x20, &payload);
        let mut chunks = rec.header_chunks();
        assert_eq!(chunks.next(), None);
        assert_eq!(chunks.truncated, Some(0));
        assert_eq!(rec.payload_error().map(|e| e.at), Some(108));
    }

    #[test]
    fn expunge_needs_its_protection_mask() {
        let payload = [1, 0, 0, 0, 1, 0, 0, 0];
        assert!(record(0x1, &payload).fatal_error().is_some());
        assert!(record(0xcd91, &payload).fatal_error().is_none());
        assert!(record(0xed90 | 1, &payload).fatal_error().is_some());
    }

    #[test]
    fn ranges_must_ascend() {
        let payload = [5, 0, 0, 0, 6, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0];
        let error = record(0x800, &payload).fatal_error().expect("overlap");
        assert_eq!((error.at, error.have.as_ref()), (116, "6"));
    }

    #[test]
    fn keyword_update_splits_name_and_ranges() {
        let payload = [0, 0, 3, 0, b'k', b'w', b'1', 0, 2, 0, 0, 0, 2, 0, 0, 0];
        let rec = record(0x400, &payload);
        assert!(rec.fatal_error().is_none());
        let (fixed, name, mut ranges) = rec.keyword_update().expect("valid");
        assert_eq!((fixed.modify_type, name), (0, &b"kw1"[..]));
        assert_eq!(ranges.next(), Some(UidRange { uid1: 2, uid2: 2 }));
    }

    #[test]
    fn attributes_carry_their_numbers() {
        let mut payload = b"+pvendor/a\0-sb\0\0".to_vec();
        payload.extend([0; 0]);
        payload.extend(7_u32.to_le_bytes());
        payload.extend(5_u32.to_le_bytes());
        payload.extend(8_u32.to_le_bytes());
        let rec = record(0x10_0000, &payload);
        assert!(rec.fatal_error().is_none() && rec.payload_error().is_none());
        let list = rec.attributes();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].timestamp, list[0].value_len, list[0].private), (Some(7), Some(5), true));
        assert_eq!((list[1].timestamp, list[1].set, list[1].key), (Some(8), false, &b"b"[..]));
    }
}
