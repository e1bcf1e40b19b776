//! How far back the logs know, as claims with their proofs: that nothing is missing is said only where it follows.

use super::chain::{Chain, ChainFile, Segment, Unlinked, belongs, follows, oldest_linked};
use super::{LogPos, UidSet};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::log::LogFile;
use crate::format::record::Record;

/// Ranges of appended UIDs that are kept before they are put in order.
const MOST_RANGES: usize = 1 << 16;

/// Why a history is not complete, or is not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There is no log, or none that the others go back to.
    #[error("there is no log that goes back further")]
    NoLog,
    /// The oldest log continues one that is gone.
    #[error("log {seq} continues {prev}, which is gone")]
    Continues {
        /// The oldest log.
        seq: u32,
        /// Where the one before it ended.
        prev: LogPos,
    },
    /// Messages that came and went without these logs: the mailbox is older than they are, or its UIDs have gaps.
    #[error("UIDs {0} were never appended in these logs, and are not in the mailbox")]
    NeverAppended(UidSet),
    /// The index does not say where it stands in these logs.
    #[error("the index stands at {0}, which the logs do not have")]
    IndexElsewhere(LogPos),
    /// The logs cannot be read from there on.
    #[error("the log does not decode at {0}")]
    Damaged(LogPos),
    /// The modseq is higher than any this life of the mailbox has had.
    #[error("modseq {modseq} is above HIGHESTMODSEQ {highest}: it is of an earlier life of the mailbox")]
    Future {
        /// The modseq asked for.
        modseq: u64,
        /// HIGHESTMODSEQ.
        highest: u64,
    },
    /// The logs begin after the modseq.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

/// The logs do not reach back to a modseq: expunges after it may have been forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("modseq {modseq} is not covered: {reason}")]
pub struct TooOld {
    /// The modseq asked for.
    pub modseq: u64,
    /// What the logs lack.
    pub reason: Lack,
}

/// What the logs lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// There is no log.
    #[error("there is no log")]
    NoLog,
    /// The oldest log that can be read begins later.
    #[error("log {seq} begins with modseq {initial_modseq}; {why}")]
    BeginsLater {
        /// That log.
        seq: u32,
        /// The modseq it begins with.
        initial_modseq: u64,
        /// Why none comes before it.
        why: Unlinked,
    },
}

/// The file that a modseq lies in: the newest whose `initial_modseq` is not above it, as long as the files follow each
/// other without a gap. `segments` are in order, oldest first. An `initial_modseq` of 0 covers every modseq.
///
/// # Errors
/// [`TooOld`] when the oldest file that can be reached begins above it.
pub fn segment_of(segments: &[Segment], modseq: u64) -> Result<usize, TooOld> {
    let too_old = |reason| TooOld { modseq, reason };
    let mut i = segments.len().checked_sub(1).ok_or_else(|| too_old(Lack::NoLog))?;
    while let Some(newer) = segments.get(i).filter(|segment| modseq < segment.initial_modseq) {
        let older = i.checked_sub(1);
        if let Err(why) = follows(older.and_then(|i| segments.get(i)), newer) {
            let (seq, initial_modseq) = (newer.seq, newer.initial_modseq);
            return Err(too_old(Lack::BeginsLater { seq, initial_modseq, why }));
        }
        i = older.unwrap_or(0);
    }
    Ok(i)
}

/// The lowest modseq whose expunges are all still in the logs.
pub fn oldest_modseq(segments: &[Segment]) -> Option<u64> {
    segments.get(oldest_linked(segments)?).map(|segment| segment.initial_modseq)
}

/// How far back the two logs of a mailbox reach at `now`, UNIX seconds: the oldest one that the newest continues, and
/// the seconds since it was begun. `None` where that began with the mailbox: then everything is covered.
pub fn window<'f>(log: &'f LogFile, old: Option<&'f LogFile>, now: i64) -> Option<(&'f LogFile, u64)> {
    let is_linked = |old: &&LogFile| belongs(&Segment::of_header(old), &Segment::of_header(log)).is_ok();
    let oldest = old.filter(is_linked).unwrap_or(log);
    let age = now.saturating_sub(i64::from(oldest.header.create_stamp)).max(0).unsigned_abs();
    (!oldest.header.starts_empty()).then_some((oldest, age))
}

/// Which UIDs came into being in the logs, gathered from their records in order.
#[derive(Clone, Debug, Default)]
pub struct Births {
    ranges: Vec<(u32, u32)>,
    /// Above every UID that the logs appended, and not below a `next_uid` that they set.
    pub next_uid: u32,
    compact_at: usize,
}

impl Births {
    /// Takes the next record.
    pub fn record(&mut self, record: &Record<'_>) {
        record.appended().for_each(|uid| self.append(uid));
        self.next_uid = record.sets(IndexHeader::next_uid).fold(self.next_uid, u32::max);
    }

    fn append(&mut self, uid: u32) {
        match self.ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => self.ranges.push((uid, uid)),
        }
        self.next_uid = self.next_uid.max(uid.saturating_add(1));
        // A log that appends the same UIDs over and over asks for no more memory than the UIDs take.
        if self.ranges.len() >= self.compact_at.max(MOST_RANGES) {
            let set: UidSet = std::mem::take(&mut self.ranges).into_iter().collect();
            self.ranges = set.ranges().to_vec();
            self.compact_at = self.ranges.len().saturating_mul(2);
        }
    }

    /// The UIDs appended.
    pub fn uids(&self) -> UidSet {
        self.ranges.iter().copied().collect()
    }
}

/// What it takes to say that no message has come and gone without the logs telling of it.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// What the logs appended.
    pub births: &'a Births,
    /// Where the logs do not decode.
    pub damaged: Option<LogPos>,
    /// The index's; the logs may know a higher one.
    pub next_uid: u32,
    /// UIDs that an index has which stands in these logs: what happened to them since, the logs tell.
    pub present: &'a UidSet,
}

impl Whole<'_> {
    /// The claim, or what it lacks: every UID below `next_uid` was appended in the logs or is present, and the logs
    /// decode from their headers to their ends.
    ///
    /// # Errors
    /// [`Why`] when it is not proven.
    pub fn judge(&self) -> Result<(), Why> {
        if let Some(pos) = self.damaged {
            return Err(Why::Damaged(pos));
        }
        let Some(last) = self.next_uid.max(self.births.next_uid).checked_sub(1).filter(|last| *last > 0) else {
            return Ok(());
        };
        let told = self.births.uids();
        let missing = UidSet::range(1, last).difference(&told).difference(self.present);
        if missing.is_empty() { Ok(()) } else { Err(Why::NeverAppended(missing)) }
    }
}

impl Chain<'_> {
    /// Whether the logs tell of everything that ever happened to this mailbox: they begin with the index, and every UID
    /// below `next_uid` was appended in them.
    ///
    /// # Errors
    /// [`Why`] when that is not proven.
    pub fn whole_history(&self, next_uid: u32) -> Result<(), Why> {
        let mut births = Births::default();
        self.files.iter().flat_map(ChainFile::records).for_each(|record| births.record(&record));
        let first = self.files.first().map(Segment::of);
        let first = first.filter(|_| oldest_linked(&self.segments()) == Some(0));
        let damaged = self.damage_since(LogPos::default()).map(|(pos, _)| pos);
        let whole = Whole { births: &births, damaged, next_uid, present: &UidSet::new() };
        match first {
            None => Err(Why::NoLog),
            Some(first) if !first.starts_empty() => Err(Why::Continues { seq: first.seq, prev: first.prev() }),
            Some(_) => whole.judge(),
        }
    }
}

/// What an index file says by itself, before any log is read.
#[derive(Clone, Debug, Default)]
pub struct Indexed {
    /// `next_uid`.
    pub next_uid: u32,
    /// The messages.
    pub uids: UidSet,
    /// Up to where it holds the logs.
    pub position: LogPos,
    /// `highest_modseq` of its `modseq` extension; 0 when it has none.
    pub highest_modseq: u64,
}

impl Indexed {
    /// Reads it.
    pub fn of(index: &IndexFile<'_>) -> Indexed {
        let header = &index.header;
        Indexed {
            next_uid: header.next_uid,
            uids: (0..index.count()).filter_map(|i| index.uid(i)).collect(),
            position: LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_head_offset) },
            highest_modseq: Indexed::highest_modseq_of(index),
        }
    }

    /// `highest_modseq` alone, for which no record is read.
    pub fn highest_modseq_of(index: &IndexFile<'_>) -> u64 {
        let modseqs = index.extension(b"modseq").filter(|ext| ext.data.len() == 16);
        modseqs.and_then(|ext| index.endian.u64_at(ext.data, 0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(seq: u32, prev_file_seq: u32, initial_modseq: u64) -> Segment {
        Segment {
            seq,
            indexid: 7,
            prev_file_seq,
            prev_file_offset: 900,
            initial_modseq,
            records_at: 40,
            end: Some(900),
        }
    }

    /// rotation.md 5.1: the last file whose initial_modseq is not above M, back to `.log.2` and no further.
    #[test]
    fn a_modseq_lies_in_the_last_file_that_begins_at_or_below_it() {
        let two = [segment(2, 0, 1), segment(3, 2, 20)];
        assert_eq!([0, 1, 19, 20, 99].map(|m| segment_of(&two, m).ok()), [None, Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(oldest_modseq(&two), Some(1));
        assert_eq!(segment_of(&[], 5).ok(), None);
    }

    #[test]
    fn what_lies_before_a_reset_or_a_gap_counts_for_nothing() {
        let reset = [segment(2, 0, 1), segment(3, 0, 20)];
        assert_eq!([19, 20].map(|m| segment_of(&reset, m).ok()), [None, Some(1)]);
        assert_eq!(oldest_modseq(&reset), Some(20));
        let gap = [segment(2, 0, 1), segment(4, 3, 20)];
        assert_eq!([19, 20].map(|m| segment_of(&gap, m).ok()), [None, Some(1)]);
        let mut other = [segment(2, 0, 1), segment(3, 2, 20)];
        other[0].indexid = 8;
        assert_eq!(segment_of(&other, 19).ok(), None);
    }

    /// product.md: a `.log.2` whose initial_modseq is 0 counts as covered.
    #[test]
    fn an_untracked_beginning_covers_everything() {
        let old = [segment(2, 1, 0), segment(3, 2, 20)];
        assert_eq!([0, 5, 20].map(|m| segment_of(&old, m).ok()), [Some(0), Some(0), Some(1)]);
        assert_eq!(oldest_modseq(&old), Some(0));
    }

    /// (1, 0) is how Dovecot 1.x to 2.1 wrote that a log continues none.
    #[test]
    fn a_log_that_continues_none_follows_none() {
        let mut new = segment(2, 1, 1);
        new.prev_file_offset = 0;
        assert!(new.starts_empty());
        assert_eq!(follows(Some(&segment(1, 0, 1)), &new), Err(Unlinked::Reset { new: 2 }));
        assert_eq!(oldest_modseq(&[segment(1, 0, 1), new]), Some(1));
    }

    #[test]
    fn a_uid_that_nobody_saw_come_or_stay_takes_the_claim_away() {
        let mut births = Births::default();
        [4, 5, 7, 8].into_iter().for_each(|uid| births.append(uid));
        let present = |text: &str| text.parse::<UidSet>().expect("a set");
        let claim = |next_uid, present: &UidSet, damaged| Whole { births: &births, damaged, next_uid, present }.judge();
        let missing = |text| Err(Why::NeverAppended(present(text)));
        assert_eq!(claim(9, &UidSet::new(), None), missing("1:3,6"));
        assert_eq!(claim(9, &present("1:2,6"), None), missing("3"));
        assert_eq!(claim(9, &present("1:3,6"), None), Ok(()));
        assert_eq!(claim(11, &present("1:3,6"), None), missing("9:10"));
        let at = LogPos { seq: 2, offset: 80 };
        assert_eq!(claim(9, &present("1:3,6"), Some(at)), Err(Why::Damaged(at)));
    }
}
