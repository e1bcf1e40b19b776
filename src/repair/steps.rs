//! From a chosen state to the changes on disk, in their order, and the index that goes with them.

use super::candidates::{Candidate, MARGIN};
use super::demands::Demands;
use super::heal::cache::{cache_links, clear_cache_links, foreign_cache};
use super::heal::index::{fix_counters, settle};
use super::heal::log::{next_log, pending, silenced};
use super::inputs::{Base, Inputs};
use super::loss::Loss;
use super::order::Logs;
use super::outcome::{Kept, MessageCounts, Plan, Step};
use super::survey::Survey;
use super::told::Told;
use crate::format::Disk;
use crate::format::log::LogHeader;
use crate::model::mailbox::{Extension, ModseqHeader};
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, Mailbox, UidSet};

/// From a state to bytes: what happens to log and cache, and the index that goes with them.
pub fn finish(
    inputs: &Inputs<'_>,
    logs: &Logs<'_>,
    indexid: u32,
    chosen: Candidate,
    notes: Vec<String>,
    demands: &Demands,
) -> Plan {
    let Candidate { base, replayed, flaws, mut lost, damaged, proven_from, beyond, wiped, margin, refutes, .. } =
        chosen;
    let (cut_short, touched) = (chosen.cut_short, chosen.touched);
    let is_map = inputs.storage.as_ref().is_some_and(|storage| storage.mails.is_some());
    let as_is = base == Base::Index && flaws.is_empty() && lost.is_empty() && demands.index.is_empty();
    let mut steps: Vec<(Step, String)> = Vec::new();
    let mut highest = replayed.highest_modseq();
    let Replayed { mut mailbox, position, .. } = replayed;
    mailbox.header.indexid = indexid;
    let why_index = notes.iter().chain(&demands.index).cloned().collect::<Vec<_>>().join("; ");
    if demands.modseq
        && let Some(log) = logs.files.iter().rfind(|log| log.seq() == position.seq && log.log.header.minor_version >= 3)
    {
        let mut scan = log.file().log.records(&log.readable);
        while scan.pos() < position.offset && scan.next().is_some() {}
        highest = scan.modseq().max(1);
        let (log_seq, log_offset) = (position.seq, u32::try_from(position.offset).unwrap_or(0));
        mailbox.set_modseq_header(ModseqHeader { highest_modseq: highest, log_seq, log_offset });
    }
    settle(&mut mailbox, demands, highest);
    let mut write = (!as_is).then(|| why_index.clone());
    let mut raised = 0;

    // The log: left alone, cut, exchanged, or replaced by the next one.
    let head = logs.head();
    let mut reasons = Vec::new();
    match head {
        None => reasons.push(match &logs.foreign {
            Some(why) => format!("the log is unusable: {why}"),
            None => "there is no log".to_owned(),
        }),
        Some(log) => {
            if !logs.head_in_place && !logs.swapped {
                reasons.push(logs.foreign.clone().unwrap_or_else(|| "there is no log".into()));
            }
            reasons.extend(log.header_flaws.iter().cloned());
            if log.log.header.indexid != indexid && log.log.header.indexid != 0 {
                reasons.push(format!("indexid is {}, not {indexid}", log.log.header.indexid));
            }
            reasons.extend(log.mended.iter().cloned());
            reasons.extend(log.holes.iter().map(|hole| format!("damaged at {}: {}", hole.at, hole.what)));
        }
    }
    if beyond {
        reasons.push("it ends before the index".into());
    }
    if cut_short {
        reasons.push("it ends before what the storage has".into());
    }
    reasons.extend(demands.log.iter().chain(&refutes).cloned());
    if wiped {
        reasons.push("it starts from nothing, and would wipe the index".into());
    }
    let replaced = !reasons.is_empty();
    let head_lost = beyond || head.is_none() || !(logs.head_in_place || logs.swapped);
    if replaced {
        let lost_margin = if head_lost { margin.max(MARGIN) } else { margin };
        raised = if lost.is_empty() { margin } else { lost_margin };
    }
    let given_up = wiped || refutes.is_some() || demands.give_up_log;
    let silent = head.filter(|_| !given_up).and_then(|log| silenced(log, &demands.silent));
    let whole = head.filter(|log| log.holes.is_empty() && !head_lost && silent.is_some() && !cut_short);
    let had_history =
        |log: &Survey<'_>| cut_short || !log.holes.is_empty() || (silent.is_none() && log.end > log.log.records_at);
    if replaced && whole.is_none() && head.is_some_and(had_history) {
        lost.push(Loss::AllExpunges);
    }
    let highest = highest.saturating_add(raised);
    touch(&mut mailbox, &touched, highest);
    if replaced {
        let why = format!("replaced by its successor: {}", reasons.join("; "));
        let next = next_log(inputs, logs, &mailbox, indexid, highest, whole.is_some());
        let pending = whole.or(head.filter(|_| !head_lost)).map(|log| pending(log, &mailbox)).unwrap_or_default();
        let mut bytes = next.to_bytes(mailbox.endian);
        // A server that has the mailbox open goes on from its own state through this log. It must not give UIDs that
        // were skipped, which the new index would refuse.
        if head_lost || cut_short || raised > 0 {
            let mut told = Told::new(mailbox.endian);
            told.next_uid(mailbox.header.next_uid);
            if is_map {
                // Both records are of one size, and their end is the tail.
                let tail = bytes.len() + 2 * told.bytes().len();
                told.tail(u32::try_from(tail).unwrap_or(u32::MAX));
            }
            bytes.extend(told.bytes());
        }
        bytes.extend(pending);
        match whole {
            Some(log) => {
                let mut old = silent.unwrap_or_default();
                with_header(&mut old, log, indexid);
                let keep = "kept as .log.2 for QRESYNC".to_owned();
                steps.push(if old == log.bytes { (Step::LinkOldLog, keep) } else { (Step::WriteOldLog(old), keep) });
            }
            None if inputs.old_log.is_some() => {
                let why = "it does not lead to the new log".to_owned();
                steps.push((Step::RemoveOldLog, why));
            }
            None => {}
        }
        let header = &mut mailbox.header;
        header.log_file_seq = next.file_seq;
        header.log_file_head_offset = 40;
        header.log_file_tail_offset = 40;
        mailbox.set_modseq_header(ModseqHeader { highest_modseq: highest, log_seq: next.file_seq, log_offset: 40 });
        // Requests that were not yet executed go on: the new log has them too.
        if bytes.len() > LogHeader::SIZE
            && let Ok(log) = crate::format::log::LogFile::parse(&bytes, bytes.len() as u64)
            && let Ok(done) =
                Chain::new([crate::model::ChainFile::new(log, &bytes)]).replay(mailbox.clone(), Until::End)
        {
            mailbox = done.mailbox;
            // A map whose tail is not its head is rebuilt at the next open (`mdbox-map.c`).
            let header = &mut mailbox.header;
            header.log_file_tail_offset = if is_map { header.log_file_head_offset } else { 40 };
        }
        steps.push((Step::WriteLog(bytes), why));
        write.get_or_insert_with(|| format!("it follows the new log {}", next.file_seq));
    } else {
        if logs.swapped {
            steps.push((Step::ExchangeLogs, "log and .log.2 stand in each other's place".into()));
        }
        if let Some(log) = head
            && let Some(tail) = &log.tail
        {
            let torn = log.bytes.len() as u64 - log.end;
            steps.push((
                Step::CutLog(log.end),
                match log.alien {
                    true => format!("{torn} bytes that are not of this log at {}: {tail}", log.end),
                    false => format!("{torn} bytes of an unfinished transaction at {}: {tail}", log.end),
                },
            ));
        }
        let old = logs.files.first().filter(|_| logs.files.len() > 1 && !logs.swapped);
        if let Some(why) = &logs.foreign_old {
            if logs.old_is_ours {
                lost.push(Loss::OldExpunges(why.clone()));
            }
            steps.push((Step::RemoveOldLog, why.clone()));
        } else if let Some(old) = old.filter(|_| !demands.old.is_empty()) {
            let why = demands.old.join("; ");
            match silenced(old, &demands.old_silent).filter(|_| !demands.give_up_old && old.holes.is_empty()) {
                Some(mut bytes) => {
                    with_header(&mut bytes, old, indexid);
                    steps.push((Step::WriteOldLog(bytes), why));
                }
                None => {
                    lost.push(Loss::OldExpunges(why.clone()));
                    steps.push((Step::RemoveOldLog, why));
                }
            }
        }
    }

    // The cache: what does not belong goes, and then the links to it.
    let mut links = cache_links(&mailbox);
    if let Some(bytes) = inputs.cache
        && let Some(why) = foreign_cache(bytes, &mailbox, indexid).or_else(|| demands.cache.clone())
    {
        steps.push((Step::RemoveCache, why));
        if links > 0 {
            clear_cache_links(&mut mailbox);
            links = 0;
            write.get_or_insert_with(|| "its links into the cache are cleared".into());
        }
    }
    if write.is_some() {
        fix_counters(&mut mailbox);
        if demands.tail && !replaced {
            // Without a request in the log there is nothing before the head that is still to be done.
            let waits = head.is_some_and(|log| log.file().records().any(|record| record.is_request()));
            let header = &mut mailbox.header;
            header.log_file_tail_offset = if waits { 0 } else { header.log_file_head_offset };
        }
        let has_old = steps.iter().any(|(step, _)| matches!(step, Step::WriteOldLog(_) | Step::LinkOldLog))
            || (inputs.old_log.is_some() && !steps.iter().any(|(step, _)| *step == Step::RemoveOldLog));
        // "No .log.2" would keep it for ever. When it became that is when the log was created.
        // An index written at a rotation keeps the end of the old log in the modseq header; it is the same position.
        if let (Some(log), false) = (head, replaced)
            && position.offset == log.log.records_at
            && logs.files.len() > 1
            && let Some(header) = mailbox.modseq_header()
        {
            let (log_seq, log_offset) = (log.log.header.prev_file_seq, log.log.header.prev_file_offset);
            mailbox.set_modseq_header(ModseqHeader { log_seq, log_offset, ..header });
        }
        if has_old && mailbox.header.log2_rotate_time == u32::MAX {
            mailbox.header.log2_rotate_time =
                if replaced { inputs.now } else { head.map_or(0, |log| log.log.header.create_stamp) };
        }
    }
    let index = mailbox.encode();
    let mut plan = Plan { base: Some(base), steps, lost, ..Plan::default() };
    if let Some(why) = write {
        plan.steps.push((Step::WriteIndex(index.clone()), why));
    }
    plan.index = index;
    plan.messages = count(&mailbox, proven_from, damaged);
    plan.kept = Some(Kept {
        indexid,
        uid_validity: mailbox.header.uid_validity,
        next_uid: mailbox.header.next_uid,
        highest_modseq: mailbox.modseq_header().map_or(highest, |header| header.highest_modseq).max(1),
        highest_modseq_raised_by: raised,
        keywords: mailbox.keywords().iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        extensions: mailbox.extensions.iter().map(|ext| String::from_utf8_lossy(&ext.name).into_owned()).collect(),
        byte_order: format!("{}-endian", mailbox.endian.name()),
        cache_links: links,
    });
    plan
}

/// Gives messages a modseq that no client has seen yet.
fn touch(mailbox: &mut Mailbox, uids: &UidSet, highest: u64) {
    let Some(range) = mailbox.extension(b"modseq").map(Extension::range).filter(|range| range.len() == 8) else {
        return;
    };
    let bytes = mailbox.endian.u64_bytes(highest);
    for i in uids.iter().filter_map(|uid| mailbox.lookup(uid)).collect::<Vec<_>>() {
        mailbox.record_mut(i).get_mut(range.clone()).into_iter().for_each(|to| to.copy_from_slice(&bytes));
    }
}

/// Puts the header that a log should have into a copy of it.
fn with_header(bytes: &mut [u8], log: &Survey<'_>, indexid: u32) {
    let mut header = log.log.header.clone();
    header.indexid = indexid;
    let known = usize::from(header.hdr_size).min(LogHeader::SIZE).min(bytes.len());
    let fixed = header.to_bytes(log.log.endian);
    bytes[..known].copy_from_slice(&fixed[..known]);
}

fn count(mailbox: &Mailbox, proven_from: u32, damaged: bool) -> MessageCounts {
    let total = mailbox.len() as u64;
    let proven = mailbox.positions().filter(|i| mailbox.uid(*i) >= proven_from).count() as u64;
    let rest = total - proven;
    let (carried, salvaged) = if damaged { (0, rest) } else { (rest, 0) };
    MessageCounts { total, proven, carried, salvaged }
}
