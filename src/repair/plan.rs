//! What a rebuild would do, and why: a pure function of the bytes that survive.
//!
//! Three things can tell the state of a mailbox: logs that start from nothing, the main index, and its backup, each
//! followed by the logs after it. The first that loses nothing is taken. Then the log is looked at: a torn end is cut,
//! a log that Dovecot would throw away becomes a rotation. A cache of another mailbox goes. The result is decoded and
//! checked again.

use std::fmt;

use serde::Serialize;

use super::base::{from_storage, identity, keep_guid, told_validity};
use super::candidates::{Candidate, follow, full_replay};
use super::choose::{choose, compare_with_logs, no_base, settle_reset};
use super::heal::fill::{fill, hints};
use super::heal::index::mend;
use super::heal::own::Foreign;
use super::heal::records::heal;
use super::heal::tail::cut;
use super::loss::{Grade, Loss};
use super::mails::hold_mails;
use super::order::{Logs, has_undeleted, sort_logs, vote};
use super::steps::{Step, finish};
use super::storage::{Storage, hold, name_flags, skip_lost_uids};
use super::verify::{Demands, Unchanged, judge};
use crate::format::index::IndexFile;
use crate::model::UidSet;
use crate::source::{Family, MailboxFiles, Role};

/// Where a state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The main index and the logs after it
    Index,
    /// dovecot.index.backup and the logs after it
    Backup,
    /// Logs that start from an empty mailbox
    Log,
    /// The mail storage, and what logs tell of its messages
    Storage,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Index => "index",
            Base::Backup => "backup",
            Base::Log => "log",
            Base::Storage => "storage",
        })
    }
}

/// The bytes of a mailbox's files.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a> {
    /// `dovecot.index`.
    pub index: Option<&'a [u8]>,
    /// `dovecot.index.backup`.
    pub backup: Option<&'a [u8]>,
    /// `dovecot.index.log.2`, unless it is the same file as the log.
    pub old_log: Option<&'a [u8]>,
    /// `dovecot.index.log`.
    pub log: Option<&'a [u8]>,
    /// `dovecot.index.cache`.
    pub cache: Option<&'a [u8]>,
    /// What the mail storage tells.
    pub storage: Option<Storage>,
    /// UNIX time, for the header of a new log.
    pub now: u32,
    /// Take only this base.
    pub base: Option<Base>,
}

/// How well the messages of the result are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// All messages.
    pub total: u64,
    /// Every bit follows from log records.
    pub proven: u64,
    /// Taken over from a sound index or backup.
    pub carried: u64,
    /// Taken from a damaged file.
    pub salvaged: u64,
}

/// What stays as it is, so that no client has to synchronise anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Ties index, log and cache.
    pub indexid: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub next_uid: u32,
    /// HIGHESTMODSEQ.
    pub highest_modseq: u64,
    /// By how much that was raised because log records are lost; 0 otherwise.
    pub highest_modseq_raised_by: u64,
    /// Keyword names in the order of their bits.
    pub keywords: Vec<String>,
    /// Extensions in the order of their numbers.
    pub extensions: Vec<String>,
    /// The byte order of the result: a Dovecot on a host of the other one throws it away.
    pub byte_order: String,
    /// Messages whose data in the cache stays linked.
    pub cache_links: u64,
}

/// A plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What the state is based on; `None` when there is no state.
    pub base: Option<Base>,
    /// The changes, each with its reason.
    pub steps: Vec<(Step, String)>,
    /// How well the messages are known.
    pub messages: Messages,
    /// What is lost with these changes.
    pub lost: Vec<Loss>,
    /// What is kept.
    pub kept: Option<Kept>,
    /// Why it must not be done whatever is accepted.
    pub refusal: Option<String>,
    /// The index at the end of the logs, whether it is to be written or not.
    pub index: Vec<u8>,
    /// Mails of a map whose metadata this rests on, and that were not read.
    pub asks: UidSet,
}

impl<'a> Inputs<'a> {
    /// The bytes of the file with that role.
    pub fn bytes(&self, role: Role) -> Option<&'a [u8]> {
        match role {
            Role::Index => self.index,
            Role::Backup => self.backup,
            Role::OldLog => self.old_log,
            Role::Log => self.log,
            Role::Cache => self.cache,
        }
    }
}

/// What a list of mailboxes is that nothing tells any more (`mailbox-list-index.c`, `mailbox-list-index-backend.c`).
const NO_LIST: &str = ". Where directories are called as their mailboxes are, the list is but a copy: remove \
                       dovecot.list.index*, and the server writes it anew. With layout=index the names are in it \
                       alone, besides those that indexes keep (box-name): get it from a backup";

/// How often the judge is asked.
const ROUNDS: usize = 8;

/// Makes the plan: one after the other, until the judge of `check` finds nothing in the result that a rebuild could
/// mend. What the judge does find is what the next plan has to mend. `files` are the names for the findings; nothing is
/// read.
pub fn plan(files: &MailboxFiles, inputs: &Inputs<'_>) -> Plan {
    let mut demands = Demands::default();
    let mut unchanged = Unchanged::default();
    let mut last = None;
    for round in 0..ROUNDS {
        let mut plan = attempt(inputs, &demands);
        if let Some(why) = &mut plan.refusal {
            if plan.base.is_none() && files.own_family() == Some(Family::List) {
                why.push_str(NO_LIST);
            }
            return plan;
        }
        let found = judge(files, inputs, &plan, &mut unchanged);
        let Some(first) = found.first() else { return plan };
        plan.refusal = Some(format!("the result does not hold: {}: {}", first.code, first.message));
        last = Some(plan);
        demands.learn(files, &found, round);
    }
    last.unwrap_or_default()
}

/// One plan.
fn attempt(inputs: &Inputs<'_>, demands: &Demands) -> Plan {
    let foreign = Foreign::find(inputs);
    let inputs = &foreign.without(inputs);
    let index_view = inputs.index.and_then(|bytes| IndexFile::parse(bytes).ok());
    let indexid = vote(inputs, &foreign, index_view.as_ref());
    let mut logs = sort_logs(inputs, &foreign, index_view.as_ref(), indexid);
    heal(&mut logs, inputs, index_view.as_ref());
    let cut_off = cut(&mut logs, inputs, index_view.as_ref());
    let logs = logs;
    if logs.files.iter().rfind(|log| log.deleted || has_undeleted(log)).is_some_and(|log| log.deleted) {
        let refusal = "the last index-deleted record says that this mailbox is being deleted";
        return Plan { refusal: Some(refusal.into()), ..Plan::default() };
    }
    let hints = hints(inputs, &logs, indexid);
    let index = inputs.index.and_then(|bytes| mend(bytes, &hints));
    let mut full = full_replay(&logs, indexid);
    // A backup of an earlier life is no candidate beside logs that tell everything.
    let of_this_life =
        |bytes: &&[u8]| full.is_none() || IndexFile::parse(bytes).is_ok_and(|backup| backup.header.indexid == indexid);
    let backup = inputs.backup.filter(of_this_life).and_then(|bytes| mend(bytes, &hints));
    let from_index = index.and_then(|mended| follow(Base::Index, mended, &logs));
    let mut from_index = from_index.and_then(|candidate| settle_reset(candidate, &mut full));
    if let Some(candidate) = &mut from_index {
        compare_with_logs(candidate, full.as_ref(), inputs.storage.as_ref());
    }
    if demands.logs_win && full.as_ref().is_some_and(Candidate::is_sound) {
        from_index = None;
    }
    let from_backup = backup.and_then(|mended| follow(Base::Backup, mended, &logs)).filter(|backup| !backup.reset);
    let (mut chosen, mut notes) = match choose(inputs, from_index, full, from_backup) {
        Some(chosen) => chosen,
        None if inputs.base.is_none_or(|base| base == Base::Storage) => match from_storage(inputs, &logs, &hints) {
            Ok(chosen) => (chosen, vec![no_base(inputs, &logs)]),
            Err(why) => {
                return Plan { refusal: Some(format!("{}, and {why}", no_base(inputs, &logs))), ..Plan::default() };
            }
        },
        None => return Plan { refusal: Some(no_base(inputs, &logs)), ..Plan::default() },
    };
    notes.splice(0..0, foreign.notes());
    chosen.lost.extend(cut_off);
    if !chosen.is_as_is(&logs) {
        chosen.lost.extend(foreign.undecided.clone().map(Loss::Whose));
    }
    missing_end(&mut chosen, &logs, index_view.as_ref());
    if chosen.missing > 0 || chosen.gap {
        fill(&mut chosen, &logs);
    }
    let of_map = inputs.storage.as_ref().and_then(|storage| storage.mails.as_ref());
    match &inputs.storage {
        Some(Storage { mails: Some(mails), .. }) => {
            if let Err(why) = hold_mails(&mut chosen, mails, &logs) {
                return Plan { refusal: Some(why), ..Plan::default() };
            }
        }
        Some(storage) => hold(&mut chosen, storage, &logs, &hints, demands.alien_tail),
        None => {
            name_flags(&mut chosen, &logs);
            skip_lost_uids(&mut chosen, &logs);
        }
    }
    let as_is = chosen.is_as_is(&logs);
    let mailbox = &mut chosen.replayed.mailbox;
    if let Some(why) = keep_guid(mailbox, inputs) {
        chosen.refutes.get_or_insert(why);
        chosen.damaged = true;
    }
    let mailbox = &mut chosen.replayed.mailbox;
    let of_storage = inputs.storage.as_ref().and_then(|storage| storage.uid_validity);
    // Only an index of dbox is the place where it is kept.
    let is_dbox = [b"dbox-hdr".as_slice(), b"mdbox-hdr"].iter().any(|name| mailbox.extension(name).is_some());
    // The server sets that of an empty Maildir or mbox itself.
    let is_told = mailbox.header.next_uid > 1 || (is_dbox && (of_storage.is_some() || !as_is));
    if mailbox.header.uid_validity == 0 && is_told {
        let storage = inputs.storage.clone().unwrap_or_default();
        mailbox.header.uid_validity = told_validity(&storage, &hints);
        if let Err(why) = identity(mailbox, &mut chosen.lost, !is_dbox, inputs.now) {
            return Plan { refusal: Some(why), ..Plan::default() };
        }
        if chosen.base == Base::Log {
            chosen.refutes.get_or_insert_with(|| "it sets no uid_validity".into());
        }
    }
    let asks = std::mem::take(&mut chosen.asks);
    let mut plan = Plan { asks, ..finish(inputs, &logs, indexid, chosen, notes, demands) };
    // Nobody asks a map what was expunged.
    plan.lost.retain(|loss| of_map.is_none() || loss.grade() > Grade::History);
    plan
}

/// Names what stood in a newest log that is gone: there is none, or it is the one before once more.
fn missing_end(chosen: &mut Candidate, logs: &Logs<'_>, index: Option<&IndexFile<'_>>) {
    let is_end = |loss: &Loss| matches!(loss, Loss::After(_) | Loss::Unread { .. });
    if chosen.beyond || chosen.base == Base::Storage || chosen.lost.iter().any(is_end) {
        return;
    }
    let gone = logs.head().is_none() || !(logs.head_in_place || logs.swapped);
    // The index is written when a log becomes `.log.2`, and stands at its end then, or behind it.
    let rotated = logs.same_twice
        && logs.head().is_some_and(|log| {
            index.is_none_or(|index| {
                let header = &index.header;
                header.log_file_seq != log.seq() || u64::from(header.log_file_head_offset) == log.end
            })
        });
    if gone || rotated {
        chosen.lost.push(Loss::After(chosen.replayed.position));
        chosen.margin = chosen.margin.max(super::steps::MARGIN);
        chosen.cut_short |= rotated;
    }
}
