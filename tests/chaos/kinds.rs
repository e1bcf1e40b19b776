//! One small damage of every kind that the campaign found and that is mended since: what is lost is named, nothing else
//! is lost, and a second run changes nothing.

use std::fs;
use std::path::Path;

use idx::format::log::{LogFile, Txn};
use idx::format::record::{Record, RecordType};
use idx::ops::rebuild::{self, Status};
use idx::repair::Grade;

use crate::{Recorded, differences, is_named, options, recorded, seen};

/// What must come of it.
enum Wanted {
    /// The mailbox as the server recorded it, without a loss.
    Whole,
    /// What differs from the record is named.
    Named,
    /// As it was recorded, up to a loss of this grade at most.
    AtMost(Grade),
    /// Nothing to do.
    Unchanged,
}

fn flip(dir: &Path, file: &str, at: usize, bit: u8) {
    let path = dir.join(file);
    let mut bytes = fs::read(&path).expect("file");
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).expect("write");
}

fn cut(dir: &Path, file: &str, at: usize) {
    let bytes = fs::read(dir.join(file)).expect("file");
    fs::write(dir.join(file), &bytes[..at]).expect("write");
}

/// Where the size of a boundary stands whose transaction is followed by others.
fn boundary(dir: &Path) -> usize {
    let bytes = fs::read(dir.join("dovecot.index.log")).expect("log");
    let coded = [0x80, 0x80, 0x80, 0x83, 0x00, 0x00, 0x08, 0x10];
    let places: Vec<usize> = (40..bytes.len() / 2).filter(|at| bytes[*at..].starts_with(&coded)).collect();
    *places.last().expect("a boundary")
}

fn expect(all: &[Recorded], mailbox: &str, damage: impl Fn(&Path), wanted: &Wanted) {
    let mailbox = all.iter().find(|one| one.name == mailbox).expect("a fixture of that name");
    let (home, dir) = mailbox.made();
    damage(&dir);
    mailbox.settle(home.path());
    let report = rebuild::run(&dir, &options(false, true)).expect("a report");
    let name = &mailbox.name;
    match wanted {
        Wanted::Unchanged => return assert_eq!(report.status, Status::Unchanged, "{name}: {:?}", report.actions),
        _ => assert_eq!(report.status, Status::Rebuilt, "{name}: {:?}", report.reason),
    }
    mailbox.settle(home.path());
    let found = differences(&mailbox.truth, &seen(&dir).expect("a state"));
    match wanted {
        Wanted::Whole => assert!(found.is_empty() && report.lost.is_empty(), "{name}: {found:?} {:?}", report.lost),
        Wanted::AtMost(grade) => {
            assert!(found.iter().all(|(one, ..)| one <= grade), "{name}: {found:?}");
            assert!(report.losses.iter().all(|loss| loss.grade() <= *grade), "{name}: {:?}", report.lost);
        }
        _ => {}
    }
    for (grade, uids, what) in found {
        assert!(is_named(grade, &uids, &report.losses), "{name}: {what} is not among {:?}", report.lost);
    }
    let again = rebuild::run(&dir, &options(false, true)).expect("a report");
    assert_eq!(again.status, Status::Unchanged, "{name}: {:?}", again.actions);
}

#[test]
fn kinds_of_damage_that_were_found() {
    let all = recorded(None);
    let log = "dovecot.index.log";
    // An append of a UID that another message has: the UID it had is one that nothing appends, and its mail is here.
    let append = |dir: &Path| flip(dir, log, 740, 0);
    expect(&all, "2.4.1-sdbox-chain Archive", append, &Wanted::Named);
    // An introduction by number, aligned as that extension never is.
    expect(&all, "2.3.19.1-maildir-nomodseq INBOX", |dir| flip(dir, log, 1955, 2), &Wanted::Whole);
    // The end of a Maildir's log behind that of an mbox: its number of an extension is another one's here.
    let foreign = |dir: &Path| {
        let theirs = crate::fixtures().join("2.4.1-maildir-chain/files/Maildir/.Archive").join(log);
        let mut bytes = fs::read(dir.join(log)).expect("log");
        bytes.extend(&fs::read(theirs).expect("log")[900..]);
        fs::write(dir.join(log), bytes).expect("write");
    };
    expect(&all, "2.3.19.1-mbox-nomodseq INBOX", foreign, &Wanted::AtMost(Grade::History));
    // An expunge of a UID that was never given: the one that is a bit away has no mail any more.
    let expunge = |dir: &Path| flip(dir, log, 2005, 1);
    expect(&all, "2.4.1-sdbox-busy INBOX", expunge, &Wanted::Whole);
    // All boundaries have one size: with another one the transactions behind them are not lost.
    for mailbox in ["2.3.19.1-sdbox-busy INBOX", "2.4.1-maildir-busy INBOX", "2.4.1-mdbox-busy INBOX"] {
        for bit in [0, 2, 5] {
            expect(&all, mailbox, |dir| flip(dir, log, boundary(dir) + 3, bit), &Wanted::AtMost(Grade::History));
        }
    }
    // The log of a Maildir cut between two transactions: the messages of the uidlist tell that there was more, and
    // HIGHESTMODSEQ must not go back.
    let shorter = |dir: &Path| {
        cut(dir, log, 1816);
        let _ = fs::remove_file(dir.join("dovecot.index"));
        let _ = fs::remove_file(dir.join("dovecot.index.cache"));
    };
    expect(&all, "2.4.1-maildir-busy INBOX", shorter, &Wanted::Named);
    // A uidlist that lost its last lines does not prove that their messages are gone.
    let list = |dir: &Path| {
        let lines = fs::read_to_string(dir.join("dovecot-uidlist")).expect("list");
        let kept: Vec<&str> = lines.lines().take(3).collect();
        fs::write(dir.join("dovecot-uidlist"), kept.join("\n") + "\n").expect("write");
    };
    expect(&all, "2.4.1-maildir-busy INBOX", list, &Wanted::Unchanged);
    // The backup alone does not say that the index has a keyword's name wrong.
    let name = |dir: &Path| {
        let bytes = fs::read(dir.join("dovecot.index.backup")).expect("backup");
        let at = bytes.windows(8).position(|part| part == b"kw.dots\0").expect("a keyword");
        flip(dir, "dovecot.index.backup", at + 5, 6);
    };
    expect(&all, "2.4.1-sdbox-busy INBOX", name, &Wanted::Unchanged);
}

/// The log of an sdbox without a message is cut where another mailbox's end begins, and not in what made the mailbox.
#[test]
fn an_empty_mailbox_keeps_what_made_it() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
    fs::create_dir_all(&dir).expect("a directory");
    let log_of = |fixture: &str| {
        let path = "files/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.log";
        fs::read(crate::support::fixtures().join(fixture).join(path)).expect("a log")
    };
    let (own, other) = (log_of("2.4.1-sdbox-fresh"), log_of("2.3.19.1-sdbox-chain"));
    let begins = |bytes: &[u8], is_it: &dyn Fn(&Record<'_>) -> bool| {
        let log = LogFile::parse(bytes, bytes.len() as u64).expect("a log");
        let mut txn = Txn::default();
        let mut found = log.records(bytes).filter_map(|record| {
            txn.follow(&record);
            is_it(&record).then_some(txn.begin as usize)
        });
        found.next().expect("such a record")
    };
    let made = &own[..begins(&own, &|record| record.kind() == Some(RecordType::Append))];
    let end = &other[begins(&other, &|record| record.offset > other.len() as u64 * 2 / 3)..];
    fs::write(dir.join("dovecot.index.log"), [made, end].concat()).expect("written");
    let report = rebuild::run(&dir, &options(false, true)).expect("a report");
    assert_eq!(report.status, Status::Rebuilt, "{:?}", report.reason);
    // sdbox_index_header: rebuild_count, then the GUID, in the first ext-hdr behind its offset and size.
    let log = LogFile::parse(&own, own.len() as u64).expect("a log");
    let header = log.records(&own).find(|record| record.kind() == Some(RecordType::ExtHdr)).expect("an ext-hdr");
    let guid = &header.payload[8..24];
    assert!(guid.iter().any(|byte| *byte != 0));
    let index = fs::read(dir.join("dovecot.index")).expect("an index");
    assert!(index.windows(16).any(|part| part == guid), "{:?}", report.lost);
}
