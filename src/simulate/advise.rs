//! The cheapest settings that keep a wanted retention window.

use std::collections::HashMap;

use serde::Serialize;

use super::engine::{self, Course, Limit};
use super::retention::exact_time;
use super::settings::{DAY, Rules, Settings};
use super::workload::Scenario;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Want {
    /// Clients that were away this long, in seconds, shall get an exact answer
    pub offline: i64,
    /// in at least this share of the time.
    pub share: f64,
    /// Of many mailboxes, at least this share shall keep it.
    pub mailboxes: f64,
}

impl Want {
    /// Seconds of `all` without an exact answer with which a mailbox still keeps the window.
    fn may_miss(&self, all: i64) -> i64 {
        (all as f64 * (1.0 - self.share)) as i64
    }

    /// True when a mailbox in which answers are exact in `exact` of `all` seconds keeps the window.
    pub fn is_kept(&self, exact: i64, all: i64) -> bool {
        all - exact <= self.may_miss(all)
    }

    /// From when on settings are judged. Earlier the logs there are decide, and no settings can bring back what is
    /// lost.
    pub fn from(&self, scenario: &Scenario) -> i64 {
        scenario.start.at.saturating_add(self.offline)
    }
}

/// What settings cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Price {
    /// Mean bytes of both logs, of all mailboxes together.
    pub disk_bytes_mean: u64,
    /// Share of exact answers for the wanted time away.
    pub exact_share: f64,
}

/// The outcome of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The cheapest settings that do; else those that come nearest.
    pub settings: Settings,
    /// What they cost.
    pub price: Price,
    /// What the present settings cost.
    pub present: Price,
    /// They keep the window.
    pub reached: bool,
    /// Settings tried.
    pub tried: usize,
}

/// Times to try: the present one, Dovecot's default, and steps around what is wanted.
fn times(want: Want, default: i64, present: i64) -> Vec<i64> {
    let mut list = vec![default, present];
    for percent in [25, 50, 75, 90, 100, 125] {
        // In whole hours when it is more than a day, so that it reads well.
        let time = want.offline.saturating_mul(percent) / 100;
        let unit = if time > DAY { 3600 } else { 60 };
        list.push(time.saturating_add(unit - 1).div_euclid(unit).saturating_mul(unit));
    }
    list.push(want.offline);
    list.retain(|time| *time > 0);
    list.sort_unstable();
    list.dedup();
    list
}

/// All combinations of sizes and times that make sense.
fn combine(want: Want, present: &Settings, min_sizes: &[u64], max_sizes: &[u64]) -> Vec<Settings> {
    let defaults = Settings::default();
    let min_ages = times(want, defaults.min_age, present.min_age);
    let log2_max_ages = times(want, defaults.log2_max_age, present.log2_max_age);
    let mut list = Vec::new();
    for &min_size in min_sizes {
        for &max_size in max_sizes.iter().filter(|max_size| min_size <= **max_size) {
            for &min_age in &min_ages {
                for &log2_max_age in &log2_max_ages {
                    list.push(Settings { min_size, max_size, min_age, log2_max_age, ..*present });
                }
            }
        }
    }
    list
}

/// Values to try for each setting: the present ones, Dovecot's defaults, and steps around what is wanted.
fn candidates(want: Want, present: &Settings, bytes_per_day: f64) -> Vec<Settings> {
    let defaults = Settings::default();
    let window_bytes = bytes_per_day * want.offline as f64 / DAY as f64;
    let sizes = |default: u64, present: u64, low: u64| {
        let mut list = vec![default, present];
        // From the smallest that matters up to more than the wanted window holds.
        let mut size = low;
        while list.len() < 24 {
            list.push(size);
            // Far below what the window holds, steps may be wide.
            if (size as f64) < window_bytes / 16.0 {
                size *= 4;
                continue;
            }
            list.push(size / 2 * 3);
            if size as f64 > window_bytes * 3.0 || size >= 1 << 30 {
                break;
            }
            size *= 2;
        }
        list.sort_unstable();
        list.dedup();
        list
    };
    combine(
        want,
        present,
        &sizes(defaults.min_size, present.min_size, 32 << 10),
        &sizes(defaults.max_size, present.max_size, 1 << 20),
    )
}

/// Settings under trial: the mailbox, and whose rules.
struct TriedSettings<'a> {
    scenario: &'a Scenario,
    rules: &'a Rules,
    want: Want,
    scratch: Course,
}

impl TriedSettings<'_> {
    /// The price of settings. `None` as soon as it is clear that they do not keep the window, when that is all one
    /// wants to know.
    fn price(&mut self, settings: &Settings, only_if_kept: bool) -> Option<Price> {
        let scenario = self.scenario;
        let from = self.want.from(scenario);
        let all = (scenario.history.end - from).max(0);
        let limit = only_if_kept.then(|| Limit { offline: self.want.offline, from, missed: self.want.may_miss(all) });
        if !engine::run_into(&scenario.history, &scenario.start, settings, self.rules, limit, &mut self.scratch) {
            return None;
        }
        let (exact, _) = exact_time(&self.scratch, self.want.offline, from);
        let exact_share = if all == 0 { 1.0 } else { exact as f64 / all as f64 };
        Some(Price { disk_bytes_mean: self.scratch.disk_mean(), exact_share })
    }
}

/// Searches for one mailbox. The number of settings that differ from Dovecot's defaults breaks ties, so that no line is
/// there for nothing.
pub fn search(scenario: &Scenario, present: &Settings, rules: &Rules, want: Want) -> Advice {
    let days = (scenario.history.end - scenario.start.at).max(1) as f64 / DAY as f64;
    let list = candidates(want, present, scenario.history.bytes() as f64 / days);
    let mut trial = TriedSettings { scenario, rules, want, scratch: Course::default() };
    let key = |(settings, price): &(Settings, Price)| (price.disk_bytes_mean, settings.lines().len());
    let mut best: Option<(Settings, Price)> = None;
    for settings in &list {
        let Some(price) = trial.price(settings, true) else { continue };
        let one = (*settings, price);
        if best.as_ref().is_none_or(|best| key(&one) < key(best)) {
            best = Some(one);
        }
    }
    let reached = best.is_some();
    if best.is_none() {
        let nearer = |one: &(Settings, Price), best: &(Settings, Price)| {
            let share = one.1.exact_share.total_cmp(&best.1.exact_share);
            share.is_gt() || share.is_eq() && key(one) < key(best)
        };
        for settings in &list {
            let one = trial.price(settings, false).map(|price| (*settings, price));
            if let Some(one) = one.filter(|one| best.as_ref().is_none_or(|best| nearer(one, best))) {
                best = Some(one);
            }
        }
    }
    let now = trial.price(present, false).unwrap_or(Price { disk_bytes_mean: 0, exact_share: 0.0 });
    let (settings, price) = best.unwrap_or((*present, now));
    Advice { settings, price, present: now, reached, tried: list.len() }
}

/// What settings do to many mailboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TriedSum {
    /// Mailboxes that keep the window.
    kept: u64,
    /// Seconds with exact answers.
    exact: u64,
    /// Seconds in all.
    all: u64,
    /// Mean bytes of the logs.
    disk: u64,
}

impl TriedSum {
    fn add(&mut self, other: TriedSum) {
        self.kept += other.kept;
        self.exact = self.exact.saturating_add(other.exact);
        self.all = self.all.saturating_add(other.all);
        self.disk = self.disk.saturating_add(other.disk);
    }

    fn price(&self) -> Price {
        let exact_share = if self.all == 0 { 1.0 } else { self.exact as f64 / self.all as f64 };
        Price { disk_bytes_mean: self.disk, exact_share }
    }
}

/// A search over any number of mailboxes that are looked at one by one: the settings to try are known beforehand.
#[derive(Debug)]
pub struct Grid {
    want: Want,
    rules: Rules,
    /// The last ones are the present settings.
    list: Vec<Settings>,
}

/// What the settings of a grid do to one mailbox.
#[derive(Debug)]
pub struct Column {
    /// Which of `sums` belongs to each of the settings.
    of: Vec<u32>,
    sums: Vec<TriedSum>,
}

impl Grid {
    /// Nothing tried yet.
    pub fn new(want: Want, present: &Settings, rules: Rules) -> Grid {
        let defaults = Settings::default();
        let sizes = |default: u64, present: u64, low: u32| {
            let mut list: Vec<u64> = (low..=31).map(|shift| 1 << shift).chain([default, present]).collect();
            list.sort_unstable();
            list.dedup();
            list
        };
        let min_sizes = sizes(defaults.min_size, present.min_size, 15);
        let max_sizes = sizes(defaults.max_size, present.max_size, 20);
        let mut list = combine(want, present, &min_sizes, &max_sizes);
        list.push(*present);
        Grid { want, rules, list }
    }

    /// Tries all settings on one mailbox; `None` when the time simulated is too short to judge any. Settings that
    /// cannot make a difference to this mailbox share a run: most mailboxes never grow a log as long as most sizes.
    pub fn measure(&self, scenario: &Scenario) -> Option<Column> {
        let from = self.want.from(scenario);
        if scenario.history.end <= from {
            return None;
        }
        let mut scratch = Course::default();
        let mut known: HashMap<Settings, u32> = HashMap::new();
        let mut column = Column { of: Vec::with_capacity(self.list.len()), sums: Vec::new() };
        for settings in &self.list {
            let key = effective(settings, scenario, &self.rules);
            let position = *known.entry(key).or_insert_with(|| {
                engine::run_into(&scenario.history, &scenario.start, &key, &self.rules, None, &mut scratch);
                let (exact, all) = exact_time(&scratch, self.want.offline, from);
                column.sums.push(TriedSum {
                    kept: u64::from(self.want.is_kept(exact, all)),
                    exact: exact.unsigned_abs(),
                    all: all.unsigned_abs(),
                    disk: scratch.disk_mean(),
                });
                u32::try_from(column.sums.len() - 1).unwrap_or(u32::MAX)
            });
            column.of.push(position);
        }
        Some(column)
    }

    /// The cheapest settings under which enough mailboxes keep the window, else those under which most do. `None`
    /// without mailboxes.
    pub fn best(&self, sums: &TriedSums) -> Option<AdviceForMany> {
        let present = sums.list.last()?;
        let needed = (sums.mailboxes as f64 * self.want.mailboxes).ceil() as u64;
        let (_, list) = self.list.split_last()?;
        let rank = |(settings, sum): &(&Settings, &TriedSum)| {
            let reached = sum.kept >= needed;
            // When enough do, only the price counts.
            let (missing, missed) = if reached {
                (0, 0)
            } else {
                (sums.mailboxes.saturating_sub(sum.kept), sum.all.saturating_sub(sum.exact))
            };
            (!reached, missing, missed, sum.disk, settings.lines().len())
        };
        let (settings, sum) = list.iter().zip(&sums.list).min_by_key(rank).filter(|_| sums.mailboxes > 0)?;
        let (price, present_price) = (sum.price(), present.price());
        let reached = sum.kept >= needed;
        let advice = Advice { settings: *settings, price, present: present_price, reached, tried: list.len() };
        let missing = sums.mailboxes.saturating_sub(sum.kept);
        let missing_present = sums.mailboxes.saturating_sub(present.kept);
        Some(AdviceForMany { advice, mailboxes: sums.mailboxes, missing, missing_present })
    }
}

/// The outcome of a search over many mailboxes.
#[derive(Clone, Debug, PartialEq)]
pub struct AdviceForMany {
    /// One set of settings for all.
    pub advice: Advice,
    /// Mailboxes that were judged.
    pub mailboxes: u64,
    /// Those of them that do not keep the window.
    pub missing: u64,
    /// The same under the present settings.
    pub missing_present: u64,
}

/// What each of the settings of a [`Grid`] does to all mailboxes so far.
#[derive(Clone, Debug, Default)]
pub struct TriedSums {
    list: Vec<TriedSum>,
    mailboxes: u64,
    /// Mailboxes that could not be judged because the time simulated is too short.
    pub skipped: u64,
}

impl TriedSums {
    /// Adds what [`Grid::measure`] found; the order does not matter.
    pub fn add(&mut self, column: Option<&Column>) {
        let Some(column) = column else {
            self.skipped += 1;
            return;
        };
        self.mailboxes += 1;
        self.list.resize(column.of.len(), TriedSum::default());
        for (sum, position) in self.list.iter_mut().zip(&column.of) {
            sum.add(column.sums.get(*position as usize).copied().unwrap_or_default());
        }
    }
}

/// Settings that do the same to a mailbox, as one of them: a size that its logs never reach might as well be any other
/// such size, and so with times.
fn effective(settings: &Settings, scenario: &Scenario, rules: &Rules) -> Settings {
    let (history, start) = (&scenario.history, &scenario.start);
    let largest = start.log.size.saturating_add(history.bytes());
    let mut settings = *settings;
    settings.min_size = settings.min_size.min(largest.saturating_add(1));
    settings.max_size = settings.max_size.min(largest);
    let longest = |from: i64| history.end.saturating_sub(from).max(0);
    settings.min_age = settings.min_age.min(longest(start.log.create_stamp));
    if settings.min_size > largest {
        settings.min_age = 0;
    }
    let first_aging = start.old.map_or(start.at, |old| old.aging_from).min(start.at).min(start.log.create_stamp);
    settings.log2_max_age = settings.log2_max_age.min(longest(first_aging).saturating_add(1));
    let upgraded = rules.rotates_old_version && start.log.minor < rules.log_minor;
    let never = settings.min_size > largest && settings.max_size >= largest && !upgraded;
    if never && start.old.is_none() && history.first_forced(0) == usize::MAX {
        settings.log2_max_age = 0;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::settings::Version;
    use crate::simulate::synthetic::{Pattern, Storage, Synthetic};

    /// Runs that are shared between settings find what a run for each finds.
    #[test]
    fn settings_that_share_a_run_do_the_same() {
        for (version, rate, days) in [("2.3.19", 3.0, 60), ("2.2.28", 40.0, 30), ("2.4.1", 900.0, 20)] {
            let rules = Rules::of(version.parse::<Version>().expect("a version"));
            let synthetic = Synthetic {
                storage: Storage::Maildir,
                appends: rate,
                flags: rate,
                expunges: rate / 2.0,
                sync_every: 0,
                seed: 3,
                pattern: Pattern::office(),
                burst: 2,
                messages: 10,
            };
            let scenario = synthetic.scenario(1_700_000_000, 1_700_000_000 + days * DAY).expect("traffic");
            let want = Want { offline: 5 * DAY, share: 0.9, mailboxes: 1.0 };
            let grid = Grid::new(want, &Settings { min_size: 5000, ..Settings::default() }, rules);
            let column = grid.measure(&scenario).expect("long enough");
            assert!(column.sums.len() < grid.list.len());
            for (settings, position) in grid.list.iter().zip(&column.of).step_by(7) {
                let outcome = engine::run(&scenario.history, &scenario.start, settings, &rules);
                let (exact, all) = exact_time(&outcome, want.offline, want.from(&scenario));
                let sum = column.sums[*position as usize];
                assert_eq!((sum.exact, sum.all), (exact.unsigned_abs(), all.unsigned_abs()), "{settings:?}");
                assert_eq!(sum.disk, outcome.disk_mean(), "{settings:?}");
            }
        }
    }
}
