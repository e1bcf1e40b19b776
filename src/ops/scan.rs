//! `idx scan`: every mailbox below a directory, a row for each.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::names::Lists;
use super::{inspect, load, show};
use crate::check::{self, Severity};
use crate::format::log::LogFile;
use crate::model::Mailbox;
use crate::model::replay::Until;
use crate::source::{Family, Found, MmapPolicy, PathError, Role, Signs, Unit, Walk, WalkError, walk};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.scan/1";

/// How to scan.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to walk the trees.
    pub walk: Walk,
    /// Also the indexes that are not of a mailbox: lists, mdbox maps, private flags, and caches kept elsewhere.
    pub all: bool,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// The verdict of `check` on a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No finding above an info.
    Sound,
    /// No finding above a warning.
    Warning,
    /// It changed too fast to be read.
    Busy,
    /// At least one error; what could be read is shown.
    Damaged,
    /// Its files cannot be read at all.
    Unreadable,
}

impl State {
    /// The word used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            State::Sound => "sound",
            State::Warning => "warning",
            State::Busy => "busy",
            State::Damaged => "damaged",
            State::Unreadable => "unreadable",
        }
    }
}

/// What the mailbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// Messages without `\Seen`.
    pub unseen: u64,
    /// HIGHESTMODSEQ as STATUS gives it.
    pub highest_modseq: u64,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub next_uid: u32,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The mailbox's name, levels joined by `/`.
    pub name: Vec<u8>,
    /// True when the name is shown as it is on disk because it cannot be decoded.
    pub undecodable: bool,
    /// The user, where the path tells.
    pub user: Option<String>,
    /// The index directory.
    pub path: PathBuf,
    /// Whose index it is.
    pub kind: &'static str,
    /// Storage format: `maildir`, `mbox`, `sdbox`, `mdbox`, `virtual`; `None` when nothing tells.
    pub format: Option<&'static str>,
    /// `None` when nothing could be read.
    pub counts: Option<Counts>,
    /// Bytes of each file that is there.
    pub sizes: Vec<(Role, u64)>,
    /// When the present log was begun, UNIX time.
    pub log_create_stamp: Option<u32>,
    /// Seconds since then, when it was read.
    pub log_age: Option<u64>,
    /// State.
    pub state: State,
    /// The worst thing that is wrong, with its file.
    pub problem: Option<(PathBuf, String)>,
}

impl Row {
    /// Bytes of the file with that role.
    pub fn size(&self, role: Role) -> Option<u64> {
        self.sizes.iter().find(|(have, _)| *have == role).map(|(_, size)| *size)
    }
}

/// Scans trees. `each` gets the rows in the order of the walk, and may end it.
pub fn scan(roots: &[PathBuf], options: &Options, mut each: impl FnMut(Result<Row, WalkError>) -> ControlFlow<()>) {
    let lists = Lists::new(options.mmap);
    walk(
        roots,
        options.walk,
        |found| rows(&found, &lists, options),
        |rows| match rows {
            Err(error) => each(Err(error)),
            Ok(rows) => rows.into_iter().try_for_each(|row| each(Ok(row))),
        },
    );
}

fn rows(found: &Found, lists: &Lists, options: &Options) -> Vec<Row> {
    let mailbox = |unit: &Unit| unit.family == Family::Mailbox && !unit.is_cache_only();
    let wanted = |unit: &&Unit| !unit.is_empty() && (options.all || mailbox(unit));
    found.units.iter().filter(wanted).map(|unit| row(found, unit, lists, options)).collect()
}

fn row(found: &Found, unit: &Unit, lists: &Lists, options: &Options) -> Row {
    let mut row = Row {
        name: Vec::new(),
        undecodable: false,
        user: found.user(),
        path: found.dir.clone(),
        kind: match unit.family {
            Family::Mailbox if unit.is_cache_only() => "cache",
            Family::Mailbox => "mailbox",
            Family::Private => "private",
            Family::List => "list",
            Family::Map => "map",
        },
        format: None,
        counts: None,
        sizes: Vec::new(),
        log_create_stamp: None,
        log_age: None,
        state: State::Sound,
        problem: None,
    };
    let mut mailbox = None;
    match read(found, unit, options, &mut row) {
        Ok(state) => {
            let counts = &state.0;
            row.counts = Some(*counts);
            mailbox = Some(state.1);
        }
        Err(None) => {}
        Err(Some(error)) => {
            row.state = if matches!(error, PathError::Busy(_)) { State::Busy } else { State::Unreadable };
            row.problem = Some((unit.files.index.clone(), error.to_string()));
        }
    }
    match unit.family {
        Family::List => row.name = b"(mailbox list)".to_vec(),
        Family::Map => row.name = b"(mdbox map)".to_vec(),
        Family::Mailbox | Family::Private => {
            row.format = format_of(mailbox.as_ref(), &found.signs, &found.dir);
            let name = lists.name(found, mailbox.as_ref());
            row.undecodable = name.undecodable.is_some();
            row.name = name.text;
        }
    }
    row
}

/// Reads one unit into a row. `Err(None)`: there is nothing to read but a cache.
fn read(found: &Found, unit: &Unit, options: &Options, row: &mut Row) -> Result<(Counts, Mailbox), Option<PathError>> {
    let snapshot = found.read(unit, &Role::ALL, options.mmap)?;
    let by = check::Options { mmap: options.mmap, ..inspect::options() };
    let (checked, state) = inspect::listed(&unit.files, &snapshot, &by, found.signs)?;
    row.sizes = checked.sizes;
    if unit.is_cache_only() {
        return Err(None);
    }
    let worst = checked.findings.iter().map(|finding| finding.severity).max().filter(|worst| *worst > Severity::Info);
    if let Some(first) = checked.findings.iter().find(|finding| Some(finding.severity) == worst) {
        row.state = if worst == Some(Severity::Error) { State::Damaged } else { State::Warning };
        row.problem = Some((first.file.clone(), first.text()));
    }
    if let Some(input) = snapshot.get(Role::Log) {
        row.log_create_stamp =
            LogFile::parse(&input.bytes, input.bytes.len() as u64).ok().map(|log| log.header.create_stamp);
        let age = |stamp: u32| u64::try_from(by.now).ok().map(|now| now.saturating_sub(stamp.into()));
        row.log_age = row.log_create_stamp.and_then(age);
    }
    // Without an index the state may be that of its backup.
    let replayed = match state.filter(|_| !unit.has(Role::Backup) || unit.has(Role::Index)) {
        Some(replayed) => replayed,
        None => {
            let loaded = show::load(&unit.files.index, &snapshot, &load::chain(&snapshot), Until::End);
            let error = |error| match error {
                show::ShowError::Path(error) => Some(error),
                show::ShowError::NotReached { path, .. } => Some(PathError::NoIndex(path)),
            };
            loaded.map_err(error)?.replayed
        }
    };
    let header = &replayed.mailbox.header;
    let messages = replayed.mailbox.len() as u64;
    let counts = Counts {
        messages,
        unseen: messages.saturating_sub(header.seen_messages_count.into()),
        highest_modseq: replayed.highest_modseq(),
        uid_validity: header.uid_validity,
        next_uid: header.next_uid,
    };
    Ok((counts, replayed.mailbox))
}

/// The storage format: the extensions that each storage writes tell it, else what lies beside the index.
pub fn format_of(mailbox: Option<&Mailbox>, signs: &Signs, dir: &std::path::Path) -> Option<&'static str> {
    let known = [
        (&b"virtual"[..], "virtual"),
        (b"mdbox-hdr", "mdbox"),
        (b"mdbox", "mdbox"),
        (b"dbox-hdr", "sdbox"),
        (b"maildir", "maildir"),
        (b"mbox", "mbox"),
    ];
    let by_index =
        mailbox.and_then(|mailbox| known.into_iter().find(|(ext, _)| mailbox.extension(ext).is_some()).map(|(_, f)| f));
    let mbox = || dir.parent().and_then(std::path::Path::file_name).is_some_and(|name| name == ".imap");
    by_index.or_else(|| {
        Some(match signs {
            _ if signs.virtual_config => "virtual",
            _ if signs.is_maildir() => "maildir",
            _ if signs.sdbox_files => "sdbox",
            _ if mbox() => "mbox",
            _ => return None,
        })
    })
}
