//! A recorded session, held against a mailbox.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::text::transcript(data));
