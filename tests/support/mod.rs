//! Support for the tests that compare `idx` with real Dovecot, live (`live.rs`) or as recorded (`corpus.rs`).
//!
//! * [`dovecot`] starts a private Dovecot on pipes; nothing listens on a port and no daemon runs.
//! * [`imap`] is the client side of such a session.
//! * [`workload`] makes random but reproducible histories of a mailbox.
//! * [`doveadm_dump`] parses the text of `doveadm dump`.
//! * [`idx`] runs the binary under test, and [`compare`] holds its answers against Dovecot's.
//!
//! Nothing here decodes index files: whatever is expected comes from Dovecot's own mouth.

#![allow(dead_code, reason = "every test binary uses its own part of the support code")]

pub mod build;
pub mod compare;
pub mod doveadm_dump;
pub mod dovecot;
pub mod idx;
pub mod imap;
pub mod large;
pub mod workload;
pub mod writer;
