//! Maildir. `dovecot-uidlist` says which UID a file has, the file's name which flags (`maildir-uidlist.c`,
//! `maildir-filename-flags.c`, `maildir-keywords.c`).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::{Witness, path_in, roots};
use crate::source::place::guid_of;
use crate::source::{Dir, Family, Special, Stat};

/// Letters that stand for keywords in file names: `a` to `z`.
pub const KEYWORD_LETTERS: usize = 26;
/// Bytes of a uidlist that are read; a million messages fit.
const MAX_UIDLIST: u64 = 256 << 20;
/// Bytes of `dovecot-keywords` that are read: 26 names of more than two kilobytes.
const MAX_KEYWORDS: u64 = 64 << 10;

/// What a Maildir says.
#[derive(Debug)]
pub struct Maildir {
    /// Its list of UIDs.
    pub uidlist: UidListFile,
    /// The names behind the keyword letters, empty where there is none, and their file; `None` without such a file.
    pub keywords: Option<(PathBuf, Vec<Vec<u8>>)>,
    /// Names of the files in `new/` and in `cur/`; `None` when there is no `cur/`.
    pub names: Option<(Vec<Vec<u8>>, Vec<Vec<u8>>)>,
    /// Whether each user has \\Seen flags of his own, which no file name shows.
    pub has_private_flags: bool,
}

/// A `dovecot-uidlist` and its file.
#[derive(Debug)]
pub struct UidListFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its state when it was read.
    pub stat: Stat,
    /// What it says.
    pub list: UidList,
}

/// A parsed `dovecot-uidlist`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UidList {
    /// UIDVALIDITY; 0 if none has been given out.
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
                                Some((b'G', value)) => list.guid = guid_of(value),
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

impl Maildir {
    /// Reads the control files and lists the messages of the mailbox whose indexes are in a directory.
    pub(super) fn read(dir: &Dir) -> Witness {
        let mut elsewhere = None;
        let mut find = |test: &dyn Fn(&Dir) -> bool| {
            if test(dir) {
                return Some(dir.clone());
            }
            elsewhere.get_or_insert_with(|| roots::counterparts(dir)).iter().find(|dir| test(dir)).cloned()
        };
        let has_list = |dir: &Dir| dir.stat("dovecot-uidlist").is_ok_and(|meta| meta.special.is_none());
        let Some(control) = find(&has_list) else { return Witness::Absent("no dovecot-uidlist") };
        let Ok((bytes, stat)) = control.read_small("dovecot-uidlist", MAX_UIDLIST) else {
            return Witness::Absent("dovecot-uidlist cannot be read");
        };
        let list = UidList::parse(&bytes);
        drop(bytes);
        let messages = find(&|dir| dir.stat("cur").is_ok_and(|meta| meta.is_dir()));
        // new/ before cur/: a message moves from the one to the other.
        let names = messages.and_then(|messages| {
            let new = names_in(&messages, "new").unwrap_or_default();
            Some((new, names_in(&messages, "cur")?))
        });
        let keywords = control.read_small("dovecot-keywords", MAX_KEYWORDS).ok();
        let keywords = keywords.map(|(bytes, _)| (path_in(&control, "dovecot-keywords"), keyword_names(&bytes)));
        let private = [Family::Private.prefix(), ".log"].concat();
        Witness::Maildir(Maildir {
            uidlist: UidListFile { path: path_in(&control, "dovecot-uidlist"), stat, list },
            keywords,
            names,
            has_private_flags: dir.stat(private).is_ok(),
        })
    }

    /// The UIDs of the list that have a file, rising.
    pub fn with_files(&self) -> Vec<u32> {
        let Some((new, cur)) = &self.names else { return Vec::new() };
        let files: HashSet<&[u8]> = new.iter().chain(cur).map(|name| base_name(name)).collect();
        let there = self.uidlist.list.entries.iter().filter(|(_, name)| files.contains(name.as_slice()));
        there.map(|(uid, _)| *uid).collect()
    }
}

/// A file name without its flags.
pub fn base_name(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b':').next().unwrap_or(name)
}

fn names_in(dir: &Dir, sub: &str) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut take = |name: &[u8], special: Option<Special>| {
        // Hard links and links to mail in another place both count: Dovecot reads through them.
        if special.is_none() || special == Some(Special::Link) {
            names.push(name.to_vec());
        }
    };
    dir.below(sub).ok()?.each(&mut take).ok()?;
    Some(names)
}

/// Lines `number name`: 0 is the letter `a`.
fn keyword_names(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![Vec::new(); KEYWORD_LETTERS];
    for line in bytes.split(|byte| *byte == b'\n') {
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (number, name) = line.split_at(space);
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<usize>().ok());
        if let (Some(slot), Some(name)) = (number.and_then(|n| names.get_mut(n)), name.get(1..)) {
            *slot = name.to_vec();
        }
    }
    names
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
