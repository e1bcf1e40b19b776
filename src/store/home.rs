//! The directory of a mailbox that is worked on: opened once, with the five names of one index, and the word on whose
//! they are. Nothing here resolves a path a second time.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::owner::{self, Rights};
use super::{StoreError, acl, dir};
use crate::format::{FileKind, index::IndexFile, log::LogFile};
use crate::source::{Dir, Input, MailboxFiles, Meta, MmapPolicy, NotRegular, Role, contents};

/// The extended attribute with the SELinux context of a file.
const SELINUX: &str = "security.selinux";
/// Mode bits that a file of an index can have.
const PERMISSIONS: u32 = 0o666;

/// What a file is besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAttributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, UNIX seconds.
    pub mtime: i64,
    /// Its nanoseconds.
    pub mtime_nsec: i64,
    /// POSIX ACL beyond the permission bits, as the kernel codes it.
    #[serde(skip)]
    pub acl: Option<Vec<u8>>,
    /// SELinux context.
    #[serde(skip)]
    pub selinux: Option<Vec<u8>>,
}

impl FileAttributes {
    fn of(file: &File, meta: &Meta) -> io::Result<FileAttributes> {
        let (acl, selinux) = (acl::xattr(file, acl::ACCESS)?, acl::xattr(file, SELINUX)?);
        Ok(FileAttributes { acl, selinux, ..FileAttributes::plain(meta) })
    }

    fn plain(meta: &Meta) -> FileAttributes {
        let (mtime, mtime_nsec) = meta.stat.mtime;
        let mode = meta.mode & PERMISSIONS;
        FileAttributes { mode, uid: meta.uid, gid: meta.gid, mtime, mtime_nsec, acl: None, selinux: None }
    }

    /// Gives them to a file, all but the times. Owner first, mode last: chown may clear bits, and a directory may have
    /// given the file an ACL. Where the group cannot be given, its rights are not given to another group
    /// (`mail-index-write.c`).
    ///
    /// # Errors
    /// As fchown(2), fsetxattr(2) and fchmod(2).
    pub fn give(&self, file: &File) -> io::Result<()> {
        let have = Meta::of(file)?;
        let mut mode = self.mode & PERMISSIONS;
        if have.uid != self.uid && rustix::process::geteuid().is_root() {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), None)?;
        }
        if have.gid != self.gid {
            match rustix::fs::fchown(file, None, Some(Gid::from_raw(self.gid))) {
                Ok(()) => {}
                Err(Errno::PERM) => mode &= !0o070 | ((mode & 7) << 3),
                Err(error) => return Err(error.into()),
            }
        }
        match &self.acl {
            Some(acl) => rustix::fs::fsetxattr(file, acl::ACCESS, acl, XattrFlags::empty())?,
            None => match rustix::fs::fremovexattr(file, acl::ACCESS) {
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(error) => return Err(error.into()),
            },
        }
        if let Some(context) = &self.selinux {
            // Who may not relabel gets the context of the directory, as Dovecot does.
            let _ = rustix::fs::fsetxattr(file, SELINUX, context, XattrFlags::empty());
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        Ok(())
    }
}

/// Restores a modification time.
///
/// # Errors
/// As futimens(2).
pub fn set_mtime(file: &File, (seconds, nanoseconds): (i64, i64)) -> io::Result<()> {
    let mtime = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let keep = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ };
    rustix::fs::futimens(file, &Timestamps { last_access: keep, last_modification: mtime })?;
    Ok(())
}

/// A file belongs to somebody who has no business in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "belongs to uid {uid}, neither to the owner of the mailbox (uid {owner}) nor to root: refused; \
     --any-owner takes it all the same"
)]
pub struct ForeignOwner {
    /// Whose it is.
    pub uid: u32,
    /// Whose the directory is.
    pub owner: u32,
}

/// A file that was opened before the rights were given up: one of root's in a user's mailbox.
#[derive(Debug)]
struct Early {
    name: Vec<u8>,
    file: File,
    meta: Meta,
}

/// The directory of a mailbox, open, and the names of one index in it.
#[derive(Debug)]
pub struct Home {
    dir: Dir,
    index: PathBuf,
    prefix: Vec<u8>,
    meta: Meta,
    rights: Rights,
    any_owner: bool,
    early: Vec<Early>,
}

impl Home {
    /// Opens the directory that an index lies in, and nothing else, unless root does it: then also those of the index's
    /// files that root put there, since the owner may be unable to read them. `any_owner` also takes files of others.
    ///
    /// # Errors
    /// As open(2); [`ForeignOwner`] in the source of the error for a file of somebody else.
    pub fn open(files: &MailboxFiles, any_owner: bool) -> Result<Home, StoreError> {
        let index = files.index.as_path();
        let parent = index.parent().unwrap_or(Path::new(""));
        let fail = |source: io::Error| StoreError::new(parent, "cannot open", source);
        let dir = files.dir().map_err(fail)?.clone();
        let meta = dir.meta().map_err(fail)?;
        let rights = Rights::of_owner(&meta);
        let prefix = index.file_name().unwrap_or_default().as_bytes().to_vec();
        let mut home = Home { dir, index: index.to_owned(), prefix, meta, rights, any_owner, early: Vec::new() };
        if rustix::process::geteuid().is_root() {
            for role in Role::ALL {
                home.open_early(role)?;
            }
        }
        Ok(home)
    }

    /// One file, if root may read it and the owner perhaps not. What its owner could have put there himself, such as
    /// another name of a file elsewhere, or a file of root that is no index file, is left to the owner's own rights.
    fn open_early(&mut self, role: Role) -> Result<(), StoreError> {
        let name = self.name(role);
        let Ok(meta) = self.dir.stat(&name) else { return Ok(()) };
        self.check_owner(&name, &meta)?;
        if meta.special.is_some() || meta.uid == self.meta.uid || meta.links != 1 {
            return Ok(());
        }
        let Ok((file, meta)) = self.dir.file_meta(&name) else { return Ok(()) };
        self.check_owner(&name, &meta)?;
        let mut head = vec![0; 4096];
        let len = file.read_at(&mut head, 0).unwrap_or(0);
        head.truncate(len);
        let is_index_file = match role {
            Role::Index | Role::Backup => IndexFile::parse(&head).is_ok_and(|index| index.header.major_version == 7),
            Role::Log | Role::OldLog => {
                LogFile::parse(&head, meta.stat.size).is_ok_and(|log| log.header.major_version == 1)
            }
            Role::Cache => head.len() >= 32 && head.starts_with(&[1, 8]),
        };
        if meta.links == 1 && is_index_file {
            self.early.push(Early { name, file, meta });
        }
        Ok(())
    }

    /// Does `work` with the rights of the owner of the mailbox when root does it; see [`Rights`].
    ///
    /// # Errors
    /// When the system refuses the change of rights.
    pub fn as_owner<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, StoreError> {
        let fail = |source| StoreError::new(self.dir.path(), "cannot work with the rights of its owner", source);
        owner::with(&self.rights, work).map_err(fail)
    }

    /// The directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The files by name, in the directory that is open.
    pub fn files(&self) -> MailboxFiles {
        MailboxFiles::within(&self.dir, &self.prefix)
    }

    /// Name of the file with that role.
    pub fn name(&self, role: Role) -> Vec<u8> {
        [&self.prefix, role.suffix().as_bytes()].concat()
    }

    /// Name of another file whose name begins with that of the index.
    pub fn beside(&self, suffix: &str) -> Vec<u8> {
        [&self.prefix, suffix.as_bytes()].concat()
    }

    /// The role that a name in a manifest means.
    pub fn role(&self, name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| self.text(*role) == name)
    }

    /// Name of the file with that role, for people.
    pub fn text(&self, role: Role) -> String {
        String::from_utf8_lossy(&self.name(role)).into_owned()
    }

    /// Path of a file in the directory, for people.
    pub fn path(&self, name: &[u8]) -> PathBuf {
        self.index.with_file_name(std::ffi::OsStr::from_bytes(name))
    }

    /// An error about a file in the directory.
    pub fn error(&self, name: &[u8], what: &'static str, source: impl Into<io::Error>) -> StoreError {
        StoreError::new(&self.path(name), what, source)
    }

    /// What is under a name now; `None`: nothing.
    ///
    /// # Errors
    /// As stat(2).
    pub fn stat(&self, name: &[u8]) -> Result<Option<Meta>, StoreError> {
        match self.dir.stat(name) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(name, "cannot look at", error)),
        }
    }

    fn check_owner(&self, name: &[u8], meta: &Meta) -> Result<(), StoreError> {
        // Whoever is not root has no other rights than his own.
        if self.any_owner || !owner::started_as_root() || meta.uid == self.meta.uid || meta.uid == 0 {
            return Ok(());
        }
        let foreign = ForeignOwner { uid: meta.uid, owner: self.meta.uid };
        Err(self.error(name, "cannot be used", io::Error::new(io::ErrorKind::PermissionDenied, foreign)))
    }

    /// Opens a file for reading; `None`: there is none.
    ///
    /// # Errors
    /// As open(2); when it is not a regular file, or not the owner's.
    pub fn file(&self, name: &[u8]) -> Result<Option<(File, Meta)>, StoreError> {
        let fail = |error| self.error(name, "cannot open", error);
        if let Some(early) = self.early.iter().find(|early| early.name == name)
            && self.stat(name)?.is_some_and(|now| now.stat.same_file(&early.meta.stat))
        {
            let mut file = early.file.try_clone().map_err(fail)?;
            file.rewind().map_err(fail)?;
            let meta = Meta::of(&file).map_err(fail)?;
            return Ok(Some((file, meta)));
        }
        match self.dir.file_meta(name) {
            Ok((file, meta)) => {
                self.check_owner(name, &meta)?;
                Ok(Some((file, meta)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Opens the log for locking: for writing, or for reading only when it is one of root's that the owner cannot
    /// write.
    ///
    /// # Errors
    /// As [`file`](Home::file).
    pub fn open_for_lock(&self, name: &[u8]) -> Result<Option<(File, Meta, bool)>, StoreError> {
        let fail = |error: io::Error| self.error(name, "cannot open", error);
        let Some(now) = self.stat(name)? else { return Ok(None) };
        if let Some(special) = now.special {
            return Err(fail(NotRegular(special).into()));
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        match retry_on_intr(|| rustix::fs::openat(&self.dir, name, flags, Mode::empty())) {
            Ok(fd) => {
                let file = File::from(fd);
                let meta = Meta::of(&file).map_err(fail)?;
                if let Some(special) = meta.special {
                    return Err(fail(NotRegular(special).into()));
                }
                self.check_owner(name, &meta)?;
                Ok(Some((file, meta, true)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => match self.early.iter().find(|early| early.name == name) {
                Some(_) => Ok(self.file(name)?.map(|(file, meta)| (file, meta, false))),
                None => Err(fail(error.into())),
            },
        }
    }

    /// Reads the files of the index, each once.
    ///
    /// # Errors
    /// As [`file`](Home::file) and read(2).
    pub fn survey(&self, policy: MmapPolicy) -> Result<AsFound, StoreError> {
        let mut survey = AsFound { files: Vec::new(), metas: Vec::new() };
        // The log last: it may be ahead of the index, but not behind it.
        for role in [Role::Index, Role::Backup, Role::OldLog, Role::Cache, Role::Log] {
            let name = self.name(role);
            let now = self.stat(&name)?;
            survey.metas.push((role, now));
            if now.is_none() {
                continue;
            }
            let Some((file, meta)) = self.file(&name)? else { continue };
            if let Some(slot) = survey.metas.last_mut() {
                slot.1 = Some(meta);
            }
            let fail = |error| self.error(&name, "cannot read", error);
            // What is replaced is saved whole.
            if meta.is_hollow() {
                let (size, held) = (meta.stat.size, meta.allocated);
                let why = format!("{size} bytes, of which {held} are on the disk; cut it or move it away first");
                return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, why)));
            }
            let attributes = FileAttributes::of(&file, &meta).map_err(fail)?;
            let input = contents(&file, &meta, policy, role.kind() != FileKind::Log).map_err(fail)?;
            survey.files.push(Held { role, input, attributes });
        }
        Ok(survey)
    }

    /// The attributes that a file with that role shall have: those of the file that is there if it is the owner's, else
    /// mode and group of another file of the index, else those of the directory (`mail-storage.c`,
    /// `mailbox_refresh_permissions`). Its owner is the mailbox's. A file without an access list of its own has what
    /// the default list of the directory gives it, with the mode that Dovecot then takes, that of the directory.
    pub fn attributes(&self, survey: &AsFound, role: Role) -> FileAttributes {
        let ours = |held: &&Held| held.attributes.uid == self.meta.uid || !owner::started_as_root();
        let own = survey.get(role).filter(ours).map(|held| held.attributes.clone());
        let order = [Role::Index, Role::Log, Role::OldLog, Role::Backup, Role::Cache];
        let sibling = || order.into_iter().find_map(|role| survey.get(role).filter(ours));
        let without = |have: FileAttributes| {
            let mode = acl::plain_mode(have.mode, have.acl.as_deref());
            FileAttributes { mode, acl: None, selinux: None, ..have }
        };
        let open = dir::readable(&self.dir).ok();
        let of_dir = |name| open.as_ref().and_then(|dir| acl::xattr(dir, name).ok()?);
        let mut attributes = match (own, sibling()) {
            (Some(own), _) => own,
            (None, Some(held)) => without(held.attributes.clone()),
            (None, None) => without(FileAttributes { acl: of_dir(acl::ACCESS), ..FileAttributes::plain(&self.meta) }),
        };
        if attributes.acl.is_none()
            && let Some((acl, mode)) =
                of_dir(acl::DEFAULT).and_then(|list| acl::inherited(&list, self.meta.mode & PERMISSIONS))
        {
            (attributes.acl, attributes.mode) = (Some(acl), mode);
        }
        // Somebody else's files in a directory of root stay that user's.
        attributes.uid = match survey.get(role) {
            Some(held) if self.any_owner && self.meta.uid == 0 => held.attributes.uid,
            _ => self.meta.uid,
        };
        attributes
    }
}

/// A file of the index that was read.
#[derive(Debug)]
pub struct Held {
    /// What it is for.
    pub role: Role,
    /// Its bytes.
    pub input: Input,
    /// What it is besides.
    pub attributes: FileAttributes,
}

/// The files of an index as they were read before the lock was taken.
#[derive(Debug)]
pub struct AsFound {
    files: Vec<Held>,
    metas: Vec<(Role, Option<Meta>)>,
}

impl AsFound {
    /// The file with that role, if there is one.
    pub fn get(&self, role: Role) -> Option<&Held> {
        self.files.iter().find(|held| held.role == role)
    }

    /// The bytes of the file with that role, if there is one.
    pub fn bytes(&self, role: Role) -> Option<&[u8]> {
        self.get(role).map(|held| &held.input.bytes[..])
    }

    /// True when there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What was under the name of a role.
    pub fn meta(&self, role: Role) -> Option<&Meta> {
        self.metas.iter().find(|(have, _)| *have == role).and_then(|(_, meta)| meta.as_ref())
    }

    /// True when `.log.2` is a second name of the log, as a rotation that was interrupted leaves it.
    pub fn is_one_log(&self) -> bool {
        let both = self.meta(Role::Log).zip(self.meta(Role::OldLog));
        both.is_some_and(|(log, old)| log.stat.same_file(&old.stat))
    }

    /// True when every name leads to the same file still, and none was written to. This is all that is asked while
    /// Dovecot waits for the lock.
    ///
    /// # Errors
    /// As stat(2).
    pub fn still_holds(&self, home: &Home) -> Result<bool, StoreError> {
        for (role, then) in &self.metas {
            let now = home.stat(&home.name(*role))?;
            let same = match (then, &now) {
                (None, None) => true,
                (Some(then), Some(now)) => (then.stat, then.ctime) == (now.stat, now.ctime),
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
