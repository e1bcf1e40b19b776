//! Made-up traffic: rates, their spread over the week, and the bytes of log that each storage format takes.

use super::history::{Event, EventExpunge, PastEvents, StartState};
use super::settings::{DAY, HOUR};
use super::workload::{MOST_EVENTS, Scenario};

/// The mail storage format, which decides how many bytes of log a command takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
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
    /// Measured in the logs of a real Dovecot 2.3.19.1 by `tests/simulate_live.rs` (`log_bytes_of_commands`): a session
    /// with QRESYNC that has the mailbox selected, 40 commands of each kind; all took the same, but for the first of a
    /// kind, which also introduces extensions. Each raised the modseq by 1. A keyword instead of a flag takes 12 bytes
    /// more.
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

    /// Reads 24 weights (hours of a day) or 168 (hours of a week, from Monday on), separated by blanks, commas or
    /// lines.
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
    EventExpunge,
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
        let mut start = StartState::fresh(from);
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
                [(self.appends, Command::Append), (self.flags, Command::Flags), (self.expunges, Command::EventExpunge)]
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
                    Command::EventExpunge => match uids.expunge(&mut random) {
                        Some((uid, following)) => {
                            expunges.push(EventExpunge { at, uid1: uid, uid2: uid });
                            bytes.expunge + bytes.expunge_each_following * following
                        }
                        None => {
                            short += 1;
                            continue;
                        }
                    },
                    Command::Sync => 0,
                };
                modseq = modseq.saturating_add(u64::from(command != Command::Sync));
                let sync = self.sync_every == 0 || command == Command::Sync;
                events.push(Event { at, bytes: appended, modseq, sync, need_rotate: false, opens: true });
            }
            hour = end;
        }
        let mut notes = Vec::new();
        if short > 0 {
            notes.push(format!("{short} expunges found an empty mailbox and were left out"));
        }
        let mut history = PastEvents::new(events, to);
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
