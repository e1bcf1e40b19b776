//! D9: the mailbox list and the mailboxes (`mailbox-list-index-status.c`, `mailbox-list-index-backend.c`).

use super::{Code, Finding, Findings, Subject};
use crate::storage::{Listed, ListedMailbox};

pub(super) fn check(subject: &Subject<'_>, list: &Listed, found: &mut Findings) {
    for one in &list.mailboxes {
        if one.lacks_directory {
            let (name, directory) = (list.name(one), list.directory(one));
            let message = format!("mailbox {name} can be selected, but there is no {directory}");
            let does = "LIST names it, and SELECT says that it does not exist";
            found.add(Finding::new(Code::D9, subject.state_file(), message).uid(one.node.uid).does(does));
        }
        compare(subject, list, one, found);
    }
}

fn compare(subject: &Subject<'_>, list: &Listed, one: &ListedMailbox, found: &mut Findings) {
    let node = &one.node;
    let Some(own) = &one.own else { return };
    // A mailbox that was not opened since it was listed has no UIDVALIDITY there yet.
    if node.record.uid_validity == 0 {
        return;
    }
    let header = &own.header;
    if header.uid_validity != 0 && header.uid_validity != node.record.uid_validity {
        let message = format!(
            "mailbox {}: uid_validity is {}, its index has {}",
            list.name(one),
            node.record.uid_validity,
            header.uid_validity
        );
        found.add(Finding::new(Code::D9, subject.state_file(), message).uid(node.uid));
        return;
    }
    // Counts are refreshed when somebody asks; they must be right only while the list says that nothing has changed.
    let (Some(msgs), Some((size, mtime)), Some(log)) = (&node.msgs, node.index_sync, own.log) else { return };
    let fresh = size != 0 && u64::from(size) == log.size && i64::from(mtime) == log.mtime.0;
    if !fresh {
        return;
    }
    let messages = own.messages;
    let unseen = messages.saturating_sub(header.seen_messages_count);
    let want = (messages, unseen, header.next_uid);
    let have = (msgs.messages, msgs.unseen, msgs.uidnext);
    if want != have {
        let name = list.name(one);
        let message = format!(
            "mailbox {name}: messages, unseen, uidnext are {have:?}, its index has {want:?} and has not changed since"
        );
        found.add(Finding::new(Code::D9, subject.state_file(), message).uid(node.uid));
    }
}
