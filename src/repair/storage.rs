//! What the mail storage says about UIDs. It is asked only about messages whose index record is damaged, and nothing of
//! it is changed.

pub use crate::storage::Messages as Storage;
