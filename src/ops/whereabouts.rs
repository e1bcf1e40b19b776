//! Where a mail is that was expunged from a mailbox: the message with its GUID in another mailbox of the same user.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::names::Lists;
use crate::source::{Dir, Family, Found, MailboxFiles, MmapPolicy, Walk, walk};
use crate::storage;

/// A message in another mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The name of the mailbox.
    pub mailbox: Vec<u8>,
    /// Its UID there.
    pub uid: u32,
}

/// The messages that are these mails in the other mailboxes of a mailbox's mail root, by GUID; of several the first in
/// the order of the mailboxes' paths. Other file systems are not entered, and what cannot be read has none.
pub fn find(files: &MailboxFiles, wanted: &HashSet<[u8; 16]>, mmap: MmapPolicy) -> HashMap<[u8; 16], Message> {
    let mut all = HashMap::new();
    let Some((own, root)) = files.dir().ok().filter(|_| !wanted.is_empty()).and_then(|dir| Some((dir, root_of(dir)?)))
    else {
        return all;
    };
    let lists = Lists::new(mmap);
    let in_one = |found: Found| -> Vec<([u8; 16], Message)> {
        let files = found.files(Family::Mailbox);
        // Between two looks at a path it may have come to lead elsewhere.
        let is_in_root = found.mail_root().is_some_and(|dir| is_same(dir, &root));
        if !is_in_root || files.dir().is_ok_and(|dir| is_same(dir, own)) {
            return Vec::new();
        }
        let held = storage::holders(&files, wanted, mmap);
        if held.is_empty() {
            return Vec::new();
        }
        let name = lists.name(&found, storage::load(&files, mmap).as_ref()).text;
        held.into_iter().map(|(guid, uid)| (guid, Message { mailbox: name.clone(), uid })).collect()
    };
    let roots = [root.path().to_owned()];
    walk(&roots, Walk { bare: true, ..Walk::from(1) }, in_one, |result| {
        result.into_iter().flatten().for_each(|(guid, message)| _ = all.entry(guid).or_insert(message));
        ControlFlow::Continue(())
    });
    all
}

fn is_same(one: &Dir, other: &Dir) -> bool {
    one.id().is_some_and(|one| other.id() == Some(one))
}

/// The mail root that a mailbox's directory is in.
fn root_of(dir: &Dir) -> Option<Dir> {
    let top: [PathBuf; 1] = [dir.path().to_owned()];
    let mut root = None;
    walk(
        &top,
        Walk { bare: true, batch: 1, ..Walk::from(1) },
        |found| found.mail_root().cloned(),
        |result| {
            root = result.ok().flatten();
            ControlFlow::Break(())
        },
    );
    root
}
