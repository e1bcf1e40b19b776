//! What a server answers to `SELECT (QRESYNC (V M [known [(seqs uids)]]))` (`imap-fetch.c`, `cmd-select.c`,
//! `mailbox-get.c`, `mail-index-modseq.c`), and the place in the logs that a modseq stands for.

use super::chain::{Chain, Lost, Segment, oldest_linked};
use super::reach::{Lack, TooOld, Why, segment_of};
use super::replay::Replayed;
use super::sync::SyncKind;
use super::{LogPos, UidSet};
use crate::format::Flaw;
use crate::format::record::Record;

/// Finds the offset that a modseq stands for in the file that [`segment_of`] names
/// (`mail_transaction_log_file_get_modseq_next_offset`): everything before it the client knows.
#[derive(Clone, Copy, Debug)]
pub struct Finder {
    modseq: u64,
    offset: Option<u64>,
}

impl Finder {
    /// Looks for `modseq` in a file.
    pub fn new(modseq: u64, segment: &Segment) -> Finder {
        Finder { modseq, offset: (modseq == segment.initial_modseq).then_some(segment.records_at) }
    }

    /// Takes the next record of the file; true once later records cannot change the answer.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) -> bool {
        if self.offset.is_none() && record.modseq >= self.modseq {
            self.offset = Some(record.end());
        }
        record.modseq > self.modseq
    }

    /// The offset. `end` is where the file ends, and `modseq` its modseq there, when all records have been taken.
    pub fn finish(self, end: u64, modseq: u64) -> u64 {
        // A client that knows the file's highest modseq knows the whole file, records without a modseq included. But 0
        // is no modseq: in a log that was never tracked it stands for the beginning.
        if self.modseq >= modseq && self.modseq > 0 { end } else { self.offset.unwrap_or(end) }
    }
}

/// The log position that a modseq stands for (`mail_index_modseq_get_next_log_offset`): what comes after it the client
/// has not seen. A modseq above the highest stands for the end.
///
/// # Errors
/// [`TooOld`] when the logs do not reach back to it.
pub fn locate(chain: &Chain<'_>, modseq: u64) -> Result<(usize, u64), TooOld> {
    let segments = chain.segments();
    let i = segment_of(&segments, modseq)?;
    let lost = || TooOld { modseq, reason: Lack::NoLog };
    let (file, segment) = chain.files.get(i).zip(segments.get(i)).ok_or_else(lost)?;
    let mut finder = Finder::new(modseq, segment);
    let mut scan = file.records();
    for record in scan.by_ref() {
        if finder.record(&record) {
            break;
        }
    }
    Ok((i, finder.finish(file.end.offset, scan.modseq())))
}

/// What a client says when it opens a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The UIDVALIDITY it knows.
    pub uid_validity: u32,
    /// The HIGHESTMODSEQ it knows.
    pub modseq: u64,
    /// The UIDs it knows; all when it does not say.
    pub known: Option<UidSet>,
    /// Some of its messages, as sequence number and UID.
    pub sample: Option<Sample>,
}

/// Sequence match data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Pairs of sequence number and UID, rising.
    pub pairs: Vec<(u32, u32)>,
}

impl Sample {
    /// Pairs the sets as Dovecot does (`select_qresync_get_uids`): of a run of UIDs only the first and the last count.
    /// `None` when the sets are not of the same size.
    pub fn new(seqs: &UidSet, uids: &UidSet) -> Option<Sample> {
        let mut pairs = Vec::new();
        let mut n = 0;
        let mut left = Left { ranges: seqs.ranges(), before: 0 };
        for (first, last) in uids.ranges() {
            pairs.push((left.nth(n)?, *first));
            n += u64::from(last - first);
            if last != first {
                pairs.push((left.nth(n)?, *last));
            }
            n += 1;
        }
        (n == seqs.count()).then_some(Sample { pairs })
    }

    /// The last UID up to which the client has exactly what is there now; 0 when even the first pair does not fit
    /// (`expunges_drop_known`).
    fn known_up_to(&self, replayed: &Replayed) -> u32 {
        let mailbox = &replayed.mailbox;
        let uids: Vec<u32> = mailbox.positions().map(|i| mailbox.uid(i)).collect();
        let fits = |(seq, uid): &&(u32, u32)| {
            let there = (*seq as usize).checked_sub(1).and_then(|i| uids.get(i));
            there == Some(uid)
        };
        self.pairs.iter().take_while(fits).last().map_or(0, |(_, uid)| *uid)
    }
}

/// The ranges of a set that are still ahead, and how many numbers lie before them.
struct Left<'s> {
    ranges: &'s [(u32, u32)],
    before: u64,
}

impl Left<'_> {
    /// The number at a position, which may not fall from one call to the next.
    fn nth(&mut self, n: u64) -> Option<u32> {
        while let Some(((first, last), rest)) = self.ranges.split_first() {
            let end = self.before + u64::from(last - first) + 1;
            if n < end {
                return first.checked_add(u32::try_from(n.checked_sub(self.before)?).ok()?);
            }
            (self.ranges, self.before) = (rest, end);
        }
        None
    }
}

/// How a server can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// VANISHED names the messages expunged after the modseq, and no other.
    Exact,
    /// The logs have forgotten some: VANISHED names every known UID that is not there.
    Fallback,
    /// The client must forget everything; nothing is sent beyond a plain SELECT.
    UidValidityChanged,
    /// Nobody has enabled CONDSTORE in this mailbox yet, so no client can know a modseq. A server that is asked all the
    /// same starts tracking and answers from the logs, with HIGHESTMODSEQ as the modseq of every message.
    NotTracked,
    /// The modseq is above HIGHESTMODSEQ: it is of an earlier life of the mailbox. A server sends what it has from
    /// there on, which is usually nothing, and the client never hears what it missed.
    Future,
    /// The logs do not decode from the modseq's position to their end: what may lie behind nobody knows. VANISHED names
    /// every known UID that is proven gone.
    Damaged,
}

impl AnswerKind {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            AnswerKind::Exact => "exact",
            AnswerKind::Fallback => "fallback",
            AnswerKind::UidValidityChanged => "uidvalidity_changed",
            AnswerKind::NotTracked => "not_tracked",
            AnswerKind::Future => "future",
            AnswerKind::Damaged => "damaged",
        }
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In which way.
    pub kind: AnswerKind,
    /// The set of the VANISHED (EARLIER) line; no line is sent when it is empty.
    pub vanished: UidSet,
    /// Positions in the mailbox of the messages that FETCH lines are sent for.
    pub changed: Vec<usize>,
    /// The log position that the modseq stands for, if the logs still have it.
    pub position: Option<LogPos>,
    /// Why the answer is not exact.
    pub reason: Option<Reason>,
}

/// Why an answer is not exact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The mailbox is not the one the client knows.
    #[error("the mailbox has UIDVALIDITY {0}")]
    UidValidity(u32),
    /// There is no modseq to be known.
    #[error("no modseq extension: CONDSTORE was never enabled")]
    NotTracked,
    /// The logs do not decode.
    #[error("log {} is damaged: {error}", pos.seq)]
    Damaged {
        /// Where.
        pos: LogPos,
        /// In which way.
        error: Flaw,
    },
    /// A record about messages cannot be applied to those that there are.
    #[error("log {} is damaged: at {}, {kind}", pos.seq, pos.offset)]
    NotApplied {
        /// Where.
        pos: LogPos,
        /// Why.
        kind: SyncKind,
    },
    /// The logs do not tell.
    #[error(transparent)]
    History(Why),
}

impl Answer {
    /// Bytes of the VANISHED line as the server sends it.
    pub fn bytes(&self) -> usize {
        if self.vanished.is_empty() { 0 } else { "* VANISHED (EARLIER) \r\n".len() + self.vanished.to_string().len() }
    }
}

/// Answers as Dovecot 2.2 and later do. `replayed` is the mailbox at the end of `chain`; `lost` says that the logs do
/// not reach the index, so that what happened between the two nobody knows.
pub fn answer(chain: &Chain<'_>, replayed: &Replayed, lost: Option<&Lost>, question: &Question) -> Answer {
    let mailbox = &replayed.mailbox;
    let header = &mailbox.header;
    if header.uid_validity == 0 || header.uid_validity != question.uid_validity {
        return Answer {
            kind: AnswerKind::UidValidityChanged,
            vanished: UidSet::new(),
            changed: Vec::new(),
            position: None,
            reason: Some(Reason::UidValidity(header.uid_validity)),
        };
    }
    let all = UidSet::range(1, u32::MAX);
    let known = question.known.as_ref().unwrap_or(&all);
    let located = locate(chain, question.modseq);
    let from = match &located {
        Ok(at) => *at,
        Err(_) => (oldest_linked(&chain.segments()).unwrap_or(0), 0),
    };
    let position = located.as_ref().ok().and_then(|(file, offset)| {
        let file = chain.files.get(*file)?;
        Some(LogPos { seq: file.seq(), offset: *offset })
    });
    let damage = position.and_then(|position| {
        let broken = chain.damage_since(position).map(|(pos, error)| Reason::Damaged { pos, error });
        let is_of_messages = |kind: &SyncKind| {
            matches!(kind, SyncKind::AppendBelowNextUid { .. } | SyncKind::AppendTooMany | SyncKind::UidNotGiven { .. })
        };
        let mut errors = replayed.errors.iter().filter(|error| error.pos >= position);
        let refused = errors.find(|error| is_of_messages(&error.kind));
        broken.or_else(|| refused.map(|error| Reason::NotApplied { pos: error.pos, kind: error.kind.clone() }))
    });
    let highest = replayed.highest_modseq();
    // What is answered to a client that cannot know a modseq is what one gets whose ENABLE QRESYNC starts the tracking.
    let tracked = mailbox.modseq_header().is_some();
    let (kind, reason) = match (located, damage) {
        (_, Some(reason)) => (AnswerKind::Damaged, Some(reason)),
        (Err(error), _) => (AnswerKind::Fallback, Some(Reason::History(error.into()))),
        _ if replayed.position > chain.end() => {
            (AnswerKind::Fallback, Some(Reason::History(Why::IndexElsewhere(replayed.position))))
        }
        _ if lost.is_some() => {
            let stands = lost.map_or(LogPos::default(), |lost| LogPos { seq: lost.seq, offset: lost.offset });
            (AnswerKind::Fallback, Some(Reason::History(Why::IndexElsewhere(stands))))
        }
        _ if tracked && question.modseq > highest => {
            let why = Why::Future { modseq: question.modseq, highest };
            (AnswerKind::Future, Some(Reason::History(why)))
        }
        _ => (AnswerKind::Exact, None),
    };
    let mut vanished = expunged_since(chain, from).intersection(known);
    if matches!(kind, AnswerKind::Fallback | AnswerKind::Damaged) {
        let existing = mailbox.positions().map(|i| mailbox.uid(i)).collect::<UidSet>();
        let missing = known.difference(&existing);
        vanished = vanished.ranges().iter().chain(missing.ranges()).copied().collect();
        vanished = match header.next_uid.checked_sub(1) {
            Some(last) if last > 0 => vanished.intersection(&UidSet::range(1, last)),
            _ => UidSet::new(),
        };
        if let Some(sample) = &question.sample
            && let up_to @ 1.. = sample.known_up_to(replayed)
        {
            vanished = vanished.difference(&UidSet::range(1, up_to));
        }
    }
    let changed = mailbox
        .positions()
        .filter(|i| known.contains(mailbox.uid(*i)) && replayed.message_modseq(*i) > question.modseq)
        .collect();
    let (kind, reason) = match kind {
        AnswerKind::Damaged => (kind, reason),
        _ if !tracked => (AnswerKind::NotTracked, reason.or(Some(Reason::NotTracked))),
        _ => (kind, reason),
    };
    Answer { kind, vanished, changed, position, reason }
}

/// Every UID that the logs say was expunged at or after a position, up to where they do not decode any more.
fn expunged_since(chain: &Chain<'_>, (file, offset): (usize, u64)) -> UidSet {
    let mut ranges = Vec::new();
    'files: for (i, one) in chain.files.iter().enumerate().skip(file) {
        let scan = if i == file && offset > 0 { one.records().from(offset, 0) } else { one.records() };
        for record in scan {
            if record.fatal_error().is_some() {
                break 'files;
            }
            ranges.extend(record.expunged());
        }
    }
    ranges.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> UidSet {
        text.parse().expect("a set")
    }

    /// cmd-select.c: ranges of UIDs become their first and last UID with the sequence numbers at the same places.
    #[test]
    fn sequence_match_data_is_paired_as_dovecot_does() {
        let pairs = |seqs, uids| Sample::new(&set(seqs), &set(uids)).map(|sample| sample.pairs);
        assert_eq!(pairs("9,18,27", "25,38,47"), Some(vec![(9, 25), (18, 38), (27, 47)]));
        assert_eq!(pairs("1:5", "3:7"), Some(vec![(1, 3), (5, 7)]));
        assert_eq!(pairs("1:2,9", "3:4,7"), Some(vec![(1, 3), (2, 4), (9, 7)]));
        assert_eq!(pairs("1:5", "3:6"), None);
        assert_eq!(pairs("1:3", "3:6"), None);
    }

    #[test]
    fn the_line_has_the_bytes_a_server_sends() {
        let answer =
            |vanished| Answer { kind: AnswerKind::Exact, vanished, changed: Vec::new(), position: None, reason: None };
        assert_eq!(answer(set("3,7:9")).bytes(), b"* VANISHED (EARLIER) 3,7:9\r\n".len());
        assert_eq!(answer(UidSet::new()).bytes(), 0);
    }
}
