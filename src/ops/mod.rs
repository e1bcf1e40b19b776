//! One file per verb: options in, report out. No command line, no printing.

pub mod check;
pub mod dump;
pub mod load;
pub mod names;
pub mod scan;
pub mod show;
pub mod spans;
