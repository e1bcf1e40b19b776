//! Where expunged mails are now, asked of real servers: what a client moved or copied to another mailbox is found there,
//! and what was really deleted is nowhere.

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::dovecot::{Dovecot, Format, Installation};

/// Where `idx expunges` says that the mails of a mailbox are, by UID there.
fn moved_to(dovecot: &Dovecot, mailbox: &str) -> BTreeMap<u64, Option<(String, u64)>> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_idx"))
        .args(["expunges", "-f", "json"])
        .arg(dovecot.index_dir(mailbox))
        .output()
        .expect("idx runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let place = |one: &Value| Some((one["mailbox"].as_str()?.to_owned(), one["uid"].as_u64()?));
    let list = answer["expunges"].as_array().expect("a list").iter();
    list.map(|one| (one["uid"].as_u64().expect("a UID"), place(&one["moved_to"]))).collect()
}

#[test]
#[ignore = "needs dovecot"]
fn what_was_moved_is_found_where_the_server_has_it() {
    for installation in Installation::all() {
        // Servers log no GUID of what they expunge from an sdbox, and an mbox has none that lasts.
        for format in [Format::Maildir, Format::Mdbox] {
            let dovecot = Dovecot::with(installation.clone(), format, &[]);
            let mut session = dovecot.imap();
            ["CREATE Trash", "CREATE \"Old &- new\""].iter().for_each(|command| _ = session.ok(command));
            for i in 0..6 {
                session.append("INBOX", &[], None, format!("Subject: mail {i}\r\n\r\ntext {i}\r\n").as_bytes());
            }
            // Another mail is in the way, so that UIDs differ.
            session.append("Trash", &[], None, b"Subject: other\r\n\r\nother\r\n");
            session.select("INBOX");
            let mut wanted = BTreeMap::from([(4, None)]);
            let moves = [("UID MOVE 2 Trash", "Trash"), ("UID COPY 3 \"Old &- new\"", "Old & new")];
            for (command, mailbox) in moves.into_iter().chain([("UID MOVE 6 Trash", "Trash")]) {
                let pairs = session.ok(command).copy_uids();
                assert_eq!(pairs.len(), 1, "{command}");
                wanted.extend(
                    pairs.iter().map(|(from, to)| (u64::from(*from), Some((mailbox.to_owned(), u64::from(*to))))),
                );
            }
            session.ok("UID STORE 3:4 +FLAGS (\\Deleted)");
            session.ok("EXPUNGE");
            session.logout();
            let place = format!("{} {}", installation.version(), format.name());
            assert_eq!(moved_to(&dovecot, "INBOX"), wanted, "{place}");
        }
    }
}
