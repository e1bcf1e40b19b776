//! A state held against the mail storage: what the storage proves and the state lacks is put back, or named as lost;
//! what the damaged logs may have expunged and the storage has no more goes. An absent storage proves nothing.

use std::collections::{HashMap, HashSet};

use super::candidates::Candidate;
use super::demands::Demands;
use super::doubt::{
    damaged_tail, ends_early, first_append_after, is_doubt, last_doubt, put_back, settle_grades, skip_lost_uids,
    stale_flags, take_out,
};
use super::flip::{is_keyword, is_one_byte_apart};
use super::heal::index::Hints;
use super::inputs::{Base, Storage};
use super::loss::{Grade, Loss};
use super::map::{hold_map, renumber};
use super::order::Logs;
use super::told::Told;
use crate::format::record::flag;
use crate::model::{LogPos, Mailbox, UidSet};

/// A modseq that is this much above what the logs count is damage: no log that is lost can have held so many changes.
const MOST_AHEAD: u64 = 1 << 32;

/// Holds a state against the storage, and brings it as far as the two together prove.
///
/// Where the `demands` refuse a log, the end of it may be of another one, or all that it tells is in doubt.
pub fn hold(chosen: &mut Candidate, storage: &Storage, logs: &Logs<'_>, hints: &Hints<'_>, demands: &Demands) {
    let own = chosen.replayed.mailbox.header.uid_validity;
    let other_life = storage.uid_validity.is_some_and(|known| own != 0 && known != own);
    // The UIDs of a Maildir of another life are no UIDs of this one; those of an sdbox are its file names.
    if other_life && storage.flags.is_some() {
        return;
    }
    let pairs = alike(storage, &chosen.replayed.mailbox);
    let renamed = (!pairs.is_empty()).then(|| storage.renamed(&pairs));
    let storage = renamed.as_ref().unwrap_or(storage);
    if chosen.base != Base::Index {
        // One witness each: the log, and the file with the names.
        let mailbox = &chosen.replayed.mailbox;
        let disputed = pairs.iter().filter(|(letter, _)| is_keyword(letter)).flat_map(|(_, name)| mailbox.having(name));
        let mut uids = UidSet::new();
        disputed.for_each(|uid| uids.insert(uid));
        if !uids.is_empty() {
            chosen.lost.push(Loss::Stale(uids));
        }
    }
    damaged_tail(chosen, logs);
    let is_refuted = demands.give_up_log;
    let doubt = chosen.lost.iter().any(is_doubt) || chosen.gap || chosen.missing > 0 || is_refuted;
    let given = if other_life { storage.uids.last().map_or(0, |uid| uid.saturating_add(1)) } else { storage.next_uid };
    let unseen = unseen_uids(chosen, given, logs);
    if !unseen.is_empty() && !chosen.cut_short {
        ends_early(chosen);
    }
    let mut orphans = Vec::new();
    match &storage.map {
        Some(map) => orphans = hold_map(chosen, map, logs, doubt),
        None if !storage.uids.is_empty() => hold_files(chosen, storage, logs, hints, [doubt, demands.alien_tail]),
        None => {
            // It names no message, and so no flag.
            stale_flags(chosen, logs);
            for loss in chosen.lost.iter_mut().filter(|loss| is_end(loss) && !unseen.is_empty()) {
                *loss = Loss::Compared { what: Box::new(loss.clone()), grade: Grade::Messages, uids: unseen.clone() };
            }
        }
    }
    // What the list of mailboxes has seen a client may have seen.
    let highest = chosen.replayed.highest_modseq();
    if doubt || chosen.cut_short {
        let ahead = storage.highest_modseq.saturating_sub(highest);
        chosen.margin = chosen.margin.max(if ahead < MOST_AHEAD { ahead } else { 0 });
    }
    // The server itself raises the next UID from the list of a Maildir.
    if !(storage.flags.is_some() && chosen.is_as_is(logs)) {
        let header = &mut chosen.replayed.mailbox.header;
        header.next_uid = header.next_uid.max(given);
    }
    // The storage of dbox does not tell which UIDs it gave to mails that are expunged since.
    if storage.flags.is_none() {
        skip_lost_uids(chosen, logs);
    }
    if let Some(map) = &storage.map {
        renumber(chosen, &orphans, map, &hints.expunged);
    }
}

/// Names of letters that one byte sets apart from a keyword which has no letter: each with that keyword. The file with
/// the names was damaged, or the log.
fn alike(storage: &Storage, mailbox: &Mailbox) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (letters, keywords) = (&storage.letters, mailbox.keywords());
    let has = |list: &[Vec<u8>], name: &[u8]| list.iter().any(|one| one.eq_ignore_ascii_case(name));
    let unknown = letters.iter().filter(|letter| !letter.is_empty() && !has(keywords, letter));
    let pairs = unknown.filter_map(|letter| {
        let mut near = keywords.iter().filter(|name| !has(letters, name) && is_one_byte_apart(letter, name));
        let name = near.next()?;
        near.next().is_none().then(|| (letter.clone(), name.clone()))
    });
    pairs.collect()
}

/// Without a storage to ask: records that are lost may have changed the flags of all that is older.
pub fn name_flags(chosen: &mut Candidate, logs: &Logs<'_>) {
    damaged_tail(chosen, logs);
    stale_flags(chosen, logs);
}

/// Maildir and sdbox: UIDs that have a file.
fn hold_files(
    chosen: &mut Candidate,
    storage: &Storage,
    logs: &Logs<'_>,
    hints: &Hints<'_>,
    [doubt, is_refused]: [bool; 2],
) {
    let mailbox = &chosen.replayed.mailbox;
    let next_uid = mailbox.header.next_uid;
    // What differs from a storage that has not changed since the last synchronisation was damaged since.
    let refuted = storage.unnumbered == 0 && storage.is_synced(mailbox) && !agrees(chosen, storage, logs);
    let doubt = doubt || refuted;
    let skipped: Vec<UidSet> = chosen
        .lost
        .iter()
        .filter_map(|loss| if let Loss::Skipped(uids) = loss { Some(uids.clone()) } else { None })
        .collect();
    let was_skipped = |uid: u32| skipped.iter().any(|uids| uids.contains(uid));
    let mut back = UidSet::new();
    let mut above = false;
    for uid in storage.uids.iter().copied().filter(|uid| mailbox.lookup(*uid).is_none()) {
        if hints.expunged.contains(uid) {
            continue;
        }
        if uid >= next_uid {
            above |= !was_skipped(uid);
            back.insert(uid);
        } else if doubt || was_skipped(uid) {
            back.insert(uid);
        }
    }
    let torn = is_cut(chosen, logs);
    // In a dbox a mail goes after the record that expunges it is written.
    let mailbox = &chosen.replayed.mailbox;
    let is_gone = |i: usize| !storage.has(mailbox.uid(i)) && mailbox.flags(i) & flag::BACKEND == 0;
    let torn = torn && (storage.unnumbered == 0 || storage.flags.is_none());
    above |= torn && mailbox.positions().any(is_gone);
    // More messages than mails, whatever their UIDs.
    above |= is_cut(chosen, logs) && mailbox.len() > storage.uids.len() + storage.unnumbered;
    // Flags that only names have were changed by what the log has lost.
    if torn && !chosen.cut_short && storage.flags.is_some() {
        take_flags(chosen, storage, logs);
        above |= !chosen.touched.is_empty();
    }
    if refuted && !chosen.cut_short && chosen.base != Base::Storage {
        chosen.refutes.get_or_insert_with(|| "the storage, which has not changed since, has it otherwise".into());
        chosen.flaws.push("the storage, which has not changed since the last synchronisation, has it otherwise".into());
    }
    if above && !chosen.cut_short && chosen.base != Base::Storage && !chosen.lost.iter().any(is_end) {
        ends_early(chosen);
    }
    // A server of 1.0 expunges in the index without logging it: without that index only the storage knows. Logs
    // beside a storage that everything else is taken from may end anywhere.
    let index_is_gone = chosen.base == Base::Storage || (chosen.fscked && chosen.base == Base::Log);
    if doubt || chosen.cut_short || (index_is_gone && storage.flags.is_some()) {
        expunged_in_the_dark(chosen, storage, logs);
    }
    put_back(chosen, &back);
    let mailbox = &chosen.replayed.mailbox;
    for loss in &mut chosen.lost {
        if let Loss::Skipped(uids) = loss {
            *uids = uids.iter().filter(|uid| mailbox.lookup(*uid).is_none()).map(|uid| (uid, uid)).collect();
        }
    }
    chosen.lost.retain(|loss| !matches!(loss, Loss::Skipped(uids) if uids.is_empty()));
    let mended =
        is_refused || logs.files.iter().any(|log| !log.mended.is_empty() || !log.header_flaws.is_empty() || log.alien);
    let stale = doubt || mended || torn || chosen.cut_short || chosen.base == Base::Storage || !back.is_empty();
    if stale && storage.flags.is_some() {
        // What the logs ask for and the storage has not done yet may be damage, too.
        let contested = take_flags(chosen, storage, logs);
        let is_sure = !(doubt || mended || torn || chosen.cut_short || chosen.base == Base::Storage);
        if !contested.is_empty() && !is_sure {
            chosen.lost.push(Loss::Stale(contested));
        }
        if !chosen.touched.is_empty() && chosen.flaws.is_empty() {
            chosen.flaws.push("flags are those of the storage".into());
        }
    }
    if !back.is_empty() {
        chosen.lost.push(match storage.flags {
            Some(_) if storage.names_all_keywords() => Loss::ModseqsOf(back),
            _ => Loss::Flags(back),
        });
    }
    // Keywords without a letter are in the index alone, and set by records that are perhaps not there any more.
    if chosen.base == Base::Storage && storage.flags.is_some() && !storage.names_all_keywords() {
        let mailbox = &chosen.replayed.mailbox;
        let mut stale = UidSet::new();
        mailbox.positions().map(|i| mailbox.uid(i)).for_each(|uid| stale.insert(uid));
        let named = chosen.lost.iter().filter(|loss| matches!(loss, Loss::Flags(_) | Loss::Stale(_)));
        let stale = named.filter_map(Loss::uids).fold(stale, |rest, uids| rest.difference(uids));
        if !stale.is_empty() {
            chosen.lost.push(Loss::Stale(stale));
        }
    }
    let names = chosen.replayed.mailbox.keywords();
    let is_known = |name: &Vec<u8>| storage.letters.iter().any(|known| known.eq_ignore_ascii_case(name));
    let keeps_flags = storage.names_all_keywords() && names.iter().all(is_known);
    // Of mails that have lost their UID nobody knows whether they are more messages.
    if storage.unnumbered == 0 {
        settle_grades(chosen, keeps_flags, logs);
    }
}

/// Whether the messages are those that the storage has, with the flags that it has.
fn agrees(chosen: &Candidate, storage: &Storage, logs: &Logs<'_>) -> bool {
    let mailbox = &chosen.replayed.mailbox;
    let uids = mailbox.positions().map(|i| mailbox.uid(i));
    if !uids.eq(storage.uids.iter().copied()) {
        return false;
    }
    flags_of_names(&mut mailbox.clone(), &pending_uids(mailbox, logs), storage).0.is_empty()
}

/// Whether a state ends where a log ends in the middle of a record.
fn is_cut(chosen: &Candidate, logs: &Logs<'_>) -> bool {
    chosen.base != Base::Storage && logs.is_torn()
}

/// UIDs that the storage has given, above all of which a log tells that ends in the middle of a record.
fn unseen_uids(chosen: &Candidate, given: u32, logs: &Logs<'_>) -> UidSet {
    let mut uids = UidSet::new();
    let next_uid = chosen.replayed.mailbox.header.next_uid;
    if is_cut(chosen, logs) && next_uid < given {
        uids.insert_range(next_uid, given - 1);
    }
    uids
}

/// Losses that tell why the logs end before the storage does.
const fn is_end(loss: &Loss) -> bool {
    matches!(loss, Loss::Unread { .. } | Loss::After(_))
}

/// Messages whose mail is gone, and whose expunge may have been among the records that are lost.
fn expunged_in_the_dark(chosen: &mut Candidate, storage: &Storage, logs: &Logs<'_>) {
    // Nobody knows which messages those mails are.
    if storage.unnumbered > 0 {
        return;
    }
    let mailbox = &chosen.replayed.mailbox;
    // The server takes out what a Maildir or an mbox has not, whenever it was appended.
    let limit = match storage.flags {
        Some(_) => u32::MAX,
        None => first_append_after(logs, last_doubt(chosen)),
    };
    let mut gone = UidSet::new();
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        if uid < limit && !storage.has(uid) && mailbox.flags(i) & flag::BACKEND == 0 {
            gone.insert(uid);
        }
    }
    take_out(chosen, gone);
}

/// Flags and keywords as the storage keeps them, where the logs may have lost some (`maildir_sync_index`): but not of
/// messages that the storage is behind with.
///
/// Returns those that were changed, and those of which state and storage say otherwise.
fn flags_of_names(mailbox: &mut Mailbox, pending: &UidSet, storage: &Storage) -> (UidSet, UidSet) {
    let (mut touched, mut contested) = (UidSet::new(), UidSet::new());
    let Some(flags) = &storage.flags else { return (touched, contested) };
    let (letters, all_named) = (&storage.letters, storage.names_all_keywords());
    let names: Vec<Vec<u8>> = mailbox.keywords().to_vec();
    let has_letter = |name: &[u8]| letters.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut add: HashMap<&[u8], Vec<u32>> = HashMap::new();
    let mut remove: HashMap<&[u8], Vec<u32>> = HashMap::new();
    for i in 0..mailbox.physical_len() {
        let uid = mailbox.uid(i);
        let (Some((wanted, keywords)), have) = (flags.get(&uid), mailbox.flags(i)) else { continue };
        let set: HashSet<usize> = mailbox.keyword_ids(i).collect();
        let lacks = |name: &&Vec<u8>| mailbox.keyword_id(name).is_none_or(|id| !set.contains(&id));
        let is_new =
            |name: &&Vec<u8>| has_letter(name) && !keywords.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let named = || set.iter().filter_map(|id| names.get(*id));
        let fresh = (have & !flag::IMAP) | wanted;
        if have & flag::DIRTY != 0 || pending.contains(uid) {
            let is_other =
                |name: &&Vec<u8>| all_named && !keywords.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
            let more = named().any(|name| is_new(&name) || is_other(&name));
            if fresh != have || keywords.iter().any(|name| lacks(&name)) || more {
                contested.insert(uid);
            }
            continue;
        }
        // Without a letter although letters are left: the storage has never seen it.
        if all_named && named().any(|name| !has_letter(name)) {
            contested.insert(uid);
        }
        for name in keywords.iter().filter(lacks) {
            add.entry(name).or_default().push(uid);
        }
        for name in named().filter(is_new) {
            remove.entry(name).or_default().push(uid);
        }
        if fresh != have
            && let Some(byte) = mailbox.record_mut(i).get_mut(4)
        {
            *byte = fresh;
            touched.insert(uid);
        }
    }
    let mut told = Told::new(mailbox.endian);
    let mut changes: Vec<(&[u8], Vec<u32>, bool)> = add.into_iter().map(|(name, uids)| (name, uids, true)).collect();
    changes.extend(remove.into_iter().map(|(name, uids)| (name, uids, false)));
    // In one order, whatever the table's.
    changes.sort_unstable();
    for (name, uids, adds) in &changes {
        told.keyword(name, uids, *adds);
        uids.iter().for_each(|uid| touched.insert(*uid));
    }
    if let Some(fresh) = told.onto(mailbox) {
        *mailbox = fresh;
    }
    (touched, contested)
}

/// The same for a candidate; returns what is contested.
fn take_flags(chosen: &mut Candidate, storage: &Storage, logs: &Logs<'_>) -> UidSet {
    let pending = pending_uids(&chosen.replayed.mailbox, logs);
    let (touched, contested) = flags_of_names(&mut chosen.replayed.mailbox, &pending, storage);
    touched.iter().for_each(|uid| chosen.touched.insert(uid));
    contested
}

/// Messages about which the log has requests that the storage has not seen yet.
fn pending_uids(mailbox: &Mailbox, logs: &Logs<'_>) -> UidSet {
    let header = &mailbox.header;
    let tail = LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_tail_offset) };
    let mut uids = UidSet::new();
    for log in logs.files.iter().filter(|log| log.seq() >= tail.seq) {
        let file = log.file();
        let asked = file
            .records()
            .filter(|record| record.is_request() && LogPos { seq: log.seq(), offset: record.offset } >= tail);
        for record in asked {
            record.changes(None).for_each(|change| uids.insert_range(change.uid1, change.uid2));
        }
    }
    uids
}
