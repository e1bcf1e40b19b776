//! Which of the candidate states is the best.

use std::cmp::Reverse;

use super::candidates::{Candidate, changed_flags};
use super::flip::bits_apart;
use super::inputs::{Base, Inputs, Storage};
use super::loss::Loss;
use super::order::Logs;
use crate::model::diff::{Difference, compare};
use crate::model::{Mailbox, UidSet};

/// An index and a log that starts from nothing: if the log holds all that the index does, the log counts, as for
/// Dovecot. If not, Dovecot would wipe the index without a word, and it is the log that has to give way.
pub fn settle_reset(mut candidate: Candidate, full: &mut Option<Candidate>) -> Option<Candidate> {
    if !candidate.reset {
        return Some(candidate);
    }
    let index = &candidate.replayed.mailbox;
    let covered = full.as_ref().is_some_and(|full| {
        let logs = &full.replayed.mailbox;
        logs.header.uid_validity == index.header.uid_validity
            && logs.header.next_uid >= index.header.next_uid
            && logs.len() >= index.len()
    });
    if covered {
        return candidate.same_log.then_some(candidate);
    }
    candidate.flaws.push("the log starts from nothing, and has not what the index has".into());
    candidate.wiped = true;
    *full = None;
    Some(candidate)
}

/// Holds an index against the logs it was made from. What Dovecot changed without logging it (fsck, upgrades) is its
/// own.
pub fn compare_with_logs(candidate: &mut Candidate, full: Option<&Candidate>, storage: Option<&Storage>) {
    let comparable = |full: &&Candidate| full.is_sound() && candidate.is_sound() && !full.fscked && !candidate.fscked;
    let Some(full) = full.filter(comparable) else { return };
    let (index, logs) = (&candidate.replayed.mailbox, &full.replayed.mailbox);
    // Two against one: the index and the storage have the same UIDVALIDITY, so it is the log that is damaged.
    let (have, want) = (logs.header.uid_validity, index.header.uid_validity);
    if have != want && storage.and_then(|storage| storage.uid_validity).is_some_and(|known| known == want) {
        candidate.refutes = Some(format!("it sets uid_validity {have}, index and storage have {want}"));
        return;
    }
    let found = differences(index, logs);
    if found.is_empty() {
        candidate.proven_from = 1;
        return;
    }
    let text = found.iter().take(5).map(text).collect::<Vec<_>>().join("; ");
    match contradicts_logs(&found, index, logs, storage) {
        true => candidate.refutes = Some(format!("the index, which is sound, is not what it makes: {text}")),
        false => candidate.flaws.push(format!("the index is not what the logs make it: {text}")),
    }
}

/// Whether of a sound index and logs that differ the logs are the damaged ones. The storage decides where it knows;
/// otherwise what cannot come from one damaged record or name in the index.
fn contradicts_logs(found: &[Difference], index: &Mailbox, logs: &Mailbox, storage: Option<&Storage>) -> bool {
    let uids: Vec<(u32, bool)> = found
        .iter()
        .filter_map(|one| match one {
            Difference::Missing { uid, .. } => Some((*uid, false)),
            Difference::Extra { uid, .. } => Some((*uid, true)),
            _ => None,
        })
        .collect();
    if !uids.is_empty() {
        if let Some(storage) = storage.filter(|storage| !storage.uids.is_empty()) {
            let right = uids.iter().filter(|(uid, in_index)| storage.uids.binary_search(uid).is_ok() == *in_index);
            return right.count() * 2 > uids.len();
        }
        // One record with one bit of its UID turned over lacks one message and has another in its place.
        return match uids[..] {
            [(one, here), (other, there)] => here == there || (one ^ other).count_ones() > 1,
            _ => true,
        };
    }
    let (ours, theirs) = (index.keywords(), logs.keywords());
    if ours != theirs {
        // A name of the logs that is but one bit away from another: some records have it right.
        let like = |one: &Vec<u8>, other: &Vec<u8>| one != other && bits_apart(one, other) == Some(1);
        let new = theirs.iter().filter(|name| !ours.contains(name)).collect::<Vec<_>>();
        return theirs.len() > ours.len() && new.iter().any(|name| ours.iter().any(|other| like(name, other)));
    }
    false
}

/// Where two states differ in what a client or a storage could notice.
fn differences(index: &Mailbox, logs: &Mailbox) -> Vec<Difference> {
    let noticed = |one: &Difference| match one {
        // uid_validity and next_uid; low-water marks and the like are Dovecot's own.
        Difference::Header { at, .. } => matches!(at, 24 | 28),
        Difference::DayFirstUid { .. } | Difference::ExtHeader { .. } => false,
        Difference::Shape { have, want, .. } => have.reset_id == want.reset_id && have.record_size != want.record_size,
        // Links into a cache that was removed are cleared without a word in the log.
        Difference::ExtRecord { name, .. } => name != b"cache",
        Difference::Keywords { .. }
        | Difference::Order { .. }
        | Difference::MoreExtensions
        | Difference::Missing { .. }
        | Difference::Extra { .. }
        | Difference::Flags { .. } => true,
    };
    compare(index, logs, noticed)
}

fn text(one: &Difference) -> String {
    match (one, one.uid()) {
        (Difference::Flags { .. } | Difference::ExtRecord { .. }, Some(uid)) => format!("UID {uid}: {one}"),
        _ => one.to_string(),
    }
}

/// The first state that loses nothing; if all do, the one that loses least. With it, why not the index.
pub fn choose(
    inputs: &Inputs<'_>,
    index: Option<&Candidate>,
    full: Option<&Candidate>,
    backup: Option<&Candidate>,
) -> Option<(Candidate, Vec<String>)> {
    let mut notes = Vec::new();
    match index {
        Some(candidate) => {
            notes.extend(candidate.flaws.iter().cloned().chain(candidate.lost.iter().map(ToString::to_string)));
        }
        None if inputs.index.is_none() => notes.push("there is no index".into()),
        None => notes.push("the index is unusable".into()),
    }
    let sound_index = index.is_some_and(Candidate::is_sound);
    let mut list: Vec<&Candidate> = if sound_index {
        [index, full, backup].into_iter().flatten().collect()
    } else {
        // What the logs tell from the beginning is better than what is left of a damaged index.
        [full, index, backup].into_iter().flatten().collect()
    };
    list.retain(|candidate| inputs.base.is_none_or(|base| base == candidate.base));
    // An index that knows more than the logs still hold is worth more than what they hold.
    let cost = |candidate: &Candidate| {
        (candidate.missing, Reverse(candidate.replayed.position), candidate.gap, !candidate.lost.is_empty())
    };
    let best = (0..list.len()).min_by_key(|i| cost(list[*i]))?;
    let mut best = list.swap_remove(best).clone();
    if inputs.storage.as_ref().is_none_or(|storage| storage.flags.is_none()) {
        let disputed = disputed(&best, &list);
        if !disputed.is_empty() {
            best.lost.push(Loss::Disputed(disputed));
        }
    }
    Some((best, notes))
}

/// Messages whose flags an index or a backup with damage elsewhere has otherwise than the logs make them. One message
/// alone may be a flipped bit in its record.
fn disputed(best: &Candidate, others: &[&Candidate]) -> UidSet {
    let mut uids = UidSet::new();
    let is_whole = |one: &&&Candidate| {
        one.base != Base::Log && !one.damaged && !one.gap && !one.wiped && !one.beyond && one.lost.is_empty()
    };
    if best.base != Base::Log {
        return uids;
    }
    for other in others.iter().filter(is_whole) {
        let differs = changed_flags(&other.replayed.mailbox, &best.replayed.mailbox);
        if differs.count() > 1 {
            differs.iter().for_each(|uid| uids.insert(uid));
        }
    }
    uids
}

pub fn no_base(inputs: &Inputs<'_>, logs: &Logs<'_>) -> String {
    if let Some(base) = inputs.base {
        return format!("there is nothing to build on with --base {base}");
    }
    let reach = logs.files.first().map_or_else(
        || "there is no readable log".to_owned(),
        |first| format!("the logs begin at {}:{}, not with an empty mailbox", first.seq(), first.log.records_at),
    );
    let rest = match (inputs.index.is_some(), inputs.backup.is_some()) {
        (false, false) => "there is neither index nor backup",
        (true, false) => "the index is beyond repair, and there is no backup",
        (false, true) => "there is no index, and the backup is of no use",
        (true, true) => "neither index nor backup is of use",
    };
    format!("{reach}, and {rest}")
}
