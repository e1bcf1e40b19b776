//! `idx rebuild` on many mailboxes: named ones and trees, with a journal and a summary.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::rebuild::{self, Among, Options, RebuildReport, SCHEMA, Status};
use super::trees::{self, Trees};
use crate::check::quote;
use crate::render::PathText;
use crate::repair::{Grade, RebuildError};
use crate::source::{Dir, Family, Found, MailboxFiles, PathError, Walk, WalkError, guarded};
use crate::storage::Roots;
use crate::store::StoreError;
use crate::store::journal::Journal;
use crate::store::signals::{self, Graceful};

/// Mail roots whose shared files are remembered, for each thread: mailboxes of one root follow each other.
const ROOTS: usize = 2;

/// Paths that a command to type names.
const MOST_NAMED: usize = 20;

/// Why a mailbox was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It could not be.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// A directory could not be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// There is no mailbox.
    #[error(transparent)]
    Root(PathError),
    /// Something that is to be done for several mailboxes only makes sense for one.
    #[error("{}: {why}", path.display())]
    Tree {
        /// The tree.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
}

/// What came of a mailbox, with the path that it is known by.
pub type RebuildOutcome = (PathBuf, Result<RebuildReport, Failure>);

/// A run.
#[derive(Debug)]
pub struct RebuildRun<'a> {
    /// What to do with each mailbox.
    pub options: &'a Options,
    /// Where to note what is begun and ended.
    pub journal: Option<&'a Journal>,
    /// What may end the run between two mailboxes.
    pub signals: Option<&'a Graceful>,
    /// Of the last mail roots, by device and inode.
    roots: Mutex<VecDeque<((u64, u64), Arc<Roots>)>>,
}

/// A line of the journal.
#[derive(Serialize)]
struct Line<T: Serialize> {
    schema: &'static str,
    event: &'static str,
    at: String,
    #[serde(flatten)]
    more: T,
}

/// What a run is about: the first of its lines.
#[derive(Debug, Serialize)]
pub struct Head<'a> {
    /// The version of idx.
    pub idx: &'static str,
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The paths as they were given.
    pub given: Vec<PathText<'a>>,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Grades of losses that are accepted.
    pub accept: &'a [Grade],
}

#[derive(Serialize)]
struct Begun<'a> {
    path: PathText<'a>,
}

#[derive(Serialize)]
struct Failed<'a> {
    path: PathText<'a>,
    error: String,
}

impl<'a> RebuildRun<'a> {
    /// A run that has not begun.
    pub fn new(options: &'a Options, journal: Option<&'a Journal>, signals: Option<&'a Graceful>) -> RebuildRun<'a> {
        RebuildRun { options, journal, signals, roots: Mutex::default() }
    }

    /// True when nothing more may be begun.
    pub fn is_over(&self) -> bool {
        self.signals.is_some_and(|signals| signals.asked().is_some()) || self.journal.is_some_and(Journal::has_failed)
    }

    /// Adds a line to the journal, if there is one.
    ///
    /// # Errors
    /// As [`Journal::add`].
    pub fn note<T: Serialize>(&self, event: &'static str, more: T, lasting: bool) -> Result<(), StoreError> {
        let Some(journal) = self.journal else { return Ok(()) };
        let at = jiff::Timestamp::from_second(crate::source::now()).unwrap_or_default().to_string();
        match serde_json::to_vec(&Line { schema: SCHEMA, event, at, more }) {
            Ok(line) => journal.add(line, lasting),
            Err(_) => Ok(()),
        }
    }

    /// Rebuilds the mailbox that a path means.
    pub fn named(&self, path: &Path) -> RebuildOutcome {
        match guarded(|| rebuild::subject(path)) {
            Ok(Ok(files)) => (path.to_owned(), self.one(&files, Arc::default())),
            Ok(Err(error)) => (path.to_owned(), Err(Failure::Root(error))),
            Err(panic) => (path.to_owned(), Err(bug(path, panic))),
        }
    }

    /// Rebuilds everything below directories, in parallel. `tell` hears of each in the order of the walk.
    pub fn trees(&self, roots: &[PathBuf], walk: Walk, mut tell: impl FnMut(RebuildOutcome)) {
        if self.options.output.is_some() && !self.options.dry_run {
            let why = "the files of several mailboxes have the same names: -o takes one mailbox";
            roots.iter().for_each(|path| tell((path.clone(), Err(Failure::Tree { path: path.clone(), why }))));
            return;
        }
        let stop = || self.is_over();
        let work = |found: &Found, files: &MailboxFiles| {
            let outcome = self.one(files, self.shared(found, walk.jobs));
            // Deleted since its directory was listed.
            let is_gone = || files.dir().and_then(crate::source::Dir::meta).is_ok_and(|meta| meta.links == 0);
            (outcome.is_ok() || !is_gone()).then(|| (files.index.clone(), outcome))
        };
        let empty = trees::each(&Trees { roots, walk, stop: &stop }, work, |result| match result {
            Ok(outcome) => tell(outcome),
            Err(error) => tell((error.path.clone(), Err(error.into()))),
        });
        empty.into_iter().for_each(|root| tell((root.clone(), Err(Failure::Root(PathError::NoIndex(root))))));
    }

    /// What is known of the mail root of a mailbox. Of the whole tree it would be too much.
    fn shared(&self, found: &Found, jobs: usize) -> Arc<Roots> {
        let Some(key) = found.mail_root().and_then(Dir::id) else { return Arc::default() };
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = roots.iter().find(|(one, _)| *one == key) {
            return Arc::clone(known);
        }
        let fresh: Arc<Roots> = Arc::default();
        roots.push_back((key, Arc::clone(&fresh)));
        if roots.len() > ROOTS * jobs.max(1) {
            roots.pop_front();
        }
        fresh
    }

    /// One mailbox, with what the journal has to know. What panics is a bug, and ends nothing but this mailbox.
    fn one(&self, files: &MailboxFiles, roots: Arc<Roots>) -> Result<RebuildReport, Failure> {
        let path = PathText(&files.index);
        self.note("begin", Begun { path: PathText(&files.index) }, false).map_err(RebuildError::Store)?;
        let before_write = |report: &RebuildReport| self.note("write", report, true);
        let among = Among { roots, before_write: Some(&before_write) };
        let outcome = match guarded(|| rebuild::run_among(files, self.options, &among)) {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(panic) => Err(bug(&files.index, panic)),
        };
        // That it cannot be noted ends the run, and is said there: what was done is done.
        let _ = match &outcome {
            Ok(report) => self.note("end", report, report.status == Status::Rebuilt && !report.dry_run),
            Err(error) => self.note("end", Failed { path, error: error.to_string() }, false),
        };
        outcome
    }
}

fn bug(path: &Path, panic: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Rebuild(PathError::Io { path: path.to_owned(), source: io::Error::other(panic) }.into())
}

/// True for an index that mailboxes share: the mailbox list, or the map of an mdbox.
pub fn is_shared(index: &Path) -> bool {
    index.file_name().is_some_and(|name| [Family::List, Family::Map].iter().any(|family| name == family.prefix()))
}

/// What all of it adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RebuildSummary {
    /// Mailboxes that were begun.
    pub mailboxes: u64,
    /// Mailbox lists and maps of mdbox storages that were begun.
    pub others: u64,
    /// Messages in their results.
    pub messages: u64,
    /// With which there was nothing to do.
    pub unchanged: u64,
    /// That were rebuilt, or would be.
    pub rebuilt: u64,
    /// Of these, with a loss.
    pub with_loss: u64,
    /// That were left alone.
    pub refused: u64,
    /// With which something failed.
    pub failed: u64,
    /// What is lost, the graver grades last.
    pub losses: Vec<GradeLost>,
    /// The signal that ended the run before all was done.
    pub interrupted: Option<&'static str>,
    /// What to type next.
    pub commands: Vec<Next>,
}

/// What is lost of one grade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GradeLost {
    /// The grade.
    pub grade: Grade,
    /// Mailboxes that lose something of this grade.
    pub mailboxes: u64,
    /// Messages concerned, where their number is known.
    pub messages: u64,
    /// Of the mailboxes, those that were left alone for it, or for something graver.
    pub refused: u64,
}

/// A command to type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The command.
    pub command: String,
    /// For how many mailboxes it does something.
    pub mailboxes: u64,
}

impl RebuildSummary {
    /// Takes in what came of one mailbox.
    pub fn count(&mut self, (path, outcome): &RebuildOutcome) {
        let index = outcome.as_ref().map_or(path, |report| &report.path);
        let is_mailbox = !is_shared(index);
        match outcome {
            Err(Failure::Walk(_) | Failure::Root(_) | Failure::Tree { .. }) => {}
            _ if is_mailbox => self.mailboxes += 1,
            _ => self.others += 1,
        }
        let Ok(report) = outcome else {
            self.failed += 1;
            return;
        };
        self.messages += if is_mailbox { report.messages.total } else { 0 };
        match report.status {
            Status::Unchanged => self.unchanged += 1,
            Status::Rebuilt => self.rebuilt += 1,
            Status::Refused => self.refused += 1,
        }
        self.with_loss += u64::from(report.status == Status::Rebuilt && !report.losses.is_empty());
        for grade in Grade::ALL {
            let lost = report.losses.iter().filter(|loss| loss.grade() == grade);
            if lost.clone().next().is_none() {
                continue;
            }
            let at = self.losses.iter().position(|lost| lost.grade == grade).unwrap_or_else(|| {
                self.losses.push(GradeLost { grade, mailboxes: 0, messages: 0, refused: 0 });
                self.losses.len() - 1
            });
            let Some(sum) = self.losses.get_mut(at) else { continue };
            sum.mailboxes += 1;
            sum.messages += lost.filter_map(crate::repair::Loss::count).sum::<u64>();
            sum.refused += u64::from(report.status == Status::Refused);
        }
        self.losses.sort_by_key(|lost| lost.grade);
    }

    /// Ends it: the signal that came, and what to type next, with these words before the bases and grades.
    pub fn end(&mut self, run: &RebuildRun<'_>, words: &str, paths: &[PathBuf]) {
        self.interrupted = run.signals.and_then(Graceful::asked).map(signals::name);
        let options = run.options;
        let paths = match paths.len() {
            0..=MOST_NAMED => paths.iter().map(|path| quote(path)).collect::<Vec<_>>().join(" "),
            _ => "PATH...".to_owned(),
        };
        let begin = format!("idx rebuild{words}{}", rebuild::base_option(options.base));
        if options.dry_run && self.rebuilt > 0 {
            let accept = match options.accept.is_empty() {
                true => " --preen".to_owned(),
                false => rebuild::accept_option(options.accept.iter().copied()),
            };
            self.commands.push(Next { command: format!("{begin}{accept} {paths}"), mailboxes: self.rebuilt });
        }
        let refused = self.losses.iter().filter(|lost| lost.refused > 0);
        if let Some(mailboxes) = refused.clone().map(|lost| lost.refused).max() {
            let grades = refused.map(|lost| lost.grade).chain(options.accept.iter().copied());
            let command = format!("{begin}{} {paths}", rebuild::accept_option(grades));
            self.commands.push(Next { command, mailboxes });
        }
    }
}
