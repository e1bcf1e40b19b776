//! What the system or a hostile owner leaves idx: few descriptors, no threads, files of gigabytes that hold nothing.

mod support;

use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::build::{self, Log, words};
use support::fixtures;

const INDEX: &str = "dovecot.index";
const FILES: [&str; 4] = [INDEX, "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"];
/// What a verb may take of memory whatever it reads, kB: the 64 MiB of the contract, and what a build without
/// optimization takes by itself.
const MOST: u64 = (64 + 16) << 10;

fn mailbox(dir: &Path) {
    fs::create_dir_all(dir).expect("directory");
    let from = fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    for name in FILES {
        fs::write(dir.join(name), fs::read(from.join(name)).expect("a fixture")).expect("copy");
        age(&dir.join(name));
    }
}

fn age(path: &Path) {
    let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    fs::File::options().write(true).open(path).expect("file").set_times(old).expect("time");
}

/// Makes a file as long as that without giving it a byte.
fn hollow(path: &Path, len: u64) {
    fs::File::options().write(true).create(true).truncate(false).open(path).expect("file").set_len(len).expect("len");
    age(path);
}

/// What one run of a verb took: exit code, memory in kB, time of processors in ticks of ten milliseconds.
fn spent(args: &[&str], path: &Path) -> (Option<i32>, u64, u64) {
    // The shell tells what its child has used; after a minute of a processor nobody waits for an end any more.
    let script = "ulimit -t 60; \"$0\" \"$@\" >/dev/null 2>&1; code=$?; times; exit $code";
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_idx")])
        .args(args)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        let idx = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{}/status", idx.trim())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        // Between fork and exec it is the shell.
        most = most.max(peak.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("a child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let user = text.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    let (minutes, seconds) = user.trim_end_matches('s').split_once('m').expect("minutes and seconds");
    let seconds = minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds");
    (output.status.code(), most, (seconds * 100.0).round() as u64)
}

/// Ticks up to which a ratio says more about the start of a program than about the file.
const FLOOR: u64 = 20;

/// Bytes that the files below a directory take up on the disk.
fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &PathBuf| path.metadata().map_or(0, |meta| meta.blocks() * 512);
    support::all_below(dir).iter().filter(|path| path.is_file()).map(of).sum()
}

/// A mailbox that grows: `make` is told how much of it there shall be. Four times of it costs each verb five times the
/// work at most, and no more memory than four times what it holds.
fn grows_slowly(what: &str, count: u32, verbs: &[&str], make: &dyn Fn(&Path, u32)) {
    let [large, small] = [count, count / 4].map(|count| {
        let temp = tempfile::tempdir().expect("directory");
        make(&temp.path().join("box"), count);
        temp
    });
    let held = allocated(large.path()) >> 10;
    for verb in verbs {
        let run = |temp: &tempfile::TempDir| {
            let args = verb.replace("TEMP", &temp.path().display().to_string());
            let (code, most, ticks) = spent(&args.split(' ').collect::<Vec<_>>(), &temp.path().join("box"));
            assert!(matches!(code, Some(0..=2)), "{what}: {verb}: {code:?} after {ticks} ticks");
            (most, ticks)
        };
        let mut measured = Vec::new();
        // Each pair is judged by itself: the machine may be twice as fast a second later.
        let is_linear = (0..4).any(|_| {
            let (most, whole) = run(&large);
            assert!(most < MOST + 4 * held, "{what}: {verb}: {most} kB for {held} kB");
            if whole <= FLOOR {
                return true;
            }
            let (_, quarter) = run(&small);
            measured.push([quarter, whole]);
            whole <= quarter * 5
        });
        assert!(is_linear, "{what}: {verb}: {measured:?} ticks for a quarter and for the whole");
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("below")).expect("directory");
    fs::write(path, bytes).expect("written");
    age(path);
}

/// A log of many records, for every verb that reads logs.
#[test]
fn many_records() {
    let verbs = [
        "modseq",
        "modseq --history -f ndjson",
        "modseq --locate 5",
        "modseq --decode 40000",
        "expunges",
        "log --stats",
        "log --uid 7",
        "log -f ndjson",
        "qresync --uidvalidity 1 --modseq 5",
        "simulate --replay",
        "scan",
        "check",
        "rebuild -n",
    ];
    grows_slowly("flags", 40_000, &verbs, &|dir, count| {
        let mut log = Log::new(1);
        log.append(1..=1000);
        (0..count).for_each(|i| _ = log.record(build::FLAG_UPDATE, &words(&[i % 1000 + 1, i % 1000 + 1, 8])));
        write(&dir.join("dovecot.index.log"), &log.bytes);
    });
    let verbs = ["modseq --history", "expunges", "log --uid 7", "qresync --uidvalidity 1 --modseq 5", "log --stats"];
    grows_slowly("expunges, asked for and done", 20_000, &verbs, &|dir, count| {
        let mut log = Log::new(1);
        log.append(1..=count);
        for uid in 1..=count {
            let one = words(&[uid, uid]);
            log.record(build::EXPUNGE, &one).record(build::EXPUNGE | build::EXTERNAL, &one);
        }
        write(&dir.join("dovecot.index.log"), &log.bytes);
    });
    grows_slowly("one record of every other UID", 200_000, &verbs, &|dir, count| {
        let mut log = Log::new(1);
        let every_other: Vec<u8> = (1..=count / 2).rev().flat_map(|i| words(&[i * 2, i * 2])).collect();
        log.append(1..=count).record(build::EXPUNGE | build::EXTERNAL, &every_other);
        write(&dir.join("dovecot.index.log"), &log.bytes);
    });
}

/// Transcripts that a client could have written, and such as none would.
#[test]
fn many_lines_of_a_transcript() {
    let mailbox = |dir: &Path| {
        let mut log = Log::new(1);
        log.append(1..=100).record(build::EXPUNGE | build::EXTERNAL, &words(&[7, 9]));
        write(&dir.join("dovecot.index.log"), &log.bytes);
    };
    let every_other = |count: u32| -> String { (1..=count).rev().map(|i| format!("{},", i * 2)).collect() };
    let set = |count: u32| every_other(count).trim_end_matches(',').to_owned();
    let transcripts: [(&str, u32, &dyn Fn(u32) -> String); 8] = [
        ("questions without an answer", 4_000, &|count| "a SELECT INBOX (QRESYNC (1 5))\n".repeat(count as usize)),
        ("commands whose tags are all different", 60_000, &|count| {
            (0..count)
                .map(|i| format!("t{i} NOOP\nt{i} OK done\n"))
                .chain(["a SELECT I (QRESYNC (1 5))\n".into()])
                .collect()
        }),
        ("a set of every other UID", 100_000, &|count| {
            format!("a SELECT INBOX (QRESYNC (1 5 {}))\na OK\n", set(count))
        }),
        ("match data of every other UID", 40_000, &|count| {
            format!("a SELECT INBOX (QRESYNC (1 5 1:{} ({} {})))\na OK\n", count * 2, set(count), set(count))
        }),
        ("lines of VANISHED", 60_000, &|count| {
            let lines: String = (1..=count).map(|i| format!("* VANISHED (EARLIER) {}\n", i * 2)).collect();
            format!("a SELECT INBOX (QRESYNC (1 5))\n{lines}a OK\n")
        }),
        ("sessions, each with its own VANISHED", 2_000, &|count| {
            let one = |i: u32| format!("a SELECT INBOX (QRESYNC (1 5))\n* VANISHED (EARLIER) {}\na OK\n", i * 2);
            (1..=count).map(one).collect()
        }),
        ("literals in literals", 60_000, &|count| "a SELECT {3}\n".repeat(count as usize)),
        ("one line", 4_000_000, &|count| format!("a SELECT INBOX (QRESYNC (1 5)) {}", "x".repeat(count as usize))),
    ];
    for (what, count, text) in transcripts {
        grows_slowly(what, count, &["qresync --versus TEMP/box/transcript"], &|dir, count| {
            mailbox(dir);
            write(&dir.join("transcript"), text(count).as_bytes());
        });
    }
}

/// An extension of an index.
fn ext(name: &str, header: Vec<u8>, record_offset: u16, record_size: u16) -> build::Ext {
    build::Ext { name: name.into(), header, reset_id: 1, record_offset, record_size, record_align: 4.min(record_size) }
}

/// A log behind an index of these many messages.
fn log_of(count: u32) -> Vec<u8> {
    let mut log = Log::new(1);
    log.record(build::HEADER_UPDATE, &words(&[0x0004_0010, 7]));
    log.append(1..=count);
    log.bytes
}

/// Storages of more messages, files and names than anybody has, and such as are all hole.
#[test]
fn many_messages_of_a_storage() {
    let maildir = |dir: &Path, count: u32| {
        ["cur", "new", "tmp"].into_iter().for_each(|sub| fs::create_dir_all(dir.join(sub)).expect("directory"));
        write(&dir.join("dovecot.index.log"), &log_of(count));
    };
    let verbs = ["check", "check --deep", "rebuild -n"];
    grows_slowly("a uidlist of files that are not there", 100_000, &verbs, &|dir, count| {
        maildir(dir, count);
        let lines: String = (1..=count).map(|uid| format!("{uid} :{uid:x}\n")).collect();
        write(&dir.join("dovecot-uidlist"), format!("3 V7 N{}\n{lines}", count + 1).as_bytes());
    });
    grows_slowly("a uidlist of one file", 100_000, &verbs, &|dir, count| {
        maildir(dir, 1);
        let lines: String = (1..=count).map(|uid| format!("{uid} :a\n")).collect();
        write(&dir.join("dovecot-uidlist"), format!("3 V7 N{}\n{lines}", count + 1).as_bytes());
        write(&dir.join("dovecot-keywords"), "0 a\n25 b\n".repeat(count as usize / 20).as_bytes());
    });
    grows_slowly("files in cur", 6_000, &["check", "check --deep", "rebuild -n", "scan"], &|dir, count| {
        maildir(dir, count);
        let lines: String = (1..=count).map(|uid| format!("{uid} :{uid},S=3\n")).collect();
        write(&dir.join("dovecot-uidlist"), format!("3 V7 N{}\n{lines}", count + 1).as_bytes());
        (1..=count).for_each(|uid| fs::write(dir.join(format!("cur/{uid},S=3:2,")), b"").expect("written"));
    });
    grows_slowly(
        "message files of an sdbox",
        6_000,
        &["check", "check --deep", "rebuild -n", "scan"],
        &|dir, count| {
            write(&dir.join("dovecot.index.log"), &log_of(count));
            (1..=count).for_each(|uid| fs::write(dir.join(format!("u.{uid}")), b"2 M1e C1\n").expect("written"));
        },
    );
    grows_slowly("mails in one place of an mdbox", 30_000, &["check --deep", "scan"], &|dir, count| {
        let records: Vec<u8> = (1..=count).flat_map(|uid| words(&[uid, 0, 1, 20, 100, 1])).collect();
        let list = [ext("map", vec![0; 4], 8, 12), ext("ref", vec![], 20, 2)];
        let map = build::index(&list, 24, &records, |header| header.uid_validity = 7);
        write(&dir.join("storage/dovecot.map.index"), &map);
        write(&dir.join("storage/m.1"), &[b'x'; 4096]);
        write(&dir.join("mailboxes/INBOX/dbox-Mails/dovecot.index.log"), &log_of(10));
    });
    grows_slowly(
        "long names of a list",
        2_000,
        &["check --deep", "scan", "dump TEMP/box/dovecot.list.index"],
        &|dir, count| {
            let mut names = vec![0];
            names.extend(words(&[1]));
            names.extend([b'n'; 60_000]);
            names.push(0);
            let records: Vec<u8> = (1..=count).flat_map(|uid| words(&[uid, 0, 1, uid - 1, 1, 2, 3, uid, 7])).collect();
            let list = build::index(&[ext("list", names, 8, 28)], 36, &records, |header| header.uid_validity = 7);
            write(&dir.join("dovecot.list.index"), &list);
        },
    );
    grows_slowly("names in a directory", 20_000, &["check", "scan"], &|dir, count| {
        write(&dir.join("dovecot.index.log"), &log_of(3));
        (0..count).for_each(|i| _ = fs::File::create(dir.join(format!("{i}.eml"))).expect("file"));
    });
    grows_slowly("indexes in a directory", 2_000, &["check", "scan"], &|dir, count| {
        fs::create_dir_all(dir).expect("directory");
        (0..count).for_each(|i| fs::write(dir.join(format!("x{i}.index.log")), log_of(1)).expect("file"));
    });
    grows_slowly("mailboxes of one mdbox", 200, &["check --deep", "scan"], &|dir, count| {
        let records: Vec<u8> = (1..=count * 100).flat_map(|uid| words(&[uid, 0, 1, 20, 100, 1])).collect();
        let list = [ext("map", vec![0; 4], 8, 12), ext("ref", vec![], 20, 2)];
        let map = build::index(&list, 24, &records, |header| header.uid_validity = 7);
        write(&dir.join("storage/dovecot.map.index"), &map);
        let own = [ext("mdbox", vec![], 8, 8), ext("mdbox-hdr", vec![0; 24], 0, 0)];
        let index = build::index(&own, 16, &words(&[1, 0, 1, 0]), |header| header.uid_validity = 7);
        for i in 0..count {
            let mails = dir.join(format!("mailboxes/m{i}/dbox-Mails"));
            write(&mails.join("dovecot.index"), &index);
            write(&mails.join("dovecot.index.log"), &Log::new(1).bytes);
        }
    });
}

/// What is all hole costs what it holds, whichever file it is.
#[test]
fn holes_take_no_time() {
    let verbs = ["check", "check --deep", "show", "scan", "rebuild -n"];
    for (name, verbs) in [
        ("dovecot.index.cache", &verbs[..]),
        ("dovecot.index.log", &verbs),
        ("dovecot.index", &verbs),
        ("dovecot-uidlist", &verbs[1..2]),
        ("dovecot-keywords", &verbs[1..2]),
    ] {
        let temp = tempfile::tempdir().expect("directory");
        mailbox(temp.path());
        ["cur", "new", "tmp"].into_iter().for_each(|sub| fs::create_dir_all(temp.path().join(sub)).expect("directory"));
        let path = temp.path().join(name);
        if !path.exists() {
            fs::write(&path, "3 V7 N9\n").expect("written");
        }
        hollow(&path, 192 << 20);
        for verb in verbs {
            let (code, most, ticks) = spent(&verb.split(' ').collect::<Vec<_>>(), temp.path());
            assert!(matches!(code, Some(0..=2)), "{name} {verb}: {code:?}");
            assert!(most < MOST, "{name} {verb}: {most} kB");
            // A pass over the pages, not over each of their bytes.
            let start = reference();
            assert!(ticks < 10 * start.max(10), "{name} {verb}: {ticks} ticks, and {start} without the hole");
        }
    }
}

/// Ticks of a check of the mailbox without a hole.
fn reference() -> u64 {
    let temp = tempfile::tempdir().expect("directory");
    mailbox(temp.path());
    spent(&["check", "--deep"], temp.path()).2
}

/// Rebuilding and undoing save what is replaced: holes and all.
#[test]
fn saved_holes_take_little_memory() {
    for len in [15 << 20, 60 << 20, 70 << 20_u64] {
        for name in ["dovecot.index.log.2", "dovecot.index.cache", "dovecot.index.backup"] {
            let temp = tempfile::tempdir().expect("directory");
            mailbox(temp.path());
            fs::write(temp.path().join(INDEX), b"gone").expect("index");
            age(&temp.path().join(INDEX));
            hollow(&temp.path().join(name), len);
            for args in [&["rebuild", "--accept-loss"][..], &["undo"]] {
                let before = allocated(temp.path()) >> 10;
                let (code, most, _) = spent(args, temp.path());
                assert!(matches!(code, Some(0..=2)), "{name} {len} {args:?}: {code:?}");
                assert!(most < MOST + 4 * before, "{name} {len} {args:?}: {most} kB, {before} kB on the disk");
            }
        }
    }
}

/// Whatever is hollow, no verb takes memory for what is not there.
#[test]
fn holes_take_no_memory() {
    let verbs: [(&str, &[&[&str]]); 3] = [
        ("dovecot.index.log", &[&["check"], &["scan"], &["show"], &["rebuild", "-n"], &["rebuild", "--accept-loss"]]),
        ("dovecot.index.log.2", &[&["check"], &["show"], &["rebuild", "--accept-loss"]]),
        (INDEX, &[&["check"], &["show"], &["rebuild", "--accept-loss"]]),
    ];
    for (name, args) in verbs.into_iter().flat_map(|(name, list)| list.iter().map(move |args| (name, args))) {
        let temp = tempfile::tempdir().expect("directory");
        mailbox(temp.path());
        hollow(&temp.path().join(name), 96 << 20);
        let (code, most, _) = spent(args, temp.path());
        assert!(matches!(code, Some(0..=2)), "{name} {args:?}: {code:?}");
        assert!(most < MOST, "{name} {args:?}: {most} kB");
    }
}

/// The bytes between holes are the bytes of the file, and no offset of Dovecot's reaches beyond four gigabytes.
#[test]
fn holes_are_zeros() {
    let temp = tempfile::tempdir().expect("directory");
    let path = temp.path().join("file");
    let pieces = [(0, 100), (700_001, 5), (2_000_000, 70_000), (4_194_303, 2)];
    {
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(&path).expect("file");
        for (at, len) in pieces {
            file.write_all_at(&vec![0xa5; len], at).expect("written");
        }
        file.set_len(9_000_001).expect("len");
    }
    let read = idx::source::read(&path, idx::source::MmapPolicy::Auto, true).expect("read");
    assert!(read.bytes[..] == fs::read(&path).expect("bytes")[..]);
    assert!(matches!(read.bytes, idx::source::Bytes::Mapped(_)));
    hollow(&path, (4 << 30) + 1);
    let error = idx::source::read(&path, idx::source::MmapPolicy::Auto, true).expect_err("too large");
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
}

/// A tree of 120 levels and 30 mailboxes beside each other is walked with ten descriptors, whatever `-j` says, and what
/// cannot be read with fewer is said for each mailbox, or for the root when that cannot even be opened.
#[test]
fn few_descriptors_are_enough() {
    let temp = tempfile::tempdir().expect("directory");
    let deep: PathBuf = (0..120).fold(temp.path().to_owned(), |path, i| path.join(format!("d{i}")));
    mailbox(&deep.join("m"));
    (0..30).for_each(|i| mailbox(&temp.path().join(format!("m{i}"))));
    for (limit, whole) in [(4, false), (5, false), (10, true), (16, true), (40, true), (200, true)] {
        for args in ["check -f json", "check --deep -f json -j 64", "scan -f json -j 64"] {
            let script = format!("ulimit -n {limit}; exec \"$0\" {args} \"$1\"");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_idx")])
                .arg(temp.path())
                // Whoever fakes the date opens files of its own.
                .env_remove("LD_PRELOAD")
                .output()
                .expect("idx runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            if whole {
                assert_eq!(output.status.code(), Some(0), "{limit} {args}: {stderr}");
                let count = String::from_utf8_lossy(&output.stdout).matches("/m\"").count();
                assert!(!args.starts_with("scan") || count >= 1, "{limit} {args}: the deepest is there");
            } else {
                assert_eq!(output.status.code(), Some(2), "{limit} {args}");
                let said = stderr.matches("Too many open files").count();
                assert!(said == 1 || said == 31, "{limit} {args}: {stderr}");
            }
        }
    }
}

/// What never ends is read as far as a text can reach, and no further.
#[test]
fn texts_without_end_are_refused() {
    let mailbox = fixtures().join("2.4.1-maildir-fresh/files/Maildir");
    let question = ["qresync", "--uidvalidity", "1", "--modseq", "1", "--versus", "/dev/zero"];
    for args in [&["simulate", "--config", "/dev/zero"][..], &["simulate", "--trace", "/dev/zero"], &question] {
        let run = Command::new(env!("CARGO_BIN_EXE_idx")).args(args).arg(&mailbox).output().expect("idx runs");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(2) && said.contains("more than 64 MiB"), "{args:?}: {said}");
    }
}

/// Where clone(2) fails, one thread does all the work, and says the same.
#[test]
#[ignore = "needs strace"]
fn no_thread_is_needed() {
    let temp = tempfile::tempdir().expect("directory");
    (0..5).for_each(|i| mailbox(&temp.path().join(format!("m{i}"))));
    for verb in ["check", "scan", "show", "log", "expunges", "modseq", "dump"] {
        let one = temp.path().join("m0").join(if verb == "dump" { INDEX } else { "" });
        let path = if matches!(verb, "check" | "scan") { temp.path().to_owned() } else { one };
        let run = |mut command: Command| {
            let output = command.args([verb, "-f", "json"]).arg(&path).output().expect("idx runs");
            assert_eq!(output.status.code(), Some(0), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
            let mut document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
            document.as_object_mut().expect("an object").remove("time");
            document
        };
        let mut without = Command::new("strace");
        without.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=clone,clone3:error=EAGAIN"]);
        without.arg(env!("CARGO_BIN_EXE_idx"));
        let with = run(Command::new(env!("CARGO_BIN_EXE_idx")));
        assert_eq!(run(without).to_string().len(), with.to_string().len(), "{verb}");
    }
}
