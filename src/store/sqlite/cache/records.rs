//! Cached records: those that the table `message` lacks or has in an older state.
//!
//! The writer collects the changes of a transaction in [`Changes`], which become visible to all readers once
//! it has committed. Readers search the cache first and the tables afterwards: the tables may be behind what
//! was found here, or ahead of it, but never behind what was not found here.

use std::collections::BTreeMap;
use std::collections::hash_map::{self, HashMap};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use slab::Slab;

use super::counts::Counts;
use super::entry::{Entry, ListedUnder};
use super::places::Places;
use crate::memory_budget::{MemoryBudget, Reservation, Share};
use crate::message::{MessageId, Record};
use crate::store::notifier::Notifier;
use crate::store::sqlite::index::runs::CommittedRuns;
use crate::store::{Key, Place};

/// Changes of a transaction: for each message its new cached state, or none if the cache no longer needs it.
#[derive(Clone, Default)]
pub(crate) struct Changes(HashMap<MessageId, Option<Arc<Entry>>>);

impl Changes {
    /// Sets the cached state of a message.
    pub(crate) fn put(&mut self, id: MessageId, entry: Entry) {
        self.0.insert(id, Some(Arc::new(entry)));
    }

    /// Evicts a message, because the tables have its whole state or because it was removed.
    pub(crate) fn remove(&mut self, id: MessageId) {
        self.0.insert(id, None);
    }

    /// Whether these changes write the message back, or evict it.
    pub(crate) fn writes_back(&self, id: MessageId) -> bool {
        let changed = self.0.get(&id);
        changed.is_some_and(|entry| entry.as_ref().is_none_or(|entry| entry.since.is_none()))
    }

    /// Cached state of a message, with these changes applied.
    pub(crate) fn entry(&self, id: MessageId, cache: &Cache) -> Option<Arc<Entry>> {
        match self.0.get(&id) {
            Some(changed) => changed.clone(),
            None => cache.read().get(id).cloned(),
        }
    }
}

/// Changes that are published under one write lock, for which readers wait.
const PUBLISH_CHANGES: usize = 1_024;
/// Pause for readers between two such pieces. A lock that is free only for a moment would be taken again by
/// the running thread, before the threads waiting for it wake up.
const PUBLISH_PAUSE: Duration = Duration::from_micros(50);

/// Cache of the committed state, shared by all readers.
#[derive(Clone)]
pub(crate) struct Cache {
    records: Arc<RwLock<CachedRecords>>,
    commits: Arc<AtomicU64>,
    /// Wakes queries that wait for changes.
    pub(crate) notifier: Notifier,
    /// Counts for the stats.
    pub(crate) counts: Arc<Counts>,
    /// Runs of the index, for messages that are not cached.
    pub(crate) runs: CommittedRuns,
}

impl Cache {
    /// Locks the cache for reading. Hold the guard only briefly.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, CachedRecords> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an empty cache, charged to its share of this budget.
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        Self {
            records: Arc::new(RwLock::new(CachedRecords::new(
                budget.reserve(Share::Cache, 0).ok(),
            ))),
            commits: Arc::default(),
            notifier: Notifier::default(),
            counts: Arc::default(),
            runs: CommittedRuns::default(),
        }
    }

    /// Number of commits published.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Number of records without a destination: those of the table, changed by the cached records.
    pub(crate) fn without_destination(&self) -> u64 {
        let cached = self.read().without_destination;
        u64::try_from(self.counts.rows_without_destination() + cached).unwrap_or(0)
    }

    /// Makes these changes visible to all readers, up to the last number given in the notification log.
    pub(crate) fn publish(&self, changes: &Changes, last: i64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut all = changes.0.iter();
        let mut pieces = changes.0.len().div_ceil(PUBLISH_CHANGES);
        while pieces > 0 {
            let mut cache = self.records.write().unwrap_or_else(PoisonError::into_inner);
            let piece = all.by_ref().take(PUBLISH_CHANGES);
            let before: Vec<_> =
                piece.map(|(id, entry)| cache.replace(*id, entry.as_ref())).collect();
            cache.charge();
            drop(cache);
            // Entries that nothing references any more are freed after the lock is released.
            drop(before);
            pieces -= 1;
            if pieces > 0 {
                thread::sleep(PUBLISH_PAUSE);
            }
        }
        let updated = changes.0.iter().filter(|(_id, entry)| entry.is_some());
        self.notifier.notify(updated.map(|(id, _entry)| *id), last);
    }
}

/// Records that `message` lacks or has in an older state.
pub(crate) struct CachedRecords {
    /// Cached messages. Each keeps its slot for as long as it is cached.
    entries: Slab<(MessageId, Arc<Entry>)>,
    /// Slot of each message.
    slots: HashMap<MessageId, usize>,
    /// Slots in the order in which the table fell behind, by the first notification that the row lacks.
    queue: BTreeMap<i64, usize>,
    /// Where each message is listed, and where the table still lists it.
    places: Places,
    /// Size of all entries, in bytes.
    bytes: usize,
    /// Difference that all entries make to the number of rows without a destination.
    without_destination: i64,
    /// Memory reserved in the budget for the entries.
    charged: Option<Reservation>,
}

impl CachedRecords {
    fn new(charged: Option<Reservation>) -> Self {
        Self {
            entries: Slab::new(),
            slots: HashMap::new(),
            queue: BTreeMap::new(),
            places: Places::default(),
            bytes: 0,
            without_destination: 0,
            charged,
        }
    }

    /// Size of all entries, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Updates the reservation to the current size.
    fn charge(&mut self) {
        if let Some(charged) = &mut self.charged {
            charged.set(self.bytes);
        }
    }

    /// Cached state of a message, if the table is behind.
    pub(crate) fn get(&self, id: MessageId) -> Option<&Arc<Entry>> {
        let (_, entry) = self.entries.get(*self.slots.get(&id)?)?;
        Some(entry)
    }

    /// Number of cached messages.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of cached messages for which the table is behind.
    pub(crate) fn unwritten(&self) -> usize {
        self.queue.len()
    }

    /// All cached messages; the one for which the table has been behind the longest comes first.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = (MessageId, &Arc<Entry>)> {
        let entries = self.queue.values().filter_map(|slot| self.entries.get(*slot));
        entries.map(|(id, entry)| (*id, entry))
    }

    /// Messages in `count` slots from `first` on; none after the last slot. A cached message keeps its slot,
    /// so a scan over all slots misses none that was cached before it began.
    pub(crate) fn slots(
        &self,
        first: usize,
        count: usize,
    ) -> Option<impl Iterator<Item = (MessageId, &Arc<Entry>)>> {
        let slots = first..self.entries.capacity().min(first.saturating_add(count));
        let entry = |slot| self.entries.get(slot).map(|(id, entry)| (*id, entry));
        (!slots.is_empty()).then(|| slots.filter_map(entry))
    }

    /// Up to `limit` cached messages with this key after a place, in list order. A message that only its row
    /// lists under the key comes without a record.
    pub(crate) fn listed(
        &self,
        key: &Key,
        after: Option<Place>,
        mut limit: usize,
    ) -> Vec<(MessageId, Option<Arc<Record>>)> {
        let under = ListedUnder::from(key);
        let mut places = self.places.after(&under, after);
        let mut listed = Vec::new();
        loop {
            // Each step is done for all entries of a round, so that the processor waits for several memory
            // accesses at once.
            let next: Vec<_> = places.by_ref().take(limit).collect();
            if next.is_empty() {
                return listed;
            }
            let entries = next.iter().filter_map(|(place, slot)| {
                let (id, entry) = self.entries.get(*slot)?;
                // A message may be listed in two places.
                let is_current_place =
                    |record: &&Arc<Record>| record.accepted_at() == place.accepted_at;
                Some((*id, entry, entry.record.as_ref().filter(is_current_place)))
            });
            let entries: Vec<_> = entries.collect();
            listed.extend(entries.into_iter().map(|(id, entry, record)| {
                // Another key may have the same hash.
                let record = record.filter(|_| entry.is_listed_under(&under));
                limit -= usize::from(record.is_some());
                (id, record.cloned())
            }));
        }
    }

    /// Replaces the cached state of a message and returns the previous one.
    fn replace(&mut self, id: MessageId, entry: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        let before = self.put(id, entry);
        let bytes = |entry: Option<&Arc<Entry>>| entry.map_or(0, |entry| entry.bytes());
        self.bytes = (self.bytes + bytes(entry)).saturating_sub(bytes(before.as_ref()));
        let without =
            |entry: Option<&Arc<Entry>>| entry.map_or(0, |entry| entry.without_destination());
        self.without_destination += without(entry) - without(before.as_ref());
        before
    }

    fn put(&mut self, id: MessageId, entry: Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        match (self.slots.entry(id), entry) {
            (hash_map::Entry::Occupied(slot), Some(entry)) => {
                let slot = *slot.get();
                let (_, slot_entry) = self.entries.get_mut(slot)?;
                let before = mem::replace(slot_entry, Arc::clone(entry));
                // Mostly the places stay the same: hashing and ordering them again would take longer.
                if !before.places().eq(entry.places()) {
                    self.remove_places(id, &before);
                    self.add_places(id, entry, slot);
                }
                if before.since != entry.since {
                    self.leave_queue(&before);
                    self.enter_queue(entry, slot);
                }
                Some(before)
            }
            (hash_map::Entry::Occupied(slot), None) => {
                let (_, before) = self.entries.try_remove(slot.remove())?;
                self.remove_places(id, &before);
                self.leave_queue(&before);
                Some(before)
            }
            (hash_map::Entry::Vacant(place), Some(entry)) => {
                let slot = *place.insert(self.entries.insert((id, Arc::clone(entry))));
                self.add_places(id, entry, slot);
                self.enter_queue(entry, slot);
                None
            }
            (hash_map::Entry::Vacant(_), None) => None,
        }
    }

    /// Removes a message from the lists.
    fn remove_places(&mut self, id: MessageId, entry: &Entry) {
        for (accepted_at, under) in entry.places() {
            self.places.remove(&under, Place { accepted_at, id });
        }
    }

    /// Adds a message to the lists.
    fn add_places(&mut self, id: MessageId, entry: &Entry, slot: usize) {
        for (accepted_at, under) in entry.places() {
            self.places.add(&under, Place { accepted_at, id }, slot);
        }
    }

    /// Removes a message from the queue.
    fn leave_queue(&mut self, entry: &Entry) {
        entry.since.and_then(|since| self.queue.remove(&since));
    }

    /// Adds a message to the queue.
    fn enter_queue(&mut self, entry: &Entry, slot: usize) {
        self.queue.extend(entry.since.map(|since| (since, slot)));
    }
}
