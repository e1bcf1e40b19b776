//! Storage that is gone, and indexes that are.

use std::path::Path;

use super::{Code, Finding, Findings, Severity, Subject, set_of};
use crate::format::record::flag;
use crate::storage::{Lost, Messages, Missing};

/// A storage that must be there and is not.
pub(super) fn check(
    subject: &Subject<'_>,
    missing: &Missing,
    found: &mut Findings,
    skip: &mut dyn FnMut(&'static str, &'static str),
) {
    let mailbox = subject.mailbox;
    // A message with the BACKEND bit is in the alternate storage.
    let away = |i: &usize| missing.what == Lost::MessageFiles && mailbox.flags(*i) & flag::BACKEND != 0;
    let count = mailbox.positions().filter(|i| !away(i)).count();
    if count == 0 {
        return skip("mail storage", "it is not there");
    }
    let finding = match missing.what {
        Lost::MessageFiles => {
            let message = format!("there is not one file u.N, and {count} messages in the index");
            Finding::new(Code::D6, &missing.path, message)
        }
        Lost::Map => {
            let message = format!("there is no map, and {count} messages refer to it");
            Finding::new(Code::D7, &missing.path, message).does(
                "closes the connection at the first FETCH of a body, logs \"map uidvalidity mismatch\" and rebuilds \
                 the storage: expunged mails come back",
            )
        }
        Lost::Maildir => {
            let message = format!("there is neither cur/ nor dovecot-uidlist, and {count} messages in the index");
            Finding::new(Code::D2, &missing.path, message).does("expunges all messages at the next sync")
        }
    };
    found.add(finding.advise("put the files back from a backup before Dovecot opens the mailbox"));
}

/// D17: there are messages and no index.
pub fn without_index(dir: &Path, messages: &Messages) -> Option<Finding> {
    if let Some(map) = messages.map.as_ref().filter(|map| map.is_complete()) {
        let rest = map.rest().len();
        let message = format!("{rest} mails of the map are in no mailbox, and this one has no index");
        let does = "opens an empty mailbox with a new UIDVALIDITY, without a word; the mails come back under new UIDs \
                    when the storage is rebuilt";
        return (rest > 0).then(|| Finding::new(Code::D17, dir, message).does(does));
    }
    let (uids, last) = (&messages.uids, messages.uids.last()?);
    let finding = Finding::new(Code::D17, dir, "").uid(*last);
    // A Maildir's own files keep UIDVALIDITY and flags; an sdbox has them in the index alone.
    Some(if messages.flags.is_some() {
        let message = format!("{} messages with UIDs ({}) and no index", uids.len(), set_of(uids));
        let does = "nothing; UIDs and flags are taken from the files, modseqs begin anew, clients transfer flags again";
        Finding { message, ..finding }.severity(Severity::Warning).does(does)
    } else {
        let message = format!("{} files u.N (UIDs {}) and no index: they are in no mailbox", uids.len(), set_of(uids));
        let does = "opens an empty mailbox with a new UIDVALIDITY, without a word; the files come back, without \
                    flags, when a delivery meets the first of them, or UIDs are given again before that";
        Finding { message, ..finding }.does(does)
    })
}
