//! Model of a store, to compare a real store with.

use std::collections::BTreeMap;

use statusmirror::message::{
    Destination, Identity, MessageId, Outcome, Record, Reference, Status, Timestamp,
};
use statusmirror::store::{
    CountKind, DeliveryTime, Entry, Hour, HourlyCount, Key, Place, SearchFilter,
};

/// Expected content of a store.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) known: BTreeMap<MessageId, Known>,
    /// Messages as they were before they were erased. Hourly counts still include them.
    erased_messages: Vec<Known>,
}

/// Expected state of a message.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) record: Option<Record>,
    /// History: identity, arrival and outcome of each notification.
    pub(crate) notifications: Vec<(Identity, Timestamp, Outcome)>,
    /// Destination of each notification.
    pub(crate) destinations: Vec<Option<Destination>>,
    /// Provider ids under which the message was reported.
    pub(crate) provider_ids: Vec<String>,
    pub(crate) erased: bool,
    /// Latest record with the status DELIVERED, from which the delivery time is counted.
    delivered: Option<Record>,
}

impl Model {
    /// Applies a notification; returns its expected outcome and the record that follows. `None` if the
    /// message was erased.
    pub(crate) fn ingest(
        &mut self,
        entry: &Entry,
        arrived_at: Timestamp,
    ) -> Option<(Outcome, Option<Record>)> {
        let Entry::Notification { notification, by_provider_id, .. } = entry else {
            panic!("the model takes only notifications, not {entry:?}")
        };
        let known = self.known.entry(notification.statement().message).or_default();
        if known.erased {
            return None;
        }
        let identity = notification.identity();
        let stored = known.notifications.iter().any(|(stored, ..)| *stored == identity);
        let judged = Record::judge(known.record.as_ref(), notification, arrived_at, stored);
        known.record.clone_from(&judged.record);
        if let Some(record) = judged.record.as_ref().filter(|r| r.status == Status::Delivered) {
            known.delivered = Some(record.clone());
        }
        if !stored {
            known.notifications.push((identity, arrived_at, judged.outcome));
            known.destinations.push(notification.statement().destination);
            known.provider_ids.extend(by_provider_id.then(|| notification.provider().id.clone()));
        }
        Some((judged.outcome, judged.record))
    }

    /// Erases all messages with a notification that names this destination.
    pub(crate) fn erase(&mut self, destination: Destination) {
        for known in self.known.values_mut() {
            if known.destinations.contains(&Some(destination)) {
                let erased = Known { erased: true, ..Known::default() };
                self.erased_messages.push(std::mem::replace(known, erased));
            }
        }
    }

    /// Places of the messages under a key, in the order of lists.
    pub(crate) fn list(&self, key: &Key) -> Vec<Place> {
        let is_under = |known: &Known, record: &Record| match key {
            Key::Destination(destination) => {
                record.destination.as_ref().is_some_and(|claim| claim.value == *destination)
            }
            Key::Reference(key) => {
                let reference = record.reference.as_ref().map(|claim| &claim.value);
                reference.and_then(Reference::key) == Some(key)
            }
            Key::Foreign { id, .. } => known.provider_ids.contains(id),
        };
        self.places(is_under)
    }

    /// Places of the messages that match a filter, in the order of lists. All messages come from `source`.
    pub(crate) fn found(&self, filter: &SearchFilter, source: &str) -> Vec<Place> {
        let is_from_source = filter.source.as_deref().is_none_or(|wanted| wanted == source);
        self.places(|_, record| {
            let code = &record.provider().code;
            is_from_source
                && filter.from.is_none_or(|from| from <= record.accepted_at())
                && filter.to.is_none_or(|to| record.accepted_at() < to)
                && (filter.statuses.is_empty() || filter.statuses.contains(&record.status))
                && filter.channel.is_none_or(|channel| record.channel() == channel)
                && filter.provider_code.as_ref().is_none_or(|wanted| wanted == code)
                && filter.has_destination.is_none_or(|has| record.destination.is_some() == has)
        })
    }

    fn places(&self, is_listed: impl Fn(&Known, &Record) -> bool) -> Vec<Place> {
        let mut places: Vec<_> = self
            .known
            .iter()
            .filter_map(|(id, known)| Some((*id, known, known.record.as_ref()?)))
            .filter(|(_, known, record)| is_listed(known, record))
            .map(|(id, _, record)| Place { accepted_at: record.accepted_at(), id })
            .collect();
        places.sort_by_key(|place| (-place.accepted_at.micros(), place.id));
        places
    }

    /// Hourly counts of all messages, erased ones included, in order.
    pub(crate) fn hourly_counts(&self) -> Vec<HourlyCount> {
        let mut counts = BTreeMap::new();
        for known in self.known.values().chain(&self.erased_messages) {
            let record = known.record.as_ref().map(|record| {
                let is_failure = matches!(record.status, Status::Rejected | Status::Undelivered);
                let code = if is_failure { record.provider().code.clone() } else { String::new() };
                (record, CountKind::Status { status: record.status, code })
            });
            let delivered = known.delivered.as_ref().map(|record| {
                let time = DeliveryTime::between(record.accepted_at(), record.status_changed_at());
                (record, CountKind::Delivery(time))
            });
            for (record, kind) in record.into_iter().chain(delivered) {
                let hour = Hour::of(record.accepted_at());
                *counts.entry((hour, record.channel(), kind)).or_insert(0) += 1;
            }
        }
        let counts = counts.into_iter();
        counts
            .map(|((hour, channel, kind), messages)| HourlyCount { hour, channel, kind, messages })
            .collect()
    }
}
