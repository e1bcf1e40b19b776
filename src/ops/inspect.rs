//! From files on disk to the verdict of [`crate::check`]: reading, asking the file system, and reading again while
//! somebody writes. Every verb that says "damaged" or "sound" has it from here.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::check::deep::{NotCompared, Verdict};
use crate::check::{self, Evidence, Finding, LEFTOVERS, Leftover, Level, Options, Severity};
use crate::format::index::IndexFile;
use crate::format::log::LogFile;
use crate::model::reach;
use crate::model::replay::Replayed;
use crate::source::{self, Family, MailboxFiles, PathError, Role, Signs, Snapshot, Tail, with_suffix};
use crate::storage::{Depth, KnownBefore};

/// How often a mailbox with findings is read again when it changed meanwhile.
const TRIES: u32 = 5;

/// What a look at a mailbox brought: the findings, and a few numbers for monitoring.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The files that are there, with their sizes in bytes.
    pub sizes: Vec<(Role, u64)>,
    /// How far back the logs reach, seconds; `None` when they reach back to the beginning, or cannot be read.
    pub window: Option<u64>,
    /// The next UID as the index has it, which may be behind the logs; `None` without an index.
    next_uid: Option<u32>,
    /// What was not compared with what, and why.
    pub not_compared: Vec<NotCompared>,
}

/// The findings of [`inspect`].
///
/// # Errors
/// As [`inspect`].
pub fn mailbox(files: &MailboxFiles, options: &Options) -> Result<Vec<Finding>, PathError> {
    inspect(files, options).map(|checked| checked.findings)
}

/// Reads the files of a mailbox and judges them. A mailbox that is being written is read again before anything is said
/// against it, so that no state between two writes is taken for damage.
///
/// # Errors
/// When the files cannot be read; [`PathError::Busy`] when they changed so fast that nothing can be said.
pub fn inspect(files: &MailboxFiles, options: &Options) -> Result<Checked, PathError> {
    let look = look(files, &Role::ALL, options)?;
    if !look.settled && look.findings.is_empty() {
        return Err(PathError::Busy(files.index.clone()));
    }
    Ok(Checked::new(look.findings, &look.snapshot, options).against_uids(
        files,
        &look.snapshot,
        KnownBefore::default(),
        options,
    ))
}

/// The same for files that were read while a directory was listed, which had these `signs`; with the state that they
/// lead to, where nothing is wrong with them.
///
/// # Errors
/// As [`inspect`].
pub fn listed(
    files: &MailboxFiles,
    read: &Snapshot,
    options: &Options,
    signs: Signs,
) -> Result<(Checked, Option<Replayed>), PathError> {
    let beside = if signs.leftovers { leftovers(files) } else { Vec::new() };
    let (found, state) = judge(files, read, options, &beside);
    if !quiet(&found) {
        return inspect(files, options).map(|checked| (checked, None));
    }
    let known = KnownBefore { state: state.as_ref(), signs: Some(signs) };
    let checked = Checked::new(found, read, options).against_uids(files, read, known, options);
    Ok((checked, state))
}

/// A mailbox's files as they were read, and what is wrong with them.
#[derive(Debug)]
pub struct Look {
    /// The files as they were read last.
    pub snapshot: Snapshot,
    /// What is wrong with them; while somebody writes, what several readings have in common.
    pub findings: Vec<Finding>,
    /// Nobody was writing, or there is nothing wrong.
    settled: bool,
}

/// Reads the files with these roles and judges them, again and again while there is something wrong and somebody
/// writes.
///
/// # Errors
/// When the files cannot be read, or are replaced all the time.
pub fn look(files: &MailboxFiles, roles: &[Role], options: &Options) -> Result<Look, PathError> {
    let mut common: Option<Vec<Finding>> = None;
    for attempt in 0..TRIES {
        let snapshot = files.read(roles, options.mmap)?;
        let beside = if options.level == Level::All { leftovers(files) } else { Vec::new() };
        let (found, _) = judge(files, &snapshot, options, &beside);
        let at_rest = || at_rest(files, roles, &snapshot);
        if quiet(&found) || (attempt == 0 && untouched(&snapshot, options.now) && at_rest()) {
            return Ok(Look { snapshot, findings: found, settled: true });
        }
        // Between two writes of one change, say a purged cache and the log record that tells of it, files disagree.
        // They do so only while somebody works on them.
        if !source::wait(Duration::from_millis(20 << attempt)) {
            return Err(PathError::Busy(files.index.clone()));
        }
        let settled = at_rest();
        let findings = match common.take() {
            Some(before) if !settled => before.into_iter().filter(|finding| found.contains(finding)).collect(),
            _ => found,
        };
        // What five readings of a changing mailbox have in common is no passing state.
        if settled || attempt + 1 == TRIES {
            return Ok(Look { snapshot, findings, settled });
        }
        common = Some(findings);
    }
    Err(PathError::Busy(files.index.clone()))
}

/// What is wrong, above an info, with files that were read already.
pub fn problems(files: &MailboxFiles, read: &Snapshot, options: &Options) -> Vec<Finding> {
    let (mut found, _) = judge(files, read, options, &[]);
    found.retain(|finding| finding.severity > Severity::Info);
    found
}

/// What to judge by now: everything, by the clock of this host.
pub fn options() -> Options {
    Options::at(crate::source::now())
}

/// The verdict on files that were read just now. Whether the end of a log or cache is being written is asked only when
/// something is wrong with it.
fn judge(
    files: &MailboxFiles,
    read: &Snapshot,
    options: &Options,
    leftovers: &[Leftover],
) -> (Vec<Finding>, Option<Replayed>) {
    // Whoever only shows what is in them can read them.
    let directory = files.dir().and_then(|dir| dir.meta()).ok().filter(|_| options.level == Level::All);
    let evidence = Evidence { leftovers, directory, ..Evidence::in_memory(files, read) };
    let (found, state) = check::judge_state(&evidence, options);
    let is_growing = |role: &Role| {
        let path = files.path(*role);
        read.get(*role).is_some_and(|_| {
            found.iter().any(|finding| finding.file == path)
                && read.tail(*role, true, options.now) == Tail::BeingWritten
        })
    };
    let growing: Vec<Role> = [Role::Log, Role::Cache].into_iter().filter(is_growing).collect();
    match growing.is_empty() {
        true => (found, state),
        false => check::judge_state(&Evidence { growing: &growing, ..evidence }, options),
    }
}

/// True when nothing above an info was found.
fn quiet(found: &[Finding]) -> bool {
    found.iter().all(|finding| finding.severity == Severity::Info)
}

/// The lock files and temporary files beside an index.
fn leftovers(files: &MailboxFiles) -> Vec<Leftover> {
    let beside = LEFTOVERS.iter().map(|(suffix, is_lock)| (with_suffix(&files.index, suffix), *is_lock));
    beside
        .filter_map(|(path, is_lock)| {
            let mtime = files.dir().ok()?.stat(path.file_name()?.as_bytes()).ok()?.stat.mtime.0;
            Some(Leftover { path, mtime, is_lock })
        })
        .collect()
}

impl Checked {
    /// Adds what the UIDs of the storage say, where the index files alone cannot answer whether they are all there is:
    /// without an index, and when no UID was ever given out.
    fn against_uids(
        mut self,
        files: &MailboxFiles,
        read: &Snapshot,
        known: KnownBefore<'_>,
        options: &Options,
    ) -> Checked {
        let has = |role: Role| self.sizes.iter().any(|(have, _)| *have == role);
        let is_young = has(Role::Log) && (!has(Role::Index) || self.next_uid == Some(1));
        // A copy with a name of its own has no mails beside it, and a directory may have thousands of those.
        let is_in_place = files.own_family() == Some(Family::Mailbox);
        if is_young && is_in_place && quiet(&self.findings) {
            let Verdict { findings, not_compared } = super::deep::check_read(files, read, known, options, Depth::Names);
            self.findings.extend(findings);
            self.not_compared.extend(not_compared);
        }
        self
    }

    fn new(findings: Vec<Finding>, read: &Snapshot, options: &Options) -> Checked {
        let sizes = Role::ALL.into_iter().filter_map(|role| Some((role, read.get(role)?.bytes.len() as u64))).collect();
        let header = |role: Role| {
            let input = read.get(role)?;
            LogFile::parse(&input.bytes, input.bytes.len() as u64).ok()
        };
        let (log, old) = (header(Role::Log), header(Role::OldLog));
        let window = log.and_then(|log| Some(reach::window(&log, old.as_ref(), options.now)?.1));
        let index = read.get(Role::Index).and_then(|input| IndexFile::parse(&input.bytes).ok());
        let next_uid = index.map(|index| index.header.next_uid);
        Checked { findings, sizes, window, next_uid, not_compared: Vec::new() }
    }
}

/// True when nothing has changed since the files were read and nobody holds the log's lock.
fn at_rest(files: &MailboxFiles, roles: &[Role], read: &Snapshot) -> bool {
    let same = roles.iter().all(|role| {
        let now = files.stat(*role).ok().filter(|meta| meta.special.is_none()).map(|meta| meta.stat);
        now == read.get(*role).map(|input| input.stat)
    });
    same && !files.is_locked()
}

/// True when no file was written to in the last ten seconds: longer than any change of several files takes without a
/// lock. A time in the future is no recent change: anybody can give his files one.
fn untouched(read: &Snapshot, now: i64) -> bool {
    let mut mtimes = Role::ALL.into_iter().filter_map(|role| read.get(role)).map(|input| input.stat.mtime.0);
    mtimes.all(|mtime| !(0..=10).contains(&now.saturating_sub(mtime)))
}
