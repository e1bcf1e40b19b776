//! `idx undo`.

use clap::Args;

use super::args::{Lock, Targets};
use super::{Context, EXIT_STATUS, ROOT_WRITES, paths};
use crate::ops::undo::{self, Options, Status, Task, UndoReport};
use crate::render::text::shown;
use crate::render::{self, Report};

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
    lock: Lock,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx undo ~/Maildir                        contents and times as before the last rebuild
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
        paths::for_each(context, UndoReport::SCHEMA, &self.targets.paths, |context, path| {
            let report = match undo::run(path, &options) {
                Ok(report) => report,
                Err(error) => {
                    context.error_document(UndoReport::SCHEMA, path, &error)?;
                    context.failure(&error);
                    return Ok(());
                }
            };
            let place = shown(&report.path);
            match report.status {
                Status::Restored | Status::Cleared if report.dry_run => {}
                Status::Restored => context.done(format!("{place}: restored")),
                Status::Cleared => context.done(format!("{place}: the undo file is removed")),
                Status::Listed => {}
                Status::Refused => {
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
            Ok(render::print(&report, context.format, &context.style, &mut context.out)?)
        })
    }
}
