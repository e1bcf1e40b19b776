//! C1 to C8 and I18: the cache by itself and against the index (`mail-cache.c`, `mail-cache-fields.c`,
//! `mail-cache-lookup.c`).

use std::path::Path;

use super::names::{CACHE_FIELDS, HEADER_FIELDS, misspelt};
use super::state::State;
use super::{CLOCK_SKEW, Code, FIRST_STAMP, Finding, Findings, Severity, Subject};
use crate::format::DecodeError;
use crate::format::cache::{Cache, CacheRecord, CacheValue, FieldData, FieldType, TileKind, ValueKind};
use crate::source::Role;

/// Largest file Dovecot keeps (`mail_cache_max_size`), bytes.
const MAX_SIZE: usize = 1 << 30;

pub(super) fn check(subject: &Subject<'_>, state: Option<&State>, found: &mut Findings) {
    let path = subject.path(Role::Cache);
    let ext = state.and_then(|state| state.mailbox.extension(b"cache"));
    let offsets = || -> Vec<(u32, u32)> {
        let (Some(state), Some(ext)) = (state, ext) else { return Vec::new() };
        let mailbox = &state.mailbox;
        let offset = |i: usize| mailbox.endian.u32_at(mailbox.ext_bytes(i, ext)?, 0);
        mailbox.positions().filter_map(|i| Some((mailbox.uid(i), offset(i).filter(|at| *at != 0)?))).collect()
    };
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
            let message = format!("{}: need {}, found {}", error.what, error.need, error.have);
            return found.add(Finding::new(Code::C1, path, message).at(error.at));
        }
    };
    if input.bytes.len() > MAX_SIZE {
        found.add(Finding::new(Code::C6, &path, format!("{} bytes", input.bytes.len())));
    }
    if !matches!(cache.header.minor_version, 0 | 1 | 4 | 8) {
        let message = format!("minor_version is {}; the highest that exists is 1", cache.header.minor_version);
        found.add(Finding::new(Code::C5, &path, message).at(2));
    }
    for problem in &cache.problems {
        let code = match problem.at {
            0..28 => Code::C1,
            _ if problem.what == "field decision" || problem.have.contains("for ") && problem.what == "field type" => {
                Code::C7
            }
            _ if problem.have.contains("registered field") => Code::C8,
            _ => Code::C2,
        };
        let message = format!("{}: need {}, found {}", problem.what, problem.need, problem.have);
        found.add(Finding::new(code, &path, message).at(problem.at));
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
            found.add(Finding::new(Code::I18, path, message).at(8));
        }
        return;
    }
    fields(&cache, &path, found);
    let now = subject.options.now.max(input.stat.mtime.0);
    last_used(&cache, &path, now.saturating_add(CLOCK_SKEW), found);
    // Up to 2.1 holes were filled, and other rules held.
    let append_only = cache.header.old().is_none() && !subject.is_old();
    let mut reached: Vec<(u32, u32, u32)> = Vec::new();
    // One bit for each place where a record can begin.
    let mut taken = vec![0_u64; input.bytes.len() / 256 + 1];
    let (mut chains, mut continued) = (0_u64, 0_u64);
    for (uid, offset) in offsets {
        chains += 1;
        for record in cache.chain(offset) {
            let record = match record {
                Ok(record) => record,
                Err(problem) => {
                    found.add(unreadable(&problem, uid, &path));
                    break;
                }
            };
            continued += u64::from(record.prev_offset != 0);
            if append_only {
                reached.push((record.offset, record.size, uid));
            }
            // Up to 2.1 records were written into holes, so that an older one may come later in the file.
            if record.prev_offset >= record.offset && record.prev_offset != 0 && cache.header.old().is_none() {
                let message = format!("prev_offset is {}, not before the record", record.prev_offset);
                found.add(Finding::new(Code::C3, &path, message).at(u64::from(record.offset)).uid(uid));
            }
            if let Some(problem) = values(&cache, &record) {
                found.add(unreadable(&problem, uid, &path));
            } else if append_only && let Some((at, what)) = unlikely(&cache, &record) {
                let finding = Finding::new(Code::C3, &path, what).at(at).uid(uid);
                found.add(finding.severity(Severity::Info));
            }
            let (word, bit) = (record.offset as usize / 256, record.offset / 4 % 64);
            let Some(word) = taken.get_mut(word) else { continue };
            if *word >> bit & 1 != 0 {
                let message = "the record belongs to two messages";
                found.add(Finding::new(Code::C3, &path, message).at(u64::from(record.offset)).uid(uid));
                break;
            }
            *word |= 1 << bit;
        }
    }
    reached.sort_unstable();
    for pair in reached.windows(2) {
        if let [(offset, size, uid), (next, ..)] = pair
            && offset.saturating_add(*size) > *next
        {
            let message = format!("a record of {size} bytes, but the next one begins at {next}");
            found.add(Finding::new(Code::C3, &path, message).at(u64::from(*offset) + 4).uid(*uid));
        }
    }
    if cache.header.minor_version == 1 && state.complete && !found.has(Code::C3, Some(&path)) {
        counters(&cache, &path, chains, continued, found);
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
        let known = misspelt(field.name, CACHE_FIELDS).or_else(|| misspelt(field.name, HEADER_FIELDS));
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
fn unreadable(problem: &DecodeError, uid: u32, path: &Path) -> Finding {
    let message = format!("{}: need {}, found {}", problem.what, problem.need, problem.have);
    Finding::new(Code::C3, path, message).at(problem.at).uid(uid)
}

/// The first thing wrong with the fields of a record, those included that have a structure of their own.
fn values(cache: &Cache<'_>, record: &CacheRecord) -> Option<DecodeError> {
    cache.fields(record).find_map(|field| match field {
        Err(problem) => Some(problem),
        Ok(field) => match cache.fields.get(field.index as usize)?.kind {
            ValueKind::MimeParts | ValueKind::BinaryParts => match cache.value(&field) {
                CacheValue::MimeParts(parts) => parts.problem(),
                CacheValue::BinaryParts(parts) => parts.iter().find_map(Result::err),
                _ => None,
            },
            _ => None,
        },
    })
}

/// C3: what no Dovecot puts into a record, though it reads it without a word: a field twice, padding that is not zero, text
/// with a NUL in it, and headers under another header's name.
fn unlikely(cache: &Cache<'_>, record: &CacheRecord) -> Option<(u64, String)> {
    let mut seen: Vec<u32> = Vec::new();
    if record.size == 8 {
        return Some((u64::from(record.offset) + 4, "a record without fields".to_owned()));
    }
    for field in cache.fields(record).flatten() {
        let known = cache.fields.get(field.index as usize)?;
        let name = || String::from_utf8_lossy(known.name).into_owned();
        if seen.contains(&field.index) && known.field_type != FieldType::Bitmask {
            return Some((field.offset, format!("{} is there twice", name())));
        }
        seen.push(field.index);
        let end = usize::try_from(field.offset).ok()?.checked_add(field.data.len())?;
        let padding = cache.bytes().get(end..end.next_multiple_of(4)).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Some((
                end as u64,
                format!("{} of {} bytes, but the byte after it is not zero", name(), field.data.len()),
            ));
        }
        let wrong = match cache.value(&field) {
            CacheValue::Text(text) if text.contains(&0) => Some("has a NUL in it"),
            CacheValue::Header(_) => header(known.name, &field, cache),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Some((field.offset, format!("{} {wrong}", name())));
        }
    }
    None
}

/// What is wrong with a header: line numbers, a zero, and as many lines of that name.
fn header(name: &[u8], field: &FieldData<'_>, cache: &Cache<'_>) -> Option<&'static str> {
    let CacheValue::Header(header) = cache.value(field) else { return None };
    if field.data.is_empty() {
        return None;
    }
    if !header.terminated || header.lines().next().is_none() || header.raw.is_empty() {
        return Some("has no line numbers, or no end of them");
    }
    if !header.lines().is_sorted_by(|a, b| a < b) {
        return Some("has line numbers that do not rise");
    }
    let wanted = name.get(4..).unwrap_or_default();
    let starts = |line: &[u8]| line.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted));
    let folded = |line: &[u8]| line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    let mut lines = header.raw.split_inclusive(|byte| *byte == b'\n');
    if lines.any(|line| !folded(line) && !starts(line)) {
        return Some("holds another header");
    }
    let count = header.raw.split_inclusive(|byte| *byte == b'\n').filter(|line| !folded(line)).count();
    (count != header.lines().count()).then_some("has not as many lines as line numbers")
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

/// C4. Each record that is written is counted once, as the first of its message or as one that continues it, until its message
/// is expunged; mdbox does not count those out. A purge counts anew.
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
    let count = |at: u64, name: &str, count: u32, least: u64, most: u64, found: &mut Findings| {
        let count = u64::from(count);
        if count < least || count > most {
            let message = format!("{name} is {count}, which is not between {least} and {most}");
            found.add(Finding::new(Code::C4, path, message).at(at));
        }
    };
    count(12, "continued_record_count", header.continued_record_count, continued, linked, found);
    count(16, "record_count", header.record_count, chains, written, found);
    count(24, "deleted_record_count", header.deleted_record_count, 0, written, found);
    let used = u64::from(header.backwards_compat_used_file_size);
    if !ends.contains(&used) {
        let message = format!("used_file_size is {used}, where no record begins or ends");
        found.add(Finding::new(Code::C4, path, message).at(20));
    }
}
