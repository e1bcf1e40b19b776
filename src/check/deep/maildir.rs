//! D1 to D5: Maildir. `dovecot-uidlist` says which UID a file has, the file's name which flags (`maildir-uidlist.c`,
//! `maildir-sync-index.c`, `maildir-keywords.c`).

use std::collections::HashMap;
use std::path::Path;

use super::{Code, Finding, Findings, Severity, Subject, uids};
use crate::format::Disk;
use crate::format::ext::MaildirHeader;
use crate::format::record::flag;
use crate::storage::{Maildir, base_name};

/// Letters of flags in file names (`maildir-filename-flags.c`).
const LETTERS: [(u8, u8); 5] =
    [(b'R', flag::ANSWERED), (b'F', flag::FLAGGED), (b'T', flag::DELETED), (b'S', flag::SEEN), (b'D', flag::DRAFT)];

pub(super) fn check(subject: &Subject<'_>, maildir: &Maildir, found: &mut Findings) {
    let (list, path) = (&maildir.uidlist.list, maildir.uidlist.path.as_path());
    if let Some((at, problem)) = &list.problem {
        found.add(Finding::new(Code::D2, path, problem).at(*at));
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
        found.add(Finding::new(Code::D2, path, message).at(0));
    }
    remembered(subject, path, &maildir.uidlist.stat, found);
    let Some((new, cur)) = &maildir.names else { return };
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
            found.add(Finding::new(Code::D2, path, message).uid(*uid));
        }
    }
    flags(subject, maildir, &file_of, found);
}

/// D3, D5.
fn flags<'n>(
    subject: &Subject<'_>,
    maildir: &Maildir,
    file_of: &dyn Fn(u32) -> Option<(&'n [u8], bool)>,
    found: &mut Findings,
) {
    let mailbox = subject.mailbox;
    if mailbox.header.log_file_tail_offset != mailbox.header.log_file_head_offset {
        // Changes wait to be written to the file names.
        return;
    }
    let mask = if maildir.has_private_flags { flag::IMAP & !flag::SEEN } else { flag::IMAP };
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
        if let Some((file, names)) = &maildir.keywords {
            let unknown = letters
                .iter()
                .filter(|l| l.is_ascii_lowercase())
                .find(|letter| names.get(usize::from(**letter - b'a')).is_none_or(Vec::is_empty));
            if let Some(letter) = unknown {
                let message =
                    format!("UID {uid}: keyword letter {} of the file name is not in it", char::from(*letter));
                found.add(Finding::new(Code::D5, file, message).uid(uid));
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
