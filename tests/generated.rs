//! `completions/` and `man/` are what the binary makes of its command line. `IDX_BLESS=1` writes them anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("readable");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect()
}

fn check(dir: &str, wanted: &BTreeMap<String, Vec<u8>>) {
    let path = committed(dir);
    if std::env::var_os("IDX_BLESS").is_some() {
        std::fs::create_dir_all(&path).expect("created");
        for name in files(&path).keys().filter(|name| !wanted.contains_key(*name)) {
            std::fs::remove_file(path.join(name)).expect("removed");
        }
        for (name, bytes) in wanted {
            std::fs::write(path.join(name), bytes).expect("written");
        }
    }
    let have = files(&path);
    assert!(have.keys().eq(wanted.keys()), "{dir}/ holds {:?}, not {:?}", have.keys(), wanted.keys());
    for (name, bytes) in wanted {
        assert!(have.get(name) == Some(bytes), "{dir}/{name} has drifted: run IDX_BLESS=1 cargo test --test generated");
    }
}

#[test]
fn completions_are_up_to_date() {
    let shells = [
        ("bash", "idx.bash"),
        ("zsh", "_idx"),
        ("fish", "idx.fish"),
        ("elvish", "idx.elv"),
        ("powershell", "_idx.ps1"),
    ];
    let scripts = shells.into_iter().map(|(shell, file)| {
        let output = Command::new(env!("CARGO_BIN_EXE_idx")).args(["completions", shell]).output().expect("idx runs");
        assert!(output.status.success());
        (file.to_owned(), output.stdout)
    });
    check("completions", &scripts.collect());
}

#[test]
fn man_pages_are_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    let status = Command::new(env!("CARGO_BIN_EXE_idx")).arg("man").arg(dir.path()).status().expect("idx runs");
    assert!(status.success());
    check("man", &files(dir.path()));
}
