//! Which messages the logs say were expunged, when, and at whose request, in memory that does not grow with the logs.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;

use super::clock::{Bracket, Clock};
use super::history::Logs;
use crate::format::changes::Effect;
use crate::format::record::Record;
use crate::model::chain::oldest_linked;
use crate::model::reach::{Births, Indexed, Whole, Why, oldest_modseq};
use crate::model::{LogPos, UidSet};
use crate::source::PathError;

/// UIDs that are listed as expunged though neither the logs nor the index know that they existed: expunges of messages
/// from before the logs, or a damaged range that names every UID there is.
const MOST_OF_A_RANGE: u32 = 1 << 20;
/// Expunges that are kept in memory instead of reading the logs a second time.
const MOST_ROWS: usize = 1 << 16;
/// Requests remembered until they are done. Old ones are of messages long gone.
const MOST_REQUESTS: usize = 1 << 16;
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

/// An expunge as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    pos: LogPos,
    guid: [u8; 16],
    sync: bool,
}

/// Requests that have not been executed yet: ranges of UIDs, of which none overlaps another, by their first UID. Those
/// of 1.x are not spelled out: a damaged one may name every UID there is.
#[derive(Debug, Default)]
struct Requests {
    ranges: BTreeMap<u32, (u32, Request)>,
}

impl Requests {
    /// The latest request for a message.
    fn take(&mut self, uid: u32) -> Option<Request> {
        let (first, (last, request)) = self.ranges.range(..=uid).next_back().map(|(first, one)| (*first, *one))?;
        if last < uid {
            return None;
        }
        if first == last {
            self.ranges.remove(&first);
        }
        Some(request)
    }

    fn add(&mut self, first: u32, last: u32, request: Request) {
        if first > last {
            return;
        }
        // What the new one covers of older ones is asked for anew.
        while let Some((from, (to, old))) = self.ranges.range(..=last).next_back().map(|(from, one)| (*from, *one)) {
            if to < first {
                break;
            }
            self.ranges.remove(&from);
            if to > last {
                self.ranges.insert(last.saturating_add(1), (to, old));
            }
            if from < first {
                self.ranges.insert(from, (first.saturating_sub(1), old));
                break;
            }
        }
        self.ranges.insert(first, (last, request));
        if self.ranges.len() > MOST_REQUESTS {
            let mut all: Vec<LogPos> = self.ranges.values().map(|(_, request)| request.pos).collect();
            let half = all.len() / 2;
            let middle = *all.select_nth_unstable(half).1;
            self.ranges.retain(|_, (_, request)| request.pos > middle);
        }
    }

    fn note(&mut self, record: &Record<'_>, seq: u32) {
        let pos = LogPos { seq, offset: record.offset };
        for change in record.changes(None) {
            let Effect::Expunge { done: false, guid } = change.effect else { continue };
            let request = Request { pos, guid: guid.unwrap_or_default(), sync: record.sync() };
            self.add(change.uid1, change.uid2, request);
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

/// Who expunged a message, as far as the records prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A session or a command asked for it: IMAP, POP3, doveadm and autoexpunge leave the same record.
    Asked,
    /// dsync did it.
    Dsync,
    /// The message was gone from the storage, or the logs no longer have the request.
    Storage,
}

impl By {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            By::Asked => "asked",
            By::Dsync => "dsync",
            By::Storage => "storage",
        }
    }
}

impl Expunge {
    /// Who did it.
    pub fn by(&self) -> By {
        match (self.sync, self.requested) {
            (true, _) => By::Dsync,
            (_, Some(_)) => By::Asked,
            _ => By::Storage,
        }
    }
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// From where on; everything when `None`.
    pub since: Option<Since>,
    /// Only these messages.
    pub uid: Option<UidSet>,
}

/// What the logs say about expunges.
#[derive(Debug)]
pub struct Expunges {
    /// The logs.
    pub logs: Logs,
    clock: Clock,
    /// From where on.
    pub since: Option<Since>,
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
    /// Where the list was cut: an expunge of more UIDs than there ever were, with its offset in bytes.
    pub cut: Option<(PathBuf, u64)>,
    /// The list itself, as long as it is short; a long one is read a second time instead.
    rows: Option<Vec<(Expunge, Bracket)>>,
}

impl Expunges {
    /// Reads the logs of a mailbox. `indexed` is what its index says alone.
    ///
    /// # Errors
    /// When the logs cannot be read.
    pub fn read(
        mut logs: Logs,
        clock: Clock,
        indexed: Option<&Indexed>,
        options: &Options,
    ) -> Result<Expunges, PathError> {
        let path = logs.list.last().map(|log| log.path.clone()).unwrap_or_default();
        let log_error = |source| PathError::Io { path: path.clone(), source };
        logs.find_ends()?;
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
            highest_uid: indexed.map_or(0, |index| index.next_uid.saturating_sub(1)),
            indexed_uids: indexed.map_or(0, |index| index.uids.count()),
            complete: Ok(()),
            oldest_modseq: oldest,
            vanished: UidSet::new(),
            cut: None,
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
        let highest = indexed.map_or(0, |index| index.highest_modseq).max(highest).max(1);
        let damaged = expunges.logs.damaged.iter().copied().filter(|pos| *pos >= expunges.from).min();
        let ahead = indexed.map(|index| index.position).filter(|position| expunges.ends_before(*position));
        expunges.complete = match (located, damaged, ahead) {
            (Some(Err(why)), ..) => Err(why),
            (_, Some(pos), _) => Err(Why::Damaged(pos)),
            (_, _, Some(position)) => Err(Why::IndexElsewhere(position)),
            (Some(Ok(modseq)), ..) if modseq > highest => Err(Why::Future { modseq, highest }),
            (Some(Ok(_)), ..) => Ok(()),
            (None, ..) => expunges.whole(&births, indexed),
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

    /// The GUIDs of what is listed, as far as the list is kept in memory.
    pub fn guids(&self) -> HashSet<[u8; 16]> {
        self.rows.iter().flatten().filter_map(|(one, _)| one.guid).collect()
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
            requests.note(record, seq);
            for uid in record.appended() {
                highest_uid = highest_uid.max(uid);
                left = left.saturating_add(1);
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
            self.cut = Some((log.path.clone(), offset));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(offset: u64) -> Request {
        Request { pos: LogPos { seq: 2, offset }, guid: [0; 16], sync: false }
    }

    #[test]
    fn the_latest_request_before_the_expunge_counts() {
        let mut requests = Requests::default();
        requests.add(1, 5, request(100));
        requests.add(3, 3, request(200));
        requests.add(4, 4, request(300));
        assert_eq!(requests.take(3).map(|r| r.pos.offset), Some(200));
        assert_eq!(requests.take(4).map(|r| r.pos.offset), Some(300));
        for uid in [1, 2, 5] {
            assert_eq!(requests.take(uid).map(|r| r.pos.offset), Some(100), "{uid}");
        }
        assert_eq!(requests.take(6).map(|r| r.pos.offset), None);
        requests.add(2, 9, request(400));
        assert_eq!(
            [1, 2, 9, 10].map(|uid| requests.take(uid).map(|r| r.pos.offset)),
            [Some(100), Some(400), Some(400), None]
        );
    }

    /// A request of 1.x may be one range for each message: looking one up must not ask all others.
    #[test]
    fn many_ranges_are_kept_apart_and_few() {
        let mut requests = Requests::default();
        for i in 0..200_000_u32 {
            requests.add(i * 4, i * 4 + 1, request(u64::from(i)));
        }
        assert!(requests.ranges.len() <= MOST_REQUESTS);
        assert_eq!(requests.take(199_999 * 4).map(|r| r.pos.offset), Some(199_999));
        requests.add(0, u32::MAX, request(1 << 40));
        assert_eq!(requests.ranges.len(), 1);
    }
}
