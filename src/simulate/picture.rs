//! What is drawn of a simulation.

use super::engine::Course;
use super::retention;
use super::settings::{DAY, HOUR};

/// A curve and what it belongs to.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The window over time: pieces of a line, each from (UNIX seconds, seconds) to (UNIX seconds, seconds).
    pub window: Vec<[(i64, i64); 2]>,
    /// Share of exact answers by seconds away.
    pub shares: Vec<(i64, f64)>,
    /// UNIX seconds.
    pub rotations: Vec<i64>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Begin, UNIX seconds.
    pub from: i64,
    /// End, UNIX seconds.
    pub to: i64,
    /// The present settings.
    pub present: Curve,
    /// The recommended settings.
    pub recommended: Option<Curve>,
}

/// Times away that the curve is drawn for.
const CURVE_POINTS: i32 = 96;

impl Curve {
    pub(super) fn of(outcome: &Course, known_from: Option<i64>) -> Curve {
        let begin = outcome.segments.first().map_or(0, |segment| segment.from);
        let end = outcome.segments.last().map_or(begin, |segment| segment.to);
        let window = |segment: &super::engine::LogLife| {
            let since = segment.since.unwrap_or(begin);
            [(segment.from, segment.from - since), (segment.to, segment.to - since)]
        };
        let known_from = known_from.unwrap_or(i64::MIN / 2);
        // From one hour to 64 days, or as long as the simulation is.
        let longest = ((end - begin) as f64).clamp(2.0 * HOUR as f64, 64.0 * DAY as f64);
        let ratio = longest / HOUR as f64;
        let shares = (0..=CURVE_POINTS).filter_map(|i| {
            let away = (HOUR as f64 * ratio.powf(f64::from(i) / f64::from(CURVE_POINTS))) as i64;
            let (exact, all) = retention::exact_time(outcome, away, known_from.saturating_add(away));
            // What is told from a few instants only is no share.
            (all * 20 > end - begin).then(|| (away, exact as f64 / all as f64))
        });
        Curve {
            window: outcome.segments.iter().map(window).collect(),
            shares: shares.collect(),
            rotations: outcome.rotations.iter().map(|rotation| rotation.at).collect(),
        }
    }
}
