//! Arguments that several verbs have, and values that are chosen from a list.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::{Context, grammar};
use crate::render::Format;
use crate::source::Walk;
use crate::storage::Location;
use crate::store::lock::LockMethod;

/// A value of an option: its name, what it means, what it stands for.
pub type Choice<T> = (&'static str, &'static str, T);

/// Takes one of a list of values by name.
pub fn choice<T: Clone + Send + Sync + 'static>(list: &'static [Choice<T>]) -> impl TypedValueParser<Value = T> {
    let values = list.iter().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(move |name| {
        let found = list.iter().find(|(known, ..)| *known == name).map(|(.., value)| value.clone());
        found.ok_or_else(|| format!("{name:?} is none of them"))
    })
}

/// Mailboxes of a verb that only reads.
#[derive(Clone, Debug, Args)]
pub struct Mailboxes {
    /// Mailbox directories or index files; - reads names from standard input, separated by NUL or newline
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
}

/// Mailboxes of a verb that writes: they are named.
#[derive(Clone, Debug, Args)]
pub struct Targets {
    /// Mailbox directories, index files, or directories with mailboxes below them; - reads names from standard input,
    /// separated by NUL or newline
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

/// How trees are walked, and by how many threads.
#[derive(Clone, Copy, Debug, Args)]
pub struct Trees {
    /// Threads that read mailboxes [default: one per processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Also search file systems that are mounted below a directory
    #[arg(long, overrides_with = "one_file_system")]
    cross: bool,
    /// Stay on the file system of each directory that is named; this is the default
    #[arg(long, overrides_with = "cross")]
    one_file_system: bool,
}

impl From<Trees> for Walk {
    fn from(trees: Trees) -> Walk {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        Walk { cross: trees.cross, ..Walk::from(trees.jobs.map_or_else(all, usize::from)) }
    }
}

/// How verbs that write go through trees.
#[derive(Clone, Copy, Debug, Args)]
pub struct Deep {
    /// Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir
    #[arg(short, long, visible_alias = "tree")]
    pub recursive: bool,
    #[command(flatten)]
    pub walk: Trees,
}

impl Deep {
    /// The words of a command line that say so, with a blank before them.
    pub fn words(self) -> &'static str {
        if self.recursive { " -r" } else { "" }
    }
}

/// Where the parts of each user's mail are.
#[derive(Clone, Debug, Args)]
pub struct Roots {
    /// Where mail, indexes and control files are, if they are not found beside each other: Dovecot's mail_location
    /// (maildir:~/Maildir:INDEX=/var/index/%u), or its settings of 2.4 ("mail_path=~/Maildir mail_index_path=/idx/%u")
    #[arg(long, value_name = "LOCATION", value_parser = Location::from_str)]
    mail_location: Option<Location>,
}

impl Roots {
    /// Has the storages looked for where the caller says, and takes a path of his for that of the indexes.
    pub fn tell(&self, context: &mut Context) {
        if let Some(location) = &self.mail_location {
            crate::storage::tell(location.clone());
            context.location = Some(location.clone());
        }
    }
}

/// How to lock.
#[derive(Clone, Debug, Args)]
pub struct Lock {
    /// Dovecot's setting lock_method
    #[arg(long, default_value = "fcntl", value_name = "METHOD", value_parser = choice(LOCK_METHODS))]
    pub lock_method: LockMethod,
    /// How long to wait for the lock, such as 30, 500ms, 2m
    #[arg(long, default_value = "30s", value_parser = grammar::span, value_name = "TIME")]
    pub lock_timeout: Duration,
}

const LOCK_METHODS: &[Choice<LockMethod>] = &[
    ("fcntl", "POSIX record locks, Dovecot's default", LockMethod::Fcntl),
    ("flock", "BSD locks", LockMethod::Flock),
    ("dotlock", "A file dovecot.index.log.lock", LockMethod::Dotlock),
    ("none", "No lock: nobody else must be using the mailbox", LockMethod::None),
];

/// How results are printed.
pub const FORMATS: &[Choice<Format>] = &[
    ("table", "For people", Format::Table),
    ("json", "One JSON document", Format::Json),
    ("ndjson", "One JSON object per line", Format::Ndjson),
];

/// When to do something that suits a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The values of such options.
pub const ASK: &[Choice<Ask>] =
    &[("auto", "On a terminal", Ask::Auto), ("always", "Always", Ask::Always), ("never", "Never", Ask::Never)];
