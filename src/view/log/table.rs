//! A history for people: a row for each record, in words, and a line for each note.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::format::changes::{Effect, FlagChange};
use crate::format::record::{Append, Attribute, RecordType, flag};
use crate::logs::clock::{Bracket, Stamp};
use crate::logs::note::{Note, NoteKind};
use crate::logs::records::emit_data;
use crate::logs::walk::{Entry, Sink, origin};
use crate::model::{LogPos, UidSet};
use crate::render::table::{Cell, Table};
use crate::render::text::{flag_text, local, printable};
use crate::render::units::short_span;
use crate::render::{Compact, Paint, Style};

/// Expunge requests remembered until they are done.
const MOST_REQUESTS: usize = 100_000;
const TITLES: [&str; 7] = ["POSITION", "SIZE", "MODSEQ", "TYPE", "ORIGIN", "WRITTEN", "CONTENT"];
/// What a narrow terminal can do without, the least first.
const RANKS: [u8; 7] = [0, 4, 3, 0, 2, 1, 0];
/// UIDs or ranges shown of one record.
const MOST_RANGES: usize = 12;
/// Bytes shown of a name or of the data of an extension.
const MOST_OF_A_NAME: usize = 512;
/// Phrases said of one record; the others are counted.
const MOST_PHRASES: usize = 1000;
/// Characters of a decoded record that are looked at, of which few are shown.
const MOST_DECODED: usize = 64 << 10;

/// Writes a history as a table.
pub(super) struct LogTable<'w> {
    out: &'w mut dyn Write,
    style: Style,
    table: Table,
    requests: BTreeMap<u32, LogPos>,
    whole: bool,
}

impl<'w> LogTable<'w> {
    /// Begins; `whole` says that no record of the messages is left out.
    pub(super) fn new(style: Style, whole: bool, out: &'w mut dyn Write) -> LogTable<'w> {
        let table = Table::new(TITLES, style).ranked(&RANKS);
        LogTable { out, style, table, requests: BTreeMap::new(), whole }
    }

    /// Writes what is still waiting.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.table.flush(self.out)
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
        self.table.row(row, self.out)?;
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
        self.table.flush(self.out)?;
        writeln!(self.out, "{line}")
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
        let mut more = 0_usize;
        for change in record.changes(entry.names.current()) {
            let uids = inside(change.uid1, change.uid2);
            if uids.is_empty() {
                continue;
            }
            if parts.len() >= MOST_PHRASES {
                more += 1;
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
                        Effect::Keyword { name, add } => format!("{}{}", if add { '+' } else { '-' }, short(name)),
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
                        Some(name) => format!("{} set to {}", short(name), hex(data)),
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
        if more > 0 {
            parts.push(format!("and {more} more"));
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

impl Sink for LogTable<'_> {
    fn record(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.row(entry)
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
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
            NoteKind::Gap | NoteKind::Reset | NoteKind::LeftOut | NoteKind::Recreated => self.style.warning(&line),
            _ => self.style.dim(&line),
        };
        self.line(&line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end()?;
        self.out.flush()
    }
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

/// A name as far as a line has room for it.
fn short(name: &[u8]) -> String {
    match name.get(..MOST_OF_A_NAME) {
        Some(cut) if cut.len() < name.len() => printable(cut) + "…",
        _ => printable(name),
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown = bytes.get(..MOST_OF_A_NAME).unwrap_or(bytes);
    let digits: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    digits + if shown.len() < bytes.len() { "…" } else { "" }
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
                format!("{} {sign}{}", uids_of(entry), short(name))
            }
            None => String::new(),
        },
        Some(RecordType::Boundary) => format!("transaction of {} bytes", record.boundary_size().unwrap_or(0)),
        Some(RecordType::AttributeUpdate) => attributes(entry),
        kind => {
            let mut out = Compact::cut_at(MOST_DECODED);
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
        format!("{whose} {} {what}{at}", short(attribute.key))
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
