//! How far back the logs reach over time, and what that means for clients that come back.

use serde::Serialize;

use super::engine::{Course, LogLife};
use super::history::PastEvents;

/// The distribution over time of the retention window: how long ago a client may have been here last to get an exact
/// answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Shortest window, seconds.
    pub min_seconds: i64,
    /// The window is shorter than this in one percent of the time, seconds.
    pub p1_seconds: i64,
    /// Half of the time the window is shorter, seconds.
    pub median_seconds: i64,
    /// Longest window, seconds.
    pub max_seconds: i64,
    /// The logs never lost anything: every client got an exact answer, and the window is as long as the time simulated.
    pub complete: bool,
}

/// The windows of a segment at its ends.
fn windows(segment: &LogLife) -> Option<(i64, i64)> {
    segment.since.map(|since| ((segment.from - since).max(0), (segment.to - since).max(0)))
}

/// The segments from the moment on when history was first lost: before it every client gets an exact answer, however
/// long it was away, because the mailbox is young.
pub fn settled(outcome: &Course) -> &[LogLife] {
    let first = outcome.segments.iter().position(|segment| segment.since.is_some());
    first.and_then(|first| outcome.segments.get(first..)).unwrap_or_default()
}

/// Measures the window from `from` on; `None` when no time passes.
pub fn measure(outcome: &Course, from: i64) -> Option<Retention> {
    let cut = |segment: &LogLife| LogLife { from: segment.from.max(from), ..*segment };
    let parts = settled(outcome).iter().filter(|segment| segment.to > from).map(cut);
    let parts: Vec<(i64, i64)> =
        parts.filter_map(|segment| windows(&segment)).filter(|(low, high)| high > low).collect();
    if parts.is_empty() {
        let first = outcome.segments.first()?;
        let span = outcome.segments.last()?.to - first.from;
        let all =
            Retention { min_seconds: span, p1_seconds: span, median_seconds: span, max_seconds: span, complete: true };
        return (span > 0).then_some(all);
    }
    let min = parts.iter().map(|part| part.0).min()?;
    let max = parts.iter().map(|part| part.1).max()?;
    let total: i128 = parts.iter().map(|(low, high)| i128::from(high - low)).sum();
    // Each part is a window that grows by a second a second, so time below x is what of the parts lies below x.
    let below = |x: i64| parts.iter().map(|(low, high)| i128::from((x.min(*high) - low).max(0))).sum::<i128>();
    let quantile = |percent: i128| {
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            if below(middle) * 100 >= total * percent { high = middle } else { low = middle + 1 }
        }
        low
    };
    Some(Retention {
        min_seconds: min,
        p1_seconds: quantile(1),
        median_seconds: quantile(50),
        max_seconds: max,
        complete: false,
    })
}

/// The time in which clients that were away for `offline` seconds get an exact answer, and all the time, in seconds.
/// Only instants from `from` on count.
pub fn exact_time(outcome: &Course, offline: i64, from: i64) -> (i64, i64) {
    let (mut exact, mut all) = (0, 0);
    for segment in &outcome.segments {
        let begin = segment.from.max(from);
        if begin >= segment.to {
            continue;
        }
        all += segment.to - begin;
        exact += segment.to - begin - segment.missed(offline, from);
    }
    (exact, all)
}

/// True when a client that was last here at `seen` gets an exact answer at `at`.
pub fn is_exact(outcome: &Course, seen: i64, at: i64) -> bool {
    let i = outcome.segments.partition_point(|segment| segment.to <= at);
    match outcome.segments.get(i).or(outcome.segments.last()) {
        Some(segment) => segment.since.is_none_or(|since| seen >= since),
        None => true,
    }
}

/// What clients get that were away for a given time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Client {
    /// How long they were away, seconds.
    pub offline_seconds: i64,
    /// Share of exact answers; `None` when the time simulated is too short to tell.
    pub exact_share: Option<f64>,
    /// Mean bytes of the VANISHED line of an exact answer.
    pub vanished_bytes_exact: Option<u64>,
    /// Mean bytes of the VANISHED line of a fallback answer: all UIDs that do not exist.
    pub vanished_bytes_fallback: Option<u64>,
    /// Mean bytes of VANISHED that are sent, exact or not.
    pub vanished_bytes_sent: Option<u64>,
}

/// Instants at which the bytes of answers are counted.
const SAMPLES: i64 = 120;

/// Bytes around the UID set: `* VANISHED (EARLIER) ` and CRLF. Nothing is sent for an empty set.
const VANISHED_FRAME: u64 = 21 + 2;

/// Answers the question for several times away. `known_from` is the earliest instant at which a client can have been
/// here.
pub fn clients(history: &PastEvents, outcome: &Course, offline: &[i64], known_from: i64) -> Vec<Client> {
    let mut list: Vec<Client> = offline
        .iter()
        .map(|&offline| {
            let from = known_from.saturating_add(offline);
            let (exact, all) = exact_time(outcome, offline, from);
            let exact_share = (all > 0).then(|| exact as f64 / all as f64);
            Client {
                offline_seconds: offline,
                exact_share,
                vanished_bytes_exact: None,
                vanished_bytes_fallback: None,
                vanished_bytes_sent: None,
            }
        })
        .collect();
    count_bytes(history, outcome, &mut list, known_from);
    list
}

#[derive(Clone, Copy, Default)]
struct Sums {
    exact: u64,
    fallback: u64,
    sent: u64,
    exact_samples: u64,
    samples: u64,
}

fn count_bytes(history: &PastEvents, outcome: &Course, clients: &mut [Client], known_from: i64) {
    let (Some(first), Some(last)) = (outcome.segments.first(), outcome.segments.last()) else { return };
    let (begin, end) = (first.from, last.to);
    let mut gaps = Runs::default();
    for (uid1, uid2) in history.gaps.ranges() {
        gaps.insert(*uid1, *uid2);
    }
    let mut sums = vec![Sums::default(); clients.len()];
    let mut done = 0;
    let mut set: Vec<(u32, u32)> = Vec::new();
    for sample in 1..=SAMPLES {
        // In the middle of its share of time, so that no instant at which something happens is preferred.
        let at = begin + (end - begin) / SAMPLES * sample - (end - begin) / SAMPLES / 2;
        while let Some(expunge) = history.expunges.get(done).filter(|expunge| expunge.at <= at) {
            gaps.insert(expunge.uid1, expunge.uid2);
            done += 1;
        }
        for (client, sums) in clients.iter().zip(&mut sums) {
            let seen = at - client.offline_seconds;
            if seen < known_from {
                continue;
            }
            let fallback = gaps.line();
            sums.samples += 1;
            sums.fallback += fallback;
            let exact = (seen >= history.expunges_since).then(|| {
                let from = history.expunges.partition_point(|expunge| expunge.at <= seen);
                set.clear();
                set.extend(history.expunges.get(from..done).unwrap_or_default().iter().map(|e| (e.uid1, e.uid2)));
                line_of(&mut set)
            });
            if let Some(exact) = exact {
                sums.exact += exact;
                sums.exact_samples += 1;
            }
            sums.sent += match exact {
                Some(exact) if is_exact(outcome, seen, at) => exact,
                _ => fallback,
            };
        }
    }
    for (client, sums) in clients.iter_mut().zip(&sums) {
        client.vanished_bytes_exact = sums.exact.checked_div(sums.exact_samples);
        client.vanished_bytes_fallback = sums.fallback.checked_div(sums.samples);
        client.vanished_bytes_sent = sums.sent.checked_div(sums.samples);
    }
}

/// A set of UIDs that knows how long it is as an IMAP set.
#[derive(Debug, Default)]
struct Runs {
    runs: std::collections::BTreeMap<u32, u32>,
    bytes: u64,
}

fn digits(uid: u32) -> u64 {
    u64::from(uid.checked_ilog10().unwrap_or(0)) + 1
}

/// Bytes of a run with the comma that separates it.
fn run_bytes(first: u32, last: u32) -> u64 {
    if first == last { digits(first) + 1 } else { digits(first) + digits(last) + 2 }
}

impl Runs {
    fn insert(&mut self, first: u32, last: u32) {
        let (mut first, mut last) = (first, last);
        while let Some((&from, &to)) = self.runs.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            self.runs.remove(&from);
            self.bytes -= run_bytes(from, to);
            (first, last) = (first.min(from), last.max(to));
        }
        self.runs.insert(first, last);
        self.bytes += run_bytes(first, last);
    }

    /// Bytes of the VANISHED line; 0 for an empty set, for which there is none.
    fn line(&self) -> u64 {
        match self.bytes.checked_sub(1) {
            Some(set) => set + VANISHED_FRAME,
            None => 0,
        }
    }
}

/// Bytes of the VANISHED line for ranges in any order; 0 for none.
fn line_of(ranges: &mut [(u32, u32)]) -> u64 {
    ranges.sort_unstable();
    let mut bytes = 0;
    let mut open: Option<(u32, u32)> = None;
    for &(first, last) in ranges.iter() {
        open = Some(match open {
            Some((from, to)) if first <= to.saturating_add(1) => (from, to.max(last)),
            Some((from, to)) => {
                bytes += run_bytes(from, to);
                (first, last)
            }
            None => (first, last),
        });
    }
    match open {
        Some((from, to)) => bytes + run_bytes(from, to) - 1 + VANISHED_FRAME,
        None => 0,
    }
}

/// Clients in number, and how long they stay away.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// How many there are.
    pub clients: u64,
    /// Seconds away, and how often compared with the others.
    pub gaps: Vec<(i64, f64)>,
}

/// What a population of clients costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PopulationCost {
    /// How many clients there are.
    pub clients: u64,
    /// How often they come back in a day, all together.
    pub reconnects_per_day: f64,
    /// Share of exact answers.
    pub exact_share: Option<f64>,
    /// Bytes of VANISHED in a day.
    pub vanished_bytes_per_day: Option<f64>,
}

impl Population {
    /// Adds up what `clients` says of the gaps of this population, in the same order.
    pub fn cost(&self, clients: &[Client]) -> PopulationCost {
        let weight: f64 = self.gaps.iter().map(|(_, weight)| weight).sum();
        let mean_gap: f64 = self.gaps.iter().map(|(gap, w)| *gap as f64 * w / weight).sum();
        let reconnects_per_day = self.clients as f64 * super::settings::DAY as f64 / mean_gap.max(1.0);
        let mean = |value: &dyn Fn(&Client) -> Option<f64>| {
            self.gaps.iter().zip(clients).map(|((_, w), client)| value(client).map(|value| value * w / weight)).sum()
        };
        let exact_share: Option<f64> = mean(&|client| client.exact_share);
        let bytes: Option<f64> = mean(&|client| client.vanished_bytes_sent.map(|bytes| bytes as f64));
        PopulationCost {
            clients: self.clients,
            reconnects_per_day,
            exact_share,
            vanished_bytes_per_day: bytes.map(|bytes| bytes * reconnects_per_day),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UidSet;

    #[test]
    fn the_length_of_a_set_is_that_of_its_text() {
        let mut runs = Runs::default();
        let mut set = UidSet::new();
        assert_eq!(runs.line(), 0);
        let mut list = Vec::new();
        assert_eq!(line_of(&mut list), 0);
        for uid in [5, 7, 6, 100, 9, 12, 11, 10, 99, 1, 4_294_967_295] {
            runs.insert(uid, uid);
            set.insert(uid);
            list.push((uid, uid));
            list.push((uid, uid));
            let line = format!("* VANISHED (EARLIER) {set}\r\n");
            // RFC 7162, 3.2.10.1.
            assert_eq!(runs.line(), line.len() as u64, "{line:?}");
            assert_eq!(line_of(&mut list.clone()), line.len() as u64, "{line:?}");
        }
    }

    fn segment(from: i64, to: i64, since: Option<i64>) -> LogLife {
        LogLife { from, to, since, oldest_modseq: 1 }
    }

    #[test]
    fn windows_and_shares() {
        let segments = vec![segment(0, 100, None), segment(100, 200, Some(50)), segment(200, 300, Some(150))];
        let outcome = Course { segments, ..Course::default() };
        let retention = measure(&outcome, i64::MIN).expect("time passes");
        // The window goes from 50 to 150, twice.
        assert_eq!((retention.min_seconds, retention.median_seconds, retention.max_seconds), (50, 100, 150));
        assert_eq!(retention.p1_seconds, 51);
        assert_eq!(exact_time(&outcome, 100, 100), (100, 200));
        assert!(is_exact(&outcome, 50, 150) && !is_exact(&outcome, 49, 150) && is_exact(&outcome, -9, 99));
    }
}
