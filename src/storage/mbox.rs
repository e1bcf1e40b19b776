//! mbox: one file with all messages; its first message says UIDVALIDITY and the last UID (`mbox-sync-parse.c`).

use std::path::PathBuf;

use super::{piece, roots};
use crate::source::place::DOT_IMAP;
use crate::source::{Dir, Stat};

/// Bytes of the file that are read: the headers of its first message.
const HEAD: usize = 64 << 10;

/// The mbox file of a mailbox, and what its first message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mbox {
    /// Where it is, or should be.
    pub path: PathBuf,
    /// Its state; `None` when it is not there.
    pub stat: Option<Stat>,
    /// UIDVALIDITY and the last UID given out, from `X-IMAPbase` or `X-IMAP`.
    pub base: Option<(u32, u32)>,
}

impl Mbox {
    /// The file beside `.imap/`, where the indexes of the mailbox are; `None` when it may be anywhere.
    pub(super) fn of(dir: &Dir) -> Option<Mbox> {
        use std::os::unix::ffi::OsStrExt;
        let name = dir.path().file_name()?.as_bytes();
        let imap = dir.path().parent().filter(|above| above.file_name().is_some_and(|n| n.as_bytes() == DOT_IMAP))?;
        let above = Dir::open(imap.parent()?).ok()?;
        let names: &[&[u8]] = if name == b"INBOX" { &[b"inbox", b"INBOX"] } else { &[name] };
        for name in names {
            let Ok((file, meta)) = above.file_meta(name) else { continue };
            let path = above.path().join(std::ffi::OsStr::from_bytes(name));
            return Some(Mbox { path, stat: Some(meta.stat), base: base(&piece(&file, 0, HEAD)) });
        }
        // The INBOX may be in a spool.
        let is_here = name != b"INBOX" && roots::has_control(dir);
        is_here.then(|| Mbox { path: above.path().join(std::ffi::OsStr::from_bytes(name)), stat: None, base: None })
    }
}

/// The numbers of `X-IMAPbase: V LAST keywords`, among the headers of the first message.
fn base(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut lines = bytes.split(|byte| *byte == b'\n').take_while(|line| !matches!(line, [] | [b'\r']));
    let value = lines.find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let known = name.eq_ignore_ascii_case(b"X-IMAPbase") || name.eq_ignore_ascii_case(b"X-IMAP");
        known.then(|| value.get(1..).unwrap_or_default())
    })?;
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_says_uidvalidity() {
        let text =
            b"From a@b Mon Nov 23 05:18:00 2026\nSubject: x\nX-IMAPbase: 1795421627 0000000049 kw\n\nX-IMAP: 1 2\n";
        assert_eq!(base(text), Some((1_795_421_627, 49)));
        assert_eq!(base(b"From a@b\nSubject: x\n\nX-IMAPbase: 1 2\n"), None);
    }
}
