//! Dovecot's mailbox index files: read to the byte, replayed, explained, checked, rebuilt.
//!
//! Dovecot's three files are one database: the log is the database, the index a snapshot of it, the cache a side table. Bytes become
//! views ([`format`](mod@format)), views become a model ([`model`]), one function gives a log record its meaning
//! ([`model::Mailbox::apply`]), and everything else is a use of that function.
//!
//! ```text
//! paths --source--> bytes --format--> views --load--> Mailbox <--apply-- log records
//!                                       |                |
//!                                     check <------------+
//!                                       |                |
//!                                  ops: one per verb: dump show log modseq expunges qresync check scan simulate
//!                                       |                                      rebuild undo --store--> disk
//!                                    render: table, json, ndjson
//!                                       |
//!                                      cli
//! ```
//!
//! Arrows point one way: a module imports only from those it stands on.

#![deny(missing_docs, unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::dbg_macro, clippy::todo, clippy::unimplemented, clippy::print_stdout)
)]

pub mod check;
pub mod cli;
pub mod format;
pub mod logs;
pub mod model;
pub mod ops;
pub mod render;
pub mod repair;
pub mod simulate;
pub mod source;
pub mod store;
pub mod view;
