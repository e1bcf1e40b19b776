//! The README: every block in it is run. `IDX_BLESS=1` writes the answers anew.

use std::path::Path;
use std::process::{Command, Stdio};

mod support;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// A fenced block: its language, and its lines.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// The text with its blocks taken out, and the blocks.
fn parse(text: &str) -> (Vec<String>, Vec<Block>) {
    let (mut between, mut blocks) = (vec![String::new()], Vec::new());
    let mut block: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), block.take()) {
            (Some(language), None) => block = Some(Block { language: language.to_owned(), lines: Vec::new() }),
            (Some(_), Some(whole)) => {
                blocks.push(whole);
                between.push(String::new());
            }
            (None, Some(mut open)) => {
                open.lines.push(line.to_owned());
                block = Some(open);
            }
            (None, None) => {
                let last = between.last_mut().expect("text");
                last.push_str(line);
                last.push('\n');
            }
        }
    }
    (between, blocks)
}

/// What a command prints in a directory where the fixtures have the times that the servers left them with.
fn answer(command: &str, place: &Path) -> Vec<String> {
    let bin = Path::new(env!("CARGO_BIN_EXE_idx")).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(place)
        .env("PATH", path)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .expect("sh");
    assert!(output.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Makes the fixtures that a command names, and gives files that it wrote the age of a mailbox at rest.
fn prepare(command: &str, place: &Path) {
    for word in command.split_whitespace() {
        if let Some(name) = word.strip_prefix("fixtures/").and_then(|rest| rest.split('/').next()) {
            let name = name.trim_end_matches(';');
            let to = place.join("fixtures").join(name);
            if !to.exists() {
                support::dated(name, &to.join("files"));
            }
        }
    }
}

#[test]
fn every_block_is_true() {
    let file = Path::new(TOP).join("README.md");
    let text = std::fs::read_to_string(&file).expect("README.md");
    assert!(text.len() <= 9 << 10, "{} bytes", text.len());
    let (between, mut blocks) = parse(&text);
    let place = tempfile::tempdir().expect("temporary directory");
    let mut ran = 0;
    for block in &mut blocks {
        match block.language.as_str() {
            "console" => {
                let commands: Vec<String> =
                    block.lines.iter().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect();
                let mut lines = Vec::new();
                for command in commands {
                    prepare(&command, place.path());
                    let said = answer(&command, place.path());
                    lines.push(format!("$ {command}"));
                    lines.extend(said);
                    ran += 1;
                }
                block.lines = lines;
            }
            "sh" => {
                let [command] = block.lines.as_slice() else { panic!("one command a block: {:?}", block.lines) };
                if let Some(args) = command.strip_prefix("cargo run --release -- ") {
                    prepare(args, place.path());
                    assert!(!answer(&format!("idx {args}"), place.path()).is_empty());
                } else {
                    let program = Path::new(TOP).join(command.split(' ').next().expect("a program"));
                    let syntax = Command::new("bash").arg("-n").arg(&program).status().expect("bash");
                    assert!(syntax.success(), "{}", program.display());
                }
                ran += 1;
            }
            "" => {}
            other => panic!("what is a block of {other}?"),
        }
    }
    assert!(ran >= 10, "only {ran} commands");
    let mut made = String::new();
    for (i, text) in between.iter().enumerate() {
        made += text;
        if let Some(block) = blocks.get(i) {
            made += &format!("```{}\n{}\n```\n", block.language, block.lines.join("\n"));
        }
    }
    if std::env::var_os("IDX_BLESS").is_some() {
        std::fs::write(&file, &made).expect("written");
    }
    assert!(made == text || std::env::var_os("IDX_BLESS").is_some(), "README.md has drifted:\n{made}");
}

/// Links lead somewhere.
#[test]
fn every_link_leads_to_a_file() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/tour.md"] {
        let file = Path::new(TOP).join(name);
        let text = std::fs::read_to_string(&file).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = file.parent().expect("a directory").join(link.split('#').next().unwrap_or_default());
            assert!(link.starts_with("http") || target.exists(), "{name}: {link}");
        }
    }
}

/// ARCHITECTURE.md names files that are there, and commits with the subjects they have.
#[test]
fn the_guide_leads_to_files_and_commits() {
    let text = std::fs::read_to_string(Path::new(TOP).join("ARCHITECTURE.md")).expect("a document");
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_path = |word: &&&str| word.contains('/') && !word.contains([' ', '{']) && !word.contains("VERB");
    let paths: Vec<&&str> = quoted.iter().filter(is_path).collect();
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        let found = [Path::new(TOP).join(path), Path::new(TOP).join("src").join(path)].iter().any(|at| at.exists());
        assert!(found, "ARCHITECTURE.md: {path}");
    }
    // A tree without its history has nothing to compare with.
    let git = |args: &[&str]| std::process::Command::new("git").arg("-C").arg(TOP).args(args).output();
    let whole = git(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|out| out.stdout == b"false\n");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: Vec<&str> = words.split("`git show ").skip(1).collect();
    assert!(shown.len() >= 5, "{shown:?}");
    for rest in shown.into_iter().filter(|_| whole) {
        let (commit, rest) = rest.split_once("` (").expect("a commit with its subject");
        let log = git(&["log", "-1", "--format=%s", commit]).expect("git");
        let subject = String::from_utf8_lossy(&log.stdout).trim().to_owned();
        assert!(!subject.is_empty() && rest.starts_with(&subject), "ARCHITECTURE.md: {commit} is {subject:?}");
    }
}

/// The tables of docs/format tell name, offset and size of each field as the code has them.
#[test]
fn the_formats_are_described_as_they_are_read() {
    use idx::format::Disk;
    use idx::format::{cache::CacheHeader, ext::ExtHeader, index::IndexHeader, log::LogHeader};
    for (name, nth, fields) in [
        ("index", 0, IndexHeader::FIELDS),
        ("index", 1, ExtHeader::FIELDS),
        ("log", 0, LogHeader::FIELDS),
        ("cache", 0, CacheHeader::FIELDS),
    ] {
        let text = std::fs::read_to_string(Path::new(TOP).join(format!("docs/format/{name}.md"))).expect("a document");
        let table = text.split("| at | bytes | field").nth(nth + 1).expect("a table");
        let mut described = Vec::new();
        for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let (Ok(at), Ok(size)) = (cells[1].parse::<usize>(), cells[2].parse::<usize>()) else { continue };
            described.push((cells[3].split(':').next().expect("a name").trim().to_owned(), at, size));
        }
        let read: Vec<(String, usize, usize)> =
            fields.iter().map(|field| (field.name.to_owned(), field.offset, field.size)).collect();
        assert_eq!(described, read, "docs/format/{name}.md");
    }
}
