//! Damages the map of a real Dovecot's mdbox, rebuilds it, and lets Dovecot open the result: not one line in its log, every
//! mail in every mailbox as before, copies still shared, and a purge removes what was expunged and nothing else.
//!
//! Run with `cargo test --test map_live -- --ignored`. `IDX_DOVECOT_24` may name an installation of 2.4 to test with as well.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use idx::source::{MailboxFiles, MmapPolicy};
use idx::storage;
use serde_json::Value;

use support::dovecot::{Dovecot, Format, Installation};
use support::imap::Session;

const BOXES: [&str; 3] = ["INBOX", "Archive", "Sent"];
/// Several files m.N, and an index of the map that is written now and then.
const SETTINGS: [(&str, &str); 1] = [("mdbox_rotate_size", "3k")];

fn message(number: usize) -> Vec<u8> {
    let body = "word ".repeat(20 + number % 7);
    format!("From: a@example.org\r\nSubject: message {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\n{body}\r\n")
        .into_bytes()
}

/// UIDVALIDITY, UIDNEXT and each message's UID with all that a client reads of it.
fn seen(session: &mut Session) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in BOXES {
        let selected = session.examine(name);
        let status = session.ok(&format!("STATUS \"{name}\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"));
        all.insert(format!("{name} status"), format!("{:?}", status.lines));
        if selected.exists > 0 {
            let response = session.ok("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])");
            all.insert(name.to_owned(), format!("{:?}", response.lines));
        }
    }
    all
}

/// An mdbox with copies, a purge behind it, and mails that are expunged and not purged.
fn make(dovecot: &Dovecot) -> BTreeMap<String, String> {
    let mut session = dovecot.imap();
    for name in &BOXES[1..] {
        session.ok(&format!("CREATE \"{name}\""));
    }
    for number in 0..14 {
        session.append("INBOX", &[], None, &message(number));
    }
    for number in 20..24 {
        session.append("Sent", &["\\Seen"], None, &message(number));
    }
    session.select("INBOX");
    session.ok("UID COPY 2:5 Archive");
    session.ok("UID MOVE 6 Sent");
    session.ok("UID STORE 3,8 +FLAGS (\\Deleted)");
    session.ok("UID EXPUNGE 3,8");
    session.logout();
    dovecot.doveadm_mail(&["purge"], &[]);
    let mut session = dovecot.imap();
    session.select("INBOX");
    for number in 30..34 {
        session.append("INBOX", &["work"], None, &message(number));
    }
    session.ok("UID STORE 9,15 +FLAGS (\\Deleted)");
    session.ok("UID EXPUNGE 9,15");
    let all = seen(&mut session);
    session.logout();
    all
}

fn rebuild(path: &Path, words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["rebuild", "-f", "json"])
        .args(words)
        .arg(path)
        .output()
        .expect("idx can be started");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{path:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// By map UID.
type Counts = BTreeMap<u32, u32>;

/// The map UIDs with their counts, and how often the mailboxes refer to each.
fn counts(root: &Path) -> (Counts, Counts) {
    let load = |path: &Path| {
        let files = MailboxFiles::locate(path).expect("index files");
        storage::load(&files, MmapPolicy::Never).unwrap_or_else(|| panic!("{path:?} is not sound"))
    };
    let map = load(&root.join("storage/dovecot.map.index"));
    let counted =
        map.positions().map(|i| (map.uid(i), u32::from(storage::refcount(&map, i).expect("a count")))).collect();
    let mut referred = BTreeMap::new();
    for name in BOXES {
        let mailbox = load(&root.join("mailboxes").join(name).join("dbox-Mails/dovecot.index"));
        for i in mailbox.positions() {
            *referred.entry(storage::map_uid(&mailbox, i).expect("a map UID")).or_default() += 1;
        }
    }
    (counted, referred)
}

type Damage = (&'static str, fn(&Path));

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file of the map");
    edit(&mut bytes);
    fs::write(path, bytes).expect("write");
}

fn files(storage: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(storage).expect("storage").map(|entry| entry.expect("entry").path());
    entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))).collect()
}

/// What is done to a map; all of it is proven by the files and the mailboxes.
const DAMAGES: [Damage; 8] = [
    ("all files of the map gone", |storage| {
        files(storage, "dovecot.map.index").iter().for_each(|path| fs::remove_file(path).expect("remove"));
    }),
    ("the log cut in half, no index", |storage| {
        let _ = fs::remove_file(storage.join("dovecot.map.index"));
        edit(&storage.join("dovecot.map.index.log"), |bytes| bytes.truncate(bytes.len() / 2));
    }),
    ("64 zero bytes in the log, no index", |storage| {
        let _ = fs::remove_file(storage.join("dovecot.map.index"));
        edit(&storage.join("dovecot.map.index.log"), |bytes| {
            let at = bytes.len() / 3 / 4 * 4;
            bytes[at..at + 64].fill(0);
        });
    }),
    ("the log without its last 300 bytes", |storage| {
        edit(&storage.join("dovecot.map.index.log"), |bytes| bytes.truncate(bytes.len() - 300));
    }),
    ("the log without its last 9 bytes", |storage| {
        edit(&storage.join("dovecot.map.index.log"), |bytes| bytes.truncate(bytes.len() - 9));
    }),
    ("the log without its last 24 bytes", |storage| {
        edit(&storage.join("dovecot.map.index.log"), |bytes| bytes.truncate(bytes.len() - 24));
    }),
    ("the log's header zero", |storage| {
        let _ = fs::remove_file(storage.join("dovecot.map.index"));
        edit(&storage.join("dovecot.map.index.log"), |bytes| bytes[..40].fill(0));
    }),
    ("the log of the map is an empty file", |storage| {
        let _ = fs::remove_file(storage.join("dovecot.map.index"));
        fs::write(storage.join("dovecot.map.index.log"), b"").expect("write");
    }),
];

#[test]
#[ignore = "needs dovecot"]
fn a_map_comes_back_from_its_mails_and_its_mailboxes() {
    for installation in Installation::all() {
        let dovecot = Dovecot::with(installation, Format::Mdbox, &SETTINGS);
        let before = make(&dovecot);
        let storage = dovecot.mail_root().join("storage");
        let (counted, _) = counts(&dovecot.mail_root());
        assert_eq!(dovecot.error_log(), [""; 0]);
        let pristine = dovecot.snapshot(&dovecot.mail_root());
        for (name, damage) in DAMAGES {
            let what = format!("{}, {name}", dovecot.installation().version());
            dovecot.restore(&pristine, &dovecot.mail_root());
            damage(&storage);
            dovecot.give_back();
            let planned = rebuild(&storage, &["-n"]);
            let done = rebuild(&storage, &[]);
            assert_eq!(
                (&done["status"], &done["lost"]),
                (&"rebuilt".into(), &Value::Array(Vec::new())),
                "{what}: {done}"
            );
            assert_eq!((&planned["status"], &planned["actions"]), (&done["status"], &done["actions"]), "{what}");
            assert_eq!(rebuild(&storage, &[])["status"], "unchanged", "{what}");
            let (after, referred) = counts(&dovecot.mail_root());
            // What is referred to keeps its map UID, and is counted exactly; what is not waits for a purge.
            for (mail, count) in &after {
                assert_eq!(*count, referred.get(mail).copied().unwrap_or(0), "{what}: mail {mail}");
            }
            let live = |all: &Counts| all.iter().filter(|(_, n)| **n > 0).map(|(m, n)| (*m, *n)).collect::<Vec<_>>();
            assert_eq!(live(&after), live(&counted), "{what}");
            assert_eq!(after.len(), counted.len(), "{what}: mails that are expunged and not purged");
            // The server: as before, and not a line.
            let mut session = dovecot.imap();
            assert_eq!(seen(&mut session), before, "{what}");
            session.select("INBOX");
            let fresh = session.append("INBOX", &[], None, &message(99)).append_uid();
            session.ok("UID COPY 2 Sent");
            session.ok(&format!("UID STORE 4,{} +FLAGS (\\Deleted)", fresh.expect("UIDPLUS")));
            session.ok("EXPUNGE");
            session.logout();
            let newest = counts(&dovecot.mail_root()).0.into_keys().max();
            assert!(newest > after.keys().max().copied(), "{what}: a map UID is given twice");
            let size = |storage: &Path| -> u64 {
                files(storage, "m.").iter().map(|path| path.metadata().expect("metadata").len()).sum()
            };
            let full = size(&storage);
            dovecot.doveadm_mail(&["purge"], &[]);
            assert!(size(&storage) < full, "{what}: nothing was purged");
            let (purged, referred) = counts(&dovecot.mail_root());
            assert_eq!(purged, referred, "{what}: after the purge");
            let mut session = dovecot.imap();
            let after = seen(&mut session);
            // The copy of the mail that INBOX expunged is still there.
            assert_eq!(after["Archive"], before["Archive"], "{what}");
            session.logout();
            assert_eq!(dovecot.error_log(), [""; 0], "{what}");
        }
    }
}

#[test]
#[ignore = "needs dovecot"]
fn what_speaks_against_a_map_is_said() {
    for installation in Installation::all() {
        let dovecot = Dovecot::with(installation, Format::Mdbox, &SETTINGS);
        make(&dovecot);
        let root = dovecot.mail_root();
        let storage = root.join("storage");
        let pristine = dovecot.snapshot(&root);
        let reason = |done: &Value| done["reason"].as_str().unwrap_or_default().to_owned();
        let without_map =
            || files(&storage, "dovecot.map.index").iter().for_each(|path| fs::remove_file(path).expect("remove"));
        // A mailbox that cannot be read may refer to any mail.
        without_map();
        let index = root.join("mailboxes/Archive/dbox-Mails/dovecot.index.log");
        edit(&index, |bytes| bytes[..16].fill(0));
        let done = rebuild(&storage, &["--accept-loss"]);
        assert_eq!(done["status"], "refused", "{done}");
        assert!(reason(&done).contains("Archive") && reason(&done).contains("rebuild it first"), "{done}");
        // Alternate storage that is away has mails of which nothing else tells.
        dovecot.restore(&pristine, &root);
        without_map();
        std::os::unix::fs::symlink("/nonexistent/alt", root.join("dbox-alt-root")).expect("link");
        let done = rebuild(&storage, &["--accept-loss"]);
        assert_eq!(done["status"], "refused", "{done}");
        assert!(reason(&done).contains("alternate storage"), "{done}");
        fs::remove_file(root.join("dbox-alt-root")).expect("remove");
        // The map is sound: what a missing file holds is no business of the map's.
        dovecot.restore(&pristine, &root);
        fs::remove_file(files(&storage, "m.").first().expect("a file")).expect("remove");
        let before = counts(&dovecot.mail_root()).0;
        rebuild(&storage, &[]);
        assert_eq!(counts(&dovecot.mail_root()).0, before);
        assert_eq!(dovecot.error_log(), [""; 0]);
    }
}

/// A handful of `tools/nights`, whose whole table is in docs/evidence/nights.md.
#[test]
#[ignore = "needs dovecot"]
fn a_handful_of_bad_nights() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/nights");
    let output = Command::new(script)
        .args(["--only", "2,8", "--format", "mbox,mdbox", "--show"])
        .env("IDX", env!("CARGO_BIN_EXE_idx"))
        .output()
        .expect("tools/nights can be started");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
