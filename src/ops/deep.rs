//! A mailbox against its storage, looked at until what is seen is no passing state.

use std::time::Duration;

use crate::check::deep::{NotCompared, Verdict, judge};
use crate::check::{Finding, Options};
use crate::source::{MailboxFiles, Meta, Role, Snapshot};
use crate::storage::{Depth, KnownBefore, Witnesses, stamps};

/// How often a mailbox with findings is looked at again before anything is said.
const LOOKS: u32 = 4;
/// A change that is younger may be half of a larger one, seconds.
const YOUNG: i64 = 10;

/// Judges a mailbox whose index files are sound against its storage, or only against the UIDs in it. A finding is one
/// that several looks have in common, unless nothing was changed between two of them.
pub fn check(files: &MailboxFiles, options: &Options, depth: Depth) -> Verdict {
    again(files, options, depth, None)
}

/// The same with index files that were read just now, and what is known besides: when nothing is wrong, they are not
/// read a second time.
pub fn check_read(
    files: &MailboxFiles,
    read: &Snapshot,
    known: KnownBefore<'_>,
    options: &Options,
    depth: Depth,
) -> Verdict {
    match Witnesses::of(files, read, known, depth, options.mmap).map(|seen| judge(files, &seen)) {
        Some(verdict) if verdict.findings.is_empty() => verdict,
        Some(verdict) => again(files, options, depth, Some(verdict.findings)),
        None => again(files, options, depth, None),
    }
}

/// Looks until what is seen is no passing state; `common` is what an earlier look has found.
fn again(files: &MailboxFiles, options: &Options, depth: Depth, mut common: Option<Vec<Finding>>) -> Verdict {
    for look in 0..LOOKS {
        let before = stamps(files);
        let read = files.read(&Role::ALL, options.mmap).ok();
        let seen =
            read.as_ref().and_then(|read| Witnesses::of(files, read, KnownBefore::default(), depth, options.mmap));
        let verdict = match seen {
            Some(seen) => judge(files, &seen),
            None => Verdict {
                findings: Vec::new(),
                not_compared: vec![NotCompared { what: "mail storage", why: "the index files are not sound" }],
            },
        };
        let Verdict { findings, not_compared } = verdict;
        let kept: Vec<Finding> = match common.take() {
            None => findings,
            Some(earlier) => earlier.into_iter().filter(|finding| findings.contains(finding)).collect(),
        };
        // Mail moves before its index does; one change takes a moment.
        let is_settled = || is_old(&before, options.now) && before == stamps(files) && !files.is_locked();
        if kept.is_empty() || look + 1 == LOOKS || is_settled() {
            return Verdict { findings: kept, not_compared };
        }
        common = Some(kept);
        if !crate::source::wait(Duration::from_millis(50 << look)) {
            let why = "somebody works on it, and this run has waited for others too long already";
            return Verdict { findings: Vec::new(), not_compared: vec![NotCompared { what: "mail storage", why }] };
        }
    }
    Verdict::default()
}

/// True when the last change was long enough ago that it is complete. A time in the future is no recent change.
fn is_old(stamps: &[Option<Meta>], now: i64) -> bool {
    stamps.iter().flatten().all(|meta| !(0..=YOUNG).contains(&now.saturating_sub(meta.stat.mtime.0)))
}
