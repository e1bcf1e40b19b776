//! Finds every mailbox below a directory and hands each to a pool of threads, in memory that does not grow with the
//! tree.
//!
//! One thread lists directories, depth first and in the order of their names' bytes; the others work on what it finds;
//! results come out in the order of the walk. Symbolic links are not followed, and file systems mounted below a root
//! are left out unless they are asked for. Nothing is written, and access times stay where the kernel allows it.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use rustix::fs::{FileType, OFlags};

use super::bytes::MmapPolicy;
use super::dir::{Dir, names, open_dir, open_regular};
use super::fileset::{Family, MailboxFiles, PathError, Role, recognise};
use super::generation::{Generation, Snapshot};
use super::guard::guarded;
use super::meta::{Meta, Special};
use super::place::{self, DOT_IMAP, Named, Signs};
use crate::format::ext::IndexFlavor;
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::format::{FileKind, record::RecordType};

/// Directories that never hold mailboxes: full text search data and snapshots of file servers.
const NOT_MAIL: [&[u8]; 4] = [b"fts-flatcurve", b"xapian-indexes", b"lucene-indexes", b".snapshot"];
/// Directories that are open at a time because their children are still to be listed; deeper ones are reached by their
/// path.
const MAX_OPEN: usize = 100;
/// Directories given to a thread at a time where little is done in each.
const BATCH: usize = 16;
/// Directories that may be open for the threads.
const OPEN_FOR_WORK: usize = 384;
/// Descriptors that a thread needs for one mailbox: its files, and what is beside it.
const OPEN_EACH: usize = 12;
/// Descriptors that the rest of the program may need.
const OPEN_ELSE: usize = 16;
/// A directory that changed this recently (seconds) may change again without its timestamp telling.
const FRESH: i64 = 2;
/// Bytes read of a file with an unusual name to find out what it is.
const HEAD: usize = 64 << 10;

/// A directory or file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WalkError {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The files of one index in a directory.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Whose index it is.
    pub family: Family,
    /// Its files by name.
    pub files: MailboxFiles,
    /// Roles under whose names there was something else than a regular file.
    pub special: Vec<(Role, Special)>,
    /// The roles whose files were there when the directory was listed.
    present: u8,
}

impl Unit {
    /// True when a file with that role was there when the directory was listed.
    pub fn has(&self, role: Role) -> bool {
        self.present & bit(role) != 0
    }

    /// True when there is no regular file at all.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// True when there is nothing but a cache: the index is in another root (`mail_cache_path`).
    pub fn is_cache_only(&self) -> bool {
        self.present == bit(Role::Cache)
    }
}

const fn bit(role: Role) -> u8 {
    1 << role as u8
}

/// A directory with index files.
#[derive(Debug)]
pub struct Found {
    /// The directory, below the root as the caller wrote it.
    pub dir: PathBuf,
    /// What else is in it.
    pub signs: Signs,
    /// Its indexes: usually one, and the mailbox list beside the INBOX.
    pub units: Vec<Unit>,
    home: Dir,
    path: Vec<u8>,
    shown: Arc<Shown>,
    root: Option<MailRoot>,
    state: Option<DirState>,
}

/// The mail root that directories belong to.
#[derive(Clone, Debug)]
struct MailRoot {
    /// Length of its path.
    len: usize,
    /// The directory, open since the walk came by: its path may lead elsewhere by now.
    dir: Dir,
}

/// The root of a walk: as the caller wrote it, and without links, for names.
#[derive(Debug)]
struct Shown {
    given: PathBuf,
    canonical: PathBuf,
}

impl Shown {
    fn path(&self, canonical: &[u8]) -> PathBuf {
        let below = canonical.get(self.canonical.as_os_str().len()..).unwrap_or_default();
        match below.strip_prefix(b"/").unwrap_or(below) {
            [] => self.given.clone(),
            below => self.given.join(OsStr::from_bytes(below)),
        }
    }
}

/// The state of a directory before it was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DirState {
    dev: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl DirState {
    fn of(fd: impl AsFd) -> Option<DirState> {
        let meta = Meta::of(fd).ok()?;
        Some(DirState { dev: meta.stat.dev, mtime: meta.stat.mtime, ctime: meta.ctime })
    }

    fn is_old(&self) -> bool {
        self.mtime.0.max(self.ctime.0) < super::now() - FRESH
    }
}

impl Found {
    /// The name of the mailbox as the path tells it.
    pub fn named(&self) -> Named {
        place::name_of(&self.path, self.root.as_ref().map(|root| root.len), &self.signs)
    }

    /// The mail root that the directory belongs to.
    pub fn mail_root(&self) -> Option<&Dir> {
        self.root.as_ref().map(|root| &root.dir)
    }

    /// The files that an index of a family has in this directory.
    pub fn files(&self, family: Family) -> MailboxFiles {
        MailboxFiles::inside(&self.home, family)
    }

    /// The root of the walk that it was found below, as the caller wrote it.
    pub fn top(&self) -> &Path {
        &self.shown.given
    }

    /// The user whose mail it is, where the path below the root of the walk tells.
    pub fn user(&self) -> Option<String> {
        let root = self.root.as_ref().map_or_else(|| place::probable_root(&self.path), |root| root.len);
        place::user_of(&self.shown.canonical, self.path.get(..root)?)
    }

    /// Reads files of one of the units as one set, as [`MailboxFiles::read`] does it, with fewer system calls: when the
    /// directory has not changed since before it was listed, no file in it was replaced.
    ///
    /// # Errors
    /// As [`MailboxFiles::read`].
    pub fn read(&self, unit: &Unit, roles: &[Role], policy: MmapPolicy) -> Result<Snapshot, PathError> {
        if let Some(state) = self.state.filter(DirState::is_old)
            && let Ok(dir) = unit.files.dir()
        {
            let there: Vec<Role> = roles.iter().copied().filter(|role| unit.has(*role)).collect();
            let set = Generation::open_once(&unit.files, &there, &unit.special);
            if let Ok(snapshot) = set.and_then(|set| set.snapshot(policy))
                && DirState::of(dir) == Some(state)
            {
                return Ok(snapshot);
            }
        }
        unit.files.read(roles, policy)
    }
}

/// Does the work for one directory; what panics is an error of that directory.
fn alone<T>(found: Found, work: impl Fn(Found) -> T) -> Result<T, WalkError> {
    let path = found.dir.clone();
    guarded(|| work(found)).map_err(|panic| WalkError { path, source: io::Error::other(panic) })
}

/// How to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Threads that work on what is found.
    pub jobs: usize,
    /// Whether file systems that are mounted below a root are walked too.
    pub cross: bool,
    /// Whether directories are found that have messages with UIDs, but no index.
    pub bare: bool,
    /// Directories given to a thread at a time: few where there is much to do in each.
    pub batch: usize,
}

impl From<usize> for Walk {
    fn from(jobs: usize) -> Walk {
        Walk { jobs, cross: false, bare: false, batch: BATCH }
    }
}

/// Finds every directory with index files below `roots` and calls `work` for each on several threads; `each` gets the
/// results, and the errors, in the order of the walk, and may end it. Where the system allows no threads, this one does
/// it all.
pub fn walk<T: Send>(
    roots: &[PathBuf],
    how: impl Into<Walk>,
    work: impl Fn(Found) -> T + Sync,
    mut each: impl FnMut(Result<T, WalkError>) -> ControlFlow<()>,
) {
    let how = how.into();
    let Room { jobs, max_open, for_work } = Room::within(open_limit(), how.jobs.max(1));
    let window = 2 * jobs + 2;
    let batch_len = (for_work / window).clamp(1, how.batch.max(1));
    let stop = AtomicBool::new(false);
    let (work, stop) = (&work, &stop);
    let done = std::thread::scope(|scope| {
        let (to_workers, from_lister) = sync_channel::<(u64, Vec<Result<Found, WalkError>>)>(jobs);
        let (to_end, from_workers) = channel::<(u64, Vec<Result<T, WalkError>>)>();
        // One for each batch that is under way: this is what bounds memory and open files.
        let (take, release) = sync_channel::<()>(window);
        let from_lister = Arc::new(Mutex::new(from_lister));
        let worker = || {
            let (from_lister, to_end) = (Arc::clone(&from_lister), to_end.clone());
            move || {
                loop {
                    let next = from_lister.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, batch)) = next else { return };
                    let results = batch.into_iter().map(|found| found.and_then(|found| alone(found, work))).collect();
                    if to_end.send((number, results)).is_err() {
                        return;
                    }
                }
            }
        };
        let workers = (0..jobs).take_while(|_| Builder::new().spawn_scoped(scope, worker()).is_ok()).count();
        let lister = move || {
            let mut lister = Lister::new(roots, how, max_open);
            let mut number = 0;
            loop {
                let batch: Vec<_> = lister.by_ref().take(batch_len).collect();
                if batch.is_empty() || stop.load(Ordering::Relaxed) {
                    return;
                }
                if take.send(()).is_err() || to_workers.send((number, batch)).is_err() {
                    return;
                }
                number += 1;
            }
        };
        // Without it the workers have nothing to wait for, and end.
        if workers == 0 || Builder::new().spawn_scoped(scope, lister).is_err() {
            return false;
        }
        drop((from_lister, to_end));
        let mut early = BTreeMap::new();
        let mut next = 0;
        'results: for (number, results) in &from_workers {
            early.insert(number, results);
            while let Some(results) = early.remove(&next) {
                for result in results {
                    if each(result).is_break() {
                        stop.store(true, Ordering::Relaxed);
                        break 'results;
                    }
                }
                let _ = release.recv();
                next += 1;
            }
        }
        true
    });
    if !done {
        let _ =
            Lister::new(roots, how, max_open).try_for_each(|found| each(found.and_then(|found| alone(found, work))));
    }
}

/// Descriptors that this process may have.
fn open_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How the descriptors that a process may have are shared out, so that a walk never runs out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Threads; 0 where there is only room for one mailbox at a time.
    jobs: usize,
    /// Directories of the way down that stay open.
    max_open: usize,
    /// Directories that wait for a thread.
    for_work: usize,
}

impl Room {
    fn within(limit: usize, jobs: usize) -> Room {
        let spare = limit.saturating_sub(OPEN_ELSE);
        let max_open = (spare / 8).clamp(1, MAX_OPEN);
        // Each of them may hold the mail root that it belongs to, too.
        let for_work = (spare / 6).min(OPEN_FOR_WORK);
        // Each thread has its own, and two batches of at least one directory more.
        let jobs = jobs.min(spare.saturating_sub(max_open + 2 * for_work) / (OPEN_EACH + 4));
        Room { jobs, max_open, for_work }
    }
}

/// Names of subdirectories, in one piece of memory.
#[derive(Debug, Default)]
struct NameList {
    bytes: Vec<u8>,
    ends: Vec<(u32, u32)>,
}

impl NameList {
    fn push(&mut self, name: &[u8]) {
        // A directory with four gigabytes of names would not be listed to its end.
        let (Ok(start), Ok(end)) = (u32::try_from(self.bytes.len()), u32::try_from(self.bytes.len() + name.len()))
        else {
            return;
        };
        self.bytes.extend_from_slice(name);
        self.ends.push((start, end));
    }

    fn get(&self, i: usize) -> Option<&[u8]> {
        let (start, end) = *self.ends.get(i)?;
        self.bytes.get(start as usize..end as usize)
    }

    fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let name = |(start, end): &(u32, u32)| bytes.get(*start as usize..*end as usize).unwrap_or_default();
        self.ends.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        self.bytes = bytes;
    }
}

/// A directory whose children are being walked.
#[derive(Debug)]
struct Frame {
    fd: Option<Arc<OwnedFd>>,
    path_len: usize,
    children: NameList,
    next: usize,
    root: Option<MailRoot>,
}

/// Lists directories depth first.
struct Lister {
    roots: VecDeque<PathBuf>,
    /// The file system of the present root.
    dev: Option<u64>,
    /// Whether directories on other file systems are listed.
    cross: bool,
    /// Directories of the way down that stay open.
    max_open: usize,
    /// Whether directories with messages and without index are found.
    bare: bool,
    shown: Arc<Shown>,
    path: Vec<u8>,
    stack: Vec<Frame>,
    buffer: Vec<MaybeUninit<u8>>,
}

impl Iterator for Lister {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(frame) = self.stack.last_mut() else {
                let root = self.roots.pop_front()?;
                match self.start(root) {
                    Ok(Some(found)) => return Some(Ok(found)),
                    Ok(None) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            self.path.truncate(frame.path_len);
            let Some(name) = frame.children.get(frame.next) else {
                self.stack.pop();
                continue;
            };
            if !self.path.ends_with(b"/") {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            frame.next += 1;
            let near = frame.fd.as_ref().map(|fd| open_dir(fd.as_fd(), name));
            let root = frame.root.clone();
            let depth = self.stack.len();
            let opened = near.unwrap_or_else(|| self.open_deep());
            match opened.and_then(|fd| self.list(fd, root, depth)) {
                Ok(Some(found)) => return Some(Ok(found)),
                Ok(None) => {}
                // Deleted since its parent was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Some(Err(WalkError { path: self.shown.path(&self.path), source })),
            }
        }
    }
}

impl Lister {
    fn new(roots: &[PathBuf], how: Walk, max_open: usize) -> Lister {
        Lister {
            dev: None,
            cross: how.cross,
            bare: how.bare,
            max_open,
            roots: roots.iter().cloned().collect(),
            shown: Arc::new(Shown { given: PathBuf::new(), canonical: PathBuf::new() }),
            path: Vec::new(),
            stack: Vec::new(),
            buffer: vec![MaybeUninit::uninit(); 32 << 10],
        }
    }

    fn start(&mut self, given: PathBuf) -> Result<Option<Found>, WalkError> {
        let top = match Dir::open(&given) {
            Ok(top) => top,
            Err(source) => return Err(WalkError { path: given, source }),
        };
        let canonical = top.real_path();
        self.path = canonical.as_os_str().as_bytes().to_vec();
        let root = root_above(&top, &canonical);
        self.shown = Arc::new(Shown { given, canonical });
        open_dir(top.as_fd(), b".")
            .and_then(|fd| self.list(fd, root, 0))
            .map_err(|source| WalkError { path: self.shown.given.clone(), source })
    }

    /// Lists the directory at `self.path`.
    fn list(&mut self, fd: OwnedFd, above: Option<MailRoot>, depth: usize) -> io::Result<Option<Found>> {
        let state = DirState::of(&fd);
        let dev = state.map(|state| state.dev);
        if depth == 0 {
            self.dev = dev;
        } else if dev != self.dev && !self.cross {
            return Ok(None);
        }
        let fd = Arc::new(fd);
        let mut entries = Entries::default();
        names(&fd, &mut self.buffer, |name, kind| {
            match kind {
                FileType::Directory => entries.note(name, true),
                FileType::RegularFile => entries.note(name, false),
                _ => {}
            }
            if let (Some(special), Some((family, role))) = (Special::of(kind), known_name(name)) {
                entries.special.push((family, role, special));
            }
            ControlFlow::Continue(())
        })?;
        let home = Dir::of_fd(Arc::clone(&fd), &self.shown.path(&self.path));
        let len = place::root_of(&self.path, above.as_ref().map(|root| root.len), &entries.signs);
        let root = match len {
            None => None,
            len if len == above.as_ref().map(|root| root.len) => above,
            Some(len) if len == self.path.len() => Some(MailRoot { len, dir: home.clone() }),
            Some(len) => home.above().map(|(dir, _)| MailRoot { len, dir }),
        };
        let found = self.found(&entries, home, state, root.clone());
        let Entries { mut children, signs, .. } = entries;
        if signs.is_maildir() {
            // These hold messages, and may hold very many.
            let keep = |name: &[u8]| !matches!(name, b"cur" | b"new" | b"tmp");
            let mut kept = NameList::default();
            (0..children.ends.len()).filter_map(|i| children.get(i)).filter(|n| keep(n)).for_each(|n| kept.push(n));
            children = kept;
        }
        if !children.ends.is_empty() {
            children.sort();
            let fd = (depth < self.max_open).then_some(fd);
            self.stack.push(Frame { fd, path_len: self.path.len(), children, next: 0, root });
        }
        Ok(found)
    }

    fn found(&self, entries: &Entries, home: Dir, state: Option<DirState>, root: Option<MailRoot>) -> Option<Found> {
        let has_messages = self.bare && (entries.signs.sdbox_files || entries.signs.uidlist);
        if entries.is_empty() && !has_messages {
            return None;
        }
        let mut units = Vec::new();
        for family in Family::ALL {
            let present = entries.present[family as usize];
            let is_it = |(of, role, special): &(Family, Role, Special)| (*of == family).then_some((*role, *special));
            let special: Vec<_> = entries.special.iter().filter_map(is_it).collect();
            if present != 0 || !special.is_empty() {
                let files = MailboxFiles::inside(&home, family);
                units.push(Unit { family, files, special, present });
            }
        }
        for (stem, present) in &entries.odd {
            if let Some(family) = family_by_content(home.as_fd(), stem) {
                let files = MailboxFiles::within(&home, stem);
                units.push(Unit { family, files, special: Vec::new(), present: *present });
            }
        }
        (!units.is_empty() || has_messages).then(|| Found {
            dir: home.path().to_owned(),
            signs: entries.signs,
            units,
            home,
            path: self.path.clone(),
            shown: Arc::clone(&self.shown),
            root,
            state,
        })
    }

    /// Opens the directory at `self.path`, whose parent is no longer open, from the deepest one that is.
    fn open_deep(&self) -> io::Result<OwnedFd> {
        let open = self.stack.iter().rev().find_map(|frame| Some((frame.fd.as_ref()?, frame.path_len)));
        // The root of the walk always is.
        let (fd, len) = open.ok_or(io::ErrorKind::NotFound)?;
        let below = self.path.get(len..).unwrap_or_default();
        open_dir(fd.as_fd(), below.strip_prefix(b"/").unwrap_or(below))
    }
}

/// What was noted of a directory's entries.
#[derive(Debug, Default)]
struct Entries {
    signs: Signs,
    children: NameList,
    present: [u8; 4],
    odd: BTreeMap<Vec<u8>, u8>,
    special: Vec<(Family, Role, Special)>,
}

impl Entries {
    fn is_empty(&self) -> bool {
        self.present == [0; 4] && self.odd.is_empty() && self.special.is_empty()
    }

    fn note(&mut self, name: &[u8], is_dir: bool) {
        self.signs.note(name, is_dir);
        if is_dir {
            if !NOT_MAIL.contains(&name) {
                self.children.push(name);
            }
        } else if let Some((family, role)) = known_name(name) {
            self.present[family as usize] |= bit(role);
        } else if let Some((stem, role)) = odd_name(name) {
            *self.odd.entry(stem.to_vec()).or_default() |= bit(role);
        }
    }
}

/// Whose index a name of Dovecot's belongs to, and what the file is for.
fn known_name(name: &[u8]) -> Option<(Family, Role)> {
    if !name.starts_with(b"dovecot.") {
        return None;
    }
    Family::ALL.into_iter().find_map(|family| {
        let suffix = name.strip_prefix(family.prefix().as_bytes())?;
        Some((family, Role::ALL.into_iter().find(|role| role.suffix().as_bytes() == suffix)?))
    })
}

/// Index files under another name (`mailbox_list_index_prefix`, copies): only `*.index` and what belongs to it.
fn odd_name(name: &[u8]) -> Option<(&[u8], Role)> {
    if known_name(name).is_some() {
        return None;
    }
    Role::ALL.into_iter().find_map(|role| {
        let stem = name.strip_suffix(role.suffix().as_bytes())?;
        (stem.ends_with(b".index") && stem.len() > 6).then_some((stem, role))
    })
}

/// What kind of index files with that stem are; `None` when they are none.
fn family_by_content(dir: BorrowedFd<'_>, stem: &[u8]) -> Option<Family> {
    let mut flavor = None;
    for role in [Role::Log, Role::Index] {
        let name = [stem, role.suffix().as_bytes()].concat();
        let Ok((file, meta)) = open_regular(dir, &name, OFlags::NOFOLLOW) else { continue };
        let mut head = Vec::new();
        let size = meta.stat.size;
        if file.take(HEAD as u64).read_to_end(&mut head).is_err() {
            continue;
        }
        if recognise(Path::new(OsStr::from_bytes(stem)), &head, size) != Some(role.kind()) {
            continue;
        }
        let mut names: Vec<Vec<u8>> = Vec::new();
        match role.kind() {
            FileKind::Log => {
                let Ok(log) = LogFile::parse(&head, size) else { continue };
                for record in log.records(&head).filter(|record| record.kind() == Some(RecordType::ExtIntro)) {
                    names.extend(record.intros().map(|intro| intro.name.to_vec()));
                }
            }
            _ => {
                let Ok(index) = IndexFile::parse(&head) else { continue };
                names.extend(index.extensions.iter().map(|ext| ext.name.to_vec()));
            }
        }
        let guess = IndexFlavor::guess(&names);
        if flavor.is_none_or(|known| known == IndexFlavor::Mailbox) {
            flavor = Some(guess);
        }
    }
    Some(match flavor? {
        IndexFlavor::Mailbox => Family::Mailbox,
        IndexFlavor::List => Family::List,
        IndexFlavor::Map => Family::Map,
    })
}

/// The mail root that the root of a walk lies in, if it is inside one.
fn root_above(top: &Dir, canonical: &Path) -> Option<MailRoot> {
    const NAMES: [&str; 4] =
        ["dovecot.list.index.log", "dovecot.list.index", "dovecot-uidvalidity", "dovecot.mailbox.log"];
    let is_root = |dir: &Dir| NAMES.iter().any(|name| dir.stat(name).is_ok_and(|meta| meta.special.is_none()));
    let mut above = canonical.ancestors().zip(top.upwards()).skip(1).take(8);
    let (path, dir) = above.find(|(_, dir)| is_root(dir) || dir.below(DOT_IMAP).is_ok_and(|imap| is_root(&imap)))?;
    let in_imap = path.file_name().is_some_and(|name| name.as_bytes() == DOT_IMAP);
    let (path, dir) = match in_imap.then(|| path.parent().zip(dir.above())).flatten() {
        Some((path, (dir, _))) => (path, dir),
        None => (path, dir),
    };
    Some(MailRoot { len: path.as_os_str().len(), dir })
}
