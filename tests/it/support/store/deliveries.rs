//! Deliveries to a store, and the visible part of a record.

use statusmirror::message::{Added, MessageId, Notification, Record, Statement, Timestamp};
use statusmirror::payload::RawPayload;
use statusmirror::store::{Delivery, Entry};

/// The same notification of another message.
pub(crate) fn with_message(message: MessageId, notification: &Notification) -> Notification {
    Notification::new(Statement { message, ..notification.statement().clone() }, Added::default())
}

pub(crate) fn entry(index: u32, notification: Notification) -> Entry {
    Entry::Notification { index, notification: Box::new(notification), by_provider_id: false }
}

pub(crate) fn delivery(received_at: Timestamp, entries: Vec<Entry>) -> Delivery {
    let payload = RawPayload {
        method: "POST".to_owned(),
        query: String::new(),
        content_type: None,
        body: format!("{entries:?}").into_bytes(),
    };
    Delivery {
        source: "laws".to_owned(),
        received_at,
        content: Some(payload),
        url_covered: false,
        entries,
        replay_of: None,
    }
}

/// Values of a record that a client can see.
pub(crate) fn visible_values(record: &Record) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (record.status, record.status_changed_at(), record.accepted_at(), record.channel()),
        record.provider().clone(),
        record.destination.as_ref().map(|claim| claim.value),
        record.reference.as_ref().map(|claim| claim.value.clone()),
        record.segments.as_ref().map(|claim| claim.value),
    )
}
