//! The history of a message, in parts of bounded size.

use crate::message::{
    Channel, Destination, Outcome, Provider, Record, Reference, Status, Timestamp,
};

/// A message's record, every notification of it without its texts, and a part of them whole.
#[derive(Debug, Clone)]
pub struct History {
    /// The record; none if no notification was valid.
    pub record: Option<Record>,
    /// Every notification, in the order of arrival.
    pub steps: Vec<Step>,
    /// The part that was asked for, in the order of arrival.
    pub said: Vec<Said>,
    /// The place of its first notification among the steps.
    pub begin: usize,
}

/// The part of a history that is wanted whole.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// The first notifications, at least one, up to so many bytes of text.
    First {
        /// The part ends with the notification that passes so many bytes.
        bytes: usize,
    },
    /// The newest notifications.
    Newest {
        /// At most so many.
        count: usize,
        /// Only those that came before the one of this number.
        before: Option<i64>,
    },
}

/// A notification without its texts.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its number in the notification log.
    pub number: i64,
    /// Whether an application stated it through the API.
    pub by_api: bool,
    /// The status stated.
    pub status: Status,
    /// The time stated.
    pub stated_at: Option<Timestamp>,
    /// When it first arrived.
    pub received_at: Timestamp,
    /// What it did when it arrived.
    pub outcome: Outcome,
}

/// A stored notification, as it is shown.
#[derive(Debug, Clone)]
pub struct Said {
    /// Who said it: a source's name, or `api:` and the name of a key.
    pub source: String,
    /// When it first arrived.
    pub received_at: Timestamp,
    /// What it did when it arrived.
    pub outcome: Outcome,
    /// The status stated.
    pub status: Status,
    /// The time stated.
    pub stated_at: Option<Timestamp>,
    /// The channel stated.
    pub channel: Channel,
    /// The recipient stated.
    pub destination: Option<Destination>,
    /// The reference stated.
    pub reference: Reference,
    /// The provider, as it is shown.
    pub provider: Provider,
}

impl Said {
    /// What remains of it without its texts, under this number.
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

    /// Bytes of its texts.
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

/// Whether this source is a key of the API.
pub fn is_api(source: &str) -> bool {
    source.starts_with("api:")
}
