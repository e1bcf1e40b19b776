//! A cache: its fields and its records.

use std::io;
use std::path::Path;

use super::{BLOCK, begin, emit_value, keys, list_bytes, list_problems};
use crate::format::Disk;
use crate::format::cache::{Cache, CacheHeader, CacheRecord, TileKind};
use crate::format::ext::Visit;
use crate::format::flaw::note;
use crate::format::{FileKind, Flaw, FlawKind};
use crate::ops::dump::{CacheLinks, DumpOutcome, Options, Section};
use crate::render::Emit;
use crate::render::document::{Document, Part};

pub(super) fn dump_cache<D: Document>(
    path: &Path,
    cache: &Cache<'_>,
    links: &CacheLinks,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, io::Error> {
    begin(path, FileKind::Cache, cache.bytes().len() as u64, cache.endian, cache.endian_guessed, out)?;
    let mut problems = cache.problems.clone();
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            for (field, value) in CacheHeader::FIELDS.iter().zip(cache.header.values()) {
                match cache.header.first_field_header().filter(|_| field.name == "field_header_offset") {
                    Some(offset) => emit.number(field.name, u64::from(offset)),
                    None => emit_value(emit, field, &value),
                }
            }
        })?;
    }
    if options.wants(Section::Fields) {
        out.list("fields", |part| {
            for field in &cache.fields {
                part.item(|emit| {
                    emit.text("name", field.name);
                    emit.text("type", field.type_name().as_bytes());
                    match field.size {
                        Some(size) => emit.number("size", u64::from(size)),
                        None => emit.null("size"),
                    }
                    emit.text("decision", field.decision_name().as_bytes());
                    emit.time("last_used", u64::from(field.last_used));
                })?;
            }
            Ok(())
        })?;
    }
    if options.wants(Section::Records) {
        cache_records(cache, links, options, &mut problems, out)?;
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Cache, cache.bytes(), links.indexid, options, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
}

fn cache_records<D: Document>(
    cache: &Cache<'_>,
    links: &CacheLinks,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    let by_offset = links.by_offset(cache);
    let names = keys(cache.fields.iter().map(|field| field.name));
    // With a UID the chains lead straight to the records; without, the whole file is walked.
    let mut linked = by_offset.iter().filter_map(|(offset, _)| cache.record_at(*offset).ok());
    let mut tiles = cache.tile();
    let found = std::cell::RefCell::new(Vec::new());
    let mut walk = || loop {
        let item = tiles.next()?;
        match item.kind {
            TileKind::Record(record) => return Some(record),
            TileKind::Unreadable => {
                let have = format!("{} unreadable bytes", item.range.end - item.range.start);
                let need = "a record or a field header";
                note(
                    &mut found.borrow_mut(),
                    [Flaw::new(FileKind::Cache, item.range.start, FlawKind::CacheUnreadable, need, have)],
                );
            }
            _ => {}
        }
    };
    let mut left = options.limit();
    let mut next_record = || {
        left = left.checked_sub(1)?;
        if options.uid.is_some() { linked.next() } else { walk() }
    };
    let next = || -> io::Result<Option<Vec<CacheRecord>>> {
        let mut block = Vec::new();
        let mut bytes = 0;
        while bytes < BLOCK {
            let Some(record) = next_record() else { break };
            bytes += record.size as usize;
            block.push(record);
        }
        Ok((!block.is_empty()).then_some(block))
    };
    out.list_in_blocks("records", next, |block, part| {
        let mut links = by_offset.partition_point(|(offset, _)| block.first().is_some_and(|r| *offset < r.offset));
        for record in &block {
            while by_offset.get(links).is_some_and(|(offset, _)| *offset < record.offset) {
                links += 1;
            }
            let uid = by_offset.get(links).filter(|(offset, _)| *offset == record.offset).map(|(_, uid)| *uid);
            part.item(|emit| emit_cache_record(emit, cache, record, uid, &names))?;
        }
        Ok(())
    })?;
    note(problems, found.into_inner());
    Ok(())
}

fn emit_cache_record<E: Emit>(
    emit: &mut E,
    cache: &Cache<'_>,
    record: &CacheRecord,
    uid: Option<u32>,
    names: &[std::borrow::Cow<'_, str>],
) {
    emit.number("offset", u64::from(record.offset));
    emit.number("prev_offset", u64::from(record.prev_offset));
    emit.number("size", u64::from(record.size));
    match uid {
        Some(uid) => emit.number("uid", u64::from(uid)),
        None => emit.absent("uid"),
    }
    emit.object_begin("fields");
    let mut error = None;
    for field in cache.fields(record) {
        match field {
            Ok(field) => {
                let name = names.get(field.index as usize).map_or("", AsRef::as_ref);
                if let Err(why) = cache.value(&field).visit(name, emit) {
                    error.get_or_insert(why);
                }
            }
            Err(why) => {
                error.get_or_insert(why);
            }
        }
    }
    emit.object_end();
    if let Some(error) = error {
        emit.text("error", error.to_string().as_bytes());
    }
}
