//! One file per verb: options in, report out. No command line, no printing.

pub mod check;
pub mod clock;
pub mod dump;
pub mod expunges;
pub mod history;
pub mod load;
pub mod log;
pub mod modseq;
pub mod names;
pub mod note;
pub mod qresync;
pub mod rebuild;
pub mod records;
pub mod scan;
pub mod show;
pub mod simulate;
pub mod spans;
pub mod stats;
pub mod transcript;
pub mod undo;
