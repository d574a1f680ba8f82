//! That nothing is taken any more, for those who look and for those who wait.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The end of taking anything, which comes once.
#[derive(Default)]
pub struct Closing {
    begun: AtomicBool,
    told: Notify,
}

impl Closing {
    /// From now on nothing is taken, and those who wait are told.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until it begins; not at all, if it has.
    pub async fn begins(&self) {
        let mut told = pin!(self.told.notified());
        // First, or it could begin between the look and the wait.
        told.as_mut().enable();
        if !self.has_begun() {
            told.await;
        }
    }
}
