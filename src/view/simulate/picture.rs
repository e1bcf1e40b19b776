//! The window over time, drawn with characters.

use std::io::{self, Write};

use crate::render::Style;
use crate::render::text::local;
use crate::render::units::span;
use crate::simulate::picture::Picture;

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
    let (from, to) = (local(picture.from), local(picture.to));
    let date = |text: &str| text.get(..10).unwrap_or(text).to_owned();
    writeln!(out, "{:>8} └{}", "", "─".repeat(WIDTH))?;
    writeln!(out, "{:>10}{}{:>width$}", "", date(&from), date(&to), width = WIDTH - 10)
}
