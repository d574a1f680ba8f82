//! Places of the cached messages in lists.

use std::collections::BTreeMap;
use std::collections::hash_map::{self, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use super::entry::ListedUnder;
use crate::store::Place;

/// Where the cached messages are listed: for each key the places under it, with the messages' slots.
///
/// A key is known by its hash, so two keys may share their places. A caller tells them apart by the messages.
#[derive(Default)]
pub(crate) struct Places {
    under: HashMap<u64, UnderKey>,
    hasher: RandomState,
}

/// Places under one key. Most keys have one message, for which a tree would take several times the memory.
enum UnderKey {
    One(Place, usize),
    Many(BTreeMap<Place, usize>),
}

impl Places {
    /// Adds a place of the message in this slot.
    pub(crate) fn add(&mut self, under: &ListedUnder<'_>, place: Place, slot: usize) {
        let key = self.hasher.hash_one(under);
        match self.under.entry(key) {
            hash_map::Entry::Vacant(new) => {
                new.insert(UnderKey::One(place, slot));
            }
            hash_map::Entry::Occupied(mut known) => known.get_mut().add(place, slot),
        }
    }

    /// Removes a place.
    pub(crate) fn remove(&mut self, under: &ListedUnder<'_>, place: Place) {
        let key = self.hasher.hash_one(under);
        if let hash_map::Entry::Occupied(mut known) = self.under.entry(key) {
            let is_empty = match known.get_mut() {
                UnderKey::One(one, _slot) => *one == place,
                UnderKey::Many(many) => {
                    many.remove(&place);
                    many.is_empty()
                }
            };
            if is_empty {
                known.remove();
            }
        }
    }

    /// Places under a key after this one, in their order, with the messages' slots.
    pub(crate) fn after(
        &self,
        under: &ListedUnder<'_>,
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, usize)> {
        let (one, many) = match self.under.get(&self.hasher.hash_one(under)) {
            Some(UnderKey::One(place, slot)) => (Some((*place, *slot)), None),
            Some(UnderKey::Many(many)) => (None, Some(many)),
            None => (None, None),
        };
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let one = one.filter(|(place, _slot)| after.is_none_or(|after| *place > after));
        let many = many.into_iter().flat_map(move |many| many.range((begin, Bound::Unbounded)));
        one.into_iter().chain(many.map(|(place, slot)| (*place, *slot)))
    }
}

impl UnderKey {
    fn add(&mut self, place: Place, slot: usize) {
        match self {
            Self::One(one, one_slot) if *one == place => *one_slot = slot,
            Self::One(one, one_slot) => {
                *self = Self::Many(BTreeMap::from([(*one, *one_slot), (place, slot)]));
            }
            Self::Many(many) => {
                many.insert(place, slot);
            }
        }
    }
}
