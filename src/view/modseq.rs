//! What there is to know of modseqs, for people and programs.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::findings::{emit_left_out, list_problems};
use crate::check::Finding;
use crate::format::ext::Visit;
use crate::format::record::RecordType;
use crate::logs::modseq::{Decoded, Located, origins, touched, tracking_began};
use crate::model::reach::oldest_modseq;
use crate::model::{LogPos, UidSet};
use crate::ops::modseq::Overview;
use crate::ops::past::Past;
use crate::render::Emit;
use crate::render::document::{Document, Part};

/// Highest modseq that IMAP can express (RFC 7162): 63 bits.
const IMAP_MAX: u64 = (1 << 63) - 1;
/// Messages that make one block of work.
const BLOCK: usize = 4096;

/// Writes a log position as an object, or null.
fn emit_position(emit: &mut (impl Emit + ?Sized), name: &str, position: Option<LogPos>) {
    match position {
        Some(position) => {
            emit.position(name, position.seq, position.offset);
        }
        None => emit.null(name),
    }
}

fn emit_optional(emit: &mut (impl Emit + ?Sized), name: &str, value: Option<u64>) {
    match value {
        Some(value) => emit.number(name, value),
        None => emit.null(name),
    }
}

/// Writes everything about a mailbox's modseqs.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_overview<D: Document>(
    path: &Path,
    overview: &Overview<'_>,
    uid: Option<&UidSet>,
    out: &mut D,
) -> io::Result<()> {
    let (state, agreement) = (&overview.state, &overview.agreement);
    let replayed = &state.loaded.replayed;
    let mailbox = &replayed.mailbox;
    let chain = &state.chain;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("indexid", u64::from(mailbox.header.indexid));
        emit.number("uid_validity", u64::from(mailbox.header.uid_validity));
        emit.number("highest_modseq", replayed.highest_modseq());
        match agreement.index {
            Some(header) => {
                emit.object_begin("index");
                emit.number("highest_modseq", header.highest_modseq);
                emit.number("log_seq", u64::from(header.log_seq));
                emit.number("log_offset", u64::from(header.log_offset));
                emit_optional(emit, "counted", agreement.counted);
                emit.object_end();
            }
            None => emit.null("index"),
        }
        match agreement.log {
            Some((modseq, position)) => {
                emit.object_begin("log");
                emit.number("highest_modseq", modseq);
                emit.log_pos(position.seq, position.offset);
                emit.object_end();
            }
            None => emit.null("log"),
        }
        emit.boolean("agree", overview.agree());
        emit.object_begin("tracking");
        emit.boolean("per_message", mailbox.modseq_header().is_some());
        match tracking_began(chain) {
            Some((position, modseq)) => {
                emit_position(emit, "began", Some(position));
                emit.number("modseq", modseq);
            }
            None => {
                emit.null("began");
                emit.null("modseq");
            }
        }
        emit.object_end();
        emit_optional(emit, "oldest_modseq", oldest_modseq(&chain.segments()));
        emit_left_out(emit, chain.left_out);
    })?;
    list_problems(path, state.problems, out)?;
    out.list("files", |part| {
        for file in &chain.files {
            let header = &file.log.header;
            part.item(|emit| {
                emit.number("file_seq", u64::from(header.file_seq));
                emit.text("version", format!("{}.{}", header.major_version, header.minor_version).as_bytes());
                emit.number("size", file.log.size);
                emit.number("initial_modseq", header.initial_modseq);
                emit.number("highest_modseq", file.end_modseq);
            })?;
        }
        Ok(())
    })?;
    let positions: Vec<(usize, u32)> =
        mailbox.positions().zip(1..).filter(|(i, _)| uid.is_none_or(|set| set.contains(mailbox.uid(*i)))).collect();
    let messages: Vec<(u32, u64)> =
        positions.iter().map(|(i, _)| (mailbox.uid(*i), replayed.message_modseq(*i))).collect();
    let origins = origins(chain, &messages);
    let all: Vec<_> = positions.iter().map(|(_, seq)| *seq).zip(messages).zip(origins).collect();
    let mut blocks = all.chunks(BLOCK);
    out.list_in_blocks(
        "messages",
        || Ok(blocks.next()),
        |block, part| {
            block.iter().try_for_each(|((seq, (uid, modseq)), origin)| {
                part.item(|emit| {
                    emit.number("seq", u64::from(*seq));
                    emit.number("uid", u64::from(*uid));
                    emit.number("modseq", *modseq);
                    emit_optional(emit, "createseq", origin.createseq);
                    emit_optional(emit, "log_file_seq", origin.set.map(|(pos, _)| u64::from(pos.seq)));
                    emit_optional(emit, "offset", origin.set.map(|(pos, _)| pos.offset));
                    match origin.set {
                        Some((_, kind)) => emit.text("type", kind.name().as_bytes()),
                        None => emit.null("type"),
                    }
                })
            })
        },
    )?;
    out.end()
}

/// Writes a line for each step of the modseq, in memory that does not grow with the logs.
///
/// # Errors
/// When a log cannot be read or `out` cannot be written to.
pub fn write_history<D: Document>(path: &Path, past: &mut Past, uid: Option<&UidSet>, out: &mut D) -> io::Result<()> {
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    let starts: HashMap<u32, u64> =
        past.logs.list.iter().map(|log| (log.segment.seq, log.segment.initial_modseq)).collect();
    out.list("history", |part| {
        let mut last = (0, 0);
        past.logs.each(0, |_, seq, record| {
            let before = if last.0 == seq { last.1 } else { starts.get(&seq).copied().unwrap_or(0) };
            last = (seq, record.modseq);
            if record.modseq <= before {
                return Ok(true);
            }
            let uids: UidSet =
                touched(record).map(|(first, last, _)| (first, last)).filter(|(uid, _)| *uid > 0).collect();
            if uid.is_some_and(|wanted| !uids.ranges().iter().any(|(a, b)| wanted.intersects(*a, *b))) {
                return Ok(true);
            }
            part.item(|emit| {
                emit.number("modseq", record.modseq);
                emit.number("log_file_seq", u64::from(seq));
                emit.number("offset", record.offset);
                emit.number("size", u64::from(record.size));
                emit.text("type", record.kind().map_or("", RecordType::name).as_bytes());
                emit.boolean("external", record.external());
                emit.boolean("sync", record.sync());
                emit.uids("uids", uids.ranges());
            })?;
            Ok(true)
        })
    })?;
    list_problems(path, &past.verdict.problems(&past.logs), out)?;
    out.end()
}

/// Writes where a modseq lies.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_located<D: Document>(path: &Path, located: &Located, problems: &[Finding], out: &mut D) -> io::Result<()> {
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("modseq", located.modseq);
        emit_optional(emit, "log_file_seq", located.position.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", located.position.map(|pos| pos.offset));
        emit.text("answer", located.kind.name().as_bytes());
        match &located.reason {
            Some(reason) => emit.text("reason", reason.as_bytes()),
            None => emit.null("reason"),
        }
        emit.boolean("future", located.future);
        match located.record {
            Some((position, kind)) => {
                emit.object_begin("record");
                emit.log_pos(position.seq, position.offset);
                emit.text("type", kind.map_or("", RecordType::name).as_bytes());
                emit.object_end();
            }
            None => emit.null("record"),
        }
    })?;
    list_problems(path, problems, out)?;
    out.end()
}

/// Writes a number taken apart.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_decoded<D: Document>(
    path: &Path,
    indexid: u32,
    decoded: &Decoded,
    problems: &[Finding],
    out: &mut D,
) -> io::Result<()> {
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("value", decoded.value);
        emit.text("hex", format!("0x{:016x}", decoded.value).as_bytes());
        emit.text("scheme", decoded.scheme.name().as_bytes());
        emit.text("reason", decoded.reason.as_bytes());
        emit.boolean("valid_in_imap", (1..=IMAP_MAX).contains(&decoded.value));
        emit.number("indexid", u64::from(indexid));
    })?;
    out.object("as_position", &mut |emit| {
        emit_optional(emit, "log_file_seq", decoded.position.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", decoded.position.map(|pos| pos.offset));
        emit_optional(emit, "counter_there", decoded.counter);
    })?;
    out.object("as_counter", &mut |emit| {
        emit_optional(emit, "log_file_seq", decoded.located.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", decoded.located.map(|pos| pos.offset));
        emit_optional(emit, "position_modseq", decoded.as_position);
    })?;
    list_problems(path, problems, out)?;
    out.end()
}
