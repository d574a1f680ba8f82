//! One statement about one message.

use super::text::cut_owned;
use super::{
    Channel, Destination, Identity, MessageId, Provider, Reference, StatedProvider, Status,
    Timestamp,
};

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A webhook reported a status.
    Report,
    /// The sender registered the message.
    Registration,
}

/// What a notification says about its message. Everything here is part of its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statement {
    /// The message spoken of.
    pub message: MessageId,
    /// Whose word it is.
    pub kind: Kind,
    /// The status that the message is said to have reached.
    pub status: Status,
    /// When it reached it, if a time with a zone was stated.
    pub stated_at: Option<Timestamp>,
    /// When the provider accepted the message, if stated.
    pub accepted_at: Option<Timestamp>,
    /// The way the message travels.
    pub channel: Channel,
    /// The recipient, if stated.
    pub destination: Option<Destination>,
    /// The client's reference; empty if none is stated.
    pub reference: Reference,
    /// The provider's own words.
    pub provider: StatedProvider,
    /// How many SMS the message took, if stated.
    pub segments: Option<u32>,
}

/// What configuration and code tables add to a statement. It shows in the record, but makes no
/// other notification: a retry after a change of configuration is still the same one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Added {
    /// The provider's name, where the statement has none.
    pub provider_name: String,
    /// The plain words for the provider's code, where the statement has none.
    pub provider_message: Option<String>,
    /// The service of a reference that names none.
    pub service: Option<String>,
}

/// A statement, what we add to it, and its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notification {
    statement: Statement,
    provider: Provider,
    reference: Reference,
    identity: Identity,
}

impl Notification {
    /// The notification that makes this statement.
    ///
    /// The identity is that of the texts as they were stated; of the provider's texts only what
    /// [`MAX_TEXT_BYTES`](super::MAX_TEXT_BYTES) allows is kept.
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

    /// The notification that a store has kept, with the provider and the identity that it had. What
    /// was shown of its reference is taken for what was stated.
    pub fn stored(statement: Statement, provider: Provider, identity: Identity) -> Self {
        let reference = statement.reference.clone();
        Self { statement, provider, reference, identity }
    }

    /// What is said.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The provider as it is shown.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// The reference as it is shown.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What makes it this notification and no other.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether it counts: nobody can have read an SMS and told us.
    pub fn is_valid(&self) -> bool {
        !(self.statement.status == Status::Read && self.statement.channel == Channel::Sms)
    }
}

/// The hash of everything a statement says. The source, the webhook's own id, `createdAt` and the
/// time of arrival are left out, because retries may be re-serialised and gateways send one status
/// of a multipart message under several ids.
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
