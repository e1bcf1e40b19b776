//! What happens to a mailbox over time, in a form that many settings can be tried on quickly.

use crate::model::UidSet;

/// One step: bytes are appended to the log, and perhaps a full sync ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// UNIX seconds.
    pub at: i64,
    /// Bytes appended to the log.
    pub bytes: u64,
    /// The log's modseq after it.
    pub modseq: u64,
    /// A full sync ends here: Dovecot decides about rotation, and had the sync lock before.
    pub sync: bool,
    /// Dovecot found a reason to rotate in any case (`need_rotate`).
    pub need_rotate: bool,
    /// The process that does this opened the mailbox for it; else it had it open since the event before.
    pub opens: bool,
}

/// A log file as far as rotation is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// `file_seq`.
    pub file_seq: u32,
    /// Bytes.
    pub size: u64,
    /// UNIX seconds.
    pub create_stamp: i64,
    /// The modseq that the file starts with.
    pub initial_modseq: u64,
    /// UNIX seconds of the change that made `initial_modseq` the highest; `None`: clients that old cannot be told apart
    /// from ones older still, for the mailbox has no earlier history.
    pub since: Option<i64>,
    /// The minor number of the format version.
    pub minor: u8,
}

/// The previous log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLog {
    /// The file.
    pub log: LogState,
    /// From when on it ages, UNIX seconds.
    pub aging_from: i64,
}

/// Where a simulation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartState {
    /// UNIX seconds.
    pub at: i64,
    /// The log.
    pub log: LogState,
    /// `.log.2`.
    pub old: Option<OldLog>,
    /// `log_file_tail_offset` in `dovecot.index`; 0 when there is none.
    pub index_tail: u64,
    /// The highest modseq.
    pub modseq: u64,
}

/// Bytes of a log's header: what a new log has.
pub const LOG_HEADER: u64 = 40;

impl StartState {
    /// A mailbox that is created now. Its first log has number 2, since the empty map it grew from has 1.
    pub fn fresh(at: i64) -> StartState {
        let log =
            LogState { file_seq: 2, size: LOG_HEADER, create_stamp: at, initial_modseq: 1, since: None, minor: 3 };
        StartState { at, log, old: None, index_tail: 0, modseq: 1 }
    }
}

/// A range of UIDs that was expunged by an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventExpunge {
    /// UNIX seconds.
    pub at: i64,
    /// First UID.
    pub uid1: u32,
    /// Last UID.
    pub uid2: u32,
}

/// A history, in columns that can be searched.
#[derive(Clone, Debug, Default)]
pub struct PastEvents {
    /// When it ends, UNIX seconds: the last event or later.
    pub end: i64,
    at: Vec<i64>,
    /// Bytes appended up to and with an event.
    total: Vec<u64>,
    /// Integral of `total` over time up to an event, byte seconds.
    area: Vec<u128>,
    modseq: Vec<u64>,
    /// Events that end a full sync: time, total and position.
    sync_at: Vec<i64>,
    sync_total: Vec<u64>,
    sync_event: Vec<u32>,
    /// The first event of the process that did the sync.
    sync_open: Vec<u32>,
    /// The first event of the process that did the last event.
    open: u32,
    /// Positions in the sync columns where `need_rotate` is set.
    forced: Vec<u32>,
    /// What was expunged, by time. May begin before the simulation does.
    pub expunges: Vec<EventExpunge>,
    /// UNIX seconds since when expunges are known.
    pub expunges_since: i64,
    /// UIDs that do not exist at `expunges_since` although they are below `next_uid`.
    pub gaps: UidSet,
}

impl PastEvents {
    /// Builds a history from events in the order of time. A modseq that falls is taken as unchanged.
    pub fn new(events: impl IntoIterator<Item = Event>, end: i64) -> PastEvents {
        let mut history = PastEvents { end, ..PastEvents::default() };
        for event in events {
            history.push(event);
        }
        history.end = history.end.max(history.at.last().copied().unwrap_or(end));
        history
    }

    fn push(&mut self, event: Event) {
        let last = self.at.len().checked_sub(1);
        let at = last.and_then(|i| self.at.get(i)).map_or(event.at, |last| event.at.max(*last));
        let before = self.total.last().copied().unwrap_or(0);
        let span = last.and_then(|i| self.at.get(i)).map_or(0, |last| at - last);
        let area = self.area.last().copied().unwrap_or(0) + u128::from(before) * span.unsigned_abs() as u128;
        let modseq = self.modseq.last().map_or(event.modseq, |last| event.modseq.max(*last));
        let position = u32::try_from(self.at.len()).unwrap_or(u32::MAX);
        if event.opens || position == 0 {
            self.open = position;
        }
        self.at.push(at);
        self.total.push(before.saturating_add(event.bytes));
        self.area.push(area);
        self.modseq.push(modseq);
        if event.sync || event.need_rotate {
            if event.need_rotate {
                self.forced.push(u32::try_from(self.sync_at.len()).unwrap_or(u32::MAX));
            }
            self.sync_at.push(at);
            self.sync_total.push(before.saturating_add(event.bytes));
            self.sync_event.push(position);
            self.sync_open.push(self.open);
        }
    }

    /// Lets the modseqs count from `to` where they counted from `from`.
    pub fn raise_modseqs(&mut self, from: u64, to: u64) {
        for modseq in &mut self.modseq {
            *modseq = modseq.saturating_sub(from).saturating_add(to);
        }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// True when nothing happens.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Bytes appended in all.
    pub fn bytes(&self) -> u64 {
        self.total.last().copied().unwrap_or(0)
    }

    /// Number of full syncs.
    pub fn syncs(&self) -> usize {
        self.sync_at.len()
    }

    /// Time of the sync at `k`.
    pub(super) fn sync_time(&self, k: usize) -> i64 {
        self.sync_at.get(k).copied().unwrap_or(i64::MAX)
    }

    /// Bytes appended up to the sync at `k`.
    pub(super) fn sync_total(&self, k: usize) -> u64 {
        self.sync_total.get(k).copied().unwrap_or(u64::MAX)
    }

    /// Bytes appended before the event that ends with the sync at `k`.
    pub(super) fn total_before_sync(&self, k: usize) -> u64 {
        self.total_before(self.sync_event.get(k).copied().unwrap_or(0))
    }

    /// The first event of the process that did the sync at `k`.
    pub(super) fn sync_open(&self, k: usize) -> u32 {
        self.sync_open.get(k).copied().unwrap_or(0)
    }

    /// Bytes appended before an event.
    pub(super) fn total_before(&self, event: u32) -> u64 {
        (event as usize).checked_sub(1).and_then(|before| self.total.get(before)).copied().unwrap_or(0)
    }

    /// The modseq after the sync at `k`.
    pub(super) fn sync_modseq(&self, k: usize) -> u64 {
        self.sync_event.get(k).and_then(|event| self.modseq.get(*event as usize)).copied().unwrap_or(0)
    }

    /// When bytes were last appended up to the sync at `k`.
    pub(super) fn last_write(&self, k: usize) -> Option<i64> {
        let event = *self.sync_event.get(k)? as usize;
        let total = *self.total.get(event)?;
        let first = self.total.get(..=event)?.partition_point(|before| *before < total);
        (total > 0).then(|| self.at.get(first).copied()).flatten()
    }

    /// The first sync from `from` on with at least `total` bytes appended.
    pub(super) fn first_sync_with(&self, from: usize, total: u64) -> usize {
        search(&self.sync_total, from, |have| *have < total)
    }

    /// The first sync from `from` on that is not before `at`.
    pub(super) fn first_sync_at(&self, from: usize, at: i64) -> usize {
        search(&self.sync_at, from, |have| *have < at)
    }

    /// The first sync from `from` on that rotates in any case.
    pub(super) fn first_forced(&self, from: usize) -> usize {
        let i = self.forced.partition_point(|k| (*k as usize) < from);
        self.forced.get(i).map_or(usize::MAX, |k| *k as usize)
    }

    /// When the modseq first was `modseq` or higher; `None` when it was from the start, given that it started with
    /// `initial`.
    pub(super) fn reached(&self, modseq: u64, initial: u64) -> Option<i64> {
        if modseq <= initial {
            return None;
        }
        let i = self.modseq.partition_point(|have| *have < modseq);
        self.at.get(i).copied()
    }

    /// Bytes appended up to and with a time.
    pub fn total_at(&self, at: i64) -> u64 {
        let i = self.at.partition_point(|have| *have <= at);
        i.checked_sub(1).and_then(|i| self.total.get(i)).copied().unwrap_or(0)
    }

    /// Integral over time of the bytes appended, from the start to `at`, in byte seconds.
    pub(super) fn area_at(&self, at: i64) -> u128 {
        let i = self.at.partition_point(|have| *have <= at);
        let Some(i) = i.checked_sub(1) else { return 0 };
        match (self.area.get(i), self.total.get(i), self.at.get(i)) {
            (Some(area), Some(total), Some(from)) => area + u128::from(*total) * u128::from((at - from).unsigned_abs()),
            _ => 0,
        }
    }
}

/// `partition_point` from `from` on, fast when the answer is near.
fn search<T>(list: &[T], from: usize, before: impl Fn(&T) -> bool) -> usize {
    let mut low = from;
    let mut step = 8;
    while let Some(value) = list.get(low.saturating_add(step)) {
        if !before(value) {
            break;
        }
        low = low.saturating_add(step);
        step *= 2;
    }
    let high = low.saturating_add(step).saturating_add(1).min(list.len());
    match list.get(low..high) {
        Some(part) => low + part.partition_point(before),
        None => list.len().max(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_what_partition_point_finds() {
        let list: Vec<u32> = (0..1000).map(|i| i / 3).collect();
        for from in [0, 1, 17, 998, 1000] {
            for value in [0, 1, 5, 300, 333, 334] {
                let expected = list.partition_point(|have| *have < value).max(from);
                assert_eq!(search(&list, from, |have| *have < value), expected, "{from} {value}");
            }
        }
    }
}
