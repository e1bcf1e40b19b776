//! Single fields of log records and log headers that cannot be what they are, put right where the records around them,
//! the index, the backup or the storage leave one value only: the one that a single bit was turned over in.
//!
//! What is put right stands in the survey's copy, and is said; nothing is guessed where two values would do.

use std::collections::{HashMap, HashSet};

use crate::format::ext::{IndexFlavor, KnownExt};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::BY_NAME;
use crate::format::record::{Append, ExpungeGuid, ModseqUpdate, Record, RecordType, flag};
use crate::format::{Disk, Endian};
use crate::model::Mailbox;
use crate::repair::candidates::MARGIN;
use crate::repair::flip::{bits_apart, is_keyword, is_one_byte_apart, without_lone_bit};
use crate::repair::inputs::{Inputs, Storage};
use crate::repair::order::Logs;
use crate::repair::survey::Survey;

/// Impossible UIDs up to which each is looked at by itself. More of them are no flipped bits.
const MAX_DAMAGED: usize = 3;
/// UIDs that may have been skipped at once: a few rebuilds that did not know what was lost.
const MOST_SKIPPED: u32 = 1 << 20;
/// No counting reaches this modseq: a single bit above it is a flipped one.
const MODSEQ_LIMIT: u64 = 1 << 40;

/// A modseq that a log may begin with although it begins with the mailbox.
const FIRST_LIMIT: u64 = 1 << 10;

/// A field of a record in one of the logs.
#[derive(Clone, Copy)]
struct Field {
    /// The log, by its place.
    file: usize,
    /// Offset of the record.
    record: u64,
    /// Offset of the field.
    at: usize,
    uid: u32,
}

/// What stands beside the logs and names messages.
struct Beside {
    /// Messages of index, backup and storage.
    there: HashSet<u32>,
    /// Messages of the index alone, when it is sound, and their flags.
    index: Option<HashMap<u32, u8>>,
    /// Messages of the storage; empty when it does not tell.
    storage: HashSet<u32>,
    /// Names of keywords in index, backup and storage.
    keywords: HashSet<Vec<u8>>,
    /// Those that a letter stands for, and neither index nor backup names.
    letters: HashSet<Vec<u8>>,
    /// No keyword that is in use is missing among them.
    all_keywords: bool,
    /// Names of the index's extensions, in their order.
    extensions: Vec<Vec<u8>>,
    /// Where the index stands: number of the log and offset.
    head: (u32, u64),
    /// The highest next UID that any of them has.
    next_uid: u32,
    /// UIDVALIDITY as the storage, else index or backup have it.
    uid_validity: Option<u32>,
}

fn stands(index: &IndexFile<'_>) -> (u32, u64) {
    (index.header.log_file_seq, u64::from(index.header.log_file_head_offset))
}

/// Whether a record of these logs ends there.
fn has_end(logs: &Logs<'_>, (seq, offset): (u32, u64)) -> bool {
    let of = logs.files.iter().filter(|log| log.seq() == seq);
    of.into_iter().any(|log| log.log.records_at == offset || log.file().records().any(|record| record.end() == offset))
}

/// The UIDs of an index, with their flags.
fn flags<'i>(index: &'i IndexFile<'_>) -> impl Iterator<Item = (u32, u8)> + 'i {
    index.iter().filter_map(|record| Some((index.endian.u32_at(record, 0)?, *record.get(4)?)))
}

impl Beside {
    fn read(logs: &Logs<'_>, inputs: &Inputs<'_>, index: Option<&IndexFile<'_>>) -> Beside {
        let backup = inputs.backup.and_then(|bytes| IndexFile::parse(bytes).ok());
        let sound = |index: &&IndexFile<'_>| index.problems.is_empty();
        let index = index.filter(sound);
        let backup = backup.as_ref().filter(sound);
        let storage: HashSet<u32> = inputs.storage.iter().flat_map(|storage| storage.uids.iter().copied()).collect();
        let files = index.into_iter().chain(backup);
        let letters: Vec<Vec<u8>> = inputs.storage.iter().flat_map(|storage| storage.letters.clone()).collect();
        let letters: Vec<Vec<u8>> = letters.into_iter().filter(|name| !name.is_empty()).collect();
        let named: HashSet<Vec<u8>> = files.clone().flat_map(Mailbox::keywords_of).collect();
        Beside {
            there: files.clone().flat_map(flags).map(|(uid, _)| uid).chain(storage.iter().copied()).collect(),
            index: index.map(|index| flags(index).collect()),
            storage,
            letters: letters.iter().filter(|name| !named.contains(*name)).cloned().collect(),
            keywords: named.into_iter().chain(letters).collect(),
            all_keywords: inputs.storage.as_ref().is_some_and(Storage::names_all_keywords),
            next_uid: files
                .clone()
                .map(|index| index.header.next_uid)
                .chain(inputs.storage.as_ref().map(|storage| storage.next_uid))
                .max()
                .unwrap_or(0),
            extensions: index.iter().flat_map(|index| &index.extensions).map(|ext| ext.name.to_vec()).collect(),
            head: index.map(stands).filter(|place| has_end(logs, *place)).unwrap_or_default(),
            uid_validity: inputs
                .storage
                .as_ref()
                .and_then(|storage| storage.uid_validity)
                .or_else(|| files.clone().map(|index| index.header.uid_validity).find(|value| *value != 0)),
        }
    }
}

/// Puts right what can be.
pub fn heal(logs: &mut Logs<'_>, inputs: &Inputs<'_>, index: Option<&IndexFile<'_>>) {
    let beside = Beside::read(logs, inputs, index);
    headers(logs, index);
    validity(logs, &beside);
    for (field, uid) in appends(logs, &beside).into_iter().chain(expunges(logs, &beside)) {
        let what = format!("record at {}: it says UID {}, which can only be {uid}", field.record, field.uid);
        put(logs, field, uid, what);
    }
    // Logs that begin with the mailbox number extensions in the order of their names, others go on from the index.
    let begins = logs.files.first().is_some_and(|log| log.log.header.starts_empty());
    let mut names = if begins { Vec::new() } else { beside.extensions.clone() };
    for log in &mut logs.files {
        modseqs(log);
        intros(log, &mut names);
        unknown_flags(log, &beside);
    }
    keywords(logs, &beside);
    impossible(logs, &beside);
}

/// Gives up changes of messages that nobody ever gave: what they did change, nothing tells any more. Where the logs are
/// not whole, or many records say so, it is not the records that are damaged.
fn impossible(logs: &mut Logs<'_>, beside: &Beside) {
    let is_whole = |log: &Survey<'_>| log.holes.is_empty() && log.tail.is_none();
    let size: u64 = logs.files.iter().map(|log| log.bytes.len() as u64).sum();
    let in_logs = u32::try_from(size / Append::SIZE as u64).unwrap_or(u32::MAX);
    let known = beside.there.iter().copied().max().unwrap_or(0).max(beside.next_uid.saturating_sub(1));
    // No log has room for so many appends that one of them is as high as this.
    let limit = if known == 0 { u32::MAX } else { known.saturating_add(in_logs).saturating_add(MOST_SKIPPED) };
    let appended = logs.files.iter().flat_map(|log| {
        let file = log.file();
        file.records().flat_map(|record| record.appended()).collect::<Vec<_>>()
    });
    let appended = appended.filter(|uid| *uid <= limit).max().unwrap_or(0).max(known);
    if appended == 0 {
        return;
    }
    // What cannot be read may have given more.
    let given = if logs.files.iter().all(is_whole) { appended } else { appended.saturating_add(in_logs) };
    let mut found = Vec::new();
    for (file, log) in logs.files.iter().enumerate() {
        for record in log.file().records().filter(|record| (log.seq(), record.offset) >= beside.head) {
            let is_change = matches!(
                record.kind(),
                Some(
                    RecordType::Expunge
                        | RecordType::ExpungeGuid
                        | RecordType::FlagUpdate
                        | RecordType::KeywordUpdate
                        | RecordType::KeywordReset
                )
            );
            let far = match is_change {
                true => record.changes_as_stored(None).map(|change| change.uid2).find(|uid| *uid > given),
                false => record.appended().find(|uid| *uid > limit),
            };
            let Some(uid) = far else { continue };
            let kind = record.kind().map_or("record", RecordType::name);
            let what = format!("{kind} of UID {uid}, but no UID above {appended} was given");
            found.push((file, record.offset, record.end(), what));
        }
    }
    if found.len() > MAX_DAMAGED {
        return;
    }
    for (file, at, end, what) in found {
        if let Some(log) = logs.files.get_mut(file) {
            log.give_up(at, end, what);
        }
    }
}

/// A UIDVALIDITY that is one bit away from the mailbox's.
fn validity(logs: &mut Logs<'_>, beside: &Beside) {
    let Some(known) = beside.uid_validity else { return };
    for log in &mut logs.files {
        let mut found = None;
        for record in log.file().records().filter(|record| record.kind() == Some(RecordType::HeaderUpdate)) {
            for chunk in record.header_chunks() {
                let from = chunk.offset as usize;
                let value = IndexHeader::uid_validity.u32_in(chunk.data, from, record.endian);
                if let Some(value) = value.filter(|value| (value ^ known).is_power_of_two()) {
                    // Two bytes each for offset and size stand before the data.
                    let at = chunk.at + 4 + IndexHeader::uid_validity.offset.saturating_sub(from);
                    found = Some((record.offset, place(&record, at), value));
                }
            }
        }
        let Some((record, at, value)) = found else { continue };
        let bytes = log.log.endian.u32_bytes(known);
        if let Some(to) = log.readable.to_mut().get_mut(at..at + 4) {
            to.copy_from_slice(&bytes);
            log.mended.push(format!("record at {record}: uid_validity {value} can only be {known}"));
        }
    }
}

fn put(logs: &mut Logs<'_>, field: Field, uid: u32, what: String) {
    let Some(log) = logs.files.get_mut(field.file) else { return };
    let bytes = log.log.endian.u32_bytes(uid);
    if let Some(to) = log.readable.to_mut().get_mut(field.at..field.at + 4) {
        to.copy_from_slice(&bytes);
        log.mended.push(what);
    }
}

/// The values one bit away.
fn near(value: u32) -> impl Iterator<Item = u32> {
    (0..32).map(move |bit| value ^ (1 << bit))
}

fn place(record: &Record<'_>, at: usize) -> usize {
    usize::try_from(record.payload_at(at)).unwrap_or(usize::MAX)
}

/// UIDs that records name, appends aside.
fn named(logs: &Logs<'_>) -> HashSet<u32> {
    let mut named = HashSet::new();
    for log in &logs.files {
        for record in log.file().records() {
            match record.kind() {
                Some(RecordType::Append | RecordType::HeaderUpdate | RecordType::Boundary) | None => {}
                // The introduction tells how long its elements are; the first begins with a UID in any case.
                Some(RecordType::ExtRec) => named.extend(record.endian.u32_at(record.payload, 0)),
                Some(_) => named.extend(record.changes(None).flat_map(|change| [change.uid1, change.uid2])),
            }
        }
    }
    named
}

/// Appended UIDs that break the rising order, or that index or storage refute.
fn appends(logs: &Logs<'_>, beside: &Beside) -> Vec<(Field, u32)> {
    let mut list: Vec<Field> = Vec::new();
    for (file, log) in logs.files.iter().enumerate() {
        for record in log.file().records().filter(|record| record.kind() == Some(RecordType::Append)) {
            let fields = record.elements::<Append>().enumerate();
            list.extend(fields.map(|(i, append)| Field {
                file,
                record: record.offset,
                at: place(&record, i * Append::SIZE),
                uid: append.uid,
            }));
        }
    }
    let uid = |i: usize| list[i].uid;
    let mut damaged: Vec<usize> = Vec::new();
    for i in 0..list.len() {
        let before = i.checked_sub(1).filter(|j| !damaged.contains(j)).or_else(|| i.checked_sub(2)).map_or(0, uid);
        let after = (i + 1 < list.len()).then(|| uid(i + 1));
        let rises = |one: u32| one > before && after.is_none_or(|after| one < after);
        let skips = after.is_none_or(|after| before < after);
        let next_rises = i + 2 >= list.len() || after.is_some_and(|after| after < uid(i + 2));
        if !rises(uid(i)) && skips && (next_rises || uid(i) <= before) {
            damaged.push(i);
        }
    }
    let named = named(logs);
    let appended: HashSet<u32> = list.iter().map(|field| field.uid).collect();
    if damaged.is_empty()
        && let Some(last) = list.len().checked_sub(1)
    {
        // Of the last one only what stands beside the logs can tell.
        let unknown = !beside.there.contains(&uid(last)) && !named.contains(&uid(last));
        let lacks = |one: &u32| *one > before_last(&list) && !appended.contains(one);
        let expected = beside.storage.iter().max().is_some_and(lacks);
        // Nothing but its own transaction names a message that was just appended, and that by its right UID.
        if unknown && (expected || near(uid(last)).any(|one| lacks(&one) && named.contains(&one))) {
            damaged.push(last);
        }
    }
    if damaged.len() > MAX_DAMAGED {
        return Vec::new();
    }
    let mut mended = Vec::new();
    for i in damaged {
        let before = i.checked_sub(1).map_or(0, uid);
        let after = list.get(i + 1).map_or(u32::MAX, |field| field.uid);
        let fits: Vec<u32> =
            near(uid(i)).filter(|one| *one > before && *one < after && !appended.contains(one)).collect();
        let known = |one: &&u32| named.contains(one) || beside.there.contains(one);
        let known: Vec<u32> = fits.iter().filter(known).copied().collect();
        let mut mails = beside.storage.iter().filter(|one| **one > before && **one < after && !appended.contains(one));
        // A mail that no other record appends, and is the only one that can have stood here.
        let mail = mails.next().filter(|_| mails.next().is_none());
        match (&known[..], &fits[..], mail) {
            ([one], ..) => mended.push((list[i], *one)),
            ([], [one], _) if i + 1 < list.len() => mended.push((list[i], *one)),
            ([], _, Some(one)) if !beside.there.contains(&uid(i)) => mended.push((list[i], *one)),
            _ => {}
        }
    }
    mended
}

fn before_last(list: &[Field]) -> u32 {
    list.len().checked_sub(2).and_then(|i| list.get(i)).map_or(0, |field| field.uid)
}

/// Expunged UIDs of which the same GUID says another, or that nobody ever gave.
fn expunges(logs: &Logs<'_>, beside: &Beside) -> Vec<(Field, u32)> {
    let mut by_guid: HashMap<[u8; 16], Vec<Field>> = HashMap::new();
    let mut all: Vec<(Field, bool)> = Vec::new();
    // What is asked for and what was done, each by itself.
    let mut by_kind: [HashSet<u32>; 2] = Default::default();
    let mut given: HashSet<u32> = HashSet::new();
    let mut highest = 0;
    for (file, log) in logs.files.iter().enumerate() {
        for record in log.file().records() {
            match record.kind() {
                Some(RecordType::Append) => {
                    given.extend(record.appended());
                    highest = given.iter().copied().max().unwrap_or(0);
                }
                Some(RecordType::ExpungeGuid) => {
                    for (i, one) in record.elements::<ExpungeGuid>().enumerate() {
                        let at = place(&record, i * ExpungeGuid::SIZE);
                        let field = Field { file, record: record.offset, at, uid: one.uid };
                        // Before the first append the logs do not say what was given.
                        let possible = highest == 0 || one.uid <= highest;
                        all.push((field, possible));
                        by_kind[usize::from(record.external())].insert(one.uid);
                        if one.guid_128 != [0; 16] {
                            by_guid.entry(one.guid_128).or_default().push(field);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let mut mended = Vec::new();
    let is_before =
        |field: &Field| logs.files.get(field.file).is_some_and(|log| (log.seq(), field.record) < beside.head);
    for fields in by_guid.values().filter(|fields| fields.len() == 2) {
        let (one, two) = (fields[0], fields[1]);
        if one.uid == two.uid || (one.uid ^ two.uid).count_ones() != 1 {
            continue;
        }
        let is_possible =
            |field: &Field| all.iter().any(|(other, ok)| other.at == field.at && other.file == field.file && *ok);
        // A message and its copy have one GUID; each of them was asked for, and then done.
        if [one.uid, two.uid].iter().all(|uid| by_kind.iter().all(|have| have.contains(uid))) {
            continue;
        }
        // An index may be older than the record.
        let gone = |field: &Field| match &beside.index {
            _ if !beside.storage.is_empty() => !beside.storage.contains(&field.uid),
            Some(index) if is_before(field) => !index.contains_key(&field.uid),
            _ => true,
        };
        let (wrong, right) = match ((is_possible(&one), gone(&one)), (is_possible(&two), gone(&two))) {
            ((true, true), (false, _) | (_, false)) => (two, one),
            ((false, _) | (_, false), (true, true)) => (one, two),
            _ => continue,
        };
        mended.push((wrong, right.uid));
    }
    let done: HashSet<(usize, usize)> = mended.iter().map(|(field, _)| (field.file, field.at)).collect();
    let is_there = |field: &Field| beside.storage.contains(&field.uid);
    let strange = all.iter().filter(|(field, possible)| !possible || is_there(field));
    for (field, _) in strange.filter(|(field, _)| !done.contains(&(field.file, field.at))) {
        let index = beside.index.as_ref().filter(|_| is_before(field));
        // The mail goes with the record that expunges it.
        if index.is_none() && beside.storage.is_empty() {
            continue;
        }
        let fits: Vec<u32> = near(field.uid)
            .filter(|uid| given.contains(uid) && !beside.storage.contains(uid))
            .filter(|uid| by_kind.iter().any(|have| have.contains(&field.uid) && !have.contains(uid)))
            .filter(|uid| index.is_none_or(|index| !index.contains_key(uid)))
            .collect();
        if let [uid] = fits[..] {
            mended.push((*field, uid));
        }
    }
    mended
}

/// A keyword that one record alone names, one bit away from a keyword that index, backup or other records name.
fn keywords(logs: &mut Logs<'_>, beside: &Beside) {
    let mut names: HashMap<Vec<u8>, Vec<(usize, u64, usize)>> = HashMap::new();
    for (file, log) in logs.files.iter().enumerate() {
        for record in log.file().records() {
            let update = Some(record).filter(|record| record.kind() == Some(RecordType::KeywordUpdate));
            if let Some((_, name, _)) = update.as_ref().and_then(Record::keyword_update) {
                names.entry(name.to_vec()).or_default().push((file, record.offset, place(&record, 4)));
            }
        }
    }
    let trusted = |name: &[u8]| beside.keywords.contains(name);
    let mut mended = Vec::new();
    for (name, places) in &names {
        let [place] = places[..] else { continue };
        if trusted(name) {
            continue;
        }
        let like = |other: &&Vec<u8>| bits_apart(name, other) == Some(1);
        let known = beside.keywords.iter().filter(like);
        let often = names.iter().filter(|(other, places)| places.len() > 1 && !trusted(other)).map(|(other, _)| other);
        let fits: Vec<&Vec<u8>> = known.chain(often.filter(like)).collect();
        // Names that count up differ in one bit too: the index, which was written later, has to lack this one.
        let before = logs.files.get(place.0).is_some_and(|log| (log.seq(), place.1) < beside.head);
        let lacks = (before && beside.index.is_some()) || beside.all_keywords || !is_keyword(name);
        // The file with the names alone is no better a witness than the log.
        let outweighs = |right: &Vec<u8>| !is_keyword(name) || !beside.letters.contains(right);
        if let ([right], true) = (&fits[..], lacks)
            && outweighs(right)
        {
            mended.push((place, name.clone(), (*right).clone()));
        }
    }
    // Of several none is certain: another set of names, not damage.
    if mended.len() > 1 {
        return;
    }
    for ((file, record, at), name, right) in mended {
        let Some(log) = logs.files.get_mut(file) else { continue };
        if let Some(to) = log.readable.to_mut().get_mut(at..at + right.len()) {
            to.copy_from_slice(&right);
            let [was, is] = [&name, &right].map(|name| String::from_utf8_lossy(name).into_owned());
            log.mended.push(format!("record at {record}: the keyword {was} can only be {is}"));
        }
    }
}

fn modseqs(log: &mut Survey<'_>) {
    let mut mended = Vec::new();
    for record in log.file().records().filter(|record| record.kind() == Some(RecordType::ModseqUpdate)) {
        for (i, one) in record.elements::<ModseqUpdate>().enumerate() {
            if let Some(right) = without_lone_bit(one.modseq()) {
                mended.push((record.offset, place(&record, i * ModseqUpdate::SIZE + 4), one.modseq(), right));
            }
        }
    }
    let endian = log.log.endian;
    for (record, at, was, right) in mended {
        let half = |value: u64| endian.u32_bytes(u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0));
        let bytes = [half(right), half(right >> 32)].concat();
        if let Some(to) = log.readable.to_mut().get_mut(at..at + 8) {
            to.copy_from_slice(&bytes);
            log.mended.push(format!("record at {record}: the modseq {was} can only be {right}"));
        }
    }
}

/// Flags of an append with a bit that means nothing: a sound index that stands behind it has the right ones, for every
/// change after it is made once more. Before 2.2 such a bit was that of recent messages.
fn unknown_flags(log: &mut Survey<'_>, beside: &Beside) {
    if log.log.header.minor_version < 2 {
        return;
    }
    let mut mended = Vec::new();
    for record in log.file().records().filter(|record| record.kind() == Some(RecordType::Append)) {
        let index = beside.index.as_ref().filter(|_| (log.seq(), record.offset) < beside.head);
        for (i, one) in record.elements::<Append>().enumerate() {
            let meant = one.flags & (flag::IMAP | flag::BACKEND | flag::DIRTY);
            if one.flags != meant {
                let right = index.and_then(|index| index.get(&one.uid).copied()).unwrap_or(meant);
                mended.push((record.offset, place(&record, i * Append::SIZE + 4), one, right));
            }
        }
    }
    for (record, at, one, right) in mended {
        log.readable.to_mut().get_mut(at).into_iter().for_each(|to| *to = right);
        let (uid, was) = (one.uid, one.flags);
        log.mended.push(format!("record at {record}: UID {uid} cannot have the flags 0x{was:02x}: 0x{right:02x}"));
    }
}

/// Sizes of extensions that are the same everywhere, and the word for an introduction by name: one field of an
/// introduction that has one wrong byte. `names` are those of the extensions by their numbers, as far as known.
fn intros(log: &mut Survey<'_>, names: &mut Vec<Vec<u8>>) {
    let file = log.file();
    let all = || file.records().filter(|record| record.kind() == Some(RecordType::ExtIntro));
    let flavor = IndexFlavor::guess(all().flat_map(|record| record.intros()).map(|one| one.name));
    let endian = log.log.endian;
    let mut mended = Vec::new();
    for record in all() {
        for one in record.intros() {
            let have = one.intro.clone();
            let mut right = have.clone();
            let name = match one.name {
                [] => names.get(have.ext_id as usize).cloned().unwrap_or_default(),
                name => {
                    right.ext_id = BY_NAME;
                    names.iter().all(|known| known != name).then(|| names.push(name.to_vec()));
                    name.to_vec()
                }
            };
            if let Some(known) = KnownExt::of(&name, flavor) {
                right.hdr_size = known.header_size().unwrap_or(have.hdr_size);
                (right.record_size, right.record_align) =
                    known.record_shape().unwrap_or((have.record_size, have.record_align));
            }
            let (have, right) = (have.to_bytes(endian), right.to_bytes(endian));
            if is_one_byte_apart(&have, &right) || (one.name == b"modseq" && have != right) {
                let name = String::from_utf8_lossy(&name).into_owned();
                mended.push((record.offset, place(&record, one.at), right, name));
            }
        }
    }
    for (record, at, bytes, name) in mended {
        if let Some(to) = log.readable.to_mut().get_mut(at..at + bytes.len()) {
            to.copy_from_slice(&bytes);
            log.mended.push(format!("record at {record}: extension {name} is introduced with its own sizes only"));
        }
    }
}

/// Fields of log headers that the log before and the index tell as well.
fn headers(logs: &mut Logs<'_>, index: Option<&IndexFile<'_>>) {
    for i in 0..logs.files.len() {
        let before = i.checked_sub(1).and_then(|j| logs.files.get(j));
        // A log that follows one without modseqs begins with 1.
        let whole = before.filter(|log| log.holes.is_empty() && log.tail.is_none());
        let end = whole.map(|log| log.file().end_modseq.max(1));
        let log = &logs.files[i];
        let have = log.log.header.initial_modseq;
        if log.log.header.minor_version < 3 {
            continue;
        }
        let told = index.and_then(|index| begins_with(log, index));
        // What no counting reaches is no modseq, whatever its bits are: the header was overwritten.
        let absurd = have >= MODSEQ_LIMIT;
        // Nor does a damaged modseq of the index tell one.
        let one_bit = |right: &u64| {
            without_lone_bit(*right).is_none() && ((right ^ have).is_power_of_two() || (absurd && right != &have))
        };
        // No change is older than the mailbox.
        let first = (log.log.header.starts_empty() && log.begins_a_mailbox() && have > FIRST_LIMIT).then_some(1);
        let first = first.filter(|first| one_bit(first) || have.is_power_of_two());
        let told = end.filter(one_bit).or(told.filter(one_bit)).or(first);
        let right = told.or_else(|| without_lone_bit(have));
        let right = right.or_else(|| absurd.then_some(MARGIN));
        if let (Some(right), Some(log)) = (right, logs.files.get_mut(i)) {
            log.header_flaws.push(format!("initial_modseq is {have}, but the records and the index lead to {right}"));
            log.log.header.initial_modseq = right.max(1);
        }
    }
}

/// The modseq that a log began with, counted back from what the index says at its position in it.
fn begins_with(log: &Survey<'_>, index: &IndexFile<'_>) -> Option<u64> {
    let ext = index.extension(b"modseq")?;
    let endian: Endian = index.endian;
    let (highest, seq) = (endian.u64_at(ext.data, 0)?, endian.u32_at(ext.data, 8)?);
    let offset = u64::from(endian.u32_at(ext.data, 12)?);
    let mailbox = Mailbox::load(index);
    let of_records = (0..mailbox.physical_len()).filter_map(|i| mailbox.record_modseq(i)).max().unwrap_or(0);
    // Header and records of the index have to vouch for each other.
    if seq != log.seq() || of_records > highest || highest >= MODSEQ_LIMIT {
        return None;
    }
    let file = log.file();
    let mut scan = file.records();
    while scan.pos() < offset && scan.next().is_some() {}
    if scan.pos() != offset {
        return None;
    }
    highest.checked_sub(scan.modseq().checked_sub(log.log.header.initial_modseq)?)
}
