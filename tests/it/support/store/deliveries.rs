//! Deliveries to a store, and the visible part of a record.

use statusmirror::message::{Added, MessageId, Notification, Record, Statement, Timestamp};
use statusmirror::payload::RawPayload;
use statusmirror::store::{Delivery, Entry};

pub(crate) fn about(message: MessageId, said: &Notification) -> Notification {
    Notification::new(Statement { message, ..said.statement().clone() }, Added::default())
}

pub(crate) fn entry(index: u32, notification: Notification) -> Entry {
    Entry::Notification { index, notification: Box::new(notification), by_provider_id: false }
}

pub(crate) fn delivery(received_at: Timestamp, entries: Vec<Entry>) -> Delivery {
    let content = RawPayload {
        method: "POST".to_owned(),
        query: String::new(),
        content_type: None,
        body: format!("{entries:?}").into_bytes(),
    };
    let content = Some(content);
    Delivery {
        source: "laws".to_owned(),
        received_at,
        content,
        url_covered: false,
        entries,
        replay_of: None,
    }
}

/// Everything of a record that a client can see.
pub(crate) fn shown(record: &Record) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (record.status, record.status_changed_at(), record.accepted_at(), record.channel()),
        record.provider().clone(),
        record.destination.as_ref().map(|claim| claim.value),
        record.reference.as_ref().map(|claim| claim.value.clone()),
        record.segments.as_ref().map(|claim| claim.value),
    )
}
