//! D15: the file of an mbox (`mbox-sync.c`). Its messages are not compared one by one: it is read when it has changed,
//! and wins then.

use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::Disk;
use crate::format::ext::MboxHeader;
use crate::storage::Mbox;

pub(super) fn check(
    subject: &Subject<'_>,
    mbox: &Mbox,
    found: &mut Findings,
    skip: &mut dyn FnMut(&'static str, &'static str),
) {
    let header = &subject.mailbox.header;
    let Some(stat) = &mbox.stat else {
        if !subject.mailbox.is_empty() {
            let message =
                format!("the mbox file is not there, and {} messages are in the index", subject.mailbox.len());
            let does = "refuses to open the mailbox: SELECT and deliveries fail";
            found.add(Finding::new(Code::D15, &mbox.path, message).severity(Severity::Error).does(does));
        }
        return;
    };
    skip("messages in the mbox file", "mbox files are not read beyond the headers of their first message");
    // An emptied file has neither.
    let (uid_validity, last) = mbox.base.unwrap_or_default();
    if uid_validity != 0 && header.uid_validity != 0 && uid_validity != header.uid_validity {
        let message =
            format!("X-IMAPbase has UIDVALIDITY {uid_validity}, the index {}: it will be reset", header.uid_validity);
        let does = "logs \"UIDVALIDITY changed\", ends once with a panic, and resets the index";
        found.add(Finding::new(Code::D15, &mbox.path, message).severity(Severity::Error).does(does));
        return;
    }
    let ext = subject.mailbox.extension(b"mbox").filter(|ext| ext.header().len() >= MboxHeader::SIZE);
    let Some(known) = ext.map(|ext| MboxHeader::read(ext.header(), subject.mailbox.endian)) else { return };
    let same = known.sync_size == stat.size && i64::from(known.sync_mtime) == stat.mtime.0;
    if !same && known.sync_size > stat.size && last.saturating_add(1) < header.next_uid {
        let message = format!(
            "the mbox file has {} bytes and last UID {last}; the index was made from {} bytes, and next_uid is {}: it \
             may be an older copy",
            stat.size, known.sync_size, header.next_uid
        );
        let does = "takes the messages of the file: those that it lacks are expunged, others get new UIDs";
        found.add(Finding::new(Code::D15, &mbox.path, message).severity(Severity::Error).does(does));
    } else if !same && known.sync_size > stat.size {
        // A mail program may have taken messages out.
        let message = format!(
            "the mbox file has {} bytes, and had {} when the index was made: messages may be missing from it",
            stat.size, known.sync_size
        );
        let does = "expunges the messages that the file lacks; a session that reads them may log \"Message body offset \
                    lookup failed\"";
        found.add(Finding::new(Code::D15, &mbox.path, message).does(does));
    }
}
