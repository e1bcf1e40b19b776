//! What a rebuild would do, and why: a pure function of the bytes that survive.
//!
//! Three things can tell the state of a mailbox: logs that start from nothing, the main index, and its backup, each followed
//! by the logs after it. The first that loses nothing is taken. Then the log is looked at: a torn end is cut, a log that
//! Dovecot would throw away becomes a rotation. A cache of another mailbox goes. The result is decoded and checked again.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::logs::Survey;
use super::salvage::{Hints, Mended, fix_counters, mend};
use super::storage::Storage;
use crate::format::cache::{Cache, CacheHeader};
use crate::format::index::{IndexFile, header_flag};
use crate::format::log::LogHeader;
use crate::format::record::{Append, ExpungeGuid, RecordType, UidRange, flag};
use crate::format::{Disk, Endian};
use crate::model::chain::Start;
use crate::model::mailbox::ModseqHeader;
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, LogPos, Mailbox, SyncError, SyncKind, UidSet};

/// How far HIGHESTMODSEQ is raised when nobody knows how much log is lost. A log is rotated at 1 MiB by default, and a change
/// takes 20 bytes at least: no log holds more changes than this.
pub const MARGIN: u64 = 65_536;
/// Bytes of log that one raise of the modseq takes at least.
const BYTES_PER_MODSEQ: u64 = 16;

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
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Index => "index",
            Base::Backup => "backup",
            Base::Log => "log",
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

/// One change on disk. They are made in the order of the plan; the index is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The log ends here now.
    CutLog(u64),
    /// The log becomes `.log.2`, as it is.
    LinkOldLog,
    /// `.log.2` becomes this.
    WriteOldLog(Vec<u8>),
    /// The log becomes this.
    WriteLog(Vec<u8>),
    /// Log and `.log.2` change places.
    ExchangeLogs,
    /// `.log.2` goes.
    RemoveOldLog,
    /// The cache goes.
    RemoveCache,
    /// The index becomes this.
    WriteIndex(Vec<u8>),
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
    pub lost: Vec<String>,
    /// What is kept.
    pub kept: Option<Kept>,
    /// Why it must not be done whatever is accepted.
    pub refusal: Option<String>,
    /// The index at the end of the logs, whether it is to be written or not.
    pub index: Vec<u8>,
}

/// A state that some base leads to.
struct Candidate {
    base: Base,
    replayed: Replayed,
    flaws: Vec<String>,
    lost: Vec<String>,
    missing: u32,
    damaged: bool,
    fscked: bool,
    /// The first UID appended by the logs that were replayed: from here on everything is proven.
    proven_from: u32,
    /// The index knows more than the logs hold.
    beyond: bool,
    /// A log that starts from nothing stands behind the index and would wipe it.
    wiped: bool,
    /// A log that starts from nothing follows, or is the one the index stands at the start of.
    reset: bool,
    /// It is the one the index stands in.
    same_log: bool,
    /// Between the index and the first log something is missing.
    gap: bool,
    margin: u64,
}

impl Candidate {
    fn is_sound(&self) -> bool {
        self.flaws.is_empty() && self.lost.is_empty()
    }
}

/// The logs, sorted out.
struct Logs<'a> {
    /// Oldest first.
    files: Vec<Survey<'a>>,
    /// Why the file in the place of `.log.2` is not one of them.
    foreign_old: Option<String>,
    /// Why the file in the place of `.log` is not one of them.
    foreign: Option<String>,
    /// `.log` and `.log.2` stand in each other's place.
    swapped: bool,
    /// The newest of them is `.log`.
    head_in_place: bool,
}

impl<'a> Logs<'a> {
    fn chain(&self) -> Chain<'_> {
        Chain::new(self.files.iter().map(Survey::file))
    }

    fn head(&self) -> Option<&Survey<'a>> {
        self.files.last()
    }
}

/// Makes the plan.
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let index_view = inputs.index.and_then(|bytes| IndexFile::parse(bytes).ok());
    let indexid = vote(inputs, index_view.as_ref());
    let logs = sort_logs(inputs, index_view.as_ref(), indexid);
    if logs.files.iter().rfind(|log| log.deleted || has_undeleted(log)).is_some_and(|log| log.deleted) {
        let refusal = "the last index-deleted record says that this mailbox is being deleted";
        return Plan { refusal: Some(refusal.into()), ..Plan::default() };
    }
    let hints = hints(inputs, &logs, indexid);
    let index = inputs.index.and_then(|bytes| mend(bytes, &hints));
    let backup = inputs.backup.and_then(|bytes| mend(bytes, &hints));
    let full = full_replay(&logs, indexid);
    let mut full = full;
    let from_index = index.and_then(|mended| follow(Base::Index, mended, &logs));
    let mut from_index = from_index.and_then(|candidate| settle_reset(candidate, &mut full));
    if let Some(candidate) = &mut from_index {
        compare_with_logs(candidate, full.as_ref());
    }
    let from_backup = backup.and_then(|mended| follow(Base::Backup, mended, &logs)).filter(|backup| !backup.reset);
    let Some((mut chosen, notes)) = choose(inputs, from_index, full, from_backup) else {
        return Plan { refusal: Some(no_base(inputs, &logs)), ..Plan::default() };
    };
    if chosen.missing > 0 || chosen.gap {
        fill(&mut chosen, &logs, &hints);
    }
    finish(inputs, &logs, indexid, chosen, notes)
}

/// The id that most files have; of two with equally many the log's counts, as for Dovecot.
fn vote(inputs: &Inputs<'_>, index: Option<&IndexFile<'_>>) -> u32 {
    let endian = index.map_or(Endian::NATIVE, |index| index.endian);
    let of_index =
        |bytes: Option<&[u8]>| bytes.and_then(|b| IndexFile::parse(b).ok()).map(|index| index.header.indexid);
    let of_log = |bytes: Option<&[u8]>| {
        let bytes = bytes?;
        crate::format::log::LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| log.header.indexid)
    };
    let cache = inputs.cache.filter(|bytes| bytes.len() >= CacheHeader::SIZE);
    let votes = [
        of_log(inputs.log),
        index.map(|index| index.header.indexid),
        of_log(inputs.old_log),
        of_index(inputs.backup),
        cache.map(|bytes| CacheHeader::read(bytes, endian).indexid),
    ];
    let votes: Vec<u32> = votes.into_iter().flatten().filter(|id| *id != 0).collect();
    let count = |id: u32| votes.iter().filter(|other| **other == id).count();
    let most = votes.iter().map(|id| count(*id)).max().unwrap_or(0);
    votes.iter().copied().find(|id| count(*id) == most).unwrap_or(0)
}

fn sort_logs<'a>(inputs: &Inputs<'a>, index: Option<&IndexFile<'_>>, indexid: u32) -> Logs<'a> {
    let mut logs = Logs { files: Vec::new(), foreign_old: None, foreign: None, swapped: false, head_in_place: false };
    let mut log = inputs.log.and_then(|bytes| Survey::new(bytes, index));
    let mut old = inputs.old_log.and_then(|bytes| Survey::new(bytes, None));
    if log.is_none() && inputs.log.is_some() {
        logs.foreign = Some("it has no readable header".into());
    }
    if old.is_none() && inputs.old_log.is_some() {
        logs.foreign_old = Some("it has no readable header".into());
    }
    let follows = |old: &Survey<'_>, new: &Survey<'_>| {
        let header = &new.log.header;
        (header.prev_file_seq, u64::from(header.prev_file_offset)) == (old.seq(), old.end)
    };
    // A header that had to be made up does not say what it follows.
    if let (Some(log), Some(old)) = (&mut log, &old)
        && log.log.header.prev_file_offset == u32::MAX
        && old.seq().checked_add(1) == Some(log.seq())
    {
        log.log.header.prev_file_seq = old.seq();
        log.log.header.prev_file_offset = u32::try_from(old.end).unwrap_or(u32::MAX);
    }
    if let Some(one) = &log
        && one.log.header.indexid != indexid
        && one.log.header.indexid != 0
    {
        let at_index = index.is_some_and(|index| {
            let (seq, head) = (index.header.log_file_seq, u64::from(index.header.log_file_head_offset));
            let header = &one.log.header;
            let boundary = seq == one.seq() && one.file().records().any(|record| record.end() == head);
            boundary || (header.prev_file_seq, u64::from(header.prev_file_offset)) == (seq, head)
        });
        if !at_index && !old.as_ref().is_some_and(|old| follows(old, one)) {
            logs.foreign = Some(format!("its indexid is {}, the other files say {indexid}", one.log.header.indexid));
            log = None;
        }
    }
    if let (Some(newer), Some(one)) = (&log, &old) {
        if follows(newer, one) {
            logs.swapped = true;
        } else if one.seq() == newer.seq() {
            logs.foreign_old = Some(format!("it has the same file_seq {} as the log", one.seq()));
            old = None;
        } else if !follows(one, newer) {
            let header = &newer.log.header;
            logs.foreign_old = Some(format!(
                "it ends at {}:{}, the log continues {}:{}",
                one.seq(),
                one.end,
                header.prev_file_seq,
                header.prev_file_offset
            ));
            old = None;
        }
    }
    if let Some(one) = &old
        && one.log.header.indexid != indexid
        && one.log.header.indexid != 0
        && log.is_none()
    {
        logs.foreign_old = Some(format!("its indexid is {}, the other files say {indexid}", one.log.header.indexid));
        old = None;
    }
    logs.head_in_place = log.is_some() && !logs.swapped;
    logs.files.extend(old);
    logs.files.extend(log);
    logs.files.sort_by_key(Survey::seq);
    logs
}

fn has_undeleted(log: &Survey<'_>) -> bool {
    log.file().records().any(|record| record.kind() == Some(RecordType::IndexUndeleted) && record.external())
}

fn hints<'h>(inputs: &'h Inputs<'_>, logs: &Logs<'_>, indexid: u32) -> Hints<'h> {
    let mut hints = Hints { indexid, storage: inputs.storage.as_ref(), ..Hints::default() };
    for log in &logs.files {
        for record in log.file().records() {
            match record.kind() {
                Some(RecordType::Expunge) if record.external() => {
                    record.elements::<UidRange>().for_each(|range| hints.expunged.insert_range(range.uid1, range.uid2));
                }
                Some(RecordType::ExpungeGuid) if record.external() => {
                    record.elements::<ExpungeGuid>().for_each(|one| hints.expunged.insert(one.uid));
                }
                Some(RecordType::HeaderUpdate) => {
                    for chunk in record.header_chunks().filter(|chunk| chunk.offset == 24) {
                        hints.uid_validity = record.endian.u32_at(chunk.data, 0).unwrap_or(hints.uid_validity);
                    }
                }
                _ => {}
            }
        }
    }
    // The order of keyword names is the same in an older copy, as far as that goes.
    let names = inputs.backup.and_then(|bytes| IndexFile::parse(bytes).ok()).map(|index| Mailbox::keywords_of(&index));
    hints.keywords = names.unwrap_or_default();
    hints
}

/// Replays logs that start from an empty mailbox.
fn full_replay(logs: &Logs<'_>, indexid: u32) -> Option<Candidate> {
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

/// Replays the logs onto a state, and says what of them could not be read. With `repeats` the state has seen some of these
/// records already: appends of messages it has are no flaw.
fn replay(
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
            if (LogPos { seq, offset: hole.end }) <= from {
                continue;
            }
            lost.push(format!("{} bytes of log at {seq}:{}: {}", hole.end - hole.at, hole.at, hole.what));
            margin += (hole.end - hole.at) / BYTES_PER_MODSEQ + 1;
            // What extension numbers mean is certain only up to the ones known before the first damage.
            if !std::mem::replace(&mut doubtful, true) {
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
    // Dovecot replays a log in many small parts and looks each time whether the flag still holds; one long replay does not.
    let mailbox = &mut replayed.mailbox;
    if !mailbox.positions().any(|i| mailbox.flags(i) & flag::DIRTY != 0) {
        mailbox.header.flags &= !header_flag::HAVE_DIRTY;
    }
    let appended = chain.files.iter().flat_map(|file| {
        let seq = file.seq();
        file.records().filter(move |record| LogPos { seq, offset: record.offset } >= from)
    });
    let proven_from = appended
        .filter(|record| record.kind() == Some(RecordType::Append))
        .flat_map(|record| record.elements::<Append>().map(|append| append.uid))
        .min()
        .unwrap_or(u32::MAX);
    if let Some(stopped) = &replayed.stopped {
        lost.push(format!("everything after {}: {stopped}", replayed.position));
    }
    let seen = |error: &&SyncError| repeats && matches!(error.kind, SyncKind::AppendBelowNextUid { .. });
    let flaws = replayed.errors.iter().filter(|error| !seen(error)).map(ToString::to_string).collect();
    replayed.errors.clear();
    let proven_from = if lost.is_empty() { proven_from } else { u32::MAX };
    Some(Candidate {
        base,
        replayed,
        flaws,
        lost,
        missing: 0,
        damaged: false,
        fscked: false,
        proven_from,
        beyond: false,
        wiped: false,
        reset: false,
        same_log: true,
        gap: false,
        margin,
    })
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
    /// Somewhere in the logs: replayed from the first of them, which changes nothing that it has already.
    Somewhere,
    /// Before the first of them.
    Before,
    /// It knows more than they hold.
    Beyond,
}

fn stand(mailbox: &Mailbox, chain: &Chain<'_>) -> Stand {
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

/// A mended index and the logs after it. `None` when a newer log starts from nothing: then the index counts for nothing.
fn follow(base: Base, mended: Mended, logs: &Logs<'_>) -> Option<Candidate> {
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
    match stand(&mailbox, &chain) {
        Stand::At(start) if start.reset => {
            // Dovecot would forget this index and take the log alone. Whether that is right is decided by what the log holds.
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
        place @ (Stand::Somewhere | Stand::Before) => {
            let first = chain.files.first()?;
            flaws.push(format!("the index says it stands at {here}, which the logs do not have"));
            if matches!(place, Stand::Before) {
                gap = true;
                lost.push(format!("what was logged between {here} and {}:{}", first.seq(), first.log.records_at));
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
            lost.push(format!("what was logged after {here}, if anything"));
            if let Some(head) = chain.head().filter(|head| head.seq() == here.seq) {
                lost.push(format!("the history of expunges between {}:{} and {here}", here.seq, head.end.offset));
            }
            beyond = true;
        }
    }
    let known_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
    let mut candidate = if beyond {
        let log_modseq = mailbox.modseq_header().map_or(0, |header| header.highest_modseq);
        let position = here;
        Candidate {
            base,
            replayed: Replayed {
                mailbox,
                position,
                log_modseq,
                errors: Vec::new(),
                ignored: Vec::new(),
                stopped: None,
            },
            flaws: Vec::new(),
            lost: Vec::new(),
            missing: 0,
            damaged: false,
            fscked: false,
            proven_from: u32::MAX,
            beyond,
            wiped: false,
            reset: false,
            same_log: true,
            gap: false,
            margin: MARGIN,
        }
    } else {
        let known = mailbox.extensions.len();
        let mut files: Vec<Survey<'_>> = logs.files.clone();
        if repeats {
            // Extensions may have been created in between: later numbers are not what this index would take them for.
            files.iter_mut().for_each(|file| file.distrust_ids(0, known));
        }
        let trusted = Logs { files, foreign: None, foreign_old: None, swapped: false, head_in_place: true };
        replay(base, mailbox, &trusted, from, unreset, repeats)?
    };
    if repeats {
        candidate.margin += MARGIN;
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
    candidate.reset = reset;
    candidate.same_log = same_log;
    candidate.gap = gap;
    Some(candidate)
}

/// An index and a log that starts from nothing: if the log holds all that the index does, the log counts, as for Dovecot. If
/// not, Dovecot would wipe the index without a word, and it is the log that has to give way.
fn settle_reset(mut candidate: Candidate, full: &mut Option<Candidate>) -> Option<Candidate> {
    if !candidate.reset {
        return Some(candidate);
    }
    let index = &candidate.replayed.mailbox;
    let covered = full.as_ref().is_some_and(|full| {
        let logs = &full.replayed.mailbox;
        logs.header.uid_validity == index.header.uid_validity
            && logs.header.next_uid >= index.header.next_uid
            && logs.len() >= index.len()
    });
    if covered {
        return candidate.same_log.then_some(candidate);
    }
    candidate.flaws.push("the log starts from nothing, and has not what the index has".into());
    candidate.wiped = true;
    *full = None;
    Some(candidate)
}

/// Holds an index against the logs it was made from. What Dovecot changed without logging it (fsck, upgrades) is its own.
fn compare_with_logs(candidate: &mut Candidate, full: Option<&Candidate>) {
    let comparable = |full: &&Candidate| full.is_sound() && candidate.is_sound() && !full.fscked && !candidate.fscked;
    let Some(full) = full.filter(comparable) else { return };
    let found = differences(&candidate.replayed.mailbox, &full.replayed.mailbox);
    if found.is_empty() {
        candidate.proven_from = 1;
    } else {
        candidate.flaws.push(format!("the index is not what the logs make it: {}", found.join("; ")));
    }
}

/// Where two states differ in what a client or a storage could notice.
fn differences(index: &Mailbox, logs: &Mailbox) -> Vec<String> {
    let mut found = Vec::new();
    let (a, b) = (&index.header, &logs.header);
    for (name, have, want) in [("uid_validity", a.uid_validity, b.uid_validity), ("next_uid", a.next_uid, b.next_uid)] {
        if have != want {
            found.push(format!("{name} is {have}, not {want}"));
        }
    }
    if index.keywords() != logs.keywords() {
        found.push("keyword names".into());
    }
    let names = |mailbox: &Mailbox| mailbox.extensions.iter().map(|ext| ext.name.clone()).collect::<Vec<_>>();
    if names(index) != names(logs) {
        found.push("extensions".into());
        return found;
    }
    if index.len() != logs.len() {
        found.push(format!("{} messages, not {}", index.len(), logs.len()));
        return found;
    }
    let pairs: Vec<_> = index.extensions.iter().zip(&logs.extensions).collect();
    let same_layout =
        pairs.iter().all(|(x, y)| x == y || (x.record_offset, x.record_size) == (y.record_offset, y.record_size));
    if same_layout && index.records() == logs.records() {
        return found;
    }
    for i in 0..index.physical_len() {
        let uid = logs.uid(i);
        if index.uid(i) != uid {
            found.push(format!("message {} has UID {}, not {uid}", i + 1, index.uid(i)));
        } else if index.flags(i) != logs.flags(i) {
            found.push(format!("flags of UID {uid}"));
        } else if let Some((ext, _)) = pairs.iter().find(|(x, y)| {
            // Links into a cache that was removed are cleared without a word in the log.
            x.name != b"cache" && x.reset_id == y.reset_id && index.ext_bytes(i, x) != logs.ext_bytes(i, y)
        }) {
            found.push(format!("{} of UID {uid}", String::from_utf8_lossy(&ext.name)));
        }
        if found.len() >= 5 {
            break;
        }
    }
    found
}

/// The first state that loses nothing; if all do, the one that loses least. With it, why not the index.
fn choose(
    inputs: &Inputs<'_>,
    index: Option<Candidate>,
    full: Option<Candidate>,
    backup: Option<Candidate>,
) -> Option<(Candidate, Vec<String>)> {
    let mut notes = Vec::new();
    match &index {
        Some(candidate) => notes.extend(candidate.flaws.iter().chain(&candidate.lost).cloned()),
        None if inputs.index.is_none() => notes.push("there is no index".into()),
        None => notes.push("the index is unusable".into()),
    }
    let sound_index = index.as_ref().is_some_and(Candidate::is_sound);
    let mut list: Vec<Candidate> = if sound_index {
        [index, full, backup].into_iter().flatten().collect()
    } else {
        // What the logs tell from the beginning is better than what is left of a damaged index.
        [full, index, backup].into_iter().flatten().collect()
    };
    list.retain(|candidate| inputs.base.is_none_or(|base| base == candidate.base));
    // An index that knows more than the logs still hold is worth more than what they hold.
    let cost = |candidate: &Candidate| {
        (candidate.missing, Reverse(candidate.replayed.position), candidate.gap, !candidate.lost.is_empty())
    };
    let best = (0..list.len()).min_by_key(|i| cost(&list[*i]))?;
    Some((list.swap_remove(best), notes))
}

fn no_base(inputs: &Inputs<'_>, logs: &Logs<'_>) -> String {
    if let Some(base) = inputs.base {
        return format!("there is nothing to build on with --base {base}");
    }
    let reach = logs.files.first().map_or_else(
        || "there is no readable log".to_owned(),
        |first| format!("the logs begin at {}:{}, not with an empty mailbox", first.seq(), first.log.records_at),
    );
    let rest = match (inputs.index.is_some(), inputs.backup.is_some()) {
        (false, false) => "there is neither index nor backup",
        (true, false) => "the index is beyond repair, and there is no backup",
        (false, true) => "there is no index, and the backup is of no use",
        (true, true) => "neither index nor backup is of use",
    };
    format!("{reach}, and {rest}: which messages there are is in no file that idx reads")
}

/// Puts messages back whose index records are gone: from the logs where they were appended, and from the storage.
fn fill(chosen: &mut Candidate, logs: &Logs<'_>, hints: &Hints<'_>) {
    let mailbox = &chosen.replayed.mailbox;
    let chain = logs.chain();
    let mut found: Vec<(u32, Vec<u8>)> = Vec::new();
    let Some(first) = chain.files.first() else { return };
    let mut none = mailbox.clone();
    none.set_records(Vec::new());
    none.header.next_uid = 1;
    none.header.seen_messages_count = 0;
    none.header.deleted_messages_count = 0;
    none.header.log_file_seq = first.seq();
    none.header.log_file_head_offset = u32::try_from(first.log.records_at).unwrap_or(0);
    let from = LogPos { seq: first.seq(), offset: first.log.records_at };
    let unreset = first.log.header.starts_empty().then(|| first.seq());
    let mut proven = 0;
    if let Some(partial) = replay(Base::Log, none, logs, from, unreset, false).filter(|partial| partial.lost.is_empty())
    {
        let partial = partial.replayed.mailbox;
        let same = partial
            .extensions
            .iter()
            .map(|e| (&e.name, e.range()))
            .eq(mailbox.extensions.iter().map(|e| (&e.name, e.range())));
        if same {
            for i in 0..partial.physical_len() {
                if mailbox.lookup(partial.uid(i)).is_none() {
                    found.push((partial.uid(i), partial.record(i).to_vec()));
                    proven += 1;
                }
            }
        }
    }
    let highest = chosen.replayed.highest_modseq();
    let proven_uids: HashSet<u32> = found.iter().map(|(uid, _)| *uid).collect();
    let mut bare = Vec::new();
    if let Some(storage) = hints.storage {
        for uid in &storage.uids {
            let known = mailbox.lookup(*uid).is_some() || proven_uids.contains(uid);
            if known || *uid >= mailbox.header.next_uid || hints.expunged.contains(*uid) {
                continue;
            }
            let mut record = vec![0; mailbox.record_size()];
            record[..4].copy_from_slice(&mailbox.endian.u32_bytes(*uid));
            if let Some(ext) = mailbox.extension(b"modseq")
                && let Some(bytes) = record.get_mut(ext.range())
                && bytes.len() == 8
            {
                bytes.copy_from_slice(&mailbox.endian.u64_bytes(highest));
            }
            bare.push(*uid);
            found.push((*uid, record));
        }
    }
    if found.is_empty() {
        return;
    }
    let mailbox = &mut chosen.replayed.mailbox;
    found.extend((0..mailbox.physical_len()).map(|i| (mailbox.uid(i), mailbox.record(i).to_vec())));
    found.sort_unstable_by_key(|(uid, _)| *uid);
    mailbox.set_records(found.into_iter().flat_map(|(_, record)| record).collect());
    let back = u32::try_from(proven + bare.len()).unwrap_or(u32::MAX);
    let complete = chosen.missing > 0 && back >= chosen.missing;
    chosen.missing = chosen.missing.saturating_sub(back);
    if complete {
        chosen.lost.retain(|what| !what.contains(" messages: "));
    }
    if !bare.is_empty() {
        let mut set = UidSet::new();
        bare.iter().for_each(|uid| set.insert(*uid));
        chosen
            .lost
            .push(format!("flags, keywords and modseqs of UIDs {set}: only the storage still has these messages"));
    }
}

/// From a state to bytes: what happens to log and cache, and the index that goes with them.
fn finish(inputs: &Inputs<'_>, logs: &Logs<'_>, indexid: u32, chosen: Candidate, notes: Vec<String>) -> Plan {
    let Candidate { base, replayed, flaws, mut lost, damaged, proven_from, beyond, wiped, margin, .. } = chosen;
    let as_is = base == Base::Index && flaws.is_empty() && lost.is_empty();
    let mut steps: Vec<(Step, String)> = Vec::new();
    let highest = replayed.highest_modseq();
    let Replayed { mut mailbox, position, .. } = replayed;
    mailbox.header.indexid = indexid;
    let why_index = notes.join("; ");
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
    if wiped {
        reasons.push("it starts from nothing, and would wipe the index".into());
    }
    let replaced = !reasons.is_empty();
    let head_lost = beyond || head.is_none() || !(logs.head_in_place || logs.swapped);
    if replaced {
        if head_lost && !beyond {
            lost.push(format!("what was logged after {position}, if anything"));
        }
        let margin = if head_lost { margin.max(MARGIN) } else { margin };
        raised = if lost.is_empty() { 0 } else { margin };
    }
    let whole = head.filter(|log| log.holes.is_empty() && !head_lost && !wiped);
    let had_history = |log: &Survey<'_>| !log.holes.is_empty() || (wiped && log.end > log.log.records_at);
    if replaced && whole.is_none() && head.is_some_and(had_history) {
        lost.push("the history of expunges: QRESYNC clients from before get every missing UID".into());
    }
    let highest = highest.saturating_add(raised);
    let mut chain_log: Option<Vec<u8>> = None;
    if replaced {
        let why = format!("replaced by its successor: {}", reasons.join("; "));
        let next = next_log(inputs, logs, &mailbox, indexid, highest, whole.is_some());
        let pending = whole.or(head.filter(|_| !head_lost)).map(|log| pending(log, &mailbox)).unwrap_or_default();
        let mut bytes = next.to_bytes(mailbox.endian);
        bytes.extend(pending);
        match whole {
            Some(log) => {
                let mut old = log.readable.get(..usize::try_from(log.end).unwrap_or(0)).unwrap_or_default().to_vec();
                let mut header = log.log.header.clone();
                header.indexid = indexid;
                let known = usize::from(header.hdr_size).min(LogHeader::SIZE).min(old.len());
                let fixed = header.to_bytes(log.log.endian);
                old[..known].copy_from_slice(&fixed[..known]);
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
        // Requests that were not yet executed go on: the new log starts with them.
        if bytes.len() > LogHeader::SIZE
            && let Ok(log) = crate::format::log::LogFile::parse(&bytes, bytes.len() as u64)
            && let Ok(done) =
                Chain::new([crate::model::ChainFile::new(log, &bytes)]).replay(mailbox.clone(), Until::End)
        {
            mailbox = done.mailbox;
            mailbox.header.log_file_tail_offset = 40;
        }
        steps.push((Step::WriteLog(bytes.clone()), why.clone()));
        chain_log = Some(bytes);
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
                format!("{torn} bytes of an unfinished transaction at {}: {tail}", log.end),
            ));
        }
        if let Some(why) = &logs.foreign_old {
            steps.push((Step::RemoveOldLog, why.clone()));
        }
    }

    // The cache: what does not belong goes, and then the links to it.
    let mut links = cache_links(&mailbox);
    if let Some(bytes) = inputs.cache
        && let Some(why) = foreign_cache(bytes, &mailbox, indexid)
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
        if let Err(why) = verify(&index, chain_log.as_deref(), head, indexid) {
            plan.refusal = Some(format!("the result does not hold: {why}"));
        }
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
        cache_links: links,
    });
    plan
}

fn count(mailbox: &Mailbox, proven_from: u32, damaged: bool) -> Messages {
    let total = mailbox.len() as u64;
    let proven = mailbox.positions().filter(|i| mailbox.uid(*i) >= proven_from).count() as u64;
    let rest = total - proven;
    let (carried, salvaged) = if damaged { (0, rest) } else { (rest, 0) };
    Messages { total, proven, carried, salvaged }
}

/// The header of the log that comes next: `mail_transaction_log_rotate`.
fn next_log(
    inputs: &Inputs<'_>,
    logs: &Logs<'_>,
    mailbox: &Mailbox,
    indexid: u32,
    highest: u64,
    keeps_old: bool,
) -> LogHeader {
    let header = &mailbox.header;
    let of_index = |bytes: Option<&[u8]>| {
        bytes.and_then(|bytes| IndexFile::parse(bytes).ok()).map_or(0, |index| index.header.log_file_seq)
    };
    let seqs = logs.files.iter().map(Survey::seq).chain([
        header.log_file_seq,
        of_index(inputs.index).min(header.log_file_seq.saturating_add(1000)),
        1,
    ]);
    let (prev_file_seq, prev_file_offset) = match logs.head().filter(|_| keeps_old) {
        Some(log) => (log.seq(), u32::try_from(log.end).unwrap_or(u32::MAX)),
        None => (header.log_file_seq, header.log_file_head_offset),
    };
    LogHeader {
        major_version: 1,
        minor_version: 3,
        hdr_size: 40,
        indexid,
        file_seq: seqs.max().unwrap_or(1).saturating_add(1),
        prev_file_seq,
        prev_file_offset,
        create_stamp: inputs.now,
        initial_modseq: highest.max(1),
        compat_flags: u8::from(mailbox.endian == Endian::Little),
        unused: [0; 3],
        unused2: 0,
    }
}

/// The records of requests that nobody has executed yet: flag and keyword changes and expunges between tail and end.
fn pending(log: &Survey<'_>, mailbox: &Mailbox) -> Vec<u8> {
    let same = mailbox.header.log_file_seq == log.seq();
    let tail = if same { u64::from(mailbox.header.log_file_tail_offset) } else { 0 };
    let file = log.file();
    let requests = file.records().filter(|record| record.offset >= tail && record.is_request());
    requests.flat_map(|record| record.bytes.to_vec()).collect()
}

fn cache_links(mailbox: &Mailbox) -> u64 {
    let Some(ext) = mailbox.extension(b"cache") else { return 0 };
    let linked = |i: &usize| mailbox.ext_bytes(*i, ext).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
    mailbox.positions().filter(linked).count() as u64
}

fn clear_cache_links(mailbox: &mut Mailbox) {
    let Some(range) = mailbox.extension(b"cache").map(crate::model::Extension::range) else { return };
    for i in 0..mailbox.physical_len() {
        if let Some(bytes) = mailbox.record_mut(i).get_mut(range.clone()) {
            bytes.fill(0);
        }
    }
}

/// Why a cache does not go with a mailbox: Dovecot would delete it, most often with a word in its log.
fn foreign_cache(bytes: &[u8], mailbox: &Mailbox, indexid: u32) -> Option<String> {
    if bytes.len() < CacheHeader::SIZE {
        return Some(format!("the cache is only {} bytes long", bytes.len()));
    }
    let header = CacheHeader::read(bytes, mailbox.endian);
    if (header.major_version, header.compat_sizeof_uoff_t) != (1, 8) {
        return Some("the cache has no header that Dovecot would read".into());
    }
    if header.indexid != indexid {
        return Some(format!("the cache has indexid {}, the mailbox {indexid}", header.indexid));
    }
    if header.file_seq == 0 {
        return Some("the cache is marked corrupted".into());
    }
    let ext = mailbox.extension(b"cache")?;
    if ext.reset_id != 0 && ext.reset_id != header.file_seq {
        return Some(format!("the cache has file_seq {}, the index expects {}", header.file_seq, ext.reset_id));
    }
    let cache = match Cache::parse(bytes, Some(indexid)) {
        Ok(cache) => cache,
        Err(error) => return Some(format!("the cache is damaged: {error}")),
    };
    let mut problems = Vec::new();
    for i in mailbox.positions() {
        let Some(offset) = mailbox.ext_bytes(i, ext).and_then(|bytes| mailbox.endian.u32_at(bytes, 0)) else {
            continue;
        };
        if offset != 0 {
            cache.check_chain(offset, &mut problems);
        }
        if let Some(problem) = problems.first() {
            return Some(format!("the cache is damaged: {problem}"));
        }
    }
    None
}

/// Decodes the result and holds it against every rule again.
fn verify(index: &[u8], new_log: Option<&[u8]>, head: Option<&Survey<'_>>, indexid: u32) -> Result<(), String> {
    let view = IndexFile::parse(index).map_err(|error| error.to_string())?;
    if let Some(problem) = view.problems.first() {
        return Err(problem.to_string());
    }
    let mended = mend(index, &Hints { indexid, ..Hints::default() }).ok_or("it cannot be read")?;
    if let Some(flaw) = mended.flaws.first() {
        return Err(flaw.clone());
    }
    if mended.mailbox.encode() != index {
        return Err("it does not decode to itself".into());
    }
    let header = &view.header;
    let chain = match (new_log, head) {
        (Some(bytes), _) => {
            let log =
                crate::format::log::LogFile::parse(bytes, bytes.len() as u64).map_err(|error| error.to_string())?;
            Chain::new([crate::model::ChainFile::new(log, bytes)])
        }
        (None, Some(head)) => Chain::new([head.file()]),
        (None, None) => return Err("there is no log".into()),
    };
    let start =
        chain.start(header.log_file_seq, u64::from(header.log_file_head_offset)).map_err(|lost| lost.to_string())?;
    if start.reset && view.count() > 0 {
        return Err("the log would wipe it".into());
    }
    let (tail, top) = (header.log_file_tail_offset, header.log_file_head_offset);
    if tail > top {
        return Err(format!("tail {tail} is past head {top}"));
    }
    Ok(())
}
