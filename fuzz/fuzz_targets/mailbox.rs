//! Instructions that change records in several files of a real mailbox, and every verb on the result.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| idx_fuzz::mailbox::mailbox(data));
