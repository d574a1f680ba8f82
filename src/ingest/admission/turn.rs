//! Turns: a thread verifies and reads one large delivery at a time, and its other work goes on between two of
//! them.
//!
//! A large delivery takes about a millisecond of its thread. A hundred of them that are complete at once
//! would follow one another, and a query that comes meanwhile would wait for all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// Maximum size of a body that needs no turn, in bytes: it takes a tenth of a millisecond.
const MAX_IMMEDIATE_BYTES: usize = 16 << 10;

thread_local! {
    static TURN_SEMAPHORE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// Turn of a delivery; released when dropped.
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Waits for the turn of a body of this size, in bytes.
    pub(crate) async fn wait(bytes: usize) -> Self {
        if bytes <= MAX_IMMEDIATE_BYTES {
            return Self { _permit: None };
        }
        // The semaphore is never closed.
        let permit = TURN_SEMAPHORE.with(Arc::clone).acquire_owned().await.ok();
        // Without this, the next delivery could take its turn before the thread has seen what arrived
        // meanwhile.
        yield_now().await;
        Self { _permit: permit }
    }
}
