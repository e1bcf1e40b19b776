//! The rules of rotation, of `.log.2` and of rewriting `dovecot.index`, run over a history (`mail_index_sync_commit`,
//! `mail_transaction_log_want_rotate`, `mail_transaction_log_2_unlink_old`, `mail_index_sync_want_index_write`).
//!
//! Nothing is stepped through event by event: sizes and times only grow, so the next rotation is found by searching,
//! and a year of traffic takes as many steps as it has rotations.

use serde::Serialize;

use super::history::{LOG_HEADER, LogState, OldLog, PastEvents, StartState};
use super::settings::{Rules, Settings};

/// Which of the conditions made Dovecot rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationReason {
    /// `need_rotate`: something is wrong with the log.
    NeedRotate,
    /// The log has an older format version than this Dovecot writes.
    Version,
    /// Larger than `mail_index_log_rotate_max_size`.
    MaxSize,
    /// At least `mail_index_log_rotate_min_size`, and older than `mail_index_log_rotate_min_age`.
    MinAge,
}

impl RotationReason {
    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            RotationReason::NeedRotate => "need_rotate",
            RotationReason::Version => "version",
            RotationReason::MaxSize => "max_size",
            RotationReason::MinAge => "min_age",
        }
    }
}

/// A rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// UNIX seconds.
    pub at: i64,
    /// `file_seq` of the log that begins.
    pub file_seq: u32,
    /// Bytes of the log that ends, now `.log.2`: `prev_file_offset` of the one that begins.
    pub size: u64,
    /// Why.
    pub reason: RotationReason,
    /// `initial_modseq` of the log that begins.
    pub initial_modseq: u64,
    /// `file_seq` of the `.log.2` that this rotation replaced, if there was one.
    pub replaced_file_seq: Option<u32>,
}

/// A `.log.2` that was unlinked because of its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// UNIX seconds.
    pub at: i64,
    /// Its `file_seq`.
    pub file_seq: u32,
}

/// A stretch of time in which the oldest log is the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLife {
    /// UNIX seconds.
    pub from: i64,
    /// UNIX seconds; the first instant that no longer belongs to it.
    pub to: i64,
    /// UNIX seconds: clients that were last here then or later get an exact answer; `None`: all do.
    pub since: Option<i64>,
    /// The lowest modseq that the logs cover.
    pub oldest_modseq: u64,
}

impl LogLife {
    /// Seconds from `from` on in which clients that were away for `offline` seconds get no exact answer.
    pub fn missed(&self, offline: i64, from: i64) -> i64 {
        let begin = self.from.max(from);
        let reached = self.since.map_or(begin, |since| since.saturating_add(offline));
        (reached.min(self.to) - begin).max(0)
    }
}

/// What happens under some settings.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Rotations by time.
    pub rotations: Vec<Rotation>,
    /// `.log.2` files that grew too old.
    pub deletions: Vec<Deletion>,
    /// How often `dovecot.index` is written for other reasons than a rotation.
    pub rewrites: u64,
    /// What the logs cover, without gaps from start to end.
    pub segments: Vec<LogLife>,
    /// Integral over time of the bytes of both logs, byte seconds.
    pub disk_area: u128,
    /// Largest size of both logs together.
    pub disk_max: u64,
    /// The log at the end.
    pub log: Option<LogState>,
    /// `.log.2` at the end.
    pub old: Option<OldLog>,
}

impl Course {
    /// Mean bytes of both logs together over the time simulated.
    pub fn disk_mean(&self) -> u64 {
        let span: u128 = self.segments.iter().map(|s| u128::from((s.to - s.from).unsigned_abs())).sum();
        u64::try_from(self.disk_area.checked_div(span).unwrap_or(u128::from(self.disk_max))).unwrap_or(u64::MAX)
    }

    fn clear(&mut self) {
        self.rotations.clear();
        self.deletions.clear();
        self.segments.clear();
        self.rewrites = 0;
        self.disk_area = 0;
        self.disk_max = 0;
    }
}

/// Runs a history under settings.
pub fn run(history: &PastEvents, start: &StartState, settings: &Settings, rules: &Rules) -> Course {
    let mut outcome = Course::default();
    let mut run = Engine::new(history, start, settings, rules, &mut outcome);
    run.counts_rewrites = true;
    run.run();
    outcome
}

/// What settings must keep to be looked at to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Clients that were away this long, in seconds,
    pub offline: i64,
    /// may from this time on, UNIX seconds,
    pub from: i64,
    /// for so many seconds in all get no exact answer.
    pub missed: i64,
}

/// The same into an outcome that is used again and again, without counting rewrites. With a limit it gives up as soon
/// as that is passed and returns false.
pub fn run_into(
    history: &PastEvents,
    start: &StartState,
    settings: &Settings,
    rules: &Rules,
    limit: Option<Limit>,
    outcome: &mut Course,
) -> bool {
    outcome.clear();
    let mut run = Engine::new(history, start, settings, rules, outcome);
    run.limit = limit;
    run.run();
    run.limit.is_none_or(|limit| limit.missed >= 0)
}

struct Engine<'a> {
    history: &'a PastEvents,
    settings: &'a Settings,
    rules: &'a Rules,
    start: &'a StartState,
    log: LogState,
    /// Bytes appended in all when the present log had its `size`.
    base: u64,
    old: Option<OldLog>,
    /// Up to when disk use has been summed.
    at: i64,
    segment_from: i64,
    index_tail: u64,
    /// The process that wrote `dovecot.index` last, by its first event.
    written_by: Option<u32>,
    /// The first sync that has not been looked at.
    next: usize,
    counts_rewrites: bool,
    limit: Option<Limit>,
    outcome: &'a mut Course,
}

impl<'a> Engine<'a> {
    fn new(
        history: &'a PastEvents,
        start: &'a StartState,
        settings: &'a Settings,
        rules: &'a Rules,
        outcome: &'a mut Course,
    ) -> Engine<'a> {
        Engine {
            history,
            settings,
            rules,
            start,
            log: start.log,
            base: 0,
            old: start.old,
            at: start.at,
            segment_from: start.at,
            index_tail: start.index_tail,
            written_by: None,
            next: 0,
            counts_rewrites: false,
            limit: None,
            outcome,
        }
    }

    fn run(&mut self) {
        let syncs = self.history.syncs();
        loop {
            if self.limit.is_some_and(|limit| limit.missed < 0) {
                return;
            }
            let rotation = self.next_rotation();
            let deletion = self.next_deletion();
            let last = rotation.map_or(usize::MAX, |(k, _)| k);
            // The sync lock comes before the decision about rotation.
            if deletion < syncs && deletion <= last {
                self.delete(deletion);
                continue;
            }
            match rotation {
                Some((k, reason)) => self.rotate(k, reason),
                None => break,
            }
        }
        self.count_rewrites(syncs);
        self.advance(self.history.end);
        self.end_segment(self.history.end);
        self.log.size = self.size_at(self.history.bytes());
        self.outcome.log = Some(self.log);
        self.outcome.old = self.old;
    }

    /// Size of the log when `total` bytes have been appended in all.
    fn size_at(&self, total: u64) -> u64 {
        self.log.size.saturating_add(total.saturating_sub(self.base))
    }

    /// The bytes appended in all at which the log has `size`.
    fn total_for(&self, size: u64) -> u64 {
        self.base.saturating_add(size.saturating_sub(self.log.size))
    }

    fn next_rotation(&self) -> Option<(usize, RotationReason)> {
        let (history, from) = (self.history, self.next);
        let syncs = history.syncs();
        if from >= syncs {
            return None;
        }
        let mut candidates = [(usize::MAX, RotationReason::NeedRotate); 4];
        candidates[0].0 = history.first_forced(from);
        if self.rules.rotates_old_version && self.log.minor < self.rules.log_minor {
            candidates[1] = (from, RotationReason::Version);
        }
        let over = |size: u64| {
            size.checked_add(1).map_or(usize::MAX, |size| history.first_sync_with(from, self.total_for(size)))
        };
        candidates[2] = (over(self.settings.max_size), RotationReason::MaxSize);
        let large = match self.rules.min_size_included {
            true => history.first_sync_with(from, self.total_for(self.settings.min_size)),
            false => over(self.settings.min_size),
        };
        if large < syncs {
            let old = self.log.create_stamp.saturating_add(self.settings.min_age).saturating_add(1);
            candidates[3] = (history.first_sync_at(large, old), RotationReason::MinAge);
        }
        // Of several at one sync the first in Dovecot's order counts.
        candidates.into_iter().filter(|(k, _)| *k < syncs).min_by_key(|(k, _)| *k)
    }

    fn next_deletion(&self) -> usize {
        let Some(old) = self.old else { return usize::MAX };
        let due = old.aging_from.saturating_add(self.settings.log2_max_age);
        self.history.first_sync_at(self.next, due)
    }

    fn delete(&mut self, k: usize) {
        let Some(old) = self.old else { return };
        let at = self.history.sync_time(k);
        self.advance(at);
        self.end_segment(at);
        self.outcome.deletions.push(Deletion { at, file_seq: old.log.file_seq });
        self.old = None;
    }

    fn rotate(&mut self, k: usize, reason: RotationReason) {
        let at = self.history.sync_time(k);
        self.count_rewrites(k);
        self.advance(at);
        let total = self.history.sync_total(k);
        let size = self.size_at(total);
        let held = size.saturating_add(self.old.map_or(0, |old| old.log.size));
        self.outcome.disk_max = self.outcome.disk_max.max(held);
        let modseq = self.history.sync_modseq(k).max(1);
        let file_seq = self.log.file_seq.saturating_add(1);
        let replaced_file_seq = self.old.map(|old| old.log.file_seq);
        self.outcome.rotations.push(Rotation { at, file_seq, size, reason, initial_modseq: modseq, replaced_file_seq });
        if self.old.is_some() {
            self.end_segment(at);
        }
        let aging_from = match self.rules.ages_from_rotation {
            true => at,
            false => self.history.last_write(k).unwrap_or(self.log.create_stamp),
        };
        self.old = Some(OldLog { log: LogState { size, ..self.log }, aging_from });
        self.log = LogState {
            file_seq,
            size: LOG_HEADER,
            create_stamp: at,
            initial_modseq: modseq,
            since: match self.history.reached(modseq, self.start.modseq) {
                Some(since) => Some(since),
                // Nothing has changed since the start: who had this modseq then still has it.
                None => self.start_since(),
            },
            minor: self.rules.log_minor,
        };
        self.base = total;
        self.index_tail = LOG_HEADER;
        self.written_by = Some(self.history.sync_open(k));
        self.next = k + 1;
    }

    /// Since when the modseq that the start had was the highest.
    fn start_since(&self) -> Option<i64> {
        if self.start.modseq == self.start.log.initial_modseq { self.start.log.since } else { Some(self.start.at) }
    }

    /// The oldest file there is.
    fn oldest(&self) -> &LogState {
        self.old.as_ref().map_or(&self.log, |old| &old.log)
    }

    fn end_segment(&mut self, to: i64) {
        let oldest = *self.oldest();
        // A log that did not track modseqs yet counts as covering everything (`initial_modseq` 0).
        let since = oldest.since.filter(|_| oldest.initial_modseq != 0);
        if to > self.segment_from {
            let segment = LogLife { from: self.segment_from, to, since, oldest_modseq: oldest.initial_modseq };
            if let Some(limit) = &mut self.limit {
                limit.missed -= segment.missed(limit.offline, limit.from);
            }
            self.outcome.segments.push(segment);
        }
        self.segment_from = to.max(self.segment_from);
    }

    /// Sums the bytes of both logs up to `to`.
    fn advance(&mut self, to: i64) {
        if to <= self.at {
            return;
        }
        let span = u128::from((to - self.at).unsigned_abs());
        let appended = self.history.area_at(to).saturating_sub(self.history.area_at(self.at));
        let appended = appended.saturating_sub(u128::from(self.base).saturating_mul(span));
        let old = self.old.map_or(0, |old| old.log.size);
        let held = u128::from(old.saturating_add(self.log.size)).saturating_mul(span);
        self.outcome.disk_area = self.outcome.disk_area.saturating_add(appended).saturating_add(held);
        let size = self.size_at(self.history.total_at(to)).saturating_add(old);
        self.outcome.disk_max = self.outcome.disk_max.max(size);
        self.at = to;
    }

    /// Counts how often `dovecot.index` is written at the syncs before `end`: beyond `rewrite_max` at once, and beyond
    /// `rewrite_min` by a process that has had to read that much at a time since it last wrote one (`index_min_write`),
    /// be it to open the mailbox or because it appended that much itself.
    fn count_rewrites(&mut self, end: usize) {
        if !self.counts_rewrites {
            return;
        }
        let (min, max) = (self.settings.rewrite_min, self.settings.rewrite_max);
        let mut k = self.next;
        loop {
            let over = |limit: u64| self.total_for(self.index_tail.saturating_add(limit).saturating_add(1));
            let at_max = self.history.first_sync_with(k, over(max));
            let mut at_min = self.history.first_sync_with(k, over(min));
            while at_min < end.min(at_max) && !self.has_read_much(at_min) {
                at_min += 1;
            }
            let at = at_max.min(at_min);
            if at >= end {
                return;
            }
            self.outcome.rewrites += 1;
            self.index_tail = self.size_at(self.history.sync_total(at));
            self.written_by = Some(self.history.sync_open(at));
            k = at + 1;
        }
    }

    fn has_read_much(&self, k: usize) -> bool {
        let (history, min) = (self.history, self.settings.rewrite_min);
        let open = history.sync_open(k);
        let at_open = self.size_at(history.total_before(open));
        let opened = self.written_by != Some(open) && at_open > self.index_tail.saturating_add(min);
        opened || history.sync_total(k).saturating_sub(history.total_before_sync(k)) > min
    }
}
