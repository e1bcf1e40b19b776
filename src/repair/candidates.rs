//! The states that index, backup and logs each lead to.

use std::collections::HashMap;

use super::flip::without_lone_bit;
use super::heal::index::Mended;
use super::inputs::Base;
use super::loss::{Loss, NoRecord};
use super::order::Logs;
use super::survey::Survey;
use crate::format::index::header_flag;
use crate::format::record::{Append, RecordType, flag};
use crate::model::chain::Start;
use crate::model::mailbox::ModseqHeader;
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, LogPos, Mailbox, SyncError, SyncKind, UidSet};

/// How far HIGHESTMODSEQ is raised when nobody knows how much log is lost. A log is rotated at 1 MiB by default, and a
/// change takes 20 bytes at least: no log holds more changes than this. Neither it nor a few times as much is a power
/// of two: a number that was raised must not look like one with a bit that has flipped.
pub const MARGIN: u64 = 65_537;
/// Bytes of log that one raise of the modseq takes at least, and one appended message.
pub const BYTES_PER_MODSEQ: u64 = 16;
/// Bytes that a disk reads and writes at once.
const SECTOR: u64 = 512;

/// A state that some base leads to.
#[derive(Clone)]
pub struct Candidate {
    pub base: Base,
    pub replayed: Replayed,
    pub flaws: Vec<String>,
    pub lost: Vec<Loss>,
    pub missing: u32,
    pub damaged: bool,
    pub fscked: bool,
    /// The first UID appended by the logs that were replayed: from here on everything is proven.
    pub proven_from: u32,
    /// The index knows more than the logs hold.
    pub beyond: bool,
    /// A log that starts from nothing stands behind the index and would wipe it.
    pub wiped: bool,
    /// A log that starts from nothing follows, or is the one the index stands at the start of.
    pub reset: bool,
    /// It is the one the index stands in.
    pub same_log: bool,
    /// Between the index and the first log something is missing.
    pub gap: bool,
    pub margin: u64,
    /// Why the log is damaged although all of it can be read.
    pub refutes: Option<String>,
    /// The logs end before what the storage has.
    pub cut_short: bool,
    /// Messages that are not as the logs leave them: they get the highest modseq.
    pub touched: UidSet,
    /// Mails of a map whose metadata would tell more.
    pub asks: UidSet,
}

impl Candidate {
    /// A state without a log behind it.
    pub fn of(base: Base, mailbox: Mailbox, position: LogPos, log_modseq: u64) -> Candidate {
        let (errors, ignored, stopped) = (Vec::new(), Vec::new(), None);
        Candidate {
            base,
            replayed: Replayed { mailbox, position, log_modseq, errors, ignored, stopped },
            flaws: Vec::new(),
            lost: Vec::new(),
            missing: 0,
            damaged: false,
            fscked: false,
            proven_from: u32::MAX,
            beyond: false,
            wiped: false,
            reset: false,
            same_log: true,
            gap: false,
            margin: MARGIN,
            refutes: None,
            cut_short: false,
            touched: UidSet::new(),
            asks: UidSet::new(),
        }
    }

    pub fn is_sound(&self) -> bool {
        self.flaws.is_empty() && self.lost.is_empty()
    }

    /// A sound index with a log that ends as it should.
    pub fn is_as_is(&self, logs: &Logs<'_>) -> bool {
        self.base == Base::Index && self.is_sound() && logs.head().is_some_and(|log| log.tail.is_none())
    }
}

/// Replays logs that start from an empty mailbox.
pub fn full_replay(logs: &Logs<'_>, indexid: u32) -> Option<Candidate> {
    let chain = logs.chain();
    let start = chain.complete_from()?;
    let first = chain.files.get(start)?;
    let mut mailbox = Mailbox::empty(indexid, first.log.endian);
    mailbox.header.log_file_seq = first.log.header.prev_file_seq.max(1);
    let from = LogPos { seq: first.seq(), offset: first.log.records_at };
    let mut candidate = replay(Base::Log, mailbox, logs, from, None, false)?;
    if candidate.lost.is_empty() {
        candidate.proven_from = 1;
    } else {
        candidate.damaged = true;
    }
    // Dovecot 1.0 executed expunge requests in the index itself, without logging that it did.
    candidate.fscked = first.log.header.minor_version == 0;
    Some(candidate)
}

/// Replays the logs onto a state, and says what of them could not be read. With `repeats` the state has seen some of
/// these records already: appends of messages it has are no flaw.
pub fn replay(
    base: Base,
    mailbox: Mailbox,
    logs: &Logs<'_>,
    from: LogPos,
    unreset: Option<u32>,
    repeats: bool,
) -> Option<Candidate> {
    let mut files: Vec<Survey<'_>> = logs.files.clone();
    let file = |log: &Survey<'_>| {
        if Some(log.seq()) == unreset { log.file_without_reset().log } else { log.file().log }
    };
    let mut lost = Vec::new();
    let mut margin = 0_u64;
    let mut doubtful = false;
    for i in 0..files.len() {
        let seq = files[i].seq();
        for hole in files[i].holes.clone() {
            // Disks lose whole sectors, also where only a part of one shows it.
            let sectors = hole.end.next_multiple_of(SECTOR) - hole.at / SECTOR * SECTOR;
            if (LogPos { seq, offset: hole.end }) <= from {
                // An index that does not keep HIGHESTMODSEQ has it counted from the beginning of the log.
                if mailbox.modseq_header().is_none() {
                    margin += sectors / BYTES_PER_MODSEQ + 1;
                }
                continue;
            }
            let (size, at) = (hole.end - hole.at, LogPos { seq, offset: hole.at });
            lost.push(Loss::Hole { at, size, what: hole.what });
            margin += sectors / BYTES_PER_MODSEQ + 1;
            // What extension numbers mean is certain only up to the ones known before the first damage.
            if !hole.keeps_ids && !std::mem::replace(&mut doubtful, true) {
                let at = LogPos { seq, offset: hole.at };
                let known = {
                    let chain = chain_of(&files, &file);
                    chain.replay(mailbox.clone(), Until::Pos(at)).ok().map(|replayed| replayed.mailbox.extensions.len())
                };
                for (j, later) in files.iter_mut().enumerate().skip(i) {
                    later.distrust_ids(if j == i { hole.end } else { 0 }, known.unwrap_or(0));
                }
            }
        }
    }
    let chain = chain_of(&files, &file);
    let mut replayed = chain.replay(mailbox, Until::End).ok()?;
    // Dovecot replays a log in many small parts and looks each time whether the flag still holds; one long replay does
    // not.
    let mailbox = &mut replayed.mailbox;
    if !mailbox.positions().any(|i| mailbox.flags(i) & flag::DIRTY != 0) {
        mailbox.header.flags &= !header_flag::HAVE_DIRTY;
    }
    let appended = chain.files.iter().flat_map(|file| {
        let seq = file.seq();
        file.records().filter(move |record| LogPos { seq, offset: record.offset } >= from)
    });
    let proven_from = appended.flat_map(|record| record.appended()).min().unwrap_or(u32::MAX);
    if let Some(stopped) = &replayed.stopped {
        lost.push(Loss::Unread { at: replayed.position, why: stopped.clone() });
    }
    let seen = |error: &&SyncError| repeats && matches!(error.kind, SyncKind::AppendBelowNextUid { .. });
    let flaws = replayed.errors.iter().filter(|error| !seen(error)).map(ToString::to_string).collect();
    let (skipped, nameless) = if repeats { (UidSet::new(), 0) } else { skipped(&chain, &replayed) };
    if !skipped.is_empty() {
        lost.push(Loss::Skipped(skipped));
    }
    if nameless > 0 {
        lost.push(Loss::Records { count: nameless, why: NoRecord::NoUid });
    }
    settle_modseqs(&mut replayed);
    replayed.errors.clear();
    let proven_from = if lost.is_empty() { proven_from } else { u32::MAX };
    Some(Candidate {
        base,
        replayed,
        flaws,
        lost,
        missing: nameless,
        damaged: false,
        fscked: false,
        proven_from,
        beyond: false,
        wiped: false,
        reset: false,
        same_log: true,
        gap: false,
        margin,
        refutes: None,
        cut_short: false,
        touched: UidSet::new(),
        asks: UidSet::new(),
    })
}

/// Messages that replay left out because a higher UID had been appended before theirs, and how many of them there are
/// whose UID another message has: unless the whole record stands there a second time, theirs was another one.
fn skipped(chain: &Chain<'_>, replayed: &Replayed) -> (UidSet, u32) {
    let mut uids = UidSet::new();
    let mut nameless = 0;
    let mut first: HashMap<&[u8], LogPos> = HashMap::new();
    for file in chain.files.iter().filter(|_| !replayed.errors.is_empty()) {
        for record in file.records().filter(|record| record.kind() == Some(RecordType::Append)) {
            first.entry(record.bytes).or_insert(LogPos { seq: file.seq(), offset: record.offset });
        }
    }
    for error in &replayed.errors {
        let SyncKind::AppendBelowNextUid { uid, .. } = error.kind else { continue };
        let file = chain.position_of(error.pos.seq).and_then(|at| chain.files.get(at));
        let Some(record) = file.and_then(|file| file.records().from(error.pos.offset, 1).next()) else { continue };
        let rest = || record.elements::<Append>().skip_while(|append| append.uid != uid);
        let (gone, taken): (Vec<_>, Vec<_>) = rest().partition(|append| replayed.mailbox.lookup(append.uid).is_none());
        gone.iter().for_each(|append| uids.insert(append.uid));
        if first.get(record.bytes).is_none_or(|first| *first >= error.pos) {
            nameless += u32::try_from(taken.len()).unwrap_or(u32::MAX);
        }
    }
    (uids, nameless)
}

/// Messages of a state that have other flags or keywords in another one.
pub fn changed_flags(then: &Mailbox, now: &Mailbox) -> UidSet {
    let words = |mailbox: &Mailbox, i: usize| {
        let mut names: Vec<Vec<u8>> =
            mailbox.keyword_ids(i).filter_map(|id| mailbox.keywords().get(id).cloned()).collect();
        names.sort_unstable();
        (mailbox.flags(i) & flag::IMAP, names)
    };
    let is_changed = |i: &usize| now.lookup(then.uid(*i)).is_some_and(|j| words(then, *i) != words(now, j));
    then.positions().filter(is_changed).map(|i| (then.uid(i), then.uid(i))).collect()
}

/// Of a modseq header and messages above it one is wrong: the message when it is the only one, for header and log agree
/// against it; else the header.
fn settle_modseqs(replayed: &mut Replayed) {
    let mailbox = &mut replayed.mailbox;
    let Some(header) = mailbox.modseq_header() else { return };
    let top = header.highest_modseq.max(replayed.log_modseq);
    let above: Vec<usize> =
        (0..mailbox.physical_len()).filter(|i| mailbox.record_modseq(*i).is_some_and(|modseq| modseq > top)).collect();
    match above[..] {
        [] => {}
        [one] => {
            let bytes = mailbox.endian.u64_bytes(top);
            let range = mailbox.extension(b"modseq").map(crate::model::Extension::range).unwrap_or_default();
            if let Some(to) = mailbox.record_mut(one).get_mut(range).filter(|to| to.len() == bytes.len()) {
                to.copy_from_slice(&bytes);
            }
        }
        _ => {
            let highest_modseq = above.iter().filter_map(|i| mailbox.record_modseq(*i)).max().unwrap_or(top);
            mailbox.set_modseq_header(ModseqHeader { highest_modseq, ..header });
        }
    }
}

/// Takes a single bit far above all modseqs of the messages out of an index's HIGHESTMODSEQ, and says so.
fn clear_lone_bit(mailbox: &mut Mailbox) -> Option<String> {
    let header = mailbox.modseq_header()?;
    let right = without_lone_bit(header.highest_modseq)?;
    let top = (0..mailbox.physical_len()).filter_map(|i| mailbox.record_modseq(i)).max().unwrap_or(0);
    if top > right {
        return None;
    }
    mailbox.set_modseq_header(ModseqHeader { highest_modseq: right, ..header });
    Some(format!("highest_modseq {} can only be {right}", header.highest_modseq))
}

fn chain_of<'s>(files: &'s [Survey<'_>], header: &dyn Fn(&Survey<'_>) -> crate::format::log::LogFile) -> Chain<'s> {
    Chain::new(files.iter().map(|log| {
        let mut file = log.file();
        file.log = header(log);
        file
    }))
}

/// Where an index stands in the logs.
enum Stand {
    /// At its position.
    At(Start),
    /// At this position, which is not the one it gives.
    Elsewhere(LogPos),
    /// In a stretch that cannot be read, which ends here: it knows what stood in front of its position.
    Within(LogPos),
    /// Somewhere in the logs: replayed from the first of them, which changes nothing that it has already.
    Somewhere,
    /// Before the first of them.
    Before,
    /// It knows more than they hold.
    Beyond,
}

fn stand(mailbox: &Mailbox, chain: &Chain<'_>, logs: &Logs<'_>) -> Stand {
    let here = LogPos { seq: mailbox.header.log_file_seq, offset: u64::from(mailbox.header.log_file_head_offset) };
    let Some(first) = chain.files.first() else { return Stand::Beyond };
    if let Ok(start) = chain.start(here.seq, here.offset) {
        return Stand::At(start);
    }
    // The modseq header has the position a second time, or the end of the log before it.
    if let Some(header) = mailbox.modseq_header() {
        let offset = u64::from(header.log_offset);
        if header.log_seq != 0 && chain.start(header.log_seq, offset).is_ok_and(|start| !start.reset) {
            return Stand::Elsewhere(LogPos { seq: header.log_seq, offset });
        }
        // Two fields that say the same are not both damaged.
        let mut of_log = logs.files.iter().filter(|log| log.seq() == here.seq).flat_map(|log| &log.holes);
        let hole = of_log.find(|hole| hole.at < here.offset && here.offset <= hole.end);
        if let Some(hole) = hole.filter(|_| (header.log_seq, offset) == (here.seq, here.offset)) {
            return Stand::Within(LogPos { seq: here.seq, offset: hole.end });
        }
    }
    let end = chain.end();
    if here > end && here.seq <= end.seq.saturating_add(1) {
        Stand::Beyond
    } else if here.seq < first.seq() {
        Stand::Before
    } else {
        Stand::Somewhere
    }
}

/// A mended index and the logs after it. `None` when a newer log starts from nothing: then the index counts for
/// nothing.
pub fn follow(base: Base, mended: Mended, logs: &Logs<'_>) -> Option<Candidate> {
    let Mended { mut mailbox, mut flaws, mut lost, missing, records_damaged, fscked, old } = mended;
    let chain = logs.chain();
    let here = LogPos { seq: mailbox.header.log_file_seq, offset: u64::from(mailbox.header.log_file_head_offset) };
    let mut unreset = None;
    let mut reset = false;
    let mut same_log = true;
    let mut repeats = false;
    let mut gap = false;
    let mut beyond = false;
    let mut from = here;
    match stand(&mailbox, &chain, logs) {
        Stand::At(start) if start.reset => {
            // Dovecot would forget this index and take the log alone. Whether that is right is decided by what the log
            // holds.
            let file = chain.files.get(start.file)?;
            same_log = file.seq() == here.seq;
            reset = true;
            unreset = Some(file.seq());
            from = LogPos { seq: file.seq(), offset: file.log.records_at };
            // What the index knows of modseqs is complete up to here.
            if let Some(header) = mailbox.modseq_header() {
                let log_offset = u32::try_from(from.offset).ok()?;
                mailbox.set_modseq_header(ModseqHeader { log_seq: from.seq, log_offset, ..header });
            }
            // Only the log that goes on from the index has all that came after it.
            if !same_log && u64::from(file.log.header.prev_file_offset) != here.offset {
                lost.push(Loss::Between(here, from));
            }
            if !same_log {
                mailbox.header.log_file_seq = file.seq();
                mailbox.header.log_file_head_offset = u32::try_from(file.log.records_at).ok()?;
                mailbox.header.log_file_tail_offset = 0;
            }
        }
        Stand::At(start) => {
            from = LogPos { seq: chain.files.get(start.file)?.seq(), offset: start.offset };
            let header = &mut mailbox.header;
            let tail = u64::from(header.log_file_tail_offset);
            if tail > here.offset || (tail != 0 && tail < chain.files.get(start.file)?.log.records_at.min(here.offset))
            {
                flaws.push(format!("log_file_tail_offset is {tail}, the head is {}", here.offset));
                header.log_file_tail_offset = 0;
            }
        }
        Stand::Elsewhere(pos) => {
            flaws.push(format!("the index says it stands at {here}, where there is no record; it does at {pos}"));
            mailbox.header.log_file_seq = pos.seq;
            mailbox.header.log_file_head_offset = u32::try_from(pos.offset).ok()?;
            mailbox.header.log_file_tail_offset = 0;
            from = pos;
        }
        Stand::Within(end) => {
            if here < end {
                lost.push(Loss::Between(here, end));
            }
            flaws.push(format!("the log cannot be read where the index stands, at {here}"));
            mailbox.header.log_file_head_offset = u32::try_from(end.offset).ok()?;
            mailbox.header.log_file_tail_offset = 0;
            from = end;
        }
        place @ (Stand::Somewhere | Stand::Before) => {
            let first = chain.files.first()?;
            flaws.push(format!("the index says it stands at {here}, which the logs do not have"));
            if matches!(place, Stand::Before) {
                gap = true;
                lost.push(Loss::Between(here, LogPos { seq: first.seq(), offset: first.log.records_at }));
            }
            if first.log.header.starts_empty() {
                unreset = Some(first.seq());
            }
            from = LogPos { seq: first.seq(), offset: first.log.records_at };
            mailbox.header.log_file_seq = from.seq;
            mailbox.header.log_file_head_offset = u32::try_from(from.offset).ok()?;
            mailbox.header.log_file_tail_offset = 0;
            repeats = true;
        }
        Stand::Beyond => {
            lost.push(Loss::After(here));
            if let Some(head) = chain.head().filter(|head| head.seq() == here.seq) {
                lost.push(Loss::Expunges(LogPos { seq: here.seq, offset: head.end.offset }, here));
            }
            beyond = true;
        }
    }
    flaws.extend(clear_lone_bit(&mut mailbox));
    let seen = if repeats { mailbox.clone() } else { Mailbox::empty(0, mailbox.endian) };
    let known_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
    let mut candidate = if beyond {
        let log_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
        let position = here;
        Candidate { beyond, ..Candidate::of(base, mailbox, position, log_modseq) }
    } else {
        let known = mailbox.extensions.len();
        let mut files: Vec<Survey<'_>> = logs.files.clone();
        if repeats {
            // Extensions may have been created in between: later numbers are not what this index would take them for.
            files.iter_mut().for_each(|file| file.distrust_ids(0, known));
        }
        replay(base, mailbox, &Logs::of(files), from, unreset, repeats)?
    };
    if repeats {
        candidate.margin += MARGIN;
        // Records that the index has read already were read once more: they may be the damaged side.
        let changed = changed_flags(&seen, &candidate.replayed.mailbox);
        if !gap && !changed.is_empty() {
            lost.push(Loss::Disputed(changed));
        }
    }
    candidate.flaws.splice(0..0, flaws);
    candidate.lost.splice(0..0, lost);
    candidate.missing = missing;
    candidate.damaged = records_damaged;
    candidate.fscked = fscked || old;
    // A log that counts from too low must not take HIGHESTMODSEQ back.
    let replayed = &mut candidate.replayed;
    if let Some(header) = replayed.mailbox.modseq_header().filter(|header| header.highest_modseq < known_modseq) {
        replayed.mailbox.set_modseq_header(ModseqHeader { highest_modseq: known_modseq, ..header });
    }
    replayed.log_modseq = replayed.log_modseq.max(known_modseq);
    settle_modseqs(&mut candidate.replayed);
    candidate.reset = reset;
    candidate.same_log = same_log;
    candidate.gap = gap;
    Some(candidate)
}

#[cfg(test)]
mod tests {
    use super::MARGIN;

    /// A second run took the raised number for a flipped bit, and lowered HIGHESTMODSEQ again.
    #[test]
    fn what_was_raised_is_no_flipped_bit() {
        for times in 1..=4_u64 {
            for number in [1, 7, 0xffff, 0x1_0000, 2_155_905_160, u64::from(u32::MAX)] {
                assert!(!(number ^ (number + times * MARGIN)).is_power_of_two(), "{number}, {times} times");
            }
        }
    }
}
