//! `idx show`: the mailbox as Dovecot would present it, now or at an earlier position of its logs.

use std::path::{Path, PathBuf};

use super::inspect::{self, Look};
use super::load::{self, Loaded};
use crate::check::{self, Finding, Level, Severity};
use crate::format::record::flag;
use crate::model::replay::Until;
use crate::model::{Chain, Mailbox, UidSet};
use crate::source::{Family, MailboxFiles, MmapPolicy, PathError, Role, Snapshot};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.show/1";
/// Flags that a private index keeps for each user (`mailbox_get_private_flags_mask`).
const PRIVATE_FLAGS: u8 = flag::SEEN;

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only these messages.
    pub uid: Option<UidSet>,
    /// The state at this position instead of the end.
    pub at: Until,
    /// Directory of the private index; beside the shared one when `None`.
    pub pvt: Option<PathBuf>,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// A mailbox to show.
#[derive(Debug)]
pub struct ShownMailbox {
    /// Its state.
    pub loaded: Loaded,
    /// The user's private index, where there is one.
    pub private: Option<Mailbox>,
    /// What is wrong with the files.
    pub problems: Vec<Finding>,
}

/// Why a mailbox cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Its files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Its state at the wanted position is not known any more.
    #[error("{}: no state at that position: {reason}", path.display())]
    NotReached {
        /// The mailbox.
        path: PathBuf,
        /// How far back the files go.
        reason: String,
    },
}

/// Reads a mailbox.
///
/// # Errors
/// When its files cannot be read, or do not reach back to the wanted position.
pub fn state(path: &Path, options: &Options) -> Result<ShownMailbox, ShowError> {
    let files = MailboxFiles::locate(path)?;
    let (loaded, mut problems) = read(path, &files, options.at, options.mmap)?;
    let private = match private_files(&files, options.pvt.as_deref()) {
        Some(files) => {
            let (private, more) = read(&files.index, &files, Until::End, options.mmap)?;
            problems.extend(more);
            Some(matching(private.replayed.mailbox, &loaded.replayed.mailbox))
        }
        None => None,
    };
    Ok(ShownMailbox { loaded, private, problems })
}

/// The private flags that belong to a mailbox: none when they are of another UIDVALIDITY, as Dovecot then makes them
/// anew (`index-sync-pvt.c`).
pub(super) fn matching(private: Mailbox, shared: &Mailbox) -> Mailbox {
    let (own, its) = (private.header.uid_validity, shared.header.uid_validity);
    if own == 0 || its == 0 || own == its { private } else { Mailbox::empty(private.header.indexid, private.endian) }
}

/// Reads a mailbox's files and adds them up. `path` is what the user called it.
fn read(path: &Path, files: &MailboxFiles, at: Until, mmap: MmapPolicy) -> Result<(Loaded, Vec<Finding>), ShowError> {
    let Look { snapshot, mut findings, .. } = look(files, mmap)?;
    findings.retain(|finding| finding.severity > Severity::Info);
    Ok((load(path, &snapshot, &load::chain(&snapshot), at)?, findings))
}

/// Reads the files that a mailbox's state is in, and has them judged.
///
/// # Errors
/// When they cannot be read.
pub(super) fn look(files: &MailboxFiles, mmap: MmapPolicy) -> Result<Look, PathError> {
    inspect::look(files, &[Role::Index, Role::Backup, Role::OldLog, Role::Log], &by(mmap))
}

/// The files of the private index that belongs to a mailbox, if there are any.
pub(super) fn private_files(files: &MailboxFiles, pvt: Option<&Path>) -> Option<MailboxFiles> {
    let private = match pvt {
        Some(dir) => MailboxFiles::of(dir, Family::Private),
        None if files.own_family()? == Family::Mailbox => MailboxFiles::inside(files.dir().ok()?, Family::Private),
        None => return None,
    };
    (!private.present().is_empty()).then_some(private)
}

/// The state of a mailbox whose files have been read. `path` is what the user called it.
///
/// # Errors
/// When none of the files is an index or a log, or they do not reach back to the wanted position.
pub fn of_snapshot(
    path: &Path,
    files: &MailboxFiles,
    snapshot: &Snapshot,
    at: Until,
) -> Result<ShownMailbox, ShowError> {
    let problems = inspect::problems(files, snapshot, &by(MmapPolicy::Never));
    Ok(ShownMailbox { loaded: load(path, snapshot, &load::chain(snapshot), at)?, private: None, problems })
}

/// What the files that a mailbox's state is in are judged by.
fn by(mmap: MmapPolicy) -> check::Options {
    check::Options { level: Level::Files, mmap, ..inspect::options() }
}

/// The state that files add up to. `path` is what the user called the mailbox.
///
/// # Errors
/// When none of them is an index or a log, or they do not reach back to the wanted position.
pub fn load(path: &Path, snapshot: &Snapshot, chain: &Chain<'_>, at: Until) -> Result<Loaded, ShowError> {
    let loaded = load::state(snapshot, chain, at)
        .map_err(|lost| ShowError::NotReached { path: path.to_owned(), reason: lost.reason })?;
    let usable = snapshot.get(Role::Index).or(snapshot.get(Role::Backup)).is_some()
        && loaded.replayed.mailbox.header.indexid != 0;
    if chain.head().is_none() && !usable {
        return Err(PathError::Unknown { path: path.to_owned(), error: load::unreadable(snapshot) }.into());
    }
    Ok(loaded)
}

/// The flags a user sees.
pub(crate) fn flags_of(mailbox: &Mailbox, private: Option<&Mailbox>, i: usize) -> u8 {
    let flags = mailbox.flags(i);
    match private {
        None => flags,
        Some(private) => {
            let own = private.lookup(mailbox.uid(i)).map_or(0, |i| private.flags(i));
            flags & !PRIVATE_FLAGS | own & PRIVATE_FLAGS
        }
    }
}
