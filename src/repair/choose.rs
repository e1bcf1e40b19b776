//! Which of the candidate states is the best.

use std::cmp::Reverse;

use super::candidates::Candidate;
use super::order::Logs;
use super::plan::Inputs;
use super::storage::Storage;
use crate::model::Mailbox;
use crate::model::diff::{Difference, compare};

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
    let (index, logs) = (&candidate.replayed.mailbox.header, &full.replayed.mailbox.header);
    // Two against one: the index and the storage have the same UIDVALIDITY, so it is the log that is damaged.
    if index.uid_validity != logs.uid_validity
        && storage.and_then(|storage| storage.uid_validity).is_some_and(|known| known == index.uid_validity)
    {
        let (have, want) = (logs.uid_validity, index.uid_validity);
        candidate.refutes = Some(format!("it sets uid_validity {have}, index and storage have {want}"));
        return;
    }
    let found = differences(&candidate.replayed.mailbox, &full.replayed.mailbox);
    if found.is_empty() {
        candidate.proven_from = 1;
    } else {
        candidate.flaws.push(format!("the index is not what the logs make it: {}", found.join("; ")));
    }
}

/// Where two states differ in what a client or a storage could notice.
fn differences(index: &Mailbox, logs: &Mailbox) -> Vec<String> {
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
    let found = compare(index, logs, noticed);
    let text = |one: &Difference| match (one, one.uid()) {
        (Difference::Flags { .. } | Difference::ExtRecord { .. }, Some(uid)) => format!("UID {uid}: {one}"),
        _ => one.to_string(),
    };
    found.iter().take(5).map(text).collect()
}

/// The first state that loses nothing; if all do, the one that loses least. With it, why not the index.
pub fn choose(
    inputs: &Inputs<'_>,
    index: Option<Candidate>,
    full: Option<Candidate>,
    backup: Option<Candidate>,
) -> Option<(Candidate, Vec<String>)> {
    let mut notes = Vec::new();
    match &index {
        Some(candidate) => {
            notes.extend(candidate.flaws.iter().cloned().chain(candidate.lost.iter().map(ToString::to_string)));
        }
        None if inputs.index.is_none() => notes.push("there is no index".into()),
        None => notes.push("the index is unusable".into()),
    }
    let sound_index = index.as_ref().is_some_and(Candidate::is_sound);
    let mut list: Vec<Candidate> = if sound_index {
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
    let best = (0..list.len()).min_by_key(|i| cost(&list[*i]))?;
    Some((list.swap_remove(best), notes))
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
