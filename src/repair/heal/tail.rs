//! Records behind the end of a log that are not its own: the end of another mailbox's log, or its own end a second
//! time. They are cut off, not executed.

use std::collections::HashSet;
use std::ops::Range;

use crate::format::ext::KnownExt;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::ExtNames;
use crate::format::log::{LogFile, Txn};
use crate::format::record::{Record, RecordType};
use crate::format::{FileKind, Flaw, FlawKind};
use crate::model::{LogPos, UidSet};
use crate::repair::flip::is_one_byte_apart;
use crate::repair::heal::own::{guid_set, is_other_guid};
use crate::repair::inputs::Inputs;
use crate::repair::loss::Loss;
use crate::repair::order::Logs;
use crate::repair::survey::Survey;

/// What a record says for or against being this log's.
enum Word {
    For,
    Against(&'static str),
    Nothing,
}

/// What is known of the log while it is walked.
#[derive(Default)]
struct Known {
    /// Ends of records.
    ends: HashSet<u64>,
    /// The last published tail.
    tail: u64,
    /// The highest UID appended; 0 while none was.
    highest: u32,
    /// UIDs that records of the log expunge.
    expunged: UidSet,
    /// The extensions that were introduced.
    names: ExtNames,
    /// GUID of the mailbox.
    guid: Option<[u8; 16]>,
    /// Stretches of which nobody knows what they were.
    dark: Vec<Range<u64>>,
    /// Whether the log starts from nothing, and nothing was said yet for or against a record.
    begins: bool,
}

/// Whether a record introduces, by a number, an extension that is not the one of this number: the shape is not that
/// one's by more than one wrong byte.
fn introduces_other(record: &Record<'_>, names: &ExtNames) -> bool {
    record.intros().filter(|one| one.name.is_empty()).any(|one| {
        let name = names.name(one.intro.ext_id as usize);
        let shape = name.and_then(|name| KnownExt::of(name, names.flavor())).and_then(KnownExt::record_shape);
        let bytes = |(size, align): (u16, u16)| [size.to_ne_bytes(), align.to_ne_bytes()].concat();
        let have = (one.intro.record_size, one.intro.record_align);
        shape.is_some_and(|right| right != have && !is_one_byte_apart(&bytes(right), &bytes(have)))
    })
}

/// Whether one such record is enough: an append without a mail is no flipped bit, and a tail offset is one only where
/// another bit in it makes it the end of a record.
fn is_strong(record: &Record<'_>, known: &Known) -> bool {
    match record.published_tail() {
        Some((_, tail)) => !(0..32).any(|bit| known.ends.contains(&u64::from(tail ^ (1 << bit)))),
        None => matches!(
            record.kind(),
            Some(RecordType::Append | RecordType::ExtIntro | RecordType::ExtHdr | RecordType::ExtHdr32)
        ),
    }
}

/// Finds such an end in the newest log and cuts it off. What may have been its own in front of it is returned.
pub fn cut(logs: &mut Logs<'_>, inputs: &Inputs<'_>, index: Option<&IndexFile<'_>>) -> Option<Loss> {
    let sound = index.filter(|index| index.problems.is_empty());
    let in_place = logs.head_in_place;
    // Of holes in front of it nobody knows what they were.
    let (log, older) = logs.files.split_last_mut().filter(|_| in_place)?;
    let past: Vec<u64> = log.holes.iter().filter(|hole| hole.is_strange).map(|hole| hole.at).collect();
    let dark: Vec<Range<u64>> =
        log.holes.iter().filter(|hole| !hole.is_strange).map(|hole| hole.at..hole.end).collect();
    let whole = LogFile { size: log.bytes.len() as u64, ..log.log.clone() };
    let as_written = |at: u64| whole.records(log.bytes).from(at, 1).next();
    let appended = |log: &Survey<'_>| log.file().records().flat_map(|record| record.appended()).max().unwrap_or(0);
    let mut known = Known { highest: older.iter().map(appended).max().unwrap_or(0), ..Known::default() };
    known.ends.insert(log.log.records_at);
    // Logs that begin with the mailbox number extensions in the order of their names.
    known.names = match older.first().unwrap_or(log).log.header.starts_empty() {
        true => ExtNames::from_nothing(),
        false => ExtNames::new(sound.iter().flat_map(|index| &index.extensions).map(|ext| ext.name.to_vec())),
    };
    known.begins = log.log.header.starts_empty();
    known.guid = inputs.storage.as_ref().and_then(|storage| storage.guid);
    for record in older.iter().flat_map(|log| log.file().records()) {
        known.names.follow(&record);
    }
    let gone =
        log.file().records().filter(|one| matches!(one.kind(), Some(RecordType::Expunge | RecordType::ExpungeGuid)));
    gone.for_each(|one| one.expunged().for_each(|(first, last)| known.expunged.insert_range(first, last)));
    // What a sound index has read is the log's own.
    let read =
        sound.filter(|index| index.header.log_file_seq == log.seq() && index.header.indexid == log.log.header.indexid);
    let mut own = read.map_or(log.log.records_at, |index| u64::from(index.header.log_file_head_offset));
    own = dark.iter().map(|hole| hole.end).fold(own, u64::max);
    known.dark = dark;
    let mut against: Vec<(u64, u64, &'static str)> = Vec::new();
    let mut strong = false;
    let mut txn = Txn::default();
    for record in log.file().records() {
        txn.follow(&record);
        let is_strange = past.contains(&record.offset);
        let record = if is_strange { as_written(record.offset)? } else { record };
        let word = match word(&record, &mut known, inputs) {
            Word::Nothing if is_strange => Word::Against("a change of messages that were never there"),
            word => word,
        };
        known.begins &= matches!(word, Word::Nothing);
        match word {
            // What was written at once is of one log.
            Word::For if against.is_empty() => own = own.max(record.end()).max(txn.end),
            // Own records behind it: a damaged record, and no end of another log.
            Word::For => return None,
            Word::Against(why) if record.offset >= own => {
                strong |= is_strong(&record, &known);
                against.push((record.offset, record.end(), why));
            }
            Word::Against(_) => return None,
            Word::Nothing => {}
        }
        known.names.follow(&record);
        known.ends.insert(record.end());
    }
    let (first, _, why) = *against.first()?;
    let twice = repeated(log, first);
    if against.len() < 2 && !strong && twice.is_none() {
        return None;
    }
    let at = twice.unwrap_or(own);
    // Records between the last own one and the first that cannot be may be either.
    let doubtful = twice.is_none()
        && at < first
        && log.file().records().any(|one| (at..first).contains(&one.offset) && changes(&one));
    let what = if twice.is_some() { "its own end, a second time" } else { why };
    let rest = log.end - at;
    let pos = LogPos { seq: log.seq(), offset: at };
    log.end = at;
    log.holes.retain(|hole| hole.at < at);
    log.tail = Some(Flaw::new(FileKind::Log, at, FlawKind::RangeInvalid, "records of this log", what));
    log.alien = true;
    doubtful.then(|| Loss::Hole { at: pos, size: rest, what: "some of it may have been this log's own".into() })
}

fn sets_validity(record: &Record<'_>) -> bool {
    let at = IndexHeader::uid_validity.offset;
    record.header_chunks().any(|chunk| (chunk.offset as usize..).zip(chunk.data).any(|(offset, _)| offset == at))
}

fn changes(record: &Record<'_>) -> bool {
    !matches!(record.kind(), Some(RecordType::Boundary | RecordType::ExtIntro) | None)
}

fn word(record: &Record<'_>, known: &mut Known, inputs: &Inputs<'_>) -> Word {
    if let Some((_, tail)) = record.published_tail() {
        let tail = u64::from(tail);
        if tail >= known.tail && (known.ends.contains(&tail) || tail == record.end()) {
            known.tail = tail;
            return Word::For;
        }
        if known.dark.iter().any(|hole| hole.contains(&tail)) {
            return Word::Nothing;
        }
        return Word::Against("a tail offset where no record of this log ends");
    }
    let storage = inputs.storage.as_ref().filter(|storage| !storage.uids.is_empty());
    let has = |uid: u32| storage.map(|storage| storage.uids.binary_search(&uid).is_ok());
    match record.kind() {
        // A log that begins with a mailbox begins with its UIDVALIDITY.
        Some(RecordType::HeaderUpdate) if known.begins && known.highest == 0 && sets_validity(record) => Word::For,
        Some(RecordType::ExtIntro) if introduces_other(record, &known.names) => {
            Word::Against("an introduction of another extension by the number of this one")
        }
        Some(RecordType::ExtHdr | RecordType::ExtHdr32) => {
            let other = guid_set(record, &known.names).zip(known.guid).filter(|(guid, own)| is_other_guid(guid, own));
            if other.is_some() { Word::Against("the GUID of another mailbox") } else { Word::Nothing }
        }
        Some(RecordType::Append) => {
            let list: Vec<u32> = record.appended().collect();
            let rises =
                list.windows(2).all(|pair| pair[0] < pair[1]) && list.first().is_some_and(|uid| *uid > known.highest);
            if !rises {
                return Word::Against("an append of UIDs that were given before");
            }
            known.highest = list.last().copied().unwrap_or(known.highest);
            match has(known.highest) {
                Some(true) => Word::For,
                // A later record may expunge it.
                Some(false) if !known.expunged.contains(known.highest) => {
                    Word::Against("an append of messages that have no mail")
                }
                _ => Word::Nothing,
            }
        }
        Some(RecordType::Expunge | RecordType::ExpungeGuid) if record.external() => {
            let mut list = record.expunged();
            if list.any(|(uid, _)| has(uid) == Some(true)) {
                return Word::Against("an expunge of a message that the storage has");
            }
            match record.expunged().any(|(uid, _)| known.highest != 0 && known.dark.is_empty() && uid > known.highest) {
                true => Word::Against("an expunge of a message that was never there"),
                false => Word::Nothing,
            }
        }
        _ => Word::Nothing,
    }
}

/// Where the end of a log begins a second time, if a record at `inside` belongs to such a repetition.
fn repeated(log: &Survey<'_>, inside: u64) -> Option<u64> {
    let end = usize::try_from(log.end).ok()?;
    let bytes = log.readable.get(..end)?;
    let starts = log.file().records().map(|record| record.offset).filter(|at| *at <= inside);
    starts.filter_map(|at| usize::try_from(at).ok()).find_map(|at| {
        let size = end.checked_sub(at)?;
        let before = bytes.get(at.checked_sub(size)?..at)?;
        (before == &bytes[at..]).then_some(at as u64)
    })
}
