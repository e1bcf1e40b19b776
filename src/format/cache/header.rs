//! The file header, the chain of field headers, and the byte order they tell.

use std::borrow::Cow;
use std::collections::HashSet;

use super::super::disk::{Disk, disk_struct};
use super::super::endian::Endian;
use super::super::flaw::FlawKind;
use super::super::{align4, packed};
use super::{Cache, problem};

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
    pub fn first_field_header(&self) -> Option<u32> {
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

/// Can it be a cache file, by content? Byte order plays no part.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.len() >= CacheHeader::SIZE && matches!(bytes, [1, 8, 0 | 1 | 4 | 8, 0, ..])
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
    /// Where its names begin, in bytes from its own beginning: behind 12 bytes and 10 for each field.
    pub(super) fn names_at(&self) -> u64 {
        u64::from(self.fields_count).saturating_mul(10).saturating_add(12)
    }
}

impl<'a> Cache<'a> {
    pub(super) fn check_header(&mut self, indexid: Option<u32>) {
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
    pub(super) fn read_field_headers(&mut self) {
        let append_only = self.header.old().is_none();
        let mut link_at = 28;
        let mut next = self.header.first_field_header().unwrap_or_default();
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

    fn add(&mut self, at: u64, kind: FlawKind, need: impl Into<Cow<'static, str>>, have: String) {
        self.problems.push(problem(at, kind, need, have));
    }
}

/// Finds the byte order, and whether it is a guess. An `indexid` that matches in one order only is proof. Else the
/// field header decides, which coded offsets find in either order, and then which order makes times of `indexid` and
/// `file_seq`.
pub(super) fn infer_endian(bytes: &[u8], indexid: Option<u32>) -> (Endian, bool) {
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
        let fields = header.first_field_header().and_then(|offset| bytes.get(offset as usize..));
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
