//! What the fuzz targets share.

use std::io::sink;
use std::path::Path;

use idx::format::FileKind;
use idx::ops::dump::{self, Beside, Options};
use idx::ops::spans;
use idx::render::Style;
use idx::render::document::{LinesDocument, TableDocument};

/// Bytes in the formats of `idx dump`, every one of them named.
pub fn dump(kind: FileKind, data: &[u8]) {
    let options = Options { hex: data.len() % 2 == 0, ..Options::default() };
    let (path, beside) = (Path::new("file"), Beside::default());
    let mut out = sink();
    let mut lines = LinesDocument::new(dump::SCHEMA, &mut out);
    let _ = dump::bytes(path, kind, data, &beside, &options, &mut lines);
    let mut out = sink();
    let mut table = TableDocument::new(Style::default(), &mut out);
    let _ = dump::bytes(path, kind, data, &beside, &options, &mut table);
    let mut end = 0;
    spans::walk(kind, data, None, &mut |span| {
        assert_eq!(span.offset, end, "a gap or an overlap");
        end += span.len;
    });
    assert_eq!(end, data.len() as u64);
}
