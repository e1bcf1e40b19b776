//! What a history adds up to.

use std::io::{self, Write};
use std::path::Path;

use super::super::findings::emit as emit_finding;
use super::SCHEMA;
use crate::check::Finding;
use crate::format::ext::Visit;
use crate::logs::stats::{Count, Stats};
use crate::render::table::{Cell, Table};
use crate::render::text::{local, rfc3339, shown};
use crate::render::{Format, Json, PathText, Style, line};

/// A finding as a value.
fn json_of(path: &Path, finding: &Finding) -> serde_json::Value {
    let mut json = Json::new();
    json.object_begin("");
    emit_finding(path, finding, &mut json);
    json.object_end();
    serde_json::from_slice(&json.buf).unwrap_or_default()
}

/// Prints statistics.
///
/// # Errors
/// When `out` cannot be written to.
pub fn stats(
    path: &Path,
    stats: &Stats,
    problems: &[Finding],
    format: Format,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let total = stats.total();
    let share = |count: Count| if total.bytes == 0 { 0.0 } else { count.bytes as f64 / total.bytes as f64 };
    let span_of = stats.span();
    if format != Format::Table {
        let counts = |list: &[(&str, Count)]| -> serde_json::Value {
            list.iter()
                .map(|(name, count)| {
                    let share = (share(*count) * 10_000.0).round() / 10_000.0;
                    (
                        (*name).to_owned(),
                        serde_json::json!({"count": count.count, "bytes": count.bytes, "share": share}),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let file = |path: &Path| serde_json::to_value(PathText(path)).unwrap_or_default();
        let files = stats.files.iter().map(|(path, size)| serde_json::json!({"path": file(path), "size": size}));
        let hours = stats.hours();
        let hours = hours.iter().map(
            |(hour, count)| serde_json::json!({"from": rfc3339(*hour), "count": count.count, "bytes": count.bytes}),
        );
        let document = serde_json::json!({
            "path": file(path),
            "files": files.collect::<Vec<_>>(),
            "count": total.count,
            "bytes": total.bytes,
            "types": counts(&stats.types()),
            "origins": counts(&stats.origins()),
            "from": span_of.map(|(from, _)| rfc3339(from)),
            "to": span_of.map(|(_, to)| rfc3339(to)),
            "bytes_per_hour": stats.bytes_per_hour(),
            "hours": hours.collect::<Vec<_>>(),
            "problems": problems.iter().map(|finding| json_of(path, finding)).collect::<Vec<_>>(),
        });
        return line(out, SCHEMA, &document);
    }
    for (path, size) in &stats.files {
        writeln!(out, "{}  {size} bytes", style.heading(&shown(path)))?;
    }
    let numbers = |count: Count| vec![Cell::number(count.count), Cell::number(count.bytes)];
    for (what, list) in [("TYPE", stats.types()), ("ORIGIN", stats.origins().to_vec()), ("ALL", vec![("", total)])] {
        let mut table = Table::new([what, "COUNT", "BYTES", "SHARE"], style);
        for (name, count) in list {
            let mut row = numbers(count);
            row.insert(0, Cell::text(if name.is_empty() { "records" } else { name }));
            row.push(Cell::number(format!("{:.1}%", share(count) * 100.0)));
            table.row(row, out)?;
        }
        table.flush(out)?;
    }
    if let Some((from, to)) = span_of {
        let rate = stats.bytes_per_hour().map_or_else(String::new, |rate| format!(": {rate} bytes per hour"));
        writeln!(out, "{} to {}{rate}", local(from), local(to))?;
        let hours = stats.hours();
        if hours.len() > 1 {
            let mut table = Table::new(["HOUR", "COUNT", "BYTES"], style);
            for (hour, count) in hours.iter().rev().take(48).rev() {
                let time = local(*hour);
                let mut row = numbers(*count);
                row.insert(0, Cell::text(time.get(..16).unwrap_or(&time)));
                table.row(row, out)?;
            }
            table.flush(out)?;
        }
    }
    Ok(())
}
