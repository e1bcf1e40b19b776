//! `idx simulate`: rotation, expiry of `.log.2` and rewrites of `dovecot.index` under given settings, and what they mean for
//! QRESYNC clients that come back after a while.
//!
//! The engine is pure: a [`workload::Scenario`] (a history and a state it happens to) and [`settings::Settings`] go in, an
//! [`engine::Outcome`] comes out. `tests/simulate_live.rs` holds it against a real Dovecot whose clock is faked.

pub mod advise;
pub mod body;
pub mod engine;
pub mod history;
mod many;
pub mod now;
mod one;
pub mod picture;
pub mod recommended;
pub mod report;
pub mod retention;
pub mod settings;
pub mod survey;
pub mod tree;
pub mod units;
pub mod workload;

use std::path::{Path, PathBuf};

use self::advise::{Grid, Sums, Want};
use self::body::{Body, Traffic};
use self::engine::Outcome;
use self::recommended::Recommended;
use self::report::{Report, SettingsUsed};
use self::retention::Population;
use self::settings::{DAY, Rules, Settings, Version};
use self::survey::{Row, Survey};
use self::workload::{Scenario, State, Synthetic, Trace};
use crate::logs::clock::Clock;
use crate::model::Mailbox;
use crate::model::replay::Until;
use crate::ops::load;
use crate::source::{Family, MailboxFiles, MmapPolicy, PathError, Role, Snapshot};

/// The JSON schema of the document and of every line.
pub const SCHEMA: &str = "idx.simulate/1";

/// What happens in the simulation.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Each mailbox's own past, repeated.
    Replay,
    /// Made-up traffic.
    Synthetic(Synthetic),
    /// Recorded events, exactly.
    Trace(Trace),
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The settings.
    pub settings: Settings,
    /// Whose rules.
    pub version: Version,
    /// What happens.
    pub workload: Workload,
    /// The present, UNIX seconds.
    pub now: i64,
    /// Seconds to simulate; `None`: as long as the workload suggests.
    pub span: Option<i64>,
    /// Times away to answer for, seconds.
    pub offline: Vec<i64>,
    /// The clients there are.
    pub population: Option<Population>,
    /// Settings to look for.
    pub want: Option<Want>,
    /// When to map files.
    pub mmap: MmapPolicy,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The files cannot be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is nothing to simulate with.
    #[error("{}: {reason}", path.display())]
    Mailbox {
        /// The mailbox.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The question does not make sense.
    #[error("{0}")]
    Question(String),
}

impl SimulateError {
    /// The path that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            SimulateError::Mailbox { path, .. } => Some(path),
            SimulateError::Path(
                PathError::Io { path, .. }
                | PathError::NoIndex(path)
                | PathError::Unknown { path, .. }
                | PathError::Busy(path),
            ) => Some(path),
            SimulateError::Question(_) => None,
        }
    }
}

/// Days that are simulated when nobody says how many.
const DEFAULT_SPAN: i64 = 30 * DAY;

/// A mailbox, or no particular one, ready to be simulated.
#[derive(Debug)]
pub struct Subject {
    /// Where it is; `None` for traffic without a mailbox.
    pub path: Option<PathBuf>,
    /// Its proper name, if it was found in a tree.
    pub name: Option<String>,
    /// Whose mailbox it is, if it was found in a tree that tells.
    pub user: Option<String>,
    /// What its files say.
    pub state: Option<State>,
    /// What happens to it; `Err` when that cannot be told.
    pub scenario: Result<Scenario, String>,
    /// What is wrong with its files.
    pub problems: Vec<(PathBuf, String)>,
    now: Option<now::Files>,
}

/// Reads a mailbox and prepares what happens to it.
///
/// # Errors
/// When its files cannot be read, or are no logs.
pub fn mailbox(path: &Path, options: &Options) -> Result<Subject, SimulateError> {
    let files = MailboxFiles::locate(path)?;
    let snapshot = files.read(&[Role::Index, Role::Backup, Role::OldLog, Role::Log], options.mmap)?;
    Ok(subject(path, &files, &snapshot, options)?.0)
}

/// The same with files that were read already; also tells the mailbox's state.
fn subject(
    path: &Path,
    files: &MailboxFiles,
    snapshot: &Snapshot,
    options: &Options,
) -> Result<(Subject, Mailbox), SimulateError> {
    let mut damaged = Vec::new();
    let chain = load::chain(snapshot, &mut damaged);
    let fail = |reason: String| SimulateError::Mailbox { path: path.to_owned(), reason };
    let loaded = load::state(snapshot, &chain, Until::End).map_err(|lost| fail(lost.reason))?;
    let clock = Clock::build(files)?;
    let Some(state) = State::read(&chain, &loaded.replayed.mailbox, &clock, options.now) else {
        let reason = damaged.first().map_or("there is no dovecot.index.log".to_owned(), |(_, error)| error.to_string());
        return Err(fail(reason));
    };
    let mut problems: Vec<(PathBuf, String)> =
        damaged.iter().chain(&loaded.problems).map(|(role, error)| (files.path(*role), error.to_string())).collect();
    problems.extend(loaded.replayed.stopped.iter().map(|error| (files.path(Role::Log), error.to_string())));
    let now = now::Files::read(&chain, &clock);
    let mut scenario = prepare(Some(&state), options);
    if let (Some(note), Ok(scenario)) = (constants(files), &mut scenario) {
        scenario.notes.push(note.into());
    }
    let path = Some(path.to_owned());
    let subject = Subject { path, name: None, user: None, state: Some(state), scenario, problems, now };
    Ok((subject, loaded.replayed.mailbox))
}

/// What rotates an index that is none of a mailbox (`mailbox-list-index.c`, `mail-index.c`).
fn constants(files: &MailboxFiles) -> Option<&'static str> {
    let is = |family: Family| files.index.file_name().is_some_and(|name| name == family.prefix());
    if is(Family::List) {
        Some(
            "these settings are for mailboxes; Dovecot rotates the list of mailboxes by constants: 8k, 64k, 5 mins, .log.2 10 mins",
        )
    } else if is(Family::Map) || is(Family::Private) {
        Some(
            "these settings are for mailboxes; Dovecot rotates this index by constants: 32k, 1M, 5 mins, .log.2 2 days",
        )
    } else {
        None
    }
}

/// Traffic without a mailbox.
///
/// # Errors
/// When there can be none: a replay needs a mailbox.
pub fn traffic(options: &Options) -> Result<Subject, SimulateError> {
    let scenario = prepare(None, options).map_err(SimulateError::Question)?;
    Ok(Subject {
        path: None,
        name: None,
        user: None,
        state: None,
        scenario: Ok(scenario),
        problems: Vec::new(),
        now: None,
    })
}

fn prepare(state: Option<&State>, options: &Options) -> Result<Scenario, String> {
    // To tell how often a window of that length is kept, several of them must fit.
    let wanted = options.want.map_or(0, |want| want.offline.saturating_mul(4));
    let span = options.span.unwrap_or(DEFAULT_SPAN.max(wanted));
    let end = options.now.saturating_add(span);
    match (&options.workload, state) {
        (Workload::Replay, Some(state)) => state.replay(end),
        (Workload::Replay, None) => Err("a replay needs a mailbox: give a PATH, or --synthetic or --trace".into()),
        (Workload::Synthetic(synthetic), state) => {
            let mut scenario = synthetic.scenario(options.now, end)?;
            if let Some(state) = state {
                scenario.continue_from(state);
            }
            Ok(scenario)
        }
        (Workload::Trace(trace), state) => {
            let until = options.span.and_then(|span| trace.first().map(|first| first.saturating_add(span)));
            trace.clone().scenario(state, until)
        }
    }
}

/// Mailboxes that could not be simulated and are named in a document; all of them are counted.
const MOST_ERRORS: usize = 1000;

/// What could not be simulated.
#[derive(Clone, Debug, Default)]
struct Errors {
    list: Vec<(PathBuf, String)>,
    count: usize,
}

impl Errors {
    fn note(&mut self, error: &SimulateError) {
        self.count += 1;
        if self.list.len() < MOST_ERRORS {
            let path = error.path().map_or_else(PathBuf::new, Path::to_owned);
            self.list.push((path, error.to_string()));
        }
    }
}

/// Simulates one mailbox after the other. Of one all is told; of many only the answers are kept, and for `--want` the sums.
#[derive(Debug)]
pub struct Simulation<'o> {
    options: &'o Options,
    rules: Rules,
    notes: Vec<String>,
    /// The answers; in full for mailboxes that were named one by one.
    entries: Vec<(Row, Option<Box<Body>>)>,
    /// Of the first mailbox, as long as it is the only one: what happened, and what settings are tried on.
    only: Option<(Option<Outcome>, Option<Scenario>)>,
    /// Settings to try on many mailboxes, and what they do.
    grid: Option<Grid>,
    sums: Sums,
    errors: Errors,
    /// Mailboxes were looked for.
    walked: bool,
}

impl<'o> Simulation<'o> {
    /// Begins.
    ///
    /// # Errors
    /// When the question does not make sense.
    pub fn new(options: &'o Options) -> Result<Simulation<'o>, SimulateError> {
        let rules = Rules::of(options.version);
        let mut notes = options.settings.contradictions();
        if !rules.has_settings && options.settings != Settings::default() {
            return Err(SimulateError::Question(format!(
                "Dovecot {} has no settings for rotation (2.2.34 and later have): its constants are 32k, 1M, 5 mins and 2 days",
                options.version
            )));
        }
        if !rules.has_settings && options.want.is_some() {
            notes.push(format!(
                "Dovecot {} cannot be set to what is recommended: that takes 2.2.34 or later",
                options.version
            ));
        }
        let (entries, sums, errors) = (Vec::new(), Sums::default(), Errors::default());
        Ok(Simulation { options, rules, notes, entries, only: None, grid: None, sums, errors, walked: false })
    }

    /// What is recommended is for a Dovecot that can be set.
    fn rules_to_recommend(&self) -> Rules {
        if self.rules.has_settings { self.rules } else { Rules::of(Version::default()) }
    }

    /// Notes a mailbox that cannot be simulated.
    pub fn fail(&mut self, error: &SimulateError) {
        self.errors.note(error);
    }

    /// Mailboxes that cannot be simulated, the first thousand: paths and reasons.
    pub fn failures(&self) -> &[(PathBuf, String)] {
        &self.errors.list
    }

    /// Mailboxes there is an answer for.
    pub fn answers(&self) -> usize {
        self.entries.len()
    }

    /// Simulates a mailbox, or traffic without one.
    pub fn add(&mut self, subject: Subject) {
        let (body, outcome) = body(&subject, self.options, &self.rules);
        let row = Row::of(&subject, &body, outcome.as_ref(), self.options);
        let tracked = row.tracks_modseqs;
        let is_first = self.entries.is_empty() && !self.walked;
        self.entries.push((row, Some(Box::new(body))));
        let scenario = subject.scenario.ok();
        if is_first {
            self.only = Some((outcome, scenario));
            return;
        }
        self.becomes_many();
        self.try_settings(scenario.filter(|_| tracked).as_ref());
    }

    /// From now on there is more than one mailbox.
    fn becomes_many(&mut self) {
        if let (Some(want), None) = (self.options.want, &self.grid) {
            self.grid = Some(Grid::new(want, &self.options.settings, self.rules_to_recommend()));
        }
        if let Some((_, scenario)) = self.only.take() {
            let tracked = self.entries.first().is_some_and(|(row, _)| row.tracks_modseqs);
            self.try_settings(scenario.filter(|_| tracked).as_ref());
        }
    }

    fn try_settings(&mut self, scenario: Option<&Scenario>) {
        if let (Some(grid), Some(scenario)) = (&self.grid, scenario) {
            self.sums.add(grid.measure(scenario).as_ref());
        }
    }

    /// The answer.
    pub fn finish(mut self) -> Report {
        let options = self.options;
        let storage = match &options.workload {
            Workload::Synthetic(synthetic) => Some(synthetic.storage),
            _ => None,
        };
        let settings = SettingsUsed { dovecot: options.version.to_string(), storage, settings: options.settings };
        if let Some((outcome, scenario)) = self.only.take() {
            let known_from = scenario.as_ref().and_then(|scenario| scenario.known_from);
            let recommended = options.want.and_then(|want| self.recommend(want, scenario.as_ref()));
            let body = self.entries.pop().and_then(|(_, body)| body).unwrap_or_default();
            return Report::one(settings, *body, recommended, self.notes, outcome.map(|outcome| (outcome, known_from)));
        }
        let recommended = options.want.and_then(|want| self.recommend_to_many(want));
        let mut entries = self.entries;
        // The same order each time, whatever the order of the paths.
        entries.sort_by(|(a, _), (b, _)| (a.rank(), &a.path).cmp(&(b.rank(), &b.path)));
        let (rows, bodies): (Vec<Row>, Vec<Option<Box<Body>>>) = entries.into_iter().unzip();
        let distribution = survey::distribution(&rows, self.errors.count, &options.offline, options.want);
        let bodies = bodies.into_iter().flatten().map(|body| *body);
        let bodies = (!self.walked).then(|| bodies.collect());
        let survey = Survey { distribution, rows, bodies, errors: self.errors.list };
        Report::many(settings, survey, recommended, self.notes)
    }

    fn recommend_to_many(&mut self, want: Want) -> Option<Recommended> {
        let skipped = self.sums.skipped;
        if skipped > 0 {
            self.notes.push(format!(
                "{skipped} mailboxes are not judged: the time simulated is not longer than {}; simulate more with --for",
                settings::interval_text(want.offline)
            ));
        }
        let Some(found) = self.grid.as_ref().and_then(|grid| grid.best(&self.sums)) else {
            self.notes.push("nothing can be recommended: there is no traffic to try settings on".into());
            return None;
        };
        if !found.advice.reached {
            self.notes.push(format!(
                "no settings keep {} in {} % of the mailboxes: the nearest are given",
                settings::interval_text(want.offline),
                want.mailboxes * 100.0
            ));
        }
        let mut recommended = Recommended::new(want, &found.advice);
        recommended.of_many = Some(recommended::OfMany {
            want_mailboxes: want.mailboxes,
            mailboxes: found.mailboxes,
            missing: found.missing,
            missing_present: found.missing_present,
        });
        Some(recommended)
    }

    fn recommend(&mut self, want: Want, scenario: Option<&Scenario>) -> Option<Recommended> {
        let options = self.options;
        let told = |scenario: &&Scenario| scenario.history.end - scenario.start.at > want.offline;
        let Some(scenario) = scenario.filter(told) else {
            self.notes.push(match scenario {
                None => "nothing can be recommended: there is no traffic to try settings on".into(),
                Some(_) => format!(
                    "nothing can be recommended: the time simulated is not longer than {}; simulate more with --for",
                    settings::interval_text(want.offline)
                ),
            });
            return None;
        };
        let rules = self.rules_to_recommend();
        let advice = advise::search(scenario, &options.settings, &rules, want);
        if !advice.reached {
            self.notes.push(format!(
                "no settings keep {} for {} % of the time: the nearest are given",
                settings::interval_text(want.offline),
                want.share * 100.0
            ));
        }
        let mut recommended = Recommended::new(want, &advice);
        let outcome = engine::run(&scenario.history, &scenario.start, &advice.settings, &rules);
        // Settings cannot bring back what is lost already, so they are judged once they had their time.
        let from = scenario.start.at;
        let mut clients = retention::clients(&scenario.history, &outcome, &away(options), from);
        let gaps = options.population.as_ref().map_or(0, |population| population.gaps.len());
        recommended.clients = clients.split_off(gaps);
        recommended.population = options.population.as_ref().map(|population| population.cost(&clients));
        recommended.retention = retention::measure(&outcome, from.saturating_add(want.offline));
        recommended.rotations = outcome.rotations.len();
        recommended.picture = Some((outcome, Some(from)));
        if want.offline.saturating_mul(2) > scenario.history.end - from {
            let note = "the time simulated is hardly longer than the window wanted: simulate more with --for";
            self.notes.push(note.into());
        }
        Some(recommended)
    }
}

/// The windows of a population first, then those asked for.
fn away(options: &Options) -> Vec<i64> {
    let gaps = options.population.iter().flat_map(|population| population.gaps.iter().map(|(gap, _)| *gap));
    gaps.chain(options.offline.iter().copied()).collect()
}

fn body(subject: &Subject, options: &Options, rules: &Rules) -> (Body, Option<Outcome>) {
    let path = subject.path.clone();
    let tracked = subject.state.as_ref().is_none_or(|state| state.tracks_modseqs);
    let mut body = Body { path, ..Body::default() };
    if let Some(state) = &subject.state {
        body.notes.extend(state.notes.iter().cloned());
        if !tracked {
            body.notes.push(
                "modseqs are not tracked in this mailbox: QRESYNC clients have none to come back with, so there is no window; \
                 rotation is simulated all the same"
                    .into(),
            );
        }
    }
    let scenario = match &subject.scenario {
        Ok(scenario) => scenario,
        Err(reason) => {
            body.notes.push(reason.clone());
            if let (Some(state), Some(files)) = (&subject.state, &subject.now) {
                body.now = Some(now::tell(state, files, &options.settings, rules, None));
            }
            return (body, None);
        }
    };
    let outcome = engine::run(&scenario.history, &scenario.start, &options.settings, rules);
    for note in &scenario.notes {
        if !body.notes.contains(note) {
            body.notes.push(note.clone());
        }
    }
    body.traffic = Some(Traffic::of(scenario));
    if tracked {
        body.retention = retention::measure(&outcome, i64::MIN);
        let known_from = scenario.known_from.unwrap_or(i64::MIN / 2);
        let mut clients = retention::clients(&scenario.history, &outcome, &away(options), known_from);
        let gaps = options.population.as_ref().map_or(0, |population| population.gaps.len());
        let asked = clients.split_off(gaps);
        body.population = options.population.as_ref().map(|population| population.cost(&clients));
        if asked.iter().any(|client| client.exact_share.is_none()) {
            body.notes
                .push("some clients were away for longer than the time simulated: for them nothing can be told".into());
        }
        body.clients = asked;
    }
    if outcome.rotations.is_empty() {
        body.notes.push("no log is rotated in this time".into());
    }
    if let (Some(state), Some(files)) = (&subject.state, &subject.now) {
        body.now = Some(now::tell(state, files, &options.settings, rules, Some(&outcome)));
    }
    body.take(&outcome);
    (body, Some(outcome))
}
