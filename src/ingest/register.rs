//! Registration of a message by the application that sends it.

use super::admission::delivery::Admission;
use super::pipeline::Ingest;
use super::rejection::Rejection;
use crate::memory_budget::Reservation;
use crate::message::{Notification, Timestamp};
use crate::store::{Delivery, Entry, StoreError, StoredEntry};

impl Ingest {
    /// Stores a registration by the holder of this key.
    pub async fn register(
        &self,
        key: &str,
        notification: Notification,
        bytes: Reservation,
        now: Timestamp,
    ) -> Result<StoredEntry, Rejection> {
        let admission = Admission::new(self.slot()?, bytes);
        let entry = Entry::Notification {
            index: 0,
            notification: Box::new(notification),
            by_provider_id: false,
        };
        let delivery = Delivery {
            source: format!("api:{key}"),
            received_at: now,
            content: None,
            url_covered: false,
            entries: vec![entry],
            replay_of: None,
        };
        self.store(delivery, Some(admission))
            .await?
            .pop()
            .ok_or(Rejection::Store(StoreError::Stopped))
    }
}
