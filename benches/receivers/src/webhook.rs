//! Types of the gateway's webhook and of the answers.

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Rejection;

/// Webhook about the status of a message.
#[derive(Deserialize)]
pub struct Webhook {
    /// Kind of webhook.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Message with its status.
    pub message: Message,
}

/// Kinds of webhook. There is only one.
#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A message has a new status.
    StatusUpdate,
}

/// Message as the gateway sends it and as queries return it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Id of the message.
    pub id: Uuid,
    /// Time at which the provider accepted the message.
    pub provider_acceptance_at: Option<DateTime<Utc>>,
    /// Time at which the status changed.
    pub status_changed_at: DateTime<Utc>,
    /// Reference of the sender.
    #[serde(default)]
    pub reference: Reference,
    /// Channel of the message.
    pub channel: Channel,
    /// Delivery status.
    pub status: Status,
    /// Details from the provider.
    #[serde(default)]
    pub provider: Provider,
    /// Details of SMS; `None` for other channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<Sms>,
    /// Recipient's number; not part of answers.
    #[serde(skip_serializing)]
    pub destination: Option<String>,
}

/// Sender's reference of a message.
#[derive(Deserialize, Serialize, Default)]
pub struct Reference {
    /// Application of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Action of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Key of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Details from the provider, in its own terms.
#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
pub struct Provider {
    /// Name of the provider.
    pub name: String,
    /// Provider's id of the message.
    pub id: String,
    /// Provider's status.
    pub status: String,
    /// Provider's status code.
    pub code: String,
    /// Provider's text, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Details of an SMS.
#[derive(Deserialize, Serialize)]
pub struct Sms {
    /// Number of segments.
    pub segments: u16,
}

/// Status of a message, in order of precedence.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The provider accepted the message.
    ProviderAcceptance,
    /// The provider sent the message on.
    Sent,
    /// The provider rejected the message.
    Rejected,
    /// The message did not arrive.
    Undelivered,
    /// The message arrived.
    Delivered,
    /// The message was read.
    Read,
}

/// Channel of a message.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    /// SMS.
    Sms,
    /// RCS.
    Rcs,
}

/// Outcome of a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The message was added or changed.
    Applied,
    /// The stored status takes precedence.
    Superseded,
    /// The same webhook was stored before.
    Duplicate,
}

/// Answer to a webhook.
#[derive(Serialize)]
pub struct Receipt {
    results: [EntryResult; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryResult {
    message_id: Uuid,
    outcome: Outcome,
    status: Status,
}

/// Answer to a query.
#[derive(Serialize)]
pub struct MessageAnswer {
    /// Requested message.
    pub message: Message,
}

impl Webhook {
    /// Parses a body.
    pub fn parse(body: &Bytes) -> Result<Self, Rejection> {
        Ok(serde_json::from_slice(body)?)
    }

    /// Hash of a body, by which a repeated webhook is recognized.
    pub fn identity(body: &Bytes) -> [u8; 32] {
        Sha256::digest(body).into()
    }
}

impl Status {
    const ALL: [Self; 6] = [
        Self::ProviderAcceptance,
        Self::Sent,
        Self::Rejected,
        Self::Undelivered,
        Self::Delivered,
        Self::Read,
    ];

    /// Number in the database, in order of precedence.
    pub fn number(self) -> i16 {
        match self {
            Self::ProviderAcceptance => 0,
            Self::Sent => 1,
            Self::Rejected => 2,
            Self::Undelivered => 3,
            Self::Delivered => 4,
            Self::Read => 5,
        }
    }

    /// Status with this number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }
}

impl Channel {
    /// Gateway's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Rcs => "RCS",
        }
    }

    /// Channel with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sms, Self::Rcs].into_iter().find(|channel| channel.name() == name)
    }
}

impl Receipt {
    /// Answer with the outcome and the current status of the message.
    pub fn new(message_id: Uuid, outcome: Outcome, status: Status) -> Self {
        Self { results: [EntryResult { message_id, outcome, status }] }
    }
}
