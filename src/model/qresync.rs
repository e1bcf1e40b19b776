//! What a server answers to `SELECT (QRESYNC (V M [known [(seqs uids)]]))` (`imap-fetch.c`, `cmd-select.c`,
//! `mailbox-get.c`, `mail-index-modseq.c`), and the place in the logs that a modseq stands for.

use super::chain::{Chain, ChainFile};
use super::replay::Replayed;
use super::{LogPos, UidSet};
use crate::format::Flaw;
use crate::format::record::{ExpungeGuid, Record, RecordType, UidRange};

/// One log file as far as finding a modseq needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `file_seq`.
    pub seq: u32,
    /// `indexid`; 0 when the log was marked corrupted.
    pub indexid: u32,
    /// Log that this one continues; 0: it starts from an empty mailbox.
    pub prev_file_seq: u32,
    /// Where that log ended, if this is to be held against it.
    pub prev_file_offset: u32,
    /// Highest modseq when the file was created.
    pub initial_modseq: u64,
    /// Offset of the first record.
    pub records_at: u64,
    /// Where the file's whole transactions end; `None` while that has not been read.
    pub end: Option<u64>,
}

impl Segment {
    /// The segment of a log in memory.
    pub fn of(file: &ChainFile<'_>) -> Segment {
        Segment { end: Some(file.end.offset), ..Segment::of_header(&file.log) }
    }

    /// The segment of a log of which only the header has been read.
    pub fn of_header(log: &crate::format::log::LogFile) -> Segment {
        let header = &log.header;
        Segment {
            seq: header.file_seq,
            indexid: header.indexid,
            prev_file_seq: header.prev_file_seq,
            prev_file_offset: header.prev_file_offset,
            initial_modseq: header.initial_modseq,
            records_at: log.records_at,
            end: None,
        }
    }
}

/// The logs do not reach back to a modseq: expunges after it may have been forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("modseq {modseq} is not covered: {reason}")]
pub struct TooOld {
    /// The modseq asked for.
    pub modseq: u64,
    /// What the logs lack.
    pub reason: String,
}

/// Why the log before `newer` cannot be used, if so (`mail_transaction_log_find_file`, `mail_transaction_log_view_set`).
fn cannot_precede(older: Option<&Segment>, newer: &Segment) -> Option<String> {
    let begins = format!("log {} begins with modseq {}", newer.seq, newer.initial_modseq);
    if newer.prev_file_seq == 0 {
        return Some(format!("{begins} and was reset: what is older counts for nothing"));
    }
    let wanted = newer.seq.wrapping_sub(1);
    let Some(older) = older else { return Some(format!("{begins} and log {wanted} is gone")) };
    if older.seq != wanted {
        return Some(format!("{begins} and log {wanted} is gone: .log.2 contains file_seq={}", older.seq));
    }
    if older.indexid != newer.indexid {
        return Some(format!("{begins}; log {wanted} has indexid {} instead of {}", older.indexid, newer.indexid));
    }
    let end = older.end?;
    (newer.prev_file_seq == older.seq && u64::from(newer.prev_file_offset) != end)
        .then(|| format!("{begins}; Invalid transaction log size ({end} vs {}): log {wanted}", newer.prev_file_offset))
}

/// The file that a modseq lies in: the newest whose `initial_modseq` is not above it, as long as the files follow each other
/// without a gap. `segments` are in order, oldest first. An `initial_modseq` of 0 covers every modseq.
///
/// # Errors
/// [`TooOld`] when the oldest file that can be reached begins above it.
pub fn segment_of(segments: &[Segment], modseq: u64) -> Result<usize, TooOld> {
    let too_old = |reason| TooOld { modseq, reason };
    let mut i = segments.len().checked_sub(1).ok_or_else(|| too_old("there is no log".into()))?;
    while let Some(newer) = segments.get(i).filter(|segment| modseq < segment.initial_modseq) {
        let older = i.checked_sub(1).and_then(|i| segments.get(i));
        if let Some(reason) = cannot_precede(older, newer) {
            return Err(too_old(reason));
        }
        i -= 1;
    }
    Ok(i)
}

/// The lowest modseq whose expunges are all still in the logs.
pub fn oldest_modseq(segments: &[Segment]) -> Option<u64> {
    let mut i = segments.len().checked_sub(1)?;
    while let Some(older) = i.checked_sub(1) {
        if cannot_precede(segments.get(older), segments.get(i)?).is_some() {
            break;
        }
        i = older;
    }
    segments.get(i).map(|segment| segment.initial_modseq)
}

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
        // A client that knows the file's highest modseq knows the whole file, records without a modseq included. But 0 is
        // no modseq: in a log that was never tracked it stands for the beginning.
        if self.modseq >= modseq && self.modseq > 0 { end } else { self.offset.unwrap_or(end) }
    }
}

/// The log position that a modseq stands for (`mail_index_modseq_get_next_log_offset`): what comes after it the client has
/// not seen. A modseq above the highest stands for the end.
///
/// # Errors
/// [`TooOld`] when the logs do not reach back to it.
pub fn locate(chain: &Chain<'_>, modseq: u64) -> Result<(usize, u64), TooOld> {
    let segments: Vec<Segment> = chain.files.iter().map(Segment::of).collect();
    let i = segment_of(&segments, modseq)?;
    let lost = || TooOld { modseq, reason: "there is no log".into() };
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

/// The UIDs that a record says have been expunged, as ranges; none for a request that has not been executed yet.
pub fn expunged<'a>(record: &Record<'a>) -> impl Iterator<Item = (u32, u32)> + use<'a> {
    let (mut ranges, mut guids) = (None, None);
    match record.kind() {
        Some(RecordType::Expunge) if record.external() => ranges = Some(record.elements::<UidRange>()),
        Some(RecordType::ExpungeGuid) if record.external() => guids = Some(record.elements::<ExpungeGuid>()),
        _ => {}
    }
    let ranges = ranges.into_iter().flatten().map(|range| (range.uid1, range.uid2));
    ranges.chain(guids.into_iter().flatten().map(|one| (one.uid, one.uid)))
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
        for (first, last) in uids.ranges() {
            pairs.push((nth(seqs, n)?, *first));
            n += u64::from(last - first);
            if last != first {
                pairs.push((nth(seqs, n)?, *last));
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

fn nth(set: &UidSet, mut n: u64) -> Option<u32> {
    for (first, last) in set.ranges() {
        let count = u64::from(last - first) + 1;
        if n < count {
            return first.checked_add(u32::try_from(n).ok()?);
        }
        n -= count;
    }
    None
}

/// How a server can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// VANISHED names the messages expunged after the modseq, and no other.
    Exact,
    /// The logs have forgotten some: VANISHED names every known UID that is not there.
    Fallback,
    /// The client must forget everything; nothing is sent beyond a plain SELECT.
    UidValidityChanged,
    /// Nobody has enabled CONDSTORE in this mailbox yet, so no client can know a modseq. A server that is asked all the same
    /// starts tracking and answers from the logs, with HIGHESTMODSEQ as the modseq of every message.
    NotTracked,
}

impl Kind {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Exact => "exact",
            Kind::Fallback => "fallback",
            Kind::UidValidityChanged => "uidvalidity_changed",
            Kind::NotTracked => "not_tracked",
        }
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// In which way.
    pub kind: Kind,
    /// The set of the VANISHED (EARLIER) line; no line is sent when it is empty.
    pub vanished: UidSet,
    /// Positions in the mailbox of the messages that FETCH lines are sent for.
    pub changed: Vec<usize>,
    /// The log position that the modseq stands for, if the logs still have it.
    pub position: Option<LogPos>,
    /// Why the answer is not exact.
    pub reason: Option<String>,
    /// A record that no Dovecot reads past, in a log that had to be read.
    pub stopped: Option<(u32, Flaw)>,
}

impl Answer {
    /// Bytes of the VANISHED line as the server sends it.
    pub fn bytes(&self) -> usize {
        if self.vanished.is_empty() { 0 } else { "* VANISHED (EARLIER) \r\n".len() + self.vanished.to_string().len() }
    }
}

/// Answers as Dovecot 2.2 and later do. `replayed` is the mailbox at the end of `chain`.
pub fn answer(chain: &Chain<'_>, replayed: &Replayed, question: &Question) -> Answer {
    let header = &replayed.mailbox.header;
    let nothing = |kind, reason| Answer {
        kind,
        vanished: UidSet::new(),
        changed: Vec::new(),
        position: None,
        reason: Some(reason),
        stopped: None,
    };
    if header.uid_validity == 0 || header.uid_validity != question.uid_validity {
        let reason = format!("the mailbox has UIDVALIDITY {}", header.uid_validity);
        return nothing(Kind::UidValidityChanged, reason);
    }
    let all = UidSet::range(1, u32::MAX);
    let known = question.known.as_ref().unwrap_or(&all);
    let located = locate(chain, question.modseq);
    let from = match &located {
        Ok(at) => *at,
        Err(_) => (oldest_usable(chain), 0),
    };
    let (ranges, stopped) = expunged_since(chain, from);
    let mut vanished = ranges.into_iter().collect::<UidSet>().intersection(known);
    let reason = match (&located, &stopped) {
        (Err(error), _) => Some(error.reason.clone()),
        (_, Some((seq, error))) => Some(format!("log {seq} is damaged: {error}")),
        _ => None,
    };
    if reason.is_some() {
        let mailbox = &replayed.mailbox;
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
    let mailbox = &replayed.mailbox;
    let changed = mailbox
        .positions()
        .filter(|i| known.contains(mailbox.uid(*i)) && replayed.message_modseq(*i) > question.modseq)
        .collect();
    let position = located.ok().and_then(|(file, offset)| {
        let file = chain.files.get(file)?;
        Some(LogPos { seq: file.seq(), offset })
    });
    let kind = match &reason {
        // What is answered then is what a client gets whose ENABLE QRESYNC starts the tracking.
        _ if mailbox.modseq_header().is_none() => Kind::NotTracked,
        Some(_) => Kind::Fallback,
        None => Kind::Exact,
    };
    let untracked =
        || (kind == Kind::NotTracked).then(|| "no modseq extension: CONDSTORE was never enabled".to_owned());
    let reason = reason.or_else(untracked);
    Answer { kind, vanished, changed, position, reason, stopped }
}

/// The oldest file that a session can read on from without a gap.
fn oldest_usable(chain: &Chain<'_>) -> usize {
    let segments: Vec<Segment> = chain.files.iter().map(Segment::of).collect();
    let mut i = segments.len().saturating_sub(1);
    while let Some(newer) = segments.get(i) {
        match i.checked_sub(1) {
            Some(older) if cannot_precede(segments.get(older), newer).is_none() => i = older,
            _ => break,
        }
    }
    i
}

type Stopped = Option<(u32, Flaw)>;

/// Every UID expunged at or after a position, and the record that reading stops at.
fn expunged_since(chain: &Chain<'_>, (file, offset): (usize, u64)) -> (Vec<(u32, u32)>, Stopped) {
    let mut ranges = Vec::new();
    for (i, one) in chain.files.iter().enumerate().skip(file) {
        let scan = if i == file && offset > 0 { one.records().from(offset, 0) } else { one.records() };
        for record in scan {
            if let Some(error) = record.fatal_error() {
                return (ranges, Some((one.seq(), error)));
            }
            ranges.extend(expunged(&record));
        }
    }
    (ranges, None)
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

    fn set(text: &str) -> UidSet {
        text.parse().expect("a set")
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
        let answer = |vanished| Answer {
            kind: Kind::Exact,
            vanished,
            changed: Vec::new(),
            position: None,
            reason: None,
            stopped: None,
        };
        assert_eq!(answer(set("3,7:9")).bytes(), b"* VANISHED (EARLIER) 3,7:9\r\n".len());
        assert_eq!(answer(UidSet::new()).bytes(), 0);
    }
}
