//! `idx dump`: reads one file, and what the files around it say of it. Nothing is replayed, nothing is judged.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::load;
use crate::format::cache::Cache;
use crate::format::changes::Effect;
use crate::format::index::IndexFile;
use crate::format::intros::ExtNames;
use crate::format::log::LogFile;
use crate::format::{FileKind, Flaw, FlawKind};
use crate::logs::history::names_before;
use crate::model::{Chain, UidSet};
use crate::source::{
    self, Generation, Input, LogStream, MailboxFiles, MmapPolicy, PathError, Role, Single, Tail, recognise,
};

/// The JSON schema of every document and line.
pub const SCHEMA: &str = "idx.dump/1";

/// Logs from this size on are read in pieces, so that memory does not grow with them.
const STREAM_FROM: u64 = 4 << 20;

/// What to show of each file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these sections; all when `None`.
    pub sections: Option<Vec<Section>>,
    /// Only records of these messages.
    pub uid: Option<UidSet>,
    /// At most this many records per file.
    pub limit: Option<u64>,
    /// Name and show every byte.
    pub hex: bool,
    /// Read the files as this kind, whatever they look like.
    pub kind: Option<FileKind>,
    /// When to map files.
    pub mmap: MmapPolicy,
    /// The time now, UNIX seconds.
    pub now: i64,
}

/// A part of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The file header.
    Header,
    /// Extension headers of an index.
    Extensions,
    /// Keyword names of an index.
    Keywords,
    /// Records of an index, a cache, a thread index or a mailbox log; also those of a transaction log.
    Records,
    /// Fields of a cache.
    Fields,
    /// Records of a transaction log.
    Transactions,
}

impl Options {
    /// True when a section is to be shown.
    pub fn wants(&self, section: Section) -> bool {
        self.sections.as_ref().is_none_or(|list| list.contains(&section))
    }

    /// Records of a file at most.
    pub fn limit(&self) -> usize {
        self.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

/// How a dump ended.
#[derive(Debug, Default)]
pub struct DumpOutcome {
    /// What is damaged, to be shown to the user as well.
    pub problems: Vec<Flaw>,
}

/// Why a dump stopped.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The output cannot be written to.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// A file that has been read, or is to be read in pieces.
#[derive(Debug)]
pub enum DumpSubject {
    /// A large log, and the extensions before its first record.
    Stream(Box<LogStream>, ExtNames),
    /// Any other file.
    WholeFile(Box<WholeFile>),
}

/// A file in memory, and what the files around it say of it.
#[derive(Debug)]
pub struct WholeFile {
    /// What it is.
    pub kind: FileKind,
    /// Its bytes.
    pub input: Input,
    /// What the others say.
    pub beside: Beside,
}

/// Reads one file.
///
/// # Errors
/// When it cannot be read or is of no known kind.
pub fn open(path: &Path, options: &Options) -> Result<DumpSubject, PathError> {
    let file = Single::open(path)?;
    let size = file.stat().size;
    let kind = match options.kind {
        Some(kind) => Some(kind),
        None => recognise(path, &file.head()?, size),
    };
    let unknown = |error| PathError::Unknown { path: path.to_owned(), error };
    let Some(kind) = kind else {
        return Err(unknown(Flaw::new(
            FileKind::Index,
            0,
            FlawKind::NoKnownFile,
            "an index, log, cache, thread index or mailbox log",
            if size == 0 { "an empty file" } else { "none of these" },
        )));
    };
    if kind == FileKind::Log && size >= STREAM_FROM && !options.hex {
        let stream = file.stream()?;
        let names = names_of(path, &stream.log);
        return Ok(DumpSubject::Stream(Box::new(stream), names));
    }
    let input = file.input(options.mmap, kind != FileKind::Log)?;
    let mut beside = Beside::find(path, kind, &input, options);
    beside.is_growing = kind == FileKind::Log && file.tail(options.now) == Tail::BeingWritten;
    Ok(DumpSubject::WholeFile(Box::new(WholeFile { kind, input, beside })))
}

/// The extensions before the first record of the log at a path.
fn names_of(path: &Path, log: &LogFile) -> ExtNames {
    let Ok(subject) = source::Subject::of(path) else { return ExtNames::default() };
    let generation = Generation::open(&subject.files, &[Role::Index, Role::OldLog]);
    let names = |generation| names_before(&generation, subject.role.unwrap_or(Role::Index), log);
    generation.map_or_else(|_| ExtNames::default(), names)
}

/// What the files around a file say of it.
#[derive(Debug, Default)]
pub struct Beside {
    /// Extensions before the first record of a log.
    pub names: ExtNames,
    /// The messages that the records of a cache belong to.
    pub links: CacheLinks,
    /// UIDVALIDITY of the mailbox, for its thread index.
    pub uid_validity: Option<u32>,
    /// Somebody is writing to the end of the log.
    pub is_growing: bool,
}

impl Beside {
    fn find(path: &Path, kind: FileKind, input: &Input, options: &Options) -> Beside {
        let mut beside = Beside::default();
        match kind {
            FileKind::Log => {
                if let Ok(log) = LogFile::parse(&input.bytes, input.bytes.len() as u64) {
                    beside.names = names_of(path, &log);
                }
            }
            FileKind::Cache => {
                if let Some(links) = CacheLinks::of_current_index(path, options) {
                    beside.links = links;
                } else if let Some((mailbox, logged)) = mailbox_state(path, options) {
                    beside.links = CacheLinks::of(&mailbox, options);
                    beside.links.newest.extend(logged);
                }
            }
            FileKind::Thread => {
                beside.uid_validity = mailbox_state(path, options).map(|(mailbox, _)| mailbox.header.uid_validity);
            }
            FileKind::Index | FileKind::MailboxLog => {}
        }
        beside
    }

    /// What a mailbox whose state is known says of its cache and its thread index.
    pub fn of(mailbox: &crate::model::Mailbox, options: &Options) -> Beside {
        let names = ExtNames::new(mailbox.extensions.iter().map(|ext| ext.name.clone()));
        let (links, uid_validity) = (CacheLinks::of(mailbox, options), Some(mailbox.header.uid_validity));
        Beside { names, links, uid_validity, is_growing: false }
    }
}

/// The state of the mailbox that a file belongs to, if its index and logs can be read, and the cache records that the
/// logs name of messages that are gone.
fn mailbox_state(path: &Path, options: &Options) -> Option<(crate::model::Mailbox, Vec<(u32, u32)>)> {
    let files = MailboxFiles::locate(path).ok()?;
    let snapshot = files.read(&[Role::Index, Role::OldLog, Role::Log], options.mmap).ok()?;
    let chain = load::chain(&snapshot);
    let loaded = load::state(&snapshot, &chain, crate::model::replay::Until::End).ok()?;
    let mailbox = loaded.replayed.mailbox;
    let logged = options.uid.as_ref().map_or_else(Vec::new, |wanted| logged_links(&mailbox, &chain, wanted));
    (snapshot.get(Role::Index).is_some() || chain.head().is_some()).then_some((mailbox, logged))
}

/// The last cache record that the logs name of each wanted message that the mailbox no longer has: an expunged message
/// leaves its record behind until the cache is purged.
fn logged_links(mailbox: &crate::model::Mailbox, chain: &Chain<'_>, wanted: &UidSet) -> Vec<(u32, u32)> {
    let Some(reset_id) = mailbox.extension(b"cache").map(|ext| ext.reset_id) else { return Vec::new() };
    let mut links = BTreeMap::new();
    let mut names = match chain.complete_from() {
        Some(0) => ExtNames::from_nothing(),
        _ => ExtNames::new(mailbox.extensions.iter().map(|ext| ext.name.clone())),
    };
    for record in chain.files.iter().flat_map(|file| file.records()) {
        names.follow(&record);
        let is_cache = names.current_name() == Some(b"cache")
            && names.current().is_some_and(|intro| intro.is_in_force() && intro.reset_id == reset_id);
        if !is_cache {
            continue;
        }
        for change in record.changes(names.current()) {
            let Effect::Extension { data } = change.effect else { continue };
            if wanted.contains(change.uid1) && mailbox.lookup(change.uid1).is_none() {
                links.insert(change.uid1, record.endian.u32_at(data, 0).unwrap_or(0));
            }
        }
    }
    links.into_iter().filter(|(_, offset)| *offset != 0).collect()
}

/// Which message each cache record belongs to, as the index beside the cache says.
#[derive(Debug, Default)]
pub struct CacheLinks {
    /// The index that the cache must belong to.
    pub indexid: Option<u32>,
    /// The `file_seq` that the cache must have.
    pub reset_id: Option<u32>,
    /// Newest record of each message, by UID.
    pub newest: Vec<(u32, u32)>,
}

impl CacheLinks {
    fn of(mailbox: &crate::model::Mailbox, options: &Options) -> CacheLinks {
        let mut links = CacheLinks { indexid: Some(mailbox.header.indexid), ..CacheLinks::default() };
        if let Some(ext) = mailbox.extension(b"cache") {
            links.reset_id = Some(ext.reset_id);
            let wanted = |uid| options.uid.as_ref().is_none_or(|set: &UidSet| set.contains(uid));
            let all = mailbox.cache_links().map(|(i, offset)| (mailbox.uid(i), offset));
            links.newest = all.filter(|(uid, _)| wanted(*uid)).collect();
        }
        links
    }

    /// The links of a few messages, straight from an index that is up to date with its log: replay would change
    /// nothing.
    fn of_current_index(path: &Path, options: &Options) -> Option<CacheLinks> {
        let set = options.uid.as_ref()?;
        let files = MailboxFiles::locate(path).ok()?;
        // Only a few pages of it are looked at.
        let mmap = if options.mmap == MmapPolicy::Auto { MmapPolicy::Always } else { options.mmap };
        let generation = Generation::open(&files, &[Role::Index, Role::Log]).ok()?;
        let input = generation.input(Role::Index, mmap).ok()??;
        let stream = generation.stream(Role::Log)?.ok()?;
        let index = IndexFile::parse(&input.bytes).ok().filter(|index| index.problems.is_empty())?;
        let (log, header) = (&stream.log.header, &index.header);
        let current = (log.indexid, log.file_seq) == (header.indexid, header.log_file_seq)
            && stream.stat.size == u64::from(header.log_file_head_offset)
            && stream.stat.size > stream.log.records_at;
        let ext = index.extension(b"cache").filter(|_| current)?;
        let mut links =
            CacheLinks { indexid: Some(header.indexid), reset_id: Some(ext.header.reset_id), ..CacheLinks::default() };
        // What is not in the index may be in the logs.
        let end = |last: u32| last.checked_add(1).map_or(index.count(), |next| index.lower_bound(next));
        let has_all = |(first, last): &(u32, u32)| end(*last) - index.lower_bound(*first) > (last - first) as usize;
        if !set.ranges().iter().all(has_all) {
            return None;
        }
        for (first, last) in set.ranges() {
            let records =
                (index.lower_bound(*first)..index.count()).filter_map(|i| Some((index.uid(i)?, index.record(i)?)));
            for (uid, record) in records.take_while(|(uid, _)| uid <= last) {
                let offset = index.endian.u32_at(record, usize::from(ext.header.record_offset)).unwrap_or(0);
                if offset != 0 {
                    links.newest.push((uid, offset));
                }
            }
        }
        Some(links)
    }

    /// Offset and UID of every linked record, by offset.
    pub fn by_offset(&self, cache: &Cache<'_>) -> Vec<(u32, u32)> {
        if self.reset_id != Some(cache.header.file_seq) {
            return Vec::new();
        }
        // Each record once, or messages that share a long chain would take its length each. Records start at multiples
        // of 4.
        let mut taken = vec![0_u64; cache.bytes().len() / 256 + 1];
        let mut list: Vec<(u32, u32)> = Vec::with_capacity(self.newest.len());
        for (uid, newest) in &self.newest {
            for record in cache.chain(*newest).map_while(Result::ok) {
                let (word, bit) = (record.offset as usize / 256, 1 << (record.offset / 4 % 64));
                let Some(word) = taken.get_mut(word).filter(|word| **word & bit == 0) else { break };
                *word |= bit;
                list.push((record.offset, *uid));
            }
        }
        list.sort_unstable();
        list
    }
}
