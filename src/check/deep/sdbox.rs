//! D6: sdbox. Each message is a file `u.UID` beside the index (`sdbox-sync.c`, `sdbox-file.c`).

use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::record::flag;
use crate::storage::Sdbox;

pub(super) fn check(subject: &Subject<'_>, files: &Sdbox, found: &mut Findings) {
    let mailbox = subject.mailbox;
    let old = mailbox.extensions.iter().any(|ext| ext.name == b"dbox");
    if mailbox.extension(b"dbox-hdr").is_none() && !old {
        let message = "there are message files, but no dbox-hdr extension";
        found.add(Finding::new(Code::D6, subject.state_file(), message));
        return;
    }
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        // A message with the BACKEND bit is in the alternate storage.
        if mailbox.flags(i) & flag::BACKEND == 0 && files.uids.binary_search(&uid).is_err() {
            let message = format!("UID {uid} has no file u.{uid}");
            found.add(Finding::new(Code::D6, subject.state_file(), message).uid(uid));
        }
    }
    let is_stray = |uid: &&u32| **uid < mailbox.header.next_uid && mailbox.lookup(**uid).is_none();
    for uid in files.uids.iter().filter(is_stray).copied() {
        let message = "no message in the index: it takes up space, and a rebuild brings it back";
        let file = files.dir.join(format!("u.{uid}"));
        found.add(Finding::new(Code::D6, file, message).uid(uid).severity(Severity::Warning));
    }
}
