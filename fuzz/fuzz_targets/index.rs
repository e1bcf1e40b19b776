//! A main index in every format of `idx dump`, and its state encoded again.

#![no_main]

use idx::format::FileKind;
use idx::format::index::IndexFile;
use idx::model::Mailbox;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    idx_fuzz::dump(FileKind::Index, data);
    if let Ok(index) = IndexFile::parse(data) {
        let encoded = Mailbox::load(&index).encode();
        // A sound index of today's version comes out as it went in.
        if index.problems.is_empty() && index.header.minor_version >= 3 && index.trailing().is_empty() {
            let again = IndexFile::parse(&encoded).map(|index| Mailbox::load(&index).encode());
            assert_eq!(again.as_deref(), Ok(encoded.as_slice()));
        }
    }
});
