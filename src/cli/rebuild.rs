//! `idx rebuild`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Choice, Lock, Targets, choice};
use super::{Context, EXIT_STATUS, ROOT_WRITES, Status, paths};
use crate::ops::rebuild::{self, Options, RebuildReport};
use crate::render::text::shown;
use crate::render::{self, Report};
use crate::repair::{Base, Grade};

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
    #[command(flatten)]
    lock: Lock,
    /// Save nothing: the rebuild cannot be undone
    #[arg(long)]
    no_undo: bool,
    /// As root: take also files that belong to neither the owner of the mailbox directory nor root
    #[arg(long)]
    any_owner: bool,
}

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
        paths::for_each(context, RebuildReport::SCHEMA, &self.targets.paths, |context, path| {
            run_one(path, &options, context)
        })
    }
}

fn run_one(path: &Path, options: &Options, context: &mut Context) -> anyhow::Result<()> {
    let report = match rebuild::run(path, options) {
        Ok(report) => report,
        Err(error) => {
            context.error_document(RebuildReport::SCHEMA, path, &error)?;
            context.failure(&error);
            return Ok(());
        }
    };
    let place = shown(&report.path);
    match report.status {
        rebuild::Status::Refused => {
            let reason = report.reason.as_deref().unwrap_or_default();
            context.failure(&format_args!("{place}: refused: {reason}"));
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
    Ok(render::print(&report, context.format, &context.style, &mut context.out)?)
}
