//! `idx undo`.

use std::path::Path;

use clap::Args;

use super::args::{Deep, Lock, Targets};
use super::batch::{Batch, Work};
use super::paths::{self, Groups};
use super::{Context, EXIT_STATUS, ROOT_WRITES};
use crate::ops::trees::Trees;
use crate::ops::undo::{self, Options, Task, UndoError, UndoReport, UndoStatus, UndoSummary};
use crate::render::Report;
use crate::render::text::shown;
use crate::store::signals::{self, Graceful};
use crate::view::rebuild as view;

/// Put back, byte for byte, what the last rebuild of a mailbox replaced
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Undo {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Only say what would be done; needs no lock
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Go back to before the first of all the rebuilds that are kept (at most five)
    #[arg(long)]
    all: bool,
    /// Only say which rebuilds can be undone, the oldest first
    #[arg(long, conflicts_with_all = ["all", "force", "clear"])]
    list: bool,
    /// Undo nothing, and remove the undo file
    #[arg(long, conflicts_with_all = ["all", "force"])]
    clear: bool,
    /// Do it although something has been written since the rebuild; that is lost then, and -n says what it is
    #[arg(long)]
    force: bool,
    /// As root: take also files that belong to neither the owner of the mailbox directory nor root
    #[arg(long)]
    any_owner: bool,
    #[command(flatten)]
    trees: Deep,
    #[command(flatten)]
    lock: Lock,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx undo ~/Maildir                        contents and times as before the last rebuild
  idx undo -n /var/vmail                    the same for every mailbox below that has an undo file
  idx undo --list ~/Maildir                 which rebuilds can be undone
  idx undo -n --all --force ~/Maildir       what going back to before the first would restore, and throw away
  tar -tvf ~/Maildir/dovecot.index.idx-undo what would be put back
  idx undo -f json ~/Maildir | jq .restored

",
    EXIT_STATUS,
    ROOT_WRITES
);

impl Undo {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let options = Options {
            task: match (self.all, self.list, self.clear) {
                (true, _, _) => Task::All,
                (_, true, _) => Task::List,
                (_, _, true) => Task::Clear,
                _ => Task::Last,
            },
            dry_run: self.dry_run,
            force: self.force,
            any_owner: self.any_owner,
            lock_method: self.lock.lock_method,
            lock_timeout: self.lock.lock_timeout,
        };
        let Some(paths) = paths::expand(context, &self.targets.paths)? else {
            return Ok(context.error_document(UndoReport::SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        let groups = Groups::of(&paths, self.trees.recursive);
        let several = paths.len() > 1 || groups.any();
        let signals = several.then(Graceful::begin);
        let stop = || signals.as_ref().is_some_and(|signals| signals.asked().is_some());
        let mut summary = UndoSummary::default();
        let mut batch = Batch::begin(UndoReport::SCHEMA, several);
        let work = Work {
            is_over: &stop,
            named: &|path| (path.to_owned(), undo::run_guarded(path, &options)),
            trees: &|roots, tell| {
                let trees = Trees { roots, walk: self.trees.walk.into(), stop: &stop };
                undo::trees(&trees, &options, |path, outcome| tell((path, outcome)));
            },
        };
        batch.run(context, &groups, &work, |context, batch, (path, outcome), is_tree| {
            summary.count(&outcome);
            if paths.len() == 1 && matches!(outcome, Err(UndoError::Nothing(_))) {
                batch.is_nothing();
            }
            tell(context, batch, &path, outcome, is_tree);
        });
        summary.interrupted = signals.as_ref().and_then(Graceful::asked).map(signals::name);
        let (interrupted, sentence) = (summary.interrupted, summary.text(self.dry_run));
        Ok(batch.end(context, &summary, interrupted, sentence, |_| Ok(()))?)
    }
}

/// Says what came of one mailbox; of those in a tree for people in one line.
fn tell(context: &mut Context, batch: &mut Batch, path: &Path, outcome: Result<UndoReport, UndoError>, is_tree: bool) {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => return batch.failure(context, path, &error),
    };
    let place = shown(&report.path);
    match report.status {
        UndoStatus::Restored | UndoStatus::Cleared if report.dry_run => {}
        UndoStatus::Restored => context.done(format!("{place}: restored")),
        UndoStatus::Cleared => context.done(format!("{place}: the undo file is removed")),
        UndoStatus::Listed => {}
        UndoStatus::Refused => {
            let since = report.changed_since.join(", ");
            let lost = match report.thrown_away.is_empty() {
                true => "the saved files would no longer fit the others".to_owned(),
                false => format!("that would be lost ({})", report.thrown_away.join("; ")),
            };
            let why = "--force restores all the same";
            let since = format_args!("written since the rebuild: {since}");
            context.failure(&format_args!("{place}: refused: {since}; {why}: {lost}"));
        }
    }
    let row = |context: &mut Context| view::undone(&report, &context.style, &mut context.out);
    batch.report(context, &report, (is_tree && report.status != UndoStatus::Listed).then_some(row));
}
