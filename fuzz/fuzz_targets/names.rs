//! A path on the disk: which mailbox and which user it means.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::text::names(data));
