//! Erasure of a destination.

use super::pipeline::Ingest;
use crate::message::{Destination, Timestamp};
use crate::store::{Removed, StoreError};

impl Ingest {
    /// Erases everything about a destination. Late notifications about its messages are ignored for as long
    /// as a sender may still retry.
    pub async fn erase(
        &self,
        destination: Destination,
        now: Timestamp,
    ) -> Result<Removed, StoreError> {
        let until = now.micros() + self.sources.max_age_seconds().saturating_mul(1_000_000);
        self.store.erase(destination, now, Timestamp::from_micros(until).unwrap_or(now)).await
    }
}
