//! `idx rebuild`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Context, EXIT_STATUS, Status};
use crate::render::{self, Report};
use crate::repair::plan::Base;
use crate::repair::{self, Options, RebuildReport};
use crate::store::lock::LockMethod;

/// Write a new dovecot.index from the logs, on the best base that survives
///
/// Keeps UIDVALIDITY, UIDNEXT, UIDs, flags, keywords, modseqs, GUIDs and cache links, so that no client resynchronises. Holds
/// Dovecot's own lock, checks its result before it replaces anything, and saves what it replaces in dovecot.index.idx-undo. Where
/// something would be lost it says exactly what, and refuses.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Rebuild {
    /// Mailbox directory, or one of its index files
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Only say what would be done; needs no lock
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Write the resulting files to DIR and touch nothing here; needs no lock
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What to build on
    #[arg(long, value_enum, default_value_t, value_name = "BASE")]
    base: BaseChoice,
    /// Go on although messages, flags or history are lost; exit code 1
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    lock: Lock,
    /// Save nothing: the rebuild cannot be undone
    #[arg(long)]
    no_undo: bool,
}

/// How to lock.
#[derive(Clone, Debug, Args)]
pub struct Lock {
    /// Dovecot's setting lock_method
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    pub lock_method: LockMethod,
    /// How long to wait for the lock, such as 30, 500ms, 2m
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub lock_timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum BaseChoice {
    /// The first of these that loses nothing
    #[default]
    Auto,
    /// The main index and the logs after it
    Index,
    /// dovecot.index.backup and the logs after it
    Backup,
    /// Logs that start from an empty mailbox
    Log,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx rebuild -n ~/Maildir                  what would be done, and what would be lost
  idx rebuild ~/Maildir                     do it; `idx undo ~/Maildir` takes it back
  idx rebuild -f json -o /tmp/new ~/Maildir/.Sent | jq '.status, .lost'

",
    EXIT_STATUS
);

/// A duration: a number with ms, s, m or h, seconds if there is none.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a time (expected a number of seconds, or one with ms, s, m or h)");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(bad)
}

impl Rebuild {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let options = Options {
            dry_run: self.dry_run,
            output: self.output.clone(),
            base: match self.base {
                BaseChoice::Auto => None,
                BaseChoice::Index => Some(Base::Index),
                BaseChoice::Backup => Some(Base::Backup),
                BaseChoice::Log => Some(Base::Log),
            },
            accept_loss: self.accept_loss,
            lock_method: self.lock.lock_method,
            lock_timeout: self.lock.lock_timeout,
            no_undo: self.no_undo,
            mmap: context.mmap,
        };
        let report = match repair::run(&self.path, &options) {
            Ok(report) => report,
            Err(error) => {
                context.error_document(RebuildReport::SCHEMA, &self.path, &error)?;
                context.failure(&error);
                return Ok(());
            }
        };
        render::print(&report, context.format, &context.style, &mut context.out)?;
        match report.status {
            repair::Status::Refused => {
                let reason = report.reason.as_deref().unwrap_or_default();
                context.failure(&format_args!("{}: refused: {reason}", report.path.display()));
            }
            _ if !report.lost.is_empty() => context.raise(Status::Findings),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("").is_err() && duration("3d").is_err() && duration("-1").is_err());
    }
}
