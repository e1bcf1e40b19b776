//! Names for every byte of a file, gaps included. The spans of a file follow each other without gap or overlap from its
//! first byte to its last. What is inside a value is named by the decoder of the value, through [`Visit::place`];
//! nothing is decoded here.

use std::convert::Infallible;
use std::ops::Range;

use super::cache::{Cache, CacheHeader, CacheRecord, TileKind};
use super::ext::{ExtHeader, HeaderKind, IndexFlavor, RecordKind, Visit};
use super::index::{IndexFile, IndexHeader, RECORD_MIN_SIZE};
use super::log::{LogFile, LogHeader};
use super::record::{
    Append, AtomicInc, Elements, ExpungeGuid, ExtIntro, ExtReset, FlagUpdate, KeywordUpdate, ModseqUpdate, Record,
    RecordType, UidRange,
};
use super::thread::{Thread, ThreadTileKind};
use super::walk::Passage;
use super::{Disk, Field, FileKind, mailbox_log};

/// A stretch of bytes with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Byte offset in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// What they are, such as `header.indexid` or `record 3 uid 7`.
    pub name: String,
}

/// Emits spans in order and fills the holes between them.
struct Walk<'f> {
    at: u64,
    size: u64,
    emit: &'f mut dyn FnMut(Span),
}

impl Walk<'_> {
    fn push(&mut self, offset: usize, len: usize, name: impl Into<String>) {
        self.to(offset as u64, "gap");
        let end = (offset as u64).saturating_add(len as u64).min(self.size);
        self.to(end, name);
    }

    /// Everything up to `end` gets this name.
    fn to(&mut self, end: u64, name: impl Into<String>) {
        let end = end.min(self.size);
        if end > self.at {
            (self.emit)(Span { offset: self.at, len: end.saturating_sub(self.at), name: name.into() });
            self.at = end;
        }
    }

    fn fields(&mut self, base: usize, fields: &[Field], prefix: &str) {
        for field in fields {
            self.push(base.saturating_add(field.offset), field.size, format!("{prefix}.{}", field.name));
        }
    }

    /// The pieces of a value that begins at `base` and is `len` bytes long, as its decoder passes them to a visitor;
    /// what it leaves out is named after the whole.
    fn pieces(&mut self, base: usize, len: usize, prefix: &str, decode: impl FnOnce(&mut Pieces)) {
        let mut pieces = Pieces { path: vec![Level { name: prefix.to_owned(), next: None }], ..Pieces::default() };
        decode(&mut pieces);
        // Names that lie apart from what they name come out of order, and in a damaged file inside each other.
        pieces.list.sort_by_key(|(range, _)| range.start);
        for (range, name) in pieces.list {
            let end = range.end.min(len);
            self.to(base.saturating_add(range.start).min(base.saturating_add(len)) as u64, prefix);
            self.to(base.saturating_add(end) as u64, name);
        }
        self.to(base.saturating_add(len) as u64, prefix);
    }
}

/// Pieces of one value that are told apart: a hostile header may have as many as it has bytes.
const MOST_PIECES: usize = 1 << 16;
/// Levels of a value that are told apart: the parts of a message may lie a thousand deep in each other.
const MOST_LEVELS: usize = 16;

/// An object or list that a visitor is in.
#[derive(Default)]
struct Level {
    name: String,
    /// In a list, the number of the next element.
    next: Option<usize>,
}

/// Takes the places of the parts of a value, each with the path of names that leads to it.
#[derive(Default)]
struct Pieces {
    path: Vec<Level>,
    place: Option<Range<usize>>,
    list: Vec<(Range<usize>, String)>,
}

impl Pieces {
    fn own(&mut self, name: &str) -> String {
        let too_deep = self.path.len() > MOST_LEVELS;
        match self.path.last_mut() {
            Some(Level { name: outer, .. }) if too_deep => outer.clone(),
            Some(Level { name: outer, next: Some(number) }) => {
                let own = format!("{outer} {number}");
                *number = number.saturating_add(1);
                own
            }
            Some(Level { name: outer, .. }) if !name.is_empty() => format!("{outer}.{name}"),
            Some(Level { name: outer, .. }) => outer.clone(),
            None => name.to_owned(),
        }
    }

    fn value(&mut self, name: &str) -> String {
        let own = self.own(name);
        if let Some(place) = self.place.take().filter(|place| !place.is_empty() && self.list.len() < MOST_PIECES) {
            self.list.push((place, own.clone()));
        }
        own
    }

    fn begin(&mut self, name: &str, next: Option<usize>) {
        let name = self.value(name);
        self.path.push(Level { name, next });
    }
}

impl Visit for Pieces {
    fn place(&mut self, range: Range<usize>) {
        self.place = Some(range);
    }
    fn number(&mut self, name: &str, _: u64) {
        self.value(name);
    }
    fn signed(&mut self, name: &str, _: i64) {
        self.value(name);
    }
    fn hex(&mut self, name: &str, _: &[u8]) {
        self.value(name);
    }
    fn text(&mut self, name: &str, _: &[u8]) {
        self.value(name);
    }
    fn object_begin(&mut self, name: &str) {
        self.begin(name, None);
    }
    fn object_end(&mut self) {
        self.path.pop();
    }
    fn list_begin(&mut self, name: &str) {
        self.begin(name, Some(0));
    }
    fn list_end(&mut self) {
        self.path.pop();
    }
}

/// Offsets of a file in memory.
fn narrow(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Calls `emit` for every span of a file, in order.
pub fn walk(kind: FileKind, bytes: &[u8], indexid: Option<u32>, emit: &mut dyn FnMut(Span)) {
    let mut walk = Walk { at: 0, size: bytes.len() as u64, emit };
    match kind {
        FileKind::Index => index(bytes, &mut walk),
        FileKind::Log => log(bytes, &mut walk),
        FileKind::Cache => cache(bytes, indexid, &mut walk),
        FileKind::Thread => thread(bytes, &mut walk),
        FileKind::MailboxLog => {
            for (at, record) in mailbox_log::records(bytes).filter_map(Result::ok) {
                let name = record.type_name().unwrap_or("unknown");
                walk.push(narrow(at), mailbox_log::MailboxLogRecord::SIZE, format!("record {name}"));
            }
        }
    }
    walk.to(bytes.len() as u64, "unreadable");
}

fn index(bytes: &[u8], walk: &mut Walk<'_>) {
    let Ok(index) = IndexFile::parse(bytes) else { return };
    walk.fields(0, IndexHeader::FIELDS, "header");
    let base = usize::from(index.header.base_header_size).max(IndexHeader::SIZE);
    walk.push(IndexHeader::SIZE, base.saturating_sub(IndexHeader::SIZE), "header.unknown");
    let endian = index.endian;
    let flavor = IndexFlavor::guess(index.extensions.iter().map(|ext| ext.name));
    for ext in &index.extensions {
        let name = String::from_utf8_lossy(ext.name).into_owned();
        walk.to(ext.at as u64, "padding");
        walk.fields(ext.at, ExtHeader::FIELDS, &format!("extension {name}"));
        walk.push(ext.at.saturating_add(ExtHeader::SIZE), ext.name.len(), format!("extension {name}.name"));
        walk.to(ext.data_at as u64, "padding");
        if let Some(kind) = HeaderKind::lookup(ext.name, flavor, ext.header.hdr_size) {
            let prefix = format!("extension {name}.header");
            walk.pieces(ext.data_at, ext.data.len(), &prefix, |pieces| kind.visit("", ext.data, endian, pieces));
        } else {
            walk.push(ext.data_at, ext.data.len(), format!("extension {name}.header"));
        }
        walk.to(ext.data_at.saturating_add(ext.padded.len()) as u64, "padding");
    }
    walk.to(index.records_at as u64, "header.unreadable");
    let mut columns: Vec<_> = index
        .extensions
        .iter()
        .filter(|ext| ext.header.record_size > 0 && usize::from(ext.header.record_offset) >= RECORD_MIN_SIZE)
        .map(|ext| {
            let (start, len) = (usize::from(ext.header.record_offset), usize::from(ext.header.record_size));
            // A number or a GUID is one piece; keywords are bits, of which those that are set would be named.
            let kind = RecordKind::lookup(ext.name, flavor, ext.header.record_size)
                .filter(|kind| matches!(kind, RecordKind::Fields(_) | RecordKind::Obox));
            (start, len, String::from_utf8_lossy(ext.name), kind)
        })
        .collect();
    columns.sort_unstable_by_key(|(start, len, ..)| (*start, *len));
    // Of those that lie in each other one is enough, or a hostile header asks for thousands in each record.
    let mut covered = 0;
    columns.retain(|(start, len, ..)| {
        let end = start.saturating_add(*len).min(index.record_size);
        let adds = *start < index.record_size && end > covered;
        covered = covered.max(end);
        adds
    });
    for (i, raw) in index.iter().enumerate() {
        let at = index.records_at.saturating_add(i.saturating_mul(index.record_size));
        let name = format!("record {} uid {}", i.saturating_add(1), index.uid(i).unwrap_or(0));
        walk.push(at, 4, format!("{name}.uid"));
        walk.push(at.saturating_add(4), 1, format!("{name}.flags"));
        for (start, len, ext, kind) in &columns {
            let (from, len) = (at.saturating_add(*start), (*len).min(index.record_size.saturating_sub(*start)));
            walk.to(from as u64, format!("{name}.padding"));
            match kind.zip(raw.get(*start..start.saturating_add(len))) {
                Some((kind, data)) => walk.pieces(from, len, &format!("{name}.{ext}"), |pieces| {
                    kind.visit("", data, endian, pieces);
                }),
                None => walk.to(from.saturating_add(len) as u64, format!("{name}.{ext}")),
            }
        }
        walk.to(at.saturating_add(index.record_size) as u64, format!("{name}.padding"));
    }
    walk.to(bytes.len() as u64, "after the last record");
}

fn log(bytes: &[u8], walk: &mut Walk<'_>) {
    let Ok(file) = LogFile::parse(bytes, bytes.len() as u64) else { return };
    let header = usize::try_from(file.records_at).unwrap_or(bytes.len());
    for field in LogHeader::FIELDS.iter().filter(|field| field.offset.saturating_add(field.size) <= header) {
        walk.push(field.offset, field.size, format!("header.{}", field.name));
    }
    walk.to(file.records_at, "header.unknown");
    let mut scan = file.records(bytes).from(file.records_at, 0);
    let passed = super::walk::walk(
        &mut scan,
        |_, _| Some(false),
        |passage| {
            match passage {
                Passage::Record(record, _) => log_record(record, walk),
                Passage::Hole(hole) => hole.resumes_at.into_iter().for_each(|next| walk.to(next, "unreadable")),
            }
            Ok::<_, Infallible>(true)
        },
    );
    let Ok(Ok(_)) = passed;
    walk.to(walk.size, "after the last whole record");
}

fn log_record(record: &Record<'_>, walk: &mut Walk<'_>) {
    let kind = record.kind();
    let name = kind.map_or("unknown", |kind| kind.name());
    let at = narrow(record.offset);
    walk.push(at, 4, format!("{name}.size"));
    walk.push(at.saturating_add(4), 4, format!("{name}.type"));
    let base = narrow(record.payload_at(0));
    match kind {
        Some(RecordType::Append) => elements::<Append>(record, base, record.payload, name, walk),
        Some(RecordType::Expunge | RecordType::KeywordReset) => {
            elements::<UidRange>(record, base, record.payload, name, walk);
        }
        Some(RecordType::ExpungeGuid) => elements::<ExpungeGuid>(record, base, record.payload, name, walk),
        Some(RecordType::FlagUpdate) => elements::<FlagUpdate>(record, base, record.payload, name, walk),
        Some(RecordType::ExtAtomicInc) => elements::<AtomicInc>(record, base, record.payload, name, walk),
        Some(RecordType::ModseqUpdate) => elements::<ModseqUpdate>(record, base, record.payload, name, walk),
        Some(RecordType::HeaderUpdate | RecordType::ExtHdr | RecordType::ExtHdr32) => {
            let number = if kind == Some(RecordType::ExtHdr32) { 4 } else { 2 };
            for chunk in record.header_chunks() {
                let at = base.saturating_add(chunk.at);
                let (size_at, data_at) = (at.saturating_add(number), at.saturating_add(number).saturating_add(number));
                walk.to(at as u64, "padding");
                walk.push(at, number, format!("{name}.offset"));
                walk.push(size_at, number, format!("{name}.size"));
                walk.push(data_at, chunk.data.len(), format!("{name}.data"));
            }
        }
        Some(RecordType::ExtIntro) => {
            for intro in record.intros() {
                let at = base.saturating_add(intro.at);
                walk.to(at as u64, "padding");
                walk.fields(at, ExtIntro::FIELDS, name);
                walk.push(at.saturating_add(ExtIntro::SIZE), intro.name.len(), format!("{name}.name"));
            }
        }
        Some(RecordType::ExtReset) => walk.fields(base, ExtReset::FIELDS, name),
        Some(RecordType::KeywordUpdate) => {
            walk.fields(base, KeywordUpdate::FIELDS, name);
            if let Some((fixed, _, ranges)) = record.keyword_update() {
                walk.push(
                    base.saturating_add(KeywordUpdate::SIZE),
                    usize::from(fixed.name_size),
                    format!("{name}.name"),
                );
                let rest = ranges.bytes();
                let at = base.saturating_add(record.payload.len().saturating_sub(rest.len()));
                walk.to(at as u64, "padding");
                elements::<UidRange>(record, at, rest, name, walk);
            }
        }
        Some(RecordType::Boundary) => walk.push(base, 4, format!("{name}.transaction_size")),
        _ => walk.to(record.end(), format!("{name}.payload")),
    }
    walk.to(record.end(), "padding");
}

fn elements<T: Disk>(record: &Record<'_>, base: usize, bytes: &[u8], name: &str, walk: &mut Walk<'_>) {
    for i in 0..Elements::<T>::new(bytes, record.endian).count() {
        walk.fields(base.saturating_add(i.saturating_mul(T::SIZE)), T::FIELDS, &format!("{name} {i}"));
    }
}

fn cache_record(cache: &Cache<'_>, record: &CacheRecord, walk: &mut Walk<'_>) {
    let at = record.offset as usize;
    walk.push(at, 4, "record.prev_offset");
    walk.push(at.saturating_add(4), 4, "record.size");
    for field in cache.fields(record).map_while(Result::ok) {
        let known = cache.fields.get(field.index as usize);
        let name = known.map_or_else(String::new, |known| String::from_utf8_lossy(known.name).into_owned());
        // Before the data: the field's number, and its size when that varies; before those, padding.
        let head = if known.is_none_or(|known| known.size.is_none()) { 8 } else { 4 };
        let start = narrow(field.offset);
        walk.to(start.saturating_sub(head) as u64, "padding");
        walk.to(start.saturating_sub(head).saturating_add(4) as u64, format!("record.{name}.field_idx"));
        walk.to(start as u64, format!("record.{name}.data_size"));
        walk.pieces(start, field.data.len(), &format!("record.{name}"), |pieces| {
            // What is broken of it is named after the whole.
            let _ = cache.value(&field).visit("", pieces);
        });
    }
    walk.to(record.range().end, "padding");
}

fn cache(bytes: &[u8], indexid: Option<u32>, walk: &mut Walk<'_>) {
    let Ok(cache) = Cache::parse(bytes, indexid) else { return };
    for item in cache.tile() {
        let name = match item.kind {
            TileKind::Header => {
                walk.fields(0, CacheHeader::FIELDS, "header");
                continue;
            }
            TileKind::FieldHeader(i) => {
                field_header(&cache, i, walk);
                walk.to(item.range.end, "padding");
                continue;
            }
            TileKind::Record(record) => {
                cache_record(&cache, &record, walk);
                continue;
            }
            TileKind::Hole(_) => "hole".to_owned(),
            TileKind::Zeros => "zeros".to_owned(),
            TileKind::Unreadable => "unreadable".to_owned(),
        };
        walk.to(item.range.end, name);
    }
}

fn field_header(cache: &Cache<'_>, i: usize, walk: &mut Walk<'_>) {
    let Some(header) = cache.field_headers.get(i) else { return };
    let (at, n) = (header.offset as usize, header.fields_count as usize);
    walk.push(at, 4, "field header.next_offset");
    walk.push(at.saturating_add(4), 4, "field header.size");
    walk.push(at.saturating_add(8), 4, "field header.fields_count");
    let fields = cache.fields_of(header);
    let mut start = at.saturating_add(12);
    for (name, size) in [("last_used", 4), ("size", 4), ("type", 1), ("decision", 1)] {
        for (k, field) in fields.iter().enumerate() {
            let place = start.saturating_add(k.saturating_mul(size));
            walk.push(place, size, format!("field {}.{name}", String::from_utf8_lossy(field.name)));
        }
        start = start.saturating_add(n.saturating_mul(size));
    }
    for field in &fields {
        walk.to(field.name_range.end, format!("field {}.name", String::from_utf8_lossy(field.name)));
    }
}

fn thread(bytes: &[u8], walk: &mut Walk<'_>) {
    let Ok(thread) = Thread::parse(bytes, None) else { return };
    for tile in thread.tile() {
        let name = match tile.kind {
            ThreadTileKind::Header => "header".to_owned(),
            ThreadTileKind::Block(size) => format!("block of {size} bytes"),
            ThreadTileKind::Record(record) => format!("record uid {}", record.uid),
            ThreadTileKind::Unwritten => "unwritten".to_owned(),
            ThreadTileKind::Unreadable(_) => "unreadable".to_owned(),
        };
        walk.to(tile.range.end, name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endian;
    use super::super::ext::VsizeHeader;
    use super::*;

    fn names(kind: FileKind, bytes: &[u8]) -> Vec<(u64, u64, String)> {
        let mut list = Vec::new();
        walk(kind, bytes, None, &mut |span| list.push((span.offset, span.len, span.name)));
        list
    }

    /// An index with one extension of that name and header data, and no records.
    fn index(name: &[u8], data: &[u8]) -> Vec<u8> {
        let ext = ExtHeader {
            hdr_size: u32::try_from(data.len()).unwrap_or(0),
            reset_id: 0,
            record_offset: 0,
            record_size: 0,
            record_align: 0,
            name_size: u16::try_from(name.len()).unwrap_or(0),
        };
        let mut bytes = vec![0; IndexHeader::SIZE];
        bytes.extend(ext.to_bytes(Endian::Little));
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let mut header = IndexHeader::empty(7, Endian::Little);
        header.header_size = u32::try_from(bytes.len()).unwrap_or(0);
        header.write(&mut bytes, Endian::Little);
        bytes
    }

    #[test]
    fn the_header_of_an_extension_is_named_field_by_field() {
        let header = VsizeHeader { vsize: 9, highest_uid: 2, message_count: 1 };
        let list = names(FileKind::Index, &index(b"hdr-vsize", &header.to_bytes(Endian::Little)));
        let of_header: Vec<_> = list
            .iter()
            .filter(|(.., name)| name.starts_with("extension hdr-vsize.header"))
            .map(|(_, len, name)| (*len, &**name))
            .collect();
        assert_eq!(
            of_header,
            [
                (8, "extension hdr-vsize.header.vsize"),
                (4, "extension hdr-vsize.header.highest_uid"),
                (4, "extension hdr-vsize.header.message_count")
            ]
        );
    }

    #[test]
    fn names_that_lie_apart_from_their_records_come_in_file_order() {
        let mut data = vec![2, 0, 0, 0];
        data.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        data.extend(b"a\0b\0");
        let bytes = index(b"keywords", &data);
        let list = names(FileKind::Index, &bytes);
        let of_header: Vec<_> = list
            .iter()
            .filter(|(.., name)| name.contains(".keywords 1"))
            .map(|(_, len, name)| (*len, &**name))
            .collect();
        assert_eq!(
            of_header,
            [(4, "extension keywords.header.keywords 1.name_offset"), (2, "extension keywords.header.keywords 1.name")]
        );
        assert_eq!(list.iter().map(|(_, len, _)| len).sum::<u64>(), bytes.len() as u64);
        assert!(list.windows(2).all(|pair| matches!(pair, [(at, len, _), (next, ..)] if at + len == *next)));
    }
}
