//! What the fuzz targets do with their bytes. `fuzz_targets/` hands it to libFuzzer, `examples/fuzz.rs` needs no engine.

pub mod mailbox;
pub mod scratch;
pub mod text;

use std::io::sink;
use std::path::Path;

use idx::format::FileKind;
use idx::format::index::IndexFile;
use idx::format::log::LogFile;
use idx::format::spans;
use idx::model::replay::Until;
use idx::model::{Chain, ChainFile, Mailbox};
use idx::render::Style;
use idx::render::document::{LinesDocument, TableDocument};
use idx::view::dump::{self, Beside, Options};

/// Bytes in the formats of `idx dump`, every one of them named.
pub fn dump(kind: FileKind, data: &[u8]) {
    let options = Options { hex: data.len().is_multiple_of(2), ..Options::default() };
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

/// A main index, and its state encoded again.
pub fn index(data: &[u8]) {
    dump(FileKind::Index, data);
    if let Ok(index) = IndexFile::parse(data) {
        let encoded = Mailbox::load(&index).encode();
        // A sound index of today's version comes out as it went in.
        if index.problems.is_empty() && index.header.minor_version >= 3 && index.trailing().is_empty() {
            let again = IndexFile::parse(&encoded).map(|index| Mailbox::load(&index).encode());
            assert_eq!(again.as_deref(), Ok(encoded.as_slice()));
        }
    }
}

/// A log.
pub fn log(data: &[u8]) {
    dump(FileKind::Log, data);
}

/// A cache.
pub fn cache(data: &[u8]) {
    dump(FileKind::Cache, data);
}

fn split(data: &mut &[u8]) -> Vec<u8> {
    let Some((head, rest)) = data.split_at_checked(4) else { return Vec::new() };
    let len = u32::from_le_bytes(head.try_into().unwrap_or_default()) as usize;
    let (file, rest) = rest.split_at(len.min(rest.len()));
    *data = rest;
    file.to_vec()
}

/// An index and two logs replayed: index, `.log.2`, `.log`, each with its length in front (32 bits, little-endian).
pub fn replay(mut data: &[u8]) {
    let (index, old, new) = (split(&mut data), split(&mut data), split(&mut data));
    let logs = [&new, &old];
    let chain = Chain::new(
        logs.into_iter()
            .filter_map(|bytes| LogFile::parse(bytes, bytes.len() as u64).ok().map(|log| ChainFile::new(log, bytes))),
    );
    let base = match IndexFile::parse(&index) {
        Ok(index) => Mailbox::load(&index),
        Err(_) => chain.empty_mailbox(),
    };
    let Ok(whole) = chain.replay(base, Until::End) else { return };
    let encoded = whole.mailbox.encode();
    assert!(encoded.len() < (64 << 20) + 8 * (index.len() + old.len() + new.len()));
    assert!(whole.mailbox.len() <= whole.mailbox.physical_len());
    for i in whole.mailbox.positions() {
        let _ = (whole.message_modseq(i), whole.mailbox.keyword_ids(i).count());
    }
}
