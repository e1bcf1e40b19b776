//! Flips every bit of a mailbox's index files, one at a time, and asks `idx::check` about each.
//!
//! `cargo run --release --example bit-flips -- PATH...` takes directories, and flips what is in every index below them (the
//! mailboxes must be sound). It prints a Markdown table with a row for each field: how many flips were detected, how many are
//! harmless because the format does not use the bits, and how many nobody can detect, with the reason. A field with
//! undetected flips and no reason makes it fail. With `--list TEXT` it names each undetected flip in the fields whose name
//! contains the text instead: file, offset, bit, field, the byte before and after, and the log record around it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
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
use idx::model::replay::Until;
use idx::ops::inspect;
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
    if print(mailboxes.len(), &total) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A sound mailbox.
struct Mailbox {
    files: MailboxFiles,
    healthy: Snapshot,
}

/// The indexes below `roots`.
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
    Options { mmap: MmapPolicy::Never, ..inspect::options() }
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
                Role::Cache => cache_fields(&input.bytes, &cache_offsets(&mailbox.healthy)),
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
            let found = !check::snapshot(&job.mailbox.files, &damaged, &options).is_empty();
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

/// Why no reader can tell that a bit was flipped where nothing was found: the kind of file, the names of fields (`*` for any
/// end, without " (request)"), and the argument.
const UNTOLD: &[(FileKind, &[&str], &str)] = &[
    // dovecot.index and its backup.
    (
        FileKind::Index,
        &["record: flags"],
        "any combination of the five flags, and of the storage's own bit, is valid; where the logs do not tell how it came to be, nothing repeats it",
    ),
    (
        FileKind::Index,
        &["record: uid", "header: next_uid"],
        "UIDs only have to rise: another number between its neighbours, or a higher next_uid, is another mailbox; `--deep` asks the storage",
    ),
    (FileKind::Index, &["record: keywords"], "any set of the keywords that exist is valid"),
    (FileKind::Index, &["header of keywords"], "another letter makes another keyword, and names are free"),
    (
        FileKind::Index,
        &["record: modseq", "header of modseq: *"],
        "a modseq only has to be no higher than the highest, and the position only has to be one that the logs agree with",
    ),
    (
        FileKind::Index,
        &["record: cache"],
        "0 says that nothing is cached, and where the cache is another generation, or absent, the offset is not looked at",
    ),
    (
        FileKind::Index,
        &[
            "record: vsize",
            "header of hdr-vsize: *",
            "header of hdr-pop3-uidl",
            "record: guid",
            "record: header-md5",
            "record: mbox",
            "record: mdbox",
            "header of maildir",
            "header of mbox",
            "header of dbox-hdr",
            "header of mdbox-hdr",
            "record: list",
            "header of list",
            "record: msgs",
            "record: map",
            "record: ref",
            "record: hmodseq",
            "record: index sync",
            "record: 1saved",
            "record: virtual*",
            "header of virtual",
            "header of map",
            "header of subs",
        ],
        "numbers and GUIDs of the storage, each possible by itself; `--deep` asks the storage",
    ),
    (FileKind::Index, &["header: uid_validity"], "any number but 0; `--deep` asks the storage"),
    (
        FileKind::Index,
        &["header: day_first_uid", "header: day_stamp"],
        "any earlier day, and any UIDs that fall with the days, are valid",
    ),
    (FileKind::Index, &["header: last_temp_file_scan", "header: log2_rotate_time"], "another time in the past"),
    (
        FileKind::Index,
        &["header: first_recent_uid", "header: first_unseen_uid_lowwater", "header: first_deleted_uid_lowwater"],
        "a mark may lie anywhere below the first message it is about",
    ),
    (
        FileKind::Index,
        &["header: minor_version"],
        "an index of an older version; rules that came later are not held against it",
    ),
    (
        FileKind::Index,
        &["header: log_file_head_offset", "header: log_file_tail_offset", "header: log_file_seq"],
        "another record boundary of a log that is there, or of one that is not, from which the same state is reached",
    ),
    (FileKind::Index, &["header: flags"], "a mark that an fsck leaves"),
    (
        FileKind::Index,
        &[
            "header: base_header_size",
            "extension: hdr_size",
            "extension: name_size",
            "extension: record_offset",
            "extension: record_size",
            "extension: record_align",
        ],
        "the padding around it is taken for a part of it, or a part of it for padding, which other extensions may have",
    ),
    (
        FileKind::Index,
        &["extension: reset_id"],
        "any number: extensions other than the cache have nothing that repeats it, and a cache of another number is another generation",
    ),
    // Logs.
    (
        FileKind::Log,
        &["append: flags", "flag-update: add_flags", "flag-update: remove_flags"],
        "any combination of flags is valid",
    ),
    (FileKind::Log, &["flag-update: modseq_inc_flag"], "a change may raise the modseq though it is internal, or not"),
    (
        FileKind::Log,
        &[
            "flag-update: uid1",
            "flag-update: uid2",
            "keyword-update: uid1",
            "keyword-update: uid2",
            "expunge: *",
            "expunge-guid: uid",
            "ext-atomic-inc: uid",
            "ext-rec: uid",
            "modseq-update: uid",
            "append: uid",
        ],
        "another message that exists or existed, in the right order",
    ),
    (
        FileKind::Log,
        &["expunge-guid: guid_128"],
        "16 arbitrary bytes, or zeros where the GUID is not known; the message is gone",
    ),
    (FileKind::Log, &["keyword-update: modify_type"], "a keyword may be added or removed"),
    (
        FileKind::Log,
        &["keyword-update: name", "keyword-update: name_size"],
        "another name is another keyword, and names are free",
    ),
    (
        FileKind::Log,
        &["ext-hdr: data", "ext-hdr32: data", "ext-rec: data", "ext-atomic-inc: diff"],
        "the storage's own numbers; where the index is written later, or the value was replaced, nothing repeats them",
    ),
    (
        FileKind::Log,
        &["ext-hdr: offset", "ext-hdr: size", "ext-hdr32: *"],
        "other bytes of a header that is large enough",
    ),
    (FileKind::Log, &["ext-intro: ext_id"], "another extension of the same shape"),
    (
        FileKind::Log,
        &["ext-intro: flags"],
        "0 sets the sizes, 1 only lets them grow; with the sizes that are, both do the same",
    ),
    (
        FileKind::Log,
        &["ext-intro: hdr_size", "ext-intro: record_size", "ext-intro: record_align"],
        "whoever introduces an extension chooses its sizes; of the known ones that have always been the same, others are found",
    ),
    (
        FileKind::Log,
        &["ext-intro: name", "ext-intro: name_size"],
        "a name that Dovecot does not know may be a plugin's; a shorter one leaves padding",
    ),
    (
        FileKind::Log,
        &["ext-intro: reset_id", "ext-reset: new_reset_id"],
        "any number: a process introduces the cache by the file it has open, whether the log knows of it or not",
    ),
    (FileKind::Log, &["ext-reset: preserve_data"], "a reset may keep the data"),
    (FileKind::Log, &["header-update: data of uid_validity"], "any number but 0; `--deep` asks the storage"),
    (
        FileKind::Log,
        &[
            "header-update: data of next_uid",
            "header-update: data of first_recent_uid",
            "header-update: data of day_first_uid",
            "header-update: data of day_stamp",
        ],
        "another number that suits the UIDs and days there are",
    ),
    (
        FileKind::Log,
        &["header-update: data of last_temp_file_scan", "header-update: data of log2_rotate_time"],
        "another time in the past",
    ),
    (
        FileKind::Log,
        &["header-update: data of log_file_tail_offset"],
        "an earlier record boundary, behind which nothing is pending",
    ),
    (
        FileKind::Log,
        &["header-update: data of flags", "header-update: offset", "header-update: size"],
        "another field of the header for which the value is possible",
    ),
    (FileKind::Log, &["attribute-update: *"], "other letters, times and lengths of a value that is not in the log"),
    (
        FileKind::Log,
        &["boundary: size"],
        "the last record of a transaction may be one by itself, and the record after it may belong to it",
    ),
    (
        FileKind::Log,
        &["type"],
        "external or not, dsync or not: of a record that is a transaction by itself all four are valid",
    ),
    (FileKind::Log, &["size"], "a record of another length whose rest is a record again"),
    (FileKind::Log, &["header: create_stamp"], "another time in the past, after the index was created"),
    (FileKind::Log, &["header: file_seq"], "a log that starts from nothing goes on counting from logs that are gone"),
    (
        FileKind::Log,
        &["header: indexid"],
        "the index's birth, which no other file repeats while there is no index, no older log and no cache",
    ),
    (
        FileKind::Log,
        &["header: initial_modseq"],
        "what came before is gone: an index that is built anew keeps counting",
    ),
    (FileKind::Log, &["header: minor_version"], "version 1.2 has the same format"),
    (
        FileKind::Log,
        &["header: prev_file_seq", "header: prev_file_offset"],
        "where a log ended that is gone; a log numbered 1 that ended at 0 is how old versions said \"none\"",
    ),
    // The cache.
    (FileKind::Cache, &["field header: decision"], "each of three decisions is possible, and each may be forced"),
    (FileKind::Cache, &["field header: last_used"], "another time in the past"),
    (
        FileKind::Cache,
        &["field header: name"],
        "headers are cached under whatever name a client asks for, in its case; names of fields may be plugins'",
    ),
    (FileKind::Cache, &["field header: size", "field header: fields_count"], "spare bytes are allowed after the names"),
    (
        FileKind::Cache,
        &[
            "header: backwards_compat_used_file_size",
            "header: continued_record_count",
            "header: deleted_record_count",
            "header: record_count",
        ],
        "how much was written, or expunged, since the last purge: what of it can no longer be reached is not known",
    ),
    (FileKind::Cache, &["header: minor_version"], "version 0 has the same format, but for its header"),
    (
        FileKind::Cache,
        &["record: data"],
        "the message's own text, dates and sizes; only `--deep` and a look at the message would tell",
    ),
    (
        FileKind::Cache,
        &["record: data size"],
        "text that ends in a NUL, as versions before 2.3 wrote it, or a part of spare bytes",
    ),
    (
        FileKind::Cache,
        &["record: field index"],
        "another field of the same type and size that the message did not have",
    ),
    (
        FileKind::Cache,
        &["record: prev_offset"],
        "an older record of the message that nobody misses, or one that belongs to none",
    ),
    (FileKind::Cache, &["record: size"], "a record of another length whose fields still fill it"),
];

/// The number of the argument for a field.
fn argument(role: Role, field: &str) -> Option<usize> {
    let field = field.replace(" (request)", "");
    let suits = |name: &&str| match name.strip_suffix('*') {
        Some(start) => field.starts_with(start),
        None => field == *name,
    };
    UNTOLD.iter().position(|(kind, names, _)| *kind == role.kind() && names.iter().any(suits))
}

/// Prints the table; tells whether each field with undetected flips has its argument.
fn print(count: usize, outcome: &Outcome) -> bool {
    let (mut total, mut used, mut complete) = ([0; 3], BTreeSet::new(), true);
    let rows = |role: Role| outcome.rows.iter().filter(move |((have, _), _)| *have == role);
    outcome.rows.values().for_each(|counts| total.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n));
    let all: u64 = total.iter().sum();
    println!(
        "**{count} indexes, {all} flips: {} detected, {} harmless by format, {} undetectable by format.**",
        total[0], total[1], total[2]
    );
    for role in [Role::Index, Role::Backup, Role::Log, Role::OldLog, Role::Cache] {
        if rows(role).next().is_none() {
            continue;
        }
        println!("\n### {}\n", if role == Role::Index { "index" } else { role.suffix() });
        println!("| field | flips | detected | harmless | undetectable | why |\n|---|---:|---:|---:|---:|---:|");
        for ((_, name), [found, harmless, untold]) in rows(role) {
            let why = if *untold > 0 { argument(role, name) } else { None };
            if *untold > 0 && why.is_none() {
                eprintln!("{}: {name}: {untold} flips are not found, and nothing says why", role.suffix());
                complete = false;
            }
            used.extend(why);
            let why = why.map_or_else(String::new, |why| format!("[{0}](#why-{0})", why + 1));
            println!("| {name} | {} | {found} | {harmless} | {untold} | {why} |", found + harmless + untold);
        }
    }
    println!("\n## Why nobody can tell\n");
    for (i, (kind, _, why)) in UNTOLD.iter().enumerate().filter(|(i, _)| used.contains(i)) {
        println!("- <a id=\"why-{0}\"></a>**{0}** ({kind}): {why}.", i + 1);
    }
    complete
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
fn cache_offsets(healthy: &Snapshot) -> Vec<u32> {
    let chain = idx::ops::load::chain(healthy);
    let loaded = idx::ops::load::state(healthy, &chain, Until::End).expect("a sound mailbox");
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
            // Only the link to the next one is followed.
            names.put(start + 4, header.size as usize - 4, "old field header: the rest (unused)");
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
