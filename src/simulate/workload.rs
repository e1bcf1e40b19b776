//! Where events come from: a trace, made-up traffic, or what a mailbox has been through.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::history::{Event, Expunge, History, LOG_HEADER, LogState, OldLog, Start};
use super::settings::{DAY, HOUR};
use crate::format::record::{Append, ExpungeGuid, RecordType, UidRange};
use crate::logs::clock::Clock;
use crate::model::{Chain, LogPos, Mailbox, UidSet};

/// Events that are kept at most: about a gigabyte.
const MOST_EVENTS: i64 = 10_000_000;

/// A history and where it starts.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What happens.
    pub history: History,
    /// The state it happens to.
    pub start: Start,
    /// The earliest instant at which a client can have been here; `None`: long before the simulation starts.
    pub known_from: Option<i64>,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl Scenario {
    /// Lets the traffic happen to a mailbox that exists instead of a new one.
    pub fn continue_from(&mut self, state: &State) {
        self.history.raise_modseqs(self.start.modseq, state.start.modseq);
        self.history.gaps = state.gaps.clone();
        self.start = state.start;
        // Before the simulation the mailbox was there, and its own logs tell who is covered.
        self.known_from = None;
        self.notes.extend(state.notes.iter().cloned());
    }
}

/// One line of a trace.
#[derive(Clone, Debug, Deserialize)]
struct TraceLine {
    at: f64,
    bytes: u64,
    modseq: u64,
    #[serde(default)]
    expunged: Option<String>,
    sync: bool,
    #[serde(default)]
    need_rotate: bool,
    /// Whether a process opens the mailbox for this event; without it each event has a process of its own.
    #[serde(default = "yes")]
    opens: bool,
}

fn yes() -> bool {
    true
}

/// A trace as it was read.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    events: Vec<Event>,
    expunges: Vec<Expunge>,
}

impl Trace {
    /// Reads a trace: NDJSON, one event a line.
    ///
    /// # Errors
    /// When a line cannot be read, names its line; times and modseqs must not fall.
    pub fn parse(text: &str) -> Result<Trace, String> {
        let mut trace = Trace::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fail = |what: String| format!("line {}: {what}", number + 1);
            let one: TraceLine = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
            if !one.at.is_finite() || one.at.abs() > 1e12 {
                return Err(fail(format!("at {} is no time in UNIX seconds", one.at)));
            }
            let event = Event {
                at: one.at.floor() as i64,
                bytes: one.bytes,
                modseq: one.modseq,
                sync: one.sync,
                need_rotate: one.need_rotate,
                opens: one.opens,
            };
            if let Some(last) = trace.events.last() {
                if event.at < last.at {
                    return Err(fail(format!("at {} is before the event above it, {}", event.at, last.at)));
                }
                if event.modseq < last.modseq {
                    return Err(fail(format!(
                        "modseq {} is below that of the event above it, {}",
                        event.modseq, last.modseq
                    )));
                }
            }
            if let Some(set) = one.expunged.filter(|set| !set.is_empty()) {
                let set: UidSet = set.parse().map_err(|error| fail(format!("expunged: {error}")))?;
                trace.expunges.extend(set.ranges().iter().map(|(a, b)| Expunge { at: event.at, uid1: *a, uid2: *b }));
            }
            trace.events.push(event);
        }
        Ok(trace)
    }

    /// Time of the first event, UNIX seconds.
    pub fn first(&self) -> Option<i64> {
        self.events.first().map(|event| event.at)
    }

    /// Makes the scenario: a mailbox that is created by the first event, or `state` when the trace goes on from there.
    ///
    /// # Errors
    /// When the trace has no events.
    pub fn scenario(self, state: Option<&State>, until: Option<i64>) -> Result<Scenario, String> {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else {
            return Err("the trace has no events".into());
        };
        let (start, known_from) = match state {
            Some(state) => (Start { at: first.at.min(state.start.at), ..state.start }, None),
            None => (Start::fresh(first.at), Some(first.at)),
        };
        let mut notes = Vec::new();
        if first.modseq < start.modseq {
            notes.push(format!("the trace begins with modseq {}, below the log's {}", first.modseq, start.modseq));
        }
        let end = until.unwrap_or(last.at).max(last.at);
        if !self.events.iter().any(|event| event.sync) {
            notes.push("no event of the trace ends a full sync: Dovecot never decides about rotation".into());
        }
        let mut history = History::new(self.events, end);
        history.expunges_since = start.at;
        history.expunges = self.expunges;
        if let Some(state) = state {
            history.gaps = state.gaps.clone();
        }
        Ok(Scenario { history, start, known_from, notes })
    }
}

/// The mail storage format, which decides how many bytes of log a command takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Maildir.
    #[default]
    Maildir,
    /// mbox.
    Mbox,
    /// sdbox.
    Sdbox,
    /// mdbox.
    Mdbox,
}

/// Bytes of log that one IMAP command on one message takes, its sync included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandBytes {
    /// `APPEND` of a message.
    pub append: u64,
    /// `UID STORE +FLAGS` of a system flag.
    pub flags: u64,
    /// `UID EXPUNGE`.
    pub expunge: u64,
    /// `UID EXPUNGE`, for each message behind the expunged one: its offset in the file changes.
    pub expunge_each_following: u64,
}

impl Storage {
    /// Measured in the logs of a real Dovecot 2.3.19.1 by `tests/simulate_live.rs` (`log_bytes_of_commands`): a session with
    /// QRESYNC that has the mailbox selected, 40 commands of each kind; all took the same, but for the first of a kind, which
    /// also introduces extensions. Each raised the modseq by 1. A keyword instead of a flag takes 12 bytes more.
    pub const fn command_bytes(self) -> CommandBytes {
        match self {
            Storage::Maildir => CommandBytes { append: 296, flags: 124, expunge: 160, expunge_each_following: 0 },
            Storage::Mbox => CommandBytes { append: 324, flags: 56, expunge: 212, expunge_each_following: 12 },
            Storage::Sdbox => CommandBytes { append: 104, flags: 36, expunge: 72, expunge_each_following: 0 },
            Storage::Mdbox => CommandBytes { append: 208, flags: 36, expunge: 72, expunge_each_following: 0 },
        }
    }

    /// The word used in options.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::Maildir => "maildir",
            Storage::Mbox => "mbox",
            Storage::Sdbox => "sdbox",
            Storage::Mdbox => "mdbox",
        }
    }
}

/// How traffic is spread over the hours of a week.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Weight of each hour of the week, from Monday 0:00 UTC on.
    weights: Box<[f64; 168]>,
}

impl Pattern {
    /// All hours alike.
    pub fn even() -> Pattern {
        Pattern { weights: Box::new([1.0; 168]) }
    }

    /// A workplace: most between 8 and 18 from Monday to Friday, little at night, some at the weekend.
    pub fn office() -> Pattern {
        let mut weights = [0.0; 168];
        for (hour, weight) in weights.iter_mut().enumerate() {
            let (day, hour) = (hour / 24, hour % 24);
            let work: f64 = match hour {
                0..=5 => 0.1,
                6..=7 => 0.6,
                8..=11 => 3.0,
                12..=13 => 2.0,
                14..=17 => 3.0,
                18..=21 => 0.7,
                _ => 0.3,
            };
            *weight = if day < 5 { work } else { work.min(0.4) };
        }
        Pattern { weights: Box::new(weights) }
    }

    /// Reads 24 weights (hours of a day) or 168 (hours of a week, from Monday on), separated by blanks, commas or lines.
    ///
    /// # Errors
    /// When there are not that many numbers, one is negative, or all are 0.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let words = text.lines().map(|line| line.split_once('#').map_or(line, |(line, _)| line));
        let words = words.flat_map(|line| line.split([' ', ',', ';', '\t'])).filter(|word| !word.trim().is_empty());
        let numbers: Vec<f64> = words
            .map(|word| word.trim().parse::<f64>().map_err(|_| format!("{word:?} is no number")))
            .collect::<Result<_, _>>()?;
        if !matches!(numbers.len(), 24 | 168) {
            return Err(format!("a pattern has 24 or 168 weights, one for each hour; these are {}", numbers.len()));
        }
        if numbers.iter().any(|weight| !weight.is_finite() || *weight < 0.0)
            || numbers.iter().all(|weight| *weight == 0.0)
        {
            return Err("weights are numbers from 0 on, and not all 0".into());
        }
        let mut weights = [0.0; 168];
        for (weight, number) in weights.iter_mut().zip(numbers.iter().cycle()) {
            *weight = *number;
        }
        Ok(Pattern { weights: Box::new(weights) })
    }

    /// The part of a day's traffic that falls into the hour that begins at `at`, so that a week has seven days' worth.
    fn share(&self, at: i64) -> f64 {
        // 1970-01-01 was a Thursday.
        let hour = (at.div_euclid(HOUR) + 3 * 24).rem_euclid(168);
        let total: f64 = self.weights.iter().sum();
        usize::try_from(hour).ok().and_then(|hour| self.weights.get(hour)).map_or(0.0, |weight| weight * 7.0 / total)
    }
}

/// Made-up traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// Storage format.
    pub storage: Storage,
    /// Messages that arrive in a day.
    pub appends: f64,
    /// Flag changes in a day.
    pub flags: f64,
    /// Messages that are expunged in a day.
    pub expunges: f64,
    /// Seconds between full syncs; 0: each command ends with one.
    pub sync_every: i64,
    /// Start of the random numbers.
    pub seed: u64,
    /// Day and week.
    pub pattern: Pattern,
    /// Commands that come at once, a second apart.
    pub burst: u32,
    /// Messages in the mailbox at the start.
    pub messages: u32,
}

/// SplitMix64: the same numbers from the same seed, everywhere.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// How many of rare independent events happen when `mean` are expected.
    fn poisson(&mut self, mean: f64) -> u64 {
        // In parts, because exp(-mean) underflows for a large mean.
        let (mut left, mut count) = (mean, 0);
        while left > 0.0 {
            let part = left.min(30.0);
            let limit = (-part).exp();
            let mut product = self.unit();
            while product > limit {
                product *= self.unit();
                count += 1;
            }
            left -= part;
        }
        count
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Command {
    Append,
    Flags,
    Expunge,
    Sync,
}

impl Synthetic {
    /// What is impossible about it.
    ///
    /// # Errors
    /// When a rate is negative or no number, or nothing would ever happen.
    pub fn check(&self) -> Result<(), String> {
        for (name, rate) in [("appends", self.appends), ("flags", self.flags), ("expunges", self.expunges)] {
            if !rate.is_finite() || !(0.0..=1e8).contains(&rate) {
                return Err(format!("{rate} {name} per day: a rate is a number from 0 to 100 million"));
            }
        }
        if self.appends + self.flags + self.expunges == 0.0 {
            return Err("nothing happens: give --appends-per-day, --flags-per-day or --expunges-per-day".into());
        }
        Ok(())
    }

    /// Makes the traffic from `from` to `to`.
    ///
    /// # Errors
    /// When it cannot be made, or would be too much to keep.
    pub fn scenario(&self, from: i64, to: i64) -> Result<Scenario, String> {
        self.check()?;
        let days = (to - from) as f64 / DAY as f64;
        let total = (self.appends + self.flags + self.expunges) * days;
        if total > MOST_EVENTS as f64 {
            return Err(format!("{total:.0} commands are too many to simulate (at most 10 million)"));
        }
        let bytes = self.storage.command_bytes();
        let mut random = Random(self.seed);
        let mut uids = Uids::new(self.messages);
        let mut start = Start::fresh(from);
        // A mailbox with messages has had an append for each; its log is young all the same.
        start.modseq = 1 + u64::from(self.messages);
        start.log.initial_modseq = start.modseq;
        let mut modseq = start.modseq;
        let mut events = Vec::new();
        let mut expunges = Vec::new();
        let mut short = 0_u64;
        let burst = u64::from(self.burst.max(1));
        let mut hour = from;
        let mut due: Vec<(i64, Command)> = Vec::new();
        let mut next_sync = from.saturating_add(self.sync_every);
        while hour < to {
            let end = (hour.div_euclid(HOUR) + 1).saturating_mul(HOUR).min(to);
            let expected = self.pattern.share(hour) * (end - hour) as f64 / HOUR as f64;
            for (rate, command) in
                [(self.appends, Command::Append), (self.flags, Command::Flags), (self.expunges, Command::Expunge)]
            {
                for _ in 0..random.poisson(rate * expected / burst as f64) {
                    let at = hour + (random.unit() * (end - hour) as f64) as i64;
                    due.extend((0..burst).map(|i| (at.saturating_add(i64::try_from(i).unwrap_or(0)), command)));
                }
            }
            while self.sync_every > 0 && next_sync < end {
                due.push((next_sync, Command::Sync));
                next_sync = next_sync.saturating_add(self.sync_every);
            }
            due.sort_by_key(|(at, _)| *at);
            // What a burst leaves for the next hour stays in the list.
            let now = due.partition_point(|(at, _)| *at < end);
            for (at, command) in due.drain(..now) {
                let appended = match command {
                    Command::Append => {
                        uids.append();
                        bytes.append
                    }
                    Command::Flags => bytes.flags,
                    Command::Expunge => match uids.expunge(&mut random) {
                        Some((uid, following)) => {
                            expunges.push(Expunge { at, uid1: uid, uid2: uid });
                            bytes.expunge + bytes.expunge_each_following * following
                        }
                        None => {
                            short += 1;
                            continue;
                        }
                    },
                    Command::Sync => 0,
                };
                modseq += u64::from(command != Command::Sync);
                let sync = self.sync_every == 0 || command == Command::Sync;
                events.push(Event { at, bytes: appended, modseq, sync, need_rotate: false, opens: true });
            }
            hour = end;
        }
        let mut notes = Vec::new();
        if short > 0 {
            notes.push(format!("{short} expunges found an empty mailbox and were left out"));
        }
        let mut history = History::new(events, to);
        history.expunges = expunges;
        history.expunges_since = from;
        Ok(Scenario { history, start, known_from: Some(from), notes })
    }
}

/// The UIDs of a made-up mailbox. One of the newest thousand messages is expunged at a time, at random.
struct Uids {
    present: Vec<u32>,
    next_uid: u32,
}

impl Uids {
    fn new(messages: u32) -> Uids {
        Uids { present: (1..=messages).collect(), next_uid: messages.saturating_add(1) }
    }

    fn append(&mut self) {
        self.present.push(self.next_uid);
        self.next_uid = self.next_uid.saturating_add(1);
    }

    /// Expunges a message: its UID, and how many messages are behind it.
    fn expunge(&mut self, random: &mut Random) -> Option<(u32, u64)> {
        let len = self.present.len();
        if len == 0 {
            return None;
        }
        let recent = len.min(1000);
        // Near the end, so that little has to be moved.
        let i = len - 1 - random.below(recent);
        Some((self.present.remove(i), (len - 1 - i) as u64))
    }
}

/// A transaction that a log holds, with the time it was probably written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past {
    at: i64,
    bytes: u64,
    modseq_steps: u64,
    appends: u32,
    /// Positions in [`State::past_expunges`].
    expunges: (usize, usize),
}

/// A range of UIDs that a transaction expunged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PastExpunge {
    uid1: u32,
    uid2: u32,
    /// How far the first was below the next UID of that moment.
    offset: u32,
}

/// A mailbox as its files tell.
#[derive(Clone, Debug)]
pub struct State {
    /// Where a simulation of its future starts.
    pub start: Start,
    /// Transactions of its logs.
    past: Vec<Past>,
    /// What was expunged in them.
    past_expunges: Vec<PastExpunge>,
    /// UIDs that did not exist when the logs begin.
    gaps: UidSet,
    /// UIDs that exist.
    present: BTreeSet<u32>,
    next_uid: u32,
    /// When the logs begin, UNIX seconds.
    pub from: i64,
    /// False when the mailbox does not keep modseqs.
    pub tracks_modseqs: bool,
    /// What a user should know.
    pub notes: Vec<String>,
}

impl State {
    /// Reads what the logs of a mailbox say of its past, as of `now`. `None` when there is no log.
    pub fn read(chain: &Chain<'_>, mailbox: &Mailbox, clock: &Clock, now: i64) -> Option<State> {
        let head = chain.head()?;
        let mut notes = Vec::new();
        let mut past = Vec::new();
        let mut past_expunges: Vec<PastExpunge> = Vec::new();
        // UIDs are given out in order, so the first append in a log tells the next UID before it.
        let mut next_uid: u32 = 0;
        for file in &chain.files {
            let seq = file.seq();
            let mut modseq = file.log.header.initial_modseq;
            let mut end_of_transaction = 0;
            for record in file.records() {
                let kind = record.kind();
                if kind == Some(RecordType::Boundary) {
                    end_of_transaction = record.offset.saturating_add(u64::from(record.boundary_size().unwrap_or(0)));
                }
                let begins = kind == Some(RecordType::Boundary) || record.offset >= end_of_transaction;
                if begins {
                    let bracket = clock.bracket(LogPos { seq, offset: record.offset });
                    let low = bracket.not_before.unwrap_or(i64::from(file.log.header.create_stamp));
                    let high = bracket.not_after.unwrap_or(now).min(now);
                    past.push((
                        low.min(now),
                        high.max(low).min(now),
                        Past {
                            at: 0,
                            bytes: 0,
                            modseq_steps: 0,
                            appends: 0,
                            expunges: (past_expunges.len(), past_expunges.len()),
                        },
                    ));
                }
                let Some((_, _, one)) = past.last_mut() else { continue };
                one.bytes += u64::from(record.size);
                // A modseq that is raised by far, as dsync does, is one step of a rhythm.
                one.modseq_steps += u64::from(record.modseq > modseq);
                modseq = record.modseq;
                let note = |(uid1, uid2): (u32, u32)| PastExpunge { uid1, uid2, offset: next_uid.saturating_sub(uid1) };
                match kind {
                    Some(RecordType::Append) => {
                        for append in record.elements::<Append>() {
                            next_uid = next_uid.max(append.uid.saturating_add(1));
                            one.appends = one.appends.saturating_add(1);
                        }
                    }
                    Some(RecordType::Expunge) if record.external() => {
                        let ranges = record.elements::<UidRange>().map(|range| (range.uid1, range.uid2));
                        past_expunges.extend(ranges.filter(|(a, b)| (1..=*b).contains(a)).map(note));
                    }
                    Some(RecordType::ExpungeGuid) if record.external() => {
                        let uids = record.elements::<ExpungeGuid>().map(|one| (one.uid, one.uid));
                        past_expunges.extend(uids.filter(|(uid, _)| *uid != 0).map(note));
                    }
                    _ => continue,
                }
                one.expunges.1 = past_expunges.len();
            }
        }
        spread(&mut past);
        let past: Vec<Past> = past.into_iter().map(|(_, _, one)| one).collect();
        let mut expunged = UidSet::new();
        past_expunges.iter().for_each(|one| expunged.insert_range(one.uid1, one.uid2));
        let present: BTreeSet<u32> = mailbox.positions().map(|i| mailbox.uid(i)).collect();
        let next = mailbox.header.next_uid.max(next_uid).max(1);
        let mut gaps = UidSet::new();
        let mut expected = 1;
        for &uid in present.iter().chain([&next]) {
            if uid > expected {
                gaps.insert_range(expected, uid - 1);
            }
            expected = uid.saturating_add(1);
        }
        let gaps = gaps.difference(&expunged);

        let complete = chain.complete_from() == Some(0);
        let oldest = chain.files.first()?;
        let state_of = |file: &crate::model::ChainFile<'_>, since: Option<i64>| LogState {
            file_seq: file.seq(),
            size: file.end.offset,
            create_stamp: i64::from(file.log.header.create_stamp),
            initial_modseq: file.log.header.initial_modseq,
            since,
            minor: file.log.header.minor_version,
        };
        let stamp = |file: &crate::model::ChainFile<'_>| i64::from(file.log.header.create_stamp);
        let since = (!complete).then(|| stamp(oldest));
        let linked = chain.files.len() > 1;
        let log = state_of(head, if linked { Some(stamp(head)) } else { since });
        let old = linked.then(|| {
            let stored = mailbox.header.log2_rotate_time;
            // The time of the rotation is in the index; where it is not, the new log's first second is the same.
            let aging_from = if matches!(stored, 0 | u32::MAX) { stamp(head) } else { i64::from(stored) };
            OldLog { log: state_of(oldest, since), aging_from }
        });
        if log.create_stamp > now {
            notes.push(format!(
                "the log was created at {}, which is later than now: it cannot be rotated for its age before {} seconds have \
                 passed and mail_index_log_rotate_min_age on top",
                log.create_stamp,
                log.create_stamp - now
            ));
        }
        let index_tail = match mailbox.header.log_file_seq == head.seq() {
            true => u64::from(mailbox.header.log_file_tail_offset),
            false => LOG_HEADER,
        };
        let start = Start { at: now, log, old, index_tail, modseq: head.end_modseq.max(1) };
        let from = past.first().map_or(now, |one| one.at).min(stamp(oldest)).min(now);
        let tracks_modseqs = head.end_modseq != 0;
        Some(State { start, past, past_expunges, gaps, present, next_uid: next, from, tracks_modseqs, notes })
    }

    /// Bytes that its logs grow in a day, and transactions; `None` when they tell nothing.
    pub fn rate(&self) -> Option<(f64, f64)> {
        let (past, span) = self.sample()?;
        let bytes: u64 = past.iter().map(|one| one.bytes).sum();
        let days = span as f64 / DAY as f64;
        Some((bytes as f64 / days, past.len() as f64 / days))
    }

    /// True when the logs tell of less than a day: what is foretold from them is a guess.
    pub fn is_brief(&self) -> bool {
        self.sample().is_some_and(|(_, span)| span < DAY)
    }

    /// The part of the past that is repeated: whole days if there is a week of them, so that the hours keep their place;
    /// else all of it, because little would be left.
    fn sample(&self) -> Option<(&[Past], i64)> {
        let span = self.start.at - self.from;
        let (days, rest) = (span.div_euclid(DAY), span.rem_euclid(DAY));
        let span = match days {
            ..7 => span,
            // A day that is all but complete counts, rather than to lose it.
            _ if rest > DAY / 10 * 9 => (days + 1) * DAY,
            _ => days * DAY,
        };
        let from = self.start.at - span;
        let first = self.past.partition_point(|one| one.at < from);
        let (past, span) = match self.past.get(first..).filter(|past| !past.is_empty()) {
            Some(past) => (past, span),
            // All there is happened in the part of a day that would be cut off.
            None => (self.past.as_slice(), self.start.at - self.from),
        };
        (span > 0 && !past.is_empty()).then_some((past, span))
    }

    /// What a transaction of the past expunged.
    fn expunged_by(&self, one: &Past) -> impl Iterator<Item = Expunge> + '_ {
        let (at, (first, last)) = (one.at, one.expunges);
        let list = self.past_expunges.get(first..last).unwrap_or_default();
        list.iter().map(move |past| Expunge { at, uid1: past.uid1, uid2: past.uid2 })
    }

    /// Its own past, repeated until `to`.
    ///
    /// # Errors
    /// When the logs tell nothing that could be repeated.
    pub fn replay(&self, to: i64) -> Result<Scenario, String> {
        let Some((past, span)) = self.sample() else {
            return Err(
                "the logs hold no records, so there is no rhythm to repeat; give rates with --synthetic instead".into(),
            );
        };
        let mut notes = self.notes.clone();
        if span < DAY {
            notes.push(format!(
                "the logs tell of {} only: what is foretold from them is no more than a guess",
                super::units::span(span)
            ));
        }
        let rounds = (to - self.start.at) / span + 1;
        let count = i64::try_from(past.len()).unwrap_or(i64::MAX).saturating_mul(rounds);
        if count > MOST_EVENTS {
            return Err(format!("{count} transactions are too many to simulate (at most 10 million)"));
        }
        let mut present = self.present.clone();
        let (mut next_uid, mut modseq) = (self.next_uid, self.start.modseq);
        let mut events = Vec::new();
        let mut expunges: Vec<Expunge> = self.past.iter().flat_map(|one| self.expunged_by(one)).collect();
        'rounds: for round in 1..=rounds {
            for one in past {
                let at = one.at + span * round;
                if at > to {
                    break 'rounds;
                }
                modseq += one.modseq_steps;
                for _ in 0..one.appends {
                    present.insert(next_uid);
                    next_uid = next_uid.saturating_add(1);
                }
                let (first, last) = one.expunges;
                for past in self.past_expunges.get(first..last).unwrap_or_default() {
                    for i in 0..=past.uid2 - past.uid1 {
                        // The message at the same distance from the newest, or one near it.
                        let wanted = next_uid.saturating_sub(past.offset).saturating_add(i);
                        let near = present.range(wanted..).next().or_else(|| present.range(..wanted).next_back());
                        let Some(uid) = near.copied() else { break };
                        present.remove(&uid);
                        expunges.push(Expunge { at, uid1: uid, uid2: uid });
                    }
                }
                events.push(Event { at, bytes: one.bytes, modseq, sync: true, need_rotate: false, opens: true });
            }
        }
        let mut history = History::new(events, to);
        history.expunges = expunges;
        history.expunges_since = self.from;
        history.gaps = self.gaps.clone();
        Ok(Scenario { history, start: self.start, known_from: None, notes })
    }
}

/// Gives each transaction a time within its bracket: those that no clock tells apart are spread evenly.
fn spread(past: &mut [(i64, i64, Past)]) {
    let mut first = 0;
    let mut last_at = i64::MIN;
    while let Some(&(low, ..)) = past.get(first) {
        let len = past.get(first..).unwrap_or_default().iter().take_while(|(other, ..)| *other == low).count();
        let next_low = past.get(first + len).map_or(i64::MAX, |(low, ..)| *low);
        for i in 0..len {
            let Some((_, high, one)) = past.get_mut(first + i) else { return };
            let high = (*high).min(next_low).max(low);
            let (i, len) = (i128::try_from(i).unwrap_or(0), i128::try_from(len).unwrap_or(1));
            let step = i128::from(high - low) * (2 * i + 1) / (2 * len);
            one.at = low.saturating_add(i64::try_from(step).unwrap_or(0)).max(last_at);
            last_at = one.at;
        }
        first += len;
    }
}
