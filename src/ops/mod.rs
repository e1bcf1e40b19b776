//! One file per verb: options in, report out. No command line, no printing.

pub mod clock;
pub mod dump;
pub mod load;
pub mod log;
pub mod records;
pub mod show;
pub mod simulate;
pub mod spans;
