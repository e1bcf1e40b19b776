//! One file of a mail storage, map or mailbox list beside sound files; the first byte says which.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::mailbox::storage(data));
