//! The fields that records can hold, and Dovecot's rules for them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::super::flaw::{Flaw, FlawKind};
use super::header::CacheFieldHeader;
use super::{Cache, problem};

/// How many problems of the field headers are told apart; a damaged one can have as many as it has bytes.
const MAX_PROBLEMS: usize = 1000;

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

/// Name, type, size in bytes (`None`: variable) and kind of data of a field.
type Registered = (&'static str, FieldType, Option<u32>, ValueKind);

/// The fields that Dovecot registers itself, and so checks when it reads a header (`index-mail.c: global_cache_fields`,
/// `field_type_verify`).
static REGISTERED: [Registered; 15] = [
    ("flags", FieldType::Bitmask, Some(4), ValueKind::Flags),
    ("date.sent", FieldType::FixedSize, Some(8), ValueKind::Sent),
    ("date.received", FieldType::FixedSize, Some(4), ValueKind::Date),
    ("date.save", FieldType::FixedSize, Some(4), ValueKind::Date),
    ("size.virtual", FieldType::FixedSize, Some(8), ValueKind::Size),
    ("size.physical", FieldType::FixedSize, Some(8), ValueKind::Size),
    ("imap.body", FieldType::String, None, ValueKind::Text),
    ("imap.bodystructure", FieldType::String, None, ValueKind::Text),
    ("imap.envelope", FieldType::String, None, ValueKind::Text),
    ("pop3.uidl", FieldType::String, None, ValueKind::Text),
    ("pop3.order", FieldType::FixedSize, Some(4), ValueKind::Number),
    ("guid", FieldType::String, None, ValueKind::Text),
    ("mime.parts", FieldType::VariableSize, None, ValueKind::MimeParts),
    ("binary.parts", FieldType::VariableSize, None, ValueKind::BinaryParts),
    ("body.snippet", FieldType::VariableSize, None, ValueKind::Snippet),
];

fn registered(field: &[u8]) -> Option<Registered> {
    REGISTERED.iter().find(|(name, ..)| field.eq_ignore_ascii_case(name.as_bytes())).copied()
}

/// The size of a field where times have 64 bits, as in the files of a 64-bit 1.0.
fn wide((_, _, size, kind): Registered) -> Option<u32> {
    let factor = if matches!(kind, ValueKind::Sent | ValueKind::Date) { 2 } else { 1 };
    size.map(|size| size.saturating_mul(factor))
}

/// The names of the fields that Dovecot registers itself; header fields are registered by whoever asks for them.
pub fn registered_names() -> impl Iterator<Item = &'static str> + Clone {
    REGISTERED.iter().map(|(name, ..)| *name)
}

impl ValueKind {
    /// How the data of a field is to be read, by what its header says of it; `size` is in bytes.
    fn of(name: &[u8], field_type: FieldType, size: Option<u32>) -> ValueKind {
        match (field_type, registered(name)) {
            (FieldType::Header, _) => ValueKind::Header,
            (FieldType::String, _) => ValueKind::Text,
            (_, Some(known)) if known.1 == field_type && [known.2, wide(known)].contains(&size) => known.3,
            _ => ValueKind::Bytes,
        }
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

impl<'a> Cache<'a> {
    /// The fields of any link of the chain: what they were before later headers added more.
    pub fn fields_of(&self, header: &CacheFieldHeader) -> Vec<CacheField<'a>> {
        self.read_fields(header, &mut Vec::new())
    }

    /// Reads the fields of one header (`mail_cache_header_fields_read`).
    pub(super) fn read_fields(&self, header: &CacheFieldHeader, problems: &mut Vec<Flaw>) -> Vec<CacheField<'a>> {
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
        let Some(known @ (name, field_type, size, _)) = registered(self.name) else { return };
        let size = if wide_time { wide(known) } else { size };
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
