//! What a map of an mdbox is made of again: the mails in its files `m.N`, one after the other, and what all mailboxes
//! of the root say of the mails that they refer to (`mdbox-storage-rebuild.c`, `dbox-file.c`). Nothing is judged here.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::dbox::{self, BEHIND, MESSAGE_HEADER, Origin};
use super::{load, piece, roots};
use crate::format::Disk;
use crate::format::ext::MdboxHeader;
use crate::format::log::LogFile;
use crate::format::record::{ExpungeGuid, RecordType};
use crate::model::ChainFile;
use crate::source::place::DBOX_MAILS;
use crate::source::{Dir, MailboxFiles, MmapPolicy, Role};

/// Bytes that are looked through at a time for the next mail behind a damaged one.
const STRETCH: usize = 1 << 16;
/// How a message header begins: magic, type of the message, a space (`struct dbox_message_header`).
const MAGIC: &[u8] = b"\x01\x02N ";
/// Metadata behind a mail that are read at first, and at most, bytes.
const METADATA: [usize; 2] = [1 << 10, 1 << 16];

/// Where a mail is: number of its file, offset and size in bytes, as a map has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// N of `m.N`.
    pub file_id: u32,
    /// Offset of the message header.
    pub offset: u32,
    /// Bytes up to the end of the metadata.
    pub size: u32,
}

/// A mail in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Where it is.
    pub place: Place,
    /// What its metadata say.
    pub origin: Origin,
}

/// What the mailboxes say of a mail that they refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// How many messages are this mail.
    pub count: u32,
    /// Its GUID; `None` when they do not say, or not the same.
    pub guid: Option<[u8; 16]>,
}

/// The mails of an mdbox and who refers to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mails {
    /// All of them, by file and offset.
    pub mails: Vec<Mail>,
    /// Numbers of the files that there are.
    pub files: HashSet<u32>,
    /// By map UID.
    pub references: HashMap<u32, Reference>,
    /// Why there may be more references than these.
    pub not_all: Option<String>,
    /// What logs of mailboxes expunge: name of the mailbox and GUID of the mail.
    pub expunged: HashSet<(Vec<u8>, [u8; 16])>,
    /// Names of mailboxes that have a directory and no index.
    pub without_index: Vec<Vec<u8>>,
    /// `map_uid_validity` of all mailboxes; `None` when they do not agree.
    pub uid_validity: Option<u32>,
    /// The alternate storage that the root names and that is not there.
    pub alt_is_away: Option<PathBuf>,
}

impl Mails {
    /// Reads all files `m.N` that a map in this directory has, and all mailboxes of the root.
    pub(super) fn read(dir: &Dir) -> Option<Mails> {
        let (root, _) = dir.above()?;
        let storage = storage_of(dir);
        let (alt, alt_is_away) = dbox::alternate(dir);
        let mut all = Mails { alt_is_away, ..Mails::default() };
        for dir in [storage, alt].into_iter().flatten() {
            let mut sizes: Vec<(u32, u64)> = dbox::sizes_in(&dir).into_iter().flatten().collect();
            sizes.sort_unstable();
            for (id, size) in sizes {
                // What is in both places counts where it is first looked for (`mdbox_file_init_paths`).
                if all.files.insert(id)
                    && let Ok(file) = dir.file(format!("m.{id}"))
                {
                    walk(&file, id, size, &mut all.mails);
                }
            }
        }
        all.mails.sort_unstable_by_key(|mail| mail.place);
        all.refer(&root);
        Some(all)
    }

    fn refer(&mut self, root: &Dir) {
        let Ok(mailboxes) = root.below("mailboxes") else {
            self.not_all = Some("there is no mailboxes/".into());
            return;
        };
        let (mut bare, mut unreadable) = (Vec::new(), None);
        let mut told: HashSet<u32> = HashSet::new();
        let mut guids: HashMap<u32, Option<[u8; 16]>> = HashMap::new();
        let top = root.path().join("mailboxes");
        let name = |path: &Path| {
            let path = path.strip_prefix(&top).ok()?;
            let path = if path.ends_with(text(DBOX_MAILS)) { path.parent()? } else { path };
            Some(path.as_os_str().as_encoded_bytes().to_vec())
        };
        let walked = dbox::each_mailbox(mailboxes, &mut |dir| bare.push(dir.path().to_owned()), &mut |files| {
            if let Some(name) = files.dir().ok().and_then(|dir| name(dir.path())) {
                let of = |guid| (name.clone(), guid);
                self.expunged.extend(expunged_in(&files).into_iter().map(of));
            }
            let Some(mailbox) = load(&files, MmapPolicy::default()) else {
                unreadable.get_or_insert_with(|| files.index.clone());
                return Some(());
            };
            if let Some(ext) = mailbox.extension(b"mdbox-hdr").filter(|ext| ext.header().len() >= 4) {
                told.insert(MdboxHeader::read(ext.header(), mailbox.endian).map_uid_validity);
            }
            let guid = |i: usize| -> Option<[u8; 16]> {
                let bytes: [u8; 16] = mailbox.ext_bytes(i, mailbox.extension(b"guid")?)?.try_into().ok()?;
                Some(bytes).filter(|guid| *guid != [0; 16])
            };
            for i in mailbox.positions() {
                let Some(mail) = dbox::map_uid(&mailbox, i).filter(|mail| *mail != 0) else { continue };
                let entry = self.references.entry(mail).or_default();
                entry.count = entry.count.saturating_add(1);
                if let Some(guid) = guid(i) {
                    let known = guids.entry(mail).or_insert(Some(guid));
                    *known = known.filter(|known| *known == guid);
                }
            }
            Some(())
        });
        for (mail, reference) in &mut self.references {
            reference.guid = guids.get(mail).copied().flatten();
        }
        told.remove(&0);
        self.uid_validity = told.iter().next().copied().filter(|_| told.len() == 1);
        self.not_all = match unreadable {
            Some(index) => Some(format!("{} cannot be read: idx rebuild it first", index.display())),
            None if walked.is_none() => Some(format!("not all of {} can be read", top.display())),
            None => None,
        };
        self.without_index = bare.iter().filter_map(|path| name(path)).collect();
    }

    /// Whether a log tells that a mail was expunged from the mailbox that it was saved in.
    pub fn is_expunged(&self, mail: &Mail) -> bool {
        let both = mail.origin.mailbox.clone().zip(mail.origin.guid);
        both.is_some_and(|both| self.expunged.contains(&both))
    }

    /// A number that changes with everything that was read: sizes and times of files.
    pub fn stamp(dir: &Dir) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut sizes: Vec<(u32, u64)> =
            storage_of(dir).and_then(|dir| dbox::sizes_in(&dir)).into_iter().flatten().collect();
        sizes.sort_unstable();
        sizes.hash(&mut hash);
        let mailboxes = dir.above().and_then(|(root, _)| root.below("mailboxes").ok());
        let mut states = Vec::new();
        let mut take = |files: MailboxFiles| {
            for role in [Role::Index, Role::Log] {
                states.push(files.stat(role).ok().map(|meta| (meta.stat.ino, meta.stat.size, meta.stat.mtime)));
            }
            Some(())
        };
        mailboxes.and_then(|dir| dbox::each_mailbox(dir, &mut |_| {}, &mut take));
        states.sort_unstable();
        states.hash(&mut hash);
        hash.finish()
    }
}

/// GUIDs of the mails that the logs of a mailbox expunge, as far as they can be read.
fn expunged_in(files: &MailboxFiles) -> Vec<[u8; 16]> {
    let mut guids = Vec::new();
    let Ok(snapshot) = files.read(&[Role::OldLog, Role::Log], MmapPolicy::default()) else { return guids };
    for input in [Role::OldLog, Role::Log].into_iter().filter_map(|role| snapshot.get(role)) {
        let Ok(log) = LogFile::parse(&input.bytes, input.bytes.len() as u64) else { continue };
        let file = ChainFile::new(log, &input.bytes);
        let done = file.records().filter(|record| record.kind() == Some(RecordType::ExpungeGuid) && record.external());
        guids.extend(done.flat_map(|record| record.elements::<ExpungeGuid>()).map(|one| one.guid_128));
    }
    guids
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Where the files `m.N` of a map are: beside it, or in another root of the user.
fn storage_of(dir: &Dir) -> Option<Dir> {
    if dbox::sizes_in(dir).is_some() {
        return Some(dir.clone());
    }
    let mut others = roots::sure_storages(dir).into_iter().map(|one| one.dir);
    others.find(|dir| dbox::sizes_in(dir).is_some())
}

/// Walks the mails of a file. Behind damage it goes on with the next mail that is whole.
fn walk(file: &File, file_id: u32, size: u64, mails: &mut Vec<Mail>) {
    let head = piece(file, 0, 128);
    let mut at = match head.iter().position(|byte| *byte == b'\n').filter(|_| head.starts_with(b"2 ")) {
        Some(end) => end as u64 + 1,
        None => 0,
    };
    while at < size {
        let mail = mail_at(file, at, size).and_then(|(end, origin)| {
            let place =
                Place { file_id, offset: u32::try_from(at).ok()?, size: u32::try_from(end.checked_sub(at)?).ok()? };
            Some((end, Mail { place, origin }))
        });
        match mail {
            Some((end, mail)) => {
                mails.push(mail);
                at = end;
            }
            None => match next_magic(file, at + 1, size) {
                Some(next) => at = next,
                None => return,
            },
        }
    }
}

/// The next offset from `from` on where a message header may begin.
fn next_magic(file: &File, from: u64, size: u64) -> Option<u64> {
    let mut at = from;
    while at < size {
        let bytes = piece(file, at, STRETCH);
        if let Some(found) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) {
            return Some(at + found as u64);
        }
        // A header may begin at the end of this stretch.
        at += (bytes.len().saturating_sub(MAGIC.len() - 1)).max(1) as u64;
    }
    None
}

/// The mail whose header is at an offset: its end, and what its metadata say. `None` when it is not whole.
fn mail_at(file: &File, at: u64, size: u64) -> Option<(u64, Origin)> {
    let told = dbox::told_size(&piece(file, at, 30))?;
    let behind = at.checked_add(MESSAGE_HEADER)?.checked_add(told).filter(|behind| *behind < size)?;
    for most in METADATA {
        let bytes = piece(file, behind, most);
        // Lines, then an empty one.
        let lines = bytes.strip_prefix(BEHIND)?;
        let end = if lines.starts_with(b"\n") {
            Some(1)
        } else {
            lines.windows(2).position(|two| two == b"\n\n").map(|at| at + 2)
        };
        if let Some(end) = end {
            let origin = Origin::of(lines.get(..end)?);
            let end = behind + (BEHIND.len() + end) as u64;
            return (end <= size).then_some((end, origin));
        }
        if bytes.len() < most {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    /// A file as Dovecot 2.3.19.1 writes it, with these bodies.
    fn file(bodies: &[&str]) -> (File, u64, Vec<u64>) {
        let mut bytes = b"2 M1e C6a1b2c3d\n".to_vec();
        let mut starts = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            starts.push(bytes.len() as u64);
            let header = format!("\x01\x02N          {:016X}\n", body.len());
            bytes.extend(header.bytes().chain(body.bytes()));
            bytes.extend(format!("\n\x01\x03\nR6a1b2c3d\nV{:x}\nG{number:032x}\nBINBOX\n\n", body.len()).bytes());
        }
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&bytes).expect("write");
        (file, bytes.len() as u64, starts)
    }

    #[test]
    fn mails_of_a_file_lie_end_to_end() {
        let (file, size, starts) = file(&["one", "", "three"]);
        let mut mails = Vec::new();
        walk(&file, 7, size, &mut mails);
        let offsets: Vec<u64> = mails.iter().map(|mail| u64::from(mail.place.offset)).collect();
        assert_eq!(offsets, starts);
        let last = &mails[2];
        assert_eq!(u64::from(last.place.offset + last.place.size), size);
        assert_eq!(last.origin, Origin { mailbox: Some(b"INBOX".to_vec()), guid: Some(2_u128.to_be_bytes()) });
    }

    #[test]
    fn behind_a_damaged_mail_the_next_one_is_found() {
        let (mut file, size, starts) = file(&["one", "two", "three"]);
        file.seek(SeekFrom::Start(starts[1] + 13)).expect("seek");
        file.write_all(b"FFFF").expect("write");
        let mut mails = Vec::new();
        walk(&file, 1, size, &mut mails);
        let offsets: Vec<u64> = mails.iter().map(|mail| u64::from(mail.place.offset)).collect();
        assert_eq!(offsets, [starts[0], starts[2]]);
        // A file that ends within a mail has one mail less.
        mails.clear();
        walk(&file, 1, size - 1, &mut mails);
        assert_eq!(mails.len(), 1);
    }
}
