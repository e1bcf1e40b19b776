//! L7, L11 to L15 and L20 where Dovecot itself checks nothing: values that it would take from a log, but that no
//! Dovecot writes there. They are what is left to tell a damaged log from a sound one: there are no checksums.

use std::path::Path;

use super::log::KNOWN_FLAGS;
use super::names::{KEYWORDS, misspelt};
use super::{CLOCK_SKEW, Code, FIRST_STAMP, Finding, Findings, Log, Severity, Subject};
use crate::format::changes::{Change, Effect, FlagChange};
use crate::format::ext::KnownExt;
use crate::format::index::{IndexHeader, header_flag};
use crate::format::intros::BY_NAME;
use crate::format::log::{LogHeader, MIN_HEADER};
use crate::format::record::{Append, ExtReset, FlagUpdate, Intro, Record, RecordType};
use crate::format::{Disk, Field};
use crate::model::Mailbox;
use crate::source::Family;

/// Fields of the base header that Dovecot writes through the log.
const LOGGED_FIELDS: [Field; 9] = [
    IndexHeader::flags,
    IndexHeader::uid_validity,
    IndexHeader::next_uid,
    IndexHeader::first_recent_uid,
    IndexHeader::log_file_tail_offset,
    IndexHeader::log2_rotate_time,
    IndexHeader::last_temp_file_scan,
    IndexHeader::day_stamp,
    IndexHeader::day_first_uid,
];
/// Those that it wrote besides up to 2.1.
const LOGGED_FIELDS_OLD: [Field; 3] = [
    IndexHeader::first_unseen_uid_lowwater,
    IndexHeader::first_deleted_uid_lowwater,
    IndexHeader::unused_old_sync_size_part1,
];

/// Why the sizes are not those of an extension of that name; `None` when they are, or when the name says nothing.
pub(super) fn misshapen(name: &[u8], family: Family, hdr_size: u32, record_size: u16, align: u16) -> Option<String> {
    let known = KnownExt::of(name, family.flavor())?;
    (!known.suits(hdr_size, record_size, align)).then(|| {
        format!(
            "extension {} with a header of {hdr_size} bytes and {record_size} bytes (aligned by {align}) in each \
             record",
            String::from_utf8_lossy(name)
        )
    })
}

/// Judges the records of all logs by the state they lead to.
pub(super) fn check(subject: &Subject<'_>, mailbox: &Mailbox, found: &mut Findings) {
    let old = subject.is_old();
    for log in subject.history() {
        if found.any(&log.path, Severity::Error) {
            continue;
        }
        let judge = Judge { subject, log, mailbox, next_uid: mailbox.header.next_uid, old };
        judge.header(found);
        for record in log.file.records() {
            judge.record(&record, found);
        }
    }
    stamps(subject, found);
}

/// L20: a log is not older than the one before it, nor than the index, whose `indexid` is the time of its creation.
fn stamps(subject: &Subject<'_>, found: &mut Findings) {
    for log in subject.history() {
        let header = &log.file.log.header;
        let (stamp, born) = (i64::from(header.create_stamp), i64::from(header.indexid));
        let first = header.prev_file_seq == 0 && header.file_seq == 1;
        if (stamp < born - CLOCK_SKEW || (first && stamp > born + CLOCK_SKEW)) && !found.has(Code::L20, None) {
            let message = format!("create_stamp is {stamp}, but the index was created at {born}");
            found.add(Finding::new(Code::L20, &log.path, message).at(LogHeader::create_stamp.at()));
        }
        if header.minor_version < 2
            && log.file.bytes.get(LogHeader::compat_flags.offset).is_some_and(|flags| *flags != 0)
            && header.hdr_size > 32
        {
            let message =
                format!("minor_version is {}, but there are compat_flags, which came with 2", header.minor_version);
            found.add(Finding::new(Code::L2, &log.path, message).at(LogHeader::minor_version.at()));
        }
    }
    let mut logs = subject.history();
    let (Some(new), Some(old)) = (logs.next(), logs.next()) else { return };
    let (stamp, before) = (new.file.log.header.create_stamp, old.file.log.header.create_stamp);
    if stamp < before && !found.has(Code::L20, None) {
        let message = format!("create_stamp is {stamp}, that of .log.2 {before}");
        found.add(Finding::new(Code::L20, &new.path, message).at(LogHeader::create_stamp.at()));
    }
}

struct Judge<'a> {
    subject: &'a Subject<'a>,
    log: &'a Log<'a>,
    mailbox: &'a Mailbox,
    /// No UID is as high as this one.
    next_uid: u32,
    old: bool,
}

impl Judge<'_> {
    fn path(&self) -> &Path {
        &self.log.path
    }

    fn warn(&self, code: Code, at: u64, message: String) -> Finding {
        Finding::new(code, self.path(), message).at(at).severity(Severity::Warning)
    }

    /// L7: what a log says of the one before it.
    fn header(&self, found: &mut Findings) {
        let header = &self.log.file.log.header;
        let (seq, prev, offset) = (header.file_seq, header.prev_file_seq, header.prev_file_offset);
        // (1, 0) is how 1.x to 2.1 began their first log.
        let ok = match prev {
            0 => offset == 0,
            1 if offset == 0 => true,
            _ => prev < seq && offset.is_multiple_of(4) && offset as usize >= MIN_HEADER,
        };
        let finding = |message: String| self.warn(Code::L7, LogHeader::prev_file_seq.at(), message);
        if !ok {
            let message = format!("file_seq {seq} cannot continue prev_file_seq {prev} at prev_file_offset {offset}");
            found.add(finding(message));
        } else if prev != 0 && prev.checked_add(1) != Some(seq) {
            // Happens when a log was lost while it was open.
            let message = format!("file_seq is {seq}, but it continues prev_file_seq {prev}");
            found.add(finding(message).severity(Severity::Info));
        }
    }

    fn record(&self, record: &Record<'_>, found: &mut Findings) {
        for change in record.changes_as_stored(None) {
            self.change(record, &change, found);
        }
        match record.kind() {
            Some(RecordType::KeywordUpdate) => {
                let name = record.keyword_update().map_or(&[][..], |(_, name, _)| name);
                if name.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
                    let message = format!("keyword {:?} has control characters", String::from_utf8_lossy(name));
                    found.add(self.warn(Code::L11, record.payload_at(4), message));
                } else if !self.old && name.iter().any(|byte| !byte.is_ascii() || b"(){ %*\"\\]".contains(byte)) {
                    // mailbox_keyword_is_valid refuses them whoever asks, but older versions asked less often.
                    let message = format!("keyword {:?} is no IMAP atom", String::from_utf8_lossy(name));
                    found.add(self.warn(Code::L11, record.payload_at(4), message).severity(Severity::Info));
                } else if let Some(known) = misspelt(name, KEYWORDS.iter().copied()).filter(|_| !self.old) {
                    let message =
                        format!("keyword {:?} is {known:?} with one bit flipped", String::from_utf8_lossy(name));
                    found.add(self.warn(Code::L11, record.payload_at(4), message).severity(Severity::Info));
                }
            }
            Some(RecordType::HeaderUpdate) => self.header_update(record, found),
            Some(RecordType::ExtIntro) => {
                record.intros().for_each(|intro| self.intro(record, &intro, found));
            }
            Some(RecordType::ExtReset) => {
                let reset = ExtReset::read(record.payload, record.endian);
                if reset.preserve_data > 1 && !self.old {
                    let message = format!("preserve_data is {}", reset.preserve_data);
                    found.add(self.warn(Code::L12, record.payload_at(4), message).severity(Severity::Info));
                }
            }
            Some(RecordType::Boundary) if !record.external() => {
                let message = "a boundary that is a request".to_owned();
                found.add(self.warn(Code::L10, record.offset + 4, message).severity(Severity::Info));
            }
            _ => {}
        }
    }

    /// L11: UIDs that did not exist yet, and flags that do not exist.
    fn change(&self, record: &Record<'_>, change: &Change<'_>, found: &mut Findings) {
        let Change { uid1, uid2, at, effect } = *change;
        let warn = |at: usize, message: &str| self.warn(Code::L11, record.payload_at(at), message.into()).uid(uid1);
        match effect {
            Effect::Append { flags } => {
                if flags & !KNOWN_FLAGS != 0 && !self.old {
                    found.add(warn(at + Append::flags.offset, "appended with the unknown flag 0x20"));
                }
                return;
            }
            Effect::Flags(FlagChange { add, remove, .. }) if !self.old => {
                if (add | remove) & !KNOWN_FLAGS != 0 {
                    found.add(warn(at + FlagUpdate::add_flags.offset, "changes the unknown flag 0x20"));
                }
                // Before 2.2 these bytes were padding.
                let raise = at + FlagUpdate::modseq_inc_flag.offset;
                if let Some(flag) = record.payload.get(raise).filter(|flag| **flag > 1) {
                    found.add(warn(raise, &format!("modseq_inc_flag is {flag}")).severity(Severity::Info));
                }
            }
            Effect::Extension { .. } | Effect::Increment { .. } | Effect::Modseq { .. } => return,
            _ => {}
        }
        if uid1 >= self.next_uid || uid2 >= self.next_uid {
            let kind = record.kind().map_or("record", RecordType::name);
            let message = format!("{kind} of UIDs {uid1} to {uid2}, but next_uid is {}", self.next_uid);
            found.add(self.warn(Code::L11, record.payload_at(at), message).uid(uid1));
        }
    }

    /// L15: fields that are not written through the log, and values they cannot have.
    fn header_update(&self, record: &Record<'_>, found: &mut Findings) {
        for chunk in record.header_chunks() {
            let at = record.payload_at(chunk.at);
            // Fields that lie side by side are written in one piece.
            let mut words = (chunk.offset as usize..).step_by(4).take(chunk.data.len().div_ceil(4));
            let old: &[Field] = if self.old { &LOGGED_FIELDS_OLD } else { &[] };
            let known = |word: usize| {
                word.is_multiple_of(4) && LOGGED_FIELDS.iter().chain(old).any(|field| field.contains(word))
            };
            if !chunk.data.len().is_multiple_of(4) || !words.all(known) {
                let message = format!("header update of {} bytes at {}", chunk.data.len(), chunk.offset);
                found.add(self.warn(Code::L15, at, message));
                continue;
            }
            for (i, raw) in chunk.data.chunks_exact(4).enumerate() {
                let value = record.endian.u32_at(raw, 0).unwrap_or(0);
                let offset = chunk.offset as usize + i * 4;
                if let Some((what, severity)) = self.bad_value(offset, value) {
                    let message = format!("header update sets {what} to {value}");
                    found
                        .add(self.warn(Code::L15, record.payload_at(chunk.at + 4 + i * 4), message).severity(severity));
                }
            }
        }
    }

    /// The name of the field at that offset when it cannot have the value.
    fn bad_value(&self, offset: usize, value: u32) -> Option<(&'static str, Severity)> {
        let now = self.subject.options.now.max(self.log.stat.mtime.0).saturating_add(CLOCK_SKEW);
        let future = i64::from(value) > now;
        let early = value != 0 && i64::from(value) < FIRST_STAMP && !self.old;
        // Harmless times are worth no more than a word.
        let name = IndexHeader::FIELDS.iter().find(|field| field.contains(offset))?.name;
        let bad = match name {
            "log2_rotate_time" | "last_temp_file_scan" if early => {
                return Some(("a time before there was a Dovecot:", Severity::Info));
            }
            "day_stamp" if !super::is_midnight(value) => {
                return Some(("day_stamp, which is no midnight,", Severity::Info));
            }
            "flags" => value & !header_flag::ALL != 0,
            "uid_validity" => value == 0,
            "next_uid" | "day_first_uid" => value > self.next_uid,
            "first_recent_uid" => value == 0 || value > self.next_uid,
            "log2_rotate_time" => future && value != u32::MAX && !self.old,
            "last_temp_file_scan" => future && !self.old,
            "day_stamp" => i64::from(value) > now.saturating_add(86_400),
            _ => false,
        };
        bad.then_some((name, Severity::Warning))
    }

    /// L12: shapes that extensions do not have.
    fn intro(&self, record: &Record<'_>, element: &Intro<'_>, found: &mut Findings) {
        let (at, intro, name) = (record.payload_at(element.at), &element.intro, element.name);
        if intro.flags > 1 {
            let message = format!("introduction with unknown flags 0x{:x}", intro.flags);
            found.add(self.warn(Code::L12, at + 16, message).severity(Severity::Info));
        }
        if intro.ext_id != BY_NAME && !name.is_empty() {
            found.add(self.warn(Code::L12, at, "introduction by number and by name".into()));
        }
        // Numbers never change their meaning: extensions are only added at the end.
        let known = self.mailbox.introduced(element).and_then(|id| self.mailbox.extensions.get(id));
        let name = if name.is_empty() { known.map_or(name, |ext| ext.name.as_slice()) } else { name };
        if self.old {
            return;
        }
        let shape = misshapen(name, self.subject.family, intro.hdr_size, intro.record_size, intro.record_align);
        if let Some(why) = shape {
            found.add(self.warn(Code::L12, at, format!("introduction of {why}")));
        }
    }
}
