//! View of a message, borrowed from a record or from a row that is being read.

use super::id::{Destination, MessageId};
use super::provider::Provider;
use super::reference::Reference;
use super::status::{Channel, Status};
use super::timestamp::Timestamp;

/// Displayed state of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The message's id.
    pub id: MessageId,
    /// The message's status.
    pub status: Status,
    /// Time at which the message reached its status.
    pub status_changed_at: Timestamp,
    /// Time at which the provider accepted the message.
    pub accepted_at: Timestamp,
    /// Channel of the message.
    pub channel: Channel,
    /// Destination, if stated.
    pub destination: Option<Destination>,
    /// The client's reference; empty if none is stated.
    pub reference: Reference<&'a str>,
    /// The aggregator behind the gateway.
    pub provider: Provider<&'a str>,
    /// Number of SMS segments, if stated.
    pub segments: Option<u32>,
}
