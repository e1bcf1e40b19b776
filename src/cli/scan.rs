//! `idx scan`.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Roots, Trees};
use super::out::Out;
use super::progress::Progress;
use super::{Context, EXIT_STATUS, MOST_ERRORS, ROOT_READS, Status, paths};
use crate::ops::scan::{self, Options, Row, State};
use crate::render::Format;
use crate::render::document::{Document, Part};
use crate::source::WalkError;
use crate::view::scan as scan_view;
use crate::view::scan::Summary;
use crate::with_document;

/// List every mailbox below a directory: name, user, storage format, counts, sizes, state
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Scan {
    /// Directories to search; - reads names from standard input, separated by NUL or newline
    #[arg(value_name = "ROOT", default_value = ".")]
    pub(super) roots: Vec<PathBuf>,
    /// Also list the indexes of mailbox lists, mdbox maps and private flags, and caches kept apart
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    trees: Trees,
    #[command(flatten)]
    told: Roots,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx scan /var/vmail                        every mailbox of every user
  idx scan --all ~/mdbox                     the mailbox list and the mdbox map too
  idx scan -f ndjson /var/vmail | jq -r 'select(.state != \"sound\") | .path'

",
    EXIT_STATUS,
    ROOT_READS
);

impl Scan {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        self.told.tell(context);
        let Some(roots) = paths::expand(context, &self.roots)? else {
            return Ok(context.error_document(scan::SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        let options = Options { walk: self.trees.into(), all: self.all, mmap: context.mmap };
        if context.format == Format::Table {
            self.table(&roots, &options, context)
        } else {
            json(&roots, &options, context)
        }
    }

    fn table(&self, roots: &[PathBuf], options: &Options, context: &mut Context) -> anyhow::Result<()> {
        let mut table = scan_view::table(context.style);
        let mut summary = Summary::default();
        run(roots, options, context, |item, context| match item {
            Err(_) => Ok(()),
            Ok(row) => {
                summary.count(row);
                table.row(scan_view::cells(row, self.all), &mut context.out)
            }
        })?;
        table.flush(&mut context.out)?;
        summary.write(&mut context.out)?;
        Ok(())
    }
}

fn json(roots: &[PathBuf], options: &Options, context: &mut Context) -> anyhow::Result<()> {
    let (format, style) = (context.format, context.style);
    let mut summary = Summary::default();
    let mut errors: Vec<(PathBuf, String)> = Vec::new();
    // The document borrows standard output, and notes on standard error need none of it.
    let mut out = std::mem::replace(&mut context.out, Out::new());
    with_document!(format, scan::SCHEMA, style, &mut out, |out| {
        out.begin(&mut |_| {})?;
        out.list("mailboxes", |part| {
            run(roots, options, context, |item, _| {
                match item {
                    Err(error) if errors.len() < MOST_ERRORS => {
                        errors.push((error.path.clone(), error.source.to_string()));
                    }
                    Err(_) => {}
                    Ok(row) => {
                        summary.count(row);
                        part.item(|emit| scan_view::emit(row, emit))?;
                    }
                }
                Ok(())
            })
        })?;
        out.errors(errors.iter().map(|(path, error)| (path.as_path(), error.clone())))?;
        out.object("summary", &mut |emit| summary.emit(emit))?;
        out.end()?;
    });
    context.out = out;
    Ok(())
}

/// Scans, says on standard error what is wrong, and hands every row to `take`.
fn run(
    roots: &[PathBuf],
    options: &Options,
    context: &mut Context,
    mut take: impl FnMut(Result<&Row, &WalkError>, &mut Context) -> io::Result<()>,
) -> io::Result<()> {
    let progress = Progress::new(context.progress, "mailboxes", None, true);
    let mut written = Ok(());
    scan::scan(roots, options, |item| {
        progress.step();
        match &item {
            Err(error) => progress.aside(|| context.failure(error)),
            Ok(row) => {
                if let Some((file, problem)) = &row.problem {
                    progress.aside(|| match row.state {
                        State::Damaged => context.finding(file, problem),
                        State::Busy => context.note(&row.path, problem),
                        State::Warning => context.note(file, problem),
                        State::Sound | State::Unreadable => {
                            context.failure(problem);
                            context.raise(Status::Failed);
                        }
                    });
                }
            }
        }
        written = take(item.as_ref(), context);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    progress.finish();
    written
}
