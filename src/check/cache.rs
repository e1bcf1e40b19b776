//! C1 to C8 and I18: the cache by itself and against the index (`mail-cache.c`, `mail-cache-fields.c`,
//! `mail-cache-lookup.c`).

use std::path::Path;

use super::state::State;
use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::DecodeError;
use crate::format::cache::{Cache, CacheRecord, CacheValue, FieldType, ValueKind};
use crate::source::Role;

/// Largest file Dovecot keeps (`mail_cache_max_size`), bytes.
const MAX_SIZE: usize = 1 << 30;
/// Bytes of the smallest record: its header and the number of one field.
const MIN_RECORD: u64 = 12;

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
            // Up to 2.1 records were written into holes, so that an older one may come later in the file.
            if record.prev_offset >= record.offset && record.prev_offset != 0 && cache.header.old().is_none() {
                let message = format!("prev_offset is {}, not before the record", record.prev_offset);
                found.add(Finding::new(Code::C3, &path, message).at(u64::from(record.offset)).uid(uid));
            }
            if let Some(problem) = values(&cache, &record) {
                found.add(unreadable(&problem, uid, &path));
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
        if !field.name.iter().all(|byte| byte.is_ascii_graphic()) {
            let message = format!("field {name:?} is no name of a field");
            found.add(Finding::new(Code::C2, path, message).at(field.name_range.start).severity(Severity::Warning));
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

/// C4. mdbox does not count expunged messages out, and records that nobody can reach any more stay counted, so the counters
/// may be higher than what can be reached, but neither lower nor more than the file could hold.
fn counters(cache: &Cache<'_>, path: &Path, chains: u64, continued: u64, found: &mut Findings) {
    let header = &cache.header;
    let room = cache.bytes().len() as u64 / MIN_RECORD;
    for (at, name, count, least) in [
        (12, "continued_record_count", header.continued_record_count, continued),
        (16, "record_count", header.record_count, chains),
        (24, "deleted_record_count", header.deleted_record_count, 0),
    ] {
        let count = u64::from(count);
        if count < least || count > room {
            let message = format!("{name} is {count}; there are at least {least} and there is room for {room}");
            found.add(Finding::new(Code::C4, path, message).at(at));
        }
    }
    let used = u64::from(header.backwards_compat_used_file_size);
    if used > cache.bytes().len() as u64 {
        let message = format!("used_file_size is {used}, but the file has {} bytes", cache.bytes().len());
        found.add(Finding::new(Code::C4, path, message).at(20));
    }
}
