//! Decoded values, piece by piece, and where in the file each piece is.

use std::ops::Range;

use super::super::disk::{Disk, Field, Meaning};
use super::super::endian::Endian;
use super::keywords::KeywordsHeader;
use super::list::{BoxName, next_list_name};
use super::structs::{KeywordsCount, ListFlag, Virtual2Header, VirtualHeader, VirtualMailbox};

/// Receives a decoded value piece by piece, in the shape of JSON. `name` is the key in the enclosing object and empty
/// for elements of a list.
pub trait Visit {
    /// Called before each value of bytes in the file, with its place relative to the start of what is visited.
    fn place(&mut self, range: Range<usize>) {
        let _ = range;
    }
    /// An unsigned number.
    fn number(&mut self, name: &str, value: u64);
    /// A number that is a UNIX time in seconds.
    fn time(&mut self, name: &str, value: u64) {
        self.number(name, value);
    }
    /// A number whose bits have names, lowest first.
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        let _ = names;
        self.number(name, value);
    }
    /// A signed number.
    fn signed(&mut self, name: &str, value: i64);
    /// Bytes best shown as hex: GUIDs, digests, padding.
    fn hex(&mut self, name: &str, bytes: &[u8]);
    /// Text, usually but not surely UTF-8.
    fn text(&mut self, name: &str, bytes: &[u8]);
    /// An object begins; its members follow.
    fn object_begin(&mut self, name: &str);
    /// The object ends.
    fn object_end(&mut self);
    /// A list begins; its elements follow.
    fn list_begin(&mut self, name: &str);
    /// The list ends.
    fn list_end(&mut self);
}

/// The fields of a struct that lie wholly in `data`, which starts `offset` bytes into it, each with its bytes.
pub fn fields_in<'a>(
    fields: &'static [Field],
    offset: usize,
    data: &'a [u8],
) -> impl Iterator<Item = (&'static Field, &'a [u8])> {
    fields.iter().filter_map(move |field| Some((field, field.bytes_in(data, offset)?)))
}

#[inline]
fn part(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..)?.get(..len)
}

/// The size of a struct in bytes.
pub(super) const fn fields_size(fields: &[Field]) -> usize {
    match fields.last() {
        Some(last) => last.offset.saturating_add(last.size),
        None => 0,
    }
}

#[inline]
pub(super) fn number<V: Visit + ?Sized>(name: &str, bytes: &[u8], size: usize, endian: Endian, visitor: &mut V) {
    let value = match size {
        1 => bytes.first().copied().map(u64::from),
        2 => endian.u16_at(bytes, 0).map(u64::from),
        4 => endian.u32_at(bytes, 0).map(u64::from),
        _ => endian.u64_at(bytes, 0),
    };
    if let Some(value) = value {
        visitor.place(0..size);
        visitor.number(name, value);
    }
}

#[inline]
pub(super) fn hex<V: Visit + ?Sized>(name: &str, bytes: &[u8], at: usize, visitor: &mut V) {
    visitor.place(at..at.saturating_add(bytes.len()));
    visitor.hex(name, bytes);
}

/// One field: a number or bytes.
#[inline]
pub(super) fn leaf<V: Visit + ?Sized>(field: &Field, raw: &[u8], endian: Endian, visitor: &mut V) {
    let value = match field.size {
        _ if field.meaning == Meaning::Bytes => None,
        1 => raw.first().copied().map(u64::from),
        2 => endian.u16_at(raw, 0).map(u64::from),
        4 => endian.u32_at(raw, 0).map(u64::from),
        8 => endian.u64_at(raw, 0),
        _ => None,
    };
    match value {
        Some(value) if field.meaning == Meaning::Time => visitor.time(field.name, value),
        Some(value) => visitor.number(field.name, value),
        None => visitor.hex(field.name, raw),
    }
}

/// The members of a struct; returns where they end.
#[inline]
fn members<V: Visit + ?Sized>(fields: &[Field], bytes: &[u8], at: usize, endian: Endian, visitor: &mut V) -> usize {
    let mut end = at;
    for field in fields {
        let from = at.saturating_add(field.offset);
        let Some(raw) = part(bytes, from, field.size) else { break };
        end = from.saturating_add(field.size);
        visitor.place(from..end);
        leaf(field, raw, endian, visitor);
    }
    end
}

fn rest<V: Visit + ?Sized>(bytes: &[u8], at: usize, visitor: &mut V) {
    if let Some(rest @ [_, ..]) = bytes.get(at..) {
        hex("rest", rest, at, visitor);
    }
}

pub(super) fn visit_fields<V: Visit + ?Sized>(
    name: &str,
    fields: &[Field],
    bytes: &[u8],
    endian: Endian,
    visitor: &mut V,
) {
    visitor.object_begin(name);
    let end = members(fields, bytes, 0, endian, visitor);
    rest(bytes, end, visitor);
    visitor.object_end();
}

pub(super) fn visit_keywords<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    members(KeywordsCount::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("keywords");
    for keyword in KeywordsHeader::parse(bytes, 0, endian).keywords {
        visitor.object_begin("");
        visitor.place(narrow(keyword.rec.end.saturating_sub(4)..keyword.rec.end));
        visitor.number("name_offset", u64::from(keyword.name_offset));
        if let Some(name) = keyword.name {
            visitor.place(narrow(keyword.name_range));
            visitor.text("name", name);
        }
        visitor.object_end();
    }
    visitor.list_end();
}

/// A range of offsets that are known to be inside a slice.
fn narrow(range: Range<u64>) -> Range<usize> {
    let narrow = |n| usize::try_from(n).unwrap_or(usize::MAX);
    narrow(range.start)..narrow(range.end)
}

pub(super) fn visit_list<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    let mut at = members(ListFlag::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("names");
    let mut before = 0;
    while let Some(Ok((id, name, end))) = next_list_name(bytes, at, before, endian) {
        let name_at = at.saturating_add(4);
        visitor.object_begin("");
        visitor.place(at..name_at);
        visitor.number("id", u64::from(id));
        visitor.place(name_at..end.saturating_sub(1));
        visitor.text("name", name);
        visitor.object_end();
        at = end;
        before = id;
    }
    visitor.list_end();
}

pub(super) fn visit_box_name<V: Visit + ?Sized>(name: &str, bytes: &[u8], visitor: &mut V) {
    let parsed = BoxName::parse(bytes);
    visitor.object_begin(name);
    visitor.list_begin("levels");
    let mut at = 0usize;
    for level in parsed.levels() {
        let end = at.saturating_add(level.len());
        visitor.place(at..end);
        visitor.text("", level);
        at = end.saturating_add(1);
    }
    visitor.list_end();
    if parsed.flags != 0 {
        at = at.saturating_add(1);
        visitor.place(at..at.saturating_add(1));
        visitor.number("flags", u64::from(parsed.flags));
    }
}

pub(super) fn visit_virtual<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    let recs_at = members(VirtualHeader::FIELDS, bytes, 0, endian, visitor);
    visitor.list_begin("mailboxes");
    let count = endian.u32_at(bytes, 4).unwrap_or_default() as usize;
    let mut name_at = recs_at.saturating_add(count.saturating_mul(VirtualMailbox::SIZE));
    let recs = bytes.get(recs_at..).unwrap_or_default();
    for (i, rec) in recs.chunks_exact(VirtualMailbox::SIZE).take(count).enumerate() {
        visitor.object_begin("");
        let rec_at = recs_at.saturating_add(i.saturating_mul(VirtualMailbox::SIZE));
        members(VirtualMailbox::FIELDS, bytes, rec_at, endian, visitor);
        let len = endian.u32_at(rec, 4).unwrap_or_default() as usize;
        if let Some(name) = part(bytes, name_at, len) {
            visitor.place(name_at..name_at.saturating_add(len));
            visitor.text("name", name);
        }
        name_at = name_at.saturating_add(len);
        visitor.object_end();
    }
    visitor.list_end();
    rest(bytes, name_at, visitor);
}

pub(super) fn visit_virtual2<V: Visit + ?Sized>(name: &str, bytes: &[u8], endian: Endian, visitor: &mut V) {
    visitor.object_begin(name);
    members(Virtual2Header::FIELDS, bytes, 0, endian, visitor);
    let size = usize::from(bytes.get(1).copied().unwrap_or_default()).max(1);
    let start = usize::from(endian.u16_at(bytes, 2).unwrap_or_default());
    visitor.list_begin("guids");
    let mut at = start;
    for rec in bytes.get(start..).unwrap_or_default().chunks_exact(size) {
        hex("", rec.get(..16).unwrap_or(rec), at, visitor);
        at = at.saturating_add(size);
    }
    visitor.list_end();
}
