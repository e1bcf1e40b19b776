//! What people see of each report: tables, sentences, Nagios, Prometheus, plots. Nothing is decided here.

pub mod dump;
pub mod expunges;
pub mod findings;
pub mod log;
pub mod modseq;
#[cfg(feature = "plot")]
pub mod plot;
pub mod qresync;
pub mod rebuild;
pub mod scan;
pub mod show;
pub mod simulate;
