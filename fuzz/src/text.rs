//! What people and other programs write: undo files, transcripts, settings, names.

use std::fs;
use std::io::sink;
use std::path::Path;
use std::sync::OnceLock;

use idx::cli::grammar;
use idx::format::mutf7;
use idx::model::UidSet;
use idx::model::replay::Until;
use idx::ops::undo::{self, Task, UndoReport};
use idx::ops::{opened, qresync, show};
use idx::render::document::JsonDocument;
use idx::simulate::settings::{Settings, Version, parse_interval, parse_size, read_config};
use idx::simulate::synthetic::{Pattern, Storage, Synthetic};
use idx::simulate::trace::Trace;
use idx::simulate::{Options, Simulation, Workload, question};
use idx::source::place::{guid_of, name_of, probable_root, root_of, user_of};
use idx::source::{MmapPolicy, Name, Signs};
use idx::store::undo::ContentSum;
use serde_json::Value;

use super::mailbox::{undo_options, undoable};
use super::scratch;

/// Bytes under the name of the undo file: as they are, and once more with every sum in them right.
pub fn undo(data: &[u8]) {
    undo_one(data);
    undo_one(&resealed(data));
}

fn undo_one(data: &[u8]) {
    let (files, _) = undoable();
    let home = scratch::dir("undo");
    let mut all = files.clone();
    all.push(("dovecot.index.idx-undo".into(), data.to_vec()));
    all.push(("bystander".into(), b"somebody's".to_vec()));
    scratch::write(&home, &all);
    let index = home.join("dovecot.index");
    let largest = all.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(0);
    let before = scratch::listing(&home);
    for task in [Task::List, Task::All, Task::Last] {
        let dry = undo::run(&index, &undo_options(task, true));
        assert!(scratch::listing(&home) == before, "a dry run has written");
        if task == Task::List {
            let _ = undo::run(&index, &undo_options(task, false));
            assert!(scratch::listing(&home) == before, "a list has written");
        } else if let (Ok(dry), Task::Last) = (dry, task) {
            let wet = undo::run(&index, &undo_options(task, false)).expect("as the dry run");
            let alike = |report: UndoReport| format!("{:?}", UndoReport { dry_run: false, ..report });
            assert_eq!(alike(dry), alike(wet), "a dry run and a run");
        }
    }
    let _ = undo::run(&index, &undo_options(Task::All, false));
    let roles = ["", ".log", ".log.2", ".cache", ".backup", ".idx-undo"].map(|end| format!("dovecot.index{end}"));
    for (name, bytes, mode) in scratch::listing(&home) {
        if name == "bystander" {
            assert_eq!(bytes, b"somebody's");
            continue;
        }
        assert!(roles.contains(&name), "it made {name}");
        assert!(bytes.len() <= largest, "{name} has {} bytes of {largest}", bytes.len());
        assert_eq!(mode & 0o7111, 0, "{name} has mode {mode:o}");
    }
    let _ = undo::run(&index, &undo_options(Task::Clear, false));
}

/// An undo file to begin with, and one whose last step is two.
pub fn undo_seeds() -> Vec<Vec<u8>> {
    vec![undoable().1.clone()]
}

/// A tar whose headers have the right sums, with a manifest that has those of its files.
fn resealed(data: &[u8]) -> Vec<u8> {
    let mut entries: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = Vec::new();
    let mut rest = data;
    while let Some((head, behind)) = rest.split_at_checked(512).filter(|(head, _)| head.iter().any(|b| *b != 0)) {
        let text = String::from_utf8_lossy(&head[124..136]).into_owned();
        let size = usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0).min(behind.len());
        let name = head[..100].split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        entries.push((name, head.to_vec(), behind[..size].to_vec()));
        rest = behind.get(size.div_ceil(512) * 512..).unwrap_or_default();
    }
    let sums: Vec<(String, ContentSum)> = entries
        .iter()
        .map(|(name, _, bytes)| (String::from_utf8_lossy(name).into_owned(), ContentSum::of(bytes)))
        .collect();
    let seal = |step: &mut Value, prefix: &str| {
        for file in step["files"].as_array_mut().into_iter().flatten() {
            let name = format!("{prefix}{}", file["name"].as_str().unwrap_or_default());
            if let (Some((_, sum)), true) = (sums.iter().find(|(have, _)| *have == name), file["before"].is_object()) {
                file["before"]["size"] = sum.size.into();
                file["before"]["sha256"] = sum.sha256.clone().into();
            }
        }
    };
    let mut tar = Vec::new();
    for (name, mut head, mut bytes) in entries {
        if let (b"manifest.json", Ok(mut manifest)) = (name.as_slice(), serde_json::from_slice::<Value>(&bytes)) {
            seal(&mut manifest, "");
            for (i, step) in manifest["earlier"].as_array_mut().into_iter().flatten().enumerate() {
                seal(step, &format!("{}/", i + 1));
            }
            bytes = manifest.to_string().into_bytes();
        }
        head[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend(head);
        tar.extend(&bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A mailbox with a history, and its UIDVALIDITY.
fn with_history() -> &'static (std::path::PathBuf, u32) {
    static ONE: OnceLock<(std::path::PathBuf, u32)> = OnceLock::new();
    ONE.get_or_init(|| {
        let home = scratch::dir("history");
        scratch::write(&home, &scratch::read(&scratch::fixtures().join("2.3.19.1-maildir-chain/files/Maildir")));
        let options = show::Options { uid: None, at: Until::End, pvt: None, mmap: MmapPolicy::Never };
        let state = show::state(&home, &options).expect("a sound mailbox");
        let uid_validity = state.loaded.replayed.mailbox.header.uid_validity;
        (home, uid_validity)
    })
}

/// A recorded session held against a mailbox: `qresync --versus`.
pub fn transcript(data: &[u8]) {
    let (home, _) = with_history();
    let file = scratch::dir("transcript");
    fs::write(&file, data).expect("written");
    let options = qresync::Options { uid_validity: None, modseq: None, known: None, sample: None, versus: Some(file) };
    let opened = opened::Opened::read(home, None, MmapPolicy::Never).expect("a sound mailbox");
    let judged = || {
        let outcome = qresync::run(home, &opened, &options).ok()?;
        let mut out = sink();
        let mut document = JsonDocument::new(qresync::SCHEMA, &mut out);
        idx::view::qresync::write(home, &outcome, false, &mut document).expect("a sink takes everything");
        Some((outcome.differences.unwrap_or_default(), outcome.not_judged))
    };
    let Some((differences, not_judged)) = judged() else { return };
    let lines = data.split(|byte| *byte == b'\n').count();
    let told = differences.iter().map(|one| one.line).chain(not_judged.iter().map(|(line, _)| *line));
    told.for_each(|line| assert!((1..=lines).contains(&line), "line {line} of {lines}"));
    assert!(judged() == Some((differences, not_judged)), "the same session is judged otherwise");
}

/// Sessions in the notations of clients.
pub fn transcript_seeds() -> Vec<Vec<u8>> {
    let (_, uid_validity) = with_history();
    let bare = format!(
        "* PREAUTH hello\na ENABLE QRESYNC\n* ENABLED QRESYNC\na OK\nb SELECT INBOX (QRESYNC ({uid_validity} 5 1:90 \
         (1,3,5 1,4,7)))\n* 3 EXISTS\n* OK [UIDVALIDITY {uid_validity}] x\n* OK [UIDNEXT 100] x\n* OK [HIGHESTMODSEQ \
         40] x\n* VANISHED (EARLIER) 2:3,7\n* 1 FETCH (MODSEQ (6) UID 1 FLAGS (\\Seen \\Recent kw))\nb OK \
         [READ-WRITE] done\nc UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 11 VANISHED)\n* VANISHED (EARLIER) 9:10\n* 4 \
         FETCH (UID 4 MODSEQ (15))\nc OK\nd EXAMINE {{5}}\n+ OK\nINBOX (QRESYNC ({uid_validity} 12))\nd OK \
         done\ne UID STORE 4,9 +FLAGS (\\Seen)\ne OK\nf LOGOUT\n"
    );
    let marks = [
        ["", ""],
        ["C: ", "S: "],
        ["4> ", "4< "],
        ["[2026-11-26 05:40:01]<2> mutt_socket_write_d() 6> ", "[2026-11-26 05:40:01]<2> mutt_socket_readln_d() 6< "],
        [">>> ", ""],
        [
            "2026-11-26 05:40:01.1 UTC - [Parent 42: IMAP]: I/IMAP 7f:host:S-INBOX:SendData: ",
            "x:CreateNewLineFromSocket: ",
        ],
        ["  05:40.01 > b'", "  05:40.01 < b'"],
        ["fetchmail: IMAP> ", "fetchmail: IMAP< "],
        ["1795671210.123456 ", "1795671210.123456 "],
    ];
    let marked = |[client, server]: [&str; 2]| {
        let is_server = |line: &str| line.starts_with(['*', '+']) || line.contains(" OK");
        let line = |line: &str| format!("{}{line}\n", if is_server(line) { server } else { client });
        bare.lines().map(line).collect::<String>().into_bytes()
    };
    marks.into_iter().map(marked).collect()
}

/// A text as a configuration, as a trace, as a pattern, and word by word as sizes, times, versions and sets.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut settings = Settings::default();
    let mut version = Version::default();
    if read_config(&text, &mut settings).is_ok() {
        let lines: String = settings.lines().iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
        let mut again = Settings::default();
        let remarks = read_config(&lines, &mut again).expect("what idx writes");
        assert!(again == settings && remarks.is_empty(), "{settings:?} as {lines} is {again:?}, {remarks:?}");
    }
    let _ = settings.contradictions();
    for word in text.split(['\n', '=', ',', '"', ' ']).take(200) {
        let _ = (parse_size(word), parse_interval(word), grammar::time(word), grammar::span(word));
        let _ = (grammar::seconds(word), grammar::when(word), grammar::size(word));
        if let Ok(known) = word.parse::<Version>() {
            assert_eq!(known.to_string().parse(), Ok(known));
            version = known;
        }
        if let Ok(set) = grammar::set(word) {
            assert_eq!(set.to_string().parse::<UidSet>(), Ok(set));
        }
    }
    let pattern = Pattern::parse(&text).unwrap_or_else(|_| Pattern::office());
    simulated(settings, version, Workload::Synthetic(synthetic(pattern)));
    if let Ok(trace) = Trace::parse(&text) {
        simulated(settings, version, Workload::Trace(trace));
    }
}

fn synthetic(pattern: Pattern) -> Synthetic {
    Synthetic {
        storage: Storage::Maildir,
        appends: 40.0,
        flags: 60.0,
        expunges: 20.0,
        sync_every: 900,
        seed: 3,
        pattern,
        burst: 2,
        messages: 10,
    }
}

fn simulated(settings: Settings, version: Version, workload: Workload) {
    let options = Options {
        settings,
        version,
        workload,
        now: 1_767_571_200,
        span: Some(3 * 86_400),
        offline: vec![3600, 86_400],
        population: None,
        want: None,
        mmap: MmapPolicy::Never,
    };
    if let (Ok(mut simulation), Ok(subject)) = (Simulation::new(&options), question::traffic(&options)) {
        simulation.add(subject);
        let _ = serde_json::to_vec(&simulation.finish()).expect("numbers");
    }
}

/// Configurations of both syntaxes, a trace and a pattern.
pub fn settings_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "# 2.3.19.1\nmail_index_log_rotate_min_size = 1 k\nprotocol imap {\n  mail_index_log2_max_age = 9 days\n}\n\
         mail_index_log_rotate_min_age = '90 mins'# note\nmail_index_log2_max_age = 0\nremote 10.0.0.0/8 {\n  \
         protocol imap {\n    mail_index_log_rotate_max_size = 5M\n  }\n}\n!include local.conf\n",
        "dovecot_config_version = 2.4.1\nmail_index_log_rotate_min_size = 32 kB\nmail_index_log_rotate_max_size = \
         unlimited\nmail_index_rewrite_min_log_bytes = 8k\nmail_index_rewrite_max_log_bytes = 128 KiB\n\
         mail_index_log2_max_age=\"2 weeks\"\nmailbox Trash {\n  mail_index_log2_max_age = 1h\n}\n",
        "{\"at\":1767571200,\"bytes\":400,\"modseq\":1,\"expunged\":null,\"sync\":true}\n{\"at\":1767574800,\"bytes\":\
         40000,\"modseq\":9,\"expunged\":\"1:3,7\",\"sync\":true}\n{\"at\":1767584800,\"bytes\":990,\"modseq\":12,\
         \"expunged\":\"4294967295\",\"sync\":true,\"need_rotate\":true,\"opens\":false}\n",
        "1 1 1 1 1 2 4 8 9 9 9 9 6 9 9 9 9 8 5 4 3 2 1 1",
        "3d ago, yesterday, 2026-11-26 06:30, Nov 26 05:34:20, 2 days, 1.5 MiB, 1:3,7,20:*, 2.3.19.1, main, 5 mins",
    ];
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A path and the names in it, as they are on the disk: what mailbox and user they mean.
pub fn names(data: &[u8]) {
    let (flags, path) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let has = |bit: u8| flags & 1 << bit != 0;
    let signs = Signs {
        uidlist: has(0),
        cur: has(1),
        new: has(2),
        root: has(3),
        dot_imap: has(4),
        subscriptions: has(5),
        mailboxes: has(6),
        storage: has(7),
        ..Signs::default()
    };
    for level in path.split(|byte| *byte == b'/') {
        if let Some(text) = mutf7::decode(level) {
            assert_eq!(encoded(&text).as_bytes(), level, "{text:?} has two spellings");
        }
        let _ = guid_of(level);
    }
    let name = Name::decode(path.split(|byte| *byte == b'/'));
    assert_eq!(name.text.split(|b| *b == b'/').count().min(1), 1);
    let probable = probable_root(path);
    assert!(probable <= path.len());
    for parent in [None, Some(probable), Some(path.len()), Some(usize::MAX)] {
        let root = root_of(path, parent, &signs);
        assert!(root.is_none_or(|root| root <= path.len() || Some(root) == parent));
        let _ = name_of(path, root, &signs);
    }
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    for top in path.ancestors().take(8) {
        let _ = user_of(top, path.as_os_str().as_bytes());
    }
}

/// Modified UTF-7 as RFC 3501 has it, section 5.1.3.
fn encoded(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    let mut out = String::new();
    let mut units: Vec<u16> = Vec::new();
    let flush = |units: &mut Vec<u16>, out: &mut String| {
        if units.is_empty() {
            return;
        }
        let bits: Vec<bool> =
            units.drain(..).flat_map(|unit| (0..16).rev().map(move |bit| unit >> bit & 1 != 0)).collect();
        out.push('&');
        for six in bits.chunks(6) {
            let value = (0..6).fold(0, |value, i| value << 1 | usize::from(six.get(i).copied().unwrap_or(false)));
            out.push(char::from(ALPHABET[value]));
        }
        out.push('-');
    };
    for c in text.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut units, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
        }
    }
    flush(&mut units, &mut out);
    out
}

/// Paths in every layout.
pub fn names_seeds() -> Vec<Vec<u8>> {
    let paths = [
        "\x00/var/vmail/example.org/alice/Maildir/.Sent.&AOQ-iti",
        "\x01/v/u/Maildir/foo/bar",
        "\x08/v/mail/.imap/INBOX",
        "\x40/v/mdbox/mailboxes/R&-D/&U,BTFw-/dbox-Mails",
        "\x40/v/sdbox/mailboxes/a0d16c3520f6036b1c72000083ecc375",
        "\x00/srv/bob@example.org/pvt/mailboxes/&2D3eAA-/&Jjo-",
        "\x10%d/%n/~/&ZeVnLIqe-",
    ];
    paths.into_iter().map(|path| path.as_bytes().to_vec()).collect()
}
