//! Replaying a complete log chain from nothing and encoding the result gives, byte for byte, the index that Dovecot wrote.

mod support;

use std::path::{Path, PathBuf};

use idx::format::index::{IndexFile, header_flag::FSCKD};
use idx::format::log::LogFile;
use idx::model::replay::Until;
use idx::model::{Chain, ChainFile, LogPos, Mailbox};
use idx::source::with_suffix;

/// Every main index below `root`.
fn indexes(root: &Path, list: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(root).expect("readable").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            indexes(&path, list);
        } else if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".index")) {
            list.push(path);
        }
    }
}

fn read(path: PathBuf) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

/// `None`: the chain is not complete or does not reach the index's position. `Some(Err)`: a difference.
fn compare(index: &Path) -> Option<Result<(), String>> {
    let want = read(index.to_owned())?;
    let logs: Vec<Vec<u8>> = [".log.2", ".log"].iter().filter_map(|s| read(with_suffix(index, s))).collect();
    let chain = Chain::new(
        logs.iter()
            .filter_map(|bytes| LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| ChainFile::new(log, bytes))),
    );
    let view = IndexFile::parse(&want).ok()?;
    let first = chain.complete_from()?;
    let header = &view.header;
    // An index of another age upgrades its header in memory and is written back only later; what an fsck changed is in no
    // log; and Dovecot 1.0 executed expunge requests in the index itself, without logging that it did.
    let old_writer = header.minor_version != 3 || chain.files[first].log.header.minor_version == 0;
    if old_writer || header.flags & FSCKD != 0 || header.indexid != chain.files[first].log.header.indexid {
        return None;
    }
    let end = LogPos { seq: header.log_file_seq, offset: u64::from(header.log_file_head_offset) };
    if chain.files[first].seq() > end.seq || end > chain.end() {
        return None;
    }
    let indexid = header.indexid;
    let empty = Mailbox::empty(indexid, chain.files[first].log.endian);
    let replayed = match chain.replay(empty, Until::Pos(end)) {
        Ok(replayed) => replayed,
        Err(lost) => return Some(Err(lost.to_string())),
    };
    let mut mailbox = replayed.mailbox;
    // What Dovecot does not log: the rotation time. What it changes while writing: tail := head (2.3.19 and later).
    mailbox.header.log2_rotate_time = header.log2_rotate_time;
    if header.log_file_tail_offset == header.log_file_head_offset {
        mailbox.header.log_file_tail_offset = header.log_file_head_offset;
    }
    // The index written at a rotation keeps the modseq header at the end of the old log.
    if let (Some(ext), Some(theirs)) =
        (mailbox.extensions.iter_mut().find(|e| e.name == b"modseq"), view.extension(b"modseq"))
        && header.log_file_head_offset == 40
    {
        let len = theirs.data.len();
        ext.data[8..len].copy_from_slice(&theirs.data[8..]);
    }
    let have = mailbox.encode();
    Some(if have == want {
        Ok(())
    } else {
        let at = have.iter().zip(&want).position(|(a, b)| a != b).unwrap_or(have.len().min(want.len()));
        Err(format!("{} vs {} bytes, first difference at {at}; errors {:?}", have.len(), want.len(), replayed.errors))
    })
}

fn run(root: &Path) -> (usize, Vec<String>) {
    let mut list = Vec::new();
    indexes(root, &mut list);
    let mut equal = 0;
    let mut failures = Vec::new();
    for index in list {
        match compare(&index) {
            None => {}
            Some(Ok(())) => equal += 1,
            Some(Err(why)) => {
                failures.push(format!("{}: {why}", index.strip_prefix(root).expect("below root").display()));
            }
        }
    }
    (equal, failures)
}

#[test]
fn fixture_indexes_are_reproduced_byte_for_byte() {
    let (equal, failures) = run(&support::fixtures());
    assert!(failures.is_empty(), "{equal} equal, {} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(equal >= 19, "only {equal} complete chains");
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn corpus_indexes_are_reproduced_byte_for_byte() {
    let root = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS names the unpacked corpus"));
    let (equal, failures) = run(&root);
    assert!(failures.is_empty(), "{equal} equal, {} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(equal > 0, "no complete chain found");
}
