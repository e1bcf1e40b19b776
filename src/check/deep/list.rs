//! D9: the mailbox list and the mailboxes (`mailbox-list-index-status.c`, `mailbox-list-index-backend.c`).

use std::collections::HashMap;

use super::{Code, Finding, Findings, Subject};
use crate::storage::{Listed, ListedMailbox, Own, hex};

/// What was seen on 2.3.19.1 and 2.4.1.
const SAME_GUID: &str =
    "nothing; replication and everything else that knows mailboxes by their GUID takes one for the other";
const ONE_OF_TWO: &str =
    "one directory is a copy of the other: copy its mails to a mailbox that doveadm has made, and delete it";
const NO_INDEX: &str = "sdbox, mdbox: opens an empty mailbox with a new UIDVALIDITY; others take what the storage has";
const BRING_INDEX: &str =
    "put its dovecot.index and log back from a backup, or idx rebuild its directory where the storage has the messages";

pub(super) fn check(subject: &Subject<'_>, list: &Listed, found: &mut Findings) {
    let mut known: HashMap<[u8; 16], &ListedMailbox> = HashMap::new();
    let finding =
        |one: &ListedMailbox, message: String| Finding::new(Code::D9, subject.state_file(), message).uid(one.node.uid);
    for one in &list.mailboxes {
        if one.lacks_directory {
            let (name, directory) = (list.name(one), list.directory(one));
            let message = format!("mailbox {name} can be selected, but there is no {directory}");
            found.add(finding(one, message).does("LIST names it, and SELECT says that it does not exist"));
        }
        let messages = one.node.msgs.as_ref().map_or(0, |msgs| msgs.messages);
        if one.lacks_index && messages > 0 {
            let name = list.name(one);
            let message = format!("mailbox {name}: the list has seen {messages} messages in it, and there is no index");
            found.add(finding(one, message).does(NO_INDEX).advise(BRING_INDEX));
        }
        let Some(own) = &one.own else { continue };
        if let Some(message) = another(list, one, own) {
            found.add(finding(one, message));
            continue;
        }
        if let Some(message) = counts(list, one, own) {
            found.add(finding(one, message));
        }
        if let Some(guid) = own.guid
            && let Some(other) = known.insert(guid, one)
        {
            let (name, other) = (list.name(one), list.name(other));
            let message = format!("mailboxes {other} and {name} have the same GUID {}", hex(&guid));
            found.add(finding(one, message).does(SAME_GUID).advise(ONE_OF_TWO));
        }
    }
}

/// Why it is not the mailbox that the list means.
fn another(list: &Listed, one: &ListedMailbox, own: &Own) -> Option<String> {
    let record = &one.node.record;
    // A mailbox that was not opened since it was listed has no UIDVALIDITY there yet.
    if record.uid_validity == 0 {
        return None;
    }
    let uid_validity = own.header.uid_validity;
    if uid_validity != 0 && uid_validity != record.uid_validity {
        let name = list.name(one);
        return Some(format!("mailbox {name}: uid_validity is {}, its index has {uid_validity}", record.uid_validity));
    }
    let guid = own.guid.filter(|guid| record.guid != [0; 16] && *guid != record.guid)?;
    Some(format!("mailbox {}: GUID is {}, its index has {}", list.name(one), hex(&record.guid), hex(&guid)))
}

/// How the counts of the list differ. They are refreshed when somebody asks, and must be right only while the list says
/// that nothing has changed.
fn counts(list: &Listed, one: &ListedMailbox, own: &Own) -> Option<String> {
    let (msgs, (size, mtime), log) = (one.node.msgs.as_ref()?, one.node.index_sync?, own.log?);
    let fresh = size != 0 && u64::from(size) == log.size && i64::from(mtime) == log.mtime.0;
    if !fresh || one.node.record.uid_validity == 0 {
        return None;
    }
    let unseen = own.messages.saturating_sub(own.header.seen_messages_count);
    let want = (own.messages, unseen, own.header.next_uid);
    let have = (msgs.messages, msgs.unseen, msgs.uidnext);
    (want != have).then(|| {
        let name = list.name(one);
        format!(
            "mailbox {name}: messages, unseen, uidnext are {have:?}, its index has {want:?} and has not changed since"
        )
    })
}
