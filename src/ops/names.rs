//! Proper names of the mailboxes a walk finds: from the path, else from the list index of the mail root, else from the
//! mailbox's own `box-name` header.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::load;
use crate::format::ext::BoxName;
use crate::model::replay::Until;
use crate::model::{Mailbox, MailboxList};
use crate::source::place::DOT_IMAP;
use crate::source::{Dir, Family, Found, MailboxFiles, MmapPolicy, Name, Named, Role};

/// Mailbox lists kept in memory; a walk leaves a mail root before it enters the next.
const KEPT: usize = 16;

type Slot = Arc<OnceLock<Option<MailboxList>>>;

/// The mailbox lists of the mail roots that were met last.
#[derive(Debug, Default)]
pub struct Lists {
    slots: Mutex<VecDeque<(PathBuf, Slot)>>,
    mmap: MmapPolicy,
}

impl Lists {
    /// No lists yet.
    pub fn new(mmap: MmapPolicy) -> Lists {
        Lists { slots: Mutex::default(), mmap }
    }

    /// The list of a mail root; read once.
    fn with<T>(&self, root: &Dir, ask: impl FnOnce(&MailboxList) -> Option<T>) -> Option<T> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            match slots.iter().find(|(known, _)| known == root.path()) {
                Some((_, slot)) => Arc::clone(slot),
                None => {
                    if slots.len() >= KEPT {
                        slots.pop_front();
                    }
                    let slot = Slot::default();
                    slots.push_back((root.path().to_owned(), Arc::clone(&slot)));
                    slot
                }
            }
        };
        ask(slot.get_or_init(|| read_list(root, self.mmap)).as_ref()?)
    }

    /// True in a mail root with its control files and without a mailbox list: there was one, as directories are called
    /// by GUIDs.
    pub fn is_lost(&self, found: &Found) -> bool {
        let Some(root) = found.mail_root() else { return false };
        root.stat("dovecot-uidvalidity").is_ok_and(|meta| meta.special.is_none())
            && self.with(root, |_| Some(())).is_none()
    }

    /// The name of the mailbox in a directory. `mailbox` is its state, where that could be read.
    pub fn name(&self, found: &Found, mailbox: Option<&Mailbox>) -> Name {
        match found.named() {
            Named::Levels(levels) => Name::decode(levels),
            Named::Guid(guid) => {
                let listed = found
                    .mail_root()
                    .and_then(|root| self.with(root, |list| list.levels(list.by_guid(&guid)?).map(Name::decode)));
                listed.or_else(|| mailbox.and_then(own_name)).unwrap_or_else(|| {
                    let hex: String = guid.iter().map(|byte| format!("{byte:02x}")).collect();
                    Name { undecodable: Some(hex.clone().into()), text: hex.into() }
                })
            }
        }
    }
}

/// The name that a mailbox keeps in its `box-name` header.
fn own_name(mailbox: &Mailbox) -> Option<Name> {
    let ext = mailbox.extension(b"box-name")?;
    let levels: Vec<&[u8]> = BoxName::parse(ext.header()).levels().filter(|level| !level.is_empty()).collect();
    (!levels.is_empty()).then(|| Name::decode(levels))
}

/// Reads the mailbox list of a mail root.
fn read_list(root: &Dir, mmap: MmapPolicy) -> Option<MailboxList> {
    let inside = [Ok(root.clone()), root.below(DOT_IMAP)].into_iter().flatten();
    let mut files = inside.map(|dir| MailboxFiles::inside(&dir, Family::List));
    let files = files.find(|files| !files.present().is_empty())?;
    let snapshot = files.read(&[Role::Index, Role::OldLog, Role::Log], mmap).ok()?;
    let chain = load::chain(&snapshot);
    let loaded = load::state(&snapshot, &chain, Until::End).ok()?;
    MailboxList::load(&loaded.replayed.mailbox)
}
