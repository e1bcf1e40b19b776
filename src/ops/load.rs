//! From the files of a mailbox to its state: the way every verb begins that asks what a mailbox *is*.

use std::io;
use std::path::PathBuf;

use crate::format::ext::Visit;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::log::{EndReason, LogFile};
use crate::format::{Disk, FileKind, Flaw, FlawKind};
use crate::model::chain::Unlinked;
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, ChainFile, LogPos, Lost, Mailbox};
use crate::render::document::{Document, Part};
use crate::source::{MailboxFiles, Role, Snapshot, TailState, tail_state};

/// The log files of a snapshot as one history. A log that cannot be read at all is left out; `problems` says why.
pub fn chain<'s>(snapshot: &'s Snapshot, problems: &mut Vec<(Role, Flaw)>) -> Chain<'s> {
    let mut file = |role| {
        let input = snapshot.get(role)?;
        match LogFile::parse(&input.bytes, input.bytes.len() as u64) {
            Ok(log) => {
                problems.extend(log.problems.iter().map(|problem| (role, problem.clone())));
                Some(ChainFile::new(log, &input.bytes))
            }
            Err(error) => {
                problems.push((role, error));
                None
            }
        }
    };
    let log = file(Role::Log);
    Chain::of(log, file(Role::OldLog))
}

/// The same, with what the file system tells of the end of `.log`: whether it is being written.
pub fn live_chain<'s>(files: &MailboxFiles, snapshot: &'s Snapshot, problems: &mut Vec<(Role, Flaw)>) -> Chain<'s> {
    let mut chain = chain(snapshot, problems);
    let unfinished = chain.head().is_some_and(|head| head.end.reason == EndReason::Partial);
    chain.live = unfinished
        && snapshot.get(Role::Log).is_some_and(|input| {
            tail_state(&files.path(Role::Log), &input.stat).is_ok_and(|state| state == TailState::BeingWritten)
        });
    chain
}

/// Where the logs do not decode from their headers to their ends.
pub fn decode_problems(snapshot: &Snapshot, chain: &Chain<'_>) -> Vec<(Role, Flaw)> {
    let newest = chain.files.len().saturating_sub(1);
    let mut problems = Vec::new();
    for (i, file) in chain.files.iter().enumerate() {
        let role = match i == newest && snapshot.get(Role::Log).is_some() {
            true => Role::Log,
            false => Role::OldLog,
        };
        problems.extend(file.fatal.iter().map(|(_, error)| (role, error.clone())));
        let live = i == newest && chain.live;
        problems.extend(file.end.error.iter().filter(|_| !live).map(|error| (role, error.clone())));
    }
    problems
}

/// Writes what is wrong, if anything is.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_problems<D: Document>(out: &mut D, problems: &[(PathBuf, String)]) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    if problems.is_empty() {
        return Ok(());
    }
    out.list("problems", |_, part| {
        for (file, message) in problems {
            part.item(|emit| {
                emit.text("file", file.as_os_str().as_bytes());
                emit.text("message", message.as_bytes());
            });
        }
        Ok(())
    })
}

/// The state that an index file holds; `None` when there is no such file or it is no index.
pub fn base(snapshot: &Snapshot, role: Role, problems: &mut Vec<(Role, Flaw)>) -> Option<Mailbox> {
    let input = snapshot.get(role)?;
    match IndexFile::parse(&input.bytes) {
        Ok(index) => {
            problems.extend(index.problems.iter().cloned().chain(open_problems(&index)).map(|problem| (role, problem)));
            Some(Mailbox::load(&index))
        }
        Err(error) => {
            problems.push((role, error));
            None
        }
    }
}

/// What keeps Dovecot from using an index as it is (`mail_index_map_check_header`), and UIDs out of order, which it notices
/// only when lookups go wrong.
fn open_problems(index: &IndexFile<'_>) -> Vec<Flaw> {
    let header = &index.header;
    let mut list = Vec::new();
    let mut rule = |holds: bool, field: &'static str, need: String, have: u32| {
        let at = IndexHeader::FIELDS.iter().find(|known| known.name == field).map_or(0, |known| known.offset);
        if !holds {
            list.push(Flaw::new(FileKind::Index, at as u64, FlawKind::HeaderField(field), need, have.to_string()));
        }
    };
    let (next, count) = (header.next_uid, header.messages_count);
    rule(header.uid_validity != 0 || next == 1, "uid_validity", "not 0 once there were messages".into(), 0);
    rule(next != 0, "next_uid", "1 or more".into(), next);
    for (field, have) in
        [("seen_messages_count", header.seen_messages_count), ("deleted_messages_count", header.deleted_messages_count)]
    {
        rule(have <= count, field, format!("at most messages_count {count}"), have);
    }
    for (field, have) in [
        ("first_recent_uid", header.first_recent_uid),
        ("first_unseen_uid_lowwater", header.first_unseen_uid_lowwater),
        ("first_deleted_uid_lowwater", header.first_deleted_uid_lowwater),
    ] {
        rule(have <= next, field, format!("at most next_uid {next}"), have);
    }
    let mut last = 0;
    for i in 0..index.count() {
        let uid = index.uid(i).unwrap_or(0);
        if uid <= last || uid >= next {
            list.push(Flaw::new(
                FileKind::Index,
                (index.records_at + i * index.record_size) as u64,
                FlawKind::UidOrder(i + 1),
                format!("more than {last} and less than next_uid {next}"),
                uid.to_string(),
            ));
            // One is enough: after it the order means nothing.
            break;
        }
        last = uid;
    }
    list
}

/// Contradictions between the files of a mailbox.
fn link_problems(snapshot: &Snapshot, chain: &Chain<'_>, problems: &mut Vec<(Role, Flaw)>) {
    // A log that starts anew leaves the one before it where it is; any other `.log.2` that is left out is one too many.
    match chain.left_out {
        None | Some((_, Unlinked::Reset { .. })) => {}
        Some((_, Unlinked::Foreign { have, want, .. })) => {
            let need = format!("{want}, as in .log; it is left out");
            problems.push((
                Role::OldLog,
                Flaw::new(FileKind::Log, 4, FlawKind::HeaderField("indexid"), need, have.to_string()),
            ));
        }
        Some((seq, _)) if seq < chain.end().seq => {}
        Some((seq, _)) => {
            let need = format!("less than the {} of .log; it is left out", chain.end().seq);
            problems.push((
                Role::OldLog,
                Flaw::new(FileKind::Log, 8, FlawKind::HeaderField("file_seq"), need, seq.to_string()),
            ));
        }
    }
    let Some(index) = snapshot.get(Role::Index).and_then(|input| IndexFile::parse(&input.bytes).ok()) else { return };
    if let Some(head) = chain.head() {
        let (need, have) = (head.log.header.indexid, index.header.indexid);
        if need != have && need != 0 {
            let need = format!("{need}, as in the log");
            problems.push((
                Role::Index,
                Flaw::new(FileKind::Index, 16, FlawKind::HeaderField("indexid"), need, have.to_string()),
            ));
        }
    }
}

/// A mailbox's state and how it was come by.
#[derive(Debug)]
pub struct Loaded {
    /// The state at the end of the logs, or as far as could be read.
    pub replayed: Replayed,
    /// What is wrong with single files.
    pub problems: Vec<(Role, Flaw)>,
    /// Set when the logs do not reach the index: the state is that of the index alone, or of nothing.
    pub lost: Option<Lost>,
}

/// The state of a mailbox as Dovecot would present it: the index, if there is a usable one, with the logs replayed onto it.
/// `until` other than the end needs a base that is not newer: the index, else the backup, else nothing with a log that starts
/// from nothing.
///
/// # Errors
/// [`Lost`] when `until` is not the end and no base reaches it.
pub fn state(snapshot: &Snapshot, chain: &Chain<'_>, until: Until) -> Result<Loaded, Lost> {
    let mut problems = Vec::new();
    let mut lost = None;
    link_problems(snapshot, chain, &mut problems);
    for role in [Some(Role::Index), Some(Role::Backup), None] {
        let mailbox = match role {
            Some(Role::Backup) if until == Until::End && snapshot.get(Role::Index).is_some() => continue,
            Some(role) => match base(snapshot, role, &mut problems) {
                Some(mailbox) => mailbox,
                None => continue,
            },
            None if chain.complete_from().is_some() => chain.empty_mailbox(),
            None => continue,
        };
        if !reaches(&mailbox, chain, until) {
            continue;
        }
        match chain.replay(mailbox, until) {
            Ok(replayed) => return Ok(Loaded { replayed, problems, lost }),
            Err(error) => {
                lost.get_or_insert(error);
            }
        }
    }
    if until != Until::End {
        let oldest = chain.files.first().map_or_else(
            || "there is no log".to_owned(),
            |file| {
                let seq = file.seq();
                format!("the logs reach back to {seq}:{} and no older state is stored", file.log.records_at)
            },
        );
        return Err(Lost { seq: 0, offset: 0, reason: oldest });
    }
    if lost.is_none()
        && let Some(first) = chain.files.first()
    {
        let (seq, offset) = (first.seq(), first.log.records_at);
        let reason = "there is no usable index, and the logs do not begin with an empty mailbox".to_owned();
        lost = Some(Lost { seq, offset, reason });
    }
    // What the index holds by itself is still better than nothing.
    let mailbox =
        base(snapshot, Role::Index, &mut Vec::new()).or_else(|| base(snapshot, Role::Backup, &mut Vec::new()));
    let mailbox = mailbox.unwrap_or_else(|| chain.empty_mailbox());
    let position = position_of(&mailbox);
    let log_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
    let replayed = Replayed { mailbox, position, log_modseq, errors: Vec::new(), ignored: Vec::new(), stopped: None };
    Ok(Loaded { replayed, problems, lost })
}

/// The position up to which an index holds the logs.
fn position_of(mailbox: &Mailbox) -> LogPos {
    LogPos { seq: mailbox.header.log_file_seq, offset: u64::from(mailbox.header.log_file_head_offset) }
}

/// True when a base is not newer than what is wanted.
fn reaches(mailbox: &Mailbox, chain: &Chain<'_>, until: Until) -> bool {
    let from = position_of(mailbox);
    match until {
        Until::End => true,
        Until::Pos(pos) => from <= pos,
        Until::Modseq(modseq) => chain
            .start(from.seq, from.offset)
            .is_ok_and(|start| chain.modseq_at(start.file, start.offset, mailbox.modseq_header()) <= modseq),
    }
}
