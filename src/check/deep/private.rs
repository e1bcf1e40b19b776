//! D10: a private index and the shared one (`index-sync-pvt.c`).

use super::{Code, Finding, Findings, Subject, uids};
use crate::model::Mailbox;

pub(super) fn check(subject: &Subject<'_>, shared: &Mailbox, found: &mut Findings) {
    let private = subject.mailbox;
    let (own, its) = (private.header.uid_validity, shared.header.uid_validity);
    if own != 0 && its != 0 && own != its {
        let message =
            format!("uid_validity is {own}, that of the shared index {its}: these flags are of another folder");
        let finding = Finding::new(Code::D10, subject.state_file(), message);
        return found.add(finding.does("resets the private index: no message is \\Seen any more"));
    }
    let Some(last) = uids(private).last() else { return };
    // Records of messages that others have expunged stay until this user's next session.
    for uid in uids(private).filter(|uid| *uid >= shared.header.next_uid) {
        let message = format!("UID {uid} was never in the shared index, whose next_uid is {}", shared.header.next_uid);
        found.add(Finding::new(Code::D10, subject.state_file(), message).uid(uid));
    }
    for uid in uids(shared).take_while(|uid| *uid < last).filter(|uid| private.lookup(*uid).is_none()) {
        let message = format!("UID {uid} of the shared index is missing, though later ones are here");
        found.add(Finding::new(Code::D10, subject.state_file(), message).uid(uid));
    }
}
