//! An index and two logs replayed. The input holds the three files, each with its length in front.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::replay(data));
