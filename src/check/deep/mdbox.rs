//! D7 and D8: mdbox. A mailbox refers to mails by their UID in the map, the map to places in the files `m.N`
//! (`mdbox-map.c`, `mdbox-storage-rebuild.c`).

use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::Disk;
use crate::format::ext::{MapRecord, MdboxHeader};
use crate::model::Mailbox;
use crate::storage::{MapFiles, map_uid};

fn refcount(map: &Mailbox, i: usize) -> Option<u16> {
    let ext = map.extension(b"ref")?;
    map.endian.u16_at(map.ext_bytes(i, ext)?, 0)
}

/// D7.
pub(super) fn check(subject: &Subject<'_>, map: &Mailbox, found: &mut Findings) {
    let mailbox = subject.mailbox;
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
pub(super) fn check_map(subject: &Subject<'_>, seen: &MapFiles, found: &mut Findings) {
    let map = subject.mailbox;
    if let Some(references) = &seen.references {
        for i in map.positions() {
            let uid = map.uid(i);
            let have = u32::from(refcount(map, i).unwrap_or(0));
            let want = references.get(&uid).map_or(0, |references| references.count);
            if have < want {
                let message = format!("mail {uid}: reference count is {have}, {want} messages refer to it");
                found.add(Finding::new(Code::D8, subject.state_file(), message).uid(uid));
            } else if have > want {
                let message = format!(
                    "mail {uid}: reference count is {have}, only {want} messages refer to it: it is never purged"
                );
                found.add(Finding::new(Code::D8, subject.state_file(), message).uid(uid).severity(Severity::Warning));
            }
        }
    }
    files(subject, seen, found);
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
