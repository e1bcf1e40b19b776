//! A history in every format: JSON, lines of JSON, and a table that tells people what each record does.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::check::Finding;
use crate::format::changes::{Effect, FlagChange};
use crate::format::ext::Visit;
use crate::format::record::{Append, Attribute, ExpungeGuid, RecordType, flag};
use crate::logs::clock::{Bracket, Stamp};
use crate::logs::note::{Note, NoteKind};
use crate::logs::records::emit_data;
use crate::logs::stats::{Count, Stats};
use crate::logs::walk::{Entry, Sink, origin};
use crate::model::{LogPos, UidSet};
use crate::ops::check::emit as emit_finding;
use crate::render::table::{Cell, Table};
use crate::render::text::{flag_text, local, printable, rfc3339, shown};
use crate::render::units::short_span;
use crate::render::{Compact, Emit, Format, Json, Paint, PathText, Style, line};

/// The JSON schema of every document and line.
pub const SCHEMA: &str = "idx.log/1";
/// Bytes collected before they are written.
const FLUSH: usize = 64 << 10;
/// Notes kept for the end of a JSON document.
const MOST_NOTES: usize = 1000;
/// Expunge requests remembered until they are done.
const MOST_REQUESTS: usize = 100_000;
const TITLES: [&str; 7] = ["POSITION", "SIZE", "MODSEQ", "TYPE", "ORIGIN", "WRITTEN", "CONTENT"];
/// What a narrow terminal can do without, the least first.
const RANKS: [u8; 7] = [0, 4, 3, 0, 2, 1, 0];
/// UIDs or ranges shown of one record in a table.
const MOST_RANGES: usize = 12;

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

/// Writes a history.
pub struct LogWriter<'w> {
    out: &'w mut dyn Write,
    format: Format,
    style: Style,
    json: Json<'static>,
    table: Table,
    text: Vec<u8>,
    from: Rfc3339,
    to: Rfc3339,
    notes: Vec<Note>,
    requests: BTreeMap<u32, LogPos>,
    path: Vec<u8>,
    /// No record of the messages is left out, so that what is missing is missing in the logs.
    pub whole: bool,
}

impl<'w> LogWriter<'w> {
    /// Begins the history of the mailbox at `path`.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn begin(path: &Path, format: Format, style: Style, out: &'w mut dyn Write) -> io::Result<LogWriter<'w>> {
        let mut json = Json::new();
        if format == Format::Json {
            json.object_begin("");
            json.text("schema", SCHEMA.as_bytes());
            json.text("path", path.as_os_str().as_bytes());
            json.list_begin("records");
        }
        let writer = LogWriter {
            out,
            format,
            style,
            json,
            table: Table::new(TITLES, style).ranked(&RANKS),
            text: Vec::new(),
            from: Rfc3339::default(),
            to: Rfc3339::default(),
            notes: Vec::new(),
            requests: BTreeMap::new(),
            path: path.as_os_str().as_bytes().to_vec(),
            whole: false,
        };
        Ok(writer)
    }

    /// Ends the history with what is wrong with the files. `error` says why it is not whole.
    ///
    /// # Errors
    /// When the output cannot be written to.
    pub fn end(mut self, problems: &[Finding], error: Option<&str>) -> io::Result<()> {
        let path = PathBuf::from(OsStr::from_bytes(&self.path));
        match self.format {
            Format::Json => {
                self.json.list_end();
                self.json.list_begin("notes");
                for note in &self.notes {
                    self.json.object_begin("");
                    emit_note(&mut self.json, note);
                    self.json.object_end();
                }
                self.json.list_end();
                self.json.list_begin("problems");
                for finding in problems {
                    self.json.object_begin("");
                    emit_finding(&path, finding, &mut self.json);
                    self.json.object_end();
                }
                self.json.list_end();
                if let Some(error) = error {
                    self.json.text("error", error.as_bytes());
                }
                self.json.object_end();
                self.json.end_line();
            }
            Format::Ndjson => {
                for finding in problems {
                    self.json.start();
                    self.json.object_begin("");
                    self.json.text("schema", SCHEMA.as_bytes());
                    self.json.text("path", &self.path);
                    self.json.object_begin("problem");
                    emit_finding(&path, finding, &mut self.json);
                    self.json.object_end();
                    self.json.object_end();
                    self.json.end_line();
                }
            }
            Format::Table => {}
        }
        self.table.flush(&mut self.text)?;
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.out.write_all(&self.json.buf)?;
        self.json.buf.clear();
        self.out.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    fn emit(&mut self, entry: &Entry<'_>) {
        let (json, record) = (&mut self.json, entry.record);
        json.number("log_file_seq", u64::from(entry.pos.seq));
        json.number("offset", entry.pos.offset);
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
        for (name, bound, text) in [("not_before", not_before, &mut self.from), ("not_after", not_after, &mut self.to)]
        {
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

    fn row(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let record = entry.record;
        let mut content = match entry.uid {
            Some(set) => self.life(entry, set),
            None => content(entry),
        };
        if let Some(problem) = &entry.problem {
            let problem = printable(problem.to_string().as_bytes());
            let _ = write!(content, "  {}", self.style.cell(Paint::Error, &problem));
        }
        let row = vec![
            Cell::number(entry.pos),
            Cell::number(record.size),
            if entry.salvaged { Cell { text: "?".into(), ..Cell::nothing() } } else { Cell::number(record.modseq) },
            Cell::text(record.kind().map_or("unknown", RecordType::name)),
            Cell::text(origin(record)),
            Cell::text(written(entry.bracket)),
            Cell::long(content),
        ];
        self.table.row(row, &mut self.text)?;
        if let Some(evidence) = entry.evidence {
            let say = |stamp: Option<Stamp>| match stamp {
                None => "unknown".to_owned(),
                Some(stamp) if stamp.pos.offset == u64::MAX => format!("{} {}", stamp.kind.name(), local(stamp.value)),
                Some(stamp) => format!("{} {} at {}", stamp.kind.name(), local(stamp.value), stamp.pos),
            };
            let line =
                format!("{:>12} not before: {}; not after: {}", "", say(evidence.not_before), say(evidence.not_after));
            self.line(&self.style.dim(&line))?;
        }
        Ok(())
    }

    /// A line between the rows.
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.table.flush(&mut self.text)?;
        writeln!(self.text, "{line}")
    }

    /// What a record means for the messages whose life is told.
    fn life(&mut self, entry: &Entry<'_>, set: &UidSet) -> String {
        let record = entry.record;
        let by = match origin(record) {
            "request" => "requested",
            "sync" => "by dsync",
            _ => "by the server or found in the storage",
        };
        let one = set.count() == 1;
        let whose = |uids: &UidSet| if one { String::new() } else { format!("{}: ", uid_words(uids)) };
        let inside = |first: u32, last: u32| UidSet::range(first, last).intersection(set);
        let mut parts: Vec<String> = Vec::new();
        // The messages that one keyword change is about, in one phrase.
        let mut keyworded = UidSet::new();
        let mut keyword = String::new();
        for change in record.changes(entry.names.current()) {
            let uids = inside(change.uid1, change.uid2);
            if uids.is_empty() {
                continue;
            }
            let what = match change.effect {
                Effect::Append { flags } => {
                    let how = if record.sync() { "saved by dsync" } else { "saved" };
                    if flags == 0 { how.to_owned() } else { format!("{how} with {}", flag_text(flags)) }
                }
                Effect::Flags(flags) => format!("{}, {by}", flag_change(&flags)),
                Effect::Keyword { .. } | Effect::KeywordReset => {
                    keyworded.insert_range(change.uid1, change.uid2);
                    keyword = match change.effect {
                        Effect::Keyword { name, add } => format!("{}{}", if add { '+' } else { '-' }, printable(name)),
                        _ => "all keywords removed".to_owned(),
                    };
                    continue;
                }
                Effect::Expunge { guid, .. } => {
                    for uid in uids.iter().take(MOST_RANGES) {
                        let mut text = whose(&inside(uid, uid)) + &self.expunge(entry, uid);
                        if let Some(guid) = guid.and_then(|guid| entry.clock.guid_of(&guid)) {
                            let made = local(i64::from(guid.seconds));
                            let _ = write!(text, "; its GUID was made {made} by process {}", guid.pid);
                        }
                        parts.push(text);
                    }
                    continue;
                }
                Effect::Extension { data } => {
                    let word = |at| record.endian.u32_at(data, at).unwrap_or(0);
                    match entry.names.current_name() {
                        Some(b"cache") if word(0) == 0 => "cached data dropped".to_owned(),
                        Some(b"cache") => format!("cached (record at {})", word(0)),
                        Some(b"mdbox") => {
                            format!("stored as map_uid {}, save_date {}", word(0), local(i64::from(word(4))))
                        }
                        Some(name) => format!("{} set to {}", printable(name), hex(data)),
                        None => format!("an extension set to {}", hex(data)),
                    }
                }
                Effect::Increment { diff } => {
                    let name = entry.names.current_name().map(printable);
                    format!("{} changed by {diff:+}", name.as_deref().unwrap_or("an extension"))
                }
                Effect::Modseq { modseq } => format!("modseq raised to {modseq}"),
            };
            parts.push(whose(&uids) + &what);
        }
        if !keyworded.is_empty() {
            parts.push(format!("{}{keyword}, {by}", whose(&keyworded.intersection(set))));
        }
        if parts.is_empty() {
            parts.push(content(entry));
        }
        parts.join("; ")
    }

    fn expunge(&mut self, entry: &Entry<'_>, uid: u32) -> String {
        let sync = if entry.record.sync() { " by dsync" } else { "" };
        if !entry.record.external() {
            if self.requests.len() < MOST_REQUESTS {
                self.requests.insert(uid, entry.pos);
            }
            return format!("expunge requested{sync}");
        }
        match self.requests.get(&uid) {
            Some(pos) => format!("expunge done{sync}, as requested at {pos}"),
            None if self.whole => {
                format!(
                    "expunge done{sync}; no request in these logs: the storage had lost it, or it was requested earlier"
                )
            }
            None => format!("expunge done{sync}"),
        }
    }
}

impl Sink for LogWriter<'_> {
    fn record(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match self.format {
            Format::Table => self.row(entry)?,
            Format::Json => {
                self.json.object_begin("");
                self.emit(entry);
                self.json.object_end();
            }
            Format::Ndjson => {
                self.json.start();
                self.json.object_begin("");
                self.json.text("schema", SCHEMA.as_bytes());
                self.json.text("path", &self.path);
                self.emit(entry);
                self.json.object_end();
                self.json.end_line();
            }
        }
        if self.json.buf.len().max(self.text.len()) >= FLUSH { self.write() } else { Ok(()) }
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let mut line = format!(
                    "{:>12} -- {}",
                    if note.pos.seq == 0 { String::new() } else { note.pos.to_string() },
                    printable(note.message.as_bytes())
                );
                if let Some(at) = note.resumes_at {
                    let _ = write!(line, "; records can be read again from {at} on");
                }
                let line = match note.kind {
                    NoteKind::Damage | NoteKind::TornTail => self.style.error(&line),
                    NoteKind::Gap | NoteKind::Reset | NoteKind::LeftOut | NoteKind::Recreated => {
                        self.style.warning(&line)
                    }
                    _ => self.style.dim(&line),
                };
                self.line(&line)?;
            }
            Format::Json => {
                if self.notes.len() < MOST_NOTES {
                    self.notes.push(note.clone());
                }
            }
            Format::Ndjson => {
                self.json.start();
                self.json.object_begin("");
                self.json.text("schema", SCHEMA.as_bytes());
                emit_note(&mut self.json, note);
                self.json.object_end();
                self.json.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.table.flush(&mut self.text)?;
        self.write()?;
        self.out.flush()
    }
}

fn emit_note(json: &mut Json<'_>, note: &Note) {
    json.text("note", note.kind.name().as_bytes());
    json.text("file", note.file.as_os_str().as_bytes());
    json.number("log_file_seq", u64::from(note.pos.seq));
    json.number("offset", note.pos.offset);
    if let Some(at) = note.resumes_at {
        json.number("resumes_at", at);
    }
    json.text("message", note.message.as_bytes());
}

fn emit_stamp(json: &mut Json<'_>, name: &str, stamp: Option<Stamp>) {
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

/// A bracket in few words: its begin, and how long it is.
fn written(bracket: Bracket) -> String {
    match (bracket.not_before, bracket.not_after) {
        (Some(from), Some(to)) if from == to => local(from),
        (Some(from), Some(to)) => format!("{} +{}", local(from), short_span(to.saturating_sub(from))),
        (Some(from), None) => format!("{} or later", local(from)),
        (None, Some(to)) => format!("{} or before", local(to)),
        (None, None) => "?".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uid_words(uids: &UidSet) -> String {
    let ranges = uids.ranges();
    let mut list: Vec<String> = ranges
        .iter()
        .take(MOST_RANGES)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}:{last}") })
        .collect();
    if ranges.len() > MOST_RANGES {
        list.push(format!("… ({} UIDs)", uids.count()));
    }
    format!("UID {}", list.join(","))
}

fn flag_change(change: &FlagChange) -> String {
    let side = |sign: char, flags: u8| {
        let bits = flags & !flag::IMAP;
        let bits = (bits != 0).then(|| format!("{sign}0x{bits:02x}"));
        flag::names(flags).map(move |name| format!("{sign}{name}")).chain(bits)
    };
    let words: Vec<String> = side('+', change.add).chain(side('-', change.remove)).collect();
    if words.is_empty() { "no change of flags".into() } else { words.join(" ") }
}

/// The messages that a record touches. A huge record must not cost more than the line that is shown of it.
fn uids_of(entry: &Entry<'_>) -> String {
    let mut changes = entry.record.changes(entry.names.current());
    let mut set = UidSet::new();
    changes.by_ref().take(10_000).for_each(|change| set.insert_range(change.uid1, change.uid2));
    uid_words(&set) + if changes.next().is_some() { " and more" } else { "" }
}

/// What a record does, in one line.
fn content(entry: &Entry<'_>) -> String {
    let record = entry.record;
    match record.kind() {
        Some(RecordType::Append) => {
            let mut flags: Vec<u8> = record.elements::<Append>().take(2).map(|append| append.flags).collect();
            flags.dedup();
            let with = match flags.as_slice() {
                [0] | [] => String::new(),
                [flags] if record.elements::<Append>().nth(1).is_none() => format!(" {}", flag_text(*flags)),
                _ => " with flags".into(),
            };
            uids_of(entry) + &with
        }
        Some(RecordType::Expunge | RecordType::ExpungeGuid | RecordType::KeywordReset) => uids_of(entry),
        Some(RecordType::FlagUpdate) => {
            let mut changes = record.changes(None);
            let first = changes.by_ref().take(4).filter_map(|change| match change.effect {
                Effect::Flags(flags) => {
                    let uids = uid_words(&UidSet::range(change.uid1, change.uid2));
                    Some(format!("{uids} {}", flag_change(&flags)))
                }
                _ => None,
            });
            let first: Vec<String> = first.collect();
            first.join(", ") + if changes.next().is_some() { ", …" } else { "" }
        }
        Some(RecordType::KeywordUpdate) => match record.keyword_update() {
            Some((fixed, name, _)) => {
                let sign = if fixed.modify_type == 0 { '+' } else { '-' };
                format!("{} {sign}{}", uids_of(entry), printable(name))
            }
            None => String::new(),
        },
        Some(RecordType::Boundary) => format!("transaction of {} bytes", record.boundary_size().unwrap_or(0)),
        Some(RecordType::AttributeUpdate) => attributes(entry),
        kind => {
            let mut out = Compact::default();
            emit_data(&mut out, record, kind, entry.names);
            let line = out.line.strip_prefix("data=").unwrap_or(&out.line).to_owned();
            let bare = line.strip_prefix(['[', '{']).and_then(|line| line.strip_suffix([']', '}'])).map(str::to_owned);
            let named = match kind {
                Some(
                    RecordType::ExtRec
                    | RecordType::ExtHdr
                    | RecordType::ExtHdr32
                    | RecordType::ExtReset
                    | RecordType::ExtAtomicInc,
                ) => entry.names.current_name().map(|name| format!("{}: ", printable(name))),
                _ => None,
            };
            let mut text = named.unwrap_or_default() + &without_bytes(&bare.unwrap_or(line));
            if text.len() > 400 {
                let cut = (0..=397).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(cut);
                text.push('…');
            }
            text
        }
    }
}

/// The attributes that a record sets or removes. Their keys are whatever a client has called them.
fn attributes(entry: &Entry<'_>) -> String {
    let mut list = entry.record.attributes();
    let one = |attribute: Attribute<'_>| {
        let (what, whose) =
            (if attribute.set { "set" } else { "removed" }, if attribute.private { "private" } else { "shared" });
        let at = attribute.timestamp.map(|time| format!(" at {}", local(i64::from(time)))).unwrap_or_default();
        format!("{whose} {} {what}{at}", printable(attribute.key))
    };
    let shown: Vec<String> = list.by_ref().take(MOST_RANGES).map(one).collect();
    shown.join(", ") + if list.next().is_some() { ", …" } else { "" }
}

/// Leaves out the bytes of elements that are decoded right behind them.
fn without_bytes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, element) in text.split("} {").enumerate() {
        if i > 0 {
            out.push_str("} {");
        }
        match element.split_once(" fields={") {
            Some((before, fields)) if !fields.starts_with('}') => {
                let uid = before.split(' ').find(|word| word.trim_start_matches('{').starts_with("uid="));
                out.push_str(if before.starts_with('{') && uid.is_none() { "{" } else { "" });
                out.push_str(uid.map(|uid| format!("{uid} ")).unwrap_or_default().as_str());
                let inner = fields.find('}').map_or(fields.to_owned(), |at| {
                    let (head, tail) = fields.split_at(at);
                    format!("{head}{}", tail.get(1..).unwrap_or_default())
                });
                out.push_str(&inner);
            }
            _ => out.push_str(element),
        }
    }
    out
}

/// A finding as a value.
fn json_of(path: &Path, finding: &Finding) -> serde_json::Value {
    let mut json = Json::new();
    json.object_begin("");
    emit_finding(path, finding, &mut json);
    json.object_end();
    serde_json::from_slice(&json.buf).unwrap_or_default()
}

/// Prints statistics.
///
/// # Errors
/// When `out` cannot be written to.
pub fn stats(
    path: &Path,
    stats: &Stats,
    problems: &[Finding],
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let total = stats.total();
    let share = |count: Count| if total.bytes == 0 { 0.0 } else { count.bytes as f64 / total.bytes as f64 };
    let span_of = stats.span();
    if format != Format::Table {
        let counts = |list: &[(&str, Count)]| -> serde_json::Value {
            list.iter()
                .map(|(name, count)| {
                    let share = (share(*count) * 10_000.0).round() / 10_000.0;
                    (
                        (*name).to_owned(),
                        serde_json::json!({"count": count.count, "bytes": count.bytes, "share": share}),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let file = |path: &Path| serde_json::to_value(PathText(path)).unwrap_or_default();
        let files = stats.files.iter().map(|(path, size)| serde_json::json!({"path": file(path), "size": size}));
        let hours = stats.hours();
        let hours = hours.iter().map(
            |(hour, count)| serde_json::json!({"from": rfc3339(*hour), "count": count.count, "bytes": count.bytes}),
        );
        let document = serde_json::json!({
            "path": file(path),
            "files": files.collect::<Vec<_>>(),
            "count": total.count,
            "bytes": total.bytes,
            "types": counts(&stats.types()),
            "origins": counts(&stats.origins()),
            "from": span_of.map(|(from, _)| rfc3339(from)),
            "to": span_of.map(|(_, to)| rfc3339(to)),
            "bytes_per_hour": stats.bytes_per_hour(),
            "hours": hours.collect::<Vec<_>>(),
            "problems": problems.iter().map(|finding| json_of(path, finding)).collect::<Vec<_>>(),
        });
        return line(out, SCHEMA, &document);
    }
    for (path, size) in &stats.files {
        writeln!(out, "{}  {size} bytes", style.heading(&shown(path)))?;
    }
    let numbers = |count: Count| vec![Cell::number(count.count), Cell::number(count.bytes)];
    for (what, list) in [("TYPE", stats.types()), ("ORIGIN", stats.origins().to_vec()), ("ALL", vec![("", total)])] {
        let mut table = Table::new([what, "COUNT", "BYTES", "SHARE"], style);
        for (name, count) in list {
            let mut row = numbers(count);
            row.insert(0, Cell::text(if name.is_empty() { "records" } else { name }));
            row.push(Cell::number(format!("{:.1}%", share(count) * 100.0)));
            table.row(row, out)?;
        }
        table.flush(out)?;
    }
    if let Some((from, to)) = span_of {
        let rate = stats.bytes_per_hour().map_or_else(String::new, |rate| format!(": {rate} bytes per hour"));
        writeln!(out, "{} to {}{rate}", local(from), local(to))?;
        let hours = stats.hours();
        if hours.len() > 1 {
            let mut table = Table::new(["HOUR", "COUNT", "BYTES"], style);
            for (hour, count) in hours.iter().rev().take(48).rev() {
                let time = local(*hour);
                let mut row = numbers(*count);
                row.insert(0, Cell::text(time.get(..16).unwrap_or(&time)));
                table.row(row, out)?;
            }
            table.flush(out)?;
        }
    }
    Ok(())
}
