//! `idx rebuild`: a new `dovecot.index` from what survives, so that the next Dovecot logs not one line and no client notices.
//!
//! Read everything under Dovecot's own lock, plan, save what is to be replaced, replace it. Without the lock only a dry run and
//! a rebuild into another directory are done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::render::{optional_path_text, path_text};
use crate::repair::{
    Base, Grade, Kept, Loss, Messages, RebuildError, Set, plan, read_locked, was_interrupted, write_elsewhere,
};
use crate::source::{Family, MailboxFiles, MmapPolicy, PathError, Role};
use crate::store::lock::{LockMethod, LogLock};
use crate::store::undo::{self, Undo};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Write the result here and leave the mailbox alone.
    pub output: Option<PathBuf>,
    /// Take only this base.
    pub base: Option<Base>,
    /// Go on although something of these grades is lost.
    pub accept: Vec<Grade>,
    /// Dovecot's `lock_method`.
    pub lock_method: LockMethod,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
    /// Save nothing.
    pub no_undo: bool,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There was nothing to do.
    Unchanged,
    /// It was done, or would be in a dry run.
    Rebuilt,
    /// It was not done: something would be lost, or it must not be done.
    Refused,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct RebuildReport {
    /// The index.
    #[serde(serialize_with = "path_text")]
    pub path: PathBuf,
    /// How it went.
    pub status: Status,
    /// True when nothing was written.
    pub dry_run: bool,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What the result is based on.
    pub base: Option<Base>,
    /// What was done, in order, and why.
    pub actions: Vec<String>,
    /// How well the messages are known.
    pub messages: Messages,
    /// What is lost, in words.
    pub lost: Vec<String>,
    /// The same with grades.
    pub losses: Vec<Loss>,
    /// What stays.
    pub kept: Option<Kept>,
    /// The file that can undo it.
    #[serde(serialize_with = "optional_path_text")]
    pub undo: Option<PathBuf>,
}

/// Rebuilds a mailbox's index.
///
/// # Errors
/// [`RebuildError`]: in all cases but [`RebuildError::Torn`] nothing has changed.
pub fn run(path: &Path, options: &Options) -> Result<RebuildReport, RebuildError> {
    // The backup stands for its mailbox; it is never itself rebuilt.
    let named = path.to_str().and_then(|text| text.strip_suffix(Role::Backup.suffix())).map(Path::new);
    let path = named.filter(|_| !path.is_dir()).unwrap_or(path);
    let files = MailboxFiles::locate(path)?;
    // A directory of mailboxes may have no index of its own but one of their names: that is meant only when it is named.
    let names_only = files.index.file_name().is_some_and(|name| name == Family::List.prefix());
    if names_only && path.is_dir() {
        return Err(PathError::NoIndex(path.to_owned()).into());
    }
    let elsewhere = options.dry_run || options.output.is_some();
    let lock = match elsewhere {
        true => None,
        false => Some(LogLock::acquire(&files.path(Role::Log), options.lock_method, options.lock_timeout)?),
    };
    let snapshot = match &lock {
        Some(lock) => read_locked(&files, lock, options.mmap)?,
        None => files.read(&Role::ALL, options.mmap)?,
    };
    if Role::ALL.iter().all(|role| snapshot.get(*role).is_none()) {
        return Err(PathError::NoIndex(path.to_owned()).into());
    }
    let undo_path = undo::path_of(&files.index);
    // A run that was killed half-way left some files replaced. What it saved is what there is to plan with.
    let interrupted = Undo::read(&undo_path).ok().filter(|undo| was_interrupted(undo, &files, &snapshot));
    let set = Set::new(&files, &snapshot, interrupted.as_ref())?;
    let plan = plan(&set.inputs(&files, options.base));
    let mut report = RebuildReport {
        path: files.index.clone(),
        status: Status::Unchanged,
        dry_run: options.dry_run,
        reason: plan.refusal.clone(),
        base: plan.base,
        actions: plan.steps.iter().map(|(step, why)| step.describe(why)).collect(),
        messages: plan.messages,
        lost: plan.lost.iter().map(ToString::to_string).collect(),
        losses: plan.lost.clone(),
        kept: plan.kept.clone(),
        undo: None,
    };
    if plan.refusal.is_some() {
        report.status = Status::Refused;
    } else if let Some(grade) = plan.lost.iter().map(Loss::grade).filter(|g| !options.accept.contains(g)).max() {
        report.status = Status::Refused;
        report.reason = Some(match options.accept.is_empty() {
            true => "something would be lost, and --accept-loss is not given".into(),
            false => format!("something of the grade {} would be lost, and that is not accepted", grade.name()),
        });
    } else if !plan.steps.is_empty() || interrupted.is_some() {
        report.status = Status::Rebuilt;
    }
    match (&options.output, &lock) {
        (Some(dir), _) if report.status != Status::Refused && !options.dry_run => {
            write_elsewhere(dir, &files, &set, &plan).map_err(RebuildError::Store)?;
        }
        (None, Some(lock)) if report.status == Status::Rebuilt => {
            let undo = (!options.no_undo).then_some(undo_path.as_path());
            set.commit(&files, lock, &plan, undo, interrupted.is_some())?;
            report.undo = undo.map(Path::to_owned);
        }
        _ => {}
    }
    Ok(report)
}
