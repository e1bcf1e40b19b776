//! What a real Dovecot does with each kind of damage, beside the severity that `check` gives it: an error where the server
//! logs one, or a client sees something else than before; at least a warning where modseqs go back; nothing above a
//! warning where nothing happens.
//!
//! Run with `cargo test --test severity_live -- --ignored`; `IDX_BLESS=1` writes `docs/evidence/severity.md`, and
//! `IDX_ONLY=TEXT` tries the damages with that text in their name.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use idx::check::Severity;
use serde_json::Value;

use support::dovecot::{Dovecot, Format, Installation};
use support::imap::Status;

/// Whose index, log and cache are damaged; the storage is asked for what it has.
struct Place {
    root: PathBuf,
    dir: PathBuf,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Changes a file below the index directory.
    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        Self::edit_at(&self.path(name), edit);
    }

    fn edit_at(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        edit(&mut bytes);
        fs::write(path, bytes).expect("written");
    }

    fn index(&self, at: usize, change: impl FnOnce(u32) -> u32) {
        self.edit("dovecot.index", |bytes| put(bytes, at, change));
    }

    fn log(&self, at: usize, change: impl FnOnce(u32) -> u32) {
        self.edit("dovecot.index.log", |bytes| put(bytes, at, change));
    }

    fn cache(&self, at: usize, change: impl FnOnce(u32) -> u32) {
        self.edit("dovecot.index.cache", |bytes| put(bytes, at, change));
    }

    /// Changes text of a control file.
    fn text(&self, name: &str, change: impl FnOnce(String) -> String) {
        let path = self.path(name);
        let text = fs::read_to_string(&path).expect("text");
        fs::write(path, change(text)).expect("written");
    }

    /// Where the data of an extension header begins.
    fn header_of(bytes: &[u8], name: &str) -> usize {
        let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).expect("the extension");
        (at + name.len()).next_multiple_of(8)
    }

    /// The file of a message of a Maildir.
    fn letter(&self, uid: u32) -> PathBuf {
        let list = fs::read_to_string(self.path("dovecot-uidlist")).expect("uidlist");
        let start = format!("{uid} ");
        let line = list.lines().skip(1).find(|line| line.starts_with(&start)).expect("a line");
        let base = line.split(':').nth(1).expect("a name").to_owned();
        let mut all = fs::read_dir(self.path("cur")).expect("cur").map(|entry| entry.expect("entry").path());
        all.find(|path| path.to_string_lossy().contains(&base)).expect("a file")
    }

    /// The same with another tail of letters.
    fn relabel(&self, uid: u32, letters: &str) {
        let path = self.letter(uid);
        let name = path.to_string_lossy().into_owned();
        let base = name.split(":2,").next().expect("a base");
        fs::rename(&path, format!("{base}:2,{letters}")).expect("renamed");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }
}

fn at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put(bytes: &mut [u8], place: usize, change: impl FnOnce(u32) -> u32) {
    let new = change(at(bytes, place));
    bytes[place..place + 4].copy_from_slice(&new.to_le_bytes());
}

/// Where a record of an index begins.
fn record(bytes: &[u8], n: usize) -> usize {
    at(bytes, 4) as usize + at(bytes, 8) as usize * n
}

/// One change of a sound mailbox.
struct Change {
    name: &'static str,
    formats: &'static [Format],
    make: fn(&Place),
}

use Format::{Maildir, Mbox, Mdbox, Sdbox};
const ALL: &[Format] = &[Maildir, Mbox, Sdbox, Mdbox];
const TWO: &[Format] = &[Maildir, Sdbox];

macro_rules! changes {
    ($($name:literal $formats:expr, $make:expr;)*) => {
        &[ $( Change { name: $name, formats: $formats, make: $make }, )* ]
    };
}

const CHANGES: &[Change] = changes! {
    "index: major version 9" ALL, |p| p.edit("dovecot.index", |b| b[0] = 9);
    "index: cut in its header" ALL, |p| p.edit("dovecot.index", |b| b.truncate(60));
    "index: cut in its records" TWO, |p| p.edit("dovecot.index", |b| b.truncate(b.len() - 5));
    "index: 512 zero bytes at its start" TWO, |p| p.edit("dovecot.index", |b| b.iter_mut().take(512).for_each(|x| *x = 0));
    "index: 16 bytes behind its end" TWO, |p| p.edit("dovecot.index", |b| b.extend([1; 16]));
    "index: messages_count one too low" ALL, |p| p.index(32, |n| n - 1);
    "index: two records exchanged" TWO, |p| p.edit("dovecot.index", |b| {
        let (one, two) = (record(b, 1), record(b, 2));
        for i in 0..two - one {
            b.swap(one + i, two + i);
        }
    });
    "index: the last UID is 0" TWO, |p| p.edit("dovecot.index", |b| {
        let last = record(b, at(b, 32) as usize - 1);
        put(b, last, |_| 0);
    });
    "index: seen count one too high" TWO, |p| p.index(40, |n| n + 1);
    "index: seen count above the messages" TWO, |p| p.index(40, |n| n + 1000);
    "index: deleted count one too high" TWO, |p| p.index(44, |n| n + 1);
    "index: first_unseen_uid_lowwater too high" TWO, |p| p.edit("dovecot.index", |b| { let n = at(b, 28); put(b, 52, |_| n); });
    "index: first_unseen_uid_lowwater above next_uid" TWO, |p| p.index(52, |n| n + 1000);
    "index: first_deleted_uid_lowwater too high" TWO, |p| p.edit("dovecot.index", |b| { let n = at(b, 28); put(b, 56, |_| n); });
    "index: first_recent_uid above next_uid" TWO, |p| p.index(48, |n| n + 1000);
    "index: first_recent_uid 0" TWO, |p| p.index(48, |_| 0);
    "index: next_uid one too low" TWO, |p| p.index(28, |n| n - 1);
    "index: next_uid below the last message" TWO, |p| p.index(28, |n| n - 4);
    "index: uid_validity 0" ALL, |p| p.index(24, |_| 0);
    "index: uid_validity one higher" ALL, |p| p.index(24, |n| n + 1);
    "index: bit 0x20 in a message's flags" TWO, |p| p.edit("dovecot.index", |b| { let r = record(b, 0); b[r + 4] |= 0x20; });
    "index: \\Flagged on one message" ALL, |p| p.edit("dovecot.index", |b| { let r = record(b, 2); b[r + 4] ^= 0x02; });
    "index: \\Seen on one message" TWO, |p| p.edit("dovecot.index", |b| { let r = record(b, 0); b[r + 4] ^= 0x08; });
    "index: indexid of another" ALL, |p| p.index(16, |n| n + 9);
    "index: head beyond the log" ALL, |p| p.index(68, |n| n + 100_000);
    "index: head inside a record" ALL, |p| p.index(68, |n| n - 4);
    "index: log_file_seq five too high" TWO, |p| p.index(60, |n| n + 5);
    "index: tail beyond the head" TWO, |p| p.index(64, |n| n + 1000);
    "index: name of an extension" TWO, |p| p.edit("dovecot.index", |b| {
        let at = b.windows(6).position(|w| w == b"modseq").expect("modseq");
        b[at] = b'N';
    });
    "index: record offset of an extension" TWO, |p| p.edit("dovecot.index", |b| {
        let at = b.windows(6).position(|w| w == b"modseq").expect("modseq") - 8;
        b[at] = 0xff;
        b[at + 1] = 0x0f;
    });
    "index: number of keywords" TWO, |p| p.edit("dovecot.index", |b| {
        let at = Place::header_of(b, "keywords");
        put(b, at, |_| 1000);
    });
    "index: HIGHESTMODSEQ lower" TWO, |p| p.edit("dovecot.index", |b| {
        let at = Place::header_of(b, "modseq");
        put(b, at, |n| n - 5);
    });
    "index: HIGHESTMODSEQ higher" TWO, |p| p.edit("dovecot.index", |b| {
        let at = Place::header_of(b, "modseq");
        put(b, at, |n| n + 1000);
    });
    "index: day_stamp in the future" TWO, |p| p.index(84, |n| n + 864_000);
    "index: marked by fsck" ALL, |p| p.index(20, |n| n | 4);
    "index: marked corrupted" TWO, |p| p.index(20, |n| n | 1);
    "index: gone" ALL, |p| p.remove("dovecot.index");
    "index, log and cache: gone" ALL, |p| {
        for name in ["dovecot.index", "dovecot.index.log", "dovecot.index.cache", "dovecot.index.log.2"] {
            let _ = fs::remove_file(p.path(name));
        }
    };
    "log: gone" ALL, |p| p.remove("dovecot.index.log");
    "log: major version 9" TWO, |p| p.edit("dovecot.index.log", |b| b[0] = 9);
    "log: minor version 9" TWO, |p| p.edit("dovecot.index.log", |b| b[1] = 9);
    "log: compat_flags 0" TWO, |p| p.edit("dovecot.index.log", |b| b[32] = 0);
    "log: indexid 0" ALL, |p| p.log(4, |_| 0);
    "log: indexid of another" ALL, |p| p.log(4, |n| n + 9);
    "log: file_seq one higher" TWO, |p| p.log(8, |n| n + 1);
    "log: create_stamp in the future" TWO, |p| p.log(20, |n| n + 864_000);
    "log: initial_modseq higher" TWO, |p| p.log(24, |n| n + 1000);
    "log: hdr_size 44" TWO, |p| p.edit("dovecot.index.log", |b| b[2] = 44);
    "log: three bytes at its end" ALL, |p| p.edit("dovecot.index.log", |b| b.extend([1, 2, 3]));
    "log: 512 zero bytes at its end" ALL, |p| p.edit("dovecot.index.log", |b| b.extend([0; 512]));
    "log: cut by nine bytes" ALL, |p| p.edit("dovecot.index.log", |b| b.truncate(b.len() - 9));
    "log: 64 zero bytes in the middle" TWO, |p| p.edit("dovecot.index.log", |b| {
        let at = b.len() / 2 / 4 * 4;
        b[at..at + 64].fill(0);
    });
    "log: 64 zero bytes in the middle, no index" TWO, |p| {
        p.remove("dovecot.index");
        p.edit("dovecot.index.log", |b| {
            let at = b.len() / 2 / 4 * 4;
            b[at..at + 64].fill(0);
        });
    };
    "cache: gone" TWO, |p| p.remove("dovecot.index.cache");
    "cache: indexid of another" TWO, |p| p.cache(4, |n| n + 9);
    "cache: file_seq one higher" TWO, |p| p.cache(8, |n| n + 1);
    "cache: field header beyond its end" TWO, |p| p.cache(28, |n| n ^ 0x0f00);
    "cache: counters" TWO, |p| p.cache(16, |n| n + 1000);
    "cache: garbage in its records" TWO, |p| p.edit("dovecot.index.cache", |b| {
        let half = b.len() / 2;
        b[half..].iter_mut().enumerate().for_each(|(i, x)| *x = (i * 37 % 251) as u8);
    });
    "cache: cut in half" TWO, |p| p.edit("dovecot.index.cache", |b| b.truncate(b.len() / 2));
    "uidlist: UIDVALIDITY one higher" &[Maildir], |p| p.text("dovecot-uidlist", |text| {
        let old: u32 = text.split(" V").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).expect("V");
        text.replacen(&format!(" V{old} "), &format!(" V{} ", old + 1), 1)
    });
    "uidlist: gone" &[Maildir], |p| p.remove("dovecot-uidlist");
    "uidlist: empty" &[Maildir], |p| p.edit("dovecot-uidlist", Vec::clear);
    "uidlist: a line gone" &[Maildir], |p| p.text("dovecot-uidlist", |text| {
        text.lines().filter(|line| !line.starts_with("3 :")).map(|line| format!("{line}\n")).collect()
    });
    "uidlist: two lines with one file" &[Maildir], |p| p.text("dovecot-uidlist", |text| {
        let line = text.lines().find(|line| line.starts_with("3 :")).expect("UID 3");
        let again = line.replacen("3 :", "40 :", 1);
        format!("{text}{again}\n")
    });
    "uidlist: its header again" &[Maildir], |p| p.text("dovecot-uidlist", |text| {
        let header = text.lines().next().expect("a header").replacen("3 ", "40 ", 1);
        format!("{text}{header}\n")
    });
    "uidlist: last line without its end" &[Maildir], |p| p.edit("dovecot-uidlist", |b| b.truncate(b.len() - 1));
    "uidlist: a line that is none" &[Maildir], |p| p.text("dovecot-uidlist", |text| text.replacen("\n3 ", "\nx ", 1));
    "uidlist: next UID lower" &[Maildir], |p| p.text("dovecot-uidlist", |text| {
        let old: u32 = text.split(" N").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).expect("N");
        text.replacen(&format!(" N{old} "), &format!(" N{} ", old - 3), 1)
    });
    "Maildir: a file gone" &[Maildir], |p| fs::remove_file(p.letter(3)).expect("removed");
    "Maildir: two files of one message" &[Maildir], |p| {
        let file = p.letter(3);
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        fs::copy(&file, p.path("new").join(name.split(':').next().expect("a base"))).expect("copied");
    };
    "Maildir: an expunged message's file and line again" &[Maildir], |p| {
        p.text("dovecot-uidlist", |text| text.replacen("\n6 ", "\n5 :1.back.again\n6 ", 1));
        fs::write(p.path("cur/1.back.again:2,"), "Subject: back\n\nagain\n").expect("written");
    };
    "Maildir: a new file" &[Maildir], |p| fs::write(p.path("new/1.new.mail"), "Subject: new\n\nmail\n").expect("written");
    "Maildir: another flag in a file name" &[Maildir], |p| p.relabel(3, "RT");
    "Maildir: a letter without a name in a file name" &[Maildir], |p| p.relabel(3, "z");
    "Maildir: dovecot-keywords gone" &[Maildir], |p| p.remove("dovecot-keywords");
    "Maildir: a line of dovecot-keywords gone" &[Maildir], |p| p.text("dovecot-keywords", |text| {
        text.lines().filter(|line| !line.starts_with("0 ")).map(|line| format!("{line}\n")).collect()
    });
    "Maildir: names of dovecot-keywords exchanged" &[Maildir], |p| p.text("dovecot-keywords", |text| {
        text.lines().map(|line| match line.split_once(' ') {
            Some(("0", name)) => format!("1 {name}\n"),
            Some(("1", name)) => format!("0 {name}\n"),
            _ => format!("{line}\n"),
        }).collect()
    });
    "Maildir: a file longer than its name says" &[Maildir], |p| Place::edit_at(&p.letter(3), |b| b.extend(b"more\n"));
    "Maildir: a file cut" &[Maildir], |p| Place::edit_at(&p.letter(3), |b| b.truncate(b.len() / 2));
    "Maildir: cur gone" &[Maildir], |p| fs::remove_dir_all(p.path("cur")).expect("removed");
    "sdbox: a file gone" &[Sdbox], |p| p.remove("u.3");
    "sdbox: a file of an expunged message" &[Sdbox], |p| { fs::copy(p.path("u.3"), p.path("u.5")).expect("copied"); };
    "sdbox: a file at next_uid" &[Sdbox], |p| {
        let next = at(&fs::read(p.path("dovecot.index")).expect("index"), 28);
        fs::copy(p.path("u.3"), p.path(&format!("u.{next}"))).expect("copied");
    };
    "sdbox: a file above next_uid" &[Sdbox], |p| { fs::copy(p.path("u.3"), p.path("u.4000")).expect("copied"); };
    "sdbox: a file cut" &[Sdbox], |p| p.edit("u.3", |b| b.truncate(b.len() / 2));
    "sdbox: a file empty" &[Sdbox], |p| p.edit("u.3", Vec::clear);
    "sdbox: a file's first 64 bytes zero" &[Sdbox], |p| p.edit("u.3", |b| b[..64].fill(0));
    "sdbox: garbage behind a file" &[Sdbox], |p| p.edit("u.3", |b| b.extend(b"garbage"));
    "mdbox: map gone" &[Mdbox], |p| {
        for entry in fs::read_dir(p.root.join("storage")).expect("storage").flatten() {
            if entry.file_name().to_string_lossy().starts_with("dovecot.map") {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    };
    "mdbox: m.1 cut" &[Mdbox], |p| Place::edit_at(&p.root.join("storage/m.1"), |b| b.truncate(b.len() / 2));
    "mdbox: garbage behind m.1" &[Mdbox], |p| Place::edit_at(&p.root.join("storage/m.1"), |b| b.extend(b"garbage"));
    "mdbox: m.1 gone" &[Mdbox], |p| fs::remove_file(p.root.join("storage/m.1")).expect("removed");
    "mdbox: three bytes behind the map's log" &[Mdbox], |p| {
        Place::edit_at(&p.root.join("storage/dovecot.map.index.log"), |b| b.extend([1, 2, 3]));
    };
    "mdbox: a folder copied" &[Mdbox], |p| {
        support::dovecot::copy_tree(&p.root.join("mailboxes/INBOX"), &p.root.join("mailboxes/Copy")).expect("copied");
    };
    "mdbox: a folder deleted" &[Mdbox], |p| fs::remove_dir_all(p.root.join("mailboxes/box")).expect("removed");
    "mbox: UIDVALIDITY in the file" &[Mbox], |p| Place::edit_at(&p.root.join("mail"), |b| {
        let at = b.windows(12).position(|w| w == b"X-IMAPbase: ").expect("X-IMAPbase") + 12;
        b[at] += 1;
    });
    "mbox: the file gone" &[Mbox], |p| fs::remove_file(p.root.join("mail")).expect("removed");
    "mbox: the last message cut off" &[Mbox], |p| Place::edit_at(&p.root.join("mail"), |b| {
        let at = b.windows(6).rposition(|w| w == b"\nFrom ").expect("a message");
        b.truncate(at + 1);
    });
    "list index: gone" TWO, |p| {
        for name in ["dovecot.list.index", "dovecot.list.index.log"] {
            let _ = fs::remove_file(p.root.join(name));
        }
    };
    "list index: three bytes behind its log" TWO, |p| {
        Place::edit_at(&p.root.join("dovecot.list.index.log"), |b| b.extend([1, 2, 3]));
    };
    "list index: indexid 0 in its log" TWO, |p| Place::edit_at(&p.root.join("dovecot.list.index.log"), |b| b[4..8].fill(0));
};

/// Files in which what is unfinished counts once they are at rest.
fn is_aged(name: &str) -> bool {
    name.contains(".index.log") || name.starts_with("m.")
}

/// The mailbox that is damaged: the INBOX of an mbox is in a spool, which a mail root does not tell of.
fn name_in(format: Format) -> &'static str {
    if format == Mbox { "mail" } else { "INBOX" }
}

/// What a client sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    uid_validity: u32,
    next_uid: u32,
    highest: u64,
    messages: BTreeMap<u32, (BTreeSet<String>, Option<u64>)>,
    bodies: BTreeMap<u32, String>,
    counts: String,
    unseen: String,
    deleted: String,
}

fn look(dovecot: &Dovecot) -> Seen {
    let name = name_in(dovecot.format());
    let mut session = dovecot.qresync();
    let counts = session.cmd(&format!("STATUS {name} (MESSAGES UNSEEN SIZE)")).lines.join(" ");
    let selected = session.cmd(&format!("SELECT {name}"));
    if selected.status != Status::Ok {
        return Seen { counts: selected.text, ..Seen::default() };
    }
    let selected = selected.selected();
    let mut seen = Seen {
        uid_validity: selected.uid_validity,
        next_uid: selected.next_uid,
        highest: selected.highest_modseq.unwrap_or(0),
        counts,
        ..Seen::default()
    };
    for one in session.cmd("UID FETCH 1:* (FLAGS MODSEQ)").fetches() {
        let flags = one.flags.into_iter().chain(one.keywords).filter(|flag| flag != "\\Recent").collect();
        seen.messages.insert(one.uid, (flags, one.modseq));
    }
    seen.unseen = session.cmd("UID SEARCH UNSEEN").lines.join(" ");
    seen.deleted = session.cmd("UID SEARCH DELETED").lines.join(" ");
    let uids: Vec<u32> = seen.messages.keys().copied().collect();
    for uid in uids {
        let body = session.cmd(&format!("UID FETCH {uid} (RFC822.SIZE ENVELOPE BODY.PEEK[])"));
        let text = body.lines.iter().find(|line| line.contains("BODY[")).cloned();
        // The sequence number is another when a message is gone.
        let text = text.and_then(|line| line.split_once(" FETCH ").map(|(_, rest)| rest.to_owned()));
        seen.bodies.insert(uid, text.unwrap_or_default());
    }
    session.logout();
    seen
}

/// A mailbox with everything: flags, keywords, expunges, cached fields, an index on disk, and a second folder.
fn fill(dovecot: &Dovecot) {
    let mut session = dovecot.qresync();
    let name = name_in(dovecot.format());
    session.ok("CREATE box");
    if name != "INBOX" {
        session.ok(&format!("CREATE {name}"));
    }
    for n in 1..=12 {
        let flags: &[&str] = [&["\\Seen"][..], &["\\Answered", "Work"], &[], &["\\Flagged", "Home"]][n % 4];
        let message = format!("Subject: number {n}\r\nFrom: a@example.org\r\n\r\nbody of {n}\r\n");
        session.append(name, flags, None, message.as_bytes());
    }
    session.select(name);
    session.ok("UID STORE 5,9 +FLAGS (\\Deleted)");
    session.ok("EXPUNGE");
    session.ok("UID COPY 2:4 box");
    session.ok("UID STORE 7 +FLAGS (\\Deleted)");
    session.logout();
    for round in 0..4 {
        look(dovecot);
        let mut session = dovecot.qresync();
        session.select(name);
        session.ok(&format!("UID STORE {} +FLAGS (\\Draft)", 1 + round));
        session.ok("LIST \"\" * RETURN (STATUS (MESSAGES UIDNEXT HIGHESTMODSEQ))");
        session.logout();
    }
    dovecot.doveadm_mail(&["mailbox", "status"], &["all", "*"]);
    // Directories and files that changed within the last seconds are looked at again by each session.
    std::thread::sleep(Duration::from_secs(3));
    look(dovecot);
    look(dovecot);
}

/// What the server did, and how bad that is.
struct Deeds {
    grade: Severity,
    words: String,
}

fn deeds(dovecot: &Dovecot, before: &Seen) -> Deeds {
    dovecot.error_log();
    let used = catch_unwind(AssertUnwindSafe(|| {
        let first = look(dovecot);
        let mut session = dovecot.qresync();
        let text = "Subject: one more\r\n\r\nof the session\r\n";
        let name = name_in(dovecot.format());
        let appended = session.cmd(&format!("APPEND {name} {{{}+}}\r\n{text}", text.len())).status;
        session.cmd(&format!("SELECT {name}"));
        session.cmd("UID STORE 2 +FLAGS (\\Answered)");
        session.logout();
        (first, appended)
    }));
    // What a session that was thrown out sees when it comes again.
    let (first, appended) = match used {
        Ok((first, appended)) => (Some(first), appended),
        Err(_) => (None, Status::Ok),
    };
    let last = catch_unwind(AssertUnwindSafe(|| look(dovecot))).ok();
    let lines = dovecot.error_log();
    let mut words: Vec<String> = Vec::new();
    let (mut is_error, mut is_history) = (false, false);
    let mut wrong = |what: String| {
        is_error = true;
        words.push(what);
    };
    if first.is_none() || last.is_none() {
        wrong("a session ends".into());
    }
    if appended != Status::Ok {
        wrong("APPEND fails".into());
    }
    for now in [&first, &last].into_iter().flatten() {
        let lost: Vec<u32> = before.messages.keys().filter(|uid| !now.messages.contains_key(uid)).copied().collect();
        if now.uid_validity == 0 {
            wrong("SELECT fails".into());
            continue;
        }
        if now.uid_validity != before.uid_validity {
            wrong("another UIDVALIDITY".into());
        }
        if !lost.is_empty() {
            wrong(format!("{} messages missing", lost.len()));
        }
        let known: BTreeSet<&String> = before.bodies.values().collect();
        let kept = |uid: &u32| before.messages.contains_key(uid);
        let more = now.messages.keys().filter(|uid| !kept(uid) && !now.bodies[uid].contains("of the session"));
        let (again, strange): (Vec<u32>, Vec<u32>) = more.partition(|uid| known.contains(&now.bodies[uid]));
        if !again.is_empty() {
            wrong(format!("{} under new UIDs", again.len()));
        }
        if !strange.is_empty() {
            wrong(format!("{} messages more", strange.len()));
        }
        let is_new = now.messages.keys().any(|uid| !kept(uid) && *uid < before.next_uid && !again.contains(uid));
        if is_new && now.uid_validity == before.uid_validity {
            wrong("a UID given again".into());
        }
        let same = |uid: &&u32| now.messages.contains_key(uid);
        let flags = |seen: &Seen, uid: &u32| -> BTreeSet<String> {
            let all = &seen.messages[uid].0;
            all.iter().filter(|flag| !(*uid == 2 && *flag == "\\Answered")).cloned().collect()
        };
        let other = before.messages.keys().filter(same).filter(|uid| flags(before, uid) != flags(now, uid)).count();
        if other > 0 {
            wrong(format!("{other} with other flags"));
        }
        let bodies = before.bodies.keys().filter(same).filter(|uid| now.bodies[*uid] != before.bodies[*uid]).count();
        if bodies > 0 {
            wrong(format!("{bodies} without their mail"));
        }
    }
    if let Some(first) = first.as_ref().filter(|first| first.messages.len() == before.messages.len()) {
        if first.counts != before.counts {
            wrong("STATUS is wrong".into());
        }
        if first.unseen != before.unseen || first.deleted != before.deleted {
            wrong("SEARCH is wrong".into());
        }
    }
    for now in [&first, &last].into_iter().flatten().filter(|now| now.uid_validity == before.uid_validity) {
        if now.highest < before.highest {
            is_history = true;
            words.push("HIGHESTMODSEQ back".into());
        }
        if now.next_uid < before.next_uid {
            is_error = true;
            words.push("UIDNEXT back".into());
        }
    }
    if !lines.is_empty() {
        is_error = true;
        words.insert(0, format!("{} lines: \"{}\"", lines.len(), kind_of(&lines[0])));
    }
    words.dedup();
    let mut known = BTreeSet::new();
    words.retain(|word| known.insert(word.clone()));
    let grade = match (is_error, is_history) {
        (true, _) => Severity::Error,
        (_, true) => Severity::Warning,
        _ => Severity::Info,
    };
    Deeds { grade, words: if words.is_empty() { "nothing".into() } else { words.join(", ") } }
}

/// A line of the log without time, process, path and numbers.
fn kind_of(line: &str) -> String {
    let text =
        line.split_once("Error: ").or_else(|| line.split_once("Warning: ")).or_else(|| line.split_once("Panic: "));
    let text = text.map_or(line, |(_, text)| text);
    let words: Vec<String> = text
        .split_whitespace()
        .filter(|word| !word.contains("/tmp") && !word.contains("home/") && !word.starts_with("pid="))
        .map(|word| word.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>())
        .map(|word| word.replace("##########", "N").replace('|', "/"))
        .collect();
    let text = words.join(" ");
    text.chars().take(70).collect()
}

fn judged(home: &Path) -> (Severity, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["check", "--deep", "-v", "-f", "json"])
        .arg(home)
        .output()
        .expect("idx runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let (mut worst, mut codes) = (Severity::Info, BTreeSet::new());
    for one in document["findings"].as_array().expect("findings") {
        let (code, severity) = (one["code"].as_str().expect("a code"), one["severity"].as_str().expect("a severity"));
        let (severity, mark) = match severity {
            "error" => (Severity::Error, ""),
            "warning" => (Severity::Warning, "w"),
            _ => (Severity::Info, "i"),
        };
        worst = worst.max(severity);
        codes.insert(format!("{code}{mark}"));
    }
    if document["not_compared"].as_array().is_some_and(|list| !list.is_empty()) {
        codes.insert("(not compared)".to_owned());
    }
    let words: Vec<String> = codes.into_iter().collect();
    (worst, if words.is_empty() { "silent".into() } else { words.join(" ") })
}

/// Where severity and deeds differ, and why that is right.
const MEANT: &[(&str, &str)] = &[
    ("log: gone", "what the log had behind the index's position is lost; here the index had it all"),
    ("log: major version 9", "what the log had behind the index's position is lost; here the index had it all"),
    ("log: file_seq one higher", "what the log had behind the index's position is lost; here the index had it all"),
    ("log: initial_modseq higher", "the index is past it; a log that is replayed from its beginning counts from there"),
    ("Maildir: a file gone", "what any program may do that deletes mail; no file tells whether it was meant"),
    ("Maildir: a new file", "what every delivery does"),
    ("Maildir: another flag in a file name", "what any program may do that sets flags; the server takes it over"),
    ("mbox: the last message cut off", "what any program may do that deletes mail; the session meets the gap"),
    (
        "sdbox: a file above next_uid",
        "in no mailbox; the delivery that gets its UID fails, as the file at next_uid does",
    ),
    ("mdbox: a folder copied", "the mails are gone from one folder when they are expunged in the other and purged"),
];

const HEAD: &str = "# Severities, and what servers do

Written by `IDX_BLESS=1 cargo test --test severity_live -- --ignored`. Each line is one change of a sound mailbox of ten
messages. `idx` is what `check --deep` finds (a `w` marks warnings, an `i` what is worth knowing). Then what a server does when
sessions read everything, append a message, set a flag, and read everything again: lines in its log, with the first of
them, and what a client sees that was otherwise before. An error of idx is a line in the log, or something else than before
in what a client sees; HIGHESTMODSEQ going back alone is at least a warning. Last, what `check --deep` still finds when the
servers have done what they do.

";

/// One change on one storage: its number and the storage's name, what `check --deep` found before, what the server did,
/// and what was found afterwards.
type Row = ((usize, &'static str), (Severity, String, Deeds, String));

/// Tries all changes on one server.
fn tried_on(installation: &Installation, only: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for format in Format::ALL {
        let settings = [("mail_index_rewrite_min_log_bytes", "128"), ("mail_index_rewrite_max_log_bytes", "256")];
        let dovecot = Dovecot::with(installation.clone(), format, &settings);
        fill(&dovecot);
        let home = dovecot.home();
        let place = Place { root: dovecot.mail_root(), dir: dovecot.index_dir(name_in(format)) };
        let old = SystemTime::now() - Duration::from_secs(3600);
        for path in support::all_below(&home)
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| is_aged(&name.to_string_lossy())))
        {
            fs::File::options().append(true).open(path).and_then(|file| file.set_modified(old)).expect("a time");
        }
        let sound = dovecot.snapshot(&home);
        let before = look(&dovecot);
        let lines = dovecot.error_log();
        assert!(lines.is_empty(), "{} {format:?}: {lines:?}", installation.version());
        for (n, change) in CHANGES.iter().enumerate() {
            if !change.formats.contains(&format) || !change.name.contains(only) {
                continue;
            }
            dovecot.restore(&sound, &home);
            (change.make)(&place);
            for path in support::all_below(&home)
                .into_iter()
                .filter(|path| path.file_name().is_some_and(|name| is_aged(&name.to_string_lossy())))
            {
                let file = fs::File::options().append(true).open(path);
                file.and_then(|file| file.set_modified(old)).expect("a time");
            }
            dovecot.give_back();
            let (severity, codes) = judged(&home);
            let done = deeds(&dovecot, &before);
            rows.push(((n, format.name()), (severity, codes, done, judged(&home).1)));
        }
        dovecot.restore(&sound, &home);
        let done = deeds(&dovecot, &before);
        assert_eq!(done.words, "nothing", "{} {format:?} without a damage", installation.version());
    }
    rows
}

#[test]
#[ignore = "needs dovecot"]
fn the_severity_is_what_a_server_does() {
    let only = std::env::var("IDX_ONLY").unwrap_or_default();
    let installations = Installation::all();
    let mut rows: BTreeMap<(usize, &'static str), Vec<(Severity, String, Deeds, String)>> = BTreeMap::new();
    let tried: Vec<Vec<Row>> = std::thread::scope(|scope| {
        let runs: Vec<_> = installations.iter().map(|one| scope.spawn(|| tried_on(one, &only))).collect();
        runs.into_iter().map(|run| run.join().expect("a server")).collect()
    });
    for (change, row) in tried.into_iter().flatten() {
        rows.entry(change).or_default().push(row);
    }
    let versions: Vec<&str> = installations.iter().map(Installation::version).collect();
    let mut table = format!(
        "| change | storage | idx | {} | idx afterwards |\n|---|---|---|{}---|\n",
        versions.join(" | "),
        "---|".repeat(versions.len())
    );
    let mut wrong = Vec::new();
    for ((n, format), tried) in &rows {
        let name = CHANGES[*n].name;
        let grade = tried.iter().map(|(_, _, done, _)| done.grade).max().expect("a server");
        let severity = tried.iter().map(|(severity, ..)| *severity).max().expect("a server");
        let mut codes: Vec<&str> = tried.iter().map(|(_, codes, ..)| codes.as_str()).collect();
        codes.dedup();
        let words: Vec<&str> = tried.iter().map(|(_, _, done, _)| done.words.as_str()).collect();
        let meant = MEANT.iter().find(|(meant, _)| *meant == name).map(|(_, why)| *why);
        let mut after: Vec<&str> = tried.iter().map(|(.., after)| after.as_str()).collect();
        after.dedup();
        let row =
            format!("| {name} | {format} | {} | {} | {} |", codes.join(" / "), words.join(" | "), after.join(" / "));
        // What the server has thrown away without a word is still told by what it made anew.
        let destroyed = name == "index, log and cache: gone" && *format != "mbox";
        if destroyed
            && after.iter().any(|codes| !codes.contains("D19") && !codes.contains("D6") && !codes.contains("D8"))
        {
            wrong.push(row.clone());
        }
        let _ = writeln!(table, "{row}");
        let differs = match severity {
            Severity::Error => grade < Severity::Warning,
            severity => grade > severity,
        };
        if differs && meant.is_none() {
            wrong.push(row);
        }
    }
    let _ = writeln!(table, "\n## Where they differ, and why\n");
    for (name, why) in MEANT {
        let _ = writeln!(table, "- {name}: {why}.");
    }
    println!("{table}");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evidence/severity.md");
    if std::env::var_os("IDX_BLESS").is_some() && only.is_empty() {
        fs::write(page, format!("{HEAD}{table}")).expect("written");
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}
