//! How fast idx is beside what the machine has anyway: `doveadm dump` and `cat`, in one run and in turns, so that what else the
//! machine does hits both. `cargo bench --bench ratios`; exits with an error when a target is missed. With a directory in
//! `IDX_BENCH_FILES` it only writes there what `tools/bench-against` runs two revisions on.

// The unit tests of the drivers have no part in a benchmark.
#[allow(unused_imports)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use idx::source::{LogStream, StreamStep};
use support::build::{self, Log};
use support::dovecot::{Dovecot, Format};
use support::large;

const ROUNDS: usize = 9;

fn null() -> Stdio {
    File::options().write(true).open("/dev/null").expect("/dev/null").into()
}

fn idx(args: &[&OsStr]) -> Duration {
    let start = Instant::now();
    let status =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).stdin(Stdio::null()).stdout(null()).status().expect("idx");
    let took = start.elapsed();
    assert!(status.success(), "idx {args:?}: {status}");
    took
}

fn run(mut command: Command) -> Duration {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(null()).stderr(null()).status().expect("started");
    let took = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Collects what misses its target.
#[derive(Default)]
struct Results {
    missed: Vec<String>,
}

impl Results {
    fn pair(
        &mut self,
        what: &str,
        other: &str,
        least: f64,
        mut ours: impl FnMut() -> Duration,
        mut theirs: impl FnMut() -> Duration,
    ) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            a.push(ours());
            b.push(theirs());
        }
        let (a, b) = (median(a), median(b));
        let ratio = b.as_secs_f64() / a.as_secs_f64();
        println!("{what:44} {a:>12.1?}   {other} {b:>12.1?}   {ratio:5.1}x (at least {least:.2}x)");
        if ratio < least {
            self.missed.push(format!("{what}: {ratio:.2}x of {least:.2}x"));
        }
    }

    fn limit(&mut self, what: &str, most: Duration, mut ours: impl FnMut() -> Duration) {
        let time = median((0..ROUNDS).map(|_| ours()).collect());
        println!("{what:44} {time:>12.1?}   (at most {most:?})");
        if time > most {
            self.missed.push(format!("{what}: {time:?} of {most:?}"));
        }
    }
}

/// Reads a log from end to end; what `idx` does with every one before anything else.
fn scan(path: &Path) -> Duration {
    let start = Instant::now();
    let mut stream = LogStream::open(path).expect("a log");
    let mut bytes = 0;
    while let StreamStep::Record(record) = stream.step().expect("readable") {
        bytes += u64::from(record.size);
    }
    assert_eq!(bytes + 40, stream.stat.size);
    start.elapsed()
}

/// A mailbox of a million messages whose index has a counter that cannot be, with 1 MiB of flag changes behind it in the log.
/// Returns the index and its bytes.
fn broken_mailbox(dir: &Path) -> (PathBuf, Vec<u8>) {
    let index = large::mailbox(dir, 1_000_000);
    std::fs::remove_file(dir.join("dovecot.index.cache")).expect("removed");
    let mut bytes = std::fs::read(&index).expect("readable");
    bytes[40..44].fill(0xff);
    let log = dir.join("dovecot.index.log");
    let mut records = std::fs::read(&log).expect("readable");
    // A log after a rotation: what the index holds is in no log any more.
    records[12..20].copy_from_slice(&[1_u32.to_le_bytes(), 4000_u32.to_le_bytes()].concat());
    for i in 0..(1 << 20) / 20_u32 {
        records.extend([0x80, 0x80, 0x80, 0x85, 4, 0, 0, 0]);
        let uid = 1 + i * 17 % 1_000_000;
        records.extend([uid.to_le_bytes(), uid.to_le_bytes(), [0x08, 0, 0, 0]].concat());
    }
    std::fs::write(log, records).expect("written");
    (index, bytes)
}

/// The most memory that a process had, in KiB.
fn peak_of(args: &[&OsStr]) -> u64 {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).stdin(Stdio::null()).stdout(null()).spawn().expect("idx");
    let mut peak = 0;
    let path = format!("/proc/{}/status", child.id());
    while child.try_wait().expect("a state").is_none() {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    peak
}

/// A young Maildir of these messages: all of them in the log, and with `storage` also in the uidlist and in `cur/`.
fn young(dir: &Path, messages: u32, storage: bool) {
    std::fs::create_dir_all(dir).expect("created");
    let mut log = Log::new(1);
    // UIDVALIDITY is at byte 24 of the header.
    log.record(build::HEADER_UPDATE, &build::words(&[24 | 4 << 16, 7]));
    log.append(1..=messages);
    std::fs::write(dir.join("dovecot.index.log"), log.bytes).expect("written");
    if storage {
        ["cur", "new", "tmp"].iter().for_each(|sub| std::fs::create_dir(dir.join(sub)).expect("created"));
        let lines: String = (1..=messages).map(|uid| format!("{uid} :{uid}.M1P1.host\n")).collect();
        std::fs::write(dir.join("dovecot-uidlist"), format!("3 V7 N{}\n{lines}", messages + 1)).expect("written");
        let file = |uid: u32| File::create(dir.join(format!("cur/{uid}.M1P1.host:2,"))).map(drop).expect("created");
        (1..=messages).for_each(file);
    }
    // What has just changed is looked at again.
    let old = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    for path in ["", "cur", "new", "dovecot.index.log", "dovecot-uidlist"].map(|name| dir.join(name)) {
        File::open(path).and_then(|file| file.set_times(old)).ok();
    }
}

/// A young Maildir that has got its index.
fn grown(dir: &Path) {
    young(dir, 10, true);
    let records: Vec<u8> = (1..=10_u32).flat_map(|uid| build::words(&[uid, 0])).collect();
    let end = std::fs::metadata(dir.join("dovecot.index.log")).expect("a log").len();
    let index = build::index(&[], 8, &records, |header| {
        header.uid_validity = 7;
        header.first_recent_uid = 1;
        header.log_file_seq = 2;
        header.log_file_tail_offset = u32::try_from(end).expect("short");
        header.log_file_head_offset = header.log_file_tail_offset;
    });
    std::fs::write(dir.join("dovecot.index"), index).expect("written");
}

/// What the storage costs: a rebuild of 100,000 messages with and without it, and `check --deep` of a tree beside reading the same
/// index files and listing the mail files.
fn witnesses(root: &Path, results: &mut Results) {
    let [with, without, tree] = ["with", "without", "tree"].map(|name| root.join(name));
    young(&with, 100_000, true);
    young(&without, 100_000, false);
    (0..500).for_each(|i| young(&tree.join(format!("m{i}")), 10, true));
    let rebuild = ["rebuild", "-n"].map(OsStr::new);
    results.pair(
        "rebuild of 100,000 messages, all witnesses",
        "without them",
        0.5,
        || idx(&[&rebuild[..], &[with.as_os_str()]].concat()),
        || idx(&[&rebuild[..], &[without.as_os_str()]].concat()),
    );
    results.pair(
        "check --deep of 500 mailboxes",
        "cat and find",
        0.5,
        || idx(&[OsStr::new("check"), OsStr::new("--deep"), tree.as_os_str()]),
        || {
            let mut other = Command::new("sh");
            let script =
                "find \"$1\" -name 'dovecot.index*' -type f -print0 | xargs -0 cat; find \"$1\" -path '*/cur/*'";
            other.args(["-c", script, "sh"]).arg(&tree);
            run(other)
        },
    );
}

/// Writes the files on which `tools/bench-against` runs two binaries in turns.
fn files(root: &Path) {
    let dir = |name: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(&path).expect("created");
        path
    };
    large::mailbox(&dir("mailbox"), 100_000);
    large::log(&dir("log"), 30 << 20);
    let tree = dir("tree");
    (0..500).for_each(|i| young(&tree.join(format!("m{i}")), 10, true));
    let indexed = dir("indexed");
    (0..500).for_each(|i| grown(&indexed.join(format!("m{i}"))));
    // An index whose modseq header is ahead of its log: a finding with a fix.
    let unsound = large::mailbox(&dir("unsound"), 100_000);
    let log = unsound.with_file_name("dovecot.index.log");
    let mut bytes = std::fs::read(&log).expect("readable");
    // initial_modseq is at byte 24 of the header.
    bytes[24..32].copy_from_slice(&90_000_u64.to_le_bytes());
    std::fs::write(log, bytes).expect("written");
    rest(root);
}

/// Gives everything below a directory a time long past: what has just changed is looked at again.
fn rest(dir: &Path) {
    let old = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            rest(&entry);
        }
        File::open(&entry).and_then(|file| file.set_times(old)).ok();
    }
}

fn main() {
    // `cargo test --benches` only wants to know that this builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    if let Some(dir) = std::env::var_os("IDX_BENCH_FILES") {
        return files(Path::new(&dir));
    }
    let dovecot = Dovecot::new(Format::Maildir, &[]);
    let root = tempfile::tempdir().expect("a directory");
    let (boxed, logged) = (root.path().join("mailbox"), root.path().join("log"));
    std::fs::create_dir(&boxed).and_then(|()| std::fs::create_dir(&logged)).expect("created");
    let index = large::mailbox(&boxed, 100_000);
    let log = large::log(&logged, 30 << 20);
    // Dovecot reads as another user; a snapshot belongs to it.
    let (their_box, their_log) = (dovecot.snapshot(&boxed), dovecot.snapshot(&logged).join("dovecot.index.log"));
    let their_index = their_box.join("dovecot.index");
    let text = dovecot.dump("index", &their_index);
    let count = |what: &str| text.matches(what).count();
    let head = text.get(..3000).unwrap_or(&text);
    assert_eq!(count("RECORD: seq="), 100_000, "doveadm reads the index: {:?}, {head}", dovecot.error_log());
    assert_eq!(count(" - cache offset="), 100_000, "doveadm reads the cache: {:?}", dovecot.error_log());
    println!(
        "doveadm dump: {} MB of text for the index, {} MB for the log",
        text.len() >> 20,
        dovecot.dump("log", &their_log).len() >> 20
    );

    let arg = |text: &'static str| OsStr::new(text);
    let (cache, ndjson) = (boxed.join("dovecot.index.cache"), ["dump", "-f", "ndjson"].map(OsStr::new));
    let ours = |paths: &[&Path]| {
        let args: Vec<&OsStr> = ndjson.iter().copied().chain(paths.iter().map(|path| path.as_os_str())).collect();
        idx(&args)
    };
    let theirs = |kind: &str, path: &Path| {
        let command = dovecot.command_for(&["dump".as_ref(), "-t".as_ref(), kind.as_ref(), path.as_os_str()]);
        run(command)
    };
    let mut results = Results::default();
    results.pair(
        "dump -f ndjson of 100,000 messages + cache",
        "doveadm dump",
        3.0,
        || ours(&[&index, &cache]),
        || theirs("index", &their_index),
    );
    results.pair("dump -f ndjson of a 30 MB log", "doveadm dump", 3.0, || ours(&[&log]), || theirs("log", &their_log));
    results.pair(
        "scanning a 30 MB log",
        "cat",
        1.0 / 3.0,
        || scan(&log),
        || {
            let mut cat = Command::new("cat");
            cat.arg(&log);
            run(cat)
        },
    );
    let five = Duration::from_millis(5);
    let uid = [arg("dump"), arg("-f"), arg("ndjson"), arg("--uid"), arg("70000"), arg("--section"), arg("records")];
    results.limit("dump --uid of the index", five, || idx(&[&uid[..], &[index.as_os_str()]].concat()));
    results.limit("dump --uid of index and cache", five, || {
        idx(&[&uid[..], &[index.as_os_str(), cache.as_os_str()]].concat())
    });
    let show = |format| [arg("show"), arg("-f"), format, boxed.as_os_str()];
    results.limit("show -f ndjson of 100,000 messages", Duration::from_millis(100), || idx(&show(arg("ndjson"))));
    results.limit("show -f json of 100,000 messages", Duration::from_millis(100), || idx(&show(arg("json"))));
    results.limit("--version", five, || idx(&[arg("--version")]));

    let million = root.path().join("million");
    std::fs::create_dir(&million).expect("created");
    let (index, bytes) = broken_mailbox(&million);
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        std::fs::write(&index, &bytes).expect("written");
        rustix::fs::sync();
        times.0.push(idx(&[arg("rebuild"), million.as_os_str()]));
        let mut copy = Command::new("sh");
        copy.args(["-c", "cp \"$1\"/dovecot.index* \"$2\" && sync \"$2\"/*", "sh"]).arg(&million).arg(&logged);
        times.1.push(run(copy));
    }
    let (ours, theirs) = (median(times.0), median(times.1));
    println!(
        "{:44} {ours:>12.1?}   cp and sync {theirs:>12.1?}   (at most 1s)",
        "rebuild of 1,000,000 messages, 1 MiB of log"
    );
    if ours > Duration::from_secs(1) {
        results.missed.push(format!("rebuild: {ours:?}"));
    }

    witnesses(root.path(), &mut results);
    for (what, args) in [("check", &["check"][..]), ("show -f ndjson", &["show", "-f", "ndjson"])] {
        let with = |policy| {
            let all = args.iter().copied().chain(["--mmap", policy]).map(OsStr::new).chain([boxed.as_os_str()]);
            idx(&all.collect::<Vec<_>>())
        };
        results.pair(&format!("{what} --mmap auto"), "always", 0.5, || with("auto"), || with("always"));
    }

    let large = root.path().join("large");
    std::fs::create_dir(&large).expect("created");
    let large = large::log(&large, 1 << 30);
    let peak = peak_of(&[&ndjson[..], &[large.as_os_str()]].concat());
    results.pair(
        "log --stats of a 1 GB log",
        "cat",
        1.0 / 3.0,
        || idx(&[arg("log"), arg("--stats"), large.as_os_str()]),
        || {
            let mut cat = Command::new("cat");
            cat.arg(&large);
            run(cat)
        },
    );
    println!("{:44} {peak:>8} KiB   (at most 32768 KiB)", "memory for a 1 GB log as ndjson");
    if peak > 32 << 10 {
        results.missed.push(format!("memory: {peak} KiB"));
    }
    if !results.missed.is_empty() {
        eprintln!("missed:\n  {}", results.missed.join("\n  "));
        std::process::exit(1);
    }
}
