//! What the system or a hostile owner leaves idx: few descriptors, no threads, files of gigabytes that hold nothing.

mod support;

use std::fs::{self, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::fixtures;

const INDEX: &str = "dovecot.index";
const FILES: [&str; 4] = [INDEX, "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"];
/// What a verb may take of memory whatever it reads, kB: the 64 MiB of the contract, and what a build without
/// optimization takes by itself.
const MOST: u64 = (64 + 16) << 10;

fn mailbox(dir: &Path) {
    fs::create_dir_all(dir).expect("directory");
    let from = fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
    for name in FILES {
        fs::write(dir.join(name), fs::read(from.join(name)).expect("a fixture")).expect("copy");
        age(&dir.join(name));
    }
}

fn age(path: &Path) {
    let old = FileTimes::new().set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    fs::File::options().write(true).open(path).expect("file").set_times(old).expect("time");
}

/// Makes a file as long as that without giving it a byte.
fn hollow(path: &Path, len: u64) {
    fs::File::options().write(true).create(true).truncate(false).open(path).expect("file").set_len(len).expect("len");
    age(path);
}

/// The exit code, and the most memory that was seen in use, kB.
fn measured(args: &[&str], path: &Path) -> (Option<i32>, u64) {
    let mut child = Command::new("timeout")
        .args(["-k", "1", "300", env!("CARGO_BIN_EXE_idx")])
        .args(args)
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("idx runs");
    let mut most = 0;
    loop {
        let of_timeout = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        for pid in of_timeout.split_whitespace() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
            most = most.max(peak.unwrap_or(0));
        }
        if let Some(status) = child.try_wait().expect("a child") {
            return (status.code(), most);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whatever is hollow, no verb takes memory for what is not there.
#[test]
fn holes_take_no_memory() {
    let verbs: [(&str, &[&[&str]]); 3] = [
        ("dovecot.index.log", &[&["check"], &["scan"], &["show"], &["rebuild", "-n"], &["rebuild", "--accept-loss"]]),
        ("dovecot.index.log.2", &[&["check"], &["show"], &["rebuild", "--accept-loss"]]),
        (INDEX, &[&["check"], &["show"], &["rebuild", "--accept-loss"]]),
    ];
    for (name, args) in verbs.into_iter().flat_map(|(name, list)| list.iter().map(move |args| (name, args))) {
        let temp = tempfile::tempdir().expect("directory");
        mailbox(temp.path());
        hollow(&temp.path().join(name), 96 << 20);
        let (code, most) = measured(args, temp.path());
        assert!(matches!(code, Some(0..=2)), "{name} {args:?}: {code:?}");
        assert!(most < MOST, "{name} {args:?}: {most} kB");
    }
}

/// The bytes between holes are the bytes of the file, and no offset of Dovecot's reaches beyond four gigabytes.
#[test]
fn holes_are_zeros() {
    let temp = tempfile::tempdir().expect("directory");
    let path = temp.path().join("file");
    let pieces = [(0, 100), (700_001, 5), (2_000_000, 70_000), (4_194_303, 2)];
    {
        use std::os::unix::fs::FileExt;
        let file = fs::File::create(&path).expect("file");
        for (at, len) in pieces {
            file.write_all_at(&vec![0xa5; len], at).expect("written");
        }
        file.set_len(9_000_001).expect("len");
    }
    let read = idx::source::read(&path, idx::source::MmapPolicy::Auto, true).expect("read");
    assert!(read.bytes[..] == fs::read(&path).expect("bytes")[..]);
    assert!(matches!(read.bytes, idx::source::Bytes::Mapped(_)));
    hollow(&path, (4 << 30) + 1);
    let error = idx::source::read(&path, idx::source::MmapPolicy::Auto, true).expect_err("too large");
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
}

/// A tree of 120 levels and 30 mailboxes beside each other is walked with ten descriptors, whatever `-j` says, and what
/// cannot be read with fewer is said for each mailbox.
#[test]
fn few_descriptors_are_enough() {
    let temp = tempfile::tempdir().expect("directory");
    let deep: PathBuf = (0..120).fold(temp.path().to_owned(), |path, i| path.join(format!("d{i}")));
    mailbox(&deep.join("m"));
    (0..30).for_each(|i| mailbox(&temp.path().join(format!("m{i}"))));
    for (limit, whole) in [(4, false), (10, true), (16, true), (40, true), (200, true)] {
        for args in ["check -f json", "check --deep -f json -j 64", "scan -f json -j 64"] {
            let script = format!("ulimit -n {limit}; exec \"$0\" {args} \"$1\"");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_idx")])
                .arg(temp.path())
                // Whoever fakes the date opens files of its own.
                .env_remove("LD_PRELOAD")
                .output()
                .expect("idx runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            if whole {
                assert_eq!(output.status.code(), Some(0), "{limit} {args}: {stderr}");
                let count = String::from_utf8_lossy(&output.stdout).matches("/m\"").count();
                assert!(!args.starts_with("scan") || count >= 1, "{limit} {args}: the deepest is there");
            } else {
                assert_eq!(output.status.code(), Some(2), "{limit} {args}");
                assert_eq!(stderr.matches("Too many open files").count(), 31, "{limit} {args}: {stderr}");
            }
        }
    }
}

/// Where clone(2) fails, one thread does all the work, and says the same.
#[test]
#[ignore = "needs strace"]
fn no_thread_is_needed() {
    let temp = tempfile::tempdir().expect("directory");
    (0..5).for_each(|i| mailbox(&temp.path().join(format!("m{i}"))));
    for verb in ["check", "scan", "show", "log", "expunges", "modseq", "dump"] {
        let one = temp.path().join("m0").join(if verb == "dump" { INDEX } else { "" });
        let path = if matches!(verb, "check" | "scan") { temp.path().to_owned() } else { one };
        let run = |mut command: Command| {
            let output = command.args([verb, "-f", "json"]).arg(&path).output().expect("idx runs");
            assert_eq!(output.status.code(), Some(0), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
            let mut document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
            document.as_object_mut().expect("an object").remove("time");
            document
        };
        let mut without = Command::new("strace");
        without.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=clone,clone3:error=EAGAIN"]);
        without.arg(env!("CARGO_BIN_EXE_idx"));
        let with = run(Command::new(env!("CARGO_BIN_EXE_idx")));
        assert_eq!(run(without).to_string().len(), with.to_string().len(), "{verb}");
    }
}
