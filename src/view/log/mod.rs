//! A history in every format: documents of its records here, a table that tells people what each record does in
//! `table`, statistics in `stats`.

mod stats;
mod table;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::findings::{emit as emit_finding, list_problems};
use crate::check::Finding;
use crate::format::changes::Effect;
use crate::format::record::{ExpungeGuid, RecordType};
use crate::logs::clock::{Bracket, Stamp};
use crate::logs::history::LogError;
use crate::logs::note::Note;
use crate::logs::records::emit_data;
use crate::logs::walk::{Entry, Sink, origin};
use crate::render::document::{Document, JsonDocument, LinesDocument, Part};
use crate::render::text::rfc3339;
use crate::render::{Emit, Format, Style};

pub use stats::Sums;

/// The JSON schema of every document and line.
pub const SCHEMA: &str = "idx.log/1";
/// Notes kept for the end of a JSON document.
const MOST_NOTES: usize = 1000;

/// How a history is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The format.
    pub format: Format,
    /// The style of a table.
    pub style: Style,
    /// No record of the messages is left out, so that what is missing is missing in the logs.
    pub whole: bool,
}

/// Writes the history of the mailbox at `path`: `read` gives what there is to say, and then tells what is wrong with
/// the files, and why the history is not whole when it is not.
///
/// # Errors
/// Those of `read`, and when `out` cannot be written to.
pub fn write(
    path: &Path,
    options: &Options,
    out: &mut dyn Write,
    read: &mut dyn FnMut(&mut dyn Sink) -> (Vec<Finding>, Result<(), LogError>),
) -> (Vec<Finding>, Result<(), LogError>) {
    match options.format {
        Format::Table => {
            let mut table = table::LogTable::new(options.style, options.whole, out);
            let (problems, result) = read(&mut table);
            let ended = table.end();
            (problems, result.and(ended.map_err(LogError::Output)))
        }
        Format::Json => document(path, &mut JsonDocument::new(SCHEMA, out), read),
        Format::Ndjson => document(path, &mut LinesDocument::new(SCHEMA, out), read),
    }
}

/// The same as a document. In lines, notes stand between the records that they are about.
fn document<D: Document>(
    path: &Path,
    out: &mut D,
    read: &mut dyn FnMut(&mut dyn Sink) -> (Vec<Finding>, Result<(), LogError>),
) -> (Vec<Finding>, Result<(), LogError>) {
    let (mut problems, mut result, mut notes) = (Vec::new(), Ok(()), Vec::new());
    let mut body = || -> io::Result<()> {
        out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
        out.stream("records", |part| {
            let mut sink = Records { part, notes: Vec::new(), from: Rfc3339::default(), to: Rfc3339::default() };
            (problems, result) = read(&mut sink);
            notes = sink.notes;
            Ok(())
        })?;
        if D::IN_LINES {
            for finding in &problems {
                out.members(&mut |emit| {
                    emit.object_begin("problem");
                    emit_finding(path, finding, emit);
                    emit.object_end();
                })?;
            }
        } else {
            out.list("notes", |part| notes.iter().try_for_each(|note| part.item(|emit| emit_note(emit, note))))?;
            list_problems(path, &problems, out)?;
            if let Err(error) = &result {
                out.members(&mut |emit| emit.text("error", error.to_string().as_bytes()))?;
            }
        }
        out.end()
    };
    let written = body();
    (problems, result.and(written.map_err(LogError::Output)))
}

/// Writes records as items, and keeps the notes where they cannot stand between them.
struct Records<'p, P> {
    part: &'p mut P,
    notes: Vec<Note>,
    from: Rfc3339,
    to: Rfc3339,
}

impl<P: Part> Sink for Records<'_, P> {
    fn record(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let (from, to) = (&mut self.from, &mut self.to);
        self.part.item(|emit| emit_entry(emit, entry, from, to))
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        if P::IN_LINES {
            return self.part.item(|emit| emit_note(emit, note));
        }
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note.clone());
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// UNIX seconds as RFC 3339; the last one is remembered, since records come in bursts.
#[derive(Debug, Default)]
struct Rfc3339 {
    last: Option<i64>,
    text: String,
}

impl Rfc3339 {
    fn get(&mut self, seconds: i64) -> &str {
        if self.last != Some(seconds) {
            self.last = Some(seconds);
            self.text = rfc3339(seconds);
        }
        &self.text
    }
}

/// The members of a record.
fn emit_entry<E: Emit>(json: &mut E, entry: &Entry<'_>, from: &mut Rfc3339, to: &mut Rfc3339) {
    let record = entry.record;
    json.log_pos(entry.pos.seq, entry.pos.offset);
    json.number("size", u64::from(record.size));
    let kind = record.kind();
    json.text("type", kind.map_or("unknown", RecordType::name).as_bytes());
    json.boolean("external", record.external());
    json.boolean("sync", record.sync());
    json.text("origin", origin(record).as_bytes());
    if entry.salvaged {
        json.null("modseq");
        json.boolean("salvaged", true);
    } else {
        json.number("modseq", record.modseq);
    }
    if kind.is_none() {
        json.number("type_raw", u64::from(record.type_raw));
    }
    emit_data(json, record, kind, entry.names);
    if entry.uid.is_some()
        && let Some(event) = event(entry)
    {
        json.text("event", event.as_bytes());
    }
    let Bracket { not_before, not_after } = entry.bracket;
    for (name, bound, text) in [("not_before", not_before, from), ("not_after", not_after, to)] {
        match bound {
            Some(seconds) => json.text(name, text.get(seconds).as_bytes()),
            None => json.null(name),
        }
    }
    if let Some(evidence) = entry.evidence {
        json.object_begin("evidence");
        emit_stamp(json, "not_before", evidence.not_before);
        emit_stamp(json, "not_after", evidence.not_after);
        if record.kind() == Some(RecordType::ExpungeGuid) {
            json.list_begin("guids");
            for one in record.elements::<ExpungeGuid>() {
                let Some(guid) = entry.clock.guid_of(&one.guid_128) else { continue };
                json.object_begin("");
                json.number("uid", u64::from(one.uid));
                json.text("saved", rfc3339(i64::from(guid.seconds)).as_bytes());
                json.number("nanoseconds", u64::from(guid.nanoseconds));
                json.number("pid", u64::from(guid.pid));
                json.hex("host_hash", &guid.host_hash);
                json.object_end();
            }
            json.list_end();
        }
        json.object_end();
    }
    if let Some(problem) = &entry.problem {
        json.text("error", problem.to_string().as_bytes());
    }
}

fn emit_note<E: Emit>(json: &mut E, note: &Note) {
    json.text("note", note.kind.name().as_bytes());
    json.text("file", note.file.as_os_str().as_bytes());
    json.log_pos(note.pos.seq, note.pos.offset);
    if let Some(at) = note.resumes_at {
        json.number("resumes_at", at);
    }
    json.text("message", note.message.as_bytes());
}

fn emit_stamp<E: Emit>(json: &mut E, name: &str, stamp: Option<Stamp>) {
    let Some(stamp) = stamp else { return json.null(name) };
    json.object_begin(name);
    json.text("clock", stamp.kind.name().as_bytes());
    json.number("log_file_seq", u64::from(stamp.pos.seq));
    match stamp.pos.offset {
        u64::MAX => json.null("offset"),
        offset => json.number("offset", offset),
    }
    json.signed("value", stamp.value);
    json.object_end();
}

/// What a record does to messages, in one word.
fn event(entry: &Entry<'_>) -> Option<&'static str> {
    Some(match entry.record.changes(entry.names.current()).next()?.effect {
        Effect::Append { .. } => "saved",
        Effect::Flags(_) => "flags",
        Effect::Keyword { .. } | Effect::KeywordReset => "keywords",
        Effect::Expunge { done: true, .. } => "expunge_done",
        Effect::Expunge { done: false, .. } => "expunge_requested",
        Effect::Extension { .. } | Effect::Increment { .. } => "extension",
        Effect::Modseq { .. } => "modseq",
    })
}
