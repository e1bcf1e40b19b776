//! Where the messages of a mailbox are when its indexes are kept in another root (`INDEX=`, `mail_index_path`): the
//! mail roots of one user lie side by side and have the same layout.

use crate::source::place::{self, DBOX_MAILS, DOT_IMAP};
use crate::source::{Dir, Family, Role, Special};

/// Roots side by side that are looked at.
const MAX_SIBLINGS: usize = 64;
/// Directories above a mailbox that may be its root.
const MAX_ABOVE: usize = 8;
/// Levels of mailboxes below each other.
const MAX_LEVELS: usize = 64;

/// The dbox root that a directory is in, `root/mailboxes/a/b[/dbox-Mails]`, and the path from there.
pub(super) fn dbox_root(dir: &Dir) -> Option<(Dir, Vec<u8>)> {
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
    dir.upwards().take(MAX_ABOVE).any(|above| is_control(&above))
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
    around(dir).filter(|one| !has_index(&one.dir)).collect()
}

/// The directories that stand for the same mailbox as `dir` in the other roots of the user.
pub(super) fn counterparts(dir: &Dir) -> impl Iterator<Item = Dir> {
    around(dir).map(|one| one.dir)
}

/// What lies in the roots beside that of a mailbox, and belongs to the same user. No link is followed.
pub(super) fn around(dir: &Dir) -> impl Iterator<Item = Counterpart> {
    let own = dir.clone();
    beside(dir)
        .into_iter()
        .flat_map(|Beside { home, names, own, below }| {
            let is_part = |name: &[u8]| place::is_mail_dir(name);
            let others = names
                .into_iter()
                .filter_map(move |name| Some((home.below(&name).ok()?, is_part(&name) && is_part(&own))));
            others.flat_map(move |(other, is_sure)| {
                let dirs: Vec<Dir> = below.iter().filter_map(|path| other.below(path).ok()).collect();
                dirs.into_iter().map(move |dir| Counterpart { dir, is_sure })
            })
        })
        .filter(move |one| one.dir.is_trusted_by(&own))
}

/// Where the other roots of a mailbox's user may be.
struct Beside {
    /// The directory that all of them are in.
    home: Dir,
    /// Their names, in order.
    names: Vec<Vec<u8>>,
    /// The name of the mailbox's own root.
    own: Vec<u8>,
    /// The paths below a root that mean the mailbox.
    below: Vec<Vec<u8>>,
}

fn beside(dir: &Dir) -> Option<Beside> {
    let (root, below) = split(dir)?;
    let (home, own) = root.above()?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    home.each(|name, special| {
        if special == Some(Special::Directory) && name != own && names.len() < MAX_SIBLINGS {
            names.push(name.to_vec());
        }
    })
    .ok()?;
    names.sort();
    Some(Beside { home, names, own, below })
}

/// The mail root a mailbox lies in, and the paths below a root that mean this mailbox.
fn split(dir: &Dir) -> Option<(Dir, Vec<Vec<u8>>)> {
    let (parent, base) = dir.above()?;
    if let Some((root, below)) = dbox_root(dir) {
        let other = match below.strip_suffix(DBOX_MAILS).filter(|_| base == DBOX_MAILS) {
            Some(outer) => outer.strip_suffix(b"/").unwrap_or(outer).to_vec(),
            None => [&below, &b"/"[..], DBOX_MAILS].concat(),
        };
        return Some((root, vec![below, other]));
    }
    let inbox = || vec![Vec::new(), b".INBOX".to_vec(), b"INBOX".to_vec()];
    if base == b".INBOX" || base == b"INBOX" {
        return Some((parent, inbox()));
    }
    let is_sure =
        |dir: &Dir| ["dovecot.list.index.log", "dovecot-uidvalidity"].iter().any(|name| dir.stat(name).is_ok());
    let is_root = |dir: &Dir| is_sure(dir) || dir.stat("dovecot-uidlist").is_ok();
    // A mailbox above this one has a uidlist, too, where mailboxes are directories in each other.
    let levels = [&is_sure as &dyn Fn(&Dir) -> bool, &is_root]
        .into_iter()
        .find_map(|is_it| dir.upwards().skip(1).take(MAX_ABOVE).position(|above| is_it(&above)));
    let levels = match levels {
        Some(above) => above + 1,
        None if base.starts_with(b".") => 1,
        None if is_root(dir) => return Some((dir.clone(), inbox())),
        None if base == DBOX_MAILS || parent.above().is_some_and(|(_, name)| name == DOT_IMAP) => 2,
        None => 1,
    };
    let (mut root, mut names) = (dir.clone(), Vec::new());
    for _ in 0..levels {
        let (above, name) = root.above()?;
        names.push(name);
        root = above;
    }
    Some((root, vec![joined(names)]))
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
