//! Readiness: whether a delivery would be stored now.

use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::message::Timestamp;
use crate::store::Delivery;

impl Ingest {
    /// Whether the store can be written now.
    pub async fn is_ready(&self) -> Result<(), Rejection> {
        // One probe at a time, because anybody may request it.
        let _probe_guard = self.probe_lock.lock().await;
        self.has_room()?;
        let empty_delivery = Delivery {
            source: String::new(),
            received_at: Timestamp::EPOCH,
            content: None,
            url_covered: false,
            entries: Vec::new(),
            replay_of: None,
        };
        self.store(empty_delivery, None).await.map(drop)
    }
}
