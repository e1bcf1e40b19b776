//! Maildir. `dovecot-uidlist` says which UID a file has, the file's name which flags (`maildir-uidlist.c`,
//! `maildir-filename-flags.c`, `maildir-keywords.c`).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::cached::Believed;
use super::{Witness, path_in, roots};
use crate::format::index::IndexHeader;
use crate::format::record::flag;
use crate::source::place::guid_of;
use crate::source::{Dir, Family, Signs, Special, Stat};

/// Letters that stand for keywords in file names: `a` to `z`.
pub const KEYWORD_LETTERS: usize = 26;
/// Letters of flags in file names (`maildir-filename-flags.c`).
const LETTERS: [(u8, u8); 5] =
    [(b'R', flag::ANSWERED), (b'F', flag::FLAGGED), (b'T', flag::DELETED), (b'S', flag::SEEN), (b'D', flag::DRAFT)];
/// Bytes of a uidlist that are read; a million messages fit.
const MAX_UIDLIST: u64 = 256 << 20;
/// Bytes of `dovecot-keywords` that are read: 26 names of more than two kilobytes.
const MAX_KEYWORDS: u64 = 64 << 10;

/// Seconds after which `dovecot-uidlist.lock` is nobody's any more (`MAILDIR_UIDLIST_LOCK_STALE_TIMEOUT`).
const STALE: i64 = 120;

/// What a Maildir says.
#[derive(Debug)]
pub struct Maildir {
    /// Its list of UIDs, or where it is not.
    pub uidlist: Result<UidListFile, NoUidList>,
    /// The file with the names behind the keyword letters.
    pub keywords: Keywords,
    /// Its message files; `None` when there is no `cur/`.
    pub messages: Option<MessageFiles>,
    /// Whether `new/`, `tmp/` or `maildirfolder` say that `cur/` was here, too.
    pub cur_is_gone: bool,
    /// Whether each user has \\Seen flags of his own, which no file name shows.
    pub has_private_flags: bool,
}

/// A Maildir without `dovecot-uidlist`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoUidList {
    /// Where it should be.
    pub path: PathBuf,
    /// Whether the control files of the mail root are here: it is not elsewhere (`CONTROL=`).
    pub is_certain: bool,
}

/// What is known before a Maildir is looked at, and what is asked of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// The header of its index.
    pub index: Option<&'a IndexHeader>,
    /// Only whether it has messages that the index does not know: their files are listed where the list has their UIDs,
    /// or is not that of the index.
    pub only_new: bool,
    /// The files are asked for their sizes, which are held against these.
    pub believed: Option<&'a Believed>,
    /// What a listing of the directory had.
    pub signs: Option<Signs>,
}

impl Asked<'_> {
    fn needs_files(&self, uidlist: &Result<UidListFile, NoUidList>) -> bool {
        let (Some(index), Ok(UidListFile { list, .. }), true) = (self.index, uidlist, self.only_new) else {
            return true;
        };
        let is_known = list.entries.last().is_none_or(|(uid, _)| *uid < index.next_uid);
        !is_known || list.problem.is_some() || list.uid_validity != index.uid_validity
    }
}

/// The message files of a Maildir.
#[derive(Debug, Default)]
pub struct MessageFiles {
    /// The directory with `cur/` and `new/`.
    pub dir: PathBuf,
    /// Whether they were listed: without `--deep` they are not where the list alone answers.
    pub are_listed: bool,
    /// All of them, those in `new/` first.
    pub files: Vec<MessageFile>,
    /// When `new/` and `cur/` had last changed, UNIX seconds and nanoseconds, before they were listed.
    pub changed: [Option<(i64, i64)>; 2],
}

/// A message file of a Maildir.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFile {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is in `cur/`.
    pub in_cur: bool,
    /// Its size in bytes; `None` when nobody asked, and for a link.
    pub size: Option<u64>,
    /// Whether it begins as a compressed or encrypted file does: its size is not that of the message. Looked at where
    /// the size is not what is believed.
    pub is_coded: bool,
}

impl MessageFile {
    /// The name without flags.
    pub fn base(&self) -> &[u8] {
        base_name(&self.name)
    }

    /// The letters of flags and keywords: those behind the last `:2,`, up to the next comma.
    pub fn letters(&self) -> &[u8] {
        let info = self.name.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        let letters = info.strip_prefix(b"2,").filter(|_| info.len() < self.name.len()).unwrap_or_default();
        letters.split(|byte| *byte == b',').next().unwrap_or_default()
    }

    /// The system flags of those letters.
    pub fn flags(&self) -> u8 {
        let letters = self.letters();
        LETTERS.iter().filter(|(letter, _)| letters.contains(letter)).fold(0, |flags, (_, bit)| flags | bit)
    }

    /// What the name says of the size: `S=`, the size of the file, or `W=`, that with CRLF line ends.
    pub fn told(&self, letter: u8) -> Option<u64> {
        let key = [b',', letter, b'='];
        let at = self.name.windows(3).position(|window| window == key)?;
        let rest = self.name.get(at + 3..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let closed = matches!(rest.get(end), None | Some(b':' | b','));
        std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok().filter(|_| closed)
    }
}

/// The names behind the keyword letters of a Maildir.
#[derive(Debug)]
pub struct Keywords {
    /// Where `dovecot-keywords` is, or should be.
    pub path: PathBuf,
    /// The names of `a` to `z`, empty where there is none; `None` without the file.
    pub names: Option<Vec<Vec<u8>>>,
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
    /// GUIDs that lines tell (`G`), by UID: those of copies whose file has another name than the first.
    pub guids: Vec<(u32, Vec<u8>)>,
    /// What is wrong: offset and text.
    pub problem: Option<(u64, String)>,
    /// Where the last line begins when its end is missing: Dovecot does not read it.
    pub cut: Option<u64>,
    /// UIDs that name a file which a later line names again, and where their lines begin.
    pub repeated: Vec<(u32, u64)>,
}

impl UidList {
    /// Reads both versions: `1 V N` or `3 V<n> N<n> G<guid>`, then a line for each message.
    pub fn parse(bytes: &[u8]) -> UidList {
        let mut list = UidList::default();
        let mut at = 0_u64;
        let mut starts = Vec::new();
        let mut old_version = false;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        for (i, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let start = at;
            at += line.len() as u64;
            let Some(line) = line.strip_suffix(b"\n") else {
                // Being appended to, or torn.
                list.cut = Some(start);
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
                // "Invalid extended fields" (maildir_uidlist_next).
                None if !old_version => b"",
                _ => rest.get(1..).unwrap_or_default(),
            };
            let last = list.entries.last().map_or(0, |(uid, _)| *uid);
            match number(uid) {
                Some(uid) if uid > last && uid < u32::MAX && !name.is_empty() && !name.contains(&b'/') => {
                    list.next_uid = list.next_uid.max(uid.saturating_add(1));
                    let told = rest.strip_suffix(name).unwrap_or_default().split(|byte| *byte == b' ');
                    let guid = told.filter(|_| !old_version).find_map(|word| word.strip_prefix(b"G"));
                    list.guids.extend(guid.map(|guid| (uid, guid.to_vec())));
                    list.entries.push((uid, base_name(name).to_vec()));
                    starts.push(start);
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
            let again = list.entries.iter().zip(&starts).zip(&keep).filter(|(_, keep)| !**keep);
            list.repeated = again.map(|(((uid, _), start), _)| (*uid, *start)).collect();
            let mut keep = keep.into_iter();
            list.entries.retain(|_| keep.next().unwrap_or(true));
        }
        list
    }
}

impl Maildir {
    /// Reads the control files and lists the messages of the mailbox whose indexes are in a directory. What is in
    /// another root belongs to it if that is certainly a root of the same user, or has the UIDVALIDITY of the index.
    pub(super) fn read(dir: &Dir, asked: &Asked<'_>) -> Witness {
        let uid_validity = asked.index.map(|header| header.uid_validity);
        let (list_here, cur_here) = match asked.signs {
            Some(signs) => (signs.uidlist, signs.cur),
            None => (has_list(dir), has_cur(dir)),
        };
        let others = if list_here && cur_here { Vec::new() } else { roots::storages(dir) };
        let proven = |other: &&roots::Counterpart| {
            let read = || read_list(&other.dir).map(|(list, _)| list.uid_validity).ok();
            other.is_sure || uid_validity.is_some_and(|own| own != 0 && has_list(&other.dir) && read() == Some(own))
        };
        let control = match list_here {
            true => Some(dir.clone()),
            false => others.iter().filter(|one| has_list(&one.dir)).find(proven).map(|one| one.dir.clone()),
        };
        let messages = match cur_here {
            true => Some(dir.clone()),
            false => others.iter().filter(|one| has_cur(&one.dir)).find(proven).map(|one| one.dir.clone()),
        };
        if control.is_none() && messages.is_none() {
            return Witness::Absent("there is neither dovecot-uidlist nor cur/");
        }
        let home = control.clone().or_else(|| messages.clone()).unwrap_or_else(|| dir.clone());
        let uidlist = match &control {
            None => Err(NoUidList { path: path_in(&home, "dovecot-uidlist"), is_certain: roots::has_control(&home) }),
            Some(control) => match read_list(control) {
                Ok((list, stat)) => Ok(UidListFile { path: path_in(control, "dovecot-uidlist"), stat, list }),
                Err(_) => return Witness::Absent("dovecot-uidlist cannot be read"),
            },
        };
        let needs_files = asked.needs_files(&uidlist);
        let keywords = needs_files.then(|| home.read_small("dovecot-keywords", MAX_KEYWORDS).ok()).flatten();
        let is_here = |name: &str| home.stat(name).is_ok();
        let private = [Family::Private.prefix(), ".log"].concat();
        Witness::Maildir(Maildir {
            cur_is_gone: messages.is_none() && ["new", "tmp", "maildirfolder"].into_iter().any(is_here),
            messages: messages.and_then(|dir| match needs_files {
                true => read_messages(&dir, uidlist.as_ref().ok(), asked.believed),
                false => Some(MessageFiles { dir: dir.path().to_owned(), ..MessageFiles::default() }),
            }),
            uidlist,
            keywords: Keywords {
                path: path_in(&home, "dovecot-keywords"),
                names: keywords.map(|(bytes, _)| keyword_names(&bytes)),
            },
            has_private_flags: needs_files && dir.stat(private).is_ok(),
        })
    }

    /// How many files in `cur/` the list has no line for. A message gets its line before it is moved there.
    pub fn unlisted(&self) -> usize {
        let (Some(messages), Ok(uidlist)) = (&self.messages, &self.uidlist) else { return 0 };
        let listed: HashSet<&[u8]> = uidlist.list.entries.iter().map(|(_, name)| name.as_slice()).collect();
        messages.files.iter().filter(|file| file.in_cur && !listed.contains(file.base())).count()
    }

    /// Whether a file has a letter for which `dovecot-keywords` has no name.
    pub fn has_nameless_letters(&self) -> bool {
        let names = self.keywords.names.as_deref().unwrap_or_default();
        let has_name = |letter: &u8| names.get(usize::from(letter - b'a')).is_some_and(|name| !name.is_empty());
        let mut files = self.messages.iter().flat_map(|messages| &messages.files);
        files.any(|file| file.letters().iter().any(|letter| letter.is_ascii_lowercase() && !has_name(letter)))
    }

    /// The UIDs of the list that have a file, rising.
    pub fn with_files(&self) -> Vec<u32> {
        let (Some(messages), Ok(uidlist)) = (&self.messages, &self.uidlist) else { return Vec::new() };
        let files: HashSet<&[u8]> = messages.files.iter().map(MessageFile::base).collect();
        let there = uidlist.list.entries.iter().filter(|(_, name)| files.contains(name.as_slice()));
        there.map(|(uid, _)| *uid).collect()
    }
}

/// The directories that may have the list and the messages of the mailbox whose indexes are in a directory.
pub fn list_places(dir: &Dir) -> Vec<Dir> {
    let is_whole = has_list(dir) && has_cur(dir);
    let others = if is_whole { Vec::new() } else { roots::storages(dir) };
    std::iter::once(dir.clone()).chain(others.into_iter().map(|one| one.dir)).collect()
}

/// Whether a session has the lock of the list in this directory.
pub fn is_saving(dir: &Dir) -> bool {
    dir.stat("dovecot-uidlist.lock").is_ok_and(|meta| crate::source::now() - meta.stat.mtime.0 < STALE)
}

fn has_cur(dir: &Dir) -> bool {
    dir.stat("cur").is_ok_and(|meta| meta.is_dir())
}

fn has_list(dir: &Dir) -> bool {
    dir.stat("dovecot-uidlist").is_ok_and(|meta| meta.special.is_none())
}

fn read_list(dir: &Dir) -> std::io::Result<(UidList, Stat)> {
    let (bytes, stat) = dir.read_small("dovecot-uidlist", MAX_UIDLIST)?;
    Ok((UidList::parse(&bytes), stat))
}

/// Lists `new/` before `cur/`: a message moves from the one to the other.
fn read_messages(dir: &Dir, uidlist: Option<&UidListFile>, believed: Option<&Believed>) -> Option<MessageFiles> {
    let entries = uidlist.filter(|_| believed.is_some()).map(|file| file.list.entries.as_slice()).unwrap_or_default();
    let uids: HashMap<&[u8], u32> = entries.iter().map(|(uid, base)| (base.as_slice(), *uid)).collect();
    let mut messages = MessageFiles { dir: dir.path().to_owned(), are_listed: true, ..MessageFiles::default() };
    for (sub, in_cur) in [("new", false), ("cur", true)] {
        let listed = dir.each_below(sub, |name, special| {
            // Hard links and links to mail in another place both count: Dovecot reads through them.
            if !name.starts_with(b".") && (special.is_none() || special == Some(Special::Link)) {
                messages.files.push(MessageFile { name: name.to_vec(), in_cur, ..MessageFile::default() });
            }
        });
        let (below, meta) = match listed {
            Ok(listed) => listed,
            Err(_) if in_cur => return None,
            Err(_) => continue,
        };
        messages.changed[usize::from(in_cur)] = Some(meta.stat.mtime);
        let Some(believed) = believed else { continue };
        if in_cur {
            still_there(dir, &mut messages.files);
        }
        for file in messages.files.iter_mut().filter(|file| file.in_cur == in_cur) {
            file.size = below.stat(&file.name).ok().filter(|meta| meta.special.is_none()).map(|meta| meta.stat.size);
            let cached = uids.get(file.base()).and_then(|uid| believed.physical(*uid));
            let mut told = file.told(b'S').into_iter().chain(cached);
            if told.any(|told| Some(told) != file.size) {
                file.is_coded = below.file(&file.name).is_ok_and(|file| super::is_coded(&super::piece(&file, 0, 16)));
            }
        }
    }
    Some(messages)
}

/// Leaves out names that are gone by now: a file that was renamed while the directories were listed was seen twice.
fn still_there(dir: &Dir, files: &mut Vec<MessageFile>) {
    let mut known = HashSet::with_capacity(files.len());
    let twice: HashSet<Vec<u8>> =
        files.iter().map(MessageFile::base).filter(|base| !known.insert(*base)).map(<[u8]>::to_vec).collect();
    if twice.is_empty() {
        return;
    }
    let (new, cur) = (dir.below("new").ok(), dir.below("cur").ok());
    let is_there = |file: &MessageFile| {
        let dir = if file.in_cur { &cur } else { &new };
        dir.as_ref().is_some_and(|dir| dir.stat(&file.name).is_ok())
    };
    files.retain(|file| !twice.contains(file.base()) || is_there(file));
}

/// A file name without its flags.
pub fn base_name(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b':').next().unwrap_or(name)
}

/// Lines `number name`: 0 is the letter `a`.
fn keyword_names(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut names = vec![Vec::new(); KEYWORD_LETTERS];
    for line in bytes.split(|byte| *byte == b'\n') {
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (number, name) = line.split_at(space);
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<usize>().ok());
        // Where bytes are lost there is no name.
        let name = name.get(1..).filter(|name| !name.iter().any(u8::is_ascii_control));
        if let (Some(slot), Some(name)) = (number.and_then(|n| names.get_mut(n)), name) {
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
