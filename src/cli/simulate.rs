//! `idx simulate`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::args::{Choice, Trees, choice};
use super::grammar::{self, Time, When};
use super::progress::Progress;
use super::{Context, EXIT_STATUS, Status, paths};
use crate::ops::simulate::{self as verb, SimulateOutcome};
use crate::render;
use crate::simulate::advise::Want;
use crate::simulate::retention::Population;
use crate::simulate::settings::{DAY, HOUR, Settings, Version, read_config};
#[cfg(feature = "plot")]
use crate::simulate::survey::Spread;
use crate::simulate::synthetic::{Pattern, Storage, Synthetic};
use crate::simulate::trace::Trace;
use crate::simulate::{self, Options, SCHEMA, SimulateError, Simulation, Workload};
use crate::source::{Panicked, PathError, guarded};
#[cfg(feature = "plot")]
use crate::view::plot;
#[cfg(feature = "plot")]
use crate::view::plot::Drawing;

/// Simulate log rotation and what it means for QRESYNC clients
///
/// Rotation of dovecot.index.log, expiry of .log.2 and rewrites of dovecot.index under given settings; how far back the
/// logs reach over time; how often clients that come back after a while get an exact VANISHED answer, and what the
/// others cost; what the next rotation drops; and the cheapest settings that keep a wanted window.
///
/// Times T are seconds, spans such as 14d or "5 mins", or points in time: UNIX seconds from 1000000000 on, RFC 3339,
/// "3d ago".
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct Simulate {
    /// Mailboxes, index files, or directories with mailboxes below them; - reads names from standard input, separated
    /// by NUL or newline
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Also all mailboxes below a PATH that is a mailbox itself, such as the folders of a Maildir
    #[arg(short, long, visible_alias = "tree")]
    recursive: bool,
    /// Of many mailboxes, show the N worst in the table; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 50)]
    worst: usize,
    #[command(flatten)]
    trees: Trees,

    /// Repeat the mailbox's own past: its records, sizes and rhythm (the default with a PATH)
    #[arg(long, help_heading = "Workload", conflicts_with_all = ["synthetic", "trace"])]
    replay: bool,
    /// Made-up traffic, by rates
    #[arg(long, help_heading = "Workload", conflicts_with = "trace")]
    synthetic: bool,
    /// Recorded events, one JSON object a line: {"at":SECONDS,"bytes":N,"modseq":M,"expunged":"SET"|null,"sync":BOOL}
    #[arg(long, help_heading = "Workload", value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Messages that arrive in a day
    #[arg(long, help_heading = "Workload", value_name = "N", default_value_t = 0.0, allow_negative_numbers = true)]
    appends_per_day: f64,
    /// Flag changes in a day
    #[arg(long, help_heading = "Workload", value_name = "N", default_value_t = 0.0, allow_negative_numbers = true)]
    flags_per_day: f64,
    /// Messages expunged in a day
    #[arg(long, help_heading = "Workload", value_name = "N", default_value_t = 0.0, allow_negative_numbers = true)]
    expunges_per_day: f64,
    /// Time between full syncs; without it each command ends with one
    #[arg(long, help_heading = "Workload", value_name = "T", value_parser = grammar::when)]
    sync_every: Option<When>,
    /// Rhythm of day and week (UTC): even, office, or a FILE with 24 or 168 weights, one for each hour from Monday on
    #[arg(long, help_heading = "Workload", value_name = "even|office|FILE", default_value = "even")]
    pattern: String,
    /// Commands that come at once
    #[arg(long, help_heading = "Workload",
          value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    burst: u32,
    /// Messages in the mailbox at the start
    #[arg(long, help_heading = "Workload",
          value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=50_000_000))]
    messages: u32,
    /// Start of the random numbers
    #[arg(long, help_heading = "Workload", value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Storage format, which decides how many bytes of log a command takes
    #[arg(long, help_heading = "Workload",
          default_value = "maildir", value_name = "STORAGE", value_parser = choice(STORAGES))]
    storage: Storage,
    /// How long to simulate [default: 30 days, or four times --want]
    #[arg(long = "for", help_heading = "Workload", value_name = "T", value_parser = grammar::when)]
    span: Option<When>,
    /// The present [default: now; 2026-01-05 for traffic without a mailbox]
    #[arg(long, help_heading = "Workload", value_name = "T", value_parser = grammar::time)]
    now: Option<Time>,

    /// Output of doveconf -n, or a dovecot.conf, of 2.3 or 2.4
    #[arg(long, help_heading = "Settings", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whose rules and defaults
    #[arg(long, help_heading = "Settings",
          value_name = "VERSION", default_value = "2.3.19", value_parser = Version::from_str)]
    dovecot: Version,
    /// mail_index_log_rotate_min_size
    #[arg(long, help_heading = "Settings", value_name = "S", value_parser = grammar::size)]
    log_rotate_min_size: Option<u64>,
    /// mail_index_log_rotate_max_size
    #[arg(long, help_heading = "Settings", value_name = "S", value_parser = grammar::size)]
    log_rotate_max_size: Option<u64>,
    /// mail_index_log_rotate_min_age
    #[arg(long, help_heading = "Settings", value_name = "T", value_parser = grammar::when)]
    log_rotate_min_age: Option<When>,
    /// mail_index_log2_max_age
    #[arg(long, help_heading = "Settings", value_name = "T", value_parser = grammar::when)]
    log2_max_age: Option<When>,

    /// Clients that were away for these times
    #[arg(long, help_heading = "Answers", value_name = "T,..", value_delimiter = ',', value_parser = grammar::when,
          default_value = "1h,8h,1d,2d,7d,14d,30d")]
    offline: Vec<When>,
    /// Number of clients
    #[arg(long, help_heading = "Answers", value_name = "N")]
    clients: Option<u64>,
    /// How long clients stay away, each with its weight
    #[arg(long, help_heading = "Answers", value_name = "T:WEIGHT,..", default_value = "1h:70,8h:15,1d:10,7d:4,30d:1")]
    gaps: String,
    /// Find the cheapest settings that keep this window
    #[arg(long, help_heading = "Answers", value_name = "T", value_parser = grammar::when)]
    want: Option<When>,
    /// Share of the time that it shall be kept
    #[arg(long, help_heading = "Answers", value_name = "SHARE", default_value_t = 0.99, requires = "want")]
    share: f64,
    /// Of many mailboxes, share of those that shall keep it; one set of settings is for all
    #[arg(long, help_heading = "Answers", value_name = "SHARE", default_value_t = 1.0, requires = "want")]
    mailboxes: f64,
    #[cfg(feature = "plot")]
    /// Draw the window over time, or the windows of many mailboxes, and the answers by time away
    #[arg(long, help_heading = "Answers", value_name = "FILE.svg|FILE.png")]
    plot: Option<PathBuf>,
}

const EXAMPLES: &str = const_format::concatcp!(
    "\
Examples:
  idx simulate ~/Maildir                       how far back it reaches, and what the next rotation drops
  idx simulate --want 14d --plot w.svg ~/Maildir
                                               the cheapest settings for clients that are away for two weeks
  idx simulate --want 7d -j 8 /var/vmail       all mailboxes, the worst first, and one set of settings for all
  idx simulate --synthetic --appends-per-day 200 --flags-per-day 600 --expunges-per-day 150 --for 90d --storage sdbox

",
    EXIT_STATUS
);

/// 2026-01-05, a Monday: made-up traffic starts there, so that it is the same each time.
const EPOCH: i64 = 1_767_571_200;

const STORAGES: &[Choice<Storage>] = &[
    ("maildir", "Maildir", Storage::Maildir),
    ("mbox", "mbox", Storage::Mbox),
    ("sdbox", "sdbox", Storage::Sdbox),
    ("mdbox", "mdbox", Storage::Mdbox),
];

/// Says what is wrong with a mailbox, or why there is no answer.
fn tell(one: SimulateOutcome, context: &mut Context) {
    match one {
        Ok(problems) => problems.iter().for_each(|(path, problem)| context.finding(path, problem)),
        Err(error) => context.failure(&error),
    }
}

impl Simulate {
    /// Runs the verb.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub fn run(&self, context: &mut Context) -> anyhow::Result<()> {
        let mut remarks = Vec::new();
        let options = match self.options(context, &mut remarks) {
            Ok(options) => options,
            Err(error) => return self.fail(context, &error),
        };
        for remark in remarks {
            context.remark(&remark);
        }
        let mut simulation = match Simulation::new(&options) {
            Ok(simulation) => simulation,
            Err(error) => return self.fail(context, &error),
        };
        let Some(paths) = paths::expand(context, &self.paths)? else {
            return Ok(context.error_document(SCHEMA, Path::new("-"), &"no paths on standard input")?);
        };
        if paths.is_empty() {
            match simulate::traffic(&options) {
                Ok(subject) => simulation.add(subject),
                Err(error) => return self.fail(context, &error),
            }
        }
        let one_each = paths.iter().all(|path| !path.is_dir()).then_some(paths.len() as u64);
        let progress = Progress::new(context.progress, "mailboxes", one_each, false);
        let mut told: Vec<SimulateOutcome> = Vec::new();
        let mut walked = false;
        let is_tree: HashSet<&Path> =
            paths.iter().map(PathBuf::as_path).filter(|path| verb::is_tree(path, self.recursive)).collect();
        let is_tree = |path: &PathBuf| is_tree.contains(path.as_path());
        for group in paths.chunk_by(|a, b| is_tree(a) && is_tree(b)) {
            if group.iter().all(is_tree) {
                walked = true;
                verb::trees(&mut simulation, &options, group, self.trees.into(), |one| {
                    progress.step();
                    progress.aside(|| tell(one, context));
                });
                continue;
            }
            for path in group {
                progress.step();
                let bug = |panic: Panicked| {
                    let source = std::io::Error::other(panic);
                    SimulateError::Path(PathError::Io { path: path.clone(), source })
                };
                let one = guarded(|| verb::mailbox(path, &options)).map_err(bug).flatten().map(|mut subject| {
                    let problems = std::mem::take(&mut subject.problems);
                    simulation.add(subject);
                    problems
                });
                if let Err(error) = &one {
                    simulation.fail(error);
                }
                told.push(one);
            }
        }
        progress.finish();
        // When nothing else can be said, an error is the document.
        if simulation.answers() == 0 && (!walked || simulation.failures().len() == 1) {
            for (path, error) in simulation.failures() {
                context.error_document(SCHEMA, path, error)?;
            }
        } else {
            let mut report = simulation.finish();
            report.show_at_most(if self.worst == 0 { usize::MAX } else { self.worst });
            render::print(&report, context.format, &context.style, &mut context.out)?;
            #[cfg(feature = "plot")]
            if let Some(plot) = &self.plot {
                self.draw(plot, &report, context)?;
            }
        }
        // Of mailboxes that were named, what is wrong comes after the answers.
        told.into_iter().for_each(|one| tell(one, context));
        Ok(())
    }

    #[cfg(feature = "plot")]
    fn draw(
        &self,
        path: &Path,
        report: &simulate::report::SimulationAnswer,
        context: &mut Context,
    ) -> anyhow::Result<()> {
        let spread = report.survey().and_then(|survey| Spread::of(&survey.rows, &survey.distribution));
        let drawing = match (&spread, &report.picture) {
            (Some(spread), _) => Drawing::Many(spread),
            (None, Some(picture)) => Drawing::One(picture),
            (None, None) => {
                context.failure(&format!("{}: there is nothing to draw", path.display()));
                return Ok(());
            }
        };
        if let Err(error) = plot::simulation(path, drawing) {
            context.failure(&format!("{}: {error}", path.display()));
        }
        Ok(())
    }

    fn fail(&self, context: &mut Context, error: &dyn std::fmt::Display) -> anyhow::Result<()> {
        let path = self.paths.first().map_or(Path::new(""), PathBuf::as_path);
        context.error_document(SCHEMA, path, error)?;
        context.failure(error);
        context.raise(Status::Failed);
        Ok(())
    }

    fn options(&self, context: &Context, remarks: &mut Vec<String>) -> Result<Options, SimulateError> {
        let question = SimulateError::Question;
        let file = |path: &Path| {
            let text =
                crate::source::text(path).and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
            text.map_err(|error| question(format!("{}: {error}", path.display())))
        };
        let workload = self.workload(&file)?;
        let now = match (self.now, self.paths.is_empty()) {
            (Some(Time(now)), _) => now,
            (None, true) => EPOCH,
            (None, false) => crate::source::now(),
        };
        let ahead = |name: &str, when: When| when.ahead(now).map_err(|error| question(format!("{name}: {error}")));
        let back = |name: &str, when: When| when.back(now).map_err(|error| question(format!("{name}: {error}")));

        let mut settings = Settings::default();
        if let Some(config) = &self.config {
            let text = file(config)?;
            let more = read_config(&text, &mut settings)
                .map_err(|error| question(format!("{}: {error}", config.display())))?;
            remarks.extend(more.into_iter().map(|remark| format!("{}: {remark}", config.display())));
        }
        let defaults = Settings::default();
        let mut zero = |name: &str| remarks.push(format!("{name} 0 means the built-in default, as in Dovecot"));
        for (name, given, target, default) in [
            ("--log-rotate-min-size", self.log_rotate_min_size, &mut settings.min_size, defaults.min_size),
            ("--log-rotate-max-size", self.log_rotate_max_size, &mut settings.max_size, defaults.max_size),
        ] {
            match given {
                Some(0) => {
                    zero(name);
                    *target = default;
                }
                Some(size) => *target = size,
                None => {}
            }
        }
        for (name, given, target, default) in [
            ("--log-rotate-min-age", self.log_rotate_min_age, &mut settings.min_age, defaults.min_age),
            ("--log2-max-age", self.log2_max_age, &mut settings.log2_max_age, defaults.log2_max_age),
        ] {
            match given.map(|when| back(name, when)).transpose()? {
                Some(0) => {
                    zero(name);
                    *target = default;
                }
                Some(age) => *target = age,
                None => {}
            }
        }
        let span = self.span.map(|when| ahead("--for", when)).transpose()?;
        if span == Some(0) {
            return Err(question("--for 0: no time to simulate".into()));
        }
        if span.is_some_and(|span| span > 200 * 366 * DAY) {
            return Err(question("--for: at most 200 years".into()));
        }
        let want = match self.want.map(|when| back("--want", when)).transpose()? {
            Some(0) => return Err(question("--want 0: every setting keeps that".into())),
            Some(_) if !(self.share > 0.0 && self.share <= 1.0) => {
                return Err(question(format!("--share {}: expected a share above 0 and up to 1", self.share)));
            }
            Some(_) if !(self.mailboxes > 0.0 && self.mailboxes <= 1.0) => {
                return Err(question(format!("--mailboxes {}: expected a share above 0 and up to 1", self.mailboxes)));
            }
            want => want.map(|offline| Want { offline, share: self.share, mailboxes: self.mailboxes }),
        };
        let offline = self.offline.iter().map(|when| back("--offline", *when)).collect::<Result<_, _>>()?;
        let workload = match workload {
            Workload::Synthetic(mut synthetic) => {
                synthetic.sync_every =
                    self.sync_every.map(|when| ahead("--sync-every", when)).transpose()?.unwrap_or(0);
                synthetic.check().map_err(question)?;
                Workload::Synthetic(synthetic)
            }
            other => other,
        };
        let population = self.clients.map(|clients| self.population(clients, now)).transpose().map_err(question)?;
        let (version, mmap) = (self.dovecot, context.mmap);
        Ok(Options { settings, version, workload, now, span, offline, population, want, mmap })
    }

    fn workload(&self, file: &dyn Fn(&Path) -> Result<String, SimulateError>) -> Result<Workload, SimulateError> {
        if let Some(path) = &self.trace {
            let trace = Trace::parse(&file(path)?)
                .map_err(|error| SimulateError::Question(format!("{}: {error}", path.display())))?;
            return Ok(Workload::Trace(trace));
        }
        if !self.synthetic {
            let rates = self.appends_per_day + self.flags_per_day + self.expunges_per_day;
            if rates > 0.0 {
                return Err(SimulateError::Question("rates belong to --synthetic".into()));
            }
            return Ok(Workload::Replay);
        }
        let pattern = match self.pattern.as_str() {
            "even" => Pattern::even(),
            "office" => Pattern::office(),
            path => Pattern::parse(&file(Path::new(path))?)
                .map_err(|error| SimulateError::Question(format!("--pattern {path}: {error}")))?,
        };
        Ok(Workload::Synthetic(Synthetic {
            storage: self.storage,
            appends: self.appends_per_day,
            flags: self.flags_per_day,
            expunges: self.expunges_per_day,
            sync_every: 0,
            seed: self.seed,
            pattern,
            burst: self.burst,
            messages: self.messages,
        }))
    }

    fn population(&self, clients: u64, now: i64) -> Result<Population, String> {
        let mut gaps = Vec::new();
        for part in self.gaps.split(',') {
            let (gap, weight) = part.rsplit_once(':').unwrap_or((part, "1"));
            let bad = |error: &str| format!("--gaps {part:?}: {error}");
            let gap = grammar::when(gap).and_then(|when| when.back(now)).map_err(|error| bad(&error))?;
            let weight: f64 = weight.trim().parse().map_err(|_| bad("the weight is no number"))?;
            if gap == 0 || gap > 100_000 * HOUR || !weight.is_finite() || weight <= 0.0 {
                return Err(bad("expected a time above 0 and a weight above 0"));
            }
            gaps.push((gap, weight));
        }
        Ok(Population { clients, gaps })
    }
}
