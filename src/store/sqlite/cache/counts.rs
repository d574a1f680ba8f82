//! Counts that the writer keeps beside the cache.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::store::sqlite::quarantine::Usage;

/// Counts kept by the writer, as of the last commit.
#[derive(Default)]
pub(crate) struct Counts {
    rows_without_destination: AtomicI64,
    quarantined: AtomicU64,
    quarantined_bytes: AtomicU64,
    /// Number of messages and entries that wait for a confirmed prune, plus one; 0 if not known yet.
    waiting: AtomicU64,
}

impl Counts {
    /// Sets the number of rows whose record has no destination, and the quarantine usage.
    pub(crate) fn set(&self, rows_without_destination: i64, quarantine: &Usage) {
        self.rows_without_destination.store(rows_without_destination, Ordering::Relaxed);
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

    /// Number of rows whose record has no destination.
    pub(crate) fn rows_without_destination(&self) -> i64 {
        self.rows_without_destination.load(Ordering::Relaxed)
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
