//! One mailbox simulated after the other, and what is recommended in the end.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::advise::{self, Grid, TriedSums, Want};
use super::body::{Body, Traffic};
use super::engine::{self, Course};
use super::question::{Options, SimulateError, SimulatedMailbox, Workload};
use super::recommended::{self, Recommended};
use super::report::{SettingsUsed, SimulationAnswer};
use super::settings::{self, Rules, Settings, Version};
use super::survey::{self, MailboxAnswer, ManyAnswers};
use super::workload::Scenario;
use super::{now, retention};

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

/// Simulates one mailbox after the other. Of one all is told; of many only the answers are kept, and for `--want` the
/// sums.
#[derive(Debug)]
pub struct Simulation<'o> {
    options: &'o Options,
    rules: Rules,
    notes: Vec<String>,
    /// The answers; in full for mailboxes that were named one by one.
    entries: Vec<(MailboxAnswer, Option<Box<Body>>)>,
    /// Of the first mailbox, as long as it is the only one: what happened, and what settings are tried on.
    only: Option<(Option<Course>, Option<Scenario>)>,
    /// Settings to try on many mailboxes, and what they do.
    grid: Option<Grid>,
    sums: TriedSums,
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
                "Dovecot {} has no settings for rotation (2.2.34 and later have): its constants are 32k, 1M, 5 mins \
                 and 2 days",
                options.version
            )));
        }
        if !rules.has_settings && options.want.is_some() {
            notes.push(format!(
                "Dovecot {} cannot be set to what is recommended: that takes 2.2.34 or later",
                options.version
            ));
        }
        let (entries, sums, errors) = (Vec::new(), TriedSums::default(), Errors::default());
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
    pub fn add(&mut self, subject: SimulatedMailbox) {
        let (body, outcome) = body(&subject, self.options, &self.rules);
        let row = MailboxAnswer::of(&subject, &body, outcome.as_ref(), self.options);
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

    /// Hands out what the threads of a tree walk need: from now on there are many mailboxes, of which only the answers
    /// are kept.
    pub fn crowd(&mut self) -> Crowd<'o> {
        self.becomes_many();
        self.walked = true;
        let (grid, sums) = (self.grid.take(), Mutex::new(std::mem::take(&mut self.sums)));
        Crowd { options: self.options, rules: self.rules, grid, sums }
    }

    /// Takes back what [`Simulation::crowd`] gave, with an answer for each mailbox.
    pub fn gather(&mut self, crowd: Crowd<'o>, rows: Vec<MailboxAnswer>) {
        self.grid = crowd.grid;
        self.sums = crowd.sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.entries.extend(rows.into_iter().map(|row| (row, None)));
    }

    fn try_settings(&mut self, scenario: Option<&Scenario>) {
        if let (Some(grid), Some(scenario)) = (&self.grid, scenario) {
            self.sums.add(grid.measure(scenario).as_ref());
        }
    }

    /// The answer.
    pub fn finish(mut self) -> SimulationAnswer {
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
            let drawn = outcome.map(|outcome| (outcome, known_from));
            let one = SimulationAnswer::one(settings, *body, recommended, self.notes, drawn);
            return SimulationAnswer { errors: self.errors.list, ..one };
        }
        let recommended = options.want.and_then(|want| self.recommend_to_many(want));
        let mut entries = self.entries;
        // The same order each time, whatever the order of the paths.
        entries.sort_by(|(a, _), (b, _)| (a.rank(), &a.path).cmp(&(b.rank(), &b.path)));
        let (rows, bodies): (Vec<MailboxAnswer>, Vec<Option<Box<Body>>>) = entries.into_iter().unzip();
        let distribution = survey::distribution(&rows, self.errors.count, &options.offline, options.want);
        let bodies = bodies.into_iter().flatten().map(|body| *body);
        let bodies = (!self.walked).then(|| bodies.collect());
        let survey = ManyAnswers { distribution, rows, bodies, errors: self.errors.list };
        SimulationAnswer::many(settings, survey, recommended, self.notes)
    }

    fn recommend_to_many(&mut self, want: Want) -> Option<Recommended> {
        let skipped = self.sums.skipped;
        if skipped > 0 {
            self.notes.push(format!(
                "{skipped} mailboxes are not judged: the time simulated is not longer than {}; simulate more with \
                 --for",
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

/// Mailboxes that are simulated side by side.
#[derive(Debug)]
pub struct Crowd<'o> {
    options: &'o Options,
    rules: Rules,
    grid: Option<Grid>,
    sums: Mutex<TriedSums>,
}

impl Crowd<'_> {
    /// Simulates one of them. Only its answer leaves the thread that read it.
    pub fn one(&self, subject: &SimulatedMailbox) -> MailboxAnswer {
        let (body, outcome) = body(subject, self.options, &self.rules);
        let row = MailboxAnswer::of(subject, &body, outcome.as_ref(), self.options);
        if let (Some(grid), Ok(scenario), true) = (&self.grid, &subject.scenario, row.tracks_modseqs) {
            let column = grid.measure(scenario);
            self.sums.lock().unwrap_or_else(PoisonError::into_inner).add(column.as_ref());
        }
        row
    }
}

/// The windows of a population first, then those asked for.
fn away(options: &Options) -> Vec<i64> {
    let gaps = options.population.iter().flat_map(|population| population.gaps.iter().map(|(gap, _)| *gap));
    gaps.chain(options.offline.iter().copied()).collect()
}

fn body(subject: &SimulatedMailbox, options: &Options, rules: &Rules) -> (Body, Option<Course>) {
    let path = subject.path.clone();
    let tracked = subject.state.as_ref().is_none_or(|state| state.tracks_modseqs);
    let mut body = Body { path, ..Body::default() };
    if let Some(state) = &subject.state {
        body.notes.extend(state.notes.iter().cloned());
        if !tracked {
            body.notes.push(
                "modseqs are not tracked in this mailbox: QRESYNC clients have none to come back with, so there is no \
                 window; \
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
