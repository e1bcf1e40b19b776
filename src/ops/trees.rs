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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A directory of mailboxes with these names, and no storage.
    fn spool(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for name in names {
            let dir = root.path().join(name);
            std::fs::create_dir(&dir).expect("a directory");
            std::fs::write(dir.join("dovecot.index.log"), b"log").expect("a file");
        }
        std::fs::write(root.path().join("dovecot.list.index.log"), b"log").expect("a file");
        root
    }

    fn name(files: &MailboxFiles) -> String {
        let above = files.index.parent().and_then(Path::file_name).unwrap_or_default();
        format!("{}/{}", above.to_string_lossy(), files.index.file_name().unwrap_or_default().to_string_lossy())
    }

    #[test]
    fn a_panic_ends_one_mailbox_and_lists_come_last() {
        let root = spool(&["a", "b", "c"]);
        for jobs in [1, 4] {
            let trees = Trees { roots: &[root.path().to_owned()], walk: jobs.into(), stop: &|| false };
            let (mut told, mut bugs) = (Vec::new(), Vec::new());
            let work = |_: &Found, files: &MailboxFiles| {
                assert!(!name(files).starts_with("b/"), "a bug");
                Some(name(files))
            };
            let empty = each(&trees, work, |result| match result {
                Ok(name) => told.push(name),
                Err(error) => bugs.push(error),
            });
            assert_eq!(told.len(), 3, "{told:?}");
            assert_eq!(told[..2], ["a/dovecot.index", "c/dovecot.index"]);
            assert!(told[2].ends_with("/dovecot.list.index"), "{told:?}");
            assert_eq!((bugs.len(), empty.len()), (1, 0));
            assert!(bugs[0].path.ends_with("b") && bugs[0].source.to_string().contains("a bug"), "{}", bugs[0]);
        }
    }

    #[test]
    fn what_was_begun_is_told_and_nothing_else_is_begun() {
        let names: Vec<String> = (0..200).map(|i| format!("{i:03}")).collect();
        let root = spool(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for jobs in [1, 4] {
            let begun = AtomicUsize::new(0);
            let stop = || begun.load(Ordering::SeqCst) >= 20;
            let trees = Trees { roots: &[root.path().to_owned()], walk: jobs.into(), stop: &stop };
            let mut told = 0;
            let work = |_: &Found, _: &MailboxFiles| Some(begun.fetch_add(1, Ordering::SeqCst));
            assert!(each(&trees, work, |_| told += 1).is_empty());
            let begun = begun.load(Ordering::SeqCst);
            assert_eq!(told, begun, "{jobs} jobs");
            assert!((20..20 + jobs).contains(&begun), "{jobs} jobs: {begun}");
        }
    }
}
