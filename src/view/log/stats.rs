//! What a history adds up to.

use std::io::{self, Write};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::super::findings::emit as emit_finding;
use crate::check::Finding;
use crate::format::ext::Visit;
use crate::logs::stats::{Count, Stats};
use crate::render::table::{Cell, Table};
use crate::render::text::{local, rfc3339, shown};
use crate::render::{Json, Report, Style, path_text};

/// Statistics of a history as they are shown: what JSON calls a member is what the table has in a column.
#[derive(Serialize)]
pub struct Sums<'s> {
    #[serde(serialize_with = "path_text")]
    path: &'s Path,
    files: Vec<File<'s>>,
    #[serde(flatten)]
    total: Count,
    #[serde(serialize_with = "by_name")]
    types: Vec<Share>,
    #[serde(serialize_with = "by_name")]
    origins: Vec<Share>,
    from: Option<Time>,
    to: Option<Time>,
    bytes_per_hour: Option<u64>,
    hours: Vec<Hour>,
    problems: Vec<serde_json::Value>,
}

/// A log file and its bytes.
#[derive(Serialize)]
struct File<'s> {
    #[serde(serialize_with = "path_text")]
    path: &'s Path,
    size: u64,
}

/// What falls to one name.
#[derive(Serialize)]
struct Share {
    #[serde(skip)]
    name: &'static str,
    #[serde(flatten)]
    count: Count,
    /// Of all bytes, 0 to 1.
    #[serde(serialize_with = "rounded")]
    share: f64,
}

/// What was written in one hour, at the earliest.
#[derive(Serialize)]
struct Hour {
    from: Time,
    #[serde(flatten)]
    count: Count,
}

/// UNIX seconds.
#[derive(Clone, Copy)]
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        rfc3339(self.0).serialize(serializer)
    }
}

fn by_name<S: Serializer>(list: &[Share], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(list.iter().map(|one| (one.name, one)))
}

fn rounded<S: Serializer>(share: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((share * 10_000.0).round() / 10_000.0)
}

impl<'s> Sums<'s> {
    /// What is to be shown of the statistics of the history of `path`.
    pub fn new(path: &'s Path, stats: &'s Stats, problems: &[Finding]) -> Sums<'s> {
        let total = stats.total();
        let share = |(name, count): (&'static str, Count)| {
            let share = if total.bytes == 0 { 0.0 } else { count.bytes as f64 / total.bytes as f64 };
            Share { name, count, share }
        };
        let finding = |finding| {
            let mut json = Json::new();
            json.object_begin("");
            emit_finding(path, finding, &mut json);
            json.object_end();
            serde_json::from_slice(&json.buf).unwrap_or_default()
        };
        Sums {
            path,
            files: stats.files.iter().map(|(path, size)| File { path, size: *size }).collect(),
            total,
            types: stats.types().into_iter().map(share).collect(),
            origins: stats.origins().into_iter().map(share).collect(),
            from: stats.span().map(|(from, _)| Time(from)),
            to: stats.span().map(|(_, to)| Time(to)),
            bytes_per_hour: stats.bytes_per_hour(),
            hours: stats.hours().into_iter().map(|(from, count)| Hour { from: Time(from), count }).collect(),
            problems: problems.iter().map(finding).collect(),
        }
    }
}

impl Report for Sums<'_> {
    const SCHEMA: &'static str = super::SCHEMA;

    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        for File { path, size } in &self.files {
            writeln!(out, "{}  {size} bytes", style.heading(&shown(path)))?;
        }
        let whole = f64::from(u8::from(self.total.bytes > 0));
        let all = [Share { name: "records", count: self.total, share: whole }];
        for (what, list) in [("TYPE", &self.types[..]), ("ORIGIN", &self.origins), ("ALL", &all)] {
            let mut table = Table::new([what, "COUNT", "BYTES", "SHARE"], *style);
            for Share { name, count, share } in list {
                let share = Cell::number(format!("{:.1}%", share * 100.0));
                table.row(vec![Cell::text(*name), Cell::number(count.count), Cell::number(count.bytes), share], out)?;
            }
            table.flush(out)?;
        }
        let (Some(from), Some(to)) = (self.from, self.to) else { return Ok(()) };
        let rate = self.bytes_per_hour.map_or_else(String::new, |rate| format!(": {rate} bytes per hour"));
        writeln!(out, "{} to {}{rate}", local(from.0), local(to.0))?;
        if self.hours.len() > 1 {
            let mut table = Table::new(["HOUR", "COUNT", "BYTES"], *style);
            for Hour { from, count } in self.hours.iter().rev().take(48).rev() {
                let time = local(from.0);
                let hour = Cell::text(time.get(..16).unwrap_or(&time));
                table.row(vec![hour, Cell::number(count.count), Cell::number(count.bytes)], out)?;
            }
            table.flush(out)?;
        }
        Ok(())
    }
}
