//! What a rebuild would do, and why: a pure function of the bytes that survive.
//!
//! Three things can tell the state of a mailbox: logs that start from nothing, the main index, and its backup, each
//! followed by the logs after it. The first that loses nothing is taken. Then the log is looked at: a torn end is cut,
//! a log that Dovecot would throw away becomes a rotation. A cache of another mailbox goes. The result is decoded and
//! checked again.

use super::base::{from_storage, identity, keep_guid, told_validity};
use super::candidates::{Candidate, MARGIN, follow, full_replay};
use super::choose::{choose, compare_with_logs, no_base, settle_reset};
use super::demands::Demands;
use super::doubt::skip_lost_uids;
use super::heal::fill::{fill, hints};
use super::heal::index::{Hints, mend};
use super::heal::own::Foreign;
use super::heal::records::heal;
use super::heal::tail::cut;
use super::inputs::{Base, Inputs, Storage};
use super::loss::{Grade, Loss};
use super::mails::hold_mails;
use super::order::{Logs, has_undeleted, sort_logs, vote};
use super::outcome::Plan;
use super::steps::finish;
use super::storage::{hold, name_flags};
use super::verify::{Unchanged, judge};
use crate::format::index::IndexFile;
use crate::source::{Family, MailboxFiles};

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
    let foreign = Foreign::find(inputs);
    let own = foreign.without(inputs);
    let known = match Surveyed::read(&own, foreign) {
        Ok(known) => known,
        Err(refusal) => return Plan { refusal: Some(refusal), ..Plan::default() },
    };
    let mut demands = Demands::default();
    let mut unchanged = Unchanged::default();
    let mut last = None;
    for round in 0..ROUNDS {
        let mut plan = attempt(&own, &known, &demands);
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

/// What the files tell, whatever is demanded of a plan: read once for all of them.
struct Surveyed<'a> {
    foreign: Foreign,
    index: Option<IndexFile<'a>>,
    indexid: u32,
    logs: Logs<'a>,
    /// What is lost with the end of the logs.
    cut_off: Option<Loss>,
    hints: Hints<'a>,
    from_index: Option<Candidate>,
    from_logs: Option<Candidate>,
    from_backup: Option<Candidate>,
}

impl<'a> Surveyed<'a> {
    /// # Errors
    /// Why nothing is to be done.
    fn read(inputs: &'a Inputs<'a>, foreign: Foreign) -> Result<Surveyed<'a>, String> {
        let index = inputs.index.and_then(|bytes| IndexFile::parse(bytes).ok());
        let indexid = vote(inputs, &foreign, index.as_ref());
        let mut logs = sort_logs(inputs, &foreign, index.as_ref(), indexid);
        heal(&mut logs, inputs, index.as_ref());
        let cut_off = cut(&mut logs, inputs, index.as_ref());
        if logs.files.iter().rfind(|log| log.deleted || has_undeleted(log)).is_some_and(|log| log.deleted) {
            return Err("the last index-deleted record says that this mailbox is being deleted".into());
        }
        let hints = hints(inputs, &logs, indexid);
        let mended = inputs.index.and_then(|bytes| mend(bytes, &hints));
        let mut from_logs = full_replay(&logs, indexid);
        // A backup of an earlier life is no candidate beside logs that tell everything.
        let of_this_life = |bytes: &&[u8]| {
            from_logs.is_none() || IndexFile::parse(bytes).is_ok_and(|backup| backup.header.indexid == indexid)
        };
        let backup = inputs.backup.filter(of_this_life).and_then(|bytes| mend(bytes, &hints));
        let from_index = mended.and_then(|mended| follow(Base::Index, mended, &logs));
        let mut from_index = from_index.and_then(|candidate| settle_reset(candidate, &mut from_logs));
        if let Some(candidate) = &mut from_index {
            compare_with_logs(candidate, from_logs.as_ref(), inputs.storage.as_ref());
        }
        let from_backup = backup.and_then(|mended| follow(Base::Backup, mended, &logs)).filter(|backup| !backup.reset);
        Ok(Surveyed { foreign, index, indexid, logs, cut_off, hints, from_index, from_logs, from_backup })
    }
}

/// One plan.
fn attempt(inputs: &Inputs<'_>, known: &Surveyed<'_>, demands: &Demands) -> Plan {
    let Surveyed { foreign, logs, hints, .. } = known;
    let logs_win = demands.logs_win && known.from_logs.as_ref().is_some_and(Candidate::is_sound);
    let from_index = known.from_index.as_ref().filter(|_| !logs_win);
    let (mut chosen, mut notes) = match choose(inputs, from_index, known.from_logs.as_ref(), known.from_backup.as_ref())
    {
        Some(chosen) => chosen,
        None if inputs.base.is_none_or(|base| base == Base::Storage) => match from_storage(inputs, logs, hints) {
            Ok(chosen) => (chosen, vec![no_base(inputs, logs)]),
            Err(why) => {
                return Plan { refusal: Some(format!("{}, and {why}", no_base(inputs, logs))), ..Plan::default() };
            }
        },
        None => return Plan { refusal: Some(no_base(inputs, logs)), ..Plan::default() },
    };
    notes.splice(0..0, foreign.notes());
    chosen.lost.extend(known.cut_off.clone());
    if !chosen.is_as_is(logs) {
        chosen.lost.extend(foreign.undecided.clone().map(Loss::Whose));
    }
    missing_end(&mut chosen, logs, known.index.as_ref());
    if chosen.missing > 0 || chosen.gap {
        fill(&mut chosen, logs);
    }
    let of_map = inputs.storage.as_ref().and_then(|storage| storage.mails.as_ref());
    match &inputs.storage {
        Some(Storage { mails: Some(mails), .. }) => {
            if let Err(why) = hold_mails(&mut chosen, mails, logs) {
                return Plan { refusal: Some(why), ..Plan::default() };
            }
        }
        Some(storage) => hold(&mut chosen, storage, logs, hints, demands),
        None => {
            name_flags(&mut chosen, logs);
            skip_lost_uids(&mut chosen, logs);
        }
    }
    let as_is = chosen.is_as_is(logs);
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
        mailbox.header.uid_validity = told_validity(inputs.storage.as_ref(), hints);
        if let Err(why) = identity(mailbox, &mut chosen.lost, !is_dbox, inputs.now) {
            return Plan { refusal: Some(why), ..Plan::default() };
        }
        if chosen.base == Base::Log {
            chosen.refutes.get_or_insert_with(|| "it sets no uid_validity".into());
        }
    }
    let asks = std::mem::take(&mut chosen.asks);
    let mut plan = Plan { asks, ..finish(inputs, logs, known.indexid, chosen, notes, demands) };
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
        chosen.margin = chosen.margin.max(MARGIN);
        chosen.cut_short |= rotated;
    }
}
