//! What the data of a field means.

use super::super::ext::Visit;
use super::super::flaw::Flaw;
use super::super::mime::{BinaryParts, HeaderLines, MimeParts};
use super::Cache;
use super::fields::ValueKind;
use super::records::FieldData;

/// Names of the bits of the `flags` field: Dovecot's constants without `MAIL_CACHE_FLAG_` (`index-mail.h`).
pub const CACHE_FLAGS: [(u32, &str); 6] = [
    (0x01, "BINARY_HEADER"),
    (0x02, "BINARY_BODY"),
    (0x04, "HAS_NULS"),
    (0x20, "HAS_NO_NULS"),
    (0x08, "HAS_NO_NULS_BROKEN"),
    (0x10, "TEXT_PLAIN_7BIT_ASCII"),
];

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
    /// as lines and raw, snippets as version and text, MIME parts as a tree, flags with the names of their bits, the
    /// rest as hex. [`Visit::place`] is called for parts and line numbers only, relative to the field's data.
    ///
    /// # Errors
    /// Where `mime.parts` or `binary.parts` is broken; what comes before is passed on and properly closed.
    #[inline]
    pub fn visit<V: Visit + ?Sized>(&self, name: &str, visitor: &mut V) -> Result<(), Flaw> {
        match *self {
            CacheValue::Flags(flags) => visitor.bits(name, u64::from(flags), &CACHE_FLAGS),
            CacheValue::Sent { time, timezone } => {
                visitor.object_begin(name);
                visitor.time("time", time);
                visitor.signed("timezone", i64::from(timezone));
                visitor.object_end();
            }
            CacheValue::Number(value) => visitor.number(name, u64::from(value)),
            CacheValue::Date(value) => visitor.time(name, value),
            CacheValue::Size(value) => visitor.number(name, value),
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

impl<'a> Cache<'a> {
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
}
