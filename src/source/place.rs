//! What the place of an index directory says about its mailbox: the mail root it belongs to, its name there, and the
//! user. Pure: paths and listings in, names out. The layouts are those of `mailbox-list-maildir.c`, `mailbox-list-fs.c`
//! and `mailbox-list-index-backend.c`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::format::mutf7;

/// Directory that holds all mailboxes of a dbox root, and of any root with `mailbox_list_layout = index`.
const MAILBOXES: &[u8] = b"mailboxes";
/// Directory that holds the mails and indexes of a dbox mailbox.
pub const DBOX_MAILS: &[u8] = b"dbox-Mails";
/// Directory that holds the indexes beside mbox files.
pub const DOT_IMAP: &[u8] = b".imap";
/// What people call the directory with a user's mail, as opposed to the one called after the user.
const MAIL_DIRS: [&str; 19] = [
    "Maildir", "maildir", ".maildir", "mail", "Mail", ".mail", "mails", "mdbox", "sdbox", "dbox", "mbox", "index",
    "indexes", "indices", "pvt", "private", "cache", "control", "virtual",
];

/// True for a name that people give to a part of one user's mail, and not to a user.
pub fn is_mail_dir(name: &[u8]) -> bool {
    MAIL_DIRS.iter().any(|dir| dir.as_bytes() == name)
}

/// What a directory holds that tells about the layout; collected while it is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// A mailbox list index, `dovecot-uidvalidity` or `dovecot.mailbox.log`: only mail roots have these.
    pub root: bool,
    /// A subscriptions file.
    pub subscriptions: bool,
    /// `dovecot-uidlist`.
    pub uidlist: bool,
    /// `cur/`.
    pub cur: bool,
    /// `new/`.
    pub new: bool,
    /// `tmp/`.
    pub tmp: bool,
    /// `.imap/`.
    pub dot_imap: bool,
    /// `mailboxes/`.
    pub mailboxes: bool,
    /// `storage/`.
    pub storage: bool,
    /// `dovecot-virtual`.
    pub virtual_config: bool,
    /// A message file of sdbox, `u.N`.
    pub sdbox_files: bool,
    /// A lock file or a temporary file of an index.
    pub leftovers: bool,
}

impl Signs {
    /// Notes one entry of the directory.
    pub fn note(&mut self, name: &[u8], is_dir: bool) {
        match (name, is_dir) {
            (b"cur", true) => self.cur = true,
            (b"new", true) => self.new = true,
            (b"tmp", true) => self.tmp = true,
            (DOT_IMAP, true) => self.dot_imap = true,
            (MAILBOXES, true) => self.mailboxes = true,
            (b"storage", true) => self.storage = true,
            (b"subscriptions" | b".subscriptions", false) => self.subscriptions = true,
            (b"dovecot-uidlist", false) => self.uidlist = true,
            (b"dovecot-virtual", false) => self.virtual_config = true,
            (_, false) if name.starts_with(b"u.") => self.sdbox_files = true,
            (_, false)
                if name.starts_with(b"dovecot.")
                    && [&b".lock"[..], b".newlock", b".tmp"].iter().any(|end| name.ends_with(end)) =>
            {
                self.leftovers = true;
            }
            (_, false)
                if name.starts_with(b"dovecot.list.index")
                    || name.starts_with(b"dovecot-uidvalidity")
                    || name.starts_with(b"dovecot.mailbox.log") =>
            {
                self.root = true;
            }
            _ => {}
        }
    }

    /// True for a directory with messages in Maildir format.
    pub fn is_maildir(&self) -> bool {
        self.uidlist || (self.cur && self.new)
    }
}

/// The mail root that a directory belongs to, given the one its parent belongs to. Roots are lengths of path prefixes.
pub fn root_of(path: &[u8], parent_root: Option<usize>, signs: &Signs) -> Option<usize> {
    let base = base_name(path);
    // The files of a mail root are in .imap/ where the mailboxes are mbox files.
    if base == DOT_IMAP {
        return parent_root.or(Some(parent_len(path)));
    }
    if signs.root {
        return Some(path.len());
    }
    if parent_root.is_some() {
        return parent_root;
    }
    if signs.is_maildir() && is_maildir_plus(base) {
        return Some(parent_len(path));
    }
    let weak = signs.subscriptions || signs.dot_imap || (signs.mailboxes && signs.storage) || signs.is_maildir();
    let below_mailboxes = signs.is_maildir() && guid_of(base).is_some();
    (weak && !below_mailboxes).then_some(path.len())
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or_default()
}

fn parent_len(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

fn is_maildir_plus(base: &[u8]) -> bool {
    base.len() > 1 && base[0] == b'.' && base != DOT_IMAP && base != b".." && base != b".maildir" && base != b".mail"
}

/// The GUID in a directory name of 32 hex digits.
pub fn guid_of(name: &[u8]) -> Option<[u8; 16]> {
    if name.len() != 32 || !name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut guid = [0; 16];
    for (to, pair) in guid.iter_mut().zip(name.chunks_exact(2)) {
        *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(guid)
}

/// What a path says about the mailbox in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The levels of its name as they are on disk, outermost first.
    Levels(Vec<Vec<u8>>),
    /// The directory is called by the mailbox's GUID; only the list index of the root, or the mailbox's own header,
    /// knows the name.
    Guid([u8; 16]),
}

/// The name of the mailbox whose indexes are in the directory `path`, which lies in the mail root of length `root`.
pub fn name_of(path: &[u8], root: Option<usize>, signs: &Signs) -> Named {
    let parts = |bytes: &[u8]| -> Vec<Vec<u8>> {
        bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec).collect()
    };
    let mut rel = match root {
        Some(len) => parts(path.get(len..).unwrap_or_default()),
        None => {
            let all = parts(path);
            match all.iter().rposition(|part| part == MAILBOXES) {
                Some(at) if at + 1 < all.len() => all.get(at..).unwrap_or_default().to_vec(),
                _ => {
                    let dbox = all.last().is_some_and(|part| part == DBOX_MAILS);
                    let mbox = all.len() > 1 && all.get(all.len() - 2).is_some_and(|part| part == DOT_IMAP);
                    let keep = if dbox || mbox { 2 } else { 1 };
                    all.get(all.len().saturating_sub(keep)..).unwrap_or_default().to_vec()
                }
            }
        }
    };
    let indexed = rel.get(1).is_some_and(|part| guid_of(part).is_some());
    if rel.len() > 1 && rel[0] == MAILBOXES && (indexed || !signs.is_maildir()) {
        rel.remove(0);
    }
    if rel.last().is_some_and(|part| part == DBOX_MAILS) {
        rel.pop();
    }
    if rel.len() > 1 && rel[rel.len() - 2] == DOT_IMAP {
        rel.remove(rel.len() - 2);
    }
    match rel.as_slice() {
        [] => Named::Levels(vec![b"INBOX".to_vec()]),
        [one] if guid_of(one).is_some() => Named::Guid(guid_of(one).unwrap_or_default()),
        [.., last] if is_maildir_plus(last) => {
            Named::Levels(last[1..].split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect())
        }
        _ => Named::Levels(rel),
    }
}

/// A mailbox name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The levels joined by `/`, decoded where they are modified UTF-7; raw bytes where they cannot be decoded.
    pub text: Vec<u8>,
    /// The first level that is neither modified UTF-7 nor UTF-8.
    pub undecodable: Option<Vec<u8>>,
}

impl Name {
    /// Decodes the levels of a name. A level with bytes outside ASCII comes from a list with `mailbox_list_utf8`.
    pub fn decode<L: AsRef<[u8]>>(levels: impl IntoIterator<Item = L>) -> Name {
        let mut name = Name { text: Vec::new(), undecodable: None };
        let levels: Vec<L> = levels.into_iter().collect();
        let is_utf8 = |level: &L| !level.as_ref().is_ascii() && std::str::from_utf8(level.as_ref()).is_ok();
        let utf8 = levels.iter().any(is_utf8);
        for (i, level) in levels.iter().enumerate() {
            let level = level.as_ref();
            if i > 0 {
                name.text.push(b'/');
            }
            match mutf7::decode(level) {
                Some(text) => name.text.extend_from_slice(text.as_bytes()),
                None => {
                    let good = utf8 && std::str::from_utf8(level).is_ok();
                    if !good && name.undecodable.is_none() {
                        name.undecodable = Some(level.to_vec());
                    }
                    name.text.extend_from_slice(level);
                }
            }
        }
        name
    }
}

/// Where the mail root probably is when no sign of one was met on the way down.
pub fn probable_root(path: &[u8]) -> usize {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let keep = match parts.iter().rposition(|part| *part == MAILBOXES) {
        Some(at) if at + 1 < parts.len() => at,
        _ => match parts.as_slice() {
            [.., last] if *last == DBOX_MAILS => parts.len().saturating_sub(2),
            [.., before, _] if *before == DOT_IMAP => parts.len().saturating_sub(2),
            _ => parts.len().saturating_sub(1),
        },
    };
    parts.iter().take(keep).map(|part| part.len() + 1).sum::<usize>().saturating_sub(1)
}

/// The user whose mail root this is, as far as the path below `top` tells: `.../user/Maildir`, `.../domain/user`,
/// `.../user@domain/...`.
pub fn user_of(top: &Path, mail_root: &[u8]) -> Option<String> {
    let mail_root = Path::new(OsStr::from_bytes(mail_root));
    let below = mail_root.strip_prefix(top).ok()?;
    let text = |part: Component<'_>| match part {
        Component::Normal(name) => name.to_str().map(str::to_owned),
        _ => None,
    };
    let mut parts: Vec<String> = below.components().map(text).collect::<Option<_>>()?;
    while parts.last().is_some_and(|part| MAIL_DIRS.contains(&part.as_str())) {
        parts.pop();
    }
    let user = parts.pop()?;
    let above = parts.last().cloned().or_else(|| top.file_name()?.to_str().map(str::to_owned));
    let domain = above.filter(|above| {
        let labels: Vec<&str> = above.split('.').collect();
        labels.len() > 1
            && labels.iter().all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
            && labels.last().is_some_and(|l| l.len() > 1 && l.bytes().all(|b| b.is_ascii_alphabetic()))
    });
    match domain {
        Some(domain) if !user.contains('@') => Some(format!("{user}@{domain}")),
        _ => Some(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(path: &str, root: Option<&str>, signs: Signs) -> String {
        match name_of(path.as_bytes(), root.map(str::len), &signs) {
            Named::Levels(levels) => String::from_utf8(levels.join(&b'|')).expect("UTF-8"),
            Named::Guid(guid) => format!("guid {}", guid[0]),
        }
    }

    /// The table of places in the documentation of each layout.
    #[test]
    fn every_layout() {
        let maildir = Signs { uidlist: true, ..Signs::default() };
        let none = Signs::default();
        let root = Some("/v/u/Maildir");
        assert_eq!(levels("/v/u/Maildir", root, maildir), "INBOX");
        assert_eq!(levels("/v/u/Maildir/.foo.bar", root, maildir), "foo|bar");
        assert_eq!(levels("/v/u/Maildir/foo/bar", root, maildir), "foo|bar");
        assert_eq!(levels("/i/u/.INBOX", Some("/i/u"), none), "INBOX");
        assert_eq!(levels("/i/u/INBOX", Some("/i/u"), none), "INBOX");
        assert_eq!(levels("/v/mail/.imap/INBOX", Some("/v/mail"), none), "INBOX");
        assert_eq!(levels("/v/mail/foo/.imap/bar", Some("/v/mail"), none), "foo|bar");
        assert_eq!(levels("/v/mdbox/mailboxes/foo/bar/dbox-Mails", Some("/v/mdbox"), none), "foo|bar");
        assert_eq!(levels("/v/mdbox/mailboxes/mailboxes/dbox-Mails", Some("/v/mdbox"), none), "mailboxes");
        assert_eq!(levels("/v/pvt/mailboxes/foo/bar", None, none), "foo|bar");
        assert_eq!(levels("/v/pvt/.INBOX", None, none), "INBOX");
        assert_eq!(levels("/v/foo/dbox-Mails", None, none), "foo");
        let guid = "/v/sdbox/mailboxes/a0d16c3520f6036b1c72000083ecc375";
        assert_eq!(levels(guid, Some("/v/sdbox"), none), "guid 160");
        assert_eq!(levels(&format!("{guid}/dbox-Mails"), None, none), "guid 160");
    }

    #[test]
    fn roots() {
        let root = Signs { root: true, ..Signs::default() };
        let maildir = Signs { cur: true, new: true, tmp: true, ..Signs::default() };
        assert_eq!(root_of(b"/v/u/Maildir", None, &root), Some(12));
        assert_eq!(root_of(b"/v/u/mail/.imap", Some(9), &root), Some(9));
        assert_eq!(root_of(b"/v/u/.Sent", None, &maildir), Some(4));
        assert_eq!(root_of(b"/v/u/Maildir", None, &maildir), Some(12));
        assert_eq!(root_of(b"/v/u/Maildir/a", Some(12), &maildir), Some(12));
        assert_eq!(root_of(b"/v/u", None, &Signs::default()), None);
        assert_eq!(probable_root(b"/v/pvt/mailboxes/foo/bar"), 6);
        assert_eq!(probable_root(b"/v/pvt/foo/dbox-Mails"), 6);
        assert_eq!(probable_root(b"/v/mail/.imap/foo"), 7);
        assert_eq!(probable_root(b"/v/pvt/.foo"), 6);
    }

    #[test]
    fn users() {
        let user = |top: &str, root: &str| user_of(Path::new(top), root.as_bytes());
        assert_eq!(user("/var/vmail", "/var/vmail/example.org/alice/Maildir").as_deref(), Some("alice@example.org"));
        assert_eq!(user("/var/vmail", "/var/vmail/alice").as_deref(), Some("alice"));
        assert_eq!(
            user("/var/vmail/example.org", "/var/vmail/example.org/alice").as_deref(),
            Some("alice@example.org")
        );
        assert_eq!(user("/srv", "/srv/a/bob@example.org/mdbox").as_deref(), Some("bob@example.org"));
        assert_eq!(user("/home/alice/Maildir", "/home/alice/Maildir"), None);
    }

    #[test]
    fn names() {
        assert_eq!(Name::decode([b"&AOQ-iti", b"&AOQ-iti"]).text, "äiti/äiti".as_bytes());
        assert_eq!(Name::decode(["ä".as_bytes()]), Name { text: "ä".into(), undecodable: None });
        assert_eq!(Name::decode(["ä", "R&D"]).undecodable, None);
        assert_eq!(Name::decode([b"R&D"]).undecodable.as_deref(), Some(&b"R&D"[..]));
        assert_eq!(Name::decode([b"\xff"]), Name { text: vec![0xff], undecodable: Some(vec![0xff]) });
    }
}
