//! Reports to text: JSON, lines of JSON, tables. Nothing is decided here, and nothing is read from disk.

pub mod document;
mod hex;
pub mod json;
mod row;
mod style;
pub mod table;
pub mod text;
pub mod units;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::format::ext::Visit;
use crate::format::record::flag;

pub use json::Json;
pub use row::Row;
pub use style::{Paint, Style};
pub use text::Compact;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        if flags & !flag::IMAP != 0 {
            self.number(&format!("{name}_raw"), u64::from(flags));
        }
    }

    /// Members of a place in the logs: `log_file_seq`, and the offset in that file in bytes.
    #[inline(always)]
    fn log_pos(&mut self, log_file_seq: u32, offset: u64) {
        self.number("log_file_seq", u64::from(log_file_seq));
        self.number("offset", offset);
    }

    /// A place in the logs as an object.
    fn position(&mut self, name: &str, log_file_seq: u32, offset: u64) {
        self.object_begin(name);
        self.log_pos(log_file_seq, offset);
        self.object_end();
    }

    /// A set of UIDs, ascending ranges of them, as IMAP writes it: `1:3,7`.
    fn uids(&mut self, name: &str, ranges: &[(u32, u32)]);
}

/// Where pieces of a result go.
pub trait Take {
    /// Takes away what is in `bytes` and leaves it empty.
    ///
    /// # Errors
    /// When it cannot be written.
    fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<()>;
    /// Has all that was taken be seen.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> io::Result<()>;
}

impl Take for &mut dyn Write {
    fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.write_all(bytes)?;
        bytes.clear();
        Ok(())
    }
    fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
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

/// A path, or another name from a file system, in a document made by serde: text, or `{"base64": "..."}` when it is not
/// UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct PathText<'a>(pub &'a Path);

impl Serialize for PathText<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        use serde::ser::SerializeMap;
        let bytes = self.0.as_os_str().as_bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &base64::engine::general_purpose::STANDARD.encode(bytes))?;
                map.end()
            }
        }
    }
}

/// Serializes a path as [`PathText`] does, for `#[serde(serialize_with)]`.
///
/// # Errors
/// Those of the serializer.
pub fn path_text<S: serde::Serializer>(path: impl AsRef<Path>, serializer: S) -> Result<S::Ok, S::Error> {
    PathText(path.as_ref()).serialize(serializer)
}

/// The same for a path that may be absent, as `null`.
///
/// # Errors
/// Those of the serializer.
pub fn optional_path_text<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref().map(PathText).serialize(serializer)
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
