//! What is not certain of a state after records are lost, and how messages come back into it or go.

use super::candidates::{BYTES_PER_MODSEQ, Candidate, MARGIN};
use super::inputs::Base;
use super::loss::{Grade, Loss};
use super::order::Logs;
use crate::model::{LogPos, Mailbox, UidSet};

/// Whether the records that are lost may have told of anything.
pub const fn is_doubt(loss: &Loss) -> bool {
    matches!(loss, Loss::Hole { .. } | Loss::Unread { .. } | Loss::Between(..) | Loss::After(_) | Loss::Records { .. })
}

/// The loss of records behind what is known of it.
fn uncompared(loss: &Loss) -> &Loss {
    if let Loss::Compared { what, .. } = loss { what } else { loss }
}

/// The end of the last stretch of log that is lost; everything after it is known.
pub fn last_doubt(chosen: &Candidate) -> LogPos {
    let end = LogPos { seq: u32::MAX, offset: u64::MAX };
    let ends = chosen.lost.iter().filter_map(|loss| match uncompared(loss) {
        _ if chosen.cut_short => Some(end),
        Loss::Hole { at, size, .. } => Some(LogPos { seq: at.seq, offset: at.offset + size }),
        Loss::Between(_, to) => Some(*to),
        Loss::Unread { .. } | Loss::After(_) | Loss::Records { .. } => Some(end),
        _ => None,
    });
    ends.max().unwrap_or(end)
}

/// The first UID that the logs append after a position: all lower ones were given before. An append of UIDs that were
/// given before says nothing.
pub fn first_append_after(logs: &Logs<'_>, pos: LogPos) -> u32 {
    let mut highest = 0;
    let mut first = u32::MAX;
    for log in &logs.files {
        let file = log.file();
        for record in file.records() {
            if (LogPos { seq: log.seq(), offset: record.offset }) < pos {
                highest = record.appended().fold(highest, u32::max);
            } else if let Some(uid) = record.appended().next().filter(|uid| *uid > highest) {
                first = first.min(uid);
            }
        }
    }
    first
}

/// An end of the log that is no unfinished transaction: bytes that no writer leaves behind.
pub fn damaged_tail(chosen: &mut Candidate, logs: &Logs<'_>) {
    let Some(log) = logs.head().filter(|log| log.has_damaged_tail() && !chosen.beyond) else { return };
    let size = (log.bytes.len() as u64).saturating_sub(log.end);
    let what = log.tail.as_ref().map(ToString::to_string).unwrap_or_default();
    chosen.lost.push(Loss::Hole { at: LogPos { seq: log.seq(), offset: log.end }, size, what });
    chosen.margin += size / BYTES_PER_MODSEQ + 1;
    chosen.cut_short = true;
}

/// The storage has seen more than the logs hold: records behind their end are lost.
pub fn ends_early(chosen: &mut Candidate) {
    chosen.lost.push(Loss::After(chosen.replayed.position));
    chosen.margin = chosen.margin.max(MARGIN);
    chosen.cut_short = true;
}

/// Raises the next UID past all that records behind the newest witness can have given: an append takes at least 16
/// bytes of log.
pub fn skip_lost_uids(chosen: &mut Candidate, logs: &Logs<'_>) {
    let no_log = chosen.base == Base::Storage && logs.files.is_empty();
    let at_end = chosen.lost.iter().any(|loss| is_doubt(uncompared(loss)))
        && first_append_after(logs, last_doubt(chosen)) == u32::MAX;
    if (chosen.cut_short || no_log || at_end) && !chosen.lost.contains(&Loss::UidValidity) {
        let margin = u32::try_from(chosen.margin.min(MARGIN)).unwrap_or(u32::MAX);
        let header = &mut chosen.replayed.mailbox.header;
        header.next_uid = header.next_uid.saturating_add(margin).min(u32::MAX - 1).max(header.next_uid);
    }
}

/// What a loss of log records comes to when the storage has been asked: no message, but flags where the storage has
/// none.
pub fn settle_grades(chosen: &mut Candidate, keeps_flags: bool, logs: &Logs<'_>) {
    if chosen.missing > 0 {
        return;
    }
    let grade = if keeps_flags { Grade::History } else { Grade::Flags };
    let mailbox = &chosen.replayed.mailbox;
    let before = |limit: u32| {
        let mut uids = UidSet::new();
        mailbox.positions().map(|i| mailbox.uid(i)).filter(|uid| *uid < limit).for_each(|uid| uids.insert(uid));
        uids
    };
    for loss in &mut chosen.lost {
        let end = match loss {
            Loss::Hole { at, size, .. } => LogPos { seq: at.seq, offset: at.offset + *size },
            Loss::Between(_, to) => *to,
            Loss::Unread { .. } | Loss::After(_) => LogPos { seq: u32::MAX, offset: u64::MAX },
            _ => continue,
        };
        let uids = before(first_append_after(logs, end));
        let grade = if uids.is_empty() { Grade::History } else { grade };
        *loss = Loss::Compared { what: Box::new(loss.clone()), grade, uids };
    }
}

/// Flags of all that may have been changed by the records that are lost.
pub fn stale_flags(chosen: &mut Candidate, logs: &Logs<'_>) {
    if !chosen.lost.iter().any(is_doubt) {
        return;
    }
    let limit = first_append_after(logs, last_doubt(chosen));
    let mut stale = UidSet::new();
    let mailbox = &chosen.replayed.mailbox;
    mailbox.positions().map(|i| mailbox.uid(i)).filter(|uid| *uid < limit).for_each(|uid| stale.insert(uid));
    if !stale.is_empty() {
        chosen.lost.push(Loss::Stale(stale));
    }
}

/// Takes out messages whose mails are gone, and says so.
pub fn take_out(chosen: &mut Candidate, gone: UidSet) {
    if !gone.is_empty() {
        remove(&mut chosen.replayed.mailbox, &gone);
        chosen.lost.push(Loss::Gone(gone));
    }
}

/// Takes messages out of a mailbox.
pub fn remove(mailbox: &mut Mailbox, gone: &UidSet) {
    let rest = mailbox.positions().filter(|i| !gone.contains(mailbox.uid(*i)));
    let records = rest.flat_map(|i| mailbox.record(i).to_vec()).collect();
    mailbox.set_records(records);
}

/// Gives messages a record again, without flags.
pub fn put_back(chosen: &mut Candidate, back: &UidSet) {
    if back.is_empty() {
        return;
    }
    let mailbox = &mut chosen.replayed.mailbox;
    let blank = |uid: u32| {
        let mut record = vec![0; mailbox.record_size()];
        record[..4].copy_from_slice(&mailbox.endian.u32_bytes(uid));
        (uid, record)
    };
    let mut all: Vec<(u32, Vec<u8>)> = back.iter().map(blank).collect();
    all.extend(mailbox.positions().map(|i| (mailbox.uid(i), mailbox.record(i).to_vec())));
    all.sort_unstable_by_key(|(uid, _)| *uid);
    let next_uid = all.last().map_or(1, |(uid, _)| uid.saturating_add(1));
    mailbox.set_records(all.into_iter().flat_map(|(_, record)| record).collect());
    mailbox.header.next_uid = mailbox.header.next_uid.max(next_uid);
    back.iter().for_each(|uid| chosen.touched.insert(uid));
    let count = u32::try_from(back.count()).unwrap_or(u32::MAX);
    if chosen.missing > 0 && count >= chosen.missing {
        chosen.lost.retain(|what| !matches!(what, Loss::Records { .. }));
    }
    chosen.missing = chosen.missing.saturating_sub(count);
    chosen.proven_from = u32::MAX;
    chosen.damaged = true;
}

/// Sets the first bytes of an extension's data in one record, where it has so many.
pub fn write(mailbox: &mut Mailbox, uid: u32, name: &[u8], bytes: &[u8]) {
    let Some(ext) = mailbox.extension(name).filter(|ext| usize::from(ext.record_size) >= bytes.len()) else { return };
    let at = usize::from(ext.record_offset);
    if let Some(i) = mailbox.lookup(uid)
        && let Some(to) = mailbox.record_mut(i).get_mut(at..at + bytes.len())
    {
        to.copy_from_slice(bytes);
    }
}
