//! Shutdown signal; poll it or await it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Shutdown signal, given once.
#[derive(Default)]
pub struct Closing {
    begun: AtomicBool,
    told: Notify,
}

impl Closing {
    /// Gives the signal and wakes everything that awaits it.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    /// Whether the signal was given.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits for the signal; returns at once if it was given.
    pub async fn begins(&self) {
        let mut told = pin!(self.told.notified());
        // Enabled before the check, or the signal could come between the check and the wait.
        told.as_mut().enable();
        if !self.has_begun() {
            told.await;
        }
    }
}
