//! Text for people: compact one-line values, and rows whose columns line up without knowing what comes next.

use std::io::{self, Write};

use super::Emit;
use crate::format::ext::Visit;

/// Whether and how to colour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A heading.
    pub fn heading(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something wrong.
    pub fn error(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something doubtful.
    pub fn warning(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Something of lesser weight.
    pub fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Makes bytes safe for a terminal: control characters and what is not UTF-8 are shown escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// UNIX seconds as a UTC time, `2026-11-23 03:52:08Z`.
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |t| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// UNIX seconds as RFC 3339 in UTC, `2026-11-23T03:52:08Z`.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |time| time.to_string())
}

/// Field names whose numbers are UNIX times.
fn is_stamp(name: &str) -> bool {
    matches!(
        name,
        "create_stamp"
            | "log2_rotate_time"
            | "last_temp_file_scan"
            | "day_stamp"
            | "timestamp"
            | "last_used"
            | "save_date"
    ) || name.starts_with("date.")
        || name.ends_with("_mtime")
        || name.ends_with("_check_time")
}

/// Collects a value as one line: `uid=3 flags=[\Seen] data={...}`.
#[derive(Debug, Default)]
pub struct Compact {
    /// The line so far.
    pub line: String,
    space: bool,
}

impl Compact {
    fn key(&mut self, name: &str) {
        if self.space {
            self.line.push(' ');
        }
        self.space = true;
        if !name.is_empty() {
            self.line.push_str(name);
            self.line.push('=');
        }
    }

    fn raw(&mut self, name: &str, text: &str) {
        self.key(name);
        self.line.push_str(text);
    }
}

impl Visit for Compact {
    fn number(&mut self, name: &str, value: u64) {
        self.raw(name, itoa::Buffer::new().format(value));
        if is_stamp(name) && value != 0 && value < u64::from(u32::MAX) {
            self.line.push_str(&format!(" ({})", utc(i64::try_from(value).unwrap_or(0))));
        }
    }
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        let names: Vec<&str> =
            names.iter().filter(|(bit, _)| value & u64::from(*bit) != 0).map(|(_, text)| *text).collect();
        self.raw(name, &format!("{}(0x{value:02x})", names.join("|")));
    }
    fn signed(&mut self, name: &str, value: i64) {
        self.raw(name, itoa::Buffer::new().format(value));
    }
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        self.raw(name, if text.is_empty() { "-" } else { &text });
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        let text = printable(bytes);
        let quoted = text.is_empty() || text.contains([' ', '"', '=', '{', '[']);
        self.raw(name, &if quoted { format!("\"{}\"", text.replace('"', "\\\"")) } else { text });
    }
    fn object_begin(&mut self, name: &str) {
        self.raw(name, "{");
        self.space = false;
    }
    fn object_end(&mut self) {
        self.line.push('}');
        self.space = true;
    }
    fn list_begin(&mut self, name: &str) {
        self.raw(name, "[");
        self.space = false;
    }
    fn list_end(&mut self) {
        self.line.push(']');
        self.space = true;
    }
}

impl Emit for Compact {
    fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "yes" } else { "no" });
    }
    fn null(&mut self, name: &str) {
        self.raw(name, "-");
    }
    fn flags(&mut self, name: &str, flags: u8) {
        self.raw(name, &flag_text(flags));
    }
}

/// Flags as `\Seen \Flagged (0x0a)`; `-` when there is none.
pub fn flag_text(flags: u8) -> String {
    if flags == 0 {
        return "-".into();
    }
    let names: Vec<&str> =
        crate::format::record::flag::NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let sep = if names.is_empty() { "" } else { " " };
    format!("{}{sep}(0x{flags:02x})", names.join(" "))
}

/// Collects the members of one object as a row of cells.
#[derive(Debug, Default)]
pub struct Row {
    cells: Vec<(String, String)>,
    inner: Compact,
    depth: usize,
    open: String,
}

impl Row {
    fn cell(&mut self, name: &str, write: impl FnOnce(&mut Compact)) {
        if self.depth > 0 {
            return write(&mut self.inner);
        }
        let mut value = Compact::default();
        write(&mut value);
        self.cells.push((name.to_owned(), value.line));
    }

    fn name<'n>(&self, name: &'n str) -> &'n str {
        if self.depth == 0 { "" } else { name }
    }

    fn begin(&mut self, name: &str, write: impl FnOnce(&mut Compact, &str)) {
        if self.depth == 0 {
            self.inner = Compact::default();
            self.open = name.to_owned();
        }
        let inner_name = self.name(name).to_owned();
        write(&mut self.inner, &inner_name);
        self.depth += 1;
    }

    fn end(&mut self, write: impl FnOnce(&mut Compact)) {
        write(&mut self.inner);
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            let line = std::mem::take(&mut self.inner.line);
            // The outermost brackets say nothing that the column does not say.
            let bare = line
                .strip_prefix(['[', '{'])
                .and_then(|l| l.strip_suffix([']', '}']))
                .map(str::to_owned)
                .unwrap_or(line);
            self.cells.push((std::mem::take(&mut self.open), if bare.is_empty() { "-".into() } else { bare }));
        }
    }

    /// The cells collected, name and text.
    pub fn take(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.cells)
    }
}

impl Visit for Row {
    fn number(&mut self, name: &str, value: u64) {
        let stamp = if self.depth == 0 && !is_stamp(name) { "" } else { name };
        let key = self.name(name).to_owned();
        self.cell(name, |out| {
            out.number(if key.is_empty() { "" } else { stamp }, value);
            if key.is_empty() && is_stamp(stamp) && value != 0 && value < u64::from(u32::MAX) {
                out.line.push_str(&format!(" ({})", utc(i64::try_from(value).unwrap_or(0))));
            }
        });
    }
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.bits(&key, value, names));
    }
    fn signed(&mut self, name: &str, value: i64) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.signed(&key, value));
    }
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.hex(&key, bytes));
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        let key = self.name(name).to_owned();
        let top = self.depth == 0;
        self.cell(name, |out| if top { out.line.push_str(&printable(bytes)) } else { out.text(&key, bytes) });
    }
    fn object_begin(&mut self, name: &str) {
        self.begin(name, |out, name| out.object_begin(name));
    }
    fn object_end(&mut self) {
        self.end(Compact::object_end);
    }
    fn list_begin(&mut self, name: &str) {
        self.begin(name, |out, name| out.list_begin(name));
    }
    fn list_end(&mut self) {
        self.end(Compact::list_end);
    }
}

impl Emit for Row {
    fn boolean(&mut self, name: &str, value: bool) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.boolean(&key, value));
    }
    fn null(&mut self, name: &str) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.null(&key));
    }
    fn absent(&mut self, name: &str) {
        if self.depth == 0 {
            self.null(name);
        }
    }
    fn flags(&mut self, name: &str, flags: u8) {
        let key = self.name(name).to_owned();
        self.cell(name, |out| out.flags(&key, flags));
    }
}

/// Rows looked at before the columns get their widths.
const LOOK_AHEAD: usize = 64;
/// No column is made wider than this; a longer value pushes the rest of its row to the right.
const WIDEST: usize = 40;

/// Prints rows in columns. Widths come from the first rows; the heading is printed again when the columns change.
#[derive(Debug, Default)]
pub struct Columns {
    names: Vec<String>,
    widths: Vec<usize>,
    held: Vec<Vec<String>>,
}

impl Columns {
    /// Takes one row; it is printed now or with a later one.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn row(&mut self, cells: Vec<(String, String)>, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        if !cells.iter().map(|(name, _)| name).eq(&self.names) {
            self.flush(style, out)?;
            self.names = cells.iter().map(|(name, _)| name.clone()).collect();
            self.widths.clear();
        }
        let row: Vec<String> = cells.into_iter().map(|(_, text)| text).collect();
        if self.widths.is_empty() {
            self.held.push(row);
            return if self.held.len() < LOOK_AHEAD { Ok(()) } else { self.flush(style, out) };
        }
        writeln!(out, "{}", self.line(&row))
    }

    /// Prints the rows that are held back.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn flush(&mut self, style: &Style, out: &mut dyn Write) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        self.widths = (0..self.names.len())
            .map(|i| {
                let widest = held.iter().filter_map(|row| row.get(i)).map(|text| text.chars().count()).max();
                widest.unwrap_or(0).clamp(self.names[i].len(), WIDEST.max(self.names[i].len()))
            })
            .collect();
        let heading: Vec<String> = self.names.iter().map(|name| name.to_uppercase()).collect();
        writeln!(out, "{}", style.heading(&self.line(&heading)))?;
        held.iter().try_for_each(|row| writeln!(out, "{}", self.line(row)))
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for ((name, text), width) in self.names.iter().zip(row).zip(&self.widths) {
            let pad = width.saturating_sub(text.chars().count());
            let right = NUMBERS.contains(&name.as_str());
            if right {
                line.extend(std::iter::repeat_n(' ', pad));
            }
            line.push_str(text);
            if !right {
                line.extend(std::iter::repeat_n(' ', pad));
            }
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Columns of numbers, set to the right.
const NUMBERS: [&str; 14] = [
    "seq",
    "uid",
    "offset",
    "prev_offset",
    "size",
    "modseq",
    "hdr_size",
    "reset_id",
    "record_offset",
    "record_size",
    "record_align",
    "n",
    "createseq",
    "log_file_seq",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_one_line() {
        let mut out = Compact::default();
        out.number("uid", 3);
        out.flags("flags", 0x88);
        out.list_begin("names");
        out.text("", b"a b");
        out.text("", b"c\x1b");
        out.list_end();
        assert_eq!(out.line, "uid=3 flags=\\Seen (0x88) names=[\"a b\" \"c\\u{1b}\"]");
    }

    #[test]
    fn rows_keep_their_columns() {
        let mut row = Row::default();
        row.number("uid", 3);
        row.number("create_stamp", 1);
        row.object_begin("ext");
        row.number("modseq", 6);
        row.object_end();
        let cells = row.take();
        assert_eq!(cells[1].1, "1 (1970-01-01 00:00:01Z)");
        assert_eq!(cells[2], ("ext".to_owned(), "modseq=6".to_owned()));
    }

    #[test]
    fn columns_get_the_width_of_what_is_in_them() {
        let mut columns = Columns::default();
        let mut out = Vec::new();
        for (uid, name) in [("1", "a"), ("1000", "long name")] {
            let cells = vec![("uid".into(), uid.into()), ("name".into(), name.into()), ("x".into(), "y".into())];
            columns.row(cells, &Style::default(), &mut out).expect("memory");
        }
        columns.flush(&Style::default(), &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text, " UID  NAME       X\n   1  a          y\n1000  long name  y\n");
    }
}
