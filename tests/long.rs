//! One record may be as long as its file, and its text ten times that. What is written of it goes out as it comes: the memory
//! that a report takes grows with the bytes of the file, never with those of its text.

mod support;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use idx::format::FileKind;
use idx::model::UidSet;
use idx::render::document::{Document, JsonDocument, LinesDocument, TableDocument};
use idx::render::{Format, Style};
use idx::source::MmapPolicy;
use idx::view;
use support::build::{self, CacheField, Ext, Log, words};
use support::counting::Counting;

static ALL: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64) {
    PEAK.fetch_max(ALL.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

#[global_allocator]
static COUNTING: Counting = Counting(count);

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes of the smaller of two files; the larger has four times as many.
const SMALL: u32 = 96 << 10;
const FORMATS: [Format; 3] = [Format::Table, Format::Json, Format::Ndjson];

/// Counts what is written.
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The most memory that something takes at a time, and how much it writes.
fn cost(run: &dyn Fn(&mut Sink)) -> (i64, u64) {
    let (before, mut sink) = (ALL.load(Relaxed), Sink(0));
    PEAK.store(before, Relaxed);
    run(&mut sink);
    (PEAK.load(Relaxed) - before, sink.0)
}

/// Holds that memory grows by no more than `times` what the file grows by. Buffers of a fixed size are those of both.
fn grows_with_the_file(what: &str, times: i64, of: &dyn Fn(u32) -> (usize, Box<dyn Fn(&mut Sink)>)) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let [(small, run_small), (large, run_large)] = [of(SMALL), of(SMALL * 4)];
    let ((a, _), (b, text)) = (cost(&*run_small), cost(&*run_large));
    let grown = (large - small) as i64;
    assert!(text > 0, "{what}: nothing written");
    assert!(b - a <= grown * times + (256 << 10), "{what}: {a} bytes for {small}, {b} for {large}, {text} of text");
}

fn dumped(kind: FileKind, bytes: Vec<u8>, hex: bool, format: Format) -> (usize, Box<dyn Fn(&mut Sink)>) {
    fn run<D: Document>(kind: FileKind, bytes: &[u8], hex: bool, out: &mut D) {
        let options = view::dump::Options { hex, ..view::dump::Options::default() };
        let beside = view::dump::Beside::default();
        view::dump::bytes(Path::new("file"), kind, bytes, &beside, &options, out).expect("a sink takes everything");
    }
    let len = bytes.len();
    let write = move |out: &mut Sink| match format {
        Format::Table => run(kind, &bytes, hex, &mut TableDocument::new(Style::default(), out)),
        Format::Json => run(kind, &bytes, hex, &mut JsonDocument::new(view::dump::SCHEMA, out)),
        Format::Ndjson => run(kind, &bytes, hex, &mut LinesDocument::new(view::dump::SCHEMA, out)),
    };
    (len, Box::new(write))
}

/// A log of one long record of each type, `len` bytes of payload.
fn logs() -> Vec<(&'static str, fn(u32) -> Log)> {
    /// `len` bytes of it.
    fn fill(unit: &[u8], len: u32) -> Vec<u8> {
        unit.repeat(len as usize / unit.len())
    }
    fn of(type_raw: u32, payload: &[u8]) -> Log {
        let mut log = Log::new(1);
        log.append(1..=20).record(type_raw, payload);
        log
    }
    vec![
        ("attributes", |len| of(build::ATTRIBUTE_UPDATE, &fill(b"+pa\0", len))),
        ("one attribute", |len| of(build::ATTRIBUTE_UPDATE, &[&b"+p"[..], &fill(b"\x01", len), &[0; 10]].concat())),
        ("append", |len| of(build::APPEND, &fill(&words(&[7, 0x1f]), len))),
        ("flags", |len| of(build::FLAG_UPDATE, &fill(&words(&[1, 9, 0x1f1f]), len))),
        ("expunges", |len| of(build::EXPUNGE | build::EXTERNAL, &fill(&words(&[1, 1]), len))),
        ("keyword", |len| {
            of(build::KEYWORD_UPDATE, &[&[0, 0, 4, 0][..], b"word", &fill(&words(&[1, 2]), len)].concat())
        }),
        ("intros", |len| {
            of(
                build::EXT_INTRO,
                &fill(&[words(&[u32::MAX, 0, 0]), words(&[0, 4 << 16]), b"name".to_vec()].concat(), len),
            )
        }),
        ("header pieces", |len| of(build::HEADER_UPDATE, &fill(&words(&[4 << 16, 1]), len))),
        ("modseqs", |len| of(build::MODSEQ_UPDATE, &fill(&words(&[1, 9, 9]), len))),
        ("unknown type", |len| of(0x0abc_0000, &fill(&[7; 4], len))),
        ("extension records", |len| {
            let mut log = Log::new(1);
            log.append(1..=20).intro(u32::MAX, b"cache", 0, 4, 4).record(build::EXT_REC, &fill(&words(&[3, 9]), len));
            log
        }),
    ]
}

#[test]
fn a_long_record_is_dumped_as_it_comes() {
    for (name, build) in logs() {
        for (format, hex) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
            grows_with_the_file(&format!("{name} as {format:?}, hex {hex}"), 1, &|len| {
                dumped(FileKind::Log, build(len).bytes, hex, format)
            });
        }
    }
}

#[test]
fn long_headers_and_values_are_dumped_as_they_come() {
    let index = |header: Vec<u8>| {
        let ext = Ext {
            name: b"unheard-of".to_vec(),
            header,
            reset_id: 0,
            record_offset: 0,
            record_size: 0,
            record_align: 0,
        };
        build::index(&[ext], 8, &words(&[1, 0]), |_| {})
    };
    let cache = |value: Vec<u8>| {
        let fields: [CacheField<'_>; 1] = [("hdr.subject", 0, 3)];
        let mut bytes = build::cache(&fields, 1);
        let size = u32::try_from(value.len()).expect("short");
        build::cache_record(&mut bytes, 0, &[words(&[0, size]), value].concat());
        bytes
    };
    let lines = |len: u32| (0..len / 4).map(|n| n + 1).chain([0]).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let files: [(&str, FileKind, &dyn Fn(u32) -> Vec<u8>); 5] = [
        ("an unknown header", FileKind::Index, &|len| index(vec![0xa5; len as usize])),
        ("a header of zeros", FileKind::Index, &|len| index(vec![0; len as usize])),
        ("a subject", FileKind::Cache, &|len| cache([words(&[1, 0]), vec![b'\x1b'; len as usize]].concat())),
        ("a subject of no charset", FileKind::Cache, &|len| cache([words(&[1, 0]), vec![0xff; len as usize]].concat())),
        ("lines of a subject", FileKind::Cache, &|len| cache(lines(len))),
    ];
    for (name, kind, build) in files {
        for (format, hex) in FORMATS.into_iter().flat_map(|format| [(format, false), (format, true)]) {
            let what = format!("{name} as {format:?}, hex {hex}");
            grows_with_the_file(&what, 1, &|len| dumped(kind, build(len), hex, format));
        }
    }
}

/// The verbs that tell of the past read the logs again, piece by piece.
#[test]
fn a_long_record_is_told_as_it_comes() {
    fn opened(len: u32, build: fn(u32) -> Log) -> (usize, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("directory");
        let bytes = build(len).bytes;
        std::fs::write(dir.path().join("dovecot.index.log"), &bytes).expect("written");
        (bytes.len(), dir)
    }
    for (name, build) in logs() {
        for (format, uid) in FORMATS.into_iter().flat_map(|format| [(format, None), (format, Some("1:9"))]) {
            let uid: Option<UidSet> = uid.map(|uid| uid.parse().expect("a set"));
            let what = format!("log of {name} as {format:?}, UIDs {uid:?}");
            // The judge, and the trial of what mends its findings, hold a short log several times. Beside a log above
            // 8 MiB nothing is tried.
            grows_with_the_file(&what, 8, &|len| {
                let (size, dir) = opened(len, build);
                let options = idx::logs::walk::Options { uid: uid.clone(), ..Default::default() };
                let run = move |out: &mut Sink| {
                    let now = 1_800_000_000;
                    let mut opened =
                        idx::ops::log::OpenHistory::open(dir.path(), true, MmapPolicy::Never, now).expect("a mailbox");
                    let writing = view::log::Options { format, style: Style::default(), whole: true };
                    let (_, read) = view::log::write(dir.path(), &writing, out, &mut |sink| {
                        let read = opened.history.records(&options, sink);
                        (opened.problems(), read)
                    });
                    read.expect("readable");
                };
                (size, Box::new(run))
            });
        }
    }
}
