//! D1 to D5: Maildir. `dovecot-uidlist` says which UID a file has, the file's name which flags (`maildir-uidlist.c`,
//! `maildir-sync-index.c`, `maildir-keywords.c`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::storage::counterparts;
use super::{Code, Finding, Findings, Severity, Subject, names_in, uids};
use crate::format::Disk;
use crate::format::ext::MaildirHeader;
use crate::format::record::flag;
use crate::source::Family;

/// Letters of flags in file names (`maildir-filename-flags.c`).
const LETTERS: [(u8, u8); 5] =
    [(b'R', flag::ANSWERED), (b'F', flag::FLAGGED), (b'T', flag::DELETED), (b'S', flag::SEEN), (b'D', flag::DRAFT)];
/// Bytes of a uidlist that are read; a million messages fit.
const MAX_UIDLIST: u64 = 1 << 30;

/// A parsed `dovecot-uidlist`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UidList {
    pub uid_validity: u32,
    /// The next UID that will be given.
    pub next_uid: u32,
    /// GUID of the mailbox.
    pub guid: Option<[u8; 16]>,
    /// File names up to `:` by UID, in order.
    pub entries: Vec<(u32, Vec<u8>)>,
    /// What is wrong: offset and text.
    pub problem: Option<(u64, String)>,
}

impl UidList {
    /// Reads both versions: `1 V N` or `3 V<n> N<n> G<guid>`, then a line for each message.
    pub fn parse(bytes: &[u8]) -> UidList {
        let mut list = UidList::default();
        let mut at = 0_u64;
        let mut old_version = false;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        for (i, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let start = at;
            at += line.len() as u64;
            let Some(line) = line.strip_suffix(b"\n") else {
                // Being appended to.
                break;
            };
            if i == 0 {
                let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                match words.next() {
                    Some(b"3") => {
                        for word in words {
                            match word.split_first() {
                                Some((b'V', value)) => list.uid_validity = number(value).unwrap_or(0),
                                Some((b'N', value)) => list.next_uid = number(value).unwrap_or(0),
                                Some((b'G', value)) => list.guid = crate::source::place::guid_of(value),
                                _ => {}
                            }
                        }
                    }
                    Some(b"1") => {
                        old_version = true;
                        list.uid_validity = words.next().and_then(number).unwrap_or(0);
                        list.next_uid = words.next().and_then(number).unwrap_or(0);
                    }
                    _ => list.problem = Some((0, "unknown version".into())),
                }
                // Dovecot 1.0 wrote no UIDVALIDITY before it had given one out.
                let no_validity = list.uid_validity == 0 && !old_version;
                if list.problem.is_none() && (no_validity || list.next_uid == 0) {
                    list.problem = Some((0, "no UIDVALIDITY or next UID in the header".into()));
                }
                if list.problem.is_some() {
                    break;
                }
                continue;
            }
            let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let (uid, rest) = line.split_at(space);
            let name = match rest.iter().position(|byte| *byte == b':') {
                Some(colon) if !old_version => rest.get(colon + 1..).unwrap_or_default(),
                _ => rest.get(1..).unwrap_or_default(),
            };
            let last = list.entries.last().map_or(0, |(uid, _)| *uid);
            match number(uid) {
                Some(uid) if uid > last && uid < u32::MAX && !name.is_empty() && !name.contains(&b'/') => {
                    list.next_uid = list.next_uid.max(uid.saturating_add(1));
                    list.entries.push((uid, base_name(name).to_vec()));
                }
                _ => {
                    list.problem = Some((start, format!("line {}: no file with a UID above {last}", i + 1)));
                    break;
                }
            }
        }
        // A file that is named twice was expunged and came back; its later UID counts.
        let mut last: HashMap<&[u8], u32> = HashMap::with_capacity(list.entries.len());
        for (uid, name) in &list.entries {
            last.insert(name, *uid);
        }
        if last.len() < list.entries.len() {
            let keep: Vec<bool> =
                list.entries.iter().map(|(uid, name)| last.get(name.as_slice()) == Some(uid)).collect();
            let mut keep = keep.into_iter();
            list.entries.retain(|_| keep.next().unwrap_or(true));
        }
        list
    }
}

/// A file name without its flags.
fn base_name(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b':').next().unwrap_or(name)
}

/// The directory with the messages and the one with the control files.
fn places(subject: &Subject<'_>) -> (Option<PathBuf>, Option<PathBuf>) {
    let around: Vec<PathBuf> = std::iter::once(subject.dir.to_owned()).chain(counterparts(subject.dir)).collect();
    let find = |test: &dyn Fn(&Path) -> bool| around.iter().find(|dir| test(dir)).cloned();
    (find(&|dir| dir.join("cur").is_dir()), find(&|dir| dir.join("dovecot-uidlist").is_file()))
}

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let (messages, control) = places(subject);
    let Some(control) = control else { return };
    let path = control.join("dovecot-uidlist");
    let Some(bytes) = std::fs::metadata(&path)
        .ok()
        .filter(|meta| meta.len() <= MAX_UIDLIST)
        .and_then(|_| crate::source::read(&path, subject.options.mmap, true).ok())
    else {
        return;
    };
    let list = UidList::parse(&bytes.bytes);
    if let Some((at, problem)) = &list.problem {
        found.add(Finding::new(Code::D2, &path, problem).at(*at));
        return;
    }
    let header = &subject.mailbox.header;
    if header.uid_validity != 0 && list.uid_validity != 0 && header.uid_validity != list.uid_validity {
        let message = format!("uid_validity is {}, dovecot-uidlist has {}", header.uid_validity, list.uid_validity);
        found.add(Finding::new(Code::D1, subject.state_file(), message).at(24));
        return;
    }
    if list.next_uid < header.next_uid {
        let message = format!("gives out UID {} next, the index has next_uid {}", list.next_uid, header.next_uid);
        found.add(Finding::new(Code::D2, &path, message).at(0));
    }
    remembered(subject, &path, &bytes.stat, found);
    let Some(messages) = messages else { return };
    let files = |dir: &str| names_in(&messages.join(dir));
    // new/ before cur/: a message moves from the one to the other.
    let (new, Some(cur)) = (files("new").unwrap_or_default(), files("cur")) else { return };
    let mut by_base: HashMap<&[u8], (&[u8], bool)> = HashMap::with_capacity(new.len() + cur.len());
    for (name, in_cur) in new.iter().map(|name| (name, false)).chain(cur.iter().map(|name| (name, true))) {
        by_base.insert(base_name(name), (name, in_cur));
    }
    let listed: HashMap<u32, &[u8]> = list.entries.iter().map(|(uid, base)| (*uid, base.as_slice())).collect();
    let file_of = |uid: u32| listed.get(&uid).and_then(|base| by_base.get(base)).copied();
    for uid in uids(subject.mailbox) {
        if !listed.contains_key(&uid) {
            let message = format!("UID {uid} is not in dovecot-uidlist");
            found.add(Finding::new(Code::D2, subject.state_file(), message).uid(uid));
        } else if file_of(uid).is_none() {
            // Another program deletes files whenever it likes.
            let message = format!("UID {uid} has no file: Dovecot expunges it at the next sync");
            found.add(Finding::new(Code::D2, subject.state_file(), message).uid(uid).severity(Severity::Warning));
        }
    }
    for (uid, base) in &list.entries {
        if *uid < header.next_uid && by_base.contains_key(base.as_slice()) && subject.mailbox.lookup(*uid).is_none() {
            let message =
                format!("UID {uid} has a file, but the index has lost it: the message comes back under a new UID");
            found.add(Finding::new(Code::D2, &path, message).uid(*uid));
        }
    }
    flags(subject, &control, &file_of, found);
}

/// D3, D5.
fn flags<'n>(
    subject: &Subject<'_>,
    control: &Path,
    file_of: &dyn Fn(u32) -> Option<(&'n [u8], bool)>,
    found: &mut Findings,
) {
    let mailbox = subject.mailbox;
    if mailbox.header.log_file_tail_offset != mailbox.header.log_file_head_offset {
        // Changes wait to be written to the file names.
        return;
    }
    let names: Option<Vec<Vec<u8>>> = std::fs::read(control.join("dovecot-keywords")).ok().map(|bytes| {
        let mut names = vec![Vec::new(); 26];
        for line in bytes.split(|byte| *byte == b'\n') {
            let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let (number, name) = line.split_at(space);
            let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<usize>().ok());
            if let (Some(slot), Some(name)) = (number.and_then(|n| names.get_mut(n)), name.get(1..)) {
                *slot = name.to_vec();
            }
        }
        names
    });
    let private = Family::Private.prefix();
    let mask = if subject.dir.join(format!("{private}.log")).exists() { flag::IMAP & !flag::SEEN } else { flag::IMAP };
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        let Some((name, true)) = file_of(uid) else { continue };
        let Some(letters) = name.windows(3).position(|w| w == b":2,").and_then(|at| name.get(at + 3..)) else {
            continue;
        };
        let letters = letters.split(|byte| *byte == b',').next().unwrap_or_default();
        let in_index = mailbox.flags(i);
        if in_index & flag::DIRTY != 0 {
            continue;
        }
        let in_name =
            LETTERS.iter().filter(|(letter, _)| letters.contains(letter)).fold(0, |flags, (_, bit)| flags | bit);
        if (in_name ^ in_index) & mask != 0 {
            let message = format!(
                "UID {uid}: the index has flags 0x{:02x}, the file name {} has 0x{in_name:02x}",
                in_index & flag::IMAP,
                String::from_utf8_lossy(name)
            );
            found.add(Finding::new(Code::D3, subject.state_file(), message).uid(uid));
        }
        if let Some(names) = &names {
            let unknown = letters
                .iter()
                .filter(|l| l.is_ascii_lowercase())
                .find(|letter| names.get(usize::from(**letter - b'a')).is_none_or(Vec::is_empty));
            if let Some(letter) = unknown {
                let message =
                    format!("UID {uid}: keyword letter {} of the file name is not in it", char::from(*letter));
                found.add(Finding::new(Code::D5, control.join("dovecot-keywords"), message).uid(uid));
            }
        }
    }
}

/// D4: what the index remembers of the uidlist, when it is about this very file.
fn remembered(subject: &Subject<'_>, path: &Path, stat: &crate::source::Stat, found: &mut Findings) {
    let Some(ext) = subject.mailbox.extension(b"maildir").filter(|ext| ext.header().len() >= MaildirHeader::SIZE)
    else {
        return;
    };
    let header = MaildirHeader::read(ext.header(), subject.mailbox.endian);
    let same_time =
        i64::from(header.uidlist_mtime) == stat.mtime.0 && i64::from(header.uidlist_mtime_nsecs) == stat.mtime.1;
    if same_time && header.uidlist_mtime_nsecs != 0 && u64::from(header.uidlist_size) != stat.size {
        let message = format!("has {} bytes, the index remembers {} for the same time", stat.size, header.uidlist_size);
        found.add(Finding::new(Code::D4, path, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uidlists_of_both_versions() {
        let new = UidList::parse(
            b"3 V1795421627 N9 G18013624bbf5036bf063000083ecc375\n1 :a.b.c,S=80,W=85\n4 S80 W85 :d.e.f:2,S\n",
        );
        assert_eq!((new.uid_validity, new.next_uid, new.problem.clone()), (1_795_421_627, 9, None));
        assert_eq!(new.guid.map(|guid| guid[0]), Some(0x18));
        assert_eq!(new.entries, [(1, b"a.b.c,S=80,W=85".to_vec()), (4, b"d.e.f".to_vec())]);
        let old = UidList::parse(b"1 1000 9\n1 a.b.c:2,S\n2 d.e.f\n7 g.h.i\n8 half");
        assert_eq!((old.uid_validity, old.next_uid, old.entries.len()), (1000, 9, 3));
        assert_eq!(old.entries[0], (1, b"a.b.c".to_vec()));
        let again = UidList::parse(b"3 V1 N9\n1 :a\n2 :b\n3 :a\n");
        assert_eq!(again.entries, [(2, b"b".to_vec()), (3, b"a".to_vec())]);
    }

    #[test]
    fn broken_uidlists() {
        let at = |bytes: &[u8]| UidList::parse(bytes).problem.map(|(at, _)| at);
        assert_eq!(at(b"3 V1 N5\n2 :a\n1 :b\n"), Some(13));
        assert_eq!(at(b"9 V1 N5\n"), Some(0));
        assert_eq!(at(b"3 V0 N5\n"), Some(0));
        assert_eq!(at(b"3 V1 N5\nx :b\n"), Some(8));
        assert_eq!(at(b""), None);
    }
}
