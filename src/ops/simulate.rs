//! `idx simulate`: reads mailboxes, one by one or below directories in parallel, and hands them to the simulation.

use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::names::Lists;
use super::{inspect, load};
use crate::check::{self, Level, Severity};
use crate::logs::clock::Clock;
use crate::model::Mailbox;
use crate::model::replay::Until;
use crate::simulate::past::KnownMailbox;
use crate::simulate::question::prepare;
use crate::simulate::survey::MailboxAnswer;
use crate::simulate::{Options, SimulateError, SimulatedMailbox, Simulation, now};
use crate::source::{Family, Found, Generation, MailboxFiles, PathError, Role, Snapshot, Unit, Walk, walk};

/// Reads a mailbox and prepares what happens to it.
///
/// # Errors
/// When its files cannot be read, or are no logs.
pub fn mailbox(path: &Path, options: &Options) -> Result<SimulatedMailbox, SimulateError> {
    let files = MailboxFiles::locate(path)?;
    let snapshot = files.read(&[Role::Index, Role::Backup, Role::OldLog, Role::Log], options.mmap)?;
    Ok(subject(path, &files, &snapshot, options)?.0)
}

/// The same with files that were read already; also tells the mailbox's state.
fn subject(
    path: &Path,
    files: &MailboxFiles,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<(SimulatedMailbox, Mailbox), SimulateError> {
    let chain = load::chain(snapshot);
    let fail = |reason: String| SimulateError::Mailbox { path: path.to_owned(), reason };
    let loaded = load::state(snapshot, &chain, Until::End).map_err(|lost| fail(lost.reason))?;
    let clock = match snapshot.generation() {
        // The present of the question need not be that of the files.
        Some(generation) => Clock::build(generation, inspect::options().now)?,
        None => Clock::build(&Generation::open(files, &Role::ALL)?, inspect::options().now)?,
    };
    let Some(state) = KnownMailbox::read(&chain, &loaded.replayed.mailbox, &clock, options.now) else {
        let there = [Role::Log, Role::OldLog].into_iter().any(|role| snapshot.get(role).is_some());
        let none = || "there is no dovecot.index.log".to_owned();
        return Err(fail(if there { load::unreadable(snapshot).to_string() } else { none() }));
    };
    let by = check::Options { level: Level::Files, ..check::Options::at(options.now) };
    let problems = inspect::problems(files, snapshot, &by).into_iter();
    let errors = problems.filter(|finding| finding.severity == Severity::Error);
    let problems = errors.map(|finding| (finding.file, finding.message)).collect();
    let now = now::OldestLog::read(&chain, &clock);
    let mut scenario = prepare(Some(&state), options);
    if let (Some(note), Ok(scenario)) = (constants(files), &mut scenario) {
        scenario.notes.push(note.into());
    }
    let path = Some(path.to_owned());
    let subject = SimulatedMailbox { path, name: None, user: None, state: Some(state), scenario, problems, now };
    Ok((subject, loaded.replayed.mailbox))
}

/// What rotates an index that is none of a mailbox (`mailbox-list-index.c`, `mail-index.c`).
fn constants(files: &MailboxFiles) -> Option<&'static str> {
    match files.family() {
        Family::Mailbox => None,
        Family::List => Some(
            "these settings are for mailboxes; Dovecot rotates the list of mailboxes by constants: 8k, 64k, 5 mins, \
             .log.2 10 mins",
        ),
        Family::Map | Family::Private => Some(
            "these settings are for mailboxes; Dovecot rotates this index by constants: 32k, 1M, 5 mins, .log.2 2 days",
        ),
    }
}

/// Whether a path is searched for mailboxes: a directory that is none itself, or any directory when all below is asked
/// for. What is a mailbox, such as a Maildir with its folders, is that one mailbox otherwise.
pub fn is_tree(path: &Path, recursive: bool) -> bool {
    let files = |dir: PathBuf| MailboxFiles::of(&dir, Family::Mailbox);
    let is_mailbox =
        || [path.to_owned(), path.join("dbox-Mails")].into_iter().any(|dir| !files(dir).present().is_empty());
    path.is_dir() && (recursive || !is_mailbox())
}

/// What came of one mailbox: what is wrong with its files although it was simulated, or why it was not.
pub type SimulateOutcome = Result<Vec<(PathBuf, String)>, SimulateError>;

/// Simulates every mailbox below directories as they are to be walked. `each` is told of each in the order of the walk.
/// One that cannot be simulated does not stop the others; a root without mailboxes is an error like one that cannot be
/// read.
pub fn trees(
    simulation: &mut Simulation<'_>,
    options: &Options,
    roots: &[PathBuf],
    how: Walk,
    mut each: impl FnMut(SimulateOutcome),
) {
    let crowd = simulation.crowd();
    let lists = Lists::new(options.mmap);
    let mut empty: HashSet<PathBuf> = roots.iter().cloned().collect();
    let simulate = |mut subject: SimulatedMailbox| (crowd.one(&subject), std::mem::take(&mut subject.problems));
    let rows = |found: Found| {
        let wanted = |unit: &&Unit| unit.family == Family::Mailbox && !unit.is_cache_only() && !unit.is_empty();
        let one = |unit: &Unit| read(&found, unit, &lists, options).map(simulate);
        let rows: Vec<_> = found.units.iter().filter(wanted).map(one).collect();
        (found.top().to_owned(), rows)
    };
    let mut done = Vec::new();
    let mut tell = |result: Result<(MailboxAnswer, Vec<(PathBuf, String)>), SimulateError>| match result {
        Ok((row, problems)) => {
            done.push(row);
            each(Ok(problems));
        }
        Err(error) => {
            simulation.fail(&error);
            each(Err(error));
        }
    };
    walk(roots, how, rows, |result| {
        match result {
            Ok((top, rows)) => {
                if !rows.is_empty() {
                    empty.remove(&top);
                }
                rows.into_iter().for_each(&mut tell);
            }
            Err(error) => {
                empty.remove(&error.path);
                tell(Err(PathError::Io { path: error.path, source: error.source }.into()));
            }
        }
        ControlFlow::Continue(())
    });
    for root in roots {
        // An index that is of no mailbox may be all there is.
        if empty.remove(root) {
            tell(mailbox(root, options).map(simulate));
        }
    }
    simulation.gather(crowd, done);
}

fn read(found: &Found, unit: &Unit, lists: &Lists, options: &Options) -> Result<SimulatedMailbox, SimulateError> {
    let path =
        if unit.files.own_family() == Some(Family::Mailbox) { found.dir.clone() } else { unit.files.index.clone() };
    let snapshot = found.read(unit, &[Role::Index, Role::Backup, Role::OldLog, Role::Log], options.mmap)?;
    let (mut subject, state) = subject(&path, &unit.files, &snapshot, options)?;
    subject.name = Some(OsString::from_vec(lists.name(found, Some(&state)).text).into());
    subject.user = found.user();
    Ok(subject)
}
