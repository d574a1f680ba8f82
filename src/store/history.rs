//! The history of a message, in parts of bounded size.

use crate::message::{
    Channel, Destination, Outcome, Provider, Record, Reference, Status, Timestamp,
};

/// A message's record, all its notifications without their texts, and a part of them in full.
#[derive(Debug, Clone)]
pub struct History {
    /// The record; none if no notification is valid.
    pub record: Option<Record>,
    /// All notifications without their texts, in the order of arrival.
    pub steps: Vec<Step>,
    /// The requested part in full, in the order of arrival.
    pub in_full: Vec<StoredNotification>,
    /// Index in `steps` of the first notification in `in_full`.
    pub begin: usize,
}

/// The part of a history to return in full.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// The first notifications, at least one, up to a limit of text.
    First {
        /// Text limit in bytes. The part ends with the notification that exceeds it.
        bytes: usize,
    },
    /// The newest notifications, up to a limit.
    Newest {
        /// Maximum number of notifications.
        count: usize,
        /// Only notifications before the one with this number.
        before: Option<i64>,
    },
}

/// A notification without its texts.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Number in the notification log.
    pub number: i64,
    /// Whether the notification came from an application through the API.
    pub by_api: bool,
    /// Stated status.
    pub status: Status,
    /// Stated time.
    pub stated_at: Option<Timestamp>,
    /// First arrival.
    pub received_at: Timestamp,
    /// Outcome on arrival.
    pub outcome: Outcome,
}

/// A stored notification, as displayed.
#[derive(Debug, Clone)]
pub struct StoredNotification {
    /// Origin: a source's name, or `api:` and the name of an API key.
    pub source: String,
    /// First arrival.
    pub received_at: Timestamp,
    /// Outcome on arrival.
    pub outcome: Outcome,
    /// Stated status.
    pub status: Status,
    /// Stated time.
    pub stated_at: Option<Timestamp>,
    /// Stated channel.
    pub channel: Channel,
    /// Stated destination.
    pub destination: Option<Destination>,
    /// Stated reference.
    pub reference: Reference,
    /// Provider, as displayed.
    pub provider: Provider,
}

impl StoredNotification {
    /// The same notification without its texts, with this number.
    pub fn step(&self, number: i64) -> Step {
        Step {
            number,
            by_api: is_api(&self.source),
            status: self.status,
            stated_at: self.stated_at,
            received_at: self.received_at,
            outcome: self.outcome,
        }
    }

    /// Length of all texts, in bytes.
    pub fn text_bytes(&self) -> usize {
        let Provider { name, id, status, code, message } = &self.provider;
        let reference = &self.reference;
        let optional =
            [reference.service(), reference.action(), reference.key(), message.as_deref()];
        let optional: usize = optional.into_iter().flatten().map(str::len).sum();
        [&self.source, name, id, status, code].into_iter().map(String::len).sum::<usize>()
            + optional
    }
}

/// Whether this source is an API key.
pub fn is_api(source: &str) -> bool {
    source.starts_with("api:")
}
