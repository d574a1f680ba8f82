//! Slots: the limit of deliveries under way.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Deliveries under way that are enough to keep the writer busy.
const MIN_BUSY_DELIVERIES: usize = 16;

/// Limit of deliveries under way; each holds a slot until it is done.
pub struct Slots {
    limit: usize,
    free: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, free: Arc::new(Semaphore::new(limit)) }
    }

    /// Maximum number of deliveries under way.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Number of deliveries under way.
    pub fn in_flight(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// Whether the maximum number of deliveries is under way.
    pub fn are_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Whether enough deliveries are under way to keep the writer busy, so that another one may be shed.
    pub fn keep_writer_busy(&self) -> bool {
        self.in_flight() >= MIN_BUSY_DELIVERIES
    }

    /// Takes a slot, if one is free.
    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}
