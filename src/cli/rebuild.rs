//! `idx rebuild`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Choice, Deep, Lock, Roots, Targets, choice};
use super::batch::{Batch, Work};
use super::paths::{self, Groups};
use super::{Context, EXIT_STATUS, ROOT_WRITES, Status};
use crate::ops::many::{Failure, Head, RebuildOutcome, RebuildRun, RebuildSummary};
use crate::ops::rebuild::{self, Options, RebuildReport};
use crate::render::PathText;
use crate::render::text::shown;
use crate::repair::{Base, Grade};
use crate::store::journal::Journal;
use crate::store::signals::Graceful;
use crate::view::rebuild as view;

/// Write a new dovecot.index from the logs, on the best base that survives
///
/// Keeps UIDVALIDITY, UIDNEXT, UIDs, flags, keywords, modseqs, GUIDs and cache links, so that no client resynchronises.
/// Holds Dovecot's own lock, checks its result before it replaces anything, and saves what it replaces in
/// dovecot.index.idx-undo. Where something would be lost it says exactly what, and refuses.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Rebuild {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Only say what would be done; needs no lock
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write the resulting files to DIR, which is new or your own, and touch nothing here; needs no lock
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What to build on
    #[arg(long, default_value = "auto", value_name = "BASE", value_parser = choice(BASES))]
    base: Choose,
    /// Go on although something is lost, or something of these grades: history, flags, messages, uidvalidity; exit code
    /// 1
    #[arg(long, value_name = "GRADES", num_args = 0..=1, require_equals = true, value_delimiter = ',',
        default_missing_value = "history,flags,messages,uidvalidity", value_parser = grade)]
    accept_loss: Vec<Grade>,
    /// Repair whatever loses nothing and leave the rest alone, with its reason, as e2fsck -p does. So does idx unless
    /// it is told to accept losses: this option says that it is not
    #[arg(short = 'p', long = "preen", conflicts_with = "accept_loss")]
    _preen: bool,
    #[command(flatten)]
    trees: Deep,
    /// Add to FILE a line of JSON for each mailbox that is begun, about to be written, and ended, each there before the
    /// work goes on
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    lock: Lock,
    #[command(flatten)]
    told: Roots,
    /// Save nothing: the rebuild cannot be undone
    #[arg(long)]
    no_undo: bool,
    /// As root: take also files that belong to neither the owner of the mailbox directory nor root
    #[arg(long)]
    any_owner: bool,
}

/// How the first line of a journal begins.
const JOURNAL: &str = "{\"schema\":\"idx.rebuild/";

/// The base that is to be taken; `None`: the first that loses nothing. The other name keeps clap from taking it for an
/// option that may be left out.
type Choose = Option<Base>;

const BASES: &[Choice<Choose>] = &[
    ("auto", "The first of these that loses nothing", None),
    ("index", "The main index and the logs after it", Some(Base::Index)),
    ("backup", "dovecot.index.backup and the logs after it", Some(Base::Backup)),
    ("log", "Logs that start from an empty mailbox", Some(Base::Log)),
    ("storage", "The mail storage, and what the logs tell of its messages", Some(Base::Storage)),
];

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx rebuild -n ~/Maildir                  what would be done, and what would be lost
  idx rebuild ~/Maildir                     do it; `idx undo ~/Maildir` takes it back
  idx rebuild -n /var/vmail                 the same for every mailbox below, with a summary
  idx rebuild --preen --journal /var/log/idx.ndjson /var/vmail
  idx rebuild -f json -o /tmp/new ~/Maildir/.Sent | jq '.status, .lost'

",
    EXIT_STATUS,
    ROOT_WRITES
);

/// A grade of losses.
fn grade(text: &str) -> Result<Grade, String> {
    let known = Grade::ALL.into_iter().find(|grade| grade.name() == text);
    known.ok_or_else(|| format!("{text:?} is no grade of losses (history, flags, messages or uidvalidity)"))
}

impl Rebuild {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        self.told.tell(context);
        let options = Options {
            dry_run: self.dry_run,
            output: self.output.clone(),
            base: self.base,
            accept: self.accept_loss.clone(),
            lock_method: self.lock.lock_method,
            lock_timeout: self.lock.lock_timeout,
            no_undo: self.no_undo,
            any_owner: self.any_owner,
            mmap: context.mmap,
        };
        let Some(paths) = paths::expand(context, &self.targets.paths)? else {
            return Ok(context.error_document(rebuild::SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        let journal = match self.journal.as_ref().map(|path| Journal::open(path, JOURNAL)).transpose() {
            Ok(journal) => journal,
            Err(error) => {
                let path = self.journal.as_deref().unwrap_or(Path::new(""));
                context.error_document(rebuild::SCHEMA, path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        let trees = Groups::of(&paths, self.trees.recursive);
        let several = paths.len() > 1 || trees.any();
        let signals = several.then(Graceful::begin);
        let run = RebuildRun::new(&options, journal.as_ref(), signals.as_ref());
        let head = Head {
            idx: env!("CARGO_PKG_VERSION"),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            given: paths.iter().map(|path| PathText(path)).collect(),
            dry_run: self.dry_run,
            accept: &self.accept_loss,
        };
        if let Err(error) = run.note("run", head, true) {
            context.failure(&error);
            return Ok(());
        }
        let mut summary = RebuildSummary::default();
        let mut batch = Batch::begin(rebuild::SCHEMA, several);
        let work = Work {
            is_over: &|| run.is_over(),
            named: &|path| run.named(path),
            trees: &|roots, tell| run.trees(roots, self.trees.walk.into(), tell),
        };
        batch.run(context, &trees, &work, |context, batch, outcome: RebuildOutcome, is_tree| {
            summary.count(&outcome);
            let (path, outcome) = outcome;
            if paths.len() == 1 && matches!(outcome, Err(Failure::Root(_))) {
                batch.is_nothing();
            }
            tell(context, batch, &path, outcome, is_tree);
        });
        summary.end(&run, self.trees.words(), &paths);
        if let Err(error) = run.note("summary", &summary, true) {
            context.failure(&error);
        }
        let (interrupted, sentence) = (summary.interrupted, summary.text(self.dry_run));
        let more = |context: &mut Context| summary.next_steps(&mut context.out);
        Ok(batch.end(context, &summary, interrupted, sentence, more)?)
    }
}

/// Says what came of one mailbox; of those in a tree for people in one line.
fn tell(context: &mut Context, batch: &mut Batch, path: &Path, outcome: Result<RebuildReport, Failure>, is_tree: bool) {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return batch.failure(context, path, &error),
    };
    let place = shown(&report.path);
    match report.status {
        rebuild::Status::Refused => {
            let reason = report.reason.as_deref().unwrap_or_default();
            let command = report.command.as_ref().filter(|_| is_tree);
            let command = command.map_or_else(String::new, |command| format!("; to accept it: {command}"));
            context.failure(&format_args!("{place}: refused: {reason}{command}"));
        }
        rebuild::Status::Rebuilt if !report.dry_run => {
            let lost =
                if report.lost.is_empty() { String::new() } else { format!(", lost {}", report.lost.join("; ")) };
            context.done(format!("{place}: rebuilt{lost}"));
        }
        _ => {}
    }
    if report.status != rebuild::Status::Refused && !report.lost.is_empty() {
        context.raise(Status::Findings);
    }
    let row = |context: &mut Context| view::row(&report, &context.style, &mut context.out);
    batch.report(context, &report, is_tree.then_some(row));
}
