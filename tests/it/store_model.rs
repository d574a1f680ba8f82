//! What a store must know of what it was told: what a real one is compared with.

use std::collections::BTreeMap;

use statusmirror::message::{
    Destination, Identity, MessageId, Outcome, Record, Reference, Timestamp,
};
use statusmirror::store::{Entry, Key, Place};

/// What a store must know.
#[derive(Default)]
pub(crate) struct Model(pub(crate) BTreeMap<MessageId, Known>);

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) record: Option<Record>,
    pub(crate) said: Vec<(Identity, Timestamp, Outcome)>,
    pub(crate) numbers: Vec<Option<Destination>>,
    pub(crate) foreign: Vec<String>,
    pub(crate) erased: bool,
}

impl Model {
    /// What the store must say to it.
    pub(crate) fn said(
        &mut self,
        entry: &Entry,
        arrived_at: Timestamp,
    ) -> Option<(Outcome, Option<Record>)> {
        let Entry::Notification { notification, foreign_id, .. } = entry else { panic!() };
        let known = self.0.entry(notification.statement().message).or_default();
        if known.erased {
            return None;
        }
        let identity = notification.identity();
        let stored = known.said.iter().any(|(said, ..)| *said == identity);
        let judged = Record::judge(known.record.as_ref(), notification, arrived_at, stored);
        known.record.clone_from(&judged.record);
        if !stored {
            known.said.push((identity, arrived_at, judged.outcome));
            known.numbers.push(notification.statement().destination);
            known.foreign.extend(foreign_id.clone());
        }
        Some((judged.outcome, judged.record))
    }

    pub(crate) fn erase(&mut self, number: Destination) {
        for known in self.0.values_mut() {
            if known.numbers.contains(&Some(number)) {
                *known = Known { erased: true, ..Known::default() };
            }
        }
    }

    /// The messages under a key, in the order of lists.
    pub(crate) fn list(&self, key: &Key) -> Vec<Place> {
        let is_under = |known: &Known, record: &Record| match key {
            Key::Destination(number) => {
                record.destination.as_ref().is_some_and(|claim| claim.value == *number)
            }
            Key::Reference(key) => {
                let reference = record.reference.as_ref().map(|claim| &claim.value);
                reference.and_then(Reference::key) == Some(key)
            }
            Key::Foreign { id, .. } => known.foreign.contains(id),
        };
        let mut places: Vec<_> = self
            .0
            .iter()
            .filter_map(|(id, known)| Some((*id, known, known.record.as_ref()?)))
            .filter(|(_, known, record)| is_under(known, record))
            .map(|(id, _, record)| Place { accepted_at: record.accepted_at(), id })
            .collect();
        places.sort_by_key(|place| (-place.accepted_at.micros(), place.id));
        places
    }
}
