//! sdbox and mdbox. The one has a file `u.UID` for each message; in the other a mailbox refers to mails by their UID in
//! a map, and the map to places in files `m.N` (`sdbox-sync.c`, `mdbox-map.c`, `mdbox-storage-rebuild.c`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Witness, load, roots};
use crate::format::Disk;
use crate::format::ext::MdboxRecord;
use crate::format::record::flag;
use crate::model::Mailbox;
use crate::source::place::DBOX_MAILS;
use crate::source::{Dir, Family, MailboxFiles, MmapPolicy, Role, Special};

/// Levels of mailboxes below each other that are looked into.
const MAX_DEPTH: usize = 64;

/// The message files of an sdbox mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdbox {
    /// Where they are.
    pub dir: PathBuf,
    /// Their UIDs, rising.
    pub uids: Vec<u32>,
}

impl Sdbox {
    /// The files in a directory; `None` when there is not one.
    pub(super) fn beside(dir: &Dir) -> Option<Sdbox> {
        let mut uids = Vec::new();
        dir.each(|name, special| {
            uids.extend(number_after(name, b"u.").filter(|_| special.is_none()));
        })
        .ok()?;
        uids.sort_unstable();
        (!uids.is_empty()).then(|| Sdbox { dir: dir.path().to_owned(), uids })
    }

    /// The files of the mailbox in another root.
    pub(super) fn elsewhere(dir: &Dir) -> Option<Sdbox> {
        roots::counterparts(dir).iter().find_map(Sdbox::beside)
    }
}

fn number_after(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The map of the root that an mdbox mailbox is in.
pub(super) fn map_of(dir: &Dir, mmap: MmapPolicy) -> Witness {
    let Some(root) = roots::dbox_root(dir.path()) else { return Witness::Absent("not in an mdbox root") };
    let map = Dir::open(&root).and_then(|root| root.below("storage"));
    let Ok(storage) = map else { return Witness::Absent("no storage/") };
    match load(&MailboxFiles::within(&storage, Family::Map.prefix().as_bytes()), mmap) {
        Some(map) => Witness::Map(Box::new(map)),
        None => Witness::Absent("the map is not there or not sound"),
    }
}

/// The map UID of a message.
pub fn map_uid(mailbox: &Mailbox, i: usize) -> Option<u32> {
    let ext = mailbox.extension(b"mdbox")?;
    let bytes = mailbox.ext_bytes(i, ext).filter(|bytes| bytes.len() >= 4)?;
    Some(MdboxRecord::read(bytes, mailbox.endian).map_uid)
}

/// How often a mail is referred to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapReference {
    /// Messages that are this mail.
    pub count: u32,
    /// Whether one of them says that it is in the alternate storage.
    pub alt: bool,
}

/// What stands beside the map of an mdbox.
#[derive(Debug, Default)]
pub struct MapFiles {
    /// References by map UID, from all mailboxes of the root; `None` when one of them cannot be read.
    pub references: Option<HashMap<u32, MapReference>>,
    /// Where the files `m.N` are, and their sizes in bytes by N; `None` when there are none.
    pub files: Option<(PathBuf, HashMap<u32, u64>)>,
}

impl MapFiles {
    pub(super) fn read(dir: &Dir, mmap: MmapPolicy) -> MapFiles {
        let files = sizes_in(dir).or_else(|| roots::counterparts(dir).iter().find_map(sizes_in));
        let root = dir.path().parent().and_then(|root| Dir::open(root).ok());
        let references = root.and_then(|root| root.below("mailboxes").ok()).and_then(|dir| references(dir, mmap, None));
        MapFiles { references, files }
    }
}

fn sizes_in(dir: &Dir) -> Option<(PathBuf, HashMap<u32, u64>)> {
    let mut ids = Vec::new();
    dir.each(|name, special| ids.extend(number_after(name, b"m.").filter(|_| special.is_none()))).ok()?;
    let size = |id: u32| Some((id, dir.stat(format!("m.{id}")).ok()?.stat.size));
    (!ids.is_empty()).then(|| (dir.path().to_owned(), ids.into_iter().filter_map(size).collect()))
}

/// The references of all mailboxes below a directory, but not those of the index `except`. Where another root begins,
/// or another file system, they end.
pub(super) fn references(
    mailboxes: Dir,
    mmap: MmapPolicy,
    except: Option<&Path>,
) -> Option<HashMap<u32, MapReference>> {
    let mut all: HashMap<u32, MapReference> = HashMap::new();
    let dev = mailboxes.meta().ok()?.stat.dev;
    let mut stack = vec![(mailboxes, 0)];
    while let Some((dir, depth)) = stack.pop() {
        let entries = dir.list().ok()?;
        let is_dir = |name: &[u8]| entries.iter().any(|e| e.name == name && e.special == Some(Special::Directory));
        if is_dir(b"storage") && is_dir(b"mailboxes") {
            continue;
        }
        let files = MailboxFiles::within(&dir, Family::Mailbox.prefix().as_bytes());
        let has = |role: Role| {
            let name = files.name(role);
            entries.iter().any(|entry| entry.special.is_none() && entry.name == name)
        };
        let is_wanted = except != Some(files.path(Role::Index).as_path());
        if is_wanted && [Role::Index, Role::Log, Role::OldLog, Role::Backup].into_iter().any(has) {
            let mailbox = load(&files, mmap)?;
            for i in mailbox.positions() {
                let Some(uid) = map_uid(&mailbox, i) else { continue };
                let entry = all.entry(uid).or_default();
                entry.count = entry.count.saturating_add(1);
                entry.alt |= mailbox.flags(i) & flag::BACKEND != 0;
            }
        }
        // Mails have no mailboxes below them.
        if depth >= MAX_DEPTH || is_mails(&dir) {
            continue;
        }
        for entry in entries.iter().filter(|entry| entry.special == Some(Special::Directory)) {
            let below = dir.below(&entry.name).ok()?;
            if below.meta().ok()?.stat.dev == dev {
                stack.push((below, depth + 1));
            }
        }
    }
    Some(all)
}

fn is_mails(dir: &Dir) -> bool {
    dir.path().file_name().is_some_and(|name| name.as_encoded_bytes() == DBOX_MAILS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names() {
        assert_eq!(number_after(b"u.7", b"u."), Some(7));
        assert_eq!(number_after(b"u.7.tmp", b"u."), None);
        assert_eq!(number_after(b"u.+7", b"u."), None);
        assert_eq!(number_after(b"m.4294967295", b"m."), Some(u32::MAX));
        assert_eq!(number_after(b"m.", b"m."), None);
    }
}
