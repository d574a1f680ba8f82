//! What was said lately: the records that the table `message` does not have yet, or not as they are.
//!
//! The writer gathers what a transaction changes in [`Changes`], which count for everybody once it has been
//! committed. Whoever reads looks here first and into the tables afterwards: they may be behind what was
//! found here, or ahead of it, but never behind what was not here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::hash_map::{self, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use slab::Slab;

use super::entry::{Entry, ForeignId, Under, under};
use super::vitals::Counts;
use crate::budget::{MemoryBudget, Reservation, Share};
use crate::message::{MessageId, Record};
use crate::store::Key;
use crate::store::news::News;

/// What a transaction changes: what is known of a message, or that the tables have all of it.
#[derive(Clone, Default)]
pub(super) struct Changes(HashMap<MessageId, Option<Arc<Entry>>>);

impl Changes {
    /// From now on this is known of a message.
    pub(super) fn put(&mut self, id: MessageId, entry: Entry) {
        self.0.insert(id, Some(Arc::new(entry)));
    }

    /// The tables have all that is known of a message, or it is gone.
    pub(super) fn remove(&mut self, id: MessageId) {
        self.0.insert(id, None);
    }

    /// Whether a message is removed, so that it is not in memory any more.
    pub(super) fn removes(&self, id: MessageId) -> bool {
        matches!(self.0.get(&id), Some(None))
    }

    /// What is known of a message that the tables do not have, with these changes.
    pub(super) fn known(&self, id: MessageId, committed: &Committed) -> Option<Arc<Entry>> {
        match self.0.get(&id) {
            Some(changed) => changed.clone(),
            None => committed.now().get(id).cloned(),
        }
    }
}

/// Changes that are published together: readers wait meanwhile.
const PUBLISHED_TOGETHER: usize = 1_024;
/// Time for readers between two such pieces. A lock that is free for a moment only is taken again by the
/// thread that runs before those that wait for it wake up.
const BETWEEN_PIECES: Duration = Duration::from_micros(50);

/// What was said lately, as far as it is committed, for everybody who reads.
#[derive(Clone)]
pub(super) struct Committed {
    recent: Arc<RwLock<Recent>>,
    commits: Arc<AtomicU64>,
    /// For those who wait for it.
    pub(super) news: News,
    /// What is counted.
    pub(super) counts: Arc<Counts>,
}

impl Committed {
    /// As it is for as long as this is held, which must not be long.
    pub(super) fn now(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing yet, with its share of this budget.
    pub(super) fn new(budget: &MemoryBudget) -> Self {
        Self {
            recent: Arc::new(RwLock::new(Recent::new(budget.reserve(Share::Cache, 0).ok()))),
            commits: Arc::default(),
            news: News::default(),
            counts: Arc::default(),
        }
    }

    /// How often something was committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// From now on everybody sees these changes, up to the last number that the log has given.
    pub(super) fn publish(&self, changes: &Changes, last: i64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut all = changes.0.iter();
        let mut pieces = changes.0.len().div_ceil(PUBLISHED_TOGETHER);
        while pieces > 0 {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            let piece = all.by_ref().take(PUBLISHED_TOGETHER);
            let before: Vec<_> =
                piece.map(|(id, entry)| recent.replace(*id, entry.as_ref())).collect();
            recent.charge();
            drop(recent);
            // What nobody knows any more goes without anybody waiting for it.
            drop(before);
            pieces -= 1;
            if pieces > 0 {
                thread::sleep(BETWEEN_PIECES);
            }
        }
        let anew = changes.0.iter().filter(|(_id, entry)| entry.is_some());
        self.news.tell(anew.map(|(id, _entry)| *id), last);
    }
}

/// A place in the lists: a hash of what is listed under, when the message was accepted, its name.
type Listed = (u64, Reverse<i64>, MessageId);

/// The records that `message` does not have as they are.
pub(super) struct Recent {
    /// A message keeps its slot for as long as it is here.
    entries: Slab<(MessageId, Arc<Entry>)>,
    /// The slot of each message.
    slots: HashMap<MessageId, usize>,
    /// The slots in the order in which the table fell behind.
    queue: BTreeMap<i64, usize>,
    /// The slot of each message where it is listed, and where the table still lists it.
    lists: BTreeMap<Listed, usize>,
    hasher: RandomState,
    /// Bytes of all entries.
    bytes: usize,
    /// The part of the budget that they take.
    charged: Option<Reservation>,
}

impl Recent {
    fn new(charged: Option<Reservation>) -> Self {
        Self {
            entries: Slab::new(),
            slots: HashMap::new(),
            queue: BTreeMap::new(),
            lists: BTreeMap::new(),
            hasher: RandomState::new(),
            bytes: 0,
            charged,
        }
    }

    /// Bytes that all messages take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Charges the budget with what the messages take now.
    fn charge(&mut self) {
        if let Some(charged) = &mut self.charged {
            charged.set(self.bytes);
        }
    }

    /// What is known of a message, if the table does not have it.
    pub(super) fn get(&self, id: MessageId) -> Option<&Arc<Entry>> {
        let (_, entry) = self.entries.get(*self.slots.get(&id)?)?;
        Some(entry)
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, beginning with the one of which the table has been behind for the longest.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (MessageId, &Arc<Entry>)> {
        let entries = self.queue.values().filter_map(|slot| self.entries.get(*slot));
        entries.map(|(id, entry)| (*id, entry))
    }

    /// What is in so many slots from this one on; none behind the last. A message that is there stays in its
    /// slot, so whoever goes through all of them misses none that was there before.
    pub(super) fn slots(
        &self,
        first: usize,
        many: usize,
    ) -> Option<impl Iterator<Item = (MessageId, &Arc<Entry>)>> {
        let slots = first..self.entries.capacity().min(first.saturating_add(many));
        let entry = |slot| self.entries.get(slot).map(|(id, entry)| (*id, entry));
        (!slots.is_empty()).then(|| slots.filter_map(entry))
    }

    /// What is listed under this key behind a place, up to so many messages, newest acceptance first, ties
    /// by id; and, without a record, what only the table lists there.
    pub(super) fn listed(
        &self,
        key: &Key,
        (accepted_at, id): (i64, MessageId),
        mut most: usize,
    ) -> Vec<(MessageId, Option<Arc<Record>>)> {
        let under = Under::from(key);
        let hash = self.hasher.hash_one(&under);
        let mut places = self
            .lists
            .range((Bound::Excluded((hash, Reverse(accepted_at), id)), Bound::Unbounded))
            .take_while(|((other, _, _), _)| *other == hash);
        let mut listed = Vec::new();
        loop {
            // Each step is done for all of them, so that the processor waits for several at a time.
            let next: Vec<_> = places.by_ref().take(most).collect();
            if next.is_empty() {
                return listed;
            }
            let entries = next.iter().filter_map(|((_, Reverse(at), _), slot)| {
                let (id, entry) = self.entries.get(**slot)?;
                // It may be listed in two places.
                let here = |record: &&Arc<Record>| record.accepted_at().micros() == *at;
                Some((*id, entry, entry.record.as_ref().filter(here)))
            });
            let entries: Vec<_> = entries.collect();
            listed.extend(entries.into_iter().map(|(id, entry, record)| {
                // Another key may have the same hash.
                let record = record.filter(|_| entry.is_under(&under));
                most -= usize::from(record.is_some());
                (id, record.cloned())
            }));
        }
    }

    /// Takes over what is known of a message now, and gives back what was.
    fn replace(&mut self, id: MessageId, entry: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        let before = self.put(id, entry);
        let bytes = |entry: Option<&Arc<Entry>>| entry.map_or(0, |entry| entry.bytes());
        self.bytes = (self.bytes + bytes(entry)).saturating_sub(bytes(before.as_ref()));
        before
    }

    fn put(&mut self, id: MessageId, entry: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        match (self.slots.entry(id), entry) {
            (hash_map::Entry::Occupied(slot), Some(entry)) => {
                let slot = *slot.get();
                let (_, kept) = self.entries.get_mut(slot)?;
                let before = mem::replace(kept, Arc::clone(entry));
                if !before.has_places_of(entry) {
                    self.take_out(id, &before);
                    self.put_in(id, entry, slot);
                }
                Some(before)
            }
            (hash_map::Entry::Occupied(slot), None) => {
                let (_, before) = self.entries.try_remove(slot.remove())?;
                self.take_out(id, &before);
                Some(before)
            }
            (hash_map::Entry::Vacant(place), Some(entry)) => {
                let slot = *place.insert(self.entries.insert((id, Arc::clone(entry))));
                self.put_in(id, entry, slot);
                None
            }
            (hash_map::Entry::Vacant(_), None) => None,
        }
    }

    /// Takes a message out of the lists and the queue.
    fn take_out(&mut self, id: MessageId, entry: &Entry) {
        for place in self.places(id, entry) {
            self.lists.remove(&place);
        }
        entry.since.and_then(|since| self.queue.remove(&since));
    }

    /// Puts a message in the lists and in the queue.
    fn put_in(&mut self, id: MessageId, entry: &Entry, slot: usize) {
        let places = self.places(id, entry);
        self.lists.extend(places.into_iter().map(|place| (place, slot)));
        self.queue.extend(entry.since.map(|since| (since, slot)));
    }

    fn places(&self, id: MessageId, entry: &Entry) -> Vec<Listed> {
        let mut places = Vec::with_capacity(2);
        let mut list = |record: &Record, under| {
            let hash = self.hasher.hash_one(under);
            places.push((hash, Reverse(record.accepted_at().micros()), id));
        };
        if let Some(record) = &entry.record {
            entry.under().for_each(|under| list(record, under));
        }
        if let Some(row) = &entry.row
            && let Some(record) = row.record.as_deref()
        {
            under(record).for_each(|under| list(record, under));
            let foreign = entry.foreign_ids.iter().take(row.foreign_ids);
            foreign
                .for_each(|ForeignId { source, id }| list(record, Under::Foreign { source, id }));
        }
        places
    }
}
