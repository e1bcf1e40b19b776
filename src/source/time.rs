//! The clock of this host: the one place below the verbs that reads it, and it reads it once in a run. Everything else
//! is told what time it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// When the run began: by the clock of the host, and by one that nobody sets.
static BEGAN: OnceLock<(SystemTime, Duration)> = OnceLock::new();

/// What has passed on the clock that nobody sets. Not by way of the C library, in which tests fake the date.
pub fn passed() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// The time now, UNIX seconds: the beginning of the run and what has passed since, so that a clock which is set
/// meanwhile makes no file younger or older than the one that was judged before it.
pub fn now() -> i64 {
    let (began, by) = BEGAN.get_or_init(|| (SystemTime::now(), passed()));
    let since = (*began + passed().saturating_sub(*by)).duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Waits for whoever works on a mailbox, unless this run has waited too much already: for ten seconds in all, and a
/// fourth of its time. Anybody can have as many mailboxes as he likes that look as if they were being written.
pub fn wait(time: Duration) -> bool {
    static BEGUN: OnceLock<Duration> = OnceLock::new();
    static WAITED: AtomicU64 = AtomicU64::new(0);
    let now = passed();
    let allowed = Duration::from_secs(10) + now.saturating_sub(*BEGUN.get_or_init(|| now)) / 4;
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let may = WAITED.fetch_add(millis, Ordering::Relaxed).saturating_add(millis) <= allowed.as_millis() as u64;
    if may {
        std::thread::sleep(time);
    } else {
        WAITED.fetch_sub(millis, Ordering::Relaxed);
    }
    may
}
