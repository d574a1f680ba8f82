//! What is shown of a message, lent by whoever knows it: a record, or a row that is being read.

use super::{Channel, Destination, MessageId, Provider, Reference, Status, Timestamp};

/// What is shown of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Its name.
    pub id: MessageId,
    /// Its status.
    pub status: Status,
    /// When it reached that.
    pub status_changed_at: Timestamp,
    /// When the provider accepted it.
    pub accepted_at: Timestamp,
    /// The way it travelled.
    pub channel: Channel,
    /// The recipient, if anybody told.
    pub destination: Option<Destination>,
    /// The client's reference; an empty one if there is none.
    pub reference: Reference<&'a str>,
    /// The aggregator behind the gateway.
    pub provider: Provider<&'a str>,
    /// How many SMS it took.
    pub segments: Option<u32>,
}
