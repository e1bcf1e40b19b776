//! From the files of a mailbox to its state: the way every verb begins that asks what a mailbox *is*.

use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::format::{DecodeError, Endian};
use crate::model::chain::{Replayed, Until};
use crate::model::{Chain, ChainFile, Lost, Mailbox};
use crate::source::{Role, Snapshot};

/// The log files of a snapshot as one history. A log that cannot be read at all is left out; `problems` says why.
pub fn chain<'s>(snapshot: &'s Snapshot, problems: &mut Vec<(Role, DecodeError)>) -> Chain<'s> {
    let mut files = Vec::new();
    // The present log first: of two files with the same number it is the one that counts.
    for role in [Role::Log, Role::OldLog] {
        let Some(input) = snapshot.get(role) else { continue };
        match LogFile::parse(&input.bytes, input.bytes.len() as u64) {
            Ok(log) => {
                problems.extend(log.problems.iter().map(|problem| (role, problem.clone())));
                files.push(ChainFile::new(log, &input.bytes));
            }
            Err(error) => problems.push((role, error)),
        }
    }
    Chain::new(files)
}

/// The state that an index file holds; `None` when there is no such file or it is no index.
pub fn base(snapshot: &Snapshot, role: Role, problems: &mut Vec<(Role, DecodeError)>) -> Option<Mailbox> {
    let input = snapshot.get(role)?;
    match IndexFile::parse(&input.bytes) {
        Ok(index) => {
            problems.extend(index.problems.iter().map(|problem| (role, problem.clone())));
            Some(Mailbox::load(&index))
        }
        Err(error) => {
            problems.push((role, error));
            None
        }
    }
}

/// The mailbox before the first record of a chain.
pub fn empty(chain: &Chain<'_>) -> Mailbox {
    let head = chain.head();
    let indexid = head.map_or(0, |file| file.log.header.indexid);
    let mut mailbox = Mailbox::empty(indexid, head.map_or(Endian::default(), |file| file.log.endian));
    if let Some(first) = chain.files.first().filter(|file| file.log.header.starts_empty()) {
        mailbox.header.log_file_seq = first.log.header.prev_file_seq.max(1);
    }
    mailbox
}

/// A mailbox's state and how it was come by.
#[derive(Debug)]
pub struct Loaded {
    /// The state at the end of the logs, or as far as could be read.
    pub replayed: Replayed,
    /// What is wrong with single files.
    pub problems: Vec<(Role, DecodeError)>,
    /// Set when the logs do not reach the index: the state is that of the index alone, or of nothing.
    pub lost: Option<Lost>,
}

impl Loaded {
    /// True when something is wrong that Dovecot would complain about.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty()
            || self.lost.is_some()
            || self.replayed.stopped.is_some()
            || !self.replayed.errors.is_empty()
    }
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
    for role in [Some(Role::Index), Some(Role::Backup), None] {
        let mailbox = match role {
            Some(Role::Backup) if until == Until::End && snapshot.get(Role::Index).is_some() => continue,
            Some(role) => match base(snapshot, role, &mut problems) {
                Some(mailbox) => mailbox,
                None => continue,
            },
            None if chain.complete_from().is_some() => empty(chain),
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
    // What the index holds by itself is still better than nothing.
    let mailbox =
        base(snapshot, Role::Index, &mut Vec::new()).or_else(|| base(snapshot, Role::Backup, &mut Vec::new()));
    let mailbox = mailbox.unwrap_or_else(|| empty(chain));
    let position = crate::model::LogPos {
        seq: mailbox.header.log_file_seq,
        offset: u64::from(mailbox.header.log_file_head_offset),
    };
    let log_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
    let replayed = Replayed { mailbox, position, log_modseq, errors: Vec::new(), ignored: Vec::new(), stopped: None };
    Ok(Loaded { replayed, problems, lost })
}

/// True when a base is not newer than what is wanted.
fn reaches(mailbox: &Mailbox, chain: &Chain<'_>, until: Until) -> bool {
    let from = crate::model::LogPos {
        seq: mailbox.header.log_file_seq,
        offset: u64::from(mailbox.header.log_file_head_offset),
    };
    match until {
        Until::End => true,
        Until::Pos(pos) => from <= pos,
        Until::Modseq(modseq) => chain
            .start(from.seq, from.offset)
            .is_ok_and(|start| chain.modseq_at(start.file, start.offset, mailbox.modseq_header()) <= modseq),
    }
}
