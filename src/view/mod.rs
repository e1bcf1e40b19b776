//! What people see of each report: tables, sentences, Nagios, Prometheus, plots. Nothing is decided here.

pub mod findings;
pub mod log;
pub mod plot;
mod rebuild;
pub mod simulate;
