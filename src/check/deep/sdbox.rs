//! D6: sdbox. Each message is a file `u.UID` beside the index (`sdbox-sync.c`, `sdbox-file.c`).

use std::collections::HashSet;

use super::storage::{counterparts, has_sdbox_files, sdbox_uid};
use super::{Code, Finding, Findings, Severity, Subject, names_in};
use crate::format::record::flag;

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let mailbox = subject.mailbox;
    let old = mailbox.extensions.iter().any(|ext| ext.name == b"dbox");
    if mailbox.extension(b"dbox-hdr").is_none() && !old {
        let message = "there are message files, but no dbox-hdr extension";
        found.add(Finding::new(Code::D6, subject.state_file(), message));
        return;
    }
    let dir = if has_sdbox_files(subject.dir) {
        subject.dir.to_owned()
    } else {
        match counterparts(subject.dir).into_iter().find(|dir| has_sdbox_files(dir)) {
            Some(dir) => dir,
            None => return,
        }
    };
    let Some(names) = names_in(&dir) else { return };
    let files: HashSet<u32> = names.iter().filter_map(|name| sdbox_uid(name)).collect();
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        // A message with the BACKEND bit is in the alternate storage.
        if mailbox.flags(i) & flag::BACKEND == 0 && !files.contains(&uid) {
            let message = format!("UID {uid} has no file u.{uid}");
            found.add(Finding::new(Code::D6, subject.state_file(), message).uid(uid));
        }
    }
    let mut stray: Vec<u32> =
        files.into_iter().filter(|uid| *uid < mailbox.header.next_uid && mailbox.lookup(*uid).is_none()).collect();
    stray.sort_unstable();
    for uid in stray {
        let message = "no message in the index: it takes up space, and a rebuild brings it back";
        let file = dir.join(format!("u.{uid}"));
        found.add(Finding::new(Code::D6, file, message).uid(uid).severity(Severity::Warning));
    }
}
