//! Dovecot's mailbox index files: read to the byte, replayed, explained, checked, rebuilt.
//!
//! Dovecot's three files are one database: the log is the database, the index a snapshot of it, the cache a side table.
//! Bytes become views ([`format`](mod@format)), views become a model ([`model`]), one function gives a log record its
//! meaning ([`model::Mailbox::apply`]), and everything else is a use of that function.
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
//!
//! Without the feature `cli` there are the rooms that read, replay and judge: [`format`](mod@format), [`model`],
//! [`source`] and [`check`]. `cli` adds the verbs and all that writes, `plot` the pictures of `idx simulate`.

#![deny(missing_docs, unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::dbg_macro, clippy::todo, clippy::unimplemented, clippy::print_stdout)
)]

pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod format;
#[cfg(feature = "cli")]
pub mod logs;
pub mod model;
#[cfg(feature = "cli")]
pub mod ops;
#[cfg(feature = "cli")]
pub mod render;
#[cfg(feature = "cli")]
pub mod repair;
#[cfg(feature = "cli")]
pub mod simulate;
pub mod source;
pub mod storage;
#[cfg(feature = "cli")]
pub mod store;
#[cfg(feature = "cli")]
pub mod view;
