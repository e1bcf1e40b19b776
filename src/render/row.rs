//! The members of one object as the cells of a row. What a cell holds says how it is set.

use super::Emit;
use super::table::Kind;
use super::text::Compact;
use crate::format::ext::Visit;

/// Collects the members of one object as a row of cells: one text after the other in one line.
#[derive(Debug, Default)]
pub struct Row {
    line: Compact,
    /// The end of each cell in the line.
    cells: Vec<(usize, Kind)>,
    /// The names of the cells, and behind them those of an earlier row.
    names: Vec<String>,
    renamed: bool,
    depth: usize,
}

impl Row {
    /// Adds a cell; inside one, a member of it.
    fn cell(&mut self, name: &str, kind: Kind, write: impl FnOnce(&mut Compact, &str)) {
        if self.depth > 0 {
            return write(&mut self.line, name);
        }
        self.line.start();
        write(&mut self.line, "");
        self.close(name, kind);
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
        if self.depth == 0 {
            self.line.start();
            self.close(name, Kind::Long);
        } else {
            write(&mut self.line, name);
        }
        self.depth += 1;
    }

    fn end(&mut self, write: impl FnOnce(&mut Compact)) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            return write(&mut self.line);
        }
        if let Some((end, _)) = self.cells.last_mut() {
            if *end == self.line.line.len() {
                self.line.line.push('-');
            }
            *end = self.line.line.len();
        }
    }

    /// Whether the names are others than those of the row before.
    pub(super) fn is_renamed(&self) -> bool {
        self.renamed || self.names.len() != self.cells.len()
    }

    /// The names of the cells.
    pub(super) fn names(&self) -> &[String] {
        self.names.get(..self.cells.len()).unwrap_or_default()
    }

    /// The cells.
    pub(super) fn cells(&self) -> impl Iterator<Item = (&str, Kind)> {
        let mut from = 0;
        self.cells.iter().map(move |(end, kind)| {
            let text = self.line.line.get(from..*end).unwrap_or_default();
            from = *end;
            (text, *kind)
        })
    }

    /// Makes room for the next row.
    pub(super) fn clear(&mut self) {
        self.line.line.clear();
        self.names.truncate(self.cells.len());
        self.cells.clear();
        self.renamed = false;
    }
}

impl Visit for Row {
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
        self.cell(name, Kind::Text, |out, name| out.hex(name, bytes));
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        let top = self.depth == 0;
        self.cell(name, Kind::Text, |out, name| if top { out.plain(bytes) } else { out.text(name, bytes) });
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
        self.cell(name, Kind::Text, |out, name| out.boolean(name, value));
    }
    fn null(&mut self, name: &str) {
        self.cell(name, Kind::Nothing, |out, name| out.null(name));
    }
    fn absent(&mut self, name: &str) {
        if self.depth == 0 {
            self.null(name);
        }
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
        let cells: Vec<(&str, Kind)> = row.cells().collect();
        assert_eq!(
            cells,
            [("3", Kind::Number), (time.as_str(), Kind::Text), ("modseq=6 names=[]", Kind::Long), ("-", Kind::Long)]
        );
        assert_eq!(row.names(), ["uid", "create_stamp", "ext", "none"]);
        assert!(row.is_renamed());
        row.clear();
        row.number("uid", 4);
        assert!(row.is_renamed());
        row.clear();
        row.number("uid", 5);
        assert!(!row.is_renamed());
    }
}
