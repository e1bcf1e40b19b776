//! The mailboxes that a mailbox list names, as their own indexes describe them (`mailbox-list-index-status.c`,
//! `mailbox-list-index-backend.c`).

use std::path::PathBuf;

use super::{load, roots};
use crate::format::Disk;
use crate::format::ext::{MboxHeader, MdboxHeader};
use crate::format::index::IndexHeader;
use crate::model::list::{ListNode, list_flag};
use crate::model::{Mailbox, MailboxList};
use crate::source::place::{self, DBOX_MAILS, DOT_IMAP};
use crate::source::{Dir, Family, MailboxFiles, MmapPolicy, Role, Special, Stat};

/// Directories above a mailbox in which its list may be.
const MAX_ABOVE: usize = 16;

/// The mailboxes on a list that can be selected.
#[derive(Debug, Default)]
pub struct Listed {
    /// In the order of the list's records.
    pub mailboxes: Vec<ListedMailbox>,
    /// What knows their names: all of them spelled out may be far more than the list.
    list: MailboxList,
    by_guid: bool,
}

/// One of them.
#[derive(Debug)]
pub struct ListedMailbox {
    /// What the list says.
    pub node: ListNode,
    /// What its index says; `None` when there is none or it is not sound.
    pub own: Option<Own>,
    /// It should have a directory, in a root where mailboxes have theirs, and has none.
    pub lacks_directory: bool,
    /// Whether it has a directory in this root, and no index in it.
    pub lacks_index: bool,
}

/// What a mailbox list says of one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InList {
    /// The list's index.
    pub list: PathBuf,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT as of the last look; 0 while unknown.
    pub next_uid: u32,
    /// HIGHESTMODSEQ as of the last look; 0 while unknown.
    pub highest_modseq: u64,
}

impl InList {
    /// Looks a mailbox up by its GUID, which is in its index or, `kept`, in its storage.
    pub(super) fn of(dir: &Dir, mailbox: &Mailbox, kept: Option<[u8; 16]>, mmap: MmapPolicy) -> Option<InList> {
        let guid = own_guid(mailbox).or(kept)?;
        let name = Family::List.prefix().as_bytes();
        let files = dir.upwards().take(MAX_ABOVE).find_map(|above| {
            let imap = above.below(DOT_IMAP).ok();
            let mut lists = std::iter::once(above).chain(imap).map(|dir| MailboxFiles::within(&dir, name));
            lists.find(|files| files.stat(Role::Log).is_ok_and(|meta| meta.special.is_none()))
        })?;
        let list = MailboxList::load(&load(&files, mmap)?)?;
        let node = list.by_guid(&guid)?;
        let (uid_validity, highest_modseq) = (node.record.uid_validity, node.highest_modseq);
        let next_uid = node.msgs.as_ref().map_or(0, |msgs| msgs.uidnext);
        (uid_validity != 0).then_some(InList { list: files.index, uid_validity, next_uid, highest_modseq })
    }
}

/// The GUID of a mailbox, where its storage keeps one in the index.
pub fn own_guid(mailbox: &Mailbox) -> Option<[u8; 16]> {
    let header = |name: &[u8], size: usize| {
        mailbox.extension(name).map(crate::model::Extension::header).filter(|bytes| bytes.len() >= size)
    };
    let guid = header(b"mdbox-hdr", MdboxHeader::SIZE)
        .map(|bytes| MdboxHeader::read(bytes, mailbox.endian).mailbox_guid)
        .or_else(|| header(b"dbox-hdr", 20)?.get(4..20)?.try_into().ok())
        .or_else(|| Some(MboxHeader::read(header(b"mbox", MboxHeader::SIZE)?, mailbox.endian).mailbox_guid))?;
    (guid != [0; 16]).then_some(guid)
}

/// What the index of a listed mailbox says.
#[derive(Debug)]
pub struct Own {
    /// The header after all logs.
    pub header: IndexHeader,
    /// Number of messages.
    pub messages: u32,
    /// The state of the log; `None` when it changed while it was read.
    pub log: Option<Stat>,
    /// The mailbox's GUID, where its storage keeps one in the index.
    pub guid: Option<[u8; 16]>,
}

impl Listed {
    /// Reads the indexes of all mailboxes on the list in a directory; `None` when it is no list.
    pub(super) fn read(dir: &Dir, mailbox: &Mailbox, mmap: MmapPolicy) -> Option<Listed> {
        let list = MailboxList::load(mailbox)?;
        let in_imap = dir.above().filter(|(_, name)| name == DOT_IMAP);
        let (root, in_imap) = in_imap.map_or_else(|| (dir.clone(), false), |(root, _)| (root, true));
        let by_guid = named_by_guid(&root);
        let has_mailboxes = ["cur", "mailboxes"].into_iter().any(|sub| root.below(sub).is_ok());
        let is_mail_root = roots::is_control(dir) && (in_imap || has_mailboxes);
        let mut mailboxes = Vec::new();
        for node in &list.nodes {
            if node.flags & (list_flag::NONEXISTENT | list_flag::NOSELECT) != 0 {
                continue;
            }
            let Some(levels) = list.levels(node) else { continue };
            let files = files_of(&root, &levels, &node.record.guid);
            let lacks_directory = if by_guid {
                let has_guid = node.record.guid != [0; 16];
                has_guid && files.is_none() && root.below(guid_dir(node)).is_err()
            } else {
                is_mail_root && files.is_none() && lacks(&root, &levels)
            };
            let is_there = |dir: &Vec<u8>| root.below(dir).is_ok();
            let lacks_index =
                files.is_none() && !lacks_directory && places(&levels, &node.record.guid).iter().any(is_there);
            let own = files.and_then(|files| own(&files, mmap));
            mailboxes.push(ListedMailbox { node: node.clone(), own, lacks_directory, lacks_index });
        }
        Some(Listed { mailboxes, list, by_guid })
    }

    /// The name of one of them, levels joined by `/`.
    pub fn name(&self, one: &ListedMailbox) -> String {
        String::from_utf8_lossy(&self.list.levels(&one.node).unwrap_or_default().join(&b'/')).into_owned()
    }

    /// The directory that one of them should have.
    pub fn directory(&self, one: &ListedMailbox) -> String {
        if self.by_guid { guid_dir(&one.node) } else { self.name(one) }
    }
}

fn own(files: &MailboxFiles, mmap: MmapPolicy) -> Option<Own> {
    let stat = || files.stat(Role::Log).ok().map(|meta| meta.stat);
    let before = stat();
    let mailbox = load(files, mmap)?;
    let messages = u32::try_from(mailbox.len()).unwrap_or(u32::MAX);
    let guid = own_guid(&mailbox);
    Some(Own { header: mailbox.header, messages, log: before.filter(|_| stat() == before), guid })
}

/// The directory of a mailbox in a root where GUIDs are their names.
fn guid_dir(node: &ListNode) -> String {
    ["mailboxes/", &hex(&node.record.guid)].concat()
}

/// A GUID as directories are called.
pub fn hex(guid: &[u8; 16]) -> String {
    guid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// True when the directories of mailboxes are called by their GUIDs.
fn named_by_guid(root: &Dir) -> bool {
    let names = root.below("mailboxes").and_then(|dir| dir.list()).unwrap_or_default();
    let mut dirs = names.iter().filter(|entry| entry.special == Some(Special::Directory)).peekable();
    dirs.peek().is_some() && dirs.all(|entry| place::guid_of(&entry.name).is_some())
}

/// True when no layout has anything of a mailbox in a root. A name that is written otherwise on the disk, or may be, is
/// not looked for.
fn lacks(root: &Dir, levels: &[&[u8]]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _-".contains(byte);
    if levels.iter().any(|level| !level.iter().all(plain)) || levels.first().is_some_and(|one| *one == b"INBOX") {
        return false;
    }
    let Some((last, above)) = levels.split_last() else { return false };
    let there = |dir: &Vec<u8>| root.below(dir).is_ok();
    // An mbox is a file.
    let beside = if above.is_empty() { Ok(root.clone()) } else { root.below(above.join(&b'/')) };
    let is_file = beside.is_ok_and(|dir| dir.stat(last).is_ok());
    !is_file && !places(levels, &[0; 16]).iter().any(there)
}

/// The paths below a root that a mailbox can have, in whatever layout this root has.
fn places(levels: &[&[u8]], guid: &[u8; 16]) -> Vec<Vec<u8>> {
    let safe = levels.iter().all(|level| !matches!(*level, b"" | b"." | b"..") && !level.contains(&b'/'));
    let Some((last, above)) = levels.split_last().filter(|_| safe) else { return Vec::new() };
    let fs = levels.join(&b'/');
    let imap = above.iter().chain([&DOT_IMAP, last]).copied().collect::<Vec<_>>().join(&b'/');
    let mut dirs = vec![
        [b"mailboxes/", hex(guid).as_bytes()].concat(),
        [b"mailboxes/", fs.as_slice()].concat(),
        [b".", levels.join(&b'.').as_slice()].concat(),
        fs,
        imap,
    ];
    if levels == [b"INBOX"] {
        dirs.push(b".".to_vec());
    }
    dirs.iter().flat_map(|dir| [[dir, b"/".as_slice(), DBOX_MAILS].concat(), dir.clone()]).collect()
}

/// The index files of a mailbox.
fn files_of(root: &Dir, levels: &[&[u8]], guid: &[u8; 16]) -> Option<MailboxFiles> {
    places(levels, guid).iter().find_map(|dir| {
        let files = MailboxFiles::inside(&root.below(dir).ok()?, Family::Mailbox);
        files.stat(Role::Log).is_ok_and(|meta| meta.special.is_none()).then_some(files)
    })
}

/// What the mailbox list of the root says of the mailbox in a directory.
pub(super) fn node_of(dir: &Dir) -> Option<ListNode> {
    let (mut at, mut below, mut files) = (dir.clone(), Vec::new(), None);
    for _ in 0..MAX_ABOVE {
        let here = MailboxFiles::inside(&at, Family::List);
        let there = [Role::Log, Role::Index].into_iter().any(|role| here.stat(role).is_ok());
        files = files.or_else(|| there.then_some(here));
        let above = at.above();
        // The root is above `.imap/`, where its list is.
        if files.is_some() && above.as_ref().is_none_or(|(_, name)| name != DOT_IMAP) {
            break;
        }
        let (above, name) = above?;
        below.insert(0, name);
        at = above;
        if files.is_some() {
            break;
        }
    }
    let list = MailboxList::load(&load(&files?, MmapPolicy::default())?)?;
    let below = if below.is_empty() { b".".to_vec() } else { below.join(&b'/') };
    let is_here =
        |node: &&ListNode| list.levels(node).is_some_and(|levels| places(&levels, &node.record.guid).contains(&below));
    list.nodes.iter().find(is_here).cloned()
}
