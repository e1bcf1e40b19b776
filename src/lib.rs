pub mod format;
pub mod model;
pub mod source;
