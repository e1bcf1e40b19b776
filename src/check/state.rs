//! L5, L21, I10 to I12, I17, I21 and the D rules that index files alone answer: what takes several files, or the state
//! that the logs lead to (`mail-transaction-log-view.c`, `mail-index-sync-update.c`, `mail-index-modseq.c`).

use std::collections::{HashMap, HashSet};

use super::{Code, FSCK, FSCKD, Finding, Findings, Level, Log, Severity, Subject, codes, is_dbox};
use crate::format::Disk;
use crate::format::ext::{ListHeader, ListRecord, MapHeader, MapRecord, MdboxHeader, ModseqHeader, SdboxHeader};
use crate::format::index::{IndexFile, IndexHeader, header_flag};
use crate::format::log::LogHeader;
use crate::model::diff::{self, Difference};
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, ChainFile, IgnoredKind, LogPos, Mailbox, ids};
use crate::source::{Family, Role};

/// The `indexid` of most files.
pub(super) fn common_indexid(subject: &Subject<'_>) -> Option<u32> {
    let of_log = |role| Some(subject.log(role)?.file.log.header.indexid);
    let of_index = |role| {
        let index = IndexFile::parse(&subject.snapshot.get(role)?.bytes).ok()?;
        (index.header.major_version == 7).then_some(index.header.indexid)
    };
    let ids = [of_log(Role::Log), of_index(Role::Index), of_log(Role::OldLog), of_index(Role::Backup)];
    ids::common_indexid(ids, subject.snapshot.get(Role::Cache).map(|cache| &*cache.bytes))
}

/// The mailbox as Dovecot would have it in memory.
pub(super) struct State {
    /// Its state at the end of the logs, or of the index when the logs cannot be read on.
    pub replayed: Replayed,
    /// True when that is the end of the logs.
    pub complete: bool,
    /// True when nothing was wrong on the way there.
    pub sound: bool,
}

impl State {
    /// That of the index alone.
    fn of_index(mailbox: Mailbox) -> State {
        let seq = mailbox.header.log_file_seq;
        let position = LogPos { seq, offset: u64::from(mailbox.header.log_file_head_offset) };
        let replayed =
            Replayed { mailbox, position, log_modseq: 0, errors: Vec::new(), ignored: Vec::new(), stopped: None };
        State { replayed, complete: false, sound: false }
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.replayed.mailbox
    }
}

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) -> Option<State> {
    let all = subject.options.level == Level::All;
    indexids(subject, found);
    let index_path = subject.path(Role::Index);
    let index = subject
        .snapshot
        .get(Role::Index)
        .filter(|_| !found.has(Code::I1, Some(&index_path)))
        .and_then(|input| IndexFile::parse(&input.bytes).ok());
    let broken_logs = [Code::L1, Code::L4, Code::L5, Code::L6].into_iter().any(|code| found.has(code, None));
    let sound_index = !found.any(&index_path, Severity::Error);
    let is_loaded = sound_index && subject.options.level >= Level::Files;
    let base = index.as_ref().filter(|_| is_loaded).map(Mailbox::load);
    if broken_logs || (index.is_some() && !sound_index) || subject.snapshot.get(Role::Log).is_none() {
        let state = base.map(State::of_index)?;
        storage(subject, state.mailbox(), found);
        return Some(state);
    }
    let file = |role| subject.log(role).map(|log| log.file.clone());
    let chain = Chain::of(file(Role::Log), file(Role::OldLog));
    let torn = subject.logs.iter().any(|log| [Code::L8, Code::L9].iter().any(|code| found.has(*code, Some(&log.path))));
    let unread = subject.snapshot.get(Role::Index).is_some() && index.is_none();
    match &index {
        // An index that cannot be used has had its finding.
        None if unread => {}
        None => absent(subject, &chain, torn, found),
        Some(index) => position(subject, index, &chain, torn, found),
    }
    if found.has(Code::I10, Some(&index_path)) && found.any(&index_path, Severity::Error) {
        return base.map(State::of_index);
    }
    if subject.options.level < Level::Files {
        if let Some(index) = index.filter(|_| !torn) {
            modseqs(subject, &index, &chain, found);
        }
        return None;
    }
    let start = base.unwrap_or_else(|| chain.empty_mailbox());
    let replayed = match chain.replay(start, Until::End) {
        Ok(replayed) => replayed,
        Err(_) => return index.as_ref().map(|index| State::of_index(Mailbox::load(index))),
    };
    sync_errors(subject, &replayed, LogPos { seq: 0, offset: 0 }, found);
    ignored(subject, &replayed, found);
    storage(subject, &replayed.mailbox, found);
    vsize(subject, index.as_ref(), &replayed.mailbox, found);
    if let Some(index) = &index {
        emptied(subject, index, &chain, &replayed, found);
        if !torn {
            modseqs(subject, index, &chain, found);
            tail(subject, index, &chain, found);
            if all {
                history(subject, index, &chain, found);
                backup(subject, index, &chain, found);
            }
        }
    }
    if !torn && replayed.stopped.is_none() {
        if all {
            super::records::check(subject, &replayed.mailbox, found);
            super::transactions::check(subject, &replayed.mailbox, found);
        }
        outcome(subject, &replayed, found);
    }
    rotated(subject, &replayed.mailbox, index.is_some(), found);
    let complete = replayed.stopped.is_none() && !torn;
    let sound = complete && replayed.errors.is_empty() && index.is_none_or(|index| index.problems.is_empty());
    Some(State { replayed, complete, sound })
}

/// L5.
fn indexids(subject: &Subject<'_>, found: &mut Findings) {
    let Some(common) = subject.indexid else { return };
    let other = |id: u32| format!("indexid is {id}, the other files have {common}");
    for log in &subject.logs {
        let id = log.file.log.header.indexid;
        if id != common && id != 0 {
            found.add(Finding::new(Code::L5, &log.path, other(id)).at(LogHeader::indexid.at()));
        }
    }
    for (role, code) in [(Role::Index, Code::L5), (Role::Backup, Code::D11)] {
        let path = subject.path(role);
        if found.has(Code::I1, Some(&path)) || found.has(Code::D11, Some(&path)) {
            continue;
        }
        let index = subject.snapshot.get(role).and_then(|input| IndexFile::parse(&input.bytes).ok());
        if let Some(id) = index.map(|index| index.header.indexid).filter(|id| *id != common) {
            found.add(Finding::new(code, path, other(id)).at(IndexHeader::indexid.at()));
        }
    }
}

/// I10 without an index: the logs must begin at the beginning.
fn absent(subject: &Subject<'_>, chain: &Chain<'_>, torn: bool, found: &mut Findings) {
    if torn && chain.files.iter().any(|file| file.log.header.starts_empty()) {
        return;
    }
    if chain.complete_from().is_none()
        && let Some(first) = chain.files.first()
    {
        let message = format!(
            "there is no index, and the logs do not go back to the beginning: the oldest is {}, which continues {}",
            first.seq(),
            first.log.header.prev_file_seq
        );
        found.add(Finding::new(Code::I10, subject.path(Role::Index), message));
    }
}

/// I10: the log position of the index.
fn position(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, torn: bool, found: &mut Findings) {
    let path = subject.path(Role::Index);
    let (seq, head) = (index.header.log_file_seq, u64::from(index.header.log_file_head_offset));
    let linked = chain.files.iter().any(|file| {
        file.log.header.prev_file_seq == seq && u64::from(file.log.header.prev_file_offset) == head && seq != 0
    });
    if linked && chain.position_of(seq).is_none() {
        return;
    }
    let Some(file) = chain.position_of(seq).and_then(|at| chain.files.get(at)) else {
        let have: Vec<String> = chain.files.iter().map(|file| file.seq().to_string()).collect();
        let message = format!("stands in log {seq}, which is missing; there is {}", have.join(" and "));
        return found.add(Finding::new(Code::I10, path, message).at(IndexHeader::log_file_seq.at()));
    };
    // What a damaged log does not show any more is not held against the index.
    if torn && head > file.end.offset {
        return;
    }
    if head < file.log.records_at || head > file.end.offset {
        let message = format!(
            "log_file_head_offset {head} is outside log {seq}, whose records go from {} to {}",
            file.log.records_at, file.end.offset
        );
        return found.add(Finding::new(Code::I10, path, message).at(IndexHeader::log_file_head_offset.at()));
    }
    if subject.numbered(seq).is_some_and(|log| !log.is_boundary(head)) {
        let message = format!("log_file_head_offset {head} is inside a record of log {seq}");
        return found.add(Finding::new(Code::I10, path, message).at(IndexHeader::log_file_head_offset.at()));
    }
    let newest = chain.end();
    if seq != newest.seq && head != file.end.offset {
        let message =
            format!("stands in the log before the present one, at {seq}:{head}; the next sync writes it anew");
        found.add(Finding::new(Code::I10, path, message).at(IndexHeader::log_file_seq.at()).severity(Severity::Info));
    }
}

/// L10 to L15 and I5: what Dovecot's sync would complain about. What lies before the index's tail it has passed, and
/// does not read again while the index lasts; what lies between tail and head it reads once more.
fn sync_errors(subject: &Subject<'_>, replayed: &Replayed, tail: LogPos, found: &mut Findings) {
    for error in &replayed.errors {
        let passed = error.pos < tail;
        let Some(log) = subject.logs.iter().find(|log| log.file.seq() == error.pos.seq) else { continue };
        let code = codes::of_sync(&error.kind);
        let size = record_size(log, error.pos.offset);
        let finding = if code == Code::I5 {
            // The counts were wrong before; the record only shows it.
            let message = format!("{} when log {} is replayed", error.kind, error.pos);
            Finding::new(code, subject.path(Role::Index), message).severity(Severity::Error).does(FSCK)
        } else {
            Finding::new(code, &log.path, error.kind.to_string()).at(error.pos.offset)
        };
        let finding = if passed && code != Code::I5 {
            let nothing =
                "nothing while dovecot.index lasts, which is past it; it complains when it has to replay the log";
            finding.severity(Severity::Warning).does(nothing)
        } else {
            finding
        };
        let said_already = code == Code::I5 && found.has(code, None);
        if !said_already
            && !found.is_full(&finding)
            && !found.within(&finding.file, error.pos.offset..error.pos.offset + size)
        {
            found.add(finding);
        }
    }
}

/// L12: extension data that Dovecot passes over because it belongs to another generation of the extension.
fn ignored(subject: &Subject<'_>, replayed: &Replayed, found: &mut Findings) {
    for one in &replayed.ignored {
        let IgnoredKind::ResetId { ext, have, .. } = &one.kind;
        // A process that has not heard of a purge yet still names the cache as it was before.
        if ext == b"cache" {
            continue;
        }
        let Some(log) = subject.numbered(one.pos.seq) else { continue };
        // An extension that was reset may still be introduced as it was before, by a process that has not heard of it.
        let severity = if *have == 0 { Severity::Warning } else { Severity::Info };
        let finding = Finding::new(Code::L12, &log.path, one.kind.to_string()).at(one.pos.offset).severity(severity);
        if !found.within(&log.path, one.pos.offset..one.pos.offset + 8) {
            found.add(finding);
        }
    }
}

fn record_size(log: &Log<'_>, offset: u64) -> u64 {
    let raw = usize::try_from(offset).ok().and_then(|at| log.file.bytes.get(at..)?.first_chunk::<4>());
    raw.and_then(|raw| crate::format::packed::decode(*raw)).map_or(8, u64::from).max(8)
}

/// L21.
fn emptied(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, replayed: &Replayed, found: &mut Findings) {
    let header = &index.header;
    let Ok(start) = chain.start(header.log_file_seq, u64::from(header.log_file_head_offset)) else { return };
    let (now, then) = (&replayed.mailbox.header, header);
    if start.reset
        && (now.messages_count < then.messages_count || now.next_uid < then.next_uid)
        && let Some(log) =
            chain.files.get(start.file).and_then(|file| subject.logs.iter().find(|log| log.file.seq() == file.seq()))
    {
        let message = format!(
            "log {} starts from an empty mailbox, and the index stands at its beginning: its {} messages will vanish \
             (Dovecot 2.3 and 2.4 lose them)",
            log.file.seq(),
            then.messages_count
        );
        found.add(Finding::new(Code::L21, &log.path, message).at(LogHeader::prev_file_seq.at()));
    }
}

/// I17: the modseq header against the logs.
fn modseqs(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, found: &mut Findings) {
    let Some(ext) = index.extension(b"modseq").filter(|ext| ext.data.len() == ModseqHeader::SIZE) else { return };
    let path = subject.path(Role::Index);
    let header = ModseqHeader::read(ext.data, index.endian);
    let highest = header.highest_modseq;
    let pos = LogPos { seq: header.log_seq, offset: u64::from(header.log_offset) };
    let stands = LogPos { seq: index.header.log_file_seq, offset: u64::from(index.header.log_file_head_offset) };
    if found.has(Code::L18, None) {
        return;
    }
    if pos > stands {
        let message = format!("the modseq header stands at {pos}, the index at {stands}");
        return found.add(Finding::new(Code::I17, path, message).at(ext.data_at as u64 + ModseqHeader::log_seq.at()));
    }
    let Some(file) = chain.position_of(pos.seq).and_then(|at| chain.files.get(at)) else { return };
    // Before 2.2.29 Dovecot counted differently from its own format: see the format's notes on version 1.2.
    if file.log.header.minor_version < 3 {
        return;
    }
    if subject.numbered(pos.seq).is_some_and(|log| !log.is_boundary(pos.offset)) {
        let message = format!("the modseq header stands at {pos}, which is not where a record begins");
        return found
            .add(Finding::new(Code::I17, path, message).at(ext.data_at as u64 + ModseqHeader::log_offset.at()));
    }
    let Some(at) = chain.position_of(pos.seq) else { return };
    let counted = chain.modseq_at(at, pos.offset, None);
    if counted != highest {
        let message = format!("highest_modseq is {highest}, but the log counts {counted} at {pos}");
        let finding = Finding::new(Code::I17, path, message).at(ext.data_at as u64);
        // Too low, clients have been told a higher one already and miss what happens until it is reached again.
        let is_low = highest < counted;
        found.add(if is_low { finding.severity(Severity::Error) } else { finding });
    }
}

/// I11.
fn tail(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, found: &mut Findings) {
    let path = subject.path(Role::Index);
    let header = &index.header;
    let (tail, head) = (u64::from(header.log_file_tail_offset), u64::from(header.log_file_head_offset));
    let Some(at) = chain.position_of(header.log_file_seq) else { return };
    let Some(file) = chain.files.get(at) else { return };
    if tail == 0 {
        return;
    }
    if tail > head || tail < file.log.records_at {
        let message = format!("log_file_tail_offset {tail} is not between {} and the head {head}", file.log.records_at);
        return found.add(Finding::new(Code::I11, path, message).at(IndexHeader::log_file_tail_offset.at()));
    }
    if subject.numbered(header.log_file_seq).is_some_and(|log| !log.is_boundary(tail)) {
        let message = format!("log_file_tail_offset {tail} is inside a record");
        return found.add(Finding::new(Code::I11, path, message).at(IndexHeader::log_file_tail_offset.at()));
    }
    // 1.0 knew what it had executed from the index alone and published nothing.
    if header.minor_version == 0 {
        return;
    }
    if let Some(at) = skipped_request(file, tail) {
        let message = format!("log_file_tail_offset {tail} skips the request at {at}, which has not been executed");
        found.add(
            Finding::new(Code::I11, path, message)
                .at(IndexHeader::log_file_tail_offset.at())
                .severity(Severity::Warning),
        );
    }
}

/// The first request before `tail` that comes after everything the log says has been executed.
fn skipped_request(file: &ChainFile<'_>, tail: u64) -> Option<u64> {
    let mut done = 0;
    let mut requests = Vec::new();
    for record in file.records() {
        if record.offset < tail && record.is_request() {
            requests.push(record.offset);
        } else if let Some((_, tail)) = record.published_tail() {
            done = done.max(u64::from(tail));
        }
    }
    requests.into_iter().find(|at| *at >= done)
}

/// Why the index need not be what the logs say.
fn excused(index: &IndexFile<'_>, chain: &Chain<'_>) -> bool {
    // fsck writes its corrections into the index only. In files of versions before 2.2.29 modseqs were counted by other
    // rules, and header fields were upgraded without a record in the log.
    index.header.flags & header_flag::FSCKD != 0
        || chain.files.iter().any(|file| file.log.header.minor_version < 3)
        || index.header.minor_version < 3
}

/// I12.
fn history(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, found: &mut Findings) {
    let path = subject.path(Role::Index);
    if chain.complete_from() != Some(0) || excused(index, chain) || found.has(Code::L21, None) {
        return;
    }
    // Anything else that is wrong shows here too.
    if found.any(&path, Severity::Warning) || subject.logs.iter().any(|log| found.any(&log.path, Severity::Warning)) {
        return;
    }
    let pos = LogPos { seq: index.header.log_file_seq, offset: u64::from(index.header.log_file_head_offset) };
    let Ok(replayed) = chain.replay(chain.empty_mailbox(), Until::Pos(pos)) else { return };
    if !replayed.errors.is_empty() || !replayed.ignored.is_empty() {
        let tail = LogPos { seq: pos.seq, offset: u64::from(index.header.log_file_tail_offset) };
        sync_errors(subject, &replayed, tail, found);
        ignored(subject, &replayed, found);
    }
    if found.any(&path, Severity::Warning) || subject.logs.iter().any(|log| found.any(&log.path, Severity::Warning)) {
        return;
    }
    if replayed.position != pos && chain.position_of(pos.seq).is_some() {
        return;
    }
    let stored = Mailbox::load(index);
    compare(index, &stored, &replayed.mailbox, |at, uid, message, is_seen| {
        let mut finding = Finding::new(Code::I12, &path, message).at(at as u64);
        finding.uid = uid;
        let severity = if is_seen { Severity::Error } else { Severity::Warning };
        found.add(finding.severity(severity));
    });
}

/// D11: the backup is an index of before, and what the logs tell since leads to the present one.
fn backup(subject: &Subject<'_>, index: &IndexFile<'_>, chain: &Chain<'_>, found: &mut Findings) {
    let path = subject.path(Role::Backup);
    let old = subject.snapshot.get(Role::Backup).and_then(|input| IndexFile::parse(&input.bytes).ok());
    let Some(old) = old.filter(|_| !found.has(Code::D11, None)) else { return };
    let index_path = subject.path(Role::Index);
    if excused(index, chain)
        || excused(&old, chain)
        || found.any(&index_path, Severity::Warning)
        || subject.logs.iter().any(|log| found.any(&log.path, Severity::Warning))
    {
        return;
    }
    let at = |header: &crate::format::index::IndexHeader| LogPos {
        seq: header.log_file_seq,
        offset: u64::from(header.log_file_head_offset),
    };
    let (from, to) = (at(&old.header), at(&index.header));
    // An index that was put back from before is older than its backup; that is I10.
    if found.has(Code::I10, None) {
        return;
    }
    if from > to {
        let message = format!("the backup stands at {from}, the index at {to}");
        return found.add(Finding::new(Code::D11, &path, message).at(IndexHeader::log_file_seq.at()));
    }
    let reached = chain.position_of(from.seq).is_some();
    let Ok(start) = chain.start(from.seq, from.offset) else { return };
    if !reached || start.reset {
        return;
    }
    let Ok(replayed) = chain.replay(Mailbox::load(&old), Until::Pos(to)) else { return };
    if replayed.position != to || !replayed.errors.is_empty() || replayed.stopped.is_some() {
        return;
    }
    let mut first = None;
    compare(index, &Mailbox::load(index), &replayed.mailbox, |_, _, message, _| {
        first.get_or_insert(message);
    });
    if let Some(message) = first {
        found.add(Finding::new(Code::D11, &path, format!("does not lead to the index: there {message}")));
    }
}

/// Tells where an index differs from what the logs say: byte offset in the index, UID, words, and whether a client sees
/// it (messages, flags and keywords). After a difference that what follows rests on there is no more.
fn compare(
    index: &IndexFile<'_>,
    stored: &Mailbox,
    told: &Mailbox,
    mut differ: impl FnMut(usize, Option<u32>, String, bool),
) {
    let ext_at = |ext: usize| index.extensions.get(ext).map_or(0, |view| view.at);
    let header_of = |ext: usize| index.extensions.get(ext).map_or(0, |view| view.data_at);
    let record = |i: usize| index.records_at + i * index.record_size;
    // Whoever throws a cache away clears the links into it without a word in the log; a sum of sizes that was forgotten
    // is counted anew.
    let zero = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    let named = |ext: usize, name: &[u8]| stored.extensions.get(ext).filter(|ext| ext.name == name);
    let matters = |one: &Difference| match one {
        Difference::ExtRecord { i, ext, .. } => {
            !named(*ext, b"cache").is_some_and(|cache| zero(stored.ext_bytes(*i, cache)))
        }
        Difference::ExtHeader { ext, .. } => !named(*ext, b"hdr-vsize").is_some_and(|sum| zero(Some(sum.header()))),
        _ => true,
    };
    for one in diff::compare(stored, told, matters) {
        let message = one.to_string();
        match one {
            Difference::Header { at, .. } => differ(at, None, message, false),
            Difference::DayFirstUid { .. } => differ(88, None, message, false),
            Difference::Keywords { .. } => {
                return differ(index.extension(b"keywords").map_or(0, |ext| ext.data_at), None, message, true);
            }
            Difference::Order { ext, .. } | Difference::Shape { ext, .. } => {
                return differ(ext_at(ext), None, message, false);
            }
            Difference::MoreExtensions => return differ(4, None, message, false),
            Difference::ExtHeader { ext, .. } => differ(header_of(ext), None, message, false),
            Difference::Missing { i, uid } | Difference::Extra { i, uid } => {
                differ(record(i), Some(uid), message, true);
            }
            Difference::Flags { i, uid, .. } => differ(record(i) + 4, Some(uid), message, true),
            Difference::ExtRecord { i, uid, ext, .. } => {
                let offset = stored.extensions.get(ext).map_or(0, |ext| usize::from(ext.record_offset));
                differ(record(i) + offset, Some(uid), message, named(ext, b"keywords").is_some());
            }
        }
    }
}

/// I5 to I8 for the state the logs lead to: Dovecot runs fsck when it breaks them (`mail_index_map_check_header`).
fn outcome(subject: &Subject<'_>, replayed: &Replayed, found: &mut Findings) {
    let header = &replayed.mailbox.header;
    let Some(log) = subject.log(Role::Log) else { return };
    let index = subject.path(Role::Index);
    if header.flags & header_flag::FSCKD != 0 && is_dbox(|name| replayed.mailbox.extension(name).is_some()) {
        let does =
            "logs it, and rebuilds the mailbox in the next session: modseqs rise; 2.3 ends the session of an mdbox";
        found.add(
            Finding::new(Code::I22, &index, FSCKD).at(IndexHeader::flags.at()).severity(Severity::Error).does(does),
        );
    }
    let mut add = |code: Code, message: String| {
        if !found.has(code, Some(&index)) && !found.any(&log.path, Severity::Error) {
            // fsck sees to whatever is an error here, and to the marks.
            let severity = if code == Code::I6 { Severity::Error } else { code.rule().severity };
            found.add(Finding::new(code, &log.path, message).severity(severity));
        }
    };
    if header.next_uid == u32::MAX {
        add(Code::I23, format!("next_uid is {}: no UID is left to give", header.next_uid));
    }
    if header.uid_validity == 0 && header.next_uid > 1 {
        add(Code::I8, format!("the logs lead to uid_validity 0 with next_uid {}", header.next_uid));
    }
    if header.first_recent_uid == 0 || header.first_recent_uid > header.next_uid {
        add(
            Code::I7,
            format!("the logs lead to first_recent_uid {} with next_uid {}", header.first_recent_uid, header.next_uid),
        );
    }
    if header.first_unseen_uid_lowwater.max(header.first_deleted_uid_lowwater) > header.next_uid {
        add(Code::I6, format!("the logs lead to a low-water mark above next_uid {}", header.next_uid));
    }
    let mut before = header.next_uid;
    for uid in header.day_first_uid {
        if uid > before {
            add(Code::I20, format!("the logs lead to day_first_uid {:?}", header.day_first_uid));
            break;
        }
        before = uid;
    }
}

/// I19: the sum of the messages' sizes, in the state that index and logs lead to. A value that the logs have set since
/// the index was written is as good as one in the index (`index-mailbox-size.c`).
fn vsize(subject: &Subject<'_>, index: Option<&IndexFile<'_>>, mailbox: &Mailbox, found: &mut Findings) {
    let Some(total) = mailbox.extension(b"hdr-vsize").filter(|ext| ext.header().len() == 16) else { return };
    let endian = mailbox.endian;
    let stored = endian.u64_at(total.header(), 0).unwrap_or(0);
    let last = endian.u32_at(total.header(), 8).unwrap_or(0);
    let count = endian.u32_at(total.header(), 12).unwrap_or(0);
    if (stored, last, count) == (0, 0, 0) {
        return;
    }
    let sizes = mailbox.extension(b"vsize").filter(|ext| ext.record_size == 4 && subject.family != Family::List);
    let (mut counted, mut sum) = (0_u32, Some(0_u64));
    for i in mailbox.positions().take_while(|i| mailbox.uid(*i) <= last) {
        counted += 1;
        let size = sizes.and_then(|ext| endian.u32_at(mailbox.ext_bytes(i, ext)?, 0)).filter(|size| *size > 0);
        sum = sum.zip(size).map(|(sum, size)| sum + u64::from(size) - 1);
    }
    let in_index = index.and_then(|index| index.extension(b"hdr-vsize")).filter(|ext| ext.data == total.header());
    let finding = |skip: usize, message: String| match in_index {
        Some(ext) => Finding::new(Code::I19, subject.path(Role::Index), message).at((ext.data_at + skip) as u64),
        None => Finding::new(Code::I19, subject.path(Role::Log), message),
    };
    if count != counted {
        // Dovecot sees this itself and counts anew (index_mailbox_vsize_hdr_expunge, _check).
        let message = format!("{count} messages up to UID {last} counted, but {counted} there: it counts anew");
        found.add(finding(12, message).severity(Severity::Info));
    } else if let Some(sum) = sum.filter(|sum| *sum != stored) {
        found.add(finding(0, format!("vsize is {stored}, but the messages' sizes make {sum}")));
    }
}

/// I21.
fn rotated(subject: &Subject<'_>, mailbox: &Mailbox, has_index: bool, found: &mut Findings) {
    let stamp = mailbox.header.log2_rotate_time;
    let there = subject.log(Role::OldLog).is_some() || subject.snapshot.get(Role::OldLog).is_some();
    // An index that does not exist has no rotation time, and before 2.2.32 it stood for something else.
    if stamp == 0 || !has_index {
        return;
    }
    if stamp == u32::MAX && there {
        let message = "log2_rotate_time says there is no .log.2, but there is";
        found.add(Finding::new(Code::I21, subject.path(Role::Index), message).at(IndexHeader::log2_rotate_time.at()));
    } else if stamp != u32::MAX && !there {
        let message = "log2_rotate_time says there is a .log.2, but it is gone";
        found.add(Finding::new(Code::I21, subject.path(Role::OldLog), message));
    }
}

/// D6 to D9, as far as the index itself answers.
fn storage(subject: &Subject<'_>, mailbox: &Mailbox, found: &mut Findings) {
    let path = subject.path(Role::Index);
    let endian = mailbox.endian;
    let mut add = |code: Code, uid: Option<u32>, message: String| {
        let mut finding = Finding::new(code, &path, message);
        finding.uid = uid;
        found.add(finding);
    };
    if let Some(ext) = mailbox.extension(b"dbox-hdr") {
        let header = SdboxHeader::read(ext.header(), endian);
        if ext.hdr_size < 4 {
            add(Code::D6, None, format!("dbox-hdr has {} bytes, at least 4 are needed", ext.hdr_size));
        } else if ext.hdr_size >= 24 && header.mailbox_guid == [0; 16] {
            add(Code::D6, None, "dbox-hdr has no mailbox GUID".into());
        }
    }
    if let Some(ext) = mailbox.extension(b"mdbox-hdr") {
        let header = MdboxHeader::read(ext.header(), endian);
        if ext.hdr_size >= 20 && header.mailbox_guid == [0; 16] {
            add(Code::D7, None, "mdbox-hdr has no mailbox GUID".into());
        }
    }
    if subject.family == Family::Map {
        map(mailbox, &mut add);
    }
    if subject.family == Family::List {
        list(mailbox, &mut add);
    }
}

/// D8: the map by itself.
fn map(mailbox: &Mailbox, add: &mut impl FnMut(Code, Option<u32>, String)) {
    let Some(ext) = mailbox.extension(b"map") else {
        if !mailbox.is_empty() {
            add(Code::D8, None, "the map index has no map extension".into());
        }
        return;
    };
    let highest = MapHeader::read(ext.header(), mailbox.endian).highest_file_id;
    for i in mailbox.positions() {
        let Some(raw) = mailbox.ext_bytes(i, ext) else { return };
        let record = MapRecord::read(raw, mailbox.endian);
        if record.file_id == 0 || record.file_id > highest {
            let message = format!("file_id is {}, the highest is {highest}", record.file_id);
            add(Code::D8, Some(mailbox.uid(i)), message);
        }
    }
}

/// D9: the tree of names by itself.
fn list(mailbox: &Mailbox, add: &mut impl FnMut(Code, Option<u32>, String)) {
    let Some(ext) = mailbox.extension(b"list") else { return };
    let header = ListHeader::parse(ext.header(), 0, mailbox.endian);
    for problem in &header.problems {
        add(Code::D9, None, problem.words());
    }
    let names: HashSet<u32> = header.names.iter().map(|name| name.id).collect();
    let mut parents = HashMap::new();
    for i in mailbox.positions() {
        if let Some(raw) = mailbox.ext_bytes(i, ext) {
            let record = ListRecord::read(raw, mailbox.endian);
            parents.insert(mailbox.uid(i), record.parent_uid);
            if !names.contains(&record.name_id) {
                add(Code::D9, Some(mailbox.uid(i)), format!("name id {} is not in the header", record.name_id));
            }
        }
    }
    let mut uids: Vec<u32> = parents.keys().copied().collect();
    uids.sort_unstable();
    // Whether the way up from a record comes to an end: each is gone up once, however deep they lie.
    let mut ends: HashMap<u32, bool> = HashMap::new();
    for uid in uids {
        let parent = parents.get(&uid).copied().unwrap_or(0);
        if parent != 0 && !parents.contains_key(&parent) {
            add(Code::D9, Some(uid), format!("parent {parent} does not exist"));
            continue;
        }
        let (mut way, mut at) = (Vec::new(), uid);
        let end = loop {
            // What is met again on its own way is there as `false`.
            if let Some(known) = ends.get(&at) {
                break *known;
            }
            let Some(parent) = parents.get(&at) else { break true };
            ends.insert(at, false);
            way.push(at);
            at = *parent;
        };
        way.into_iter().for_each(|one| _ = ends.insert(one, end));
        if !end {
            add(Code::D9, Some(uid), "its parents form a loop".into());
        }
    }
}
