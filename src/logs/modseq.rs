//! What the logs know of modseqs: where each comes from, where it lies, and which of two schemes a number is of.

use std::collections::{BTreeMap, HashMap};

use super::history::{Log, Logs};
use crate::format::changes::Effect;
use crate::format::record::{Record, RecordType};
use crate::model::reach::Why;
use crate::model::{Chain, LogPos, qresync};
use crate::source::PathError;

/// Lowest `indexid`, a UNIX time, that a position modseq can have been made from: the scheme is of 2008.
const INDEXID_FROM: u32 = 0x4000_0000;

/// The UIDs whose modseq a record raises, as ranges, and for a modseq-update the modseq it gives them.
pub fn touched<'a>(record: &Record<'a>) -> impl Iterator<Item = (u32, u32, Option<u64>)> + use<'a> {
    record.changes(None).filter_map(|change| {
        let modseq = match change.effect {
            Effect::Append { .. } | Effect::Keyword { .. } | Effect::KeywordReset => None,
            Effect::Flags(flags) if !flags.internal => None,
            Effect::Expunge { done: true, .. } => None,
            Effect::Modseq { modseq } => Some(modseq),
            Effect::Flags(_) | Effect::Expunge { .. } | Effect::Extension { .. } | Effect::Increment { .. } => {
                return None;
            }
        };
        Some((change.uid1, change.uid2, modseq))
    })
}

/// Where tracking began: the first intro of the `modseq` extension after a log that did not count. `None` when it began
/// before the oldest log, or never did.
pub fn tracking_began(chain: &Chain<'_>) -> Option<(LogPos, u64)> {
    let (i, first) = chain.files.iter().enumerate().find(|(_, file)| file.end_modseq > 0)?;
    if first.log.header.initial_modseq > 0 {
        // Counted from the first record of a file that continues an untracked one, or of the very first file.
        let whole = i > 0 || first.log.header.starts_empty();
        let pos = LogPos { seq: first.seq(), offset: first.log.records_at };
        return whole.then_some((pos, first.log.header.initial_modseq));
    }
    let record = first.records().find(|record| record.modseq > 0)?;
    Some((LogPos { seq: first.seq(), offset: record.offset }, record.modseq))
}

/// What the logs know of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The modseq of its append.
    pub createseq: Option<u64>,
    /// The record that gave it its present modseq.
    pub set: Option<(LogPos, RecordType)>,
}

/// Finds for messages, given by rising UID with their modseqs, where they and their modseqs come from.
///
/// A record sets the modseq of messages only if it is the one they have: so it is held against those alone, however
/// many messages it names, and each message is done once. Records of any size take no more than a look-up for each
/// range.
pub fn origins(chain: &Chain<'_>, messages: &[(u32, u64)]) -> Vec<Origin> {
    let mut list = vec![Origin::default(); messages.len()];
    let mut unset: HashMap<u64, BTreeMap<u32, usize>> = HashMap::new();
    for (i, (uid, modseq)) in messages.iter().enumerate() {
        unset.entry(*modseq).or_default().insert(*uid, i);
    }
    for file in &chain.files {
        for record in file.records() {
            let Some(kind) = record.kind() else { continue };
            if matches!(kind, RecordType::Expunge | RecordType::ExpungeGuid) {
                continue;
            }
            if record.modseq > 0 {
                for appended in record.appended() {
                    let at = messages.binary_search_by_key(&appended, |(uid, _)| *uid);
                    if let Some(origin) = at.ok().and_then(|i| list.get_mut(i)) {
                        origin.createseq = Some(record.modseq);
                    }
                }
            }
            let set = Some((LogPos { seq: file.seq(), offset: record.offset }, kind));
            for (first, last, given) in touched(&record).filter(|(first, last, _)| first <= last) {
                let Some(waiting) = unset.get_mut(&given.unwrap_or(record.modseq)) else { continue };
                while let Some((uid, i)) = waiting.range(first..=last).next().map(|(uid, i)| (*uid, *i)) {
                    waiting.remove(&uid);
                    if let Some(origin) = list.get_mut(i) {
                        origin.set = set;
                    }
                }
            }
        }
    }
    list
}

/// What a modseq stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The modseq.
    pub modseq: u64,
    /// What a client that knows it has seen ends here; `None` when the logs do not reach back.
    pub position: Option<LogPos>,
    /// The record that ends there, if it raised the modseq to this.
    pub record: Option<(LogPos, Option<RecordType>)>,
    /// How QRESYNC with it is answered.
    pub kind: qresync::AnswerKind,
    /// Why not exactly.
    pub reason: Option<String>,
    /// True when it is above the highest.
    pub future: bool,
}

/// Finds the log position that a modseq stands for. `indexed` is the highest modseq that the index has had.
///
/// # Errors
/// When a log cannot be read.
pub fn locate(logs: &mut Logs, modseq: u64, indexed: u64) -> Result<Located, PathError> {
    let (file, position) = match logs.locate(modseq)? {
        Ok(found) => found,
        Err(error) => {
            let kind = qresync::AnswerKind::Fallback;
            let reason = Some(error.reason.to_string());
            return Ok(Located { modseq, position: None, record: None, kind, reason, future: false });
        }
    };
    let mut record = None;
    let path = logs.list.get(file).map(|log| log.path.clone()).unwrap_or_default();
    // Read to the end: what lies behind damage nobody knows.
    let mut highest = logs.list.get(file).map_or(0, |log| log.segment.initial_modseq);
    let initial = highest;
    logs.each(file, |i, seq, one| {
        highest = highest.max(one.modseq);
        if i == file && record.is_none() && one.modseq >= modseq && one.modseq > 0 {
            record = Some((LogPos { seq, offset: one.offset }, one.kind(), one.modseq));
        }
        Ok(true)
    })
    .map_err(|source| PathError::Io { path, source })?;
    let record = record.filter(|(.., at)| *at == modseq && modseq > initial).map(|(pos, kind, _)| (pos, kind));
    let highest = highest.max(indexed).max(1);
    let future = modseq > highest;
    let damaged = logs.damaged.iter().find(|pos| **pos >= position);
    let (kind, why) = match damaged {
        Some(pos) => (qresync::AnswerKind::Damaged, Some(Why::Damaged(*pos))),
        None if future => (qresync::AnswerKind::Future, Some(Why::Future { modseq, highest })),
        None => (qresync::AnswerKind::Exact, None),
    };
    let reason = why.map(|why| why.to_string());
    Ok(Located { modseq, position: Some(position), record, kind, reason, future })
}

/// What a number is that somebody found as a modseq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A count of changes, as every release makes them.
    Counter,
    /// A position, as snapshots of 15 March to 11 June 2008 made them: `((indexid + log_file_seq) << 32) |
    /// log_file_offset`.
    Position,
    /// Too large for a count of changes, but no position of this index: raised by a modseq-update.
    Raised,
}

impl Scheme {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Counter => "counter",
            Scheme::Position => "position",
            Scheme::Raised => "raised",
        }
    }
}

/// A number, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The number.
    pub value: u64,
    /// What it is.
    pub scheme: Scheme,
    /// The log position it would be in the position scheme; `None` when it lies before this index was made.
    pub position: Option<LogPos>,
    /// The counter modseq at that position, where the logs still have it.
    pub counter: Option<u64>,
    /// As a counter: the position scheme's number for the position it stands for.
    pub as_position: Option<u64>,
    /// The log position it stands for as a counter.
    pub located: Option<LogPos>,
    /// Why it is taken for what it is.
    pub reason: String,
}

/// The number that the scheme of 2008 gives a position.
pub fn encode_position(indexid: u32, position: LogPos) -> Option<u64> {
    let high = u64::from(indexid) + u64::from(position.seq);
    Some(high.checked_mul(1 << 32)? | u64::from(u32::try_from(position.offset).ok()?))
}

/// The position that a number stands for in the scheme of 2008; `None` when it is below the index's first.
pub fn decode_position(indexid: u32, value: u64) -> Option<LogPos> {
    let seq = (value >> 32).checked_sub(u64::from(indexid))?;
    Some(LogPos { seq: u32::try_from(seq).ok()?, offset: value & u64::from(u32::MAX) })
}

/// Takes a number apart, in both directions.
///
/// # Errors
/// When a log cannot be read.
pub fn decode(logs: &mut Logs, value: u64) -> Result<Decoded, PathError> {
    let indexid = logs.indexid();
    let position = decode_position(indexid, value);
    let threshold = u64::from(indexid) << 32;
    let plausible = indexid >= INDEXID_FROM && value > threshold && position.is_some_and(|pos| pos.offset % 4 == 0);
    let unversioned = |log: &Log| log.stream.log.header.minor_version == 0;
    let counts = |log: &Log| log.segment.initial_modseq > threshold && indexid > 0;
    let evidence = if logs.list.iter().any(unversioned) {
        Some("a log of version 1.0, which has no counter")
    } else if logs.list.iter().any(counts) {
        Some("a log whose initial_modseq is above indexid << 32")
    } else {
        None
    };
    let (scheme, reason) = if !plausible && value > u64::from(u32::MAX) {
        let reason = "above 2^32, but not above this indexid << 32 with an offset that is a multiple of 4";
        (Scheme::Raised, reason.to_owned())
    } else if !plausible {
        (Scheme::Counter, format!("below indexid << 32 ({threshold}): a count of changes"))
    } else {
        match evidence {
            Some(evidence) => (Scheme::Position, format!("above indexid << 32 ({threshold}), and there is {evidence}")),
            None => {
                let near = logs.list.last().is_some_and(|log| position.is_some_and(|pos| pos.seq <= log.segment.seq));
                let reason = format!("above indexid << 32 ({threshold}), though the logs here count changes");
                (if near { Scheme::Position } else { Scheme::Raised }, reason)
            }
        }
    };
    let mut counter = None;
    if let Some(wanted) = position
        && let Some(i) = logs.list.iter().position(|log| log.segment.seq == wanted.seq)
    {
        let path = logs.list.get(i).map(|log| log.path.clone()).unwrap_or_default();
        logs.each(i, |file, _, record| {
            if file != i || record.offset > wanted.offset {
                return Ok(false);
            }
            if record.offset == wanted.offset || record.end() == wanted.offset {
                counter = Some(record.modseq);
            }
            Ok(true)
        })
        .map_err(|source| PathError::Io { path, source })?;
    }
    let located = logs.locate(value)?.ok().map(|(_, position)| position).filter(|_| scheme == Scheme::Counter);
    let as_position = located.and_then(|position| encode_position(indexid, position));
    Ok(Decoded { value, scheme, position, counter, as_position, located, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rotation.md 7: `((indexid + log_file_seq) << 32) | log_file_offset`.
    #[test]
    fn the_scheme_of_2008_in_both_directions() {
        let position = LogPos { seq: 2, offset: 1788 };
        assert_eq!(encode_position(0x47db_0000, position), Some(0x47db_0002_0000_06fc));
        assert_eq!(decode_position(0x47db_0000, 0x47db_0002_0000_06fc), Some(position));
        assert_eq!(decode_position(0x47db_0000, 4711), None);
        assert_eq!(encode_position(1, LogPos { seq: 1, offset: 1 << 32 }), None);
        assert_eq!(encode_position(u32::MAX, LogPos { seq: u32::MAX, offset: 0 }), None);
    }
}
