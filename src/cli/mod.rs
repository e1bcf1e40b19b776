//! The command line: flags to options, results to the renderer, errors to stderr and the exit code.

mod check;
mod complete;
mod dump;
mod expunges;
mod log;
mod modseq;
mod progress;
mod qresync;
mod rebuild;
mod scan;
mod show;
mod simulate;
pub mod time;
mod undo;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::render::{Format, Json, Style, document};
use crate::source::MmapPolicy;

/// The same for every verb.
pub const EXIT_STATUS: &str = "\
Exit status:
  0  sound, done, or equal
  1  findings, differences, or done with loss; a damaged file whose readable part was shown
  2  could not be done (usage, I/O, lock held, not an index file, refused); nothing changed";

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
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    /// When to colour; NO_COLOR and CLICOLOR_FORCE are honoured
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// When to map files into memory instead of copying them
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    mmap: Mmap,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    /// On a terminal
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Mmap {
    /// Indexes and caches from 4 MiB on
    #[default]
    Auto,
    /// Every file, even one that may be truncated while it is read
    Always,
    /// No file
    Never,
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Exit code 0.
    #[default]
    Sound,
    /// Exit code 1.
    Findings,
    /// Exit code 2.
    Failed,
    /// Exit code 3: a Nagios plugin's UNKNOWN.
    Unknown,
}

/// What verbs need to do their work: the common options and the streams.
pub struct Context {
    /// How to print.
    pub format: Format,
    /// Colours.
    pub style: Style,
    /// When to map files.
    pub mmap: MmapPolicy,
    /// Standard output.
    pub out: BufWriter<io::Stdout>,
    status: Status,
    /// The file last complained of on stderr, and how often.
    complaints: (PathBuf, usize),
}

/// Lines on stderr about one file: where a log is broken early, thousands of records behind it make no sense.
const MOST_COMPLAINTS: usize = 50;

impl Context {
    fn new(common: &Common) -> Context {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let color = match common.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto if set("CLICOLOR_FORCE") => true,
            Color::Auto => io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        };
        Context {
            format: common.format,
            style: Style { color: color && common.format == Format::Table, width: terminal_width() },
            mmap: match common.mmap {
                Mmap::Auto => MmapPolicy::Auto,
                Mmap::Always => MmapPolicy::Always,
                Mmap::Never => MmapPolicy::Never,
            },
            out: BufWriter::with_capacity(64 << 10, io::stdout()),
            status: Status::Sound,
            complaints: (PathBuf::new(), 0),
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

    /// Says on stderr that something could not be done; the exit code will be 2.
    pub fn failure(&mut self, error: &dyn std::fmt::Display) {
        let _ = self.out.flush();
        eprintln!("idx: {error}");
        self.status = Status::Failed;
    }

    /// Says on stderr what a user should know; the exit code stays.
    pub fn remark(&mut self, what: &dyn std::fmt::Display) {
        let _ = self.out.flush();
        eprintln!("idx: {what}");
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
        // In order with the results when both go to a terminal.
        let _ = self.out.flush();
        eprintln!("idx: {}: {what}", path.display());
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
        let mut json = Json::new();
        json.object_begin("");
        json.text("schema", schema.as_bytes());
        json.text("path", path.as_os_str().as_bytes());
        json.text("error", error.to_string().as_bytes());
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

/// The paths of a verb that takes several; `-` stands for names on standard input.
///
/// # Errors
/// When standard input cannot be read.
pub fn expand_paths(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let mut list = Vec::new();
    for path in paths {
        if path.as_os_str() != "-" {
            list.push(path.clone());
            continue;
        }
        let mut names = Vec::new();
        io::stdin().read_to_end(&mut names)?;
        let separator = if names.contains(&0) { 0 } else { b'\n' };
        let names = names.split(|byte| *byte == separator).filter(|name| !name.is_empty());
        list.extend(names.map(|name| PathBuf::from(OsString::from_vec(name.to_vec()))));
    }
    Ok(list)
}

/// Runs a verb of one mailbox for its path, or for each of the names on standard input when the path is `-`. Several JSON
/// documents become one, with a list of them.
///
/// # Errors
/// When standard input cannot be read or standard output cannot be written to.
fn for_each_path(
    context: &mut Context,
    schema: &str,
    path: &Path,
    mut one: impl FnMut(&mut Context, &Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if path.as_os_str() != "-" {
        return one(context, path);
    }
    let paths = expand_paths(&[path.to_owned()])?;
    let grouped = is_single(context.format);
    if grouped {
        write!(context.out, "{{\"schema\":\"{schema}\",\"mailboxes\":[")?;
    }
    for (i, path) in paths.iter().enumerate() {
        if grouped && i > 0 {
            context.out.write_all(b",")?;
        }
        one(context, path)?;
    }
    if grouped {
        context.out.write_all(b"]}\n")?;
    }
    Ok(())
}

/// True when several results go into one document.
fn is_single(format: Format) -> bool {
    document::is_single(format)
}

/// The whole command line, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs idx with the arguments of this process.
pub fn main() -> ExitCode {
    crate::source::remember_rights();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is not worth a word here either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut context = Context::new(&cli.common);
    let result = match cli.verb {
        Verb::Check(verb) => verb.run(&mut context),
        Verb::Dump(verb) => verb.run(&mut context),
        Verb::Log(verb) => verb.run(&mut context),
        Verb::Show(verb) => verb.run(&mut context),
        Verb::Modseq(verb) => verb.run(&mut context),
        Verb::Expunges(verb) => verb.run(&mut context),
        Verb::Qresync(verb) => verb.run(&mut context),
        Verb::Rebuild(verb) => verb.run(&mut context),
        Verb::Undo(verb) => verb.run(&mut context),
        Verb::Scan(verb) => verb.run(&mut context),
        Verb::Simulate(verb) => verb.run(&mut context),
        Verb::Completions(verb) => verb.run(&mut context),
        Verb::Man(verb) => verb.run(&mut context),
        Verb::Help(verb) => verb.run(&mut context),
    };
    context.more_complaints();
    match result.and_then(|()| context.out.flush().map_err(Into::into)) {
        Ok(()) => {}
        Err(error) => {
            let pipe = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
            // What is left in the buffer has nowhere to go.
            let (_, _) = context.out.into_parts();
            if !pipe {
                eprintln!("idx: {error:#}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(match context.status {
        Status::Sound => 0,
        Status::Findings => 1,
        Status::Failed => 2,
        Status::Unknown => 3,
    })
}
