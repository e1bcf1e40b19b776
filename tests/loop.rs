//! What `check` finds and promises a rebuild for is gone after the rebuild: no remedy is offered twice.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::fixtures;

fn idx(args: &[&str], path: &Path) -> (i32, Value) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_idx")).args(args).args(["-f", "json"]).arg(path).output().expect("runs");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap_or(-1), document)
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

/// An old copy of a recorded Maildir with two logs, an index and a cache.
fn mailbox() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("a directory");
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
    for (path, bytes) in files(&fixtures().join("2.3.19.1-maildir-chain/files/Maildir")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("dovecot.index") {
            let copy = temp.path().join(name);
            fs::write(&copy, bytes).expect("a copy");
            fs::File::options().write(true).open(&copy).expect("a copy").set_times(old).expect("a time");
        }
    }
    temp
}

/// What is left that a rebuild is promised for, and errors in files that a rebuild answers for.
fn left(dir: &Path) -> Vec<String> {
    let (_, found) = idx(&["check"], dir);
    let list = found["findings"].as_array().cloned().unwrap_or_default();
    let promised = |one: &Value| one["fix"].as_str().is_some_and(|fix| fix.starts_with("idx rebuild"));
    list.iter().filter(|one| promised(one)).map(|one| format!("{} {}", one["code"], one["message"])).collect()
}

/// Holds the law for a mailbox; `what` says how it was damaged. True when there was something to mend.
fn holds(dir: &Path, what: &str) -> bool {
    let before = left(dir);
    let dry = idx(&["rebuild", "-n", "--accept-loss"], dir).1;
    let unharmed = files(dir);
    let (code, report) = idx(&["rebuild", "--accept-loss"], dir);
    assert_eq!(
        (&dry["status"], &dry["actions"], &dry["lost"]),
        (&report["status"], &report["actions"], &report["lost"]),
        "{what}"
    );
    if code == 2 {
        assert_eq!(report["status"], "refused", "{what}: {report}");
        assert!(files(dir) == unharmed, "{what}: refused, and yet something was written");
        return true;
    }
    assert!(before.is_empty() || report["status"] == "rebuilt", "{what}: {before:?}, but {report}");
    assert_eq!(left(dir), Vec::<String>::new(), "{what}: after {report}");
    let (code, again) = idx(&["rebuild"], dir);
    assert_eq!((code, again["status"].as_str()), (0, Some("unchanged")), "{what}: {again} after {report}");
    report["status"] == "rebuilt"
}

/// One bit of index or log, chosen by a small generator with a fixed seed.
#[test]
fn a_flipped_bit_is_mended_once_and_for_all() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let mut mended = 0;
    for round in 0..48 {
        let temp = mailbox();
        let name = ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2"][round % 3];
        let path = temp.path().join(name);
        let mut bytes = fs::read(&path).expect("a file");
        // Half of them in the headers, where most is at stake.
        let at = if round % 2 == 0 { next(bytes.len().min(160)) } else { next(bytes.len()) };
        let bit = next(8);
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).expect("written");
        let old =
            fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000));
        fs::File::options().write(true).open(&path).expect("a file").set_times(old).expect("a time");
        mended += usize::from(holds(temp.path(), &format!("{name} byte {at} bit {bit}")));
    }
    assert!(mended > 0);
}

/// Makes everything below a directory old enough that nobody can be at work on it.
fn age(dir: &Path) {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for path in support::all_below(dir).into_iter().filter(|path| path.is_file()) {
        let file = fs::File::options().append(true).open(&path).expect("a file");
        if file.metadata().and_then(|meta| meta.modified()).expect("a time") > old {
            file.set_modified(old).expect("a time");
        }
    }
}

/// Types every fix that `check` offers for what is below a directory into a shell, each in a fresh copy that `make` makes:
/// it ends with 0, and its findings are gone. Every other finding has an advice. Returns how many fixes there were.
fn fixes_hold(name: &str, make: &dyn Fn(&Path), wrong: &mut Vec<String>) -> usize {
    let temp = tempfile::tempdir().expect("a directory");
    let home = temp.path().join("home");
    let fresh = || {
        let _ = fs::remove_dir_all(&home);
        make(&home);
        age(&home);
    };
    let mut tried = 0;
    let deep = ["check", "--deep"];
    fresh();
    let found = idx(&deep, &home).1;
    let mut fixes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for one in found["findings"].as_array().expect("findings") {
        if one["fix"].is_null() && one["advice"].is_null() {
            wrong.push(format!("{name}: {} has neither fix nor advice: {}", one["code"], one["message"]));
        }
        if let Some(fix) = one["fix"].as_str() {
            fixes.entry(fix.to_owned()).or_default().push((text(&one["code"]), text(&one["file"])));
        }
    }
    for (fix, of) in fixes {
        fresh();
        let command = fix.replacen("idx ", concat!(env!("CARGO_BIN_EXE_idx"), " "), 1);
        let done = Command::new("sh").arg("-c").arg(&command).output().expect("a shell");
        age(&home);
        let after = idx(&deep, &home).1;
        let is_left =
            |one: &&Value| one["severity"] != "info" && of.contains(&(text(&one["code"]), text(&one["file"])));
        let left = after["findings"].as_array().expect("findings").iter().find(is_left);
        if !done.status.success() || left.is_some() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            wrong.push(format!("{name}: {fix} for {of:?}: {}, {left:?} {said}", done.status));
        }
        tried += 1;
    }
    tried
}

/// In the judged mailboxes.
#[test]
#[ignore = "needs root: files of the cases belong to several users"]
fn every_fix_does_what_it_promises() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for entry in fs::read_dir(support::fixtures().join("cases")).expect("cases").flatten() {
        let archive = entry.path().join("files.tar.xz");
        if !archive.is_file() {
            continue;
        }
        let unpack = |home: &Path| {
            fs::create_dir(home).expect("a directory");
            let mut tar = Command::new("tar");
            tar.arg("-xJf").arg(&archive).args(["--no-same-owner", "-C"]).arg(home);
            assert!(tar.status().expect("tar").success());
        };
        tried += fixes_hold(&entry.file_name().to_string_lossy(), &unpack, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 30, "{tried} fixes");
}

#[test]
#[ignore = "needs the corpus: set IDX_CORPUS"]
fn every_fix_in_the_corpus_does_what_it_promises() {
    let broken = PathBuf::from(std::env::var_os("IDX_CORPUS").expect("IDX_CORPUS")).join("broken");
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for entry in fs::read_dir(broken).expect("the corpus").flatten().filter(|entry| entry.path().is_dir()) {
        let copy = |home: &Path| support::dovecot::copy_tree(&entry.path(), home).expect("a copy");
        tried += fixes_hold(&entry.file_name().to_string_lossy(), &copy, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried} fixes");
}
