//! Pictures, as SVG or PNG. The font comes with the program, so that PNGs look the same everywhere.

use std::io;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::FontStyle;

use crate::simulate::picture::{Curve, Picture};
use crate::simulate::survey::Spread;

/// Size of a picture in pixels.
const SIZE: (u32, u32) = (1100, 820);
/// The present settings.
const PRESENT: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
/// The recommended settings.
const RECOMMENDED: RGBColor = RGBColor(0xc8, 0x5a, 0x10);
/// The present time.
const NOW: RGBColor = RGBColor(0x3a, 0x8a, 0x3a);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const FONT: &str = "sans-serif";
/// Seconds in a day.
const DAY: f64 = 86_400.0;

type Failure = Box<dyn std::error::Error>;

/// What can be drawn.
#[derive(Clone, Copy, Debug)]
pub enum Drawing<'a> {
    /// One mailbox: the window over time with its rotations, and the share of exact answers by time away.
    One(&'a Picture),
    /// Many mailboxes: their windows, the worst first, and the share of exact answers by time away.
    Many(&'a Spread),
}

/// Draws what a simulation found.
///
/// # Errors
/// When the name ends neither in `.svg` nor in `.png`, or the file cannot be written.
pub fn simulation(path: &Path, drawing: Drawing<'_>) -> io::Result<()> {
    let other = |error: Failure| io::Error::other(error.to_string());
    // Only fonts that are registered can be drawn into a PNG.
    let font: &'static [u8] = epaint_default_fonts::UBUNTU_LIGHT;
    plotters::style::register_font(FONT, FontStyle::Normal, font)
        .map_err(|_| io::Error::other("the font of the program cannot be used"))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("svg") => {
            let mut text = String::new();
            draw(SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), drawing).map_err(other)?;
            crate::store::output::replace(path, 0o644, text.as_bytes()).map_err(|error| error.source)
        }
        Some("png") => {
            let mut pixels = vec![0; SIZE.0 as usize * SIZE.1 as usize * 3];
            draw(BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), drawing).map_err(other)?;
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.write_header()?.write_image_data(&pixels)?;
            crate::store::output::replace(path, 0o644, &bytes).map_err(|error| error.source)
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of a picture ends in .svg or .png")),
    }
}

fn draw<B: DrawingBackend>(area: DrawingArea<B, Shift>, drawing: Drawing<'_>) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let (top, bottom) = area.split_vertically(SIZE.1 * 55 / 100);
    match drawing {
        Drawing::One(picture) => {
            window(&top, picture)?;
            let list: Vec<Line<'_>> =
                curves(picture).map(|(curve, colour, label)| (curve.shares.as_slice(), colour, label)).collect();
            shares(&bottom, "Clients that come back: share of exact VANISHED answers", &list, false)?;
        }
        Drawing::Many(spread) => {
            windows(&top, spread)?;
            let title = format!("Clients of {} mailboxes that come back: share of exact VANISHED answers", spread.told);
            shares(&bottom, &title, &[(spread.shares.as_slice(), PRESENT, "present settings")], true)?;
        }
    }
    area.present()?;
    Ok(())
}

/// Points of a curve, its colour and its name.
type Line<'a> = (&'a [(i64, f64)], RGBColor, &'static str);

/// The windows of many mailboxes, sorted.
fn windows<B: DrawingBackend>(area: &DrawingArea<B, Shift>, spread: &Spread) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let lists = [
        (&spread.medians, PRESENT, "median over the time simulated"),
        (&spread.shortest, RECOMMENDED, "shortest in the time simulated"),
        (&spread.now, NOW, "now"),
    ];
    let highest = lists.iter().flat_map(|(list, ..)| list.iter()).chain(spread.want.as_ref()).max();
    let highest = highest.copied().unwrap_or(0).max(60) as f64;
    let (name, scale) = unit(highest);
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!(
                "Retention windows of {} mailboxes, the worst first; {} never lose anything",
                spread.told, spread.complete
            ),
            (FONT, 21),
        )
        .margin(14)
        .margin_right(30)
        .x_label_area_size(46)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..100.0, 0.0..highest / scale * 1.12)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc("mailboxes (%)")
        .y_desc(format!("window ({name})"))
        .x_labels(11)
        .x_label_formatter(&|share: &f64| format!("{share:.0}"))
        .y_label_formatter(&|window: &f64| {
            if highest / scale < 5.0 { format!("{window:.1}") } else { format!("{window:.0}") }
        })
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .draw()?;
    for (list, colour, label) in lists.into_iter().filter(|(list, ..)| !list.is_empty()) {
        let share = |i: usize| i as f64 * 100.0 / spread.told.max(1) as f64;
        // A step for each mailbox; those that are not in the list lost nothing and have no window.
        let steps = list.iter().enumerate().flat_map(|(i, window)| {
            let window = *window as f64 / scale;
            [(share(i), window), (share(i + 1), window)]
        });
        chart
            .draw_series(LineSeries::new(steps, colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    if let Some(want) = spread.want {
        let line = [(0.0, want as f64 / scale), (100.0, want as f64 / scale)];
        chart
            .draw_series(LineSeries::new(line, BLACK.stroke_width(1)))?
            .label("wanted")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], BLACK.stroke_width(1)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(GRID)
        .label_font((FONT, 16))
        .draw()?;
    Ok(())
}

/// The unit that suits a span of time: its name and its seconds.
fn unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        s if s >= 3.0 * DAY => ("days", DAY),
        s if s >= 3.0 * 3600.0 => ("hours", 3600.0),
        _ => ("minutes", 60.0),
    }
}

fn curves(picture: &Picture) -> impl Iterator<Item = (&Curve, RGBColor, &'static str)> {
    let present = (&picture.present, PRESENT, "present settings");
    std::iter::once(present).chain(picture.recommended.iter().map(|curve| (curve, RECOMMENDED, "recommended settings")))
}

fn window<B: DrawingBackend>(area: &DrawingArea<B, Shift>, picture: &Picture) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let highest = curves(picture).flat_map(|(curve, ..)| curve.window.iter()).map(|[_, (_, end)]| *end).max();
    let highest = highest.unwrap_or(0).max(60) as f64;
    let (name, scale) = unit(highest);
    let (from, to) = (picture.from as f64, picture.to as f64);
    let mut chart = ChartBuilder::on(area)
        .caption("Retention window: how long a client may have been away and still get an exact answer", (FONT, 21))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(70)
        .build_cartesian_2d(from..to.max(from + 1.0), -0.06 * highest / scale..highest / scale * 1.12)?;
    let long = to - from > 3.0 * DAY;
    let date = move |at: &f64| {
        let format = if long { "%Y-%m-%d" } else { "%m-%d %H:%M" };
        jiff::Timestamp::from_second(*at as i64)
            .map_or_else(|_| String::new(), |time| time.strftime(format).to_string())
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc("time (UTC)")
        .y_desc(format!("window ({name})"))
        .x_labels(8)
        .x_label_formatter(&date)
        .y_label_formatter(&|window: &f64| match window {
            w if *w < 0.0 => String::new(),
            w if highest / scale < 5.0 => format!("{w:.1}"),
            w => format!("{w:.0}"),
        })
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .draw()?;
    for (curve, colour, label) in curves(picture) {
        let point = |(at, window): (i64, i64)| (at as f64, window as f64 / scale);
        let points: Vec<(f64, f64)> = curve.window.iter().flatten().map(|end| point(*end)).collect();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(format!("{label} ({} rotations)", curve.rotations.len()))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    // Rotations as ticks below zero, those of the present settings lowest.
    for (row, (curve, colour, _)) in curves(picture).enumerate() {
        let height = highest / scale * 0.025;
        let low = (row as f64 - 2.0) * height * 1.2;
        let ticks = curve.rotations.iter().map(|at| {
            let at = *at as f64;
            PathElement::new([(at, low), (at, low + height)], colour.stroke_width(2))
        });
        chart.draw_series(ticks)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(GRID)
        .label_font((FONT, 16))
        .draw()?;
    Ok(())
}

/// The share of exact answers by time away; with `points` those that were asked for are marked.
fn shares<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    lines: &[Line<'_>],
    points: bool,
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let longest = lines.iter().flat_map(|(list, ..)| list.iter()).map(|(away, _)| *away).max();
    let hour = 3600.0;
    let longest = (longest.unwrap_or(7200).max(7200) as f64) / hour;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 21))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(70)
        .build_cartesian_2d((1.0..longest).log_scale(), 0.0..105.0)?;
    // Labels where people look: hours up to a day, then days.
    let marks: Vec<f64> = [1.0, 2.0, 4.0, 8.0, 24.0, 48.0, 96.0, 168.0, 336.0, 720.0, 1440.0]
        .into_iter()
        .filter(|mark| *mark <= longest)
        .collect();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_label_formatter(&|_| String::new())
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc("time away (hours up to 1 day, then days; logarithmic)")
        .y_desc("exact answers (%)")
        .y_labels(6)
        .axis_desc_style((FONT, 17))
        .label_style((FONT, 15))
        .draw()?;
    chart
        .draw_series(marks.iter().map(|mark| PathElement::new([(*mark, 0.0), (*mark, 105.0)], GRID.stroke_width(1))))?;
    for mark in &marks {
        let text = if *mark < 24.0 { format!("{mark:.0} h") } else { format!("{:.0} d", mark / 24.0) };
        let (x, y) = chart.backend_coord(&(*mark, 0.0));
        let (left, upper) = area.get_base_pixel();
        let style = TextStyle::from((FONT, 15).into_font()).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        area.draw_text(&text, &style, (x - left, y - upper + 6))?;
    }
    for &(list, colour, label) in lines {
        let list: Vec<(f64, f64)> = list.iter().map(|(away, share)| (*away as f64 / hour, share * 100.0)).collect();
        if points {
            chart.draw_series(list.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
        chart
            .draw_series(LineSeries::new(list, colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(GRID)
        .label_font((FONT, 16))
        .draw()?;
    Ok(())
}
