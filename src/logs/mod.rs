//! The history of a mailbox: its logs walked, followed, filtered, dated and summed up. No files are opened here by path
//! and nothing is written for people.

pub mod clock;
pub mod expunges;
pub mod history;
pub mod modseq;
pub mod note;
pub mod records;
pub mod stats;
pub mod walk;
