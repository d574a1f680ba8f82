//! Limit of concurrent requests of one kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counter of concurrent long-running requests, with a limit.
pub(crate) struct ConcurrencyLimit {
    in_use: Arc<AtomicUsize>,
    limit: usize,
}

/// Permit of one request, released when dropped.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl ConcurrencyLimit {
    /// Creates a limit with all permits free.
    pub(crate) fn new(limit: usize) -> Self {
        Self { in_use: Arc::default(), limit }
    }

    /// Takes a permit; `None` if the limit is reached.
    pub(crate) fn take(&self) -> Option<Permit> {
        let before = self.in_use.fetch_add(1, Ordering::SeqCst);
        // Above the limit the permit is dropped, which releases it.
        let permit = Permit(Arc::clone(&self.in_use));
        (before < self.limit).then_some(permit)
    }

    /// Number of permits in use.
    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::SeqCst)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_and_returned_on_drop() {
        let limit = ConcurrencyLimit::new(2);
        let both = [limit.take(), limit.take()];
        assert!(both.iter().all(Option::is_some));
        assert!(limit.take().is_none());
        assert_eq!(limit.in_use(), 2);
        drop(both);
        assert_eq!(limit.in_use(), 0);
        assert!(limit.take().is_some());
    }
}
