//! `idx expunges`: which messages were expunged, when, by whom, and how far back the logs know.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::format::changes::Effect;
use crate::format::index::IndexFile;
use crate::format::record::{Append, Record, RecordType};
use crate::logs::clock::{Bracket, Clock, Guid};
use crate::logs::history::Logs;
use crate::model::chain::oldest_linked;
use crate::model::reach::{Births, Whole, Why, oldest_modseq};
use crate::model::{LogPos, UidSet};
use crate::render::Emit;
use crate::render::document::{Document, Part};
use crate::render::text::rfc3339;
use crate::source::{MailboxFiles, MmapPolicy, PathError, Role};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.expunges/1";
/// UIDs that are listed as expunged though neither the logs nor the index know that they existed: expunges of messages
/// from before the logs, or a damaged range that names every UID there is.
const MOST_OF_A_RANGE: u32 = 1 << 20;
/// Expunges that are kept in memory instead of reading the logs a second time.
const MOST_ROWS: usize = 1 << 16;
/// Lowest number that can be meant as a time: September 2001, before there was a Dovecot.
const TIME_FROM: u64 = 1_000_000_000;

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What a client has not seen that knows this modseq.
    Modseq(u64),
    /// What may have happened at this UNIX time or later.
    Time(i64),
    /// A bare number: a modseq, unless it is above every modseq of the logs and can be a UNIX time.
    Number(u64),
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// From where on; everything when `None`.
    pub since: Option<Since>,
    /// Only these messages.
    pub uid: Option<UidSet>,
}

/// An expunge as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    pos: LogPos,
    guid: [u8; 16],
    sync: bool,
}

/// Requests that have not been executed yet.
#[derive(Debug, Default)]
struct Requests {
    single: HashMap<u32, Request>,
    /// Those of 1.x by ranges, which are not spelled out: a damaged one may name every UID there is.
    ranges: Vec<(u32, u32, Request)>,
}

impl Requests {
    fn take(&mut self, uid: u32) -> Option<Request> {
        let range = self.ranges.iter().rev().find(|(first, last, _)| (*first..=*last).contains(&uid));
        let range = range.map(|(.., request)| *request);
        let single = self.single.remove(&uid);
        match (single, range) {
            (Some(single), Some(range)) => Some(if single.pos > range.pos { single } else { range }),
            (single, range) => single.or(range),
        }
    }

    fn note(&mut self, record: &Record<'_>, seq: u32) {
        let pos = LogPos { seq, offset: record.offset };
        let sync = record.sync();
        for change in record.changes(None) {
            let Effect::Expunge { done: false, guid } = change.effect else { continue };
            let request = Request { pos, guid: guid.unwrap_or_default(), sync };
            if guid.is_some() {
                self.single.insert(change.uid1, request);
            } else {
                self.ranges.push((change.uid1, change.uid2, request));
            }
        }
        // Old ones are of messages long gone.
        if self.ranges.len() > 1 << 16 {
            self.ranges.drain(..1 << 15);
        }
    }
}

/// A message that was expunged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expunge {
    /// Its UID.
    pub uid: u32,
    /// Its GUID, if the storage said one when it was expunged or when that was asked for.
    pub guid: Option<[u8; 16]>,
    /// The modseq of the expunge; 0 in a log that is not tracked, and behind damage.
    pub modseq: u64,
    /// The record.
    pub pos: LogPos,
    /// The record that asked for it, if the logs have it.
    pub requested: Option<LogPos>,
    /// True when dsync made the change.
    pub sync: bool,
}

impl Expunge {
    /// Who did it: `request` (a user of Dovecot asked for it), `external` (the message was gone from the storage), or
    /// `dsync`.
    pub fn origin(&self) -> &'static str {
        match (self.sync, self.requested) {
            (true, _) => "dsync",
            (_, Some(_)) => "request",
            _ => "external",
        }
    }
}

/// What the logs say about expunges.
#[derive(Debug)]
pub struct Expunges {
    logs: Logs,
    clock: Clock,
    since: Option<Since>,
    uid: Option<UidSet>,
    /// Records before this are left out.
    from: LogPos,
    /// UIDs above this were never assigned, as far as the index knows.
    highest_uid: u32,
    /// Messages in the index.
    indexed_uids: u64,
    /// Whether it is proven that nothing that was asked for is missing; else what is lacking.
    pub complete: Result<(), Why>,
    /// The lowest modseq of a client whose answer is exact.
    pub oldest_modseq: Option<u64>,
    /// The UIDs.
    pub vanished: UidSet,
    /// The list itself, as long as it is short; a long one is read a second time instead.
    rows: Option<Vec<(Expunge, Bracket)>>,
}

/// What the index file says by itself.
#[derive(Debug, Default)]
struct Indexed {
    next_uid: u32,
    uids: UidSet,
    /// Up to where it holds the logs.
    position: LogPos,
    highest_modseq: u64,
}

impl Indexed {
    /// Reads it; `None` when there is none that can be used.
    fn read(files: &MailboxFiles) -> Option<Indexed> {
        let snapshot = files.read(&[Role::Index], MmapPolicy::Auto).ok()?;
        let index = IndexFile::parse(&snapshot.get(Role::Index)?.bytes).ok()?;
        let header = &index.header;
        let modseqs = index.extension(b"modseq").filter(|ext| ext.data.len() == 16);
        Some(Indexed {
            next_uid: header.next_uid,
            uids: (0..index.count()).filter_map(|i| index.uid(i)).collect(),
            position: LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_head_offset) },
            highest_modseq: modseqs.and_then(|ext| index.endian.u64_at(ext.data, 0)).unwrap_or(0),
        })
    }
}

impl Expunges {
    /// Reads the logs of a mailbox.
    ///
    /// # Errors
    /// When there are no logs, or they cannot be read.
    pub fn read(path: &Path, options: &Options) -> Result<Expunges, PathError> {
        let files = MailboxFiles::locate(path)?;
        let mut logs = Logs::open(&files)?;
        let clock = Clock::build(&files)?;
        let log_error = |source| PathError::Io { path: files.path(Role::Log), source };
        let indexed = Indexed::read(&files);
        let segments = logs.segments();
        let oldest = oldest_modseq(&segments);
        let mut since = options.since;
        if let Some(Since::Number(number)) = since {
            let mut highest = segments.last().map_or(0, |segment| segment.initial_modseq);
            if number >= TIME_FROM {
                let last = segments.len().saturating_sub(1);
                logs.each(last, |_, _, record| {
                    highest = record.modseq;
                    Ok(true)
                })
                .map_err(log_error)?;
            }
            since = Some(match i64::try_from(number) {
                Ok(time) if number >= TIME_FROM && number <= u64::from(u32::MAX) && number > highest => {
                    Since::Time(time)
                }
                _ => Since::Modseq(number),
            });
        }
        let (located, from) = match since {
            Some(Since::Modseq(modseq) | Since::Number(modseq)) => match logs.locate(modseq)? {
                Ok((_, position)) => (Some(Ok(modseq)), position),
                Err(error) => (Some(Err(Why::TooOld(error))), LogPos::default()),
            },
            _ => (None, LogPos::default()),
        };
        let mut expunges = Expunges {
            logs,
            clock,
            since,
            uid: options.uid.clone(),
            from,
            highest_uid: indexed.as_ref().map_or(0, |index| index.next_uid.saturating_sub(1)),
            indexed_uids: indexed.as_ref().map_or(0, |index| index.uids.count()),
            complete: Ok(()),
            oldest_modseq: oldest,
            vanished: UidSet::new(),
            rows: None,
        };
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut compact_at = MOST_ROWS;
        let mut rows = Some(Vec::new());
        let mut births = Births::default();
        let mut highest = 0;
        expunges
            .scan(
                &mut |record| {
                    births.record(record);
                    highest = highest.max(record.modseq);
                },
                |one, bracket| {
                    match ranges.last_mut() {
                        Some((_, last)) if last.checked_add(1) == Some(one.uid) => *last = one.uid,
                        _ => ranges.push((one.uid, one.uid)),
                    }
                    if ranges.len() >= compact_at {
                        ranges = std::mem::take(&mut ranges).into_iter().collect::<UidSet>().ranges().to_vec();
                        compact_at = MOST_ROWS.max(ranges.len() * 2);
                    }
                    match &mut rows {
                        Some(list) if list.len() < MOST_ROWS => list.push((*one, bracket)),
                        _ => rows = None,
                    }
                    Ok(())
                },
            )
            .map_err(log_error)?;
        let highest = segments.iter().map(|segment| segment.initial_modseq).fold(highest, u64::max);
        let highest = indexed.as_ref().map_or(0, |index| index.highest_modseq).max(highest).max(1);
        let damaged = expunges.logs.damaged.iter().copied().filter(|pos| *pos >= expunges.from).min();
        let ahead = indexed.as_ref().map(|index| index.position).filter(|position| expunges.ends_before(*position));
        expunges.complete = match (located, damaged, ahead) {
            (Some(Err(why)), ..) => Err(why),
            (_, Some(pos), _) => Err(Why::Damaged(pos)),
            (_, _, Some(position)) => Err(Why::IndexElsewhere(position)),
            (Some(Ok(modseq)), ..) if modseq > highest => Err(Why::Future { modseq, highest }),
            (Some(Ok(_)), ..) => Ok(()),
            (None, ..) => expunges.whole(&births, indexed.as_ref()),
        };
        expunges.vanished = ranges.into_iter().collect();
        expunges.rows = rows;
        Ok(expunges)
    }

    /// True when an index that stands there has seen more than the logs hold.
    fn ends_before(&self, position: LogPos) -> bool {
        self.logs.list.last().is_none_or(|log| {
            let end = LogPos { seq: log.segment.seq, offset: log.stream.stat.size };
            position > end && position.seq != 0
        })
    }

    /// Whether every expunge there ever was, or that was asked for by its time, is in the logs.
    fn whole(&self, births: &Births, indexed: Option<&Indexed>) -> Result<(), Why> {
        let segments = self.logs.segments();
        let first = oldest_linked(&segments).ok_or(Why::NoLog)?;
        let log = segments.get(first).ok_or(Why::NoLog)?;
        if let Some(Since::Time(time)) = self.since {
            let created = self.logs.list.get(first).map(|log| log.stream.log.header.create_stamp);
            if created.is_some_and(|stamp| i64::from(stamp) < time) {
                return Ok(());
            }
        }
        // What an index has counts only if the logs tell what happened to it since.
        let stands = |index: &&Indexed| index.position.seq >= log.seq || index.position == log.prev();
        let none = UidSet::new();
        let present = indexed.filter(stands).map_or(&none, |index| &index.uids);
        let next_uid = indexed.map_or(0, |index| index.next_uid);
        let whole = Whole { births, damaged: None, next_uid, present }.judge();
        match whole {
            Err(_) if !log.starts_empty() => Err(Why::Continues { seq: log.seq, prev: log.prev() }),
            _ if first > 0 => Err(Why::Continues { seq: log.seq, prev: log.prev() }),
            whole => whole,
        }
    }

    /// What is wrong with the logs, each with the file it is in.
    pub fn problems(&self) -> &[(PathBuf, String)] {
        &self.logs.problems
    }

    /// Hands on every expunge that was asked for, in the order in which they happened, with the time it happened in.
    ///
    /// # Errors
    /// What `take` returns, or when a log cannot be read.
    pub fn each(&mut self, mut take: impl FnMut(&Expunge, Bracket) -> io::Result<()>) -> io::Result<()> {
        match &self.rows {
            Some(rows) => rows.iter().try_for_each(|(one, bracket)| take(one, *bracket)),
            None => self.scan(&mut |_| (), take),
        }
    }

    /// Hands every record to `see` and every expunge that was asked for to `take`.
    fn scan(
        &mut self,
        see: &mut dyn FnMut(&Record<'_>),
        mut take: impl FnMut(&Expunge, Bracket) -> io::Result<()>,
    ) -> io::Result<()> {
        let (clock, from, uid, since) = (&self.clock, self.from, self.uid.as_ref(), self.since);
        let mut highest_uid = self.highest_uid;
        // A message is expunged once: a log that expunges more than there can have been is not believed without end.
        let mut left = self.indexed_uids.saturating_add(u64::from(MOST_OF_A_RANGE));
        let mut requests = Requests::default();
        let mut huge: Option<(usize, u64)> = None;
        self.logs.each(0, |file, seq, record| {
            see(record);
            if !record.external() {
                requests.note(record, seq);
            }
            if record.kind() == Some(RecordType::Append) {
                highest_uid = record.elements::<Append>().map(|one| one.uid).fold(highest_uid, u32::max);
                left = left.saturating_add(record.elements::<Append>().count() as u64);
            }
            let pos = LogPos { seq, offset: record.offset };
            let mut bracket = None;
            for change in record.changes(None) {
                let Effect::Expunge { done: true, guid } = change.effect else { continue };
                let (first, last) = (change.uid1, change.uid2);
                // A range that runs past every UID ever assigned is damage, and not worth four billion lines.
                let assigned = if highest_uid >= first { highest_uid } else { first.saturating_add(MOST_OF_A_RANGE) };
                if last > assigned && last > first {
                    huge.get_or_insert((file, record.offset));
                }
                let end = last.min(assigned.max(first));
                let asked = match uid {
                    Some(set) => UidSet::range(first, end).intersection(set),
                    None => UidSet::range(first, end),
                };
                for one in asked.iter() {
                    let Some(rest) = left.checked_sub(1) else {
                        huge.get_or_insert((file, record.offset));
                        break;
                    };
                    left = rest;
                    let request = requests.take(one);
                    if pos < from {
                        continue;
                    }
                    let bracket = *bracket.get_or_insert_with(|| clock.bracket(pos));
                    if let Some(Since::Time(time)) = since
                        && bracket.not_after.is_some_and(|latest| latest < time)
                    {
                        continue;
                    }
                    let said = [guid, request.map(|request| request.guid)].into_iter().flatten();
                    let expunge = Expunge {
                        uid: one,
                        guid: said.into_iter().find(|guid| *guid != [0; 16]),
                        modseq: record.modseq,
                        pos,
                        requested: request.map(|request| request.pos),
                        sync: record.sync() || request.is_some_and(|request| request.sync),
                    };
                    take(&expunge, bracket)?;
                }
            }
            Ok(true)
        })?;
        if let Some((file, offset)) = huge
            && let Some(log) = self.logs.list.get(file)
        {
            let problem =
                format!("log offset {offset}: expunge: more UIDs than there ever were; the list is cut there");
            let problem = (log.path.clone(), problem);
            if !self.logs.problems.contains(&problem) {
                self.logs.problems.push(problem);
            }
        }
        Ok(())
    }
}

/// Writes what the logs say about expunges.
///
/// # Errors
/// When a log cannot be read or `out` cannot be written to.
pub fn write<D: Document>(path: &Path, expunges: &mut Expunges, table: bool, out: &mut D) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
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
        let vanished = expunges.vanished.to_string();
        super::load::emit_left_out(emit, expunges.logs.left_out);
        emit.text("vanished", if table && vanished.is_empty() { "-" } else { vanished.as_str() }.as_bytes());
    })?;
    super::load::write_problems(out, expunges.problems())?;
    if table && expunges.vanished.is_empty() {
        return out.end();
    }
    out.list("expunges", |out, part| {
        expunges.each(|one, bracket| {
            part.item(|emit| if table { emit_row(emit, one, bracket) } else { emit_one(emit, one, bracket) });
            out.take_some(part)
        })
    })?;
    out.end()
}

fn emit_one<E: Emit>(emit: &mut E, one: &Expunge, bracket: Bracket) {
    emit.number("uid", u64::from(one.uid));
    match &one.guid {
        Some(guid) => emit.hex("guid", guid),
        None => emit.null("guid"),
    }
    match one.modseq {
        0 => emit.null("modseq"),
        modseq => emit.number("modseq", modseq),
    }
    emit.number("log_file_seq", u64::from(one.pos.seq));
    emit.number("offset", one.pos.offset);
    match one.requested {
        Some(request) => {
            emit.object_begin("requested");
            emit.number("log_file_seq", u64::from(request.seq));
            emit.number("offset", request.offset);
            emit.object_end();
        }
        None => emit.null("requested"),
    }
    emit.boolean("sync", one.sync);
    emit.text("origin", one.origin().as_bytes());
    for (name, time) in [("not_before", bracket.not_before), ("not_after", bracket.not_after)] {
        match time {
            Some(time) => emit.text(name, rfc3339(time).as_bytes()),
            None => emit.null(name),
        }
    }
}

/// A row for people: who did it and when, and what the GUID gives away.
fn emit_row<E: Emit>(emit: &mut E, one: &Expunge, bracket: Bracket) {
    use crate::render::text::local;
    emit.number("uid", u64::from(one.uid));
    match one.modseq {
        0 => emit.null("modseq"),
        modseq => emit.number("modseq", modseq),
    }
    emit.text("done", one.pos.to_string().as_bytes());
    let requested = one.requested.map_or_else(|| "-".to_owned(), |pos| pos.to_string());
    emit.text("requested", requested.as_bytes());
    let who = match one.origin() {
        "request" => "user request",
        other => other,
    };
    emit.text("by", who.as_bytes());
    let time = |time: Option<i64>| time.map_or_else(|| "?".to_owned(), local);
    emit.text("not_before", time(bracket.not_before).as_bytes());
    emit.text("not_after", time(bracket.not_after).as_bytes());
    match &one.guid {
        Some(guid) => emit.hex("guid", guid),
        None => emit.text("guid", b"-"),
    }
    let made = one.guid.as_ref().and_then(|guid| Guid::decode(guid));
    let made =
        made.map_or_else(|| "-".to_owned(), |guid| format!("{} by pid {}", local(i64::from(guid.seconds)), guid.pid));
    emit.text("guid_made", made.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_request_before_the_expunge_counts() {
        let request = |offset| Request { pos: LogPos { seq: 2, offset }, guid: [0; 16], sync: false };
        let mut requests = Requests::default();
        requests.ranges.push((1, 5, request(100)));
        requests.single.insert(3, request(200));
        requests.ranges.push((4, 4, request(300)));
        assert_eq!(requests.take(3).map(|r| r.pos.offset), Some(200));
        assert_eq!(requests.take(4).map(|r| r.pos.offset), Some(300));
        assert_eq!(requests.take(1).map(|r| r.pos.offset), Some(100));
        assert_eq!(requests.take(6).map(|r| r.pos.offset), None);
    }
}
