//! The map of an mdbox held against what it is made of: the mails in the files `m.N` and the messages of all mailboxes
//! that refer to them (`mdbox-storage-rebuild.c`). A mail keeps its map UID, none is given twice, each is counted as
//! often as messages refer to it, and none is purged here.

use std::collections::{HashMap, HashSet};

use super::candidates::Candidate;
use super::doubt::{damaged_tail, put_back, remove, skip_lost_uids, write};
use super::inputs::Base;
use super::loss::Loss;
use super::order::Logs;
use super::told::Told;
use crate::format::Disk;
use crate::format::ext::{MapHeader, MapRecord};
use crate::model::{Mailbox, UidSet};
use crate::storage::{Mails, Place, refcount};

/// Bytes of the map's data in a record, and of a count (`mdbox-map.c`).
const MAP_SIZE: u16 = 12;
const REF_SIZE: u16 = 2;

/// Brings a map as far as its mails and its mailboxes prove it.
///
/// # Errors
/// Why nothing can be proven: a mailbox cannot be read, the alternate storage is away, or these are the mails of
/// another map.
pub fn hold_mails(chosen: &mut Candidate, mails: &Mails, logs: &Logs<'_>) -> Result<(), String> {
    damaged_tail(chosen, logs);
    let mailbox = &chosen.replayed.mailbox;
    let doubt = chosen.base == Base::Storage
        || !chosen.lost.is_empty()
        || chosen.cut_short
        || chosen.gap
        || chosen.missing > 0
        || logs.is_torn()
        || lacks_places(mailbox);
    if let Some(why) = cannot(mails, doubt) {
        if doubt && !(chosen.lost.is_empty() && logs.is_torn() && chosen.base != Base::Storage) {
            return Err(why);
        }
        end_at_head(chosen);
        return Ok(());
    }
    same_life(chosen, mails)?;
    let next_uid = chosen.replayed.mailbox.header.next_uid;
    let before = chosen.replayed.mailbox.encode();
    introduce(chosen);
    let mut search = Search::new(&chosen.replayed.mailbox, mails);
    let refuted = search.is_refuted(&chosen.replayed.mailbox);
    if let Some(why) = cannot(mails, refuted) {
        return Err(why);
    }
    let doubt = doubt || refuted;
    search.mend(chosen, doubt);
    let mailbox = &mut chosen.replayed.mailbox;
    let above = mails.references.keys().max().map_or(1, |mail| mail.saturating_add(1));
    mailbox.header.next_uid = mailbox.header.next_uid.max(above).max(next_uid);
    if doubt {
        // What a record told of mails is told by their files, what it told of counts by the mailboxes.
        let told = std::mem::take(&mut chosen.lost);
        let (stays, told) = told.into_iter().partition(|loss| matches!(loss, Loss::Whose(_)));
        chosen.lost = stays;
        let told: Vec<Loss> = told;
        chosen.flaws.extend(told.iter().map(|loss| format!("{loss}; files and mailboxes have it")));
        chosen.missing = 0;
        // The files have what was saved last, so that UIDs of mails that are gone need not be guessed.
        let top = chosen.replayed.mailbox.header.next_uid;
        skip_lost_uids(chosen, logs);
        let kept = search.leftover(chosen, top.max(chosen.replayed.mailbox.header.next_uid));
        if !kept.is_empty() {
            chosen.flaws.push(format!(
                "mails {kept} are in no mailbox, and no log tells whether they were expunged: they are kept, and a \
                 rebuild of the mailbox that they were saved in offers them"
            ));
        }
    }
    highest_file(&mut chosen.replayed.mailbox, mails);
    end_at_head(chosen);
    if chosen.replayed.mailbox.encode() != before {
        chosen.flaws.push("files m.N and mailboxes have it otherwise".into());
        if !logs.files.is_empty() {
            chosen
                .refutes
                .get_or_insert_with(|| "the mails and the messages that refer to them have it otherwise".into());
        }
    }
    Ok(())
}

/// All that a map is asked for is done at once (`mdbox_map_sync_handle`): a tail that is not the head is what a crash
/// leaves behind, or a log that was cut, and makes a server rebuild the whole storage.
fn end_at_head(chosen: &mut Candidate) {
    let header = &mut chosen.replayed.mailbox.header;
    if header.log_file_tail_offset != header.log_file_head_offset {
        header.log_file_tail_offset = header.log_file_head_offset;
        chosen.flaws.push("the tail is not the head".into());
    }
}

/// Why the files and mailboxes do not tell all.
fn cannot(mails: &Mails, doubt: bool) -> Option<String> {
    let away = mails.alt_is_away.as_ref().filter(|_| doubt).map(|path| {
        format!("the alternate storage {} is not there, and nothing else tells which mails are in it", path.display())
    });
    away.or_else(|| mails.not_all.clone().map(|why| format!("who refers to its mails is not known: {why}")))
}

/// A map that has no place for where mails are, or for their counts.
fn lacks_places(map: &Mailbox) -> bool {
    !map.is_empty() && (lacks(map, b"map", MAP_SIZE) || lacks(map, b"ref", REF_SIZE))
}

/// Whether records have no so many bytes of an extension.
fn lacks(map: &Mailbox, name: &[u8], size: u16) -> bool {
    map.extension(name).is_none_or(|ext| ext.record_size < size)
}

/// Each mailbox has a copy of the map's UIDVALIDITY. Where the map alone has another, it is damaged, or another map.
fn same_life(chosen: &mut Candidate, mails: &Mails) -> Result<(), String> {
    let map = &chosen.replayed.mailbox;
    let have = map.header.uid_validity;
    let Some(want) = mails.uid_validity.filter(|want| *want != have) else { return Ok(()) };
    let known: HashMap<Place, &Option<[u8; 16]>> =
        mails.mails.iter().map(|mail| (mail.place, &mail.origin.guid)).collect();
    let (mut same, mut other) = (0, 0);
    for i in map.positions() {
        let told = mails.references.get(&map.uid(i)).and_then(|reference| reference.guid);
        if let (Some(told), Some(Some(guid))) = (told, place(map, i).and_then(|place| known.get(&place).copied())) {
            *(if told == *guid { &mut same } else { &mut other }) += 1;
        }
    }
    if other > same {
        return Err(format!(
            "it is no map of these mailboxes: uid_validity is {have}, theirs {want}, and {other} of its mails are not \
             those that they refer to"
        ));
    }
    chosen.flaws.push(format!("uid_validity is {have}, all mailboxes have {want}"));
    chosen.replayed.mailbox.header.uid_validity = want;
    Ok(())
}

/// Makes room for places and counts where there is none.
fn introduce(chosen: &mut Candidate) {
    let mailbox = &chosen.replayed.mailbox;
    let mut told = Told::new(mailbox.endian);
    if lacks(mailbox, b"map", MAP_SIZE) {
        let header = MapHeader { highest_file_id: 0, rebuild_count: 0 };
        told.with_records(b"map", &header.to_bytes(mailbox.endian), MAP_SIZE, 4);
    }
    if lacks(mailbox, b"ref", REF_SIZE) {
        told.in_records(b"ref", REF_SIZE, 2);
    }
    if let Some(fresh) = told.onto(mailbox) {
        chosen.replayed.mailbox = fresh;
    }
}

/// Where a mail is, by the map.
fn place(map: &Mailbox, i: usize) -> Option<Place> {
    let bytes = map.ext_bytes(i, map.extension(b"map")?).filter(|bytes| bytes.len() >= MapRecord::SIZE)?;
    let MapRecord { file_id, offset, size } = MapRecord::read(bytes, map.endian);
    Some(Place { file_id, offset, size })
}

/// Mails of the files, and which of them the map has.
struct Search<'m> {
    mails: &'m Mails,
    /// By file and offset.
    at: HashMap<(u32, u32), usize>,
    by_guid: HashMap<[u8; 16], Vec<usize>>,
    claimed: Vec<bool>,
    /// Map UIDs whose mail is not where they say.
    wrong: Vec<u32>,
}

impl<'m> Search<'m> {
    fn new(map: &Mailbox, mails: &'m Mails) -> Search<'m> {
        let mut search = Search {
            mails,
            at: HashMap::new(),
            by_guid: HashMap::new(),
            claimed: vec![false; mails.mails.len()],
            wrong: Vec::new(),
        };
        for (k, mail) in mails.mails.iter().enumerate() {
            search.at.insert((mail.place.file_id, mail.place.offset), k);
            if let Some(guid) = mail.origin.guid {
                search.by_guid.entry(guid).or_default().push(k);
            }
        }
        for i in map.positions() {
            let uid = map.uid(i);
            let found = place(map, i).and_then(|place| {
                let k = *search.at.get(&(place.file_id, place.offset))?;
                let mail = mails.mails.get(k).filter(|mail| mail.place == place)?;
                let is_it = search.guid(uid).zip(mail.origin.guid).is_none_or(|(want, have)| want == have);
                (is_it && !search.claimed.get(k).copied().unwrap_or(true)).then_some(k)
            });
            match found {
                Some(k) => search.claim(k),
                None => search.wrong.push(uid),
            }
        }
        search
    }

    fn guid(&self, uid: u32) -> Option<[u8; 16]> {
        self.mails.references.get(&uid)?.guid
    }

    fn claim(&mut self, k: usize) {
        self.claimed.get_mut(k).into_iter().for_each(|claimed| *claimed = true);
    }

    /// A mail with this GUID that no other map UID has.
    fn by_guid(&self, guid: [u8; 16]) -> Option<usize> {
        let all = self.by_guid.get(&guid)?;
        all.iter().copied().find(|k| !self.claimed.get(*k).copied().unwrap_or(true))
    }

    /// Whether messages refer to mails that the map does not know, or knows in a place where another mail is: it has
    /// lost something, or is an older one.
    fn is_refuted(&self, map: &Mailbox) -> bool {
        let is_elsewhere = |uid: &u32| self.guid(*uid).is_some_and(|guid| self.by_guid(guid).is_some());
        self.wrong.iter().any(is_elsewhere) || self.mails.references.keys().any(|uid| map.lookup(*uid).is_none())
    }

    /// The mail that a map UID means, if anything tells.
    fn find(&self, map: &Mailbox, uid: u32) -> Option<usize> {
        if let Some(guid) = self.guid(uid) {
            return self.by_guid(guid);
        }
        let place = place(map, map.lookup(uid)?)?;
        // One field of the place alone is damaged.
        let like = |k: &usize| {
            self.mails.mails.get(*k).is_some_and(|mail| {
                let same = [
                    mail.place.file_id == place.file_id,
                    mail.place.offset == place.offset,
                    mail.place.size == place.size,
                ];
                !self.claimed.get(*k).copied().unwrap_or(true) && same.iter().filter(|same| **same).count() == 2
            })
        };
        let mut all = (0..self.mails.mails.len()).filter(like);
        all.next().filter(|_| all.next().is_none())
    }

    /// Puts every mail that is referred to where it is, and counts it.
    fn mend(&mut self, chosen: &mut Candidate, doubt: bool) {
        let mut moved: Vec<(u32, usize)> = Vec::new();
        let mut nowhere = UidSet::new();
        for uid in std::mem::take(&mut self.wrong) {
            let map = &chosen.replayed.mailbox;
            match self.find(map, uid) {
                Some(k) => {
                    self.claim(k);
                    moved.push((uid, k));
                }
                // A place that was never written, or one in a file that was purged since.
                None if doubt => {
                    let place = map.lookup(uid).and_then(|i| place(map, i));
                    let is_gone = |place: Place| place.file_id == 0 || !self.mails.files.contains(&place.file_id);
                    let is_wanted = self.mails.references.contains_key(&uid);
                    if place.is_none_or(|place| place.file_id == 0 || (is_gone(place) && !is_wanted)) {
                        nowhere.insert(uid);
                    }
                }
                None => {}
            }
        }
        if !nowhere.is_empty() {
            remove(&mut chosen.replayed.mailbox, &nowhere);
        }
        let mut back = UidSet::new();
        let mut missing: Vec<u32> = self.mails.references.keys().copied().collect();
        missing.sort_unstable();
        missing.retain(|uid| chosen.replayed.mailbox.lookup(*uid).is_none());
        for uid in missing {
            if let Some(k) = self.guid(uid).and_then(|guid| self.by_guid(guid)) {
                self.claim(k);
                moved.push((uid, k));
                back.insert(uid);
            }
        }
        put_back(chosen, &back);
        for (uid, k) in moved {
            self.set(&mut chosen.replayed.mailbox, uid, k);
        }
        self.count(&mut chosen.replayed.mailbox, doubt);
    }

    fn set(&self, map: &mut Mailbox, uid: u32, k: usize) {
        let Some(place) = self.mails.mails.get(k).map(|mail| mail.place) else { return };
        let record = MapRecord { file_id: place.file_id, offset: place.offset, size: place.size };
        let bytes = record.to_bytes(map.endian);
        write(map, uid, b"map", &bytes);
    }

    /// Counts every mail as often as it is referred to. Nobody may refer to a mail that a mailbox has lost: it is not
    /// to be purged, and stays counted until a log tells that it was expunged.
    fn count(&self, map: &mut Mailbox, doubt: bool) {
        let changes: Vec<(u32, u16)> = map
            .positions()
            .filter_map(|i| {
                let uid = map.uid(i);
                let want = self.mails.references.get(&uid).map_or(0, |reference| reference.count);
                let (want, have) = (u16::try_from(want).unwrap_or(u16::MAX), refcount(map, i).unwrap_or(0));
                let is_known = || {
                    let mail = place(map, i).and_then(|place| self.at.get(&(place.file_id, place.offset)));
                    let mail = mail.and_then(|k| self.mails.mails.get(*k));
                    doubt && mail.is_some_and(|mail| self.mails.is_expunged(mail))
                };
                (want != have && (want > 0 || is_known())).then_some((uid, want))
            })
            .collect();
        for (uid, want) in changes {
            let bytes = map.endian.u16_bytes(want);
            write(map, uid, b"ref", &bytes);
        }
    }

    /// Gives mails that neither the map nor a mailbox knows a map UID of their own. Another copy of a mail that the map
    /// has is what a purge that was interrupted leaves behind. Returns those that no log tells to be expunged: they are
    /// counted once.
    fn leftover(&mut self, chosen: &mut Candidate, first: u32) -> UidSet {
        let is_claimed = |k: &usize| self.claimed.get(*k).copied().unwrap_or(true);
        let copies: HashSet<([u8; 16], u32)> = (0..self.mails.mails.len())
            .filter(is_claimed)
            .filter_map(|k| self.mails.mails.get(k))
            .filter_map(|mail| Some((mail.origin.guid?, mail.place.size)))
            .collect();
        let is_copy = |k: usize| {
            let mail = self.mails.mails.get(k);
            mail.is_none_or(|mail| mail.origin.guid.is_some_and(|guid| copies.contains(&(guid, mail.place.size))))
        };
        let rest: Vec<usize> = (0..self.mails.mails.len()).filter(|k| !is_claimed(k) && !is_copy(*k)).collect();
        let (mut fresh, mut kept) = (UidSet::new(), UidSet::new());
        if let Some(count) = u32::try_from(rest.len()).ok().filter(|count| *count > 0)
            && let Some(last) = first.checked_add(count - 1).filter(|last| *last < u32::MAX)
        {
            fresh.insert_range(first, last);
            put_back(chosen, &fresh);
            let map = &mut chosen.replayed.mailbox;
            for (uid, k) in (first..).zip(&rest) {
                self.set(map, uid, *k);
                if !self.mails.mails.get(*k).is_some_and(|mail| self.mails.is_expunged(mail)) {
                    let one = map.endian.u16_bytes(1);
                    write(map, uid, b"ref", &one);
                    kept.insert(uid);
                }
            }
            rest.into_iter().for_each(|k| self.claim(k));
        }
        kept
    }
}

/// No file gets a number that one has already (`mdbox_map_find_next_file`).
fn highest_file(map: &mut Mailbox, mails: &Mails) {
    let used = map.positions().filter_map(|i| place(map, i)).map(|place| place.file_id);
    let known = |id: &u32| mails.files.contains(id);
    let highest = mails.files.iter().copied().chain(used.filter(known)).max().unwrap_or(0);
    let header = map.extension(b"map").map(|ext| ext.header().to_vec());
    let Some(header) = header.filter(|header| header.len() >= MapHeader::SIZE) else { return };
    let known = MapHeader::read(&header, map.endian);
    if known.highest_file_id >= highest {
        return;
    }
    let mut told = Told::new(map.endian);
    let fresh = MapHeader { highest_file_id: highest, ..known };
    let Some(ext) = map.extension(b"map") else { return };
    told.with_records(b"map", &fresh.to_bytes(map.endian), ext.record_size, ext.record_align);
    if let Some(fresh) = told.onto(map) {
        *map = fresh;
    }
}
