//! What a mailbox has been through, read from its logs, and its repetition.

use std::collections::BTreeSet;

use super::history::{Event, EventExpunge, LOG_HEADER, LogState, OldLog, PastEvents, StartState};
use super::settings::DAY;
use super::workload::{MOST_EVENTS, Scenario};
use crate::format::log::Txn;
use crate::format::record::RecordType;
use crate::logs::clock::Clock;
use crate::model::{Chain, LogPos, Mailbox, UidSet};

/// A transaction that a log holds, with the time it was probably written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PastTxn {
    at: i64,
    bytes: u64,
    modseq_steps: u64,
    appends: u32,
    /// Positions in [`KnownMailbox::past_expunges`].
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
pub struct KnownMailbox {
    /// Where a simulation of its future starts.
    pub start: StartState,
    /// Transactions of its logs.
    past: Vec<PastTxn>,
    /// What was expunged in them.
    past_expunges: Vec<PastExpunge>,
    /// UIDs that did not exist when the logs begin.
    pub(super) gaps: UidSet,
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

impl KnownMailbox {
    /// Reads what the logs of a mailbox say of its past, as of `now`. `None` when there is no log.
    pub fn read(chain: &Chain<'_>, mailbox: &Mailbox, clock: &Clock, now: i64) -> Option<KnownMailbox> {
        let head = chain.head()?;
        let mut notes = Vec::new();
        let mut past = Vec::new();
        let mut past_expunges: Vec<PastExpunge> = Vec::new();
        // UIDs are given out in order, so the first append in a log tells the next UID before it.
        let mut next_uid: u32 = 0;
        for file in &chain.files {
            let seq = file.seq();
            let mut modseq = file.log.header.initial_modseq;
            let mut txn = Txn::default();
            for record in file.records() {
                let kind = record.kind();
                if txn.follow(&record) {
                    let bracket = clock.bracket(LogPos { seq, offset: record.offset });
                    let low = bracket.not_before.unwrap_or(i64::from(file.log.header.create_stamp));
                    let high = bracket.not_after.unwrap_or(now).min(now);
                    past.push((
                        low.min(now),
                        high.max(low).min(now),
                        PastTxn {
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
                        for uid in record.appended() {
                            next_uid = next_uid.max(uid.saturating_add(1));
                            one.appends = one.appends.saturating_add(1);
                        }
                    }
                    Some(RecordType::Expunge | RecordType::ExpungeGuid) => {
                        past_expunges.extend(record.expunged().map(note));
                    }
                    _ => continue,
                }
                one.expunges.1 = past_expunges.len();
            }
        }
        spread(&mut past);
        let past: Vec<PastTxn> = past.into_iter().map(|(_, _, one)| one).collect();
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

        let complete = chain.whole_history(next).is_ok();
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
                "the log was created at {}, which is later than now: it cannot be rotated for its age before {} \
                 seconds have \
                 passed and mail_index_log_rotate_min_age on top",
                log.create_stamp,
                log.create_stamp - now
            ));
        }
        let index_tail = match mailbox.header.log_file_seq == head.seq() {
            true => u64::from(mailbox.header.log_file_tail_offset),
            false => LOG_HEADER,
        };
        let start = StartState { at: now, log, old, index_tail, modseq: head.end_modseq.max(1) };
        let from = past.first().map_or(now, |one| one.at).min(stamp(oldest)).min(now);
        let tracks_modseqs = head.end_modseq != 0;
        Some(KnownMailbox { start, past, past_expunges, gaps, present, next_uid: next, from, tracks_modseqs, notes })
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

    /// The part of the past that is repeated: whole days if there is a week of them, so that the hours keep their
    /// place; else all of it, because little would be left.
    fn sample(&self) -> Option<(&[PastTxn], i64)> {
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
    fn expunged_by(&self, one: &PastTxn) -> impl Iterator<Item = EventExpunge> + '_ {
        let (at, (first, last)) = (one.at, one.expunges);
        let list = self.past_expunges.get(first..last).unwrap_or_default();
        list.iter().map(move |past| EventExpunge { at, uid1: past.uid1, uid2: past.uid2 })
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
                crate::render::units::span(span)
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
        let mut expunges: Vec<EventExpunge> = self.past.iter().flat_map(|one| self.expunged_by(one)).collect();
        'rounds: for round in 1..=rounds {
            for one in past {
                let at = one.at + span * round;
                if at > to {
                    break 'rounds;
                }
                modseq = modseq.saturating_add(one.modseq_steps);
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
                        expunges.push(EventExpunge { at, uid1: uid, uid2: uid });
                    }
                }
                events.push(Event { at, bytes: one.bytes, modseq, sync: true, need_rotate: false, opens: true });
            }
        }
        let mut history = PastEvents::new(events, to);
        history.expunges = expunges;
        history.expunges_since = self.from;
        history.gaps = self.gaps.clone();
        Ok(Scenario { history, start: self.start, known_from: None, notes })
    }

    /// Lets the traffic of `scenario` happen to this mailbox instead of a new one.
    pub fn continued_by(&self, scenario: &mut Scenario) {
        scenario.history.raise_modseqs(scenario.start.modseq, self.start.modseq);
        scenario.history.gaps = self.gaps.clone();
        scenario.start = self.start;
        // Before the simulation the mailbox was there, and its own logs tell who is covered.
        scenario.known_from = None;
        scenario.notes.extend(self.notes.iter().cloned());
    }
}

/// Gives each transaction a time within its bracket: those that no clock tells apart are spread evenly.
fn spread(past: &mut [(i64, i64, PastTxn)]) {
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
