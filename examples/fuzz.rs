//! Fuzzes without an engine: `cargo run --release --example fuzz -- SECONDS [SEED]` mutates the files of the fixtures and
//! gives them to the bodies of the fuzz targets. The same seed makes the same mutations.
//!
//! An input that makes a target panic is written to `target/fuzz/`, and the exit code is 1. `cargo fuzz run TARGET` with a
//! nightly toolchain does the same with coverage to guide it.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Inputs larger than this are slow, and no stranger for it.
const LARGEST: usize = 64 << 10;

/// A target, and the files that it starts from.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    seeds: Vec<Vec<u8>>,
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
    vec![
        Target { name: "index", run: targets::index, seeds: with(&[".index", ".backup", ".pvt"]) },
        Target { name: "log", run: targets::log, seeds: with(&[".log", ".log.2"]) },
        Target { name: "cache", run: targets::cache, seeds: with(&[".cache"]) },
        Target { name: "replay", run: targets::replay, seeds: list.iter().filter(logs).map(mailbox).collect() },
    ]
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (Ok(seconds), Ok(seed)) = (args.next().unwrap_or(Ok(60)), args.next().unwrap_or(Ok(1))) else {
        eprintln!("usage: fuzz [SECONDS [SEED]]");
        return ExitCode::from(2);
    };
    let list = targets();
    let each = Duration::from_secs(seconds) / u32::try_from(list.len()).unwrap_or(1);
    let mut failed = false;
    for Target { name, run, seeds } in list {
        let (mut rng, begin, mut runs) = (Rng(seed.max(1)), Instant::now(), 0_u64);
        if seeds.is_empty() {
            eprintln!("{name}: no file to start from");
            failed = true;
            continue;
        }
        while begin.elapsed() < each {
            let mut input = seeds[rng.below(seeds.len())].clone();
            let other = &seeds[rng.below(seeds.len())];
            mutate(&mut input, other, &mut rng);
            runs += 1;
            if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
                let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
                let path = dir.join(format!("{name}-{seed}-{runs}"));
                let kept = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, &input));
                eprintln!("{name}: run {runs} panicked; its input is {}: {kept:?}", path.display());
                failed = true;
                break;
            }
        }
        println!("{name}: {runs} runs from {} files, seed {seed}", seeds.len());
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
