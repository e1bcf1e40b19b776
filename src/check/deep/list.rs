//! D9: the mailbox list and the mailboxes (`mailbox-list-index-status.c`, `mailbox-list-index-backend.c`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Code, Finding, Findings, Subject, load};
use crate::model::MailboxList;
use crate::model::list::{ListNode, list_flag};
use crate::source::place::{DBOX_MAILS, DOT_IMAP};
use crate::source::{Family, MailboxFiles, Role, Stat};

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let Some(list) = MailboxList::load(subject.mailbox) else { return };
    let in_imap = subject.dir.file_name().is_some_and(|name| name.as_bytes() == DOT_IMAP);
    let Some(root) = (if in_imap { subject.dir.parent() } else { Some(subject.dir) }) else { return };
    let by_guid = named_by_guid(root);
    for node in &list.nodes {
        if node.flags & (list_flag::NONEXISTENT | list_flag::NOSELECT) != 0 || node.record.uid_validity == 0 {
            continue;
        }
        let Some(levels) = list.levels(node) else { continue };
        let name = String::from_utf8_lossy(&levels.join(&b'/')).into_owned();
        let Some(files) = mailbox_files(root, &levels, &node.record.guid) else {
            if by_guid && !mailbox_dir(root, &node.record.guid).is_dir() {
                let message = format!("mailbox {name} has no directory {}", hex(&node.record.guid));
                found.add(Finding::new(Code::D9, subject.state_file(), message).uid(node.uid));
            }
            continue;
        };
        compare(subject, node, &name, &files, found);
    }
}

fn compare(subject: &Subject<'_>, node: &ListNode, name: &str, files: &MailboxFiles, found: &mut Findings) {
    let log = Stat::at(&files.path(Role::Log)).ok();
    let Some(mailbox) = load(files, subject.options.mmap) else { return };
    let header = &mailbox.header;
    if header.uid_validity != 0 && header.uid_validity != node.record.uid_validity {
        let message = format!(
            "mailbox {name}: uid_validity is {}, its index has {}",
            node.record.uid_validity, header.uid_validity
        );
        found.add(Finding::new(Code::D9, subject.state_file(), message).uid(node.uid));
        return;
    }
    // Counts are refreshed when somebody asks; they must be right only while the list says that nothing has changed.
    let (Some(msgs), Some((size, mtime)), Some(log)) = (&node.msgs, node.index_sync, log) else { return };
    let fresh = size != 0 && u64::from(size) == log.size && i64::from(mtime) == log.mtime.0;
    let unchanged = Stat::at(&files.path(Role::Log)).ok() == Some(log);
    if !fresh || !unchanged {
        return;
    }
    let messages = u32::try_from(mailbox.len()).unwrap_or(u32::MAX);
    let unseen = messages.saturating_sub(header.seen_messages_count);
    let want = (messages, unseen, header.next_uid);
    let have = (msgs.messages, msgs.unseen, msgs.uidnext);
    if want != have {
        let message = format!(
            "mailbox {name}: messages, unseen, uidnext are {have:?}, its index has {want:?} and has not changed since"
        );
        found.add(Finding::new(Code::D9, subject.state_file(), message).uid(node.uid));
    }
}

fn hex(guid: &[u8; 16]) -> String {
    guid.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mailbox_dir(root: &Path, guid: &[u8; 16]) -> PathBuf {
    root.join("mailboxes").join(hex(guid))
}

/// True when the directories of mailboxes are called by their GUIDs.
fn named_by_guid(root: &Path) -> bool {
    let names = super::names_in(&root.join("mailboxes")).unwrap_or_default();
    !names.is_empty() && names.iter().all(|name| crate::source::place::guid_of(name).is_some())
}

/// The index files of a mailbox, in whatever layout this root has.
fn mailbox_files(root: &Path, levels: &[&[u8]], guid: &[u8; 16]) -> Option<MailboxFiles> {
    let os = OsStr::from_bytes;
    let fs: PathBuf = levels.iter().map(|level| Path::new(os(level))).collect();
    let dotted = root.join(os(&[b".", levels.join(&b'.').as_slice()].concat()));
    let (parent, last) =
        (fs.parent().map(Path::to_owned).unwrap_or_default(), levels.last().copied().unwrap_or_default());
    let mut dirs = vec![mailbox_dir(root, guid), root.join("mailboxes").join(&fs), dotted, root.join(&fs)];
    dirs.push(root.join(parent).join(os(DOT_IMAP)).join(os(last)));
    if levels == [b"INBOX"] {
        dirs.push(root.to_owned());
    }
    let safe = levels.iter().all(|level| !matches!(*level, b"" | b"." | b"..") && !level.contains(&b'/'));
    dirs.iter().filter(|_| safe).flat_map(|dir| [dir.join(os(DBOX_MAILS)), dir.clone()]).find_map(|dir| {
        let files = MailboxFiles::at(dir.join(Family::Mailbox.prefix()));
        (files.path(Role::Log).is_file()).then_some(files)
    })
}
