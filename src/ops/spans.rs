//! Names for every byte of a file, gaps included. The spans of a file follow each other without gap or overlap from its
//! first byte to its last.

use crate::format::cache::{Cache, TileKind};
use crate::format::ext::ExtHeader;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::log::{LogFile, LogHeader, resynchronize};
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
    for i in 0..index.count() {
        let at = index.records_at + i * index.record_size;
        walk.push(at, index.record_size, format!("record {} uid {}", i + 1, index.uid(i).unwrap_or(0)));
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
            let name = record.kind().map_or("unknown", |kind| kind.name());
            walk.push(record.offset as usize, record.size as usize, format!("record {name}"));
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

fn cache(bytes: &[u8], indexid: Option<u32>, walk: &mut Walk<'_>) {
    let Ok(cache) = Cache::parse(bytes, indexid) else { return };
    for item in cache.tile() {
        let name = match item.kind {
            TileKind::Header => {
                walk.fields(0, crate::format::cache::CacheHeader::FIELDS, "header");
                continue;
            }
            TileKind::FieldHeader(i) => format!("field header {i}"),
            TileKind::Record(_) => "record".to_owned(),
            TileKind::Hole(_) => "hole".to_owned(),
            TileKind::Zeros => "zeros".to_owned(),
            TileKind::Unreadable => "unreadable".to_owned(),
        };
        walk.to(item.range.end, name);
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
