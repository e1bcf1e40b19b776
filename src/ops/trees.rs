//! How the verbs that write go through trees: one index after the other on several threads, and those that mailboxes
//! share, the mailbox list and the map of an mdbox, after all mailboxes. Nothing that happens to one ends the others.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::check;
use crate::source::{Family, Found, MailboxFiles, Walk, WalkError, walk};

/// The trees.
pub struct Trees<'a> {
    /// Their roots.
    pub roots: &'a [PathBuf],
    /// How to walk them.
    pub walk: Walk,
    /// True as soon as nothing more is to be begun.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Trees<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trees").field("roots", &self.roots).field("walk", &self.walk).finish_non_exhaustive()
    }
}

/// Does the work for each index below the roots; `None` of it is not told. `tell` hears of the others in the order of
/// the walk, with the path of the index. What is left are the roots below which there was nothing to tell of, unless it
/// was stopped.
pub fn each<T: Send>(
    trees: &Trees<'_>,
    work: impl Fn(&Found, &MailboxFiles) -> Option<T> + Sync,
    mut tell: impl FnMut(Result<T, WalkError>),
) -> Vec<PathBuf> {
    let how = Walk { batch: 1, ..trees.walk };
    let mut empty: HashSet<&Path> = trees.roots.iter().map(PathBuf::as_path).collect();
    // What was begun, by any thread, and what of that has arrived here.
    let (begun, mut arrived) = (AtomicU64::new(0), 0);
    let has_shared = AtomicBool::new(false);
    for shared in [false, true] {
        if (shared && !has_shared.load(Ordering::SeqCst)) || (trees.stop)() {
            break;
        }
        let one = |found: Found| {
            let mut done = Vec::new();
            let mut all = members(&found);
            all.retain(|files| {
                let is_shared = matches!(files.family(), Family::List | Family::Map);
                has_shared.fetch_or(is_shared, Ordering::SeqCst);
                is_shared == shared
            });
            for files in all {
                begun.fetch_add(1, Ordering::SeqCst);
                if (trees.stop)() {
                    begun.fetch_sub(1, Ordering::SeqCst);
                    break;
                }
                done.push(work(&found, &files));
            }
            (found.top().to_owned(), done)
        };
        walk(trees.roots, Walk { bare: !shared, ..how }, one, |result| {
            match result {
                Ok((top, done)) => {
                    arrived += done.len() as u64;
                    for outcome in done.into_iter().flatten() {
                        empty.remove(top.as_path());
                        tell(Ok(outcome));
                    }
                }
                // The second walk meets the same directories.
                Err(_) if shared => {}
                Err(error) => {
                    empty.remove(error.path.as_path());
                    tell(Err(error));
                }
            }
            match (trees.stop)() && begun.load(Ordering::SeqCst) == arrived {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
    }
    if (trees.stop)() {
        return Vec::new();
    }
    trees.roots.iter().filter(|root| empty.remove(root.as_path())).cloned().collect()
}

/// The indexes in a directory, and that of its mailbox where it has lost all of it.
fn members(found: &Found) -> Vec<MailboxFiles> {
    let is_one = |unit: &&crate::source::Unit| {
        (!unit.is_empty() && !unit.is_cache_only()) || (unit.is_empty() && !unit.special.is_empty())
    };
    let mut all: Vec<MailboxFiles> = found.units.iter().filter(is_one).map(|unit| unit.files.clone()).collect();
    if check::bare(found).is_some() {
        all.push(found.files(Family::Mailbox));
    }
    all
}
