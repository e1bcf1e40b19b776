//! A cache in the formats of `idx dump`, every byte named.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::cache(data));
