//! What a simulation says of many mailboxes, for people.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use super::one::population;
use super::survey::{Distribution, Quantiles, Row, Survey};
use super::units::{bytes, span};
use crate::render::Style;
use crate::render::grid::{Column, Grid};
use crate::render::text::{printable, utc};

const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

const fn left(title: &'static str) -> Column {
    Column { title, right: false }
}

const COLUMNS: [Column; 11] = [
    right("MEDIAN"),
    right("MIN"),
    right("NOW"),
    left("NEXT ROTATION"),
    right("ROTATIONS"),
    right("LOGS"),
    right("EXACT %"),
    left("WANT"),
    left("NAME"),
    left("USER"),
    left("PATH"),
];

/// Mailboxes without an answer that are named in the table.
const MOST_UNTOLD: usize = 20;

/// Prints the worst mailboxes, what could not be told, and how all compare.
pub fn table(survey: &Survey, most: usize, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let told = || survey.rows.iter().filter(|row| row.retention.is_some());
    let away: Vec<String> = survey.distribution.clients.iter().map(|client| span(client.offline_seconds)).collect();
    if told().next().is_some() {
        writeln!(out)?;
        let mut grid = Grid::new(&COLUMNS, *style);
        for row in told().take(most) {
            grid.row(cells(row), out)?;
        }
        grid.finish(out)?;
        let (shown, all) = (told().count().min(most), told().count());
        if shown < all {
            let text = format!("... {} more, which are better; --worst N shows more, --format json all", all - shown);
            writeln!(out, "{}", style.dim(&text))?;
        }
        if !away.is_empty() {
            writeln!(
                out,
                "{}",
                style.dim(&format!("exact answers in % for clients that were away for {}", away.join(", ")))
            )?;
        }
        if survey.distribution.guesses > 0 {
            writeln!(out, "{}", style.dim("~ the logs tell of less than a day: no more than a guess"))?;
        }
    }
    untold(survey, out, style)?;
    compare(&survey.distribution, out, style)
}

fn cells(row: &Row) -> Vec<String> {
    let guess = if row.guess { "~" } else { "" };
    let windows = match row.retention {
        Some(r) if r.complete => ("all".to_owned(), "all".to_owned()),
        Some(r) => (format!("{guess}{}", span(r.median_seconds)), span(r.min_seconds)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let now = match row.now {
        Some(now) if now.complete => "all".to_owned(),
        Some(now) => now.window_seconds.map_or("-".to_owned(), span),
        None => "-".to_owned(),
    };
    let next = row.now.map(|now| now.next_rotation);
    let next = match next.map(|next| (next.due, next.at)) {
        Some((true, _)) => "due".to_owned(),
        Some((false, Some(at))) => utc(at).get(..16).unwrap_or_default().to_owned(),
        Some((false, None)) | None => "-".to_owned(),
    };
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0}", percent(share)));
    let exact: Vec<String> = row.clients.iter().map(|client| format!("{:>3}", share(client.exact_share))).collect();
    vec![
        windows.0,
        windows.1,
        now,
        next,
        row.rotation_count.map_or("-".to_owned(), |count| count.to_string()),
        row.disk.map_or("-".to_owned(), |disk| bytes(disk.mean_bytes)),
        exact.join(" "),
        row.want.map_or(String::new(), |want| if want.kept { "kept" } else { "missed" }.to_owned()),
        row.name.as_ref().map_or(String::new(), |name| printable(name.as_bytes())),
        row.user.as_ref().map_or(String::new(), |user| printable(user.as_bytes())),
        row.path.as_ref().map_or(String::new(), |path| printable(path.as_os_str().as_bytes())),
    ]
}

/// A share in percent that reads 100 only if it is all, and 0 only if it is nothing.
fn percent(share: f64) -> f64 {
    match share * 100.0 {
        percent if percent > 99.0 && share < 1.0 => 99.0,
        percent if percent < 1.0 && share > 0.0 => 1.0,
        percent => percent,
    }
}

fn untold(survey: &Survey, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let list = || survey.rows.iter().filter(|row| row.retention.is_none());
    let count = list().count();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "\n{}", style.heading(&format!("without an answer: {count}")))?;
    for row in list().take(MOST_UNTOLD) {
        let path = row.path.as_ref().map_or(String::new(), |path| printable(path.as_os_str().as_bytes()));
        writeln!(out, "  {path}: {}", row.reason.as_deref().unwrap_or("no window"))?;
    }
    if count > MOST_UNTOLD {
        let text = format!("  ... {} more; all are in --format json", count - MOST_UNTOLD);
        writeln!(out, "{}", style.dim(&text))?;
    }
    Ok(())
}

fn compare(d: &Distribution, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let lossy = d.mailboxes - d.complete - d.untold;
    write!(
        out,
        "\n{} {}: {lossy} lose history in the time simulated, {} never do, {} without an answer",
        style.heading("mailboxes"),
        d.mailboxes,
        d.complete,
        d.untold,
    )?;
    if d.untracked > 0 {
        write!(out, " ({} do not track modseqs)", d.untracked)?;
    }
    if d.unreadable > 0 {
        write!(out, "; {} could not be simulated", d.unreadable)?;
    }
    writeln!(out)?;
    let medians = Quantiles {
        min_seconds: d.min_median_seconds,
        p1_seconds: d.p1_median_seconds,
        p10_seconds: d.p10_median_seconds,
        median_seconds: d.median_seconds,
        p90_seconds: d.p90_median_seconds,
        max_seconds: d.max_median_seconds,
    };
    let head = format!(
        "{:<36} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "retention window", "worst", "p1", "p10", "median", "p90", "best"
    );
    writeln!(out, "\n{}", style.heading(&head))?;
    for (what, q) in
        [("median over time", medians), ("shortest over time", d.shortest), ("now, of those that lost history", d.now)]
    {
        let list = [q.min_seconds, q.p1_seconds, q.p10_seconds, q.median_seconds, q.p90_seconds, q.max_seconds];
        let cells: Vec<String> =
            list.iter().map(|value| format!("{:>9}", value.map_or("-".to_owned(), span))).collect();
        writeln!(out, "  {what:<34} {}", cells.join(" "))?;
    }
    if !d.clients.is_empty() {
        let head = format!("{:>10}  {:<24} {:>7}  {:>9} {:>9}", "away for", "exact answers", "", "mailboxes", "sent");
        writeln!(out, "\n{}", style.heading(&head))?;
        for client in &d.clients {
            let (bar, share) = match client.exact_share {
                None => (String::new(), "-".to_owned()),
                Some(share) => ("█".repeat((share * 24.0).round() as usize), format!("{:.1} %", share * 100.0)),
            };
            writeln!(
                out,
                "{:>10}  {bar:<24} {share:>7}  {:>9} {:>9}",
                span(client.offline_seconds),
                client.mailboxes,
                client.vanished_bytes_sent.map_or("-".to_owned(), bytes),
            )?;
        }
    }
    writeln!(
        out,
        "\n{} logs take {} now, {} on average ({} if all were at their largest at once); {} rotations are due",
        style.heading("disk"),
        bytes(d.log_bytes),
        bytes(d.disk.mean_bytes),
        bytes(d.disk.max_bytes),
        d.rotation_due,
    )?;
    if let Some(cost) = &d.population {
        population(cost, out, style)?;
    }
    if let Some(want) = &d.want {
        writeln!(
            out,
            "{} {} of {} mailboxes do not keep {} in {} % of the time",
            style.heading("want"),
            want.missing,
            want.mailboxes,
            span(want.want_seconds),
            want.want_share * 100.0,
        )?;
    }
    Ok(())
}
