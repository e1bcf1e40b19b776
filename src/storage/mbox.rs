//! mbox: one file with all messages. Its first message says UIDVALIDITY, the last UID and the names of keywords, each
//! message its UID and its flags (`mbox-sync-parse.c`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::{piece, roots};
use crate::format::record::flag;
use crate::source::place::DOT_IMAP;
use crate::source::{Dir, Stat};

/// Bytes of the file that are read for its state alone: the headers of its first message.
const HEAD: usize = 64 << 10;
/// Bytes of a line that are looked at; the rest of a longer one is passed over.
const MAX_LINE: u64 = 64 << 10;
/// Letters of `Status` and `X-Status` (`mbox-sync-parse.c`); O, "not recent", is none of the index's flags.
const LETTERS: [(u8, u8); 5] =
    [(b'R', flag::SEEN), (b'A', flag::ANSWERED), (b'F', flag::FLAGGED), (b'T', flag::DRAFT), (b'D', flag::DELETED)];

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
        match find(dir)? {
            (path, Some((file, stat))) => Some(Mbox { path, stat: Some(stat), base: base(&piece(&file, 0, HEAD)) }),
            (path, None) => Some(Mbox { path, stat: None, base: None }),
        }
    }
}

fn find(dir: &Dir) -> Option<(PathBuf, Option<(File, Stat)>)> {
    use std::os::unix::ffi::OsStrExt;
    let open = |dir: &Dir, name: &[u8]| {
        let (file, meta) = dir.file_meta(name).ok()?;
        Some((dir.path().join(std::ffi::OsStr::from_bytes(name)), Some((file, meta.stat))))
    };
    let (imap, name) = dir.above()?;
    if let Some(found) = roots::told_mbox(dir).iter().find_map(|(dir, name)| open(dir, name)) {
        return Some(found);
    }
    let (above, _) = imap.above().filter(|(_, name)| name == DOT_IMAP)?;
    let names: &[&[u8]] = if name == b"INBOX" { &[b"inbox", b"INBOX"] } else { &[&name] };
    if let Some(found) = names.iter().find_map(|name| open(&above, name)) {
        return Some(found);
    }
    // The INBOX may be beside the root of the folders, or in a spool.
    if name == b"INBOX" {
        let (home, _) = above.above()?;
        let is_mbox = |found: &(PathBuf, Option<(File, Stat)>)| {
            found.1.as_ref().is_some_and(|(file, _)| base(&piece(file, 0, HEAD)).is_some())
        };
        return [b"inbox".as_slice(), b"mbox"].iter().find_map(|name| open(&home, name).filter(is_mbox));
    }
    roots::has_control(dir).then(|| (above.path().join(std::ffi::OsStr::from_bytes(&name)), None))
}

/// What the messages of an mbox say of themselves.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MboxMail {
    /// Size and mtime of the file.
    pub stat: Stat,
    /// UIDVALIDITY and the last UID given out.
    pub base: (u32, u32),
    /// Names of all keywords, as the first message lists them.
    pub names: Vec<Vec<u8>>,
    /// The UIDs of messages, rising; a message without one is new.
    pub uids: Vec<u32>,
    /// Messages that have lost their UID, or that Dovecot has not yet written it into: they stand before others that
    /// have one, or more UIDs were given than there are.
    pub unnumbered: usize,
    /// Flags and keywords by UID.
    pub flags: HashMap<u32, (u8, Vec<Vec<u8>>)>,
}

impl MboxMail {
    /// Reads the whole file; `None` when there is none, or one without UIDVALIDITY.
    pub(super) fn of(dir: &Dir) -> Option<MboxMail> {
        let (_, Some((file, stat))) = find(dir)? else { return None };
        let head = piece(&file, 0, HEAD);
        let base = base(&head).filter(|(uid_validity, _)| *uid_validity != 0)?;
        let names = words(base_value(&head)?).skip(2).map(<[u8]>::to_vec).collect();
        let mut mail = MboxMail { stat, base, names, uids: Vec::new(), unnumbered: 0, flags: HashMap::new() };
        let mut at_end = 0;
        let mut lines = Lines { from: BufReader::with_capacity(256 << 10, file), line: Vec::new(), size: stat.size };
        let mut begins = lines.next()? && is_from(&lines.line);
        let mut is_first = true;
        while begins {
            let mut said = Said::default();
            while lines.next()? && !lines.line.is_empty() {
                said.take(&lines.line);
            }
            begins = lines.go_to_next(said.length)?;
            // The pseudo message at the beginning only holds what belongs to the mailbox (`mbox-sync-parse.c`).
            if std::mem::take(&mut is_first) && said.is_pseudo {
                continue;
            }
            // A UID that does not rise is none: the message gets another.
            if said.uid > mail.uids.last().copied().unwrap_or(0) {
                mail.uids.push(said.uid);
                mail.flags.insert(said.uid, (said.flags, said.keywords));
                mail.unnumbered += std::mem::take(&mut at_end);
            } else {
                at_end += 1;
            }
        }
        // At the end they are new, unless higher UIDs were given.
        if base.1 > mail.uids.last().copied().unwrap_or(0) {
            mail.unnumbered += at_end;
        }
        Some(mail)
    }
}

/// The headers of a message that Dovecot wrote.
#[derive(Default)]
struct Said {
    uid: u32,
    flags: u8,
    keywords: Vec<Vec<u8>>,
    /// `Content-Length`, bytes.
    length: Option<u64>,
    /// It has the header `X-IMAP`.
    is_pseudo: bool,
}

impl Said {
    fn take(&mut self, line: &[u8]) {
        let Some((name, value)) = header_of(line) else { return };
        let number = || std::str::from_utf8(value.trim_ascii()).ok()?.parse::<u64>().ok();
        if name.eq_ignore_ascii_case(b"X-UID") {
            self.uid = number().and_then(|uid| u32::try_from(uid).ok()).unwrap_or(0);
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            self.length = number();
        } else if name.eq_ignore_ascii_case(b"X-IMAP") {
            self.is_pseudo = true;
        } else if name.eq_ignore_ascii_case(b"Status") || name.eq_ignore_ascii_case(b"X-Status") {
            self.flags |=
                LETTERS.iter().filter(|(letter, _)| value.contains(letter)).fold(0, |all, (_, bit)| all | bit);
        } else if name.eq_ignore_ascii_case(b"X-Keywords") {
            self.keywords = words(value).map(<[u8]>::to_vec).collect();
        }
    }
}

/// The lines of an mbox, one after the other.
struct Lines {
    from: BufReader<File>,
    line: Vec<u8>,
    /// Bytes of the file.
    size: u64,
}

impl Lines {
    /// Reads the next line, without its end; false at the end of the file, `None` when it cannot be read.
    fn next(&mut self) -> Option<bool> {
        self.line.clear();
        let mut rest = self.from.by_ref().take(MAX_LINE);
        let read = rest.read_until(b'\n', &mut self.line).ok()?;
        if read as u64 == MAX_LINE && self.line.last() != Some(&b'\n') {
            self.from.skip_until(b'\n').ok()?;
        }
        while matches!(self.line.last(), Some(b'\n' | b'\r')) {
            self.line.pop();
        }
        Some(read > 0)
    }

    /// Goes to the next message, past a body that has this length if one begins there; false when there is none.
    fn go_to_next(&mut self, length: Option<u64>) -> Option<bool> {
        let at = self.from.stream_position().ok()?;
        if let Some(length) = length.filter(|length| at.saturating_add(*length) <= self.size) {
            self.from.seek(SeekFrom::Start(at.saturating_add(length))).ok()?;
            let more = self.next()? && (!self.line.is_empty() || self.next()?);
            if !more || is_from(&self.line) {
                return Some(more);
            }
            self.from.seek(SeekFrom::Start(at)).ok()?;
        }
        let mut was_empty = true;
        while self.next()? {
            if was_empty && is_from(&self.line) {
                return Some(true);
            }
            was_empty = self.line.is_empty();
        }
        Some(false)
    }
}

/// `From sender date`: a time stands in it.
fn is_from(line: &[u8]) -> bool {
    line.starts_with(b"From ") && line.iter().filter(|byte| **byte == b':').count() >= 1
}

/// Name and value of a header line.
fn header_of(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line.get(..colon)?, line.get(colon + 1..)?))
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The value of `X-IMAPbase: V LAST keywords`, among the headers of the first message.
fn base_value(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n').take_while(|line| !matches!(line, [] | [b'\r']));
    lines.find_map(|line| {
        let (name, value) = header_of(line)?;
        (name.eq_ignore_ascii_case(b"X-IMAPbase") || name.eq_ignore_ascii_case(b"X-IMAP")).then_some(value)
    })
}

/// Its numbers.
fn base(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut words = words(base_value(bytes)?);
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

    #[test]
    fn messages_say_their_uids_and_flags() {
        let home = tempfile::tempdir().expect("directory");
        let dir = home.path().join(".imap/box");
        std::fs::create_dir_all(&dir).expect("directory");
        // The second message has a line in its body that only its length protects, the third has lost its UID.
        let text = "From a@b Mon Nov 23 05:18:00 2026\nX-IMAPbase: 7 0000000049 kw other\nX-UID: 4\nStatus: RO\n\
            X-Status: AF\nX-Keywords: kw      \n\nFrom nobody\n\nFrom a@b Mon Nov 23 05:18:00 2026\nX-UID: 9\n\
            Content-Length: 40\n\n\nFrom a@b Mon Nov 23 05:18:00 2026\nStat\n\n\
            From a@b Mon Nov 23 05:18:00 2026\nStatus: O\n\nbody\n";
        std::fs::write(home.path().join("box"), text).expect("mbox");
        let mail = MboxMail::of(&Dir::open(&dir).expect("open")).expect("an mbox");
        assert_eq!((mail.base, mail.uids.as_slice()), ((7, 49), &[4, 9][..]));
        assert_eq!(mail.names, [b"kw".to_vec(), b"other".to_vec()]);
        let flags = flag::SEEN | flag::ANSWERED | flag::FLAGGED;
        assert_eq!(mail.flags.get(&4), Some(&(flags, vec![b"kw".to_vec()])));
        assert_eq!(mail.flags.get(&9), Some(&(0, Vec::new())));
    }
}
