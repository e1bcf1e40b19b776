//! Work whose panic ends nothing but itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A panic that was caught. It is a bug in idx, whatever the files hold.
#[derive(Debug, thiserror::Error)]
#[error("idx has a bug: {0}; please report it")]
pub struct Panicked(String);

/// Does one piece of a larger work, such as one mailbox of a spool.
///
/// # Errors
/// When it panics.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What was half done belongs to this piece alone and is dropped with it.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Panicked(text.unwrap_or("it panicked").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guarded(|| 7).expect("no panic"), 7);
        let error = guarded(|| -> u8 { panic!("at {}", 5) }).expect_err("a panic");
        assert_eq!(error.to_string(), "idx has a bug: at 5; please report it");
    }
}
