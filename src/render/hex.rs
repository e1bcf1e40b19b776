//! Bytes without a meaning, as hexyl shows them.

use std::io::{self, Write};

use hexyl::{BorderStyle, PrinterBuilder};

use super::Style;

/// Shows bytes: offset, hex and characters, sixteen to a line; lines that repeat are shown once. `offset` is that of
/// the first byte in its file.
///
/// # Errors
/// When `out` cannot be written to.
pub fn plain(offset: u64, bytes: &[u8], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Lines { line: Vec::new(), out };
    let panels = PrinterBuilder::new(&mut lines).show_color(style.color).with_border_style(BorderStyle::None);
    panels.num_panels(2).build().display_offset(offset).print_all(bytes)
}

/// Moves lines in by two and takes the spaces at their ends.
struct Lines<'w> {
    line: Vec<u8>,
    out: &'w mut dyn Write,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = self.line.trim_ascii_end();
                if !line.is_empty() {
                    self.out.write_all(b"  ")?;
                    self.out.write_all(line)?;
                    self.out.write_all(b"\n")?;
                }
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_file() {
        let mut out = Vec::new();
        plain(0x120, b"\x00\x01text and \xff\x1b", &Style::default(), &mut out).expect("memory");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("00000120") && text.contains("00 01 74 65") && !text.contains('\x1b'), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
