//! `idx check`: the rules of [`crate::check`] applied to one mailbox after the other, and what that adds up to.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::inspect::{self, Checked};
use super::names::Lists;
use super::remedy;
use crate::check::deep::{NotCompared, Verdict, without_index};
use crate::check::{self, Code, Finding, Options, Severity};
use crate::format::FileKind;
use crate::source::place::DBOX_MAILS;
use crate::source::{Dir, Family, Found, MailboxFiles, PathError, Role, Single, Subject, Walk, recognise, walk};
use crate::storage::{Depth, KnownBefore, Messages};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.check/1";

/// Bytes of a thread index that are read: a million messages have 20 MiB.
const MAX_THREAD: u64 = 256 << 20;

/// Upper ends of the classes of `idx_qresync_window_seconds`, seconds: an hour, a day, two days, a week, 30 days.
pub const WINDOWS: [u64; 5] = [3600, 86_400, 172_800, 604_800, 2_592_000];

/// One mailbox to check.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is called in reports.
    pub mailbox: PathBuf,
    /// Its files; a directory may also hold a private index, the list of mailboxes, or the map of an mdbox storage.
    pub files: Vec<MailboxFiles>,
}

/// The mailbox a path means: that of a file, or all that has index files in a directory or its `dbox-Mails`.
///
/// # Errors
/// When the path does not exist, or there are no index files that belong to a mailbox.
pub fn unit(path: &Path) -> Result<Unit, PathError> {
    // A backup belongs to the index it is a copy of.
    let name = path.file_name().and_then(|name| name.to_str());
    if let Some(index) = name.and_then(|name| name.strip_suffix(".backup")).filter(|_| path.is_file()) {
        let files = MailboxFiles::at(path.with_file_name(index));
        return Ok(Unit { mailbox: path.to_owned(), files: vec![files] });
    }
    if !path.is_dir() {
        match recognise(path, &[], 0) {
            Some(FileKind::Thread) if path.exists() => {
                return Ok(Unit { mailbox: path.to_owned(), files: Vec::new() });
            }
            Some(FileKind::Thread | FileKind::MailboxLog) => return Err(PathError::NoIndex(path.to_owned())),
            _ => {}
        }
        let files = MailboxFiles::locate(path)?;
        // Asked about one file that is none of an index, idx says so; beside a sound log it would be a finding.
        let known = Role::ALL.into_iter().any(|role| files.path(role) == path) && files.own_family().is_some();
        if !known && path.exists() {
            let file = Single::open(path)?;
            if recognise(path, &file.head()?, file.stat().size).is_none() {
                return Err(PathError::NoIndex(path.to_owned()));
            }
        }
        return Ok(Unit { mailbox: path.to_owned(), files: vec![files] });
    }
    let mut files = Subject::of(path)?.all;
    files.retain(|files| !files.present().is_empty());
    Ok(Unit { mailbox: path.to_owned(), files })
}

impl Unit {
    /// True when it has the index of a mailbox, not only a list of mailboxes, an mdbox map or a user's private flags.
    pub fn is_mailbox(&self) -> bool {
        self.files.iter().any(|files| files.family() == Family::Mailbox)
    }
}

/// How many mailboxes are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All of them.
    pub mailboxes: u64,
    /// Nothing is wrong, or nothing worse than an info.
    pub sound: u64,
    /// Nothing worse than a warning.
    pub warning: u64,
    /// At least one error.
    pub error: u64,
    /// Changed too fast to be judged.
    pub busy: u64,
    /// Could not be read.
    pub unreadable: u64,
}

impl Summary {
    /// The states with their names, in the order of reports.
    pub fn states(&self) -> [(&'static str, u64); 5] {
        [
            ("sound", self.sound),
            ("warning", self.warning),
            ("error", self.error),
            ("busy", self.busy),
            ("unreadable", self.unreadable),
        ]
    }
}

/// What all checks so far add up to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Mailboxes by state.
    pub summary: Summary,
    /// Findings by rule and severity.
    pub findings: BTreeMap<(Code, Severity), u64>,
    /// Bytes of all files of a kind, and of the largest one.
    pub bytes: BTreeMap<Role, (u64, u64)>,
    /// Mailboxes by how far back their logs reach: one count for each of [`WINDOWS`] and one for what is longer.
    pub windows: [u64; WINDOWS.len() + 1],
    /// The sum of these times, seconds.
    pub windows_sum: u64,
    /// The shortest of these times, seconds.
    pub window_min: Option<u64>,
}

impl Tally {
    /// Counts the outcome of one check. An index that is of no mailbox counts when something is wrong with it.
    pub fn count(&mut self, outcome: Result<&Checked, &PathError>, is_mailbox: bool) {
        let summary = &mut self.summary;
        let quiet = |checked: &Checked| checked.findings.iter().all(|finding| finding.severity == Severity::Info);
        if !is_mailbox && outcome.is_ok_and(quiet) {
            return;
        }
        summary.mailboxes += 1;
        let checked = match outcome {
            Ok(checked) => checked,
            Err(PathError::Busy(_)) => return summary.busy += 1,
            Err(_) => return summary.unreadable += 1,
        };
        match checked.findings.iter().map(|finding| finding.severity).max() {
            None | Some(Severity::Info) => summary.sound += 1,
            Some(Severity::Warning) => summary.warning += 1,
            Some(Severity::Error) => summary.error += 1,
        }
        for finding in &checked.findings {
            *self.findings.entry((finding.code, finding.severity)).or_default() += 1;
        }
        for (role, size) in &checked.sizes {
            let (sum, max) = self.bytes.entry(*role).or_default();
            *sum = sum.saturating_add(*size);
            *max = (*max).max(*size);
        }
        if let Some(window) = checked.window {
            let class = WINDOWS.iter().position(|end| window <= *end).unwrap_or(WINDOWS.len());
            if let Some(count) = self.windows.get_mut(class) {
                *count += 1;
            }
            self.windows_sum = self.windows_sum.saturating_add(window);
            self.window_min = Some(self.window_min.map_or(window, |least| least.min(window)));
        }
    }

    /// The worst severity found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.keys().map(|(_, severity)| *severity).max()
    }
}

/// Checks one mailbox; with `deep` against its mail storage too.
///
/// # Errors
/// As [`inspect::inspect`].
pub fn run(unit: &Unit, options: &Options, deep: bool) -> Result<Checked, PathError> {
    let mut all = Checked::default();
    if unit.files.is_empty() {
        let input = Single::open(&unit.mailbox)?.input(options.mmap, false)?;
        all.findings.extend(check::thread(&unit.mailbox, &input.bytes));
    }
    for files in &unit.files {
        let look = || super::deep::check(files, options, Depth::All);
        add(&mut all, inspect::inspect(files, options)?, files, options, deep.then_some(&look));
    }
    Ok(all)
}

/// Adds what was found in one index; `deep` looks at all of its storage.
fn add(
    all: &mut Checked,
    mut one: Checked,
    files: &MailboxFiles,
    options: &Options,
    deep: Option<&dyn Fn() -> Verdict>,
) {
    // What follows from broken indexes is no finding about the storage.
    let has_errors = one.findings.iter().any(|finding| finding.severity == Severity::Error);
    if deep.is_some() && has_errors {
        let why = "the index files have errors, which would show again as differences";
        all.not_compared.push(NotCompared { what: "mail storage", why });
    } else if let Some(look) = deep {
        // What the UIDs of the storage say was said already where the index alone could not answer.
        let Verdict { findings, mut not_compared } = look();
        one.findings.retain(|said| !findings.contains(said));
        one.findings.extend(findings);
        all.not_compared.append(&mut not_compared);
    } else {
        all.not_compared.append(&mut one.not_compared);
    }
    // An index is held against its whole history where the logs have it.
    if deep.is_some() && !has_errors && one.window.is_some() && files.family() == Family::Mailbox {
        let why = "the logs do not reach back to its beginning";
        all.not_compared.push(NotCompared { what: "index with its history", why });
    }
    let depth = if deep.is_some() && !has_errors { Depth::All } else { Depth::Names };
    remedy::try_all(&mut one.findings, files, Some(depth), options.mmap);
    all.findings.append(&mut one.findings);
    all.sizes.append(&mut one.sizes);
    all.window = all.window.or(one.window);
}

/// How to check trees.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// What to judge by; the time is taken anew for each mailbox.
    pub check: Options,
    /// How to walk them.
    pub walk: Walk,
    /// Also against the mail storage.
    pub deep: bool,
}

/// What was found in a directory of a tree.
pub type Outcome = Result<Checked, PathError>;

/// Checks everything below directories, in parallel. `each` gets the outcomes in the order of the walk, and may end it.
/// A root without a single index file is an error like a directory that cannot be read.
pub fn trees(roots: &[PathBuf], options: &TreeOptions, mut each: impl FnMut(Unit, Outcome) -> ControlFlow<()>) {
    let lists = Lists::new(options.check.mmap);
    let mut empty: HashSet<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let mut go_on = ControlFlow::Continue(());
    walk(
        roots,
        Walk { bare: true, ..options.walk },
        |found| (found.top().to_owned(), directory(&found, &lists, options)),
        |result| {
            go_on = match result {
                Ok((_, None)) => ControlFlow::Continue(()),
                Ok((top, Some((unit, outcome)))) => {
                    empty.remove(top.as_path());
                    each(unit, outcome)
                }
                Err(error) => {
                    empty.remove(error.path.as_path());
                    let unit = Unit { mailbox: error.path.clone(), files: Vec::new() };
                    each(unit, Err(PathError::Io { path: error.path, source: error.source }))
                }
            };
            go_on
        },
    );
    for root in roots {
        if go_on.is_continue() && empty.remove(root.as_path()) {
            let unit = Unit { mailbox: root.clone(), files: Vec::new() };
            go_on = each(unit, Err(PathError::NoIndex(root.clone())));
        }
    }
}

/// Judges what is in a directory; `None` when there is nothing of a mailbox in it.
fn directory(found: &Found, lists: &Lists, options: &TreeOptions) -> Option<(Unit, Outcome)> {
    let mut mailbox = found.dir.clone();
    // The mailbox was given by its own directory.
    if mailbox.parent() == Some(found.top()) && mailbox.ends_with("dbox-Mails") {
        mailbox.pop();
    }
    let mut files: Vec<_> = found.units.iter().map(|unit| unit.files.clone()).collect();
    let bare = bare(found);
    if files.is_empty() {
        bare.as_ref()?;
        files.push(found.files(Family::Mailbox));
    }
    let options_now = Options { now: inspect::options().now, ..options.check.clone() };
    let judge = || -> Outcome {
        let mut all = Checked::default();
        // A cache alone beside no messages is that of an index in another root (`mail_cache_path`).
        let stored = found.signs.is_maildir() || found.signs.sdbox_files;
        for unit in found.units.iter().filter(|unit| stored || !unit.is_cache_only()) {
            let read = found.read(unit, &Role::ALL, options.check.mmap)?;
            let (one, state) = inspect::listed(&unit.files, &read, &options_now, found.signs)?;
            let known = KnownBefore { state: state.as_ref(), signs: Some(found.signs) };
            let deep = || super::deep::check_read(&unit.files, &read, known, &options_now, Depth::All);
            add(&mut all, one, &unit.files, &options_now, options.deep.then_some(&deep));
        }
        all.findings.extend(name(found, lists));
        if options.deep {
            all.findings.extend(found.files(Family::Mailbox).dir().ok().and_then(thread));
        }
        if let Some(finding) = bare {
            let mut one = [finding];
            remedy::try_all(&mut one, &found.files(Family::Mailbox), None, options_now.mmap);
            all.findings.extend(one);
        }
        Ok(all)
    };
    let outcome = judge();
    Some((Unit { mailbox, files }, outcome))
}

/// D16: the thread index of a mailbox.
fn thread(dir: &Dir) -> Option<Finding> {
    const NAME: &str = "dovecot.index.thread";
    let (bytes, _) = dir.read_small(NAME, MAX_THREAD).ok()?;
    check::thread(&dir.path().join(NAME), &bytes)
}

/// D17: messages beside which there is no index, nor one in another root of the user.
pub(super) fn bare(found: &Found) -> Option<Finding> {
    let roles = [Role::Index, Role::Log, Role::OldLog, Role::Backup];
    let is_index = |unit: &crate::source::Unit| {
        unit.family == Family::Mailbox && (roles.into_iter().any(|role| unit.has(role)) || !unit.special.is_empty())
    };
    let is_mbox = || found.dir.parent().is_some_and(|dir| dir.ends_with(".imap"));
    let is_dbox = || found.dir.file_name().is_some_and(|name| name.as_encoded_bytes() == DBOX_MAILS);
    if !(found.signs.sdbox_files || found.signs.uidlist || is_mbox() || is_dbox()) || found.units.iter().any(is_index) {
        return None;
    }
    let files = found.files(Family::Mailbox);
    let messages = Messages::beside(&files).filter(|_| !crate::storage::is_indexed_elsewhere(&files))?;
    without_index(&found.dir, &messages)
}

/// N1.
fn name(found: &Found, lists: &Lists) -> Option<Finding> {
    let unit = found.units.iter().find(|unit| unit.family == Family::Mailbox && !unit.is_cache_only())?;
    let name = lists.name(found, None);
    let level = name.undecodable?;
    let shown = crate::render::text::printable(&level);
    let guid = matches!(found.named(), crate::source::Named::Guid(_));
    // A list with UTF-8 names may have a plain `&` in one; a copy of some mailboxes may be without its list.
    let lost_list = guid && lists.is_lost(found);
    let severity = if (guid || level.is_ascii()) && !lost_list { Severity::Info } else { Severity::Warning };
    let message = match guid {
        true => format!("no mailbox list names {shown}"),
        false => format!("{shown} is neither modified UTF-7 nor UTF-8"),
    };
    let finding = Finding::new(Code::N1, unit.files.index.clone(), message).severity(severity);
    let does = "logs \"Mailbox list rescan found lost mailboxes\", rebuilds each of them, and calls some otherwise";
    Some(if lost_list { finding.does(does) } else { finding })
}
