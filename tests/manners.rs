//! What every verb promises, whatever it does: help with examples and exit codes, errors that name the path, documents that are
//! documents, colour only where it is wanted, and files left as they were. A verb joins with one line at the end.

mod support;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::build::{self, Log, words};

/// Stands for an index file in the arguments of a verb.
const FILE: &str = "FILE";
/// Stands for a mailbox directory.
const MAILBOX: &str = "MAILBOX";

/// The verbs that walk trees: to them a directory without a mailbox is an empty tree.
const TREES: [&str; 5] = ["scan", "check", "snapshot", "verify", "crc"];

/// A verb and how it is called.
struct Verb {
    name: &'static str,
    args: &'static [&'static str],
}

/// A copy of a fixture that a verb may be let loose on.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// A maildir with index, logs and cache.
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let source = support::fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
        for entry in std::fs::read_dir(source).expect("a fixture") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                std::fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
            }
        }
        let place = Place { dir };
        place.age();
        place
    }

    /// A mailbox whose output does not fit into a pipe.
    fn large() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = Log::new(1);
        log.append(1..=20_000);
        for uid in 1..=20_000 {
            log.record(build::FLAG_UPDATE, &words(&[uid, uid, 8]));
        }
        std::fs::write(dir.path().join("dovecot.index.log"), log.bytes).expect("written");
        Place { dir }
    }

    fn mailbox(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("dovecot.index.log")
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).expect("readable");
        let mut list: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        list.sort();
        list
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.files().iter().map(|path| std::fs::read(path).expect("readable")).collect()
    }

    /// Makes every file two hours old and last read before that, so that reading it anew would show.
    fn age(&self) {
        let ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
        for path in self.files() {
            let times = std::fs::FileTimes::new().set_accessed(ago(100)).set_modified(ago(2));
            let file = std::fs::File::options().write(true).open(path).expect("opens");
            file.set_times(times).expect("times");
        }
    }

    /// Size, times and inode of every file.
    fn times(&self) -> Vec<(PathBuf, [i64; 8])> {
        let of = |path: &Path| {
            let meta = std::fs::metadata(path).expect("a file");
            let (size, ino) = (meta.size().cast_signed(), meta.ino().cast_signed());
            let (atime, mtime, ctime) = (meta.atime(), meta.mtime(), meta.ctime());
            [size, ino, atime, meta.atime_nsec(), mtime, meta.mtime_nsec(), ctime, meta.ctime_nsec()]
        };
        self.files().into_iter().map(|path| (path.clone(), of(&path))).collect()
    }
}

impl Verb {
    fn command(&self, path: &OsStr, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idx"));
        command.arg(self.name).args(more).stdin(Stdio::null());
        command.args(self.args.iter().map(|arg| match *arg {
            FILE | MAILBOX => path,
            plain => OsStr::new(plain),
        }));
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR"] {
            command.env_remove(name);
        }
        command
    }

    fn path(&self, place: &Place) -> OsString {
        if self.args.contains(&FILE) { place.file().into() } else { place.mailbox().into() }
    }

    fn run(&self, path: &OsStr, more: &[&str]) -> Output {
        self.command(path, more).output().expect("idx runs")
    }

    fn schema(&self) -> String {
        format!("idx.{}/1", self.name)
    }

    fn document(&self, output: &Output) -> Value {
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.name, String::from_utf8_lossy(&output.stdout)));
        assert_eq!(document["schema"], self.schema());
        document
    }

    fn lines(&self, output: &Output) -> Vec<Value> {
        let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
        assert!(text.is_empty() || text.ends_with('\n'), "{}: the last line has no end", self.name);
        text.lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(value.is_object(), "{line}");
                assert_eq!(value["schema"], self.schema());
                value
            })
            .collect()
    }

    fn help(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_idx")).args([self.name, "--help"]).output().expect("idx runs");
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let (_, after) = text.split_once("Examples:").expect("examples");
        let (examples, codes) = after.split_once("Exit status:").expect("exit codes");
        let count = examples.lines().filter(|line| line.contains(&format!("idx {}", self.name))).count();
        assert!(count >= 3, "{}: {count} examples", self.name);
        for code in ["0  ", "1  ", "2  "] {
            assert!(codes.contains(code), "{}: exit code {code}", self.name);
        }
        let short = Command::new(env!("CARGO_BIN_EXE_idx")).args([self.name, "-h"]).output().expect("idx runs");
        assert!(String::from_utf8_lossy(&short.stdout).contains("Examples:"), "{} -h", self.name);
        let man = Command::new(env!("CARGO_BIN_EXE_idx")).args(["help", self.name]).output().expect("idx runs");
        assert_eq!(man.status.code(), Some(0));
        assert!(!man.stdout.is_empty());
    }

    fn unknown_flag(&self) {
        let output = self.run(OsStr::new("/nowhere"), &["--no-such-flag"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--no-such-flag"));
    }

    /// Paths that lead nowhere or to nothing useful: exit code 2, the path on stderr, a document all the same.
    fn bad_paths(&self) {
        let place = Place::new();
        let in_place = |name: &str| place.mailbox().join(name);
        std::fs::write(in_place("empty"), b"").expect("written");
        std::fs::create_dir(in_place("bare")).expect("created");
        std::fs::write(in_place("text"), b"This is no index file, whatever its reader may think.\n").expect("written");
        // Even root cannot read this one.
        symlink(in_place("loop"), in_place("loop")).expect("linked");
        let mut paths: Vec<PathBuf> = ["missing", "empty", "text", "loop"].into_iter().map(in_place).collect();
        if !TREES.contains(&self.name) {
            paths.push(in_place("bare"));
        }
        paths.push("/dev/null".into());
        if !rustix::process::geteuid().is_root() {
            let secret = in_place("secret");
            std::fs::write(&secret, b"secret").expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
            std::fs::set_permissions(&secret, mode).expect("permissions");
            paths.push(secret);
        }
        for path in paths {
            for format in ["table", "json", "ndjson"] {
                let output = self.run(path.as_os_str(), &["--format", format]);
                let stderr = String::from_utf8_lossy(&output.stderr);
                let what = format!("{} -f {format} {}: {stderr}", self.name, path.display());
                assert_eq!(output.status.code(), Some(2), "{what}");
                assert!(stderr.contains(path.to_str().expect("UTF-8")), "{what}");
                assert!(stderr.starts_with("idx: "), "{what}");
                match format {
                    "json" => drop(self.document(&output)),
                    "ndjson" => assert!(!self.lines(&output).is_empty(), "{what}"),
                    _ => {}
                }
            }
        }
    }

    fn documents(&self) {
        let place = Place::new();
        let path = self.path(&place);
        let output = self.run(&path, &["-f", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        self.document(&output);
        let output = self.run(&path, &["--format=ndjson"]);
        assert_eq!(output.status.code(), Some(0));
        assert!(!self.lines(&output).is_empty());
        let output = self.run(&path, &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(std::str::from_utf8(&output.stdout).is_ok());
    }

    fn colours(&self) {
        let place = Place::new();
        let path = self.path(&place);
        let out = |more: &[&str], env: &[(&str, &str)]| {
            let output = self.command(&path, more).envs(env.iter().copied()).output().expect("idx runs");
            assert_eq!(output.status.code(), Some(0));
            output.stdout
        };
        let coloured = |text: &[u8]| text.contains(&0x1b);
        // Verbs that speak of the present time never say the same twice, so that only the colour is compared.
        assert!(!coloured(&out(&[], &[])), "{}: colour without a terminal", self.name);
        let always = out(&["--color", "always"], &[]);
        // A verb that is silent when all is well has nothing to colour.
        let some = !always.is_empty();
        assert_eq!(coloured(&always), some, "{}: --color always", self.name);
        assert_eq!(coloured(&out(&["--color=always"], &[("NO_COLOR", "1")])), some, "a flag outranks the environment");
        assert_eq!(coloured(&out(&[], &[("CLICOLOR_FORCE", "1")])), some, "{}: CLICOLOR_FORCE", self.name);
        assert!(!coloured(&out(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")])), "{}: NO_COLOR", self.name);
        assert!(!coloured(&out(&["--color", "never"], &[("CLICOLOR_FORCE", "1")])), "{}: --color never", self.name);
        for format in ["json", "ndjson"] {
            assert!(!coloured(&out(&["--color", "always", "-f", format], &[])), "{}: colour in JSON", self.name);
        }
    }

    fn closed_pipe(&self) {
        let place = Place::large();
        let path = self.path(&place);
        for format in ["table", "json", "ndjson"] {
            let whole = self.run(&path, &["-f", format]);
            for read in [0, 1, 5000] {
                let mut command = self.command(&path, &["-f", format]);
                let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("idx runs");
                let mut out = child.stdout.take().expect("a pipe");
                // A verb with less to say has said it all by then.
                let mut some = Vec::new();
                out.by_ref().take(read).read_to_end(&mut some).expect("some output");
                drop(out);
                let output = child.wait_with_output().expect("idx ends");
                assert_eq!(output.status, whole.status, "{} -f {format}", self.name);
                let stderr = [&output.stderr, &whole.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                assert_eq!(stderr[0], stderr[1], "{} -f {format}", self.name);
            }
        }
    }

    fn leaves_files_alone(&self) {
        let place = Place::new();
        let bytes = place.bytes();
        // Reading them here was the last that may have changed these.
        place.age();
        let times = place.times();
        let path = self.path(&place);
        for format in ["table", "json", "ndjson"] {
            for more in [&[][..], &["--mmap", "always"], &["--mmap", "never"]] {
                let mut args = vec!["-f", format];
                args.extend(more);
                let output = self.run(&path, &args);
                assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        assert_eq!(place.times(), times, "{}: times", self.name);
        assert!(place.bytes() == bytes, "{}: bytes", self.name);
    }

    /// `-` stands for paths on standard input, whichever way they are separated.
    fn names_on_stdin(&self) {
        let (one, two) = (Place::new(), Place::new());
        let paths = [self.path(&one), self.path(&two)];
        for separator in [b"\n", b"\0"] {
            let mut command = self.command(OsStr::new("-"), &["-f", "ndjson"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("idx runs");
            let mut input = child.stdin.take().expect("a pipe");
            for path in &paths {
                input.write_all(path.as_bytes()).and_then(|()| input.write_all(separator)).expect("written");
            }
            drop(input);
            let output = child.wait_with_output().expect("idx ends");
            assert_eq!(output.status.code(), Some(0));
            let lines = self.lines(&output);
            for path in &paths {
                let path = path.to_str().expect("UTF-8");
                let alone = self.run(OsStr::new(path), &["-f", "ndjson"]);
                if !String::from_utf8_lossy(&alone.stdout).contains(path) {
                    continue;
                }
                assert!(lines.iter().any(|line| line.to_string().contains(path)), "{}: {path}", self.name);
            }
        }
        // One that cannot be read does not keep the others from being answered.
        let mut command = self.command(OsStr::new("-"), &["-f", "json"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("idx runs");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"/nowhere/at/all\n").and_then(|()| input.write_all(paths[0].as_bytes())).expect("written");
        drop(input);
        let output = child.wait_with_output().expect("idx ends");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all"));
        let document = self.document(&output);
        let errors = document["errors"].as_array().unwrap_or_else(|| panic!("{}: errors", self.name));
        let named = |one: &&Value| one["path"] == "/nowhere/at/all" && one["error"].is_string();
        assert_eq!(errors.iter().filter(named).count(), 1, "{}: {errors:?}", self.name);
        let (text, path) = (document.to_string(), paths[0].to_str().expect("UTF-8"));
        let alone = self.run(&paths[0], &["-f", "json"]);
        assert!(text.contains(path) || !String::from_utf8_lossy(&alone.stdout).contains(path), "{}: {path}", self.name);
    }
}

/// `manners!(verb, [arguments])` tests all that a reading verb promises.
macro_rules! manners {
    ($verb:ident, [$($arg:expr),*]) => {
        mod $verb {
            use super::*;
            const VERB: Verb = Verb { name: stringify!($verb), args: &[$($arg),*] };

            #[test]
            fn help_has_examples_and_exit_codes() {
                VERB.help();
            }
            #[test]
            fn an_unknown_flag_is_a_usage_error() {
                VERB.unknown_flag();
            }
            #[test]
            fn bad_paths_are_named_and_answered() {
                VERB.bad_paths();
            }
            #[test]
            fn documents_are_documents() {
                VERB.documents();
            }
            #[test]
            fn colour_is_only_where_it_is_wanted() {
                VERB.colours();
            }
            #[test]
            fn a_closed_pipe_ends_quietly() {
                VERB.closed_pipe();
            }
            #[test]
            fn files_are_left_as_they_were() {
                VERB.leaves_files_alone();
            }
            #[test]
            fn names_come_from_standard_input() {
                VERB.names_on_stdin();
            }
        }
    };
}

manners!(dump, [FILE]);
manners!(show, [MAILBOX]);
manners!(log, [MAILBOX]);
manners!(modseq, [MAILBOX]);
manners!(expunges, [MAILBOX]);
manners!(qresync, [MAILBOX, "--uidvalidity", "1", "--modseq", "1"]);
manners!(check, [MAILBOX]);
manners!(scan, [MAILBOX]);
manners!(simulate, [MAILBOX]);

#[test]
fn verbs_about_idx_itself_have_help() {
    for name in ["completions", "man", "help"] {
        Verb { name, args: &[] }.help();
    }
}
