//! A thread index, and a mailbox log.

use std::io;
use std::path::Path;

use super::{begin, emit_struct, list_bytes, list_problems};
use crate::format::ext::Visit;
use crate::format::flaw::note;
use crate::format::thread::{Thread, ThreadTileKind};
use crate::format::{Endian, FileKind, Flaw, mailbox_log};
use crate::ops::dump::{DumpOutcome, Options, Section};
use crate::render::document::{Document, Part};

pub(super) fn dump_thread<D: Document>(
    path: &Path,
    bytes: &[u8],
    thread: &Thread<'_>,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, io::Error> {
    begin(path, FileKind::Thread, bytes.len() as u64, thread.endian, thread.endian_guessed, out)?;
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            emit_struct(emit, &thread.header);
            if let Some(key) = thread.hash_key {
                emit.hex("hash_key", key);
            }
        })?;
    }
    let mut problems: Vec<Flaw> = thread.problem().into_iter().collect();
    if options.wants(Section::Records) {
        let mut left = options.limit();
        out.list("records", |part| {
            for tile in thread.tile() {
                match tile.kind {
                    ThreadTileKind::Record(record) => {
                        if left == 0 || options.uid.as_ref().is_some_and(|set| !set.contains(record.uid)) {
                            continue;
                        }
                        left -= 1;
                        part.item(|emit| {
                            emit.number("offset", tile.range.start);
                            emit.number("size", tile.range.end - tile.range.start);
                            emit.number("uid", u64::from(record.uid));
                            emit.number("n", u64::from(record.n));
                            emit.list_begin("refs");
                            for one in record.refs() {
                                emit.object_begin("");
                                emit.text("kind", one.kind.to_string().as_bytes());
                                emit.number("crc32", u64::from(one.crc32));
                                emit.number("str_idx", u64::from(one.str_idx));
                                emit.object_end();
                            }
                            emit.list_end();
                        })?;
                    }
                    ThreadTileKind::Unreadable(error) => problems.push(error),
                    ThreadTileKind::Header | ThreadTileKind::Block(_) | ThreadTileKind::Unwritten => {}
                }
            }
            Ok(())
        })?;
    }
    problems.dedup();
    list_problems(&problems, out)?;
    list_bytes(FileKind::Thread, bytes, None, options, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
}

pub(super) fn dump_mailbox_log<D: Document>(
    path: &Path,
    bytes: &[u8],
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, io::Error> {
    begin(path, FileKind::MailboxLog, bytes.len() as u64, Endian::Big, false, out)?;
    let mut problems = Vec::new();
    let mut left = options.limit();
    out.list("records", |part| {
        for entry in mailbox_log::records(bytes) {
            match entry {
                Ok((at, record)) => {
                    note(&mut problems, mailbox_log::problem(at, &record));
                    if left == 0 || !options.wants(Section::Records) {
                        continue;
                    }
                    left -= 1;
                    part.item(|emit| {
                        emit.number("offset", at);
                        match record.type_name() {
                            Some(name) => emit.text("type", name.as_bytes()),
                            None => emit.number("type", u64::from(record.record_type)),
                        }
                        emit.hex("mailbox_guid", &record.mailbox_guid);
                        emit.time("timestamp", u64::from(record.time()));
                    })?;
                }
                Err(error) => note(&mut problems, [error]),
            }
        }
        Ok(())
    })?;
    list_problems(&problems, out)?;
    list_bytes(FileKind::MailboxLog, bytes, None, options, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
}
