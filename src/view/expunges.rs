//! Expunges for people and programs.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::findings::{emit_left_out, list_problems};
use crate::logs::clock::{Bracket, Guid};
use crate::logs::expunges::{By, Expunge, Since};
use crate::ops::expunges::Report;
use crate::ops::whereabouts::Message;
use crate::render::Emit;
use crate::render::document::{Document, Part};
use crate::render::text::{local, rfc3339};

/// Writes what the logs say about expunges.
///
/// # Errors
/// When a log cannot be read or `out` cannot be written to.
pub fn write<D: Document>(path: &Path, report: &mut Report, table: bool, out: &mut D) -> io::Result<()> {
    let problems = report.problems();
    let Report { expunges, moved_to, .. } = report;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        match expunges.since {
            None => emit.null("since"),
            Some(Since::Modseq(modseq) | Since::Number(modseq)) => emit.number("since", modseq),
            Some(Since::Time(time)) => emit.text("since", rfc3339(time).as_bytes()),
        }
        emit.boolean("complete", expunges.complete.is_ok());
        match &expunges.complete {
            Err(why) => emit.text("reason", why.to_string().as_bytes()),
            Ok(()) if !table => emit.null("reason"),
            Ok(()) => {}
        }
        match expunges.oldest_modseq {
            Some(modseq) => emit.number("oldest_modseq", modseq),
            None => emit.null("oldest_modseq"),
        }
        emit_left_out(emit, expunges.logs.left_out.as_ref().map(|one| (one.seq, one.why)));
        emit.uids("vanished", expunges.vanished.ranges());
    })?;
    list_problems(path, &problems, out)?;
    if table && expunges.vanished.is_empty() {
        return out.end();
    }
    out.list("expunges", |part| {
        expunges.each(|one, bracket| {
            let moved = one.guid.and_then(|guid| moved_to.get(&guid));
            part.item(|emit| match table {
                true => emit_row(emit, one, bracket, moved),
                false => emit_one(emit, one, bracket, moved),
            })
        })
    })?;
    out.end()
}

fn emit_one<E: Emit>(emit: &mut E, one: &Expunge, bracket: Bracket, moved: Option<&Message>) {
    emit.number("uid", u64::from(one.uid));
    match &one.guid {
        Some(guid) => emit.hex("guid", guid),
        None => emit.null("guid"),
    }
    match one.modseq {
        0 => emit.null("modseq"),
        modseq => emit.number("modseq", modseq),
    }
    emit.log_pos(one.pos.seq, one.pos.offset);
    match one.requested {
        Some(request) => {
            emit.position("requested", request.seq, request.offset);
        }
        None => emit.null("requested"),
    }
    emit.boolean("sync", one.sync);
    emit.text("by", one.by().name().as_bytes());
    emit.text("origin", origin(one.by()).as_bytes());
    for (name, time) in [("not_before", bracket.not_before), ("not_after", bracket.not_after)] {
        match time {
            Some(time) => emit.text(name, rfc3339(time).as_bytes()),
            None => emit.null(name),
        }
    }
    match moved {
        Some(message) => {
            emit.object_begin("moved_to");
            emit.text("mailbox", &message.mailbox);
            emit.number("uid", u64::from(message.uid));
            emit.object_end();
        }
        None => emit.null("moved_to"),
    }
}

/// A row for people: who did it and when, and what the GUID gives away.
fn emit_row<E: Emit>(emit: &mut E, one: &Expunge, bracket: Bracket, moved: Option<&Message>) {
    emit.number("uid", u64::from(one.uid));
    match one.modseq {
        0 => emit.null("modseq"),
        modseq => emit.number("modseq", modseq),
    }
    emit.text("done", one.pos.to_string().as_bytes());
    let requested = one.requested.map_or_else(|| "-".to_owned(), |pos| pos.to_string());
    emit.text("requested", requested.as_bytes());
    emit.text("by", one.by().name().as_bytes());
    let time = |time: Option<i64>| time.map_or_else(|| "?".to_owned(), local);
    emit.text("not_before", time(bracket.not_before).as_bytes());
    emit.text("not_after", time(bracket.not_after).as_bytes());
    let moved = moved.map_or_else(
        || b"-".to_vec(),
        |message| [&message.mailbox, format!(" UID {}", message.uid).as_bytes()].concat(),
    );
    emit.text("moved_to", &moved);
    match &one.guid {
        Some(guid) => emit.hex("guid", guid),
        None => emit.text("guid", b"-"),
    }
    let made = one.guid.as_ref().and_then(|guid| Guid::decode(guid));
    let made =
        made.map_or_else(|| "-".to_owned(), |guid| format!("{} by pid {}", local(i64::from(guid.seconds)), guid.pid));
    emit.text("guid_made", made.as_bytes());
}

/// The word that 0.1 had for who did it.
const fn origin(by: By) -> &'static str {
    match by {
        By::Asked => "request",
        By::Dsync => "dsync",
        By::Storage => "external",
    }
}
