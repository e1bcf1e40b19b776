//! An index, physically.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::{BLOCK, begin, emit_struct, keys, list_bytes, list_problems};
use crate::format::Disk;
use crate::format::ext::Visit;
use crate::format::ext::{HeaderKind, IndexFlavor, RecordKind, keyword_bits};
use crate::format::flaw::note;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::{FileKind, Flaw, FlawKind};
use crate::ops::dump::{DumpOutcome, Options, Section};
use crate::render::Emit;
use crate::render::document::{Document, Part};

pub(super) fn dump_index<D: Document>(
    path: &Path,
    index: &IndexFile<'_>,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, io::Error> {
    begin(path, FileKind::Index, index.bytes.len() as u64, index.endian, false, out)?;
    let endian = index.endian;
    let flavor = IndexFlavor::guess(index.extensions.iter().map(|ext| ext.name));
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            emit_struct(emit, &index.header);
            let rest = index.bytes.get(IndexHeader::SIZE..usize::from(index.header.base_header_size));
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                emit.hex("unknown", rest);
            }
        })?;
    }
    if options.wants(Section::Extensions) {
        out.list("extensions", |part| {
            for ext in &index.extensions {
                part.item(|emit| {
                    emit.text("name", ext.name);
                    emit.number("hdr_size", u64::from(ext.header.hdr_size));
                    emit.number("reset_id", u64::from(ext.header.reset_id));
                    emit.number("record_offset", u64::from(ext.header.record_offset));
                    emit.number("record_size", u64::from(ext.header.record_size));
                    emit.number("record_align", u64::from(ext.header.record_align));
                    match HeaderKind::lookup(ext.name, flavor, ext.header.hdr_size) {
                        Some(kind) => kind.visit("header", ext.data, endian, emit),
                        None => emit.hex("header", ext.data),
                    }
                })?;
            }
            Ok(())
        })?;
    }
    let names: Vec<Vec<u8>> = crate::model::Mailbox::keywords_of(index);
    if options.wants(Section::Keywords) {
        out.list("keywords", |part| names.iter().try_for_each(|name| part.value(|emit| emit.text("", name))))?;
    }
    let mut problems = index.problems.clone();
    if options.wants(Section::Records) {
        index_records(index, flavor, &names, options, &mut problems, out)?;
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Index, index.bytes, None, options, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
}

/// The part of an extension that decoding its records needs, looked up once.
struct ExtColumn<'a> {
    name: &'a str,
    range: std::ops::Range<usize>,
    kind: Option<RecordKind>,
}

/// The extensions with data in the records. Data that lies outside the record or makes more than a record in all is
/// left out and named.
fn columns<'a>(
    index: &IndexFile<'_>,
    keys: &'a [Cow<'_, str>],
    flavor: IndexFlavor,
    problems: &mut Vec<Flaw>,
) -> Vec<ExtColumn<'a>> {
    let mut room = index.record_size;
    let mut columns = Vec::new();
    for (ext, key) in index.extensions.iter().zip(keys).filter(|(ext, _)| ext.header.record_size > 0) {
        let start = usize::from(ext.header.record_offset);
        let range = start..start + usize::from(ext.header.record_size);
        let problem = |kind, need| {
            Flaw::new(FileKind::Index, ext.at as u64 + 8, kind, need, format!("{}..{}", range.start, range.end))
        };
        if range.end > index.record_size {
            let need = format!("an end at {} or before", index.record_size);
            note(problems, [problem(FlawKind::ExtPastRecord, need)]);
        } else if range.len() > room {
            note(problems, [problem(FlawKind::ExtOverlap, format!("at most {room} bytes more"))]);
        } else {
            room -= range.len();
            let kind = RecordKind::lookup(ext.name, flavor, ext.header.record_size);
            columns.push(ExtColumn { name: key, range, kind });
        }
    }
    columns
}

fn index_records<D: Document>(
    index: &IndexFile<'_>,
    flavor: IndexFlavor,
    names: &[Vec<u8>],
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    let texts = keys(index.extensions.iter().map(|ext| ext.name));
    let mut columns = columns(index, &texts, flavor, problems);
    let keywords = columns.iter().position(|column| column.name == "keywords").map(|i| columns.remove(i).range);
    // Unsorted records are damage, but they are still there: then the binary search cannot be trusted.
    let count = index.count();
    let uids = index.iter().map(|record| index.endian.u32_at(record, 0));
    let sorted = uids.is_sorted_by(|a, b| a < b);
    let mut ranges: Vec<std::ops::Range<usize>> = match &options.uid {
        Some(set) if sorted => set
            .ranges()
            .iter()
            .map(|(a, b)| index.lower_bound(*a)..b.checked_add(1).map_or(count, |next| index.lower_bound(next)))
            .collect(),
        _ => std::iter::once(0..count).collect(),
    };
    let filter = options.uid.as_ref().filter(|_| !sorted);
    let mut left = options.limit();
    let per_block = (BLOCK / index.record_size).max(1);
    ranges.reverse();
    let next = || {
        let Some(mut range) = ranges.pop() else { return Ok(None) };
        range.end = range.end.min(range.start.saturating_add(left));
        let cut = range.start.saturating_add(per_block).min(range.end);
        if cut < range.end {
            ranges.push(cut..range.end);
        }
        left -= cut - range.start;
        Ok(Some(range.start..cut))
    };
    out.list_in_blocks("records", next, |range, part| {
        for i in range {
            let Some(record) = index.record(i) else { break };
            let uid = index.endian.u32_at(record, 0).unwrap_or(0);
            if filter.is_some_and(|set| !set.contains(uid)) {
                continue;
            }
            part.item(|emit| {
                emit.number("seq", i as u64 + 1);
                emit.number("uid", u64::from(uid));
                emit.number("offset", (index.records_at + i * index.record_size) as u64);
                emit.flags("flags", record.get(4).copied().unwrap_or(0));
                emit.list_begin("keywords");
                let bitmap = keywords.clone().and_then(|range| record.get(range)).unwrap_or_default();
                let mut unnamed = false;
                for bit in keyword_bits(bitmap) {
                    match names.get(bit as usize) {
                        Some(name) => emit.text("", name),
                        None => unnamed = true,
                    }
                }
                emit.list_end();
                // Dovecot itself leaves stale bits beyond the last keyword when a record is laid out anew.
                if unnamed {
                    emit.hex("keywords_raw", bitmap);
                }
                emit.object_begin("ext");
                for column in &columns {
                    let Some(data) = record.get(column.range.clone()) else { continue };
                    match column.kind {
                        Some(kind) => kind.visit(column.name, data, index.endian, emit),
                        None => emit.hex(column.name, data),
                    }
                }
                emit.object_end();
            })?;
        }
        Ok(())
    })
}
