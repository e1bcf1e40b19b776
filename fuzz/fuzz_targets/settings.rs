//! A configuration, a trace, a pattern, and words as sizes, times, versions and sets.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::text::settings(data));
