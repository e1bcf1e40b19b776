//! `idx check`.

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::progress::Progress;
use super::scan::Jobs;
use super::{Context, EXIT_STATUS, Status, expand_paths};
use crate::check::{Checked, Options, Severity};
use crate::ops::check::{self, Tally, TreeOptions, Unit};
use crate::render::document::{Document, Part};
use crate::render::{Emit, Format};
use crate::source::{PathError, with_suffix};
use crate::view::findings::{self, Nagios};
use crate::with_document;

/// Check index files for damage; silent when all is well
///
/// Reads each mailbox's index, logs, cache and backup, and judges them by Dovecot's own rules and a few more. Nothing is
/// locked or changed, and a mailbox that is being written to raises no alarm.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Check {
    /// Directories, searched for mailboxes (a Maildir with its folders), or index files; - reads names from standard input, separated by NUL or newline
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also show what Dovecot does about each finding, the remedy, and what is merely worth knowing
    #[arg(short, long)]
    verbose: bool,
    /// Also check against the mail storage: Maildir, sdbox and mdbox files, the mailbox list, private flags
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t, value_name = "SEVERITY")]
    fail_on: FailOn,
    /// Print one line as a Nagios plugin does, and exit with 0 (OK) to 3 (UNKNOWN)
    #[arg(long, conflicts_with = "verbose")]
    nagios: bool,
    /// Write metrics to FILE for the textfile collector of Prometheus' node exporter
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Warn of logs larger than this (bytes, or with k, M, G)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_log_size: Option<u64>,
    /// Warn of caches larger than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_cache_size: Option<u64>,
    /// Warn of logs that reach back less than this (seconds, or with m, h, d, w)
    #[arg(long, value_name = "TIME", value_parser = duration)]
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
With --nagios: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"
);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Warnings and errors
    Warning,
    /// Errors
    #[default]
    Error,
}

/// A number with one of the suffixes, each with its factor.
fn scaled(text: &str, suffixes: &[(&str, u64)]) -> Result<u64, String> {
    let (digits, factor) =
        suffixes.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor))).unwrap_or((text, 1));
    let number: Option<u64> = digits.trim().parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| {
        let names: Vec<&str> = suffixes.iter().map(|(suffix, _)| *suffix).collect();
        format!("expected a whole number, alone or with one of {}", names.join(", "))
    })
}

fn size(text: &str) -> Result<u64, String> {
    scaled(text, &[("k", 1 << 10), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)])
}

fn duration(text: &str) -> Result<u64, String> {
    scaled(text, &[("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)])
}

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
            ..Options::default()
        };
        let mut run = Run { check: self, options: &options, tally: Tally::default(), failures: Vec::new() };
        let paths = expand_paths(&self.paths)?;
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
        } else {
            with_document!(format, check::SCHEMA, style, &mut context.out, |out| {
                out.begin(&mut |_| {})?;
                out.list("findings", |out, part| {
                    run.all(&paths, |unit, checked| {
                        for finding in &checked.findings {
                            part.item(|emit| check::emit(&unit.mailbox, finding, emit));
                        }
                        out.take_some(part)
                    })
                })?;
                out.object("summary", &mut |emit: &mut dyn Emit| run.tally.summary.emit(emit))?;
                out.end()?;
            });
        }
        let Run { tally, failures, .. } = run;
        if let Some(path) = &self.prometheus {
            let text = findings::prometheus(&tally, options.now, begun.elapsed().as_secs_f64(), failures.is_empty());
            replace(path, text.as_bytes()).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
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
        let threshold = match self.fail_on {
            FailOn::Warning => Severity::Warning,
            FailOn::Error => Severity::Error,
        };
        if tally.worst().is_some_and(|worst| worst >= threshold) {
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
}

impl Run<'_> {
    /// Checks everything below the paths, in order.
    fn all(&mut self, paths: &[PathBuf], mut take: impl FnMut(&Unit, &Checked) -> io::Result<()>) -> io::Result<()> {
        let progress = Progress::new("mailboxes", false);
        let tree = TreeOptions { check: self.options.clone(), jobs: self.check.jobs.count(), deep: self.check.deep };
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
                    let outcome = check::unit(path)
                        .and_then(|unit| Ok((check::run(&unit, self.options, self.check.deep)?, unit)));
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
        match outcome {
            Ok((checked, _)) if checked.findings.is_empty() => {}
            Ok((checked, unit)) => progress.aside(|| take(&unit, &checked))?,
            Err(PathError::Busy(_)) if !self.check.verbose => {}
            Err(error @ PathError::Busy(_)) => progress.aside(|| eprintln!("idx: {error}")),
            Err(error) => self.failures.push(error),
        }
        Ok(())
    }
}

/// Writes a file so that a reader sees the old one or the new one, never a part.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("500M"), Ok(500 << 20));
        assert_eq!(size("12"), Ok(12));
        assert_eq!(duration("2d"), Ok(172_800));
        assert!(size("1T").is_err() && size("").is_err() && duration("99999999999999w").is_err());
    }
}
