//! State of the ingest pipeline, and its last step: storing a delivery within the deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::timeout;

use super::admission::delivery::{Admission, Entries};
use super::admission::shutdown::ShutdownSignal;
use super::admission::slots::Slots;
use super::counting;
use super::detached::Detached;
use super::rejection::Rejection;
use crate::dialect::{Source, Sources};
use crate::memory_budget::MemoryBudget;
use crate::message::Timestamp;
use crate::metrics::Metrics;
use crate::store::{Delivery, Store, StoreError, StoredEntry};

/// Maximum duration of a commit. After it, the sender is asked to retry.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(2);

/// Ingest pipeline: passes deliveries and registrations to the store.
pub struct Ingest {
    /// Deliveries under way.
    pub slots: Slots,
    pub(crate) sources: Arc<Sources>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: MemoryBudget,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) entries: Entries,
    /// Once given, no delivery is accepted.
    pub(crate) shutdown: Arc<ShutdownSignal>,
    /// Lock of a readiness probe.
    pub(crate) probe_lock: Mutex<()>,
}

impl Ingest {
    /// Creates the pipeline for these sources, with at most `max_in_flight` deliveries under way.
    pub fn new(
        sources: Vec<Source>,
        store: Arc<dyn Store>,
        max_in_flight: usize,
        metrics: Arc<Metrics>,
        budget: MemoryBudget,
    ) -> Self {
        metrics.configure(counting::configured(&sources, &[]), metrics.started_at());
        Self {
            slots: Slots::new(max_in_flight),
            sources: Arc::new(Sources::new(sources)),
            metrics,
            budget,
            store,
            entries: Entries::default(),
            shutdown: Arc::default(),
            probe_lock: Mutex::new(()),
        }
    }

    /// Replaces the sources in effect.
    pub fn replace_sources(&self, sources: Vec<Source>, now: Timestamp) {
        self.metrics.configure(counting::configured(&sources, &self.sources.all()), now);
        self.sources.replace(sources);
    }

    /// Whether another delivery can be admitted; checked before any work is done for it.
    pub fn has_room(&self) -> Result<(), Rejection> {
        if self.shutdown.is_triggered() {
            return Err(Rejection::Closing);
        }
        if self.slots.are_full() { Err(Rejection::Overloaded) } else { Ok(()) }
    }

    /// Takes a slot for a delivery.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        self.has_room()?;
        self.slots.take().ok_or(Rejection::Overloaded)
    }

    /// Stores a delivery. The caller may stop waiting, but a queued delivery stays queued, and holds its slot
    /// and its bytes until it is done. If the quarantine is full, the rest of the delivery is stored, and the
    /// sender has to retry.
    pub(crate) fn store(
        &self,
        delivery: Delivery,
        admission: Option<Admission>,
    ) -> impl Future<Output = Result<Vec<StoredEntry>, Rejection>> + use<> {
        let store = Arc::clone(&self.store);
        let storing = Detached::new(async move {
            let _admission = admission;
            store.ingest(delivery).await
        });
        async {
            let stored = timeout(COMMIT_DEADLINE, storing).await;
            let stored = stored.map_err(|_elapsed| Rejection::Slow)??;
            if stored.iter().any(|one| matches!(one, StoredEntry::QuarantineFull)) {
                return Err(Rejection::Store(StoreError::QuarantineFull));
            }
            Ok(stored)
        }
    }
}
