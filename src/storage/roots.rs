//! Where the messages of a mailbox are when its indexes are kept in another root (`INDEX=`, `mail_index_path`): the
//! mail roots of one user lie side by side and have the same layout.

use std::path::{Path, PathBuf};

use crate::source::place::{self, DBOX_MAILS};
use crate::source::{Dir, Family, Role, Special};

/// Roots side by side that are looked at.
const MAX_SIBLINGS: usize = 64;
/// Directories above a mailbox that may be its root.
const MAX_ABOVE: usize = 8;

/// The directory below `dir`'s dbox root that all mailboxes are in, and the root: `root/mailboxes/a/b[/dbox-Mails]`.
pub(super) fn dbox_root(dir: &Path) -> Option<PathBuf> {
    let mailboxes = dir.ancestors().find(|above| above.file_name().is_some_and(|name| name == "mailboxes"))?;
    Some(mailboxes.parent()?.to_owned())
}

/// The mail root that a mailbox is in, where its control files say so: `dovecot-uidvalidity` is not where only the
/// indexes are (`INDEX=`), nor where only the messages are (`CONTROL=`).
pub(super) fn control_root(dir: &Dir) -> Option<PathBuf> {
    let is_control = |above: &&Path| above.join("dovecot-uidvalidity").is_file();
    dir.path().ancestors().take(MAX_ABOVE).find(is_control).map(Path::to_owned)
}

/// True when the control files of a mailbox's root are above it, or in it.
pub(super) fn has_control(dir: &Dir) -> bool {
    control_root(dir).is_some()
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
    let has_index = |dir: &Dir| {
        [Role::Index, Role::Log].into_iter().any(|role| {
            let name = [Family::Mailbox.prefix(), role.suffix()].concat();
            dir.stat(name).is_ok()
        })
    };
    let mut all = around(dir);
    all.retain(|one| !has_index(&one.dir));
    all
}

/// The directories that stand for the same mailbox as `dir` in the other roots of the user.
pub(super) fn counterparts(dir: &Dir) -> Vec<Dir> {
    around(dir).into_iter().map(|one| one.dir).collect()
}

/// What lies in the roots beside that of a mailbox. Only the path to the roots is resolved; from there on no link is
/// followed.
pub(super) fn around(dir: &Dir) -> Vec<Counterpart> {
    use std::os::unix::ffi::OsStrExt;
    let path = if dir.path().as_os_str().is_empty() { Path::new(".") } else { dir.path() };
    let Ok(path) = std::fs::canonicalize(path) else { return Vec::new() };
    let Some((root, below)) = split(&path) else { return Vec::new() };
    let (Some(home), Some(own)) = (root.parent(), root.file_name()) else { return Vec::new() };
    let Ok(home) = Dir::open(home) else { return Vec::new() };
    let mut names: Vec<Vec<u8>> = Vec::new();
    let listed = home.each(|name, special| {
        if special == Some(Special::Directory) && name != own.as_bytes() && names.len() < MAX_SIBLINGS {
            names.push(name.to_vec());
        }
    });
    if listed.is_err() {
        return Vec::new();
    }
    names.sort();
    let is_part = |name: &[u8]| place::is_mail_dir(name);
    let others =
        names.iter().filter_map(|name| Some((home.below(name).ok()?, is_part(name) && is_part(own.as_bytes()))));
    others
        .flat_map(|(other, is_sure)| {
            let dirs = below.iter().filter_map(move |path| other.below(path.as_os_str().as_bytes()).ok());
            dirs.map(move |dir| Counterpart { dir, is_sure })
        })
        .collect()
}

/// The mail root a mailbox lies in, and the paths below a root that mean this mailbox.
fn split(dir: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    use std::os::unix::ffi::OsStrExt;
    let base = dir.file_name()?;
    if let Some(root) = dbox_root(dir) {
        let below = dir.strip_prefix(&root).ok()?.to_owned();
        let dbox = std::ffi::OsStr::from_bytes(DBOX_MAILS);
        let other = if base == dbox { below.parent()?.to_owned() } else { below.join(dbox) };
        return Some((root, vec![below, other]));
    }
    let is_sure =
        |dir: &Path| ["dovecot.list.index.log", "dovecot-uidvalidity"].iter().any(|name| dir.join(name).exists());
    let is_root = |dir: &Path| is_sure(dir) || dir.join("dovecot-uidlist").exists();
    // A mailbox above this one has a uidlist, too, where mailboxes are directories in each other.
    let above = || dir.ancestors().skip(1).take(MAX_ABOVE);
    let root =
        above().find(|above| is_sure(above)).or_else(|| above().find(|above| is_root(above))).map(Path::to_owned);
    let dotted = base.as_bytes().starts_with(b".");
    match root {
        _ if base == ".INBOX" || base == "INBOX" => {
            let root = dir.parent()?.to_owned();
            Some((root, vec![PathBuf::new(), PathBuf::from(".INBOX"), PathBuf::from("INBOX")]))
        }
        Some(root) => Some((root.clone(), vec![dir.strip_prefix(&root).ok()?.to_owned()])),
        None if dotted => Some((dir.parent()?.to_owned(), vec![PathBuf::from(base)])),
        None if is_root(dir) => {
            Some((dir.to_owned(), vec![PathBuf::new(), PathBuf::from(".INBOX"), PathBuf::from("INBOX")]))
        }
        None => {
            let root = place::probable_root(dir.as_os_str().as_bytes());
            let root = PathBuf::from(std::ffi::OsStr::from_bytes(dir.as_os_str().as_bytes().get(..root)?));
            let below = dir.strip_prefix(&root).ok()?.to_owned();
            Some((root, vec![below]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            counterparts(&dir).iter().map(|dir| dir.path().to_owned()).collect()
        };
        assert_eq!(counterparts("index/.Sent"), [home.join("Maildir/.Sent")]);
        assert!(counterparts("index/.INBOX").contains(&home.join("Maildir")));
        assert_eq!(
            counterparts("pvt/mailboxes/a"),
            [home.join("sdbox/mailboxes/a"), home.join("sdbox/mailboxes/a/dbox-Mails")]
        );
    }
}
