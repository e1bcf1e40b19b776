//! `idx dump`: what is physically in each file, field by field. Nothing is replayed, nothing is judged; what cannot be read is
//! named, and reading goes on behind it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::load;
use crate::format::cache::{Cache, CacheHeader, CacheRecord, TileKind};
use crate::format::ext::{HeaderKind, IndexFlavor, RecordKind, Visit, keyword_bits};
use crate::format::flaw::note;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, Framer, LogEnd, LogFile, Step};
use crate::format::spans;
use crate::format::thread::{Thread, ThreadTileKind};
use crate::format::{Disk, Endian, FileKind, Flaw, FlawKind, Value, mailbox_log};
use crate::logs::records::{emit_record, names_before, touches};
use crate::model::UidSet;
use crate::render::Emit;
use crate::render::document::{Document, Part};
use crate::source::{
    Input, LogStream, MailboxFiles, MmapPolicy, PathError, Role, Stat, StreamStep, TailState, read, recognise,
    tail_state,
};

/// The JSON schema of every document and line.
pub const SCHEMA: &str = "idx.dump/1";
/// Logs from this size on are read in pieces, so that memory does not grow with them.
const STREAM_FROM: u64 = 4 << 20;
/// Bytes of log, or of index records, that make one block of work.
const BLOCK: usize = 128 << 10;

/// Bytes that a table shows as hex digits beside their name.
const SHORT: usize = 16;

/// What to show of each file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these sections; all when `None`.
    pub sections: Option<Vec<Section>>,
    /// Only records of these messages.
    pub uid: Option<UidSet>,
    /// At most this many records per file.
    pub limit: Option<u64>,
    /// Name and show every byte.
    pub hex: bool,
    /// Read the files as this kind, whatever they look like.
    pub kind: Option<FileKind>,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// A part of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The file header.
    Header,
    /// Extension headers of an index.
    Extensions,
    /// Keyword names of an index.
    Keywords,
    /// Records of an index, a cache, a thread index or a mailbox log; also those of a transaction log.
    Records,
    /// Fields of a cache.
    Fields,
    /// Records of a transaction log.
    Transactions,
}

impl Options {
    fn wants(&self, section: Section) -> bool {
        self.sections.as_ref().is_none_or(|list| list.contains(&section))
    }

    fn limit(&self) -> usize {
        self.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

/// How a dump ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is damaged, to be shown to the user as well.
    pub problems: Vec<Flaw>,
}

/// Dumps one file.
///
/// # Errors
/// [`DumpError::Path`] when the file cannot be read or is of no known kind; [`DumpError::Output`] when `out` cannot be written
/// to.
pub fn file<D: Document>(path: &Path, options: &Options, out: &mut D) -> Result<Outcome, DumpError> {
    let stat = Stat::at(path).map_err(|e| PathError::io(path, e))?;
    let kind = match options.kind {
        Some(kind) => Some(kind),
        None => {
            let head = crate::source::head(path).map_err(|e| PathError::io(path, e))?;
            recognise(path, &head, stat.size)
        }
    };
    let unknown = |error| PathError::Unknown { path: path.to_owned(), error };
    let Some(kind) = kind else {
        return Err(unknown(Flaw::new(
            FileKind::Index,
            0,
            FlawKind::NoKnownFile,
            "an index, log, cache, thread index or mailbox log",
            if stat.size == 0 { "an empty file" } else { "none of these" },
        ))
        .into());
    };
    if kind == FileKind::Log && stat.size >= STREAM_FROM && !options.hex {
        let stream = LogStream::open(path).map_err(|e| PathError::io(path, e))?;
        return log_stream(path, stream, options, out);
    }
    let input = read(path, options.mmap, kind != FileKind::Log).map_err(|e| PathError::io(path, e))?;
    let beside = Beside::find(path, kind, &input, options);
    bytes(path, kind, &input.bytes, &beside, options, out)
}

/// What the files around a file say of it.
#[derive(Debug, Default)]
pub struct Beside {
    names: ExtNames,
    links: CacheLinks,
    uid_validity: Option<u32>,
    stat: Option<Stat>,
}

impl Beside {
    fn find(path: &Path, kind: FileKind, input: &Input, options: &Options) -> Beside {
        let mut beside = Beside { stat: Some(input.stat), ..Beside::default() };
        match kind {
            FileKind::Log => {
                if let Ok(log) = LogFile::parse(&input.bytes, input.bytes.len() as u64) {
                    beside.names = names_before(path, &log, options.mmap);
                }
            }
            FileKind::Cache => {
                if let Some(links) = CacheLinks::of_current_index(path, options) {
                    beside.links = links;
                } else if let Some(mailbox) = mailbox_state(path, options) {
                    beside.links = CacheLinks::of(&mailbox, options);
                }
            }
            FileKind::Thread => {
                beside.uid_validity = mailbox_state(path, options).map(|mailbox| mailbox.header.uid_validity);
            }
            FileKind::Index | FileKind::MailboxLog => {}
        }
        beside
    }

    /// What a mailbox whose state is known says of its cache and its thread index.
    pub fn of(mailbox: &crate::model::Mailbox, options: &Options) -> Beside {
        let names = ExtNames::new(mailbox.extensions.iter().map(|ext| ext.name.clone()));
        let (links, uid_validity) = (CacheLinks::of(mailbox, options), Some(mailbox.header.uid_validity));
        Beside { names, links, uid_validity, stat: None }
    }
}

/// Dumps the bytes of a file. Nothing is read from disk; `path` is only shown.
///
/// # Errors
/// As [`file()`].
pub fn bytes<D: Document>(
    path: &Path,
    kind: FileKind,
    bytes: &[u8],
    beside: &Beside,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, DumpError> {
    let unknown = |error| PathError::Unknown { path: path.to_owned(), error };
    match kind {
        FileKind::Index => {
            let index = IndexFile::parse(bytes).map_err(unknown)?;
            Ok(dump_index(path, &index, options, out)?)
        }
        FileKind::Log => {
            let log = LogFile::parse(bytes, bytes.len() as u64).map_err(unknown)?;
            Ok(dump_log(path, &log, bytes, beside, options, out)?)
        }
        FileKind::Cache => {
            let cache = Cache::parse(bytes, beside.links.indexid).map_err(unknown)?;
            Ok(dump_cache(path, &cache, &beside.links, options, out)?)
        }
        FileKind::Thread => {
            let thread = Thread::parse(bytes, beside.uid_validity).map_err(unknown)?;
            Ok(dump_thread(path, bytes, &thread, options, out)?)
        }
        FileKind::MailboxLog => {
            if bytes.is_empty() {
                return Err(unknown(Flaw::new(kind, 0, FlawKind::MailboxLogEmpty, "24 bytes", "an empty file")).into());
            }
            Ok(dump_mailbox_log(path, bytes, options, out)?)
        }
    }
}

/// Why a dump stopped.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The output cannot be written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// The state of the mailbox that a file belongs to, if its index and logs can be read.
fn mailbox_state(path: &Path, options: &Options) -> Option<crate::model::Mailbox> {
    let files = MailboxFiles::locate(path).ok()?;
    let snapshot = files.read(&[Role::Index, Role::OldLog, Role::Log], options.mmap).ok()?;
    let chain = load::chain(&snapshot);
    let loaded = load::state(&snapshot, &chain, crate::model::replay::Until::End).ok()?;
    (snapshot.get(Role::Index).is_some() || chain.head().is_some()).then_some(loaded.replayed.mailbox)
}

fn begin<D: Document>(
    path: &Path,
    kind: FileKind,
    size: u64,
    order: Endian,
    guessed: bool,
    out: &mut D,
) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut head = |emit: &mut dyn Emit| {
        emit.text("kind", kind.name().as_bytes());
        emit.text("path", path.as_os_str().as_bytes());
    };
    out.begin_with(&mut head, &mut |emit| {
        emit.number("size", size);
        emit.text("byte_order", order.name().as_bytes());
        if guessed {
            emit.boolean("byte_order_guessed", true);
        }
    })
}

/// One value of an on-disk struct.
fn emit_value(emit: &mut dyn Emit, name: &str, value: &Value<'_>) {
    match value {
        Value::U64(n) => emit.number(name, *n),
        Value::I64(n) => emit.signed(name, *n),
        Value::Bytes(bytes) => emit.hex(name, bytes),
        Value::List(list) => {
            emit.list_begin(name);
            list.iter().for_each(|n| emit.number("", u64::from(*n)));
            emit.list_end();
        }
    }
}

fn emit_struct<T: Disk>(emit: &mut dyn Emit, value: &T) {
    for (field, value) in T::FIELDS.iter().zip(value.values()) {
        emit_value(emit, field.name, &value);
    }
}

fn emit_problem<E: Emit + ?Sized>(emit: &mut E, problem: &Flaw) {
    emit.number("offset", problem.at);
    emit.text("what", problem.kind.to_string().as_bytes());
    emit.text("need", problem.need.as_bytes());
    emit.text("found", problem.have.as_bytes());
}

fn list_problems<D: Document>(problems: &[Flaw], out: &mut D) -> io::Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    out.list("problems", |_, part| {
        problems.iter().for_each(|problem| part.item(|emit| emit_problem(emit, problem)));
        Ok(())
    })
}

/// Names and shows every byte.
fn list_bytes<D: Document>(
    kind: FileKind,
    bytes: &[u8],
    indexid: Option<u32>,
    options: &Options,
    out: &mut D,
) -> io::Result<()> {
    if !options.hex {
        return Ok(());
    }
    out.list("bytes", |out, part| {
        let mut failed = Ok(());
        spans::walk(kind, bytes, indexid, &mut |span| {
            if failed.is_err() {
                return;
            }
            let start = span.offset as usize;
            let inside = bytes.get(start..start + span.len as usize).unwrap_or_default();
            // For people, more than one value is readable only in lines.
            let in_lines = D::Part::FOR_PEOPLE && inside.len() > SHORT;
            part.item(|emit| {
                emit.number("offset", span.offset);
                emit.number("size", span.len);
                emit.text("name", span.name.as_bytes());
                emit.hex("hex", if in_lines { &[] } else { inside });
            });
            if in_lines {
                part.plain(span.offset, inside);
            }
            failed = out.take_some(part);
        });
        failed
    })
}

/// The part of an extension that decoding its records needs, looked up once.
struct ExtColumn<'a> {
    name: &'a str,
    range: std::ops::Range<usize>,
    kind: Option<RecordKind>,
}

fn dump_index<D: Document>(
    path: &Path,
    index: &IndexFile<'_>,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, io::Error> {
    begin(path, FileKind::Index, index.bytes.len() as u64, index.endian, false, out)?;
    let endian = index.endian;
    let flavor = IndexFlavor::guess(index.extensions.iter().map(|ext| ext.name));
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            emit_struct(emit, &index.header);
            let rest = index.bytes.get(IndexHeader::SIZE..usize::from(index.header.base_header_size));
            if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                emit.hex("unknown", rest);
            }
        })?;
    }
    if options.wants(Section::Extensions) {
        out.list("extensions", |out, part| {
            for ext in &index.extensions {
                part.item(|emit| {
                    emit.text("name", ext.name);
                    emit.number("hdr_size", u64::from(ext.header.hdr_size));
                    emit.number("reset_id", u64::from(ext.header.reset_id));
                    emit.number("record_offset", u64::from(ext.header.record_offset));
                    emit.number("record_size", u64::from(ext.header.record_size));
                    emit.number("record_align", u64::from(ext.header.record_align));
                    match HeaderKind::lookup(ext.name, flavor, ext.header.hdr_size) {
                        Some(kind) => kind.visit("header", ext.data, endian, emit),
                        None => emit.hex("header", ext.data),
                    }
                });
                out.take_some(part)?;
            }
            Ok(())
        })?;
    }
    let names: Vec<Vec<u8>> = crate::model::Mailbox::keywords_of(index);
    if options.wants(Section::Keywords) {
        out.list("keywords", |out, part| {
            for name in &names {
                part.value(|emit| emit.text("", name));
                out.take_some(part)?;
            }
            Ok(())
        })?;
    }
    let mut problems = index.problems.clone();
    if options.wants(Section::Records) {
        index_records(index, flavor, &names, options, &mut problems, out)?;
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Index, index.bytes, None, options, out)?;
    out.end()?;
    Ok(Outcome { problems })
}

/// Names as keys of an object: `#3` for the fourth when it has no name or one that was used before.
fn keys<'n>(names: impl Iterator<Item = &'n [u8]>) -> Vec<Cow<'n, str>> {
    let mut used = HashSet::new();
    names
        .enumerate()
        .map(|(i, name)| {
            let own = !name.is_empty() && used.insert(name);
            if own { String::from_utf8_lossy(name) } else { Cow::Owned(format!("#{i}")) }
        })
        .collect()
}

/// The extensions with data in the records. Data that lies outside the record or makes more than a record in all is left out
/// and named.
fn columns<'a>(
    index: &IndexFile<'_>,
    keys: &'a [Cow<'_, str>],
    flavor: IndexFlavor,
    problems: &mut Vec<Flaw>,
) -> Vec<ExtColumn<'a>> {
    let mut room = index.record_size;
    let mut columns = Vec::new();
    for (ext, key) in index.extensions.iter().zip(keys).filter(|(ext, _)| ext.header.record_size > 0) {
        let start = usize::from(ext.header.record_offset);
        let range = start..start + usize::from(ext.header.record_size);
        let problem = |kind, need| {
            Flaw::new(FileKind::Index, ext.at as u64 + 8, kind, need, format!("{}..{}", range.start, range.end))
        };
        if range.end > index.record_size {
            let need = format!("an end at {} or before", index.record_size);
            note(problems, [problem(FlawKind::ExtPastRecord, need)]);
        } else if range.len() > room {
            note(problems, [problem(FlawKind::ExtOverlap, format!("at most {room} bytes more"))]);
        } else {
            room -= range.len();
            let kind = RecordKind::lookup(ext.name, flavor, ext.header.record_size);
            columns.push(ExtColumn { name: key, range, kind });
        }
    }
    columns
}

fn index_records<D: Document>(
    index: &IndexFile<'_>,
    flavor: IndexFlavor,
    names: &[Vec<u8>],
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    let texts = keys(index.extensions.iter().map(|ext| ext.name));
    let mut columns = columns(index, &texts, flavor, problems);
    let keywords = columns.iter().position(|column| column.name == "keywords").map(|i| columns.remove(i).range);
    // Unsorted records are damage, but they are still there: then the binary search cannot be trusted.
    let count = index.count();
    let uids = index.iter().map(|record| index.endian.u32_at(record, 0));
    let sorted = uids.is_sorted_by(|a, b| a < b);
    let mut ranges: Vec<std::ops::Range<usize>> = match &options.uid {
        Some(set) if sorted => set
            .ranges()
            .iter()
            .map(|(a, b)| index.lower_bound(*a)..b.checked_add(1).map_or(count, |next| index.lower_bound(next)))
            .collect(),
        _ => std::iter::once(0..count).collect(),
    };
    let filter = options.uid.as_ref().filter(|_| !sorted);
    let mut left = options.limit();
    let per_block = (BLOCK / index.record_size).max(1);
    ranges.reverse();
    let next = || {
        let Some(mut range) = ranges.pop() else { return Ok(None) };
        range.end = range.end.min(range.start.saturating_add(left));
        let cut = range.start.saturating_add(per_block).min(range.end);
        if cut < range.end {
            ranges.push(cut..range.end);
        }
        left -= cut - range.start;
        Ok(Some(range.start..cut))
    };
    out.list_in_blocks("records", next, |range, part| {
        for i in range {
            let Some(record) = index.record(i) else { break };
            let uid = index.endian.u32_at(record, 0).unwrap_or(0);
            if filter.is_some_and(|set| !set.contains(uid)) {
                continue;
            }
            part.item(|emit| {
                emit.number("seq", i as u64 + 1);
                emit.number("uid", u64::from(uid));
                emit.number("offset", (index.records_at + i * index.record_size) as u64);
                emit.flags("flags", record.get(4).copied().unwrap_or(0));
                emit.list_begin("keywords");
                let bitmap = keywords.clone().and_then(|range| record.get(range)).unwrap_or_default();
                let mut unnamed = false;
                for bit in keyword_bits(bitmap) {
                    match names.get(bit as usize) {
                        Some(name) => emit.text("", name),
                        None => unnamed = true,
                    }
                }
                emit.list_end();
                // Dovecot itself leaves stale bits beyond the last keyword when a record is laid out anew.
                if unnamed {
                    emit.hex("keywords_raw", bitmap);
                }
                emit.object_begin("ext");
                for column in &columns {
                    let Some(data) = record.get(column.range.clone()) else { continue };
                    match column.kind {
                        Some(kind) => kind.visit(column.name, data, index.endian, emit),
                        None => emit.hex(column.name, data),
                    }
                }
                emit.object_end();
            });
        }
    })
}

/// A stretch of log with all that is needed to format it alone.
struct LogBlock {
    bytes: Vec<u8>,
    base: u64,
    framer: Framer,
    names: ExtNames,
    most: usize,
}

fn log_header<D: Document>(path: &Path, log: &LogFile, options: &Options, out: &mut D) -> io::Result<()> {
    begin(path, FileKind::Log, log.size, log.endian, log.endian_guessed, out)?;
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| emit_struct(emit, &log.header))?;
    }
    Ok(())
}

fn log_end<D: Document>(end: &LogEnd, out: &mut D) -> io::Result<()> {
    out.object("end", &mut |emit| {
        emit.number("offset", end.offset);
        emit.text("reason", end.reason.name().as_bytes());
        match &end.error {
            Some(error) => emit.text("message", error.to_string().as_bytes()),
            None => emit.null("message"),
        }
    })
}

/// What a reader has to be told about the end of a log; a tail that is being written is no damage.
fn end_problem(path: &Path, stat: Option<&Stat>, end: &LogEnd) -> Option<Flaw> {
    let live = end.reason == EndReason::Partial
        && stat.is_some_and(|stat| tail_state(path, stat).is_ok_and(|state| state == TailState::BeingWritten));
    end.error.clone().filter(|_| !live)
}

fn dump_log<D: Document>(
    path: &Path,
    log: &LogFile,
    bytes: &[u8],
    beside: &Beside,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, io::Error> {
    log_header(path, log, options, out)?;
    let mut problems = log.problems.clone();
    if options.wants(Section::Transactions) || options.wants(Section::Records) {
        let names = beside.names.clone();
        let mut scan = log.records(bytes);
        out.list("records", |out, part| log_records(&mut scan, names, options, &mut problems, out, part))?;
        scan.by_ref().for_each(drop);
        if let Some(end) = scan.end() {
            log_end(end, out)?;
            problems.extend(end_problem(path, beside.stat.as_ref(), end));
            salvage(log, bytes, end, options, &mut problems, out)?;
        }
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Log, bytes, None, options, out)?;
    out.end()?;
    Ok(Outcome { problems })
}

fn log_records<D: Document>(
    records: &mut crate::format::log::Scan<'_>,
    mut names: ExtNames,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
    part: &mut D::Part,
) -> io::Result<()> {
    let mut left = options.limit();
    for record in records {
        note(problems, record.fatal_error().or_else(|| record.payload_error()));
        names.follow(&record);
        if left == 0 || options.uid.as_ref().is_some_and(|set| !touches(&record, &names, set)) {
            continue;
        }
        left -= 1;
        part.item(|emit| emit_record(emit, &record, &names));
        out.take_some(part)?;
    }
    Ok(())
}

/// Shows the records that can be read again behind damage. Their modseqs are not known.
fn salvage<D: Document>(
    log: &LogFile,
    bytes: &[u8],
    end: &LogEnd,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    if end.reason == EndReason::Eof {
        return Ok(());
    }
    let mut from = crate::format::log::resynchronize(bytes, end.offset.saturating_add(1), log.endian);
    if from.is_none() {
        return Ok(());
    }
    out.list("salvaged", |out, part| {
        while let Some(at) = from {
            let mut scan = log.records(bytes).from(at, 0);
            log_records(&mut scan, ExtNames::default(), options, problems, out, part)?;
            let end = scan.end().map_or(bytes.len() as u64, |end| end.offset);
            from = crate::format::log::resynchronize(bytes, end.saturating_add(1), log.endian);
        }
        Ok(())
    })
}

/// The same for a log that is read in pieces.
fn salvage_stream<D: Document>(
    stream: &mut LogStream,
    end: &LogEnd,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    if end.reason == EndReason::Eof {
        return Ok(());
    }
    let mut from = stream.resynchronize(end.offset.saturating_add(1))?;
    if from.is_none() {
        return Ok(());
    }
    let mut left = options.limit();
    out.list("salvaged", |out, part| {
        while let Some(at) = from {
            stream.seek(at, 0);
            let mut names = ExtNames::default();
            let end = loop {
                match stream.step()? {
                    StreamStep::End(end) => break end,
                    StreamStep::Record(record) => {
                        note(problems, record.fatal_error().or_else(|| record.payload_error()));
                        names.follow(&record);
                        if left > 0 && options.uid.as_ref().is_none_or(|set| touches(&record, &names, set)) {
                            left -= 1;
                            part.item(|emit| emit_record(emit, &record, &names));
                            out.take_some(part)?;
                        }
                    }
                }
            };
            from = stream.resynchronize(end.offset.saturating_add(1))?;
        }
        Ok(())
    })
}

/// A log that is read in pieces and formatted on all cores.
fn log_stream<D: Document>(
    path: &Path,
    mut stream: LogStream,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, DumpError> {
    let log = stream.log.clone();
    let stat = stream.stat;
    log_header(path, &log, options, out)?;
    let mut problems = log.problems.clone();
    let mut end = None;
    if options.wants(Section::Transactions) || options.wants(Section::Records) {
        let mut names = names_before(path, &log, options.mmap);
        let mut left = options.limit();
        let filter = options.uid.as_ref();
        let found = Mutex::new(Vec::new());
        let next = || -> io::Result<Option<LogBlock>> {
            if end.is_some() || left == 0 {
                return Ok(None);
            }
            let mut block = LogBlock {
                bytes: Vec::with_capacity(BLOCK + 4096),
                base: stream.pos(),
                framer: stream.framer().clone(),
                names: names.clone(),
                most: 0,
            };
            while block.bytes.len() < BLOCK && left > 0 {
                match stream.step()? {
                    StreamStep::Record(record) => {
                        names.follow(&record);
                        block.bytes.extend_from_slice(record.bytes);
                        if filter.is_none_or(|set| touches(&record, &names, set)) {
                            left -= 1;
                        }
                        block.most += 1;
                    }
                    StreamStep::End(found) => {
                        end = Some(found);
                        break;
                    }
                }
            }
            Ok((block.most > 0).then_some(block))
        };
        out.list_in_blocks("records", next, |mut block, part| {
            for _ in 0..block.most {
                let Step::Record(record) = block.framer.step(&block.bytes, block.base) else { break };
                block.names.follow(&record);
                if let Some(problem) = record.fatal_error().or_else(|| record.payload_error()) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    note(&mut found, [problem]);
                }
                if filter.is_none_or(|set| touches(&record, &block.names, set)) {
                    part.item(|emit| emit_record(emit, &record, &block.names));
                }
            }
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|problem| problem.at);
        note(&mut problems, found);
        if let Some(end) = &end {
            log_end(end, out)?;
            problems.extend(end_problem(path, Some(&stat), end));
            salvage_stream(&mut stream, end, options, &mut problems, out)?;
        }
    }
    list_problems(&problems, out)?;
    out.end()?;
    Ok(Outcome { problems })
}

/// Which message each cache record belongs to, as the index beside the cache says.
#[derive(Debug, Default)]
struct CacheLinks {
    indexid: Option<u32>,
    reset_id: Option<u32>,
    /// Newest record of each message, by UID.
    newest: Vec<(u32, u32)>,
}

impl CacheLinks {
    fn of(mailbox: &crate::model::Mailbox, options: &Options) -> CacheLinks {
        let mut links = CacheLinks { indexid: Some(mailbox.header.indexid), ..CacheLinks::default() };
        if let Some(ext) = mailbox.extension(b"cache") {
            links.reset_id = Some(ext.reset_id);
            let wanted = |uid| options.uid.as_ref().is_none_or(|set: &UidSet| set.contains(uid));
            links.newest = mailbox
                .positions()
                .filter_map(|i| Some((mailbox.uid(i), mailbox.endian.u32_at(mailbox.ext_bytes(i, ext)?, 0)?)))
                .filter(|(uid, offset)| *offset != 0 && wanted(*uid))
                .collect();
        }
        links
    }

    /// The links of a few messages, straight from an index that is up to date with its log: replay would change nothing.
    fn of_current_index(path: &Path, options: &Options) -> Option<CacheLinks> {
        let set = options.uid.as_ref()?;
        let files = MailboxFiles::locate(path).ok()?;
        // Only a few pages of it are looked at.
        let mmap = if options.mmap == MmapPolicy::Auto { MmapPolicy::Always } else { options.mmap };
        let input = read(&files.path(Role::Index), mmap, true).ok()?;
        let stream = LogStream::open(&files.path(Role::Log)).ok()?;
        let index = IndexFile::parse(&input.bytes).ok().filter(|index| index.problems.is_empty())?;
        let (log, header) = (&stream.log.header, &index.header);
        let current = (log.indexid, log.file_seq) == (header.indexid, header.log_file_seq)
            && stream.stat.size == u64::from(header.log_file_head_offset)
            && stream.stat.size > stream.log.records_at;
        let ext = index.extension(b"cache").filter(|_| current)?;
        let mut links =
            CacheLinks { indexid: Some(header.indexid), reset_id: Some(ext.header.reset_id), ..CacheLinks::default() };
        for (first, last) in set.ranges() {
            let records =
                (index.lower_bound(*first)..index.count()).filter_map(|i| Some((index.uid(i)?, index.record(i)?)));
            for (uid, record) in records.take_while(|(uid, _)| uid <= last) {
                let offset = index.endian.u32_at(record, usize::from(ext.header.record_offset)).unwrap_or(0);
                if offset != 0 {
                    links.newest.push((uid, offset));
                }
            }
        }
        Some(links)
    }

    /// Offset and UID of every linked record, by offset.
    fn by_offset(&self, cache: &Cache<'_>) -> Vec<(u32, u32)> {
        if self.reset_id != Some(cache.header.file_seq) {
            return Vec::new();
        }
        // Each record once, or messages that share a long chain would take its length each. Records start at multiples of 4.
        let mut taken = vec![0_u64; cache.bytes().len() / 256 + 1];
        let mut list: Vec<(u32, u32)> = Vec::with_capacity(self.newest.len());
        for (uid, newest) in &self.newest {
            for record in cache.chain(*newest).map_while(Result::ok) {
                let (word, bit) = (record.offset as usize / 256, 1 << (record.offset / 4 % 64));
                let Some(word) = taken.get_mut(word).filter(|word| **word & bit == 0) else { break };
                *word |= bit;
                list.push((record.offset, *uid));
            }
        }
        list.sort_unstable();
        list
    }
}

fn dump_cache<D: Document>(
    path: &Path,
    cache: &Cache<'_>,
    links: &CacheLinks,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, io::Error> {
    begin(path, FileKind::Cache, cache.bytes().len() as u64, cache.endian, cache.endian_guessed, out)?;
    let mut problems = cache.problems.clone();
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            for (field, value) in CacheHeader::FIELDS.iter().zip(cache.header.values()) {
                match cache.header.first_field_header().filter(|_| field.name == "field_header_offset") {
                    Some(offset) => emit.number(field.name, u64::from(offset)),
                    None => emit_value(emit, field.name, &value),
                }
            }
        })?;
    }
    if options.wants(Section::Fields) {
        out.list("fields", |out, part| {
            for field in &cache.fields {
                part.item(|emit| {
                    emit.text("name", field.name);
                    emit.text("type", field.type_name().as_bytes());
                    match field.size {
                        Some(size) => emit.number("size", u64::from(size)),
                        None => emit.null("size"),
                    }
                    emit.text("decision", field.decision_name().as_bytes());
                    emit.number("last_used", u64::from(field.last_used));
                });
                out.take_some(part)?;
            }
            Ok(())
        })?;
    }
    if options.wants(Section::Records) {
        cache_records(cache, links, options, &mut problems, out)?;
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Cache, cache.bytes(), links.indexid, options, out)?;
    out.end()?;
    Ok(Outcome { problems })
}

fn cache_records<D: Document>(
    cache: &Cache<'_>,
    links: &CacheLinks,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    let by_offset = links.by_offset(cache);
    let names = keys(cache.fields.iter().map(|field| field.name));
    // With a UID the chains lead straight to the records; without, the whole file is walked.
    let mut linked = by_offset.iter().filter_map(|(offset, _)| cache.record_at(*offset).ok());
    let mut tiles = cache.tile();
    let found = std::cell::RefCell::new(Vec::new());
    let mut walk = || loop {
        let item = tiles.next()?;
        match item.kind {
            TileKind::Record(record) => return Some(record),
            TileKind::Unreadable => {
                let have = format!("{} unreadable bytes", item.range.end - item.range.start);
                let need = "a record or a field header";
                note(
                    &mut found.borrow_mut(),
                    [Flaw::new(FileKind::Cache, item.range.start, FlawKind::CacheUnreadable, need, have)],
                );
            }
            _ => {}
        }
    };
    let mut left = options.limit();
    let mut next_record = || {
        left = left.checked_sub(1)?;
        if options.uid.is_some() { linked.next() } else { walk() }
    };
    let next = || -> io::Result<Option<Vec<CacheRecord>>> {
        let mut block = Vec::new();
        let mut bytes = 0;
        while bytes < BLOCK {
            let Some(record) = next_record() else { break };
            bytes += record.size as usize;
            block.push(record);
        }
        Ok((!block.is_empty()).then_some(block))
    };
    out.list_in_blocks("records", next, |block, part| {
        let mut links = by_offset.partition_point(|(offset, _)| block.first().is_some_and(|r| *offset < r.offset));
        for record in &block {
            while by_offset.get(links).is_some_and(|(offset, _)| *offset < record.offset) {
                links += 1;
            }
            let uid = by_offset.get(links).filter(|(offset, _)| *offset == record.offset).map(|(_, uid)| *uid);
            part.item(|emit| emit_cache_record(emit, cache, record, uid, &names));
        }
    })?;
    note(problems, found.into_inner());
    Ok(())
}

fn emit_cache_record<E: Emit>(
    emit: &mut E,
    cache: &Cache<'_>,
    record: &CacheRecord,
    uid: Option<u32>,
    names: &[std::borrow::Cow<'_, str>],
) {
    emit.number("offset", u64::from(record.offset));
    emit.number("prev_offset", u64::from(record.prev_offset));
    emit.number("size", u64::from(record.size));
    match uid {
        Some(uid) => emit.number("uid", u64::from(uid)),
        None => emit.absent("uid"),
    }
    emit.object_begin("fields");
    let mut error = None;
    for field in cache.fields(record) {
        match field {
            Ok(field) => {
                let name = names.get(field.index as usize).map_or("", AsRef::as_ref);
                if let Err(why) = cache.value(&field).visit(name, emit) {
                    error.get_or_insert(why);
                }
            }
            Err(why) => {
                error.get_or_insert(why);
            }
        }
    }
    emit.object_end();
    if let Some(error) = error {
        emit.text("error", error.to_string().as_bytes());
    }
}

fn dump_thread<D: Document>(
    path: &Path,
    bytes: &[u8],
    thread: &Thread<'_>,
    options: &Options,
    out: &mut D,
) -> Result<Outcome, io::Error> {
    begin(path, FileKind::Thread, bytes.len() as u64, thread.endian, thread.endian_guessed, out)?;
    if options.wants(Section::Header) {
        out.object("header", &mut |emit| {
            emit_struct(emit, &thread.header);
            if let Some(key) = thread.hash_key {
                emit.hex("hash_key", key);
            }
        })?;
    }
    let mut problems: Vec<Flaw> = thread.problem().into_iter().collect();
    if options.wants(Section::Records) {
        let mut left = options.limit();
        out.list("records", |out, part| {
            for tile in thread.tile() {
                match tile.kind {
                    ThreadTileKind::Record(record) => {
                        if left == 0 || options.uid.as_ref().is_some_and(|set| !set.contains(record.uid)) {
                            continue;
                        }
                        left -= 1;
                        part.item(|emit| {
                            emit.number("offset", tile.range.start);
                            emit.number("size", tile.range.end - tile.range.start);
                            emit.number("uid", u64::from(record.uid));
                            emit.number("n", u64::from(record.n));
                            emit.list_begin("refs");
                            for one in record.refs() {
                                emit.object_begin("");
                                emit.text("kind", one.kind.to_string().as_bytes());
                                emit.number("crc32", u64::from(one.crc32));
                                emit.number("str_idx", u64::from(one.str_idx));
                                emit.object_end();
                            }
                            emit.list_end();
                        });
                        out.take_some(part)?;
                    }
                    ThreadTileKind::Unreadable(error) => problems.push(error),
                    ThreadTileKind::Header | ThreadTileKind::Block(_) | ThreadTileKind::Unwritten => {}
                }
            }
            Ok(())
        })?;
    }
    problems.dedup();
    list_problems(&problems, out)?;
    list_bytes(FileKind::Thread, bytes, None, options, out)?;
    out.end()?;
    Ok(Outcome { problems })
}

fn dump_mailbox_log<D: Document>(
    path: &Path,
    bytes: &[u8],
    options: &Options,
    out: &mut D,
) -> Result<Outcome, io::Error> {
    begin(path, FileKind::MailboxLog, bytes.len() as u64, Endian::Big, false, out)?;
    let mut problems = Vec::new();
    let mut left = options.limit();
    out.list("records", |out, part| {
        for entry in mailbox_log::records(bytes) {
            match entry {
                Ok((at, record)) => {
                    note(&mut problems, mailbox_log::problem(at, &record));
                    if left == 0 || !options.wants(Section::Records) {
                        continue;
                    }
                    left -= 1;
                    part.item(|emit| {
                        emit.number("offset", at);
                        match record.type_name() {
                            Some(name) => emit.text("type", name.as_bytes()),
                            None => emit.number("type", u64::from(record.record_type)),
                        }
                        emit.hex("mailbox_guid", &record.mailbox_guid);
                        emit.number("timestamp", u64::from(record.time()));
                    });
                    out.take_some(part)?;
                }
                Err(error) => note(&mut problems, [error]),
            }
        }
        Ok(())
    })?;
    list_problems(&problems, out)?;
    list_bytes(FileKind::MailboxLog, bytes, None, options, out)?;
    out.end()?;
    Ok(Outcome { problems })
}
