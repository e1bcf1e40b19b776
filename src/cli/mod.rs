//! The command line: flags to options, results to the renderer, errors to stderr and the exit code.

mod args;
mod batch;
mod check;
mod complete;
mod dump;
mod exit;
mod expunges;
pub mod grammar;
mod log;
mod modseq;
mod out;
mod paths;
mod progress;
mod qresync;
mod rebuild;
mod scan;
mod show;
mod simulate;
mod undo;
mod verbs;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use self::args::{ASK, Ask, Choice, FORMATS, choice};
pub use self::exit::{EXIT_STATUS, ROOT_READS, ROOT_WRITES, Status};
use self::out::Out;
use crate::check::{Finding, Severity};
use crate::render::text::{printable, shown};
use crate::render::{Format, Json, Style, document};
use crate::source::MmapPolicy;
use crate::storage::Location;

/// Read, explain and check Dovecot's mailbox index files
#[derive(Debug, Parser)]
#[command(name = "idx", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = concat!("\
Examples:
  idx show ~/Maildir                         the mailbox as Dovecot would present it
  idx dump ~/Maildir/dovecot.index.log       every record of a transaction log
  find / -name dovecot.index -print0 | idx dump --section header -f ndjson -

Exit status:
  0  sound, done, or equal
  1  findings, differences, or done with loss; a damaged file whose readable part was shown
  2  could not be done (usage, I/O, lock held, not an index file, refused); nothing changed"))]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Check),
    Dump(dump::Dump),
    Log(log::Log),
    Show(show::Show),
    Modseq(modseq::Modseq),
    Expunges(expunges::Expunges),
    Qresync(qresync::Qresync),
    Rebuild(rebuild::Rebuild),
    Undo(undo::Undo),
    Scan(scan::Scan),
    Simulate(Box<simulate::Simulate>),
    Completions(complete::Completions),
    Man(complete::Man),
    Help(complete::Help),
}

/// Options that every verb has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// How to print results
    #[arg(short, long, global = true, default_value = "table", value_name = "FORMAT", value_parser = choice(FORMATS))]
    format: Format,
    /// When to colour; NO_COLOR and CLICOLOR_FORCE are honoured
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN", value_parser = choice(ASK))]
    color: Ask,
    /// When to count on standard error what is done, after a second
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN", value_parser = choice(ASK))]
    progress: Ask,
    /// When to map files into memory instead of copying them
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN", value_parser = choice(MMAP))]
    mmap: MmapPolicy,
}

const MMAP: &[Choice<MmapPolicy>] = &[
    ("auto", "Indexes and caches from 1 MiB on", MmapPolicy::Auto),
    ("always", "Every file, even one that may be truncated while it is read", MmapPolicy::Always),
    ("never", "No file", MmapPolicy::Never),
];

/// What verbs need to do their work: the common options and the streams.
pub struct Context {
    /// How to print.
    pub format: Format,
    /// Colours.
    pub style: Style,
    /// When to map files.
    pub mmap: MmapPolicy,
    /// When to show progress.
    pub progress: Ask,
    /// Where the parts of each user's mail are, if that was told.
    pub location: Option<Location>,
    /// Standard output.
    pub out: Out,
    status: Status,
    /// What a verb that writes has done: said on standard error when its report cannot be written.
    done: Option<String>,
    /// The file last complained of on stderr, and how often.
    complaints: (PathBuf, usize),
    /// What could not be read, for the end of a document of several: at most [`MOST_ERRORS`].
    errors: Vec<(PathBuf, String)>,
}

/// Paths that a document names as unreadable; all of them go to standard error.
pub(crate) const MOST_ERRORS: usize = 1000;

/// Lines on stderr about one file: where a log is broken early, thousands of records behind it make no sense.
const MOST_COMPLAINTS: usize = 50;

impl Context {
    fn new(common: &Common) -> Context {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let color = match common.color {
            Ask::Always => true,
            Ask::Never => false,
            Ask::Auto if set("NO_COLOR") => false,
            Ask::Auto if set("CLICOLOR_FORCE") => true,
            Ask::Auto => io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        Context {
            format: common.format,
            style: Style { color: color && common.format == Format::Table, width: terminal_width() },
            mmap: common.mmap,
            progress: common.progress,
            location: None,
            out: Out::new(),
            done: None,
            status: Status::Sound,
            complaints: (PathBuf::new(), 0),
            errors: Vec::new(),
        }
    }

    /// Says on stderr what is wrong with a result that was shown all the same; the exit code will be at least 1.
    pub fn finding(&mut self, path: &Path, what: &dyn std::fmt::Display) {
        if self.complaints.0 != path {
            self.more_complaints();
            self.complaints = (path.to_owned(), 0);
        }
        self.complaints.1 += 1;
        if self.complaints.1 <= MOST_COMPLAINTS {
            self.note(path, what);
        }
        self.status = self.status.max(Status::Findings);
    }

    /// Says on stderr what the judge found; an error makes the exit code 1, as it does with `check`.
    pub fn problems(&mut self, found: &[Finding]) {
        for finding in found {
            if finding.severity == Severity::Error {
                self.finding(&finding.file, &finding.text());
            } else {
                self.note(&finding.file, &finding.text());
            }
        }
    }

    /// Says on stderr that something could not be done; the exit code will be 2.
    pub fn failure(&mut self, error: &dyn std::fmt::Display) {
        self.remark(error);
        self.raise(Status::Failed);
    }

    /// Says on stderr what a user should know; the exit code stays.
    pub fn remark(&mut self, what: &dyn std::fmt::Display) {
        // In order with the results when both go to a terminal.
        let _ = self.out.flush();
        say(what);
    }

    /// Remembers what was done, for the case that no report of it can be written.
    pub fn done(&mut self, what: String) {
        self.done = Some(what);
    }

    /// Raises the exit code.
    pub fn raise(&mut self, status: Status) {
        self.status = self.status.max(status);
    }

    /// Counts the findings of a file that were too many to print.
    fn more_complaints(&mut self) {
        let (path, count) = std::mem::take(&mut self.complaints);
        if count > MOST_COMPLAINTS {
            let more = count - MOST_COMPLAINTS;
            self.note(&path, &format!("{more} more findings, which are not printed"));
        }
    }

    fn note(&mut self, path: &Path, what: &dyn std::fmt::Display) {
        self.remark(&format_args!("{}: {what}", shown(path)));
    }

    /// Prints the document of a result that could not be had, where the format promises one.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn error_document(
        &mut self,
        schema: &'static str,
        path: &Path,
        error: &dyn std::fmt::Display,
    ) -> io::Result<()> {
        use crate::format::ext::Visit;
        use std::os::unix::ffi::OsStrExt;
        if self.format == Format::Table {
            return Ok(());
        }
        let error = error.to_string();
        let mut json = Json::new();
        json.object_begin("");
        json.text("schema", schema.as_bytes());
        json.text("path", path.as_os_str().as_bytes());
        json.text("error", error.as_bytes());
        json.object_end();
        json.end_line();
        if self.errors.len() < MOST_ERRORS {
            self.errors.push((path.to_owned(), error));
        }
        self.out.write_all(&json.buf)
    }

    /// Ends a document of several with what could not be read, and a summary.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    fn end_of_several(&mut self, summary: Option<&[u8]>) -> io::Result<()> {
        use crate::format::ext::Visit;
        let mut json = Json::new();
        json.append(b"]");
        document::emit_errors(&mut json, self.errors.iter().map(|(path, error)| (path.as_path(), error.as_str())));
        if let Some(summary) = summary {
            json.buf.extend_from_slice(b",\"summary\":");
            json.buf.extend_from_slice(summary);
        }
        json.object_end();
        json.end_line();
        self.out.write_all(&json.buf)
    }
}

/// Columns of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that nobody has told its size says 0.
    Some(if size.ws_col == 0 { 80 } else { size.ws_col })
}

/// Says something on standard error, safe for a terminal. That it cannot be said is no reason to stop.
fn say(what: &dyn std::fmt::Display) {
    let line = format!("idx: {}\n", printable(what.to_string().as_bytes()));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// An error and its causes, each once: some name their cause themselves.
fn in_words(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.ends_with(&cause) { text } else { format!("{text}: {cause}") })
}

/// True when several results go into one document.
fn is_single(format: Format) -> bool {
    document::is_single(format)
}

/// The whole command line, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// What is said of a command line that is none.
fn usage(error: &clap::Error) -> ExitCode {
    let word = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::InvalidSubcommand => Some(word),
        _ => None,
    };
    match word.and_then(|word| Some((word, verbs::meant(word)?))) {
        Some((word, meant)) => say(&format_args!("there is no verb {word:?}: {meant}")),
        // A closed pipe is not worth a word here either.
        None => drop(error.print()),
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

impl Verb {
    /// The paths it was given.
    fn paths(&self) -> &[PathBuf] {
        match self {
            Verb::Check(verb) => &verb.paths,
            Verb::Dump(verb) => &verb.paths,
            Verb::Log(verb) => &verb.mailboxes.paths,
            Verb::Show(verb) => &verb.mailboxes.paths,
            Verb::Modseq(verb) => &verb.mailboxes.paths,
            Verb::Expunges(verb) => &verb.mailboxes.paths,
            Verb::Qresync(verb) => &verb.mailboxes.paths,
            Verb::Rebuild(verb) => &verb.targets.paths,
            Verb::Undo(verb) => &verb.targets.paths,
            Verb::Scan(verb) => &verb.roots,
            Verb::Simulate(verb) => &verb.paths,
            Verb::Completions(_) | Verb::Man(_) | Verb::Help(_) => &[],
        }
    }

    fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        match self {
            Verb::Check(verb) => verb.run(context),
            Verb::Dump(verb) => verb.run(context),
            Verb::Log(verb) => verb.run(context),
            Verb::Show(verb) => verb.run(context),
            Verb::Modseq(verb) => verb.run(context),
            Verb::Expunges(verb) => verb.run(context),
            Verb::Qresync(verb) => verb.run(context),
            Verb::Rebuild(verb) => verb.run(context),
            Verb::Undo(verb) => verb.run(context),
            Verb::Scan(verb) => verb.run(context),
            Verb::Simulate(verb) => verb.run(context),
            Verb::Completions(verb) => verb.run(context),
            Verb::Man(verb) => verb.run(context),
            Verb::Help(verb) => verb.run(context),
        }
    }
}

/// Runs idx with the arguments of this process.
pub fn main() -> ExitCode {
    crate::source::remember_rights();
    crate::store::signals::ignore_file_size_limit();
    crate::store::signals::report_first();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Where it happened; what it ended is said by whoever caught it.
    std::panic::set_hook(Box::new(|panic| say(panic)));
    // A file that grows past a limit of the system is an error of its writing and no reason to die.
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let _ = signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), ignored);
    let mut context = Context::new(&cli.common);
    if context.format != Format::Table {
        context.out.stamp(cli.verb.paths());
    }
    let result = crate::source::guarded(|| cli.verb.run(&mut context)).map_err(anyhow::Error::from).flatten();
    context.more_complaints();
    if let Some(signal) = crate::store::signals::came() {
        let name = crate::store::signals::name(signal);
        context.remark(&format_args!("{name} came while files changed their names: what was begun is done first"));
    }
    if let Err(error) = result.and_then(|()| context.out.finish().map_err(Into::into)) {
        let pipe = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        // What is left in the buffer has nowhere to go.
        context.out.forget();
        match context.done.take() {
            _ if pipe => {}
            // The work is done, whether or not it can be told.
            Some(done) => say(&format_args!("{done}; its report could not be written: {}", in_words(&error))),
            None => {
                say(&in_words(&error));
                context.raise(Status::Failed);
            }
        }
    }
    ExitCode::from(context.status.code())
}
