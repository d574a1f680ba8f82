//! Counts that the writer keeps beside the cache.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::sqlite::quarantine::Usage;

/// Counts kept by the writer, as of the last commit.
#[derive(Default)]
pub(crate) struct Counts {
    without_destination: AtomicU64,
    quarantined: AtomicU64,
    quarantined_bytes: AtomicU64,
    /// Number of messages and entries that wait for a confirmed prune, plus one; 0 if not known yet.
    waiting: AtomicU64,
}

impl Counts {
    /// Sets the number of records without a destination, and the quarantine usage.
    pub(crate) fn set(&self, without_destination: i64, quarantine: &Usage) {
        let without_destination = u64::try_from(without_destination).unwrap_or(0);
        self.without_destination.store(without_destination, Ordering::Relaxed);
        self.quarantined.store(quarantine.entries(), Ordering::Relaxed);
        self.quarantined_bytes.store(quarantine.bytes(), Ordering::Relaxed);
    }

    /// Sets the number of messages and entries that wait for a confirmed prune.
    pub(crate) fn set_waiting(&self, waiting: u64) {
        self.waiting.store(waiting.saturating_add(1), Ordering::Relaxed);
    }

    /// Number of messages and entries that wait for a confirmed prune; none if not known yet.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.waiting.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Number of records without a destination.
    pub(crate) fn without_number(&self) -> u64 {
        self.without_destination.load(Ordering::Relaxed)
    }

    /// Number of entries in quarantine.
    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    /// Size of the quarantine, in bytes.
    pub(crate) fn quarantined_bytes(&self) -> u64 {
        self.quarantined_bytes.load(Ordering::Relaxed)
    }
}
