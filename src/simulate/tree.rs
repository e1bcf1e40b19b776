//! Trees of mailboxes, simulated in parallel.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::survey::Row;
use super::{Options, SimulateError, Simulation, Subject, mailbox, subject};
use crate::ops::names::Lists;
use crate::source::{Family, Found, MailboxFiles, PathError, Role, Unit, walk};

/// Whether a path is searched for mailboxes: a directory that is none itself, or any directory when all below is asked for.
/// What is a mailbox, such as a Maildir with its folders, is that one mailbox otherwise.
pub fn is_tree(path: &Path, recursive: bool) -> bool {
    let files = |dir: PathBuf| MailboxFiles { index: dir.join(Family::Mailbox.prefix()), cache: None };
    let is_mailbox =
        || [path.to_owned(), path.join("dbox-Mails")].into_iter().any(|dir| !files(dir).present().is_empty());
    path.is_dir() && (recursive || !is_mailbox())
}

/// What came of one mailbox: what is wrong with its files although it was simulated, or why it was not.
pub type Told = Result<Vec<(PathBuf, String)>, SimulateError>;

impl Simulation<'_> {
    /// Simulates every mailbox below directories on `jobs` threads. `each` is told of each in the order of the walk. One that
    /// cannot be simulated does not stop the others; a root without mailboxes is an error like one that cannot be read.
    pub fn trees(&mut self, roots: &[PathBuf], jobs: usize, mut each: impl FnMut(Told)) {
        self.becomes_many();
        self.walked = true;
        let (options, rules) = (self.options, self.rules);
        let lists = Lists::new(options.mmap);
        let mut empty: HashSet<PathBuf> = roots.iter().cloned().collect();
        let sums = Mutex::new(std::mem::take(&mut self.sums));
        let grid = self.grid.as_ref();
        // Of a mailbox only its row leaves the thread that read it.
        let simulate = |mut subject: Subject| {
            let (body, outcome) = super::body(&subject, options, &rules);
            let row = Row::of(&subject, &body, outcome.as_ref(), options);
            if let (Some(grid), Ok(scenario), true) = (grid, &subject.scenario, row.tracks_modseqs) {
                let column = grid.measure(scenario);
                sums.lock().unwrap_or_else(PoisonError::into_inner).add(column.as_ref());
            }
            (row, std::mem::take(&mut subject.problems))
        };
        let rows = |found: Found| {
            let wanted = |unit: &&Unit| unit.family == Family::Mailbox && !unit.is_cache_only();
            let one = |unit: &Unit| read(&found, unit, &lists, options).map(simulate);
            let rows: Vec<_> = found.units.iter().filter(wanted).map(one).collect();
            (found.top().to_owned(), rows)
        };
        let mut done = Vec::new();
        let mut tell = |result: Result<(Row, Vec<(PathBuf, String)>), SimulateError>| match result {
            Ok((row, problems)) => {
                done.push(row);
                each(Ok(problems));
            }
            Err(error) => {
                self.errors.note(&error);
                each(Err(error));
            }
        };
        walk(roots, jobs, rows, |result| {
            match result {
                Ok((top, rows)) => {
                    if !rows.is_empty() {
                        empty.remove(&top);
                    }
                    rows.into_iter().for_each(&mut tell);
                }
                Err(error) => {
                    empty.remove(&error.path);
                    tell(Err(PathError::Io { path: error.path, source: error.source }.into()));
                }
            }
            ControlFlow::Continue(())
        });
        for root in roots {
            // An index that is of no mailbox may be all there is.
            if empty.remove(root) {
                tell(mailbox(root, options).map(simulate));
            }
        }
        self.entries.extend(done.into_iter().map(|row| (row, None)));
        self.sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
}

fn read(found: &Found, unit: &Unit, lists: &Lists, options: &Options) -> Result<Subject, SimulateError> {
    let path = if unit.files.index.file_name().is_some_and(|name| name == Family::Mailbox.prefix()) {
        found.dir.clone()
    } else {
        unit.files.index.clone()
    };
    let snapshot = found.read(unit, &[Role::Index, Role::Backup, Role::OldLog, Role::Log], options.mmap)?;
    let (mut subject, state) = subject(&path, &unit.files, &snapshot, options)?;
    subject.name = Some(String::from_utf8_lossy(&lists.name(found, Some(&state)).text).into_owned());
    subject.user = found.user();
    Ok(subject)
}
