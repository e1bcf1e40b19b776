//! A new set of index files from what survives of the old one: survey the logs, follow every state that can be had to the end
//! of the logs, choose the one that loses least, heal each file, and hold the result against the rules before it is written.

mod candidates;
mod choose;
mod heal;
mod loss;
mod order;
mod plan;
mod steps;
mod storage;
mod survey;
mod verify;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::source::{Bytes, Input, MailboxFiles, MmapPolicy, PathError, Role, Snapshot, Stat, read};
use crate::store::StoreError;
use crate::store::commit::{self, Attributes};
use crate::store::lock::{LockError, LogLock};
use crate::store::undo::{Entry, Saved, Sum, Undo, Witness};
pub use loss::{ExtensionPart, Grade, Loss, NoRecord};
pub use plan::{Base, Inputs, Kept, Messages, Plan, plan};
pub use steps::Step;
use storage::Storage;

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// No mailbox, or its files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Writing failed; what had been done was taken back.
    #[error("{0}; nothing is changed")]
    Store(StoreError),
    /// Writing failed, and so did taking back what had been done.
    #[error("{error}; taking back what was done failed as well ({rollback}): `idx undo` or another run will")]
    Torn {
        /// What failed first.
        error: StoreError,
        /// What failed then.
        rollback: StoreError,
    },
}

/// Reads all files while the lock is held. The log is read through the lock's own descriptor: closing another one would
/// release the lock.
pub(crate) fn read_locked(files: &MailboxFiles, lock: &LogLock, policy: MmapPolicy) -> Result<Snapshot, PathError> {
    let mut inputs = Vec::new();
    for role in [Role::Index, Role::Backup, Role::OldLog, Role::Cache] {
        let path = files.path(role);
        // A rotation that was interrupted leaves .log.2 as a second name of the log.
        if let (Ok(stat), Some(locked)) = (Stat::at(&path), lock.stat())
            && stat.same_file(locked)
        {
            continue;
        }
        match read(&path, policy, role != Role::OldLog) {
            Ok(input) => inputs.push((role, input)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(PathError::Io { path, source }),
        }
    }
    if let (Some(file), Some(stat)) = (lock.file(), lock.stat()) {
        let fail = |source| PathError::Io { path: files.path(Role::Log), source };
        let len = file.metadata().map_err(fail)?.len();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(len).unwrap_or(usize::MAX)).map_err(|e| fail(e.into()))?;
        bytes.resize(usize::try_from(len).unwrap_or(0), 0);
        file.read_exact_at(&mut bytes, 0).map_err(fail)?;
        inputs.push((Role::Log, Input { bytes: Bytes::Owned(bytes), stat: Stat { size: len, ..*stat } }));
    }
    Ok(Snapshot::new(inputs))
}

fn name_of(files: &MailboxFiles, role: Role) -> String {
    files.path(role).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// True when some files are as an earlier run found them and some as it wanted them, and none is otherwise.
pub(crate) fn was_interrupted(undo: &Undo, files: &MailboxFiles, snapshot: &Snapshot) -> bool {
    let (mut before, mut after) = (0, 0);
    for entry in &undo.manifest.files {
        let Some(role) = Role::ALL.into_iter().find(|role| name_of(files, *role) == entry.name) else { return false };
        let now = snapshot.get(role).map(|input| Sum::of(&input.bytes));
        let was = entry.before.as_ref().map(|saved| &saved.sum);
        if now.as_ref() == entry.after.as_ref() {
            after += 1;
        } else if now.as_ref() == was {
            before += 1;
        } else {
            return false;
        }
    }
    before > 0 && after > 0
}

/// A file as it is to be planned with.
struct Member<'a> {
    role: Role,
    bytes: &'a [u8],
    attributes: Attributes,
}

/// The files of a mailbox as they are to be planned with.
pub(crate) struct Set<'a> {
    members: Vec<Member<'a>>,
    /// For files that do not exist yet.
    template: Attributes,
    /// Files that an interrupted run may have replaced: they are written in any case.
    unsure: Vec<Role>,
}

impl<'a> Set<'a> {
    pub(crate) fn new(
        files: &MailboxFiles,
        snapshot: &'a Snapshot,
        interrupted: Option<&'a Undo>,
    ) -> Result<Set<'a>, PathError> {
        let mut unsure = Vec::new();
        let mut members: Vec<Member<'a>> = Vec::new();
        for role in Role::ALL {
            let name = name_of(files, role);
            let saved = interrupted.and_then(|undo| {
                let entry = undo.manifest.files.iter().find(|entry| entry.name == name)?;
                Some(entry.before.as_ref().and_then(|saved| Some((undo.saved(&name)?, saved.attributes.clone()))))
            });
            if saved.is_some() {
                unsure.push(role);
            }
            let now = match (saved, snapshot.get(role)) {
                (Some(saved), _) => saved,
                (None, None) => None,
                (None, Some(input)) => {
                    let path = files.path(role);
                    let attributes = Attributes::at(&path).map_err(|source| PathError::Io { path, source })?;
                    Some((&input.bytes[..], attributes))
                }
            };
            if let Some((bytes, attributes)) = now {
                members.push(Member { role, bytes, attributes });
            }
        }
        let of = |role: Role| members.iter().find(|member| member.role == role).map(|member| member.attributes.clone());
        let order = [Role::Index, Role::Log, Role::OldLog, Role::Backup, Role::Cache];
        let none = || PathError::NoIndex(files.index.clone());
        let template = order.into_iter().find_map(of).ok_or_else(none)?;
        Ok(Set { members, template, unsure })
    }

    fn get(&self, role: Role) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.role == role)
    }

    fn bytes(&self, role: Role) -> Option<&'a [u8]> {
        self.get(role).map(|member| member.bytes)
    }

    fn attributes(&self, role: Role) -> &Attributes {
        self.get(role).map_or(&self.template, |member| &member.attributes)
    }

    /// The bytes to plan with.
    pub(crate) fn inputs(&self, files: &MailboxFiles, base: Option<Base>) -> Inputs<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Inputs {
            index: self.bytes(Role::Index),
            backup: self.bytes(Role::Backup),
            old_log: self.bytes(Role::OldLog),
            log: self.bytes(Role::Log),
            cache: self.bytes(Role::Cache),
            storage: Storage::find(&files.index),
            now: u32::try_from(now).unwrap_or(u32::MAX),
            base,
        }
    }

    /// What each file will be; `None`: no file.
    fn after<'s>(&'s self, plan: &'s Plan) -> Vec<(Role, Option<&'s [u8]>)> {
        let mut after: Vec<(Role, Option<&[u8]>)> =
            Role::ALL.into_iter().map(|role| (role, self.bytes(role))).collect();
        let mut set = |role: Role, bytes: Option<&'s [u8]>| {
            after.iter_mut().filter(|(have, _)| *have == role).for_each(|(_, slot)| *slot = bytes);
        };
        let (log, old) = (self.bytes(Role::Log), self.bytes(Role::OldLog));
        for (step, _) in &plan.steps {
            match step {
                Step::CutLog(len) => set(Role::Log, log.and_then(|b| b.get(..usize::try_from(*len).ok()?))),
                Step::LinkOldLog => set(Role::OldLog, log),
                Step::WriteOldLog(bytes) => set(Role::OldLog, Some(bytes)),
                Step::WriteLog(bytes) => set(Role::Log, Some(bytes)),
                Step::ExchangeLogs => {
                    set(Role::Log, old);
                    set(Role::OldLog, log);
                }
                Step::RemoveOldLog => set(Role::OldLog, None),
                Step::RemoveCache => set(Role::Cache, None),
                Step::WriteIndex(bytes) => set(Role::Index, Some(bytes)),
            }
        }
        after
    }

    /// Makes the plan true on disk.
    pub(crate) fn commit(
        &self,
        files: &MailboxFiles,
        lock: &LogLock,
        plan: &Plan,
        undo: Option<&Path>,
        redo: bool,
    ) -> Result<(), RebuildError> {
        let after = self.after(plan);
        let changed: Vec<(Role, Option<&[u8]>)> = after
            .iter()
            .copied()
            .filter(|(role, bytes)| self.unsure.contains(role) || self.bytes(*role) != *bytes)
            .collect();
        // Everything new is on disk, complete, before anything old goes.
        let mut staged: Vec<(Role, PathBuf)> = Vec::new();
        let unstage = |staged: &[(Role, PathBuf)]| staged.iter().for_each(|(_, temp)| drop(std::fs::remove_file(temp)));
        for (role, bytes) in &changed {
            let in_place = plan.steps.iter().any(|(step, _)| match step {
                Step::CutLog(_) => *role == Role::Log,
                Step::LinkOldLog => *role == Role::OldLog,
                Step::ExchangeLogs => matches!(role, Role::Log | Role::OldLog),
                _ => false,
            });
            let Some(bytes) = bytes.filter(|_| redo || !in_place) else { continue };
            let temp = commit::temporary(&files.path(*role));
            let result = commit::stage(&temp, self.attributes(*role), false, &mut |out| out.write_all(bytes))
                .and_then(|()| check_staged(&temp, bytes));
            if let Err(error) = result {
                unstage(&staged);
                drop(std::fs::remove_file(&temp));
                return Err(RebuildError::Store(error));
            }
            staged.push((*role, temp));
        }
        if let Some(path) = undo
            && let Err(error) = self.undo(files, plan, &after).write(path, &self.template)
        {
            unstage(&staged);
            return Err(RebuildError::Store(error));
        }
        let mut done: Vec<Role> = Vec::new();
        let result = self.apply(files, lock, plan, &staged, redo, &changed, &mut done);
        let Err(error) = result else { return Ok(()) };
        unstage(&staged);
        match self.roll_back(files, lock, &done) {
            Ok(()) => Err(RebuildError::Store(error)),
            Err(rollback) => Err(RebuildError::Torn { error, rollback }),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn apply(
        &self,
        files: &MailboxFiles,
        lock: &LogLock,
        plan: &Plan,
        staged: &[(Role, PathBuf)],
        redo: bool,
        changed: &[(Role, Option<&[u8]>)],
        done: &mut Vec<Role>,
    ) -> Result<(), StoreError> {
        let put = |role: Role, done: &mut Vec<Role>| match staged.iter().find(|(have, _)| *have == role) {
            Some((_, temp)) => {
                done.push(role);
                commit::rename(temp, &files.path(role))
            }
            None => Ok(()),
        };
        if redo {
            // Some of this has been done already; all of it leads to the same files.
            for (role, bytes) in changed {
                match bytes {
                    Some(_) => put(*role, done)?,
                    None => commit::remove(&files.path(*role))?,
                }
            }
            return commit::sync_dir(&files.index);
        }
        let (log, old) = (files.path(Role::Log), files.path(Role::OldLog));
        for (step, _) in &plan.steps {
            match step {
                Step::CutLog(len) => {
                    if let Some(file) = lock.file() {
                        done.push(Role::Log);
                        commit::cut(file, &log, *len)?;
                    }
                }
                Step::LinkOldLog => {
                    let temp = commit::temporary(&old);
                    commit::remove(&temp)?;
                    rustix::fs::link(&log, &temp).map_err(|e| StoreError::new(&temp, "cannot link the log", e))?;
                    done.push(Role::OldLog);
                    commit::rename(&temp, &old)?;
                }
                Step::WriteOldLog(_) => put(Role::OldLog, done)?,
                Step::WriteLog(_) => put(Role::Log, done)?,
                Step::ExchangeLogs => {
                    done.extend([Role::Log, Role::OldLog]);
                    commit::exchange(&log, &old)?;
                }
                Step::RemoveOldLog => {
                    done.push(Role::OldLog);
                    commit::remove(&old)?;
                }
                Step::RemoveCache => {
                    done.push(Role::Cache);
                    commit::remove(&files.path(Role::Cache))?;
                }
                Step::WriteIndex(_) => {
                    // What comes before must be on disk before the index says so.
                    if !done.is_empty() {
                        commit::sync_dir(&files.index)?;
                    }
                    put(Role::Index, done)?;
                }
            }
        }
        commit::sync_dir(&files.index)
    }

    /// Takes back what has been done, the last first.
    fn roll_back(&self, files: &MailboxFiles, lock: &LogLock, done: &[Role]) -> Result<(), StoreError> {
        for role in done.iter().rev() {
            let path = files.path(*role);
            match self.get(*role) {
                None => commit::remove(&path)?,
                Some(member) => put_back(&path, member.bytes, &member.attributes, lock)?,
            }
        }
        Ok(())
    }

    fn undo(&self, files: &MailboxFiles, plan: &Plan, after: &[(Role, Option<&[u8]>)]) -> Undo {
        let mut list = Vec::new();
        let mut untouched = Vec::new();
        for (role, bytes) in after {
            let name = name_of(files, *role);
            let member = self.get(*role);
            if member.map(|member| member.bytes) == *bytes {
                let size = bytes.map(|bytes| bytes.len() as u64);
                // A cache may be large, and grows with every write.
                let sha256 = bytes.filter(|_| *role != Role::Cache).map(|bytes| Sum::of(bytes).sha256);
                untouched.push(Witness { name, size, sha256 });
                continue;
            }
            let before =
                member.map(|member| Saved { sum: Sum::of(member.bytes), attributes: member.attributes.clone() });
            let entry = Entry { name, before, after: bytes.map(Sum::of) };
            list.push((entry, member.map(|member| member.bytes.to_vec())));
        }
        Undo::new(plan.steps.iter().map(|(step, why)| step.describe(why)).collect(), list, untouched)
    }
}

/// Reads a staged file back: what will be renamed is what was meant.
fn check_staged(temp: &Path, want: &[u8]) -> Result<(), StoreError> {
    let input = read(temp, MmapPolicy::Auto, true).map_err(|error| StoreError::new(temp, "cannot read back", error))?;
    if *input.bytes == *want {
        return Ok(());
    }
    let error = io::Error::new(io::ErrorKind::InvalidData, "it does not hold what was written");
    Err(StoreError::new(temp, "cannot be trusted", error))
}

/// Gives a file its former bytes and attributes. A log that was only cut gets its end back and stays the same file, since
/// other processes have it open.
///
/// # Errors
/// As for writing any file.
pub fn put_back(path: &Path, bytes: &[u8], attributes: &Attributes, lock: &LogLock) -> Result<(), StoreError> {
    if let (Some(file), Some(stat)) = (lock.file(), lock.stat())
        && Stat::at(path).is_ok_and(|now| now.same_file(stat))
        && let Ok(len) = file.metadata().map(|meta| meta.len())
        && let (Some(kept), Some(rest)) = (
            bytes.get(..usize::try_from(len).unwrap_or(usize::MAX)),
            bytes.get(usize::try_from(len).unwrap_or(usize::MAX)..),
        )
    {
        let mut now = vec![0; kept.len()];
        if file.read_exact_at(&mut now, 0).is_ok() && now == kept {
            if !rest.is_empty() {
                commit::uncut(file, path, len, rest)?;
            }
            return commit::set_mtime(file, attributes)
                .map_err(|error| StoreError::new(path, "cannot set the time", error));
        }
    }
    commit::write_file(path, attributes, true, &mut |out| out.write_all(bytes))
}

/// Writes the resulting set of files into another directory.
pub(crate) fn write_elsewhere(dir: &Path, files: &MailboxFiles, set: &Set<'_>, plan: &Plan) -> Result<(), StoreError> {
    std::fs::create_dir_all(dir).map_err(|error| StoreError::new(dir, "cannot create", error))?;
    let own = files.index.parent().unwrap_or(Path::new("."));
    if let (Ok(a), Ok(b)) = (std::fs::canonicalize(dir), std::fs::canonicalize(own))
        && a == b
    {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is the mailbox itself");
        return Err(StoreError::new(dir, "cannot write there", error));
    }
    for (role, bytes) in set.after(plan) {
        let Some(bytes) = bytes else { continue };
        let path = dir.join(name_of(files, role));
        let owner = Attributes::at(dir).map_err(|error| StoreError::new(dir, "cannot read", error))?;
        // What is written elsewhere belongs to whoever asked for it, and to nobody else.
        let mode = set.attributes(role).mode;
        let attributes = Attributes { mode, acl: None, selinux: None, ..owner };
        commit::write_file(&path, &attributes, false, &mut |out| out.write_all(bytes))?;
    }
    Ok(())
}
