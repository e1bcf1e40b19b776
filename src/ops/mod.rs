//! One file per verb: options in, report out. No command line, no printing.

pub mod check;
pub mod deep;
pub mod dump;
pub mod expunges;
pub mod inspect;
pub mod load;
pub mod log;
pub mod many;
pub mod modseq;
pub mod names;
pub mod opened;
pub mod past;
pub mod qresync;
pub mod rebuild;
pub mod remedy;
pub mod scan;
pub mod show;
pub mod simulate;
pub mod trees;
pub mod undo;
pub mod versus;
pub mod whereabouts;
