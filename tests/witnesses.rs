//! What lies beside an index is taken away or changed, piece by piece, in copies of sound mailboxes: `check` says so, and
//! says nothing before.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use idx::check::deep::Verdict;
use idx::check::{Code, Finding, Options, Severity};
use idx::ops::deep::check;
use idx::ops::inspect;
use idx::source::MailboxFiles;
use idx::storage::Depth;
use serde_json::Value;

use support::dovecot::copy_tree;
use support::fixtures;

/// A copy of a fixture's home directory.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    copy_tree(&fixtures().join(name).join("files"), dir.path()).expect("copy");
    dir
}

fn look(index: &Path, depth: Depth) -> Verdict {
    // The copy is seconds old; by this clock nobody is at work on it any more.
    let options = Options { now: inspect::options().now + 1000, ..inspect::options() };
    check(&MailboxFiles::at(index), &options, depth)
}

fn judge(index: &Path) -> Vec<Finding> {
    look(index, Depth::All).findings
}

fn codes(found: &[Finding]) -> Vec<(Code, Severity, Option<u32>)> {
    found.iter().map(|finding| (finding.code, finding.severity, finding.uid)).collect()
}

/// The findings of the verb, codes by severity, and its exit status.
fn verb(args: &[&str], path: &Path) -> (Vec<(String, String)>, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["check", "-f", "json"])
        .args(args)
        .arg(path)
        .output()
        .expect("idx runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let found = document["findings"].as_array().expect("findings").iter();
    let found = found.filter(|one| one["severity"] != "info").map(|one| (text(&one["code"]), text(&one["severity"])));
    (found.collect(), output.status.code().expect("it ends by itself"))
}

fn file_of(maildir: &Path, uid: u32) -> PathBuf {
    let uidlist = fs::read_to_string(maildir.join("dovecot-uidlist")).expect("uidlist");
    let start = format!("{uid} :");
    let base = uidlist.lines().find_map(|line| line.strip_prefix(start.as_str())).expect("a line").to_owned();
    let mut all = fs::read_dir(maildir.join("cur")).expect("cur").map(|entry| entry.expect("entry").path());
    all.find(|path| path.to_string_lossy().contains(&base)).expect("a file")
}

/// Both servers' fixtures of that name.
fn both(name: &str) -> [tempfile::TempDir; 2] {
    ["2.3.19.1", "2.4.1"].map(|version| copy(&format!("{version}-{name}")))
}

#[test]
fn maildir_control_files() {
    for home in both("maildir-fresh") {
        let maildir = home.path().join("Maildir");
        let (index, list) = (maildir.join("dovecot.index"), maildir.join("dovecot-uidlist"));
        assert_eq!((judge(&index), look(&index, Depth::Names)), (vec![], Verdict::default()));
        let text = fs::read_to_string(&list).expect("uidlist");
        let is_lost = |found: Vec<Finding>| {
            assert_eq!(codes(&found), [(Code::D2, Severity::Error, None)], "{found:?}");
            assert_eq!((found[0].file.as_path(), found[0].fix(&maildir)), (list.as_path(), None));
        };
        // Gone, empty, torn in the header: every message gets a new UID.
        fs::remove_file(&list).expect("remove");
        is_lost(judge(&index));
        fs::write(&list, "").expect("write");
        is_lost(judge(&index));
        fs::write(&list, "3 V17954").expect("write");
        is_lost(judge(&index));
        // The last line without its end is not read.
        fs::write(&list, text.trim_end()).expect("write");
        let found = judge(&index);
        let last = text.trim_end().rfind('\n').expect("a line") as u64 + 1;
        assert!(found.iter().any(|one| one.offset == Some(last) && one.severity == Severity::Error), "{found:?}");
        // No UID is left.
        let header = text.lines().next().expect("a header");
        let number = header.split(' ').find(|word| word.starts_with('N')).expect("N");
        fs::write(&list, text.replacen(&format!(" {number} "), " N4294967295 ", 1)).expect("write");
        assert_eq!(codes(&judge(&index)), [(Code::I23, Severity::Error, None)]);
        fs::write(&list, &text).expect("write");
        let keywords = maildir.join("dovecot-keywords");
        fs::remove_file(&keywords).expect("remove");
        let found = judge(&index);
        assert_eq!(found.iter().map(|one| (one.code, one.severity)).collect::<Vec<_>>(), [(Code::D5, Severity::Error)]);
    }
}

#[test]
fn maildir_files_that_the_index_does_not_know() {
    for home in both("maildir-fresh") {
        let maildir = home.path().join("Maildir");
        let index = maildir.join("dovecot.index");
        // New mail is no fault.
        fs::create_dir_all(maildir.join("new")).expect("directory");
        fs::write(maildir.join("new/1.M1P1.ext"), "Subject: x\n\n").expect("write");
        let found = judge(&index);
        assert_eq!(codes(&found), [(Code::D2, Severity::Info, None)]);
        assert!(found[0].message.contains("1.M1P1.ext"), "{found:?}");
        // With a UID above next_uid it was in an index once, and this one is older; that is seen without --deep, too.
        let list = maildir.join("dovecot-uidlist");
        let text = fs::read_to_string(&list).expect("uidlist");
        fs::write(&list, format!("{text}4000 :1.M1P1.ext\n")).expect("write");
        let wanted = [(Code::D2, Severity::Warning, Some(4000))];
        assert_eq!(
            (codes(&judge(&index)), codes(&look(&index, Depth::Names).findings)),
            (wanted.into(), wanted.into())
        );
        // Two files of one message.
        fs::write(&list, &text).expect("write");
        fs::remove_file(maildir.join("new/1.M1P1.ext")).expect("remove");
        let one = file_of(&maildir, 1);
        let name = one.file_name().expect("a name").to_string_lossy().into_owned();
        fs::copy(&one, maildir.join("new").join(name.split(':').next().expect("a base"))).expect("copy");
        assert_eq!(codes(&judge(&index)), [(Code::D2, Severity::Error, Some(1))]);
    }
}

#[test]
fn maildir_sizes() {
    for home in both("maildir-fresh") {
        let maildir = home.path().join("Maildir");
        let index = maildir.join("dovecot.index");
        let path = file_of(&maildir, 2);
        let bytes = fs::read(&path).expect("a message");
        for changed in [[&bytes[..], b"more"].concat(), bytes[..bytes.len() - 5].to_vec(), Vec::new()] {
            fs::write(&path, changed).expect("write");
            assert_eq!(codes(&judge(&index)), [(Code::D13, Severity::Error, Some(2))]);
        }
        // The size of a compressed file is not that of its message.
        fs::write(&path, b"\x1f\x8b\x08 and so on").expect("write");
        assert_eq!(judge(&index), []);
    }
}

#[test]
fn sdbox_files() {
    for home in both("sdbox-fresh") {
        let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
        let index = dir.join("dovecot.index");
        let two = fs::read(dir.join("u.2")).expect("u.2");
        // Cut, empty, another header: the mail cannot be read.
        for changed in [two[..two.len() / 2].to_vec(), Vec::new(), [b"x", &two[..]].concat()] {
            fs::write(dir.join("u.2"), changed).expect("write");
            assert_eq!(codes(&judge(&index)), [(Code::D13, Severity::Error, Some(2))]);
        }
        fs::write(dir.join("u.2"), &two).expect("write");
        // Above next_uid: the index is of before, and deliveries meet the file.
        fs::copy(dir.join("u.2"), dir.join("u.4000")).expect("copy");
        let wanted = [(Code::D6, Severity::Error, Some(4000))];
        assert_eq!(
            (codes(&judge(&index)), codes(&look(&index, Depth::Names).findings)),
            (wanted.into(), wanted.into())
        );
        fs::remove_file(dir.join("u.4000")).expect("remove");
        // The alternate storage that the root names is not mounted: what it would have is not missing.
        let alt = home.path().join("sdbox/dbox-alt-root");
        std::os::unix::fs::symlink("/nowhere/at/all", &alt).expect("link");
        fs::rename(dir.join("u.3"), home.path().join("u.3")).expect("rename");
        let verdict = look(&index, Depth::All);
        assert_eq!((codes(&verdict.findings), verdict.not_compared[0].what), (vec![], "alternate storage"));
        fs::remove_file(&alt).expect("remove");
        fs::rename(home.path().join("u.3"), dir.join("u.3")).expect("rename");
        // Not one file: an error where the mail root is; a copy of the indexes alone is not compared.
        for uid in 1..20 {
            let _ = fs::remove_file(dir.join(format!("u.{uid}")));
        }
        assert_eq!(codes(&judge(&index)), [(Code::D6, Severity::Error, None)]);
        let elsewhere = tempfile::tempdir().expect("directory");
        copy_tree(&dir, elsewhere.path()).expect("copy");
        let verdict = look(&elsewhere.path().join("dovecot.index"), Depth::All);
        assert_eq!((codes(&verdict.findings), verdict.not_compared.len()), (vec![], 1));
    }
}

#[test]
fn messages_without_an_index() {
    for (storage, dir, wanted) in
        [("sdbox", "sdbox/mailboxes/INBOX/dbox-Mails", ("error", 1)), ("maildir", "Maildir", ("warning", 0))]
    {
        for home in both(&format!("{storage}-fresh")) {
            let dir = home.path().join(dir);
            for entry in fs::read_dir(&dir).expect("directory") {
                let path = entry.expect("entry").path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot.index")) {
                    fs::remove_file(path).expect("remove");
                }
            }
            let found = verb(&[], home.path());
            assert_eq!(found, (vec![("D17".to_owned(), wanted.0.to_owned())], wanted.1), "{storage}");
        }
    }
}

#[test]
fn mdbox_map_and_mails() {
    for home in both("mdbox-fresh") {
        let root = home.path().join("mdbox");
        let (map, index) =
            (root.join("storage/dovecot.map.index"), root.join("mailboxes/INBOX/dbox-Mails/dovecot.index"));
        assert_eq!((judge(&map), judge(&index)), (vec![], vec![]));
        let file = root.join("storage/m.1");
        let bytes = fs::read(&file).expect("m.1");
        // A sector of zeros where a mail begins.
        let mut zeroed = bytes.clone();
        zeroed[16..64].fill(0);
        fs::write(&file, zeroed).expect("write");
        assert_eq!(codes(&judge(&map)), [(Code::D13, Severity::Error, Some(1))]);
        // More than the map knows.
        fs::write(&file, [&bytes[..], b"garbage"].concat()).expect("write");
        let at = |time: std::time::SystemTime| {
            fs::File::options().append(true).open(&file).and_then(|file| file.set_modified(time)).expect("a time");
        };
        // It may be a mail that is being saved just now.
        at(std::time::SystemTime::now());
        assert_eq!(codes(&judge(&map)), [(Code::D8, Severity::Info, None)]);
        at(std::time::SystemTime::now() - std::time::Duration::from_secs(60));
        let found = judge(&map);
        assert_eq!(codes(&found), [(Code::D8, Severity::Error, None)]);
        assert_eq!(found[0].offset, Some(bytes.len() as u64));
        fs::remove_file(&file).expect("remove");
        assert_eq!(codes(&judge(&map)), [(Code::D8, Severity::Error, None)]);
        fs::write(&file, &bytes).expect("write");
        fs::remove_file(root.join("storage/dovecot.map.index.log")).expect("remove");
        assert_eq!(codes(&judge(&index)), [(Code::D7, Severity::Error, None)]);
    }
}

/// The INBOX of the fixtures is in a spool; here it lies where the indexes say.
#[test]
fn mbox_file() {
    for home in both("mbox-fresh") {
        let index = home.path().join("mbox/.imap/INBOX/dovecot.index");
        let verdict = look(&index, Depth::All);
        assert_eq!((verdict.findings.len(), verdict.not_compared.len()), (0, 1));
        let text = fs::read_to_string(home.path().join("inbox")).expect("mbox");
        fs::write(home.path().join("mbox/inbox"), &text).expect("write");
        assert_eq!(judge(&index), []);
        fs::write(home.path().join("mbox/inbox"), text.replacen("X-IMAPbase: 1", "X-IMAPbase: 2", 1)).expect("write");
        assert_eq!(codes(&judge(&index)), [(Code::D15, Severity::Error, None)]);
    }
}

#[test]
fn a_uidvalidity_that_two_files_refute() {
    for home in both("sdbox-busy") {
        let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
        let index = dir.join("dovecot.index");
        let before: Vec<Code> = judge(&index).iter().map(|one| one.code).collect();
        assert!(!before.contains(&Code::D14), "{before:?}");
        let mut bytes = fs::read(&index).expect("index");
        bytes[27] ^= 1;
        fs::write(&index, bytes).expect("write");
        let found = judge(&index);
        assert!(found.iter().any(|one| (one.code, one.severity) == (Code::D14, Severity::Error)), "{found:?}");
    }
}

#[test]
fn another_users_mail_is_no_counterpart() {
    let spool = tempfile::tempdir().expect("directory");
    for user in ["ann", "bob"] {
        copy_tree(&fixtures().join("2.4.1-maildir-fresh/files/Maildir"), &spool.path().join(user)).expect("copy");
    }
    let ann = spool.path().join("ann");
    fs::remove_file(ann.join("dovecot-uidlist")).expect("remove");
    let found = judge(&ann.join("dovecot.index"));
    assert_eq!(codes(&found), [(Code::D2, Severity::Error, None)]);
    assert!(found[0].file.starts_with(&ann), "{found:?}");
}

#[test]
fn a_thread_index() {
    let path = fixtures().join("2.4.1-maildir-fresh/files/Maildir/dovecot.index.thread");
    assert_eq!(verb(&[], &path), (vec![], 0));
    let mut bytes = fs::read(&path).expect("a thread index");
    assert_eq!(idx::check::thread(&path, &bytes), None);
    let block = if bytes[0] == 2 { 16 } else { 8 };
    bytes[block..block + 4].fill(0xff);
    let found = idx::check::thread(&path, &bytes).expect("a finding");
    assert_eq!((found.code, found.severity), (Code::D16, Severity::Warning));
}

/// The mailboxes of a list index.
fn list_of(root: &Path) -> idx::model::MailboxList {
    let files = MailboxFiles::at(root.join("dovecot.list.index"));
    let mailbox = idx::storage::load(&files, idx::source::MmapPolicy::Never).expect("a list index");
    idx::model::MailboxList::load(&mailbox).expect("a list")
}

/// Replaces bytes in files wherever they are; they must be there.
fn replace(paths: &[PathBuf], from: &[u8], to: &[u8]) {
    assert!(paths.iter().filter(|path| path.exists()).map(|path| replace_in(path, from, to)).sum::<usize>() > 0);
}

fn replace_in(path: &Path, from: &[u8], to: &[u8]) -> usize {
    let mut bytes = fs::read(path).expect("a file");
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, have)| *have == from).map(|(at, _)| at).collect();
    places.iter().for_each(|at| bytes[*at..*at + to.len()].copy_from_slice(to));
    fs::write(path, bytes).expect("write");
    places.len()
}

/// The files of the list in a root.
fn list_files(root: &Path) -> [PathBuf; 2] {
    ["dovecot.list.index", "dovecot.list.index.log"].map(|name| root.join(name))
}

#[test]
fn guids_of_the_list_and_of_its_mailboxes() {
    for home in both("mdbox-list") {
        let root = home.path().join("mdbox");
        let index = root.join("dovecot.list.index");
        let list = list_of(&root);
        let guid = |name: &[u8]| {
            let node = list.nodes.iter().find(|node| list.levels(node).is_some_and(|levels| levels == [name]));
            node.expect("a mailbox").record.guid
        };
        let before = judge(&index);
        let new = |found: Vec<Finding>| -> Vec<String> {
            found.into_iter().filter(|one| !before.contains(one)).map(|one| one.message).collect()
        };
        let log = root.join("mailboxes/Sent/dbox-Mails/dovecot.index.log");
        replace(std::slice::from_ref(&log), &guid(b"Sent"), &guid(b"Trash"));
        let found = new(judge(&index));
        assert!(found.len() == 1 && found[0].contains("GUID is"), "{found:?}");
        // The list believes it, too: one mailbox twice.
        replace(&list_files(&root), &guid(b"Sent"), &guid(b"Trash"));
        let found = new(judge(&index));
        assert!(found.len() == 1 && found[0].contains("same GUID"), "{found:?}");
        // A mailbox that the list knows with messages has lost its index.
        fs::remove_file(&log).expect("remove");
        let found = new(judge(&index));
        assert!(found.len() == 1 && found[0].contains("there is no index"), "{found:?}");
    }
}

#[test]
fn what_the_list_has_seen_was_so() {
    for home in both("mdbox-list") {
        let root = home.path().join("mdbox");
        let list = list_of(&root);
        let sent = list.nodes.iter().find(|node| list.levels(node).is_some_and(|levels| levels == [b"Sent"]));
        let sent = sent.expect("Sent");
        let index = root.join("mailboxes/Sent/dbox-Mails/dovecot.index");
        let before = judge(&index);
        assert!(before.iter().all(|one| one.code != Code::D18), "{before:?}");
        let msgs = sent.msgs.as_ref().expect("counts");
        let bytes = |uidnext: u32| -> Vec<u8> {
            [sent.uid, msgs.messages, msgs.unseen, msgs.recent, uidnext].iter().flat_map(|n| n.to_le_bytes()).collect()
        };
        replace(&list_files(&root), &bytes(msgs.uidnext), &bytes(msgs.uidnext + 100));
        let found: Vec<_> = judge(&index).into_iter().filter(|one| !before.contains(one)).collect();
        assert_eq!(codes(&found), [(Code::D18, Severity::Error, None)]);
    }
}

#[test]
fn files_that_a_server_has_put_aside() {
    for home in both("sdbox-fresh") {
        let dir = home.path().join("sdbox/mailboxes/INBOX/dbox-Mails");
        fs::copy(dir.join("u.2"), dir.join("u.9.broken")).expect("copy");
        assert_eq!(codes(&judge(&dir.join("dovecot.index"))), [(Code::D6, Severity::Warning, Some(9))]);
    }
    for home in both("mdbox-fresh") {
        let storage = home.path().join("mdbox/storage");
        fs::copy(storage.join("m.1"), storage.join("m.1.broken")).expect("copy");
        assert_eq!(codes(&judge(&storage.join("dovecot.map.index"))), [(Code::D8, Severity::Warning, None)]);
    }
}

#[test]
fn keywords_of_index_and_file_names() {
    for home in both("maildir-fresh") {
        let maildir = home.path().join("Maildir");
        let index = maildir.join("dovecot.index");
        let cur = maildir.join("cur");
        let mut without = 0;
        for entry in fs::read_dir(&cur).expect("cur") {
            let name = entry.expect("entry").file_name().to_string_lossy().into_owned();
            let (base, flags) = name.split_once(":2,").expect("flags");
            if flags.contains('a') {
                without += 1;
                fs::rename(cur.join(&name), cur.join(format!("{base}:2,{}", flags.replace('a', "")))).expect("rename");
            }
        }
        assert!(without > 0, "a message with the first keyword");
        let found = judge(&index);
        assert!(found.len() == without && found.iter().all(|one| one.code == Code::D3), "{found:?}");
        // Without a name for the letter the keyword is in the index alone, as the 27th is.
        let keywords = maildir.join("dovecot-keywords");
        let text = fs::read_to_string(&keywords).expect("dovecot-keywords");
        let rest: String =
            text.lines().filter(|line| !line.starts_with("0 ")).map(|line| format!("{line}\n")).collect();
        fs::write(&keywords, rest).expect("write");
        assert_eq!(codes(&judge(&index)), [(Code::D5, Severity::Info, None)]);
    }
}

#[test]
fn a_thread_index_in_its_directory() {
    for home in both("maildir-fresh") {
        let path = home.path().join("Maildir/dovecot.index.thread");
        let mut bytes = fs::read(&path).expect("a thread index");
        let block = if bytes[0] == 2 { 16 } else { 8 };
        bytes[block..block + 4].fill(0xff);
        fs::write(&path, bytes).expect("write");
        assert_eq!(verb(&["--deep"], home.path()).0, [("D16".to_owned(), "warning".to_owned())]);
    }
}

/// The index files of a Maildir were deleted, and a server has made new ones: their log shows that it is not the first.
#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn a_log_that_was_begun_anew() {
    let corpus = std::path::PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS"));
    let case = corpus.join("broken/2.3.19.1-maildir-index-all-deleted");
    let home = tempfile::tempdir().expect("directory");
    let maildir = home.path().join("Maildir");
    copy_tree(&case.join("files/Maildir"), &maildir).expect("copy");
    copy_tree(&case.join("after-index"), &maildir).expect("copy");
    assert_eq!(codes(&judge(&maildir.join("dovecot.index"))), [(Code::D19, Severity::Warning, None)]);
}
