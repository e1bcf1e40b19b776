//! How far back a mailbox reaches at this moment, and what its next rotation takes away.

use serde::Serialize;

use super::engine::{Course, RotationReason};
use super::history::LogState;
use super::past::KnownMailbox;
use super::settings::{DAY, Rules, Settings};
use crate::logs::clock::{Bracket, Clock};
use crate::model::{Chain, LogPos};
use crate::render::text::rfc3339;

/// What only the files can tell.
#[derive(Clone, Debug)]
pub struct OldestLog {
    /// When the oldest log's first record was written.
    first: Bracket,
}

impl OldestLog {
    /// Asks the clocks; `None` without logs.
    pub fn read(chain: &Chain<'_>, clock: &Clock) -> Option<OldestLog> {
        let oldest = chain.files.first()?;
        Some(OldestLog { first: clock.bracket(LogPos { seq: oldest.seq(), offset: oldest.log.records_at }) })
    }
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFate {
    /// `file_seq`.
    pub file_seq: u32,
    /// Bytes.
    pub size: u64,
    /// UNIX seconds, as in the file.
    pub create_stamp: i64,
    /// The modseq that it starts with.
    pub initial_modseq: u64,
}

impl LogFate {
    fn of(log: &LogState) -> LogFate {
        LogFate {
            file_seq: log.file_seq,
            size: log.size,
            create_stamp: log.create_stamp,
            initial_modseq: log.initial_modseq,
        }
    }
}

/// A time span, RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Not before this.
    pub not_before: Option<String>,
    /// Not after this.
    pub not_after: Option<String>,
}

/// Modseqs, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Modseqs {
    /// Lowest.
    pub from: u64,
    /// Highest.
    pub to: u64,
}

/// The rotation to come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NextRotation {
    /// The next full sync rotates.
    pub due: bool,
    /// Why.
    pub reason: Option<RotationReason>,
    /// When it is due at the present rate, RFC 3339; `None` when nothing suggests that it ever is.
    pub at: Option<String>,
    /// The same, UNIX seconds.
    #[serde(skip)]
    pub seconds: Option<i64>,
    /// The `.log.2` that it drops.
    pub drops: Option<LogFate>,
    /// Clients with these modseqs get exact answers before it and fallback after it.
    pub loses_exactness: Option<Modseqs>,
    /// The lowest modseq that is covered after it.
    pub oldest_modseq: u64,
}

/// The end of `.log.2` by age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log2Expiry {
    /// From when on the first sync unlinks it, RFC 3339.
    pub at: String,
    /// That time has come.
    pub due: bool,
    /// Clients with these modseqs get exact answers before it and fallback after it.
    pub loses_exactness: Option<Modseqs>,
}

/// The present state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Now {
    /// RFC 3339.
    pub at: String,
    /// HIGHESTMODSEQ as the log counts it.
    pub highest_modseq: u64,
    /// The lowest client modseq that gets an exact answer.
    pub oldest_modseq: u64,
    /// The logs hold everything since the mailbox was created.
    pub complete: bool,
    /// When the oldest change that the logs hold was made.
    pub reaches_back_to: Period,
    /// Seconds from the later of these times until now: at least so long a client may have been away.
    pub window_seconds: Option<i64>,
    /// The log.
    pub log: LogFate,
    /// `.log.2`.
    pub log2: Option<LogFate>,
    /// Bytes of log in a day, as far as the logs tell.
    pub bytes_per_day: Option<f64>,
    /// Transactions in a day.
    pub transactions_per_day: Option<f64>,
    /// The rotation to come.
    pub next_rotation: NextRotation,
    /// The end of `.log.2` by age.
    pub log2_expiry: Option<Log2Expiry>,
}

/// Modseqs from one to below another.
fn below(from: u64, end: u64) -> Option<Modseqs> {
    (from < end).then_some(Modseqs { from, to: end.saturating_sub(1) })
}

/// Tells the present state. `future` is what the simulation found.
pub fn tell(
    state: &KnownMailbox,
    files: &OldestLog,
    settings: &Settings,
    rules: &Rules,
    future: Option<&Course>,
) -> Now {
    let start = &state.start;
    let (at, log, old) = (start.at, &start.log, start.old.as_ref());
    let oldest = old.map_or(log, |old| &old.log);
    let rate = state.rate();
    let old_enough = log.create_stamp.saturating_add(settings.min_age).saturating_add(1);
    let large = match rules.min_size_included {
        true => settings.min_size,
        false => settings.min_size.saturating_add(1),
    };
    let due = if rules.rotates_old_version && log.minor < rules.log_minor {
        Some(RotationReason::Version)
    } else if log.size > settings.max_size {
        Some(RotationReason::MaxSize)
    } else if log.size >= large && at >= old_enough {
        Some(RotationReason::MinAge)
    } else {
        None
    };
    let simulated = future.and_then(|outcome| outcome.rotations.first()).map(|rotation| (rotation.at, rotation.reason));
    // Beyond the time simulated the rate says when.
    let at_rate = rate.filter(|(bytes, _)| *bytes > 0.0).map(|(bytes, _)| {
        let after = |size: u64| {
            let days = size.saturating_sub(log.size) as f64 / bytes;
            at.saturating_add((days * DAY as f64).min(1e15) as i64)
        };
        let by_age = after(large).max(old_enough);
        let by_size = after(settings.max_size.saturating_add(1));
        if by_size < by_age { (by_size, RotationReason::MaxSize) } else { (by_age, RotationReason::MinAge) }
    });
    let expected = due.map(|reason| (at, reason)).or(simulated).or(at_rate);
    let next_rotation = NextRotation {
        due: due.is_some(),
        reason: expected.map(|(_, reason)| reason),
        at: expected.map(|(at, _)| rfc3339(at)),
        seconds: expected.map(|(at, _)| at),
        drops: old.map(|old| LogFate::of(&old.log)),
        loses_exactness: old.and_then(|old| below(old.log.initial_modseq, log.initial_modseq)),
        oldest_modseq: log.initial_modseq,
    };
    let log2_expiry = old.map(|old| {
        let end = old.aging_from.saturating_add(settings.log2_max_age);
        Log2Expiry {
            at: rfc3339(end),
            due: at >= end,
            loses_exactness: below(old.log.initial_modseq, log.initial_modseq),
        }
    });
    let not_after = files.first.not_after;
    Now {
        at: rfc3339(at),
        highest_modseq: start.modseq,
        oldest_modseq: oldest.initial_modseq,
        complete: oldest.since.is_none(),
        reaches_back_to: Period { not_before: files.first.not_before.map(rfc3339), not_after: not_after.map(rfc3339) },
        window_seconds: not_after.map(|first| (at - first).max(0)),
        log: LogFate::of(log),
        log2: old.map(|old| LogFate::of(&old.log)),
        bytes_per_day: rate.map(|(bytes, _)| bytes),
        transactions_per_day: rate.map(|(_, transactions)| transactions),
        next_rotation,
        log2_expiry,
    }
}
