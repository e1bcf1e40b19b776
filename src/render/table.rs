//! Every table: rows of cells, laid out by comfy-table in batches, so that a table of any length takes constant memory.
//! It is asked once for each set of widths where the columns stand, and for each text that has to be wrapped: a row
//! whose cells fit is put into those places, at a tenth of what a row of comfy-table's costs.
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
/// Bytes of text that are laid out together.
const MOST_TEXT: usize = 1 << 20;
/// Columns of a terminal that the last column of a table gets at least.
const LEAST_ROOM: u16 = 16;
/// Stands for a cell in the row that has the columns laid out.
const PLACE: char = '.';

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
    waiting: Waiting,
    /// By column, what earlier batches had.
    least: Vec<u16>,
    /// The columns that are shown, in their order, each with whether it is flush right.
    shown: Vec<(usize, bool)>,
    dropped: Vec<bool>,
    /// Where the columns stood in the last batch, and its widths.
    form: Option<(Vec<u16>, Form)>,
}

/// Rows that wait to be laid out: one text after the other, so that a cell costs no memory of its own.
#[derive(Debug, Default)]
struct Waiting {
    text: String,
    cells: Vec<Slot>,
    /// The end of each row in `cells`.
    rows: Vec<usize>,
}

/// A cell that waits.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where its text begins and ends.
    from: usize,
    to: usize,
    /// The columns of a terminal that it takes.
    width: usize,
    kind: Kind,
}

impl Waiting {
    fn push(&mut self, text: &str, kind: Kind) {
        let from = self.text.len();
        self.text.push_str(text);
        self.cells.push(Slot { from, to: self.text.len(), width: width_of(text), kind });
    }

    fn row(&self, n: usize) -> &[Slot] {
        let from = n.checked_sub(1).map_or(0, |before| self.rows[before]);
        &self.cells[from..self.rows[n]]
    }

    fn iter(&self) -> impl Iterator<Item = &[Slot]> + Clone {
        (0..self.rows.len()).map(|n| self.row(n))
    }

    fn text(&self, slot: &Slot) -> &str {
        self.text.get(slot.from..slot.to).unwrap_or_default()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
        self.rows.clear();
    }
}

/// The columns of a terminal that a text takes.
fn width_of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// What comfy-table makes of a heading and of a row of the given widths: each row whose cells fit is put into it.
#[derive(Debug, Default)]
struct Form {
    heading: String,
    /// Of each column that is shown, where its first character stands, or its last where it is flush right.
    places: Vec<usize>,
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
        self.cells(cells.iter().map(|cell| (cell.text.as_str(), cell.kind)), out)
    }

    /// Adds a row as [`row`](Self::row) does, of texts that are kept elsewhere.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn cells<'c>(&mut self, cells: impl Iterator<Item = (&'c str, Kind)>, out: &mut dyn Write) -> io::Result<()> {
        cells.for_each(|(text, kind)| self.waiting.push(text, kind));
        self.waiting.rows.push(self.waiting.cells.len());
        let is_full = self.waiting.rows.len() >= self.batch || self.waiting.text.len() >= MOST_TEXT;
        if is_full { self.flush(out) } else { Ok(()) }
    }

    /// Writes what is still waiting and the cells of a row before a last one that is too long to be laid out: its text
    /// follows, written by the caller, who also ends the line.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub(super) fn open<'c>(
        &mut self,
        cells: impl Iterator<Item = (&'c str, Kind)>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        cells.for_each(|(text, kind)| self.waiting.push(text, kind));
        let last = self.waiting.cells.len() - self.waiting.rows.last().copied().unwrap_or(0);
        self.waiting.push(&PLACE.to_string(), Kind::Long);
        self.waiting.rows.push(self.waiting.cells.len());
        self.lay_out(Some(last), out)
    }

    /// Writes what is still waiting.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.lay_out(None, out)
    }

    /// Writes what is waiting; of the last row, the cell of column `open` is left out and the line not ended.
    fn lay_out(&mut self, open: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let mut rows = std::mem::take(&mut self.waiting);
        let count = rows.iter().map(<[Slot]>::len).max().unwrap_or(0);
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
        self.print(&rows, widths, again && !self.titles.is_empty(), open, out)?;
        rows.clear();
        self.waiting = rows;
        Ok(())
    }

    /// The columns of a batch, in their order. What was shown once stays.
    fn columns(&self, rows: &Waiting, count: usize, before: &[(usize, bool)]) -> Vec<(usize, bool)> {
        // By column, the kinds of its cells as bits, and whether any has text.
        let mut kinds = vec![0_u8; count];
        let mut filled = vec![false; count];
        for row in rows.iter() {
            for (i, slot) in row.iter().enumerate() {
                kinds[i] |= 1 << slot.kind as u8;
                filled[i] |= slot.to > slot.from;
            }
        }
        let was = |i: usize| before.iter().find(|(column, _)| *column == i);
        let used = (0..count).filter(|i| !self.dropped[*i] && (was(*i).is_some() || filled[*i]));
        let (mut list, mut long) = (Vec::new(), Vec::new());
        for i in used {
            let has = |kind: Kind| kinds[i] & 1 << kind as u8 != 0;
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

    fn width(&self, rows: &Waiting, i: usize) -> u16 {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|slot| slot.width);
        let last = self.is_last(i) && self.style.width.is_some();
        let widest = cells.filter(|width| last || *width <= WIDEST).max().unwrap_or(0);
        let title = self.titles.get(i).map_or(0, |title| width_of(title));
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

    fn print(
        &mut self,
        rows: &Waiting,
        widths: Vec<u16>,
        heading: bool,
        open: Option<usize>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let form = match self.form.take() {
            Some((before, form)) if before == widths && !heading => form,
            _ => self.form_of(&widths),
        };
        if heading {
            let indent = " ".repeat(self.indent);
            writeln!(out, "{indent}{}", self.style.heading(&form.heading))?;
        }
        let mut text = String::new();
        for (n, row) in rows.iter().enumerate() {
            if let Some(open) = open.filter(|_| n + 1 == rows.rows.len()) {
                let others = self.shown.iter().map(|(i, _)| match row.get(*i).filter(|_| *i != open) {
                    Some(slot) => (rows.text(slot), slot.width),
                    None => ("", 0),
                });
                let column = self.line(&form, &widths, others, &mut text);
                text.pop();
                let place = self.shown.iter().zip(&form.places).find(|((i, _), _)| *i == open).map_or(0, |(_, at)| *at);
                let gap = if column == 0 { place + self.indent } else { place.saturating_sub(column).max(GAP.into()) };
                text.extend(std::iter::repeat_n(' ', gap));
                continue;
            }
            let cells =
                self.shown.iter().map(|(i, _)| row.get(*i).map_or(("", 0), |slot| (rows.text(slot), slot.width)));
            let last = self.shown.last().map_or(0, |(i, _)| *i);
            match row.get(last).filter(|slot| self.style.width.is_some() && slot.width > usize::from(widths[last])) {
                None => {
                    self.line(&form, &widths, cells, &mut text);
                }
                Some(long) => {
                    let wrapped = wrapped(rows.text(long), widths[last]);
                    let others = self.shown.len() - 1;
                    for (n, line) in wrapped.iter().enumerate() {
                        let end = std::iter::once((line.as_str(), width_of(line)));
                        match n {
                            0 => self.line(&form, &widths, cells.clone().take(others).chain(end), &mut text),
                            _ => {
                                let blank = std::iter::repeat_n(("", 0), others);
                                self.line(&form, &widths, blank.chain(end), &mut text)
                            }
                        };
                    }
                }
            }
        }
        self.least.clone_from(&widths);
        self.form = Some((widths, form));
        out.write_all(text.as_bytes())
    }

    /// Has the columns laid out: the heading, and a row with a character in each column.
    fn form_of(&self, widths: &[u16]) -> Form {
        let mut table = laid_out();
        table.set_header(self.shown.iter().map(|(i, _)| self.titles.get(*i).map_or("", String::as_str)));
        table.add_row(self.shown.iter().map(|_| PLACE));
        let last = self.shown.len().saturating_sub(1);
        for (at, ((i, right), column)) in self.shown.iter().zip(table.column_iter_mut()).enumerate() {
            let padding = if at == last { 0 } else { GAP };
            column.set_padding((0, padding));
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(widths[*i].saturating_add(padding))));
            if *right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut lines = table.lines();
        let heading = lines.next().unwrap_or_default().trim_end().to_owned();
        let row = lines.next().unwrap_or_default();
        let places = row.char_indices().filter(|(_, c)| *c == PLACE).map(|(at, _)| at).collect();
        Form { heading, places }
    }

    /// One line, and how many columns it takes, the indent apart. A cell that is wider than its column pushes what
    /// comes after it to the right.
    fn line<'c>(
        &self,
        form: &Form,
        widths: &[u16],
        cells: impl Iterator<Item = (&'c str, usize)>,
        out: &mut String,
    ) -> usize {
        let begin = out.len();
        // How far the line has come, by how much it is pushed to the right, and whether its last cell was too wide.
        let (mut column, mut pushed, mut pushes) = (0, 0, false);
        for (((i, right), place), (text, width)) in self.shown.iter().zip(&form.places).zip(cells) {
            if text.is_empty() {
                continue;
            }
            let own = usize::from(widths[*i]);
            let from = if *right { (place + 1).saturating_sub(width.min(own)) } else { *place };
            if pushes {
                pushed = (column + usize::from(GAP)).saturating_sub(from);
            }
            let from = from + pushed;
            out.extend(std::iter::repeat_n(
                ' ',
                from.saturating_sub(column) + if column == 0 { self.indent } else { 0 },
            ));
            out.push_str(text);
            (column, pushes) = (from + width, width > own);
        }
        let trimmed = out.len() - begin.max(out.trim_end().len());
        out.truncate(out.len() - trimmed);
        if self.style.color {
            let line = self.style.coloured(out.split_off(begin));
            out.push_str(&line);
        }
        out.push('\n');
        column.saturating_sub(trimmed)
    }
}

/// A table of comfy-table's, without lines.
fn laid_out() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_truncation_indicator("…");
    table
}

/// The lines of a text that is wider than its column.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let mut table = laid_out();
    let mut row = comfy_table::Row::from([text]);
    row.max_height(MOST_LINES);
    table.add_row(row);
    for column in table.column_iter_mut() {
        column.set_padding((0, 0));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.lines().collect()
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
        let wide = "日本語/メール  120";
        let lines = ["NAME             N", "INBOX            7", wide, "e\u{301}                1", ""];
        assert_eq!(text, lines.join("\n"));
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
