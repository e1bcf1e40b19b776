//! The clock of this host: the one place below the verbs that reads it, and it reads it once in a run. Everything else
//! is told what time it is.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// When the run began: by the clock of the host, and by one that nobody sets.
static BEGAN: OnceLock<(SystemTime, Instant)> = OnceLock::new();

/// The time now, UNIX seconds: the beginning of the run and what has passed since, so that a clock which is set
/// meanwhile makes no file younger or older than the one that was judged before it.
pub fn now() -> i64 {
    let (began, by) = BEGAN.get_or_init(|| (SystemTime::now(), Instant::now()));
    let since = (*began + by.elapsed()).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
