//! `dovecot.index.cache` (`mail-cache-private.h`): the file header, the chain of field headers, and the records they
//! describe. Reading is lenient: what a rule objects to is kept in `problems`, and the rest is read all the same.
//! Which message a record belongs to is known only to the index.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::disk::{Disk, disk_struct};
use super::endian::Endian;
use super::ext::Visit;
use super::flaw::{Flaw, FlawKind};
use super::mime::{BinaryParts, HeaderLines, MimeParts};
use super::{FileKind, align4, packed};

disk_struct! {
    /// `struct mail_cache_header`. The fields from 16 to 27 meant something else up to 2.1: see [`CacheHeader::old`].
    pub struct CacheHeader, 32 {
        0 => major_version: u8, "1; any other: Dovecot deletes the file";
        1 => compat_sizeof_uoff_t: u8, "8; any other: Dovecot deletes the file";
        2 => minor_version: u8, "1 since 2.2, 0 in 1.1 to 2.1; in 1.0 the size of time_t";
        3 => unused: u8, "0";
        4 => indexid: u32, "must equal that of the index";
        8 => file_seq: u32, "must equal the reset_id of the index's cache extension; never 0";
        12 => continued_record_count: u32, "records with a prev_offset appended since the last purge";
        16 => record_count: u32, "messages with cached data; up to 2.1 hole_offset";
        20 => backwards_compat_used_file_size: u32, "file size in bytes at the last purge; up to 2.1 used_file_size";
        24 => deleted_record_count: u32, "expunged messages that had cached data; up to 2.1 deleted_space in bytes";
        28 => field_header_offset: [u8; 4], "coded offset of the first field header";
    }
}

/// The part of [`CacheHeader`] that minor version 0 used differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldCounters {
    /// Offset of the first hole, 0 without holes.
    pub hole_offset: u32,
    /// Bytes in use; what follows was reserved in advance.
    pub used_file_size: u32,
    /// Bytes in holes and in records of expunged messages.
    pub deleted_space: u32,
}

impl CacheHeader {
    /// The fields 16 to 27 as Dovecot up to 2.1 meant them; `None` in the format of 2.2 and later.
    pub fn old(&self) -> Option<OldCounters> {
        // 1.0 wrote sizeof(time_t) where the minor version is now.
        matches!(self.minor_version, 0 | 4 | 8).then_some(OldCounters {
            hole_offset: self.record_count,
            used_file_size: self.backwards_compat_used_file_size,
            deleted_space: self.deleted_record_count,
        })
    }

    /// The decoded `field_header_offset`, in bytes; `None` when it is not a coded offset.
    pub fn field_header_offset(&self) -> Option<u32> {
        packed::decode(self.field_header_offset)
    }
}

disk_struct! {
    /// The fixed start of `struct mail_cache_header_fields`.
    pub struct FieldHeaderStart, 12 {
        0 => next_offset: [u8; 4], "coded offset of the next field header; zero bytes in the last";
        4 => size: u32, "size of this header in bytes with its names, without padding";
        8 => fields_count: u32, "number of fields";
    }
}

disk_struct! {
    /// `struct mail_cache_record` without its fields.
    pub struct RecordStart, 8 {
        0 => prev_offset: u32, "offset of the same message's previous record, 0 in the first";
        4 => size: u32, "size of the record in bytes with this header, a multiple of 4";
    }
}

disk_struct! {
    /// `struct mail_cache_hole_header`, up to 2.1.
    pub struct HoleStart, 12 {
        0 => next_offset: u32, "offset of the next hole, 0 in the last";
        4 => size: u32, "size of the hole in bytes with this header";
        8 => magic: u32, "0xffeedeff";
    }
}

/// `MAIL_CACHE_HOLE_HEADER_MAGIC`.
pub const HOLE_MAGIC: u32 = 0xffee_deff;

/// Longest chain of field headers that is followed. Dovecot purges the file at 5.
const MAX_FIELD_HEADERS: usize = 10_000;

/// How many problems of the field headers are told apart; a damaged one can have as many as it has bytes.
const MAX_PROBLEMS: usize = 1000;

/// Can it be a cache file, by content? Byte order plays no part.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.len() >= CacheHeader::SIZE && matches!(bytes, [1, 8, 0 | 1 | 4 | 8, 0, ..])
}

/// `enum mail_cache_field_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// 0: always the same number of bytes.
    FixedSize,
    /// 1: bytes with a length.
    VariableSize,
    /// 2: text with a length.
    String,
    /// 3: like fixed size; values of a message's records are OR-ed.
    Bitmask,
    /// 4: lines of a header field.
    Header,
    /// Not a type Dovecot knows.
    Unknown(u8),
}

impl FieldType {
    /// The type with the number that is on disk.
    pub const fn from_byte(byte: u8) -> FieldType {
        match byte {
            0 => FieldType::FixedSize,
            1 => FieldType::VariableSize,
            2 => FieldType::String,
            3 => FieldType::Bitmask,
            4 => FieldType::Header,
            _ => FieldType::Unknown(byte),
        }
    }

    /// `fix`, `var`, `str`, `bit`, `hdr` as `doveadm dump` prints it, or the number in hex.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            FieldType::FixedSize => "fix",
            FieldType::VariableSize => "var",
            FieldType::String => "str",
            FieldType::Bitmask => "bit",
            FieldType::Header => "hdr",
            FieldType::Unknown(byte) => return Cow::Owned(format!("{byte:#x}")),
        })
    }
}

/// `no`, `tmp` or `yes` as `doveadm dump` prints a caching decision, with `!` when it is forced; hex when it is none.
pub fn decision_name(decision: u8) -> Cow<'static, str> {
    Cow::Borrowed(match decision {
        0x00 => "no",
        0x01 => "tmp",
        0x02 => "yes",
        0x80 => "no!",
        0x81 => "tmp!",
        0x82 => "yes!",
        _ => return Cow::Owned(format!("{decision:#x}")),
    })
}

/// Names of the bits of the `flags` field: Dovecot's constants without `MAIL_CACHE_FLAG_` (`index-mail.h`).
pub const CACHE_FLAGS: [(u32, &str); 6] = [
    (0x01, "BINARY_HEADER"),
    (0x02, "BINARY_BODY"),
    (0x04, "HAS_NULS"),
    (0x20, "HAS_NO_NULS"),
    (0x08, "HAS_NO_NULS_BROKEN"),
    (0x10, "TEXT_PLAIN_7BIT_ASCII"),
];

/// Type and size in bytes (`None`: variable) of the fields that Dovecot registers itself, and so checks when it reads a
/// header (`index-mail.c: global_cache_fields`, `field_type_verify`).
const REGISTERED: [(&str, FieldType, Option<u32>); 15] = [
    ("flags", FieldType::Bitmask, Some(4)),
    ("date.sent", FieldType::FixedSize, Some(8)),
    ("date.received", FieldType::FixedSize, Some(4)),
    ("date.save", FieldType::FixedSize, Some(4)),
    ("size.virtual", FieldType::FixedSize, Some(8)),
    ("size.physical", FieldType::FixedSize, Some(8)),
    ("imap.body", FieldType::String, None),
    ("imap.bodystructure", FieldType::String, None),
    ("imap.envelope", FieldType::String, None),
    ("pop3.uidl", FieldType::String, None),
    ("pop3.order", FieldType::FixedSize, Some(4)),
    ("guid", FieldType::String, None),
    ("mime.parts", FieldType::VariableSize, None),
    ("binary.parts", FieldType::VariableSize, None),
    ("body.snippet", FieldType::VariableSize, None),
];

/// How the data of a field is to be read, settled once per field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `flags`.
    Flags,
    /// `date.sent`.
    Sent,
    /// `date.received`, `date.save`.
    Date,
    /// `size.virtual`, `size.physical`.
    Size,
    /// `pop3.order`.
    Number,
    /// Fields of type string.
    Text,
    /// Fields of type header.
    Header,
    /// `mime.parts`.
    MimeParts,
    /// `binary.parts`.
    BinaryParts,
    /// `body.snippet`.
    Snippet,
    /// Anything else.
    Bytes,
}

impl ValueKind {
    fn of(name: &[u8], field_type: FieldType, size: Option<u32>) -> ValueKind {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match (field_type, size) {
            (FieldType::Header, _) => ValueKind::Header,
            (FieldType::String, _) => ValueKind::Text,
            (FieldType::Bitmask, Some(4)) if is("flags") => ValueKind::Flags,
            (FieldType::FixedSize, Some(8 | 16)) if is("date.sent") => ValueKind::Sent,
            (FieldType::FixedSize, Some(4 | 8)) if is("date.received") || is("date.save") => ValueKind::Date,
            (FieldType::FixedSize, Some(8)) if is("size.virtual") || is("size.physical") => ValueKind::Size,
            (FieldType::FixedSize, Some(4)) if is("pop3.order") => ValueKind::Number,
            (FieldType::VariableSize, None) if is("mime.parts") => ValueKind::MimeParts,
            (FieldType::VariableSize, None) if is("binary.parts") => ValueKind::BinaryParts,
            (FieldType::VariableSize, None) if is("body.snippet") => ValueKind::Snippet,
            _ => ValueKind::Bytes,
        }
    }
}

/// The value of one field in one record, borrowed from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheValue<'a> {
    /// `flags`: see [`CACHE_FLAGS`].
    Flags(u32),
    /// `date.sent`: the Date: header.
    Sent {
        /// UNIX time: 32 bits, in files of 1.0 a whole time_t.
        time: u64,
        /// Minutes east of UTC.
        timezone: i32,
    },
    /// `date.received`, `date.save`: UNIX time: 32 bits, in files of 1.0 a whole time_t.
    Date(u64),
    /// `size.virtual`, `size.physical`: bytes.
    Size(u64),
    /// `pop3.order`: position in the POP3 listing, 0 unknown.
    Number(u32),
    /// Text without the NUL that old versions put at its end.
    Text(&'a [u8]),
    /// `hdr.*`.
    Header(HeaderLines<'a>),
    /// `mime.parts`.
    MimeParts(MimeParts<'a>),
    /// `binary.parts`.
    BinaryParts(BinaryParts<'a>),
    /// `body.snippet`.
    Snippet {
        /// Version of the algorithm, an ASCII digit.
        version: u8,
        /// UTF-8 text.
        text: &'a [u8],
    },
    /// A field this crate does not know, or data that does not suit it.
    Bytes(&'a [u8]),
}

impl CacheValue<'_> {
    /// Passes the value to `visitor` under `name`: numbers and text plainly, `date.sent` as time and timezone, headers
    /// as lines and raw, snippets as version and text, MIME parts as a tree, flags with the names of their bits, the rest as hex. [`Visit::place`] is called for parts and line numbers only, relative to
    /// the field's data.
    ///
    /// # Errors
    /// Where `mime.parts` or `binary.parts` is broken; what comes before is passed on and properly closed.
    #[inline]
    pub fn visit<V: Visit + ?Sized>(&self, name: &str, visitor: &mut V) -> Result<(), Flaw> {
        match *self {
            CacheValue::Flags(flags) => visitor.bits(name, u64::from(flags), &CACHE_FLAGS),
            CacheValue::Sent { time, timezone } => {
                visitor.object_begin(name);
                visitor.number("time", time);
                visitor.signed("timezone", i64::from(timezone));
                visitor.object_end();
            }
            CacheValue::Number(value) => visitor.number(name, u64::from(value)),
            CacheValue::Date(value) | CacheValue::Size(value) => visitor.number(name, value),
            CacheValue::Text(text) => visitor.text(name, text),
            CacheValue::Header(header) => header.visit(name, visitor),
            CacheValue::MimeParts(parts) => return parts.visit(name, visitor),
            CacheValue::BinaryParts(parts) => return parts.visit(name, visitor),
            CacheValue::Snippet { version, text } => {
                visitor.object_begin(name);
                visitor.text("version", &[version]);
                visitor.text("text", text);
                visitor.object_end();
            }
            CacheValue::Bytes(bytes) => visitor.hex(name, bytes),
        }
        Ok(())
    }
}

/// One link of the chain of field headers. Only the last describes the file's fields, the others are history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFieldHeader {
    /// Where it begins in the file, in bytes.
    pub offset: u32,
    /// Where the next one begins; `None` in the last.
    pub next_offset: Option<u32>,
    /// Its size as stored, in bytes without padding.
    pub size: u32,
    /// The number of its fields as stored.
    pub fields_count: u32,
    /// Do `size` and `fields_count` agree with each other and with the size of the file?
    pub sound: bool,
    /// Where its bytes end in the file, padding included; the end of its fixed part unless `sound`.
    pub end: u64,
}

impl CacheFieldHeader {
    /// The bytes it takes in the file, padding included.
    pub fn range(&self) -> Range<u64> {
        u64::from(self.offset)..self.end
    }

    /// Where its names begin, in bytes from its own beginning: behind 12 bytes and 10 for each field.
    fn names_at(&self) -> u64 {
        u64::from(self.fields_count).saturating_mul(10).saturating_add(12)
    }
}

/// A field that records can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheField<'a> {
    /// Its number in records of this file.
    pub index: u32,
    /// Its name, such as `hdr.Subject`; Dovecot compares without case.
    pub name: &'a [u8],
    /// Its type.
    pub field_type: FieldType,
    /// The size of its data in bytes, `None` when each record tells.
    pub size: Option<u32>,
    /// The decision byte; see [`decision_name`].
    pub decision: u8,
    /// When a client last asked for it, UNIX time; 0 never.
    pub last_used: u32,
    /// How its data is to be read.
    pub kind: ValueKind,
    /// Where the four bytes of `last_used` are in the file.
    pub last_used_at: u64,
    /// Where the four bytes of `size` are in the file.
    pub size_at: u64,
    /// Where the type byte is in the file.
    pub type_at: u64,
    /// Where the decision byte is in the file.
    pub decision_at: u64,
    /// The bytes of the name with its NUL, in the file.
    pub name_range: Range<u64>,
}

impl CacheField<'_> {
    /// The decision as `doveadm dump` prints it.
    pub fn decision_name(&self) -> Cow<'static, str> {
        decision_name(self.decision)
    }

    /// The type as `doveadm dump` prints it.
    pub fn type_name(&self) -> Cow<'static, str> {
        self.field_type.name()
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// Where it begins in the file, in bytes.
    pub offset: u32,
    /// Where the message's previous record begins, 0 when this is the first.
    pub prev_offset: u32,
    /// Its size in bytes, this header included.
    pub size: u32,
}

impl CacheRecord {
    /// The bytes it takes in the file.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.offset);
        start..start.saturating_add(u64::from(self.size))
    }
}

/// The data of one field in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldData<'a> {
    /// The number of the field: an index into [`Cache::fields`].
    pub index: u32,
    /// Its data without padding.
    pub data: &'a [u8],
    /// Where the data begins in the file.
    pub offset: u64,
}

/// Why the fields of a record cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The fields do not end where the record does.
    RecordSize,
    /// There is no such field.
    FieldIndex(u32),
    /// The data would go beyond the record.
    DataSize(u32),
}

/// One step through a record.
enum Step<'a> {
    /// A field, and where the next one begins in the record.
    Field(FieldData<'a>, usize),
    End,
    Broken(Broken),
}

/// A cache file.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    bytes: &'a [u8],
    /// The file header.
    pub header: CacheHeader,
    /// The byte order of everything but coded offsets.
    pub endian: Endian,
    /// Was the byte order guessed, for want of an `indexid` to compare with?
    pub endian_guessed: bool,
    /// The chain of field headers in the order of their links; the last one is in force.
    pub field_headers: Vec<CacheFieldHeader>,
    /// The fields of the last field header; a field's number is its index.
    pub fields: Vec<CacheField<'a>>,
    /// What Dovecot would object to in the header and the field headers, in file order of discovery.
    pub problems: Vec<Flaw>,
}

impl<'a> Cache<'a> {
    /// Reads header and field headers. `indexid` is that of the index or log the cache belongs to, if known: it tells
    /// the byte order, which a cache file does not record.
    ///
    /// # Errors
    /// The file is shorter than its header, or its major version is not 1. All else is put into `problems`.
    pub fn parse(bytes: &'a [u8], indexid: Option<u32>) -> Result<Cache<'a>, Flaw> {
        if bytes.len() < CacheHeader::SIZE {
            return Err(problem(
                0,
                FlawKind::CacheShort,
                "32 bytes",
                format!("{} bytes (File too small)", bytes.len()),
            ));
        }
        let (endian, endian_guessed) = infer_endian(bytes, indexid);
        let header = CacheHeader::read(bytes, endian);
        if header.major_version != 1 {
            return Err(problem(
                0,
                FlawKind::CacheVersion,
                "1",
                format!("{} (Unsupported major version)", header.major_version),
            ));
        }
        let mut cache = Cache {
            bytes,
            header,
            endian,
            endian_guessed,
            field_headers: Vec::new(),
            fields: Vec::new(),
            problems: Vec::new(),
        };
        cache.check_header(indexid);
        cache.read_field_headers();
        if let Some(&last) = cache.field_headers.last() {
            let mut problems = std::mem::take(&mut cache.problems);
            cache.fields = cache.read_fields(&last, &mut problems);
            cache.problems = problems;
        }
        Ok(cache)
    }

    /// The file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fields of any link of the chain: what they were before later headers added more.
    pub fn fields_of(&self, header: &CacheFieldHeader) -> Vec<CacheField<'a>> {
        self.read_fields(header, &mut Vec::new())
    }

    /// The record at `offset`, its own size checked but not its fields.
    ///
    /// # Errors
    /// The checks of `mail_cache_get_record`: alignment, inside the file, a size that can be.
    pub fn record_at(&self, offset: u32) -> Result<CacheRecord, Flaw> {
        let at = u64::from(offset);
        let len = self.bytes.len();
        if !offset.is_multiple_of(4) {
            return Err(problem(
                at,
                FlawKind::CacheRecordAlign,
                "a multiple of 4",
                format!("{offset} (invalid record offset)"),
            ));
        }
        let end = || format!("{len} (record points outside file)");
        if (offset as usize) < CacheHeader::SIZE {
            return Err(problem(at, FlawKind::CacheRecordInHeader, "32 or more", offset.to_string()));
        }
        let Some(raw) = self.bytes.get(offset as usize..).filter(|raw| raw.len() >= RecordStart::SIZE) else {
            return Err(problem(at, FlawKind::CacheRecordOutside, "8 bytes before the end of the file", end()));
        };
        let RecordStart { prev_offset, size } = RecordStart::read(raw, self.endian);
        let at = at.saturating_add(4);
        if size < 8 || !size.is_multiple_of(4) {
            return Err(problem(
                at,
                FlawKind::CacheRecordSize,
                "at least 8, a multiple of 4",
                format!("{size} (invalid record size)"),
            ));
        }
        if size as usize > raw.len() {
            return Err(problem(
                at,
                FlawKind::CacheRecordPastEnd,
                format!("at most {}", raw.len()),
                format!("{size}; file size {}", end()),
            ));
        }
        Ok(CacheRecord { offset, prev_offset, size })
    }

    /// The fields of a record, in the order they were written. Ends after the first error.
    #[inline]
    pub fn fields(&self, record: &CacheRecord) -> CacheFields<'_, 'a> {
        CacheFields { cache: self, offset: record.offset, raw: self.raw(record), at: RecordStart::SIZE }
    }

    /// A field's data, read as what it is.
    #[inline]
    pub fn value(&self, field: &FieldData<'a>) -> CacheValue<'a> {
        let kind = self.fields.get(field.index as usize).map_or(ValueKind::Bytes, |known| known.kind);
        let FieldData { data, offset, .. } = *field;
        let endian = self.endian;
        match (kind, data.len()) {
            (ValueKind::Flags, 4) => CacheValue::Flags(endian.u32_at(data, 0).unwrap_or_default()),
            (ValueKind::Sent, 8) => CacheValue::Sent {
                time: endian.u32_at(data, 0).unwrap_or_default().into(),
                timezone: endian.u32_at(data, 4).unwrap_or_default().cast_signed(),
            },
            (ValueKind::Sent, 16) => CacheValue::Sent {
                time: endian.u64_at(data, 0).unwrap_or_default(),
                timezone: endian.u32_at(data, 8).unwrap_or_default().cast_signed(),
            },
            (ValueKind::Date, 4) => CacheValue::Date(endian.u32_at(data, 0).unwrap_or_default().into()),
            (ValueKind::Date, 8) => CacheValue::Date(endian.u64_at(data, 0).unwrap_or_default()),
            (ValueKind::Number, 4) => CacheValue::Number(endian.u32_at(data, 0).unwrap_or_default()),
            (ValueKind::Size, 8) => CacheValue::Size(endian.u64_at(data, 0).unwrap_or_default()),
            (ValueKind::Text, _) => CacheValue::Text(data.strip_suffix(&[0]).unwrap_or(data)),
            (ValueKind::Header, _) => CacheValue::Header(HeaderLines::parse(data, endian)),
            (ValueKind::MimeParts, _) => CacheValue::MimeParts(MimeParts { data, offset, endian }),
            (ValueKind::BinaryParts, _) => CacheValue::BinaryParts(BinaryParts { data, offset }),
            (ValueKind::Snippet, 1..) => {
                let (&version, text) = data.split_first().unwrap_or((&0, &[]));
                CacheValue::Snippet { version, text: text.strip_suffix(&[0]).unwrap_or(text) }
            }
            _ => CacheValue::Bytes(data),
        }
    }

    /// A message's records, newest first, from the offset in the index. Ends after the first error, at the latest when
    /// more has been read than there is between the outermost records ("record list is circular").
    pub fn chain(&self, newest_offset: u32) -> CacheChain<'_, 'a> {
        CacheChain { cache: self, next: newest_offset, span: None, sum: 0 }
    }

    /// Judges the chain that begins at `newest_offset`, which stands in the index: each record sound, each link older
    /// than the record it is in (not so up to 2.1, which filled holes), each field known, the fields filling the
    /// record.
    pub fn check_chain(&self, newest_offset: u32, problems: &mut Vec<Flaw>) {
        for record in self.chain(newest_offset) {
            let record = match record {
                Ok(record) => record,
                Err(error) => return problems.push(error),
            };
            problems.extend(self.fields(&record).find_map(Result::err));
            if record.prev_offset >= record.offset && record.prev_offset != 0 && self.header.old().is_none() {
                problems.push(problem(
                    u64::from(record.offset),
                    FlawKind::CacheRecordOrder,
                    format!("less than {}", record.offset),
                    record.prev_offset.to_string(),
                ));
            }
        }
    }

    /// The holes of a file of 2.1 and older, by their links; `None` ends the list early where a link is broken.
    pub fn holes(&self) -> impl Iterator<Item = Option<(u32, HoleStart)>> + use<'_, 'a> {
        let mut next = self.header.old().map_or(0, |old| old.hole_offset);
        // A hole takes at least 12 bytes, so a longer list repeats itself.
        let mut left = self.bytes.len() / HoleStart::SIZE;
        std::iter::from_fn(move || {
            if next == 0 {
                return None;
            }
            let offset = std::mem::take(&mut next);
            left = left.saturating_sub(1);
            let hole = self.hole_at(offset as usize).filter(|_| left > 0);
            next = hole.as_ref().map_or(0, |hole| hole.next_offset);
            Some(hole.map(|hole| (offset, hole)))
        })
    }

    /// Names every byte of the file: the items follow each other without gap or overlap from 0 to its end.
    pub fn tile(&self) -> Tile<'_, 'a> {
        let mut known: Vec<(usize, usize)> = self
            .field_headers
            .iter()
            .enumerate()
            .filter(|(_, header)| header.sound)
            .map(|(i, header)| (header.offset as usize, i))
            .collect();
        known.sort_unstable();
        known.dedup();
        Tile { cache: self, at: 0, known, passed: 0, budget: self.bytes.len().saturating_mul(4).saturating_add(4096) }
    }

    fn check_header(&mut self, indexid: Option<u32>) {
        let header = &self.header;
        let mut found = Vec::new();
        if header.compat_sizeof_uoff_t != 8 {
            let have = format!("{} (Unsupported uoff_t size)", header.compat_sizeof_uoff_t);
            found.push(problem(1, FlawKind::CacheOffsetSize, "8", have));
        }
        if let Some(indexid) = indexid.filter(|&indexid| indexid != header.indexid) {
            found.push(problem(4, FlawKind::CacheIndexid, indexid.to_string(), header.indexid.to_string()));
        }
        if header.file_seq == 0 {
            found.push(problem(8, FlawKind::CacheFileSeq, "not 0", "file_seq is 0"));
        }
        self.problems = found;
    }

    /// Follows the chain (`mail_cache_header_fields_get_offset`).
    fn read_field_headers(&mut self) {
        let append_only = self.header.old().is_none();
        let mut link_at = 28;
        let mut next = self.header.field_header_offset().unwrap_or_default();
        if next == 0 {
            let raw = u32::from_be_bytes(self.header.field_header_offset);
            return self.add(
                link_at,
                FlawKind::FieldHeaderNone,
                "a coded offset",
                format!("{raw:#x} (missing header fields)"),
            );
        }
        let mut before = 0;
        let mut seen = HashSet::new();
        while next != 0 {
            if !seen.insert(next) || (next < before && append_only) {
                let (kind, word) = match next < before {
                    true => (FlawKind::FieldHeaderOrder, "decreases"),
                    false => (FlawKind::FieldHeaderLoop, "loops"),
                };
                let have = format!("{next} (next_offset in field header {word})");
                return self.add(link_at, kind, format!("more than {before}"), have);
            }
            if seen.len() > MAX_FIELD_HEADERS {
                return self.add(link_at, FlawKind::FieldHeaderChain, "an end", format!("{MAX_FIELD_HEADERS} headers"));
            }
            let raw = self.bytes.get(next as usize..).unwrap_or_default();
            if raw.len() < FieldHeaderStart::SIZE || (next as usize) < CacheHeader::SIZE {
                let have = format!("{next} (header field next_offset points outside file)");
                return self.add(link_at, FlawKind::FieldHeaderOutside, "an offset inside the file", have);
            }
            let start = FieldHeaderStart::read(raw, self.endian);
            let next_offset = packed::decode(start.next_offset).filter(|&offset| offset != 0);
            let mut header = CacheFieldHeader {
                offset: next,
                next_offset,
                size: start.size,
                fields_count: start.fields_count,
                sound: true,
                end: 0,
            };
            header.sound = u64::from(start.size) >= header.names_at() && start.size as usize <= raw.len();
            let size = if header.sound { align4(start.size as usize).min(raw.len()) } else { FieldHeaderStart::SIZE };
            header.end = u64::from(next).saturating_add(size as u64);
            self.field_headers.push(header);
            link_at = u64::from(next);
            before = next;
            next = next_offset.unwrap_or_default();
        }
    }

    /// Reads the fields of one header (`mail_cache_header_fields_read`).
    fn read_fields(&self, header: &CacheFieldHeader, problems: &mut Vec<Flaw>) -> Vec<CacheField<'a>> {
        let base = u64::from(header.offset);
        if !header.sound {
            let room = (self.bytes.len() as u64).saturating_sub(base);
            problems.push(problem(
                base.saturating_add(4),
                FlawKind::FieldHeaderSize,
                format!("{} to {room}", header.names_at()),
                format!("{} for {} fields (invalid field header size)", header.size, header.fields_count),
            ));
            return Vec::new();
        }
        let raw = self.bytes.get(header.offset as usize..).unwrap_or_default();
        let raw = raw.get(..header.size as usize).unwrap_or_default();
        let count = header.fields_count as usize;
        let place = |array: usize, width: usize, i: usize| {
            count.saturating_mul(array).saturating_add(12).saturating_add(i.saturating_mul(width))
        };
        let at = |n: usize| base.saturating_add(n as u64);
        let mut names_at = place(10, 0, 0);
        let mut fields = Vec::with_capacity(count);
        let mut seen = HashSet::with_capacity(count);
        for i in 0..header.fields_count {
            let n = i as usize;
            let names = raw.get(names_at..).unwrap_or_default();
            let len = names.iter().position(|&b| b == 0);
            let name = names.get(..len.unwrap_or(names.len())).unwrap_or_default();
            let name_end = names_at.saturating_add(name.len()).saturating_add(1).min(raw.len());
            let (used, size) = (place(0, 4, n), place(4, 4, n));
            let (type_at, decision_at) = (place(8, 1, n), place(9, 1, n));
            let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
            let field_type = FieldType::from_byte(byte(type_at));
            let stored_size = self.endian.u32_at(raw, size).unwrap_or_default();
            let known_size = Some(stored_size).filter(|&size| size != u32::MAX);
            let field = CacheField {
                index: i,
                name,
                field_type,
                size: known_size,
                decision: byte(decision_at),
                last_used: self.endian.u32_at(raw, used).unwrap_or_default(),
                kind: ValueKind::of(name, field_type, known_size),
                last_used_at: at(used),
                size_at: at(size),
                type_at: at(type_at),
                decision_at: at(decision_at),
                name_range: at(names_at)..at(name_end),
            };
            if problems.len() < MAX_PROBLEMS {
                field.judge(len.is_some(), self.header.minor_version == 8, &mut seen, problems);
            }
            fields.push(field);
            names_at = name_end;
        }
        fields
    }

    fn add(&mut self, at: u64, kind: FlawKind, need: impl Into<Cow<'static, str>>, have: String) {
        self.problems.push(problem(at, kind, need, have));
    }

    fn raw(&self, record: &CacheRecord) -> &'a [u8] {
        let rest = self.bytes.get(record.offset as usize..).unwrap_or_default();
        rest.get(..record.size as usize).unwrap_or_default()
    }

    /// Reads the field at `at` in the record `raw`, which begins at `offset` (`mail_cache_lookup_iter_next`).
    #[inline]
    fn step(&self, offset: u32, raw: &'a [u8], at: usize) -> Step<'a> {
        let Some(index) = self.endian.u32_at(raw, at) else {
            return if at == raw.len() { Step::End } else { Step::Broken(Broken::RecordSize) };
        };
        let Some(field) = self.fields.get(index as usize) else { return Step::Broken(Broken::FieldIndex(index)) };
        let mut data_at = at.saturating_add(4);
        let size = match field.size {
            Some(size) => size,
            None => {
                let Some(size) = self.endian.u32_at(raw, data_at) else {
                    return Step::Broken(Broken::DataSize(u32::MAX));
                };
                data_at = data_at.saturating_add(4);
                size
            }
        };
        let Some(data) = raw.get(data_at..).and_then(|rest| rest.get(..size as usize)) else {
            return Step::Broken(Broken::DataSize(size));
        };
        let next = data_at.saturating_add(align4(size as usize));
        Step::Field(FieldData { index, data, offset: u64::from(offset).saturating_add(data_at as u64) }, next)
    }

    #[cold]
    fn flaw(&self, offset: u32, raw: &[u8], at: usize, broken: Broken) -> Flaw {
        let place = u64::from(offset).saturating_add(at as u64);
        match broken {
            Broken::RecordSize => problem(
                place,
                FlawKind::CacheFieldsEnd,
                "fields that fill the record exactly",
                format!("{} (record has invalid size)", raw.len()),
            ),
            Broken::FieldIndex(index) => problem(
                place,
                FlawKind::CacheFieldIndex,
                format!("less than {}", self.fields.len()),
                format!("{index} (field index too large)"),
            ),
            Broken::DataSize(size) => problem(
                place,
                FlawKind::CacheFieldSize,
                format!("at most {}", raw.len().saturating_sub(at.saturating_add(4))),
                format!("{size} (record continues outside its allocated size)"),
            ),
        }
    }

    /// A hole at `at`, if its magic says so and its size can be.
    fn hole_at(&self, at: usize) -> Option<HoleStart> {
        let raw = self.bytes.get(at..).filter(|raw| raw.len() >= HoleStart::SIZE)?;
        let hole = HoleStart::read(raw, self.endian);
        let fits = hole.size as usize >= HoleStart::SIZE && hole.size as usize <= raw.len();
        (at >= CacheHeader::SIZE && hole.magic == HOLE_MAGIC && fits).then_some(hole)
    }
}

impl CacheField<'_> {
    /// The rules of `mail_cache_header_fields_read` and `field_type_verify`; `seen` holds the names before this one in
    /// lower case. With `wide_time` dates are those of a 64-bit 1.0.
    fn judge(&self, terminated: bool, wide_time: bool, seen: &mut HashSet<Vec<u8>>, problems: &mut Vec<Flaw>) {
        let shown = String::from_utf8_lossy(self.name);
        let name_at = self.name_range.start;
        if !terminated || self.name.is_empty() {
            let have = format!("{shown:?} (field header names corrupted)");
            problems.push(problem(name_at, FlawKind::FieldName, "a name and its NUL inside the header", have));
        } else if !seen.insert(self.name.to_ascii_lowercase()) {
            let have = format!("Duplicated field in header: {shown}");
            problems.push(problem(name_at, FlawKind::FieldNamedTwice, "a name used only once", have));
        }
        if let FieldType::Unknown(byte) = self.field_type {
            problems.push(problem(self.type_at, FlawKind::FieldType, "0 to 4", format!("{byte} for {shown}")));
        }
        if self.decision & 0x7f > 2 {
            let have = format!("{:#x} for {shown} (field decision type corrupted)", self.decision);
            problems.push(problem(self.decision_at, FlawKind::FieldDecision, "0 to 2, perhaps | 0x80", have));
        }
        let known = REGISTERED.iter().find(|(name, ..)| self.name.eq_ignore_ascii_case(name.as_bytes()));
        let Some(&(name, field_type, size)) = known else { return };
        let widened = wide_time && name.starts_with("date.");
        let size = if widened { size.map(|size| size.saturating_mul(2)) } else { size };
        if self.field_type != field_type {
            let have = format!("{} (registered field {name} type changed)", self.type_name());
            problems.push(problem(self.type_at, FlawKind::RegisteredType, field_type.name(), have));
        } else if let (Some(need), false) = (size, self.size == size) {
            let have = self.size.map_or("variable".into(), |size| size.to_string());
            let have = format!("{have} (registered field {name} size changed)");
            problems.push(problem(self.size_at, FlawKind::RegisteredSize, need.to_string(), have));
        }
    }
}

/// Iterator over the fields of a record: see [`Cache::fields`].
#[derive(Clone, Debug)]
pub struct CacheFields<'c, 'a> {
    cache: &'c Cache<'a>,
    offset: u32,
    raw: &'a [u8],
    at: usize,
}

impl<'a> Iterator for CacheFields<'_, 'a> {
    type Item = Result<FieldData<'a>, Flaw>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.raw.is_empty() {
            return None;
        }
        match self.cache.step(self.offset, self.raw, self.at) {
            Step::Field(field, next) => {
                self.at = next;
                Some(Ok(field))
            }
            Step::End => None,
            Step::Broken(broken) => {
                let error = self.cache.flaw(self.offset, self.raw, self.at, broken);
                self.raw = &[];
                Some(Err(error))
            }
        }
    }
}

/// Iterator over a message's records: see [`Cache::chain`].
#[derive(Clone, Debug)]
pub struct CacheChain<'c, 'a> {
    cache: &'c Cache<'a>,
    next: u32,
    /// The outermost bytes seen.
    span: Option<(u64, u64)>,
    sum: u64,
}

impl Iterator for CacheChain<'_, '_> {
    type Item = Result<CacheRecord, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let record = match self.cache.record_at(std::mem::take(&mut self.next)) {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let Range { start, end } = record.range();
        let (low, high) = self.span.map_or((start, end), |(low, high)| (low.min(start), high.max(end)));
        self.span = Some((low, high));
        self.sum = self.sum.saturating_add(u64::from(record.size));
        if self.sum > high.saturating_sub(low) {
            let have = format!("{} again (record list is circular)", record.offset);
            return Some(Err(problem(start, FlawKind::CacheRecordLoop, "records that do not repeat", have)));
        }
        self.next = record.prev_offset;
        Some(Ok(record))
    }
}

/// What a stretch of a cache file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TileKind {
    /// The file header.
    Header,
    /// The field header with this index in [`Cache::field_headers`].
    FieldHeader(usize),
    /// A record whose fields fill it.
    Record(CacheRecord),
    /// A hole in a file of 2.1 or older.
    Hole(HoleStart),
    /// Nothing but zeros: space reserved in advance, or lost data.
    Zeros,
    /// Bytes that are none of these.
    Unreadable,
}

/// A stretch of a cache file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileItem {
    /// What it is.
    pub kind: TileKind,
    /// Its bytes.
    pub range: Range<u64>,
}

/// Iterator that names every byte of the file: see [`Cache::tile`].
#[derive(Clone, Debug)]
pub struct Tile<'c, 'a> {
    cache: &'c Cache<'a>,
    at: usize,
    /// Offsets of the sound field headers, ascending, with their place in the chain.
    known: Vec<(usize, usize)>,
    /// How many of them lie before `at`.
    passed: usize,
    /// Steps left for finding records behind unreadable bytes: bounds the work on a hostile file to a multiple of its
    /// size. When it is used up, the stretch up to the next field header stays unreadable.
    budget: usize,
}

impl Tile<'_, '_> {
    /// A record at `at` that ends by `limit` and is filled by its fields. `strict` asks for more, for a place where
    /// nothing says that a record begins: at least one field and a link that can be.
    fn record(&mut self, at: usize, limit: usize, strict: bool) -> Option<CacheRecord> {
        self.budget = self.budget.saturating_sub(1);
        let offset = u32::try_from(at).ok()?;
        let start = RecordStart::read(self.cache.bytes.get(at..limit).filter(|raw| raw.len() >= 8)?, self.cache.endian);
        let record = CacheRecord { offset, prev_offset: start.prev_offset, size: start.size };
        let raw = self.cache.bytes.get(at..limit)?.get(..start.size as usize)?;
        if start.size < 8 || !start.size.is_multiple_of(4) {
            return None;
        }
        let prev = start.prev_offset;
        let backwards = prev < offset || self.cache.header.old().is_some();
        if strict && (start.size == 8 || !prev.is_multiple_of(4) || !backwards) {
            return None;
        }
        let mut at = RecordStart::SIZE;
        loop {
            match self.cache.step(offset, raw, at) {
                Step::Field(_, next) => at = next,
                Step::End => return Some(record),
                Step::Broken(_) => return None,
            }
            if strict {
                self.budget = self.budget.checked_sub(1)?;
            }
        }
    }

    fn item(&mut self, kind: TileKind, end: usize) -> Option<TileItem> {
        let range = self.at as u64..end as u64;
        self.at = end;
        Some(TileItem { kind, range })
    }

    /// Goes on to the next thing that can be read, at the latest to `limit`.
    fn gap(&mut self, limit: usize) -> Option<TileItem> {
        let mut end = align4(self.at.saturating_add(1));
        while end < limit && self.budget > 0 {
            if self.cache.hole_at(end).is_some() || self.record(end, limit, true).is_some() {
                break;
            }
            end = end.saturating_add(4);
        }
        let end = if self.budget == 0 { limit } else { end.min(limit) };
        let zeros = self.cache.bytes.get(self.at..end).unwrap_or_default().iter().all(|&b| b == 0);
        self.item(if zeros { TileKind::Zeros } else { TileKind::Unreadable }, end)
    }
}

impl Iterator for Tile<'_, '_> {
    type Item = TileItem;

    fn next(&mut self) -> Option<TileItem> {
        let len = self.cache.bytes.len();
        if self.at >= len {
            return None;
        }
        if self.at == 0 {
            return self.item(TileKind::Header, CacheHeader::SIZE);
        }
        while self.known.get(self.passed).is_some_and(|&(offset, _)| offset < self.at) {
            self.passed = self.passed.saturating_add(1);
        }
        let known = self.known.get(self.passed).copied();
        if let Some((_, i)) = known.filter(|&(offset, _)| offset == self.at) {
            let end = self.cache.field_headers.get(i).map_or(len as u64, |header| header.end);
            let end = usize::try_from(end).unwrap_or(len).clamp(self.at.saturating_add(1), len);
            return self.item(TileKind::FieldHeader(i), end);
        }
        let limit = known.map_or(len, |(offset, _)| offset);
        if let Some(hole) = self.cache.hole_at(self.at) {
            let end = align4(self.at.saturating_add(hole.size as usize)).min(limit);
            return self.item(TileKind::Hole(hole), end);
        }
        match self.record(self.at, limit, false) {
            Some(record) => self.item(TileKind::Record(record), self.at.saturating_add(record.size as usize)),
            None => self.gap(limit),
        }
    }
}

fn problem(at: u64, kind: FlawKind, need: impl Into<Cow<'static, str>>, have: impl Into<Cow<'static, str>>) -> Flaw {
    Flaw::new(FileKind::Cache, at, kind, need, have)
}

/// Finds the byte order, and whether it is a guess. An `indexid` that matches in one order only is proof. Else the
/// field header decides, which coded offsets find in either order, and then which order makes times of `indexid` and
/// `file_seq`.
fn infer_endian(bytes: &[u8], indexid: Option<u32>) -> (Endian, bool) {
    let matches = |endian: Endian| indexid.is_some() && endian.u32_at(bytes, 4) == indexid;
    match (matches(Endian::Little), matches(Endian::Big)) {
        (true, false) => return (Endian::Little, false),
        (false, true) => return (Endian::Big, false),
        _ => {}
    }
    let score = |endian: Endian| {
        let header = CacheHeader::read(bytes, endian);
        // 2000 to 2050.
        let time = |stamp: u32| u32::from((946_684_800..2_524_608_000).contains(&stamp));
        let fields = header.field_header_offset().and_then(|offset| bytes.get(offset as usize..));
        let fields = fields.filter(|raw| raw.len() >= FieldHeaderStart::SIZE).is_some_and(|raw| {
            let start = FieldHeaderStart::read(raw, endian);
            let least = u64::from(start.fields_count).saturating_mul(12).saturating_add(12);
            start.fields_count > 0 && u64::from(start.size) >= least && start.size as usize <= raw.len()
        });
        let field_score = if fields { 4 } else { 0u32 };
        field_score.saturating_add(time(header.indexid)).saturating_add(time(header.file_seq))
    };
    (if score(Endian::Big) > score(Endian::Little) { Endian::Big } else { Endian::Little }, true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::super::ext::testing::{Json, unhex};
    use super::*;

    /// worked/s2/dovecot.index.cache: a field header with 16 fields at 32, three records of flags and mime.parts.
    const S2: &str = "
        0108010002bb036b02bb036b000000000300000084010000000000008080808800000000620100001000000002bb036b0000000000000000
        00000000000000000000000000000000000000000000000000000000000000000000000002bb036b00000000000000000000000004000000
        0800000004000000040000000800000008000000ffffffffffffffffffffffffffffffff04000000ffffffffffffffffffffffffffffffff
        ffffffff0300000000000202020200020101010401000000000000008000000001000000666c61677300646174652e73656e740064617465
        2e726563656976656400646174652e736176650073697a652e7669727475616c0073697a652e706879736963616c00696d61702e626f6479
        00696d61702e626f647973747275637475726500696d61702e656e76656c6f706500706f70332e7569646c00706f70332e6f726465720067
        756964006d696d652e70617274730062696e6172792e706172747300626f64792e736e6970706574006864722e4461746500000000000000
        4000000000000000300000000c00000028000000080000006c00000000000000720000000000000009000000000000000a00000000000000
        01000000000000004000000000000000300000000c00000028000000080000006c0000000000000072000000000000000900000000000000
        0a0000000000000001000000000000004000000000000000300000000c00000028000000080000006e000000000000007400000000000000
        0b000000000000000c0000000000000001000000";

    fn s2() -> Vec<u8> {
        unhex(S2)
    }

    fn tiles(cache: &Cache<'_>) -> Vec<(String, Range<u64>)> {
        let mut end = 0;
        let mut found = Vec::new();
        for TileItem { kind, range } in cache.tile() {
            assert!(range.start == end && range.end > end);
            end = range.end;
            let name = match kind {
                TileKind::Record(record) => {
                    assert_eq!(record.range(), range);
                    "record".into()
                }
                TileKind::Hole(hole) => format!("hole {}", hole.size),
                kind => format!("{kind:?}"),
            };
            found.push((name, range));
        }
        assert_eq!(end, cache.bytes().len() as u64);
        found
    }

    /// All of it as doveadm dump prints it (worked/s2 was dumped by 2.3.19.1), except that Dovecot ignores `!`.
    #[test]
    fn real_file() {
        let bytes = s2();
        assert!(looks_like(&bytes));
        let cache = Cache::parse(&bytes, Some(1_795_406_594)).unwrap();
        assert_eq!(cache.problems, []);
        assert_eq!((cache.endian, cache.endian_guessed), (Endian::Little, false));
        assert_eq!((cache.header.record_count, cache.header.field_header_offset()), (3, Some(32)));
        assert_eq!(cache.header.old(), None);
        let table: Vec<String> = cache
            .fields
            .iter()
            .map(|field| {
                let size = field.size.map_or("-".into(), |size| size.to_string());
                let name = String::from_utf8_lossy(field.name);
                format!("{name} {} {size} {}", field.type_name(), field.decision_name())
            })
            .collect();
        assert_eq!(table[..2], ["flags bit 4 tmp", "date.sent fix 8 no"]);
        assert_eq!(table[8..10], ["imap.envelope str - no!", "pop3.uidl str - no"]);
        assert_eq!(
            table[12..],
            ["mime.parts var - tmp", "binary.parts var - no", "body.snippet var - no", "hdr.Date hdr - no"]
        );
        let names: Vec<_> = tiles(&cache).into_iter().map(|(name, range)| (name, range.end)).collect();
        let want = [("Header", 32), ("FieldHeader(0)", 388), ("record", 452), ("record", 516), ("record", 580)];
        assert_eq!(names, want.map(|(name, end)| (name.to_string(), end)));
        // Every place points at what it is named after.
        for field in &cache.fields {
            let at = |at: u64| usize::try_from(at).unwrap();
            assert_eq!(bytes[at(field.decision_at)], field.decision);
            assert_eq!(FieldType::from_byte(bytes[at(field.type_at)]), field.field_type);
            assert_eq!(Endian::Little.u32_at(&bytes, at(field.last_used_at)), Some(field.last_used));
            assert_eq!(Endian::Little.u32_at(&bytes, at(field.size_at)), Some(field.size.unwrap_or(u32::MAX)));
            assert_eq!(&bytes[at(field.name_range.start)..at(field.name_range.end) - 1], field.name);
        }
    }

    #[test]
    fn values_of_a_real_record() {
        let bytes = s2();
        let cache = Cache::parse(&bytes, None).unwrap();
        let record = cache.record_at(388).unwrap();
        assert_eq!(record, CacheRecord { offset: 388, prev_offset: 0, size: 64 });
        let mut json = Json::default();
        for field in cache.fields(&record) {
            let field = field.unwrap();
            let name = std::str::from_utf8(cache.fields[field.index as usize].name).unwrap();
            cache.value(&field).visit(name, &mut json).unwrap();
        }
        let want = "\"flags\":48,\"mime.parts\":{\"physical_pos\":0,\
                    \"header_physical_size\":108,\"header_virtual_size\":114,\"body_physical_size\":9,\
                    \"body_virtual_size\":10,\"body_lines\":1,\"flags\":8,\"children\":[]}";
        assert_eq!(json.0, want);
    }

    /// A file of the given byte order and minor version with all kinds of fields and one continued message.
    struct Made {
        bytes: Vec<u8>,
        first: u32,
        second: u32,
    }

    const NAMES: [(&str, u8, u32); 9] = [
        ("flags", 3, 4),
        ("date.sent", 0, 8),
        ("date.received", 0, 4),
        ("size.virtual", 0, 8),
        ("pop3.uidl", 2, u32::MAX),
        ("hdr.Subject", 4, u32::MAX),
        ("binary.parts", 1, u32::MAX),
        ("body.snippet", 1, u32::MAX),
        ("x-plugin", 0, 3),
    ];

    fn field_header(endian: Endian, next: u32, names: &[(&str, u8, u32)]) -> Vec<u8> {
        let mut out = if next == 0 { vec![0; 4] } else { packed::encode(next).unwrap().to_vec() };
        let text: Vec<u8> = names.iter().flat_map(|(name, ..)| name.bytes().chain([0])).collect();
        out.extend(endian.u32_bytes((12 + 10 * names.len() + text.len()) as u32));
        out.extend(endian.u32_bytes(names.len() as u32));
        names.iter().for_each(|_| out.extend(endian.u32_bytes(7)));
        names.iter().for_each(|(.., size)| out.extend(endian.u32_bytes(*size)));
        out.extend(names.iter().map(|(_, kind, _)| *kind));
        names.iter().for_each(|_| out.push(2));
        out.extend(text);
        out.resize(align4(out.len()), 0);
        out
    }

    fn record(endian: Endian, prev: u32, fields: &[(u32, &[u8])]) -> Vec<u8> {
        let mut out = [endian.u32_bytes(prev), [0; 4]].concat();
        for (index, data) in fields {
            out.extend(endian.u32_bytes(*index));
            if NAMES[*index as usize].2 == u32::MAX {
                out.extend(endian.u32_bytes(data.len() as u32));
            }
            out.extend_from_slice(data);
            out.resize(align4(out.len()), 0);
        }
        let size = out.len() as u32;
        out[4..8].copy_from_slice(&endian.u32_bytes(size));
        out
    }

    fn made(endian: Endian, minor: u8) -> Made {
        let mut bytes = vec![1, 8, minor, 0];
        for number in [1_795_406_594, 1_795_406_594, 1, 1, 0, 0] {
            bytes.extend(endian.u32_bytes(number));
        }
        bytes.extend(packed::encode(32).unwrap());
        let last = 32 + field_header(endian, 4, &NAMES[..2]).len();
        bytes.extend(field_header(endian, last as u32, &NAMES[..2]));
        bytes.extend(field_header(endian, 0, &NAMES));
        let first = bytes.len() as u32;
        let sent = [endian.u32_bytes(978_307_200), endian.u32_bytes(-480i32 as u32)].concat();
        let subject = [&endian.u32_bytes(3)[..], &[0; 4], b"Subject: hi\n"].concat();
        bytes.extend(record(
            endian,
            0,
            &[(0, &endian.u32_bytes(0x40)), (1, &sent), (2, &endian.u32_bytes(5)), (3, &endian.u64_bytes(1 << 40))],
        ));
        let second = bytes.len() as u32;
        bytes.extend(record(
            endian,
            first,
            &[(4, b"uidl\0"), (5, &subject), (5, b""), (6, &[0, 1, 2, 3]), (7, b"1snip"), (8, b"abc")],
        ));
        Made { bytes, first, second }
    }

    #[test]
    fn every_value_in_both_orders() {
        for endian in [Endian::Little, Endian::Big] {
            let Made { bytes, first, second } = made(endian, 1);
            let cache = Cache::parse(&bytes, None).unwrap();
            assert_eq!((cache.endian, cache.endian_guessed), (endian, true));
            assert_eq!(cache.problems, []);
            let offsets: Vec<_> = cache.chain(second).map(|record| record.unwrap().offset).collect();
            assert_eq!(offsets, [second, first]);
            let mut json = Json::default();
            for record in [first, second] {
                for field in cache.fields(&cache.record_at(record).unwrap()) {
                    cache.value(&field.unwrap()).visit("", &mut json).unwrap();
                }
            }
            let want = concat!(
                r#"64,{"time":978307200,"timezone":-480},5,1099511627776,"uidl","#,
                r#"{"lines":[3],"raw":"Subject: hi\n"},{"lines":[],"raw":""},"#,
                r#"[{"physical_pos":0,"binary_hdr_size":1,"binary_body_size":2,"binary_body_lines_count":3}],"#,
                r#"{"version":"1","text":"snip"},"616263""#,
            );
            assert_eq!(json.0, want);
            let names: Vec<_> = tiles(&cache).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["Header", "FieldHeader(0)", "FieldHeader(1)", "record", "record"]);
            assert_eq!(cache.fields_of(&cache.field_headers[0]).len(), 2);
        }
    }

    /// date.sent and date.received of 1.0.beta7/maildir/fresh, whose byte 2 is sizeof(time_t).
    #[test]
    fn dates_of_1_0() {
        let names = [("date.sent", 0, 16), ("date.received", 0, 8)];
        let mut bytes = made(Endian::Little, 8).bytes[..32].to_vec();
        bytes.extend(field_header(Endian::Little, 0, &names));
        let at = bytes.len() as u32;
        bytes.extend(unhex("00000000 28000000 00000000 d3aa5b3c0000000020feffff00000000 01000000 28a6294d00000000"));
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!(cache.problems, []);
        let record = cache.record_at(at).unwrap();
        let values: Vec<_> = cache.fields(&record).map(|field| cache.value(&field.unwrap())).collect();
        let sent = CacheValue::Sent { time: 1_012_640_467, timezone: -480 };
        assert_eq!(values, [sent, CacheValue::Date(1_294_575_144)]);
        assert_eq!(cache.header.old().unwrap().hole_offset, 1);
    }

    #[test]
    fn byte_order_from_the_indexid() {
        let Made { bytes, .. } = made(Endian::Big, 1);
        let order = |indexid| {
            let cache = Cache::parse(&bytes, indexid).unwrap();
            (cache.endian, cache.endian_guessed, cache.problems.len())
        };
        assert_eq!(order(Some(1_795_406_594)), (Endian::Big, false, 0));
        // Another index's: a guess again, and a problem.
        assert_eq!(order(Some(5)), (Endian::Big, true, 1));
        // In a file cut off behind its header only the stamps are left to go by.
        assert_eq!(Cache::parse(&bytes[..32], None).unwrap().endian, Endian::Big);
    }

    #[test]
    fn header_rules() {
        let have = |at: usize, byte: u8| {
            let mut bytes = s2();
            bytes[at] = byte;
            let cache = Cache::parse(&bytes, Some(1_795_406_594)).unwrap();
            let found = cache.problems.into_iter().map(|problem| (problem.at, problem.have.into_owned()));
            found.collect::<Vec<_>>()
        };
        assert_eq!(have(1, 4), [(1, "4 (Unsupported uoff_t size)".to_string())]);
        assert_eq!(have(4, 3), [(4, "1795406595".to_string())]);
        assert_eq!(have(28, 0), [(28, "0x808088 (missing header fields)".to_string())]);
        assert_eq!(have(30, 0xff)[0].1, "65056 (header field next_offset points outside file)");
        assert_eq!(have(37, 0)[0].1, "98 for 16 fields (invalid field header size)");
        assert_eq!(have(39, 1)[0].1, "16777570 for 16 fields (invalid field header size)");
        assert_eq!(have(43, 0xff)[0].1, "354 for 4278190096 fields (invalid field header size)");
    }

    #[test]
    fn field_rules() {
        let broken = |names: &[(&str, u8, u32)], decision: u8| {
            let mut bytes = s2()[..32].to_vec();
            let mut header = field_header(Endian::Little, 0, names);
            header[12 + 9 * names.len()] = decision;
            bytes.extend(header);
            let cache = Cache::parse(&bytes, None).unwrap();
            assert_eq!(cache.fields.len(), names.len());
            cache.problems.into_iter().map(|problem| problem.have.into_owned()).collect::<Vec<_>>()
        };
        assert!(broken(&[("flags", 3, 4), ("hdr.x", 4, u32::MAX)], 0x81).is_empty());
        assert_eq!(broken(&[("a", 0, 4), ("A", 0, 4)], 0), ["Duplicated field in header: A"]);
        assert_eq!(broken(&[("", 0, 4)], 0), ["\"\" (field header names corrupted)"]);
        assert_eq!(broken(&[("x", 5, 4)], 0), ["5 for x"]);
        assert_eq!(broken(&[("x", 0, 4)], 3), ["0x3 for x (field decision type corrupted)"]);
        assert_eq!(broken(&[("Flags", 3, 8)], 0), ["8 (registered field flags size changed)"]);
        assert_eq!(broken(&[("pop3.order", 0, u32::MAX)], 0), ["variable (registered field pop3.order size changed)"]);
        assert_eq!(broken(&[("guid", 1, u32::MAX)], 0), ["var (registered field guid type changed)"]);
        assert_eq!((decision_name(0x82), decision_name(0x17)), ("yes!".into(), "0x17".into()));
        assert_eq!(FieldType::from_byte(9).name(), "0x9");
    }

    #[test]
    fn a_name_without_end() {
        let mut bytes = s2();
        bytes.truncate(380);
        bytes[36..40].copy_from_slice(&344u32.to_le_bytes());
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!(cache.problems[0].have, "\"body.snippet\" (field header names corrupted)");
        assert_eq!((cache.fields.len(), cache.problems.len()), (16, 2));
    }

    #[test]
    fn circular_field_headers() {
        let Made { mut bytes, .. } = made(Endian::Little, 1);
        let last = Cache::parse(&bytes, None).unwrap().field_headers[1].offset as usize;
        bytes[last..last + 4].copy_from_slice(&packed::encode(32).unwrap());
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!(cache.problems[0].have, "32 (next_offset in field header decreases)");
        // Up to 2.1 they may go backwards, but not round and round.
        bytes[2] = 0;
        let cache = Cache::parse(&bytes, None).unwrap();
        assert_eq!(cache.problems[0].have, "32 (next_offset in field header decreases)");
        assert_eq!((cache.field_headers.len(), cache.fields.len()), (2, 9));
        bytes[last..last + 4].copy_from_slice(&packed::encode(last as u32).unwrap());
        assert_eq!(Cache::parse(&bytes, None).unwrap().field_headers.len(), 2);
        tiles(&Cache::parse(&bytes, None).unwrap());
    }

    #[test]
    fn record_rules() {
        let bytes = s2();
        let cache = Cache::parse(&bytes, None).unwrap();
        let have = |offset| cache.record_at(offset).unwrap_err().have.into_owned();
        assert_eq!(have(390), "390 (invalid record offset)");
        assert_eq!(have(580), "580 (record points outside file)");
        assert_eq!(have(u32::MAX - 3), "580 (record points outside file)");
        assert_eq!(have(576), "580 (record points outside file)");
        assert_eq!(have(28), "28");
        let broken = |at: usize, byte: u8| {
            let mut bytes = s2();
            bytes[at] = byte;
            let cache = Cache::parse(&bytes, None).unwrap();
            let mut problems = Vec::new();
            cache.check_chain(388, &mut problems);
            tiles(&cache);
            problems.into_iter().map(|problem| (problem.at, problem.have.into_owned())).collect::<Vec<_>>()
        };
        assert_eq!(broken(392, 7), [(392, "7 (invalid record size)".to_string())]);
        assert_eq!(broken(392, 60)[0].1, "40 (record continues outside its allocated size)");
        assert_eq!(broken(394, 1), [(392, "65600; file size 580 (record points outside file)".to_string())]);
        assert_eq!(broken(396, 99), [(396, "99 (field index too large)".to_string())]);
        assert_eq!(broken(408, 0xff), [(404, "255 (record continues outside its allocated size)".to_string())]);
    }

    #[test]
    fn circular_chains() {
        for minor in [0, 1] {
            let Made { mut bytes, first, second } = made(Endian::Little, minor);
            bytes[first as usize..first as usize + 4].copy_from_slice(&second.to_le_bytes());
            let cache = Cache::parse(&bytes, None).unwrap();
            let chain: Vec<_> = cache.chain(second).collect();
            assert!(chain.len() <= 4 && chain.last().unwrap().is_err());
            let mut problems = Vec::new();
            cache.check_chain(second, &mut problems);
            // A forward link as such is wrong only since 2.2.
            assert_eq!(problems.len(), if minor == 0 { 1 } else { 2 });
        }
    }

    #[test]
    fn holes_of_2_1() {
        let Made { mut bytes, first, .. } = made(Endian::Little, 0);
        let at = bytes.len() as u32;
        bytes.extend([0, 24, HOLE_MAGIC].into_iter().flat_map(u32::to_le_bytes));
        bytes.extend([7; 12]);
        bytes.extend(record(Endian::Little, first, &[(2, &[1, 0, 0, 0])]));
        bytes.extend([0; 100]);
        bytes[16..20].copy_from_slice(&at.to_le_bytes());
        let cache = Cache::parse(&bytes, None).unwrap();
        let names: Vec<_> = tiles(&cache).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[3..], ["record", "record", "hole 24", "record", "Zeros"]);
        assert_eq!(cache.holes().map(Option::unwrap).map(|(at, _)| at).collect::<Vec<_>>(), [at]);
        // A list that leads back to itself ends.
        let mut looped = bytes.clone();
        looped[at as usize..at as usize + 4].copy_from_slice(&at.to_le_bytes());
        assert!(Cache::parse(&looped, None).unwrap().holes().last().unwrap().is_none());
    }

    #[test]
    fn damage_costs_one_record() {
        let mut bytes = s2();
        bytes[452..480].fill(0xaa);
        let cache = Cache::parse(&bytes, None).unwrap();
        let found: Vec<_> = tiles(&cache).into_iter().map(|(name, range)| (name, range.end)).collect();
        let want = [("record", 452), ("Unreadable", 516), ("record", 580)];
        assert_eq!(found[2..], want.map(|(name, end)| (name.to_string(), end)));
    }

    #[test]
    fn any_bytes_can_be_read() {
        let exhaust = |bytes: &[u8]| {
            let Ok(cache) = Cache::parse(bytes, None) else { return };
            tiles(&cache);
            for offset in 0..bytes.len() as u32 + 8 {
                let mut problems = Vec::new();
                cache.check_chain(offset, &mut problems);
                for record in cache.chain(offset).flatten() {
                    for field in cache.fields(&record).flatten() {
                        let _ = cache.value(&field).visit("", &mut Json::default());
                    }
                }
            }
            for header in &cache.field_headers {
                let _ = (cache.fields_of(header), header.range());
            }
        };
        for bytes in [s2(), made(Endian::Big, 0).bytes] {
            for len in 0..bytes.len() {
                exhaust(&bytes[..len]);
            }
            for at in 0..bytes.len() {
                for value in [0, 0x81, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    exhaust(&bytes);
                }
            }
        }
    }

    /// Offsets at which a record that spans all the rest seems to begin: looking for the next one must stay linear.
    #[test]
    fn hostile_files_take_linear_time() {
        let mut bytes = s2()[..32].to_vec();
        let names = [("x", 0, 0), ("y", 0, 0)];
        bytes.extend(field_header(Endian::Little, 0, &names));
        let body = 1 << 20;
        let start = bytes.len();
        bytes.resize(start + body, 0);
        for (i, word) in bytes[start..].chunks_exact_mut(4).enumerate() {
            let value = if i % 2 == 0 { 0 } else { (body - i * 4).saturating_sub(64) as u32 };
            word.copy_from_slice(&value.to_le_bytes());
        }
        tiles(&Cache::parse(&bytes, None).unwrap());
        // Fields of no size: a record is as many steps as it has words.
        let size = (body as u32 - 4).to_le_bytes();
        bytes[start..].fill(0);
        bytes[start + 4..].chunks_exact_mut(8).for_each(|pair| pair[..4].copy_from_slice(&size));
        tiles(&Cache::parse(&bytes, None).unwrap());
    }
}
