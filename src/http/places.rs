//! How many requests of a kind may last at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Places for requests that last long.
pub(crate) struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// A place that a request has; given back when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Places {
    /// So many places, all of them free.
    pub(crate) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// A place; none if all are taken.
    pub(crate) fn take(&self) -> Option<Place> {
        let before = self.taken.fetch_add(1, Ordering::SeqCst);
        // Gives it back, if it is one too many.
        let place = Place(Arc::clone(&self.taken));
        (before < self.limit).then_some(place)
    }

    /// How many are taken.
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
        let places = Places::new(2);
        let both = [places.take(), places.take()];
        assert!(both.iter().all(Option::is_some));
        assert!(places.take().is_none());
        assert_eq!(places.taken(), 2);
        drop(both);
        assert_eq!(places.taken(), 0);
        assert!(places.take().is_some());
    }
}
