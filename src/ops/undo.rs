//! `idx undo`: puts back, byte for byte, what rebuilds replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::trees::{self, Trees};
use crate::render::path_text;
use crate::source::{Found, MailboxFiles, MmapPolicy, PathError, Role, guarded};
use crate::store::StoreError;
use crate::store::alone::Alone;
use crate::store::home::{AsFound, Home};
use crate::store::lock::{LockError, LockMethod, LogLock};
use crate::store::transaction::{CommitError, FileChange, Transaction, UndoTurn};
use crate::store::undo::{self, ContentSum, KeptUndo, UndoFile, UndoStep, is_as};

/// How often a mailbox that changes between survey and lock is surveyed again before it is called busy.
const TRIES: u32 = 5;

/// What to do with the undo file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Undo the last rebuild.
    #[default]
    Last,
    /// Undo all that are kept.
    All,
    /// Only say which there are.
    List,
    /// Forget them.
    Clear,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do with the undo file.
    pub task: Task,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Restore although something has been written since.
    pub force: bool,
    /// Take files that belong to neither the owner of the mailbox nor root.
    pub any_owner: bool,
    /// Dovecot's `lock_method`.
    pub lock_method: LockMethod,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoStatus {
    /// Everything is as it was before the rebuild, or would be after a dry run.
    Restored,
    /// Somebody has written since; nothing was changed.
    Refused,
    /// Nothing was to be changed.
    Listed,
    /// The undo file is gone, or would be after a dry run.
    Cleared,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct UndoReport {
    /// True when nothing was written.
    pub dry_run: bool,
    /// The index.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
    /// How it went.
    pub status: UndoStatus,
    /// When the rebuild was, RFC 3339 UTC; of several, the first.
    pub created: String,
    /// What the rebuild had done.
    pub undone: Vec<String>,
    /// Files that got their former content.
    pub restored: Vec<String>,
    /// Files that did not exist before the rebuild.
    pub removed: Vec<String>,
    /// Files that are not as the rebuild left them.
    pub changed_since: Vec<String>,
    /// What `--force` throws away.
    pub thrown_away: Vec<String>,
    /// The rebuilds that can still be undone, the oldest first.
    pub steps: Vec<StepReport>,
}

/// A rebuild that can be undone.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// When, RFC 3339 UTC.
    pub created: String,
    /// What it had done.
    pub why: Vec<String>,
    /// The files it changed.
    pub files: Vec<String>,
}

/// Why nothing could be undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// No mailbox.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No rebuild to undo.
    #[error("{}: nothing to undo", .0.display())]
    Nothing(PathBuf),
    /// The undo file cannot be used.
    #[error(transparent)]
    Damaged(StoreError),
    /// A file cannot be read or written.
    #[error("{0}; the undo file is kept, so that it can be tried again")]
    Store(#[from] StoreError),
    /// Writing failed; the undo file is still there, another run goes on.
    #[error("{0}; the undo file is kept, so that it can be tried again")]
    Commit(#[from] CommitError),
}

/// Undoes the last rebuild of a mailbox, or all that are kept. Root does it with the rights of the mailbox's owner.
///
/// # Errors
/// [`UndoError::Nothing`] when there is no undo file.
pub fn run(path: &Path, options: &Options) -> Result<UndoReport, UndoError> {
    run_one(&MailboxFiles::locate(path)?, options)
}

/// The same, whatever happens: a panic is an error of this mailbox.
///
/// # Errors
/// As [`run`].
pub fn run_guarded(path: &Path, options: &Options) -> Result<UndoReport, UndoError> {
    guarded(|| run(path, options)).unwrap_or_else(|panic| Err(failed(path, std::io::Error::other(panic))))
}

fn failed(path: &Path, source: std::io::Error) -> UndoError {
    UndoError::Path(PathError::Io { path: path.to_owned(), source })
}

fn run_one(files: &MailboxFiles, options: &Options) -> Result<UndoReport, UndoError> {
    let home = Home::open(files, options.any_owner)?;
    home.as_owner(|| undo(&home, &files.index, options))?
}

/// The same for everything below directories, in parallel. `tell` hears of each in the order of the walk; a mailbox
/// without an undo file is passed over, and a root below which there is none is [`UndoError::Nothing`].
pub fn trees(trees: &Trees<'_>, options: &Options, mut tell: impl FnMut(PathBuf, Result<UndoReport, UndoError>)) {
    let work = |_: &Found, files: &MailboxFiles| {
        let outcome = match guarded(|| run_one(files, options)) {
            Ok(Err(UndoError::Nothing(_))) => return None,
            Ok(outcome) => outcome,
            Err(panic) => Err(failed(&files.index, std::io::Error::other(panic))),
        };
        Some((files.index.clone(), outcome))
    };
    let empty = trees::each(trees, work, |result| match result {
        Ok((path, outcome)) => tell(path, outcome),
        Err(error) => tell(error.path.clone(), Err(failed(&error.path, error.source))),
    });
    empty.into_iter().for_each(|root| tell(root.clone(), Err(UndoError::Nothing(root))));
}

/// What all of it adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UndoSummary {
    /// Mailboxes with something to undo.
    pub mailboxes: u64,
    /// That are as they were before, or would be.
    pub restored: u64,
    /// That somebody has written to since.
    pub refused: u64,
    /// Whose undo files were listed.
    pub listed: u64,
    /// Whose undo files are gone, or would be.
    pub cleared: u64,
    /// With which something failed.
    pub failed: u64,
    /// The signal that ended the run before all was done.
    pub interrupted: Option<&'static str>,
}

impl UndoSummary {
    /// Takes in what came of one mailbox.
    pub fn count(&mut self, outcome: &Result<UndoReport, UndoError>) {
        self.mailboxes += u64::from(!matches!(outcome, Err(UndoError::Nothing(_) | UndoError::Path(_))));
        match outcome.as_ref().map(|report| report.status) {
            Ok(UndoStatus::Restored) => self.restored += 1,
            Ok(UndoStatus::Refused) => self.refused += 1,
            Ok(UndoStatus::Listed) => self.listed += 1,
            Ok(UndoStatus::Cleared) => self.cleared += 1,
            Err(_) => self.failed += 1,
        }
    }
}

fn undo(home: &Home, index: &Path, options: &Options) -> Result<UndoReport, UndoError> {
    let undo_name = UndoFile::name(home);
    let writes = !options.dry_run && options.task != Task::List;
    let _alone = writes.then(|| Alone::in_dir(home, options.lock_timeout)).transpose()?;
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(10 << attempt));
        }
        let undo_then = home.stat(&undo_name)?.map(|meta| meta.stat);
        let kept = UndoFile::read(home)?;
        if matches!(kept, KeptUndo::Nothing) {
            return Err(UndoError::Nothing(index.to_owned()));
        }
        let survey = home.survey(MmapPolicy::Never)?;
        let mut undo = match kept.of_these(home, &survey) {
            KeptUndo::Nothing => return Err(UndoError::Nothing(index.to_owned())),
            KeptUndo::Other(error) => return Err(UndoError::Damaged(error)),
            KeptUndo::Undo(undo) => undo,
        };
        let target = match options.task {
            Task::Last => undo.steps.pop(),
            Task::All => std::mem::take(&mut undo).all(),
            Task::List | Task::Clear => undo.steps.last().cloned(),
        };
        let target = target.ok_or_else(|| UndoError::Nothing(index.to_owned()))?;
        let mut report = describe(home, index, options, &target, &undo, &survey);
        if options.task == Task::Clear && !options.dry_run {
            undo::clear(home)?;
        }
        if options.dry_run || report.status != UndoStatus::Restored {
            return Ok(report);
        }
        let left = (!undo.steps.is_empty()).then(|| undo.stage(home, &survey)).transpose()?;
        let lock = LogLock::acquire(home, options.lock_method, options.lock_timeout)?;
        let same = survey.still_holds(home)?
            && home.stat(&undo_name)?.map(|meta| meta.stat) == undo_then
            && left.as_ref().is_none_or(|left| left.is_there());
        if !same {
            continue;
        }
        let changes = changes(home, &target, &survey, lock.is_writable());
        Transaction::commit(home, &lock, &survey, UndoTurn::Last(left.as_ref()), &changes)?;
        report.dry_run = false;
        return Ok(report);
    }
    Err(PathError::Busy(index.to_owned()).into())
}

/// What would be done, and whether it may be.
fn describe(
    home: &Home,
    index: &Path,
    options: &Options,
    target: &UndoStep,
    left: &UndoFile,
    survey: &AsFound,
) -> UndoReport {
    let mut report = UndoReport {
        dry_run: options.dry_run,
        path: index.to_owned(),
        status: UndoStatus::Restored,
        created: target.created.clone(),
        undone: Vec::new(),
        restored: Vec::new(),
        removed: Vec::new(),
        changed_since: Vec::new(),
        thrown_away: Vec::new(),
        steps: Vec::new(),
    };
    let steps = left.steps.iter().map(|step| StepReport {
        created: step.created.clone(),
        why: step.why.clone(),
        files: step.files.iter().map(|entry| entry.name.clone()).collect(),
    });
    report.steps = steps.collect();
    match options.task {
        Task::List => report.status = UndoStatus::Listed,
        Task::Clear => report.status = UndoStatus::Cleared,
        Task::Last | Task::All => {}
    }
    if report.status != UndoStatus::Restored {
        return report;
    }
    report.undone.clone_from(&target.why);
    for entry in &target.files {
        let now = home.role(&entry.name).and_then(|role| survey.bytes(role));
        let was = entry.before.as_ref().map(|saved| &saved.sum);
        if !is_as(entry.after.as_ref(), now) && !is_as(was, now) {
            report.changed_since.push(entry.name.clone());
            report.thrown_away.push(thrown_away(&entry.name, entry.after.as_ref(), now));
        }
        match entry.before {
            Some(_) => report.restored.push(entry.name.clone()),
            None => report.removed.push(entry.name.clone()),
        }
    }
    for witness in &target.untouched {
        let now = home.role(&witness.name).and_then(|role| survey.bytes(role));
        let same = match &witness.sha256 {
            None => now.map(|bytes| bytes.len() as u64) == witness.size,
            Some(sum) => now.is_some_and(|bytes| ContentSum::of(bytes).sha256 == *sum),
        };
        if !same {
            report.changed_since.push(witness.name.clone());
        }
    }
    if !report.changed_since.is_empty() && !options.force {
        report.status = UndoStatus::Refused;
        report.restored.clear();
        report.removed.clear();
    }
    report
}

/// What is in a file now and would not be any more.
fn thrown_away(name: &str, after: Option<&ContentSum>, now: Option<&[u8]>) -> String {
    match (after, now) {
        (_, None) => format!("{name}: nothing, it is gone"),
        (Some(after), Some(now)) => {
            let grown = usize::try_from(after.size).ok().and_then(|size| now.split_at_checked(size));
            match grown {
                Some((rebuilt, since)) if after.is_of(rebuilt) => {
                    format!("{name}: {} bytes written since", since.len())
                }
                _ => format!("{name}: a later file of {} bytes", now.len()),
            }
        }
        (None, Some(now)) => format!("{name}: a new file of {} bytes", now.len()),
    }
}

/// From the files as they are to the files as they were; the index last. A log that was only cut gets its end back and
/// stays the same file, and one that became `.log.2` gets its name back: other processes have it open.
fn changes<'a>(home: &Home, target: &'a UndoStep, survey: &AsFound, in_place: bool) -> Vec<FileChange<'a>> {
    let entry = |role: Role| target.entry(&home.text(role));
    let wanted = |role: Role| entry(role).and_then(|entry| entry.before.as_ref());
    let mut changes = Vec::new();
    let (log, old) = (survey.bytes(Role::Log), survey.bytes(Role::OldLog));
    let back = wanted(Role::Log).is_some_and(|saved| old == Some(&saved.bytes) && log != Some(&saved.bytes));
    let exchange = in_place && back && log.is_some() && !survey.is_one_log() && entry(Role::OldLog).is_some();
    if exchange {
        changes.push(FileChange::ExchangeLogs);
    }
    for role in [Role::Log, Role::OldLog, Role::Backup, Role::Cache, Role::Index] {
        let Some(entry) = entry(role) else { continue };
        let (now, meta) = match role {
            Role::Log if exchange => (old, survey.meta(Role::OldLog)),
            Role::OldLog if exchange => (log, survey.meta(Role::Log)),
            _ => (survey.bytes(role), survey.meta(role)),
        };
        let Some(saved) = &entry.before else {
            if meta.is_some() {
                changes.push(FileChange::Remove(role));
            }
            continue;
        };
        let mtime = (saved.attributes.mtime, saved.attributes.mtime_nsec);
        let rest = now.and_then(|now| saved.bytes.strip_prefix(now));
        match rest {
            Some([]) if meta.is_some_and(|meta| meta.stat.mtime == mtime) => {}
            Some(rest) if role == Role::Log && in_place && !exchange => {
                changes.push(FileChange::ExtendLog { len: (saved.bytes.len() - rest.len()) as u64, rest, mtime });
            }
            _ => changes.push(FileChange::Write { role, bytes: &saved.bytes, mtime: Some(mtime) }),
        }
    }
    changes
}
