//! Holds `idx simulate` against real Dovecot.
//!
//! Run with `cargo test --test simulate_live -- --ignored`. It needs Dovecot's `imap`, and Debian's `faketime` for the tests
//! that let weeks pass.

mod support;

use std::fs;
use std::path::Path;

use support::dovecot::{Dovecot, Format};
use support::workload::ROTATE_NEVER;

fn log_size(dir: &Path) -> u64 {
    fs::metadata(dir.join("dovecot.index.log")).map_or(0, |meta| meta.len())
}

fn median(mut list: Vec<u64>) -> u64 {
    list.sort_unstable();
    list[list.len() / 2]
}

fn measure(format: Format) -> Vec<(&'static str, u64, u64, u64)> {
    let dovecot = Dovecot::new(format, &ROTATE_NEVER);
    let dir = dovecot.index_dir("INBOX");
    let mut session = dovecot.qresync();
    session.select("INBOX");
    let message = b"From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n";
    for _ in 0..60 {
        session.append("INBOX", &[], None, message);
    }
    session.ok("NOOP");
    let mut rows = Vec::new();
    let mut step = |name, session: &mut support::imap::Session, commands: &mut dyn FnMut(u32) -> String| {
        let mut sizes = Vec::new();
        for number in 1..=40 {
            let before = log_size(&dir);
            let command = commands(number);
            if command == "APPEND" {
                session.append("INBOX", &[], None, message);
            } else {
                session.ok(&command);
            }
            sizes.push(log_size(&dir) - before);
        }
        let (low, high) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
        eprintln!("{name}: {sizes:?}");
        rows.push((name, low, median(sizes), high));
    };
    step("append", &mut session, &mut |_| "APPEND".to_owned());
    step("store", &mut session, &mut |n| format!("UID STORE {n} +FLAGS (\\Seen)"));
    step("keyword", &mut session, &mut |n| format!("UID STORE {n} +FLAGS ($Forwarded)"));
    step("deleted", &mut session, &mut |n| format!("UID STORE {n} +FLAGS (\\Deleted)"));
    step("expunge", &mut session, &mut |n| format!("UID EXPUNGE {n}"));
    session.logout();
    rows
}

#[test]
#[ignore = "needs dovecot"]
fn measured() {
    for format in Format::ALL {
        eprintln!("{}: {:?}", format.name(), measure(format));
    }
}
