//! One statement about one message.

use super::id::{Destination, Identity, MessageId};
use super::provider::{Provider, StatedProvider};
use super::reference::Reference;
use super::status::{Channel, Status};
use super::text_limits::cut_owned;
use super::timestamp::Timestamp;

/// Maximum number of notifications per message. Further ones are not judged.
pub const MAX_NOTIFICATIONS: u32 = 1_000;

/// Origin of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A webhook reported a status.
    Report,
    /// The sender registered the message.
    Registration,
}

/// Statement of a notification about its message. Every member is part of the notification's identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// The message.
    pub message: MessageId,
    /// Origin of the statement.
    pub kind: Kind,
    /// The stated status.
    pub status: Status,
    /// Time of the status, if a time with a zone was stated.
    pub stated_at: Option<Timestamp>,
    /// Time at which the provider accepted the message, if stated.
    pub accepted_at: Option<Timestamp>,
    /// Channel of the message.
    pub channel: Channel,
    /// Destination, if stated.
    pub destination: Option<Destination>,
    /// The client's reference; empty if none is stated.
    pub reference: Reference,
    /// The provider's own words.
    pub provider: StatedProvider,
    /// Number of SMS segments of the message, if stated.
    pub segments: Option<u32>,
}

/// Values that configuration and code tables add to a statement. They appear in the record but are not part
/// of the identity: a retry after a change of configuration is still the same notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Added {
    /// Provider's name, used where the statement has none.
    pub provider_name: String,
    /// Plain description of the provider's code, used where the statement has none.
    pub provider_message: Option<String>,
    /// Service, used where the reference names none.
    pub service: Option<String>,
}

/// A statement, the values added to it, and its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notification {
    statement: Statement,
    provider: Provider,
    reference: Reference,
    identity: Identity,
}

impl Notification {
    /// Makes a notification from a statement.
    ///
    /// The identity is computed from the texts as stated. Each of the provider's texts is then cut to
    /// [`MAX_TEXT_BYTES`](super::text_limits::MAX_TEXT_BYTES).
    pub fn new(mut statement: Statement, added: Added) -> Self {
        let identity = identity(&statement);
        statement.provider = statement.provider.cut();
        let StatedProvider { name, id, status, code, message } = statement.provider.clone();
        let provider = Provider {
            name: if name.is_empty() { cut_owned(added.provider_name) } else { name },
            id,
            status,
            code,
            message: if message.is_empty() { added.provider_message } else { Some(message) },
        };
        let reference = statement.reference.clone().or_service(added.service.as_deref());
        Self { statement, provider, reference, identity }
    }

    /// Notification read from the store, with its stored provider and identity. The displayed reference is
    /// taken as the stated one.
    pub fn stored(statement: Statement, provider: Provider, identity: Identity) -> Self {
        let reference = statement.reference.clone();
        Self { statement, provider, reference, identity }
    }

    /// The statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The provider as displayed, with added values.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The reference as displayed, with the added service.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The notification's identity.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the notification counts. READ over SMS does not: an SMS has no read receipt.
    pub fn is_valid(&self) -> bool {
        !(self.statement.status == Status::Read && self.statement.channel == Channel::Sms)
    }
}

/// Hash of everything a statement says. The source, the webhook's own id, `createdAt` and the time of arrival
/// are left out, because retries may be re-serialised, and gateways send one status of a multipart message
/// under several ids.
fn identity(statement: &Statement) -> Identity {
    let Statement {
        message,
        kind,
        status,
        stated_at,
        accepted_at,
        channel,
        destination,
        reference,
        provider,
        segments,
    } = statement;
    let time = |moment: &Option<Timestamp>| moment.map(|t| t.micros().to_be_bytes());
    let (stated_at, accepted_at) = (time(stated_at), time(accepted_at));
    let number = destination.map(|d| d.number().to_be_bytes());
    let segments = segments.map(u32::to_be_bytes);
    let kind = match kind {
        Kind::Report => "report",
        Kind::Registration => "registration",
    };
    Identity::of(&[
        Some(message.as_bytes()),
        Some(kind.as_bytes()),
        Some(status.name().as_bytes()),
        stated_at.as_ref().map(<[u8; 8]>::as_slice),
        accepted_at.as_ref().map(<[u8; 8]>::as_slice),
        Some(channel.name().as_bytes()),
        number.as_ref().map(<[u8; 8]>::as_slice),
        reference.service().map(str::as_bytes),
        reference.action().map(str::as_bytes),
        reference.key().map(str::as_bytes),
        Some(provider.name.as_bytes()),
        Some(provider.id.as_bytes()),
        Some(provider.status.as_bytes()),
        Some(provider.code.as_bytes()),
        Some(provider.message.as_bytes()),
        segments.as_ref().map(<[u8; 4]>::as_slice),
    ])
}
