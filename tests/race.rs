//! Reading a mailbox that is being changed: a set of files is read as one state, or not at all.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use idx::format::index::{IndexFile, IndexHeader};
use idx::format::log::{LogFile, LogHeader};
use idx::format::{Disk, Endian};
use idx::source::{MailboxFiles, MmapPolicy, PathError, Role};

fn log(seq: u32) -> Vec<u8> {
    LogHeader {
        major_version: 1,
        minor_version: 3,
        hdr_size: 40,
        indexid: 7,
        file_seq: seq,
        prev_file_seq: seq - 1,
        prev_file_offset: 40,
        create_stamp: 7,
        initial_modseq: 1,
        compat_flags: 1,
        unused: [0; 3],
        unused2: 0,
    }
    .to_bytes(Endian::Little)
}

fn index(seq: u32) -> Vec<u8> {
    let mut header = IndexHeader::empty(7, Endian::Little);
    header.log_file_seq = seq;
    header.log_file_head_offset = 40;
    header.to_bytes(Endian::Little)
}

/// One rotation in Dovecot's order: link the old log, rename the new one over it, rewrite the index.
fn rotate(dir: &Path, seq: u32) {
    let at = |name: &str| dir.join(name);
    fs::write(at("dovecot.index.log.newlock"), log(seq)).expect("written");
    let _ = fs::remove_file(at("dovecot.index.log.2"));
    fs::hard_link(at("dovecot.index.log"), at("dovecot.index.log.2")).expect("linked");
    fs::rename(at("dovecot.index.log.newlock"), at("dovecot.index.log")).expect("renamed");
    fs::write(at("dovecot.index.tmp"), index(seq)).expect("written");
    fs::rename(at("dovecot.index.tmp"), at("dovecot.index")).expect("renamed");
}

#[test]
fn a_set_of_files_is_one_state_however_often_they_are_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("dovecot.index.log"), log(2)).expect("written");
    rotate(dir.path(), 3);
    let files = MailboxFiles::locate(dir.path()).expect("a mailbox");
    let stop = AtomicBool::new(false);
    let (mut read, mut busy) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seq = 4;
            while !stop.load(Ordering::Relaxed) {
                rotate(dir.path(), seq);
                seq += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        for _ in 0..400 {
            match files.read(&[Role::Index, Role::OldLog, Role::Log], MmapPolicy::Auto) {
                Err(PathError::Busy(_)) => busy += 1,
                Err(error) => panic!("{error}"),
                Ok(snapshot) => {
                    read += 1;
                    let seq = |role| {
                        let input = snapshot.get(role)?;
                        let log = LogFile::parse(&input.bytes, input.bytes.len() as u64).expect("a log");
                        Some(log.header.file_seq)
                    };
                    let input = snapshot.get(Role::Index).expect("always there");
                    let have = IndexFile::parse(&input.bytes).expect("an index").header.log_file_seq;
                    let new = seq(Role::Log).expect("always there");
                    // Between the two renames the index is one log behind; then the old log is there.
                    assert!(have == new || have + 1 == new, "index at log {have}, log {new}");
                    if have + 1 == new {
                        assert_eq!(seq(Role::OldLog), Some(have));
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(read > 0, "{busy} times busy, never read");
}
