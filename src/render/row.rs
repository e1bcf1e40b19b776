//! The members of one object as the cells of a row. What a cell holds says how it is set.

use super::Emit;
use super::table::{Cell, Kind};
use super::text::{Compact, is_stamp, local_of, printable};
use crate::format::ext::Visit;

/// Collects the members of one object as a row of cells.
#[derive(Debug, Default)]
pub struct Row {
    cells: Vec<(String, Cell)>,
    inner: Compact,
    depth: usize,
    open: String,
}

impl Row {
    fn cell(&mut self, name: &str, kind: Kind, write: impl FnOnce(&mut Compact)) {
        if self.depth > 0 {
            return write(&mut self.inner);
        }
        let mut value = Compact::default();
        write(&mut value);
        self.cells.push((name.to_owned(), Cell { text: value.line, kind }));
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
            let text = if bare.is_empty() { "-".into() } else { bare };
            self.cells.push((std::mem::take(&mut self.open), Cell::long(text)));
        }
    }

    /// The cells collected, each with its name.
    pub fn take(&mut self) -> Vec<(String, Cell)> {
        std::mem::take(&mut self.cells)
    }
}

impl Visit for Row {
    fn number(&mut self, name: &str, value: u64) {
        let stamp = if self.depth == 0 && is_stamp(name) { local_of(value) } else { None };
        let key = self.name(name).to_owned();
        let kind = if is_stamp(name) { Kind::Text } else { Kind::Number };
        self.cell(name, kind, |out| {
            out.number(&key, value);
            if let Some(stamp) = stamp {
                out.line.push_str(&stamp);
            }
        });
    }
    fn bits(&mut self, name: &str, value: u64, names: &[(u32, &str)]) {
        let key = self.name(name).to_owned();
        self.cell(name, Kind::Text, |out| out.bits(&key, value, names));
    }
    fn signed(&mut self, name: &str, value: i64) {
        let key = self.name(name).to_owned();
        self.cell(name, Kind::Number, |out| out.signed(&key, value));
    }
    fn hex(&mut self, name: &str, bytes: &[u8]) {
        let key = self.name(name).to_owned();
        self.cell(name, Kind::Text, |out| out.hex(&key, bytes));
    }
    fn text(&mut self, name: &str, bytes: &[u8]) {
        let key = self.name(name).to_owned();
        let top = self.depth == 0;
        self.cell(
            name,
            Kind::Text,
            |out| if top { out.line.push_str(&printable(bytes)) } else { out.text(&key, bytes) },
        );
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
        self.cell(name, Kind::Text, |out| out.boolean(&key, value));
    }
    fn null(&mut self, name: &str) {
        let key = self.name(name).to_owned();
        self.cell(name, Kind::Nothing, |out| out.null(&key));
    }
    fn absent(&mut self, name: &str) {
        if self.depth == 0 {
            self.null(name);
        }
    }
    fn flags(&mut self, name: &str, flags: u8) {
        let key = self.name(name).to_owned();
        self.cell(name, Kind::Text, |out| out.flags(&key, flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_columns() {
        let mut row = Row::default();
        row.number("uid", 3);
        row.number("create_stamp", 1);
        row.object_begin("ext");
        row.number("modseq", 6);
        row.object_end();
        let cells = row.take();
        assert_eq!(cells[0].1, Cell::number(3));
        // The table says it in the local zone.
        assert_eq!(cells[1].1, Cell::text(format!("1{}", local_of(1).expect("a time"))));
        assert_eq!(cells[2], ("ext".to_owned(), Cell::long("modseq=6")));
    }
}
