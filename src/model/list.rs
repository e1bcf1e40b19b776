//! The mailbox names in `dovecot.list.index` (`mailbox-list-index.c`): a tree of records, each one level of a name.

use std::collections::HashMap;

use super::mailbox::Mailbox;
use crate::format::Disk;
use crate::format::ext::{ListHeader, ListRecord, MsgsRecord};

/// Deepest tree that is followed; a cycle ends here too.
const MAX_DEPTH: usize = 1000;
/// Bytes of the longest name of a mailbox.
const MAX_NAME: usize = 4096;

/// Bits of a list record's flags byte, as far as they tell which names are mailboxes.
pub mod list_flag {
    /// There is no mailbox of that name, only of longer ones.
    pub const NONEXISTENT: u8 = 0x04;
    /// The mailbox cannot be opened.
    pub const NOSELECT: u8 = 0x10;
}

/// One record of a list index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListNode {
    /// UID of the record: it stands for the name.
    pub uid: u32,
    /// Bits of [`list_flag`].
    pub flags: u8,
    /// The `list` record.
    pub record: ListRecord,
    /// The `msgs` record; zero while unknown.
    pub msgs: Option<MsgsRecord>,
    /// `hmodseq`; 0 while unknown.
    pub highest_modseq: u64,
    /// Log size and mtime when the record was last refreshed (`index sync`), for storages that keep it.
    pub index_sync: Option<(u32, u32)>,
}

/// The mailboxes of a list index.
#[derive(Clone, Debug, Default)]
pub struct MailboxList {
    /// All records.
    pub nodes: Vec<ListNode>,
    names: HashMap<u32, Vec<u8>>,
    by_uid: HashMap<u32, usize>,
    by_guid: HashMap<[u8; 16], usize>,
}

impl MailboxList {
    /// Reads the list out of a list index; `None` when it has no `list` extension.
    pub fn load(mailbox: &Mailbox) -> Option<MailboxList> {
        let ext = mailbox.extension(b"list")?;
        let header = ListHeader::parse(ext.header(), 0, mailbox.endian);
        let mut list = MailboxList {
            names: header.names.iter().map(|name| (name.id, name.name.to_vec())).collect(),
            ..MailboxList::default()
        };
        let other = |name: &[u8]| mailbox.extension(name);
        let (msgs, modseq, sync) = (other(b"msgs"), other(b"hmodseq"), other(b"index sync"));
        for i in mailbox.positions() {
            let Some(bytes) = mailbox.ext_bytes(i, ext).filter(|bytes| bytes.len() >= ListRecord::SIZE) else {
                continue;
            };
            let record = ListRecord::read(bytes, mailbox.endian);
            let uid = mailbox.uid(i);
            let at = list.nodes.len();
            list.by_uid.insert(uid, at);
            if record.guid != [0; 16] {
                list.by_guid.insert(record.guid, at);
            }
            let modseq = modseq.and_then(|ext| mailbox.endian.u64_at(mailbox.ext_bytes(i, ext)?, 0)).unwrap_or(0);
            let index_sync = sync.and_then(|ext| {
                let bytes = mailbox.ext_bytes(i, ext)?;
                Some((mailbox.endian.u32_at(bytes, 0)?, mailbox.endian.u32_at(bytes, 4)?))
            });
            list.nodes.push(ListNode {
                uid,
                flags: mailbox.flags(i),
                record,
                msgs: msgs.and_then(|ext| mailbox.ext_bytes(i, ext)).map(|b| MsgsRecord::read(b, mailbox.endian)),
                highest_modseq: modseq,
                index_sync,
            });
        }
        Some(list)
    }

    /// The record with that UID.
    pub fn node(&self, uid: u32) -> Option<&ListNode> {
        self.nodes.get(*self.by_uid.get(&uid)?)
    }

    /// The record of the mailbox with that GUID.
    pub fn by_guid(&self, guid: &[u8; 16]) -> Option<&ListNode> {
        self.nodes.get(*self.by_guid.get(guid)?)
    }

    /// The name of one level.
    pub fn name(&self, id: u32) -> Option<&[u8]> {
        self.names.get(&id).map(Vec::as_slice)
    }

    /// The levels of a record's name, outermost first; `None` when a parent or a name is missing, or when they are
    /// longer than any name that Dovecot takes (`MAILBOX_LIST_NAME_MAX_LENGTH`): many records may share long levels.
    pub fn levels(&self, node: &ListNode) -> Option<Vec<&[u8]>> {
        let mut levels = vec![self.name(node.record.name_id)?];
        let mut len = levels.first().map_or(0, |name| name.len());
        let mut parent = node.record.parent_uid;
        while parent != 0 {
            let node = self.node(parent)?;
            let name = self.name(node.record.name_id)?;
            len = len.saturating_add(1).saturating_add(name.len());
            levels.push(name);
            parent = node.record.parent_uid;
            if levels.len() > MAX_DEPTH || len > MAX_NAME {
                return None;
            }
        }
        levels.reverse();
        Some(levels).filter(|_| len <= MAX_NAME)
    }
}
