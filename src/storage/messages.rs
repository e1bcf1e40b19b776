//! What a storage proves of the messages of one mailbox, also when its index files are not sound: which UIDs have a
//! mail, which were ever given, and what the storage itself keeps of UIDVALIDITY, GUID, flags and keywords.

use std::collections::HashMap;

use super::maildir::Asked;
use super::mails::Mails;
use super::mbox::MboxMail;
use super::mdbox_root::{MapState, Roots};
use super::{Keywords, Maildir, MessageFile, Sdbox, Witness, list};
use crate::format::Disk;
use crate::format::ext::{MaildirHeader, MboxHeader};
use crate::format::record::flag;
use crate::model::Mailbox;
use crate::source::{Dir, Family, MailboxFiles};

/// What a storage proves of the messages of one mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// What the storage is.
    pub format: &'static str,
    /// The UIDs that have a mail, rising.
    pub uids: Vec<u32>,
    /// Mails that the storage had given a UID, as far as can be told, and does not know any more: not to be among
    /// `uids` proves nothing then.
    pub unnumbered: usize,
    /// The first UID above all that the storage has ever given; 0 if it does not say.
    pub next_uid: u32,
    /// UIDVALIDITY, if the storage or the mailbox list keeps it.
    pub uid_validity: Option<u32>,
    /// GUID of the mailbox, if the storage or the mailbox list keeps it.
    pub guid: Option<[u8; 16]>,
    /// HIGHESTMODSEQ as the mailbox list has last seen it; 0 if it does not say.
    pub highest_modseq: u64,
    /// Flags and keywords by UID, where the storage keeps them.
    pub flags: Option<HashMap<u32, (u8, Vec<Vec<u8>>)>>,
    /// Names of the keywords for which the storage has a letter.
    pub letters: Vec<Vec<u8>>,
    /// Whether a message has a letter that has no name.
    pub nameless: bool,
    /// The map of an mdbox.
    pub map: Option<MapState>,
    /// For a map: what it is made of.
    pub mails: Option<Mails>,
    /// What an index remembers that was synchronised with the storage as it is now.
    pub state: Option<SyncState>,
}

/// What tells whether a storage has changed since an index was synchronised with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// Times of `new/` and `cur/`, UNIX seconds and nanoseconds.
    Maildir([(i64, i64); 2]),
    /// Size of the file, bytes, and its time, UNIX seconds.
    Mbox(u64, i64),
}

impl Messages {
    /// Asks the storage beside an index, whose files need not be sound; `None` when there is none, or none that knows
    /// messages.
    pub fn beside(files: &MailboxFiles) -> Option<Messages> {
        Messages::among(files, &Roots::default())
    }

    /// The same, with what is known already of the roots of this run.
    pub fn among(files: &MailboxFiles, roots: &Roots) -> Option<Messages> {
        let dir = files.dir().ok()?;
        match files.own_family() {
            Some(Family::Mailbox) => {}
            Some(Family::Map) => return Messages::of_map(dir),
            // A copy with a name of its own has no mails beside it, and a directory may have thousands of those.
            Some(Family::List | Family::Private) | None => return None,
        }
        let mut found = Messages::of_maildir(dir)
            .or_else(|| Messages::of_mbox(dir))
            .or_else(|| Messages::of_sdbox(dir))
            .or_else(|| Messages::of_mdbox(dir, files, roots))
            .unwrap_or_default();
        if let Some(node) = list::node_of(dir) {
            // The storage's own word counts for more than what the list has copied.
            found.uid_validity = found.uid_validity.or(Some(node.record.uid_validity).filter(|value| *value != 0));
            found.guid = found.guid.or(Some(node.record.guid).filter(|guid| *guid != [0; 16]));
            if found.uid_validity == Some(node.record.uid_validity) {
                found.highest_modseq = node.highest_modseq;
                found.next_uid = found.next_uid.max(node.msgs.map_or(0, |msgs| msgs.uidnext));
            }
        }
        (found != Messages::default()).then_some(found)
    }

    fn of_maildir(dir: &Dir) -> Option<Messages> {
        let Witness::Maildir(maildir) = Maildir::read(dir, &Asked::default()) else { return None };
        let list = &maildir.uidlist.as_ref().ok()?.list;
        let flags = maildir.flags();
        let listed = list.entries.iter().map(|(uid, _)| *uid);
        // Those that have a file, as with_files tells.
        let uids: Vec<u32> = listed.filter(|uid| flags.contains_key(uid)).collect();
        let [new, cur] = maildir.messages.as_ref().map(|messages| messages.changed).unwrap_or_default();
        let state = new.zip(cur).filter(|(new, cur)| super::is_at_rest(new.0.max(cur.0)));
        let state = state.map(|(new, cur)| SyncState::Maildir([new, cur]));
        // A list that cannot be read to its end does not say how far it went.
        let next_uid = if list.problem.is_none() { list.next_uid } else { 0 };
        Some(Messages {
            format: "maildir",
            flags: Some(flags),
            letters: maildir.keywords.names.clone().unwrap_or_default(),
            uid_validity: Some(list.uid_validity).filter(|value| *value != 0),
            guid: list.guid,
            next_uid: next_uid.max(uids.last().map_or(0, |uid| uid.saturating_add(1))),
            unnumbered: maildir.unlisted(),
            nameless: maildir.has_nameless_letters(),
            uids,
            state,
            ..Messages::default()
        })
    }

    fn of_mbox(dir: &Dir) -> Option<Messages> {
        let mail = MboxMail::of(dir)?;
        let (uid_validity, last) = mail.base;
        Some(Messages {
            format: "mbox",
            uid_validity: Some(uid_validity),
            next_uid: last.max(mail.uids.last().copied().unwrap_or(0)).saturating_add(1),
            letters: mail.names,
            unnumbered: mail.unnumbered,
            flags: Some(mail.flags),
            uids: mail.uids,
            state: super::is_at_rest(mail.stat.mtime.0).then_some(SyncState::Mbox(mail.stat.size, mail.stat.mtime.0)),
            ..Messages::default()
        })
    }

    fn of_sdbox(dir: &Dir) -> Option<Messages> {
        let sdbox = Sdbox::beside(dir, None, None)?;
        let next_uid = sdbox.uids.last().map_or(0, |uid| uid.saturating_add(1));
        Some(Messages { format: "sdbox", uids: sdbox.uids, next_uid, ..Messages::default() })
    }

    fn of_mdbox(dir: &Dir, files: &MailboxFiles, roots: &Roots) -> Option<Messages> {
        let map = MapState::new(roots.of(dir)?, files)?;
        Some(Messages { format: "mdbox", map: Some(map), ..Messages::default() })
    }

    /// For the map itself: the mails that mailboxes refer to, and those that its files have.
    fn of_map(dir: &Dir) -> Option<Messages> {
        let mails = Mails::read(dir)?;
        if mails.files.is_empty() && mails.references.is_empty() {
            return None;
        }
        let mut uids: Vec<u32> = mails.references.keys().copied().collect();
        uids.sort_unstable();
        let next_uid = uids.last().map_or(0, |uid| uid.saturating_add(1));
        let uid_validity = mails.uid_validity;
        Some(Messages { format: "map", uids, next_uid, uid_validity, mails: Some(mails), ..Messages::default() })
    }

    /// The UIDs between two others.
    pub fn between(&self, low: u32, high: u32) -> &[u32] {
        let from = self.uids.partition_point(|uid| *uid <= low);
        let to = self.uids.partition_point(|uid| *uid < high);
        self.uids.get(from..to.max(from)).unwrap_or_default()
    }

    /// Whether it is a Maildir whose list names none of the files that are there, and others instead.
    pub fn lists_other_files(&self) -> bool {
        self.format == "maildir" && self.unnumbered > 0 && self.uids.is_empty() && self.next_uid > 1
    }

    /// The same with other names for some of its letters: each pair is a name that it has, and the right one.
    pub fn renamed(&self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Messages {
        let mut new = self.clone();
        let right = |name: &mut Vec<u8>| {
            if let Some((_, right)) = pairs.iter().find(|(was, _)| was == name) {
                name.clone_from(right);
            }
        };
        new.letters.iter_mut().for_each(right);
        new.flags.iter_mut().flat_map(HashMap::values_mut).flat_map(|(_, names)| names).for_each(right);
        new
    }

    /// Whether every keyword that a message may have is among its names: a Maildir has letters for 26 of them only.
    pub fn names_all_keywords(&self) -> bool {
        self.format == "mbox"
            || (self.flags.is_some()
                && !self.nameless
                && self.letters.iter().all(|name| !name.is_empty()) == self.letters.is_empty())
    }

    /// Whether an index says that it was synchronised with the storage as it is now.
    pub fn is_synced(&self, mailbox: &Mailbox) -> bool {
        let header = |name: &[u8], size: usize| {
            mailbox.extension(name).map(crate::model::Extension::header).filter(|bytes| bytes.len() >= size)
        };
        match self.state {
            Some(SyncState::Maildir(times)) => header(b"maildir", MaildirHeader::SIZE).is_some_and(|bytes| {
                let known = MaildirHeader::read(bytes, mailbox.endian);
                let pair = |time: u32, nsecs: u32| (i64::from(time), i64::from(nsecs));
                let [new, cur] = times;
                pair(known.new_mtime, known.new_mtime_nsecs) == new
                    && pair(known.cur_mtime, known.cur_mtime_nsecs) == cur
            }),
            Some(SyncState::Mbox(size, mtime)) => header(b"mbox", 16).is_some_and(|bytes| {
                let mut whole = bytes.to_vec();
                whole.resize(MboxHeader::SIZE.max(bytes.len()), 0);
                let known = MboxHeader::read(&whole, mailbox.endian);
                known.dirty_flag == 0 && known.sync_size == size && i64::from(known.sync_mtime) == mtime
            }),
            None => false,
        }
    }

    /// Whether it has a mail for this UID.
    pub fn has(&self, uid: u32) -> bool {
        self.uids.binary_search(&uid).is_ok()
    }
}

impl Maildir {
    /// The flags and keywords that file names tell, by UID (`maildir_filename_flags_get`). Letters without a name are
    /// left out: their keywords have no name here.
    pub fn flags(&self) -> HashMap<u32, (u8, Vec<Vec<u8>>)> {
        let (Some(messages), Ok(file)) = (&self.messages, &self.uidlist) else { return HashMap::new() };
        let by_name: HashMap<&[u8], &MessageFile> = messages.files.iter().map(|file| (file.base(), file)).collect();
        let of = |uid: u32, name: &Vec<u8>| Some((uid, self.flags_of(by_name.get(name.as_slice())?)));
        file.list.entries.iter().filter_map(|(uid, name)| of(*uid, name)).collect()
    }

    fn flags_of(&self, file: &MessageFile) -> (u8, Vec<Vec<u8>>) {
        let private = if self.has_private_flags { flag::SEEN } else { 0 };
        let keywords = file.letters().iter().filter_map(|letter| self.keywords.name(*letter));
        (file.flags() & !private, keywords.cloned().collect())
    }
}

impl Keywords {
    /// The name behind a letter from `a` to `z`.
    pub fn name(&self, letter: u8) -> Option<&Vec<u8>> {
        let at = letter.checked_sub(b'a').filter(|_| letter.is_ascii_lowercase())?;
        self.names.as_ref()?.get(usize::from(at)).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_have_a_file() {
        let home = tempfile::tempdir().expect("directory");
        std::fs::create_dir_all(home.path().join("cur")).expect("directory");
        std::fs::create_dir_all(home.path().join("new")).expect("directory");
        // The first lines of a uidlist that Dovecot 2.3.19.1 wrote.
        let text = "3 V1795410600 N49 Ga055102ca8ca036b6f3b000083ecc375\n1 :1795410600.M739268P15215.vm,S=437,W=448\n\
            12 W5 :1795410600.M739269P15215.vm,S=596\n13 :gone\n";
        std::fs::write(home.path().join("dovecot-uidlist"), text).expect("uidlist");
        std::fs::write(home.path().join("dovecot-keywords"), "0 $Label1\n1 kwa\n").expect("keywords");
        for name in ["cur/1795410600.M739268P15215.vm,S=437,W=448:2,FSbc", "new/1795410600.M739269P15215.vm,S=596"] {
            std::fs::write(home.path().join(name), b"").expect("message");
        }
        let files = MailboxFiles::of(home.path(), Family::Mailbox);
        let seen = Messages::beside(&files).expect("a Maildir");
        assert_eq!((seen.uids.as_slice(), seen.uid_validity), (&[1, 12][..], Some(1_795_410_600)));
        assert_eq!(seen.next_uid, 49);
        assert_eq!(seen.guid.map(|guid| guid[..2].to_vec()), Some(vec![0xa0, 0x55]));
        assert_eq!(seen.between(1, 12), &[] as &[u32]);
        assert_eq!(seen.between(0, 13), &[1, 12]);
        let flags = seen.flags.expect("flags");
        assert_eq!(flags.get(&1), Some(&(flag::FLAGGED | flag::SEEN, vec![b"kwa".to_vec()])));
        assert_eq!(flags.get(&12), Some(&(0, Vec::new())));
    }
}
