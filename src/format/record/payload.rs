//! A record and what its payload is made of.

use super::super::disk::{Disk, Field, disk_struct};
use super::super::ext::ExtHeader;
use super::super::index::IndexHeader;
use super::super::{Endian, align4};
use super::types::{EXTERNAL, HEADER_SIZE, RecordType, SYNC, flag};

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
pub(in crate::format) fn is_internal(add_flags: u8, remove_flags: u8, modseq_inc_flag: u8) -> bool {
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

impl ExtIntro {
    /// The header that the extension would have in an index; where its data comes to lie in a record is not known yet.
    pub fn proposed(&self) -> ExtHeader {
        ExtHeader {
            hdr_size: self.hdr_size,
            reset_id: self.reset_id,
            record_offset: 0,
            record_size: self.record_size,
            record_align: self.record_align,
            name_size: self.name_size,
        }
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

/// The elements of a header-update, ext-hdr or ext-hdr32 record. Ends early, with `truncated` set, where an element
/// runs past the payload.
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

/// Bytes of a header-update of one field of four bytes.
pub const TAIL_UPDATE_SIZE: u32 = 16;

/// The first word in the payload of a header-update of nothing but `log_file_tail_offset`: offset and size of the
/// field.
pub const fn tail_update_word(endian: Endian) -> u32 {
    const TAIL: Field = IndexHeader::log_file_tail_offset;
    #[allow(clippy::cast_possible_truncation, reason = "offsets and sizes in the header are below 120")]
    const AT: (u32, u32) = (TAIL.offset as u32, TAIL.size as u32);
    match endian {
        Endian::Little => AT.1 << 16 | AT.0,
        Endian::Big => AT.0 << 16 | AT.1,
    }
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

    /// True when a client asked for a change of messages that the storage has yet to execute: it counts as pending
    /// until the tail offset has passed it.
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

    /// True for a header-update of nothing but `log_file_tail_offset`: the most frequent record that tells nothing of
    /// messages.
    #[inline]
    pub fn is_tail_update(&self) -> bool {
        self.kind() == Some(RecordType::HeaderUpdate)
            && self.size == TAIL_UPDATE_SIZE
            && self.endian.u32_at(self.payload, 0) == Some(tail_update_word(self.endian))
    }

    /// The `log_file_tail_offset` that the record publishes, and where in the payload it stands: only the first element
    /// of an external header-update counts (`log_file_track_sync`).
    pub fn published_tail(&self) -> Option<(usize, u32)> {
        if !self.external() || self.kind() != Some(RecordType::HeaderUpdate) {
            return None;
        }
        let first = self.header_chunks().next()?;
        let (tail, offset) = (IndexHeader::log_file_tail_offset, usize::try_from(first.offset).ok()?);
        let value = tail.u32_in(first.data, offset, self.endian)?;
        Some((tail.offset.saturating_sub(offset).saturating_add(4), value))
    }

    /// What a header-update sets a field of four bytes of the base header to.
    pub fn sets(&self, field: Field) -> impl Iterator<Item = u32> + use<'a> {
        let chunks = (self.kind() == Some(RecordType::HeaderUpdate)).then(|| self.header_chunks());
        let endian = self.endian;
        chunks.into_iter().flatten().filter_map(move |chunk| field.u32_in(chunk.data, chunk.offset as usize, endian))
    }

    /// True for an introduction that starts the count of modseqs: only its first element is looked at
    /// (`mail_transaction_update_modseq`).
    pub fn introduces_modseqs(&self) -> bool {
        self.intros().next().is_some_and(|first| first.name == b"modseq")
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

    /// The size of the transaction that a boundary record opens, itself included, in bytes; 0 when the record is too
    /// short to say. `None` for other records.
    #[inline]
    pub fn boundary_size(&self) -> Option<u32> {
        (self.kind() == Some(RecordType::Boundary)).then(|| self.endian.u32_at(self.payload, 0).unwrap_or(0))
    }

    /// The word on the deletion of the mailbox, where the record is one: true when it is being deleted, false when it
    /// is not after all. A request counts for nothing (`mail_transaction_log_file_sync`).
    pub fn deletion(&self) -> Option<bool> {
        match self.kind()? {
            _ if !self.external() => None,
            RecordType::IndexDeleted => Some(true),
            RecordType::IndexUndeleted => Some(false),
            _ => None,
        }
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
    pub fn attributes(&self) -> Attributes<'a> {
        let mut rest = self.payload;
        while let Some((_, after)) = next_key(rest) {
            rest = after;
        }
        let text = self.payload.len().saturating_sub(rest.len()).saturating_add(1);
        Attributes { keys: self.payload, payload: self.payload, numbers: align4(text), endian: self.endian }
    }
}

/// The first of NUL-terminated keys, each with two letters in front, and what follows it.
fn next_key(keys: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = keys.iter().position(|byte| *byte == 0).filter(|len| *len >= 3)?;
    Some((keys.get(..len)?, keys.get(len.checked_add(1)?..)?))
}

/// Iterates over the attributes of an attribute-update record: all keys stand before all numbers.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// The keys that are left, and what follows them.
    keys: &'a [u8],
    payload: &'a [u8],
    /// Where the numbers of the next key stand in the payload.
    numbers: usize,
    endian: Endian,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (entry, rest) = next_key(self.keys)?;
        let (sign, scope, key) = (entry.first()?, entry.get(1)?, entry.get(2..)?);
        self.keys = rest;
        let mut number = || {
            let value = self.endian.u32_at(self.payload, self.numbers);
            self.numbers = self.numbers.saturating_add(4);
            value
        };
        let set = *sign == b'+';
        let timestamp = number();
        Some(Attribute { key, private: *scope == b'p', set, timestamp, value_len: if set { number() } else { None } })
    }
}
