//! Names for every byte of a file, gaps included. The spans of a file follow each other without gap or overlap from its
//! first byte to its last.

use crate::format::cache::{Cache, CacheRecord, TileKind};
use crate::format::ext::ExtHeader;
use crate::format::index::{IndexFile, IndexHeader, RECORD_MIN_SIZE};
use crate::format::log::{LogFile, LogHeader, resynchronize};
use crate::format::record::{
    Append, AtomicInc, Elements, ExpungeGuid, ExtIntro, ExtReset, FlagUpdate, KeywordUpdate, ModseqUpdate, Record,
    RecordType, UidRange,
};
use crate::format::thread::{Thread, ThreadTileKind};
use crate::format::{Disk, Field, FileKind, mailbox_log};

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
            (self.emit)(Span { offset: self.at, len: end - self.at, name: name.into() });
            self.at = end;
        }
    }

    fn fields(&mut self, base: usize, fields: &[Field], prefix: &str) {
        for field in fields {
            self.push(base + field.offset, field.size, format!("{prefix}.{}", field.name));
        }
    }
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
                walk.push(at as usize, mailbox_log::MailboxLogRecord::SIZE, format!("record {name}"));
            }
        }
    }
    walk.to(bytes.len() as u64, "unreadable");
}

fn index(bytes: &[u8], walk: &mut Walk<'_>) {
    let Ok(index) = IndexFile::parse(bytes) else { return };
    walk.fields(0, IndexHeader::FIELDS, "header");
    let base = usize::from(index.header.base_header_size).max(IndexHeader::SIZE);
    walk.push(IndexHeader::SIZE, base - IndexHeader::SIZE, "header.unknown");
    for ext in &index.extensions {
        let name = String::from_utf8_lossy(ext.name).into_owned();
        walk.to(ext.at as u64, "padding");
        walk.fields(ext.at, ExtHeader::FIELDS, &format!("extension {name}"));
        walk.push(ext.at + ExtHeader::SIZE, ext.name.len(), format!("extension {name}.name"));
        walk.to(ext.data_at as u64, "padding");
        walk.push(ext.data_at, ext.data.len(), format!("extension {name}.header"));
        walk.to((ext.data_at + ext.padded.len()) as u64, "padding");
    }
    walk.to(index.records_at as u64, "header.unreadable");
    let mut columns: Vec<_> = index
        .extensions
        .iter()
        .filter(|ext| ext.header.record_size > 0 && usize::from(ext.header.record_offset) >= RECORD_MIN_SIZE)
        .map(|ext| {
            let (start, len) = (usize::from(ext.header.record_offset), usize::from(ext.header.record_size));
            (start, len, String::from_utf8_lossy(ext.name))
        })
        .collect();
    columns.sort_unstable();
    // Of those that lie in each other one is enough, or a hostile header asks for thousands in each record.
    let mut covered = 0;
    columns.retain(|(start, len, _)| {
        let end = (start + len).min(index.record_size);
        let adds = *start < index.record_size && end > covered;
        covered = covered.max(end);
        adds
    });
    for i in 0..index.count() {
        let at = index.records_at + i * index.record_size;
        let name = format!("record {} uid {}", i + 1, index.uid(i).unwrap_or(0));
        walk.push(at, 4, format!("{name}.uid"));
        walk.push(at + 4, 1, format!("{name}.flags"));
        for (start, len, ext) in &columns {
            walk.to((at + start) as u64, format!("{name}.padding"));
            walk.to((at + (start + len).min(index.record_size)) as u64, format!("{name}.{ext}"));
        }
        walk.to((at + index.record_size) as u64, format!("{name}.padding"));
    }
    walk.to(bytes.len() as u64, "after the last record");
}

fn log(bytes: &[u8], walk: &mut Walk<'_>) {
    let Ok(file) = LogFile::parse(bytes, bytes.len() as u64) else { return };
    let header = usize::try_from(file.records_at).unwrap_or(bytes.len());
    for field in LogHeader::FIELDS.iter().filter(|field| field.offset + field.size <= header) {
        walk.push(field.offset, field.size, format!("header.{}", field.name));
    }
    walk.to(file.records_at, "header.unknown");
    let mut from = file.records_at;
    loop {
        let mut scan = file.records(bytes).from(from, 0);
        for record in scan.by_ref() {
            log_record(&record, walk);
        }
        let end = scan.end().map_or(walk.size, |end| end.offset);
        match resynchronize(bytes, end.saturating_add(1), file.endian) {
            Some(next) => {
                walk.to(next, "unreadable");
                from = next;
            }
            None => return walk.to(walk.size, "after the last whole record"),
        }
    }
}

fn log_record(record: &Record<'_>, walk: &mut Walk<'_>) {
    let kind = record.kind();
    let name = kind.map_or("unknown", |kind| kind.name());
    walk.push(record.offset as usize, 4, format!("{name}.size"));
    walk.push(record.offset as usize + 4, 4, format!("{name}.type"));
    let base = record.payload_at(0) as usize;
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
                walk.to((base + chunk.at) as u64, "padding");
                walk.push(base + chunk.at, number, format!("{name}.offset"));
                walk.push(base + chunk.at + number, number, format!("{name}.size"));
                walk.push(base + chunk.at + number * 2, chunk.data.len(), format!("{name}.data"));
            }
        }
        Some(RecordType::ExtIntro) => {
            for intro in record.intros() {
                walk.to((base + intro.at) as u64, "padding");
                walk.fields(base + intro.at, ExtIntro::FIELDS, name);
                walk.push(base + intro.at + ExtIntro::SIZE, intro.name.len(), format!("{name}.name"));
            }
        }
        Some(RecordType::ExtReset) => walk.fields(base, ExtReset::FIELDS, name),
        Some(RecordType::KeywordUpdate) => {
            walk.fields(base, KeywordUpdate::FIELDS, name);
            if let Some((fixed, _, ranges)) = record.keyword_update() {
                walk.push(base + KeywordUpdate::SIZE, usize::from(fixed.name_size), format!("{name}.name"));
                let rest = ranges.bytes();
                let at = record.payload.len() - rest.len();
                walk.to((base + at) as u64, "padding");
                elements::<UidRange>(record, base + at, rest, name, walk);
            }
        }
        Some(RecordType::Boundary) => walk.push(base, 4, format!("{name}.transaction_size")),
        _ => walk.to(record.end(), format!("{name}.payload")),
    }
    walk.to(record.end(), "padding");
}

fn elements<T: Disk>(record: &Record<'_>, base: usize, bytes: &[u8], name: &str, walk: &mut Walk<'_>) {
    for i in 0..Elements::<T>::new(bytes, record.endian).count() {
        // Records are at most a GiB, and the walk stops at the end of the file.
        walk.fields(base + i * T::SIZE, T::FIELDS, &format!("{name} {i}"));
    }
}

fn cache_record(cache: &Cache<'_>, record: &CacheRecord, walk: &mut Walk<'_>) {
    let at = record.offset as usize;
    walk.push(at, 4, "record.prev_offset");
    walk.push(at + 4, 4, "record.size");
    for field in cache.fields(record).map_while(Result::ok) {
        let known = cache.fields.get(field.index as usize);
        let name = known.map_or_else(String::new, |known| String::from_utf8_lossy(known.name).into_owned());
        // Before the data: the field's number, and its size when that varies; before those, padding.
        let head = 4 + usize::from(known.is_none_or(|known| known.size.is_none())) * 4;
        let start = field.offset as usize;
        walk.to(start.saturating_sub(head) as u64, "padding");
        walk.to((start.saturating_sub(head) + 4) as u64, format!("record.{name}.field_idx"));
        walk.to(start as u64, format!("record.{name}.data_size"));
        walk.push(start, field.data.len(), format!("record.{name}"));
    }
    walk.to(record.range().end, "padding");
}

fn cache(bytes: &[u8], indexid: Option<u32>, walk: &mut Walk<'_>) {
    let Ok(cache) = Cache::parse(bytes, indexid) else { return };
    for item in cache.tile() {
        let name = match item.kind {
            TileKind::Header => {
                walk.fields(0, crate::format::cache::CacheHeader::FIELDS, "header");
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
    walk.push(at + 4, 4, "field header.size");
    walk.push(at + 8, 4, "field header.fields_count");
    let fields = cache.fields_of(header);
    let mut start = at + 12;
    for (name, size) in [("last_used", 4), ("size", 4), ("type", 1), ("decision", 1)] {
        for (k, field) in fields.iter().enumerate() {
            walk.push(start + k * size, size, format!("field {}.{name}", String::from_utf8_lossy(field.name)));
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
