//! `idx undo`.

use clap::Args;

use super::args::{Lock, Targets};
use super::{Context, EXIT_STATUS, paths};
use crate::ops::undo::{self, Options, Status, UndoReport};
use crate::render::text::shown;
use crate::render::{self, Report};

/// Put back, byte for byte, what the last rebuild of a mailbox replaced
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Undo {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Do it although something has been written since the rebuild; that is lost then
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    lock: Lock,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx undo ~/Maildir                        contents, owners, modes and times as before the rebuild
  tar -tvf ~/Maildir/dovecot.index.idx-undo what would be put back
  idx undo -f json ~/Maildir | jq .restored

",
    EXIT_STATUS
);

impl Undo {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let options =
            Options { force: self.force, lock_method: self.lock.lock_method, lock_timeout: self.lock.lock_timeout };
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
                Status::Restored => context.done(format!("{place}: restored")),
                Status::Refused => {
                    let since = report.changed_since.join(", ");
                    context.failure(&format_args!("{place}: refused: written since the rebuild: {since}"));
                }
            }
            Ok(render::print(&report, context.format, &context.style, &mut context.out)?)
        })
    }
}
