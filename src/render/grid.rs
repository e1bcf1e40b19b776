//! Rows in aligned columns, streamed: the widths follow the first rows, and a wider value later pushes the rest of its row
//! to the right.

use std::io::{self, Write};

use super::Style;

/// Rows whose widths count.
const SAMPLE: usize = 256;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Numbers are flush right.
    pub right: bool,
}

/// A table in the making.
#[derive(Debug)]
pub struct Grid {
    columns: Vec<Column>,
    style: Style,
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Grid {
    /// An empty table.
    pub fn new(columns: &[Column], style: Style) -> Grid {
        Grid { columns: columns.to_vec(), style, waiting: Vec::new(), widths: None }
    }

    /// Adds a row: a cell for each column. A column that is empty in all of the first rows is left out.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn row(&mut self, cells: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        if let Some(widths) = &self.widths {
            return self.print(&cells, widths, out);
        }
        self.waiting.push(cells);
        if self.waiting.len() >= SAMPLE { self.settle(out) } else { Ok(()) }
    }

    /// Writes what is still waiting.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_none() && !self.waiting.is_empty() { self.settle(out) } else { Ok(()) }
    }

    fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let widest = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| match widest(i) {
                None | Some(0) => 0,
                Some(width) => width.max(self.columns[i].title.len()),
            })
            .collect();
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        writeln!(out, "{}", self.style.heading(&self.line(&titles, &widths)))?;
        rows.iter().try_for_each(|row| self.print(row, &widths, out))?;
        self.widths = Some(widths);
        Ok(())
    }

    fn print(&self, cells: &[String], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.line(cells, widths))
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((column, cell), width) in self.columns.iter().zip(cells).zip(widths).filter(|(_, width)| **width > 0) {
            let pad = width.saturating_sub(cell.chars().count());
            if column.right {
                line.extend(std::iter::repeat_n(' ', pad));
            }
            line.push_str(cell);
            if !column.right {
                line.extend(std::iter::repeat_n(' ', pad));
            }
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let columns = [
            Column { title: "NAME", right: false },
            Column { title: "USER", right: false },
            Column { title: "N", right: true },
        ];
        let mut grid = Grid::new(&columns, Style::default());
        let mut out = Vec::new();
        for (name, n) in [("INBOX", "7"), ("ä", "120")] {
            grid.row(vec![name.into(), String::new(), n.into()], &mut out).expect("memory");
        }
        assert!(out.is_empty());
        grid.finish(&mut out).expect("memory");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "NAME     N\nINBOX    7\nä      120\n");
    }
}
