//! What every verb promises, whatever it does: help with examples and exit codes, errors that name the path, documents that are
//! documents, colour only where it is wanted, and files left as they were. A verb joins with one line at the end; what
//! holds for all of them is asked of all that the command line has, so that none is forgotten.

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

/// How each verb is called where all are asked: its arguments, and whether its work is writing.
const ALL: [(&str, &[&str], bool); 14] = [
    ("check", &[MAILBOX, "--deep", "--verbose"], false),
    ("dump", &[MAILBOX], false),
    ("log", &[MAILBOX], false),
    ("show", &[MAILBOX], false),
    ("modseq", &[MAILBOX], false),
    ("expunges", &[MAILBOX], false),
    ("qresync", &[MAILBOX, "--uidvalidity", "1", "--modseq", "1"], false),
    ("rebuild", &[MAILBOX, "--accept-loss"], true),
    ("undo", &[MAILBOX], true),
    ("scan", &[MAILBOX, "--all"], false),
    ("simulate", &[MAILBOX], false),
    ("completions", &["bash"], false),
    ("man", &["MAN"], true),
    ("help", &[], false),
];

/// More ways of the same verbs that print something else.
const MORE: [(&str, &[&str], bool); 11] = [
    ("check", &[MAILBOX, "--nagios"], false),
    ("check", &[MAILBOX, "--prometheus", "-"], false),
    ("log", &[MAILBOX, "--stats"], false),
    ("show", &[MAILBOX, "--uid", "1:3"], false),
    ("modseq", &[MAILBOX, "--history"], false),
    ("dump", &[MAILBOX, "--hex"], false),
    ("rebuild", &[MAILBOX, "-n"], false),
    ("undo", &[MAILBOX, "--list"], false),
    ("undo", &[MAILBOX, "-n"], false),
    ("scan", &[MAILBOX], false),
    ("simulate", &[MAILBOX, "--recursive"], false),
];

/// A mailbox for one run: a damaged one, so that there is something to say; rebuilt already where there is to be undone.
struct Subject {
    home: tempfile::TempDir,
    mailbox: PathBuf,
}

impl Subject {
    fn new(name: &OsStr, verb: &str) -> Subject {
        let home = tempfile::tempdir().expect("a directory");
        let mailbox = home.path().join(name);
        std::fs::create_dir_all(mailbox.join("cur")).expect("a directory");
        std::fs::create_dir(mailbox.join("new")).expect("a directory");
        let source = support::fixtures().join("2.3.19.1-maildir-chain/files/Maildir");
        for file in ["dovecot.index", "dovecot.index.log", "dovecot.index.log.2", "dovecot.index.cache"] {
            std::fs::copy(source.join(file), mailbox.join(file)).expect("copied");
        }
        let mut index = std::fs::read(mailbox.join("dovecot.index")).expect("an index");
        index[20] |= 1; // MAIL_INDEX_HDR_FLAG_CORRUPTED
        std::fs::write(mailbox.join("dovecot.index"), index).expect("written");
        let old = std::fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_000_000));
        for entry in std::fs::read_dir(&mailbox).expect("a directory").flatten() {
            std::fs::File::open(entry.path()).and_then(|file| file.set_times(old)).expect("times");
        }
        let subject = Subject { home, mailbox };
        if verb == "undo" {
            assert_eq!(subject.run("rebuild", &[MAILBOX, "--accept-loss"], "table", "").status.code(), Some(0));
        }
        subject
    }

    /// Runs a verb with its streams turned as a shell does it.
    fn run(&self, verb: &str, args: &[&str], format: &str, streams: &str) -> Output {
        let man = self.home.path().join("man");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec \"$@\" {streams}")).arg("sh");
        command.arg(env!("CARGO_BIN_EXE_idx")).args([verb, "-f", format]);
        command.args(args.iter().map(|arg| match *arg {
            MAILBOX => self.mailbox.as_os_str(),
            "MAN" => man.as_os_str(),
            plain => OsStr::new(plain),
        }));
        // Whoever fakes the date keeps it in a file that takes the place of a closed stream.
        command.env_remove("LD_PRELOAD").stdin(Stdio::null()).output().expect("idx runs")
    }
}

/// Every verb that the command line has, in every format.
fn each_verb(list: &[(&str, &[&str], bool)], mut each: impl FnMut(&str, &[&str], bool, &str)) {
    let there: Vec<String> = idx::cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let asked: Vec<&str> = ALL.iter().map(|(verb, ..)| *verb).collect();
    for verb in &there {
        assert!(asked.contains(&verb.as_str()), "{verb} is new: say in ALL how it is called");
    }
    for (verb, args, writes) in list {
        for format in ["table", "json", "ndjson"] {
            each(verb, args, *writes, format);
        }
    }
}

/// A stream that is full or closed changes no exit status, but that a verb which only reads has not answered.
#[test]
fn full_and_closed_streams() {
    each_verb(&ALL, |verb, args, writes, format| {
        let run = |streams: &str| Subject::new(OsStr::new("box"), verb).run(verb, args, format, streams);
        let what = format!("{verb} -f {format}");
        let whole = run("");
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let full = run(">/dev/full");
        if whole.stdout.is_empty() {
            assert_eq!(full.status, whole.status, "{what}: {}", said(&full));
        } else if writes {
            assert_eq!(full.status, whole.status, "{what}: the status is that of the work: {}", said(&full));
            assert!(said(&full).contains("its report could not be written"), "{what}: {}", said(&full));
        } else {
            assert_eq!(full.status.code(), Some(2), "{what}: {}", said(&full));
            assert!(said(&full).contains("No space left"), "{what}: {}", said(&full));
        }
        for streams in ["2>/dev/full", "2>&-", ">&-", ">&- 2>&-", "| true"] {
            let output = run(streams);
            // Of a pipeline a shell tells the status of the last; the verb's own is asked for in `closed_pipe`.
            if streams != "| true" {
                assert_eq!(output.status, whole.status, "{what} {streams}: {}", said(&output));
            }
            assert!(!said(&output).to_lowercase().contains("broken pipe"), "{what} {streams}: {}", said(&output));
            assert!(!said(&output).contains("panic"), "{what} {streams}: {}", said(&output));
        }
        // The same where there is something to complain of.
        let run = |streams: &str| Subject::new(OsStr::new("box"), "").run(verb, &["/dev/null/at/all"], format, streams);
        let whole = run("");
        for streams in ["2>/dev/full", "2>&-"] {
            assert_eq!(run(streams).status, whole.status, "{what} /dev/null/at/all {streams}");
        }
    });
}

/// Characters that turn a line around, end it, hide in it, or speak to the terminal; and bytes that are no text.
const HOSTILE: &[u8] = b"ev\x1b]0;PWN\x07\nidx: all sound\r\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8\xe2\x80\x8b\xc2\x85\xc2\xad\x7f\xff\"'\\{}";

/// What must not reach people: control characters but for line ends, and the format characters of [`HOSTILE`].
fn unsafe_for_people(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.chars().any(|c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202e}' | '\u{2066}' | '\u{2028}' | '\u{200b}' | '\u{ad}' | char::REPLACEMENT_CHARACTER)
    }) || text.lines().any(|line| line.starts_with("idx: all sound"))
}

/// A name that is no text, or worse, is escaped for people and given as bytes in JSON, by every verb.
#[test]
fn hostile_names_of_directories() {
    let all: Vec<_> = ALL.iter().chain(&MORE).copied().filter(|(_, args, _)| args.contains(&MAILBOX)).collect();
    each_verb(&all, |verb, args, _, format| {
        for name in [HOSTILE.to_vec(), [HOSTILE, b"/Maildir/.", HOSTILE].concat()] {
            let subject = Subject::new(OsStr::from_bytes(&name), verb);
            let output = subject.run(verb, args, format, "");
            let what = format!("{verb} {args:?} -f {format}");
            let code = output.status.code();
            assert!(matches!(code, Some(0..=2)), "{what}: {code:?} {}", String::from_utf8_lossy(&output.stderr));
            assert!(!unsafe_for_people(&output.stderr), "{what}: {}", output.stderr.escape_ascii());
            let plain = args.contains(&"--nagios") || args.contains(&"--prometheus");
            if format == "table" || args.contains(&"--nagios") {
                assert!(!unsafe_for_people(&output.stdout), "{what}: {}", output.stdout.escape_ascii());
            } else if !plain {
                let text = std::str::from_utf8(&output.stdout).unwrap_or_else(|error| panic!("{what}: {error}"));
                let documents: Vec<Value> = serde_json::Deserializer::from_str(text)
                    .into_iter()
                    .collect::<Result<_, _>>()
                    .unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
                assert!(!documents.is_empty(), "{what}");
                assert!(documents[0]["given"][0]["base64"].is_string(), "{what}: {}", documents[0]);
                assert!(!text.contains('\u{fffd}'), "{what}: a name cut to what is text: {text}");
            }
        }
    });
}

/// The same of names inside the files: keywords, extensions, headers in a cache, attributes.
#[test]
fn hostile_names_in_files() {
    let all: Vec<_> = ALL.iter().chain(&MORE).copied().filter(|(_, args, _)| args.contains(&MAILBOX)).collect();
    each_verb(&all, |verb, args, _, format| {
        let home = tempfile::tempdir().expect("a directory");
        let mailbox = home.path().join("box");
        std::fs::create_dir(&mailbox).expect("a directory");
        let mut log = Log::new(1);
        log.append(1..=3).keyword(HOSTILE, 1, 2).intro(u32::MAX, HOSTILE, 0, 4, 4);
        let attribute = [&b"+"[..], HOSTILE, b"\0", &words(&[1_796_000_000]), &words(&[3])].concat();
        let padding = vec![0; (4 - attribute.len() % 4) % 4];
        log.record(build::ATTRIBUTE_UPDATE, &[attribute, padding].concat());
        log.record(build::HEADER_UPDATE, &[&[0, 0, 4, 0][..], &[1, 2, 3, 4]].concat());
        std::fs::write(mailbox.join("dovecot.index.log"), log.bytes).expect("written");
        let field = ("hdr.ev\u{1b}]0;PWN\u{7}\u{202e}\u{200b}", u32::MAX, 3);
        std::fs::write(mailbox.join("dovecot.index.cache"), build::cache(&[field], 1)).expect("written");
        std::fs::write(mailbox.join("dovecot.index"), build::index(&[], 8, &[0; 24], |_| {})).expect("written");
        let subject = Subject { home, mailbox };
        let output = subject.run(verb, args, format, "");
        let what = format!("{verb} {args:?} -f {format}");
        assert!(matches!(output.status.code(), Some(0..=2)), "{what}");
        assert!(!unsafe_for_people(&output.stderr), "{what}: {}", output.stderr.escape_ascii());
        if format == "table" {
            assert!(!unsafe_for_people(&output.stdout), "{what}: {}", output.stdout.escape_ascii());
        } else if !args.contains(&"--nagios") && !args.contains(&"--prometheus") {
            let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
            documents.for_each(|document| _ = document.unwrap_or_else(|error| panic!("{what}: {error}")));
        }
    });
}

/// The process that holds a lock has a name that it gave itself.
#[test]
fn a_hostile_name_of_a_lock_holder() {
    let subject = Subject::new(OsStr::new("box"), "undo");
    let log = subject.mailbox.join("dovecot.index.log");
    let file = std::fs::File::options().read(true).write(true).open(log).expect("a log");
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("a lock");
    let comm = format!("/proc/{}/comm", std::process::id());
    let mine = std::fs::read(&comm).expect("a name");
    std::fs::write(&comm, b"\x1b]0;e\x07\n\xe2\x80\xaex").expect("a name");
    let args = [MAILBOX, "--lock-timeout", "100ms"];
    for (verb, format) in [("rebuild", "table"), ("rebuild", "json"), ("undo", "table"), ("undo", "ndjson")] {
        let output = subject.run(verb, &args, format, "");
        let told = [output.stdout.clone(), output.stderr.clone()].concat();
        assert!(!unsafe_for_people(&told), "{verb} {format}: {}", told.escape_ascii());
    }
    let output = subject.run("undo", &args, "table", "");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&std::process::id().to_string()));
    std::fs::write(&comm, mine).expect("a name");
}
