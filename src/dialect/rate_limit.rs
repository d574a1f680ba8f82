//! Rate limit of a source, in deliveries per second.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Capacity of the bucket, as a time: the deliveries of this long may come at once.
const BURST_TIME: Duration = Duration::from_secs(1);

/// Origin of all times in this module.
static TIME_ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Token bucket: holds the deliveries of one second and is refilled evenly.
pub(crate) struct Bucket {
    interval: u64,
    burst: u64,
    /// Time at which the bucket is full again, in nanoseconds.
    full_at: AtomicU64,
}

impl Bucket {
    /// Creates a full bucket for this many deliveries per second.
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        let interval = nanoseconds(BURST_TIME) / u64::from(per_second.get());
        let burst = nanoseconds(BURST_TIME).saturating_sub(interval);
        Self { interval, burst, full_at: AtomicU64::new(0) }
    }

    /// Whether a delivery would be accepted now. Takes no token.
    pub(crate) fn has_token(&self) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now().saturating_add(self.burst)
    }

    /// Takes a token for a delivery; returns `false` if none is left.
    pub(crate) fn take(&self) -> bool {
        let now = now();
        let taken = |full_at: u64| {
            let accepted = full_at <= now.saturating_add(self.burst);
            accepted.then_some(full_at.max(now).saturating_add(self.interval))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

fn now() -> u64 {
    nanoseconds(TIME_ORIGIN.elapsed())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
