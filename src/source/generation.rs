//! The files of a mailbox as they were at one time, and whether somebody is writing to them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::bytes::{Input, MmapPolicy, contents};
use super::fileset::{MailboxFiles, PathError, Role};
use super::meta::{Meta, NotRegular, Special, Stat};
use super::stream::LogStream;
use super::tail::{Tail, lock_holder};

/// How often a mailbox that changes while it is read is read again before it is called busy.
const TRIES: u32 = 5;
/// Bytes from which one can tell what a file is.
const HEAD: usize = 4096;
/// The index first and the log last: the log may then be ahead of the index, which is normal, but not behind it.
pub(super) const READ_ORDER: [Role; 5] = [Role::Index, Role::Backup, Role::OldLog, Role::Log, Role::Cache];

/// A file that is open.
#[derive(Debug)]
struct Opened {
    role: Role,
    file: File,
    meta: Meta,
}

/// The files of a mailbox at one time, open: whatever is renamed or rotated afterwards, they stay what they are.
#[derive(Debug)]
pub struct Generation {
    files: MailboxFiles,
    opened: Vec<Opened>,
    /// Roles under whose names there is no regular file.
    special: Vec<(Role, Special)>,
    asked: Vec<Role>,
    /// What was read of them already and is asked for again.
    kept: Vec<(Role, Arc<Input>)>,
}

impl Generation {
    /// Opens the files with the given roles as one set: when one of them is replaced meanwhile, all are opened again.
    ///
    /// # Errors
    /// As open(2) for a file that exists; [`PathError::Busy`] after five tries.
    pub fn open(files: &MailboxFiles, roles: &[Role]) -> Result<Generation, PathError> {
        again(files, || {
            let set = Generation::open_once(files, roles, &[])?;
            Ok(set.is_current().then_some(set))
        })
    }

    /// Opens each file once. `special` is what is known to be no regular file.
    pub(super) fn open_once(
        files: &MailboxFiles,
        roles: &[Role],
        special: &[(Role, Special)],
    ) -> Result<Generation, PathError> {
        let (mut opened, mut special, mut asked) = (Vec::new(), special.to_vec(), Vec::new());
        for role in READ_ORDER.into_iter().filter(|role| roles.contains(role)) {
            asked.push(role);
            match files.open(role) {
                Ok((file, meta)) => opened.push(Opened { role, file, meta }),
                Err(error) => match NotRegular::of(&error) {
                    Some(NotRegular(kind)) => special.push((role, kind)),
                    None if error.kind() == io::ErrorKind::NotFound => {}
                    None => return Err(PathError::io(&files.path(role), error)),
                },
            }
        }
        Ok(Generation { files: files.clone(), opened, special, asked, kept: Vec::new() })
    }

    /// True while the names still lead to the files that were opened.
    pub fn is_current(&self) -> bool {
        self.asked.iter().all(|role| {
            let now = self.files.stat(*role).ok();
            match (self.get(*role), now) {
                (Some(one), Some(now)) => now.stat.same_file(&one.meta.stat),
                (None, Some(now)) => now.special.is_some(),
                (have, None) => have.is_none(),
            }
        })
    }

    fn get(&self, role: Role) -> Option<&Opened> {
        self.opened.iter().find(|one| one.role == role)
    }

    /// The files by name.
    pub fn files(&self) -> &MailboxFiles {
        &self.files
    }

    /// The state of a file when it was opened.
    pub fn meta(&self, role: Role) -> Option<&Meta> {
        self.get(role).map(|one| &one.meta)
    }

    /// Reads a file, unless it was read already; `None` when there is none.
    ///
    /// # Errors
    /// As read(2) and mmap(2).
    pub fn input(&self, role: Role, policy: MmapPolicy) -> Result<Option<Arc<Input>>, PathError> {
        match self.kept.iter().find(|(have, _)| *have == role) {
            Some((_, input)) => Ok(Some(Arc::clone(input))),
            None => self.read(role, policy).map(|input| input.map(Arc::new)),
        }
    }

    fn read(&self, role: Role, policy: MmapPolicy) -> Result<Option<Input>, PathError> {
        let Some(one) = self.get(role) else { return Ok(None) };
        let input = contents(&one.file, &one.meta, policy, role.is_replaced());
        input.map(Some).map_err(|error| PathError::io(&self.files.path(role), error))
    }

    /// A log to be read piece by piece; `None` when there is none.
    ///
    /// # Errors
    /// As [`LogStream::of`].
    pub fn stream(&self, role: Role) -> Option<io::Result<LogStream>> {
        Some(self.get(role)?.file.try_clone().and_then(LogStream::of))
    }

    /// What the end of a file means, in which something is wrong at the end. `now` is in UNIX seconds.
    pub fn tail(&self, role: Role, now: i64) -> Tail {
        self.get(role).map_or(Tail::Torn, |one| Tail::of_damaged(&one.file, &one.meta.stat, now))
    }

    pub(super) fn snapshot(self, policy: MmapPolicy) -> Result<Snapshot, PathError> {
        // To call such a file missing would be untrue, and what the others say without it may be wrong.
        if let Some((role, kind)) = self.special.first() {
            return Err(PathError::io(&self.files.path(*role), NotRegular(*kind).into()));
        }
        let mut inputs = Vec::with_capacity(self.opened.len());
        for one in &self.opened {
            inputs.extend(self.read(one.role, policy)?.map(|input| (one.role, input)));
        }
        Ok(Snapshot { inputs, source: Some(self) })
    }
}

/// The one rule for what changes under the reader: five tries, with growing pauses, then [`PathError::Busy`].
pub(super) fn again<T>(
    files: &MailboxFiles,
    mut once: impl FnMut() -> Result<Option<T>, PathError>,
) -> Result<T, PathError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(10 << attempt));
        }
        if let Some(done) = once()? {
            return Ok(done);
        }
    }
    Err(PathError::Busy(files.index.clone()))
}

impl MailboxFiles {
    /// Reads the files with the given roles as one set: when one of them is replaced meanwhile, all are read again.
    ///
    /// # Errors
    /// As open(2) and read(2) for a file that exists, [`NotRegular`] for what is no regular file; [`PathError::Busy`]
    /// after five tries.
    pub fn read(&self, roles: &[Role], policy: MmapPolicy) -> Result<Snapshot, PathError> {
        again(self, || {
            let snapshot = Generation::open_once(self, roles, &[])?.snapshot(policy)?;
            Ok(snapshot.is_current().then_some(snapshot))
        })
    }

    /// True when some process holds the lock of the log. A log that cannot be asked counts as free.
    pub fn is_locked(&self) -> bool {
        self.open(Role::Log).and_then(|(file, _)| lock_holder(&file)).is_ok_and(|holder| holder.is_some())
    }
}

/// The content of a mailbox's files as it was at one time.
#[derive(Debug, Default)]
pub struct Snapshot {
    inputs: Vec<(Role, Input)>,
    source: Option<Generation>,
}

impl Snapshot {
    /// A set of files that were read, or made, elsewhere.
    pub fn new(inputs: Vec<(Role, Input)>) -> Snapshot {
        Snapshot { inputs, source: None }
    }

    /// The file with that role, if there is one.
    pub fn get(&self, role: Role) -> Option<&Input> {
        self.inputs.iter().find(|(have, _)| *have == role).map(|(_, input)| input)
    }

    /// The file with that role, if there is one, to be changed in memory.
    pub fn get_mut(&mut self, role: Role) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|(have, _)| *have == role).map(|(_, input)| input)
    }

    /// The open files that were read; `None` for a set made in memory.
    pub fn generation(&self) -> Option<&Generation> {
        self.source.as_ref()
    }

    /// The open files. What was read is kept of those with the given roles, up to `most` bytes each, and given back of
    /// the others. `None` for a set made in memory.
    pub fn into_generation(self, keep: &[Role], most: u64) -> Option<Generation> {
        let is_kept = |(role, input): &(Role, Input)| keep.contains(role) && input.stat.size <= most;
        let kept = self.inputs.into_iter().filter(is_kept).map(|(role, input)| (role, Arc::new(input)));
        self.source.map(|source| Generation { kept: kept.collect(), ..source })
    }

    /// True while the names still lead to the files that were read.
    pub fn is_current(&self) -> bool {
        self.source.as_ref().is_none_or(Generation::is_current)
    }

    /// What the end of a file means, in which something is wrong at the end when `damaged`. `now` is in UNIX seconds.
    /// Files in memory are written by nobody.
    pub fn tail(&self, role: Role, damaged: bool, now: i64) -> Tail {
        if !damaged {
            return Tail::Whole;
        }
        let opened = self.source.as_ref().and_then(|source| source.get(role));
        match (opened, self.get(role)) {
            (Some(opened), Some(input)) => Tail::of_damaged(&opened.file, &input.stat, now),
            _ => Tail::Torn,
        }
    }
}

impl FromIterator<(Role, Input)> for Snapshot {
    /// Files that were read by other means.
    fn from_iter<I: IntoIterator<Item = (Role, Input)>>(inputs: I) -> Snapshot {
        Snapshot::new(inputs.into_iter().collect())
    }
}

/// One file that the user named himself, open: what is not of a mailbox, or asked about for itself. A link is followed
/// only under a name that is none of Dovecot's: a mailbox is whoever's it is, and so is what he links to.
#[derive(Debug)]
pub struct Single {
    path: PathBuf,
    file: File,
    meta: Meta,
}

impl Single {
    /// Opens it.
    ///
    /// # Errors
    /// As open(2), or [`NotRegular`].
    pub fn open(path: &Path) -> Result<Single, PathError> {
        let opened = match super::fileset::of_dovecot(path) {
            Some((files, role)) => files.open(role),
            None => super::named::open(path).and_then(|file| Meta::of(&file).map(|meta| (file, meta))),
        };
        let (file, meta) = opened.map_err(|error| PathError::io(path, error))?;
        Ok(Single { path: path.to_owned(), file, meta })
    }

    /// Its state when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.meta.stat
    }

    /// Its first bytes: enough to tell what it is.
    ///
    /// # Errors
    /// As read(2).
    pub fn head(&self) -> Result<Vec<u8>, PathError> {
        let mut head = vec![0; HEAD];
        let filled =
            super::stream::read_at(&self.file, &mut head, 0).map_err(|error| PathError::io(&self.path, error))?;
        head.truncate(filled);
        Ok(head)
    }

    /// All of it. `stable` says that writers replace this kind of file by rename and never truncate it.
    ///
    /// # Errors
    /// As read(2) and mmap(2).
    pub fn input(&self, policy: MmapPolicy, stable: bool) -> Result<Input, PathError> {
        contents(&self.file, &self.meta, policy, stable).map_err(|error| PathError::io(&self.path, error))
    }

    /// A log to be read piece by piece.
    ///
    /// # Errors
    /// As [`LogStream::of`].
    pub fn stream(self) -> Result<LogStream, PathError> {
        LogStream::of(self.file).map_err(|error| PathError::io(&self.path, error))
    }

    /// What its end means, when something is wrong with it. `now` is in UNIX seconds.
    pub fn tail(&self, now: i64) -> Tail {
        Tail::of_damaged(&self.file, &self.meta.stat, now)
    }
}
