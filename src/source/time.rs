//! The clock of this host: the one place below the verbs that reads it. Everything else is told what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now, UNIX seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
