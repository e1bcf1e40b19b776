//! Flips every bit of a mailbox's index files, one at a time, and asks `idx::check` about each.
//!
//! `cargo run --release --example bit-flips -- INDEX...` takes paths of (existing or absent) `dovecot.index` files whose
//! mailboxes must be sound, and prints a Markdown table with a row for each field: how many flips were found, how many are
//! harmless because the format does not use the bits, and how many make another valid mailbox: there are no checksums.

use std::collections::{BTreeMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use idx::check::{self, Options};
use idx::format::cache::{Cache, CacheHeader, FieldHeaderStart, RecordStart, TileKind};
use idx::format::ext::{ExtHeader, ModseqHeader, VsizeHeader};
use idx::format::index::{IndexFile, IndexHeader};
use idx::format::log::{LogFile, LogHeader};
use idx::format::record::{
    Append, AtomicInc, ExpungeGuid, ExtIntro, ExtReset, FlagUpdate, KeywordUpdate, ModseqUpdate, Record, RecordType,
    UidRange,
};
use idx::format::{Disk, Field, FileKind};
use idx::model::chain::Until;
use idx::source::walk::walk;
use idx::source::{Bytes, Input, MailboxFiles, MmapPolicy, Role, Snapshot};

/// Fields whose bits no Dovecot reads: a flip in them changes nothing.
const UNUSED: [&str; 3] = ["padding", "unused", "spare"];

/// Bytes that a thread flips at a time.
const PART: usize = 512;

fn main() -> ExitCode {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let mut wanted = None;
    if let Some(at) = args.iter().position(|arg| arg == "--list") {
        args.remove(at);
        wanted = (at < args.len()).then(|| args.remove(at).into_string().expect("UTF-8"));
    }
    let roots: Vec<PathBuf> = args.into_iter().map(PathBuf::from).collect();
    let mailboxes = mailboxes(&roots);
    let jobs = jobs(&mailboxes);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let work = || {
            let mut outcome = Outcome::default();
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                flip(job, wanted.as_deref(), &mut outcome);
            }
            outcome
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut total = Outcome::default();
    outcomes.into_iter().for_each(|one| total.take(one));
    if wanted.is_some() {
        total.missed.sort();
        total.missed.iter().for_each(|(_, line)| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    print(&mailboxes, &total);
    ExitCode::SUCCESS
}

/// A sound mailbox.
struct Mailbox {
    files: MailboxFiles,
    healthy: Snapshot,
}

/// The indexes below `roots`, each different one once: a mailbox whose files are those of one before it is left out.
fn mailboxes(roots: &[PathBuf]) -> Vec<Mailbox> {
    let mut list: Vec<Mailbox> = Vec::new();
    walk(
        roots,
        1,
        |found| found.units.into_iter().map(|unit| unit.files).collect::<Vec<_>>(),
        |found| {
            for files in found.expect("a readable directory") {
                let healthy = files.read(&Role::ALL, MmapPolicy::Never).expect("readable files");
                let found = check::snapshot(&files, &healthy, &options());
                assert!(found.is_empty(), "{}: not sound: {found:?}", files.index.display());
                list.push(Mailbox { files, healthy });
            }
            ControlFlow::Continue(())
        },
    );
    list
}

fn options() -> Options {
    Options { mmap: MmapPolicy::Never, ..Options::default() }
}

/// A part of a file to be flipped.
struct Job<'a> {
    mailbox: &'a Mailbox,
    role: Role,
    names: Arc<Names>,
    range: Range<usize>,
}

fn jobs(mailboxes: &[Mailbox]) -> Vec<Job<'_>> {
    let mut list = Vec::new();
    for mailbox in mailboxes {
        for role in Role::ALL {
            let Some(input) = mailbox.healthy.get(role) else { continue };
            let names = match role {
                Role::Index | Role::Backup => index_fields(&input.bytes),
                Role::Log | Role::OldLog => log_fields(&input.bytes),
                Role::Cache => cache_fields(&input.bytes, &cache_offsets(&mailbox.files, &mailbox.healthy)),
            };
            assert_eq!(names.0.len(), input.bytes.len());
            let names = Arc::new(names);
            for start in (0..input.bytes.len()).step_by(PART) {
                let range = start..input.bytes.len().min(start + PART);
                list.push(Job { mailbox, role, names: Arc::clone(&names), range });
            }
        }
    }
    list
}

#[derive(Default)]
struct Outcome {
    rows: BTreeMap<(Role, Arc<str>), [u64; 3]>,
    missed: Vec<((PathBuf, usize, u32), String)>,
}

impl Outcome {
    fn take(&mut self, other: Outcome) {
        for (key, counts) in other.rows {
            let sums = self.rows.entry(key).or_default();
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        self.missed.extend(other.missed);
    }
}

fn flip(job: &Job<'_>, wanted: Option<&str>, outcome: &mut Outcome) {
    let copy = |role: Role| {
        let input = job.mailbox.healthy.get(role)?;
        Some((role, Input { bytes: Bytes::Owned(input.bytes.to_vec()), stat: input.stat }))
    };
    let mut damaged: Snapshot = Role::ALL.into_iter().filter_map(copy).collect();
    let options = options();
    for at in job.range.clone() {
        let name = &job.names.0[at];
        if wanted.is_some_and(|wanted| !name.contains(wanted)) {
            continue;
        }
        for bit in 0..8 {
            let flip = |damaged: &mut Snapshot| {
                let Some(Input { bytes: Bytes::Owned(bytes), .. }) = damaged.get_mut(job.role) else { unreachable!() };
                bytes[at] ^= 1 << bit;
                bytes[at]
            };
            let after = flip(&mut damaged);
            let sound = check::listed(&job.mailbox.files, &damaged, &options, false);
            let found = sound.is_none_or(|checked| !checked.findings.is_empty());
            flip(&mut damaged);
            let class = if found {
                0
            } else if UNUSED.iter().any(|word| name.contains(word)) {
                1
            } else {
                2
            };
            outcome.rows.entry((job.role, Arc::clone(name))).or_default()[class] += 1;
            if class == 2 && wanted.is_some() {
                let path = job.mailbox.files.path(job.role);
                let before = after ^ 1 << bit;
                let context = context(&damaged.get(job.role).expect("there").bytes, job.role, at);
                let line = format!("{}:{at} bit {bit}, {name}: {before:#04x} -> {after:#04x}{context}", path.display());
                outcome.missed.push(((path, at, bit), line));
            }
        }
    }
}

/// The log record around a byte.
fn context(bytes: &[u8], role: Role, at: usize) -> String {
    if role.kind() != FileKind::Log {
        return String::new();
    }
    let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
    let record = log.records(bytes).find(|record| (record.offset..record.end()).contains(&(at as u64)));
    record.map_or_else(String::new, |record| {
        let request = if record.external() { "" } else { " (request)" };
        let kind = record.kind().map_or("unknown", RecordType::name);
        let hex: String = record.payload.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
        format!(" in {kind}{request} at {}: {hex}", record.offset)
    })
}

fn print(mailboxes: &[Mailbox], outcome: &Outcome) {
    let mut total = [0; 3];
    for role in [Role::Index, Role::Backup, Role::Log, Role::OldLog, Role::Cache] {
        let rows: Vec<_> = outcome.rows.iter().filter(|((have, _), _)| *have == role).collect();
        if rows.is_empty() {
            continue;
        }
        println!("\n### dovecot.index{}\n", role.suffix());
        println!("| field | flips | found | harmless | another valid mailbox |\n|---|---:|---:|---:|---:|");
        for ((_, name), counts) in rows {
            let [found, harmless, valid] = counts;
            println!("| {name} | {} | {found} | {harmless} | {valid} |", found + harmless + valid);
            total.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }
    let all: u64 = total.iter().sum();
    println!("\n{all} flips: {} found, {} harmless, {} another valid mailbox.", total[0], total[1], total[2]);
    println!("{} mailboxes", mailboxes.len());
}

/// The name of each byte of a file.
struct Names(Vec<Arc<str>>);

impl Names {
    fn new(len: usize) -> Names {
        Names(vec!["unreachable (unused)".into(); len])
    }

    fn put(&mut self, at: usize, len: usize, name: &str) {
        let name: Arc<str> = name.into();
        for slot in self.0.iter_mut().skip(at).take(len) {
            *slot = Arc::clone(&name);
        }
    }

    fn fields(&mut self, at: usize, fields: &[Field], prefix: &str) {
        for field in fields {
            self.put(at + field.offset, field.size, &format!("{prefix}{}", field.name));
        }
    }

    fn array<T: Disk>(&mut self, at: usize, len: usize, prefix: &str) {
        for start in (0..len).step_by(T::SIZE) {
            self.fields(at + start, T::FIELDS, prefix);
        }
    }
}

fn index_fields(bytes: &[u8]) -> Names {
    let index = IndexFile::parse(bytes).expect("an index");
    let mut names = Names::new(bytes.len());
    names.fields(0, IndexHeader::FIELDS, "header: ");
    for ext in &index.extensions {
        let name = String::from_utf8_lossy(ext.name);
        names.put(ext.at, ext.data_at - ext.at, "extension: padding");
        names.fields(ext.at, ExtHeader::FIELDS, "extension: ");
        names.put(ext.at + 16, ext.name.len(), "extension: name");
        names.put(ext.data_at, ext.padded.len(), "extension: padding");
        names.put(ext.data_at, ext.data.len(), &format!("header of {name}"));
        match ext.name {
            b"modseq" => names.fields(ext.data_at, ModseqHeader::FIELDS, "header of modseq: "),
            b"hdr-vsize" => names.fields(ext.data_at, VsizeHeader::FIELDS, "header of hdr-vsize: "),
            _ => {}
        }
    }
    for i in 0..index.count() {
        let at = index.records_at + i * index.record_size;
        names.put(at, index.record_size, "record: padding");
        names.put(at, 4, "record: uid");
        names.put(at + 4, 1, "record: flags");
        for ext in index.extensions.iter().filter(|ext| ext.header.record_size > 0) {
            let name = format!("record: {}", String::from_utf8_lossy(ext.name));
            names.put(at + usize::from(ext.header.record_offset), usize::from(ext.header.record_size), &name);
        }
    }
    names
}

fn log_fields(bytes: &[u8]) -> Names {
    let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
    let mut names = Names::new(bytes.len());
    names.fields(0, LogHeader::FIELDS, "header: ");
    let mut stride = 0;
    for record in log.records(bytes) {
        let at = record.offset as usize;
        names.put(at, 4, "size");
        names.put(at + 4, 4, "type");
        payload(&record, at + 8, &mut stride, &mut names);
    }
    names
}

fn payload(record: &Record<'_>, at: usize, stride: &mut usize, names: &mut Names) {
    let Some(kind) = record.kind() else { return };
    let len = record.payload.len();
    let request = if record.external() { "" } else { " (request)" };
    let prefix = format!("{kind}{request}: ");
    match kind {
        RecordType::Append => names.array::<Append>(at, len, &prefix),
        RecordType::Expunge | RecordType::KeywordReset => names.array::<UidRange>(at, len, &prefix),
        RecordType::ExpungeGuid => names.array::<ExpungeGuid>(at, len, &prefix),
        RecordType::FlagUpdate => names.array::<FlagUpdate>(at, len, &prefix),
        RecordType::ExtReset => names.array::<ExtReset>(at, len, &prefix),
        RecordType::ExtAtomicInc => names.array::<AtomicInc>(at, len, &prefix),
        RecordType::ModseqUpdate => names.array::<ModseqUpdate>(at, len, &prefix),
        RecordType::HeaderUpdate | RecordType::ExtHdr | RecordType::ExtHdr32 => {
            names.put(at, len, &format!("{prefix}padding"));
            for chunk in record.header_chunks() {
                let fixed = if kind == RecordType::ExtHdr32 { 8 } else { 4 };
                names.put(at + chunk.at, fixed / 2, &format!("{prefix}offset"));
                names.put(at + chunk.at + fixed / 2, fixed / 2, &format!("{prefix}size"));
                for i in 0..chunk.data.len() {
                    let place = chunk.offset as usize + i;
                    let field = IndexHeader::FIELDS.iter().find(|f| (f.offset..f.offset + f.size).contains(&place));
                    let name = match field.filter(|_| kind == RecordType::HeaderUpdate) {
                        Some(field) => format!("{prefix}data of {}", field.name),
                        None => format!("{prefix}data"),
                    };
                    names.put(at + chunk.at + fixed + i, 1, &name);
                }
            }
        }
        RecordType::ExtIntro => {
            names.put(at, len, &format!("{prefix}padding"));
            for intro in record.intros() {
                names.fields(at + intro.at, ExtIntro::FIELDS, &prefix);
                names.put(at + intro.at + 20, intro.name.len(), &format!("{prefix}name"));
                *stride = usize::from(intro.intro.record_size);
            }
        }
        RecordType::ExtRec => {
            for start in (0..len).step_by((*stride + 4).next_multiple_of(4)) {
                names.put(at + start, (*stride + 4).next_multiple_of(4), &format!("{prefix}padding"));
                names.put(at + start, 4, &format!("{prefix}uid"));
                names.put(at + start + 4, *stride, &format!("{prefix}data"));
            }
        }
        RecordType::KeywordUpdate => {
            let Some((fixed, ..)) = record.keyword_update() else { return };
            names.fields(at, KeywordUpdate::FIELDS, &prefix);
            let name = usize::from(fixed.name_size);
            let ranges = (4 + name).next_multiple_of(4);
            names.put(at + 4, ranges - 4, &format!("{prefix}padding"));
            names.put(at + 4, name, &format!("{prefix}name"));
            names.array::<UidRange>(at + ranges, len - ranges, &prefix);
        }
        RecordType::Boundary => names.put(at, 4, &format!("{prefix}size")),
        RecordType::IndexDeleted | RecordType::IndexUndeleted => names.put(at, len, &format!("{prefix}unused")),
        RecordType::AttributeUpdate => names.put(at, len, &format!("{prefix}keys and numbers")),
    }
}

/// The records that some message leads to.
fn reachable(cache: &Cache<'_>, newest: &[u32]) -> HashSet<u32> {
    newest.iter().flat_map(|at| cache.chain(*at).flatten()).map(|record| record.offset).collect()
}

/// Where the cache records of the messages begin.
fn cache_offsets(files: &MailboxFiles, healthy: &Snapshot) -> Vec<u32> {
    let mut problems = Vec::new();
    let chain = idx::ops::load::chain(healthy, &mut problems);
    let loaded = idx::ops::load::state(healthy, &chain, Until::End).expect("a sound mailbox");
    assert!(problems.is_empty(), "{}: {problems:?}", files.index.display());
    let mailbox = loaded.replayed.mailbox;
    let Some(ext) = mailbox.extension(b"cache") else { return Vec::new() };
    mailbox.positions().filter_map(|i| mailbox.endian.u32_at(mailbox.ext_bytes(i, ext)?, 0)).collect()
}

fn cache_fields(bytes: &[u8], index_offsets: &[u32]) -> Names {
    let cache = Cache::parse(bytes, None).expect("a cache");
    let mut names = Names::new(bytes.len());
    names.fields(0, CacheHeader::FIELDS, "header: ");
    for (i, header) in cache.field_headers.iter().enumerate() {
        let (start, end) = (header.offset as usize, header.end as usize);
        let old = i + 1 < cache.field_headers.len();
        let prefix = if old { "old field header: " } else { "field header: " };
        names.put(start, end - start, &format!("{prefix}padding"));
        names.fields(start, FieldHeaderStart::FIELDS, prefix);
        if old {
            names.put(start + 12, header.size as usize - 12, "old field header: fields (unused)");
            continue;
        }
        for field in &cache.fields {
            names.put(field.last_used_at as usize, 4, "field header: last_used");
            names.put(field.size_at as usize, 4, "field header: size of a field");
            names.put(field.type_at as usize, 1, "field header: type");
            names.put(field.decision_at as usize, 1, "field header: decision");
            let range = &field.name_range;
            names.put(range.start as usize, (range.end - range.start) as usize, "field header: name");
        }
    }
    let reachable = reachable(&cache, index_offsets);
    for item in cache.tile() {
        let TileKind::Record(record) = item.kind else { continue };
        let (start, end) = (record.offset as usize, (record.offset + record.size) as usize);
        if !reachable.contains(&record.offset) {
            names.put(start, end - start, "record of no message (unused)");
            continue;
        }
        names.put(start, end - start, "record: padding");
        names.fields(start, RecordStart::FIELDS, "record: ");
        let mut at = start + 8;
        for field in cache.fields(&record).flatten() {
            names.put(at, 4, "record: field index");
            names.put(at + 4, field.offset as usize - at - 4, "record: data size");
            names.put(field.offset as usize, field.data.len(), "record: data");
            at = (field.offset as usize + field.data.len()).next_multiple_of(4);
        }
    }
    names
}
