//! L1 to L22: each log by itself, and the two against each other (`mail-transaction-log-file.c`,
//! `mail-transaction-log-view.c`).

use std::path::Path;

use super::{CLOCK_SKEW, Code, Finding, Findings, Log, Severity, Subject, codes};
use crate::format::changes::Change;
use crate::format::disk::Disk;
use crate::format::index::{IndexFile, IndexHeader};
use crate::format::intros::{ExtNames, Introduced};
use crate::format::log::{EndReason, LogHeader, MIN_HEADER, Txn};
use crate::format::record::{EXTERNAL, Record, RecordType, SYNC, TYPE_MASK, flag};
use crate::format::{Endian, Flaw, FlawKind, align4};
use crate::model::chain::{Segment, follows};
use crate::source::{Family, Role};

/// Age of a log too large from which its rotation is stuck, seconds.
const STUCK: i64 = 7 * 86_400;
/// Bits of the type word that no version of Dovecot uses.
const UNUSED_TYPE_BITS: u32 = !(TYPE_MASK | EXTERNAL | SYNC);

/// L1: a file that is no log at all.
pub(super) fn unreadable(path: &Path, error: &Flaw) -> Finding {
    let message = format!("no transaction log: {}", error.words());
    Finding::new(Code::L1, path, message).at(error.at)
}

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let path = subject.path(Role::Log);
    if subject.snapshot.get(Role::Log).is_none() {
        found.add(Finding::new(
            Code::L1,
            path,
            "the log is missing: what happened after the index was written is lost",
        ));
    }
    let index = subject.snapshot.get(Role::Index).and_then(|input| IndexFile::parse(&input.bytes).ok());
    let mut names = ExtNames::default();
    let mut before = None;
    for log in subject.logs.iter().rev() {
        header(subject, log, found);
        if found.has(Code::L1, Some(&log.path)) {
            continue;
        }
        let segment = Segment::of(&log.file);
        // What was introduced is still what was introduced when the next log begins.
        if follows(before.as_ref(), &segment).is_err() {
            let known = index.iter().flat_map(|index| &index.extensions).map(|ext| ext.name.to_vec());
            names = if segment.starts_empty() { ExtNames::from_nothing() } else { ExtNames::new(known) };
        }
        before = Some(segment);
        end(log, found);
        records(log, &mut names, found);
    }
    pair(subject, found);
    deleted(subject, found);
}

/// L1 to L4, L6, L20, L22.
fn header(subject: &Subject<'_>, log: &Log<'_>, found: &mut Findings) {
    let (path, file) = (&log.path, &log.file);
    let (header, size) = (&file.log.header, file.log.size);
    let mut unusable = |at: u64, message: String| found.add(Finding::new(Code::L1, path, message).at(at));
    if size < MIN_HEADER as u64 {
        return unusable(0, format!("file ends inside its header, after {size} of at least {MIN_HEADER} bytes"));
    }
    if header.major_version != 1 {
        return unusable(0, format!("major_version is {}, not 1", header.major_version));
    }
    if usize::from(header.hdr_size) < MIN_HEADER
        || u64::from(header.hdr_size) > size
        || !header.hdr_size.is_multiple_of(4)
    {
        return unusable(
            LogHeader::hdr_size.at(),
            format!("hdr_size is {}, not between {MIN_HEADER} and the file size {size}", header.hdr_size),
        );
    }
    if header.minor_version > 3 {
        let message = format!("minor_version is {}; the highest that exists is 3", header.minor_version);
        found.add(Finding::new(Code::L2, path, message).at(LogHeader::minor_version.at()));
    }
    if header.hdr_size > 40 {
        let message = format!("hdr_size is {}; in the versions that exist it is at most 40", header.hdr_size);
        found.add(Finding::new(Code::L2, path, message).at(LogHeader::hdr_size.at()));
    }
    // Logs of 1.0 and 1.1 have no such byte.
    if header.minor_version >= 2 && header.hdr_size > 32 {
        let native = u8::from(file.log.endian == Endian::Little);
        if header.compat_flags != native {
            let message = format!(
                "compat_flags are {}, but the file is {}-endian ({native})",
                header.compat_flags,
                file.log.endian.name()
            );
            found.add(Finding::new(Code::L3, path, message).at(LogHeader::compat_flags.at()));
        } else if file.log.endian != Endian::NATIVE {
            found.add(foreign(Code::L3, path, file.log.endian).at(LogHeader::compat_flags.at()));
        }
    }
    if header.indexid == 0 {
        found.add(
            Finding::new(Code::L4, path, "indexid is 0: a Dovecot marked this log corrupted")
                .at(LogHeader::indexid.at()),
        );
    }
    if header.file_seq == 0 {
        found.add(Finding::new(Code::L6, path, "file_seq is 0").at(LogHeader::file_seq.at()));
    }
    // A copy that kept its times on a host with another clock is no reason for a word.
    let now = subject.options.now.max(log.stat.mtime.0);
    if i64::from(header.create_stamp) > now.saturating_add(CLOCK_SKEW) {
        let message = format!("create_stamp {} is in the future", header.create_stamp);
        found.add(Finding::new(Code::L20, path, message).at(LogHeader::create_stamp.at()));
    }
    let max_size = if subject.family == Family::List { 64 << 10 } else { 1 << 20 };
    if log.role == Role::Log && file.end.offset > max_size {
        // It may exceed the limit by the transaction that reached it.
        let mut txn = Txn::default();
        file.records().for_each(|record| _ = txn.follow(&record));
        if txn.begin > max_size {
            let message = format!("{} bytes; by default a log is rotated at {max_size}", file.end.offset);
            let finding = Finding::new(Code::L22, path, message);
            // Whoever wrote it last should have rotated it, unless the limit is set higher.
            let age = subject.options.now.saturating_sub(i64::from(header.create_stamp));
            let rest = subject.options.now.saturating_sub(log.stat.mtime.0);
            found.add(if age > STUCK && rest > CLOCK_SKEW {
                finding.severity(Severity::Warning).does("should have rotated it at its last sync: it grows for ever")
            } else {
                finding
            });
        }
    }
}

/// A file in the other byte order: sound, but of no use to a Dovecot on this host.
pub(super) fn foreign(code: Code, path: &Path, endian: Endian) -> Finding {
    let message = format!(
        "written by a {}-endian host; a Dovecot on a {}-endian host would throw it away",
        endian.name(),
        Endian::NATIVE.name()
    );
    Finding::new(code, path, message).severity(Severity::Info)
}

/// L8, and L9 where a whole transaction is announced that is not there.
fn end(log: &Log<'_>, found: &mut Findings) {
    let end = &log.file.end;
    let Some(error) = end.error.as_ref().filter(|_| !log.live) else { return };
    let size = log.file.bytes.len() as u64;
    let left = size.saturating_sub(end.offset);
    if error.kind == FlawKind::TransactionPastEnd {
        let broken_at = log.file.records().from(end.offset, 0).frames_end();
        if broken_at == size {
            let message = format!("boundary of {} bytes, but only {left} follow", error.have);
            return found.add(Finding::new(Code::L9, &log.path, message).at(end.offset));
        }
        let message = format!(
            "no whole record here, {} bytes before the end; the transaction began at {}",
            size.saturating_sub(broken_at),
            end.offset
        );
        return found.add(Finding::new(Code::L8, &log.path, message).at(broken_at));
    }
    let what = match end.reason {
        EndReason::Corrupt => "no record can begin so",
        _ => "no whole record here",
    };
    let message = format!("{what}, {left} bytes before the end: {}", error.words());
    found.add(Finding::new(Code::L8, &log.path, message).at(end.offset));
}

/// L9 to L17 for the records that can be framed.
fn records(log: &Log<'_>, names: &mut ExtNames, found: &mut Findings) {
    let path = &log.path;
    let mut txn = Txn::default();
    let mut last_append = 0;
    let mut published = 0;
    let mut tails: Vec<(u64, u64)> = Vec::new();
    let mut enabling: Option<(u64, u64)> = None;
    for record in log.file.records() {
        boundary(&record, &mut txn, path, found);
        if record.type_raw & UNUSED_TYPE_BITS != 0 {
            let message = format!("type word 0x{:08x} has bits that mean nothing", record.type_raw);
            found.add(Finding::new(Code::L10, path, message).at(record.offset + 4).severity(Severity::Info));
        }
        let error = record.flaw();
        let Some(kind) = record.kind().filter(|_| error.is_none()) else {
            let Some(error) = error else { continue };
            // A boundary of zeros where the file is zeros from here on is L8.
            if record.kind() == Some(RecordType::Boundary)
                && record.end() == log.file.end.offset
                && record.end() != log.file.log.size
            {
                continue;
            }
            let code = match record.kind() {
                Some(RecordType::Boundary) => Some(Code::L9),
                _ => codes::of_flaw(error.kind),
            };
            let Some(code) = code else { continue };
            let message = error.words();
            found.add(Finding::new(code, path, message).at(error.at));
            continue;
        };
        extension(&record, kind, names.current(), path, found);
        names.follow(&record);
        match kind {
            RecordType::Append => {
                for Change { uid1: uid, at, .. } in record.changes_as_stored(None) {
                    if uid <= last_append || uid == u32::MAX {
                        let message = format!("append of UID {uid} after UID {last_append}");
                        found.add(Finding::new(Code::L14, path, message).at(record.payload_at(at)).uid(uid));
                    }
                    last_append = last_append.max(uid);
                }
            }
            RecordType::HeaderUpdate => header_update(&record, &mut published, &mut tails, path, found),
            _ => {}
        }
        // L17. The record that enables modseqs names the extension; those that follow it use its number.
        if record.modseq > 0 {
            if kind == RecordType::ExtIntro {
                enabling = record.introduces_modseqs().then_some((record.offset, record.modseq));
            } else if matches!(kind, RecordType::ExtHdr | RecordType::ExtHdr32) {
                enabling = None;
            } else if let Some((at, before)) = enabling
                && record.modseq > before
            {
                let message = format!(
                    "modseqs are enabled here, but their header is not set before the change at {}; Dovecot 2.4 \
                     crashes on this",
                    record.offset
                );
                found.add(Finding::new(Code::L17, path, message).at(at));
                enabling = None;
            }
        }
    }
    for (at, tail) in tails {
        if tail != 0 && !log.is_boundary(tail) {
            let message = format!("log_file_tail_offset {tail} is not where a record begins or ends");
            found.add(Finding::new(Code::L16, path, message).at(at));
        }
    }
}

/// L9.
fn boundary(record: &Record<'_>, txn: &mut Txn, path: &Path, found: &mut Findings) {
    let Txn { begin, end, .. } = *txn;
    txn.follow(record);
    let is_boundary = record.kind() == Some(RecordType::Boundary);
    if record.offset < end && (is_boundary || record.end() > end) {
        let what = if is_boundary { "another boundary begins" } else { "a record goes on" };
        let message = format!("boundary of {} bytes, but {what} inside, at {}", end - begin, record.offset);
        found.add(Finding::new(Code::L9, path, message).at(begin + 8));
    }
}

/// L12 and L13, as far as the log alone tells.
fn extension(
    record: &Record<'_>,
    kind: RecordType,
    introduced: Option<&Introduced>,
    path: &Path,
    found: &mut Findings,
) {
    match kind {
        RecordType::ExtIntro => {
            let used = record.intros().last().map_or(0, |intro| align4(intro.at + 20 + intro.name.len()));
            if let Some(rest) = record.payload.get(used..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
                let message = format!("{} bytes after the last introduction are not padding", rest.len());
                let at = record.payload_at(used);
                found.add(Finding::new(Code::L12, path, message).at(at).severity(Severity::Info));
            }
        }
        RecordType::ExtReset
        | RecordType::ExtHdr
        | RecordType::ExtHdr32
        | RecordType::ExtAtomicInc
        | RecordType::ExtRec
            if introduced.is_none() =>
        {
            let message = format!("{kind} without an introduction before it");
            found.add(Finding::new(Code::L12, path, message).at(record.offset));
        }
        RecordType::ExtRec => {
            let stride = align4(4 + introduced.map_or(0, |intro| usize::from(intro.record_size)));
            let size = record.payload.len();
            if !size.is_multiple_of(stride) {
                let message = format!("ext-rec of {size} bytes does not hold whole elements of {stride} bytes");
                found.add(Finding::new(Code::L13, path, message).at(record.offset));
            }
        }
        _ => {}
    }
}

/// L15, and L16 for updates that publish the tail.
fn header_update(
    record: &Record<'_>,
    published: &mut u64,
    tails: &mut Vec<(u64, u64)>,
    path: &Path,
    found: &mut Findings,
) {
    for (i, chunk) in record.header_chunks().enumerate() {
        let end = chunk.offset.saturating_add(u32::try_from(chunk.data.len()).unwrap_or(u32::MAX));
        if end as usize > IndexHeader::SIZE {
            let (begin, size) = (chunk.offset, IndexHeader::SIZE);
            let message = format!("header update of bytes {begin} to {end}, but the header has {size}");
            found.add(Finding::new(Code::L15, path, message).at(record.payload_at(chunk.at)));
            continue;
        }
        if i > 0 {
            continue;
        }
        let Some((at, tail)) = record.published_tail() else { continue };
        let (at, tail) = (record.payload_at(at), u64::from(tail));
        if tail > record.end() {
            let message = format!("log_file_tail_offset {tail} goes past sync offset {}", record.end());
            found.add(Finding::new(Code::L16, path, message).at(at));
        } else if tail < *published {
            let message = format!("log_file_tail_offset {tail} after {published}: it is ignored");
            found.add(Finding::new(Code::L16, path, message).at(at).severity(Severity::Info));
        } else {
            *published = tail;
            tails.push((at, tail));
        }
    }
}

/// L6, L7 and L18: the two logs against each other.
fn pair(subject: &Subject<'_>, found: &mut Findings) {
    for log in &subject.logs {
        let header = &log.file.log.header;
        // Dovecot before 2.2 did not always track modseqs; its logs are of version 1.2 or older.
        if header.initial_modseq == 0 && header.minor_version >= 3 && !found.has(Code::L1, Some(&log.path)) {
            let message = "initial_modseq is 0 in a log of version 1.3";
            found.add(Finding::new(Code::L18, &log.path, message).at(LogHeader::initial_modseq.at()));
        }
    }
    let (Some(new), Some(old)) = (subject.log(Role::Log), subject.log(Role::OldLog)) else { return };
    if [new, old].iter().any(|log| found.has(Code::L1, Some(&log.path)) || found.has(Code::L6, Some(&log.path))) {
        return;
    }
    let (header, before) = (&new.file.log.header, &old.file.log.header);
    if header.file_seq <= before.file_seq {
        let message = format!(".log.2 has file_seq {}, .log has {}", before.file_seq, header.file_seq);
        return found.add(Finding::new(Code::L6, &old.path, message).at(LogHeader::file_seq.at()));
    }
    // A log that starts from nothing continues none: a rebuild leaves .log.2 where it is.
    if header.starts_empty() {
        let is_next = before.file_seq.checked_add(1) == Some(header.file_seq) && header.indexid == before.indexid;
        if is_next && header.initial_modseq > 1 && header.initial_modseq == old.file.end_modseq {
            let message = format!(
                "prev_file_seq is 0, but .log.2 is the log before this one, and ends at the modseq {} that it begins \
                 with",
                header.initial_modseq
            );
            let finding = Finding::new(Code::L7, &new.path, message).at(LogHeader::prev_file_seq.at());
            found.add(finding.severity(Severity::Warning));
        }
        return;
    }
    if header.prev_file_seq != before.file_seq {
        let message = format!(
            "prev_file_seq is {}, but .log.2 has file_seq {}: the log between them is missing",
            header.prev_file_seq, before.file_seq
        );
        return found.add(Finding::new(Code::L7, &new.path, message).at(LogHeader::prev_file_seq.at()));
    }
    let damaged = found.has(Code::L8, Some(&old.path)) || found.has(Code::L9, Some(&old.path));
    let (end, size) = (old.file.end.offset, old.file.log.size);
    let wanted = u64::from(header.prev_file_offset);
    if wanted != if damaged { size } else { end } {
        let message = format!("prev_file_offset is {wanted}, but .log.2 ends at {end}");
        return found.add(Finding::new(Code::L7, &new.path, message).at(LogHeader::prev_file_offset.at()));
    }
    // Up to 2.1 internal flag changes were not counted, though the log's version says they are.
    if damaged || before.minor_version < 3 || header.initial_modseq == old.file.end_modseq {
        return;
    }
    let end = old.file.end_modseq;
    let finding = if header.initial_modseq < end {
        let message = format!(
            "initial_modseq is {}, below {end} where .log.2 ends: HIGHESTMODSEQ went back",
            header.initial_modseq
        );
        Finding::new(Code::L18, &new.path, message)
    } else {
        let message = format!("initial_modseq is {}, but .log.2 ends at {end}", header.initial_modseq);
        Finding::new(Code::L18, &new.path, message).severity(Severity::Info)
    };
    found.add(finding.at(LogHeader::initial_modseq.at()));
}

/// L19: the last word about the deletion of the mailbox.
fn deleted(subject: &Subject<'_>, found: &mut Findings) {
    let mut last = None;
    for log in subject.history().rev() {
        for record in log.file.records() {
            match record.deletion() {
                Some(true) => last = Some((log, record.offset)),
                Some(false) => last = None,
                None => {}
            }
        }
    }
    if let Some((log, at)) = last {
        found.add(Finding::new(Code::L19, &log.path, "the mailbox is marked deleted").at(at));
    }
}

/// Flag bits that mean something in a message's flags byte.
pub(super) const KNOWN_FLAGS: u8 = flag::IMAP | flag::BACKEND | flag::DIRTY;
