//! A log in the formats of `idx dump`, every byte named.

#![no_main]

use idx::format::FileKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| idx_fuzz::dump(FileKind::Log, data));
