//! What a server must answer, for people and programs.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::findings::{emit_left_out, list_problems};
use crate::format::ext::Visit;
use crate::ops::opened::numbered;
use crate::ops::qresync::QresyncOutcome;
use crate::ops::versus::Deviation;
use crate::render::Emit;
use crate::render::document::{Document, Part};

/// Messages that make one block of work.
const BLOCK: usize = 4096;

/// Writes the answer as members and lists.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write<D: Document>(path: &Path, outcome: &QresyncOutcome<'_>, table: bool, out: &mut D) -> io::Result<()> {
    let (answer, replayed) = (&outcome.answer, &outcome.state.loaded.replayed);
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("uid_validity", u64::from(replayed.mailbox.header.uid_validity));
        emit.number("next_uid", u64::from(replayed.mailbox.header.next_uid));
        emit.number("highest_modseq", replayed.highest_modseq());
        emit.number("modseq", outcome.question.modseq);
        emit.text("answer", answer.kind.name().as_bytes());
        match &answer.reason {
            Some(reason) => emit.text("reason", reason.to_string().as_bytes()),
            None if !table => emit.null("reason"),
            None => {}
        }
        match answer.position {
            Some(position) => {
                emit.position("position", position.seq, position.offset);
            }
            None if !table => emit.null("position"),
            None => {}
        }
        emit.uids("vanished", answer.vanished.ranges());
        emit.number("bytes", answer.bytes() as u64);
        emit_left_out(emit, outcome.state.loaded.left_out);
    })?;
    list_problems(path, outcome.state.problems, out)?;
    if !outcome.not_judged.is_empty() {
        out.list("not_judged", |part| {
            for (line, why) in &outcome.not_judged {
                part.item(|emit| {
                    emit.number("line", *line as u64);
                    emit.text("why", why.as_bytes());
                })?;
            }
            Ok(())
        })?;
    }
    if let Some(differences) = &outcome.differences {
        let write = |out: &mut D| {
            out.list("differences", |part| {
                differences.iter().try_for_each(|one| part.item(|emit| emit_difference(emit, one)))
            })
        };
        if table && differences.is_empty() && outcome.not_judged.is_empty() {
            out.members(&mut |emit| emit.text("differences", b"none: server and client did right"))?;
        } else {
            write(out)?;
        }
    }
    let changed = numbered(&replayed.mailbox, &answer.changed);
    if table && changed.is_empty() {
        return out.end();
    }
    let mut blocks = changed.chunks(BLOCK);
    out.list_in_blocks(
        "changed",
        || Ok(blocks.next()),
        |block, part| {
            block.iter().try_for_each(|(i, seq)| {
                let message = outcome.state.message(*i, *seq);
                part.item(|emit| {
                    emit.number("seq", u64::from(message.seq));
                    emit.number("uid", u64::from(message.uid));
                    emit.flags("flags", message.flags);
                    emit.list_begin("keywords");
                    message.keywords.iter().for_each(|name| emit.text("", name));
                    emit.list_end();
                    emit.number("modseq", message.modseq);
                })
            })
        },
    )?;
    out.end()
}

fn emit_difference<E: Emit>(emit: &mut E, one: &Deviation) {
    emit.text("who", one.who.as_bytes());
    emit.number("line", one.line as u64);
    emit.text("what", one.what.as_bytes());
    emit.text("expected", one.expected.as_bytes());
    emit.text("found", one.found.as_bytes());
    emit.text("message", one.message.as_bytes());
}
