//! Checks mailboxes that IMAP clients change at full speed, with a rotation every few KiB: no alarm may be raised, ever.
//!
//! Run with `cargo test --test live_check -- --ignored --nocapture`; `IDX_CHECKS` sets the number of checks for each
//! installation and format.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use idx::check::Severity;
use idx::ops::inspect;
use idx::source::{Family, MailboxFiles, PathError};

use support::dovecot::{Dovecot, Format, Installation};
use support::workload::Workload;

/// Logs are rotated at 4 KiB whatever their age, and the index is written whenever that is possible.
const FULL_SPEED: [(&str, &str); 6] = [
    ("mail_index_log_rotate_min_size", "2k"),
    ("mail_index_log_rotate_max_size", "4k"),
    ("mail_index_log_rotate_min_age", "1s"),
    ("mail_index_log2_max_age", "1s"),
    ("mail_index_rewrite_min_log_bytes", "512"),
    ("mail_index_rewrite_max_log_bytes", "1k"),
];

fn indexes_below(dir: &Path, list: &mut Vec<PathBuf>) {
    for family in Family::ALL {
        let files = MailboxFiles::at(dir.join(family.prefix()));
        if !files.present().is_empty() {
            list.push(files.index);
        }
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            indexes_below(&entry.path(), list);
        }
    }
}

#[test]
#[ignore = "needs dovecot"]
fn a_busy_mailbox_raises_no_alarm() {
    let wanted: usize = std::env::var("IDX_CHECKS").map_or(200, |n| n.parse().expect("a number"));
    let (mut total, mut alarms) = (0, Vec::new());
    for installation in Installation::all() {
        for format in Format::ALL {
            let dovecot = Dovecot::with(installation.clone(), format, &FULL_SPEED);
            let root = dovecot.home();
            let place = format!("{} {}", installation.version(), format.name());
            let stop = AtomicBool::new(false);
            let (mut checks, mut busy, mut infos, mut logs) = (0, 0, 0, std::collections::HashSet::new());
            std::thread::scope(|scope| {
                let stop = &stop;
                let writer = scope.spawn(move || {
                    let mut seed = 1;
                    while !stop.load(Ordering::Relaxed) {
                        let name = format!("box{}", seed % 3);
                        let workload = Workload::new(seed).mailbox(&name).operations(300).second_session(true);
                        // imap of 2.3.19.1 sometimes fails an assertion while it reads an mbox; what such a process leaves
                        // behind must be sound as well.
                        let run = std::panic::AssertUnwindSafe(|| workload.run(&dovecot));
                        if std::panic::catch_unwind(run).is_err() {
                            println!("an imap process died");
                        }
                        seed += 1;
                    }
                    dovecot
                });
                while checks < wanted && !writer.is_finished() {
                    let mut indexes = Vec::new();
                    indexes_below(&root, &mut indexes);
                    for index in indexes {
                        let files = MailboxFiles::at(index);
                        if let Ok(log) = std::fs::read(files.path(idx::source::Role::Log)) {
                            logs.extend(log.get(4..12).map(<[u8]>::to_vec));
                        }
                        match inspect::mailbox(&files, &inspect::options()) {
                            Ok(found) => {
                                checks += 1;
                                for one in found.iter().filter(|one| one.severity == Severity::Info) {
                                    infos += 1;
                                    println!("{} {}", one.code.name(), one.message);
                                }
                                let bad = found.into_iter().filter(|one| one.severity > Severity::Info);
                                alarms.extend(bad.map(|one| format!("{place}: {one:?}")));
                            }
                            Err(PathError::Busy(_)) => busy += 1,
                            // A workload begins with fresh mailboxes.
                            Err(PathError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                            Err(error) => alarms.push(format!("{place}: {error}")),
                        }
                    }
                }
                stop.store(true, Ordering::Relaxed);
                let dovecot = writer.join().expect("the workload went on to the end");
                drop(dovecot);
            });
            println!("{place}: {checks} checks of {} logs, {busy} busy, {infos} infos", logs.len());
            total += checks;
        }
    }
    assert!(alarms.is_empty(), "{} false alarms in {total} checks:\n{}", alarms.len(), alarms.join("\n"));
    println!("{total} checks, no false alarm");
}
