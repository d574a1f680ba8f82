//! Shutdown signal; poll it or await it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Shutdown signal, triggered once.
#[derive(Default)]
pub struct ShutdownSignal {
    is_triggered: AtomicBool,
    notify: Notify,
}

impl ShutdownSignal {
    /// Triggers the signal and wakes everything that awaits it.
    pub fn trigger(&self) {
        self.is_triggered.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether the signal was triggered.
    pub fn is_triggered(&self) -> bool {
        self.is_triggered.load(Ordering::SeqCst)
    }

    /// Waits for the signal; returns at once if it was triggered.
    pub async fn triggered(&self) {
        let mut notified = pin!(self.notify.notified());
        // Enabled before the check, or the signal could come between the check and the wait.
        notified.as_mut().enable();
        if !self.is_triggered() {
            notified.await;
        }
    }
}
