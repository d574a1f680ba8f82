//! What was said lately: the records that the table `message` does not have yet, or not as they are.
//!
//! It is a value, not a place. A copy costs next to nothing, shares what it has in common with the
//! original, and stays as it is; so the writer changes a copy, which counts once its transaction has been
//! committed, and whoever reads keeps what it took for as long as it looks into the tables.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use imbl::{HashMap, OrdMap, OrdSet};

use crate::message::{Destination, Identity, MessageId, Record, Reference};
use crate::store::Key;

/// What is known of one message.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its row in `message`, if it has one.
    pub(super) row: Option<i64>,
    /// Whether columns that indexes read are not as the row has them.
    pub(super) moved: bool,
    /// Its first notification that the table has not followed; none if the row has all.
    pub(super) since: Option<i64>,
    /// Its last notification.
    pub(super) last: i64,
    /// Every notification of it, by identity.
    pub(super) identities: Vec<Identity>,
    /// The provider's ids that lead to it and are not in `foreign_id` yet.
    pub(super) foreign_ids: Vec<ForeignId>,
    /// What follows; none if nothing valid was said.
    pub(super) record: Option<Record>,
}

impl Entry {
    /// How many notifications there are.
    pub(super) fn notifications(&self) -> u32 {
        u32::try_from(self.identities.len()).unwrap_or(u32::MAX)
    }
}

/// The provider's own id, at one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignId {
    pub(super) source: String,
    pub(super) id: String,
}

/// A place in the lists: a hash of what is listed under, when the message was accepted, its name.
type Listed = (u64, Reverse<i64>, MessageId);

/// The records that `message` does not have as they are.
#[derive(Clone, Default)]
pub(super) struct Recent {
    entries: HashMap<MessageId, Arc<Entry>>,
    /// In the order in which the table fell behind.
    queue: OrdMap<i64, MessageId>,
    lists: OrdSet<Listed>,
    hasher: RandomState,
}

impl Recent {
    /// What is known of a message, if the table does not have it.
    pub(super) fn get(&self, id: &MessageId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// From now on this is known of a message.
    pub(super) fn put(&mut self, id: MessageId, entry: Entry) {
        let entry = Arc::new(entry);
        match self.entries.insert(id, Arc::clone(&entry)) {
            Some(before) if places_stay(&before, &entry) => {}
            Some(before) => {
                self.unlist(id, &before);
                self.list(id, &entry);
            }
            None => {
                self.queue.extend(entry.since.map(|since| (since, id)));
                self.list(id, &entry);
            }
        }
    }

    /// The table has it now, or it is gone.
    pub(super) fn remove(&mut self, id: &MessageId) -> Option<Arc<Entry>> {
        let entry = self.entries.remove(id)?;
        if let Some(since) = entry.since {
            self.queue.remove(&since);
        }
        self.unlist(*id, &entry);
        Some(entry)
    }

    /// The message of which the table has been behind for the longest.
    pub(super) fn oldest(&self) -> Option<MessageId> {
        self.queue.get_min().map(|(_since, id)| *id)
    }

    /// The first notification that the table has not followed.
    pub(super) fn since(&self) -> Option<i64> {
        self.queue.get_min().map(|(since, _id)| *since)
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MessageId, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// The messages under this key that lie behind a place, newest acceptance first, ties by id.
    pub(super) fn listed<'a>(
        &'a self,
        key: &'a Key,
        (accepted_at, id): (i64, MessageId),
    ) -> impl Iterator<Item = (MessageId, &'a Record)> {
        let hash = self.hasher.hash_one(Under::from(key));
        self.lists
            .range((Bound::Excluded((hash, Reverse(accepted_at), id)), Bound::Unbounded))
            .take_while(move |(other, _, _)| *other == hash)
            .filter_map(move |(_, _, id)| {
                let entry = self.entries.get(id)?;
                // Another key may have the same hash.
                let really = under(entry).any(|under| under == Under::from(key));
                entry.record.as_ref().filter(|_| really).map(|record| (*id, record))
            })
    }

    fn list(&mut self, id: MessageId, entry: &Entry) {
        let Some(record) = &entry.record else { return };
        for under in under(entry) {
            let hash = self.hasher.hash_one(under);
            self.lists.insert((hash, Reverse(record.accepted_at().micros()), id));
        }
    }

    fn unlist(&mut self, id: MessageId, entry: &Entry) {
        let Some(record) = &entry.record else { return };
        for under in under(entry) {
            let hash = self.hasher.hash_one(under);
            self.lists.remove(&(hash, Reverse(record.accepted_at().micros()), id));
        }
    }
}

/// What a message is listed under.
#[derive(PartialEq, Eq, Hash)]
enum Under<'a> {
    Destination(Destination),
    Reference(&'a str),
    Foreign { source: &'a str, id: &'a str },
}

impl<'a> From<&'a Key> for Under<'a> {
    fn from(key: &'a Key) -> Self {
        match key {
            Key::Destination(number) => Self::Destination(*number),
            Key::Reference(key) => Self::Reference(key),
            Key::Foreign { source, id } => Self::Foreign { source, id },
        }
    }
}

fn under(entry: &Entry) -> impl Iterator<Item = Under<'_>> {
    let record = entry.record.as_ref();
    let destination = record.and_then(|record| record.destination.as_ref());
    let reference = record.and_then(|record| record.reference.as_ref());
    let foreign = entry.foreign_ids.iter();
    destination
        .map(|claim| Under::Destination(claim.value))
        .into_iter()
        .chain(reference.and_then(|claim| claim.value.key()).map(Under::Reference))
        .chain(foreign.map(|ForeignId { source, id }| Under::Foreign { source, id }))
}

/// Whether a message has the same places in the lists after a change as before it.
fn places_stay(before: &Entry, after: &Entry) -> bool {
    before.foreign_ids == after.foreign_ids
        && match (&before.record, &after.record) {
            (Some(before), Some(after)) => {
                before.accepted_at() == after.accepted_at() && listed_alike(before, after)
            }
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        }
}

/// Whether two records are listed under the same number and reference key.
pub(super) fn listed_alike(one: &Record, other: &Record) -> bool {
    fn key(record: &Record) -> Option<&str> {
        record.reference.as_ref().map(|claim| &claim.value).and_then(Reference::key)
    }
    let destination = |record: &Record| record.destination.as_ref().map(|claim| claim.value);
    destination(one) == destination(other) && key(one) == key(other)
}

/// What was said lately, as far as it is committed, for everybody who reads.
#[derive(Clone, Default)]
pub(super) struct Committed(Arc<RwLock<Recent>>);

impl Committed {
    /// As it is now.
    pub(super) fn now(&self) -> Recent {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known now of a message, if the table does not have it.
    pub(super) fn get(&self, id: &MessageId) -> Option<Arc<Entry>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// From now on everybody sees this.
    pub(super) fn replace(&self, recent: Recent) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, recent);
        drop(held);
        // What only the old one had goes without anybody waiting for it.
        drop(before);
    }
}
