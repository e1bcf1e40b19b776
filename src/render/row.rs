//! The members of one object as the cells of a row. What a cell holds says how it is set.

use std::io::{self, Write};

use super::style::Paint;
use super::table::{Kind, Table};
use super::text::{Compact, pieces};
use super::{Emit, Style, Take};
use crate::format::ext::Visit;

/// Bytes of a row that are kept to be laid out. What goes beyond is written as it comes, to the end of the line; on a
/// terminal, where a cell has a few lines, it is left out.
const LONG: usize = 64 << 10;
/// Bytes of a value that are written in one go.
const PIECE: usize = 8 << 10;
/// Bytes of rows that are passed on in one go.
const FLUSH: usize = 128 << 10;

/// Collects the members of one object as a row of cells: one text after the other in one line.
#[derive(Default)]
pub struct Row<'w> {
    line: Compact,
    /// The end of each cell in the line.
    cells: Vec<(usize, Kind)>,
    /// The names of the cells, and behind them those of an earlier row.
    names: Vec<String>,
    renamed: bool,
    depth: usize,
    lines: Option<Lines<'w>>,
    /// The row became too long: it has been written but for what is in the line, and what comes follows it.
    open: bool,
    /// The outermost value that is being written has its brackets.
    bracketed: bool,
}

/// Where rows go.
struct Lines<'w> {
    table: Table,
    /// Each cell is a row of its own, behind its name.
    members: bool,
    style: Style,
    out: Vec<u8>,
    to: &'w mut dyn Take,
    error: Option<io::Error>,
}

impl Lines<'_> {
    fn pass(&mut self) {
        match self.error {
            None if self.out.is_empty() => {}
            None => self.error = self.to.take(&mut self.out).err(),
            Some(_) => self.out.clear(),
        }
    }

    /// Has a row laid out; where it is `open`, without its last cell and the line's end. Writing to memory cannot fail.
    fn row(&mut self, names: &[String], renamed: bool, line: &str, ends: &[(usize, Kind)], open: bool) {
        let whole = ends.len() - usize::from(open);
        let mut cells = cells(line, ends);
        if self.members {
            let names = names.iter().map(|name| self.style.cell(Paint::Dim, name));
            for (name, text) in names.zip(cells.by_ref().map(Some).take(whole).chain([None])).take(ends.len()) {
                let name = (name.as_str(), Kind::Text);
                let _ = match text {
                    Some((text, _)) => self.table.cells([name, (text, Kind::Long)].into_iter(), &mut self.out),
                    None => self.table.open(std::iter::once(name), &mut self.out),
                };
            }
            return;
        }
        if renamed {
            let _ = self.table.flush(&mut self.out);
            self.table = Table::new(names.iter().take(ends.len()).map(|name| name.to_uppercase()), self.style);
        }
        let _ = match open {
            true => self.table.open(cells.take(whole), &mut self.out),
            false => self.table.cells(cells, &mut self.out),
        };
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        if self.out.len() >= FLUSH {
            self.pass();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The cells of a line that end there.
fn cells<'l>(line: &'l str, ends: &'l [(usize, Kind)]) -> impl Iterator<Item = (&'l str, Kind)> {
    let mut from = 0;
    ends.iter().map(move |(end, kind)| {
        let text = line.get(from..*end).unwrap_or_default();
        from = *end;
        (text, *kind)
    })
}

impl<'w> Row<'w> {
    /// Rows of tables: a new one begins where the names of the cells change.
    pub(super) fn lines(style: Style, to: &'w mut dyn Take) -> Row<'w> {
        let lines = Lines { table: Table::default(), members: false, style, out: Vec::new(), to, error: None };
        Row { lines: Some(lines), ..Row::default() }
    }

    /// Members below each other, each behind its name.
    pub(super) fn members(style: Style, to: &'w mut dyn Take) -> Row<'w> {
        let lines = Lines { table: Table::members(style), members: true, style, out: Vec::new(), to, error: None };
        Row { lines: Some(lines), ..Row::default() }
    }

    /// Adds a cell; inside one, a member of it.
    fn cell(&mut self, name: &str, kind: Kind, write: impl FnOnce(&mut Compact, &str)) {
        if self.depth > 0 || self.is_behind() {
            write(&mut self.line, name);
        } else {
            self.line.start();
            write(&mut self.line, "");
            self.close(name, kind);
        }
        self.make_room();
    }

    /// More of the value that was begun last.
    fn more(&mut self, write: impl FnOnce(&mut Compact)) {
        write(&mut self.line);
        if self.depth == 0
            && !self.open
            && let Some((end, _)) = self.cells.last_mut()
        {
            *end = self.line.line.len();
        }
        self.make_room();
    }

    /// Whether the next cell has no place of its own because one before it was too long. Then it follows with its name.
    fn is_behind(&mut self) -> bool {
        if self.open && self.lines.as_ref().is_some_and(|lines| lines.members) {
            self.end_row();
        }
        if self.open {
            self.line.line.push_str("  ");
            self.line.start();
        }
        self.open
    }

    fn close(&mut self, name: &str, kind: Kind) {
        let at = self.cells.len();
        match self.names.get_mut(at) {
            Some(before) if before == name => {}
            Some(before) => {
                name.clone_into(before);
                self.renamed = true;
            }
            None => {
                self.names.push(name.to_owned());
                self.renamed = true;
            }
        }
        self.cells.push((self.line.line.len(), kind));
    }

    /// The outermost brackets say nothing that the column does not say.
    fn begin(&mut self, name: &str, write: impl FnOnce(&mut Compact, &str)) {
        if self.depth > 0 {
            write(&mut self.line, name);
        } else if self.is_behind() {
            write(&mut self.line, name);
            self.bracketed = true;
        } else {
            self.line.start();
            self.close(name, Kind::Long);
        }
        self.depth += 1;
    }

    fn end(&mut self, write: impl FnOnce(&mut Compact)) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 || std::mem::take(&mut self.bracketed) {
            write(&mut self.line);
            return self.make_room();
        }
        if self.open {
            return;
        }
        if let Some((end, _)) = self.cells.last_mut() {
            if *end == self.line.line.len() {
                self.line.line.push('-');
            }
            *end = self.line.line.len();
        }
    }

    #[inline]
    fn make_room(&mut self) {
        if self.line.line.len() >= LONG {
            self.pass();
        }
    }

    /// Writes a row that has become too long to be laid out, as far as it has come.
    #[cold]
    fn pass(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let before = self.cells.len().checked_sub(2).and_then(|before| self.cells.get(before));
        let from = before.map_or(0, |(end, _)| *end);
        let line = &mut self.line.line;
        if lines.style.width.is_some() {
            if line.len() > from + LONG {
                line.truncate((from..=from + LONG).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(from));
                line.push('…');
                self.cells.iter_mut().for_each(|(end, _)| *end = line.len().min(*end));
            }
            return;
        }
        if !self.open {
            let text = line.split_off(from);
            lines.row(&self.names, self.renamed, line, &self.cells, true);
            *line = text;
            self.open = true;
            if lines.members {
                self.cells.clear();
            }
        }
        lines.out.extend_from_slice(line.as_bytes());
        line.clear();
        lines.pass();
    }

    /// Ends a row, or the members.
    pub(super) fn end_row(&mut self) {
        let renamed = self.renamed || self.names.len() != self.cells.len();
        if let Some(lines) = &mut self.lines {
            if std::mem::take(&mut self.open) {
                lines.out.extend_from_slice(self.line.line.as_bytes());
                lines.out.push(b'\n');
            } else {
                lines.row(&self.names, renamed, &self.line.line, &self.cells, false);
            }
            if lines.out.len() >= FLUSH {
                lines.pass();
            }
        }
        self.line.line.clear();
        self.names.truncate(self.cells.len());
        self.cells.clear();
        self.renamed = false;
    }

    /// Writes a value alone in its line.
    pub(super) fn value(&mut self, write: impl FnOnce(&mut Self)) {
        self.flush_table();
        self.open = true;
        write(self);
        self.end_row();
    }

    /// Shows bytes that have no meaning.
    pub(super) fn plain(&mut self, offset: u64, bytes: &[u8]) {
        self.flush_table();
        if let Some(lines) = &mut self.lines {
            let style = lines.style;
            let _ = super::hex::plain(offset, bytes, &style, lines);
        }
    }

    fn flush_table(&mut self) {
        if let Some(lines) = &mut self.lines {
            let _ = lines.table.flush(&mut lines.out);
        }
    }

    /// Whether all that was written could be.
    pub(super) fn outcome(&mut self) -> io::Result<()> {
        self.lines.as_mut().and_then(|lines| lines.error.take()).map_or(Ok(()), Err)
    }

    /// Writes what is still waiting.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.flush_table();
        self.lines.iter_mut().for_each(Lines::pass);
        self.outcome()
    }

    /// Writes what is still waiting, and has it be seen.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.finish()?;
        self.lines.as_mut().map_or(Ok(()), |lines| lines.to.flush())
    }

    /// The cells with their names.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(String::as_str).zip(cells(&self.line.line, &self.cells).map(|(text, _)| text))
    }
}

impl Visit for Row<'_> {
    fn number(&mut self, name: &str, value: u64) {
        self.cell(name, Kind::Number, |out, name| out.number(name, value));
    }
    fn time(&mut self, name: &str, value: u64) {
        self.cell(name, Kind::Text, |out, name| out.time(name, value));
    }
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        self.cell(name, Kind::Text, |out, name| out.bits(name, value, names));
    }
    fn signed(&mut self, name: &str, value: i64) {
        self.cell(name, Kind::Number, |out, name| out.signed(name, value));
    }
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE));
        self.cell(name, Kind::Text, |out, name| out.hex(name, first));
        rest.chunks(PIECE).for_each(|piece| self.more(|out| out.more_hex(piece)));
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        let stands_alone = |name: &str| name.is_empty();
        let top = self.depth == 0;
        if bytes.len() <= PIECE {
            return self.cell(name, Kind::Text, |out, name| match top && stands_alone(name) {
                true => out.plain(bytes),
                false => out.text(name, bytes),
            });
        }
        let mut quoted = false;
        self.cell(name, Kind::Text, |out, name| {
            quoted = !top || !stands_alone(name);
            out.begin_text(name, quoted);
        });
        pieces(bytes, PIECE, true).for_each(|piece| self.more(|out| out.more_text(piece, quoted)));
        if quoted {
            self.more(|out| out.line.push('"'));
        }
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

impl Emit for Row<'_> {
    fn boolean(&mut self, name: &str, value: bool) {
        self.cell(name, Kind::Text, |out, name| out.boolean(name, value));
    }
    fn null(&mut self, name: &str) {
        self.cell(name, Kind::Nothing, |out, name| out.null(name));
    }
    fn absent(&mut self, name: &str) {
        if self.depth == 0 && !self.open {
            self.null(name);
        }
    }
    fn uids(&mut self, name: &str, ranges: &[(u32, u32)]) {
        let (first, rest) = ranges.split_at(ranges.len().min(PIECE / 16));
        self.cell(name, Kind::Text, |out, name| out.uids(name, first));
        rest.chunks(PIECE / 16).for_each(|piece| self.more(|out| out.more_uids(piece, false)));
    }
    fn flags(&mut self, name: &str, flags: u8) {
        self.cell(name, Kind::Text, |out, name| out.flags(name, flags));
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::local_of;
    use super::*;

    #[test]
    fn rows_keep_their_columns() {
        let mut row = Row::default();
        row.number("uid", 3);
        row.time("create_stamp", 1);
        row.object_begin("ext");
        row.number("modseq", 6);
        row.list_begin("names");
        row.list_end();
        row.object_end();
        row.list_begin("none");
        row.list_end();
        // The table says it in the local zone.
        let time = format!("1{}", local_of(1).expect("a time"));
        let all: Vec<(&str, Kind)> = cells(&row.line.line, &row.cells).collect();
        assert_eq!(
            all,
            [("3", Kind::Number), (time.as_str(), Kind::Text), ("modseq=6 names=[]", Kind::Long), ("-", Kind::Long)]
        );
        assert_eq!(row.names, ["uid", "create_stamp", "ext", "none"]);
        assert!(row.renamed);
        row.end_row();
        row.number("uid", 4);
        row.end_row();
        assert!(!row.renamed);
        row.number("uid", 5);
        assert!(!row.renamed);
    }

    /// What rows of a table look like.
    fn printed(style: Style, members: bool, write: impl FnOnce(&mut Row<'_>)) -> String {
        let mut text = Vec::new();
        let mut to: &mut dyn Write = &mut text;
        let mut row = if members { Row::members(style, &mut to) } else { Row::lines(style, &mut to) };
        write(&mut row);
        row.finish().expect("memory");
        drop(row);
        String::from_utf8(text).expect("UTF-8")
    }

    fn long_row(row: &mut Row<'_>, n: u64, count: usize) {
        row.number("uid", n);
        row.list_begin("data");
        (0..count).for_each(|i| row.number("", i as u64));
        row.list_end();
        row.text("error", b"none at all");
        row.end_row();
    }

    #[test]
    fn a_long_row_says_what_a_short_one_says() {
        let numbers: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        let text = printed(Style::default(), false, |row| {
            long_row(row, 1, 2);
            long_row(row, 20, numbers.len());
            long_row(row, 3, 0);
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["UID  ERROR        DATA", "  1  none at all  0 1"]);
        assert!(lines[2].starts_with(" 20"), "{}", &lines[2][..40]);
        let long = format!("{}  error=\"none at all\"", numbers.join(" "));
        assert!(lines[2].trim_start_matches(" 20").trim_start() == long);
        assert_eq!(lines[3..], ["UID  ERROR        DATA", "  3  none at all  -"]);
        let text = printed(Style::default(), true, |row| {
            row.number("uid", 7);
            row.uids("vanished", &(0..20_000).map(|n| (n * 2 + 1, n * 2 + 1)).collect::<Vec<_>>());
            row.hex("hash", &[0xab; 50_000]);
            row.text("name", "é \"".repeat(30_000).as_bytes());
            row.boolean("complete", true);
            row.end_row();
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[4]), (5, "  uid       7", "  complete  yes"));
        assert!(lines[1].starts_with("  vanished  1,3,5,") && lines[1].ends_with(",39997,39999"));
        assert!(lines[2] == format!("  hash      {}", "ab".repeat(50_000)), "{} {}", lines[2].len(), &lines[2][..40]);
        assert!(lines[3] == format!("  name      {}", "é \"".repeat(30_000)));
    }

    #[test]
    fn a_terminal_gets_the_beginning() {
        let style = Style { width: Some(80), ..Style::default() };
        let text = printed(style, false, |row| long_row(row, 1, 100_000));
        assert!(text.contains("none at all") && text.contains('…'), "{text}");
        assert!(text.lines().count() < 8, "{text}");
    }
}
