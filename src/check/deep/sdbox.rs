//! D6, D13: sdbox. Each message is a file `u.UID` beside the index (`sdbox-sync.c`, `sdbox-file.c`).

use super::{Code, Finding, Findings, Severity, Subject, set_of};
use crate::format::record::flag;
use crate::storage::Sdbox;

/// What does not harm when it is not asked for.
const KEEP: &str =
    "look at the file before it is removed; doveadm force-resync brings it back as a message without flags";

/// What the server does with a file that it has put aside.
pub(super) const BROKEN_STAYS: &str = "leaves it where it is, without a word";
/// What can be done about one.
pub(super) const LOOK_INTO: &str =
    "what is left of the mail can be read from the file; save it anew with doveadm save, then remove the file";

pub(super) fn check(
    subject: &Subject<'_>,
    files: &Sdbox,
    found: &mut Findings,
    skip: &mut dyn FnMut(&'static str, &'static str),
) {
    let mailbox = subject.mailbox;
    let next_uid = mailbox.header.next_uid;
    let path = |uid: u32| files.dir.join(format!("u.{uid}"));
    let ahead = files.uids.get(files.uids.partition_point(|uid| *uid < next_uid)..).unwrap_or_default();
    if let Some(first) = ahead.first() {
        let message = format!(
            "{} files u.N (UIDs {}) at or above next_uid {next_uid}: they are in no mailbox, and deliveries meet them",
            ahead.len(),
            set_of(ahead)
        );
        let does = "the delivery that gets such a UID fails (\"already exists\"), and the mailbox is rebuilt: the \
                    messages come back without flags and modseqs";
        found.add(Finding::new(Code::D6, path(*first), message).uid(*first).does(does));
    }
    if !subject.is_deep() {
        return;
    }
    let old = mailbox.extensions.iter().any(|ext| ext.name == b"dbox");
    if mailbox.extension(b"dbox-hdr").is_none() && !old && !mailbox.is_empty() {
        let message = "there are message files, but no dbox-hdr extension";
        found.add(Finding::new(Code::D6, subject.state_file(), message));
        return;
    }
    if files.alt_is_away.is_some() {
        skip("alternate storage", "dbox-alt-root leads to a directory that is not there");
    }
    for i in mailbox.positions() {
        let uid = mailbox.uid(i);
        // A message with the BACKEND bit is in the alternate storage, which may be elsewhere than the root says.
        if mailbox.flags(i) & flag::BACKEND == 0
            && files.alt_is_away.is_none()
            && files.uids.binary_search(&uid).is_err()
        {
            let message = format!("UID {uid} has no file u.{uid}");
            found.add(Finding::new(Code::D6, subject.state_file(), message).uid(uid));
        }
    }
    let is_stray = |uid: &&u32| **uid < next_uid && mailbox.lookup(**uid).is_none();
    for uid in files.uids.iter().filter(is_stray).copied() {
        let message = match subject.expunged(uid) {
            Some(at) => format!("the log says at {at} that it was expunged: it takes up space"),
            None => "no message in the index: it takes up space, and a rebuild brings it back".to_owned(),
        };
        let finding = Finding::new(Code::D6, path(uid), message).uid(uid).severity(Severity::Warning);
        found.add(finding.does("nothing; a rebuild of the mailbox brings it back").advise(KEEP));
    }
    for uid in files.broken.iter().copied() {
        let message = "the server has put this damaged file aside: its message is gone from the mailbox";
        let finding = Finding::new(Code::D6, files.dir.join(format!("u.{uid}.broken")), message).uid(uid);
        found.add(finding.severity(Severity::Warning).does(BROKEN_STAYS).advise(LOOK_INTO));
    }
    for (uid, flaw) in files.flaws.iter().filter(|(uid, _)| mailbox.lookup(*uid).is_some()) {
        found.add(Finding::new(Code::D13, path(*uid), flaw.to_string()).uid(*uid));
    }
}
