//! Shutdown signal; poll it or await it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Shutdown signal, given once.
#[derive(Default)]
pub struct ShutdownSignal {
    begun: AtomicBool,
    notify: Notify,
}

impl ShutdownSignal {
    /// Gives the signal and wakes everything that awaits it.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether the signal was given.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits for the signal; returns at once if it was given.
    pub async fn begins(&self) {
        let mut given = pin!(self.notify.notified());
        // Enabled before the check, or the signal could come between the check and the wait.
        given.as_mut().enable();
        if !self.has_begun() {
            given.await;
        }
    }
}
