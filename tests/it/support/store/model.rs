//! Model of a store, with which a real one is compared.

use std::collections::BTreeMap;

use statusmirror::message::{
    Destination, Identity, MessageId, Outcome, Record, Reference, Status, Timestamp,
};
use statusmirror::store::{
    CountKind, DeliveryTime, Entry, Hour, HourlyCount, Key, Place, SearchFilter,
};

/// What a store must know.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) known: BTreeMap<MessageId, Known>,
    /// What was known when it was erased.
    gone: Vec<Known>,
}

#[derive(Default)]
pub(crate) struct Known {
    pub(crate) record: Option<Record>,
    pub(crate) said: Vec<(Identity, Timestamp, Outcome)>,
    pub(crate) numbers: Vec<Option<Destination>>,
    pub(crate) foreign: Vec<String>,
    pub(crate) erased: bool,
    /// The record as it was when the message was delivered, and not read yet.
    delivered: Option<Record>,
}

impl Model {
    /// What the store must say to it.
    pub(crate) fn said(
        &mut self,
        entry: &Entry,
        arrived_at: Timestamp,
    ) -> Option<(Outcome, Option<Record>)> {
        let Entry::Notification { notification, by_provider_id, .. } = entry else { panic!() };
        let known = self.known.entry(notification.statement().message).or_default();
        if known.erased {
            return None;
        }
        let identity = notification.identity();
        let stored = known.said.iter().any(|(said, ..)| *said == identity);
        let judged = Record::judge(known.record.as_ref(), notification, arrived_at, stored);
        known.record.clone_from(&judged.record);
        if let Some(record) = judged.record.as_ref().filter(|r| r.status == Status::Delivered) {
            known.delivered = Some(record.clone());
        }
        if !stored {
            known.said.push((identity, arrived_at, judged.outcome));
            known.numbers.push(notification.statement().destination);
            known.foreign.extend(by_provider_id.then(|| notification.provider().id.clone()));
        }
        Some((judged.outcome, judged.record))
    }

    pub(crate) fn erase(&mut self, number: Destination) {
        for known in self.known.values_mut() {
            if known.numbers.contains(&Some(number)) {
                let erased = Known { erased: true, ..Known::default() };
                self.gone.push(std::mem::replace(known, erased));
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
        self.places(is_under)
    }

    /// The messages that are wanted, in the order of lists. All of them were spoken of by this source.
    pub(crate) fn found(&self, wanted: &SearchFilter, source: &str) -> Vec<Place> {
        let is_spoken_of = wanted.source.as_deref().is_none_or(|wanted| wanted == source);
        self.places(|_, record| {
            let code = &record.provider().code;
            is_spoken_of
                && wanted.from.is_none_or(|from| from <= record.accepted_at())
                && wanted.to.is_none_or(|to| record.accepted_at() < to)
                && (wanted.statuses.is_empty() || wanted.statuses.contains(&record.status))
                && wanted.channel.is_none_or(|channel| record.channel() == channel)
                && wanted.provider_code.as_ref().is_none_or(|wanted| wanted == code)
                && wanted.has_destination.is_none_or(|has| record.destination.is_some() == has)
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

    /// What was counted of each hour, in order; what was erased too.
    pub(crate) fn sums(&self) -> Vec<HourlyCount> {
        let mut counted = BTreeMap::new();
        for known in self.known.values().chain(&self.gone) {
            let record = known.record.as_ref().map(|record| {
                let is_failure = matches!(record.status, Status::Rejected | Status::Undelivered);
                let code = if is_failure { record.provider().code.clone() } else { String::new() };
                (record, CountKind::Status { status: record.status, code })
            });
            let delivered = known.delivered.as_ref().map(|record| {
                let took = DeliveryTime::between(record.accepted_at(), record.status_changed_at());
                (record, CountKind::Delivery(took))
            });
            for (record, what) in record.into_iter().chain(delivered) {
                let hour = Hour::of(record.accepted_at());
                *counted.entry((hour, record.channel(), what)).or_insert(0) += 1;
            }
        }
        let sums = counted.into_iter();
        sums.map(|((hour, channel, counted), messages)| HourlyCount {
            hour,
            channel,
            counted,
            messages,
        })
        .collect()
    }
}
