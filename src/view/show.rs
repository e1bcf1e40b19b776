//! A mailbox as Dovecot would present it, as a document.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::findings::{emit_left_out, list_problems};
use crate::format::ext::{Visit, keyword_bits};
use crate::format::record::flag;
use crate::ops::show::{Options, ShownMailbox, flags_of};
use crate::render::Emit;
use crate::render::document::{Document, Part};

/// Messages that make one block of work.
const BLOCK: usize = 4096;

/// Writes the mailbox as members and a list of messages.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write<D: Document>(path: &Path, state: &ShownMailbox, options: &Options, out: &mut D) -> io::Result<()> {
    let replayed = &state.loaded.replayed;
    let mailbox = &replayed.mailbox;
    let private = state.private.as_ref();
    let header = &mailbox.header;
    let seen = match private {
        None => u64::from(header.seen_messages_count),
        Some(_) => mailbox.positions().filter(|i| flags_of(mailbox, private, *i) & flag::SEEN != 0).count() as u64,
    };
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.position("position", replayed.position.seq, replayed.position.offset);
        emit.number("indexid", u64::from(header.indexid));
        emit.number("uid_validity", u64::from(header.uid_validity));
        emit.number("next_uid", u64::from(header.next_uid));
        emit.number("first_recent_uid", u64::from(header.first_recent_uid));
        emit.number("highest_modseq", replayed.highest_modseq());
        emit.number("messages_count", u64::from(header.messages_count));
        emit.number("seen_messages_count", seen);
        emit.number("deleted_messages_count", u64::from(header.deleted_messages_count));
        emit.list_begin("keywords");
        mailbox.keywords().iter().for_each(|name| emit.text("", name));
        emit.list_end();
        emit_left_out(emit, state.loaded.left_out);
    })?;
    list_problems(path, &state.problems, out)?;
    let positions: Vec<usize> = match &options.uid {
        None => mailbox.positions().collect(),
        Some(set) => set
            .ranges()
            .iter()
            .flat_map(|(a, b)| mailbox.lookup_range(*a, *b))
            .filter(|i| options.uid.as_ref().is_some_and(|set| set.contains(mailbox.uid(*i))))
            .collect(),
    };
    let keyword_column = mailbox.extension(b"keywords");
    let modseq_column = mailbox.extension(b"modseq").map(|ext| usize::from(ext.record_offset));
    let (unset, untracked) = (replayed.highest_modseq(), replayed.log_modseq.max(1));
    // A message with thousands of keywords takes as much room as many without.
    let mut blocks = positions.chunks((BLOCK / (1 + mailbox.keywords().len() / 16)).max(1));
    out.list_in_blocks(
        "messages",
        || Ok(blocks.next()),
        |block, part| {
            block.iter().try_for_each(|&i| {
                let record = mailbox.record(i);
                let modseq = match modseq_column {
                    None => untracked,
                    Some(at) => match record.get(at..).and_then(|rest| mailbox.endian.u64_at(rest, 0)) {
                        None | Some(0) => unset,
                        Some(modseq) => modseq,
                    },
                };
                part.item(|emit| {
                    emit.number("seq", i as u64 + 1);
                    emit.number("uid", u64::from(mailbox.uid(i)));
                    emit.flags("flags", flags_of(mailbox, private, i));
                    emit.list_begin("keywords");
                    let bitmap = keyword_column.and_then(|ext| mailbox.ext_bytes(i, ext)).unwrap_or_default();
                    for bit in keyword_bits(bitmap) {
                        if let Some(name) = mailbox.keywords().get(bit as usize) {
                            emit.text("", name);
                        }
                    }
                    emit.list_end();
                    emit.number("modseq", modseq);
                })
            })
        },
    )?;
    out.end()
}
