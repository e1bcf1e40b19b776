pub mod check;
pub mod cli;
pub mod format;
pub mod model;
pub mod ops;
pub mod render;
pub mod source;
pub mod store;
