//! What is drawn of a simulation.

use std::io::{self, Write};

use super::engine::Outcome;
use super::retention;
use super::settings::{DAY, HOUR};
use super::units::span;
use crate::render::Style;
use crate::render::text::utc;

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
    pub(super) fn of(outcome: &Outcome, known_from: Option<i64>) -> Curve {
        let begin = outcome.segments.first().map_or(0, |segment| segment.from);
        let end = outcome.segments.last().map_or(begin, |segment| segment.to);
        let window = |segment: &super::engine::Segment| {
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

/// Width of the chart.
const WIDTH: usize = 60;
/// Rows of the chart.
const ROWS: usize = 7;
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The window over time, in blocks.
pub(super) fn chart(picture: &Picture, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let pieces = &picture.present.window;
    let span_of_time = (picture.to - picture.from).max(1);
    let columns: Vec<i64> = (0..WIDTH)
        .map(|column| {
            let share = (2 * i64::try_from(column).unwrap_or(0) + 1) as f64 / (2 * WIDTH) as f64;
            let at = picture.from + (span_of_time as f64 * share) as i64;
            let i = pieces.partition_point(|[_, (to, _)]| *to <= at);
            pieces.get(i).map_or(0, |[(from, window), _]| window + (at - from))
        })
        .collect();
    let highest = columns.iter().copied().max().unwrap_or(0).max(1);
    for row in (0..ROWS).rev() {
        let label = if row == ROWS - 1 {
            span(highest)
        } else if row == 0 {
            "0".into()
        } else {
            String::new()
        };
        let line: String = columns
            .iter()
            .map(|window| {
                let eighths = (*window as f64 / highest as f64 * (8 * ROWS) as f64).round() as usize;
                EIGHTHS.get(eighths.saturating_sub(8 * row).min(8)).copied().unwrap_or(" ")
            })
            .collect();
        writeln!(out, "{label:>8} {}", style.dim("│").to_owned() + line.trim_end())?;
    }
    let (from, to) = (utc(picture.from), utc(picture.to));
    let date = |text: &str| text.get(..10).unwrap_or(text).to_owned();
    writeln!(out, "{:>8} └{}", "", "─".repeat(WIDTH))?;
    writeln!(out, "{:>10}{}{:>width$}", "", date(&from), date(&to), width = WIDTH - 10)
}
