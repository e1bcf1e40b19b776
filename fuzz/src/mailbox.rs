//! Whole mailboxes: a real one with its mail is taken, a few records of several of its files are changed so that the
//! framing stays valid, and every verb that reads, `rebuild` and `undo` have to come to an end that keeps their laws.

use std::collections::BTreeSet;
use std::io::sink;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use idx::check::{Finding, Level, Options as CheckOptions, Severity};
use idx::format::Endian;
use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::logs::walk::Options as LogOptions;
use idx::model::replay::Until;
use idx::ops::rebuild::{self, RebuildReport, Status};
use idx::ops::undo::{self, Task};
use idx::ops::{check, expunges, inspect, modseq, opened, past, scan, show};
use idx::render::document::{JsonDocument, LinesDocument};
use idx::render::{Format, Style};
use idx::repair::Grade;
use idx::source::{Family, MailboxFiles, MmapPolicy, Role, Walk};
use idx::store::lock::LockMethod;
use idx::view;

use super::scratch::{self, Files};

/// Fixtures that are mutated. The fresh ones have their messages, the others longer logs.
const BASES: [&str; 12] = [
    "2.3.19.1-maildir-fresh",
    "2.3.19.1-sdbox-fresh",
    "2.3.19.1-mdbox-fresh",
    "2.3.19.1-mbox-fresh",
    "2.4.1-maildir-fresh",
    "2.4.1-sdbox-fresh",
    "2.4.1-mdbox-fresh",
    "2.4.1-mbox-fresh",
    "2.3.19.1-maildir-chain",
    "2.3.19.1-sdbox-chain",
    "2.4.1-maildir-pvt",
    "2.4.1-mdbox-meta",
];

/// Bytes of one instruction.
pub const INSTRUCTION: usize = 8;

/// Words that formats treat apart: no, one, all, the greatest, sizes as logs code them.
const WORDS: [u32; 10] =
    [0, 1, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x8080_8082, 0x8080_8085, 0x0008_0000, 0x1000_0002];

/// The fixtures with an index each, which a mailbox so small has none of.
fn bases() -> &'static [Files] {
    static ALL: OnceLock<Vec<Files>> = OnceLock::new();
    ALL.get_or_init(|| {
        let home = scratch::dir("base");
        let of = |name: &&str| {
            scratch::write(&home, &scratch::read(&scratch::fixtures().join(name).join("files")));
            for index in indexes(&home) {
                let _ = rebuild::run(&index, &rebuild_options(false));
            }
            let mut files = scratch::read(&home);
            files.retain(|(name, _)| !name.ends_with(".idx-undo"));
            assert!(!files.is_empty(), "no fixture {name}");
            files
        };
        BASES.iter().map(of).collect()
    })
}

/// The indexes below a directory, whether they are there or only their logs.
fn indexes(home: &Path) -> BTreeSet<PathBuf> {
    let mut list = BTreeSet::new();
    for (name, _) in scratch::read(home) {
        let path = home.join(name);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for family in Family::ALL {
            if Role::ALL.iter().any(|role| name == [family.prefix(), role.suffix()].concat()) {
                list.insert(path.with_file_name(family.prefix()));
            }
        }
    }
    list
}

fn rebuild_options(dry_run: bool) -> rebuild::Options {
    rebuild::Options {
        dry_run,
        output: None,
        base: None,
        accept: Grade::ALL.to_vec(),
        lock_method: LockMethod::Fcntl,
        lock_timeout: Duration::from_secs(1),
        no_undo: false,
        any_owner: true,
        mmap: MmapPolicy::Auto,
    }
}

/// Changes a mailbox: of each instruction the first byte says what is done, the second to which file, the rest where
/// and with which value.
fn mutate(files: &mut Files, instructions: &[u8]) {
    for code in instructions.chunks_exact(INSTRUCTION).take(12) {
        let [what, which, a, b, c, d, e, f] = *code else { continue };
        let ends = [".log", ".log.2", "index", ".cache"];
        let (at, value) = (usize::from(u16::from_le_bytes([a, b])), usize::from(u16::from_le_bytes([c, d])));
        let word = WORDS[usize::from(e) % WORDS.len()];
        // Index files are met more often than messages.
        let wanted: Vec<usize> = match usize::from(which) % 8 {
            n @ 0..4 => (0..files.len()).filter(|i| files[*i].0.ends_with(ends[n])).collect(),
            4 => (0..files.len()).filter(|i| files[*i].0.contains("dovecot")).collect(),
            _ => (0..files.len()).collect(),
        };
        let Some(&i) = wanted.get(usize::from(f) % wanted.len().max(1)) else { continue };
        let other = files[value % files.len()].1.clone();
        let (name, bytes) = &mut files[i];
        match what % 18 {
            0 if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << (c % 8);
            }
            1 => set_word(bytes, at, |_| word),
            2 => set_word(bytes, at, |old| if c % 2 == 0 { old.wrapping_add(1) } else { old.wrapping_sub(1) }),
            3..=7 => records(bytes, what % 18, at, value, word, &other),
            8 | 9 => index_record(bytes, what % 18 == 9, at, value, word),
            10 if c % 4 == 0 => bytes.truncate(at % (bytes.len() + 1)),
            11 if !bytes.is_empty() => {
                // A sector that was never written, or that of another file.
                let from = (at % bytes.len()) & !511;
                let end = (from + 512).min(bytes.len());
                let patch = other.get(from..).unwrap_or_default();
                for (k, byte) in bytes[from..end].iter_mut().enumerate() {
                    *byte = if c % 2 == 0 { 0 } else { patch.get(k).copied().unwrap_or(0) };
                }
            }
            12 => lines(bytes, at, value, e),
            13 => *name = renamed(name, c, e),
            14 => *bytes = other,
            15 if c % 8 == 0 => bytes.clear(),
            16 => set_word(bytes, (at % 64) & !3, |old| if c % 2 == 0 { word } else { old.wrapping_add(u32::from(e)) }),
            17 if c % 4 == 0 => {
                files.remove(i);
            }
            _ => {}
        }
        if files.is_empty() {
            return;
        }
        // Two files under one name are one.
        files.sort();
        files.dedup_by(|a, b| a.0 == b.0);
    }
}

fn set_word(bytes: &mut [u8], at: usize, change: impl FnOnce(u32) -> u32) {
    let at = (at % bytes.len().max(1)) & !3;
    let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) else { return };
    *place = change(u32::from_le_bytes(*place)).to_le_bytes();
}

/// Records of a log: a word of one, one again, one out, one from elsewhere, two exchanged.
fn records(bytes: &mut Vec<u8>, what: u8, at: usize, value: usize, word: u32, other: &[u8]) {
    let places = |bytes: &[u8]| -> Vec<(usize, usize)> {
        let Ok(log) = LogFile::parse(bytes, bytes.len() as u64) else { return Vec::new() };
        log.records(bytes).map(|record| (record.offset as usize, record.end() as usize)).collect()
    };
    let all = places(bytes);
    let Some(&(start, end)) = all.get(at % all.len().max(1)) else { return };
    match what {
        3 => {
            let payload = start + 8 + ((value % (end - start).max(1)) & !3);
            if payload + 4 <= end {
                set_word(bytes, payload, |old| if value.is_multiple_of(3) { word } else { old ^ 1 << (value % 32) });
            }
        }
        4 => {
            let again = bytes[start..end].to_vec();
            let to = all[value % all.len()].0;
            bytes.splice(to..to, again);
        }
        5 => _ = bytes.drain(start..end),
        6 => {
            let there = places(other);
            let Some(&(from, to)) = there.get(value % there.len().max(1)) else { return };
            bytes.splice(start..start, other[from..to].iter().copied());
        }
        _ => {
            let Some(&(_, next)) = all.get(at % all.len() + 1) else { return };
            bytes[start..next].rotate_left(end - start);
        }
    }
}

/// Records of an index: a word of one, or two exchanged.
fn index_record(bytes: &mut [u8], exchanged: bool, at: usize, value: usize, word: u32) {
    let Ok(index) = IndexFile::parse(bytes) else { return };
    let (from, size, count) = (index.records_at, index.record_size, index.count());
    if count == 0 || index.endian != Endian::Little {
        return;
    }
    let place = from + at % count * size;
    if exchanged {
        let to = from + value % count * size;
        (0..size).for_each(|k| bytes.swap(place + k, to + k));
    } else {
        set_word(
            bytes,
            place + value % size,
            |old| if value.is_multiple_of(2) { word } else { old ^ 1 << (value % 32) },
        );
    }
}

/// Lines of a text (uidlist, keywords, mbox, metadata of dbox): one again, one out, a digit changed.
fn lines(bytes: &mut Vec<u8>, at: usize, value: usize, how: u8) {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(i, _)| i + 1))
        .collect();
    let line = at % starts.len();
    let (start, end) = (starts[line], starts.get(line + 1).copied().unwrap_or(bytes.len()));
    match how % 3 {
        0 => {
            let again = bytes[start..end].to_vec();
            let to = starts[value % starts.len()];
            bytes.splice(to..to, again);
        }
        1 => _ = bytes.drain(start..end),
        _ => {
            if let Some(byte) = bytes[start..end].iter_mut().filter(|byte| byte.is_ascii_hexdigit()).nth(value % 8) {
                *byte = b'0' + how % 10;
            }
        }
    }
}

/// Another name for a file: other flags, another UID, another number.
fn renamed(name: &str, how: u8, value: u8) -> String {
    let (dir, base) = name.rsplit_once('/').unwrap_or(("", name));
    let base = match (base.split_once(":2,"), base.split_once('.')) {
        (Some((base, _)), _) if how.is_multiple_of(3) => base.to_owned(),
        (Some((base, letters)), _) => format!("{base}:2,{letters}{}", char::from(b'A' + value % 58)),
        (None, Some(("u" | "m", _))) => format!("{}.{}", &base[..1], u64::from(value) << (how % 33)),
        (None, _) => return name.to_owned(),
    };
    if dir.is_empty() { base } else { format!("{dir}/{base}") }
}

/// A fixture, of which the first byte says which, changed by the instructions behind it.
pub fn mailbox(data: &[u8]) {
    let Some((which, instructions)) = data.split_first() else { return };
    let bases = bases();
    let mut files = bases[usize::from(*which) % bases.len()].clone();
    mutate(&mut files, instructions);
    run(&files);
}

/// Which file of which fixture [`storage`] replaces.
const PLACES: [(usize, &str); 10] = [
    (0, "dovecot-uidlist"),
    (0, "dovecot-keywords"),
    (1, "u.2"),
    (2, "m.1"),
    (2, "dovecot.map.index.log"),
    (0, "dovecot.list.index.log"),
    (3, "inbox"),
    (2, "dovecot.map.index"),
    (0, "dovecot.list.index"),
    (5, "u.3"),
];

/// Bytes in the place of one file of the storage: the first byte says of which.
pub fn storage(data: &[u8]) {
    let Some((place, bytes)) = data.split_first() else { return };
    let (base, wanted) = PLACES[usize::from(*place) % PLACES.len()];
    let mut files = bases()[base].clone();
    for (name, old) in &mut files {
        if name.rsplit('/').next() == Some(wanted) {
            *old = bytes.to_vec();
        }
    }
    run(&files);
}

/// What [`storage`] starts from: the real files, and the word for where they lie.
pub fn storage_seeds() -> Vec<Vec<u8>> {
    let bases = bases();
    let of = |(i, (base, wanted)): (usize, &(usize, &str))| {
        let found = bases[*base].iter().find(|(name, _)| name.rsplit('/').next() == Some(*wanted));
        found.map(|(_, bytes)| [&[u8::try_from(i).unwrap_or(0)], bytes.as_slice()].concat())
    };
    PLACES.iter().enumerate().filter_map(of).collect()
}

/// Every verb on a mailbox.
fn run(files: &Files) {
    let home = scratch::dir("home");
    scratch::write(&home, files);
    let before = scratch::read(&home);
    // Nobody is writing: what is young to the clock of this host is not to that.
    let now = idx::source::now().saturating_add(100_000);
    let by = CheckOptions::at(now);
    look(&home, &by);
    assert!(scratch::read(&home) == before, "a reading verb has written");
    for index in indexes(&home) {
        mended(&index, &by);
    }
    assert!(scratch::read(&home) == before, "undo has not restored everything");
}

/// The verbs that read.
fn look(home: &Path, by: &CheckOptions) {
    let roots = [home.to_owned()];
    let tree = check::TreeOptions { check: by.clone(), walk: Walk::from(1), deep: true };
    check::trees(&roots, &tree, |_, _| ControlFlow::Continue(()));
    let options = scan::Options { walk: Walk::from(1), all: true, mmap: MmapPolicy::Never };
    scan::scan(&roots, &options, |_| ControlFlow::Continue(()));
    for index in indexes(home) {
        let mut out = sink();
        let options = show::Options { uid: None, at: Until::End, pvt: None, mmap: MmapPolicy::Never };
        if let Ok(state) = show::state(&index, &options) {
            let _ = view::show::write(&index, &state, &options, &mut JsonDocument::new(show::SCHEMA, &mut out));
        }
        if let Ok(opened) = opened::Opened::read(&index, None, MmapPolicy::Never) {
            let mut out = LinesDocument::new(modseq::SCHEMA, &mut out);
            if let Ok(overview) = modseq::overview(&index, &opened) {
                let _ = view::modseq::write_overview(&index, &overview, None, &mut out);
            }
        }
        if let Ok(mut past) = past::Past::open(&index, Level::Modseqs, MmapPolicy::Never, by.now) {
            for modseq in [0, 1, 5, u64::MAX] {
                let _ = modseq::locate_in(&mut past, modseq);
                let _ = modseq::decode_in(&mut past, modseq);
            }
            let mut out = LinesDocument::new(modseq::SCHEMA, &mut out);
            let _ = view::modseq::write_history(&index, &mut past, None, &mut out);
        }
        let options = expunges::Options::default();
        if let Ok(mut report) = expunges::read(&index, &options, MmapPolicy::Never, by.now) {
            let _ = view::expunges::write(&index, &mut report, false, &mut JsonDocument::new("x", &mut out));
        }
        if let Ok(mut opened) = idx::ops::log::OpenHistory::open(&index, true, MmapPolicy::Never, by.now) {
            let options = view::log::Options { format: Format::Ndjson, style: Style::default(), whole: true };
            let _ = view::log::write(&index, &options, &mut out, &mut |sink| {
                let result = opened.history.records(&LogOptions::default(), sink);
                (opened.problems(), result)
            });
        }
    }
}

/// What `check` says against the index files themselves.
fn errors(index: &Path, by: &CheckOptions) -> Vec<Finding> {
    let mut found = inspect::mailbox(&MailboxFiles::at(index), by).unwrap_or_default();
    // What the storage has otherwise is no fault of the index files.
    found.retain(|one| one.severity == Severity::Error && !one.code.name().starts_with(['D', 'N']));
    found
}

/// `rebuild` and `undo` of one index, and their laws.
fn mended(index: &Path, by: &CheckOptions) {
    let dir = index.parent().expect("a directory");
    let before = scratch::listing(dir);
    let dry = rebuild::run(index, &rebuild_options(true));
    assert!(scratch::listing(dir) == before, "a dry run has written");
    let wet = rebuild::run(index, &rebuild_options(false));
    let (dry, wet) = match (dry, wet) {
        (Ok(dry), Ok(wet)) => (dry, wet),
        (dry, wet) => {
            let texts = [dry, wet].map(|result| result.map(|_| ()).map_err(|error| error.to_string()));
            assert!(texts[0] == texts[1], "a dry run and a run: {texts:?}");
            assert!(scratch::listing(dir) == before, "it failed and has written: {texts:?}");
            return;
        }
    };
    let alike = |report: &RebuildReport| RebuildReport { dry_run: false, undo: None, ..report.clone() };
    let texts = [&dry, &wet].map(|report| format!("{:?}", alike(report)));
    assert!(texts[0] == texts[1], "a dry run and a run:\n{}\n{}", texts[0], texts[1]);
    if wet.status != Status::Rebuilt {
        assert!(scratch::listing(dir) == before, "{:?} and has written", wet.status);
        return;
    }
    let found = errors(index, by);
    assert!(found.is_empty(), "{}: {:?} and then {found:?}", index.display(), wet);
    let rebuilt = scratch::listing(dir);
    let again = rebuild::run(index, &rebuild_options(false)).expect("a second run");
    // Keyword bits without a name that a log sets come back with each replay, and are said each time.
    let is_named_again = texts[1].contains("I16") && again.actions == wet.actions && again.lost.is_empty();
    assert!(
        again.status == Status::Unchanged || is_named_again,
        "a second run of {wet:?} changes something: {again:?}"
    );
    assert!(scratch::listing(dir) == rebuilt || is_named_again, "a second run has written");
    let back = undo::run(index, &undo_options(Task::All, false)).expect("undo");
    assert!(back.status == undo::UndoStatus::Restored, "{back:?}");
    let contents = |list: Vec<(String, Vec<u8>, u32)>| list.into_iter().map(|(name, bytes, _)| (name, bytes));
    assert!(contents(scratch::listing(dir)).eq(contents(before)), "undo of {wet:?} does not restore");
}

/// What to undo.
pub fn undo_options(task: Task, dry_run: bool) -> undo::Options {
    undo::Options {
        task,
        dry_run,
        force: true,
        any_owner: true,
        lock_method: LockMethod::Fcntl,
        lock_timeout: Duration::from_secs(1),
    }
}

/// A small mailbox with one step to undo, and the undo file of it.
pub fn undoable() -> &'static (Files, Vec<u8>) {
    static ONE: OnceLock<(Files, Vec<u8>)> = OnceLock::new();
    ONE.get_or_init(|| {
        let home = scratch::dir("undoable");
        let from = scratch::fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
        let mut files = scratch::read(&from);
        files.retain(|(name, _)| name.starts_with("dovecot.index"));
        for (name, bytes) in &mut files {
            match name.as_str() {
                "dovecot.index" => bytes.truncate(60),
                // Dovecot would throw such a log away: a rebuild writes another.
                "dovecot.index.log" => bytes[4..8].fill(0),
                _ => {}
            }
        }
        scratch::write(&home, &files);
        let report = rebuild::run(&home.join("dovecot.index"), &rebuild_options(false)).expect("a rebuild");
        assert!(report.status == Status::Rebuilt, "{report:?}");
        let mut files = scratch::read(&home);
        let at = files.iter().position(|(name, _)| name.ends_with(".idx-undo")).expect("an undo file");
        let (_, undo) = files.remove(at);
        (files, undo)
    })
}
