//! `idx dump`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Choice, choice};
use super::progress::Progress;
use super::{Context, EXIT_STATUS, MOST_ERRORS, Status, grammar, is_single, paths};
use crate::format::FileKind;
use crate::model::UidSet;
use crate::render::document::Document;
use crate::source::{MailboxFiles, Panicked, PathError, Role, guarded};
use crate::view::dump::{self, DumpError, DumpOutcome, Options, Section};
use crate::with_document;

/// Show what is physically in index files, field by field
///
/// Nothing is replayed: `idx show` does that. A directory stands for the index, backup, logs and cache of its mailbox.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Dump {
    /// Files or mailbox directories; - reads names from standard input, separated by NUL or newline
    #[arg(value_name = "PATH", default_value = ".")]
    pub(super) paths: Vec<PathBuf>,
    /// Only these sections
    #[arg(long, value_delimiter = ',', value_name = "SECTION", value_parser = choice(SECTIONS))]
    section: Option<Vec<Section>>,
    /// Only records of these messages
    #[arg(long, value_name = "SET", value_parser = grammar::set)]
    uid: Option<UidSet>,
    /// At most N records of each file
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Name and show every byte
    #[arg(long)]
    hex: bool,
    /// Read the files as this kind, whatever they look like
    #[arg(long, value_name = "KIND", value_parser = kind_of)]
    kind: Option<FileKind>,
}

const SECTIONS: &[Choice<Section>] = &[
    ("header", "The file header", Section::Header),
    ("extensions", "Extension headers of an index", Section::Extensions),
    ("keywords", "Keyword names of an index", Section::Keywords),
    (
        "records",
        "Records of an index, a cache, a thread index or a mailbox log; also those of a transaction log",
        Section::Records,
    ),
    ("fields", "Fields of a cache", Section::Fields),
    ("transactions", "Records of a transaction log", Section::Transactions),
];

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx dump ~/Maildir                                      all index files of a mailbox
  idx dump --uid 4088 --section records ~/Maildir         what index and cache hold of one message
  idx dump -f ndjson dovecot.index.log | jq 'select(.type == \"expunge-guid\")'

",
    EXIT_STATUS
);

fn kind_of(name: &str) -> Result<FileKind, String> {
    FileKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<_> = FileKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

impl Dump {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let options = Options {
            sections: self.section.clone(),
            uid: self.uid.clone(),
            limit: self.limit,
            hex: self.hex,
            kind: self.kind,
            mmap: context.mmap,
            now: crate::source::now(),
        };
        let mut files = Vec::new();
        let mut failures = Vec::new();
        let Some(paths) = paths::expand(context, &self.paths)? else {
            return Ok(context.error_document(dump::SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        for path in paths {
            match files_of(&path) {
                Ok(list) => files.extend(list),
                Err(error) => failures.push((path, error)),
            }
        }
        let one = files.len() + failures.len() == 1 && self.paths.len() == 1 && !self.paths[0].is_dir();
        let mut ends = Vec::new();
        let progress = Progress::new(context.progress, "files", Some(files.len() as u64), true);
        let (format, style) = (context.format, context.style);
        let grouped = is_single(format) && !one;
        let failed: Vec<_> = failures.iter().map(|(path, error)| (path.clone(), error.to_string())).collect();
        if !(one && files.is_empty()) {
            with_document!(format, dump::SCHEMA, style, &mut context.out, |out| {
                if grouped {
                    out.begin(&mut |_| {})?;
                    out.list_begin("files")?;
                }
                for path in &files {
                    let bug = |panic: Panicked| {
                        DumpError::Path(PathError::Io { path: path.clone(), source: io::Error::other(panic) })
                    };
                    let end = guarded(|| dump::file(path, &options, out)).map_err(bug).flatten();
                    if let Err(DumpError::Output(error)) = end {
                        return Err(error.into());
                    }
                    if let (true, Err(error)) = (grouped, &end) {
                        out.failed(path, error)?;
                    }
                    ends.push((path.clone(), end));
                    progress.step();
                }
                if grouped {
                    for (path, error) in &failed {
                        out.failed(path, error)?;
                    }
                    out.list_end()?;
                    let broken = ends.iter().filter_map(|(path, end)| Some((path, end.as_ref().err()?.to_string())));
                    let all = broken.chain(failed.iter().map(|(path, error)| (path, error.clone())));
                    out.errors(all.map(|(path, error)| (path.as_path(), error)).take(MOST_ERRORS))?;
                    out.end()?;
                }
            });
        }
        progress.finish();
        for (path, end) in ends {
            self.report(&path, end, grouped, context)?;
        }
        for (path, error) in failures {
            self.report(&path, Err(error.into()), grouped, context)?;
        }
        Ok(())
    }

    fn report(
        &self,
        path: &Path,
        end: Result<DumpOutcome, DumpError>,
        grouped: bool,
        context: &mut Context,
    ) -> anyhow::Result<()> {
        match end {
            Ok(outcome) => outcome.problems.iter().for_each(|problem| context.finding(path, problem)),
            Err(error) => {
                if !grouped {
                    context.error_document(dump::SCHEMA, path, &error)?;
                }
                context.failure(&error);
                context.raise(Status::Failed);
            }
        }
        Ok(())
    }
}

/// The files that a path stands for.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, PathError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let files = MailboxFiles::locate(path)?;
    let order = [Role::Index, Role::Backup, Role::OldLog, Role::Log, Role::Cache];
    // What is there and no regular file is an answer of its own.
    Ok(order.into_iter().filter(|role| files.stat(*role).is_ok()).map(|role| files.path(role)).collect())
}
