//! What `idx log --stats` counts, and the fast way to count all records of a sound log.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::clock::Clock;
use super::note::Note;
use crate::format::intros::BY_NAME;
use crate::format::record::{
    EXTERNAL, HEADER_SIZE, Record, RecordType, SYNC, TAIL_UPDATE_SIZE, TYPE_MASK, tail_update_word,
};
use crate::format::{Endian, packed};
use crate::source::LogStream;

/// Hours that statistics tell apart.
const MOST_HOURS: usize = 20_000;

/// A number of records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// Records.
    pub count: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl Count {
    fn of(bytes: u32) -> Count {
        Count { count: 1, bytes: u64::from(bytes) }
    }

    fn add(&mut self, more: Count) {
        self.count = self.count.saturating_add(more.count);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    fn plus(mut self, more: Count) -> Count {
        self.add(more);
        self
    }

    /// What has been counted since it was `before`.
    fn since(self, before: Count) -> Count {
        Count { count: self.count.saturating_sub(before.count), bytes: self.bytes.saturating_sub(before.bytes) }
    }
}

/// Kinds that are counted: the types and what is none.
const KINDS: usize = RecordType::ALL.len() + 1;

/// What `--stats` counts.
#[derive(Debug, Default)]
pub struct Stats {
    kinds: [Count; KINDS],
    origins: [Count; 3],
    hours: BTreeMap<i64, Count>,
    hour: (i64, Count),
    time: Option<i64>,
    /// Earliest and latest lower bound of a record, UNIX seconds.
    span: Option<(i64, i64)>,
    /// Upper bound of the last record, UNIX seconds.
    pub until: Option<i64>,
    /// The files and their sizes, in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// What must not be in sound files.
    pub notes: Vec<Note>,
}

impl Stats {
    /// Counts a record that was written at `time` at the earliest, UNIX seconds.
    pub(super) fn add(&mut self, record: &Record<'_>, time: Option<i64>) {
        let count = Count::of(record.size);
        self.count(record.type_raw, count);
        self.spend(time, count);
    }

    /// Counts records of one type word.
    fn count(&mut self, type_raw: u32, count: Count) {
        let kind = RecordType::of(type_raw).map_or(KINDS - 1, |kind| kind as usize);
        if let Some(sum) = self.kinds.get_mut(kind) {
            sum.add(count);
        }
        let origin = if type_raw & SYNC != 0 { 2 } else { usize::from(type_raw & EXTERNAL != 0) };
        if let Some(sum) = self.origins.get_mut(origin) {
            sum.add(count);
        }
    }

    /// Counts records, already counted by type, that were written at `time` at the earliest.
    fn spend(&mut self, time: Option<i64>, count: Count) {
        if count.count == 0 {
            return;
        }
        if time != self.time {
            self.next_time(time);
        }
        if time.is_some() {
            self.hour.1.add(count);
        }
    }

    #[cold]
    fn next_time(&mut self, time: Option<i64>) {
        self.time = time;
        let Some(time) = time else { return };
        self.span.get_or_insert((time, time)).1 = time;
        let hour = time.div_euclid(3600);
        if hour == self.hour.0 {
            return;
        }
        let (last, count) = std::mem::replace(&mut self.hour, (hour, Count::default()));
        if count.count > 0 && (self.hours.len() < MOST_HOURS || self.hours.contains_key(&last)) {
            let sum = self.hours.entry(last).or_default();
            sum.add(count);
        }
    }

    /// Records and bytes of each type that occurs, most bytes first.
    pub fn types(&self) -> Vec<(&'static str, Count)> {
        let names =
            RecordType::ALL.iter().map(|(kind, _, name)| (*kind as usize, *name)).chain([(KINDS - 1, "unknown")]);
        let mut list: Vec<_> = names.filter_map(|(i, name)| Some((name, *self.kinds.get(i)?))).collect();
        list.retain(|(_, count)| count.count > 0);
        list.sort_by_key(|(_, count)| std::cmp::Reverse(count.bytes));
        list
    }

    /// Records and bytes by who made the change.
    pub fn origins(&self) -> [(&'static str, Count); 3] {
        let [request, external, sync] = self.origins;
        [("request", request), ("external", external), ("sync", sync)]
    }

    /// All records.
    pub fn total(&self) -> Count {
        self.origins.iter().fold(Count::default(), |mut sum, one| {
            sum.add(*one);
            sum
        })
    }

    /// Records and bytes by the hour in which they were written at the earliest: its start in UNIX seconds.
    pub fn hours(&self) -> Vec<(i64, Count)> {
        let mut hours = self.hours.clone();
        let (last, count) = self.hour;
        if count.count > 0 {
            let sum = hours.entry(last).or_default();
            sum.add(count);
        }
        hours.into_iter().map(|(hour, count)| (hour * 3600, count)).collect()
    }

    /// Earliest time of the first and latest time of the last record, UNIX seconds.
    pub fn span(&self) -> Option<(i64, i64)> {
        let (from, to) = self.span?;
        Some((from, self.until.unwrap_or(to).max(to)))
    }

    /// Bytes for each hour of the span; `None` for one shorter than an hour, which says nothing of an hour.
    pub fn bytes_per_hour(&self) -> Option<u64> {
        let (from, to) = self.span()?;
        let seconds = u64::try_from(to.saturating_sub(from)).ok().filter(|seconds| *seconds >= 3600)?;
        Some(u64::try_from(u128::from(self.total().bytes) * 3600 / u128::from(seconds)).unwrap_or(u64::MAX))
    }
}

/// Counts the records of a log as far as it is sound; the stream is then where a closer look has to go on.
///
/// # Errors
/// As read(2).
pub(super) fn tally(stream: &mut LogStream, stats: &mut Stats, clock: &mut Clock) -> io::Result<()> {
    clock.log_begin(&stream.log.header);
    let start = stream.pos();
    let mut tally = Tally {
        // Offsets past 4 GiB are damage: the framer says so.
        end: stream.stat.size.min(u64::from(u32::MAX)),
        endian: stream.log.endian,
        pos: start,
        done: Count::default(),
        timed: Count::default(),
        clock,
        stats,
    };
    let used = stream.blocks(|window| tally.block(window))?;
    let rest = tally.done.since(tally.timed);
    stats.spend(clock.running(), rest);
    stream.seek(start.saturating_add(used), 0);
    Ok(())
}

/// One slot for each type, by the number of its bit, and three more; four times, by the two origin bits.
const SLOTS: usize = 128;
/// Slots of the types that are more than one bit, and of what is no type.
const SLOT_EXPUNGE: u32 = 28;
const SLOT_EXPUNGE_GUID: u32 = 29;
const SLOT_UNKNOWN: u32 = 30;
const BOUNDARY: u32 = RecordType::Boundary.raw();
const INTRO: u32 = RecordType::ExtIntro.raw();
const HEADER_UPDATE: u32 = RecordType::HeaderUpdate.raw();
/// Size of an ext-intro record that gives one extension by its number.
const NUMBERED_INTRO: u32 = 28;

fn slot_of(masked: u32) -> u32 {
    if masked.is_power_of_two() {
        return masked.trailing_zeros();
    }
    match RecordType::of(masked) {
        Some(RecordType::Expunge) => SLOT_EXPUNGE,
        Some(RecordType::ExpungeGuid) => SLOT_EXPUNGE_GUID,
        _ => SLOT_UNKNOWN,
    }
}

/// Counts records block by block. Most need no more than a look at their first twelve bytes: the clock is shown only
/// those that may hold one, and what it must know of the others (the transaction, the extension) when it is.
struct Tally<'a> {
    end: u64,
    endian: Endian,
    /// Offset of the next record in the file.
    pos: u64,
    /// What has been counted.
    done: Count,
    /// The part of it that has been given its time.
    timed: Count,
    clock: &'a mut Clock,
    stats: &'a mut Stats,
}

/// Counts a record in its slot.
#[inline]
fn tick(slots: &mut [u64; SLOTS], type_raw: u32, size: u32) {
    if let Some(sum) = slots.get_mut((slot_of(type_raw & TYPE_MASK) | type_raw >> 28 << 5) as usize % SLOTS) {
        *sum = sum.wrapping_add(1 << 32 | u64::from(size));
    }
}

/// Why [`Skim::run`] stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Before a record that the clock must see.
    Watched,
    /// The window ends within the next record.
    Short,
    /// The next record is not plain.
    Rough,
}

/// A window of a log that is being counted.
struct Skim<'w> {
    window: &'w [u8],
    /// The next record and all behind it.
    rest: &'w [u8],
    /// Bytes of the file behind the window.
    beyond: u64,
    /// By slot: records in the high half, bytes in the low one. A window is shorter than 4 GiB.
    slots: [u64; SLOTS],
    /// The last boundary and intro that the clock has not been shown.
    boundary: &'w [u8],
    intro: &'w [u8],
}

impl Skim<'_> {
    /// Counts records up to one that has a bit of `watched` in its type.
    #[inline(never)]
    fn run(&mut self, endian: Endian, watched: u32) -> Stop {
        let (mut rest, mut boundary, mut intro) = (self.rest, self.boundary, self.intro);
        let tail_update = tail_update_word(endian);
        let stop = loop {
            let Some([a, b, c, d, word @ .., e, f, g, h]) = rest.first_chunk::<12>() else { break Stop::Short };
            let size = packed::decode([*a, *b, *c, *d]).unwrap_or(0);
            let type_raw = endian.u32_of(*word);
            let first = endian.u32_of([*e, *f, *g, *h]);
            let masked = type_raw & TYPE_MASK;
            let is_boundary = masked == BOUNDARY;
            let left = self.beyond + rest.len() as u64;
            if size < 12 || is_boundary && u64::from(first) > left {
                break Stop::Rough;
            }
            let Some(next) = rest.get(size as usize..) else {
                break if u64::from(size) > left { Stop::Rough } else { Stop::Short };
            };
            let is_numbered_intro = masked == INTRO && size == NUMBERED_INTRO && first != BY_NAME;
            let is_tail = masked == HEADER_UPDATE && size == TAIL_UPDATE_SIZE && first == tail_update;
            if masked & watched != 0 && !is_tail && !is_numbered_intro {
                break Stop::Watched;
            }
            tick(&mut self.slots, type_raw, size);
            boundary = if is_boundary { rest } else { boundary };
            intro = if is_numbered_intro { rest } else { intro };
            rest = next;
        };
        (self.rest, self.boundary, self.intro) = (rest, boundary, intro);
        stop
    }

    /// Counts the next record, which [`run`](Skim::run) has looked at.
    fn take(&mut self, endian: Endian) {
        let size = self.rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).unwrap_or(0);
        let type_raw = endian.u32_at(self.rest, 4).unwrap_or(0);
        tick(&mut self.slots, type_raw, size);
        self.rest = self.rest.get(size as usize..).unwrap_or_default();
    }

    /// Bytes counted so far.
    fn used(&self) -> usize {
        self.window.len() - self.rest.len()
    }

    /// What has been counted so far.
    fn sum(&self) -> Count {
        Count { count: self.slots.iter().map(|sum| sum >> 32).sum(), bytes: self.used() as u64 }
    }
}

impl Tally<'_> {
    /// Counts the whole records of `window`, which begins at `pos`, and says how many bytes they are; `None` when the
    /// first one is not plain.
    fn block(&mut self, window: &[u8]) -> Option<usize> {
        let beyond = self.end.saturating_sub(self.pos).saturating_sub(window.len() as u64);
        let mut skim = Skim { window, rest: window, beyond, slots: [0; SLOTS], boundary: &[], intro: &[] };
        let before = self.done;
        let mut watched = self.clock.watched();
        let stop = loop {
            match skim.run(self.endian, watched) {
                Stop::Watched => {}
                stop => break stop,
            }
            self.show(window, std::mem::take(&mut skim.boundary));
            self.show(window, std::mem::take(&mut skim.intro));
            let time = self.clock.running();
            self.show(window, skim.rest);
            if self.clock.running() != time {
                self.done = before.plus(skim.sum());
                self.stats.spend(time, self.done.since(self.timed));
                self.timed = self.done;
            }
            watched = self.clock.watched();
            skim.take(self.endian);
        };
        self.show(window, skim.boundary);
        self.show(window, skim.intro);
        let used = skim.used();
        self.done = before.plus(skim.sum());
        self.pos += used as u64;
        for (slot, sum) in (0_u32..).zip(skim.slots) {
            let masked = match slot & 31 {
                SLOT_EXPUNGE => RecordType::Expunge.raw(),
                SLOT_EXPUNGE_GUID => RecordType::ExpungeGuid.raw(),
                SLOT_UNKNOWN.. => 0,
                bit => 1 << bit,
            };
            if sum != 0 {
                self.stats.count(masked | slot >> 5 << 28, Count { count: sum >> 32, bytes: sum & 0xffff_ffff });
            }
        }
        (stop == Stop::Short || used > 0).then_some(used)
    }

    /// Shows the clock the record that `rest`, the end of `window`, begins with, if there is one.
    fn show(&mut self, window: &[u8], rest: &[u8]) {
        let size = rest.first_chunk::<4>().and_then(|raw| packed::decode(*raw)).unwrap_or(0);
        let Some((bytes, payload)) =
            rest.get(..size as usize).and_then(|bytes| Some((bytes, bytes.get(HEADER_SIZE..)?)))
        else {
            return;
        };
        let offset = self.pos + (window.len() - rest.len()) as u64;
        let type_raw = self.endian.u32_at(bytes, 4).unwrap_or(0);
        self.clock.record(&Record { offset, size, type_raw, payload, bytes, endian: self.endian, modseq: 0 });
    }
}
