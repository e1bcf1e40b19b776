//! `idx simulate`: rotation, expiry of `.log.2` and rewrites of `dovecot.index` under given settings, and what they mean for
//! QRESYNC clients that come back after a while.
//!
//! The engine is pure: a [`workload::Scenario`] (a history and a state it happens to) and [`settings::Settings`] go in, an
//! [`engine::Outcome`] comes out. `tests/simulate_live.rs` holds it against a real Dovecot whose clock is faked.

pub mod advise;
pub mod engine;
pub mod history;
pub mod now;
pub mod report;
pub mod retention;
pub mod settings;
pub mod workload;

use std::path::{Path, PathBuf};

use self::advise::Want;
use self::engine::Outcome;
use self::report::{Body, Distribution, Recommended, Report, SettingsUsed, Traffic};
use self::retention::Population;
use self::settings::{DAY, Rules, Settings, Version};
use self::workload::{Scenario, State, Synthetic, Trace};
use super::clock::Clock;
use super::load;
use crate::model::chain::Until;
use crate::source::{MailboxFiles, MmapPolicy, PathError, Role};

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

/// Days that are simulated when nobody says how many.
const DEFAULT_SPAN: i64 = 30 * DAY;

/// A mailbox, or no particular one, ready to be simulated.
#[derive(Debug)]
pub struct Subject {
    /// Where it is; `None` for traffic without a mailbox.
    pub path: Option<PathBuf>,
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
    let mut damaged = Vec::new();
    let chain = load::chain(&snapshot, &mut damaged);
    let fail = |reason: String| SimulateError::Mailbox { path: path.to_owned(), reason };
    let loaded = load::state(&snapshot, &chain, Until::End).map_err(|lost| fail(lost.reason))?;
    let clock = Clock::build(&files)?;
    let Some(state) = State::read(&chain, &loaded.replayed.mailbox, &clock, options.now) else {
        let reason = damaged.first().map_or("there is no dovecot.index.log".to_owned(), |(_, error)| error.to_string());
        return Err(fail(reason));
    };
    let mut problems: Vec<(PathBuf, String)> =
        damaged.iter().chain(&loaded.problems).map(|(role, error)| (files.path(*role), error.to_string())).collect();
    problems.extend(loaded.replayed.stopped.iter().map(|error| (files.path(Role::Log), error.to_string())));
    let now = now::Files::read(&chain, &clock);
    let scenario = prepare(Some(&state), options);
    Ok(Subject { path: Some(path.to_owned()), state: Some(state), scenario, problems, now })
}

/// Traffic without a mailbox.
///
/// # Errors
/// When there can be none: a replay needs a mailbox.
pub fn traffic(options: &Options) -> Result<Subject, SimulateError> {
    let scenario = prepare(None, options).map_err(SimulateError::Question)?;
    Ok(Subject { path: None, state: None, scenario: Ok(scenario), problems: Vec::new(), now: None })
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

/// Simulates one mailbox after the other; of each only the answer is kept, and what `--want` and a picture need.
#[derive(Debug)]
pub struct Simulation<'o> {
    options: &'o Options,
    rules: Rules,
    notes: Vec<String>,
    bodies: Vec<Body>,
    scenarios: Vec<Scenario>,
    /// The worst mailbox so far, to be drawn.
    worst: Option<((u8, i64), Outcome, Option<i64>)>,
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
        Ok(Simulation { options, rules, notes, bodies: Vec::new(), scenarios: Vec::new(), worst: None })
    }

    /// Simulates a mailbox, or traffic without one.
    pub fn add(&mut self, subject: Subject) {
        let (body, outcome) = body(&subject, self.options, &self.rules);
        if let (Some(outcome), Ok(scenario)) = (outcome, &subject.scenario)
            && self.worst.as_ref().is_none_or(|(rank, ..)| body.rank() < *rank)
        {
            self.worst = Some((body.rank(), outcome, scenario.known_from));
        }
        self.bodies.push(body);
        if self.options.want.is_some() {
            self.scenarios.extend(subject.scenario);
        }
    }

    /// The answer.
    pub fn finish(mut self) -> Report {
        let options = self.options;
        let recommended = options.want.and_then(|want| self.recommend(want));
        let storage = match &options.workload {
            Workload::Synthetic(synthetic) => Some(synthetic.storage),
            _ => None,
        };
        let settings = SettingsUsed { dovecot: options.version.to_string(), storage, settings: options.settings };
        let present = self.worst.map(|(_, outcome, known_from)| (outcome, known_from));
        Report::new(settings, self.bodies, recommended, self.notes, present)
    }

    fn recommend(&mut self, want: Want) -> Option<Recommended> {
        let options = self.options;
        let told = |scenario: &&Scenario| scenario.history.end - scenario.start.at > want.offline;
        let scenarios: Vec<&Scenario> = self.scenarios.iter().filter(told).collect();
        if scenarios.is_empty() {
            self.notes.push(match self.scenarios.is_empty() {
                true => "nothing can be recommended: there is no traffic to try settings on".into(),
                false => format!(
                    "nothing can be recommended: the time simulated is not longer than {}; simulate more with --for",
                    settings::interval_text(want.offline)
                ),
            });
            return None;
        }
        // What is recommended is for a Dovecot that can be set.
        let rules = if self.rules.has_settings { self.rules } else { Rules::of(Version::default()) };
        let advice = advise::search(&scenarios, &options.settings, &rules, want);
        if !advice.reached {
            self.notes.push(format!(
                "no settings keep {} for {} % of the time: the nearest are given",
                settings::interval_text(want.offline),
                want.share * 100.0
            ));
        }
        let mut recommended = Recommended::new(want, &advice);
        if let [scenario] = scenarios.as_slice() {
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

/// How mailboxes compare.
pub(crate) fn distribution(bodies: &[Body]) -> Distribution {
    let mut medians: Vec<i64> =
        bodies.iter().filter_map(|body| body.retention).filter(|r| !r.complete).map(|r| r.median_seconds).collect();
    medians.sort_unstable();
    let at = |percent: usize| medians.get((medians.len().max(1) - 1) * percent / 100).copied();
    Distribution {
        mailboxes: bodies.len(),
        complete: bodies.iter().filter(|body| body.retention.is_some_and(|r| r.complete)).count(),
        untold: bodies.iter().filter(|body| body.retention.is_none()).count(),
        min_median_seconds: at(0),
        p10_median_seconds: at(10),
        median_seconds: at(50),
        p90_median_seconds: at(90),
        max_median_seconds: at(100),
    }
}
