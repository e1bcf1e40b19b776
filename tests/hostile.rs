//! Root works on directories that other people own. Each test is such a person: what stands for the files of others lies below
//! a directory of its own, and must come out as it was. Without root there is nobody to attack, and the tests pass.

mod support;

/// Every entry of the list of what was done to the first edition, the test that holds it, and the test of something else
/// of its kind, which no list has. `program::test`; `every_threat_has_its_tests` finds them.
const THREATS: [(&str, &str, &str, &str); 42] = [
    (
        "A1",
        "undo writes through a link",
        "hostile::undo_writes_to_no_file_that_a_link_leads_to",
        "hostile::no_verb_is_led_out_of_a_users_directory",
    ),
    (
        "A2",
        "rebuild hands out what only root reads",
        "hostile::rebuild_hands_out_nothing_that_the_owner_cannot_read",
        "hostile::no_verb_is_led_out_of_a_users_directory",
    ),
    (
        "A3",
        "a directory is exchanged",
        "hostile::a_directory_that_is_exchanged_meanwhile_is_not_the_one_that_was_opened",
        "hostile::what_was_opened_stays_whatever_becomes_of_its_path",
    ),
    (
        "A4",
        "the manifest decides",
        "hostile::what_is_written_belongs_to_the_owner_of_the_mailbox",
        "hostile::a_manifest_names_the_files_of_its_index_and_nothing_else",
    ),
    (
        "A5",
        "-o DIR is somebody's",
        "hostile::another_directory_is_new_or_the_callers",
        "hostile::outputs_replace_nothing_but_files_of_the_caller",
    ),
    (
        "A6",
        "an undo file announces",
        "hostile::an_undo_file_takes_no_more_memory_than_it_has_bytes",
        "limits::holes_take_no_memory",
    ),
    (
        "A7",
        "locks that wait",
        "hostile::nothing_is_waited_for_beyond_the_time_given",
        "manners::a_hostile_name_of_a_lock_holder",
    ),
    (
        "B1",
        "a live server between renames",
        "hostile::the_new_log_is_locked_until_the_index_is_in_place",
        "gaps::a_session_in_each_gap_keeps_what_it_was_told",
    ),
    (
        "B2",
        "no log, no lock",
        "hostile::a_missing_log_is_locked_by_the_name_of_the_next",
        "hostile::two_rebuilds_at_once",
    ),
    (
        "B3",
        "done, and told as not done",
        "manners::full_and_closed_streams",
        "gaps::no_gap_leaves_half_a_change_without_a_log_or_in_undo",
    ),
    (
        "B4",
        "a complaint for ever",
        "check::the_fix_of_each_finding_silences_it",
        "loop::a_flipped_bit_is_mended_once_and_for_all",
    ),
    (
        "C1",
        "a mapping is cut",
        "race::a_file_that_is_cut_while_it_is_read_kills_nobody",
        "race::a_set_of_files_is_one_state_however_often_they_are_replaced",
    ),
    (
        "C2",
        "a FIFO stops the run",
        "hostile::no_verb_is_led_out_of_a_users_directory",
        "hostile::what_is_no_file_is_said",
    ),
    ("C3", "pairs of extensions", "torture::hostile_extensions_in_indexes", "torture::hostile_extensions_in_logs"),
    ("C4", "holes", "limits::holes_take_no_memory", "hostile::a_hollow_witness_takes_no_memory"),
    (
        "C5",
        "devices behind links",
        "hostile::no_verb_is_led_out_of_a_users_directory",
        "hostile::what_is_no_file_is_said",
    ),
    (
        "C6",
        "sleeping for files from the future",
        "hostile::nobody_makes_a_run_sleep",
        "check::a_torn_end_is_no_damage_while_it_is_young",
    ),
    (
        "C7",
        "--deep lists again and again",
        "hostile::deep_lists_each_directory_once",
        "hostile::a_directory_that_turns_into_a_link_leads_nowhere",
    ),
    ("C8", "stderr that cannot be written", "manners::full_and_closed_streams", "manners::a_closed_pipe_ends_quietly"),
    ("C9", "no thread", "limits::no_thread_is_needed", "limits::few_descriptors_are_enough"),
    ("C10", "few descriptors", "limits::few_descriptors_are_enough", "scan::deep_trees_and_many_threads"),
    (
        "C11",
        "no regular file at all",
        "hostile::what_is_no_file_is_said",
        "hostile::no_verb_is_led_out_of_a_users_directory",
    ),
    (
        "C12",
        "mount points",
        "hostile::mounts_are_crossed_when_asked_for",
        "scan::links_are_not_followed_and_no_timestamp_moves",
    ),
    ("D1", "expunges of all UIDs", "torture::hostile_uid_ranges", "torture::hostile_record_counts_in_logs"),
    ("D2", "one chain of cache records", "limits::many_records", "torture::hostile_caches"),
    ("D3", "empty records", "torture::hostile_record_counts_in_logs", "torture::hostile_sizes_in_logs"),
    (
        "D4",
        "boundaries beyond the end",
        "torture::hostile_search_for_records_behind_damage",
        "torture::a_large_log_is_read_on_behind_damage",
    ),
    ("D5", "updates of everything", "torture::hostile_uid_ranges", "torture::hostile_keywords_in_logs"),
    ("D6", "ranges in one record", "torture::hostile_uid_ranges", "history::complaints_about_one_file_are_cut_short"),
    ("D7", "transcripts", "limits::many_lines_of_a_transcript", "qresync::what_a_session_has_wrong_is_named"),
    ("D8", "modseqs at their end", "torture::hostile_sizes_in_indexes", "qresync::every_modseq_of_random_histories"),
    ("D9", "a name that is no text", "manners::hostile_names_of_directories", "manners::hostile_names_in_files"),
    ("E1", "names on stderr and stdout", "manners::hostile_names_of_directories", "manners::hostile_names_in_files"),
    (
        "E2",
        "names of lock holders",
        "manners::a_hostile_name_of_a_lock_holder",
        "hostile::nothing_is_waited_for_beyond_the_time_given",
    ),
    (
        "F1",
        "--prometheus, --plot, man",
        "hostile::outputs_replace_nothing_but_files_of_the_caller",
        "hostile::another_directory_is_new_or_the_callers",
    ),
    (
        "F2",
        "signals and limits of size",
        "hostile::signals_do_not_tear_a_commit",
        "gaps::no_gap_leaves_half_a_change_without_a_log_or_in_undo",
    ),
    (
        "F3",
        "links, FIFOs and files of others where something is written",
        "hostile::outputs_in_directories_of_others",
        "hostile::a_journal_is_nobody_elses",
    ),
    (
        "S0",
        "rights that a mode does not show",
        "hostile::access_lists_are_kept_and_grant_nothing_new",
        "hostile::what_nobody_may_change_is_not_changed",
    ),
    (
        "B5",
        "a second idx",
        "gaps::one_of_two_that_is_stopped_anywhere_harms_nobody",
        "gaps::signals_at_each_call_of_a_commit",
    ),
    (
        "S1",
        "an undo file of another mailbox",
        "hostile::an_undo_file_of_another_mailbox_is_none_of_this_one",
        "hostile::a_manifest_names_the_files_of_its_index_and_nothing_else",
    ),
    (
        "S2",
        "directories where files are to be",
        "hostile::directories_in_the_place_of_files",
        "hostile::what_is_no_file_is_said",
    ),
    (
        "S3",
        "a root that was told of is exchanged",
        "roots::a_root_that_was_told_of_is_the_same_owners",
        "hostile::what_was_opened_stays_whatever_becomes_of_its_path",
    ),
];

use std::fs::{self, FileTimes};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, RenameFlags, mknodat, renameat_with};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::fixtures;

const INDEX: &str = "dovecot.index";
const LOG: &str = "dovecot.index.log";
const UNDO: &str = "dovecot.index.idx-undo";
/// The person who owns the mailbox, and another.
const USER: u32 = 54_321;
const OTHER: u32 = 54_322;
const SECRET: &[u8] = b"root:$6$a secret that only root may read\n";

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory with a mailbox of [`USER`] in it and room for what belongs to others.
struct Spool(tempfile::TempDir);

impl Spool {
    fn new() -> Spool {
        let temp = tempfile::tempdir().expect("directory");
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let spool = Spool(temp);
        spool.mailbox("box", USER);
        fs::write(spool.at("secret"), SECRET).expect("secret");
        fs::set_permissions(spool.at("secret"), fs::Permissions::from_mode(0o600)).expect("mode");
        spool
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn of(&self, name: &str) -> PathBuf {
        self.at("box").join(name)
    }

    fn mailbox(&self, name: &str, owner: u32) -> PathBuf {
        let dir = self.at(name);
        fs::create_dir(&dir).expect("directory");
        let from = fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
        let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        for name in [INDEX, LOG, "dovecot.index.log.2", "dovecot.index.cache"] {
            let path = dir.join(name);
            fs::write(&path, fs::read(from.join(name)).expect("a fixture")).expect("copy");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
            fs::File::options().write(true).open(&path).expect("copy").set_times(old).expect("time");
            chown(&path, Some(owner), Some(owner)).expect("chown");
        }
        chown(&dir, Some(owner), Some(owner)).expect("chown");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("mode");
        dir
    }

    /// Damages the index, so that there is something to rebuild.
    fn damage(&self) {
        let path = self.of(INDEX);
        let bytes = fs::read(&path).expect("index");
        fs::write(&path, &bytes[..60]).expect("index");
    }

    /// Puts something of the user's in the place of a file.
    fn replace(&self, name: &str, make: impl FnOnce(&Path)) {
        let path = self.of(name);
        let _ = fs::remove_file(&path);
        make(&path);
        rustix::fs::chownat(
            CWD,
            &path,
            Some(rustix::fs::Uid::from_raw(USER)),
            Some(rustix::fs::Gid::from_raw(USER)),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .expect("chown");
    }

    /// Writes an undo file as the user could.
    fn forge(&self, manifest: &Value, saved: &[(&str, &[u8])]) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, bytes).expect("appended");
        };
        add("manifest.json", manifest.to_string().as_bytes());
        saved.iter().for_each(|(name, bytes)| add(name, bytes));
        let bytes = tar.into_inner().expect("a tar");
        self.replace(UNDO, |path| fs::write(path, bytes).expect("undo file"));
    }

    fn secret_is_untouched(&self) {
        assert_eq!(fs::read(self.at("secret")).expect("secret"), SECRET);
        assert_eq!(fs::metadata(self.at("secret")).expect("secret").uid(), 0);
    }

    /// No file that the user can read holds the secret.
    fn secret_is_kept(&self) {
        for entry in fs::read_dir(self.at("box")).expect("directory") {
            let path = entry.expect("entry").path();
            if !path.is_symlink() && path.is_file() && fs::metadata(&path).expect("file").uid() == USER {
                let bytes = fs::read(&path).expect("bytes");
                assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET), "{}", path.display());
            }
        }
    }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn saved(bytes: &[u8]) -> Value {
    let zero = json!({"mode": 0o777, "uid": 0, "gid": 0, "mtime": 0, "mtime_nsec": 0});
    let mut value = zero;
    value["size"] = bytes.len().into();
    value["sha256"] = sum(bytes).into();
    value
}

fn manifest(files: Value, untouched: Value) -> Value {
    json!({"schema": "idx.undo-manifest/1", "created": "2026-01-01T00:00:00Z", "why": ["x"], "files": files,
           "untouched": untouched})
}

/// Runs idx, and gives up on it where it would wait for ever.
fn idx(args: &[&str], path: &Path) -> (i32, Value, String) {
    let mut command = Command::new("timeout");
    command.arg("120").arg(env!("CARGO_BIN_EXE_idx")).args(args).args(["--format", "json"]).arg(path);
    answer(&command.stdin(Stdio::null()).output().expect("idx runs"))
}

fn answer(output: &Output) -> (i32, Value, String) {
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("FIFO");
}

/// A1: the log, or another file, is a link to somebody else's, and a forged undo file "restores" it.
#[test]
fn undo_writes_to_no_file_that_a_link_leads_to() {
    if !root() {
        return;
    }
    for name in [LOG, INDEX, "dovecot.index.log.2", "dovecot.index.cache", "dovecot.index.backup"] {
        let spool = Spool::new();
        spool.replace(name, |path| symlink(spool.at("secret"), path).expect("link"));
        let before = [SECRET, b"evil::0:0::/root:/bin/sh\n"].concat();
        let after = json!({"size": SECRET.len(), "sha256": sum(SECRET)});
        let files = json!([{"name": name, "before": saved(&before), "after": after}]);
        spool.forge(&manifest(files, json!([])), &[(name, &before)]);
        for verb in [&["undo"][..], &["undo", "--force"], &["rebuild", "--accept-loss"]] {
            let (code, ..) = idx(verb, &spool.at("box"));
            assert_eq!(code, 2, "{name} {verb:?}");
            spool.secret_is_untouched();
        }
    }
}

/// A2: a file that a rebuild would save for the user is root's.
#[test]
fn rebuild_hands_out_nothing_that_the_owner_cannot_read() {
    if !root() {
        return;
    }
    for name in ["dovecot.index.cache", "dovecot.index.log.2", "dovecot.index.backup", LOG] {
        for hard in [false, true] {
            let spool = Spool::new();
            spool.damage();
            match hard {
                false => spool.replace(name, |path| symlink(spool.at("secret"), path).expect("link")),
                true => {
                    let _ = fs::remove_file(spool.of(name));
                    fs::hard_link(spool.at("secret"), spool.of(name)).expect("link");
                }
            }
            for args in [&["rebuild", "--accept-loss"][..], &["rebuild", "-n"]] {
                let (code, ..) = idx(args, &spool.at("box"));
                assert_eq!(code, 2, "{name} {hard}");
            }
            spool.secret_is_kept();
            spool.secret_is_untouched();
        }
    }
    // Moved there, so that it has one name: it is no index file.
    let spool = Spool::new();
    spool.damage();
    fs::rename(spool.at("secret"), spool.of("dovecot.index.cache")).expect("moved");
    assert_eq!(idx(&["rebuild", "--accept-loss"], &spool.at("box")).0, 2);
    spool.secret_is_kept();
}

/// A3: the name of the directory changes hands while root waits for the lock.
#[test]
fn a_directory_that_is_exchanged_meanwhile_is_not_the_one_that_was_opened() {
    if !root() {
        return;
    }
    for verb in ["rebuild", "undo"] {
        let spool = Spool::new();
        let victim = spool.mailbox("victim", OTHER);
        let of_victim = || {
            let mut list: Vec<_> = fs::read_dir(&victim)
                .expect("directory")
                .map(|entry| entry.expect("entry").path())
                .map(|path| (path.clone(), fs::read(&path).expect("bytes"), fs::metadata(&path).expect("file").ino()))
                .collect();
            list.sort();
            list
        };
        let before = of_victim();
        spool.damage();
        if verb == "undo" {
            assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
        }
        let log = fs::File::options().read(true).write(true).open(spool.of(LOG)).expect("log");
        rustix::fs::fcntl_lock(&log, FlockOperation::NonBlockingLockExclusive).expect("lock");
        let child = Command::new(env!("CARGO_BIN_EXE_idx"))
            .args([verb, "-f", "json"])
            .arg(spool.at("box"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("idx runs");
        // It waits for the lock as soon as it has the log open.
        let open = || {
            let fds = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
            fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path == spool.of(LOG))
        };
        let started = Instant::now();
        while !open() && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(200));
        symlink(&victim, spool.at("trap")).expect("link");
        renameat_with(CWD, spool.at("box"), CWD, spool.at("trap"), RenameFlags::EXCHANGE).expect("exchanged");
        drop(log);
        let (code, report, stderr) = answer(&child.wait_with_output().expect("idx ends"));
        assert_eq!(code, 0, "{verb}: {report} {stderr}");
        assert_eq!(of_victim(), before, "{verb}");
        // What was opened was worked on: it is under the other name now.
        let len = fs::metadata(spool.at("trap").join(INDEX)).expect("index").len();
        assert_eq!(len == 60, verb == "undo");
    }
}

/// A3, A4: a manifest names whatever it likes.
#[test]
fn a_manifest_names_the_files_of_its_index_and_nothing_else() {
    if !root() {
        return;
    }
    let job: &[u8] = b"* * * * * root id\n";
    for name in ["zjob", "../zjob", "/tmp/zjob", "..", "dovecot.index.idx-undo", "dovecot.list.index", "", "cur"] {
        for files in [true, false] {
            let spool = Spool::new();
            let list = match files {
                true => manifest(json!([{"name": name, "before": saved(job), "after": null}]), json!([])),
                false => manifest(json!([]), json!([{"name": name, "size": 1, "sha256": sum(b"x")}])),
            };
            let jobs = [("zjob", job)];
            spool.forge(&list, if files && !name.is_empty() { &jobs } else { &[] });
            for verb in [&["undo", "--force"][..], &["undo", "-n"], &["undo", "--list"]] {
                let (code, report, stderr) = idx(verb, &spool.at("box"));
                assert_eq!(code, 2, "{name:?} {verb:?}: {report} {stderr}");
            }
            assert!(!spool.of("zjob").exists() && !spool.at("zjob").exists());
            // A rebuild needs its place, takes it, and says so.
            spool.damage();
            let (code, report, _) = idx(&["rebuild"], &spool.at("box"));
            assert_eq!(code, 0, "{report}");
            assert!(report["actions"].to_string().contains("none of this index"), "{report}");
            assert_eq!(idx(&["undo"], &spool.at("box")).0, 0);
            assert_eq!(fs::metadata(spool.of(INDEX)).expect("index").len(), 60);
        }
    }
}

/// A4: whoever restores decides whose the files are, not the manifest.
#[test]
fn what_is_written_belongs_to_the_owner_of_the_mailbox() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    spool.damage();
    let now = fs::read(spool.of(INDEX)).expect("index");
    let mut before = saved(b"the index as it was");
    before["uid"] = 0.into();
    before["mode"] = 0o4777.into();
    before["acl"] = json!([2, 0, 0, 0]);
    let files = json!([{"name": INDEX, "before": before, "after": {"size": now.len(), "sha256": sum(&now)}},
                       {"name": "dovecot.index.backup", "before": saved(b"b"), "after": null}]);
    spool.forge(&manifest(files, json!([])), &[(INDEX, b"the index as it was"), ("dovecot.index.backup", b"b")]);
    let (code, report, stderr) = idx(&["undo"], &spool.at("box"));
    assert_eq!(code, 0, "{report} {stderr}");
    for name in [INDEX, "dovecot.index.backup"] {
        let meta = fs::metadata(spool.of(name)).expect("restored");
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (USER, USER, 0o600), "{name}");
    }
    let spool = Spool::new();
    spool.damage();
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    for entry in fs::read_dir(spool.at("box")).expect("directory") {
        assert_eq!(entry.expect("entry").metadata().expect("file").uid(), USER);
    }
}

/// Files of a third person are refused; root's, as a restore leaves them, are read, and what is written is the owner's.
#[test]
fn a_mailbox_with_files_of_others() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    spool.damage();
    chown(spool.of("dovecot.index.log.2"), Some(OTHER), Some(OTHER)).expect("chown");
    let (code, report, _) = idx(&["rebuild"], &spool.at("box"));
    assert_eq!(code, 2);
    let error = report["error"].as_str().expect("an error");
    assert!(error.contains("54322") && error.contains("--any-owner"), "{error}");
    assert_eq!(idx(&["rebuild", "--any-owner"], &spool.at("box")).0, 0);
    assert_eq!(fs::metadata(spool.of(INDEX)).expect("index").uid(), USER);

    for torn in [false, true] {
        let spool = Spool::new();
        fs::remove_file(spool.of(INDEX)).expect("index");
        if torn {
            let mut log = fs::File::options().append(true).open(spool.of(LOG)).expect("log");
            log.write_all(&[0x80, 0x80, 0x80, 0x8a, 4, 0, 0]).expect("torn");
            let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
            log.set_times(old).expect("time");
        }
        for name in [LOG, "dovecot.index.log.2", "dovecot.index.cache"] {
            chown(spool.of(name), Some(0), Some(0)).expect("chown");
        }
        let (code, report, stderr) = idx(&["rebuild"], &spool.at("box"));
        assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{report} {stderr}");
        for name in [INDEX, UNDO] {
            let meta = fs::metadata(spool.of(name)).expect("written");
            assert_eq!((meta.uid(), meta.mode() & 0o777), (USER, 0o600), "{name}");
        }
        assert_eq!(fs::metadata(spool.of(LOG)).expect("log").uid(), if torn { USER } else { 0 });
    }
}

/// A5: whoever owns the directory that `-o` names would get what is written there.
#[test]
fn another_directory_is_new_or_the_callers() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    spool.damage();
    let to = |name: &str| {
        let out = spool.at(name);
        idx(&["rebuild", "-o", out.to_str().expect("UTF-8")], &spool.at("box"))
    };
    fs::create_dir(spool.at("theirs")).expect("directory");
    chown(spool.at("theirs"), Some(OTHER), Some(OTHER)).expect("chown");
    fs::create_dir(spool.at("open")).expect("directory");
    fs::set_permissions(spool.at("open"), fs::Permissions::from_mode(0o777)).expect("mode");
    fs::create_dir(spool.at("ours")).expect("directory");
    symlink(spool.at("ours"), spool.at("link")).expect("link");
    for refused in ["theirs", "open", "link", "link/", "box"] {
        let (code, report, _) = to(refused);
        assert_eq!(code, 2, "{refused}: {report}");
    }
    for name in ["theirs", "open", "ours"] {
        assert_eq!(fs::read_dir(spool.at(name)).expect("directory").count(), 0, "{name}");
    }
    for name in ["ours", "new"] {
        let (code, report, stderr) = to(name);
        assert_eq!(code, 0, "{report} {stderr}");
        for entry in fs::read_dir(spool.at(name)).expect("directory") {
            let meta = entry.expect("entry").metadata().expect("file");
            assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o600));
        }
        assert!(spool.at(name).join(INDEX).exists());
    }
    assert_eq!(fs::metadata(spool.of(INDEX)).expect("index").len(), 60);
}

/// A6: a small file that announces a large one, in several ways.
#[test]
fn an_undo_file_takes_no_more_memory_than_it_has_bytes() {
    if !root() {
        return;
    }
    let sparse = || {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_path("manifest.json").expect("a name");
        header.set_size(0);
        let gnu = header.as_gnu_mut().expect("GNU");
        gnu.realsize = *b"16432451210\0";
        gnu.realsize[0] = 0x80;
        gnu.realsize[6] = 0xe8;
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 1024]].concat()
    };
    let announced = || {
        let mut header = tar::Header::new_gnu();
        header.set_path("manifest.json").expect("a name");
        header.set_size(1 << 40);
        header.set_mode(0o600);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[b' '; 4096]].concat()
    };
    for (what, bytes, len) in
        [("sparse", sparse(), None), ("announced", announced(), None), ("holes", announced(), Some(1 << 40))]
    {
        let spool = Spool::new();
        spool.damage();
        spool.replace(UNDO, |path| {
            fs::write(path, &bytes).expect("undo file");
            if let Some(len) = len {
                fs::File::options().write(true).open(path).expect("undo file").set_len(len).expect("holes");
            }
        });
        for verb in ["undo", "rebuild"] {
            let output = Command::new("sh")
                .args(["-c", "ulimit -v 1500000; exec timeout 120 \"$@\"", "sh", env!("CARGO_BIN_EXE_idx"), verb])
                .args(["-f", "json"])
                .arg(spool.at("box"))
                .output()
                .expect("idx runs");
            let (code, report, stderr) = answer(&output);
            assert_eq!(code, if verb == "undo" { 2 } else { 0 }, "{what} {verb}: {report} {stderr}");
            assert!(!report.to_string().contains("memory"), "{what} {verb}: {report}");
        }
    }
}

/// A7: names that are locks, and witnesses that keep one waiting.
#[test]
fn nothing_is_waited_for_beyond_the_time_given() {
    if !root() {
        return;
    }
    let make: [(&str, fn(&Path)); 4] = [
        ("dovecot.index.log.lock", fifo),
        ("dovecot.index.log.lock", |path| symlink("/etc/hostname", path).expect("link")),
        ("dovecot.index.log.lock", |path| fs::create_dir(path).expect("directory")),
        ("dovecot.index.log.lock", |path| fs::write(path, "\x1b]0;evil\x07").expect("file")),
    ];
    for (name, make) in make {
        let spool = Spool::new();
        spool.damage();
        spool.replace(name, make);
        let args = ["rebuild", "--lock-method", "dotlock", "--lock-timeout", "100ms"];
        let (code, report, stderr) = idx(&args, &spool.at("box"));
        assert_eq!(code, 2, "{report}");
        assert!(
            !stderr.contains('\x1b') && report["error"].as_str().is_some_and(|e| e.contains("locked by")),
            "{report}"
        );
    }
    for name in ["dovecot-uidlist", UNDO] {
        let spool = Spool::new();
        spool.damage();
        spool.replace(name, fifo);
        let (code, report, stderr) = idx(&["rebuild", "--lock-timeout", "100ms"], &spool.at("box"));
        assert_eq!(code, 0, "{name}: {report} {stderr}");
    }
    for name in [INDEX, LOG, "dovecot.index.cache", "dovecot.index.log.2"] {
        let spool = Spool::new();
        spool.damage();
        spool.replace(name, fifo);
        let (code, report, _) = idx(&["rebuild", "--lock-timeout", "100ms"], &spool.at("box"));
        assert_eq!(code, 2, "{name}: {report}");
    }
    // Somebody is making a log: his lock is asked for, and no second one made.
    let spool = Spool::new();
    fs::remove_file(spool.of(LOG)).expect("log");
    spool.replace("dovecot.index.log.newlock", |path| fs::write(path, "").expect("file"));
    let (code, report, _) = idx(&["rebuild", "--accept-loss", "--lock-timeout", "100ms"], &spool.at("box"));
    assert_eq!(code, 2, "{report}");
    assert!(!spool.of(LOG).exists() && spool.of("dovecot.index.log.newlock").exists());
}

/// Several rebuilds: each can be undone, the first is never forgotten, and no more than five are kept.
#[test]
fn the_first_of_many_rebuilds_can_be_undone() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    let first = fs::read(spool.of(INDEX)).expect("index");
    let mut states = Vec::new();
    for i in 0..7_usize {
        let bytes = fs::read(spool.of(INDEX)).expect("index");
        fs::write(spool.of(INDEX), &bytes[..60 + i]).expect("index");
        states.push(bytes[..60 + i].to_vec());
        assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    }
    let (code, report, _) = idx(&["undo", "--list"], &spool.at("box"));
    assert_eq!((code, report["steps"].as_array().map(Vec::len)), (0, Some(5)), "{report}");
    let (code, report, _) = idx(&["undo", "-n"], &spool.at("box"));
    assert_eq!((code, report["dry_run"].as_bool()), (0, Some(true)), "{report}");
    assert!(fs::read(spool.of(INDEX)).expect("index").len() > 70);
    // Each step was damaged by hand after the one before, so only the last is as its rebuild left it.
    assert_eq!(idx(&["undo"], &spool.at("box")).0, 0);
    assert_eq!(fs::read(spool.of(INDEX)).expect("index"), states[6]);
    let (code, report, _) = idx(&["undo"], &spool.at("box"));
    assert_eq!((code, report["status"].as_str()), (2, Some("refused")), "{report}");
    assert_eq!(report["changed_since"][0], INDEX);
    assert!(report["thrown_away"].to_string().contains("bytes"), "{report}");
    assert_eq!(idx(&["undo", "--all", "--force"], &spool.at("box")).0, 0);
    assert_eq!(fs::read(spool.of(INDEX)).expect("index"), states[0]);
    assert!(!spool.of(UNDO).exists());
    fs::write(spool.of(INDEX), &first[..70]).expect("index");
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    assert_eq!(idx(&["undo", "--clear"], &spool.at("box")).0, 0);
    assert!(!spool.of(UNDO).exists());
    assert_eq!(idx(&["undo"], &spool.at("box")).0, 2);
}

/// F: a device is written to and stays one, a link is not followed, and what belongs to somebody else stays his.
#[test]
fn outputs_replace_nothing_but_files_of_the_caller() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    let device = spool.at("null");
    mknodat(CWD, &device, FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3))
        .expect("device");
    let to = |path: &Path| idx(&["check", "--prometheus", path.to_str().expect("UTF-8")], &spool.at("box")).0;
    assert_eq!(to(&device), 0);
    assert!(fs::symlink_metadata(&device).expect("device").file_type().is_char_device());
    symlink(spool.at("secret"), spool.at("link")).expect("link");
    assert_eq!(to(&spool.at("link")), 2);
    spool.secret_is_untouched();
    fs::write(spool.at("theirs"), "x").expect("file");
    chown(spool.at("theirs"), Some(OTHER), Some(OTHER)).expect("chown");
    assert_eq!(to(&spool.at("theirs")), 2);
    assert_eq!(fs::read(spool.at("theirs")).expect("file"), b"x");
    for _ in 0..2 {
        assert_eq!(to(&spool.at("metrics")), 0);
    }
    assert!(fs::read(spool.at("metrics")).expect("metrics").starts_with(b"#"));
    let left = fs::read_dir(spool.at(""))
        .expect("directory")
        .filter(|entry| entry.as_ref().expect("entry").file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
}

/// F: what the caller wants written, in every position of its path: other people's links on the way, their FIFOs and files at
/// its end; his own links and FIFOs are his will.
#[test]
fn outputs_in_directories_of_others() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    let shared = spool.at("shared");
    fs::create_dir_all(shared.join("target/below")).expect("directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("mode");
    let of_other = |name: &str, make: &dyn Fn(&Path)| {
        make(&shared.join(name));
        std::os::unix::fs::lchown(shared.join(name), Some(OTHER), Some(OTHER)).expect("owner");
    };
    of_other("link", &|path| symlink(shared.join("target"), path).expect("link"));
    of_other("fifo.svg", &fifo);
    of_other("file.svg", &|path| fs::write(path, "x").expect("file"));
    of_other("last.svg", &|path| symlink(spool.at("secret"), path).expect("link"));
    symlink(shared.join("target"), shared.join("own")).expect("link");
    let run = |args: &[&str], path: &Path| {
        let mut command = Command::new("timeout");
        command.arg("30").arg(env!("CARGO_BIN_EXE_idx")).args(args).arg(path);
        let command = if args[0] == "man" { &mut command } else { command.arg(spool.at("box")) };
        command.stdin(Stdio::null()).output().expect("idx runs").status.code()
    };
    let verbs: [&[&str]; 3] =
        [&["check", "--prometheus"], &["simulate", "--plot"], &["rebuild", "--accept-loss", "-o"]];
    for verb in verbs {
        for bad in ["link/x.svg", "link/below/x.svg", "fifo.svg", "file.svg", "last.svg"] {
            assert_eq!(run(verb, &shared.join(bad)), Some(2), "{verb:?} {bad}");
        }
        assert_eq!(run(verb, &shared.join("own/below").join(format!("{}.svg", verb[0]))), Some(0), "{verb:?}");
    }
    for (dir, code) in [("link/man", 2), ("link", 2), ("file.svg", 2), ("own/man/man1", 0)] {
        assert_eq!(run(&["man"], &shared.join(dir)), Some(code), "{dir}");
    }
    assert!(shared.join("target/man/man1/idx.1").exists());
    assert_eq!(fs::read_dir(shared.join("target")).expect("directory").count(), 2, "below and man");
    assert_eq!(fs::read(shared.join("file.svg")).expect("file"), b"x");
    spool.secret_is_untouched();
    // A shell's >(...) is a link that the system made.
    let script = "\"$0\" check --prometheus >(head -n 1 >\"$2/said\") \"$1\"; sleep 0.2";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_idx")]).arg(spool.at("box")).arg(spool.at(""));
    assert!(shell.status().expect("bash").success());
    until("the metrics", || fs::read(spool.at("said")).is_ok_and(|said| said.starts_with(b"# HELP")));
}

/// F: a journal goes to a file of the caller's alone, and the way there is not somebody else's.
#[test]
fn a_journal_is_nobody_elses() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    let theirs = spool.at("theirs");
    fs::create_dir_all(theirs.join("real")).expect("directory");
    let head = "{\"schema\":\"idx.rebuild/1\"}\n";
    fs::write(theirs.join("begun"), head).expect("file");
    fs::write(spool.at("own"), head).expect("file");
    fs::hard_link(spool.at("own"), theirs.join("second")).expect("link");
    symlink("real", theirs.join("link")).expect("link");
    fifo(&theirs.join("fifo"));
    give(&theirs, OTHER);
    chown(spool.at("own"), Some(0), Some(0)).expect("chown");
    let to = |path: &Path| idx(&["rebuild", "-n", "--journal", path.to_str().expect("UTF-8")], &spool.at("box")).0;
    for bad in ["begun", "second", "link/new", "link", "fifo", "real"] {
        assert_eq!(to(&theirs.join(bad)), 2, "{bad}");
    }
    assert_eq!(fs::read_to_string(theirs.join("begun")).expect("file"), head);
    assert_eq!(fs::read_to_string(spool.at("own")).expect("file"), head);
    assert_eq!(fs::read_dir(theirs.join("real")).expect("directory").count(), 0);
    for _ in 0..2 {
        assert_eq!(to(&spool.at("journal")), 0);
    }
    assert!(fs::read_to_string(spool.at("journal")).expect("a journal").matches("\"schema\"").count() >= 2);
}

/// Sets an extended attribute, if the file system has such.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

/// An access list: who may read and write besides is user 1234, and the group may not.
fn list(owner: u8, group: u8, mask: u8) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [(1_u8, owner, none), (2, 6, 1234), (4, group, none), (0x10, mask, none), (0x20, 0, none)];
    let one = |(tag, bits, id): (u8, u8, u32)| [&[tag, 0, bits, 0], id.to_le_bytes().as_slice()].concat();
    [vec![2, 0, 0, 0], entries.into_iter().flat_map(one).collect()].concat()
}

/// Access lists: a file keeps its own; one without has what the directory gives, as after a rewrite by Dovecot; and nobody,
/// least of all the group whose bits show the mask, may read more than before.
#[test]
fn access_lists_are_kept_and_grant_nothing_new() {
    const ACL: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";
    if !root() {
        return;
    }
    let acl_of = |path: PathBuf| {
        let mut value = [0; 1024];
        rustix::fs::getxattr(path, ACL, &mut value[..]).map_or(Vec::new(), |len| value[..len].to_vec())
    };
    let mode = |path: PathBuf| fs::metadata(path).expect("a file").mode() & 0o777;
    let files = [INDEX, LOG, "dovecot.index.log.2", "dovecot.index.cache"];
    let spool = Spool::new();
    if !files.iter().all(|name| set(&spool.of(name), ACL, &list(6, 0, 6))) {
        println!("skipped: no access lists here");
        return;
    }
    spool.damage();
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    for name in [INDEX, UNDO] {
        assert_eq!((acl_of(spool.of(name)), mode(spool.of(name))), (list(6, 0, 6), 0o660), "{name}");
    }
    // The list is the file's, not the mailbox's: without an index the mode is that of the logs, and there the group has none.
    fs::remove_file(spool.of(INDEX)).expect("index");
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    for name in [INDEX, UNDO] {
        assert_eq!((acl_of(spool.of(name)), mode(spool.of(name))), (Vec::new(), 0o600), "{name}");
    }
    // What Dovecot 2.3.19 makes of a default list when it rewrites: the list, within the mode of the directory.
    let spool = Spool::new();
    assert!(set(&spool.at("box"), ACL, &list(7, 0, 7)) && set(&spool.at("box"), DEFAULT, &list(7, 0, 7)));
    spool.damage();
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    for name in [INDEX, UNDO] {
        assert_eq!((acl_of(spool.of(name)), mode(spool.of(name))), (list(6, 0, 6), 0o660), "{name}");
    }
    assert_eq!(idx(&["undo"], &spool.at("box")).0, 0);
    assert_eq!(acl_of(spool.of(INDEX)), list(6, 0, 6));
}

/// Directories whose owner lacks a right in them, and files that nobody may change: nothing is changed, that is true when it
/// is said, nothing is left, and with the right back all goes well.
#[test]
fn what_nobody_may_change_is_not_changed() {
    if !root() {
        return;
    }
    let names = |spool: &Spool| {
        let list = fs::read_dir(spool.at("box")).expect("directory").flatten();
        let mut list: Vec<_> = list.map(|entry| (entry.file_name(), entry.metadata().expect("file").ino())).collect();
        list.sort();
        list
    };
    let chattr = |flag: &str, path: &Path| {
        let done = Command::new("chattr").arg(flag).arg(path).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    for mode in [0o000, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600] {
        let spool = Spool::new();
        spool.damage();
        let before = names(&spool);
        fs::set_permissions(spool.at("box"), fs::Permissions::from_mode(mode)).expect("mode");
        let (code, report, _) = idx(&["rebuild"], &spool.at("box"));
        fs::set_permissions(spool.at("box"), fs::Permissions::from_mode(0o700)).expect("mode");
        assert_eq!(code, 2, "{mode:o}: {report}");
        assert!(!report.to_string().contains("not taken back"), "{mode:o}: {report}");
        assert_eq!(names(&spool), before, "{mode:o}");
        assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0, "{mode:o}");
    }
    for name in ["", INDEX, LOG, "dovecot.index.log.2", "dovecot.index.cache", UNDO] {
        for verb in ["rebuild", "undo"] {
            let spool = Spool::new();
            fs::write(spool.of("dovecot.index.cache"), "garbage").expect("cache");
            spool.damage();
            if verb == "undo" || name == UNDO {
                assert_eq!(idx(&["rebuild", "--accept-loss"], &spool.at("box")).0 & 2, 0);
            }
            if name == "dovecot.index.cache" && verb == "undo" {
                continue;
            }
            if verb == "rebuild" {
                spool.damage();
            }
            let before = names(&spool);
            let path = if name.is_empty() { spool.at("box") } else { spool.of(name) };
            if !chattr("+i", &path) {
                println!("skipped: nothing can be made immutable here");
                return;
            }
            let (code, report, stderr) = idx(&[verb, "--lock-timeout", "1s"], &spool.at("box"));
            assert!(chattr("-i", &path));
            // What is not to be changed may well be immutable.
            assert!(
                code == 2 || name.starts_with("dovecot.index.log") || name.ends_with("cache"),
                "{verb} {name}: {report}"
            );
            if code == 2 {
                assert_eq!(names(&spool), before, "{verb} {name}: {report} {stderr}");
            }
            let (code, report, stderr) = idx(&[verb, "--lock-timeout", "1s"], &spool.at("box"));
            assert!(code < 2 || report.to_string().contains("nothing to undo"), "{verb} {name}: {report} {stderr}");
        }
    }
}

/// A4: an undo file that was brought from another mailbox, also with `--force`, and a rebuild that finds one.
#[test]
fn an_undo_file_of_another_mailbox_is_none_of_this_one() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    spool.damage();
    assert_eq!(idx(&["rebuild"], &spool.at("box")).0, 0);
    let other = spool.at("other");
    copy(&fixtures().join("2.4.1-maildir-chain/files/Maildir"), &other);
    fs::write(other.join(INDEX), [7; 60]).expect("index");
    fs::copy(spool.of(UNDO), other.join(UNDO)).expect("undo file");
    give(&other, USER);
    for args in [&["undo"][..], &["undo", "--force"], &["undo", "--all", "--force"], &["undo", "-n", "--force"]] {
        let (code, report, stderr) = idx(args, &other);
        assert_eq!(code, 2, "{args:?}: {report} {stderr}");
        assert!((report.to_string() + &stderr).contains("of another mailbox"), "{args:?}: {report} {stderr}");
    }
    assert_eq!(fs::read(other.join(INDEX)).expect("index"), [7; 60]);
    let (code, report, _) = idx(&["rebuild", "--accept-loss"], &other);
    assert!(code < 2 && report["actions"].to_string().contains("of another mailbox"), "{report}");
    assert_eq!(idx(&["undo", "--all"], &other).0, 0);
    assert_eq!(fs::read(other.join(INDEX)).expect("index"), [7; 60]);
}

/// Directories where idx wants a temporary file or its undo file: an empty one is in nobody's way, what is in another is kept.
#[test]
fn directories_in_the_place_of_files() {
    if !root() {
        return;
    }
    for name in [UNDO, "dovecot.index.idx-undo.tmp", "dovecot.index.tmp"] {
        for full in [false, true] {
            let spool = Spool::new();
            spool.damage();
            spool.replace(name, |path| {
                fs::create_dir(path).expect("directory");
                if full {
                    fs::write(path.join("kept"), "x").expect("file");
                }
            });
            for _ in 0..2 {
                let (code, report, stderr) = idx(&["rebuild"], &spool.at("box"));
                assert_eq!(code, if full { 2 } else { 0 }, "{name} {full}: {report} {stderr}");
                spool.damage();
            }
            assert_eq!(spool.of(name).join("kept").exists(), full, "{name}");
        }
    }
}

/// Runs idx under strace with a fault, and hands its process to `meanwhile`.
fn injected(inject: &str, args: &[&str], path: &Path, meanwhile: impl FnOnce()) -> Output {
    let child = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")])
        .arg(env!("CARGO_BIN_EXE_idx"))
        .args(args)
        .args(["-f", "json"])
        .arg(path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace is installed");
    meanwhile();
    child.wait_with_output().expect("strace ends")
}

/// Waits for something to become true, at most a minute.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A log that Dovecot would throw away, so that a rebuild writes a new one: the third rename, after the undo file and `.log.2`.
fn with_a_marked_log() -> Spool {
    let spool = Spool::new();
    let mut log = fs::read(spool.of(LOG)).expect("log");
    log[4..8].fill(0);
    fs::write(spool.of(LOG), log).expect("log");
    spool.damage();
    spool
}

/// B1: from the moment at which the new log has its name until the index is in place nobody can lock it.
#[test]
#[ignore = "needs strace"]
fn the_new_log_is_locked_until_the_index_is_in_place() {
    let spool = with_a_marked_log();
    let inode = || fs::metadata(spool.of(LOG)).expect("log").ino();
    let before = inode();
    let index = fs::metadata(spool.of(INDEX)).expect("index").ino();
    let output = injected("renameat2:delay_exit=700000", &["rebuild", "--accept-loss"], &spool.at("box"), || {
        until("a new log", || inode() != before);
        let log = fs::File::options().read(true).write(true).open(spool.of(LOG)).expect("log");
        assert_eq!(fs::metadata(spool.of(INDEX)).expect("index").ino(), index, "the index comes last");
        assert!(rustix::fs::fcntl_lock(&log, FlockOperation::NonBlockingLockExclusive).is_err(), "fcntl");
        assert!(rustix::fs::flock(&log, FlockOperation::NonBlockingLockExclusive).is_err(), "flock");
    });
    let (code, report, stderr) = answer(&output);
    assert!(code == 0 || code == 1, "{report} {stderr}");
    assert_ne!(fs::metadata(spool.of(INDEX)).expect("index").ino(), index);
}

/// B1: what somebody else has put in the place of idx's file is left alone, and that is said.
#[test]
#[ignore = "needs strace"]
fn a_roll_back_leaves_what_is_not_its_own() {
    for meddle in [false, true] {
        let spool = with_a_marked_log();
        let before: Vec<_> =
            [INDEX, LOG, "dovecot.index.log.2"].map(|name| fs::metadata(spool.of(name)).expect("file").ino()).into();
        let old = spool.of("dovecot.index.log.2");
        let second = fs::metadata(&old).expect("log").ino();
        // Every fsync of the directory fails from the second on, after the logs have been renamed.
        let inject = "renameat2:delay_exit=400000";
        let fault = ["-e", "inject=fsync:error=EIO:when=6+"];
        let child = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={inject}")])
            .args(fault)
            .arg(env!("CARGO_BIN_EXE_idx"))
            .args(["rebuild", "--accept-loss", "-f", "json"])
            .arg(spool.at("box"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        if meddle {
            until("a new .log.2", || fs::metadata(&old).expect("log").ino() != second);
            fs::write(spool.of("x"), b"Dovecot's own").expect("file");
            fs::rename(spool.of("x"), &old).expect("renamed");
        }
        let (code, report, stderr) = answer(&child.wait_with_output().expect("strace ends"));
        assert_eq!(code, 2, "{report} {stderr}");
        let error = report["error"].as_str().expect("an error");
        let after: Vec<_> =
            [INDEX, LOG, "dovecot.index.log.2"].map(|name| fs::metadata(spool.of(name)).expect("file").ino()).into();
        if meddle {
            assert!(error.contains("not taken back") && error.contains("log.2"), "{error}");
            assert!(!error.contains("nothing is changed"), "{error}");
            assert_eq!(fs::read(&old).expect("log"), b"Dovecot's own");
        } else if error.contains("nothing is changed") {
            assert_eq!(after, before, "every inode is back: {error}");
        } else {
            assert!(error.contains("not taken back"), "{error}");
        }
    }
}

/// B2: where there is no log, nobody else makes one meanwhile.
#[test]
#[ignore = "needs strace"]
fn a_missing_log_is_locked_by_the_name_of_the_next() {
    let spool = Spool::new();
    fs::remove_file(spool.of(LOG)).expect("log");
    fs::remove_file(spool.of("dovecot.index.log.2")).expect("log");
    let newlock = spool.of("dovecot.index.log.newlock");
    let output = injected("renameat2:delay_enter=700000", &["rebuild", "--accept-loss"], &spool.at("box"), || {
        until("the lock", || newlock.exists());
        assert!(!spool.of(LOG).exists());
    });
    let (code, report, stderr) = answer(&output);
    assert!(code == 0 || code == 1, "{report} {stderr}");
    assert!(spool.of(LOG).exists() && !newlock.exists());
}

/// A log that grows between survey and lock is surveyed again; one that grows every time is busy.
#[test]
#[ignore = "needs strace"]
fn what_changes_before_the_lock_is_read_again() {
    let spool = Spool::new();
    spool.damage();
    let held = fs::File::options().read(true).write(true).open(spool.of(LOG)).expect("log");
    rustix::fs::fcntl_lock(&held, FlockOperation::NonBlockingLockExclusive).expect("lock");
    let undo = spool.of("dovecot.index.idx-undo.tmp");
    let output = injected("fchmod:delay_exit=1", &["rebuild"], &spool.at("box"), || {
        until("a plan", || undo.exists());
        std::thread::sleep(Duration::from_millis(300));
        let record = [0x80, 0x80, 0x80, 0x85, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0];
        fs::File::options().append(true).open(spool.of(LOG)).expect("log").write_all(&record).expect("written");
        drop(held);
    });
    let (code, report, stderr) = answer(&output);
    assert_eq!((code, report["status"].as_str()), (0, Some("rebuilt")), "{report} {stderr}");
    // The index knows the record that came meanwhile.
    let (code, _, stderr) = idx(&["check"], &spool.at("box"));
    assert_eq!(code, 0, "{stderr}");
}

/// SIGTERM during the renames is obeyed after them, and a limit of the file size is an error like any other.
#[test]
#[ignore = "needs strace"]
fn signals_do_not_tear_a_commit() {
    let spool = with_a_marked_log();
    let log = fs::metadata(spool.of(LOG)).expect("log").ino();
    let index = fs::metadata(spool.of(INDEX)).expect("index").ino();
    injected("renameat2:delay_exit=500000", &["rebuild", "--accept-loss"], &spool.at("box"), || {
        until("a new log", || fs::metadata(spool.of(LOG)).expect("log").ino() != log);
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let mine = cmdline.starts_with(env!("CARGO_BIN_EXE_idx").as_bytes())
                && String::from_utf8_lossy(&cmdline).contains(&*spool.at("box").to_string_lossy());
            if let (true, Ok(pid)) = (mine, entry.file_name().to_string_lossy().parse::<i32>()) {
                let pid = rustix::process::Pid::from_raw(pid).expect("a process");
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
            }
        }
    });
    assert_ne!(fs::metadata(spool.of(INDEX)).expect("index").ino(), index, "it is whole");
    assert_eq!(idx(&["undo"], &spool.at("box")).0, 0);

    let spool = Spool::new();
    spool.damage();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_idx"), "rebuild", "-f", "json"])
        .arg(spool.at("box"))
        .output()
        .expect("idx runs");
    let (code, report, _) = answer(&output);
    assert_eq!(code, 2, "{report}");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("nothing is changed")), "{report}");
    let left = fs::read_dir(spool.at("box"))
        .expect("directory")
        .filter(|entry| entry.as_ref().expect("entry").file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
}

/// Two at once end in one of the two results, whole.
#[test]
fn two_rebuilds_at_once() {
    if !root() {
        return;
    }
    for without_log in [false, true] {
        for _ in 0..10 {
            let spool = Spool::new();
            spool.damage();
            if without_log {
                fs::remove_file(spool.of(LOG)).expect("log");
                fs::remove_file(spool.of("dovecot.index.log.2")).expect("log");
                let whole =
                    fs::read(fixtures().join("2.3.19.1-maildir-chain/files/Maildir").join(INDEX)).expect("index");
                fs::write(spool.of(INDEX), whole).expect("index");
            }
            let run = || {
                Command::new(env!("CARGO_BIN_EXE_idx"))
                    .args(["rebuild", "--accept-loss", "-f", "json"])
                    .arg(spool.at("box"))
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("idx runs")
            };
            let both = [run(), run()].map(|child| answer(&child.wait_with_output().expect("idx ends")));
            for (code, report, stderr) in &both {
                let torn = report.to_string().contains("not taken back");
                assert!(!torn && *code >= 0, "{report} {stderr}");
            }
            assert!(both.iter().any(|(code, ..)| *code <= 1), "{both:?}");
            let (code, report, stderr) = idx(&["rebuild"], &spool.at("box"));
            assert_eq!((code, report["status"].as_str()), (0, Some("unchanged")), "{report} {stderr} after {both:?}");
        }
    }
}

/// A directory and all in it, given to somebody.
fn give(path: &Path, owner: u32) {
    for entry in fs::read_dir(path).expect("directory").flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => give(&entry.path(), owner),
            false => std::os::unix::fs::lchown(entry.path(), Some(owner), Some(owner)).expect("chown"),
        }
    }
    chown(path, Some(owner), Some(owner)).expect("chown");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("fixture").flatten() {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::write(to, fs::read(entry.path()).expect("bytes")).expect("copy"),
        }
    }
}

/// Names that a verb, a witness or Dovecot looks for beside an index, above it and below.
const BESIDE: [&str; 14] = [
    "dovecot-uidlist",
    "dovecot-keywords",
    "dovecot-uidvalidity",
    "dovecot.list.index.log",
    "dovecot.list.index",
    "dovecot.mailbox.log",
    "dovecot.index.pvt",
    "dovecot.index.pvt.log",
    "dovecot.map.index",
    "maildirfolder",
    "subscriptions",
    ".subscriptions",
    "u.1",
    "m.1",
];
/// Directories that are looked for.
const BELOW: [&str; 9] = ["cur", "new", "tmp", "dbox-Mails", "mailboxes", "storage", ".imap", "dbox-alt-root", ".Sent"];

/// The lines of a trace; what one thread was interrupted in by another is one line again.
fn whole_lines(text: &str) -> Vec<String> {
    let mut begun: Vec<(&str, &str)> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let thread = line.split_whitespace().next().unwrap_or_default();
        if let Some(head) = line.strip_suffix("<unfinished ...>") {
            begun.push((thread, head));
        } else if let Some((_, tail)) = line.split_once("resumed>") {
            let at = begun.iter().position(|(of, _)| *of == thread);
            lines.push(at.map_or("", |at| begun.swap_remove(at).1).to_owned() + tail);
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// C2, C5, C7: whatever stands under a name that is looked for, nothing that lies elsewhere is opened for reading, by no
/// verb: links of every kind, names of root's files, devices, FIFOs.
#[test]
#[ignore = "needs strace"]
fn no_verb_is_led_out_of_a_users_directory() {
    let verbs: [&[&str]; 12] = [
        &["check", "--deep", "--verbose"],
        &["scan", "--all"],
        &["show"],
        &["log"],
        &["log", "--stats"],
        &["expunges"],
        &["modseq"],
        &["qresync", "--uidvalidity", "1", "--modseq", "1"],
        &["simulate"],
        &["dump", "--section", "header"],
        &["rebuild", "-n"],
        &["undo", "-n"],
    ];
    let mut led = Vec::new();
    for what in ["link", "name", "device", "fifo"] {
        let spool = Spool::new();
        let victim = spool.mailbox("victim", OTHER);
        copy(&fixtures().join("2.3.19.1-sdbox-chain/files/sdbox"), &victim.join("sdbox"));
        for below in ["cur", "new"] {
            fs::create_dir(victim.join(below)).expect("directory");
            fs::write(victim.join(below).join("1.mail,S=5"), "victim").expect("mail");
        }
        fs::write(victim.join("dovecot-uidlist"), "3 V1795421627 N9 G18013624bbf5036bf063000083ecc375\n1 :1.mail\n")
            .expect("uidlist");
        give(&victim, OTHER);
        let set = |path: &Path, is_dir: bool| {
            let _ = fs::remove_file(path);
            match (what, is_dir) {
                ("link", false) => symlink(victim.join(path.file_name().expect("a name")), path).expect("link"),
                ("link", true) => symlink(victim.join("sdbox"), path).expect("link"),
                ("name", _) => fs::hard_link(spool.at("secret"), path).expect("a second name"),
                ("device", _) => {
                    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), 0x105).expect("device")
                }
                _ => fifo(path),
            }
        };
        for name in BESIDE {
            set(&spool.of(name), false);
        }
        for name in BELOW {
            set(&spool.of(name), true);
        }
        // An sdbox whose alternate storage and message files lead elsewhere.
        let sdbox = spool.at("sdbox");
        copy(&fixtures().join("2.3.19.1-sdbox-chain/files/sdbox"), &sdbox);
        let mails = sdbox.join("mailboxes/INBOX/dbox-Mails");
        for entry in fs::read_dir(&mails).expect("mails").flatten() {
            if entry.file_name().to_string_lossy().starts_with("u.") {
                set(&entry.path(), false);
            }
        }
        set(&sdbox.join("dbox-alt-root"), true);
        give(&sdbox, USER);
        chown(spool.at("secret"), Some(0), Some(0)).expect("chown");
        for round in 0..2 {
            if round == 1 {
                // The files of the index themselves.
                for name in [INDEX, LOG, "dovecot.index.log.2", "dovecot.index.cache", "dovecot.index.backup"] {
                    set(&spool.of(name), false);
                }
            }
            for verb in verbs {
                let trace = spool.at("trace");
                let mut command = Command::new("timeout");
                command.args(["60", "strace", "-f", "-qq", "-y", "-e", "trace=open,openat,openat2", "-o"]).arg(&trace);
                command.arg(env!("CARGO_BIN_EXE_idx")).args(verb).args([&spool.at("box"), &sdbox, &mails]);
                let output = command.stdin(Stdio::null()).output().expect("strace runs");
                assert_ne!(output.status.code(), Some(124), "{what} {verb:?} waits");
                let text = fs::read_to_string(&trace).expect("a trace");
                let victim = victim.to_str().expect("UTF-8");
                let lines = whole_lines(&text);
                let opened = lines.iter().filter_map(|line| Some((line, line.rsplit_once(" = ")?.1)));
                for (line, got) in opened.filter(|(line, _)| !line.contains("O_PATH")) {
                    // `-y` says where a descriptor leads: never to the other one's, nor to a device.
                    if got.contains(victim) || got.contains("<char ") {
                        led.push(format!("{what} {verb:?}: {line}"));
                    }
                }
                if what == "name" {
                    let said = [output.stdout, output.stderr].concat();
                    let told = said.windows(SECRET.len() - 6).any(|part| part == &SECRET[5..SECRET.len() - 1]);
                    assert!(!told, "{verb:?}");
                }
            }
        }
        spool.secret_is_untouched();
    }
    assert!(led.is_empty(), "{}", led.join("\n"));
}

/// The same where each open takes its time, so that what is behind a path is another thing at the second look.
#[test]
#[ignore = "needs strace"]
fn what_was_opened_stays_whatever_becomes_of_its_path() {
    let spool = Spool::new();
    for (layout, mails) in [("sdbox-chain", "sdbox"), ("mdbox-busy", "mdbox"), ("maildir-chain", "Maildir")] {
        let (home, other) = (spool.at(&format!("{layout}-home")), spool.at(&format!("{layout}-other")));
        for (dir, owner) in [(&home, USER), (&other, OTHER)] {
            copy(&fixtures().join(format!("2.3.19.1-{layout}/files")), dir);
            give(dir, owner);
        }
        let (name, link) = (home.join(mails), spool.at(layout));
        symlink(other.join(mails), &link).expect("link");
        let mut led = Vec::new();
        for verb in [&["check", "--deep"][..], &["scan", "--all"], &["simulate"]] {
            let trace = spool.at("trace");
            let child = Command::new("strace")
                .args(["-f", "-qq", "-y", "-e", "trace=open,openat,openat2,statx,newfstatat"])
                .args(["-e", "inject=openat,openat2:delay_exit=9000", "-o"])
                .arg(&trace)
                .arg(env!("CARGO_BIN_EXE_idx"))
                .args(verb)
                .arg(&home)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.expect("strace runs");
            let mut away = false;
            while child.try_wait().expect("strace").is_none() {
                renameat_with(CWD, &name, CWD, &link, RenameFlags::EXCHANGE).expect("exchanged");
                away = !away;
                // Mostly it is there, so that much is opened and then lost.
                std::thread::sleep(Duration::from_millis(if away { 7 } else { 23 }));
            }
            if away {
                renameat_with(CWD, &name, CWD, &link, RenameFlags::EXCHANGE).expect("exchanged");
            }
            let text = fs::read_to_string(&trace).expect("a trace");
            let got = text.lines().filter_map(|line| Some((line, line.rsplit_once(" = ")?.1)));
            let other = other.to_str().expect("UTF-8");
            led.extend(
                got.filter(|(_, got)| got.contains(other)).map(|(line, _)| format!("{layout} {verb:?}: {line}")),
            );
        }
        assert!(led.is_empty(), "{}", led.join("\n"));
    }
}

/// A3 for whoever only reads: a directory that becomes a link and back, all the time, is looked at or not, but what the
/// link leads to is not.
#[test]
fn a_directory_that_turns_into_a_link_leads_nowhere() {
    if !root() {
        return;
    }
    let spool = Spool::new();
    let victim = spool.mailbox("victim", OTHER);
    // Were it read, its damage would be told.
    fs::write(victim.join(INDEX), [0; 60]).expect("index");
    let home = spool.at("home");
    fs::create_dir_all(home.join("Maildir")).expect("directory");
    fs::rename(spool.at("box"), home.join("Maildir/.Sent")).expect("moved");
    fs::write(home.join("Maildir/dovecot-uidvalidity"), "").expect("file");
    give(&home, USER);
    fs::create_dir(spool.at("trap")).expect("directory");
    symlink(&victim, spool.at("trap/.Sent")).expect("link");
    symlink(spool.at("trap"), spool.at("link")).expect("link");
    symlink(&victim, spool.at("inner")).expect("link");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (one, other) in
                    [(home.join("Maildir"), spool.at("link")), (home.join("Maildir/.Sent"), spool.at("inner"))]
                {
                    // Twice is back again.
                    for _ in 0..2 {
                        renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("exchanged");
                    }
                }
            }
        });
        let told: Vec<String> = (0..15)
            .flat_map(|_| [&["check"][..], &["check", "--deep"], &["scan"], &["simulate"]])
            .map(|verb| {
                let (_, report, stderr) = idx(verb, &home);
                format!("{verb:?} {report} {stderr}")
            })
            .filter(|said| said.contains("I1") || said.contains("damaged\":1") || said.contains("is shorter"))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(told.is_empty(), "{} of 60: {}", told.len(), told[0]);
    });
}

#[test]
fn every_threat_has_its_tests() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (entry, _, one, other) in THREATS {
        assert_ne!(one, other, "{entry}: a sibling is another test");
        for name in [one, other] {
            let (program, test) = name.split_once("::").unwrap_or((name, ""));
            let text = fs::read_to_string(tests.join(program).with_extension("rs")).expect("a test program");
            assert!(test.is_empty() || text.contains(&format!("fn {test}()")), "{entry}: there is no {name}");
        }
    }
    let letters = |letter: char| THREATS.iter().filter(|(entry, ..)| entry.starts_with(letter)).count();
    assert_eq!(['A', 'B', 'C'].map(letters), [7, 5, 12]);
}

/// C11: under each name of an index stands something, and none of it is a file: that is said, by name, and not passed over.
#[test]
fn what_is_no_file_is_said() {
    let make: [(&str, fn(&Path)); 4] = [
        ("a FIFO", fifo),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).expect("socket"))),
        ("a directory", |path| fs::create_dir(path).expect("directory")),
        ("a symbolic link", |path| symlink("/nowhere/at/all", path).expect("link")),
    ];
    for (what, make) in make {
        let temp = tempfile::tempdir().expect("directory");
        let dir = temp.path().join("box");
        fs::create_dir(&dir).expect("directory");
        for name in [INDEX, LOG, "dovecot.index.cache"] {
            make(&dir.join(name));
        }
        for verb in ["check", "show", "log", "expunges", "modseq", "simulate", "dump", "rebuild"] {
            let (code, report, stderr) = idx(&[verb], &dir);
            assert!(matches!(code, 1 | 2), "{verb} {what}: {code} {report}");
            assert!((report.to_string() + &stderr).contains(what), "{verb} {what}: {report} {stderr}");
        }
    }
}

/// C4: witnesses are no larger than what they hold.
#[test]
fn a_hollow_witness_takes_no_memory() {
    let spool = tempfile::tempdir().expect("directory");
    let from = fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    for name in
        ["dovecot-uidlist", "dovecot-keywords", "subscriptions", "dovecot.list.index.log", "dovecot.index.thread"]
    {
        let dir = spool.path().join(name);
        copy(&from, &dir);
        let file = fs::File::create(dir.join(name)).expect("file");
        file.set_len(40 << 30).expect("holes");
    }
    for verb in [&["check", "--deep"][..], &["scan", "--all"]] {
        let output = Command::new("sh")
            .args(["-c", "ulimit -v 1000000; exec timeout 120 \"$@\"", "sh", env!("CARGO_BIN_EXE_idx")])
            .args(verb)
            .args(["-j", "2", "-f", "json"])
            .arg(spool.path())
            .output()
            .expect("idx runs");
        let (code, report, stderr) = answer(&output);
        assert!((0..=2).contains(&code) && report.is_object(), "{verb:?}: {code} {stderr}");
        assert!(!stderr.contains("memory"), "{verb:?}: {stderr}");
    }
}

/// What strace says of a run, with its system calls of one kind.
fn traced(calls: &str, args: &[&str], path: &Path) -> (Output, String) {
    let trace = tempfile::NamedTempFile::new().expect("file");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"])
        .arg(trace.path())
        .arg(env!("CARGO_BIN_EXE_idx"))
        .args(args)
        .arg(path)
        .output()
        .expect("strace runs");
    (output, fs::read_to_string(trace.path()).expect("a trace"))
}

/// C6: files from the future are old; locks that are held for ever are waited for a while in all, not a while each.
#[test]
#[ignore = "needs strace"]
fn nobody_makes_a_run_sleep() {
    for locked in [false, true] {
        let spool = tempfile::tempdir().expect("directory");
        let mut held = Vec::new();
        for i in 0..48 {
            let dir = spool.path().join(format!("{i}"));
            copy(&fixtures().join("2.3.19.1-maildir-chain/files/Maildir"), &dir);
            for entry in fs::read_dir(&dir).expect("directory").flatten().filter(|entry| entry.path().is_dir()) {
                fs::remove_dir_all(entry.path()).expect("removed");
            }
            let bytes = fs::read(dir.join(INDEX)).expect("index");
            fs::write(dir.join(INDEX), &bytes[..60]).expect("index");
            let year = if locked { 0 } else { 31_536_000 };
            let ahead = FileTimes::new().set_modified(std::time::SystemTime::now() + Duration::from_secs(year));
            for entry in fs::read_dir(&dir).expect("directory").flatten() {
                fs::File::open(entry.path()).and_then(|file| file.set_times(ahead)).expect("times");
            }
            if locked {
                let log = fs::File::options().read(true).write(true).open(dir.join(LOG)).expect("log");
                rustix::fs::fcntl_lock(&log, FlockOperation::NonBlockingLockExclusive).expect("lock");
                held.push(log);
            }
        }
        let (output, trace) = traced("clock_nanosleep", &["check", "-j", "8"], spool.path());
        let part = |line: &str, key: &str| {
            let rest = line.split_once(key)?.1;
            rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse::<u64>().ok()
        };
        let slept: u64 = trace
            .lines()
            .filter(|line| !line.contains("resumed"))
            .map(|line| part(line, "tv_sec=").unwrap_or(0) * 1000 + part(line, "tv_nsec=").unwrap_or(0) / 1_000_000)
            .sum();
        match locked {
            false => {
                assert_eq!((slept, output.status.code()), (0, Some(1)), "{}", String::from_utf8_lossy(&output.stderr))
            }
            // Without an end it were 620 ms for each.
            true => assert!(slept < 48 * 300, "{slept} ms"),
        }
    }
}

/// C7: however many links and nested roots a user makes, `--deep` lists each of his directories a few times.
#[test]
#[ignore = "needs strace"]
fn deep_lists_each_directory_once() {
    let lists = |nested: usize, links: usize| {
        let temp = tempfile::tempdir().expect("directory");
        let mut root = temp.path().join("mdbox");
        for i in 0..nested {
            copy(&fixtures().join("2.3.19.1-mdbox-busy/files/mdbox"), &root);
            for link in 0..links {
                symlink(&root, root.join("mailboxes").join(format!("link{link}"))).expect("link");
            }
            root = root.join("mailboxes").join(format!("nested{i}"));
        }
        let (output, trace) = traced("getdents64", &["check", "--deep", "-j", "1"], temp.path());
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
        trace.lines().count()
    };
    let (few, many) = (lists(3, 0), lists(12, 0));
    assert!(many <= 5 * few, "{few} and {many}");
    let linked = lists(3, 60);
    assert!(linked <= few + 4, "{few} and {linked}");
}

/// C12: what is mounted below a root is another file system's, unless it is asked for.
#[test]
#[ignore = "needs strace"]
fn mounts_are_crossed_when_asked_for() {
    let temp = tempfile::tempdir().expect("directory");
    let mailbox = fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    copy(&mailbox, &temp.path().join("here"));
    fs::create_dir(temp.path().join("there")).expect("directory");
    let script = "mount -t tmpfs none \"$1/there\" && cp -r \"$2\" \"$1/there/box\" && shift 2 && exec \"$@\"";
    for (more, folders) in [(&[][..], 1), (&["--one-file-system"], 1), (&["--cross"], 2)] {
        for verb in ["scan", "check", "simulate"] {
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script, "sh"]).arg(temp.path()).arg(&mailbox);
            command.arg(env!("CARGO_BIN_EXE_idx")).args([verb, "-f", "json"]).args(more).arg(temp.path());
            let (code, report, stderr) = answer(&command.output().expect("unshare"));
            if stderr.contains("Operation not permitted") {
                println!("skipped: {stderr}");
                return;
            }
            assert_eq!(code, 0, "{verb} {more:?}: {stderr}");
            let told = report.to_string().matches("there/box").count();
            match verb {
                "check" => assert_eq!(report["summary"]["mailboxes"], 2 * folders, "{more:?}: {report}"),
                _ => assert_eq!(told > 0, folders == 2, "{verb} {more:?}: {report}"),
            }
        }
    }
}
