//! D7 and D8: mdbox. A mailbox refers to mails by their UID in the map, the map to places in the files `m.N`
//! (`mdbox-map.c`, `mdbox-storage-rebuild.c`).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::storage::{counterparts, dbox_root, mdbox_file_id};
use super::{Code, Finding, Findings, Severity, Subject, load, names_in};
use crate::format::Disk;
use crate::format::ext::{MapRecord, MdboxHeader, MdboxRecord};
use crate::format::record::flag;
use crate::model::Mailbox;
use crate::source::{Family, MailboxFiles, walk};

fn map_files(root: &Path) -> Option<MailboxFiles> {
    let files = MailboxFiles::at(root.join("storage").join(Family::Map.prefix()));
    (!files.present().is_empty()).then_some(files)
}

fn refcount(map: &Mailbox, i: usize) -> Option<u16> {
    let ext = map.extension(b"ref")?;
    map.endian.u16_at(map.ext_bytes(i, ext)?, 0)
}

/// The map UID of a message.
fn map_uid(mailbox: &Mailbox, i: usize) -> Option<u32> {
    let ext = mailbox.extension(b"mdbox")?;
    let bytes = mailbox.ext_bytes(i, ext).filter(|bytes| bytes.len() >= 4)?;
    Some(MdboxRecord::read(bytes, mailbox.endian).map_uid)
}

/// D7.
pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let mailbox = subject.mailbox;
    let Some(map) =
        dbox_root(subject.dir).and_then(|root| map_files(&root)).and_then(|f| load(&f, subject.options.mmap))
    else {
        return;
    };
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
                Some(at) if refcount(&map, at) == Some(0) => {
                    format!("UID {uid} is mail {map_uid} of the map, whose reference count is 0")
                }
                Some(_) => continue,
            },
        };
        found.add(Finding::new(Code::D7, subject.state_file(), message).uid(uid));
    }
}

/// How often a mail is referred to, and whether one of those messages says it is in the alternate storage.
#[derive(Clone, Copy, Debug, Default)]
struct References {
    count: u32,
    alt: bool,
}

/// The references of all mailboxes of a root; `None` when one of them cannot be read.
fn references(root: &Path, subject: &Subject<'_>) -> Option<HashMap<u32, References>> {
    let mut all: HashMap<u32, References> = HashMap::new();
    let mut complete = true;
    let mmap = subject.options.mmap;
    walk(
        &[root.join("mailboxes")],
        1,
        |dir| {
            dir.units
                .iter()
                .filter(|unit| unit.family == Family::Mailbox && !unit.is_cache_only())
                .map(|u| load(&u.files, mmap))
                .collect::<Vec<_>>()
        },
        |mailboxes| {
            match mailboxes {
                Err(_) => complete = false,
                Ok(mailboxes) => {
                    for mailbox in mailboxes {
                        let Some(mailbox) = mailbox else {
                            complete = false;
                            break;
                        };
                        for i in mailbox.positions() {
                            let Some(uid) = map_uid(&mailbox, i) else { continue };
                            let entry = all.entry(uid).or_default();
                            entry.count = entry.count.saturating_add(1);
                            entry.alt |= mailbox.flags(i) & flag::BACKEND != 0;
                        }
                    }
                }
            }
            if complete { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    );
    complete.then_some(all)
}

/// D8.
pub(super) fn check_map(subject: &Subject<'_>, found: &mut Findings) {
    let map = subject.mailbox;
    let Some(root) = subject.dir.parent() else { return };
    let references = references(root, subject);
    if let Some(references) = &references {
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
    files(subject, references.as_ref(), found);
}

/// The directory with the files `m.N` of a map.
fn storage_of(dir: &Path) -> Option<(PathBuf, Vec<Vec<u8>>)> {
    let with_files = |dir: PathBuf| {
        let names = names_in(&dir)?;
        names.iter().any(|name| mdbox_file_id(name).is_some()).then_some((dir, names))
    };
    with_files(dir.to_owned()).or_else(|| counterparts(dir).into_iter().find_map(with_files))
}

fn files(subject: &Subject<'_>, references: Option<&HashMap<u32, References>>, found: &mut Findings) {
    let map = subject.mailbox;
    let (Some(ext), Some((dir, names))) = (map.extension(b"map"), storage_of(subject.dir)) else { return };
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    for name in &names {
        if let Some(id) = mdbox_file_id(name)
            && let Ok(meta) = std::fs::metadata(dir.join(format!("m.{id}")))
        {
            sizes.insert(id, meta.len());
        }
    }
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
