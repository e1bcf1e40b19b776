//! What the mail storage itself says of a mailbox: message files, control files, the mdbox map, the mailbox list, other
//! users' flags. Plain values for whoever compares them; nothing is judged here. Each directory is listed once, no link
//! is followed, and a witness that is absent says so.

mod cached;
mod dbox;
#[cfg(feature = "cli")]
mod guids;
mod list;
mod location;
mod maildir;
mod mails;
mod mbox;
mod mdbox_root;
mod messages;
mod roots;

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

pub use cached::Believed;
pub use dbox::{MailFlaw, MapFiles, MapReference, Origin, Sdbox, mails_of, map_uid, refcount};
#[cfg(feature = "cli")]
pub use guids::holders;
pub use list::{InList, Listed, ListedMailbox, Own, hex, own_guid};
pub use location::Location;
use maildir::Asked;
pub use maildir::{KEYWORD_LETTERS, Keywords, Maildir, MessageFile, MessageFiles, NoUidList, UidList, UidListFile};
pub use maildir::{is_saving, list_places};
pub use mails::{Mail, Mails, Place, Reference};
pub use mbox::Mbox;
pub use mdbox_root::{MapState, Roots};
pub use messages::{Messages, SyncState};
pub use roots::tell;

use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::model::replay::{Replayed, Until};
use crate::model::{Chain, ChainFile, Mailbox};
use crate::source::{Dir, Family, MailboxFiles, Meta, MmapPolicy, Role, Signs, Snapshot};

/// How the messages of a mailbox are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// A file for each message, its flags in its name (`maildir-storage.c`).
    Maildir,
    /// A file `u.UID` for each message (`sdbox-storage.c`).
    Sdbox,
    /// Files `m.N` with many messages, found by a map (`mdbox-storage.c`).
    Mdbox,
    /// One file with all messages (`mbox-storage.c`).
    Mbox,
    /// No messages of its own (`virtual-storage.c`).
    Virtual,
}

impl StorageKind {
    /// The kind by the extensions of an index, which every kind but Maildir marks; `has_sdbox_files` tells of `u.N`
    /// beside an index that has lost its marks. A young index has no mark yet and counts as a Maildir's.
    pub fn of(mailbox: &Mailbox, has_sdbox_files: bool) -> StorageKind {
        let has = |name: &[u8]| mailbox.extension(name).is_some();
        if has(b"mdbox-hdr") || has(b"mdbox") {
            StorageKind::Mdbox
        } else if has(b"dbox-hdr") || has_sdbox_files {
            StorageKind::Sdbox
        } else if has(b"virtual") {
            StorageKind::Virtual
        } else if has(b"mbox") {
            StorageKind::Mbox
        } else {
            StorageKind::Maildir
        }
    }
}

/// What stands beside an index to compare it with.
#[derive(Debug)]
pub enum Witness {
    /// Nothing: not compared, for this reason.
    Absent(&'static str),
    /// Nothing, where it must be.
    Missing(Missing),
    /// A Maildir's control files and file names.
    Maildir(Maildir),
    /// The message files of an sdbox.
    Sdbox(Sdbox),
    /// For a mailbox of an mdbox: the state of the map.
    Map(Box<Mailbox>),
    /// For the map of an mdbox: its files and who refers to it.
    MapFiles(MapFiles),
    /// The file of an mbox.
    Mbox(Mbox),
    /// For a mailbox list: the mailboxes on it.
    List(Listed),
    /// For a user's private flags: the state of the shared mailbox.
    Shared(Box<Mailbox>),
}

impl Witness {
    /// The mailbox's GUID, where the storage keeps one.
    fn guid(&self) -> Option<[u8; 16]> {
        match self {
            Witness::Maildir(maildir) => maildir.uidlist.as_ref().ok()?.list.guid,
            _ => None,
        }
    }
}

/// A storage that is not where it must be: the mail root is here, by its control files or by the mails in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: Lost,
    /// Where it should be.
    pub path: PathBuf,
}

/// A kind of storage that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// All files `u.UID` of an sdbox.
    MessageFiles,
    /// `cur/`, `new/` and `dovecot-uidlist` of a Maildir.
    Maildir,
    /// The map of an mdbox.
    Map,
}

/// How much of a storage is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Which UIDs it has: names only.
    Names,
    /// All of it, sizes too.
    All,
}

/// What is known of a mailbox before its storage is looked at, so that it need not be found out again.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownBefore<'a> {
    /// The state that its index files lead to, which are sound.
    pub state: Option<&'a Replayed>,
    /// What a listing of their directory had.
    pub signs: Option<Signs>,
}

/// All that is known of one mailbox at one time, besides what is wrong with its index files.
#[derive(Debug)]
pub struct Witnesses<'a> {
    /// What its index files say.
    pub mailbox: Cow<'a, Mailbox>,
    /// HIGHESTMODSEQ.
    pub highest_modseq: u64,
    /// The files that say it.
    pub snapshot: &'a Snapshot,
    /// How much of the storage was looked at.
    pub depth: Depth,
    /// What its storage says.
    pub storage: Witness,
    /// What the cache says of sizes.
    pub believed: Believed,
    /// What the mailbox list of the root says of it.
    pub in_list: Option<InList>,
}

impl<'a> Witnesses<'a> {
    /// Reads what there is beside index files, which may be not, or not yet, on disk; `None` when they are not sound,
    /// which has to be mended first.
    pub fn of(
        files: &MailboxFiles,
        snapshot: &'a Snapshot,
        KnownBefore { state, signs }: KnownBefore<'a>,
        depth: Depth,
        mmap: MmapPolicy,
    ) -> Option<Witnesses<'a>> {
        let (highest_modseq, mailbox) = match state {
            Some(state) => (state.highest_modseq(), Cow::Borrowed(&state.mailbox)),
            None => {
                let state = state_of(snapshot)?;
                (state.highest_modseq(), Cow::Owned(state.mailbox))
            }
        };
        let dir = files.dir().ok()?;
        let all = depth == Depth::All;
        let cache = snapshot.get(Role::Cache).filter(|_| all);
        let believed = cache.map(|cache| Believed::read(&mailbox, &cache.bytes)).unwrap_or_default();
        let is_mailbox = files.own_family() == Some(Family::Mailbox);
        let storage = match files.family() {
            Family::List => Listed::read(dir, &mailbox, mmap).map_or(Witness::Absent("no list"), Witness::List),
            Family::Map => Witness::MapFiles(MapFiles::read(dir, &mailbox, mmap)),
            Family::Private => match shared(dir, mmap) {
                Some(shared) => Witness::Shared(Box::new(shared)),
                None => Witness::Absent("there is no shared index that can be read"),
            },
            Family::Mailbox if !is_mailbox => Witness::Absent("the index has a name of its own: it is a copy"),
            Family::Mailbox => of_mailbox(dir, &mailbox, signs, Some(&believed).filter(|_| all), mmap),
        };
        let in_list = (all && is_mailbox).then(|| InList::of(dir, &mailbox, storage.guid(), mmap)).flatten();
        Some(Witnesses { mailbox, highest_modseq, snapshot, depth, storage, believed, in_list })
    }

    /// Whether there is an index, or only logs.
    pub fn has_index(&self) -> bool {
        self.snapshot.get(Role::Index).is_some()
    }
}

fn of_mailbox(
    dir: &Dir,
    mailbox: &Mailbox,
    signs: Option<Signs>,
    believed: Option<&Believed>,
    mmap: MmapPolicy,
) -> Witness {
    // What has a uidlist and no file of an sdbox is none, nor is any of it in an alternate storage.
    let is_other = signs.is_some_and(|signs| signs.uidlist && !signs.sdbox_files);
    let is_other = is_other && mailbox.extension(b"dbox-hdr").is_none();
    let beside = if is_other { None } else { Sdbox::beside(dir, believed, signs) };
    let is_certain = || roots::has_control(dir);
    let missing = |what| Witness::Missing(Missing { what, path: dir.path().to_owned() });
    let kind = match StorageKind::of(mailbox, beside.is_some()) {
        // A young index has no mark yet.
        StorageKind::Maildir if mailbox.extension(b"maildir").is_none() => {
            roots::told_kind(dir).unwrap_or(StorageKind::Maildir)
        }
        kind => kind,
    };
    match kind {
        StorageKind::Mdbox => dbox::map_of(dir, mmap),
        StorageKind::Sdbox => match beside.or_else(|| Sdbox::elsewhere(dir, believed)) {
            Some(sdbox) => Witness::Sdbox(sdbox),
            None if is_certain() => missing(Lost::MessageFiles),
            None => Witness::Absent("there are no message files u.N"),
        },
        StorageKind::Maildir => match Maildir::read(
            dir,
            &Asked { index: Some(&mailbox.header), only_new: believed.is_none(), believed, signs },
        ) {
            Witness::Absent(_) if mailbox.extension(b"maildir").is_some() && is_certain() => missing(Lost::Maildir),
            witness => witness,
        },
        StorageKind::Mbox => Mbox::of(dir).map_or(Witness::Absent("the mbox file is not beside .imap/"), Witness::Mbox),
        StorageKind::Virtual => Witness::Absent("virtual mailboxes have no messages of their own"),
    }
}

/// The shared index beside a private one, or in another root.
fn shared(dir: &Dir, mmap: MmapPolicy) -> Option<Mailbox> {
    let own = std::iter::once(dir.clone());
    let mut around = own.chain(roots::counterparts(dir)).map(|dir| MailboxFiles::inside(&dir, Family::Mailbox));
    load(&around.find(|files| !files.present().is_empty())?, mmap)
}

/// The state of an index; `None` when its files are not sound.
pub fn load(files: &MailboxFiles, mmap: MmapPolicy) -> Option<Mailbox> {
    Some(state_of(&files.read(&[Role::Index, Role::OldLog, Role::Log], mmap).ok()?)?.mailbox)
}

fn state_of(snapshot: &Snapshot) -> Option<Replayed> {
    let mut logs = Vec::new();
    for role in [Role::Log, Role::OldLog] {
        if let Some(input) = snapshot.get(role) {
            let log = LogFile::parse(&input.bytes, input.bytes.len() as u64).ok()?;
            logs.push(ChainFile::new(log, &input.bytes));
        }
    }
    let chain = Chain::new(logs);
    chain.head()?;
    let base = match snapshot.get(Role::Index) {
        Some(input) => Mailbox::load(&IndexFile::parse(&input.bytes).ok().filter(|index| index.problems.is_empty())?),
        None => chain.empty_mailbox(),
    };
    let replayed = chain.replay(base, Until::End).ok()?;
    (replayed.stopped.is_none() && replayed.errors.is_empty()).then_some(replayed)
}

/// True when the indexes of the mailbox in a directory are in another root.
pub fn is_indexed_elsewhere(files: &MailboxFiles) -> bool {
    let Ok(dir) = files.dir() else { return false };
    let is_index = |dir: &Dir| !MailboxFiles::inside(dir, Family::Mailbox).present().is_empty();
    roots::around(dir, true).any(|one| one.is_sure && is_index(&one.dir))
}

/// What tells that somebody works on a mailbox or its storage: times and sizes of what changes then.
pub fn stamps(files: &MailboxFiles) -> Vec<Option<Meta>> {
    let Ok(dir) = files.dir() else { return Vec::new() };
    let below = |name: &str| dir.below(name).and_then(|dir| dir.meta()).ok();
    vec![
        files.stat(Role::Log).ok(),
        files.stat(Role::Index).ok(),
        dir.meta().ok(),
        below("cur"),
        below("new"),
        dir.stat("dovecot-uidlist").ok(),
    ]
}

/// Age from which the time of a directory or file proves that it has not changed since, seconds.
const REST: i64 = 10;

/// Whether a time of a storage, UNIX seconds, tells that nothing has changed since: two changes of one moment leave the
/// same time.
fn is_at_rest(mtime: i64) -> bool {
    crate::source::now().saturating_sub(mtime) > REST
}

/// Bytes of a file from an offset on, as many as there are.
fn piece(file: &File, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while let Some(rest) = bytes.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(have as u64)) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.truncate(have);
    bytes
}

/// How files of the plugins for compression and encryption begin: gzip, bzip2, xz, LZ4, Zstandard, mail-crypt.
const CODED: [&[u8]; 6] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"Dovecot-LZ4", b"\x28\xb5\x2f\xfd", b"CRYPTED\x03\x07"];

/// True for the beginning of a compressed or encrypted message.
fn is_coded(head: &[u8]) -> bool {
    CODED.iter().any(|magic| head.starts_with(magic))
}

/// Where a file of a witness is.
fn path_in(dir: &Dir, name: &str) -> PathBuf {
    dir.path().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_no_witness() {
        let home = tempfile::tempdir().expect("directory");
        std::fs::create_dir_all(home.path().join("cur")).expect("directory");
        std::fs::write(home.path().join("dovecot-uidlist"), "3 V1 N2\n1 :a\n").expect("uidlist");
        let keywords = home.path().join("dovecot-keywords");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, keywords, kind, rustix::fs::Mode::RUSR, 0).expect("FIFO");
        let dir = Dir::open(home.path()).expect("open");
        let Witness::Maildir(maildir) = Maildir::read(&dir, &Asked::default()) else { panic!("a Maildir") };
        assert!(maildir.keywords.names.is_none());
        std::fs::remove_file(home.path().join("dovecot-uidlist")).expect("remove");
        std::os::unix::fs::symlink("/dev/zero", home.path().join("dovecot-uidlist")).expect("link");
        let Witness::Maildir(maildir) = Maildir::read(&dir, &Asked::default()) else { panic!("a Maildir") };
        assert!(maildir.uidlist.is_err());
    }
}
