//! What a simulation says of many mailboxes, for people.

use std::io::{self, Write};

use super::one::population;
use crate::render::Style;
use crate::render::table::{Cell, Table};
use crate::render::text::{local, printable, shown};
use crate::render::units::{bytes, span};
use crate::simulate::survey::{Distribution, MailboxAnswer, ManyAnswers, Quantiles};

const TITLES: [&str; 11] =
    ["MEDIAN", "MIN", "NOW", "NEXT ROTATION", "ROTATIONS", "LOGS", "EXACT %", "WANT", "NAME", "USER", "PATH"];
/// What a narrow terminal can do without, the least first.
const RANKS: [u8; 11] = [0, 1, 2, 4, 5, 3, 2, 0, 0, 6, 0];

/// Mailboxes without an answer that are named in the table.
const MOST_UNTOLD: usize = 20;

/// Prints the worst mailboxes, what could not be told, and how all compare.
pub fn table(survey: &ManyAnswers, most: usize, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let told = || survey.rows.iter().filter(|row| row.retention.is_some());
    let away: Vec<String> = survey.distribution.clients.iter().map(|client| span(client.offline_seconds)).collect();
    if told().next().is_some() {
        writeln!(out)?;
        let mut table = Table::new(TITLES, *style).ranked(&RANKS);
        for row in told().take(most) {
            table.row(cells(row), out)?;
        }
        table.flush(out)?;
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

fn cells(row: &MailboxAnswer) -> Vec<Cell> {
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
        Some((false, Some(at))) => local(at).get(..16).unwrap_or_default().to_owned(),
        Some((false, None)) | None => "-".to_owned(),
    };
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0}", percent(share)));
    let exact: Vec<String> = row.clients.iter().map(|client| format!("{:>3}", share(client.exact_share))).collect();
    vec![
        Cell::number(windows.0),
        Cell::number(windows.1),
        Cell::number(now),
        Cell::text(next),
        Cell::optional(row.rotation_count),
        Cell::optional(row.disk.map(|disk| bytes(disk.mean_bytes))),
        Cell::number(exact.join(" ")),
        Cell::text(row.want.map_or("", |want| if want.kept { "kept" } else { "missed" })),
        Cell::text(row.name.as_ref().map_or(String::new(), |name| shown(name))),
        Cell::text(row.user.as_ref().map_or(String::new(), |user| printable(user.as_bytes()))),
        Cell::text(row.path.as_ref().map_or(String::new(), |path| shown(path))),
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

fn untold(survey: &ManyAnswers, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let list = || survey.rows.iter().filter(|row| row.retention.is_none());
    let count = list().count();
    if count == 0 {
        return Ok(());
    }
    writeln!(out, "\n{}", style.heading(&format!("without an answer: {count}")))?;
    for row in list().take(MOST_UNTOLD) {
        let path = row.path.as_ref().map_or(String::new(), |path| shown(path));
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
    writeln!(out)?;
    let mut table = Table::new(["retention window", "worst", "p1", "p10", "median", "p90", "best"], *style);
    for (what, q) in
        [("median over time", medians), ("shortest over time", d.shortest), ("now, of those that lost history", d.now)]
    {
        let list = [q.min_seconds, q.p1_seconds, q.p10_seconds, q.median_seconds, q.p90_seconds, q.max_seconds];
        let cells = list.iter().map(|value| Cell::optional(value.map(span)));
        table.row(std::iter::once(Cell::text(what)).chain(cells).collect(), out)?;
    }
    table.flush(out)?;
    if !d.clients.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(["away for", "exact answers", "share", "mailboxes", "sent"], *style);
        for client in &d.clients {
            let bar = client.exact_share.map(|share| "█".repeat((share * 24.0).round() as usize));
            table.row(
                vec![
                    Cell::number(span(client.offline_seconds)),
                    bar.map_or_else(Cell::nothing, Cell::text),
                    Cell::optional(client.exact_share.map(|share| format!("{:.1} %", share * 100.0))),
                    Cell::number(client.mailboxes),
                    Cell::optional(client.vanished_bytes_sent.map(bytes)),
                ],
                out,
            )?;
        }
        table.flush(out)?;
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
