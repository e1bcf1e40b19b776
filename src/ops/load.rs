//! From the files of a mailbox to its state: the way every verb begins that asks what a mailbox *is*.

use crate::format::index::IndexFile;
use crate::format::log::{EndReason, LogFile};
use crate::format::{FileKind, Flaw, FlawKind};
use crate::model::chain::Unlinked;
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, ChainFile, LogPos, Lost, Mailbox};
use crate::source::{Role, Snapshot, Tail};

/// The log files of a snapshot as one history. A log that cannot be read at all is left out; the judge says why.
pub fn chain(snapshot: &Snapshot) -> Chain<'_> {
    let file = |role| {
        let input = snapshot.get(role)?;
        let log = LogFile::parse(&input.bytes, input.bytes.len() as u64).ok()?;
        Some(ChainFile::new(log, &input.bytes))
    };
    Chain::of(file(Role::Log), file(Role::OldLog))
}

/// The same, with what the file system tells of the end of `.log` at `now`, UNIX seconds: whether it is being written.
pub fn live_chain(snapshot: &Snapshot, now: i64) -> Chain<'_> {
    let mut chain = chain(snapshot);
    let is_unfinished = chain.head().is_some_and(|head| head.end.reason == EndReason::Partial);
    chain.live = snapshot.tail(Role::Log, is_unfinished, now) == Tail::BeingWritten;
    chain
}

/// The state that an index file holds; `None` when there is no such file or it is no index.
pub fn base(snapshot: &Snapshot, role: Role) -> Option<Mailbox> {
    IndexFile::parse(&snapshot.get(role)?.bytes).ok().map(|index| Mailbox::load(&index))
}

/// Why none of the files can be read: what is wrong with the first of them.
pub fn unreadable(snapshot: &Snapshot) -> Flaw {
    let mut errors = [Role::Log, Role::OldLog, Role::Index, Role::Backup].into_iter().filter_map(|role| {
        let bytes = &snapshot.get(role)?.bytes;
        match role.kind() {
            FileKind::Log => match LogFile::parse(bytes, bytes.len() as u64) {
                Ok(log) => log.problems.into_iter().next(),
                Err(error) => Some(error),
            },
            _ => match IndexFile::parse(bytes) {
                Ok(index) => index.problems.into_iter().next(),
                Err(error) => Some(error),
            },
        }
    });
    errors.next().unwrap_or_else(|| Flaw::new(FileKind::Log, 0, FlawKind::NoLog, "an index or a log", "neither"))
}

/// A mailbox's state and how it was come by.
#[derive(Debug)]
pub struct Loaded {
    /// The state at the end of the logs, or as far as could be read.
    pub replayed: Replayed,
    /// Set when the logs do not reach the index: the state is that of the index alone, or of nothing.
    pub lost: Option<Lost>,
    /// Number of the `.log.2` that the state does not rest on, and why.
    pub left_out: Option<(u32, Unlinked)>,
}

/// The state of a mailbox as Dovecot would present it: the index, if there is a usable one, with the logs replayed onto
/// it. `until` other than the end needs a base that is not newer: the index, else the backup, else nothing with a log
/// that starts from nothing.
///
/// # Errors
/// [`Lost`] when `until` is not the end and no base reaches it.
pub fn state(snapshot: &Snapshot, chain: &Chain<'_>, until: Until) -> Result<Loaded, Lost> {
    let mut lost = None;
    for role in [Some(Role::Index), Some(Role::Backup), None] {
        let mailbox = match role {
            Some(Role::Backup) if until == Until::End && snapshot.get(Role::Index).is_some() => continue,
            Some(role) => match base(snapshot, role) {
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
            Ok(replayed) => return Ok(Loaded { replayed, lost, left_out: chain.left_out }),
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
    let mailbox = base(snapshot, Role::Index).or_else(|| base(snapshot, Role::Backup));
    let mailbox = mailbox.unwrap_or_else(|| chain.empty_mailbox());
    let position = position_of(&mailbox);
    let log_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
    let replayed = Replayed { mailbox, position, log_modseq, errors: Vec::new(), ignored: Vec::new(), stopped: None };
    Ok(Loaded { replayed, lost, left_out: chain.left_out })
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
