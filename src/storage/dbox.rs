//! sdbox and mdbox. The one has a file `u.UID` for each message; in the other a mailbox refers to mails by their UID in
//! a map, and the map to places in files `m.N` (`sdbox-sync.c`, `mdbox-map.c`, `mdbox-storage-rebuild.c`).

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use super::cached::Believed;
use super::{Lost, Missing, Witness, load, piece, roots};
use crate::format::Disk;
use crate::format::ext::{MapRecord, MdboxRecord};
use crate::format::record::flag;
use crate::model::Mailbox;
use crate::source::place::{self, DBOX_MAILS};
use crate::source::{Dir, Family, MailboxFiles, MmapPolicy, Role, Signs, Special};

/// Levels of mailboxes below each other that are looked into.
const MAX_DEPTH: usize = 64;

/// Bytes of a file header and of the message header behind it that are read.
const HEADS: usize = 128;
/// Size of a message header, bytes (`struct dbox_message_header`).
pub(super) const MESSAGE_HEADER: u64 = 30;
/// What stands behind a message, before its metadata.
pub(super) const BEHIND: &[u8] = b"\n\x01\x03\n";
/// Bytes that a file has besides its message, at least and as a rule at most: headers, `BEHIND`, metadata.
const BESIDES: std::ops::RangeInclusive<u64> = 50..=2048;
/// Bytes of metadata behind a mail that are read.
const MAX_METADATA: usize = 4096;

/// The message files of an sdbox mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdbox {
    /// Where they are.
    pub dir: PathBuf,
    /// Their UIDs, rising, also of those in the alternate storage.
    pub uids: Vec<u32>,
    /// The alternate storage (`ALT=`) that the root names and that is not there.
    pub alt_is_away: Option<PathBuf>,
    /// Files that are not what they must be.
    pub flaws: Vec<(u32, MailFlaw)>,
    /// UIDs of the files that a server found damaged and put aside (`dbox_file_fix`).
    pub broken: Vec<u32>,
}

/// What is wrong with a stored mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFlaw {
    /// The file header is not that of a dbox file.
    FileHeader,
    /// There is no message header.
    MessageHeader,
    /// The message does not end where its header says.
    Size {
        /// Bytes of the message, by its header.
        told: u64,
        /// Bytes of the file, or of the mail's place in it.
        room: u64,
    },
}

impl std::fmt::Display for MailFlaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MailFlaw::FileHeader => f.write_str("no dbox file begins like this"),
            MailFlaw::MessageHeader => f.write_str("there is no message header"),
            MailFlaw::Size { told, room } => {
                write!(f, "its header says {told} bytes, which do not end as a message does within the {room} there")
            }
        }
    }
}

impl Sdbox {
    /// The files in a directory; `None` when there is not one. With `believed` sizes they are held against these, and
    /// read where they differ or are not known.
    pub(super) fn beside(dir: &Dir, believed: Option<&Believed>, signs: Option<Signs>) -> Option<Sdbox> {
        // Where a listing has shown none, the directory is not listed again for them.
        let is_without = signs.is_some_and(|signs| !signs.sdbox_files);
        let (mut uids, broken) = if is_without { Default::default() } else { numbers_in(dir, b"u.")? };
        let mut flaws = Vec::new();
        let is_likely = |size: u64, uid: u32| {
            let besides = believed?.physical(uid).and_then(|physical| size.checked_sub(physical));
            besides.filter(|besides| BESIDES.contains(besides))
        };
        for uid in uids.iter().copied().filter(|_| believed.is_some()) {
            let name = format!("u.{uid}");
            let Ok(meta) = dir.stat(&name) else { continue };
            if is_likely(meta.stat.size, uid).is_none()
                && let Ok(file) = dir.file(&name)
            {
                flaws.extend(file_flaw(&file, meta.stat.size).map(|flaw| (uid, flaw)));
            }
        }
        let (more, alt_is_away) = alternate(dir);
        uids.extend(more.iter().filter_map(|dir| numbers_in(dir, b"u.")).flat_map(|(uids, _)| uids));
        uids.sort_unstable();
        uids.dedup();
        let is_here = !uids.is_empty() || !broken.is_empty();
        is_here.then(|| Sdbox { dir: dir.path().to_owned(), uids, alt_is_away, flaws, broken })
    }

    /// The files of the mailbox in another root.
    pub(super) fn elsewhere(dir: &Dir, believed: Option<&Believed>) -> Option<Sdbox> {
        roots::sure_storages(dir).iter().find_map(|one| Sdbox::beside(&one.dir, believed, None))
    }
}

/// The numbers of files `u.N` or `m.N`, and those of `u.N.broken` or `m.N.broken`, rising.
fn numbers_in(dir: &Dir, prefix: &[u8]) -> Option<(Vec<u32>, Vec<u32>)> {
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    dir.each(|name, special| {
        if !name.starts_with(prefix) || special.is_some() {
            return;
        }
        match name.strip_suffix(b".broken") {
            Some(name) => broken.extend(number_after(name, prefix)),
            None => whole.extend(number_after(name, prefix)),
        }
    })
    .ok()?;
    whole.sort_unstable();
    broken.sort_unstable();
    Some((whole, broken))
}

/// The directory that stands for this one in the alternate storage, or where that storage should be when it is away, or
/// is somebody else's.
pub(super) fn alternate(dir: &Dir) -> (Option<Dir>, Option<PathBuf>) {
    const LINK: &str = "dbox-alt-root";
    if let Some(told) = roots::told_alternate(dir) {
        return match told {
            Ok(alt) => (Some(alt), None),
            Err(path) => (None, Some(path)),
        };
    }
    let Some((root, below)) = roots::dbox_root(dir).or_else(|| dir.above()) else { return (None, None) };
    let Ok(target) = root.link(LINK) else { return (None, None) };
    match root.behind_link(LINK) {
        Ok(alt) => (alt.below(below).ok(), None),
        Err(_) => (None, Some(root.path().join(target))),
    }
}

/// What is wrong with a file `u.UID`.
fn file_flaw(file: &File, size: u64) -> Option<MailFlaw> {
    match header_end(file) {
        Some(end) => mail_flaw(file, end, size),
        None => Some(MailFlaw::FileHeader),
    }
}

/// Where the header of a dbox file ends; `None` when it is none (`dbox_file_read_header`).
fn header_end(file: &File) -> Option<u64> {
    let head = piece(file, 0, HEADS);
    let end = head.iter().position(|byte| *byte == b'\n').filter(|_| head.starts_with(b"2 "))?;
    let mut words = head.get(..end)?.split(|byte| *byte == b' ').skip(1);
    let told = words.clone().find_map(|word| hex_number(word.strip_prefix(b"M")?));
    let is_time = |word: &[u8]| word.strip_prefix(b"C").is_none_or(|digits| hex_number(digits).is_some());
    (told == Some(MESSAGE_HEADER) && words.all(is_time)).then_some(end as u64 + 1)
}

/// What is wrong with a mail whose header is at an offset, and which must end before another.
fn mail_flaw(file: &File, at: u64, end: u64) -> Option<MailFlaw> {
    let Some(told) = told_size(&piece(file, at, 30)) else { return Some(MailFlaw::MessageHeader) };
    let behind = at.saturating_add(MESSAGE_HEADER).saturating_add(told);
    let fits = behind.saturating_add(BEHIND.len() as u64) < end && piece(file, behind, BEHIND.len()) == BEHIND;
    (!fits).then_some(MailFlaw::Size { told, room: end.saturating_sub(at) })
}

/// The size that a message header tells, bytes.
pub(super) fn told_size(head: &[u8]) -> Option<u64> {
    head.get(13..29).and_then(hex_number).filter(|_| head.starts_with(&[1, 2]))
}

fn hex_number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| all)
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
    let Some((root, _)) = roots::dbox_root(dir) else { return Witness::Absent("not in an mdbox root") };
    let gone = || {
        let path = root.path().join("storage").join(Family::Map.prefix());
        Witness::Missing(Missing { what: Lost::Map, path })
    };
    let Ok(storage) = root.below("storage") else {
        return if roots::has_control(dir) { gone() } else { Witness::Absent("there is no storage/") };
    };
    let files = MailboxFiles::inside(&storage, Family::Map);
    match load(&files, mmap) {
        Some(map) => Witness::Map(Box::new(map)),
        None if !files.present().iter().any(|role| matches!(role, Role::Index | Role::Log)) => {
            let has_mails = sizes_in(&storage).is_some() || roots::has_control(dir);
            if has_mails { gone() } else { Witness::Absent("there is no map") }
        }
        None => Witness::Absent("the map is not sound"),
    }
}

/// The map UID of a message.
pub fn map_uid(mailbox: &Mailbox, i: usize) -> Option<u32> {
    let ext = mailbox.extension(b"mdbox")?;
    let bytes = mailbox.ext_bytes(i, ext).filter(|bytes| bytes.len() >= 4)?;
    Some(MdboxRecord::read(bytes, mailbox.endian).map_uid)
}

/// How often the messages of a mailbox refer to each mail.
pub fn mails_of(mailbox: &Mailbox) -> HashMap<u32, u32> {
    let mut own = HashMap::new();
    let uids = mailbox.positions().filter_map(|i| map_uid(mailbox, i)).filter(|uid| *uid != 0);
    uids.for_each(|uid| *own.entry(uid).or_insert(0) += 1);
    own
}

/// The reference count that the map has of a mail.
pub fn refcount(map: &Mailbox, i: usize) -> Option<u16> {
    map.endian.u16_at(map.ext_bytes(i, map.extension(b"ref")?)?, 0)
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
    /// Whether they must be here: the control files of the mail root are.
    pub is_certain: bool,
    /// The alternate storage (`ALT=`) that the root names and that is not there.
    pub alt_is_away: Option<PathBuf>,
    /// Mails, by map UID, that are not what they must be.
    pub flaws: Vec<(u32, MailFlaw)>,
    /// Directories of mailboxes that have no index.
    pub without_index: Vec<PathBuf>,
    /// Numbers of the files that a server found damaged and put aside (`dbox_file_fix`).
    pub broken: Vec<u32>,
    /// Numbers of the files that somebody may be writing to: they have changed within the last ten seconds.
    pub growing: Vec<u32>,
}

impl MapFiles {
    pub(super) fn read(dir: &Dir, map: &Mailbox, mmap: MmapPolicy) -> MapFiles {
        let elsewhere =
            || roots::sure_storages(dir).into_iter().find_map(|one| sizes_in(&one.dir).map(|sizes| (one.dir, sizes)));
        let mut files = sizes_in(dir).map(|sizes| (dir.clone(), sizes)).or_else(elsewhere);
        let (alt, alt_is_away) = alternate(dir);
        let flaws = files.as_ref().map(|(dir, sizes)| flaws_in(dir, sizes, map)).unwrap_or_default();
        if let (Some((_, sizes)), Some(more)) = (&mut files, alt.as_ref().and_then(sizes_in)) {
            more.into_iter().for_each(|(id, size)| _ = sizes.entry(id).or_insert(size));
        }
        let mut without_index = Vec::new();
        let below = dir.above().and_then(|(root, _)| root.below("mailboxes").ok());
        let references = below.and_then(|dir| references(dir, mmap, &mut without_index));
        let is_at_rest =
            |dir: &Dir, id: u32| dir.stat(format!("m.{id}")).is_ok_and(|meta| super::is_at_rest(meta.stat.mtime.0));
        let growing = files
            .as_ref()
            .map_or_else(Vec::new, |(dir, sizes)| sizes.keys().copied().filter(|id| !is_at_rest(dir, *id)).collect());
        let files = files.map(|(dir, sizes)| (dir.path().to_owned(), sizes));
        let (is_certain, broken) = (roots::has_control(dir), numbers_in(dir, b"m.").unwrap_or_default().1);
        MapFiles { references, files, is_certain, alt_is_away, flaws, without_index, broken, growing }
    }
}

/// Looks at the header of every mail that the map has a place for.
fn flaws_in(dir: &Dir, sizes: &HashMap<u32, u64>, map: &Mailbox) -> Vec<(u32, MailFlaw)> {
    let Some(ext) = map.extension(b"map") else { return Vec::new() };
    let mut places: Vec<(u32, u32, u32, u32)> = map
        .positions()
        .filter_map(|i| {
            let bytes = map.ext_bytes(i, ext).filter(|bytes| bytes.len() >= MapRecord::SIZE)?;
            let record = MapRecord::read(bytes, map.endian);
            Some((record.file_id, record.offset, record.size, map.uid(i)))
        })
        .collect();
    places.sort_unstable();
    let mut flaws = Vec::new();
    let mut open: Option<(u32, File)> = None;
    for (id, at, size, uid) in places {
        let end = u64::from(at).saturating_add(size.into());
        if sizes.get(&id).is_none_or(|size| end > *size) {
            continue;
        }
        if open.as_ref().is_none_or(|(have, _)| *have != id) {
            open = dir.file(format!("m.{id}")).ok().map(|file| (id, file));
            let is_broken = open.as_ref().is_some_and(|(_, file)| header_end(file).is_none());
            flaws.extend(is_broken.then_some((uid, MailFlaw::FileHeader)));
        }
        let Some((_, file)) = &open else { continue };
        flaws.extend(mail_flaw(file, at.into(), end).map(|flaw| (uid, flaw)));
    }
    flaws
}

pub(super) fn sizes_in(dir: &Dir) -> Option<HashMap<u32, u64>> {
    let mut ids = Vec::new();
    dir.each(|name, special| ids.extend(number_after(name, b"m.").filter(|_| special.is_none()))).ok()?;
    let size = |id: u32| Some((id, dir.stat(format!("m.{id}")).ok()?.stat.size));
    (!ids.is_empty()).then(|| ids.into_iter().filter_map(size).collect())
}

/// The references of all mailboxes below a directory. Where another root begins, or another file system, they end.
pub(super) fn references(
    mailboxes: Dir,
    mmap: MmapPolicy,
    without_index: &mut Vec<PathBuf>,
) -> Option<HashMap<u32, MapReference>> {
    let mut all: HashMap<u32, MapReference> = HashMap::new();
    each_mailbox(mailboxes, &mut |dir| without_index.push(dir.path().to_owned()), &mut |files| {
        let mailbox = load(&files, mmap)?;
        for i in mailbox.positions() {
            let Some(uid) = map_uid(&mailbox, i) else { continue };
            let entry = all.entry(uid).or_default();
            entry.count = entry.count.saturating_add(1);
            entry.alt |= mailbox.flags(i) & flag::BACKEND != 0;
        }
        Some(())
    })?;
    Some(all)
}

/// Hands the index files of every mailbox below a directory to `visit`, which may end it with `None`, and the
/// directories of mails that have none to `without_index`.
pub(super) fn each_mailbox(
    mailboxes: Dir,
    without_index: &mut dyn FnMut(&Dir),
    visit: &mut dyn FnMut(MailboxFiles) -> Option<()>,
) -> Option<()> {
    let dev = mailboxes.meta().ok()?.stat.dev;
    let mut stack = vec![(mailboxes, 0)];
    while let Some((dir, depth)) = stack.pop() {
        let entries = dir.list().ok()?;
        let is_dir = |name: &[u8]| entries.iter().any(|e| e.name == name && e.special == Some(Special::Directory));
        if is_dir(b"storage") && is_dir(b"mailboxes") {
            continue;
        }
        let files = MailboxFiles::inside(&dir, Family::Mailbox);
        let has = |role: Role| {
            let name = files.name(role);
            entries.iter().any(|entry| entry.special.is_none() && entry.name == name)
        };
        let lacks_index = is_mails(&dir) && ![Role::Index, Role::Log].into_iter().any(has);
        let is_mailbox = [Role::Index, Role::Log, Role::OldLog, Role::Backup].into_iter().any(has);
        if is_mailbox {
            visit(files)?;
        }
        if lacks_index {
            without_index(&dir);
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
    Some(())
}

/// What the metadata of a mail in a file `m.N` say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Key `B`: the storage name of the mailbox that it was first saved in.
    pub mailbox: Option<Vec<u8>>,
    /// Key `G`: its GUID, 128 bits.
    pub guid: Option<[u8; 16]>,
}

impl Origin {
    /// Reads the metadata behind a mail whose header is at an offset.
    pub(super) fn read(file: &File, at: u64, end: u64) -> Option<Origin> {
        let told = piece(file, at, 30).get(13..29).and_then(hex_number)?;
        let behind = at.checked_add(MESSAGE_HEADER)?.checked_add(told)?;
        let size = usize::try_from(end.checked_sub(behind)?).ok()?.min(MAX_METADATA);
        let bytes = piece(file, behind, size);
        Some(Origin::of(bytes.strip_prefix(BEHIND)?))
    }

    /// What lines of metadata say, up to an empty one.
    pub(super) fn of(metadata: &[u8]) -> Origin {
        let mut origin = Origin::default();
        for line in metadata.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()) {
            match line.split_first() {
                Some((b'B', name)) => origin.mailbox = Some(name.to_vec()),
                Some((b'G', text)) => origin.guid = place::guid_of(text),
                _ => {}
            }
        }
        origin
    }
}

fn is_mails(dir: &Dir) -> bool {
    dir.path().file_name().is_some_and(|name| name.as_encoded_bytes() == DBOX_MAILS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn headers_of_files() {
        let end = |text: &str| {
            let mut file = tempfile::tempfile().expect("file");
            file.write_all(text.as_bytes()).expect("write");
            header_end(&file)
        };
        assert_eq!(end("2 M1e C6a1b2c3d\n\x01\x02"), Some(16));
        // 2.3.19.1: "Invalid create time stamp", "Invalid dbox version", "Missing message header size".
        for broken in ["2 M1e C6a1bxc3d\n", "3 M1e C6a1b2c3d\n", "2 C6a1b2c3d\n", "2 M1e C6a1b2c3d"] {
            assert_eq!(end(broken), None, "{broken}");
        }
    }

    #[test]
    fn numbers_in_names() {
        assert_eq!(number_after(b"u.7", b"u."), Some(7));
        assert_eq!(number_after(b"u.7.tmp", b"u."), None);
        assert_eq!(number_after(b"u.+7", b"u."), None);
        assert_eq!(number_after(b"m.4294967295", b"m."), Some(u32::MAX));
        assert_eq!(number_after(b"m.", b"m."), None);
    }
}
