//! The map of an mdbox and all mailboxes that refer to its mails, read once for everybody who asks about one of them
//! (`mdbox-storage-rebuild.c` reads them together as well).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::dbox::{self, Origin};
use super::{Witness, load, roots};
use crate::format::Disk;
use crate::format::ext::MapRecord;
use crate::model::Mailbox;
use crate::source::place::DBOX_MAILS;
use crate::source::{Dir, Family, MailboxFiles, Meta, MmapPolicy, Role};

/// References to one mail that one mailbox has at most: a COPY within it is rare.
const MOST_COPIES: u32 = 64;

/// Roots that were read in this run. A root is read again when its map has changed: no mail is saved, copied or
/// expunged in an mdbox without that.
#[derive(Debug, Default)]
pub struct Roots(Mutex<HashMap<Id, Arc<MdboxRoot>>>);

/// A directory, as [`Dir::id`] tells it.
type Id = (u64, u64);

impl Roots {
    /// The root that a mailbox is in; `None` when it is in no mdbox, or when the map cannot be read.
    pub(super) fn of(&self, dir: &Dir) -> Option<Arc<MdboxRoot>> {
        let (path, _) = roots::dbox_root(dir)?;
        let key = path.id()?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(&key).filter(|root| root.holds()) {
            return Some(Arc::clone(root));
        }
        let root = Arc::new(MdboxRoot::read(dir, &path)?);
        known.insert(key, Arc::clone(&root));
        Some(root)
    }

    /// Reads a mailbox again, whose index was written.
    pub fn changed(&self, files: &MailboxFiles) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = files.dir().ok().and_then(roots::dbox_root).and_then(|(path, _)| path.id());
        if let Some(root) = key.and_then(|key| known.get(&key)) {
            root.write(|refs| refs.take(files, &root.counts));
        }
    }
}

/// All mailboxes of the root, by their directories.
#[derive(Debug, Default)]
struct AllRefs {
    /// The mails that a mailbox refers to.
    by_dir: HashMap<Id, Vec<u32>>,
    /// How often each mail of the map is referred to.
    total: HashMap<u32, u32>,
    /// Mails that the map counts more often.
    left_over: HashSet<u32>,
    /// Mailboxes whose files are not sound.
    unreadable: HashSet<Id>,
}

impl AllRefs {
    /// Before any mailbox was read.
    fn none(counts: &HashMap<u32, u16>) -> AllRefs {
        let counted = counts.iter().filter(|(_, count)| **count > 0).map(|(mail, _)| *mail);
        AllRefs { left_over: counted.collect(), ..AllRefs::default() }
    }

    /// Takes in what a mailbox refers to, in place of what it did. `counts` are those of the map.
    fn take(&mut self, files: &MailboxFiles, counts: &HashMap<u32, u16>) {
        let Some(index) = files.dir().ok().and_then(Dir::id) else { return };
        let before = self.by_dir.remove(&index).unwrap_or_default();
        before.iter().for_each(|mail| {
            self.total.entry(*mail).and_modify(|count| *count = count.saturating_sub(1));
        });
        match load(files, MmapPolicy::default()) {
            Some(mailbox) => {
                self.unreadable.remove(&index);
                let mail = |i: usize| dbox::map_uid(&mailbox, i).filter(|mail| *mail != 0);
                let mails: Vec<u32> = mailbox.positions().filter_map(mail).collect();
                mails.iter().for_each(|mail| *self.total.entry(*mail).or_default() += 1);
                self.by_dir.insert(index, mails);
            }
            None => _ = self.unreadable.insert(index),
        }
        for mail in before.iter().chain(self.by_dir.get(&index).into_iter().flatten()) {
            let counted = counts.get(mail).copied().map_or(0, u32::from);
            match counted > self.total.get(mail).copied().unwrap_or(0) {
                true => self.left_over.insert(*mail),
                false => self.left_over.remove(mail),
            };
        }
    }
}

/// An mdbox: its map and who refers to the mails in it.
#[derive(Debug)]
pub struct MdboxRoot {
    /// The directory with the map and the files `m.N`.
    storage: Dir,
    /// The map's files when it was read.
    stamp: [Option<Meta>; 3],
    /// How often each mail is counted, by map UID (`ref` records).
    counts: HashMap<u32, u16>,
    /// Where each mail is.
    places: HashMap<u32, MapRecord>,
    /// `uid_validity` of the map, which each mailbox has a copy of.
    uid_validity: u32,
    /// Every directory below the root could be read.
    is_whole: bool,
    /// Directories of mailboxes without an index.
    bare: Vec<Option<Id>>,
    refs: RwLock<AllRefs>,
}

impl MdboxRoot {
    /// The map first: a mail is in it before a mailbox refers to it.
    fn read(dir: &Dir, path: &Dir) -> Option<MdboxRoot> {
        let storage = path.below("storage").ok()?;
        let stamp = stamp(&storage);
        let Witness::Map(map) = dbox::map_of(dir, MmapPolicy::default()) else { return None };
        let counts = map.positions().map(|i| (map.uid(i), dbox::refcount(&map, i).unwrap_or(0))).collect();
        let mut refs = AllRefs::none(&counts);
        let mut bare = Vec::new();
        let mailboxes = path.below("mailboxes").ok()?;
        let all = dbox::each_mailbox(mailboxes, &mut |dir| bare.push(dir.id()), &mut |files| {
            refs.take(&files, &counts);
            Some(())
        });
        let place = |i: usize| Some((map.uid(i), place_of(&map, i)?));
        let root = MdboxRoot {
            storage,
            stamp,
            counts,
            places: map.positions().filter_map(place).collect(),
            uid_validity: map.header.uid_validity,
            is_whole: all.is_some(),
            bare,
            refs: RwLock::default(),
        };
        root.write(|all| *all = refs);
        Some(root)
    }

    fn holds(&self) -> bool {
        self.stamp == stamp(&self.storage)
    }

    fn refs<T>(&self, ask: impl FnOnce(&AllRefs) -> T) -> T {
        ask(&self.refs.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut AllRefs)) {
        change(&mut self.refs.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn place_of(map: &Mailbox, i: usize) -> Option<MapRecord> {
    let bytes = map.ext_bytes(i, map.extension(b"map")?).filter(|bytes| bytes.len() >= MapRecord::SIZE)?;
    Some(MapRecord::read(bytes, map.endian))
}

fn stamp(storage: &Dir) -> [Option<Meta>; 3] {
    let files = MailboxFiles::inside(storage, Family::Map);
    [Role::Index, Role::Log, Role::OldLog].map(|role| files.stat(role).ok())
}

/// What the map and the other mailboxes of the root say of the mails of one mailbox.
#[derive(Clone, Debug)]
pub struct MapState {
    root: Arc<MdboxRoot>,
    /// The directory of this mailbox, and its path below the root.
    own: Id,
    below: Vec<u8>,
    /// What the metadata of mails say that were asked for.
    origins: HashMap<u32, Origin>,
}

impl PartialEq for MapState {
    fn eq(&self, other: &MapState) -> bool {
        Arc::ptr_eq(&self.root, &other.root) && self.own == other.own && self.origins == other.origins
    }
}

impl Eq for MapState {}

impl MapState {
    pub(super) fn new(root: Arc<MdboxRoot>, files: &MailboxFiles) -> Option<MapState> {
        let dir = files.dir().ok()?;
        let (_, below) = roots::dbox_root(dir)?;
        Some(MapState { root, own: dir.id()?, below, origins: HashMap::new() })
    }

    /// `uid_validity` of the map.
    pub fn uid_validity(&self) -> u32 {
        self.root.uid_validity
    }

    /// True when every other mailbox of the root can be read: then nobody else refers to a mail that is left over.
    pub fn is_complete(&self) -> bool {
        self.root.is_whole
            && self.root.bare.iter().all(|dir| *dir == Some(self.own))
            && self.root.refs(|refs| refs.unreadable.iter().all(|index| *index == self.own))
    }

    /// How often each mail is counted that other mailboxes do not account for; mails without such a rest are left out.
    pub fn rest(&self) -> HashMap<u32, u32> {
        self.root.refs(|refs| {
            let mut own: HashMap<u32, u32> = HashMap::new();
            let known = refs.by_dir.get(&self.own).into_iter().flatten();
            known.for_each(|mail| *own.entry(*mail).or_default() += 1);
            let taken = |mail: u32| {
                let all = refs.total.get(&mail).copied().unwrap_or(0);
                all.saturating_sub(own.get(&mail).copied().unwrap_or(0))
            };
            let counted = |mail: u32| self.root.counts.get(&mail).copied().map_or(0, u32::from);
            // Of all other mails as many as are counted are the other mailboxes'.
            let mails = own.keys().chain(&refs.left_over).copied();
            mails.map(|mail| (mail, counted(mail).saturating_sub(taken(mail)))).filter(|(_, rest)| *rest > 0).collect()
        })
    }

    /// Mails of which more references are counted than these and those of the other mailboxes, each as often as more
    /// are, and mails of which fewer are; `None` when another mailbox cannot be read.
    pub fn balance(&self, own: &HashMap<u32, u32>) -> Option<(Vec<u32>, Vec<u32>)> {
        if !self.is_complete() {
            return None;
        }
        let rest = self.rest();
        let known = |all: &HashMap<u32, u32>, mail: &u32| all.get(mail).copied().unwrap_or(0);
        let more = |(mail, rest): (&u32, &u32)| {
            // So often no mailbox refers to one mail: such a count is damaged, and tells that it is above none.
            let count = rest.saturating_sub(known(own, mail));
            std::iter::repeat_n(*mail, if count > MOST_COPIES { 1 } else { count as usize })
        };
        let mut orphans: Vec<u32> = rest.iter().flat_map(more).collect();
        let mut over: Vec<u32> =
            own.iter().filter(|(mail, count)| **count > known(&rest, mail)).map(|(mail, _)| *mail).collect();
        orphans.sort_unstable();
        over.sort_unstable();
        Some((orphans, over))
    }

    /// Reads the metadata of mails, for [`MapState::origin`].
    pub fn ask(&mut self, mails: impl Iterator<Item = u32>) {
        for mail in mails {
            let Some(place) = self.root.places.get(&mail) else { continue };
            let Ok(file) = self.root.storage.file(format!("m.{}", place.file_id)) else { continue };
            let at = u64::from(place.offset);
            let origin = Origin::read(&file, at, at.saturating_add(place.size.into()));
            self.origins.insert(mail, origin.unwrap_or_default());
        }
    }

    /// What the metadata of a mail say; `None` when nobody has asked for them yet.
    pub fn origin(&self, mail: u32) -> Option<&Origin> {
        self.origins.get(&mail)
    }

    /// The name of this mailbox as metadata have it (`B`), where directories are called as mailboxes are.
    pub fn name(&self) -> Option<Vec<u8>> {
        let name = self.below.strip_prefix(b"mailboxes/")?;
        Some(name.strip_suffix(&[b"/", DBOX_MAILS].concat()[..]).unwrap_or(name).to_vec())
    }
}
