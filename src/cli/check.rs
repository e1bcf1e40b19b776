//! `idx check`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::args::{Ask, Choice, Roots, Trees, choice};
use super::progress::Progress;
use super::{Context, EXIT_STATUS, ROOT_READS, Status, grammar, paths};
use crate::check::deep::NotCompared;
use crate::check::{Options, Severity};
use crate::format::ext::Visit;
use crate::ops::check::{self, Tally, TreeOptions, Unit};
use crate::ops::inspect::{self, Checked};
use crate::render::Format;
use crate::render::document::{Document, Part};
use crate::render::text::shown;
use crate::source::{PathError, guarded};
use crate::store::output;
use crate::view::findings::{self, Nagios};
use crate::with_document;

/// Check index files for damage; silent when all is well
///
/// Reads each mailbox's index, logs, cache and backup, and judges them by Dovecot's own rules and a few more. Nothing
/// is locked or changed, and a mailbox that is being written to raises no alarm.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Check {
    /// Directories, searched for mailboxes (a Maildir with its folders), or index files; - reads names from standard
    /// input, separated by NUL or newline
    #[arg(value_name = "PATH", default_value = ".")]
    pub(super) paths: Vec<PathBuf>,
    /// Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing
    #[arg(short, long)]
    verbose: bool,
    /// Also check against the mail storage: Maildir, sdbox and mdbox files, the mailbox list, private flags
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    trees: Trees,
    #[command(flatten)]
    told: Roots,
    /// What makes the exit code 1
    #[arg(long, default_value = "error", value_name = "SEVERITY", value_parser = choice(FAIL_ON))]
    fail_on: Severity,
    /// Print one line as a Nagios plugin does, and exit with 0 (OK) to 3 (UNKNOWN)
    #[arg(long, conflicts_with = "verbose")]
    nagios: bool,
    /// Write metrics to FILE for the textfile collector of Prometheus' node exporter; - is standard output
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Warn of logs larger than this such as 64k, 1M, "1.5 MiB"
    #[arg(long, value_name = "SIZE", value_parser = grammar::size)]
    max_log_size: Option<u64>,
    /// Warn of caches larger than this
    #[arg(long, value_name = "SIZE", value_parser = grammar::size)]
    max_cache_size: Option<u64>,
    /// Warn of logs that reach back less than this such as 3d, "2 days", 90m
    #[arg(long, value_name = "TIME", value_parser = grammar::seconds)]
    min_window: Option<u64>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx check -v ~/Maildir                              one mailbox, with remedies
  idx check --deep --fail-on warning /var/vmail       a whole spool, against the mail storage
  idx check -f json ~/Maildir | jq '.findings[] | {code, file, offset}'

",
    EXIT_STATUS,
    "
With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN",
    ROOT_READS
);

const FAIL_ON: &[Choice<Severity>] =
    &[("warning", "Warnings and errors", Severity::Warning), ("error", "Errors", Severity::Error)];

impl Check {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output or the metrics file cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let begun = Instant::now();
        let options = Options {
            mmap: context.mmap,
            max_log_size: self.max_log_size,
            max_cache_size: self.max_cache_size,
            min_window: self.min_window,
            ..inspect::options()
        };
        let mut run = Run {
            check: self,
            options: &options,
            tally: Tally::default(),
            failures: Vec::new(),
            skipped: Vec::new(),
            progress: context.progress,
        };
        self.told.tell(context);
        let Some(paths) = paths::expand(context, &self.paths)? else {
            return Ok(context.error_document(check::SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        let (format, style) = (context.format, context.style);
        if self.nagios {
            run.all(&paths, |_, _| Ok(()))?;
        } else if format == Format::Table {
            let out = &mut context.out;
            let mut findings = findings::Findings::new(self.verbose, style);
            run.all(&paths, |unit, checked| {
                let shown = checked.findings.iter().filter(|one| self.verbose || one.severity > Severity::Info);
                for finding in shown {
                    findings.print(&unit.mailbox, finding, out)?;
                }
                Ok(())
            })?;
            for (mailbox, one) in run.skipped.iter().filter(|_| self.verbose) {
                writeln!(out, "not compared: {}: {}: {}", shown(mailbox), one.what, one.why)?;
            }
        } else {
            with_document!(format, check::SCHEMA, style, &mut context.out, |out| {
                out.begin(&mut |_| {})?;
                out.list("findings", |part| {
                    run.all(&paths, |unit, checked| {
                        let mut findings = checked.findings.iter();
                        findings.try_for_each(|one| part.item(|emit| findings::emit(&unit.mailbox, one, emit)))
                    })
                })?;
                let skipped = std::mem::take(&mut run.skipped);
                out.list("not_compared", |part| {
                    for (mailbox, one) in &skipped {
                        part.item(|emit| {
                            emit.text("mailbox", mailbox.as_os_str().as_bytes());
                            emit.text("what", one.what.as_bytes());
                            emit.text("why", one.why.as_bytes());
                        })?;
                    }
                    Ok(())
                })?;
                out.errors(run.failures.iter().map(|error| (error.path(), error.to_string())))?;
                out.object("summary", &mut |emit| findings::emit_summary(&run.tally.summary, emit))?;
                out.end()?;
            });
        }
        let Run { tally, failures, .. } = run;
        if let Some(path) = &self.prometheus {
            let text = findings::prometheus(&tally, options.now, begun.elapsed().as_secs_f64(), failures.is_empty());
            match path.as_os_str() == "-" {
                true => context.out.write_all(text.as_bytes())?,
                false => output::replace(path, 0o644, text.as_bytes())?,
            }
        }
        if self.nagios {
            let (state, line) = findings::nagios(&tally);
            writeln!(context.out, "{line}")?;
            context.raise(match state {
                Nagios::Ok => Status::Sound,
                Nagios::Warning => Status::Findings,
                Nagios::Critical => Status::Failed,
                Nagios::Unknown => Status::Unknown,
            });
            return Ok(());
        }
        for failure in &failures {
            context.failure(failure);
        }
        if tally.worst().is_some_and(|worst| worst >= self.fail_on) {
            context.raise(Status::Findings);
        }
        Ok(())
    }
}

struct Run<'a> {
    check: &'a Check,
    options: &'a Options,
    tally: Tally,
    failures: Vec<PathError>,
    /// What was not compared, with the mailbox.
    skipped: Vec<(PathBuf, NotCompared)>,
    progress: Ask,
}

impl Run<'_> {
    /// Checks everything below the paths, in order.
    fn all(&mut self, paths: &[PathBuf], mut take: impl FnMut(&Unit, &Checked) -> io::Result<()>) -> io::Result<()> {
        let one_each = paths.iter().all(|path| !path.is_dir()).then_some(paths.len() as u64);
        let progress = Progress::new(self.progress, "mailboxes", one_each, false);
        let tree = TreeOptions { check: self.options.clone(), walk: self.check.trees.into(), deep: self.check.deep };
        let mut done = Ok(());
        for group in paths.chunk_by(|a, b| a.is_dir() && b.is_dir()) {
            if group.iter().all(|path| path.is_dir()) {
                check::trees(group, &tree, |unit, outcome| {
                    progress.step();
                    done = self.one(unit.is_mailbox(), outcome.map(|checked| (checked, unit)), &progress, &mut take);
                    if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
            } else {
                for path in group {
                    progress.step();
                    let judge = || {
                        let unit = check::unit(path)?;
                        Ok((check::run(&unit, self.options, self.check.deep)?, unit))
                    };
                    let bug = |panic| PathError::Io { path: path.clone(), source: io::Error::other(panic) };
                    let outcome = guarded(judge).map_err(bug).flatten();
                    done = done.and_then(|()| self.one(true, outcome, &progress, &mut take));
                }
            }
            if done.is_err() {
                break;
            }
        }
        progress.finish();
        done
    }

    fn one(
        &mut self,
        is_mailbox: bool,
        outcome: Result<(Checked, Unit), PathError>,
        progress: &Progress,
        take: &mut impl FnMut(&Unit, &Checked) -> io::Result<()>,
    ) -> io::Result<()> {
        self.tally.count(outcome.as_ref().map(|(checked, _)| checked), is_mailbox);
        if let Ok((checked, unit)) = &outcome {
            self.skipped.extend(checked.not_compared.iter().map(|one| (unit.mailbox.clone(), one.clone())));
        }
        match outcome {
            Ok((checked, _)) if checked.findings.is_empty() => {}
            Ok((checked, unit)) => progress.aside(|| take(&unit, &checked))?,
            Err(PathError::Busy(_)) if !self.check.verbose => {}
            Err(error @ PathError::Busy(_)) => progress.aside(|| super::say(&error)),
            Err(error) => self.failures.push(error),
        }
        Ok(())
    }
}
