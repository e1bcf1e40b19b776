//! The indexes against what they index: message files, control files, the mdbox map, the mailbox list, other users'
//! flags.
//!
//! Only what cannot be the normal lag between a storage and its index is a finding: new mail that no session has seen,
//! mail that another program deleted, or counts that Dovecot refreshes on demand are not. Where a mailbox's messages
//! are not there at all (a copy of the indexes, a storage that cannot be found), nothing is said about them. Pure: what
//! the storage says comes in as [`Witnesses`].

mod list;
mod maildir;
mod mdbox;
mod private;
mod sdbox;

use std::path::{Path, PathBuf};

use super::{Code, Finding, Findings, Severity};
use crate::model::Mailbox;
use crate::source::{MailboxFiles, Role};
use crate::storage::{Witness, Witnesses};

/// Judges a mailbox against its storage. The index files themselves must be sound; what is wrong with them is the
/// business of the rules for them.
pub fn judge(files: &MailboxFiles, seen: &Witnesses) -> Vec<Finding> {
    let mut found = Findings::default();
    owner(files, seen, &mut found);
    let state_file = files.path(if seen.has_index { Role::Index } else { Role::Log });
    let subject = Subject { mailbox: &seen.mailbox, state_file };
    match &seen.storage {
        Witness::Absent(_) => {}
        Witness::Maildir(maildir) => maildir::check(&subject, maildir, &mut found),
        Witness::Sdbox(sdbox) => sdbox::check(&subject, sdbox, &mut found),
        Witness::Map(map) => mdbox::check(&subject, map, &mut found),
        Witness::MapFiles(files) => mdbox::check_map(&subject, files, &mut found),
        Witness::List(list) => list::check(&subject, list, &mut found),
        Witness::Shared(shared) => private::check(&subject, shared, &mut found),
    }
    found.finish()
}

/// A mailbox to judge.
struct Subject<'a> {
    mailbox: &'a Mailbox,
    /// The file that a finding about the state is in: the index, or the log where there is no index yet.
    state_file: PathBuf,
}

impl Subject<'_> {
    fn state_file(&self) -> &Path {
        &self.state_file
    }
}

/// D12: whoever owns the directory can read and write the index files.
fn owner(files: &MailboxFiles, seen: &Witnesses, found: &mut Findings) {
    let Some(dir) = seen.directory.filter(|dir| dir.uid != 0) else { return };
    for (role, file) in seen.files.iter().filter(|(_, file)| file.special.is_none()) {
        let can = |bits: u32| file.mode & bits == bits;
        let usable = (file.uid == dir.uid && can(0o600)) || (file.gid == dir.gid && can(0o060)) || can(0o006);
        if !usable {
            let message = format!(
                "belongs to {}:{} with mode {:04o}, but the mailbox to {}:{}",
                file.uid, file.gid, file.mode, dir.uid, dir.gid
            );
            // Another owner may be meant; root never is.
            let severity = if file.uid == 0 { Severity::Error } else { Severity::Warning };
            found.add(Finding::new(Code::D12, files.path(*role), message).severity(severity));
        }
    }
}

/// The UIDs of a mailbox, in order.
fn uids(mailbox: &Mailbox) -> impl Iterator<Item = u32> + '_ {
    mailbox.positions().map(|i| mailbox.uid(i))
}
