//! Readiness: whether a delivery would be stored now.

use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::message::Timestamp;
use crate::store::Delivery;

impl Ingest {
    /// Whether the store can be written now.
    pub async fn is_ready(&self) -> Result<(), Rejection> {
        // One probe at a time, because anybody may request it.
        let _turn = self.probing.lock().await;
        self.has_room()?;
        let nothing = Delivery {
            source: String::new(),
            received_at: Timestamp::EPOCH,
            content: None,
            url_covered: false,
            entries: Vec::new(),
            replay_of: None,
        };
        self.store(nothing, None).await.map(drop)
    }
}
