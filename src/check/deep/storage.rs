//! Where the messages of a mailbox are when its indexes are kept in another root (`INDEX=`, `mail_index_path`): the mail roots
//! of one user lie side by side and have the same layout.

use std::path::{Path, PathBuf};

use super::names_in;
use crate::source::place::{self, DBOX_MAILS};

/// Roots side by side that are looked at.
const MAX_SIBLINGS: usize = 64;

/// True for a directory with message files of sdbox.
pub(super) fn has_sdbox_files(dir: &Path) -> bool {
    names_in(dir).is_some_and(|names| names.iter().any(|name| sdbox_uid(name).is_some()))
}

/// The UID in the name of a message file of sdbox.
pub(super) fn sdbox_uid(name: &[u8]) -> Option<u32> {
    number_after(name, b"u.")
}

/// The number in the name of an mdbox file.
pub(super) fn mdbox_file_id(name: &[u8]) -> Option<u32> {
    number_after(name, b"m.")
}

fn number_after(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The directory below `dir`'s dbox root that all mailboxes are in, and the root: `root/mailboxes/a/b[/dbox-Mails]`.
pub(super) fn dbox_root(dir: &Path) -> Option<PathBuf> {
    let mailboxes = dir.ancestors().find(|above| above.file_name().is_some_and(|name| name == "mailboxes"))?;
    Some(mailboxes.parent()?.to_owned())
}

/// The directories that stand for the same mailbox as `dir` in the other roots of the user.
pub(super) fn counterparts(dir: &Path) -> Vec<PathBuf> {
    let Ok(dir) = std::fs::canonicalize(dir) else { return Vec::new() };
    let Some((root, below)) = split(&dir) else { return Vec::new() };
    let Some(home) = root.parent() else { return Vec::new() };
    let mut names: Vec<_> = std::fs::read_dir(home)
        .map(|entries| entries.flatten().take(MAX_SIBLINGS).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    names.sort();
    let mut found = Vec::new();
    for other in names.into_iter().filter(|other| *other != root && other.is_dir()) {
        for below in &below {
            let path = if below.as_os_str().is_empty() { other.clone() } else { other.join(below) };
            if path.is_dir() {
                found.push(path);
            }
        }
    }
    found
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
    let is_root = |dir: &Path| {
        ["dovecot.list.index.log", "dovecot-uidvalidity", "dovecot-uidlist"].iter().any(|name| dir.join(name).exists())
    };
    let root = dir.ancestors().skip(1).take(8).find(|above| is_root(above)).map(Path::to_owned);
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
    fn numbers_in_names() {
        assert_eq!(sdbox_uid(b"u.7"), Some(7));
        assert_eq!(sdbox_uid(b"u.7.tmp"), None);
        assert_eq!(mdbox_file_id(b"m.4294967295"), Some(u32::MAX));
        assert_eq!(mdbox_file_id(b"m."), None);
    }

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
        assert_eq!(counterparts(&home.join("index/.Sent")), [home.join("Maildir/.Sent")]);
        assert!(counterparts(&home.join("index/.INBOX")).contains(&home.join("Maildir")));
        assert_eq!(
            counterparts(&home.join("pvt/mailboxes/a")),
            [home.join("sdbox/mailboxes/a"), home.join("sdbox/mailboxes/a/dbox-Mails")]
        );
    }
}
