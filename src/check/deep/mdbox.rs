//! D7 and D8: mdbox. A mailbox refers to mails by their UID in the map, the map to places in the files `m.N`
//! (`mdbox-map.c`, `mdbox-storage-rebuild.c`).

use std::collections::HashMap;

use super::sdbox::{BROKEN_STAYS, LOOK_INTO};
use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::Disk;
use crate::format::ext::{MapHeader, MapRecord, MdboxHeader};
use crate::model::Mailbox;
use crate::storage::{MapFiles, map_uid, refcount};

/// D7.
pub(super) fn check(subject: &Subject<'_>, map: &Mailbox, found: &mut Findings) {
    let mailbox = subject.mailbox;
    // A mailbox that was never delivered to need not know the map.
    if mailbox.is_empty() && mailbox.extension(b"mdbox-hdr").is_none() {
        return;
    }
    let header = mailbox.extension(b"mdbox-hdr").map(|ext| MdboxHeader::read(ext.header(), mailbox.endian));
    match header {
        None => {
            found.add(Finding::new(Code::D7, subject.state_file(), "there is no mdbox-hdr extension"));
            return;
        }
        Some(header) if header.map_uid_validity != map.header.uid_validity && header.map_uid_validity != 0 => {
            let message =
                format!("map_uid_validity is {}, the map's is {}", header.map_uid_validity, map.header.uid_validity);
            found.add(Finding::new(Code::D7, subject.state_file(), message));
            return;
        }
        Some(_) => {}
    }
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        let message = match map_uid(mailbox, i) {
            None | Some(0) => format!("UID {uid} has no map_uid"),
            Some(map_uid) => match map.lookup(map_uid) {
                None => format!("UID {uid} is mail {map_uid} of the map, which is not there"),
                Some(at) if refcount(map, at) == Some(0) => {
                    format!("UID {uid} is mail {map_uid} of the map, whose reference count is 0")
                }
                Some(_) => continue,
            },
        };
        found.add(Finding::new(Code::D7, subject.state_file(), message).uid(uid));
    }
}

/// D8.
pub(super) fn check_map(
    subject: &Subject<'_>,
    seen: &MapFiles,
    found: &mut Findings,
    skip: &mut dyn FnMut(&'static str, &'static str),
) {
    let map = subject.mailbox;
    let mut orphans = 0_u32;
    if let Some(references) = &seen.references {
        for i in map.positions() {
            let uid = map.uid(i);
            let have = u32::from(refcount(map, i).unwrap_or(0));
            let want = references.get(&uid).map_or(0, |references| references.count);
            if have < want {
                let message = format!("mail {uid}: reference count is {have}, {want} messages refer to it");
                found.add(Finding::new(Code::D8, subject.state_file(), message).uid(uid));
            } else if have > 0 && want == 0 {
                orphans += 1;
                let message = format!("mail {uid} is in no mailbox, though its reference count is {have}");
                let does = "keeps it; a rebuild of the storage puts it back into the mailbox it was saved to";
                let finding = Finding::new(Code::D8, subject.state_file(), message).uid(uid).does(does);
                found.add(finding.severity(Severity::Warning));
            } else if have > want {
                let message = format!(
                    "mail {uid}: reference count is {have}, only {want} messages refer to it: it is never purged"
                );
                found.add(Finding::new(Code::D8, subject.state_file(), message).uid(uid).severity(Severity::Warning));
            }
        }
    }
    if seen.references.is_none() {
        skip("reference counts", "there are no mailboxes, or one of them cannot be read");
    }
    for dir in seen.without_index.iter().filter(|_| orphans > 0) {
        let message = format!("a mailbox without index, and {orphans} mails of the map are in no mailbox");
        found.add(Finding::new(Code::D17, dir, message));
    }
    for id in &seen.broken {
        let dir = subject.state_file().parent().unwrap_or_else(|| subject.state_file());
        let message = "the server has put this damaged file aside; mails that it could not read are in it alone";
        let finding = Finding::new(Code::D8, dir.join(format!("m.{id}.broken")), message);
        found.add(finding.severity(Severity::Warning).does(BROKEN_STAYS).advise(LOOK_INTO));
    }
    if seen.alt_is_away.is_some() {
        skip("alternate storage", "dbox-alt-root leads to a directory that is not there");
    }
    if seen.files.is_none() {
        let live = map.positions().filter(|i| refcount(map, *i) != Some(0)).count();
        if live == 0 {
            return;
        }
        if !seen.is_certain {
            return skip("mail files m.N", "there is none beside the map");
        }
        let message = format!("there is not one file m.N, and {live} mails in the map");
        return found.add(Finding::new(Code::D8, subject.state_file(), message));
    }
    files(subject, seen, found);
    for (uid, flaw) in &seen.flaws {
        let place = place(map, *uid);
        let file = place.as_ref().map(|place| format!("m.{}", place.file_id)).unwrap_or_default();
        let path = seen.files.as_ref().map_or_else(|| subject.state_file().to_owned(), |(dir, _)| dir.join(file));
        let at = place.map_or(0, |place| u64::from(place.offset));
        found.add(Finding::new(Code::D13, path, format!("mail {uid}: {flaw}")).uid(*uid).at(at));
    }
    beyond(subject, seen, found);
}

/// Where a mail is, by the map.
fn place(map: &Mailbox, uid: u32) -> Option<MapRecord> {
    let bytes = map.ext_bytes(map.lookup(uid)?, map.extension(b"map")?)?;
    (bytes.len() >= MapRecord::SIZE).then(|| MapRecord::read(bytes, map.endian))
}

/// Mails that the map does not know: behind the last one in a file, and in files above the highest number.
fn beyond(subject: &Subject<'_>, seen: &MapFiles, found: &mut Findings) {
    let map = subject.mailbox;
    let (Some(ext), Some((dir, sizes))) = (map.extension(b"map"), &seen.files) else { return };
    let highest =
        (ext.header().len() >= MapHeader::SIZE).then(|| MapHeader::read(ext.header(), map.endian).highest_file_id);
    let mut ends: HashMap<u32, u64> = HashMap::new();
    for place in map.positions().filter_map(|i| place(map, map.uid(i))) {
        let end = ends.entry(place.file_id).or_default();
        *end = (*end).max(u64::from(place.offset).saturating_add(place.size.into()));
    }
    let mut ids: Vec<_> = sizes.iter().collect();
    ids.sort_unstable();
    for (id, size) in ids {
        let path = dir.join(format!("m.{id}"));
        let above = highest.is_some_and(|highest| *id > highest);
        match ends.get(id) {
            Some(end) if end < size => {
                let message = format!("{} bytes behind the last mail that the map knows", size - end);
                let does = "logs \"EOF reading msg header\" or the like at the next delivery, and rebuilds the storage";
                let finding = Finding::new(Code::D8, path, message).at(*end).does(does);
                // A mail that is being saved is behind the last one until the map knows it.
                let severity = if seen.growing.contains(id) { Severity::Info } else { Severity::Error };
                found.add(finding.severity(severity));
            }
            // Renamed, it is missing under its own name.
            None if above && !found.any(subject.state_file(), Severity::Error) => {
                let message = format!("the map knows no mail in it; its highest_file_id is lower: {size} bytes");
                let does = "says \"already exists\" when it wants this name, and rebuilds the storage";
                found.add(Finding::new(Code::D8, path, message).does(does).severity(Severity::Warning));
            }
            _ => {}
        }
    }
}

fn files(subject: &Subject<'_>, seen: &MapFiles, found: &mut Findings) {
    let map = subject.mailbox;
    let (Some(ext), Some((dir, sizes))) = (map.extension(b"map"), &seen.files) else { return };
    let references = seen.references.as_ref();
    let mut pieces: Vec<(u32, u32, u32, u32)> = Vec::new();
    for i in map.positions() {
        let uid = map.uid(i);
        if refcount(map, i) == Some(0) {
            continue;
        }
        let Some(bytes) = map.ext_bytes(i, ext).filter(|bytes| bytes.len() >= MapRecord::SIZE) else { continue };
        let record = MapRecord::read(bytes, map.endian);
        let alt = references.is_none_or(|references| references.get(&uid).is_none_or(|references| references.alt));
        match sizes.get(&record.file_id) {
            // Without a message that says where it is, it may be in the alternate storage.
            None if alt => {}
            None => {
                let message = format!("mail {uid} is in m.{}, which does not exist", record.file_id);
                found.add(Finding::new(Code::D8, subject.state_file(), message).uid(uid));
            }
            Some(size) if u64::from(record.offset) + u64::from(record.size) > *size => {
                let message = format!(
                    "mail {uid} is at {}..{} of a file of {size} bytes",
                    record.offset,
                    u64::from(record.offset) + u64::from(record.size)
                );
                let file = dir.join(format!("m.{}", record.file_id));
                found.add(Finding::new(Code::D8, file, message).uid(uid).at(record.offset.into()));
            }
            Some(_) => pieces.push((record.file_id, record.offset, record.size, uid)),
        }
    }
    pieces.sort_unstable();
    for pair in pieces.windows(2) {
        let [(file, at, size, first), (other, next, _, second)] = pair else { continue };
        if file == other && u64::from(*at) + u64::from(*size) > u64::from(*next) {
            let message = format!("mails {first} and {second} overlap in m.{file}");
            let path = dir.join(format!("m.{file}"));
            found.add(Finding::new(Code::D8, path, message).uid(*second).at((*next).into()));
        }
    }
}
