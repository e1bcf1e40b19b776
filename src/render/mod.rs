//! Reports to text: JSON, lines of JSON, tables. Nothing is decided here, and nothing is read from disk.

pub mod document;
pub mod findings;
pub mod grid;
pub mod json;
pub mod log;
pub mod plot;
pub mod text;

use std::io::{self, Write};

use serde::Serialize;

use crate::format::ext::Visit;
use crate::format::record::flag;

pub use json::Json;
pub use text::{Compact, Row, Style};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Ndjson,
}

/// A [`Visit`] that also takes the few things that only reports have.
pub trait Emit: Visit {
    /// A truth value.
    fn boolean(&mut self, name: &str, value: bool);
    /// Nothing there.
    fn null(&mut self, name: &str);
    /// A member that this item lacks: a table keeps its column, JSON leaves it out.
    fn absent(&mut self, name: &str) {
        let _ = name;
    }

    /// System flags: an array of IMAP names, and `<name>_raw` when the byte has bits without a name.
    fn flags(&mut self, name: &str, flags: u8) {
        self.list_begin(name);
        for (bit, text) in flag::NAMES {
            if flags & bit != 0 {
                self.text("", text.as_bytes());
            }
        }
        self.list_end();
    }
}

/// A report that fits in memory.
pub trait Report: Serialize {
    /// `idx.<verb>/1`.
    const SCHEMA: &'static str;

    /// Prints the report for people.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    fn table(&self, out: &mut dyn Write, style: &Style) -> io::Result<()>;

    /// Prints the report as lines of JSON. Reports with a list print one line for each element.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    fn lines(&self, out: &mut dyn Write) -> io::Result<()>
    where
        Self: Sized,
    {
        line(out, Self::SCHEMA, self)
    }
}

/// A document with its schema in front.
#[derive(Serialize)]
struct Document<'a, T: Serialize> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

/// Writes one JSON object with its schema on a line of its own.
///
/// # Errors
/// When `out` cannot be written to.
pub fn line<T: Serialize>(mut out: &mut dyn Write, schema: &'static str, body: &T) -> io::Result<()> {
    serde_json::to_writer(&mut out, &Document { schema, body })?;
    out.write_all(b"\n")
}

/// Prints a report in the wanted format.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print<R: Report>(report: &R, format: Format, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => report.table(out, style),
        Format::Json => line(out, R::SCHEMA, report),
        Format::Ndjson => report.lines(out),
    }
}
