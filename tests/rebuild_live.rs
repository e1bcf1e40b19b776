//! Damages the index files of a real Dovecot's mailbox, rebuilds them, and lets Dovecot open the result: it must not log one
//! line, and clients must see exactly what they saw before.
//!
//! Run with `cargo test --test rebuild_live -- --ignored`. `IDX_DOVECOT_24` may name an installation of 2.4 to test with as
//! well. With `IDX_TABLE` set, a table of what Dovecot alone keeps and what idx keeps is printed.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use idx::format::log::LogFile;
use idx::format::record::Record;
use serde_json::Value;

use support::dovecot::{Dovecot, Format, Installation};
use support::imap::{MailboxState, Message};
use support::workload::{ROTATE_NEVER, ROTATE_OFTEN, Workload};

/// What is done to a mailbox.
struct Damage {
    name: &'static str,
    /// False when there is nothing to damage in this mailbox.
    make: fn(&Mailbox) -> bool,
    /// How much must come out equal.
    keeps: Keeps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// State and QRESYNC answers.
    All,
    /// The state; QRESYNC may name more expunged UIDs than before.
    State,
    /// Nobody knows what stood there: what may be lost is named, and nothing changes without a word.
    Named,
}

/// A mailbox's index files, and an older copy of its index.
struct Mailbox {
    dir: PathBuf,
    older: Option<Vec<u8>>,
}

impl Mailbox {
    fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("dovecot.index{suffix}"))
    }

    fn read(&self, suffix: &str) -> Option<Vec<u8>> {
        fs::read(self.path(suffix)).ok()
    }

    /// Changes the bytes of a file.
    fn edit(&self, suffix: &str, edit: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(mut bytes) = self.read(suffix) else { return false };
        edit(&mut bytes);
        fs::write(self.path(suffix), bytes).is_ok()
    }

    fn put_u32(&self, suffix: &str, at: usize, change: impl FnOnce(u32) -> u32) -> bool {
        self.edit(suffix, |bytes| {
            let old = u32_at(bytes, at);
            bytes[at..at + 4].copy_from_slice(&change(old).to_le_bytes());
        })
    }

    fn remove(&self, suffix: &str) -> bool {
        fs::remove_file(self.path(suffix)).is_ok()
    }

    fn add(&self, suffix: &str, bytes: &[u8]) -> bool {
        OpenOptions::new().append(true).open(self.path(suffix)).and_then(|mut file| file.write_all(bytes)).is_ok()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Where an extension header starts.
fn extension(bytes: &[u8], name: &str) -> Option<usize> {
    bytes.windows(name.len()).position(|window| window == name.as_bytes()).map(|at| at - 16)
}

fn records(bytes: &[u8]) -> (usize, usize, usize) {
    (u32_at(bytes, 4) as usize, u32_at(bytes, 8) as usize, u32_at(bytes, 32) as usize)
}

const DAMAGES: &[Damage] = &[
    Damage { name: "index deleted", make: |m| m.remove(""), keeps: Keeps::All },
    Damage { name: "index truncated in the header", make: |m| m.edit("", |b| b.truncate(60)), keeps: Keeps::All },
    Damage { name: "index truncated in extensions", make: |m| m.edit("", |b| b.truncate(160)), keeps: Keeps::All },
    Damage {
        name: "index truncated in records",
        make: |m| {
            m.edit("", |b| {
                let (header, size, count) = records(b);
                b.truncate(header + size * (count / 2) + 3);
            })
        },
        keeps: Keeps::All,
    },
    Damage {
        name: "first page zero",
        make: |m| m.edit("", |b| b.iter_mut().take(512).for_each(|x| *x = 0)),
        keeps: Keeps::All,
    },
    Damage { name: "index all zero", make: |m| m.edit("", |b| b.fill(0)), keeps: Keeps::All },
    Damage {
        name: "index is an older copy",
        make: |m| m.older.as_ref().is_some_and(|bytes| fs::write(m.path(""), bytes).is_ok()),
        keeps: Keeps::All,
    },
    Damage { name: "corrupted flag set", make: |m| m.put_u32("", 20, |flags| flags | 1), keeps: Keeps::All },
    Damage { name: "major version 9", make: |m| m.edit("", |b| b[0] = 9), keeps: Keeps::All },
    Damage { name: "compat flags", make: |m| m.edit("", |b| b[12] = 0), keeps: Keeps::All },
    Damage { name: "indexid of the index", make: |m| m.put_u32("", 16, |id| id + 99), keeps: Keeps::All },
    Damage {
        name: "head past the log",
        make: |m| {
            m.edit("", |b| {
                for at in [64, 68] {
                    let wrong = u32_at(b, at) + 1_000_000;
                    b[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
                }
            })
        },
        keeps: Keeps::All,
    },
    Damage { name: "head inside a record", make: |m| m.put_u32("", 68, |head| head - 4), keeps: Keeps::All },
    Damage { name: "tail past the head", make: |m| m.put_u32("", 64, |tail| tail + 1000), keeps: Keeps::All },
    Damage { name: "log_file_seq too high", make: |m| m.put_u32("", 60, |seq| seq + 5), keeps: Keeps::All },
    Damage {
        name: "records unordered",
        make: |m| {
            m.edit("", |b| {
                let (header, size, count) = records(b);
                assert!(count > 4, "the workload leaves messages");
                let (left, right) = b.split_at_mut(header + size * 3);
                left[header + size * 2..].swap_with_slice(&mut right[..size]);
            })
        },
        keeps: Keeps::All,
    },
    Damage {
        name: "wrong counters",
        make: |m| m.put_u32("", 40, |seen| seen ^ 1) && m.put_u32("", 44, |deleted| deleted ^ 1),
        keeps: Keeps::All,
    },
    Damage {
        name: "keywords header: count",
        make: |m| {
            m.edit("", |b| {
                let at = extension(b, "keywords").expect("the workload uses keywords") + 24;
                b[at..at + 4].copy_from_slice(&1000_u32.to_le_bytes());
            })
        },
        keeps: Keeps::All,
    },
    Damage {
        name: "extension header: offset",
        make: |m| {
            m.edit("", |b| {
                let at = extension(b, "modseq").expect("the workload uses modseqs") + 8;
                b[at..at + 2].copy_from_slice(&4000_u16.to_le_bytes());
            })
        },
        keeps: Keeps::All,
    },
    Damage {
        name: "log torn",
        make: |m| m.add(".log", &[0x80, 0x80, 0x80, 0x8a, 4, 0, 0, 0, 1, 0, 0, 0]),
        keeps: Keeps::All,
    },
    Damage {
        name: "log with garbage",
        make: |m| m.add(".log", &(0..300_u32).map(|n| (n * 37 % 127) as u8).collect::<Vec<_>>()),
        keeps: Keeps::Named,
    },
    Damage { name: "log with zeros", make: |m| m.add(".log", &[0; 2048]), keeps: Keeps::Named },
    Damage { name: "log marked corrupted", make: |m| m.put_u32(".log", 4, |_| 0), keeps: Keeps::State },
    Damage {
        name: "size damaged inside the log",
        make: |m| {
            m.edit(".log", |b| {
                if b.len() > 200 {
                    let second = 40 + size_at(b, 40);
                    b[second + 3] ^= 0x10;
                }
            })
        },
        keeps: Keeps::State,
    },
    Damage { name: ".log.2 missing", make: |m| m.remove(".log.2"), keeps: Keeps::State },
    Damage { name: "cache of another mailbox", make: |m| m.put_u32(".cache", 4, |id| id + 7), keeps: Keeps::All },
    Damage { name: "cache of another time", make: |m| m.put_u32(".cache", 8, |seq| seq + 1), keeps: Keeps::All },
    Damage { name: "cache truncated", make: |m| m.edit(".cache", |b| b.truncate(b.len() / 2)), keeps: Keeps::All },
];

/// The coded size of a record.
fn size_at(bytes: &[u8], at: usize) -> usize {
    bytes[at..at + 4].iter().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f)) << 2
}

fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).args(["-f", "json"]).arg(path).output().expect("idx runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let document = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("idx {args:?} printed {text:?}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), document)
}

/// All a client can learn: the state, and the answers to QRESYNC.
#[derive(Clone, Debug, PartialEq)]
struct View {
    state: MailboxState,
    /// For each modseq asked for: the expunged UIDs and the changed messages.
    resync: Vec<(u64, Vec<u32>, Vec<Message>)>,
}

fn look(dovecot: &Dovecot) -> View {
    let mut session = dovecot.qresync();
    let state = session.state("INBOX");
    let highest = state.selected.highest_modseq.expect("modseqs are tracked");
    let mut resync = Vec::new();
    for modseq in (0..8).map(|i| highest - (highest / 8) * i).filter(|modseq| *modseq > 0) {
        let answer = session.examine_qresync("INBOX", &format!("{} {modseq}", state.selected.uid_validity));
        let mut vanished: Vec<u32> = answer.vanished().unwrap_or_default().uids().collect();
        vanished.sort_unstable();
        resync.push((modseq, vanished, answer.fetches()));
    }
    session.logout();
    View { state, resync }
}

/// The bytes of a mailbox's index files.
fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut list: Vec<_> = fs::read_dir(dir)
        .expect("directory")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            path.is_file() && path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("dovecot.index"))
        })
        .map(|path| (path.clone(), fs::read(&path).expect("file")))
        .collect();
    list.sort();
    list
}

/// What Dovecot makes of the damage by itself, in a few words.
fn alone(dovecot: &Dovecot, before: &View) -> String {
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut session = dovecot.qresync();
        let selected = session.cmd("SELECT INBOX");
        let mut session = if selected.status == support::imap::Status::Ok { session } else { dovecot.qresync() };
        let state = session.state("INBOX");
        session.logout();
        state
    }));
    let lines = dovecot.error_log().len();
    let Ok(after) = opened else { return format!("session fails, {lines} lines logged") };
    let mut words = Vec::new();
    if after.selected.uid_validity != before.state.selected.uid_validity {
        words.push("UIDVALIDITY changes".to_owned());
    }
    let lost = before.state.messages.iter().filter(|m| !after.messages.iter().any(|n| n.uid == m.uid)).count();
    let of = |what: fn(&Message, &Message) -> bool| {
        before.state.messages.iter().filter(|m| after.messages.iter().any(|n| n.uid == m.uid && what(m, n))).count()
    };
    let flags = of(|m, n| (&m.flags, &m.keywords) != (&n.flags, &n.keywords));
    let modseqs = of(|m, n| m.modseq != n.modseq);
    let total = before.state.messages.len();
    for (n, what) in [(lost, "UIDs lost"), (flags, "flags lost"), (modseqs, "modseqs changed")] {
        if n > 0 {
            words.push(format!("{n} of {total} {what}"));
        }
    }
    let highest = (before.state.selected.highest_modseq, after.selected.highest_modseq);
    if let (Some(old), Some(new)) = highest
        && old != new
    {
        words.push(format!("HIGHESTMODSEQ {old} -> {new}"));
    }
    if words.is_empty() {
        words.push("everything".to_owned());
    }
    if lines > 0 {
        words.push(format!("{lines} lines logged"));
    }
    words.join(", ")
}

fn damage_and_rebuild(rotate: bool) {
    let mut failures = Vec::new();
    for installation in Installation::all() {
        for format in Format::ALL {
            let settings: Vec<(&str, &str)> = if rotate {
                ROTATE_OFTEN.to_vec()
            } else {
                vec![
                    ("mail_index_log_rotate_min_size", "1G"),
                    ("mail_index_log_rotate_max_size", "1G"),
                    ("mail_index_rewrite_min_log_bytes", "512"),
                    ("mail_index_rewrite_max_log_bytes", "2k"),
                ]
            };
            let dovecot = Dovecot::with(installation.clone(), format, &settings);
            Workload::new(31).operations(120).keywords(9).run(&dovecot);
            let dir = dovecot.index_dir("INBOX");
            let older = fs::read(dir.join("dovecot.index")).ok();
            Workload::new(21).operations(if rotate { 60 } else { 40 }).keywords(9).run(&dovecot);
            // Until the index on disk has something of everything.
            for round in 0.. {
                assert!(round < 40, "the settings make Dovecot write the index");
                let has_all = fs::read(dir.join("dovecot.index")).is_ok_and(|bytes| {
                    let named = |name| extension(&bytes, name).is_some();
                    records(&bytes).2 > 4 && named("keywords") && named("modseq") && named("cache")
                });
                if has_all && (!rotate || dir.join("dovecot.index.log.2").exists()) {
                    break;
                }
                let mut session = dovecot.qresync();
                session.select("INBOX");
                for n in 0..4 {
                    let text = format!("From: a@example.com\r\nSubject: {round} {n}\r\n\r\nbody\r\n");
                    session.append("INBOX", &["\\Answered", "extra"], None, text.as_bytes());
                }
                session.ok("NOOP");
                session.ok("UID FETCH 1:* (ENVELOPE)");
                session.logout();
            }
            let saved = dovecot.snapshot(&dovecot.home());
            let before = look(&dovecot);
            assert!(dovecot.error_log().is_empty());
            for damage in DAMAGES {
                dovecot.restore(&saved, &dovecot.home());
                let mailbox = Mailbox { dir: dir.clone(), older: older.clone() };
                if !(damage.make)(&mailbox) {
                    continue;
                }
                let place = format!(
                    "{} {}{}: {}",
                    installation.version(),
                    format.name(),
                    if rotate { " rotated" } else { "" },
                    damage.name
                );
                let damaged = bytes_of(&dir);
                let (code, report) = idx(&["rebuild"], &dir);
                let status = report["status"].as_str().unwrap_or("failed").to_owned();
                let mut row = format!("idx: {status}");
                if code == 2 {
                    // With a history that does not reach back, some damage leaves nothing to build on. Then nothing may change.
                    let refused = status == "refused";
                    let named = report["losses"].as_array().is_some_and(|losses| !losses.is_empty());
                    let hopeless =
                        refused && (rotate || damage.keeps == Keeps::State || damage.keeps == Keeps::Named && named);
                    if !hopeless {
                        failures.push(format!("{place}: {report}"));
                    }
                    if bytes_of(&dir) != damaged {
                        failures.push(format!("{place}: refused, but files have changed"));
                    }
                    row = format!("idx: refused ({})", report["reason"].as_str().unwrap_or_default());
                } else if code != 0 {
                    failures.push(format!("{place}: exit code {code}: {report}"));
                } else {
                    let rebuilt = bytes_of(&dir);
                    let old_log = |files: &[(PathBuf, Vec<u8>)]| {
                        files.iter().find(|(path, _)| path.ends_with("dovecot.index.log.2")).cloned()
                    };
                    if damage.keeps == Keeps::All && old_log(&damaged) != old_log(&rebuilt) {
                        failures.push(format!("{place}: .log.2 was touched"));
                    }
                    let (again, second) = idx(&["rebuild"], &dir);
                    if (again, second["status"].as_str()) != (0, Some("unchanged")) || bytes_of(&dir) != rebuilt {
                        failures.push(format!("{place}: a second run is not unchanged: {second}"));
                    }
                    let after = look(&dovecot);
                    let problems = dovecot.error_log();
                    if !problems.is_empty() {
                        failures.push(format!("{place}: Dovecot logged {problems:#?}; {report}"));
                    }
                    if after.state != before.state {
                        failures.push(format!("{place}: {}; {report}", first_difference(&before.state, &after.state)));
                    }
                    for (old, new) in before.resync.iter().zip(&after.resync) {
                        // These settings let a mere EXAMINE rotate the log, and then answers are less exact.
                        let exact = damage.keeps == Keeps::All && !rotate;
                        let more = old.1.iter().all(|uid| new.1.contains(uid));
                        if (exact && old.1 != new.1) || !more || old.2 != new.2 {
                            failures.push(format!("{place}: QRESYNC {}: {:?} became {:?}", old.0, old.1, new.1));
                        }
                    }
                    // It goes on living: changes are taken, and logged without a word.
                    let mut session = dovecot.qresync();
                    session.select("INBOX");
                    session.ok("UID STORE 1:* +FLAGS (\\Flagged afterwards)");
                    session.append("INBOX", &["\\Seen"], None, b"Subject: x\r\n\r\nx\r\n");
                    session.ok("NOOP");
                    session.ok("UID FETCH 1:* (FLAGS ENVELOPE)");
                    session.logout();
                    let problems = dovecot.error_log();
                    if !problems.is_empty() {
                        failures.push(format!("{place}: afterwards Dovecot logged {problems:#?}"));
                    }
                }
                if std::env::var_os("IDX_TABLE").is_some() {
                    dovecot.restore(&saved, &dovecot.home());
                    (damage.make)(&mailbox);
                    println!("| {place} | {} | {row} |", alone(&dovecot, &before));
                }
                dovecot.error_log();
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn first_difference(before: &MailboxState, after: &MailboxState) -> String {
    if before.selected != after.selected {
        return format!("{:?} became {:?}", before.selected, after.selected);
    }
    before
        .messages
        .iter()
        .zip(&after.messages)
        .find(|(a, b)| a != b)
        .map_or_else(|| "messages".to_owned(), |(a, b)| format!("{a:?} became {b:?}"))
}

#[test]
#[ignore = "needs dovecot"]
fn every_damage_with_the_whole_history_in_the_log() {
    damage_and_rebuild(false);
}

#[test]
#[ignore = "needs dovecot"]
fn every_damage_after_rotations() {
    damage_and_rebuild(true);
}

/// The index Dovecot wrote after a random history comes out of the logs again, byte for byte. `IDX_HISTORIES` sets how many
/// histories for each installation and format; of mbox, where Dovecot sleeps, a tenth.
#[test]
#[ignore = "needs dovecot"]
fn random_histories_come_out_byte_for_byte() {
    let histories = std::env::var("IDX_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let settings = [
        ("mail_index_log_rotate_min_size", "1G"),
        ("mail_index_log_rotate_max_size", "1G"),
        ("mail_index_rewrite_min_log_bytes", "500"),
        ("mail_index_rewrite_max_log_bytes", "1k"),
    ];
    let (mut compared, mut died, mut failures) = (0, 0, Vec::new());
    for installation in Installation::all() {
        for format in Format::ALL {
            let histories = if format == Format::Mbox { histories / 10 } else { histories };
            for seed in 0..histories {
                let dovecot = Dovecot::with(installation.clone(), format, &settings);
                let workload = Workload::new(5000 + seed).operations(60).keywords(20);
                if format == Format::Mbox {
                    // Sessions on mbox now and then die of an assertion of their own (istream-header-filter.c).
                    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| workload.run(&dovecot)));
                    if made.is_err() {
                        assert!(dovecot.error_log().iter().any(|line| line.contains("istream-header-filter.c")));
                        died += 1;
                        continue;
                    }
                } else {
                    workload.run(&dovecot);
                }
                let copy = dovecot.snapshot(&dovecot.index_dir("INBOX"));
                let Ok(mut want) = fs::read(copy.join("dovecot.index")) else { continue };
                for file in ["dovecot.index", "dovecot.index.backup", "dovecot.index.cache"] {
                    let _ = fs::remove_file(copy.join(file));
                }
                let log = OpenOptions::new().write(true).open(copy.join("dovecot.index.log")).expect("log");
                log.set_len(u64::from(u32_at(&want, 68))).expect("the log can be cut");
                // The mail went on: beside it the log that is cut here would have lost something.
                for entry in fs::read_dir(&copy).expect("a directory").map(|entry| entry.expect("an entry").path()) {
                    let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
                    if entry.is_dir() {
                        fs::remove_dir_all(&entry).expect("removed");
                    } else if !name.starts_with("dovecot.index") {
                        fs::remove_file(&entry).expect("removed");
                    }
                }
                let (code, report) = idx(&["rebuild"], &copy);
                if code != 0 || report["actions"][0].as_str().is_some_and(|action| action.starts_with("cut ")) {
                    // The index was written in the middle of a transaction, where no log ends.
                    assert_eq!(code, 0, "{report}");
                    continue;
                }
                let mut have = fs::read(copy.join("dovecot.index")).expect("index");
                // Written as the head by 2.3.19 and later, whatever it was: the same when nothing is left to be done between.
                let (tail, head) = (u32_at(&have, 64), u32_at(&want, 68));
                let log = fs::read(copy.join("dovecot.index.log")).expect("log");
                let file = LogFile::parse(&log, log.len() as u64).expect("a log");
                let is_pending = |record: Record<'_>| record.offset >= u64::from(tail) && record.is_request();
                assert!(tail == u32_at(&want, 64) || tail < head && !file.records(&log).any(is_pending), "seed {seed}");
                // The rotation time is in no log.
                for at in [64..68, 76..80] {
                    have[at.clone()].fill(0);
                    want[at].fill(0);
                }
                compared += 1;
                if have != want {
                    let at = have.iter().zip(&want).position(|(a, b)| a != b);
                    failures.push(format!(
                        "{} {} seed {seed}: differs at {at:?}",
                        installation.version(),
                        format.name()
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {compared}:\n{}", failures.len(), failures.join("\n"));
    assert!(compared > 0);
    println!("{compared} histories; {died} sessions died");
}

/// Rebuilds all the time, under the lock that Dovecot is set to, while two clients append, store, move and expunge: nobody may
/// notice, and nothing may be lost. `IDX_SECONDS` sets how long.
#[test]
#[ignore = "needs dovecot"]
fn beside_running_clients() {
    let seconds = std::env::var("IDX_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    for installation in Installation::all() {
        for (format, method, rotate) in [
            (Format::Maildir, "fcntl", false),
            (Format::Sdbox, "flock", false),
            (Format::Maildir, "dotlock", false),
            (Format::Sdbox, "fcntl", true),
        ] {
            let mut settings = if rotate { ROTATE_OFTEN.to_vec() } else { ROTATE_NEVER.to_vec() };
            settings.push(("lock_method", method));
            let dovecot = Dovecot::with(installation.clone(), format, &settings);
            Workload::new(5).operations(30).run(&dovecot);
            let dir = dovecot.index_dir("INBOX");
            let rebuild = || idx(&["rebuild", "--lock-method", method], &dir);
            let stop = AtomicBool::new(false);
            let (mut runs, mut rebuilt, mut busy) = (0_u32, 0_u32, 0_u32);
            let mut operations = 0;
            std::thread::scope(|scope| {
                let rebuilder = scope.spawn(|| {
                    let mut count = (0, 0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        // With the whole history in the log an index is nothing but a snapshot: without it Dovecot does not
                        // complain, and there is something to rebuild.
                        if !rotate {
                            let _ = fs::remove_file(dir.join("dovecot.index"));
                        }
                        let (code, report) = rebuild();
                        count.0 += 1;
                        // What was surveyed before the lock changed five times over: nothing is done, and that is said.
                        let is_busy = code == 2 && report["error"].as_str().is_some_and(|text| text.contains("busy"));
                        count.2 += u32::from(is_busy);
                        assert!(is_busy || code == 0, "{report}");
                        count.1 += u32::from(report["status"] == "rebuilt");
                    }
                    count
                });
                let deadline = Instant::now() + Duration::from_secs(seconds);
                let mut seed = 900;
                while Instant::now() < deadline && !rebuilder.is_finished() {
                    seed += 1;
                    let history = Workload::new(seed).operations(60).second_session(true).run(&dovecot);
                    operations += 60;
                    let state = dovecot.qresync().state("INBOX");
                    let uids: Vec<u32> = state.messages.iter().map(|message| message.uid).collect();
                    assert_eq!(uids, history.uids, "seed {seed}: what the clients were told is not what is there");
                }
                stop.store(true, Ordering::Relaxed);
                (runs, rebuilt, busy) = rebuilder.join().expect("no rebuild failed");
            });
            let before = look(&dovecot);
            if !rotate {
                // The last of the rebuilds may have been told that the mailbox is busy.
                let _ = fs::remove_file(dir.join("dovecot.index"));
            }
            assert_eq!(rebuild().0, 0);
            let after = look(&dovecot);
            assert!(after.state == before.state, "{}", first_difference(&before.state, &after.state));
            let problems = dovecot.error_log();
            assert!(problems.is_empty(), "Dovecot logged {problems:#?}");
            let place = format!("{} {} {method}", installation.version(), format.name());
            if rotate {
                let log = fs::read(dir.join("dovecot.index.log")).expect("log");
                assert!(u32_at(&log, 8) > 3, "{place}: the log was not rotated");
            } else {
                assert!(rebuilt > 0, "{place}: {runs} runs, and nothing to rebuild");
            }
            assert!(busy < runs, "{place}: no run came to an end");
            println!("{place}: {operations} operations, {runs} runs, {rebuilt} of them rebuilt, {busy} busy");
        }
    }
}
