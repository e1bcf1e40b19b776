//! The cheapest settings that keep a wanted retention window.

use serde::Serialize;

use super::engine::{self, Limit, Outcome};
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
}

/// What settings cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Price {
    /// Mean bytes of both logs, over all mailboxes.
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
    let times = |default: i64, present: i64| {
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
    };
    let mut list = Vec::new();
    let max_sizes = sizes(defaults.max_size, present.max_size, 1 << 20);
    for &min_size in &sizes(defaults.min_size, present.min_size, 32 << 10) {
        for &max_size in &max_sizes {
            if min_size > max_size {
                continue;
            }
            for &min_age in &times(defaults.min_age, present.min_age) {
                for &log2_max_age in &times(defaults.log2_max_age, present.log2_max_age) {
                    list.push(Settings { min_size, max_size, min_age, log2_max_age, ..*present });
                }
            }
        }
    }
    list
}

/// Settings under trial: the mailboxes, and whose rules.
struct Trial<'a> {
    scenarios: &'a [&'a Scenario],
    rules: &'a Rules,
    want: Want,
    scratch: Outcome,
}

impl Trial<'_> {
    /// From when on settings are judged. Earlier the logs there are decide, and no settings can bring back what is lost.
    fn from(&self, scenario: &Scenario) -> i64 {
        scenario.start.at.saturating_add(self.want.offline)
    }

    /// The price of settings. `None` as soon as it is clear that they do not keep the window, when that is all one wants to
    /// know.
    fn price(&mut self, settings: &Settings, only_if_kept: bool) -> Option<Price> {
        let all: i64 = self.scenarios.iter().map(|s| (s.history.end - self.from(s)).max(0)).sum();
        let mut left = (all as f64 * (1.0 - self.want.share)) as i64;
        let (mut exact, mut disk) = (0, 0_u64);
        for scenario in self.scenarios {
            let from = self.from(scenario);
            let limit = only_if_kept.then_some(Limit { offline: self.want.offline, from, missed: left });
            if !engine::run_into(&scenario.history, &scenario.start, settings, self.rules, limit, &mut self.scratch) {
                return None;
            }
            let (some, of) = exact_time(&self.scratch, self.want.offline, from);
            exact += some;
            left -= of - some;
            disk = disk.saturating_add(self.scratch.disk_mean());
        }
        let exact_share = if all == 0 { 1.0 } else { exact as f64 / all as f64 };
        Some(Price { disk_bytes_mean: disk, exact_share })
    }
}

/// Searches. The number of settings that differ from Dovecot's defaults breaks ties, so that no line is there for nothing.
pub fn search(scenarios: &[&Scenario], present: &Settings, rules: &Rules, want: Want) -> Advice {
    let days: f64 = scenarios.iter().map(|s| (s.history.end - s.start.at).max(1) as f64 / DAY as f64).sum();
    let bytes: u64 = scenarios.iter().map(|s| s.history.bytes()).sum();
    let list = candidates(want, present, bytes as f64 / days.max(1e-9));
    let mut trial = Trial { scenarios, rules, want, scratch: Outcome::default() };
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
