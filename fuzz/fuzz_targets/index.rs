//! A main index in every format of `idx dump`, and its state encoded again.

#![no_main]

use std::io::sink;
use std::path::Path;

use idx::format::FileKind;
use idx::format::index::IndexFile;
use idx::model::Mailbox;
use idx::ops::dump::{self, Beside, Options};
use idx::render::document::{LinesDocument, TableDocument};
use idx::render::Style;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let options = Options { hex: data.len() % 2 == 0, ..Options::default() };
    let (path, beside) = (Path::new("file"), Beside::default());
    let mut out = sink();
    let mut lines = LinesDocument::new(dump::SCHEMA, &mut out);
    let _ = dump::bytes(path, FileKind::Index, data, &beside, &options, &mut lines);
    let mut out = sink();
    let mut table = TableDocument::new(Style::default(), &mut out);
    let _ = dump::bytes(path, FileKind::Index, data, &beside, &options, &mut table);
    if let Ok(index) = IndexFile::parse(data) {
        let encoded = Mailbox::load(&index).encode();
        // A sound index of today's version comes out as it went in.
        if index.problems.is_empty() && index.header.minor_version >= 3 && index.trailing().is_empty() {
            let again = IndexFile::parse(&encoded).map(|index| Mailbox::load(&index).encode());
            assert_eq!(again.as_deref(), Ok(encoded.as_slice()));
        }
    }
});
