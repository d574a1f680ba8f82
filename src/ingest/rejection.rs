//! Rejections of a delivery as a whole.

use thiserror::Error;

use crate::memory_budget::Exhausted;
use crate::store::StoreError;
use crate::verify::Unverified;

/// Reason for rejecting a delivery as a whole.
#[derive(Debug, Error)]
pub enum Rejection {
    /// The maximum number of deliveries or bytes is under way.
    #[error("too many deliveries in flight")]
    Overloaded,
    /// The source exceeded its `max_rate`.
    #[error("more deliveries than `max_rate` allows")]
    Rate,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    Closing,
    /// Missing or wrong credential, or one from another time.
    #[error("verification failed")]
    Unverified(#[source] Unverified),
    /// Valid credential whose signed time is too old, and not all of the delivery is stored already.
    #[error("the signed time is too old")]
    TooOld,
    /// Verified, but not in the encoding of the source's dialect; the payload is in quarantine.
    #[error("not understood: {0}")]
    NotEncoded(String),
    /// The commit took longer than `COMMIT_DEADLINE`. It may still happen.
    #[error("the commit takes too long")]
    Slow,
    /// Database error.
    #[error("the delivery was not stored")]
    Store(#[from] StoreError),
}

impl From<Exhausted> for Rejection {
    fn from(_: Exhausted) -> Self {
        Self::Overloaded
    }
}
