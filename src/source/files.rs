//! The files of a mailbox: which there are, what kind each is, and one consistent copy of them all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bytes::{Input, MmapPolicy, Stat, read};
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::format::{FileKind, Flaw};

/// How often a mailbox that changes while it is read is read again before it is called busy.
const TRIES: u32 = 5;
/// A log that was written to this recently may still be in the middle of a write.
const YOUNG: Duration = Duration::from_secs(10);

/// The index first and the log last: the log may then be ahead of the index, which is normal, but not behind it.
pub(super) const READ_ORDER: [Role; 5] = [Role::Index, Role::Backup, Role::OldLog, Role::Log, Role::Cache];

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `dovecot.index`.
    Index,
    /// `dovecot.index.backup`.
    Backup,
    /// `dovecot.index.log.2`, the log before the present one.
    OldLog,
    /// `dovecot.index.log`.
    Log,
    /// `dovecot.index.cache`.
    Cache,
}

impl Role {
    /// All roles, in the order in which they are shown.
    pub const ALL: [Role; 5] = [Role::Index, Role::Backup, Role::OldLog, Role::Log, Role::Cache];

    /// What the name of the index is followed by.
    pub const fn suffix(self) -> &'static str {
        match self {
            Role::Index => "",
            Role::Backup => ".backup",
            Role::OldLog => ".log.2",
            Role::Log => ".log",
            Role::Cache => ".cache",
        }
    }

    /// What such a file contains.
    pub const fn kind(self) -> FileKind {
        match self {
            Role::Index | Role::Backup => FileKind::Index,
            Role::OldLog | Role::Log => FileKind::Log,
            Role::Cache => FileKind::Cache,
        }
    }
}

/// Whose index it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `dovecot.index`: the messages of a mailbox.
    Mailbox,
    /// `dovecot.index.pvt`: one user's flags in a shared mailbox.
    Private,
    /// `dovecot.list.index`: the names of mailboxes.
    List,
    /// `dovecot.map.index`: the mails in an mdbox storage.
    Map,
}

impl Family {
    /// All families, in the order in which a directory is searched for them.
    pub const ALL: [Family; 4] = [Family::Mailbox, Family::Map, Family::List, Family::Private];

    /// Name of the index file.
    pub const fn prefix(self) -> &'static str {
        match self {
            Family::Mailbox => "dovecot.index",
            Family::Private => "dovecot.index.pvt",
            Family::List => "dovecot.list.index",
            Family::Map => "dovecot.map.index",
        }
    }
}

/// Why a path leads to nothing idx can read.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The path itself cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory without index files.
    #[error("{}: no Dovecot index files in this directory", .0.display())]
    NoIndex(PathBuf),
    /// The content is of no known kind.
    #[error("{}: not an index file of a kind known to idx: {error}", path.display())]
    Unknown {
        /// The path.
        path: PathBuf,
        /// What it was tried as.
        error: Flaw,
    },
    /// The files kept changing while they were read.
    #[error("{}: busy: replaced while being read, {TRIES} times in a row", .0.display())]
    Busy(PathBuf),
}

impl PathError {
    /// The path it is about.
    pub fn path(&self) -> &Path {
        match self {
            PathError::Io { path, .. } | PathError::Unknown { path, .. } => path,
            PathError::NoIndex(path) | PathError::Busy(path) => path,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> PathError {
        PathError::Io { path: path.to_owned(), source }
    }
}

/// The files of one mailbox by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxFiles {
    /// Path of the index file, whether it exists or not; the other names follow from it.
    pub index: PathBuf,
    /// Where the cache is if not beside the index.
    pub cache: Option<PathBuf>,
}

impl MailboxFiles {
    /// Finds the mailbox a path means: a directory that holds index files, itself or in `dbox-Mails/`, or one of the files.
    ///
    /// # Errors
    /// When the path does not exist or there are no index files.
    pub fn locate(path: &Path) -> Result<MailboxFiles, PathError> {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            // The index itself may be absent while its log is there: a young mailbox.
            Err(error) => {
                let files = MailboxFiles { index: index_of(path), cache: None };
                let known = path.file_name().is_some_and(|name| Family::ALL.iter().any(|f| name == f.prefix()));
                return if known && files.any_exists() { Ok(files) } else { Err(PathError::io(path, error)) };
            }
        };
        if !meta.is_dir() {
            return Ok(MailboxFiles { index: index_of(path), cache: None });
        }
        for dir in [path.to_owned(), path.join("dbox-Mails")] {
            for family in Family::ALL {
                let files = MailboxFiles { index: dir.join(family.prefix()), cache: None };
                if files.any_exists() {
                    return Ok(files);
                }
            }
        }
        Err(PathError::NoIndex(path.to_owned()))
    }

    /// Path of the file with that role.
    pub fn path(&self, role: Role) -> PathBuf {
        match (role, &self.cache) {
            (Role::Cache, Some(cache)) => cache.clone(),
            _ => with_suffix(&self.index, role.suffix()),
        }
    }

    /// The roles whose files exist.
    pub fn present(&self) -> Vec<Role> {
        Role::ALL.into_iter().filter(|role| self.path(*role).is_file()).collect()
    }

    fn any_exists(&self) -> bool {
        Role::ALL.into_iter().any(|role| self.path(role).is_file())
    }

    /// Reads the files with the given roles as one set: when one of them is replaced meanwhile, all are read again.
    ///
    /// # Errors
    /// As open(2) and read(2) for a file that exists; [`PathError::Busy`] after five tries.
    pub fn read(&self, roles: &[Role], policy: MmapPolicy) -> Result<Snapshot, PathError> {
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(10 << attempt));
            }
            if let Some(snapshot) = self.read_once(roles, policy)? {
                return Ok(snapshot);
            }
        }
        Err(PathError::Busy(self.index.clone()))
    }

    fn read_once(&self, roles: &[Role], policy: MmapPolicy) -> Result<Option<Snapshot>, PathError> {
        let mut inputs = Vec::new();
        for role in READ_ORDER {
            if !roles.contains(&role) {
                continue;
            }
            let path = self.path(role);
            let stable = role.kind() != FileKind::Log;
            match read(&path, policy, stable) {
                Ok(input) => inputs.push((role, Some(input))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => inputs.push((role, None)),
                Err(e) => return Err(PathError::io(&path, e)),
            }
        }
        for (role, input) in &inputs {
            let now = Stat::at(&self.path(*role)).ok();
            let unchanged = match (&now, input) {
                (None, None) => true,
                (Some(now), Some(input)) => now.same_file(&input.stat),
                _ => false,
            };
            if !unchanged {
                return Ok(None);
            }
        }
        Ok(Some(Snapshot { inputs: inputs.into_iter().filter_map(|(role, i)| Some((role, i?))).collect() }))
    }
}

/// The files of a mailbox as they were at one time.
#[derive(Debug)]
pub struct Snapshot {
    inputs: Vec<(Role, Input)>,
}

impl Snapshot {
    /// A set of files that were read, or made, elsewhere.
    pub fn new(inputs: Vec<(Role, Input)>) -> Snapshot {
        Snapshot { inputs }
    }

    /// The file with that role, if there is one.
    pub fn get(&self, role: Role) -> Option<&Input> {
        self.inputs.iter().find(|(have, _)| *have == role).map(|(_, input)| input)
    }

    /// The file with that role, if there is one, to be changed in memory.
    pub fn get_mut(&mut self, role: Role) -> Option<&mut Input> {
        self.inputs.iter_mut().find(|(have, _)| *have == role).map(|(_, input)| input)
    }
}

impl FromIterator<(Role, Input)> for Snapshot {
    /// Files that were read by other means.
    fn from_iter<I: IntoIterator<Item = (Role, Input)>>(inputs: I) -> Snapshot {
        Snapshot { inputs: inputs.into_iter().collect() }
    }
}

/// Path of the index that a file belongs to.
fn index_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let stem = [".log.2", ".log", ".cache"].iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes()));
    match stem {
        Some(stem) => path.with_file_name(OsStr::from_bytes(stem)),
        None => path.to_owned(),
    }
}

/// A path with something behind its name: `dovecot.index` and `.log` make `dovecot.index.log`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(OsString::from_vec(suffix.into()));
    name.into()
}

/// What a file is: by its content if that is clear, else by its name.
pub fn recognise(path: &Path, head: &[u8], size: u64) -> Option<FileKind> {
    let by_name = kind_by_name(path);
    match by_name {
        // These two have no magic number; only the name tells them.
        Some(kind @ (FileKind::Thread | FileKind::MailboxLog)) => return Some(kind),
        Some(kind) if looks_like(kind, head, size) => return Some(kind),
        _ => {}
    }
    let by_content =
        [FileKind::Index, FileKind::Log, FileKind::Cache].into_iter().find(|kind| looks_like(*kind, head, size));
    by_content.or(by_name)
}

fn kind_by_name(path: &Path) -> Option<FileKind> {
    let name = path.file_name()?.as_bytes();
    let ends = |suffix: &str| name.ends_with(suffix.as_bytes());
    Some(if ends(".mailbox.log") || ends(".mailbox.log.2") {
        FileKind::MailboxLog
    } else if ends(".log") || ends(".log.2") {
        FileKind::Log
    } else if ends(".cache") {
        FileKind::Cache
    } else if ends(".thread") {
        FileKind::Thread
    } else if ends(".index") || ends(".backup") || ends(".pvt") {
        FileKind::Index
    } else {
        return None;
    })
}

/// Strict enough that one kind is not taken for another.
fn looks_like(kind: FileKind, head: &[u8], size: u64) -> bool {
    match kind {
        FileKind::Index => IndexFile::parse(head).is_ok_and(|index| {
            let header = &index.header;
            header.major_version == 7 && header.base_header_size >= 120 && u64::from(header.header_size) <= size
        }),
        FileKind::Log => LogFile::parse(head, size).is_ok_and(|log| {
            let header = &log.header;
            header.major_version == 1 && matches!(header.hdr_size, 24 | 32 | 40..=256)
        }),
        FileKind::Cache => head.len() >= 32 && head[0] == 1 && head[1] == 8 && head[2] <= 8 && head[3] == 0,
        FileKind::Thread | FileKind::MailboxLog => false,
    }
}

/// What bytes after the last whole transaction of a log mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailState {
    /// Somebody is writing: the bytes will be completed.
    BeingWritten,
    /// Nobody is: a released Dovecot will mark the log corrupted when it next locks it.
    Torn,
}

/// Finds out whether the unfinished end of a log is being written: the file moves, somebody holds its lock, or it is younger
/// than ten seconds.
///
/// # Errors
/// As fstat(2) and fcntl(2).
pub fn tail_state(path: &Path, read: &Stat) -> io::Result<TailState> {
    let file: File = super::bytes::open(path)?;
    let now = Stat::of(&file)?;
    let moved = now.size != read.size || now.mtime != read.mtime || !now.same_file(read);
    if moved || lock_holder(&file)?.is_some() {
        return Ok(TailState::BeingWritten);
    }
    let mtime = UNIX_EPOCH + Duration::from_secs(u64::try_from(now.mtime.0).unwrap_or(0));
    let young = SystemTime::now().duration_since(mtime).map_or(true, |age| age < YOUNG);
    Ok(if young { TailState::BeingWritten } else { TailState::Torn })
}

/// True when some process holds the lock of a log. A file that cannot be asked counts as free.
pub fn is_locked(path: &Path) -> bool {
    super::bytes::open(path).and_then(|file| lock_holder(&file)).is_ok_and(|holder| holder.is_some())
}

/// The process that holds a POSIX write lock on a file, if any. Asking takes no lock.
///
/// # Errors
/// As fcntl(2).
pub fn lock_holder(file: &File) -> io::Result<Option<i32>> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    let question =
        Flock { start: 0, length: 0, pid: None, typ: FlockType::WriteLock, offset_type: FlockOffsetType::Set };
    let holder = fcntl_getlk(file, &question)?;
    Ok(holder.map(|lock| lock.pid.map_or(0, |pid| pid.as_raw_nonzero().get())))
}
