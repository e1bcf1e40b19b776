//! What a simulation says of one mailbox, for people.

use std::io::{self, Write};

use super::body::Body;
use super::now::Now;
use super::picture::{self, Picture};
use super::retention::{Client, PopulationCost};
use super::settings::DAY;
use super::units::{bytes, span};
use crate::render::Style;
use crate::render::text::utc;

/// Rotations that the table shows before it cuts the list short.
const SHOWN: usize = 8;

/// What is said of one mailbox.
pub fn table(body: &Body, picture: Option<&Picture>, out: &mut dyn Write, style: &Style) -> io::Result<()> {
    if let Some(path) = &body.path {
        writeln!(out, "{} {}", style.heading("mailbox "), path.display())?;
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
        let width = body.rotations.iter().map(|r| r.initial_modseq.to_string().len()).max().unwrap_or(0).max(14);
        let head =
            format!("  {:<20}  {:>8}  {:>10}  {:>width$}  reason", "rotated at", "file_seq", "size", "initial_modseq");
        writeln!(out, "{}", style.heading(&head))?;
        let skipped = body.rotations.len().saturating_sub(SHOWN);
        for (i, r) in body.rotations.iter().enumerate() {
            if skipped > 0 && i == SHOWN / 2 {
                writeln!(out, "  {}", style.dim(&format!("... {skipped} more; all are in --format json")))?;
            }
            if skipped > 0 && (SHOWN / 2..SHOWN / 2 + skipped).contains(&i) {
                continue;
            }
            let (at, seq, size, modseq) = (utc(r.at), r.file_seq, r.size, r.initial_modseq);
            writeln!(out, "  {at:<20}  {seq:>8}  {size:>10}  {modseq:>width$}  {}", r.reason.name())?;
        }
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
    let head = format!(
        "{:>10}  {:<24} {:>7}  {:>9} {:>9} {:>9}",
        "away for", "exact answers", "", "exact", "fallback", "sent"
    );
    writeln!(out, "\n{}", style.heading(&head))?;
    let cell = |value: Option<u64>| value.map_or("-".to_owned(), bytes);
    for client in clients {
        let (bar, share) = match client.exact_share {
            None => (String::new(), "-".to_owned()),
            Some(share) => ("█".repeat((share * 24.0).round() as usize), format!("{:.1} %", share * 100.0)),
        };
        writeln!(
            out,
            "{:>10}  {bar:<24} {share:>7}  {:>9} {:>9} {:>9}",
            span(client.offline_seconds),
            cell(client.vanished_bytes_exact),
            cell(client.vanished_bytes_fallback),
            cell(client.vanished_bytes_sent),
        )?;
    }
    Ok(())
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
