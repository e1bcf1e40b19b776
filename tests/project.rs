//! What surrounds the program: its features, its toolchain, its units, its examples.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

mod support;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn run(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).current_dir(TOP).stdin(Stdio::null()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A user of the library who wants no command line gets few crates with it.
#[test]
#[ignore = "needs the crates' manifests, as whoever built this"]
fn the_library_alone_needs_little() {
    let args =
        ["tree", "--locked", "--offline", "--no-default-features", "-e", "normal,no-proc-macro", "--prefix", "none"];
    let output = run(env!("CARGO"), &args).expect("cargo");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tree = text(&output.stdout);
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for wanted in ["dovecot-idx", "thiserror", "memmap2", "rustix", "memchr"] {
        assert!(crates.contains(wanted), "{wanted} in {crates:?}");
    }
    // These, what they stand on (bitflags, libc, linux-raw-sys), and jiff for times in words.
    assert!(crates.len() <= 10, "{} crates: {crates:?}", crates.len());
}

/// `rust-toolchain.toml` names no channel, and rustup fetches nothing for it where the default toolchain will do.
#[test]
fn the_toolchain_is_not_fetched() {
    let file = std::fs::read_to_string(Path::new(TOP).join("rust-toolchain.toml")).expect("rust-toolchain.toml");
    assert!(!file.lines().any(|line| line.trim_start().starts_with("channel")), "{file}");
}

/// The same, asked of rustup with a server that does not answer and a toolchain under another name.
#[test]
#[ignore = "needs rustup and its toolchain"]
fn rustup_fetches_nothing() {
    let Some(sysroot) = run("rustc", &["--print", "sysroot"]) else { return };
    let home = tempfile::tempdir().expect("temporary directory");
    let rustup = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(TOP).env("RUSTUP_HOME", home.path()).env_remove("RUSTUP_TOOLCHAIN");
        let dead = "http://127.0.0.1:9";
        command.env("RUSTUP_DIST_SERVER", dead).env("RUSTUP_UPDATE_ROOT", dead).output()
    };
    let Ok(linked) = rustup("rustup", &["toolchain", "link", "mine", text(&sysroot.stdout).trim()]) else {
        println!("skipped: no rustup here");
        return;
    };
    assert!(linked.status.success(), "{}", text(&linked.stderr));
    assert!(rustup("rustup", &["default", "mine"]).expect("rustup").status.success());
    // What stands before it in the path under this name may be the toolchain's own.
    let proxy = std::env::var_os("CARGO_HOME").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cargo"),
        std::path::PathBuf::from,
    );
    let rustc = proxy.join("bin/rustc");
    let output = rustup(rustc.to_str().expect("UTF-8"), &["--version"]).expect("rustc of rustup");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("rustc "), "{}", text(&output.stdout));
    assert!(!text(&output.stderr).contains("syncing") && !text(&output.stderr).contains("download"));
}

/// The units are as closed as systemd can tell: exposure at most 1.0 of 10.
#[test]
fn units_are_closed() {
    for unit in ["idx-check.service", "idx-check-system.service"] {
        let path = format!("contrib/{unit}");
        let args = ["security", "--offline=true", "--threshold=10", "--no-pager", path.as_str()];
        let Some(output) = run("systemd-analyze", &args) else { return };
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{unit}: exposure above 1.0\n{all}");
    }
}

/// The units say nothing that systemd does not know.
#[test]
fn units_are_understood() {
    let units = [
        "idx-check.service",
        "idx-check.timer",
        "idx-check-system.service",
        "idx-check-system.timer",
        "idx-failed@.service",
    ];
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut paths = Vec::new();
    for unit in units {
        let from = Path::new(TOP).join("contrib").join(unit);
        let unit_text = std::fs::read_to_string(&from).expect("a unit");
        // The program need not be installed for that.
        let to = dir.path().join(unit.replace("@.", "@x."));
        std::fs::write(&to, unit_text.replace("/usr/bin/idx", env!("CARGO_BIN_EXE_idx"))).expect("written");
        paths.push(to.display().to_string());
    }
    for path in &paths {
        let Some(output) = run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", path]) else {
            return;
        };
        let said = text(&output.stderr);
        let ours: Vec<&str> =
            said.lines().filter(|line| line.contains("Unknown") || line.contains("Failed to parse")).collect();
        assert!(ours.is_empty(), "{path}: {said}");
    }
}

/// A crate that is known to be bad is used for a reason that is written down.
#[test]
fn excuses_have_reasons() {
    let file = std::fs::read_to_string(Path::new(TOP).join("deny.toml")).expect("deny.toml");
    for line in file.lines().filter(|line| line.contains("RUSTSEC-")) {
        let reason = line.split_once("reason = \"").map_or("", |(_, reason)| reason);
        assert!(reason.len() > 20, "{line}");
    }
}

#[test]
fn the_profile_is_understood() {
    let Some(output) = run("apparmor_parser", &["-Q", "-K", "-S", "contrib/apparmor/usr.bin.idx"]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Where `cargo test` puts the examples: beside the binary. One test alone does not build them.
fn example(name: &str) -> Command {
    let dir = Path::new(env!("CARGO_BIN_EXE_idx")).parent().expect("a directory").join("examples");
    if !dir.join(name).exists() {
        let built = run(env!("CARGO"), &["build", "--locked", "--example", name]).expect("cargo");
        assert!(built.status.success(), "{}", text(&built.stderr));
    }
    Command::new(dir.join(name))
}

fn answer(name: &str, path: &Path) -> String {
    let output = example(name).arg(path).output().unwrap_or_else(|error| panic!("example {name}: {error}"));
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_example_reads_a_mailbox() {
    let said = answer("read", &support::fixtures().join("2.4.1-maildir-fresh/files/Maildir"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "7 messages, UIDVALIDITY 1795421731, next UID 9");
    assert_eq!(lines.len(), 8, "{said}");
    assert!(lines[2].starts_with("UID 2 ") && lines[2].contains("$Label1"), "{said}");
}

#[test]
fn the_example_follows_a_log() {
    use support::writer::{LogWriter, seen};
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = LogWriter::create(dir.path(), 1_795_000_000);
    (1..=3).for_each(|uid| log.append(&seen(uid), 1));
    let said = answer("follow", &dir.path().join("dovecot.index.log"));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.lines().all(|line| line.contains("flag-update")), "{said}");
}

#[test]
fn the_example_judges_a_directory() {
    let sound = support::fixtures().join("2.3.19.1-sdbox-chain/files");
    assert_eq!(answer("judge", &sound).lines().last().map(|line| line.ends_with("0 findings")), Some(true));
    let copy = tempfile::tempdir().expect("temporary directory");
    std::fs::copy(sound.join("sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index"), copy.path().join("dovecot.index"))
        .expect("a copy");
    let mut bytes = std::fs::read(copy.path().join("dovecot.index")).expect("readable");
    bytes[20] |= 1; // MAIL_INDEX_HDR_FLAG_CORRUPTED
    std::fs::write(copy.path().join("dovecot.index"), bytes).expect("written");
    assert!(answer("judge", copy.path()).contains("I1"), "the corrupted flag is found");
}
