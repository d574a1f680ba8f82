//! Append-only list whose copies share all but the last few items.
//!
//! The writer keeps the state before and after a notification apart, so it copies the cached state of a
//! message for each notification. A message may have a thousand notifications.

use std::sync::Arc;

/// Number of items in a shared piece.
const PIECE_ITEMS: usize = 16;

/// Append-only list.
#[derive(Debug, Clone)]
pub(crate) struct AppendList<T> {
    /// Full pieces, the last one first.
    full: Option<Arc<Piece<T>>>,
    /// Number of items in the full pieces.
    shared: usize,
    /// Items after the full pieces, fewer than [`PIECE_ITEMS`].
    last: Vec<T>,
}

#[derive(Debug)]
struct Piece<T> {
    items: Vec<T>,
    before: Option<Arc<Self>>,
}

impl<T> Default for AppendList<T> {
    fn default() -> Self {
        Self { full: None, shared: 0, last: Vec::new() }
    }
}

impl<T: Clone + PartialEq> AppendList<T> {
    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.shared + self.last.len()
    }

    /// Whether the list has an item equal to this one.
    pub(crate) fn contains(&self, item: &T) -> bool {
        self.last.contains(item) || self.pieces().any(|piece| piece.items.contains(item))
    }

    /// All items, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut pieces: Vec<_> = self.pieces().collect();
        pieces.reverse();
        pieces.into_iter().flat_map(|piece| &piece.items).chain(&self.last)
    }

    /// The list with one more item.
    pub(crate) fn with(&self, item: T) -> Self {
        let mut last = Vec::with_capacity(self.last.len() + 1);
        last.extend_from_slice(&self.last);
        let mut longer = Self { full: self.full.clone(), shared: self.shared, last };
        longer.push(item);
        longer
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, item: T) {
        self.last.push(item);
        if self.last.len() == PIECE_ITEMS {
            let items = std::mem::take(&mut self.last);
            self.full = Some(Arc::new(Piece { items, before: self.full.take() }));
            self.shared += PIECE_ITEMS;
        }
    }

    /// The full pieces, the last one first.
    fn pieces(&self) -> impl Iterator<Item = &Piece<T>> {
        std::iter::successors(self.full.as_deref(), |piece| piece.before.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_in_order_and_copies_share_them() {
        let mut lists = vec![AppendList::default()];
        for item in 0..1_000 {
            lists.push(lists.last().unwrap().with(item));
        }
        for (length, list) in lists.iter().enumerate() {
            assert_eq!(list.len(), length);
            assert!(list.iter().copied().eq(0..length));
            assert!(list.last.len() < PIECE_ITEMS, "{} items are copied", list.last.len());
            assert!(!list.contains(&length));
            assert!(length == 0 || list.contains(&(length - 1)) && list.contains(&0));
        }
        let [.., before, after] = &lists[..] else { panic!("there are two") };
        assert!(Arc::ptr_eq(before.full.as_ref().unwrap(), after.full.as_ref().unwrap()));
    }
}
