//! A mailbox against its storage, looked at until what is seen is no passing state.

use std::time::Duration;

use crate::check::deep::judge;
use crate::check::{Finding, Options};
use crate::source::{MailboxFiles, Meta};
use crate::storage::{Witnesses, stamps};

/// How often a mailbox with findings is looked at again before anything is said.
const LOOKS: u32 = 4;
/// A change that is younger may be half of a larger one, seconds.
const YOUNG: i64 = 10;

/// Judges a mailbox whose index files are sound against its storage. A finding is one that several looks have in
/// common, unless nothing was changed between two of them.
pub fn check(files: &MailboxFiles, options: &Options) -> Vec<Finding> {
    let mut common: Option<Vec<Finding>> = None;
    for look in 0..LOOKS {
        let before = stamps(files);
        let found = Witnesses::read(files, options.mmap).map_or_else(Vec::new, |seen| judge(files, &seen));
        if found.is_empty() {
            return found;
        }
        let kept: Vec<Finding> = match common.take() {
            None => found,
            Some(earlier) => earlier.into_iter().filter(|finding| found.contains(finding)).collect(),
        };
        if kept.is_empty() {
            return kept;
        }
        // Mail moves before its index does; one change takes a moment.
        if is_old(&before, options.now) && before == stamps(files) && !files.is_locked() {
            return kept;
        }
        common = Some(kept);
        std::thread::sleep(Duration::from_millis(50 << look));
    }
    common.unwrap_or_default()
}

/// True when the last change was long enough ago that it is complete. A time in the future is no recent change.
fn is_old(stamps: &[Option<Meta>], now: i64) -> bool {
    stamps.iter().flatten().all(|meta| !(0..=YOUNG).contains(&now.saturating_sub(meta.stat.mtime.0)))
}
