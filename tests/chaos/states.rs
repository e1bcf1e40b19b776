//! Mailboxes driven through several states by a real Dovecot, and recorded as the fixtures are: files, answers, and the
//! index files as they were half-way.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::ROLES;
use crate::server::quietly;
use crate::support::dovecot::{Dovecot, Format, Installation, copy_tree};
use crate::support::workload::{ROTATE_NEVER, ROTATE_OFTEN, Workload};

/// The states, each with the settings that it needs.
const STATES: [(&str, &[(&str, &str)]); 8] = [
    ("fresh", &ROTATE_NEVER),
    ("rotated", &ROTATE_OFTEN),
    ("expunged", &[]),
    ("moved", &ROTATE_OFTEN),
    ("fsck", &[]),
    ("optimised", &ROTATE_OFTEN),
    ("backup", &ROTATE_OFTEN),
    ("busy", &ROTATE_NEVER),
];

/// Drives them and writes what is recorded below `to`, unless it is there.
pub fn record(to: &Path) {
    for installation in Installation::all() {
        for format in Format::ALL {
            for (i, (state, settings)) in STATES.into_iter().enumerate() {
                let name = format!("{}-{}-{state}", installation.version(), format.name());
                if to.join(&name).exists() {
                    continue;
                }
                // A 2.3 now and then dies of a FETCH (`istream-header-filter.c`): then another history is driven.
                let attempt = |seed: u64| {
                    let dovecot = Dovecot::with(installation.clone(), format, settings);
                    let earlier = quietly(|| drive(&dovecot, state, seed))?;
                    Some((dovecot, earlier))
                };
                let (dovecot, earlier) = (0..5).find_map(|more| attempt(7 + i as u64 + 50 * more)).expect("a history");
                let half = to.join(format!("{name}.half"));
                let _ = fs::remove_dir_all(&half);
                fs::create_dir_all(&half).expect("directory");
                write(&dovecot, &half, &earlier);
                fs::rename(&half, to.join(&name)).expect("name");
            }
        }
    }
}

/// Makes a mailbox; returns a copy of its index files as they were half-way.
fn drive(dovecot: &Dovecot, state: &str, seed: u64) -> PathBuf {
    let rounds = match state {
        "fresh" => [6, 8],
        "rotated" => [90, 120],
        _ => [40, 60],
    };
    let index = dovecot.index_dir("INBOX");
    Workload::new(seed).operations(rounds[0]).run(dovecot);
    let earlier = dovecot.snapshot(&index);
    Workload::new(seed + 100).operations(rounds[1]).run(dovecot);
    let resync = || dovecot.doveadm_mail(&["force-resync"], &["INBOX"]);
    match state {
        "expunged" => {
            let mut session = dovecot.qresync();
            session.select("INBOX");
            session.ok("STORE 2:* +FLAGS.SILENT (\\Deleted)");
            session.ok("EXPUNGE");
            session.logout();
        }
        "moved" => {
            let mut session = dovecot.qresync();
            let _ = session.cmd("CREATE Elsewhere");
            let selected = session.select("INBOX");
            if selected.exists > 4 {
                session.ok("MOVE 2:4 Elsewhere");
                session.ok("CLOSE");
                session.select("Elsewhere");
                session.ok("MOVE 1:2 INBOX");
            }
            session.logout();
        }
        "fsck" => {
            resync();
            Workload::new(seed + 200).operations(10).run(dovecot);
        }
        "optimised" => {
            dovecot.doveadm_mail(&["index"], &["INBOX"]);
            if dovecot.format() == Format::Mdbox {
                dovecot.doveadm_mail(&["purge"], &[]);
            }
            let _ = dovecot.try_doveadm(&["mailbox", "cache", "purge", "INBOX"]);
        }
        "backup" => {
            // A dbox keeps the index as it was when it is written anew.
            resync();
            Workload::new(seed + 200).operations(60).run(dovecot);
        }
        _ => {}
    }
    earlier
}

fn write(dovecot: &Dovecot, to: &Path, earlier: &Path) {
    let home = dovecot.home();
    let mut session = dovecot.qresync();
    let list = session.ok("LIST \"\" *");
    let names = list.lines.iter().filter_map(|line| line.rsplit(' ').next()).map(|name| name.trim_matches('"'));
    let names: Vec<String> = names.map(str::to_owned).collect();
    // What opening them changes is to be changed before anything is recorded.
    for name in &names {
        session.select(name);
    }
    session.ok("CLOSE");
    for name in &names {
        let state = session.state(name);
        let dir = dovecot.index_dir(name);
        let messages: Vec<_> = state
            .messages
            .iter()
            .map(|one| {
                let flags: Vec<_> = one.flags.iter().chain(&one.keywords).collect();
                json!({ "uid": one.uid, "flags": flags, "modseq": one.modseq })
            })
            .collect();
        let answer = json!({
            "mailbox": name,
            "index_dir": dir.strip_prefix(&home).expect("below the home"),
            "uidvalidity": state.selected.uid_validity,
            "uidnext": state.selected.next_uid,
            "highestmodseq": state.selected.highest_modseq,
            "messages": messages,
        });
        let path = to.join(format!("imap-{}.json", name.replace('/', "%")));
        fs::write(path, serde_json::to_vec_pretty(&answer).expect("JSON")).expect("answer");
    }
    session.logout();
    copy_tree(&home, &to.join("files")).expect("files");
    fs::create_dir(to.join("earlier-INBOX")).expect("directory");
    for role in ROLES.into_iter().filter(|role| earlier.join(role).exists()) {
        fs::copy(earlier.join(role), to.join("earlier-INBOX").join(role)).expect("copy");
    }
}
