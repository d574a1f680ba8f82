//! Limit of concurrent requests of one kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counter of concurrent long-running requests, with a limit.
pub(crate) struct ConcurrencyLimit {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// Permit of one request, released when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl ConcurrencyLimit {
    /// Creates a limit with all permits free.
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// Takes a permit; `None` if the limit is reached.
    pub(crate) fn take(&self) -> Option<Place> {
        let before = self.taken.fetch_add(1, Ordering::SeqCst);
        // Above the limit the permit is dropped, which releases it.
        let place = Place(Arc::clone(&self.taken));
        (before < self.limit).then_some(place)
    }

    /// Number of permits in use.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_each_is_given_back() {
        let places = ConcurrencyLimit::new(2);
        let both = [places.take(), places.take()];
        assert!(both.iter().all(Option::is_some));
        assert!(places.take().is_none());
        assert_eq!(places.taken(), 2);
        drop(both);
        assert_eq!(places.taken(), 0);
        assert!(places.take().is_some());
    }
}
