//! One file per verb: options in, report out. No command line, no printing.

pub mod clock;
pub mod dump;
pub mod load;
pub mod records;
pub mod show;
pub mod spans;
