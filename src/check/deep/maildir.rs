//! D1 to D5, D13: Maildir. `dovecot-uidlist` says which UID a file has, the file's name which flags
//! (`maildir-uidlist.c`, `maildir-sync-index.c`, `maildir-keywords.c`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Code, Finding, Findings, Remedy, Severity, Subject, set_of, uids};
use crate::format::Disk;
use crate::format::ext::MaildirHeader;
use crate::format::record::flag;
use crate::storage::{Keywords, Maildir, MessageFile, UidListFile};

/// What to do about the file of a message that somebody wanted gone.
const GONE: &str =
    "look at the file: removed before the next sync, its message stays gone; else it is a new message for every client";
const NEW_UIDS: &str = "gives all messages new UIDs, without a word: clients transfer them again";
const ONE_OF_BOTH: &str =
    "compare the two files; where they are the same mail, remove the one in new/, or the one with fewer flags";
const BRING_BACK: &str = "put the file back from a backup before Dovecot opens the mailbox";

pub(super) fn check(
    subject: &Subject<'_>,
    maildir: &Maildir,
    found: &mut Findings,
    skip: &mut dyn FnMut(&'static str, &'static str),
) {
    let mailbox = subject.mailbox;
    let is_named = maildir.keywords.names.iter().flatten().any(|name| !name.is_empty());
    if subject.is_deep() && !mailbox.keywords().is_empty() && !is_named {
        skip("keyword letters", "no dovecot-keywords tells what they mean");
    }
    let file = match &maildir.uidlist {
        Ok(file) => file,
        Err(none) if mailbox.is_empty() => {
            return skip("dovecot-uidlist", if none.is_certain { "there is none" } else { "there is none here" });
        }
        Err(none) => {
            let message = format!(
                "is missing: all {} messages will get new UIDs, from {} on",
                mailbox.len(),
                mailbox.header.next_uid
            );
            // Control files may be in a place of their own (CONTROL=).
            let severity = if none.is_certain { Severity::Error } else { Severity::Warning };
            let finding = Finding::new(Code::D2, &none.path, message).severity(severity);
            return found.add(finding.does(NEW_UIDS).advise(BRING_BACK));
        }
    };
    if list(subject, file, maildir, found) {
        return;
    }
    let Some(messages) = &maildir.messages else {
        if maildir.cur_is_gone && !mailbox.is_empty() && subject.is_deep() {
            let message = format!("there is no cur/, and {} messages are in the index", mailbox.len());
            let finding = Finding::new(Code::D2, file.path.with_file_name("cur"), message);
            return found.add(finding.does("makes the directory and expunges all messages").advise(BRING_BACK));
        }
        return skip("message files", "there is no cur/");
    };
    if !messages.are_listed {
        return;
    }
    let mut by_base: HashMap<&[u8], &MessageFile> = HashMap::with_capacity(messages.files.len());
    let listed: HashMap<u32, &[u8]> = file.list.entries.iter().map(|(uid, base)| (*uid, base.as_slice())).collect();
    let uid_of: HashMap<&[u8], u32> = listed.iter().map(|(uid, base)| (*base, *uid)).collect();
    for message in &messages.files {
        // Read last, cur/ counts: a message moves there.
        if let Some(other) = by_base.insert(message.base(), message) {
            twice(uid_of.get(message.base()).copied(), [other, message], &messages.dir, found);
        }
    }
    let file_of = |uid: u32| listed.get(&uid).and_then(|base| by_base.get(base)).copied();
    let new: Vec<&MessageFile> = messages.files.iter().filter(|one| !uid_of.contains_key(one.base())).collect();
    let is_short = new.iter().any(|one| one.in_cur);
    present(subject, file, is_short, &file_of, found);
    if !subject.is_deep() {
        return;
    }
    // Where the list has lost lines, that was said of the messages.
    if let Some(first) = new.first().filter(|_| uids(mailbox).all(|uid| listed.contains_key(&uid))) {
        let message = format!(
            "{} files that dovecot-uidlist does not know yet, such as {}",
            new.len(),
            String::from_utf8_lossy(&first.name)
        );
        found.add(Finding::new(Code::D2, &messages.dir, message).severity(Severity::Info));
    }
    for uid in uids(mailbox) {
        if let Some(message) = file_of(uid) {
            sizes(subject, uid, message, &messages.dir, found);
        }
    }
    flags(subject, maildir, &file_of, found);
}

/// The uidlist itself; true when nothing more can be said.
fn list(subject: &Subject<'_>, file: &UidListFile, maildir: &Maildir, found: &mut Findings) -> bool {
    let (list, path, header) = (&file.list, file.path.as_path(), &subject.mailbox.header);
    if let Some((at, problem)) = &list.problem {
        found.add(Finding::new(Code::D2, path, problem).at(*at));
        return true;
    }
    if list.next_uid == 0 {
        let finding = Finding::new(Code::D2, path, format!("has no header: it has {} bytes", file.stat.size));
        let unharmed = subject.mailbox.is_empty();
        let finding = finding.severity(if unharmed { Severity::Info } else { Severity::Error });
        found.add(finding.does(NEW_UIDS).advise(BRING_BACK));
        return true;
    }
    if header.uid_validity != 0 && list.uid_validity != 0 && header.uid_validity != list.uid_validity {
        let message = format!("uid_validity is {}, dovecot-uidlist has {}", header.uid_validity, list.uid_validity);
        let is_foreign = maildir.unlisted() > 0 && !list.entries.is_empty() && maildir.with_files().is_empty();
        found.add(match is_foreign {
            true => Finding::new(Code::D1, path, format!("{message}, and names none of the files here")),
            false => Finding::new(Code::D1, subject.state_file(), message).at(24),
        });
        return true;
    }
    if list.next_uid == u32::MAX {
        found.add(Finding::new(Code::I23, path, format!("gives out UID {} next: no UID is left", list.next_uid)).at(0));
    }
    if let Some(at) = list.cut {
        let message = "the last line has no end: Dovecot does not read it, and its message gets a new UID";
        found.add(Finding::new(Code::D2, path, message).at(at).does(NEW_UIDS));
    }
    if !subject.is_deep() {
        return false;
    }
    if list.next_uid < header.next_uid {
        // The index is believed, and the file rewritten at the next save.
        let message = format!("gives out UID {} next, the index has next_uid {}", list.next_uid, header.next_uid);
        found.add(Finding::new(Code::D2, path, message).at(0).severity(Severity::Info));
    }
    for (uid, at) in &list.repeated {
        let message = "a later line has the same file";
        let does = "logs \"Duplicate file entry\"; the message with the lower UID is expunged";
        let finding = Finding::new(Code::D2, path, message).at(*at).uid(*uid).does(does);
        found.add(finding.severity(Severity::Warning));
    }
    remembered(subject, path, &file.stat, found);
    false
}

/// D2: two files of one message.
fn twice(uid: Option<u32>, files: [&MessageFile; 2], dir: &Path, found: &mut Findings) {
    let [one, other] = files.map(|file| {
        let sub = if file.in_cur { "cur" } else { "new" };
        format!("{sub}/{}", String::from_utf8_lossy(&file.name))
    });
    let mut finding = Finding::new(Code::D2, dir, format!("{one} and {other} are one message"));
    finding.uid = uid;
    let does = "logs \"Fixed a duplicate\", gives one of them another name and a new UID; the other may get its flags";
    found.add(finding.does(does).advise(ONE_OF_BOTH));
}

/// D2: which messages are in the index, in the uidlist, and in files. A list that `is_short` does not name all files of
/// `cur/`.
fn present<'n>(
    subject: &Subject<'_>,
    file: &UidListFile,
    is_short: bool,
    file_of: &dyn Fn(u32) -> Option<&'n MessageFile>,
    found: &mut Findings,
) {
    let (mailbox, next_uid) = (subject.mailbox, subject.mailbox.header.next_uid);
    let entries = &file.list.entries;
    let ahead: Vec<u32> =
        entries.iter().map(|(uid, _)| *uid).filter(|uid| *uid >= next_uid && file_of(*uid).is_some()).collect();
    if let Some(first) = ahead.first() {
        let message = format!(
            "{} messages (UIDs {}) have a file and a UID at or above next_uid {next_uid}, and are not in the index: it \
             is older than they are",
            ahead.len(),
            set_of(&ahead)
        );
        let does = "takes them from the files without a word; HIGHESTMODSEQ goes back, and clients miss changes";
        let finding = Finding::new(Code::D2, &file.path, message).uid(*first).severity(Severity::Warning);
        found.add(finding.does(does).remedy(Remedy::Rebuild));
    }
    if !subject.is_deep() {
        return;
    }
    let known = |uid: u32| entries.binary_search_by_key(&uid, |(uid, _)| *uid).is_ok();
    for uid in uids(mailbox) {
        if !known(uid) {
            let message = format!("UID {uid} is not in dovecot-uidlist");
            // Where files have no line either it is the list that has lost them.
            let place = if is_short { &file.path } else { subject.state_file() };
            found.add(Finding::new(Code::D2, place, message).uid(uid));
        } else if file_of(uid).is_none() {
            // Another program deletes files whenever it likes.
            let message = format!("UID {uid} has no file: Dovecot expunges it at the next sync");
            found.add(Finding::new(Code::D2, subject.state_file(), message).uid(uid).severity(Severity::Warning));
        }
    }
    for (uid, _) in entries {
        if *uid < next_uid && file_of(*uid).is_some() && mailbox.lookup(*uid).is_none() {
            let message = match subject.expunged(*uid) {
                Some(at) => format!("UID {uid} has a file, but the log says at {at} that it was to be expunged"),
                None => format!("UID {uid} has a file, but the index has lost it"),
            };
            let message = format!("{message}: the message comes back under a new UID");
            let finding = Finding::new(Code::D2, &file.path, message).uid(*uid);
            found.add(finding.does("logs \"Expunged message reappeared, giving a new UID\"").advise(GONE));
        }
    }
}

/// D13: the size in the name, in the cache, and of the file.
fn sizes(subject: &Subject<'_>, uid: u32, file: &MessageFile, dir: &Path, found: &mut Findings) {
    let (told, cached) = (file.told(b'S'), subject.seen.believed.physical(uid));
    let with_crlf = (file.told(b'W'), subject.seen.believed.with_crlf(uid));
    let sub = if file.in_cur { "cur" } else { "new" };
    let path = || dir.join(sub).join(String::from_utf8_lossy(&file.name).into_owned());
    let mut add = |message: String| found.add(Finding::new(Code::D13, path(), message).uid(uid));
    // The size of a compressed file is not that of its message.
    let real = file.size.filter(|_| !file.is_coded);
    if let (Some(real), Some((from, size))) = (
        real,
        [("its name", told), ("the cache", cached)].into_iter().find_map(|(from, size)| {
            Some((from, size?)).filter(|(_, size)| file.size.is_some_and(|real| real != *size))
        }),
    ) {
        return add(format!("UID {uid}: the file has {real} bytes, {from} says {size}"));
    }
    if let (Some(told), Some(cached)) = (told, cached)
        && told != cached
    {
        return add(format!("UID {uid}: the cache says {cached} bytes, the file name {told}"));
    }
    if let (Some(size), (Some(named), _) | (None, Some(named))) = (told.or(real), with_crlf)
        && named < size
    {
        add(format!("UID {uid}: {size} bytes, but {named} with CRLF line ends, which cannot be fewer"));
    }
}

/// D3, D5.
fn flags<'n>(
    subject: &Subject<'_>,
    maildir: &Maildir,
    file_of: &dyn Fn(u32) -> Option<&'n MessageFile>,
    found: &mut Findings,
) {
    let mailbox = subject.mailbox;
    let waiting = subject.waiting();
    let mask = if maildir.has_private_flags { flag::IMAP & !flag::SEEN } else { flag::IMAP };
    let mut lettered = Vec::new();
    let names = Names::of(mailbox.keywords(), &maildir.keywords);
    let mut only_here: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut only_there: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        let Some(file) = file_of(uid).filter(|file| file.in_cur) else { continue };
        let letters = file.letters();
        let in_index = mailbox.flags(i);
        // The name is behind the index by what still has to be written to it.
        if in_index & flag::DIRTY != 0 || waiting.contains(uid) {
            continue;
        }
        let in_name = file.flags();
        if (in_name ^ in_index) & mask != 0 {
            let message = format!(
                "UID {uid}: the index has flags 0x{:02x}, the file name {} has 0x{in_name:02x}",
                in_index & flag::IMAP,
                String::from_utf8_lossy(&file.name)
            );
            found.add(Finding::new(Code::D3, subject.state_file(), message).uid(uid));
        }
        for id in mailbox.keyword_ids(i).filter(|id| names.letter(*id).is_none()) {
            only_here.entry(id).or_default().push(uid);
        }
        let lacking = mailbox.keyword_ids(i).filter_map(|id| names.letter(id)).find(|letter| !letters.contains(letter));
        let has = |letter: u8| mailbox.keyword_ids(i).any(|id| names.letter(id) == Some(letter));
        let more = letters.iter().find(|letter| names.has(**letter) && !has(**letter));
        for letter in letters.iter().filter(|letter| !names.has(**letter) && maildir.keywords.name(**letter).is_some())
        {
            only_there.entry(*letter).or_default().push(uid);
        }
        if let Some(letter) = lacking.as_ref().or(more) {
            let (letter, index) = (char::from(*letter), if lacking.is_some() { "has" } else { "lacks" });
            let message = format!(
                "UID {uid}: the index {index} the keyword of letter {letter}, unlike the file name {}",
                String::from_utf8_lossy(&file.name)
            );
            // Other programs set the flags of the names, but none has letters for keywords.
            let finding = Finding::new(Code::D3, subject.state_file(), message).uid(uid).severity(Severity::Error);
            found.add(finding.does("takes over the keywords of the file names at the next sync, without a word"));
        }
        if letters.iter().any(u8::is_ascii_lowercase) {
            lettered.push(uid);
            unnamed(uid, letters, &maildir.keywords, found);
        }
    }
    if maildir.keywords.names.is_some() {
        only_in_index(mailbox.keywords(), &only_here, &maildir.keywords, found);
        only_in_names(&only_there, &maildir.keywords, found);
    }
    if let (None, Some(first)) = (&maildir.keywords.names, lettered.first()) {
        let message = format!(
            "is missing: the keyword letters of {} messages (UIDs {}) have no names",
            lettered.len(),
            set_of(&lettered)
        );
        let does = "gives the letters other names, without a word: keywords are mixed up";
        let finding = Finding::new(Code::D5, &maildir.keywords.path, message).uid(*first);
        found.add(finding.severity(Severity::Error).does(does).advise(BRING_BACK));
    }
}

/// Which keyword of the index has which letter.
struct Names(Vec<Option<u8>>);

impl Names {
    fn of(index: &[Vec<u8>], keywords: &Keywords) -> Names {
        let names = keywords.names.as_deref().unwrap_or_default();
        let place = |name: &Vec<u8>| names.iter().position(|have| have.eq_ignore_ascii_case(name));
        let letter = |at: usize| u8::try_from(at).ok().and_then(|at| b'a'.checked_add(at));
        Names(index.iter().map(|name| place(name).and_then(letter)).collect())
    }

    fn letter(&self, id: usize) -> Option<u8> {
        self.0.get(id).copied().flatten()
    }

    fn has(&self, letter: u8) -> bool {
        self.0.contains(&Some(letter))
    }
}

/// D5: keywords for which there is no letter. All 26 may be taken; before that the server gives one to each keyword.
fn only_in_index(names: &[Vec<u8>], uids: &BTreeMap<usize, Vec<u32>>, keywords: &Keywords, found: &mut Findings) {
    for (name, uids) in uids.iter().filter_map(|(id, uids)| Some((names.get(*id)?, uids))) {
        let name = String::from_utf8_lossy(name);
        let message = format!(
            "keyword {name} of UIDs {} has no letter: it is in the index alone, and lost with it",
            set_of(uids)
        );
        found.add(Finding::new(Code::D5, &keywords.path, message).severity(Severity::Info));
    }
}

/// D5: letters whose name is no keyword of the index: the name was damaged, or it is another mailbox's.
fn only_in_names(letters: &BTreeMap<u8, Vec<u32>>, keywords: &Keywords, found: &mut Findings) {
    for (letter, uids) in letters {
        let name = keywords.name(*letter).map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
        let uids = set_of(uids);
        let message = format!("letter {} of UIDs {uids} is {name}, which the index does not know", char::from(*letter));
        let does = "adds that keyword to these messages when it scans cur/ again, without a word";
        let finding = Finding::new(Code::D5, &keywords.path, message).severity(Severity::Error);
        found.add(finding.does(does).advise(BRING_BACK));
    }
}

/// D5: a letter that no name stands behind.
fn unnamed(uid: u32, letters: &[u8], keywords: &Keywords, found: &mut Findings) {
    if keywords.names.is_none() {
        return;
    }
    let is_unnamed = |letter: &&u8| letter.is_ascii_lowercase() && keywords.name(**letter).is_none();
    if let Some(letter) = letters.iter().find(is_unnamed) {
        let message = format!("UID {uid}: keyword letter {} of the file name is not in it", char::from(*letter));
        let does = "calls the keyword unknown-N, and clients see that in the place of the right one";
        found.add(Finding::new(Code::D5, &keywords.path, message).uid(uid).severity(Severity::Error).does(does));
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
