//! The cheapest settings that keep a wanted retention window.

use serde::Serialize;

use super::engine::{self, Outcome};
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
            list.extend([size, size / 2 * 3]);
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
            list.push(time.div_euclid(unit).saturating_add(1).saturating_mul(unit));
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

/// The price of settings for some mailboxes.
pub fn price(scenarios: &[&Scenario], settings: &Settings, rules: &Rules, want: Want, scratch: &mut Outcome) -> Price {
    let (mut exact, mut all, mut disk) = (0, 0, 0_u64);
    for scenario in scenarios {
        engine::run_into(&scenario.history, &scenario.start, settings, rules, scratch);
        // Earlier the logs there are decide, and no settings can bring back what is lost.
        let from = scenario.start.at.saturating_add(want.offline);
        let (some, of) = exact_time(scratch, want.offline, from);
        exact += some;
        all += of;
        disk = disk.saturating_add(scratch.disk_mean());
    }
    let exact_share = if all == 0 { 1.0 } else { exact as f64 / all as f64 };
    Price { disk_bytes_mean: disk, exact_share }
}

/// Searches. The number of settings that differ from Dovecot's defaults breaks ties, so that no line is there for nothing.
pub fn search(scenarios: &[&Scenario], present: &Settings, rules: &Rules, want: Want) -> Advice {
    let days: f64 = scenarios.iter().map(|s| (s.history.end - s.start.at).max(1) as f64 / DAY as f64).sum();
    let bytes: u64 = scenarios.iter().map(|s| s.history.bytes()).sum();
    let list = candidates(want, present, bytes as f64 / days.max(1e-9));
    let mut scratch = Outcome::default();
    let mut best: Option<(Settings, Price)> = None;
    let mut nearest: Option<(Settings, Price)> = None;
    for settings in &list {
        let price = price(scenarios, settings, rules, want, &mut scratch);
        let cheaper = |(other, theirs): &(Settings, Price)| {
            let key = |settings: &Settings, price: &Price| (price.disk_bytes_mean, settings.lines().len());
            key(settings, &price) < key(other, theirs)
        };
        if price.exact_share >= want.share {
            if best.as_ref().is_none_or(cheaper) {
                best = Some((*settings, price));
            }
        } else if nearest.as_ref().is_none_or(|best| {
            price.exact_share > best.1.exact_share || price.exact_share == best.1.exact_share && cheaper(best)
        }) {
            nearest = Some((*settings, price));
        }
    }
    let present_price = price(scenarios, present, rules, want, &mut scratch);
    let reached = best.is_some();
    let (settings, price) = best.or(nearest).unwrap_or((*present, present_price));
    Advice { settings, price, present: present_price, reached, tried: list.len() }
}
