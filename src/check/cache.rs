//! C1 to C8 and I18: the cache by itself and against the index (`mail-cache.c`, `mail-cache-fields.c`,
//! `mail-cache-lookup.c`).

use std::path::Path;

use super::state::State;
use super::{Code, Finding, Findings, Severity, Subject};
use crate::format::cache::Cache;
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
    let mut problems = Vec::new();
    let (mut chains, mut continued) = (0_u64, 0_u64);
    for (uid, offset) in offsets {
        chains += 1;
        continued += cache.chain(offset).flatten().filter(|record| record.prev_offset != 0).count() as u64;
        cache.check_chain(offset, &mut problems);
        for problem in problems.drain(..) {
            let message = format!("{}: need {}, found {}", problem.what, problem.need, problem.have);
            found.add(Finding::new(Code::C3, &path, message).at(problem.at).uid(uid));
        }
    }
    if cache.header.minor_version == 1 && !found.has(Code::C3, Some(&path)) {
        counters(&cache, &path, chains, continued, found);
    }
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
