//! How many deliveries of a source are accepted in a second.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A source may use up its deliveries of so long at once.
const BURST: Duration = Duration::from_secs(1);

/// What times are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Token bucket: it holds the deliveries of a second, and is refilled evenly.
pub(super) struct Bucket {
    interval: u64,
    burst: u64,
    /// When the bucket is full again, in nanoseconds.
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket for so many deliveries per second.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let interval = nanoseconds(BURST) / u64::from(per_second.get());
        let burst = nanoseconds(BURST).saturating_sub(interval);
        Self { interval, burst, full_at: AtomicU64::new(0) }
    }

    /// Whether a delivery may be accepted now.
    pub(super) fn has_token(&self) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now().saturating_add(self.burst)
    }

    /// Accepts a delivery, if it may be.
    pub(super) fn take(&self) -> bool {
        let now = now();
        let taken = |full_at: u64| {
            let accepted = full_at <= now.saturating_add(self.burst);
            accepted.then_some(full_at.max(now).saturating_add(self.interval))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

fn now() -> u64 {
    nanoseconds(START.elapsed())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
