//! Bad input: every truncation and every flipped bit of real files, and files made to hurt. Nothing may panic, or take more
//! memory than 64 MiB and four times the file; what is readable around the damage is still shown.
//!
//! No limit is one of the clock. A file of four times the size may cost five times the work, and a small file no more than
//! a fixed multiple of a reference work that the same machine does at the same time.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::time::ClockId;

use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::format::record::RecordType;
use idx::format::{FileKind, Flaw};
use idx::model::replay::Until;
use idx::model::{Mailbox, UidSet};
use idx::ops::show;
use idx::render::document::{JsonDocument, LinesDocument, TableDocument};
use idx::render::{Format, Style};
use idx::source::{Bytes, Input, MailboxFiles, MmapPolicy, Role, Snapshot, Stat};
use idx::view::dump;
use serde_json::Value;
use support::build::{self, Ext, Log, words};
use support::counting::Counting;
use support::fixtures;

static ALL: AtomicI64 = AtomicI64::new(0);
static ALL_PEAK: AtomicI64 = AtomicI64::new(0);
thread_local! {
    static OWN: Cell<i64> = const { Cell::new(0) };
    static OWN_PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    let all = ALL.fetch_add(bytes, Relaxed) + bytes;
    ALL_PEAK.fetch_max(all, Relaxed);
    // A thread that ends still frees what it had.
    let _ = OWN.try_with(|own| {
        own.set(own.get() + bytes);
        let _ = OWN_PEAK.try_with(|peak| peak.set(peak.get().max(own.get())));
    });
}

#[global_allocator]
static COUNTING: Counting = Counting(count);

/// Sweeps share it; a case whose threads are all counted has it alone.
static EXCLUSIVE: RwLock<()> = RwLock::new(());

/// What one case may cost, in units of [`reference`]: some two seconds where that takes ten milliseconds.
const UNITS: u32 = 200;

/// Below this many units a ratio says more about caches and timers than about the code: what is quadratic in the tens of
/// thousands of things that the hostile files hold costs hundreds.
const FLOOR: u32 = 10;

/// One of so many measurements has to hold: whatever else the machine does makes most of them higher.
const TRIES: usize = 8;

/// Has the system's allocator keep what it was given: memory that goes back and forth costs page faults, which some
/// machines make dear, and only for blocks of some sizes. From the second measurement on there are none.
fn keep_memory() {
    #[cfg(target_env = "gnu")]
    {
        const TRIM_THRESHOLD: i32 = -1;
        const MMAP_MAX: i32 = -4;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: two numbers of the allocator are set, which it reads under its own lock.
        let done = unsafe { [mallopt(TRIM_THRESHOLD, i32::MAX), mallopt(MMAP_MAX, 0)] };
        assert_eq!(done, [1, 1], "the allocator is told to keep memory");
    }
}

/// Time of a processor used so far: unlike the clock on the wall it is not disturbed by what else the machine does.
fn processor_time(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
}

/// What a fixed piece of work costs on this machine as it is now: sorting numbers, which is computing, memory and branches.
fn reference() -> Duration {
    let start = processor_time(ClockId::ThreadCPUTime);
    let mut state = 1_u64;
    let mut numbers: Vec<u64> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 16
        })
        .collect();
    numbers.sort();
    std::hint::black_box(&numbers);
    processor_time(ClockId::ThreadCPUTime) - start
}

fn allowed(len: usize) -> i64 {
    (64 << 20) + 4 * i64::try_from(len).expect("a length")
}

/// Where output goes.
#[derive(Default)]
struct Sink {
    keep: bool,
    text: Vec<u8>,
    len: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.len += bytes.len() as u64;
        if self.keep {
            self.text.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Dumps bytes; the problems found, or the reason why nothing can be shown.
fn dump_bytes(
    kind: FileKind,
    bytes: &[u8],
    beside: &dump::Beside,
    options: &dump::Options,
    format: Format,
    out: &mut Sink,
) -> Result<Vec<Flaw>, String> {
    let path = Path::new("file");
    let end = match format {
        Format::Json => dump::bytes(path, kind, bytes, beside, options, &mut JsonDocument::new(dump::SCHEMA, out)),
        Format::Ndjson => dump::bytes(path, kind, bytes, beside, options, &mut LinesDocument::new(dump::SCHEMA, out)),
        Format::Table => {
            dump::bytes(path, kind, bytes, beside, options, &mut TableDocument::new(Style::default(), out))
        }
    };
    end.map(|outcome| outcome.problems).map_err(|error| error.to_string())
}

fn input(bytes: &[u8]) -> Input {
    let stat = Stat { dev: 0, ino: 0, size: bytes.len() as u64, mtime: (0, 0) };
    Input { bytes: Bytes::Owned(bytes.to_vec()), stat }
}

fn snapshot(files: &[(Role, &[u8])]) -> Snapshot {
    files.iter().map(|(role, bytes)| (*role, input(bytes))).collect()
}

/// Shows a mailbox made of these files.
fn show_files(files: &[(Role, &[u8])], format: Format, out: &mut Sink) -> Result<show::ShownMailbox, String> {
    let snapshot = snapshot(files);
    let path = Path::new("/nowhere/dovecot.index");
    let names = MailboxFiles::at(path.to_owned());
    let state = show::of_snapshot(path, &names, &snapshot, Until::End).map_err(|error| error.to_string())?;
    let options = show::Options { uid: None, at: Until::End, pvt: None, mmap: MmapPolicy::Never };
    match format {
        Format::Json => idx::view::show::write(path, &state, &options, &mut JsonDocument::new(show::SCHEMA, out)),
        Format::Ndjson => idx::view::show::write(path, &state, &options, &mut LinesDocument::new(show::SCHEMA, out)),
        Format::Table => idx::view::show::write(path, &state, &options, &mut TableDocument::new(Style::default(), out)),
    }
    .expect("a sink takes everything");
    Ok(state)
}

fn json_is_valid(format: Format, out: &Sink, what: &str) {
    use serde::de::IgnoredAny;
    match format {
        Format::Table => {}
        Format::Json if out.text.is_empty() => {}
        Format::Json => {
            serde_json::from_slice::<IgnoredAny>(&out.text).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        Format::Ndjson => {
            for line in out.text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                serde_json::from_slice::<IgnoredAny>(line).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    }
}

/// Runs one case on this thread and holds it to the limits.
fn limited(what: &dyn Fn() -> String, len: usize, case: impl Fn()) {
    // Cheap ones, nearly all, need no reference.
    const CHEAP: Duration = Duration::from_millis(20);
    for attempt in 1.. {
        let before = OWN.get();
        OWN_PEAK.set(before);
        let start = processor_time(ClockId::ThreadCPUTime);
        catch_unwind(AssertUnwindSafe(&case)).unwrap_or_else(|_| panic!("{}: panicked", what()));
        let took = processor_time(ClockId::ThreadCPUTime) - start;
        let peak = OWN_PEAK.get() - before;
        assert!(peak <= allowed(len), "{}: {peak} bytes for a file of {len}", what());
        if took < CHEAP || took < reference() * UNITS {
            return;
        }
        assert!(attempt < TRIES, "{}: took {took:?}, and the reference work {:?}", what(), reference());
    }
}

/// One file of a fixture with the mailbox it belongs to.
struct Subject {
    name: String,
    kind: FileKind,
    role: Option<Role>,
    bytes: Vec<u8>,
    others: Vec<(Role, Vec<u8>)>,
    mailbox: Option<Mailbox>,
}

impl Subject {
    fn load(name: &str) -> Subject {
        let path = fixtures().join(name);
        let read = |path: &Path| std::fs::read(path).ok();
        let bytes = read(&path).unwrap_or_else(|| panic!("{name} is a fixture"));
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let kind = idx::source::recognise(&path, &bytes, bytes.len() as u64).expect("a known kind");
        let files = MailboxFiles::locate(&path).expect("a mailbox");
        let mut role = None;
        let mut others = Vec::new();
        for one in [Role::Index, Role::Backup, Role::OldLog, Role::Log] {
            let other = files.path(one);
            match read(&other) {
                Some(_) if other == path => role = Some(one),
                Some(bytes) => others.push((one, bytes)),
                None => {}
            }
        }
        if matches!(kind, FileKind::Thread | FileKind::MailboxLog) || file.ends_with(".cache") {
            role = None;
        }
        let mut subject = Subject { name: name.to_owned(), kind, role, bytes, others, mailbox: None };
        subject.mailbox = subject.show(&subject.bytes, Format::Json, &mut Sink::default()).ok().flatten();
        subject
    }

    fn beside(&self) -> dump::Beside {
        match (&self.mailbox, self.kind) {
            (Some(mailbox), FileKind::Cache | FileKind::Thread) => dump::Beside::of(mailbox, &dump::Options::default()),
            _ => dump::Beside::default(),
        }
    }

    /// `idx show` of the mailbox with `bytes` in the place of this file. `None` for a file that `show` does not read.
    fn show(&self, bytes: &[u8], format: Format, out: &mut Sink) -> Result<Option<Mailbox>, String> {
        let mut files: Vec<(Role, &[u8])> = self.others.iter().map(|(role, bytes)| (*role, bytes.as_slice())).collect();
        files.extend(self.role.map(|role| (role, bytes)));
        if files.is_empty() {
            return Ok(None);
        }
        show_files(&files, format, out).map(|state| Some(state.loaded.replayed.mailbox))
    }

    /// The lines of a dump that are items of these lists, without the head that every line repeats.
    fn items(&self, bytes: &[u8], beside: &dump::Beside, lists: &[&str]) -> Vec<String> {
        let mut out = Sink { keep: true, ..Sink::default() };
        let _ = dump_bytes(self.kind, bytes, beside, &dump::Options::default(), Format::Ndjson, &mut out);
        let text = String::from_utf8(out.text).expect("UTF-8");
        let wanted: Vec<String> = lists.iter().map(|list| format!("\"section\":\"{list}\",")).collect();
        text.lines()
            .filter_map(|line| wanted.iter().find_map(|wanted| line.split_once(wanted.as_str())))
            .map(|(_, item)| item.to_owned())
            .collect()
    }
}

/// All that is done with a damaged file. `turn` chooses the format, so that all of them are exercised over a sweep: a table, which
/// costs most, each eighth time.
fn exercise(subject: &Subject, beside: &dump::Beside, bytes: &[u8], turn: usize, all: bool) {
    let formats = [Format::Ndjson, Format::Json, Format::Table];
    let chosen = if turn.is_multiple_of(8) { 2 } else { turn % 2 };
    for (_, format) in formats.into_iter().enumerate().filter(|(i, _)| all || chosen == *i) {
        let check = all || turn % 24 < 4;
        let mut out = Sink { keep: check, ..Sink::default() };
        let options = dump::Options { hex: all || turn.is_multiple_of(5), ..dump::Options::default() };
        let _ = dump_bytes(subject.kind, bytes, beside, &options, format, &mut out);
        json_is_valid(format, &out, &subject.name);
        if subject.role.is_some() {
            let mut out = Sink { keep: check, ..Sink::default() };
            let _ = subject.show(bytes, format, &mut out);
            json_is_valid(format, &out, &subject.name);
        }
    }
}

/// Runs `case(0..cases)` on both cores.
fn on_all_cores(cases: usize, case: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(64, Relaxed);
                    if from >= cases {
                        return;
                    }
                    (from..(from + 64).min(cases)).for_each(&case);
                }
            });
        }
    });
}

fn sweep(name: &str, step: usize, all: bool) {
    let _shared = EXCLUSIVE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let subject = Subject::load(name);
    let beside = subject.beside();
    let len = subject.bytes.len();
    on_all_cores(len.div_ceil(step), |i| {
        let cut = i * step;
        limited(&|| format!("{name} cut at {cut}"), len, || {
            exercise(&subject, &beside, &subject.bytes[..cut], cut, all);
        });
    });
    on_all_cores(len * 8 / step, |i| {
        let bit = i * step;
        limited(&|| format!("{name} with bit {bit} flipped"), len, || {
            let mut bytes = subject.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            exercise(&subject, &beside, &bytes, bit, all);
        });
    });
}

macro_rules! sweeps {
    ($($name:ident: $path:literal;)*) => {$(
        #[test]
        fn $name() {
            sweep($path, 1, false);
        }
    )*};
}

sweeps! {
    every_damage_to_an_index: "2.4.1-maildir-chain/files/Maildir/dovecot.index";
    every_damage_to_a_small_index: "2.4.1-mdbox-busy/files/mdbox/mailboxes/Archive/dbox-Mails/dovecot.index";
    every_damage_to_a_log: "2.3.19.1-sdbox-chain/files/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log";
    every_damage_to_a_rotated_log: "2.4.1-mdbox-busy/files/mdbox/mailboxes/Archive/dbox-Mails/dovecot.index.log.2";
    every_damage_to_a_log_without_index: "2.4.1-mdbox-meta/files/mdbox/mailboxes/Notes/dbox-Mails/dovecot.index.log";
    every_damage_to_a_cache: "2.4.1-maildir-chain/files/Maildir/.Archive/dovecot.index.cache";
    every_damage_to_a_list_index: "2.4.1-sdbox-busy/files/sdbox/dovecot.list.index.log";
    every_damage_to_a_map_index: "2.4.1-mdbox-meta/files/mdbox/storage/dovecot.map.index.log";
    every_damage_to_a_private_index: "2.4.1-maildir-pvt/files/pvt/.INBOX/dovecot.index.pvt.log";
    every_damage_to_a_virtual_index: "2.4.1-maildir-virtual/files/virtual/Flagged/dovecot.index.log";
    every_damage_to_a_thread_index: "2.3.19.1-maildir-fresh/files/Maildir/dovecot.index.thread";
    every_damage_to_a_mailbox_log: "2.4.1-maildir-list/files/Maildir/dovecot.mailbox.log";
}

/// Every file of every fixture: each 61st of the truncations and of the flipped bits, or with `IDX_TORTURE=all` each one and in
/// every format, which takes an hour.
#[test]
#[ignore = "takes minutes"]
fn damage_to_every_fixture() {
    let all = std::env::var("IDX_TORTURE").is_ok_and(|value| value == "all");
    let mut list = Vec::new();
    index_files(&fixtures(), &mut list);
    assert!(list.len() > 150, "{} files", list.len());
    for path in list {
        let name = path.strip_prefix(fixtures()).expect("below").to_string_lossy().into_owned();
        sweep(&name, if all { 1 } else { 61 }, all);
    }
}

/// The index files below `root`, as the server wrote them.
fn index_files(root: &Path, list: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(root).expect("readable").map(|e| e.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "dump") {
                index_files(&path, list);
            }
        } else if name.starts_with("dovecot.") && path.components().any(|part| part.as_os_str() == "files") {
            list.push(path);
        }
    }
}

/// The offsets of items.
fn offsets(items: &[String]) -> BTreeSet<u64> {
    let number = |item: &String| {
        let value: Value = serde_json::from_str(&format!("{{{item}")).expect("an item");
        value["offset"].as_u64().expect("an offset")
    };
    items.iter().map(number).collect()
}

const A_LOG: &str = "2.3.19.1-maildir-chain/files/Maildir/dovecot.index.log.2";

/// Where the records of a sound log begin and end, and whether they belong to a transaction of several records.
fn records_of(bytes: &[u8]) -> Vec<(u64, u64, bool)> {
    let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
    let mut transaction_end = 0;
    let records = log.records(bytes).map(|record| {
        if record.kind() == Some(RecordType::Boundary) {
            transaction_end = record.offset + u64::from(record.boundary_size().expect("a size"));
        }
        (record.offset, record.end(), record.offset < transaction_end)
    });
    records.collect()
}

#[test]
fn a_cut_log_shows_every_record_before_the_cut() {
    let subject = Subject::load(A_LOG);
    let beside = subject.beside();
    let whole = subject.items(&subject.bytes, &beside, &["records"]);
    let records = records_of(&subject.bytes);
    assert_eq!(whole.len(), records.len());
    for cut in (40..subject.bytes.len()).step_by(7) {
        let shown = subject.items(&subject.bytes[..cut], &beside, &["records"]);
        // A transaction counts only as a whole; what of it is there may be shown apart from the rest.
        let safe = records.iter().take_while(|(_, end, open)| *end <= cut as u64 && !open).count();
        assert!(shown.len() >= safe, "cut at {cut}: {} of {safe} records", shown.len());
        assert_eq!(shown[..], whole[..shown.len()], "cut at {cut}");
    }
}

#[test]
fn a_damaged_log_shows_every_record_before_the_damage_and_most_behind_it() {
    let subject = Subject::load(A_LOG);
    let beside = subject.beside();
    let whole = subject.items(&subject.bytes, &beside, &["records"]);
    let records = records_of(&subject.bytes);
    for (i, &(start, end, _)) in records.iter().enumerate() {
        // The size word of one record becomes unreadable.
        let mut bytes = subject.bytes.clone();
        bytes[start as usize..start as usize + 4].fill(0);
        let before = subject.items(&bytes, &beside, &["records"]);
        assert_eq!(before[..], whole[..before.len()], "damage at {start}");
        assert_eq!(before.len(), i, "damage at {start}");
        let behind = offsets(&subject.items(&bytes, &beside, &["salvaged"]));
        let wanted: Vec<u64> = records.iter().map(|(offset, ..)| *offset).filter(|offset| *offset >= end).collect();
        let missed: Vec<_> = wanted.iter().filter(|offset| !behind.contains(offset)).collect();
        // A lone last record is not told from chance.
        assert!(missed.len() <= 1, "damage at {start}: {missed:?} of {} not shown", wanted.len());
    }
}

#[test]
fn a_damaged_index_shows_the_other_records() {
    let subject = Subject::load("2.4.1-maildir-chain/files/Maildir/dovecot.index");
    let whole = subject.items(&subject.bytes, &subject.beside(), &["records"]);
    let index = IndexFile::parse(&subject.bytes).expect("an index");
    assert_eq!(whole.len(), index.count());
    for byte in index.records_at..subject.bytes.len() {
        let mut bytes = subject.bytes.clone();
        bytes[byte] ^= 0xff;
        let damaged = (byte - index.records_at) / index.record_size;
        let shown = subject.items(&bytes, &subject.beside(), &["records"]);
        assert_eq!(shown.len(), whole.len());
        for (i, (a, b)) in shown.iter().zip(&whole).enumerate().filter(|(i, _)| *i != damaged) {
            assert_eq!(a, b, "byte {byte} damages record {damaged}, not {i}");
        }
    }
    for cut in index.records_at..subject.bytes.len() {
        let shown = subject.items(&subject.bytes[..cut], &subject.beside(), &["records"]);
        assert_eq!(shown[..], whole[..(cut - index.records_at) / index.record_size], "cut at {cut}");
    }
}

#[test]
fn a_damaged_cache_shows_the_other_records() {
    let subject = Subject::load("2.4.1-maildir-chain/files/Maildir/.Archive/dovecot.index.cache");
    let beside = subject.beside();
    let whole = subject.items(&subject.bytes, &beside, &["records"]);
    assert!(whole.len() > 2);
    let starts = offsets(&whole);
    for start in &starts {
        let at = *start as usize + 4;
        let mut bytes = subject.bytes.clone();
        bytes[at..at + 4].fill(0xff);
        let shown = offsets(&subject.items(&bytes, &beside, &["records"]));
        let missed: Vec<_> = starts.iter().filter(|other| *other != start && !shown.contains(other)).collect();
        assert!(missed.is_empty(), "size of the record at {start}: {missed:?} not shown");
    }
}

/// What a hostile case is given to.
enum Attack {
    Dump(FileKind, Vec<u8>),
    Show(Vec<(Role, Vec<u8>)>),
    /// A cache with the mailbox that links to it.
    Linked(Vec<u8>, Box<Mailbox>),
}

impl Attack {
    fn len(&self) -> usize {
        match self {
            Attack::Dump(_, bytes) | Attack::Linked(bytes, _) => bytes.len(),
            Attack::Show(files) => files.iter().map(|(_, bytes)| bytes.len()).sum(),
        }
    }

    /// `dump` and `show` of a log.
    fn log(log: &Log) -> Vec<Attack> {
        vec![Attack::Dump(FileKind::Log, log.bytes.clone()), Attack::Show(vec![(Role::Log, log.bytes.clone())])]
    }

    /// `dump` and `show` of an index.
    fn index(index: &[u8]) -> Vec<Attack> {
        let mut log = Log::new(1);
        log.append(1_000_000..=1_000_009);
        log.record(build::FLAG_UPDATE, &words(&[1, u32::MAX, 8]));
        let show = vec![(Role::Index, index.to_vec()), (Role::Log, log.bytes)];
        vec![Attack::Dump(FileKind::Index, index.to_vec()), Attack::Show(show)]
    }

    /// Runs once, with all threads counted; returns the time of all processors.
    fn run(&self, what: &str, format: Format, hex: bool) -> Duration {
        let before = ALL.load(Relaxed);
        ALL_PEAK.store(before, Relaxed);
        let start = processor_time(ClockId::ProcessCPUTime);
        let mut out = Sink { keep: false, ..Sink::default() };
        let options = dump::Options { hex, ..dump::Options::default() };
        match self {
            Attack::Dump(kind, bytes) => {
                let _ = dump_bytes(*kind, bytes, &dump::Beside::default(), &options, format, &mut out);
            }
            Attack::Linked(bytes, mailbox) => {
                let beside = dump::Beside::of(mailbox, &options);
                let _ = dump_bytes(FileKind::Cache, bytes, &beside, &options, format, &mut out);
            }
            Attack::Show(files) => {
                let files: Vec<(Role, &[u8])> = files.iter().map(|(role, bytes)| (*role, bytes.as_slice())).collect();
                drop(show_files(&files, format, &mut out));
            }
        }
        let took = processor_time(ClockId::ProcessCPUTime) - start;
        let (peak, len) = (ALL_PEAK.load(Relaxed) - before, self.len());
        eprintln!("{what} {format:?} hex={hex}: {len} bytes, {took:?}, {} KiB, {} out", peak >> 10, out.len);
        assert!(peak <= allowed(len), "{what} as {format:?}, hex {hex}: {peak} bytes for a file of {len}");
        took
    }

    /// The ways in which it is run.
    fn ways(&self) -> impl Iterator<Item = (Format, bool)> + use<> {
        let hex = if matches!(self, Attack::Show(_)) { 1 } else { 2 };
        [Format::Ndjson, Format::Json, Format::Table]
            .into_iter()
            .flat_map(move |format| [false, true].into_iter().take(hex).map(move |hex| (format, hex)))
    }
}

/// A hostile file of one size: what it costs is bounded by the reference work.
fn attack(what: &str, attacks: Vec<Attack>) {
    let _alone = EXCLUSIVE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    keep_memory();
    for attack in &attacks {
        for (format, hex) in attack.ways() {
            let is_cheap = (0..TRIES).any(|_| attack.run(what, format, hex) < reference() * UNITS);
            assert!(is_cheap, "{what} as {format:?}, hex {hex}: costs {UNITS} times the reference work");
        }
    }
}

/// A hostile file that grows with the number given: four times of it may cost five times the work.
fn attack_growing(what: &str, count: u32, build: impl Fn(u32) -> Vec<Attack>) {
    let _alone = EXCLUSIVE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    keep_memory();
    for (large, small) in build(count).iter().zip(&build(count / 4)) {
        for (format, hex) in large.ways() {
            let mut measured = Vec::new();
            // Each pair is judged by itself: the machine may be twice as fast a second later.
            let grows_slowly = (0..TRIES).any(|_| {
                let whole = large.run(what, format, hex);
                if whole <= reference() * FLOOR {
                    return true;
                }
                let quarter = small.run(what, format, hex);
                measured.push([quarter, whole]);
                whole <= quarter * 5
            });
            assert!(grows_slowly, "{what} as {format:?}, hex {hex}: {measured:?} for a quarter and for the whole");
        }
    }
}

#[test]
fn hostile_sizes_in_logs() {
    for word in [0, 1, 4, 8, 11, 12, 0x7fff_ffff, 0xffff_ffff, 0x8080_8080, 0x8080_8082, 0xffff_ff7f] {
        for place in [0, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 44, 48, 52, 56, 60, 64, 68, 72, 76] {
            for kind in RecordType::ALL {
                let mut log = Log::new(1);
                log.append(1..=3).record(kind.1 | build::EXTERNAL, &words(&[1, u32::MAX, 1, 4, 8, 12]));
                log.append(4..=5);
                log.bytes[place..place + 4].copy_from_slice(&words(&[word]));
                let name = || format!("{} with {word:#x} at {place}", kind.2);
                limited(&name, log.bytes.len(), || {
                    let mut out = Sink { keep: true, ..Sink::default() };
                    let beside = dump::Beside::default();
                    let options = dump::Options { hex: true, ..dump::Options::default() };
                    let _ = dump_bytes(FileKind::Log, &log.bytes, &beside, &options, Format::Json, &mut out);
                    json_is_valid(Format::Json, &out, &name());
                    let _ = show_files(&[(Role::Log, &log.bytes)], Format::Json, &mut Sink::default());
                });
            }
        }
    }
    for size in [0, 4, 8, 12, 20, 60, 64, 68, 0xffff_fff0, u32::MAX] {
        let mut log = Log::new(u64::MAX);
        log.append(1..=3).record(build::BOUNDARY, &words(&[size])).append(4..=5);
        attack(&format!("boundary of {size}"), Attack::log(&log));
    }
}

/// A log that grows: `write` is told how many records, or whatever it counts.
fn attack_log(what: &str, count: u32, write: impl Fn(&mut Log, u32)) {
    attack_growing(what, count, |count| {
        let mut log = Log::new(1);
        write(&mut log, count);
        Attack::log(&log)
    });
}

#[test]
fn hostile_record_counts_in_logs() {
    attack_log("unknown types", 100_000, |log, count| {
        for _ in 0..count {
            log.record(0x0abc_0000, &[]);
        }
    });
    attack_log("appends of half a message", 60_000, |log, count| {
        for _ in 0..count {
            log.record(build::APPEND, &words(&[7]));
        }
    });
    attack_log("attributes", 1 << 20, |log, count| {
        let payload: Vec<u8> = b"+pa\0".iter().copied().cycle().take(count as usize).collect();
        log.record(build::ATTRIBUTE_UPDATE, &payload).record(build::ATTRIBUTE_UPDATE, b"+pkey without end...");
    });
}

#[test]
fn hostile_uid_ranges() {
    let everything = words(&[1, u32::MAX]);
    attack_log("expunges of everything", 25_000, |log, count| {
        log.append(1..=count * 4);
        for _ in 0..count {
            log.record(build::EXPUNGE | build::EXTERNAL, &everything);
        }
    });
    attack_log("one expunge of everything many times", 100_000, |log, count| {
        log.append(1..=count).record(build::EXPUNGE | build::EXTERNAL, &everything.repeat(count as usize));
    });
    for (what, type_raw, payload) in [
        ("flags", build::FLAG_UPDATE, words(&[1, u32::MAX, 0x0408])),
        ("keyword resets", build::KEYWORD_RESET, everything.clone()),
        ("internal flags", build::FLAG_UPDATE, words(&[1, u32::MAX, 0x80])),
    ] {
        attack_log(&format!("{what} of everything"), 25_000, |log, count| {
            log.append(1..=count * 4).keyword(b"a", 1, 2);
            for _ in 0..count {
                log.record(type_raw, &payload);
            }
        });
    }
    attack_log("a keyword of everything", 25_000, |log, count| {
        log.append(1..=count * 4);
        for _ in 0..count {
            log.keyword(b"a", 1, u32::MAX);
        }
    });
}

#[test]
fn hostile_extensions_in_logs() {
    attack_log("extensions", 50_000, |log, count| {
        for i in 0..count {
            log.intro(u32::MAX, format!("{i:08x}").as_bytes(), 8, 0, 0);
        }
    });
    attack_log("extensions of a byte", 60_000, |log, count| {
        log.append(1..=1000);
        for i in 0..count {
            log.intro(u32::MAX, format!("{i:08x}").as_bytes(), 0, 1, 1);
        }
    });
    attack_log("huge extension headers", 10_000, |log, count| {
        for i in 0..count {
            log.intro(u32::MAX, format!("{i:08x}").as_bytes(), (1 << 24) - 1, 0, 0);
            log.intro(0, b"", u32::MAX - i, 8, 8).intro(0, b"", (1 << 24) - 1 - i, 0, 0);
        }
    });
    attack_log("large records", 100_000, |log, count| {
        log.append(1..=count).intro(u32::MAX, b"large", 0, 32767, 1).intro(u32::MAX, b"huge", 0, 65535, 1);
        log.append(count + 1..=count * 2);
    });
    attack_log("records laid out again and again", 40_000, |log, count| {
        log.append(1..=count * 5 / 2).intro(u32::MAX, b"restless", 8, 4, 4);
        for i in 0..count {
            log.intro(0, b"", 8, if i % 2 == 0 { 4 } else { 8 }, 4);
        }
    });
    attack_log("resets", 50_000, |log, count| {
        log.append(1..=count * 2).intro(u32::MAX, b"reset", 8, 4, 4);
        for i in 0..count {
            log.record(build::EXT_RESET, &words(&[i, 0]));
        }
    });
    attack_log("modseq headers that begin again", 50_000, |log, count| {
        log.append(1..=count).intro(u32::MAX, b"modseq", 16, 8, 8);
        for _ in 0..count {
            log.record(build::EXT_HDR, &words(&[0x0010_0000, 0, 0, 0, 0]));
        }
    });
    attack_log("header updates", 100_000, |log, count| {
        log.append(1..=10).intro(u32::MAX, b"chunks", 64, 4, 4);
        for (offset, size) in [(0, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX), (0xffff_fff0, 0x20), (60, 8)] {
            log.record(build::EXT_HDR32, &words(&[offset, size, 1, 2]));
            log.record(build::HEADER_UPDATE, &words(&[offset, size, 1, 2]));
            log.record(build::EXT_HDR, &words(&[offset, size, 1, 2]));
        }
        log.record(build::EXT_HDR32, &words(&[0, 0]).repeat(count as usize));
        log.record(build::HEADER_UPDATE, &words(&[0x0004_0018, 7]).repeat(count as usize));
    });
}

#[test]
fn hostile_keywords_in_logs() {
    attack_log("keywords", 50_000, |log, count| {
        log.append(1..=1000);
        for i in 0..count {
            log.keyword(format!("{i:08x}").as_bytes(), 1, 1000);
        }
    });

    let mut long = Log::new(1);
    long.append(1..=10).keyword(&[b'k'; 65535], 1, 10).keyword(&[b'l'; 65532], 1, 10);
    let mut payload = words(&[0xffff_0000]);
    payload.extend([b'x'; 64]);
    long.record(build::KEYWORD_UPDATE, &payload);
    attack("long keywords", Attack::log(&long));
}

/// Bytes in which every eighth looks like the start of a record that leads to the same dead end.
#[test]
fn hostile_search_for_records_behind_damage() {
    for type_raw in [build::EXPUNGE, build::FLAG_UPDATE, build::HEADER_UPDATE, build::EXT_INTRO, build::MODSEQ_UPDATE] {
        attack_log(&format!("dead ends of type {type_raw:#x}"), 100_000, |log, units| {
            log.bytes.extend(words(&[0, 0]));
            for i in 0..units {
                let size = (units - i) * 8 + 8;
                log.bytes.extend(idx::format::packed::encode(size).expect("a size"));
                log.bytes.extend((type_raw | 0xf000_0000).to_le_bytes());
            }
            log.bytes.extend([0; 16]);
        });
    }
}

fn ext(name: &str, header: Vec<u8>, record_offset: u16, record_size: u16) -> Ext {
    let record_align = if record_size == 0 { 0 } else { 1 };
    Ext { name: name.into(), header, reset_id: 1, record_offset, record_size, record_align }
}

#[test]
fn hostile_sizes_in_indexes() {
    let extensions =
        || vec![ext("maildir", vec![0; 36], 0, 0), ext("cache", vec![], 8, 4), ext("modseq", vec![0; 16], 16, 8)];
    let records: Vec<u8> = (1..=10_u32).flat_map(|uid| words(&[uid, 0, 0, 0, 0, 0])).collect();
    let sound = build::index(&extensions(), 24, &records, |_| {});
    for place in (0..260).step_by(2) {
        for word in [0, 1, 7, 119, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, u32::MAX] {
            let mut bytes = sound.clone();
            bytes[place..place + 4].copy_from_slice(&words(&[word]));
            let name = || format!("{word:#x} at {place}");
            limited(&name, bytes.len(), || {
                let mut out = Sink { keep: true, ..Sink::default() };
                let options = dump::Options { hex: true, ..dump::Options::default() };
                let _ = dump_bytes(FileKind::Index, &bytes, &dump::Beside::default(), &options, Format::Json, &mut out);
                json_is_valid(Format::Json, &out, &name());
                let mut log = Log::new(1);
                log.append(11..=12).record(build::FLAG_UPDATE, &words(&[1, u32::MAX, 8]));
                log.intro(u32::MAX, b"new", 8, 4, 4).intro(1, b"", 0, 8, 8).keyword(b"k", 1, u32::MAX);
                let files: [(Role, &[u8]); 2] = [(Role::Index, &bytes), (Role::Log, &log.bytes)];
                let _ = show_files(&files, Format::Json, &mut Sink::default());
            });
        }
    }
    for record_size in [8, 12, 4096, 65535, 0x7fff_ffff, u32::MAX] {
        let index = build::index(&extensions(), record_size, &records, |header| header.messages_count = u32::MAX);
        attack(&format!("{record_size} bytes in each of u32::MAX records"), Attack::index(&index));
    }
}

/// An index that grows: `make` is told how many extensions, or whatever it counts.
fn attack_index(what: &str, count: u32, make: impl Fn(u32) -> Vec<u8>) {
    attack_growing(what, count, |count| Attack::index(&make(count)));
}

#[test]
fn hostile_extensions_in_indexes() {
    attack_index("extensions", 30_000, |count| {
        let many: Vec<Ext> = (0..count).map(|i| ext(&format!("{i:08x}"), vec![], 0, 0)).collect();
        build::index(&many, 8, &[0; 800], |_| {})
    });
    attack_index("the same extension again and again", 30_000, |count| {
        let same: Vec<Ext> = (0..count).map(|_| ext("same", vec![], 0, 0)).collect();
        build::index(&same, 8, &[0; 800], |_| {})
    });
    attack_index("extensions in the same place", 10_000, |count| {
        let stacked: Vec<Ext> = (0..count).map(|i| ext(&format!("{i:08x}"), vec![], 8, 56)).collect();
        let records: Vec<u8> = (1..=count).flat_map(|uid| words(&[uid]).repeat(16)).collect();
        build::index(&stacked, 64, &records, |_| {})
    });
    attack_index("extensions outside the record", 10_000, |count| {
        let outside: Vec<Ext> = (0..count).map(|i| ext(&format!("{i:08x}"), vec![], 65535, 65535)).collect();
        let records: Vec<u8> = (1..=count).flat_map(|uid| words(&[uid]).repeat(16)).collect();
        build::index(&outside, 64, &records, |_| {})
    });
}

#[test]
fn hostile_keywords_in_indexes() {
    for told in [None, Some(u32::MAX)] {
        attack_index(&format!("keywords with one name without end, {told:?}"), 50_000, |count| {
            let mut header = words(&[told.unwrap_or(count)]);
            (0..count).for_each(|_| header.extend(words(&[0, 0])));
            header.extend(vec![b'k'; count as usize * 10]);
            let records: Vec<u8> = (1..=100_u32).flat_map(|uid| words(&[uid]).repeat(1600)).collect();
            build::index(&[ext("keywords", header, 8, 6250)], 6400, &records, |_| {})
        });
    }
    attack_index("mailboxes with endless names", 50_000, |count| {
        let mut mailboxes = words(&[0, u32::MAX, 0, 0]);
        (0..count).for_each(|_| mailboxes.extend(words(&[1, u32::MAX, 0, 0, 0, 0])));
        build::index(&[ext("virtual", mailboxes, 8, 8)], 16, &[1; 1600], |_| {})
    });
    attack_index("GUIDs of a byte", 250_000, |count| {
        let mut guids = vec![1, 0];
        guids.extend(words(&[0x0001_0008]).repeat(count as usize));
        build::index(&[ext("virtual2", guids, 8, 8)], 16, &[1; 1600], |_| {})
    });
}

/// A mailbox whose messages link to these offsets of a cache with file_seq 1.
fn linked(offsets: impl Iterator<Item = u32>) -> Mailbox {
    let records: Vec<u8> = (1..).zip(offsets).flat_map(|(uid, offset): (u32, u32)| words(&[uid, 0, offset])).collect();
    let bytes = build::index(&[ext("cache", vec![], 8, 4)], 12, &records, |_| {});
    Mailbox::load(&IndexFile::parse(&bytes).expect("an index"))
}

#[test]
fn hostile_caches() {
    let fields: [build::CacheField<'_>; 3] = [("mime.parts", u32::MAX, 1), ("hdr.x", u32::MAX, 4), ("flags", 4, 3)];
    let flags = words(&[2, 1]);

    let linked_to =
        |cache: Vec<u8>, offsets: &mut dyn Iterator<Item = u32>| vec![Attack::Linked(cache, Box::new(linked(offsets)))];
    let chain = |count: u32| {
        let mut cache = build::cache(&fields, 1);
        let mut newest = 0;
        (0..count).for_each(|_| newest = build::cache_record(&mut cache, newest, &flags));
        (cache, newest)
    };
    attack_growing("one chain of all records", 50_000, |count| {
        let (cache, newest) = chain(count);
        linked_to(cache, &mut (0..count * 2).map(|_| newest))
    });
    attack_growing("every record the newest of someone", 50_000, |count| {
        let (cache, newest) = chain(count);
        linked_to(cache, &mut (0..count).map(|i| newest - i * 16))
    });
    attack_growing("a circle", 50_000, |count| {
        let mut circle = build::cache(&fields, 1);
        let first = build::cache_record(&mut circle, 0, &flags);
        let mut last = first;
        (0..count).for_each(|_| last = build::cache_record(&mut circle, last, &flags));
        circle[first as usize..first as usize + 4].copy_from_slice(&words(&[last]));
        linked_to(circle, &mut (0..count).map(|i| first + i * 16))
    });

    for size in [0, 4, 8, 9, 0x7fff_ffff, 0xffff_fff8, u32::MAX] {
        let mut bytes = build::cache(&fields, 1);
        let one = build::cache_record(&mut bytes, u32::MAX, &flags);
        let two = build::cache_record(&mut bytes, one, &flags);
        bytes[one as usize + 4..one as usize + 8].copy_from_slice(&words(&[size]));
        attack(&format!("a record of {size}"), linked_to(bytes, &mut [one, two, u32::MAX - 3].into_iter()));
    }
    for word in [0, 1, 0x7fff_ffff, 0x8080_8084, 0x8080_8088, u32::MAX] {
        for place in (0..80).step_by(4) {
            let mut bytes = build::cache(&fields, 1);
            let one = build::cache_record(&mut bytes, 0, &flags);
            bytes[place..place + 4].copy_from_slice(&words(&[word]));
            let name = || format!("{word:#x} at {place}");
            limited(&name, bytes.len(), || {
                let beside = dump::Beside::of(&linked(std::iter::once(one)), &dump::Options::default());
                let mut out = Sink { keep: true, ..Sink::default() };
                let options = dump::Options { hex: true, ..dump::Options::default() };
                let _ = dump_bytes(FileKind::Cache, &bytes, &beside, &options, Format::Json, &mut out);
                json_is_valid(Format::Json, &out, &name());
            });
        }
    }

    let dumped = |kind, bytes: Vec<u8>| vec![Attack::Dump(kind, bytes)];
    attack_growing("fields of a type without name", 30_000, |count| {
        let names: Vec<String> = (0..count).map(|i| format!("f{i}")).collect();
        let wide: Vec<build::CacheField<'_>> = names.iter().map(|name| (name.as_str(), 0, 9)).collect();
        dumped(FileKind::Cache, build::cache(&wide, 1))
    });

    // mime.parts: a message in a message in a message, and more children than there could be.
    let levels = |depth: u32, children: u32| {
        let mut parts = Vec::new();
        for level in 0..depth {
            parts.extend(words(&[0x44]));
            parts.extend(words(if level == 0 { &[0; 8] } else { &[0; 10] }));
            parts.extend(words(&[1, children]));
        }
        let mut data = words(&[0, u32::try_from(parts.len()).expect("short")]);
        data.extend(parts);
        let mut bytes = build::cache(&fields, 1);
        build::cache_record(&mut bytes, 0, &data);
        dumped(FileKind::Cache, bytes)
    };
    attack("90 levels of one child", levels(90, 1));
    for children in [1, u32::MAX] {
        attack_growing(&format!("levels of {children} children"), 20_000, |depth| levels(depth, children));
    }
    attack_growing("records with unknown fields", 100_000, |count| {
        let mut zeros = build::cache(&fields, 1);
        zeros.extend(words(&[0, 16, 9, 9]).repeat(count as usize));
        dumped(FileKind::Cache, zeros)
    });
    attack_growing("records inside each other", 200_000, |count| {
        let mut nested = build::cache(&fields, 1);
        (0..count).for_each(|i| nested.extend(words(&[0, (count - i) * 8 + 4])));
        dumped(FileKind::Cache, nested)
    });
}

#[test]
fn hostile_thread_indexes_and_mailbox_logs() {
    use FileKind::{Cache, Index, Log, MailboxLog, Thread};
    for filler in [0, 1, 0x7f, 0x80, 0xff] {
        for kind in [Thread, MailboxLog, Log, Index, Cache] {
            attack_growing(&format!("{kind:?} full of {filler:#x}"), 1 << 20, |size| {
                let mut bytes = words(&[1, 0]);
                bytes.extend([0x80, 0x80, 0x80, 0x84]);
                bytes.resize(size as usize, filler);
                vec![Attack::Dump(kind, bytes)]
            });
        }
    }
    attack_growing("thread index of empty blocks", 250_000, |count| {
        let mut blocks = words(&[1, 0]);
        blocks.extend([0x80, 0x80, 0x80, 0x81].repeat(count as usize));
        vec![Attack::Dump(Thread, blocks)]
    });
}

/// The real binary: exit code 0, 1 or 2 and never a signal, a JSON document in every case, errors with file and offset.
#[test]
fn the_binary_survives_and_answers() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |verb: &str, format: &str, path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
        command.args([verb, "-f", format]).arg(path).stdin(Stdio::null());
        let output = command.output().expect("idx runs");
        let code = output.status.code().unwrap_or_else(|| panic!("{verb} {}: {}", path.display(), output.status));
        assert!((0..=2).contains(&code), "{verb} {}: exit code {code}", path.display());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(code != 0, !stderr.is_empty(), "{verb} {}: exit code {code}, {stderr:?}", path.display());
        assert!(code == 0 || stderr.contains("dovecot."), "{stderr}");
        if format == "json" {
            let document: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{verb} {}: {error}", path.display()));
            assert_eq!(document["schema"], format!("idx.{verb}/1"));
        }
        (code, stderr)
    };
    let sources = [
        ("2.4.1-maildir-chain/files/Maildir/dovecot.index", 44),
        ("2.3.19.1-sdbox-chain/files/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log", 52),
        ("2.4.1-maildir-chain/files/Maildir/.Archive/dovecot.index.cache", 28),
        ("2.3.19.1-maildir-fresh/files/Maildir/dovecot.index.thread", 8),
        ("2.4.1-maildir-list/files/Maildir/dovecot.mailbox.log", 24),
    ];
    for (name, spot) in sources {
        let sound = std::fs::read(fixtures().join(name)).expect("a fixture");
        let path = dir.path().join(Path::new(name).file_name().expect("a name"));
        let mut variants: Vec<Vec<u8>> = [0, 1, 3, 23, 24, 31, 33, 39, 41, 119, 121, sound.len() / 2, sound.len() - 1]
            .into_iter()
            .filter(|cut| *cut < sound.len())
            .map(|cut| sound[..cut].to_vec())
            .collect();
        for at in [0, 2, 4, 8, 12, spot, sound.len() / 3] {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x90;
            variants.push(bytes);
        }
        for bytes in variants {
            std::fs::write(&path, &bytes).expect("writable");
            // Old enough that a torn tail is not taken for one that is being written.
            let file = std::fs::File::options().write(true).open(&path).expect("opens");
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("a time");
            for format in ["json", "ndjson", "table"] {
                run("dump", format, &path);
            }
            run("show", "json", &path);
            let (code, stderr) = run("dump", "json", &path);
            if bytes.is_empty() {
                assert_eq!(code, 2, "an empty {name}");
            }
            if code == 1 {
                assert!(
                    stderr.contains("offset ") && stderr.contains("need ") && stderr.contains("found "),
                    "{stderr}"
                );
            }
        }
        std::fs::remove_file(&path).expect("removable");
    }
}

/// A stream of a large damaged log shows what is behind the damage, too.
#[test]
fn a_large_log_is_read_on_behind_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("dovecot.index.log");
    let mut log = Log::new(1);
    log.append(1..=10);
    (0..400_000_u32).for_each(|i| {
        log.record(build::FLAG_UPDATE, &words(&[i % 10 + 1, i % 10 + 1, 8]));
    });
    let middle = 40 + 88 + 200_000 * 20;
    log.bytes[middle..middle + 8].fill(0);
    std::fs::write(&path, &log.bytes).expect("writable");
    let file = std::fs::File::options().write(true).open(&path).expect("opens");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600)).expect("a time");
    let mut out = Sink { keep: true, ..Sink::default() };
    let options = dump::Options { uid: Some("1:10".parse::<UidSet>().expect("a set")), ..dump::Options::default() };
    let outcome = dump::file(&path, &options, &mut LinesDocument::new(dump::SCHEMA, &mut out)).expect("a dump");
    assert_eq!(outcome.problems.len(), 1, "{:?}", outcome.problems);
    assert_eq!(outcome.problems[0].at, middle as u64);
    let count = |section: &str| {
        let wanted = format!("\"section\":\"{section}\"");
        String::from_utf8_lossy(&out.text).lines().filter(|line| line.contains(&wanted)).count()
    };
    assert_eq!((count("records"), count("salvaged")), (200_001, 199_999));
}
