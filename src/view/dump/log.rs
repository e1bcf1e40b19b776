//! A transaction log, record by record, and what can be read behind damage.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::{BLOCK, begin, emit_struct, list_bytes, list_problems};
use crate::format::flaw::note;
use crate::format::intros::ExtNames;
use crate::format::log::{EndReason, Framer, LogEnd, LogFile, Step};
use crate::format::walk::{Passage, Records, StreamStep, walk};
use crate::format::{FileKind, Flaw};
use crate::logs::records::{emit_record, touches};
use crate::ops::dump::{Beside, DumpError, DumpOutcome, Options, Section};
use crate::render::document::{Document, Part};
use crate::source::{LogStream, Tail};

pub(super) fn dump_log<D: Document>(
    path: &Path,
    log: &LogFile,
    bytes: &[u8],
    beside: &Beside,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, io::Error> {
    log_header(path, log, options, out)?;
    let mut problems = log.problems.clone();
    if options.wants(Section::Transactions) || options.wants(Section::Records) {
        let mut names = beside.names.clone();
        let mut scan = log.records(bytes);
        out.list("records", |part| log_records(&mut scan, &mut names, options, &mut problems, part))?;
        scan.by_ref().for_each(drop);
        if let Some(end) = scan.end() {
            log_end(end, out)?;
            problems.extend(end_problem(beside.is_growing, end));
            salvage(&mut scan.clone(), |never| match never {}, end, names, options, &mut problems, out)?;
        }
    }
    list_problems(&problems, out)?;
    list_bytes(FileKind::Log, bytes, None, options, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
}

/// A log that is read in pieces and formatted on all cores.
pub(super) fn dump_stream<D: Document>(
    path: &Path,
    mut stream: LogStream,
    mut names: ExtNames,
    options: &Options,
    out: &mut D,
) -> Result<DumpOutcome, DumpError> {
    let log = stream.log.clone();
    log_header(path, &log, options, out)?;
    let mut problems = log.problems.clone();
    let mut end = None;
    if options.wants(Section::Transactions) || options.wants(Section::Records) {
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
                if let Some(problem) = record.flaw() {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    note(&mut found, [problem]);
                }
                if filter.is_none_or(|set| touches(&record, &block.names, set)) {
                    part.item(|emit| emit_record(emit, &record, &block.names))?;
                }
            }
            Ok(())
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|problem| problem.at);
        note(&mut problems, found);
        if let Some(end) = &end {
            log_end(end, out)?;
            problems.extend(end_problem(stream.tail(end, options.now) == Tail::BeingWritten, end));
            salvage(&mut stream, |error| error, end, names, options, &mut problems, out)?;
        }
    }
    list_problems(&problems, out)?;
    out.end()?;
    Ok(DumpOutcome { problems })
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
fn end_problem(is_growing: bool, end: &LogEnd) -> Option<Flaw> {
    end.error.clone().filter(|_| !(is_growing && end.reason == EndReason::Partial))
}

fn log_records(
    records: &mut crate::format::log::Scan<'_>,
    names: &mut ExtNames,
    options: &Options,
    problems: &mut Vec<Flaw>,
    part: &mut impl Part,
) -> io::Result<()> {
    let mut left = options.limit();
    for record in records {
        note(problems, record.flaw());
        names.follow(&record);
        if left == 0 || options.uid.as_ref().is_some_and(|set| !touches(&record, names, set)) {
            continue;
        }
        left -= 1;
        part.item(|emit| emit_record(emit, &record, names))?;
    }
    Ok(())
}

/// Shows the records that can be read again behind damage. Their modseqs are not known.
fn salvage<D: Document, R: Records>(
    log: &mut R,
    failed: fn(R::Error) -> io::Error,
    end: &LogEnd,
    mut names: ExtNames,
    options: &Options,
    problems: &mut Vec<Flaw>,
    out: &mut D,
) -> io::Result<()> {
    let Some(at) = log.resume(end).map_err(failed)? else { return Ok(()) };
    log.seek(at, 0);
    names.after_hole();
    let mut left = options.limit();
    out.list("salvaged", |part| {
        let walked = walk(
            log,
            |_, _| Some(false),
            |passage| {
                let Passage::Record(record, _) = passage else {
                    names.after_hole();
                    return Ok(true);
                };
                note(problems, record.flaw());
                names.follow(record);
                if left > 0 && options.uid.as_ref().is_none_or(|set| touches(record, &names, set)) {
                    left -= 1;
                    part.item(|emit| emit_record(emit, record, &names))?;
                }
                Ok(true)
            },
        );
        walked.map_err(failed)?.map(drop)
    })
}
