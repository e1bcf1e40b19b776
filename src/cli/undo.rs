//! `idx undo`.

use std::path::PathBuf;

use clap::Args;

use super::rebuild::Lock;
use super::{Context, EXIT_STATUS};
use crate::ops::undo::{self, Options, Status, UndoReport};
use crate::render::{self, Report};

/// Put back, byte for byte, what the last rebuild of a mailbox replaced
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Undo {
    /// Mailbox directory, or one of its index files
    #[arg(value_name = "PATH")]
    path: PathBuf,
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
        let report = match undo::run(&self.path, &options) {
            Ok(report) => report,
            Err(error) => {
                context.error_document(UndoReport::SCHEMA, &self.path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        render::print(&report, context.format, &context.style, &mut context.out)?;
        if report.status == Status::Refused {
            let since = report.changed_since.join(", ");
            context.failure(&format_args!("{}: refused: written since the rebuild: {since}", report.path.display()));
        }
        Ok(())
    }
}
