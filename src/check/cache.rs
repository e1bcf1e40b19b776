//! C1 to C8 and I18: the cache by itself and against the index (`mail-cache.c`, `mail-cache-fields.c`,
//! `mail-cache-lookup.c`).

use std::path::Path;

use super::names::{HEADER_FIELDS, misspelt};
use super::state::State;
use super::{CLOCK_SKEW, Code, FIRST_STAMP, Finding, Findings, Severity, Subject, codes};
use crate::format::cache::{
    Cache, CacheHeader, CacheRecord, CacheValue, FieldType, TileKind, ValueKind, registered_names,
};
use crate::format::mime::HeaderLines;
use crate::format::{Field, Flaw};
use crate::source::Role;

/// Messages from which the records are looked at in two halves.
const LARGE: usize = 20_000;
/// Largest file Dovecot keeps (`mail_cache_max_size`), bytes.
const MAX_SIZE: usize = 1 << 30;

pub(super) fn check(subject: &Subject<'_>, state: Option<&State>, found: &mut Findings) {
    let path = subject.path(Role::Cache);
    let ext = state.and_then(|state| state.mailbox().extension(b"cache"));
    let links = |state: &State| state.mailbox().cache_links().map(|(i, at)| (state.mailbox().uid(i), at)).collect();
    let offsets = || -> Vec<(u32, u32)> { state.map(links).unwrap_or_default() };
    let Some(input) = subject.snapshot.get(Role::Cache) else {
        let count = offsets().len();
        if count > 0 {
            let message = format!("the cache is missing; {count} messages had something in it");
            found.add(Finding::new(Code::I18, path, message).severity(Severity::Info));
        }
        return;
    };
    let cache = match Cache::parse(&input.bytes, subject.indexid) {
        Ok(cache) => cache,
        Err(error) => {
            return codes::flaw(&path, &error).into_iter().for_each(|finding| found.add(finding));
        }
    };
    if input.bytes.len() > MAX_SIZE {
        found.add(Finding::new(Code::C6, &path, format!("{} bytes", input.bytes.len())));
    }
    if !matches!(cache.header.minor_version, 0 | 1 | 4 | 8) {
        let message = format!("minor_version is {}; the highest that exists is 1", cache.header.minor_version);
        found.add(Finding::new(Code::C5, &path, message).at(CacheHeader::minor_version.at()));
    }
    for problem in &cache.problems {
        codes::flaw(&path, problem).into_iter().for_each(|finding| found.add(finding));
    }
    if found.any(&path, Severity::Error) {
        return;
    }
    let (Some(ext), Some(state)) = (ext, state) else { return };
    let offsets = offsets();
    if ext.reset_id != cache.header.file_seq {
        if !offsets.is_empty() && state.complete {
            let message = format!(
                "file_seq is {}, but the index's cache extension has reset_id {}",
                cache.header.file_seq, ext.reset_id
            );
            found.add(Finding::new(Code::I18, path, message).at(CacheHeader::file_seq.at()));
        }
        return;
    }
    fields(&cache, &path, found);
    let now = subject.options.now.max(input.stat.mtime.0);
    last_used(&cache, &path, now.saturating_add(CLOCK_SKEW), found);
    // Up to 2.1 holes were filled, and other rules held.
    let append_only = cache.header.old().is_none() && !subject.is_old();
    let judge = |offsets: &[(u32, u32)]| {
        let mut walk = Walk::new(&cache, &path, append_only);
        offsets.iter().for_each(|(uid, offset)| walk.message(*uid, *offset));
        walk
    };
    // The halves of a large mailbox are walked side by side. How many parts there are depends on the mailbox alone, so
    // that the findings do not differ from machine to machine.
    let mut walk = if offsets.len() < LARGE {
        judge(&offsets)
    } else {
        let (first, second) = offsets.split_at(offsets.len() / 2);
        std::thread::scope(|scope| {
            let other = std::thread::Builder::new().spawn_scoped(scope, || judge(second));
            let mut walk = judge(first);
            match other.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(other)) => walk.append(other),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // The system gives us no second thread.
                Err(_) => walk.append(judge(second)),
            }
            walk
        })
    };
    found.append(std::mem::take(&mut walk.found));
    let Walk { mut reached, chains, continued, .. } = walk;
    reached.sort_unstable();
    for pair in reached.windows(2) {
        if let [(offset, size, uid), (next, ..)] = pair
            && append_only
            && (offset.saturating_add(1)..offset.saturating_add(*size)).contains(next)
        {
            let message = format!("a record of {size} bytes, but the next one begins at {next}");
            found.add(Finding::new(Code::C3, &path, message).at(u64::from(*offset) + 4).uid(*uid));
        }
    }
    if cache.header.minor_version == 1 && state.complete && !found.has(Code::C3, Some(&path)) {
        let mut counted = Findings::default();
        counters(&cache, &path, chains, continued, &mut counted);
        // Records are written before they are counted.
        if !subject.growing.contains(&Role::Cache) {
            found.append(counted);
        }
    }
}

/// C2 and C8 where Dovecot looks away.
fn fields(cache: &Cache<'_>, path: &Path, found: &mut Findings) {
    for field in &cache.fields {
        let name = String::from_utf8_lossy(field.name);
        let variable = matches!(field.field_type, FieldType::VariableSize | FieldType::String | FieldType::Header);
        if variable != field.size.is_none() {
            let message = format!("field {name} has type {} and a size of {:?} bytes", field.type_name(), field.size);
            found.add(Finding::new(Code::C8, path, message).at(field.size_at));
        }
        if (field.field_type == FieldType::Header) != field.name.to_ascii_lowercase().starts_with(b"hdr.") {
            let message = format!("field {name} has type {}", field.type_name());
            found.add(Finding::new(Code::C8, path, message).at(field.type_at));
        }
        let known =
            misspelt(field.name, registered_names()).or_else(|| misspelt(field.name, HEADER_FIELDS.iter().copied()));
        if let Some(known) = known {
            let message = format!("field {name:?} is {known:?} with one bit flipped");
            found.add(Finding::new(Code::C2, path, message).at(field.name_range.start).severity(Severity::Info));
        } else if !field.name.iter().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("field {name:?} is no name of a field");
            found.add(Finding::new(Code::C2, path, message).at(field.name_range.start).severity(Severity::Info));
        }
    }
    // A link that is neither zero nor coded reads as the end of the chain.
    if let Some(last) = cache.field_headers.last()
        && let Some(raw) = cache.bytes().get(last.offset as usize..).and_then(|raw| raw.first_chunk::<4>())
        && last.next_offset.is_none()
        && *raw != [0; 4]
    {
        let message = format!("next_offset {raw:02x?} is no offset");
        found.add(Finding::new(Code::C2, path, message).at(u64::from(last.offset)).severity(Severity::Info));
    }
}

/// C3: what cannot be read of a message's records.
fn unreadable(problem: &Flaw, uid: u32, path: &Path) -> Finding {
    let message = problem.words();
    Finding::new(Code::C3, path, message).at(problem.at).uid(uid)
}

/// The records that messages lead to.
struct Walk<'c, 'a> {
    cache: &'c Cache<'a>,
    path: &'c Path,
    append_only: bool,
    found: Findings,
    /// Offset, size and UID of each record.
    reached: Vec<(u32, u32, u32)>,
    /// One bit for each place where a record can begin.
    taken: Vec<u64>,
    /// Messages that have records, and records that continue others.
    chains: u64,
    continued: u64,
    /// Records looked at, and the last one in which each field was seen.
    records: u64,
    seen: Vec<u64>,
}

/// What is wrong with a record.
enum Wrong {
    /// It cannot be read.
    Broken(Flaw),
    /// Dovecot reads it without a word, but has never put such a thing into one: byte offset, and what it is.
    Unlikely(u64, String),
    /// Dovecot reads it without a word and sends clients something else: byte offset, and what it is.
    Misread(u64, String),
}

impl<'c, 'a> Walk<'c, 'a> {
    fn new(cache: &'c Cache<'a>, path: &'c Path, append_only: bool) -> Walk<'c, 'a> {
        Walk {
            cache,
            path,
            append_only,
            found: Findings::default(),
            reached: Vec::new(),
            taken: vec![0; cache.bytes().len() / 256 + 1],
            chains: 0,
            continued: 0,
            records: 0,
            seen: vec![0; cache.fields.len()],
        }
    }

    /// Takes the word and the bit of `taken` for a record.
    fn place(record: u32) -> (usize, u32) {
        (record as usize / 256, record / 4 % 64)
    }

    fn twice(&mut self, offset: u32, uid: u32) {
        let message = "the record belongs to two messages";
        self.found.add(Finding::new(Code::C3, self.path, message).at(u64::from(offset)).uid(uid));
    }

    /// Judges the records of a message, newest first.
    fn message(&mut self, uid: u32, offset: u32) {
        let cache = self.cache;
        self.chains += 1;
        for record in cache.chain(offset) {
            let record = match record {
                Ok(record) => record,
                Err(problem) => return self.found.add(unreadable(&problem, uid, self.path)),
            };
            self.continued += u64::from(record.prev_offset != 0);
            self.reached.push((record.offset, record.size, uid));
            // Up to 2.1 records were written into holes, so that an older one may come later in the file.
            if record.prev_offset >= record.offset && record.prev_offset != 0 && cache.header.old().is_none() {
                let message = format!("prev_offset is {}, not before the record", record.prev_offset);
                self.found.add(Finding::new(Code::C3, self.path, message).at(u64::from(record.offset)).uid(uid));
            }
            match self.wrong(&record) {
                Some(Wrong::Broken(problem)) => self.found.add(unreadable(&problem, uid, self.path)),
                Some(Wrong::Unlikely(at, what)) => {
                    self.found.info(Code::C3, self.path, || Finding::new(Code::C3, self.path, what).at(at).uid(uid));
                }
                Some(Wrong::Misread(at, what)) => {
                    let finding = Finding::new(Code::C3, self.path, what).at(at).uid(uid).severity(Severity::Warning);
                    self.found
                        .add(finding.does("says nothing; a FETCH of the header comes without it, or with other bytes"));
                }
                None => {}
            }
            let (word, bit) = Self::place(record.offset);
            let Some(word) = self.taken.get_mut(word) else { continue };
            if *word >> bit & 1 != 0 {
                return self.twice(record.offset, uid);
            }
            *word |= 1 << bit;
        }
    }

    /// What is wrong with a record: the first field that cannot be read, those included that have a structure of their
    /// own. If all can, what is unlikely (C3): a field twice, padding that is not zero, text with a NUL in it, and
    /// headers under another header's name.
    fn wrong(&mut self, record: &CacheRecord) -> Option<Wrong> {
        let cache = self.cache;
        let mut unlikely = None;
        let mut suspect = |at: u64, what: String| unlikely = unlikely.take().or(Some(Wrong::Unlikely(at, what)));
        if record.size == 8 && self.append_only {
            suspect(u64::from(record.offset) + 4, "a record without fields".to_owned());
        }
        self.records += 1;
        for field in cache.fields(record) {
            let field = match field {
                Ok(field) => field,
                Err(problem) => return Some(Wrong::Broken(problem)),
            };
            let Some(known) = cache.fields.get(field.index as usize) else { continue };
            let value = match known.kind {
                ValueKind::MimeParts | ValueKind::BinaryParts | ValueKind::Text | ValueKind::Header => {
                    cache.value(&field)
                }
                _ => CacheValue::Bytes(field.data),
            };
            let problem = match &value {
                CacheValue::MimeParts(parts) => parts.problem(),
                CacheValue::BinaryParts(parts) => parts.iter().find_map(Result::err),
                _ => None,
            };
            if let Some(problem) = problem {
                return Some(Wrong::Broken(problem));
            }
            if !self.append_only {
                continue;
            }
            let name = || String::from_utf8_lossy(known.name);
            let before = self.seen.get_mut(field.index as usize).map(|seen| std::mem::replace(seen, self.records));
            if before == Some(self.records) && known.field_type != FieldType::Bitmask {
                suspect(field.offset, format!("{} is there twice", name()));
            }
            let end = usize::try_from(field.offset).ok()?.checked_add(field.data.len())?;
            let padding = cache.bytes().get(end..end.next_multiple_of(4)).unwrap_or_default();
            if padding.iter().any(|byte| *byte != 0) {
                let size = field.data.len();
                suspect(end as u64, format!("{} of {size} bytes, but the byte after it is not zero", name()));
            }
            let what = match &value {
                CacheValue::Text(text) if text.contains(&0) => Some("has a NUL in it"),
                CacheValue::Header(header) if !field.data.is_empty() && !header.terminated => {
                    return Some(Wrong::Misread(field.offset, format!("{} has no end of its line numbers", name())));
                }
                CacheValue::Header(header) if !field.data.is_empty() => judge_header(known.name, header),
                _ => None,
            };
            if let Some(what) = what {
                suspect(field.offset, format!("{} {what}", name()));
            }
        }
        unlikely
    }

    /// Adds the walk over the messages behind these.
    fn append(&mut self, other: Walk<'_, '_>) {
        self.found.append(other.found);
        let mut last = 0;
        for (offset, _, uid) in &other.reached {
            let (word, bit) = Self::place(*offset);
            if *uid != last && self.taken.get(word).is_some_and(|word| *word >> bit & 1 != 0) {
                last = *uid;
                self.twice(*offset, *uid);
            }
        }
        self.reached.extend(other.reached);
        self.chains += other.chains;
        self.continued += other.continued;
    }
}

/// What is wrong with a header: line numbers, a zero, and as many lines of that name.
fn judge_header(name: &[u8], header: &HeaderLines<'_>) -> Option<&'static str> {
    let (mut numbers, mut last) = (0_u32, None);
    let mut rising = true;
    for number in header.lines() {
        rising &= last.is_none_or(|last| last < number);
        last = Some(number);
        numbers += 1;
    }
    if numbers == 0 || header.raw.is_empty() {
        return Some("has no line numbers, or nothing behind them");
    }
    if !rising {
        return Some("has line numbers that do not rise");
    }
    let wanted = name.get(4..).unwrap_or_default();
    let (mut rest, mut lines) = (header.raw, 0_u32);
    while let Some(first) = rest.first() {
        // A line that begins with white space goes on with the one before it.
        if !matches!(first, b' ' | b'\t') {
            if !rest.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted)) {
                return Some("holds another header");
            }
            lines += 1;
        }
        rest = memchr::memchr(b'\n', rest).and_then(|end| rest.get(end + 1..)).unwrap_or_default();
    }
    (lines != numbers).then_some("has not as many lines as line numbers")
}

/// C7: when a field was last asked for.
fn last_used(cache: &Cache<'_>, path: &Path, latest: i64, found: &mut Findings) {
    for field in &cache.fields {
        let stamp = i64::from(field.last_used);
        if stamp > latest || (stamp != 0 && stamp < FIRST_STAMP) {
            let name = String::from_utf8_lossy(field.name);
            let message = format!("field {name} was last used at {stamp}");
            found.add(Finding::new(Code::C7, path, message).at(field.last_used_at).severity(Severity::Info));
        }
    }
}

/// C4. Each record that is written is counted once, as the first of its message or as one that continues it, until its
/// message is expunged; mdbox does not count those out. A purge counts anew.
fn counters(cache: &Cache<'_>, path: &Path, chains: u64, continued: u64, found: &mut Findings) {
    let header = &cache.header;
    let (mut written, mut linked, mut ends) = (0_u64, 0_u64, vec![0, cache.bytes().len() as u64]);
    let mut whole = true;
    for item in cache.tile() {
        ends.push(item.range.start);
        match item.kind {
            TileKind::Record(record) => {
                written += 1;
                linked += u64::from(record.prev_offset != 0);
            }
            TileKind::Unreadable | TileKind::Zeros => {
                // What a writer that died leaves behind looks like this as well.
                if whole && item.kind == TileKind::Unreadable {
                    let message = format!("{} bytes that belong to no record", item.range.end - item.range.start);
                    let finding = Finding::new(Code::C4, path, message).at(item.range.start);
                    found.add(finding);
                }
                whole = false;
            }
            _ => {}
        }
    }
    if !whole {
        return;
    }
    let count = |field: Field, count: u32, least: u64, most: u64, found: &mut Findings| {
        let count = u64::from(count);
        if count < least || count > most {
            let message = format!("{} is {count}, which is not between {least} and {most}", field.name);
            found.add(Finding::new(Code::C4, path, message).at(field.at()));
        }
    };
    count(CacheHeader::continued_record_count, header.continued_record_count, continued, linked, found);
    count(CacheHeader::record_count, header.record_count, chains, written, found);
    count(CacheHeader::deleted_record_count, header.deleted_record_count, 0, written, found);
    let used = u64::from(header.backwards_compat_used_file_size);
    if !ends.contains(&used) {
        let message = format!("used_file_size is {used}, where no record begins or ends");
        found.add(Finding::new(Code::C4, path, message).at(CacheHeader::backwards_compat_used_file_size.at()));
    }
}
