//! Contract of a dialect, and the statements that it reads.

use crate::message::{
    Channel, Destination, MessageId, Notification, Reference, StatedProvider, Status, Timestamp,
};
use crate::payload::RawPayload;
use crate::verify::{Place, Request, Secret, Unverified, Verified};

/// Callback format of one provider.
pub trait Dialect: Sync {
    /// Name of the dialect in the configuration.
    fn name(&self) -> &'static str;

    /// HTTP methods that the provider uses.
    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }

    /// Whether messages are named by the provider's own ids.
    fn foreign_ids(&self) -> bool;

    /// The provider's own signature, if it has one.
    fn native(&self) -> Option<&dyn NativeSignature> {
        None
    }

    /// Delivery that is understood and states no message status: its content type and body.
    fn test_delivery(&self) -> (&'static str, &'static str);

    /// Reads a raw payload: one result for each entry of the delivery.
    fn read(&self, content: &RawPayload) -> Result<Vec<ReadEntry>, DecodeError>;
}

/// Signature of a provider's own design.
pub trait NativeSignature {
    /// Whether the signature can be verified over a body of this content type.
    fn supports_content_type(&self, content_type: Option<&str>) -> bool;

    /// Whether the URL is part of the signed text.
    fn covers_url(&self) -> bool;

    /// Places in a request that hold the signature.
    fn credential_places(&self) -> Vec<Place>;

    /// Headers that authenticate a request to this URL, signed with the first secret.
    fn sign(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
    ) -> Option<Vec<(String, String)>>;

    /// Verifies a request; `url` is the public URL, without the query, that the sender called.
    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
        now: Timestamp,
    ) -> Result<Verified, Unverified>;
}

/// Result of reading one entry: its statement, or the reason why it has none.
pub type ReadEntry = Result<Box<EntryStatement>, NoStatement>;

/// Statement of one entry of a delivery, in the words of the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryStatement {
    /// Name of the message.
    pub message: Name,
    /// Status that the message reached.
    pub status: Status,
    /// Time of the status, if stated with a zone.
    pub stated_at: Option<Timestamp>,
    /// Time at which the provider accepted the message, if stated.
    pub accepted_at: Option<Timestamp>,
    /// Channel of the message.
    pub channel: Channel,
    /// Destination, if stated.
    pub destination: Option<Destination>,
    /// Reference of the client.
    pub reference: Reference,
    /// The provider's own words.
    pub provider: StatedProvider,
    /// Plain words for the provider's code, where the provider gives no message and we know the code.
    pub plain_words: Option<&'static str>,
    /// Number of SMS segments, if stated.
    pub segments: Option<u32>,
}

/// Name of a message in a provider's callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Our own message id.
    Ours(MessageId),
    /// Id that the provider assigned: that of the statement's `provider`.
    ProviderId,
}

/// Reason why an entry states no message status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoStatement {
    /// Understood, but about something else.
    Ignored(String),
    /// Not understood.
    Unreadable(String),
}

/// Error: the body is not in the dialect's encoding. Holds the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(pub String);

/// One entry of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Notification about a message.
    Notification {
        /// The notification.
        notification: Box<Notification>,
        /// Whether the message is named by the provider's id.
        by_provider_id: bool,
    },
    /// Understood, but about something else.
    Ignored {
        /// Description of the entry's subject.
        reason: String,
    },
    /// Not understood.
    Unreadable {
        /// Reason why it is not understood.
        reason: String,
    },
}

/// Query without its credentials (`token` and `signature`); the other parameters stay as they were.
pub fn query_without_credentials(query: &str) -> String {
    let is_credential = |pair: &&str| {
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_some_and(|(name, _)| name == "token" || name == "signature")
    };
    query.split('&').filter(|pair| !is_credential(pair)).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::query_without_credentials;

    #[test]
    fn credentials_are_not_kept() {
        assert_eq!(query_without_credentials("a=1&token=x&b=%2B+2&signature=y"), "a=1&b=%2B+2");
        assert_eq!(query_without_credentials("t%6fken=x"), "");
        assert_eq!(query_without_credentials(""), "");
    }
}
