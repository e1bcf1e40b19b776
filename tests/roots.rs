//! `--mail-location`: mail, indexes and control files in roots that do not lie beside each other, told in Dovecot's own words of
//! 2.3 and of 2.4. Without it such a storage is not found, which is said; with it, what is missing there is a finding.

mod support;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::fixtures;

/// A storage whose parts have been carried apart: mail in `v/USER/store`, indexes in `i/USER`, control files in `c/USER`,
/// alternate storage in `a/USER`.
struct Apart {
    home: tempfile::TempDir,
    driver: &'static str,
}

impl Apart {
    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn new(driver: &'static str, fixture: &str) -> Apart {
        let apart = Apart { home: tempfile::tempdir().expect("directory"), driver };
        copy(&fixtures().join(fixture), &apart.at("v/ann/store"));
        for dir in ["i/ann", "c/ann", "a/ann"] {
            fs::create_dir_all(apart.at(dir)).expect("directory");
        }
        apart
    }

    /// Carries the files that `wanted` picks to another root, each to where `place` says.
    fn carry(&self, root: &str, wanted: impl Fn(&str) -> bool, place: impl Fn(&str) -> String) {
        let from = self.at("v/ann/store");
        for path in support::all_below(&from) {
            let below = path.strip_prefix(&from).expect("below").to_str().expect("UTF-8").to_owned();
            if path.is_file() && wanted(&below) {
                let to = self.at(root).join("ann").join(place(&below));
                fs::create_dir_all(to.parent().expect("a directory")).expect("directory");
                fs::rename(&path, to).expect("carried");
            }
        }
    }

    /// Both spellings of the place.
    fn told(&self) -> [String; 2] {
        let [v, i, c, a] = ["v", "i", "c", "a"].map(|root| self.at(root).display().to_string());
        let driver = self.driver;
        [
            format!("{driver}:{v}/%u/store:INDEX={i}/%u:CONTROL={c}/%u:ALT={a}/%u:VOLATILEDIR=/run/%u"),
            format!(
                "mail_driver = {driver}\nmail_path = {v}/%{{user}}/store\nmail_index_path = {i}/%{{user}}\n\
                 mail_control_path = {c}/%{{user}}\nmail_alt_path = {a}/%{{user}}"
            ),
        ]
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("fixture").flatten() {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => _ = fs::copy(entry.path(), to.join(entry.file_name())).expect("copy"),
        }
    }
}

fn idx(args: &[&str], path: &Path) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
    let output = command.args(args).args(["-f", "json"]).arg(path).output().expect("idx runs");
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The codes of findings, and what was not compared.
fn said(report: &Value) -> (Vec<String>, Vec<String>) {
    let list = |key: &str, field: &str| -> Vec<String> {
        let items = report[key].as_array().into_iter().flatten();
        items.map(|one| one[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    (list("findings", "code"), list("not_compared", "what"))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A Maildir++ whose INBOX has its indexes in `i/ann/.INBOX` and its uidlist in `c/ann/.INBOX`, as Dovecot puts them.
fn maildir() -> Apart {
    let apart = Apart::new("maildir", "2.3.19.1-maildir-fresh/files/Maildir");
    apart.carry("i", |path| name(path).starts_with("dovecot.index"), |path| format!(".INBOX/{}", name(path)));
    apart.carry("c", |path| name(path).starts_with("dovecot-uidvalidity"), |path| name(path).to_owned());
    apart.carry("c", |path| name(path).starts_with("dovecot-"), |path| format!(".INBOX/{}", name(path)));
    apart
}

/// An sdbox with `mailboxes/NAME` for the indexes and `mailboxes/NAME/dbox-Mails` for the mails.
fn sdbox() -> Apart {
    let apart = Apart::new("sdbox", "2.3.19.1-sdbox-fresh/files/sdbox");
    let index = |path: &str| name(path).starts_with("dovecot.index");
    apart.carry("i", index, |path| path.replace("/dbox-Mails", ""));
    apart
}

#[test]
fn a_storage_elsewhere_is_found_where_the_caller_says() {
    for (apart, mail, code) in [(maildir(), "v/ann/store/cur", "D2"), (sdbox(), "v/ann/store/mailboxes", "D6")] {
        let indexes = apart.at("i");
        let (status, report, stderr) = idx(&["check", "--deep"], &indexes);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(said(&report).1.contains(&"mail storage".into()), "{}: {report}", apart.driver);
        for told in apart.told() {
            let (status, report, stderr) = idx(&["check", "--deep", "--mail-location", &told], &indexes);
            assert_eq!(status, Some(0), "{told}: {report} {stderr}");
            let (findings, not_compared) = said(&report);
            assert!(!not_compared.contains(&"mail storage".into()), "{told}: {report}");
            assert!(!findings.iter().any(|found| found.starts_with('D')), "{told}: {report}");
            // Named by its mail root it is the same mailbox.
            let root = idx(&["check", "--deep", "--mail-location", &told], &apart.at("v/ann/store")).1;
            assert_eq!(root["summary"]["mailboxes"], report["summary"]["mailboxes"], "{told}");
        }
        // A mail that is gone is missed now, and without the word it is not.
        let gone = support::all_below(&apart.at(mail)).into_iter().find(|path| {
            path.is_file() && (apart.driver == "maildir" || name(path.to_str().expect("UTF-8")).starts_with("u."))
        });
        fs::remove_file(gone.expect("a mail")).expect("removed");
        assert!(said(&idx(&["check", "--deep"], &indexes).1).0.iter().all(|found| !found.starts_with('D')));
        for told in apart.told() {
            let report = idx(&["check", "--deep", "--mail-location", &told], &indexes).1;
            assert!(said(&report).0.iter().any(|found| found == code), "{told}: {report}");
        }
    }
}

/// Mails in the alternate storage, which no link tells of.
#[test]
fn the_alternate_storage_is_where_the_caller_says() {
    let apart = sdbox();
    apart.carry("a", |path| name(path) == "u.1", str::to_owned);
    let [told, _] = apart.told();
    let report = idx(&["check", "--deep", "--mail-location", &told], &apart.at("i")).1;
    assert!(!said(&report).0.iter().any(|found| found.starts_with('D')), "{report}");
    let without = told.replace(&format!(":ALT={}/%u", apart.at("a").display()), "");
    let report = idx(&["check", "--deep", "--mail-location", &without], &apart.at("i")).1;
    assert!(said(&report).0.iter().any(|found| found == "D6"), "{report}");
}

/// A rebuild without index and without log has the storage to go by, wherever it is, and writes beside the indexes only.
#[test]
fn a_rebuild_goes_by_the_storage_that_was_told_of() {
    let apart = maildir();
    let index = apart.at("i/ann/.INBOX");
    let (_, state, _) = idx(&["show"], &index);
    for name in ["dovecot.index.log", "dovecot.index", "dovecot.index.log.2"] {
        let _ = fs::remove_file(index.join(name));
    }
    let before = support::all_below(&apart.at("v"));
    let [told, _] = apart.told();
    let (status, report, stderr) = idx(&["rebuild", "--accept-loss", "--mail-location", &told], &index);
    assert_eq!(status, Some(1), "{report} {stderr}");
    let (_, rebuilt, _) = idx(&["show"], &index);
    assert_eq!(rebuilt["messages_count"], state["messages_count"], "{report}");
    assert_eq!(rebuilt["uid_validity"], state["uid_validity"]);
    assert_eq!(support::all_below(&apart.at("v")), before);
}

/// The names in the caller's path may be a user's: what he turns into a link leads root to nothing of others.
#[test]
fn a_root_that_was_told_of_is_the_same_owners() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let apart = maildir();
    for path in support::all_below(apart.home.path()) {
        chown(&path, Some(54_321), Some(54_321)).expect("owner");
    }
    let [told, _] = apart.told();
    let run = || idx(&["check", "--deep", "--mail-location", &told], &apart.at("i")).1;
    assert!(said(&run()).1.is_empty());
    // His own link is his own mail; another's is not gone to.
    fs::rename(apart.at("v/ann/store"), apart.at("elsewhere")).expect("moved");
    symlink(apart.at("elsewhere"), apart.at("v/ann/store")).expect("link");
    assert!(said(&run()).1.is_empty());
    chown(apart.at("elsewhere"), Some(54_322), Some(54_322)).expect("owner");
    chown(apart.at("elsewhere/cur"), Some(54_322), Some(54_322)).expect("owner");
    fs::remove_dir_all(apart.at("elsewhere/cur")).expect("mails");
    assert!(!said(&run()).0.iter().any(|found| found == "D2"));
}

#[test]
fn what_is_no_location_is_answered() {
    for (text, word) in [("maildir", "DRIVER:PATH"), ("maildir:/m:INDEX=MEMORY", "no index files"), ("x:/m", "maildir")]
    {
        let (status, _, stderr) = idx(&["check", "--mail-location", text], Path::new("/nowhere"));
        assert_eq!(status, Some(2));
        assert!(stderr.contains(word) && stderr.contains("--mail-location"), "{stderr}");
    }
}
