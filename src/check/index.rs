//! I1 to I9, I13 to I17, I19, I20 and I22: what `dovecot.index` says by itself (`mail-index-map-read.c`,
//! `mail-index-map-hdr.c`, `mail-index-fsck.c`). D11: the backup.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::log::{KNOWN_FLAGS, foreign};
use super::names::one_bit_off;
use super::{CLOCK_SKEW, Code, FIRST_STAMP, FSCK, FSCKD, Finding, Findings, Level, Severity, Subject, is_dbox};
use crate::format::ext::{KeywordsHeader, KnownExt, ext_hdr_check};
use crate::format::index::{ExtView, IndexFile, IndexHeader, RECORD_MIN_SIZE, RECORD_SIZE, header_flag};
use crate::format::record::flag;
use crate::format::{Disk, Endian, Field, Flaw, FlawKind};
use crate::source::Role;

/// Seconds of a day.
const DAY: i64 = 86_400;

pub(super) fn check(subject: &Subject<'_>, found: &mut Findings) {
    let path = subject.path(Role::Index);
    if let Some(input) = subject.snapshot.get(Role::Index) {
        match IndexFile::parse(&input.bytes) {
            Err(error) => {
                let message = format!("no index: {}", error.words());
                found.add(Finding::new(Code::I1, path, message).at(error.at));
            }
            Ok(index) => Judge { subject, path, role: Role::Index, index: &index, found }.all(),
        }
    }
    backup(subject, found);
}

struct Judge<'a, 'f> {
    subject: &'a Subject<'a>,
    path: PathBuf,
    role: Role,
    index: &'a IndexFile<'a>,
    found: &'f mut Findings,
}

impl Judge<'_, '_> {
    fn finding(&self, code: Code, at: usize, message: impl Into<String>) -> Finding {
        Finding::new(code, &self.path, message).at(at as u64)
    }

    fn add(&mut self, code: Code, at: usize, message: impl Into<String>) {
        self.found.add(self.finding(code, at, message));
    }

    fn info(&mut self, code: Code, at: usize, message: impl Into<String>) {
        self.found.add(self.finding(code, at, message).severity(Severity::Info));
    }

    /// Says something of a field of the header; `what` goes on behind its name.
    fn field(&mut self, code: Code, field: Field, what: impl Display) {
        self.add(code, field.offset, format!("{} {what}", field.name));
    }

    fn has(&self, code: Code) -> bool {
        self.found.has(code, Some(&self.path))
    }

    fn all(&mut self) {
        self.usable();
        if self.has(Code::I1) {
            return;
        }
        let header = &self.index.header;
        let log = self.subject.log(Role::Log).filter(|_| self.role == Role::Index);
        if let Some(log) = log.filter(|log| log.file.log.endian != self.index.endian) {
            let (own, other) = (self.index.endian.name(), log.file.log.endian.name());
            self.add(
                Code::I1,
                IndexHeader::compat_flags.offset,
                format!("in {own}-endian order, but the log is in {other}-endian order"),
            );
            return;
        }
        if header.compat_flags != u8::from(Endian::NATIVE == Endian::Little) {
            self.found.add(foreign(Code::I1, &self.path, self.index.endian).at(IndexHeader::compat_flags.at()));
        }
        if header.minor_version > 3 {
            self.info(
                Code::I1,
                IndexHeader::minor_version.offset,
                format!("minor_version is {}; the highest that exists is 3", header.minor_version),
            );
        }
        self.extension_area();
        self.extension_headers();
        self.layout();
        if !self.has(Code::I13) && !self.has(Code::I14) {
            self.shapes();
        }
        self.size();
        let level = self.subject.options.level;
        if level >= Level::Uids {
            self.uids();
        }
        self.identity();
        self.keywords();
        if level >= Level::Files && !self.has(Code::I3) && !self.has(Code::I4) {
            self.records();
        }
        self.days();
        // What it means to sdbox and mdbox depends on what the logs say of it since.
        if header.flags & header_flag::FSCKD != 0 && !is_dbox(|name| self.index.extension(name).is_some()) {
            self.add(Code::I22, IndexHeader::flags.offset, FSCKD);
        }
    }

    /// I1 (`mail_index_check_header_compat`).
    fn usable(&mut self) {
        let (header, size) = (&self.index.header, self.index.bytes.len());
        if size < IndexHeader::SIZE {
            return self.add(Code::I1, 0, format!("file too small: {size} bytes, a header has 120"));
        }
        if header.major_version != 7 {
            return self.add(Code::I1, 0, format!("major_version is {}, not 7", header.major_version));
        }
        if header.flags & header_flag::CORRUPTED != 0 {
            self.add(Code::I1, IndexHeader::flags.offset, "the corrupted flag is set");
        }
        let native = u8::from(self.index.endian == Endian::Little);
        if header.compat_flags != native {
            let message = format!(
                "compat_flags are {}, but the file is {}-endian ({native})",
                header.compat_flags,
                self.index.endian.name()
            );
            self.add(Code::I1, IndexHeader::compat_flags.offset, message);
        }
        let base = usize::from(header.base_header_size);
        let header_size = header.header_size as usize;
        if base < IndexHeader::SIZE || header_size < base {
            self.field(
                Code::I1,
                IndexHeader::base_header_size,
                format!("{base} and header_size {header_size}: need 120 <= base <= header"),
            );
        }
        if header_size > size {
            self.field(
                Code::I1,
                IndexHeader::header_size,
                format!("{header_size} is larger than the file ({size} bytes)"),
            );
        }
        if (header.record_size as usize) < RECORD_SIZE {
            self.field(Code::I1, IndexHeader::record_size, format!("is {}, less than 8", header.record_size));
        }
    }

    /// I2.
    fn extension_area(&mut self) {
        let index = self.index;
        let header_size = index.header.header_size as usize;
        let last = index.extensions.last();
        let end = last
            .map_or(usize::from(index.header.base_header_size), |ext| ext.data_at + ext.data.len().next_multiple_of(8));
        if last.is_some() && !header_size.is_multiple_of(8) {
            self.field(Code::I2, IndexHeader::header_size, format!("{header_size} is not a multiple of 8"));
        } else if end != header_size {
            let message = format!(
                "header extension #{} goes outside header: it begins at {end}, the header ends at {header_size}",
                index.extensions.len()
            );
            self.add(Code::I2, end, message);
        }
    }

    /// I13.
    fn extension_headers(&mut self) {
        let index = self.index;
        let mut names = HashSet::new();
        for (i, ext) in index.extensions.iter().enumerate() {
            let name = String::from_utf8_lossy(ext.name);
            if ext.name.is_empty() {
                self.add(Code::I13, ext.at, format!("extension #{i} has no name"));
            } else if !names.insert(ext.name) {
                self.add(Code::I13, ext.at, format!("duplicate header extension {name:?}"));
            }
            if let Some(known) = one_bit_off(ext.name, KnownExt::names()) {
                let message = format!("extension {name:?} is {known:?} with one bit flipped");
                self.found.add(self.finding(Code::I13, ext.at + 16, message).severity(Severity::Info));
            }
            // Where the data lies is I14.
            let placeless = crate::format::ext::ExtHeader { record_offset: 0, ..ext.header.clone() };
            if let Err(why) = ext_hdr_check(index.header.record_size, &placeless, ext.name) {
                self.add(Code::I13, ext.at, format!("broken extension #{i} ({name}): {why}"));
            }
        }
    }

    /// I13 for shapes that only damage gives an extension.
    fn shapes(&mut self) {
        if self.subject.is_old() {
            return;
        }
        for ext in &self.index.extensions {
            let header = &ext.header;
            let (family, align) = (self.subject.family, header.record_align);
            if let Some(why) = super::records::misshapen(ext.name, family, header.hdr_size, header.record_size, align) {
                let finding = self.finding(Code::I13, ext.at, why).severity(Severity::Warning);
                self.found.add(finding);
            }
        }
    }

    /// I14.
    fn layout(&mut self) {
        let index = self.index;
        let mut placed: HashSet<&[u8]> = HashSet::new();
        // Whose each byte of a record is.
        let mut owners: Vec<Option<&ExtView<'_>>> = vec![None; index.record_size.min(usize::from(u16::MAX))];
        for ext in &index.extensions {
            // A duplicate is I13, and lies where the first one lies.
            if placed.contains(ext.name) {
                continue;
            }
            let (offset, size) = (usize::from(ext.header.record_offset), usize::from(ext.header.record_size));
            let align = usize::from(ext.header.record_align);
            let name = String::from_utf8_lossy(ext.name).into_owned();
            let at = ext.at + 8;
            if size == 0 {
                if offset != 0 {
                    self.info(Code::I14, at, format!("extension {name} has a place in the record but no data there"));
                }
                continue;
            }
            if offset < RECORD_MIN_SIZE || offset + size > index.record_size {
                let message = format!(
                    "extension {name}: bytes {offset} to {} are outside the record's 5 to {}",
                    offset + size,
                    index.record_size
                );
                self.add(Code::I14, at, message);
                continue;
            }
            if align > 1 && (!offset.is_multiple_of(align) || !index.record_size.is_multiple_of(align)) {
                let message = format!(
                    "extension {name}: offset {offset} or record_size {} is not aligned by {align}",
                    index.record_size
                );
                self.add(Code::I14, at, message);
                continue;
            }
            let own = owners.get_mut(offset..offset + size).unwrap_or_default();
            if let Some(other) = own.iter().find_map(|owner| *owner) {
                let message =
                    format!("extension {name} overlaps {} in the record", String::from_utf8_lossy(other.name));
                self.add(Code::I14, at, message);
                continue;
            }
            own.fill(Some(ext));
            placed.insert(ext.name);
        }
    }

    /// I3.
    fn size(&mut self) {
        let index = self.index;
        let wanted = index.header.messages_count as usize;
        if wanted > index.count() {
            self.field(
                Code::I3,
                IndexHeader::messages_count,
                format!("is {wanted}, but the file holds {}", index.count()),
            );
        } else if !index.trailing().is_empty() {
            let at = index.records_at + index.records.len();
            let last = index.iter().last().and_then(|record| index.endian.u32_at(record, 0)).unwrap_or(0);
            let next = index.trailing().get(..index.record_size).and_then(|record| index.endian.u32_at(record, 0));
            if let Some(uid) = next.filter(|uid| *uid > last && *uid < index.header.next_uid) {
                let message = format!("messages_count is {wanted}, but the record of UID {uid} follows the last one");
                return self.add(Code::I3, at, message);
            }
            self.info(Code::I3, at, format!("{} bytes after the last record", index.trailing().len()));
        }
    }

    /// I7 and I8.
    fn identity(&mut self) {
        let header = &self.index.header;
        if header.next_uid == 0 {
            self.field(Code::I4, IndexHeader::next_uid, "is 0");
        }
        // 1.0 did not have first_recent_uid; it is set when the header is upgraded.
        let too_high = header.first_recent_uid > header.next_uid && !self.has(Code::I4);
        if (header.first_recent_uid == 0 && header.minor_version >= 1) || too_high {
            let message = format!("first_recent_uid is {}, next_uid {}", header.first_recent_uid, header.next_uid);
            self.add(Code::I7, IndexHeader::first_recent_uid.offset, message);
        }
        if header.uid_validity == 0 && header.next_uid > 1 {
            self.field(Code::I8, IndexHeader::uid_validity, format!("is 0, but next_uid is {}", header.next_uid));
        }
    }

    /// I15.
    fn keywords(&mut self) {
        let index = self.index;
        let Some(ext) = index.extension(b"keywords") else { return };
        let header = KeywordsHeader::parse(ext.data, ext.data_at as u64, index.endian);
        // One bad offset makes all later ones look wrong, so they are one finding.
        let follows = |problem: &&Flaw| problem.kind == FlawKind::KeywordNameOffset;
        let first = header.problems.iter().find(|problem| !follows(problem)).or(header.problems.first());
        if let Some(problem) = first {
            let more = match header.problems.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            let message = format!("{}{more}", problem.words());
            return self.add(Code::I15, usize::try_from(problem.at).unwrap_or(usize::MAX), message);
        }
        let used = header.keywords.last().map_or(ext.data_at as u64 + 4, |last| last.name_range.end);
        let spare = usize::try_from(used).unwrap_or(usize::MAX)..ext.data_at + ext.data.len();
        if index.bytes.get(spare.clone()).is_some_and(|spare| spare.iter().any(|byte| *byte != 0)) {
            self.info(Code::I15, spare.start, "bytes after the last keyword name are not zero");
        }
        let count = header.keywords.len();
        if count > usize::from(ext.header.record_size) * 8 {
            let message = format!("{count} keywords, but records have room for {}", ext.header.record_size * 8);
            self.add(Code::I16, ext.at, message);
        }
    }

    /// I4.
    fn uids(&mut self) {
        let index = self.index;
        let next_uid = index.header.next_uid;
        let mut last = 0;
        let mut beyond: Option<(usize, u32, usize)> = None;
        for (i, record) in index.iter().enumerate() {
            let uid = index.endian.u32_at(record, 0).unwrap_or(0);
            let at = index.records_at + i * index.record_size;
            if uid <= last {
                let message = match uid {
                    0 => format!("record {} has UID 0", i + 1),
                    _ => format!("record {} has UID {uid}, the record before it UID {last}", i + 1),
                };
                let finding = self.finding(Code::I4, at, message).uid(uid);
                self.found.add(finding);
            } else if uid >= next_uid {
                beyond = Some(beyond.map_or((at, uid, 1), |(at, uid, n)| (at, uid, n + 1)));
            }
            last = last.max(uid);
        }
        if let Some((at, uid, n)) = beyond {
            let more = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
            let finding = self.finding(Code::I4, at, format!("UID {uid}, but next_uid is {next_uid}{more}")).uid(uid);
            self.found.add(finding);
        }
    }

    /// I5, I6, I9, I16 and I17: what the records must agree with.
    fn records(&mut self) {
        let index = self.index;
        let header = &index.header;
        let extension = |name: &[u8]| {
            let ext = index.extension(name)?;
            let start = usize::from(ext.header.record_offset);
            let range = start..start + usize::from(ext.header.record_size);
            (start >= RECORD_MIN_SIZE && range.end <= index.record_size).then_some((ext, range))
        };
        let keywords = extension(b"keywords");
        let keyword_count =
            keywords.as_ref().map_or(0, |(ext, _)| index.endian.u32_at(ext.data, 0).unwrap_or(0) as usize);
        // When extensions move in the record, Dovecot keeps its first eight bytes as they were (sync_ext_reorder). What
        // an extension without alignment, header-md5 say, had in them stays, and keywords that grow into them inherit
        // it.
        let moved = index
            .extensions
            .iter()
            .any(|ext| ext.name != b"keywords" && ext.header.record_size > 0 && ext.header.record_align < 4);
        let modseqs = extension(b"modseq").filter(|(_, range)| range.len() == 8);
        let highest = index
            .extension(b"modseq")
            .filter(|ext| ext.data.len() == 16)
            .and_then(|ext| index.endian.u64_at(ext.data, 0));
        if let Some(ext) = index.extension(b"modseq").filter(|ext| ext.data.len() != 16) {
            self.add(Code::I17, ext.at, format!("the modseq header has {} bytes, not 16", ext.data.len()));
        }
        // 1.x kept Recent in 0x20, and what it wrote stays in the record for the life of the message.
        let known_flags = if self.subject.is_old() { KNOWN_FLAGS | 0x20 } else { KNOWN_FLAGS };
        let (mut seen, mut deleted, mut dirty) = (0_u32, 0_u32, None);
        let (mut first_unseen, mut first_deleted) = (None, None);
        for (i, record) in index.iter().enumerate() {
            let at = index.records_at + i * index.record_size;
            let uid = index.endian.u32_at(record, 0).unwrap_or(0);
            let flags = record.get(4).copied().unwrap_or(0);
            seen += u32::from(flags & flag::SEEN != 0);
            deleted += u32::from(flags & flag::DELETED != 0);
            if flags & flag::SEEN == 0 {
                first_unseen.get_or_insert(uid);
            }
            if flags & flag::DELETED != 0 {
                first_deleted.get_or_insert(uid);
            }
            if flags & flag::DIRTY != 0 {
                dirty.get_or_insert(at);
            }
            if flags & !known_flags != 0 {
                let finding =
                    self.finding(Code::I9, at + 4, format!("flags 0x{flags:02x} have an unknown bit")).uid(uid);
                self.found.add(finding);
            }
            if let Some((_, range)) = &keywords
                && let Some(bits) = record.get(range.clone())
                && has_bit_from(bits, keyword_count)
            {
                let message = format!("a keyword bit is set, but there are only {keyword_count} keywords");
                let finding = self.finding(Code::I16, at + range.start, message).uid(uid);
                let beyond = bits.get(RECORD_SIZE.saturating_sub(range.start)..).unwrap_or_default();
                let later = keyword_count.saturating_sub(RECORD_SIZE.saturating_sub(range.start) * 8);
                let left_over = moved && !has_bit_from(beyond, later);
                self.found.add(if left_over { finding.severity(Severity::Info) } else { finding });
            }
            if let (Some((_, range)), Some(highest)) = (&modseqs, highest)
                && let Some(modseq) = record.get(range.clone()).and_then(|raw| index.endian.u64_at(raw, 0))
                && modseq > highest
            {
                let message = format!("modseq {modseq} is above the highest, {highest}");
                let finding = self.finding(Code::I17, at + range.start, message).uid(uid);
                self.found.add(finding);
            }
        }
        self.counts(seen, deleted);
        self.lowwaters(first_unseen, first_deleted);
        let have_dirty = header.flags & header_flag::HAVE_DIRTY != 0;
        match dirty {
            Some(at) if !have_dirty => self.add(Code::I9, at + 4, "a message is dirty, but HAVE_DIRTY is not set"),
            None if have_dirty => {
                self.info(Code::I9, IndexHeader::flags.offset, "HAVE_DIRTY is set, but no message is dirty")
            }
            _ => {}
        }
        if header.flags & !7 != 0 {
            self.info(
                Code::I9,
                IndexHeader::flags.offset,
                format!("header flags 0x{:x} have unknown bits", header.flags),
            );
        }
    }

    fn counts(&mut self, seen: u32, deleted: u32) {
        let header = &self.index.header;
        for (field, stored, counted) in [
            (IndexHeader::seen_messages_count, header.seen_messages_count, seen),
            (IndexHeader::deleted_messages_count, header.deleted_messages_count, deleted),
        ] {
            if stored == counted {
                continue;
            }
            let message = format!("{} is {stored}, but {counted} messages are", field.name);
            let finding = self.finding(Code::I5, field.offset, message);
            // mail_index_map_check_header compares with messages_count alone.
            self.found.add(if stored > header.messages_count {
                finding.severity(Severity::Error).does("logs an error and runs fsck, which makes all modseqs anew")
            } else if field.offset == IndexHeader::seen_messages_count.offset {
                finding.severity(Severity::Error).does("nothing; STATUS tells a wrong number of unseen messages")
            } else {
                finding.does("nothing; what counts deleted messages may count them wrong")
            });
        }
    }

    fn lowwaters(&mut self, first_unseen: Option<u32>, first_deleted: Option<u32>) {
        let header = &self.index.header;
        for (Field { offset: at, name, .. }, what, mark, first) in [
            (IndexHeader::first_unseen_uid_lowwater, "unseen", header.first_unseen_uid_lowwater, first_unseen),
            (IndexHeader::first_deleted_uid_lowwater, "deleted", header.first_deleted_uid_lowwater, first_deleted),
        ] {
            if mark > header.next_uid {
                let finding = self.finding(Code::I6, at, format!("{name} is {mark}, next_uid {}", header.next_uid));
                self.found.add(finding.severity(Severity::Error).does(FSCK));
            } else if let Some(uid) = first.filter(|uid| *uid < mark) {
                let finding = self.finding(Code::I6, at, format!("{name} is {mark}, but UID {uid} is {what}")).uid(uid);
                self.found.add(finding);
            }
        }
    }

    /// I20.
    fn days(&mut self) {
        let header = &self.index.header;
        let days = &header.day_first_uid;
        let mut before = header.next_uid;
        for (i, uid) in days.iter().enumerate() {
            if *uid > before {
                return self.add(
                    Code::I20,
                    IndexHeader::day_first_uid.offset + i * 4,
                    format!("day_first_uid[{i}] is {uid}, later than {before}"),
                );
            }
            before = *uid;
        }
        let stat = self.subject.snapshot.get(self.role).map_or(0, |input| input.stat.mtime.0);
        let now = self.subject.options.now.max(stat);
        if i64::from(header.day_stamp) > now.saturating_add(DAY) {
            self.field(Code::I20, IndexHeader::day_stamp, format!("{} is in the future", header.day_stamp));
        }
        if header.day_stamp != 0 && !super::is_midnight(header.day_stamp) {
            self.field(Code::I20, IndexHeader::day_stamp, format!("{} is no midnight anywhere", header.day_stamp));
        }
        // Up to 2.1 these bytes meant something else.
        if header.minor_version < 3 {
            return;
        }
        for (Field { offset: at, name, .. }, stamp) in [
            (IndexHeader::log2_rotate_time, header.log2_rotate_time),
            (IndexHeader::last_temp_file_scan, header.last_temp_file_scan),
        ] {
            if stamp != 0 && i64::from(stamp) < FIRST_STAMP && !self.subject.is_old() {
                self.add(Code::I20, at, format!("{name} {stamp} is before there was a Dovecot"));
            }
        }
        let future = |stamp: u32| i64::from(stamp) > now.saturating_add(CLOCK_SKEW);
        if future(header.log2_rotate_time) && header.log2_rotate_time != u32::MAX {
            self.field(
                Code::I21,
                IndexHeader::log2_rotate_time,
                format!("{} is in the future", header.log2_rotate_time),
            );
        }
        if future(header.last_temp_file_scan) {
            self.field(
                Code::I20,
                IndexHeader::last_temp_file_scan,
                format!("{} is in the future", header.last_temp_file_scan),
            );
        }
    }
}

/// True when a bit with that number or a higher one is set.
fn has_bit_from(bits: &[u8], from: usize) -> bool {
    let whole = from / 8;
    let partial = bits.get(whole).is_some_and(|byte| byte >> (from % 8) != 0);
    partial || bits.iter().skip(whole + 1).any(|byte| *byte != 0)
}

/// D11.
fn backup(subject: &Subject<'_>, found: &mut Findings) {
    let Some(input) = subject.snapshot.get(Role::Backup) else { return };
    let path = subject.path(Role::Backup);
    let complain = |at: u64, message: String| Finding::new(Code::D11, &path as &Path, message).at(at);
    let backup = match IndexFile::parse(&input.bytes) {
        Ok(backup) if backup.problems.is_empty() => backup,
        Ok(backup) => {
            let why = backup.problems.first().map_or_else(String::new, ToString::to_string);
            return found.add(complain(0, format!("unusable: {why}")));
        }
        Err(error) => return found.add(complain(0, format!("unusable: {error}"))),
    };
    // It was an index once, and must be as sound as one.
    let mut inside = Findings::default();
    Judge { subject, path: path.clone(), role: Role::Backup, index: &backup, found: &mut inside }.all();
    // That it is of the other byte order is said of the index.
    let said = |one: &Finding| {
        one.code == Code::I22
            || (one.code == Code::I1
                && one.severity == Severity::Info
                && one.offset == Some(IndexHeader::compat_flags.at()))
    };
    for one in inside.finish().into_iter().filter(|one| !said(one)) {
        found.add(complain(one.offset.unwrap_or(0), one.message));
    }
    let index = subject.snapshot.get(Role::Index).and_then(|input| IndexFile::parse(&input.bytes).ok());
    let Some(index) = index.filter(|_| !found.has(Code::I1, Some(&subject.path(Role::Index)))) else { return };
    let (old, new) = (&backup.header, &index.header);
    if old.uid_validity != new.uid_validity {
        let message = format!("uid_validity is {}, that of the index {}", old.uid_validity, new.uid_validity);
        found.add(complain(IndexHeader::uid_validity.at(), message));
    } else if old.next_uid > new.next_uid {
        found.add(complain(
            IndexHeader::next_uid.at(),
            format!("next_uid is {}, that of the index {}", old.next_uid, new.next_uid),
        ));
    }
}
