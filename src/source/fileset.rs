//! The files of a mailbox by name: what a path means, which files there are, and what kind each is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::dir::Dir;
use super::meta::{Meta, Special};
use super::place::DBOX_MAILS;
use crate::format::ext::IndexFlavor;
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::format::{FileKind, Flaw};

/// Mailboxes below a directory that are named when it has no index itself.
const NAMED_BELOW: usize = 5;
/// Directories that are looked into for these.
const MOST_LOOKED_AT: usize = 1000;

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

    /// True for a file that Dovecot replaces by another of the same name and never cuts short: all but logs.
    pub const fn is_replaced(self) -> bool {
        !matches!(self, Role::OldLog | Role::Log)
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

    /// What its extensions mean.
    pub const fn flavor(self) -> IndexFlavor {
        match self {
            Family::Mailbox | Family::Private => IndexFlavor::Mailbox,
            Family::List => IndexFlavor::List,
            Family::Map => IndexFlavor::Map,
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
    /// A directory without index files that has mailboxes below it.
    #[error("{}: no Dovecot index files in this directory, but below it: {}", path.display(), names(below))]
    Above {
        /// The directory.
        path: PathBuf,
        /// The first five directories with index files below it, in the order of their names.
        below: Vec<PathBuf>,
    },
    /// The content is of no known kind.
    #[error("{}: not an index file of a kind known to idx: {error}", path.display())]
    Unknown {
        /// The path.
        path: PathBuf,
        /// What it was tried as.
        error: Flaw,
    },
    /// The files kept changing while they were read.
    #[error("{}: busy: replaced while being read, 5 times in a row", .0.display())]
    Busy(PathBuf),
}

impl PathError {
    /// The path it is about.
    pub fn path(&self) -> &Path {
        match self {
            PathError::Io { path, .. } | PathError::Unknown { path, .. } | PathError::Above { path, .. } => path,
            PathError::NoIndex(path) | PathError::Busy(path) => path,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> PathError {
        PathError::Io { path: path.to_owned(), source }
    }
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

/// The files of one mailbox by name. The directory is opened at the first question, once; all clones share the
/// descriptor, so that what is read, locked and written is in one directory whatever becomes of its path.
#[derive(Clone, Debug)]
pub struct MailboxFiles {
    /// Path of the index file, whether it exists or not; the other names follow from it.
    pub index: PathBuf,
    dir: Arc<OnceLock<Dir>>,
}

impl PartialEq for MailboxFiles {
    fn eq(&self, other: &MailboxFiles) -> bool {
        self.index == other.index
    }
}

impl Eq for MailboxFiles {}

impl MailboxFiles {
    /// The files whose index has that path.
    pub fn at(index: impl Into<PathBuf>) -> MailboxFiles {
        MailboxFiles { index: index.into(), dir: Arc::default() }
    }

    /// The files of a family in a directory.
    pub fn of(dir: &Path, family: Family) -> MailboxFiles {
        MailboxFiles::at(dir.join(family.prefix()))
    }

    /// The files whose index has that name in an open directory.
    pub fn within(dir: &Dir, name: &[u8]) -> MailboxFiles {
        let index = dir.path().join(OsStr::from_bytes(name));
        MailboxFiles { index, dir: Arc::new(OnceLock::from(dir.clone())) }
    }

    /// The files of a family in an open directory.
    pub fn inside(dir: &Dir, family: Family) -> MailboxFiles {
        MailboxFiles::within(dir, family.prefix().as_bytes())
    }

    /// Finds the mailbox a path means: [`Subject::of`], where only the first index counts.
    ///
    /// # Errors
    /// When the path does not exist or there are no index files.
    pub fn locate(path: &Path) -> Result<MailboxFiles, PathError> {
        Subject::of(path).map(|subject| subject.files)
    }

    /// The directory of the files.
    ///
    /// # Errors
    /// As open(2).
    pub fn dir(&self) -> io::Result<&Dir> {
        if let Some(dir) = self.dir.get() {
            return Ok(dir);
        }
        let dir = Dir::open(self.index.parent().unwrap_or(Path::new("")))?;
        Ok(self.dir.get_or_init(|| dir))
    }

    /// The same names, without the open directory.
    #[must_use]
    pub fn closed(&self) -> MailboxFiles {
        MailboxFiles::at(&self.index)
    }

    /// Whose index it is. One with a name that Dovecot does not give counts as a mailbox's.
    pub fn family(&self) -> Family {
        self.own_family().unwrap_or(Family::Mailbox)
    }

    /// Whose index it is by a name that Dovecot gives. `None` for a copy by another name: nothing that lies beside it
    /// belongs to it.
    pub fn own_family(&self) -> Option<Family> {
        let name = self.index.file_name()?;
        Family::ALL.into_iter().find(|family| name == family.prefix())
    }

    /// Path of the file with that role.
    pub fn path(&self, role: Role) -> PathBuf {
        with_suffix(&self.index, role.suffix())
    }

    /// Name of the file with that role in the directory.
    pub fn name(&self, role: Role) -> Vec<u8> {
        [self.index.file_name().unwrap_or_default().as_bytes(), role.suffix().as_bytes()].concat()
    }

    /// What is there under the name of a role.
    ///
    /// # Errors
    /// As stat(2).
    pub fn stat(&self, role: Role) -> io::Result<Meta> {
        self.dir()?.stat(self.name(role))
    }

    /// Opens the file with that role.
    ///
    /// # Errors
    /// As open(2), or [`NotRegular`](super::NotRegular).
    pub fn open(&self, role: Role) -> io::Result<(File, Meta)> {
        self.dir()?.file_meta(self.name(role))
    }

    /// The roles whose files exist.
    pub fn present(&self) -> Vec<Role> {
        let is_file = |role: &Role| self.stat(*role).is_ok_and(|meta| meta.special.is_none());
        Role::ALL.into_iter().filter(is_file).collect()
    }

    /// The roles under whose names there is something else than a regular file.
    pub fn special(&self) -> Vec<(Role, Special)> {
        Role::ALL.into_iter().filter_map(|role| Some((role, self.stat(role).ok()?.special?))).collect()
    }

    fn any_exists(&self) -> bool {
        Role::ALL.into_iter().any(|role| self.stat(role).is_ok())
    }
}

/// What a path that a user gave means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The path.
    pub path: PathBuf,
    /// The index that it means: of a directory with several the mailbox's own.
    pub files: MailboxFiles,
    /// All indexes that it means: those of the directory and of its `dbox-Mails/`, or the one that the file belongs to.
    pub all: Vec<MailboxFiles>,
    /// What the file is for that the path names; `None` for a directory.
    pub role: Option<Role>,
}

impl Subject {
    /// Finds out what a path means. A directory means the indexes in it and in its `dbox-Mails/`; a file means the
    /// index that it belongs to by its name, be it the index itself, its backup, a log or the cache, and though that
    /// index be absent. A link is followed only if it is the path itself.
    ///
    /// # Errors
    /// [`PathError::Io`] when there is nothing; [`PathError::NoIndex`] or [`PathError::Above`] for a directory without
    /// index files.
    pub fn of(path: &Path) -> Result<Subject, PathError> {
        let meta = std::fs::metadata(path);
        if meta.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            return Subject::of_directory(path);
        }
        let (index, role) = index_of(path);
        let files = MailboxFiles::at(index);
        let known = files.own_family().is_some();
        match meta {
            // The index itself may be absent while its log is there: a young mailbox.
            Err(error) if !known || !files.any_exists() => return Err(PathError::io(path, error)),
            // A link that is called otherwise than what it leads to is a way to call it.
            Ok(_) if !known && path.is_symlink() => {
                if let Ok(target) = std::fs::canonicalize(path) {
                    let (index, role) = index_of(&target);
                    let files = MailboxFiles::at(index);
                    return Ok(Subject { path: path.to_owned(), all: vec![files.clone()], files, role: Some(role) });
                }
            }
            _ => {}
        }
        Ok(Subject { path: path.to_owned(), all: vec![files.clone()], files, role: Some(role) })
    }

    fn of_directory(path: &Path) -> Result<Subject, PathError> {
        let mut all = Vec::new();
        let dir = Dir::open(path).map_err(|error| PathError::io(path, error))?;
        for dir in [Ok(dir.clone()), dir.below(DBOX_MAILS)].into_iter().flatten() {
            for family in Family::ALL {
                let files = MailboxFiles::inside(&dir, family);
                if files.any_exists() {
                    all.push(files);
                }
            }
        }
        if let Some(files) = all.first().cloned() {
            return Ok(Subject { path: path.to_owned(), files, all, role: None });
        }
        let below = mailboxes_below(dir);
        Err(match below.is_empty() {
            true => PathError::NoIndex(path.to_owned()),
            false => PathError::Above { path: path.to_owned(), below },
        })
    }
}

/// The first directories with index files below one, in the order of their names.
fn mailboxes_below(dir: Dir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut stack = vec![dir];
    while let Some(dir) = stack.pop() {
        let Ok(mut names) = dir.list() else { continue };
        let is_index = |name: &[u8]| {
            name.starts_with(b"dovecot.") && Family::ALL.iter().any(|one| name.starts_with(one.prefix().as_bytes()))
        };
        if names.iter().any(|entry| entry.special.is_none() && is_index(&entry.name)) {
            found.push(dir.path().to_owned());
        }
        names.retain(|entry| {
            entry.special == Some(Special::Directory) && !matches!(entry.name.as_slice(), b"cur" | b"new" | b"tmp")
        });
        names.sort_by(|a, b| b.name.cmp(&a.name));
        for entry in names {
            looked_at += 1;
            if looked_at > MOST_LOOKED_AT || stack.len() > 64 {
                break;
            }
            if let Ok(below) = dir.below(&entry.name) {
                stack.push(below);
            }
        }
        if found.len() >= NAMED_BELOW {
            break;
        }
    }
    found
}

/// Path of the index that a file belongs to by its name, and what the file is for.
fn index_of(path: &Path) -> (PathBuf, Role) {
    let name = path.file_name().unwrap_or_default().as_bytes();
    for role in [Role::OldLog, Role::Log, Role::Cache, Role::Backup] {
        let Some(stem) = name.strip_suffix(role.suffix().as_bytes()).filter(|stem| !stem.is_empty()) else { continue };
        // Any file may be called a backup; only that of an index is one of an index.
        if role != Role::Backup || stem.ends_with(b".index") || stem == Family::Private.prefix().as_bytes() {
            return (path.with_file_name(OsStr::from_bytes(stem)), role);
        }
    }
    (path.to_owned(), Role::Index)
}

/// The index that a file belongs to and what it is for, if both have names of Dovecot's.
pub(super) fn of_dovecot(path: &Path) -> Option<(MailboxFiles, Role)> {
    let (index, role) = index_of(path);
    let files = MailboxFiles::at(index);
    files.own_family().is_some().then_some((files, role))
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
        FileKind::Cache => crate::format::cache::looks_like(head),
        FileKind::Thread | FileKind::MailboxLog => false,
    }
}
