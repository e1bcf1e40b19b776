//! Every table: rows of cells, laid out by comfy-table in batches, so that a table of any length takes constant memory.
//!
//! The widths of a batch are lower bounds of those of the next. On a terminal a table is as wide as that: columns of
//! lesser weight are left out, and the last column wraps. Elsewhere each row is one line, however long.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ColumnConstraint, Width};
use unicode_width::UnicodeWidthStr;

use super::Style;

/// Rows that are laid out together.
const BATCH: usize = 256;
/// Spaces between two columns.
const GAP: u16 = 2;
/// A cell that is wider pushes the rest of its row to the right, and counts for no other row.
const WIDEST: usize = 120;
/// Lines of one cell on a terminal; the rest is cut with an ellipsis.
const MOST_LINES: usize = 5;
/// Columns of a terminal that the last column of a table gets at least.
const LEAST_ROOM: u16 = 16;
/// Stands for a cell that is put in when the line is laid out: a tag character, which takes no room.
const LATER: char = '\u{e0002}';

/// What a cell holds, which says how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, a size, a share: flush right.
    Number,
    /// Text of limited length.
    Text,
    /// Lists, objects, sentences: they stand last.
    Long,
    /// Nothing; other cells say what the column is.
    Nothing,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its text, fit for a terminal.
    pub text: String,
    /// What it is.
    pub kind: Kind,
}

impl Cell {
    /// A number with or without a unit.
    pub fn number(value: impl ToString) -> Cell {
        Cell { text: value.to_string(), kind: Kind::Number }
    }

    /// Text of limited length.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), kind: Kind::Text }
    }

    /// A sentence, a list, an object.
    pub fn long(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), kind: Kind::Long }
    }

    /// Nothing, as a dash.
    pub fn nothing() -> Cell {
        Cell { text: "-".into(), kind: Kind::Nothing }
    }

    /// A number, or nothing.
    pub fn optional(value: Option<impl ToString>) -> Cell {
        value.map_or_else(Cell::nothing, Cell::number)
    }
}

/// A table in the making.
#[derive(Debug, Default)]
pub struct Table {
    titles: Vec<String>,
    ranks: Vec<u8>,
    style: Style,
    indent: usize,
    batch: usize,
    waiting: Vec<Vec<Cell>>,
    /// By column, what earlier batches had.
    least: Vec<u16>,
    /// The columns that are shown, in their order, each with whether it is flush right.
    shown: Vec<(usize, bool)>,
    dropped: Vec<bool>,
}

impl Table {
    /// An empty table. Without titles there is no heading.
    pub fn new<T: Into<String>>(titles: impl IntoIterator<Item = T>, style: Style) -> Table {
        let titles: Vec<String> = titles.into_iter().map(Into::into).collect();
        Table { titles, style, batch: BATCH, ..Table::default() }
    }

    /// Rows without a heading, moved in by two.
    pub fn members(style: Style) -> Table {
        Table { indent: 2, ..Table::new([""; 0], style) }
    }

    /// Prints each row at once, for what comes now and then.
    pub fn at_once(self) -> Table {
        Table { batch: 1, ..self }
    }

    /// Moves the table in by so many spaces.
    pub fn indented(self, indent: usize) -> Table {
        Table { indent, ..self }
    }

    /// On a narrow terminal the columns of the highest rank are left out first; those of rank 0 stay.
    pub fn ranked(self, ranks: &[u8]) -> Table {
        Table { ranks: ranks.to_vec(), ..self }
    }

    /// Adds a row: a cell for each column. A column that is empty in all rows of a batch is left out of it.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn row(&mut self, cells: Vec<Cell>, out: &mut dyn Write) -> io::Result<()> {
        self.waiting.push(cells);
        if self.waiting.len() >= self.batch { self.flush(out) } else { Ok(()) }
    }

    /// Writes what is still waiting.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let count = rows.iter().map(Vec::len).max().unwrap_or(0);
        if count == 0 {
            return Ok(());
        }
        self.least.resize(count, 0);
        self.dropped.resize(count, false);
        let before = std::mem::take(&mut self.shown);
        self.shown = self.columns(&rows, count, &before);
        let again = self.shown.iter().map(|(i, _)| i).ne(before.iter().map(|(i, _)| i));
        let mut widths: Vec<u16> = (0..count).map(|i| self.width(&rows, i)).collect();
        self.fit(&mut widths);
        self.least.clone_from(&widths);
        self.print(&rows, &widths, again && !self.titles.is_empty(), out)
    }

    /// The columns of a batch, in their order. What was shown once stays.
    fn columns(&self, rows: &[Vec<Cell>], count: usize, before: &[(usize, bool)]) -> Vec<(usize, bool)> {
        let of = |i: usize| rows.iter().filter_map(move |row| row.get(i));
        let was = |i: usize| before.iter().find(|(column, _)| *column == i);
        let used =
            (0..count).filter(|i| !self.dropped[*i] && (was(*i).is_some() || of(*i).any(|c| !c.text.is_empty())));
        let (mut list, mut long) = (Vec::new(), Vec::new());
        for i in used {
            let has = |kind: Kind| of(i).any(|cell| cell.kind == kind);
            let right = match was(i) {
                Some((_, right)) => *right,
                None => has(Kind::Number) && !has(Kind::Text) && !has(Kind::Long),
            };
            let stays = was(i).is_some_and(|_| before.last().is_some_and(|(last, _)| *last != i));
            if has(Kind::Long) && !stays { long.push((i, right)) } else { list.push((i, right)) }
        }
        list.append(&mut long);
        list
    }

    fn width(&self, rows: &[Vec<Cell>], i: usize) -> u16 {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.text.width());
        let last = self.is_last(i) && self.style.width.is_some();
        let widest = cells.filter(|width| last || *width <= WIDEST).max().unwrap_or(0);
        let title = self.titles.get(i).map_or(0, |title| title.width());
        u16::try_from(widest.max(title)).unwrap_or(u16::MAX).max(self.least[i]).max(1)
    }

    fn is_last(&self, i: usize) -> bool {
        self.shown.last().is_some_and(|(last, _)| *last == i)
    }

    /// Makes the table as narrow as the terminal, as far as that can be.
    fn fit(&mut self, widths: &mut [u16]) {
        let Some(most) = self.style.width else { return };
        loop {
            let Some(&(last, _)) = self.shown.last() else { return };
            let others: usize =
                self.shown.iter().filter(|(i, _)| *i != last).map(|(i, _)| usize::from(widths[*i] + GAP)).sum();
            let room = usize::from(most).saturating_sub(self.indent + others);
            if usize::from(widths[last]) <= room {
                return;
            }
            let room = u16::try_from(room).unwrap_or(u16::MAX);
            let rank = |i: usize| self.ranks.get(i).copied().unwrap_or(0);
            let least = self.shown.iter().map(|(i, _)| *i).filter(|i| rank(*i) > 0).max_by_key(|i| rank(*i));
            match least {
                Some(i) if room < LEAST_ROOM.min(widths[last]) || rank(last) > 0 => {
                    self.dropped[i] = true;
                    self.shown.retain(|(column, _)| *column != i);
                }
                _ => return widths[last] = room.max(LEAST_ROOM.min(widths[last])),
            }
        }
    }

    fn print(&self, rows: &[Vec<Cell>], widths: &[u16], heading: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_truncation_indicator("…");
        if heading {
            table.set_header(self.shown.iter().map(|(i, _)| self.titles.get(*i).map_or("", String::as_str)));
        }
        let mut later: Vec<&str> = Vec::new();
        for row in rows {
            let cells = self.shown.iter().map(|(i, _)| {
                let text = row.get(*i).map_or("", |cell| cell.text.as_str());
                let wraps = self.is_last(*i) && self.style.width.is_some();
                if !wraps && text.width() > usize::from(widths[*i]) {
                    later.push(text);
                    return comfy_table::Cell::new(LATER);
                }
                comfy_table::Cell::new(text)
            });
            let mut cells = comfy_table::Row::from(cells.collect::<Vec<_>>());
            cells.max_height(MOST_LINES);
            table.add_row(cells);
        }
        let last = self.shown.len().saturating_sub(1);
        for (at, ((i, right), column)) in self.shown.iter().zip(table.column_iter_mut()).enumerate() {
            let padding = if at == last { 0 } else { GAP };
            column.set_padding((0, padding));
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(widths[*i].saturating_add(padding))));
            if *right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut later = later.into_iter();
        for (number, line) in table.lines().enumerate() {
            let mut line = line.trim_end().to_owned();
            while let Some(at) = line.find(LATER) {
                let Some(text) = later.next() else { break };
                let rest = line.split_off(at);
                let rest = rest.trim_start_matches(LATER).trim_start_matches(' ');
                let gap = if rest.is_empty() { 0 } else { usize::from(GAP) };
                line = format!("{line}{text}{}{rest}", " ".repeat(gap));
            }
            line.truncate(line.trim_end().len());
            let line = if heading && number == 0 { self.style.heading(&line) } else { self.style.coloured(line) };
            writeln!(out, "{}{line}", " ".repeat(if line.is_empty() { 0 } else { self.indent }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::style::Paint;
    use super::*;

    fn print(table: &mut Table, rows: Vec<Vec<Cell>>) -> String {
        let mut out = Vec::new();
        for row in rows {
            table.row(row, &mut out).expect("memory");
        }
        table.flush(&mut out).expect("memory");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn columns_line_up_and_empty_ones_go() {
        let mut table = Table::new(["NAME", "USER", "N"], Style::default());
        let row = |name: &str, n: u32| vec![Cell::text(name), Cell::text(""), Cell::number(n)];
        let text = print(&mut table, vec![row("INBOX", 7), row("日本語/メール", 120), row("e\u{301}", 1)]);
        assert_eq!(text, "NAME             N\nINBOX            7\n日本語/メール  120\ne\u{301}                1\n");
    }

    #[test]
    fn a_piped_row_is_one_line() {
        let mut table = Table::new(["UID", "DATA", "MODSEQ"], Style::default());
        let row = |uid: u32, data: &str| vec![Cell::number(uid), Cell::long(data), Cell::nothing()];
        let long = "x ".repeat(50_000);
        let text = print(&mut table, vec![row(1, "short"), row(1000, &long)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], [" UID  MODSEQ  DATA", "   1  -       short"]);
        assert_eq!((lines.len(), lines[2].len()), (3, 14 + long.trim_end().len()));
    }

    #[test]
    fn widths_only_grow_and_the_heading_is_said_once() {
        let mut table = Table::new(["N", "NAME"], Style::default());
        let rows = (0..600_u32).map(|n| vec![Cell::number(n), Cell::text("x")]).collect();
        let text = print(&mut table, rows);
        assert_eq!(text.lines().count(), 601);
        assert_eq!(text.matches("NAME").count(), 1);
        assert!(text.ends_with("599  x\n") && text.contains("\n  7  x\n"), "{text}");
    }

    #[test]
    fn a_terminal_is_not_left() {
        let style = Style { width: Some(40), ..Style::default() };
        let mut table = Table::new(["NAME", "SIZE", "TEXT"], style).ranked(&[0, 2, 0]);
        let row = |text: &str| vec![Cell::text("a name of some length"), Cell::number(12), Cell::long(text)];
        let text = print(&mut table, vec![row("these are more words than fit into a line, and more and more of them")]);
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert!(!text.contains("SIZE"), "{text}");
        assert!(text.lines().count() > 3, "{text}");
        let mut table = Table::new(["TEXT"], style);
        let text = print(&mut table, vec![vec![Cell::long("日本 ".repeat(200))]]);
        assert_eq!(text.lines().count(), 1 + MOST_LINES, "{text}");
        assert!(text.ends_with("…\n") && text.lines().all(|line| line.width() <= 40), "{text}");
    }

    #[test]
    fn colours_take_no_room() {
        let style = Style { color: true, ..Style::default() };
        let mut table = Table::members(style);
        let row = |text: String| vec![Cell::text(text), Cell::text("x")];
        let text = print(&mut table, vec![row(style.cell(Paint::Dim, "ab")), row("abc".into())]);
        assert_eq!(text, "  \x1b[2mab\x1b[0m   x\n  abc  x\n");
    }
}
