//! `idx modseq`: where HIGHESTMODSEQ and the modseq of every message come from, and what a modseq stands for.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::qresync::{Opened, State};
use super::show::ShowError;
use crate::check::{Code, Finding};
use crate::format::changes::Effect;
use crate::format::ext::Visit;
use crate::format::log::LogFile;
use crate::format::record::{Append, Record, RecordType};
use crate::logs::history::Logs;
use crate::model::chain::ChainFile;
use crate::model::mailbox::ModseqHeader;
use crate::model::reach::{Why, oldest_modseq};
use crate::model::{Chain, LogPos, UidSet, qresync};
use crate::render::Emit;
use crate::render::document::{Document, Part};
use crate::source::{MailboxFiles, PathError, Role};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.modseq/1";
/// Highest modseq that IMAP can express (RFC 7162): 63 bits.
pub const IMAP_MAX: u64 = (1 << 63) - 1;
/// Lowest `indexid`, a UNIX time, that a position modseq can have been made from: the scheme is of 2008.
const INDEXID_FROM: u32 = 0x4000_0000;
/// Messages that make one block of work.
const BLOCK: usize = 4096;

/// Writes a log position as an object, or null.
fn emit_position(emit: &mut (impl Emit + ?Sized), name: &str, position: Option<LogPos>) {
    match position {
        Some(position) => {
            emit.object_begin(name);
            emit.number("log_file_seq", u64::from(position.seq));
            emit.number("offset", position.offset);
            emit.object_end();
        }
        None => emit.null(name),
    }
}

fn emit_optional(emit: &mut (impl Emit + ?Sized), name: &str, value: Option<u64>) {
    match value {
        Some(value) => emit.number(name, value),
        None => emit.null(name),
    }
}

/// The UIDs whose modseq a record raises, as ranges, and for a modseq-update the modseq it gives them.
fn touched<'a>(record: &Record<'a>) -> impl Iterator<Item = (u32, u32, Option<u64>)> + use<'a> {
    record.changes(None).filter_map(|change| {
        let modseq = match change.effect {
            Effect::Append { .. } | Effect::Keyword { .. } | Effect::KeywordReset => None,
            Effect::Flags(flags) if !flags.internal => None,
            Effect::Expunge { done: true, .. } => None,
            Effect::Modseq { modseq } => Some(modseq),
            Effect::Flags(_) | Effect::Expunge { .. } | Effect::Extension { .. } | Effect::Increment { .. } => {
                return None;
            }
        };
        Some((change.uid1, change.uid2, modseq))
    })
}

/// How the index and the logs agree about the highest modseq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The modseq header of the index file; `None` without a file or without the extension.
    pub index: Option<ModseqHeader>,
    /// What the log counts at the position of that header; `None` when the log of that position is gone.
    pub counted: Option<u64>,
    /// What the logs count at their end, and where that is.
    pub log: Option<(u64, LogPos)>,
    /// What contradicts what.
    pub problems: Vec<(PathBuf, String)>,
}

/// Counts the modseqs of a log as the Dovecot that wrote it did: up to 2.2.28 internal flag changes raised them in the
/// map, but not in what was written.
fn counted_without_internal(file: &ChainFile<'_>, offset: u64) -> Option<u64> {
    let mut log: LogFile = file.log.clone();
    log.header.minor_version = log.header.minor_version.max(3);
    let mut scan = log.records(file.bytes);
    while scan.pos() < offset {
        scan.next()?;
    }
    Some(scan.modseq())
}

/// Holds the index's modseq header against the logs, and the logs against each other.
pub fn agreement(files: &MailboxFiles, chain: &Chain<'_>, index: Option<ModseqHeader>) -> Agreement {
    let mut problems = Vec::new();
    let mut counted = None;
    if let Some(header) = index {
        let path = files.path(Role::Index);
        match chain.position_of(header.log_seq).and_then(|i| Some((i, chain.files.get(i)?))) {
            Some((i, file)) => {
                let offset = u64::from(header.log_offset);
                let here = chain.modseq_at(i, offset, None);
                counted = Some(here);
                let old = || counted_without_internal(file, offset) == Some(header.highest_modseq);
                // Where tracking began in the middle of a log, the extension header may not have been filled in yet:
                // then the log had counted nothing before.
                let fresh = file.log.header.initial_modseq == 0 && (here == 0 || header.highest_modseq == 0);
                if here != header.highest_modseq && !fresh && !old() {
                    problems.push((
                        path,
                        format!(
                            "modseq header: highest_modseq {} at {}:{offset}, but the log counts {here} there",
                            header.highest_modseq, header.log_seq
                        ),
                    ));
                }
            }
            None => {
                let newer = chain.files.iter().find(|file| file.seq() > header.log_seq);
                if let Some(newer) = newer.filter(|newer| newer.log.header.initial_modseq < header.highest_modseq) {
                    let initial = newer.log.header.initial_modseq;
                    problems.push((
                        path,
                        format!(
                            "modseq header: highest_modseq {} in log {}, but log {} begins with {initial}",
                            header.highest_modseq,
                            header.log_seq,
                            newer.seq()
                        ),
                    ));
                }
            }
        }
    }
    for pair in chain.files.windows(2) {
        let [old, new] = pair else { continue };
        let (ends, begins) = (old.end_modseq, new.log.header.initial_modseq);
        let follows = new.log.header.prev_file_seq == old.seq();
        let by_old_count = || counted_without_internal(old, old.end.offset).is_some_and(|modseq| modseq <= begins);
        if follows && begins < ends && !by_old_count() {
            let problem = format!(
                "log {} ends with modseq {ends}, but log {} begins with {begins}: HIGHESTMODSEQ went backwards",
                old.seq(),
                new.seq()
            );
            problems.push((files.path(Role::Log), problem));
        }
    }
    let log = chain.head().map(|head| (head.end_modseq, chain.end()));
    Agreement { index, counted, log, problems }
}

/// Where tracking began: the first intro of the `modseq` extension after a log that did not count. `None` when it began
/// before the oldest log, or never did.
fn tracking_began(chain: &Chain<'_>) -> Option<(LogPos, u64)> {
    let (i, first) = chain.files.iter().enumerate().find(|(_, file)| file.end_modseq > 0)?;
    if first.log.header.initial_modseq > 0 {
        // Counted from the first record of a file that continues an untracked one, or of the very first file.
        let whole = i > 0 || first.log.header.starts_empty();
        let pos = LogPos { seq: first.seq(), offset: first.log.records_at };
        return whole.then_some((pos, first.log.header.initial_modseq));
    }
    let record = first.records().find(|record| record.modseq > 0)?;
    Some((LogPos { seq: first.seq(), offset: record.offset }, record.modseq))
}

/// What the logs know of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The modseq of its append.
    pub createseq: Option<u64>,
    /// The record that gave it its present modseq.
    pub set: Option<(LogPos, RecordType)>,
}

/// Finds for messages, given by rising UID with their modseqs, where they and their modseqs come from.
///
/// A record sets the modseq of messages only if it is the one they have: so it is held against those alone, however
/// many messages it names, and each message is done once. Records of any size take no more than a look-up for each
/// range.
fn origins(chain: &Chain<'_>, messages: &[(u32, u64)]) -> Vec<Origin> {
    let mut list = vec![Origin::default(); messages.len()];
    let mut unset: HashMap<u64, BTreeMap<u32, usize>> = HashMap::new();
    for (i, (uid, modseq)) in messages.iter().enumerate() {
        unset.entry(*modseq).or_default().insert(*uid, i);
    }
    for file in &chain.files {
        for record in file.records() {
            let Some(kind) = record.kind() else { continue };
            if matches!(kind, RecordType::Expunge | RecordType::ExpungeGuid) {
                continue;
            }
            if kind == RecordType::Append && record.modseq > 0 {
                for append in record.elements::<Append>() {
                    let at = messages.binary_search_by_key(&append.uid, |(uid, _)| *uid);
                    if let Some(origin) = at.ok().and_then(|i| list.get_mut(i)) {
                        origin.createseq = Some(record.modseq);
                    }
                }
            }
            let set = Some((LogPos { seq: file.seq(), offset: record.offset }, kind));
            for (first, last, given) in touched(&record).filter(|(first, last, _)| first <= last) {
                let Some(waiting) = unset.get_mut(&given.unwrap_or(record.modseq)) else { continue };
                while let Some((uid, i)) = waiting.range(first..=last).next().map(|(uid, i)| (*uid, *i)) {
                    waiting.remove(&uid);
                    if let Some(origin) = list.get_mut(i) {
                        origin.set = set;
                    }
                }
            }
        }
    }
    list
}

/// Everything about a mailbox's modseqs.
#[derive(Debug)]
pub struct Overview<'s> {
    /// The mailbox.
    pub state: State<'s>,
    /// How the files agree.
    pub agreement: Agreement,
}

impl Overview<'_> {
    /// Whether the index's modseq header and the logs count the same.
    pub fn agree(&self) -> bool {
        let counted_wrong = |finding: &Finding| matches!(finding.code, Code::I17 | Code::L18);
        self.agreement.problems.is_empty() && !self.state.problems.iter().any(counted_wrong)
    }
}

/// Reads everything about a mailbox's modseqs.
///
/// # Errors
/// When its files are no index files.
pub fn overview<'s>(path: &Path, opened: &'s Opened) -> Result<Overview<'s>, ShowError> {
    let state = opened.state(path)?;
    let index = super::load::base(&opened.snapshot, Role::Index);
    let header = index.and_then(|mailbox| mailbox.modseq_header());
    let agreement = agreement(&opened.files, &state.chain, header);
    Ok(Overview { state, agreement })
}

/// Writes everything about a mailbox's modseqs.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_overview<D: Document>(
    path: &Path,
    overview: &Overview<'_>,
    uid: Option<&UidSet>,
    out: &mut D,
) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let (state, agreement) = (&overview.state, &overview.agreement);
    let replayed = &state.loaded.replayed;
    let mailbox = &replayed.mailbox;
    let chain = &state.chain;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("indexid", u64::from(mailbox.header.indexid));
        emit.number("uid_validity", u64::from(mailbox.header.uid_validity));
        emit.number("highest_modseq", replayed.highest_modseq());
        match agreement.index {
            Some(header) => {
                emit.object_begin("index");
                emit.number("highest_modseq", header.highest_modseq);
                emit.number("log_seq", u64::from(header.log_seq));
                emit.number("log_offset", u64::from(header.log_offset));
                emit_optional(emit, "counted", agreement.counted);
                emit.object_end();
            }
            None => emit.null("index"),
        }
        match agreement.log {
            Some((modseq, position)) => {
                emit.object_begin("log");
                emit.number("highest_modseq", modseq);
                emit.number("log_file_seq", u64::from(position.seq));
                emit.number("offset", position.offset);
                emit.object_end();
            }
            None => emit.null("log"),
        }
        emit.boolean("agree", overview.agree());
        emit.object_begin("tracking");
        emit.boolean("per_message", mailbox.modseq_header().is_some());
        match tracking_began(chain) {
            Some((position, modseq)) => {
                emit_position(emit, "began", Some(position));
                emit.number("modseq", modseq);
            }
            None => {
                emit.null("began");
                emit.null("modseq");
            }
        }
        emit.object_end();
        emit_optional(emit, "oldest_modseq", oldest_modseq(&chain.segments()));
        super::load::emit_left_out(emit, chain.left_out);
    })?;
    out.list("files", |_, part| {
        for file in &chain.files {
            let header = &file.log.header;
            part.item(|emit| {
                emit.number("file_seq", u64::from(header.file_seq));
                emit.text("version", format!("{}.{}", header.major_version, header.minor_version).as_bytes());
                emit.number("size", file.log.size);
                emit.number("initial_modseq", header.initial_modseq);
                emit.number("highest_modseq", file.end_modseq);
            });
        }
        Ok(())
    })?;
    let positions: Vec<(usize, u32)> =
        mailbox.positions().zip(1..).filter(|(i, _)| uid.is_none_or(|set| set.contains(mailbox.uid(*i)))).collect();
    let messages: Vec<(u32, u64)> =
        positions.iter().map(|(i, _)| (mailbox.uid(*i), replayed.message_modseq(*i))).collect();
    let origins = origins(chain, &messages);
    let all: Vec<_> = positions.iter().map(|(_, seq)| *seq).zip(messages).zip(origins).collect();
    let mut blocks = all.chunks(BLOCK);
    out.list_in_blocks(
        "messages",
        || Ok(blocks.next()),
        |block, part| {
            for ((seq, (uid, modseq)), origin) in block {
                part.item(|emit| {
                    emit.number("seq", u64::from(*seq));
                    emit.number("uid", u64::from(*uid));
                    emit.number("modseq", *modseq);
                    emit_optional(emit, "createseq", origin.createseq);
                    emit_optional(emit, "log_file_seq", origin.set.map(|(pos, _)| u64::from(pos.seq)));
                    emit_optional(emit, "offset", origin.set.map(|(pos, _)| pos.offset));
                    match origin.set {
                        Some((_, kind)) => emit.text("type", kind.name().as_bytes()),
                        None => emit.null("type"),
                    }
                });
            }
        },
    )?;
    out.end()
}

/// Writes a line for each step of the modseq, in memory that does not grow with the logs.
///
/// # Errors
/// When a log cannot be read or `out` cannot be written to.
pub fn write_history<D: Document>(path: &Path, logs: &mut Logs, uid: Option<&UidSet>, out: &mut D) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    let starts: HashMap<u32, u64> = logs.list.iter().map(|log| (log.segment.seq, log.segment.initial_modseq)).collect();
    out.list("history", |out, part| {
        let mut last = (0, 0);
        logs.each(0, |_, seq, record| {
            let before = if last.0 == seq { last.1 } else { starts.get(&seq).copied().unwrap_or(0) };
            last = (seq, record.modseq);
            if record.modseq <= before {
                return Ok(true);
            }
            let uids: UidSet =
                touched(record).map(|(first, last, _)| (first, last)).filter(|(uid, _)| *uid > 0).collect();
            if uid.is_some_and(|wanted| !uids.ranges().iter().any(|(a, b)| wanted.intersects(*a, *b))) {
                return Ok(true);
            }
            part.item(|emit| {
                emit.number("modseq", record.modseq);
                emit.number("log_file_seq", u64::from(seq));
                emit.number("offset", record.offset);
                emit.number("size", u64::from(record.size));
                emit.text("type", record.kind().map_or("", RecordType::name).as_bytes());
                emit.boolean("external", record.external());
                emit.boolean("sync", record.sync());
                emit.text("uids", uids.to_string().as_bytes());
            });
            out.take_some(part)?;
            Ok(true)
        })
    })?;
    out.end()
}

/// What a modseq stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The modseq.
    pub modseq: u64,
    /// What a client that knows it has seen ends here; `None` when the logs do not reach back.
    pub position: Option<LogPos>,
    /// The record that ends there, if it raised the modseq to this.
    pub record: Option<(LogPos, Option<RecordType>)>,
    /// How QRESYNC with it is answered.
    pub kind: qresync::Kind,
    /// Why not exactly.
    pub reason: Option<String>,
    /// True when it is above the highest.
    pub future: bool,
}

/// Finds the log position that a modseq stands for.
///
/// # Errors
/// When a log cannot be read.
pub fn locate(logs: &mut Logs, modseq: u64) -> Result<Located, PathError> {
    let (file, position) = match logs.locate(modseq)? {
        Ok(found) => found,
        Err(error) => {
            let kind = qresync::Kind::Fallback;
            let reason = Some(error.reason.to_string());
            return Ok(Located { modseq, position: None, record: None, kind, reason, future: false });
        }
    };
    let mut record = None;
    let path = logs.list.get(file).map(|log| log.path.clone()).unwrap_or_default();
    // Read to the end: what lies behind damage nobody knows.
    let mut highest = logs.list.get(file).map_or(0, |log| log.segment.initial_modseq);
    let initial = highest;
    logs.each(file, |i, seq, one| {
        highest = highest.max(one.modseq);
        if i == file && record.is_none() && one.modseq >= modseq && one.modseq > 0 {
            record = Some((LogPos { seq, offset: one.offset }, one.kind(), one.modseq));
        }
        Ok(true)
    })
    .map_err(|source| PathError::Io { path, source })?;
    let record = record.filter(|(.., at)| *at == modseq && modseq > initial).map(|(pos, kind, _)| (pos, kind));
    let future = modseq > highest.max(1);
    let damaged = logs.damaged.iter().find(|pos| **pos >= position);
    let (kind, why) = match damaged {
        Some(pos) => (qresync::Kind::Damaged, Some(Why::Damaged(*pos))),
        None if future => (qresync::Kind::Future, Some(Why::Future { modseq, highest: highest.max(1) })),
        None => (qresync::Kind::Exact, None),
    };
    let reason = why.map(|why| why.to_string());
    Ok(Located { modseq, position: Some(position), record, kind, reason, future })
}

/// Writes where a modseq lies.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_located<D: Document>(path: &Path, located: &Located, out: &mut D) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("modseq", located.modseq);
        emit_optional(emit, "log_file_seq", located.position.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", located.position.map(|pos| pos.offset));
        emit.text("answer", located.kind.name().as_bytes());
        match &located.reason {
            Some(reason) => emit.text("reason", reason.as_bytes()),
            None => emit.null("reason"),
        }
        emit.boolean("future", located.future);
        match located.record {
            Some((position, kind)) => {
                emit.object_begin("record");
                emit.number("log_file_seq", u64::from(position.seq));
                emit.number("offset", position.offset);
                emit.text("type", kind.map_or("", RecordType::name).as_bytes());
                emit.object_end();
            }
            None => emit.null("record"),
        }
    })?;
    out.end()
}

/// What a number is that somebody found as a modseq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A count of changes, as every release makes them.
    Counter,
    /// A position, as snapshots of 15 March to 11 June 2008 made them: `((indexid + log_file_seq) << 32) |
    /// log_file_offset`.
    Position,
    /// Too large for a count of changes, but no position of this index: raised by a modseq-update.
    Raised,
}

impl Scheme {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Counter => "counter",
            Scheme::Position => "position",
            Scheme::Raised => "raised",
        }
    }
}

/// A number, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The number.
    pub value: u64,
    /// What it is.
    pub scheme: Scheme,
    /// The log position it would be in the position scheme; `None` when it lies before this index was made.
    pub position: Option<LogPos>,
    /// The counter modseq at that position, where the logs still have it.
    pub counter: Option<u64>,
    /// As a counter: the position scheme's number for the position it stands for.
    pub as_position: Option<u64>,
    /// The log position it stands for as a counter.
    pub located: Option<LogPos>,
    /// Why it is taken for what it is.
    pub reason: String,
}

/// The number that the scheme of 2008 gives a position.
pub fn encode_position(indexid: u32, position: LogPos) -> Option<u64> {
    let high = u64::from(indexid) + u64::from(position.seq);
    Some(high.checked_mul(1 << 32)? | u64::from(u32::try_from(position.offset).ok()?))
}

/// The position that a number stands for in the scheme of 2008; `None` when it is below the index's first.
pub fn decode_position(indexid: u32, value: u64) -> Option<LogPos> {
    let seq = (value >> 32).checked_sub(u64::from(indexid))?;
    Some(LogPos { seq: u32::try_from(seq).ok()?, offset: value & u64::from(u32::MAX) })
}

/// Takes a number apart, in both directions.
///
/// # Errors
/// When a log cannot be read.
pub fn decode(logs: &mut Logs, value: u64) -> Result<Decoded, PathError> {
    let indexid = logs.indexid();
    let position = decode_position(indexid, value);
    let threshold = u64::from(indexid) << 32;
    let plausible = indexid >= INDEXID_FROM && value > threshold && position.is_some_and(|pos| pos.offset % 4 == 0);
    let unversioned = |log: &crate::logs::history::Log| log.stream.log.header.minor_version == 0;
    let counts = |log: &crate::logs::history::Log| log.segment.initial_modseq > threshold && indexid > 0;
    let evidence = if logs.list.iter().any(unversioned) {
        Some("a log of version 1.0, which has no counter")
    } else if logs.list.iter().any(counts) {
        Some("a log whose initial_modseq is above indexid << 32")
    } else {
        None
    };
    let (scheme, reason) = if !plausible && value > u64::from(u32::MAX) {
        let reason = "above 2^32, but not above this indexid << 32 with an offset that is a multiple of 4";
        (Scheme::Raised, reason.to_owned())
    } else if !plausible {
        (Scheme::Counter, format!("below indexid << 32 ({threshold}): a count of changes"))
    } else {
        match evidence {
            Some(evidence) => (Scheme::Position, format!("above indexid << 32 ({threshold}), and there is {evidence}")),
            None => {
                let near = logs.list.last().is_some_and(|log| position.is_some_and(|pos| pos.seq <= log.segment.seq));
                let reason = format!("above indexid << 32 ({threshold}), though the logs here count changes");
                (if near { Scheme::Position } else { Scheme::Raised }, reason)
            }
        }
    };
    let mut counter = None;
    if let Some(wanted) = position
        && let Some(i) = logs.list.iter().position(|log| log.segment.seq == wanted.seq)
    {
        let path = logs.list.get(i).map(|log| log.path.clone()).unwrap_or_default();
        logs.each(i, |file, _, record| {
            if file != i || record.offset > wanted.offset {
                return Ok(false);
            }
            if record.offset == wanted.offset || record.end() == wanted.offset {
                counter = Some(record.modseq);
            }
            Ok(true)
        })
        .map_err(|source| PathError::Io { path, source })?;
    }
    let located = logs.locate(value)?.ok().map(|(_, position)| position).filter(|_| scheme == Scheme::Counter);
    let as_position = located.and_then(|position| encode_position(indexid, position));
    Ok(Decoded { value, scheme, position, counter, as_position, located, reason })
}

/// Writes a number taken apart.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_decoded<D: Document>(path: &Path, indexid: u32, decoded: &Decoded, out: &mut D) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    out.begin(&mut |emit| emit.text("path", path.as_os_str().as_bytes()))?;
    out.members(&mut |emit| {
        emit.number("value", decoded.value);
        emit.text("hex", format!("0x{:016x}", decoded.value).as_bytes());
        emit.text("scheme", decoded.scheme.name().as_bytes());
        emit.text("reason", decoded.reason.as_bytes());
        emit.boolean("valid_in_imap", (1..=IMAP_MAX).contains(&decoded.value));
        emit.number("indexid", u64::from(indexid));
    })?;
    out.object("as_position", &mut |emit| {
        emit_optional(emit, "log_file_seq", decoded.position.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", decoded.position.map(|pos| pos.offset));
        emit_optional(emit, "counter_there", decoded.counter);
    })?;
    out.object("as_counter", &mut |emit| {
        emit_optional(emit, "log_file_seq", decoded.located.map(|pos| u64::from(pos.seq)));
        emit_optional(emit, "offset", decoded.located.map(|pos| pos.offset));
        emit_optional(emit, "position_modseq", decoded.as_position);
    })?;
    out.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// rotation.md 7: `((indexid + log_file_seq) << 32) | log_file_offset`.
    #[test]
    fn the_scheme_of_2008_in_both_directions() {
        let position = LogPos { seq: 2, offset: 1788 };
        assert_eq!(encode_position(0x47db_0000, position), Some(0x47db_0002_0000_06fc));
        assert_eq!(decode_position(0x47db_0000, 0x47db_0002_0000_06fc), Some(position));
        assert_eq!(decode_position(0x47db_0000, 4711), None);
        assert_eq!(encode_position(1, LogPos { seq: 1, offset: 1 << 32 }), None);
        assert_eq!(encode_position(u32::MAX, LogPos { seq: u32::MAX, offset: 0 }), None);
    }
}
