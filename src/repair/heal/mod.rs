//! Each damaged file restored from what the others prove.

pub mod cache;
pub mod fill;
pub mod index;
pub mod keywords;
pub mod log;
pub mod own;
pub mod records;
pub mod tail;
