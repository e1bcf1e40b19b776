//! Rotation, expiry of `.log.2` and rewrites of `dovecot.index` under given settings, and what they mean for
//! QRESYNC clients that come back after a while.
//!
//! The engine is pure: a [`workload::Scenario`] (a history and a state it happens to) and [`settings::Settings`] go in,
//! a [`engine::Course`] comes out. `tests/simulate_live.rs` holds it against a real Dovecot whose clock is faked.

pub mod advise;
pub mod body;
pub mod engine;
pub mod history;
pub mod now;
pub mod past;
pub mod picture;
pub mod question;
pub mod recommended;
pub mod report;
pub mod retention;
pub mod run;
pub mod settings;
pub mod survey;
pub mod synthetic;
pub mod trace;
pub mod workload;

pub use question::{Options, SCHEMA, SimulateError, SimulatedMailbox, Workload, traffic};
pub use run::Simulation;
