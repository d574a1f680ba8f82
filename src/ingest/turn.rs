//! Turns: a thread verifies and reads one large delivery at a time, and whatever else it has to do goes on
//! between two of them.
//!
//! A large delivery takes a millisecond or so of its thread. A hundred of them that are complete at once would
//! follow one another, and a query that comes meanwhile would wait for all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// Bodies of up to so many bytes need no turn: a tenth of a millisecond.
const SMALL_BYTES: usize = 16 << 10;

thread_local! {
    static FREE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// A turn; given back when dropped.
pub(super) struct Turn {
    _taken: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Waits for the turn of a body of so many bytes.
    pub(super) async fn of(bytes: usize) -> Self {
        if bytes <= SMALL_BYTES {
            return Self { _taken: None };
        }
        // Nobody closes the semaphore.
        let taken = FREE.with(Arc::clone).acquire_owned().await.ok();
        // The next one could have its turn before the thread has seen what arrived meanwhile.
        yield_now().await;
        Self { _taken: taken }
    }
}
