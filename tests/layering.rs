//! Modules import downwards only, and the library leaves printing and giving up to its callers.

use std::path::{Path, PathBuf};

/// The rooms from the bottom up. A room imports only from rooms on lower floors; those on one floor do not know each other.
const FLOORS: [&[&str]; 9] = [
    &["format"],
    &["source", "render", "model"],
    &["storage"],
    &["logs", "check", "store"],
    &["simulate", "repair"],
    &["ops"],
    &["view"],
    &["cli"],
    &["main"],
];

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// The source files of the crate, each with the room it is in; files of tests alone are left out.
fn sources() -> Vec<(String, PathBuf, String)> {
    fn walk(dir: &Path, list: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, list);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                list.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut list = Vec::new();
    walk(&root, &mut list);
    list.sort();
    list.into_iter()
        .map(|path| {
            let first = path.strip_prefix(&root).expect("below src").components().next().expect("a name");
            let room = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            (room, path, text)
        })
        .collect()
}

/// The lines of a file that are code of the library: neither comments nor tests, which stand at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()))
}

#[test]
fn modules_import_downwards() {
    let mut found = Vec::new();
    for (room, path, text) in sources() {
        if room == "lib" {
            continue;
        }
        let floor =
            floor_of(&room).unwrap_or_else(|| panic!("{}: on which floor is {room}? Say so here", path.display()));
        for (number, line) in code(&text) {
            for prefix in ["crate::", "idx::"] {
                for (at, _) in line.match_indices(prefix) {
                    let before = line[..at].chars().next_back();
                    if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                        continue;
                    }
                    let rest = &line[at + prefix.len()..];
                    let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let upwards = floor_of(&target).is_some_and(|other| other >= floor);
                    if upwards && target != room {
                        found.push(format!("{}:{number}: {room} imports {target}", path.display()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_library_does_not_print_or_give_up() {
    let mut found = Vec::new();
    for (room, path, text) in sources().into_iter().filter(|(room, ..)| !matches!(room.as_str(), "main")) {
        let mut words = vec![".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "dbg!("];
        if room != "cli" {
            words.extend(["clap::", "println!(", "eprintln!(", "print!(", "std::process::exit"]);
        }
        for (number, line) in code(&text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn one_place_reads_the_clock_of_the_host() {
    let mut found = Vec::new();
    for (room, path, text) in sources() {
        if room == "cli" || path.ends_with("source/time.rs") {
            continue;
        }
        for (number, line) in code(&text) {
            if ["SystemTime::now", "Timestamp::now", "Zoned::now"].iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {room} reads the clock", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Who asks the clock itself, because it is about the host at this moment: the present of a reading, locks, files that
/// rest or not, records that come while one looks, lines of a journal. Everything else is told the time.
#[test]
fn the_time_is_told_and_asked_in_few_places() {
    let may = [
        "ops/inspect.rs",
        "ops/many.rs",
        "logs/walk.rs",
        "storage/mod.rs",
        "storage/maildir.rs",
        "store/lock.rs",
        "store/undo.rs",
    ];
    for (room, path, text) in sources().into_iter().filter(|(room, ..)| !matches!(room.as_str(), "cli" | "source")) {
        let asks = code(&text).any(|(_, line)| line.contains("source::now()"));
        assert!(!asks || may.iter().any(|file| path.ends_with(file)), "{}: {room} asks the clock", path.display());
    }
}

/// The paths that the `use` lines of a file and its other code name, each cut at its `::`.
fn named(text: &str) -> Vec<Vec<String>> {
    fn open(before: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
        let (head, inside) = match tree.split_once('{') {
            Some((head, rest)) => (head, rest.rsplit_once('}').map(|(inside, _)| inside)),
            None => (tree, None),
        };
        let parts = head.split("::").map(|part| part.split(" as ").next().unwrap_or_default().trim().to_owned());
        let path: Vec<String> = before.iter().cloned().chain(parts.filter(|part| !part.is_empty())).collect();
        let Some(inside) = inside else { return found.push(path) };
        let (mut depth, mut from) = (0, 0);
        for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    open(&path, &inside[from..at], found);
                    from = at + 1;
                }
                _ => {}
            }
        }
    }
    let text: String = code(text).map(|(_, line)| [line, " "].concat()).collect();
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in text.match_indices(start) {
            if !text[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                let is_use = text[..at].trim_end().ends_with("use");
                let ends: &[char] =
                    if is_use { &[';'] } else { &[';', '{', '(', ')', ',', '<', '>', ' ', '[', '&', '!'] };
                open(&[], text[at..].split(ends).next().unwrap_or_default(), &mut found);
            }
        }
    }
    found
}

/// No file of a room names another that leads back to it: what is read first stands on what is read already. The rooms
/// that [`modules_import_downwards`] holds cannot be in one circle; the root of a room gathers, and is left out.
#[test]
fn files_of_a_room_are_in_no_circle() {
    use std::collections::{BTreeMap, BTreeSet};
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let key = |path: &Path| -> Vec<String> {
        let path = path.strip_prefix(&root).expect("below src").with_extension("");
        let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        parts.filter(|part| part != "mod").collect()
    };
    let files: BTreeMap<Vec<String>, String> =
        sources().iter().map(|(_, path, text)| (key(path), text.clone())).collect();
    let mut names: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (file, text) in &files {
        for path in named(text) {
            let up = path.iter().take_while(|part| *part == "super").count();
            let base = if up == 0 { &[][..] } else { &file[..file.len().saturating_sub(up)] };
            let full: Vec<String> = base.iter().chain(&path[up.max(1)..]).cloned().collect();
            let target = (1..=full.len()).rev().find_map(|n| files.get_key_value(&full[..n]));
            if let Some((target, _)) = target.filter(|(to, _)| !to.starts_with(file) && !file.starts_with(to)) {
                names.entry(file).or_default().insert(target);
            }
        }
    }
    assert!(names.len() > 100, "{}", names.len());
    // What names nothing that is left is in no circle.
    while let Some(done) = files.keys().find(|file| {
        let file = file.as_slice();
        names.get(file).is_some_and(|to| !to.iter().any(|one| names.contains_key(one)))
    }) {
        names.remove(done.as_slice());
    }
    let left: Vec<String> = names.keys().map(|file| file.join("/")).collect();
    assert!(left.is_empty(), "these lead to a circle: {}", left.join(", "));
}

/// Names of public types that still stand in two rooms: no name is to come to them. The options of a verb are called
/// alike everywhere.
const NAMED_TWICE: [&str; 25] = [
    "Entry",
    "Evidence",
    "Expunges",
    "Findings",
    "Hole",
    "Log",
    "Logs",
    "Lost",
    "ModseqHeader",
    "Options",
    "Origin",
    "Part",
    "Past",
    "Place",
    "Report",
    "Roots",
    "Row",
    "Scan",
    "State",
    "Status",
    "Step",
    "Summary",
    "Trees",
    "Unit",
    "Verdict",
];

#[test]
fn the_name_of_a_type_means_one_thing() {
    let mut places = std::collections::BTreeMap::<String, Vec<PathBuf>>::new();
    for (_, path, text) in sources() {
        for (_, line) in code(&text) {
            let line = line.trim_start();
            let Some(public) = line.strip_prefix("pub").filter(|rest| rest.starts_with([' ', '('])) else { continue };
            let item = public.split_once(' ').map_or("", |(_, item)| item);
            let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| item.strip_prefix(kind));
            let name: String = name.unwrap_or("").chars().take_while(|c| c.is_alphanumeric()).collect();
            if !name.is_empty() {
                places.entry(name).or_default().push(path.clone());
            }
        }
    }
    assert!(places.len() > 300, "{}", places.len());
    let twice = places.iter().filter(|(_, paths)| paths.len() > 1);
    let new: Vec<_> = twice.clone().filter(|(name, _)| !NAMED_TWICE.contains(&name.as_str())).collect();
    assert!(new.is_empty(), "{new:?}");
    let gone: Vec<_> = NAMED_TWICE.iter().filter(|name| !twice.clone().any(|(twice, _)| twice == *name)).collect();
    assert!(gone.is_empty(), "named once now: {gone:?}");
}

#[test]
fn only_mapping_is_unsafe() {
    for (_, path, text) in sources() {
        let has = code(&text).any(|(_, line)| line.contains("unsafe "));
        assert_eq!(has, path.ends_with("source/bytes.rs"), "{}", path.display());
    }
}

#[test]
fn formats_and_model_do_no_input_or_output() {
    for (room, path, text) in sources().into_iter().filter(|(room, ..)| matches!(room.as_str(), "format" | "model")) {
        for (number, line) in code(&text) {
            for word in ["std::fs", "std::io", "std::net", "std::process", "std::env", "clap", "serde"] {
                assert!(!line.contains(word), "{}:{number}: {room} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn files_and_lines_can_be_read_at_once() {
    let mut found = Vec::new();
    let mut verbs = 0;
    for (room, path, text) in sources() {
        let lines = text.lines().count();
        verbs += if room == "ops" { lines } else { 0 };
        if lines > 750 {
            found.push(format!("{}: {lines} lines", path.display()));
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.len() > 120) {
            found.push(format!("{}:{}: {} columns", path.display(), number + 1, line.len()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(verbs <= 5000, "ops/ has {verbs} lines: what is not a verb has a room of its own");
}

/// What looks a path up. Below a directory that somebody else owns a path leads somewhere else the second time, so
/// everything there goes through [`idx::source::Dir`], and these words are left to the places below.
const BY_PATH: [&str; 15] = [
    "std::fs::",
    "File::open",
    "File::options",
    ".exists()",
    ".is_file()",
    ".is_symlink()",
    "symlink_metadata",
    "canonicalize",
    "path.is_dir()",
    "dir.is_dir()",
    "Dir::open(",
    "add_watch(",
    "rustix::fs::CWD",
    "MailboxFiles::at(",
    "MailboxFiles::of(",
];

/// The places where a path is looked up, each with the reason.
const DOORS: [(&str, &str); 20] = [
    ("source/named.rs", "a file that the caller named, or what he has another program write, links and all, once"),
    ("source/dir.rs", "another root that the caller told (--mail-location), which must have the same owner"),
    ("source/watch.rs", "the open directory of a mailbox, by its descriptor in the system's own /proc"),
    ("source/fileset.rs", "what a path of the caller means; then one descriptor of its directory"),
    ("source/walk.rs", "the root of a walk, that the caller named, once"),
    ("store/output.rs", "files and directories that the caller wants written"),
    ("store/lock.rs", "the system's own /proc: who holds a lock"),
    ("store/signals.rs", "the system's own /proc: threads of this process"),
    ("store/owner.rs", "the system's own /etc/passwd and /etc/group"),
    ("store/undo.rs", "entries of an archive that is open"),
    ("ops/check.rs", "whether the caller named a file or a directory"),
    ("ops/rebuild.rs", "whether the caller named a file or a directory, and a mailbox without index, once"),
    ("ops/simulate.rs", "whether the caller named a mailbox or a tree"),
    ("ops/show.rs", "the directory of private indexes that the caller named with --pvt"),
    ("cli/dump.rs", "whether the caller named a file or a directory"),
    ("cli/verbs.rs", "whether a word that is no verb is a path"),
    ("cli/complete.rs", "whether a word that is a verb is a directory, too"),
    ("cli/paths.rs", "whether what the caller named is there"),
    ("cli/simulate.rs", "whether the caller named a tree"),
    ("cli/check.rs", "whether the caller named files or directories"),
];

#[test]
fn paths_are_looked_up_in_named_places() {
    let mut found = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for (_, path, text) in sources() {
        let name = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
        let name = name.to_str().expect("UTF-8");
        for (number, line) in code(&text).filter(|(_, line)| !line.trim_start().starts_with("use ")) {
            if let Some(word) = BY_PATH.iter().find(|word| line.contains(**word)) {
                match DOORS.iter().find(|(door, _)| *door == name) {
                    Some((door, _)) => _ = used.insert(*door),
                    None => found.push(format!("{name}:{number}: {word}")),
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let unused: Vec<_> = DOORS.iter().filter(|(door, _)| !used.contains(door)).collect();
    assert!(unused.is_empty(), "no door any more: {unused:?}");
}

/// Below a mailbox the witnesses are looked for by name in open directories, whoever asks.
#[test]
fn storage_opens_nothing_by_path() {
    for (_, path, text) in
        sources().into_iter().filter(|(room, ..)| matches!(room.as_str(), "storage" | "check" | "repair"))
    {
        for (number, line) in code(&text).filter(|(_, line)| !line.trim_start().starts_with("use ")) {
            if let Some(word) = BY_PATH.iter().find(|word| line.contains(**word)) {
                panic!("{}:{number}: {word}", path.display());
            }
        }
    }
}
