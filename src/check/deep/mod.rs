//! The indexes against what they index: message files, control files, the mdbox map, the mailbox list, other users'
//! flags.
//!
//! Only what cannot be the normal lag between a storage and its index is a finding above an info: new mail that no
//! session has seen, mail that another program deleted, or counts that Dovecot refreshes on demand are not. Where a
//! mailbox's messages may be elsewhere (a copy of the indexes, a storage that cannot be found), it says what was not
//! compared. Pure: what the storage says comes in as [`Witnesses`].

mod list;
mod maildir;
mod mbox;
mod mdbox;
mod missing;
mod private;
mod sdbox;

use std::path::{Path, PathBuf};

use super::{Code, Finding, Findings, Remedy, Severity};
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::log::LogFile;
use crate::model::{LogPos, Mailbox, UidSet};
use crate::source::{Family, MailboxFiles, Role, Snapshot};
use crate::storage::{Depth, Witness, Witnesses};

pub use missing::without_index;

/// UIDs that are looked at to name them.
const MOST_LACKING: usize = 1000;

/// A comparison that was asked for and could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCompared {
    /// What was not compared.
    pub what: &'static str,
    /// Why.
    pub why: &'static str,
}

/// What a look at a storage brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be compared.
    pub not_compared: Vec<NotCompared>,
}

/// Judges a mailbox against its storage. The index files themselves must be sound; what is wrong with them is the
/// business of the rules for them.
pub fn judge(files: &MailboxFiles, seen: &Witnesses<'_>) -> Verdict {
    let mut found = Findings::default();
    let mut not_compared = Vec::new();
    let mut skip = |what, why| not_compared.push(NotCompared { what, why });
    let state_file = files.path(if seen.has_index() { Role::Index } else { Role::Log });
    let subject = Subject { mailbox: &seen.mailbox, seen, state_file };
    match &seen.storage {
        Witness::Absent(why) => skip("mail storage", why),
        // A copy of the indexes alone is as sound as they are.
        Witness::Missing(_) if !subject.is_deep() => skip("mail storage", "it is not there"),
        Witness::Missing(lost) => missing::check(&subject, lost, &mut found, &mut skip),
        Witness::Maildir(maildir) => maildir::check(&subject, maildir, &mut found, &mut skip),
        Witness::Sdbox(sdbox) => sdbox::check(&subject, sdbox, &mut found, &mut skip),
        Witness::Map(map) => mdbox::check(&subject, map, &mut found),
        Witness::MapFiles(files) => mdbox::check_map(&subject, files, &mut found, &mut skip),
        Witness::Mbox(mbox) => mbox::check(&subject, mbox, &mut found, &mut skip),
        Witness::List(list) => list::check(&subject, list, &mut found),
        Witness::Shared(shared) => private::check(&subject, shared, &mut found),
    }
    against_list(files, &subject, &mut found);
    if files.family() == Family::Mailbox && subject.is_deep() {
        begun_anew(files, &subject, &mut found);
    }
    Verdict { findings: found.finish(), not_compared }
}

/// A mailbox to judge.
struct Subject<'a> {
    mailbox: &'a Mailbox,
    seen: &'a Witnesses<'a>,
    /// The file that a finding about the state is in: the index, or the log where there is no index yet.
    state_file: PathBuf,
}

impl Subject<'_> {
    fn state_file(&self) -> &Path {
        &self.state_file
    }

    /// True when all of the storage is looked at, not only the UIDs in it.
    fn is_deep(&self) -> bool {
        self.seen.depth == Depth::All
    }

    /// The UIDs whose changes a client has asked for and that still have to be written to the storage: requests behind
    /// the tail of the logs (`mail_index_sync_begin`).
    fn waiting(&self) -> UidSet {
        let header = &self.mailbox.header;
        let tail = LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_tail_offset) };
        let mut waiting = UidSet::new();
        for bytes in [Role::OldLog, Role::Log].into_iter().filter_map(|role| Some(&self.seen.snapshot.get(role)?.bytes))
        {
            let Ok(log) = LogFile::parse(bytes, bytes.len() as u64) else { continue };
            let seq = log.header.file_seq;
            let is_behind = |at: u64| LogPos { seq, offset: at } >= tail;
            for record in log.records(bytes).filter(|record| record.is_request() && is_behind(record.offset)) {
                record.changes(None).for_each(|change| waiting.insert_range(change.uid1, change.uid2));
            }
        }
        waiting
    }

    /// Where the logs say that a message was expunged, or that a client wants it to be.
    fn expunged(&self, uid: u32) -> Option<LogPos> {
        [Role::OldLog, Role::Log].into_iter().find_map(|role| expunged_in(self.seen.snapshot, role, uid))
    }
}

fn expunged_in(snapshot: &Snapshot, role: Role, uid: u32) -> Option<LogPos> {
    use crate::format::changes::Effect;
    let bytes = &snapshot.get(role)?.bytes;
    let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
    let is_it = |record: &crate::format::record::Record<'_>| {
        record
            .changes(None)
            .any(|change| matches!(change.effect, Effect::Expunge { .. }) && (change.uid1..=change.uid2).contains(&uid))
    };
    let record = log.records(bytes).find(is_it)?;
    Some(LogPos { seq: log.header.file_seq, offset: record.offset })
}

/// D14, D18: what the mailbox list has seen of this mailbox. It is never ahead of it.
fn against_list(files: &MailboxFiles, subject: &Subject<'_>, found: &mut Findings) {
    let Some(listed) = &subject.seen.in_list else { return };
    let (header, highest) = (&subject.mailbox.header, subject.seen.highest_modseq);
    let (own, list) = (header.uid_validity, listed.list.display());
    if listed.uid_validity != own {
        let backup = subject.seen.snapshot.get(Role::Backup).and_then(|input| IndexFile::parse(&input.bytes).ok());
        let backup = backup.filter(|backup| backup.header.uid_validity == listed.uid_validity);
        let seconds = backup.is_some_and(|backup| backup.header.indexid == subject.mailbox.header.indexid);
        let (who, severity) = match seconds {
            true => (format!("{} and {list} have", files.path(Role::Backup).display()), Severity::Error),
            // A mailbox that was emptied and begun anew, which the list has not noticed yet.
            false => (format!("{list} has"), Severity::Warning),
        };
        let message = format!("uid_validity is {own}, but {who} {}", listed.uid_validity);
        return found.add(Finding::new(Code::D14, subject.state_file(), message).at(24).severity(severity));
    }
    if listed.next_uid > header.next_uid {
        let message = format!("next_uid is {}, but {list} has seen {}", header.next_uid, listed.next_uid);
        found.add(Finding::new(Code::D18, subject.state_file(), message).at(28));
    } else if listed.highest_modseq > highest {
        let message = format!("HIGHESTMODSEQ is {highest}, but {list} has seen {}", listed.highest_modseq);
        let does = "counts on from there: clients that know the higher one miss changes until it is reached again";
        let finding = Finding::new(Code::D18, subject.state_file(), message);
        found.add(finding.severity(Severity::Warning).does(does));
    }
}

/// D19: a log that begins from nothing, and whose first messages have UIDs between which others had come and gone: the
/// index was made from a storage that was older, and what the logs before it said is lost.
fn begun_anew(files: &MailboxFiles, subject: &Subject<'_>, found: &mut Findings) {
    let bytes = |role: Role| subject.seen.snapshot.get(role).map(|input| &input.bytes);
    let begin = [Role::OldLog, Role::Log].into_iter().find_map(|role| {
        let bytes = bytes(role)?;
        let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
        (log.header.starts_empty() && log.header.initial_modseq <= 1).then_some((role, log, bytes))
    });
    let Some((role, log, bytes)) = begin else { return };
    // A .log.2 of an earlier life says nothing of this one.
    if role == Role::OldLog && subject.mailbox.header.indexid != log.header.indexid {
        return;
    }
    let mut given = 1;
    for record in log.records(bytes) {
        given = record.sets(IndexHeader::next_uid).fold(given, u32::max);
        let Some(first) = record.appended().next() else { continue };
        // A copy that dsync made has the gaps of its source, and its modseqs.
        if record.sync() {
            return;
        }
        let mut lacking = UidSet::new();
        let mut next = given.min(first);
        for uid in record.appended() {
            lacking.insert_range(next, uid.saturating_sub(1));
            next = uid.saturating_add(1);
        }
        if !lacking.is_empty() {
            let uids: Vec<u32> = lacking.iter().take(MOST_LACKING).collect();
            let message = format!(
                "begins with messages between which others (UIDs {}) had come and gone: index and log were made anew \
                 from the mail storage",
                set_of(&uids)
            );
            found.add(Finding::new(Code::D19, files.path(role), message).at(record.offset));
        }
        return;
    }
}

/// The UIDs of a mailbox, in order.
fn uids(mailbox: &Mailbox) -> impl Iterator<Item = u32> + '_ {
    mailbox.positions().map(|i| mailbox.uid(i))
}

/// Some UIDs as IMAP writes a set of them, cut where it gets long.
fn set_of(uids: &[u32]) -> String {
    const MOST: usize = 60;
    let mut set = UidSet::new();
    uids.iter().for_each(|uid| set.insert(*uid));
    let mut text = set.to_string();
    if let Some(comma) = text.get(..MOST).and_then(|start| start.rfind(',')) {
        text.truncate(comma);
        text.push_str(",..");
    }
    text
}
