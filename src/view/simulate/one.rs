//! What a simulation says of one mailbox, for people.

use std::io::{self, Write};

use super::picture;
use crate::render::Style;
use crate::render::table::{Cell, Table};
use crate::render::text::{local, shown};
use crate::render::units::{bytes, span};
use crate::simulate::body::Body;
use crate::simulate::now::Now;
use crate::simulate::picture::Picture;
use crate::simulate::retention::{Client, PopulationCost};
use crate::simulate::settings::DAY;

/// Rotations that the table shows before it cuts the list short.
const SHOWN: usize = 8;

/// What is said of one mailbox.
pub fn table(body: &Body, picture: Option<&Picture>, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    if let Some(path) = &body.path {
        writeln!(out, "{} {}", style.heading("mailbox "), shown(path))?;
    }
    if let Some(now) = &body.now {
        present(now, out, style)?;
    }
    let Some(traffic) = &body.traffic else { return Ok(()) };
    let days = traffic.seconds as f64 / DAY as f64;
    writeln!(
        out,
        "\n{} {} to {}: {} transactions, {} of log ({} a day), {} messages expunged",
        style.heading("simulated"),
        traffic.from,
        traffic.to,
        traffic.events,
        bytes(traffic.bytes),
        bytes((traffic.bytes as f64 / days.max(1e-9)) as u64),
        traffic.expunged,
    )?;
    if !body.rotations.is_empty() {
        let titles = ["rotated at", "file_seq", "size", "initial_modseq", "reason"];
        let mut table = Table::new(titles, *style).indented(2);
        let skipped = body.rotations.len().saturating_sub(SHOWN);
        for (i, r) in body.rotations.iter().enumerate() {
            if skipped > 0 && i == SHOWN / 2 {
                table.flush(out)?;
                writeln!(out, "  {}", style.dim(&format!("... {skipped} more; all are in --format json")))?;
            }
            if skipped > 0 && (SHOWN / 2..SHOWN / 2 + skipped).contains(&i) {
                continue;
            }
            let numbers = [Cell::number(r.file_seq), Cell::number(r.size), Cell::number(r.initial_modseq)];
            let row = std::iter::once(Cell::text(local(r.at))).chain(numbers).chain([Cell::text(r.reason.name())]);
            table.row(row.collect(), out)?;
        }
        table.flush(out)?;
    }
    let disk =
        body.disk.map(|disk| format!(", logs take {} (at most {})", bytes(disk.mean_bytes), bytes(disk.max_bytes)));
    writeln!(
        out,
        "  {} rotations, .log.2 unlinked {} times, dovecot.index rewritten {} times{}",
        body.rotations.len(),
        body.log2_deletions.len(),
        body.index_rewrites.unwrap_or(0),
        disk.unwrap_or_default(),
    )?;
    if let Some(r) = &body.retention {
        let text = match r.complete {
            true => format!("nothing was ever lost: all {} are covered", span(r.max_seconds)),
            false => format!(
                "min {}, 1 % below {}, median {}, max {}",
                span(r.min_seconds),
                span(r.p1_seconds),
                span(r.median_seconds),
                span(r.max_seconds)
            ),
        };
        writeln!(out, "\n{} {text}", style.heading("retention window"))?;
        if let Some(picture) = picture.filter(|_| !r.complete) {
            picture::chart(picture, out, style)?;
        }
    }
    clients(&body.clients, out, style)?;
    if let Some(cost) = &body.population {
        population(cost, out, style)?;
    }
    Ok(())
}

fn present(now: &Now, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let word = |time: &Option<String>| time.clone().unwrap_or_else(|| "?".into());
    let reach = match now.complete {
        true => "its whole history".to_owned(),
        false => {
            let window = now.window_seconds.map(|window| format!(", {} at least", span(window))).unwrap_or_default();
            let (before, after) = (word(&now.reaches_back_to.not_before), word(&now.reaches_back_to.not_after));
            format!("to a time between {before} and {after}{window}")
        }
    };
    writeln!(
        out,
        "{} HIGHESTMODSEQ {}; the logs reach back to modseq {} ({reach})",
        style.heading("now     "),
        now.highest_modseq,
        now.oldest_modseq,
    )?;
    let next = &now.next_rotation;
    let when = match (&next.at, next.due) {
        (_, true) => "due at the next full sync".to_owned(),
        (Some(at), false) => format!("expected {at}"),
        (None, false) => "not in sight".to_owned(),
    };
    let reason = next.reason.map(|reason| format!(" ({})", reason.name())).unwrap_or_default();
    let drops = match &next.drops {
        Some(file) => format!("drops log {} of {}", file.file_seq, bytes(file.size)),
        None => "drops nothing, for there is no .log.2".to_owned(),
    };
    let loses = next.loses_exactness.map(|m| format!(": clients with modseqs {} to {} lose exactness", m.from, m.to));
    writeln!(out, "{} {when}{reason}; {drops}{}", style.heading("rotation"), loses.unwrap_or_default())?;
    if let Some(expiry) = &now.log2_expiry {
        let loses =
            expiry.loses_exactness.map(|m| format!(": clients with modseqs {} to {} lose exactness", m.from, m.to));
        let when = if expiry.due { "by the next sync" } else { "from then on by the first sync" };
        writeln!(
            out,
            "{} unlinked for its age at {}, {when}{}",
            style.heading(".log.2  "),
            expiry.at,
            loses.unwrap_or_default()
        )?;
    }
    if let (Some(rate), Some(transactions)) = (now.bytes_per_day, now.transactions_per_day) {
        writeln!(
            out,
            "{} {} of log and {transactions:.1} transactions a day",
            style.heading("rate    "),
            bytes(rate as u64)
        )?;
    }
    Ok(())
}

fn clients(clients: &[Client], out: &mut dyn Write, style: &Style) -> io::Result<()> {
    if clients.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let titles = ["away for", "exact answers", "share", "exact", "fallback", "sent"];
    let mut table = Table::new(titles, *style).indented(2);
    for client in clients {
        let bar = client.exact_share.map(|share| "█".repeat((share * 24.0).round() as usize));
        let size = |value: Option<u64>| Cell::optional(value.map(bytes));
        table.row(
            vec![
                Cell::number(span(client.offline_seconds)),
                bar.map_or_else(Cell::nothing, Cell::text),
                Cell::optional(client.exact_share.map(|share| format!("{:.1} %", share * 100.0))),
                size(client.vanished_bytes_exact),
                size(client.vanished_bytes_fallback),
                size(client.vanished_bytes_sent),
            ],
            out,
        )?;
    }
    table.flush(out)
}

pub(super) fn population(cost: &PopulationCost, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    let share = cost.exact_share.map_or("an unknown share".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let sent = cost.vanished_bytes_per_day.map_or("?".to_owned(), |sent| bytes(sent as u64));
    writeln!(
        out,
        "{} {} clients come back {:.1} times a day: {share} exact, {sent} of VANISHED a day",
        style.heading("population"),
        cost.clients,
        cost.reconnects_per_day
    )
}
