//! A main index in every format of `idx dump`, and its state encoded again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::index(data));
