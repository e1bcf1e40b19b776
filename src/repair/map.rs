//! A state held against the map of an mdbox: each message refers to a mail of the map, and the map counts who refers to
//! it. What the map counts and nobody refers to is what a mailbox has lost; what others account for it has no more.

use std::collections::HashSet;

use super::candidates::{Candidate, MARGIN};
use super::doubt::{
    ends_early, first_append_after, is_doubt, last_doubt, put_back, settle_grades, stale_flags, take_out, write,
};
use super::inputs::Base;
use super::loss::Loss;
use super::order::Logs;
use super::told::Told;
use crate::format::record::RecordType;
use crate::model::{Mailbox, UidSet};
use crate::storage::{MapState, mails_of, map_uid};

/// Brings a state as far as the map proves it. Returns the mails of which nothing tells which messages they were.
pub fn hold_map(chosen: &mut Candidate, map: &MapState, logs: &Logs<'_>, doubt: bool) -> Vec<u32> {
    let torn = logs.is_torn();
    let mailbox = &chosen.replayed.mailbox;
    let Some((mut orphans, over)) = map.balance(&mails_of(mailbox)) else { return Vec::new() };
    // No sound mailbox has a message without a mail, or a mail more often than the map counts it.
    let over: HashSet<u32> = over.into_iter().collect();
    let of = |i: usize| map_uid(mailbox, i).unwrap_or(0);
    let is_wrong = |i: usize| of(i) == 0 || (over.contains(&of(i)) && !orphans.is_empty());
    let doubt = doubt || mailbox.positions().any(is_wrong);
    if !(doubt || torn || chosen.cut_short || chosen.base == Base::Storage) {
        return of_an_earlier_life(chosen, orphans, map, logs);
    }
    let mut gone = UidSet::new();
    let limit = first_append_after(logs, last_doubt(chosen));
    for i in mailbox.positions().filter(|i| mailbox.uid(*i) < limit) {
        if of(i) != 0 && over.contains(&of(i)) {
            gone.insert(mailbox.uid(i));
        }
    }
    if orphans.is_empty() && gone.is_empty() && !doubt {
        return Vec::new();
    }
    if !chosen.lost.iter().any(is_doubt) && chosen.base != Base::Storage {
        ends_early(chosen);
    }
    // Which of several messages of one mail is gone nothing tells.
    if !gone.is_empty() {
        take_out(chosen, gone);
        orphans = map.balance(&mails_of(&chosen.replayed.mailbox)).map(|(orphans, _)| orphans).unwrap_or_default();
    }
    let back = link(chosen, &mut orphans, logs);
    let mailbox = &chosen.replayed.mailbox;
    let mut unlinked = UidSet::new();
    let is_bare = |uid: u32| uid == 0 || (over.contains(&uid) && !orphans.is_empty());
    let bare = mailbox.positions().filter(|i| map_uid(mailbox, *i).is_none_or(is_bare));
    bare.for_each(|i| unlinked.insert(mailbox.uid(i)));
    if !unlinked.is_empty() {
        let records = mailbox.positions().filter(|i| !unlinked.contains(mailbox.uid(*i)));
        let records = records.flat_map(|i| mailbox.record(i).to_vec()).collect();
        chosen.replayed.mailbox.set_records(records);
        chosen.lost.push(Loss::Unlinked(unlinked));
    }
    if !back.is_empty() {
        chosen.lost.push(Loss::Flags(back));
    }
    // A mail that counts for one more message may be that of one which is gone since.
    match orphans.is_empty() {
        true => settle_grades(chosen, false, logs),
        false => stale_flags(chosen, logs),
    }
    orphans
}

/// Mails that were saved in this mailbox and that nobody refers to, and that the logs never told of: they were in it
/// before a server that had lost its index or its log began anew.
fn of_an_earlier_life(chosen: &mut Candidate, mut orphans: Vec<u32>, map: &MapState, logs: &Logs<'_>) -> Vec<u32> {
    let name = map.name();
    orphans.retain(|mail| match map.origin(*mail) {
        None => true,
        Some(origin) => origin.mailbox.is_some() && origin.mailbox == name,
    });
    let told = words_of_extension_records(logs);
    orphans.retain(|mail| !told.contains(mail));
    if orphans.iter().any(|mail| map.origin(*mail).is_none()) {
        orphans.iter().for_each(|mail| chosen.asks.insert(*mail));
        return Vec::new();
    }
    if !orphans.is_empty() {
        chosen.margin = chosen.margin.max(MARGIN);
        chosen.cut_short = true;
    }
    orphans
}

/// Every number that the logs set in extension data: a mail that is not among them was never in this mailbox.
fn words_of_extension_records(logs: &Logs<'_>) -> HashSet<u32> {
    let mut words = HashSet::new();
    for log in &logs.files {
        let file = log.file();
        for record in file.records().filter(|record| record.kind() == Some(RecordType::ExtRec)) {
            words
                .extend((0..record.payload.len()).step_by(4).filter_map(|at| record.endian.u32_at(record.payload, at)));
        }
    }
    words
}

/// Gives mails that nobody refers to new UIDs, above all that were ever given. Which they had is not known, but not
/// those that are expunged.
pub fn renumber(chosen: &mut Candidate, orphans: &[u32], map: &MapState, expunged: &UidSet) {
    if orphans.is_empty() {
        return;
    }
    let mailbox = &chosen.replayed.mailbox;
    let first = mailbox.header.next_uid.max(1);
    let count = u32::try_from(orphans.len()).unwrap_or(u32::MAX);
    let fits = first.checked_add(count).is_some_and(|next| next < u32::MAX);
    if mailbox.extension(b"mdbox").is_none() {
        // A mailbox that never had a message has no place for them yet.
        let mut told = Told::new(mailbox.endian);
        told.in_records(b"mdbox", 8, 4);
        told.in_records(b"guid", 16, 1);
        chosen.replayed.mailbox = told.onto(mailbox).unwrap_or_else(|| mailbox.clone());
    }
    let mailbox = &chosen.replayed.mailbox;
    if !fits || mailbox.extension(b"mdbox").is_none_or(|ext| ext.record_size < 4) {
        let mut mails = UidSet::new();
        orphans.iter().for_each(|mail| mails.insert(*mail));
        chosen.lost.push(Loss::Orphans(mails));
        return;
    }
    let mut uids = UidSet::new();
    uids.insert_range(first, first + count - 1);
    let mut all = UidSet::new();
    all.insert_range(1, first + count - 1);
    let mailbox = &chosen.replayed.mailbox;
    let there: UidSet = mailbox.positions().map(|i| (mailbox.uid(i), mailbox.uid(i))).collect();
    let all = all.difference(&there).difference(expunged);
    put_back(chosen, &uids);
    let mailbox = &mut chosen.replayed.mailbox;
    for (uid, mail) in (first..).zip(orphans) {
        set_map_uid(mailbox, uid, *mail);
        if let Some(guid) = map.origin(*mail).and_then(|origin| origin.guid) {
            write(mailbox, uid, b"guid", &guid);
        }
        // What the metadata say of a mail is worth a look before it is given to somebody.
        if map.origin(*mail).is_none() {
            chosen.asks.insert(*mail);
        }
    }
    chosen.lost.push(Loss::Renumbered { fresh: uids, all });
}

/// Gives messages their mails again where only one order of both is possible: between two messages whose mails are
/// known the same number of UIDs and of mails that nobody refers to. Returns messages that had no record.
fn link(chosen: &mut Candidate, orphans: &mut Vec<u32>, logs: &Logs<'_>) -> UidSet {
    let mut back = UidSet::new();
    let mailbox = &chosen.replayed.mailbox;
    let known: Vec<(u32, u32)> =
        mailbox.positions().map(|i| (mailbox.uid(i), map_uid(mailbox, i).unwrap_or(0))).collect();
    let appended = appended(logs);
    let top = mailbox.header.next_uid;
    // Neighbours with a mail, and the ends.
    let mut fixed: Vec<(u32, u32)> = vec![(0, 0)];
    fixed.extend(known.iter().copied().filter(|(_, map)| *map != 0));
    fixed.push((top, u32::MAX));
    let mut links: Vec<(u32, u32)> = Vec::new();
    // How many UIDs were given behind the end of the logs nobody knows.
    let ends =
        usize::from(chosen.cut_short || logs.is_torn() || first_append_after(logs, last_doubt(chosen)) == u32::MAX);
    for pair in fixed.windows(2).take(fixed.len().saturating_sub(1 + ends)) {
        let &[(low, low_map), (high, high_map)] = pair else { continue };
        if low_map >= high_map {
            continue;
        }
        let here: Vec<u32> = orphans.iter().copied().filter(|map| *map > low_map && *map < high_map).collect();
        if here.is_empty() {
            continue;
        }
        let bare = known.iter().filter(|(uid, _)| *uid > low && *uid < high).map(|(uid, _)| *uid);
        // UIDs that no record tells of: appended among the records that are lost.
        let dark = (low.saturating_add(1)..high).take(here.len() + 1).filter(|uid| !appended.contains(*uid));
        let mut slots: Vec<u32> = bare.chain(dark).collect();
        slots.sort_unstable();
        slots.dedup();
        if slots.len() == here.len() {
            links.extend(slots.into_iter().zip(here));
        }
    }
    if links.is_empty() || mailbox.extension(b"mdbox").is_none_or(|ext| ext.record_size < 4) {
        return back;
    }
    let have: HashSet<u32> = known.iter().map(|(uid, _)| *uid).collect();
    links.iter().filter(|(uid, _)| !have.contains(uid)).for_each(|(uid, _)| back.insert(*uid));
    put_back(chosen, &back);
    let mailbox = &mut chosen.replayed.mailbox;
    for (uid, map) in &links {
        set_map_uid(mailbox, *uid, *map);
    }
    for (_, linked) in &links {
        if let Some(at) = orphans.iter().position(|map| map == linked) {
            orphans.remove(at);
        }
    }
    back
}

fn set_map_uid(mailbox: &mut Mailbox, uid: u32, map: u32) {
    let bytes = mailbox.endian.u32_bytes(map);
    write(mailbox, uid, b"mdbox", &bytes);
}

/// All UIDs that the readable logs append.
fn appended(logs: &Logs<'_>) -> UidSet {
    let mut uids = UidSet::new();
    for log in &logs.files {
        let file = log.file();
        file.records().flat_map(|record| record.appended()).for_each(|uid| uids.insert(uid));
    }
    uids
}
