//! `idx rebuild`: a new `dovecot.index` from what survives, so that the next Dovecot logs not one line and no client
//! notices.
//!
//! Read everything, plan, and save what is to be replaced; then take Dovecot's own lock, see whether all is as it was,
//! and replace it. Nothing that a mail user can make slow is done while Dovecot waits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::check::quote;
use crate::render::{optional_path_text, path_text};
use crate::repair::{
    Base, Grade, Kept, Loss, MessageCounts, RebuildError, StorageState, after, before, change, inputs, plan,
    whole_files,
};
use crate::source::place::DBOX_MAILS;
use crate::source::{Bytes, Dir, Family, Input, MailboxFiles, MmapPolicy, PathError, Role, Snapshot, Stat, passed};
use crate::storage::{self, Roots, list_places};
use crate::store::StoreError;
use crate::store::alone::Alone;
use crate::store::home::Home;
use crate::store::lock::{LockMethod, LogLock};
use crate::store::output::OutputDir;
use crate::store::transaction::{Transaction, UndoTurn};
use crate::store::undo::{self, KeptUndo, UndoFile};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.rebuild/1";

/// How often a mailbox that changes between survey and lock is surveyed again before it is called busy.
const TRIES: u32 = 5;

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
    /// Take files that belong to neither the owner of the mailbox nor root.
    pub any_owner: bool,
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
    pub messages: MessageCounts,
    /// What is lost, in words.
    pub lost: Vec<String>,
    /// The same with grades.
    pub losses: Vec<Loss>,
    /// The command that accepts the losses for which it was refused.
    pub command: Option<String>,
    /// What stays.
    pub kept: Option<Kept>,
    /// The file that can undo it.
    #[serde(serialize_with = "optional_path_text")]
    pub undo: Option<PathBuf>,
}

/// What a rebuild shares with the others of its run.
#[derive(Default)]
pub struct Among<'a> {
    /// What is known of the roots that mailboxes share, so that it is not read for each of them.
    pub roots: Arc<Roots>,
    /// Told of what is going to be done, before the first file is changed; where it cannot take note, nothing is done.
    pub before_write: Option<&'a BeforeWrite<'a>>,
}

/// Takes note of a report.
pub type BeforeWrite<'a> = dyn Fn(&RebuildReport) -> Result<(), StoreError> + Sync + 'a;

impl std::fmt::Debug for Among<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Among").field("roots", &self.roots).finish_non_exhaustive()
    }
}

/// Rebuilds a mailbox's index. Root does it with the rights of the mailbox's owner; only what is written to another
/// directory is the caller's.
///
/// # Errors
/// [`RebuildError`]: in all cases but `CommitError::Torn` nothing has changed.
pub fn run(path: &Path, options: &Options) -> Result<RebuildReport, RebuildError> {
    run_among(&subject(path)?, options, &Among::default())
}

/// The index that a path means: that of a file, or the mailbox's own in a directory. The mailbox list in a directory is
/// meant only when it is named, and a mailbox that has nothing but its storage is one all the same.
///
/// # Errors
/// [`PathError::NoIndex`] or [`PathError::Above`] for a directory that is no mailbox.
pub fn subject(path: &Path) -> Result<MailboxFiles, PathError> {
    // The backup stands for its mailbox; it is never itself rebuilt.
    let stem = path.to_str().and_then(|text| text.strip_suffix(Role::Backup.suffix())).map(Path::new);
    let path = stem.filter(|_| !path.is_dir()).unwrap_or(path);
    let named = |files: &MailboxFiles| files.family() == Family::List;
    match MailboxFiles::locate(path) {
        Ok(files) if !(named(&files) && path.is_dir()) => Ok(files),
        other => has_storage(path).ok_or_else(|| other.err().unwrap_or_else(|| PathError::NoIndex(path.to_owned()))),
    }
}

/// Whether a path is searched for mailboxes: a directory that is none itself, or any directory when all below is asked
/// for.
pub fn is_tree(path: &Path, recursive: bool) -> bool {
    path.is_dir() && (recursive || matches!(subject(path), Err(PathError::NoIndex(_) | PathError::Above { .. })))
}

/// Rebuilds one index of several.
///
/// # Errors
/// As [`run`].
pub fn run_among(files: &MailboxFiles, options: &Options, among: &Among<'_>) -> Result<RebuildReport, RebuildError> {
    let home = Home::open(files, options.any_owner)?;
    let elsewhere = options.output.as_deref().filter(|_| !options.dry_run);
    let output = elsewhere.map(|dir| OutputDir::open(dir, home.dir())).transpose()?;
    let (report, result) = home.as_owner(|| rebuild(&home, &files.index, options, among))??;
    if let Some(output) = output {
        for (name, bytes) in result {
            output.write(&name, &bytes)?;
        }
    }
    Ok(report)
}

/// What a rebuild would come to whatever it costs, and the files as it would leave them. Nothing is written or locked.
///
/// # Errors
/// As [`run`].
pub fn preview(
    files: &MailboxFiles,
    base: Option<Base>,
    mmap: MmapPolicy,
) -> Result<(RebuildReport, Snapshot), RebuildError> {
    let options = Options {
        dry_run: true,
        output: None,
        base,
        accept: Grade::ALL.to_vec(),
        lock_method: LockMethod::default(),
        lock_timeout: Duration::ZERO,
        no_undo: true,
        any_owner: false,
        mmap,
    };
    let home = Home::open(files, false)?;
    let (report, left) = home.as_owner(|| rebuild(&home, &files.index, &options, &Among::default()))??;
    let inputs = left.into_iter().enumerate().filter_map(|(i, (name, bytes))| {
        let role = Role::ALL.into_iter().find(|role| home.name(*role) == name)?;
        // Files in memory have no inode; all that counts is that they are different ones.
        let stat = Stat { dev: 0, ino: i as u64 + 1, size: bytes.len() as u64, mtime: (0, 0) };
        Some((role, Input { bytes: Bytes::Owned(bytes), stat }))
    });
    Ok((report, inputs.collect()))
}

/// The index files that a mailbox without any would have: its storage is all there is.
fn has_storage(path: &Path) -> Option<MailboxFiles> {
    let dir = Dir::open(if path.is_dir() { path } else { path.parent()? }).ok()?;
    storage_in(&dir)
}

fn storage_in(dir: &Dir) -> Option<MailboxFiles> {
    let both = std::iter::once(dir.clone()).chain(dir.below(DBOX_MAILS).ok());
    let map = dir.path().file_name().is_some_and(|name| name == "storage");
    let map = map.then(|| MailboxFiles::inside(dir, Family::Map));
    let mut all = both.map(|dir| MailboxFiles::inside(&dir, Family::Mailbox)).chain(map);
    all.find(|files| {
        let found = storage::Messages::beside(files);
        found.is_some_and(|found| !found.uids.is_empty() || found.map.is_some() || found.mails.is_some())
    })
}

/// A file to be written into another directory: its name and its bytes.
type Written = Vec<(Vec<u8>, Vec<u8>)>;

/// All but the writing elsewhere. Everything is read, thought about and summed up before the lock is taken; under it
/// only the states of the files are compared, and when one has changed it all begins anew.
fn rebuild(
    home: &Home,
    index: &Path,
    options: &Options,
    among: &Among<'_>,
) -> Result<(RebuildReport, Written), RebuildError> {
    let elsewhere = options.dry_run || options.output.is_some();
    let began = passed();
    let _alone = (!elsewhere).then(|| Alone::in_dir(home, options.lock_timeout)).transpose()?;
    let places = list_places(home.dir());
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(10 << attempt));
        }
        let survey = home.survey(options.mmap)?;
        if survey.is_empty() && storage_in(home.dir()).is_none() {
            return Err(PathError::NoIndex(index.to_owned()).into());
        }
        let storage_then = StorageState::of(home, &places);
        // What the list has and the log not yet is neither lost nor to be repaired.
        if storage_then.is_saving() {
            let left = options.lock_timeout.saturating_sub(passed().saturating_sub(began));
            storage_then.wait(left);
            continue;
        }
        let (mut saved, replaced) = match UndoFile::read(home)?.of_these(home, &survey) {
            KeptUndo::Nothing => (UndoFile::default(), None),
            KeptUndo::Undo(undo) => (undo, None),
            KeptUndo::Other(why) => (UndoFile::default(), Some(why)),
        };
        // A run that was killed half-way left some files replaced. What it saved is what there is to plan with.
        let interrupted = saved.steps.pop_if(|step| step.was_interrupted(home, &survey));
        let before = before(home, &survey, interrupted.as_ref());
        let names = home.files();
        let mut inputs = inputs(&before, &names, options.base, &among.roots, super::inspect::options().now);
        let mut made = plan(&names, &inputs);
        if !made.asks.is_empty()
            && let Some(map) = inputs.storage.as_mut().and_then(|storage| storage.map.as_mut())
        {
            map.ask(made.asks.iter());
            made = plan(&names, &inputs);
        }
        let plan = made;
        let mut after = after(&before, &plan);
        if survey.is_one_log()
            && before.iter().chain(&after).all(|(role, bytes)| *role != Role::OldLog || bytes.is_none())
        {
            // It was left out of the plan, and stays.
            after.retain(|(role, _)| *role != Role::OldLog);
            after.push((Role::OldLog, survey.bytes(Role::OldLog)));
        }
        let mut report = RebuildReport {
            path: index.to_owned(),
            status: Status::Unchanged,
            dry_run: options.dry_run,
            reason: plan.refusal.clone(),
            base: plan.base,
            actions: plan.steps.iter().map(|(step, why)| step.describe(&home.text(Role::Index), why)).collect(),
            messages: plan.messages,
            lost: plan.lost.iter().map(ToString::to_string).collect(),
            losses: plan.lost.clone(),
            command: None,
            kept: plan.kept.clone(),
            undo: None,
        };
        if plan.refusal.is_some() {
            report.status = Status::Refused;
        } else if let Some(grade) = plan.lost.iter().map(Loss::grade).filter(|g| !options.accept.contains(g)).max() {
            report.status = Status::Refused;
            report.command = Some(accepting(home, index, options.base, &plan.lost));
            report.reason = Some(match options.accept.is_empty() {
                true => "something would be lost, and --accept-loss is not given".into(),
                false => format!("something of the grade {} would be lost, and that is not accepted", grade.name()),
            });
        } else if !plan.steps.is_empty() || interrupted.is_some() {
            report.status = Status::Rebuilt;
        }
        // A delivery writes the mail before the log, under the log's lock: what it had done by halves is no loss.
        if report.status == Status::Refused && !plan.lost.is_empty() && survey.bytes(Role::Log).is_some() {
            let lock = (!elsewhere).then(|| LogLock::acquire(home, options.lock_method, options.lock_timeout));
            if !matches!(lock, Some(Err(_))) && (!survey.still_holds(home)? || storage_then.is_saving()) {
                continue;
            }
        }
        if elsewhere || report.status != Status::Rebuilt {
            let wanted = elsewhere && report.status == Status::Rebuilt;
            let written = after.iter().filter_map(|(role, bytes)| Some((home.name(*role), bytes.as_ref()?.to_vec())));
            return Ok((report, if wanted { written.collect() } else { Vec::new() }));
        }
        let undo_name = UndoFile::name(home);
        let undo_then = home.stat(&undo_name)?.map(|meta| meta.stat);
        let undo = match options.no_undo {
            true => None,
            false => {
                let why = report.actions.clone();
                saved.push(undo::UndoStep::new(home, &survey, &after, why, interrupted.as_ref()));
                if let Some(why) = &replaced {
                    report.actions.push(format!("replace the undo file, which is none of this index: {}", why.source));
                }
                report.undo = Some(home.path(&undo_name));
                Some(saved.stage(home, &survey)?)
            }
        };
        // An sdbox has its messages here: until now their names told of deliveries, now the times of the directory do.
        let directory = home.dir().meta().ok();
        if StorageState::of(home, &places) != storage_then {
            continue;
        }
        if let Some(note) = among.before_write {
            note(&report)?;
        }
        let lock = LogLock::acquire(home, options.lock_method, options.lock_timeout)?;
        let same = survey.still_holds(home)?
            && storage_then.may_hold()
            && !storage_then.is_saving()
            // Where the lock is a name in the directory, taking it has changed the times too.
            && (home.dir().meta().ok() == directory
                || (lock.is_a_name() && StorageState::of(home, &places) == storage_then))
            && home.stat(&undo_name)?.map(|meta| meta.stat) == undo_then
            && undo.as_ref().is_none_or(|undo| undo.is_there());
        if !same {
            continue;
        }
        let in_place = interrupted.is_none() && (lock.is_writable() || survey.bytes(Role::Log).is_none());
        let changes = match in_place {
            true => plan.steps.iter().filter_map(|(step, _)| change(step, &survey)).collect(),
            false => whole_files(home, &survey, interrupted.as_ref(), &after),
        };
        let undo = undo.as_ref().map_or(UndoTurn::Stays, UndoTurn::First);
        Transaction::commit(home, &lock, &survey, undo, &changes)?;
        among.roots.changed(&names);
        return Ok((report, Vec::new()));
    }
    Err(PathError::Busy(index.to_owned()).into())
}

/// The command that accepts these losses. A directory means the index of its mailbox, and no other.
fn accepting(home: &Home, index: &Path, base: Option<Base>, lost: &[Loss]) -> String {
    let is_own = home.name(Role::Index) == Family::Mailbox.prefix().as_bytes();
    let dir = index.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    let path = dir.filter(|_| is_own).unwrap_or(index);
    format!("idx rebuild{}{} {}", base_option(base), accept_option(lost.iter().map(Loss::grade)), quote(path))
}

/// The option that chooses a base, with a blank before it.
pub(super) fn base_option(base: Option<Base>) -> String {
    base.map_or_else(String::new, |base| format!(" --base {base}"))
}

/// The option that accepts losses of these grades, with a blank before it.
pub(super) fn accept_option(grades: impl Iterator<Item = Grade> + Clone) -> String {
    let there = |grade: &Grade| grades.clone().any(|one| one == *grade);
    let names: Vec<&str> = Grade::ALL.into_iter().filter(there).map(Grade::name).collect();
    format!(" --accept-loss={}", names.join(","))
}
