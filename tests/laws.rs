//! Laws that hold for all inputs: what is decided twice is decided alike.

mod support;

use std::path::{Path, PathBuf};

use idx::format::index::header_flag::HAVE_DIRTY;
use idx::format::index::{IndexFile, IndexHeader};
use idx::format::log::{LogFile, LogHeader};
use idx::format::spans;
use idx::format::{Disk, Endian, FileKind};
use idx::logs::walk::Options;
use idx::model::replay::{Replayed, Until};
use idx::model::{Chain, ChainFile, LogPos, Mailbox};
use idx::ops::log::OpenHistory;
use idx::source::{LogStream, MmapPolicy, StreamStep, with_suffix};
use proptest::prelude::*;
use support::build::{self, Log, words};

/// Every index file of the fixtures, as the servers wrote them.
fn fixtures() -> Vec<PathBuf> {
    fn walk(dir: &Path, list: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> =
            std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                walk(&path, list);
            } else if name.starts_with("dovecot.") && path.components().any(|part| part.as_os_str() == "files") {
                list.push(path);
            }
        }
    }
    let mut list = Vec::new();
    walk(&support::fixtures(), &mut list);
    assert!(list.len() > 150, "{} files", list.len());
    list
}

fn kind_of(path: &Path, bytes: &[u8]) -> FileKind {
    idx::source::recognise(path, bytes, bytes.len() as u64).unwrap_or_else(|| panic!("{}: unknown", path.display()))
}

#[test]
fn an_index_is_encoded_as_it_was_decoded() {
    let mut count = 0;
    for path in fixtures() {
        let bytes = std::fs::read(&path).expect("readable");
        if kind_of(&path, &bytes) != FileKind::Index {
            continue;
        }
        let index = IndexFile::parse(&bytes).expect("an index");
        assert_eq!(index.header.minor_version, 3, "{}", path.display());
        assert!(Mailbox::load(&index).encode() == bytes, "{}", path.display());
        count += 1;
    }
    assert!(count >= 30, "{count} indexes");
}

/// The log chains of the fixtures with the index beside them, if there is one.
fn mailboxes() -> Vec<(PathBuf, Option<Vec<u8>>, Vec<Vec<u8>>)> {
    fixtures()
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".log") && !path.ends_with("dovecot.mailbox.log"))
        .map(|log| {
            let index = PathBuf::from(log.to_string_lossy().strip_suffix(".log").expect("a log"));
            let logs = [".log", ".log.2"].iter().filter_map(|suffix| std::fs::read(with_suffix(&index, suffix)).ok());
            (index.clone(), std::fs::read(&index).ok(), logs.collect())
        })
        .collect()
}

fn chain(logs: &[Vec<u8>]) -> Chain<'_> {
    Chain::new(logs.iter().map(|bytes| {
        let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
        ChainFile::new(log, bytes)
    }))
}

/// Where the ends of transactions are: a state between the records of one is nobody's.
fn positions(chain: &Chain<'_>) -> Vec<LogPos> {
    chain
        .files
        .iter()
        .flat_map(|file| file.records().map(|record| LogPos { seq: file.seq(), offset: record.end() }))
        .collect()
}

#[test]
fn a_replay_in_two_parts_is_the_whole_replay() {
    let mut count = 0;
    for (path, _, logs) in mailboxes() {
        let chain = chain(&logs);
        if chain.complete_from() != Some(0) || chain.files.iter().any(|file| file.log.header.initial_modseq == 0) {
            continue;
        }
        let whole = chain.replay(chain.empty_mailbox(), Until::End).expect("a complete chain");
        let all = positions(&chain);
        for pos in all.iter().step_by((all.len() / 40).max(1)) {
            let first = chain.replay(chain.empty_mailbox(), Until::Pos(*pos)).expect("a complete chain");
            assert_eq!(first.position, *pos, "{}", path.display());
            // Through bytes, as when the index is written and read again. An ext-intro goes with the records after it, so that
            // only a state in which none is in effect can be taken up again.
            let bytes = first.mailbox.encode();
            let loaded = Mailbox::load(&IndexFile::parse(&bytes).expect("an index"));
            assert!(loaded.encode() == bytes, "{} at {pos}", path.display());
            let Ok(second) = chain.replay(loaded, Until::End) else { continue };
            if !second.errors.is_empty() {
                continue;
            }
            assert_eq!(second.position, whole.position, "{} from {pos}", path.display());
            assert_eq!(second.log_modseq, whole.log_modseq, "{} from {pos}", path.display());
            // A replay that has seen a dirty message says so even if it is clean in the end; the next one looks again.
            let clean = |replayed: &Replayed| {
                let mut mailbox = replayed.mailbox.clone();
                mailbox.header.flags &= !HAVE_DIRTY;
                mailbox.encode()
            };
            let (have, want) = (clean(&second), clean(&whole));
            let differ: Vec<usize> = (0..have.len().max(want.len())).filter(|i| have.get(*i) != want.get(*i)).collect();
            assert!(differ.is_empty(), "{} from {pos}: bytes {differ:?}", path.display());
            count += 1;
        }
    }
    assert!(count > 1000, "{count} splits");
}

#[test]
fn the_bytes_of_a_file_have_names_without_gap_or_overlap() {
    for path in fixtures() {
        let bytes = std::fs::read(&path).expect("readable");
        let mut end = 0;
        spans::walk(kind_of(&path, &bytes), &bytes, None, &mut |span| {
            assert_eq!(span.offset, end, "{}: {}", path.display(), span.name);
            assert!(span.len > 0, "{}: {} is empty", path.display(), span.name);
            let name = &span.name;
            assert!(!name.contains("unreadable") && name != "gap", "{} at {end}: {name}", path.display());
            end += span.len;
        });
        assert_eq!(end, bytes.len() as u64, "{}", path.display());
    }
}

/// What a stream yields: offset, size, type, payload and modseq of each record, and the end.
type Seen = (Vec<(u64, u32, u32, Vec<u8>, u64)>, Option<(u64, String)>);

fn scanned(bytes: &[u8]) -> Option<Seen> {
    let log = LogFile::parse(bytes, bytes.len() as u64).ok()?;
    let mut scan = log.records(bytes);
    let list = scan.by_ref().map(|r| (r.offset, r.size, r.type_raw, r.payload.to_vec(), r.modseq)).collect();
    Some((list, scan.end().map(|end| (end.offset, format!("{:?}", end.reason)))))
}

fn streamed(bytes: &[u8], window: usize) -> Option<Seen> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("written");
    let mut stream = LogStream::open_with(file.path(), window).ok()?;
    let mut list = Vec::new();
    loop {
        match stream.step().expect("readable") {
            StreamStep::Record(r) => list.push((r.offset, r.size, r.type_raw, r.payload.to_vec(), r.modseq)),
            StreamStep::End(end) => return Some((list, Some((end.offset, format!("{:?}", end.reason))))),
        }
    }
}

#[test]
fn a_streamed_log_is_the_log_in_memory() {
    for path in fixtures() {
        let bytes = std::fs::read(&path).expect("readable");
        if kind_of(&path, &bytes) == FileKind::Log {
            for window in [64, 100, 1000] {
                assert_eq!(streamed(&bytes, window), scanned(&bytes), "{} through {window} bytes", path.display());
            }
        }
    }
}

/// A step in the life of a mailbox.
#[derive(Clone, Debug)]
enum Step {
    Append(u32),
    Flags(u32, u32, u8, u8),
    Expunge(u32, u32),
    Keyword(u8, u32, u32),
    Intro(u8, u16),
    Rec(u32, u32),
    Modseq(u32, u32),
    Header(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let uid = 1..40_u32;
    let one = prop_oneof![
        (1..6_u32).prop_map(Step::Append),
        (uid.clone(), 0..9_u32, any::<u8>(), any::<u8>()).prop_map(|(a, n, add, remove)| Step::Flags(
            a,
            a + n,
            add,
            remove
        )),
        (uid.clone(), 0..3_u32).prop_map(|(a, n)| Step::Expunge(a, a + n)),
        (0..20_u8, uid.clone(), 0..9_u32).prop_map(|(name, a, n)| Step::Keyword(name, a, a + n)),
        (0..4_u8, 0..3_u16).prop_map(|(name, size)| Step::Intro(name, 4 << size)),
        (uid.clone(), any::<u32>()).prop_map(|(uid, value)| Step::Rec(uid, value)),
        (uid, 1..1000_u32).prop_map(|(uid, modseq)| Step::Modseq(uid, modseq)),
        any::<u32>().prop_map(Step::Header),
    ];
    prop::collection::vec(one, 1..60)
}

/// The log of these steps, its numbers in the given order of bytes.
fn log_of(steps: &[Step], endian: Endian) -> Vec<u8> {
    let mut log = Log::new(1);
    log.intro(u32::MAX, b"modseq", 16, 8, 8);
    // Everything but the payloads that are bytes consists of words, names and few halves: swapped one by one below.
    let mut next = 1;
    let mut size = 4;
    log.intro(u32::MAX, b"ext-0", 8, 4, 4);
    for step in steps {
        match step {
            Step::Append(count) => {
                log.append(next..=next + count - 1);
                next += count;
            }
            Step::Flags(uid1, uid2, add, remove) => {
                let flags = u32::from_le_bytes([*add, *remove, 0, 0]);
                log.record(build::FLAG_UPDATE, &words(&[*uid1, *uid2, flags]));
            }
            Step::Expunge(uid1, uid2) => {
                log.record(build::EXPUNGE | build::EXTERNAL, &words(&[*uid1, *uid2]));
            }
            Step::Keyword(name, uid1, uid2) => {
                log.keyword(format!("kw{name}").as_bytes(), *uid1, *uid2);
            }
            Step::Intro(name, bytes) => {
                size = *bytes;
                log.intro(u32::MAX, format!("ext-{name}").as_bytes(), 8, size, 4);
            }
            Step::Rec(uid, value) => {
                let mut payload = words(&[*uid]);
                payload.resize(4 + usize::from(size), 0);
                payload[4..8].copy_from_slice(&value.to_le_bytes());
                log.record(build::EXT_REC, &payload);
            }
            Step::Modseq(uid, modseq) => {
                log.record(build::MODSEQ_UPDATE, &words(&[*uid, *modseq, 0]));
            }
            Step::Header(uid_validity) => {
                log.record(build::HEADER_UPDATE, &words(&[0x0004_0018, *uid_validity]));
            }
        }
    }
    if endian == Endian::Little { log.bytes } else { swapped(&log.bytes) }
}

/// A log with all its numbers in the other order. Extension data is left as it is: it is bytes to replay.
fn swapped(bytes: &[u8]) -> Vec<u8> {
    let file = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
    let mut header = file.header.clone();
    header.compat_flags ^= 1;
    let mut out = LogHeader::to_bytes(&header, Endian::Big);
    for record in file.records(bytes) {
        let mut one = record.bytes.to_vec();
        let turn = |one: &mut [u8], range: std::ops::Range<usize>| one[range].reverse();
        turn(&mut one, 4..8);
        let payload: Vec<usize> = (8..one.len()).step_by(4).collect();
        match record.type_raw & 0x0fff_ffff {
            build::APPEND => payload.iter().step_by(2).for_each(|at| turn(&mut one, *at..at + 4)),
            build::FLAG_UPDATE => payload[..2].iter().for_each(|at| turn(&mut one, *at..at + 4)),
            build::EXPUNGE | build::MODSEQ_UPDATE => payload.iter().for_each(|at| turn(&mut one, *at..at + 4)),
            build::KEYWORD_UPDATE => {
                turn(&mut one, 10..12);
                let len = one.len();
                [len - 8, len - 4].iter().for_each(|at| turn(&mut one, *at..at + 4));
            }
            build::EXT_INTRO => {
                payload[..3].iter().for_each(|at| turn(&mut one, *at..at + 4));
                [20, 22, 24, 26].iter().for_each(|at| turn(&mut one, *at..at + 2));
            }
            build::EXT_REC => turn(&mut one, 8..12),
            build::HEADER_UPDATE => {
                turn(&mut one, 8..10);
                turn(&mut one, 10..12);
                turn(&mut one, 12..16);
            }
            other => panic!("type {other:#x}"),
        }
        out.extend(one);
    }
    out
}

/// What is the same in either order: the header's numbers, and of each message UID, flags, keywords, modseq.
fn state(bytes: &[u8]) -> (IndexHeader, Vec<(u32, u8, Vec<usize>, u64)>, Vec<Vec<u8>>, Vec<String>) {
    let logs = [bytes.to_vec()];
    let chain = chain(&logs);
    let replayed = chain.replay(chain.empty_mailbox(), Until::End).expect("a complete chain");
    let mailbox = &replayed.mailbox;
    let messages = mailbox
        .positions()
        .map(|i| (mailbox.uid(i), mailbox.flags(i), mailbox.keyword_ids(i).collect(), replayed.message_modseq(i)))
        .collect();
    let mut header = mailbox.header.clone();
    header.compat_flags = 0;
    let errors = replayed.errors.iter().map(ToString::to_string).collect();
    (header, messages, mailbox.keywords().to_vec(), errors)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn byte_order_makes_no_difference(steps in steps()) {
        let (little, big) = (log_of(&steps, Endian::Little), log_of(&steps, Endian::Big));
        prop_assert_eq!(state(&little), state(&big));
    }

    #[test]
    fn any_state_survives_being_written(steps in steps()) {
        for endian in [Endian::Little, Endian::Big] {
            let logs = [log_of(&steps, endian)];
            let chain = chain(&logs);
            let replayed = chain.replay(chain.empty_mailbox(), Until::End).expect("a complete chain");
            let bytes = replayed.mailbox.encode();
            let index = IndexFile::parse(&bytes).expect("an index");
            prop_assert!(index.problems.is_empty(), "{:?}", index.problems);
            prop_assert_eq!(index.count(), replayed.mailbox.len());
            prop_assert!(Mailbox::load(&index).encode() == bytes);
        }
    }

    #[test]
    fn any_damaged_log_is_streamed_as_it_is_scanned(
        steps in steps(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        window in 48..400_usize,
    ) {
        let mut bytes = log_of(&steps, Endian::Little);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        prop_assert_eq!(streamed(&bytes, window), scanned(&bytes));
    }

    #[test]
    fn any_bytes_have_names_without_gap_or_overlap(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0..5_usize) {
        let mut end = 0;
        spans::walk(FileKind::ALL[kind], &bytes, None, &mut |span| {
            assert_eq!(span.offset, end);
            end += span.len;
        });
        prop_assert_eq!(end, bytes.len() as u64);
    }
}

/// All records are counted by a walk of its own, and those that are chosen one by one as they are shown: choosing all of them
/// must give the same counts, also where the log is damaged.
#[test]
fn all_records_are_counted_as_chosen_ones_are() {
    let everything = Options {
        position: Some((LogPos::default(), LogPos { seq: u32::MAX, offset: u64::MAX })),
        ..Options::default()
    };
    let mut hours = 0;
    for path in fixtures() {
        let bytes = std::fs::read(&path).expect("readable");
        if kind_of(&path, &bytes) != FileKind::Log {
            continue;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let copy = dir.path().join("a-log");
        for damage in [None, Some(bytes.len() / 2), Some(bytes.len() - 1)] {
            let mut bytes = bytes.clone();
            if let Some(at) = damage {
                bytes[at / 4 * 4] ^= 0xff;
            }
            std::fs::write(&copy, &bytes).expect("written");
            let count = |options| {
                let mut opened = OpenHistory::open(&copy, false, MmapPolicy::Never, idx::source::now()).expect("a log");
                let stats = opened.history.stats(options).expect("readable");
                (stats.types(), stats.origins(), stats.hours(), stats.span(), stats.notes)
            };
            let (all, chosen) = (count(&Options::default()), count(&everything));
            assert_eq!(all, chosen, "{} {damage:?}", path.display());
            hours += all.2.len();
        }
    }
    assert!(hours > 100, "{hours}");
}
