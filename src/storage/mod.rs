//! What the mail storage itself says of a mailbox: message files, control files, the mdbox map, the mailbox list, other
//! users' flags. Plain values for whoever compares them; nothing is judged here. Each directory is listed once, no link
//! is followed, and a witness that is absent says so.

mod dbox;
mod list;
mod maildir;
mod messages;
mod roots;

use std::path::PathBuf;

pub use dbox::{MapFiles, MapReference, Sdbox, map_uid};
pub use list::{Listed, ListedMailbox, hex};
pub use maildir::{KEYWORD_LETTERS, Maildir, UidList, UidListFile, base_name};
pub use messages::{MapState, Messages};

use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::model::replay::Until;
use crate::model::{Chain, ChainFile, Mailbox};
use crate::source::{Dir, Family, MailboxFiles, Meta, MmapPolicy, Role, Snapshot};

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
    /// A Maildir's control files and file names.
    Maildir(Maildir),
    /// The message files of an sdbox.
    Sdbox(Sdbox),
    /// For a mailbox of an mdbox: the state of the map.
    Map(Box<Mailbox>),
    /// For the map of an mdbox: its files and who refers to it.
    MapFiles(MapFiles),
    /// For a mailbox list: the mailboxes on it.
    List(Listed),
    /// For a user's private flags: the state of the shared mailbox.
    Shared(Box<Mailbox>),
}

/// All that is known of one mailbox at one time, besides what is wrong with its index files.
#[derive(Debug)]
pub struct Witnesses {
    /// What its index files say.
    pub mailbox: Mailbox,
    /// Whether there is an index, or only logs.
    pub has_index: bool,
    /// Its directory.
    pub directory: Option<Meta>,
    /// Its index files.
    pub files: Vec<(Role, Meta)>,
    /// What its storage says.
    pub storage: Witness,
}

impl Witnesses {
    /// Reads what there is; `None` when the index files are not sound, which has to be mended first.
    pub fn read(files: &MailboxFiles, mmap: MmapPolicy) -> Option<Witnesses> {
        let snapshot = files.read(&[Role::Index, Role::OldLog, Role::Log], mmap).ok()?;
        let mailbox = state_of(&snapshot)?;
        let dir = files.dir().ok()?;
        let storage = match files.family() {
            Family::List => Listed::read(dir, &mailbox, mmap).map_or(Witness::Absent("no list"), Witness::List),
            Family::Map => Witness::MapFiles(MapFiles::read(dir, mmap)),
            Family::Private => match shared(dir, mmap) {
                Some(shared) => Witness::Shared(Box::new(shared)),
                None => Witness::Absent("no shared index"),
            },
            Family::Mailbox => {
                let beside = Sdbox::beside(dir);
                match StorageKind::of(&mailbox, beside.is_some()) {
                    StorageKind::Mdbox => dbox::map_of(dir, mmap),
                    StorageKind::Sdbox => match beside.or_else(|| Sdbox::elsewhere(dir)) {
                        Some(sdbox) => Witness::Sdbox(sdbox),
                        None => Witness::Absent("no message files"),
                    },
                    StorageKind::Maildir => Maildir::read(dir),
                    StorageKind::Mbox => Witness::Absent("mbox files are not read"),
                    StorageKind::Virtual => Witness::Absent("virtual mailboxes have no messages of their own"),
                }
            }
        };
        let metas = Role::ALL.into_iter().filter_map(|role| Some((role, files.stat(role).ok()?)));
        Some(Witnesses {
            mailbox,
            has_index: snapshot.get(Role::Index).is_some(),
            directory: dir.meta().ok(),
            files: metas.collect(),
            storage,
        })
    }
}

/// The shared index beside a private one, or in another root.
fn shared(dir: &Dir, mmap: MmapPolicy) -> Option<Mailbox> {
    let name = Family::Mailbox.prefix().as_bytes();
    let own = std::iter::once(dir.clone());
    let mut around = own.chain(roots::counterparts(dir)).map(|dir| MailboxFiles::within(&dir, name));
    load(&around.find(|files| !files.present().is_empty())?, mmap)
}

/// The state of an index; `None` when its files are not sound.
pub fn load(files: &MailboxFiles, mmap: MmapPolicy) -> Option<Mailbox> {
    state_of(&files.read(&[Role::Index, Role::OldLog, Role::Log], mmap).ok()?)
}

fn state_of(snapshot: &Snapshot) -> Option<Mailbox> {
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
    (replayed.stopped.is_none() && replayed.errors.is_empty()).then_some(replayed.mailbox)
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
        let Witness::Maildir(maildir) = Maildir::read(&dir) else { panic!("a Maildir") };
        assert!(maildir.keywords.is_none());
        std::fs::remove_file(home.path().join("dovecot-uidlist")).expect("remove");
        std::os::unix::fs::symlink("/dev/zero", home.path().join("dovecot-uidlist")).expect("link");
        assert!(matches!(Maildir::read(&dir), Witness::Absent(_)));
    }
}
