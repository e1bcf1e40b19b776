//! Fuzzes without an engine: `cargo run --release --example fuzz -- SECONDS [SEED]` mutates the files of the fixtures and
//! gives them to the bodies of the fuzz targets. The same seed makes the same mutations.
//!
//! An input that makes a target panic, take more memory than it may, or come to no end is written to `target/fuzz/`, and
//! the exit code is 1; `fuzz TARGET FILE` runs it again. `cargo fuzz run TARGET` with a nightly toolchain does the same
//! with coverage to guide it.

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use counting::Counting;
use rustix::time::{ClockId, clock_gettime};

/// Inputs larger than this are slow, and no stranger for it.
const LARGEST: usize = 64 << 10;
/// Seconds of a processor after which an input of that size counts as one that comes to no end: the slowest take a
/// hundredth of it.
const MOST_SECONDS: i64 = 60;
/// Bytes of memory that a run may take besides four times its input.
const MOST_MEMORY: i64 = 64 << 20;

static HELD: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(held, Relaxed);
}

#[global_allocator]
static COUNTING: Counting = Counting(count);

/// The input that is being run: its target, itself, and what the process had used of a processor when it began.
static RUNNING: Mutex<Option<(String, Vec<u8>, i64)>> = Mutex::new(None);

/// Seconds of a processor that this process has used.
fn used() -> i64 {
    clock_gettime(ClockId::ProcessCPUTime).tv_sec
}

/// How inputs are made of seeds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Bits, words and pieces of a file.
    Bytes,
    /// The same, and words that the format knows.
    Text,
    /// Instructions, drawn by lot.
    Instructions,
}

/// A target, what it starts from, and its share of the time.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    seeds: Vec<Vec<u8>>,
    made: Made,
    share: u32,
}

/// A generator of numbers (xorshift64*), so that a seed tells the whole run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit.max(1)
    }
}

/// Words that formats treat apart: no, one, all, the greatest, sizes as logs code them.
const WORDS: [u32; 10] =
    [0, 1, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x8080_8082, 0x8080_8085, 0x0008_0000, 0x1000_0002];

/// Words that texts are made of.
const TOKENS: [&str; 40] = [
    "UID FETCH 1:* (UID) (CHANGEDSINCE 5 VANISHED)\n",
    "(QRESYNC (1 2 1:9 (1:3 1,4,7)))",
    "4294967295",
    "18446744073709551615",
    "1:4294967295",
    "*",
    "{4}\n",
    "}",
    "{",
    "\n",
    "C: ",
    "S: ",
    "> ",
    "* VANISHED (EARLIER) ",
    "a SELECT INBOX ",
    "a OK\n",
    "[HIGHESTMODSEQ ",
    "UNSELECT\n",
    "mail_index_log_rotate_max_size = ",
    "mail_index_log2_max_age = ",
    "unlimited",
    "0",
    "99999999999T",
    " ms",
    "protocol imap {\n",
    "#",
    "\"",
    "'",
    "&AOQ-",
    "&-",
    "/",
    "..",
    ".INBOX",
    "dbox-Mails",
    "\0",
    "\u{202e}",
    "\"before\": null",
    "\"name\": \"dovecot.index.log\"",
    "../",
    "\"earlier\": []",
];

/// Puts a few of [`TOKENS`] into a text.
fn write_in(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.below(4) {
        let (at, token) = (rng.below(bytes.len() + 1), TOKENS[rng.below(TOKENS.len())]);
        let end = (at + rng.below(2) * token.len()).min(bytes.len());
        bytes.splice(at..end, token.bytes());
    }
}

/// Draws instructions for a whole mailbox: mostly few, so that a single one has its say.
fn draw(rng: &mut Rng) -> Vec<u8> {
    let most = 2 + rng.below(6);
    let count = 1 + rng.below(most);
    (0..1 + count * targets::mailbox::INSTRUCTION).map(|_| u8::try_from(rng.below(256)).unwrap_or(0)).collect()
}

/// Changes a few places of `bytes`.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..=rng.below(6) {
        let (len, at) = (bytes.len(), rng.below(bytes.len()));
        let word = at & !3;
        match rng.below(8) {
            0 if len > 0 => bytes[at] ^= 1 << rng.below(8),
            1 if len > 0 => bytes[at] = u8::try_from(rng.below(256)).unwrap_or(0),
            2 if word + 4 <= len => bytes[word..word + 4].copy_from_slice(&WORDS[rng.below(WORDS.len())].to_le_bytes()),
            3 if word + 4 <= len => {
                let value = u32::from_le_bytes([bytes[word], bytes[word + 1], bytes[word + 2], bytes[word + 3]]);
                let value = if rng.below(2) == 0 { value.wrapping_add(1) } else { value.wrapping_sub(1) };
                bytes[word..word + 4].copy_from_slice(&value.to_le_bytes());
            }
            4 => bytes.truncate(at),
            5 if len > 0 => {
                let end = (at + 4 * rng.below(64)).min(len);
                bytes.drain(at..end);
            }
            6 if len < LARGEST => {
                let piece = bytes[word..(word + 4 * rng.below(32)).min(len)].to_vec();
                bytes.splice(word..word, piece);
            }
            _ if !other.is_empty() => {
                let from = rng.below(other.len()) & !3;
                let piece = &other[from..(from + 4 * rng.below(64)).min(other.len())];
                let end = (word + piece.len()).min(len);
                bytes.splice(word..end, piece.iter().copied());
            }
            _ => {}
        }
    }
}

/// The files below `dir` whose name says that they are part of an index.
fn files(dir: &Path, list: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, list);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot.")) {
            list.push(path);
        }
    }
}

fn targets() -> Vec<Target> {
    let mut list = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), &mut list);
    let small = |path: &Path| fs::read(path).ok().filter(|bytes| bytes.len() <= LARGEST);
    let with = |end: &[&str]| {
        let ends = |path: &&PathBuf| end.iter().any(|end| path.to_string_lossy().ends_with(end));
        list.iter().filter(ends).filter_map(|path| small(path)).collect::<Vec<_>>()
    };
    // A mailbox as one input: index, old log, log, each with its length in front.
    let mailbox = |log: &PathBuf| {
        let base = log.to_string_lossy().trim_end_matches(".log").to_owned();
        let parts = ["", ".log.2", ".log"].map(|end| small(Path::new(&format!("{base}{end}"))).unwrap_or_default());
        let framed = |part: &Vec<u8>| [&u32::try_from(part.len()).unwrap_or(0).to_le_bytes()[..], part].concat();
        parts.iter().flat_map(framed).collect::<Vec<u8>>()
    };
    let logs = |path: &&PathBuf| path.to_string_lossy().ends_with("index.log");
    let of = |name, run, seeds, made, share| Target { name, run, seeds, made, share };
    let replay = list.iter().filter(logs).map(mailbox).collect();
    vec![
        of("index", targets::index, with(&[".index", ".backup", ".pvt"]), Made::Bytes, 2),
        of("log", targets::log, with(&[".log", ".log.2"]), Made::Bytes, 2),
        of("cache", targets::cache, with(&[".cache"]), Made::Bytes, 2),
        of("replay", targets::replay, replay, Made::Bytes, 2),
        of("undo", targets::text::undo, targets::text::undo_seeds(), Made::Text, 2),
        of("transcript", targets::text::transcript, targets::text::transcript_seeds(), Made::Text, 2),
        of("settings", targets::text::settings, targets::text::settings_seeds(), Made::Text, 2),
        of("names", targets::text::names, targets::text::names_seeds(), Made::Text, 1),
        of("storage", targets::mailbox::storage, targets::mailbox::storage_seeds(), Made::Text, 4),
        of("mailbox", targets::mailbox::mailbox, vec![Vec::new()], Made::Instructions, 8),
    ]
}

/// Runs one input. `Err`: why it fails.
fn run(name: &str, target: fn(&[u8]), input: &[u8]) -> Result<(), String> {
    *RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
        Some((name.to_owned(), input.to_vec(), used()));
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let ended = catch_unwind(AssertUnwindSafe(|| target(input)));
    *RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    let peak = PEAK.load(Relaxed) - before;
    match ended {
        Err(_) => Err("panicked".into()),
        Ok(()) if peak > MOST_MEMORY + 4 * input.len() as i64 => Err(format!("took {peak} bytes of memory")),
        Ok(()) => Ok(()),
    }
}

/// Keeps an input that fails; where it is, for people.
fn keep(name: &str, input: &[u8]) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    let path = dir.join(format!("{name}-{}", &idx::store::undo::ContentSum::of(input).sha256[..16]));
    match fs::create_dir_all(&dir).and_then(|()| fs::write(&path, input)) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

/// Ends the process when an input comes to no end.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((name, input, since)) = &*running
            && used() - since > MOST_SECONDS
        {
            eprintln!("{name}: no end after {MOST_SECONDS} s; its input is {}", keep(name, input));
            std::process::exit(1);
        }
    }
}

/// `fuzz TARGET FILE`: an input that was kept, once more.
fn again(args: &[String]) -> Option<ExitCode> {
    let [name, file] = args else { return None };
    let target = targets().into_iter().find(|target| target.name == name)?;
    let input = fs::read(file).map_err(|error| eprintln!("{file}: {error}")).ok()?;
    let ended = run(name, target.run, &input);
    println!("{name}: {}", ended.as_ref().map_or_else(|why| why.as_str(), |()| "it ends well"));
    targets::scratch::clear();
    Some(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn main() -> ExitCode {
    std::thread::spawn(watch);
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first.parse::<u64>().is_err()) {
        return again(&args).unwrap_or(ExitCode::from(2));
    }
    let number = |i: usize, default: u64| args.get(i).map_or(Ok(default), |arg| arg.parse());
    let (Ok(seconds), Ok(seed)) = (number(0, 60), number(1, 1)) else {
        eprintln!("usage: fuzz [SECONDS [SEED]] | fuzz TARGET FILE");
        return ExitCode::from(2);
    };
    let list = targets();
    let shares: u32 = list.iter().map(|target| target.share).sum();
    let mut failed = false;
    for Target { name, run: target, seeds, made, share } in list {
        let each = Duration::from_secs(seconds) * share / shares;
        let (mut rng, begin, mut runs) = (Rng(seed.max(1)), Instant::now(), 0_u64);
        if seeds.is_empty() {
            eprintln!("{name}: no file to start from");
            failed = true;
            continue;
        }
        let mut slowest = Duration::ZERO;
        while begin.elapsed() < each {
            let mut input = seeds[rng.below(seeds.len())].clone();
            let other = &seeds[rng.below(seeds.len())];
            match made {
                Made::Instructions => input = draw(&mut rng),
                Made::Bytes => mutate(&mut input, other, &mut rng),
                Made::Text => {
                    if rng.below(2) == 0 {
                        mutate(&mut input, other, &mut rng);
                    }
                    write_in(&mut input, &mut rng);
                }
            }
            runs += 1;
            let start = Instant::now();
            if let Err(why) = run(name, target, &input) {
                eprintln!("{name}: run {runs} of seed {seed} {why}; its input is {}", keep(name, &input));
                failed = true;
                break;
            }
            slowest = slowest.max(start.elapsed());
        }
        let from = if made == Made::Instructions { "instructions".into() } else { format!("{} files", seeds.len()) };
        println!("{name}: {runs} runs from {from} in {} s, the slowest {slowest:.0?}, seed {seed}", each.as_secs());
    }
    targets::scratch::clear();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
