//! Where the messages of a mailbox are when its indexes are kept in another root (`INDEX=`, `mail_index_path`): the
//! mail roots of one user lie side by side and have the same layout.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::StorageKind;
use super::location::{Location, Part, Values};
use crate::source::place::{self, DBOX_MAILS, DOT_IMAP};
use crate::source::{Dir, Family, Role, Special};

/// Roots side by side that are looked at.
const MAX_SIBLINGS: usize = 64;
/// Directories above a mailbox that may be its root.
const MAX_ABOVE: usize = 8;
/// Levels of mailboxes below each other.
const MAX_LEVELS: usize = 64;

/// What the caller has told of the roots.
static TOLD: OnceLock<Location> = OnceLock::new();

/// Takes the caller's word for where the parts of each user's mail are; it holds for the rest of the process, and the
/// first one counts. Without it, roots that lie side by side are found by what is in them.
pub fn tell(location: Location) {
    let _ = TOLD.set(location);
}

/// What the caller told of the roots of a directory's user.
struct Told {
    location: &'static Location,
    /// The root that the directory is in.
    root: Dir,
    part: Part,
    /// Its path from there.
    below: Vec<u8>,
    values: Values,
}

impl Told {
    /// `None` when nothing was told, or nothing that fits the place of the directory.
    fn of(dir: &Dir) -> Option<Told> {
        let location = TOLD.get()?;
        let absolute = std::path::absolute(dir.path()).ok();
        let spot = [Some(dir.real_path()), absolute].into_iter().flatten().find_map(|path| location.spot(&path))?;
        let levels = spot.below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
        let root = dir.upwards().nth(levels)?;
        Some(Told { location, root, part: spot.part, below: spot.below, values: spot.values })
    }

    /// The root of another part. The path is the caller's word, the names in it may be the user's: whoever may read
    /// everything goes only where the same user's files are.
    fn root_of(&self, part: Part) -> Option<Dir> {
        self.root.root_beside(&self.location.root(part, &self.values)?).ok()
    }

    /// Whether the directory is that of the INBOX.
    fn is_inbox(&self) -> bool {
        let name = self.below.strip_suffix(b"/dbox-Mails").unwrap_or(&self.below);
        let name = name.strip_prefix(b".imap/").or_else(|| name.strip_prefix(b"mailboxes/")).unwrap_or(name);
        matches!(name, b"" | b".INBOX" | b"INBOX")
    }

    /// The paths below a root that mean the mailbox.
    fn paths(&self) -> Vec<Vec<u8>> {
        match self.below.as_slice() {
            b"" | b".INBOX" | b"INBOX" => vec![Vec::new(), b".INBOX".to_vec(), b"INBOX".to_vec()],
            below if below.starts_with(b"mailboxes/") => vec![below.to_vec(), other_dbox(below)],
            below => vec![below.to_vec()],
        }
    }
}

/// The storage format that the caller told of, for a mailbox in one of the roots.
pub(super) fn told_kind(dir: &Dir) -> Option<StorageKind> {
    Told::of(dir)?.location.driver
}

/// The directories that may hold the mbox file of a mailbox, each with the name of the file there, as the caller told.
pub(super) fn told_mbox(dir: &Dir) -> Vec<(Dir, Vec<u8>)> {
    let found = || {
        let told = Told::of(dir).filter(|told| told.part != Part::Mail)?;
        let below = Path::new(OsStr::from_bytes(&told.below));
        let name = below.file_name()?.as_bytes().to_vec();
        // The folder that .imap/ is in.
        let folder = below.parent()?.parent().unwrap_or(Path::new("")).as_os_str().as_bytes().to_vec();
        let mut list = Vec::new();
        if told.is_inbox()
            && let Some(file) = told.location.root(Part::Inbox, &told.values)
            && let (Some(parent), Some(name)) = (file.parent(), file.file_name())
            && let Ok(spool) = told.root.root_beside(parent)
        {
            list.push((spool, name.as_bytes().to_vec()));
        }
        let mail = told.root_of(Part::Mail)?;
        let mail = if folder.is_empty() { mail } else { mail.below(folder).ok()? };
        if told.is_inbox() {
            list.push((mail.clone(), b"inbox".to_vec()));
        }
        list.push((mail, name));
        Some(list)
    };
    found().unwrap_or_default()
}

/// The directory in the alternate storage that stands for one of a dbox, as the caller told; or where it should be.
pub(super) fn told_alternate(dir: &Dir) -> Option<Result<Dir, PathBuf>> {
    let told = Told::of(dir)?;
    let path = told.location.root(Part::Alt, &told.values)?;
    let Some(root) = told.root_of(Part::Alt) else { return Some(Err(path)) };
    told.paths().iter().find_map(|below| root.below(below).ok()).map(Ok)
}

/// The same mailbox of a dbox with or without `dbox-Mails/`.
fn other_dbox(below: &[u8]) -> Vec<u8> {
    match below.strip_suffix(DBOX_MAILS) {
        Some(outer) => outer.strip_suffix(b"/").unwrap_or(outer).to_vec(),
        None => [below, b"/", DBOX_MAILS].concat(),
    }
}

/// The dbox root that a directory is in, `root/mailboxes/a/b[/dbox-Mails]`, and the path from there.
pub(super) fn dbox_root(dir: &Dir) -> Option<(Dir, Vec<u8>)> {
    // Most directories are in none, and one question to the system tells that of all levels.
    if !dir.is_under(b"mailboxes") {
        return None;
    }
    let mut below = Vec::new();
    let mut at = dir.clone();
    for _ in 0..MAX_LEVELS {
        let (above, name) = at.above()?;
        let is_top = name == b"mailboxes";
        below.push(name);
        at = above;
        if is_top {
            return Some((at, joined(below)));
        }
    }
    None
}

/// Names from the innermost to the outermost as one path.
fn joined(mut names: Vec<Vec<u8>>) -> Vec<u8> {
    names.reverse();
    names.join(&b'/')
}

/// True for a directory with the control files of a mail root: `dovecot-uidvalidity` is not where only the indexes are
/// (`INDEX=`), nor where only the messages are (`CONTROL=`).
pub(super) fn is_control(dir: &Dir) -> bool {
    dir.stat("dovecot-uidvalidity").is_ok_and(|meta| meta.special.is_none())
}

/// True when the control files of a mailbox's root are above it, or in it.
pub(super) fn has_control(dir: &Dir) -> bool {
    let told = || {
        let told = Told::of(dir)?;
        let root = told.root_of(Part::Control).or_else(|| told.root_of(Part::Mail))?;
        Some(is_control(&root))
    };
    dir.upwards().take(MAX_ABOVE).any(|above| is_control(&above)) || told() == Some(true)
}

/// A directory that may stand for the same mailbox in another root.
#[derive(Clone, Debug)]
pub(super) struct Counterpart {
    /// The directory.
    pub dir: Dir,
    /// Both roots are called as the parts of one user's mail are called. Otherwise they may be two users.
    pub is_sure: bool,
}

/// The counterparts that may hold the messages of a mailbox. One with an index of its own is another mailbox.
pub(super) fn storages(dir: &Dir) -> Vec<Counterpart> {
    among(dir, false)
}

/// Those of them that are in a root which is certainly the same user's. Where the mailbox's own root is called like
/// none, say in a directory of ten thousand users, there are none.
pub(super) fn sure_storages(dir: &Dir) -> Vec<Counterpart> {
    among(dir, true)
}

fn among(dir: &Dir, is_sure: bool) -> Vec<Counterpart> {
    let has_index = |dir: &Dir| {
        [Role::Index, Role::Log].into_iter().any(|role| {
            let name = [Family::Mailbox.prefix(), role.suffix()].concat();
            dir.stat(name).is_ok()
        })
    };
    around(dir, is_sure).filter(|one| !has_index(&one.dir)).collect()
}

/// The directories that stand for the same mailbox as `dir` in the other roots of the user.
pub(super) fn counterparts(dir: &Dir) -> impl Iterator<Item = Dir> {
    around(dir, false).map(|one| one.dir)
}

/// What lies in the roots beside that of a mailbox, and belongs to the same user; with `is_sure` only in those that are
/// certainly roots of the same user. No link is followed.
pub(super) fn around(dir: &Dir, is_sure: bool) -> impl Iterator<Item = Counterpart> {
    let own = dir.clone();
    told_beside(dir)
        .or_else(|| beside(dir, is_sure))
        .into_iter()
        .flat_map(|Beside { roots, below }| {
            roots.flat_map(move |(root, is_sure)| {
                let dirs: Vec<Dir> = below.iter().filter_map(|path| root.below(path).ok()).collect();
                dirs.into_iter().map(move |dir| Counterpart { dir, is_sure })
            })
        })
        .filter(move |one| one.dir.is_trusted_by(&own))
}

/// Where the other roots of a mailbox's user are.
struct Beside {
    /// The roots, in order, and whether each is certainly the user's. Each is opened when it is its turn.
    roots: Box<dyn Iterator<Item = (Dir, bool)>>,
    /// The paths below a root that mean the mailbox.
    below: Vec<Vec<u8>>,
}

/// As the caller told.
fn told_beside(dir: &Dir) -> Option<Beside> {
    let told = Told::of(dir)?;
    let below = told.paths();
    let inbox = told.is_inbox().then_some(Part::Inbox);
    let parts = inbox.into_iter().chain([Part::Control, Part::Mail, Part::Index, Part::Private]);
    let own = told.root.meta().ok()?.stat;
    let parts: Vec<Part> = parts.filter(|part| *part != told.part).collect();
    let roots = parts.into_iter().filter_map(move |part| told.root_of(part));
    // Two parts may be told to be in one place.
    let roots = roots.filter(move |root| root.meta().is_ok_and(|meta| !meta.stat.same_file(&own)));
    Some(Beside { roots: Box::new(roots.map(|root| (root, true))), below })
}

fn beside(dir: &Dir, is_sure: bool) -> Option<Beside> {
    let (root, below) = split(dir)?;
    let (home, own) = root.above()?;
    if is_sure && !place::is_mail_dir(&own) {
        return None;
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    home.each_until(|name, special| {
        let is_wanted = !is_sure || place::is_mail_dir(name);
        if special == Some(Special::Directory) && name != own && is_wanted {
            names.push(name.to_vec());
        }
        if names.len() < MAX_SIBLINGS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .ok()?;
    names.sort();
    let is_part = |name: &[u8]| place::is_mail_dir(name);
    let others = names.into_iter();
    let roots = others.filter_map(move |name| Some((home.below(&name).ok()?, is_part(&name) && is_part(&own))));
    Some(Beside { roots: Box::new(roots), below })
}

/// The mail root a mailbox lies in, and the paths below a root that mean this mailbox.
fn split(dir: &Dir) -> Option<(Dir, Vec<Vec<u8>>)> {
    let (parent, base) = dir.above()?;
    if let Some((root, below)) = dbox_root(dir) {
        let other = other_dbox(&below);
        return Some((root, vec![below, other]));
    }
    let inbox = || vec![Vec::new(), b".INBOX".to_vec(), b"INBOX".to_vec()];
    if base == b".INBOX" || base == b"INBOX" {
        return Some((parent, inbox()));
    }
    let is_sure =
        |dir: &Dir| ["dovecot.list.index.log", "dovecot-uidvalidity"].iter().any(|name| dir.stat(name).is_ok());
    let has_list = |dir: &Dir| dir.stat("dovecot-uidlist").is_ok();
    // A mailbox above this one has a uidlist, too, where mailboxes are directories in each other: a directory with the
    // files of a root counts first, however far above it is.
    let (mut names, mut at, mut likely) = (vec![base], parent.clone(), None);
    let found = loop {
        if is_sure(&at) {
            break Some((names.len(), at));
        }
        if likely.is_none() && has_list(&at) {
            likely = Some((names.len(), at.clone()));
        }
        match (names.len() < MAX_ABOVE).then(|| at.above()).flatten() {
            Some((above, name)) => {
                names.push(name);
                at = above;
            }
            None => break likely,
        }
    };
    if let Some((levels, root)) = found {
        names.truncate(levels);
        return Some((root, vec![joined(names)]));
    }
    names.truncate(1);
    let base = names.first()?;
    if base.starts_with(b".") {
        return Some((parent, vec![joined(names)]));
    }
    if is_sure(dir) || has_list(dir) {
        return Some((dir.clone(), inbox()));
    }
    match parent.above().filter(|(_, name)| base == DBOX_MAILS || name == DOT_IMAP) {
        Some((root, name)) => {
            names.push(name);
            Some((root, vec![joined(names)]))
        }
        None => Some((parent, vec![joined(names)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn roots_side_by_side() {
        let home = tempfile::tempdir().expect("directory");
        let home = std::fs::canonicalize(home.path()).expect("path");
        for dir in
            ["Maildir/.Sent/cur", "index/.INBOX", "index/.Sent", "sdbox/mailboxes/a/dbox-Mails", "pvt/mailboxes/a"]
        {
            std::fs::create_dir_all(home.join(dir)).expect("directory");
        }
        std::fs::write(home.join("index/dovecot.list.index.log"), b"").expect("file");
        let counterparts = |below: &str| -> Vec<PathBuf> {
            let dir = Dir::open(&home.join(below)).expect("directory");
            counterparts(&dir).map(|dir| dir.path().to_owned()).collect()
        };
        assert_eq!(counterparts("index/.Sent"), [home.join("Maildir/.Sent")]);
        assert!(counterparts("index/.INBOX").contains(&home.join("Maildir")));
        assert_eq!(
            counterparts("pvt/mailboxes/a"),
            [home.join("sdbox/mailboxes/a"), home.join("sdbox/mailboxes/a/dbox-Mails")]
        );
    }
}
