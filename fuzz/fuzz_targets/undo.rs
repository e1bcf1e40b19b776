//! Bytes in the place of an undo file, listed and put back.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::text::undo(data));
