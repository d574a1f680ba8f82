//! The gateway's webhook and the answers, as types.

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Refusal;

/// A webhook about a message's status.
#[derive(Deserialize)]
pub struct Webhook {
    /// The only kind that there is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What it says.
    pub message: Message,
}

/// The kinds of webhook.
#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// A message has a new status.
    StatusUpdate,
}

/// A message, as the gateway sends and shows it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// When the provider took it.
    pub provider_acceptance_at: Option<DateTime<Utc>>,
    /// Since when it has its status.
    pub status_changed_at: DateTime<Utc>,
    /// What the sender calls it.
    #[serde(default)]
    pub reference: Reference,
    /// How it travels.
    pub channel: Channel,
    /// What became of it.
    pub status: Status,
    /// What the provider says.
    #[serde(default)]
    pub provider: Provider,
    /// Of text messages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms: Option<Sms>,
    /// Whom it is for; not shown.
    #[serde(skip_serializing)]
    pub destination: Option<String>,
}

/// What the sender calls a message.
#[derive(Deserialize, Serialize, Default)]
pub struct Reference {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The message's own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What the provider says, in its own words.
#[derive(Deserialize, Serialize, Default)]
#[serde(default)]
pub struct Provider {
    /// The provider.
    pub name: String,
    /// Its own id of the message.
    pub id: String,
    /// Its own word for the status.
    pub status: String,
    /// Its own code.
    pub code: String,
    /// What it adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What only text messages have.
#[derive(Deserialize, Serialize)]
pub struct Sms {
    /// In how many pieces it travels.
    pub segments: u16,
}

/// What became of a message. A later one beats an earlier one.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The provider took it.
    ProviderAcceptance,
    /// The provider sent it on.
    Sent,
    /// The provider refused it.
    Rejected,
    /// It did not arrive.
    Undelivered,
    /// It arrived.
    Delivered,
    /// It was read.
    Read,
}

/// The way a message travels.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    /// A text message.
    Sms,
    /// A rich text message.
    Rcs,
}

/// What a webhook did.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The message has changed.
    Applied,
    /// It has a status that beats this one.
    Superseded,
    /// The same was stored already.
    Duplicate,
}

/// The answer to a webhook.
#[derive(Serialize)]
pub struct Receipt {
    results: [Done; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    message_id: Uuid,
    outcome: Outcome,
    status: Status,
}

/// The answer to a query.
#[derive(Serialize)]
pub struct Found {
    /// What was asked for.
    pub message: Message,
}

impl Webhook {
    /// The webhook in a body.
    pub fn parse(body: &Bytes) -> Result<Self, Refusal> {
        Ok(serde_json::from_slice(body)?)
    }

    /// What the same webhook is known by when it comes again.
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

    /// Its number, which is greater the more it is worth.
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

    /// The status with this number.
    pub fn numbered(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }
}

impl Channel {
    /// The gateway's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Rcs => "RCS",
        }
    }

    /// The channel with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sms, Self::Rcs].into_iter().find(|channel| channel.name() == name)
    }
}

impl Receipt {
    /// What was done, and the status that the message has now.
    pub fn new(message_id: Uuid, outcome: Outcome, status: Status) -> Self {
        Self { results: [Done { message_id, outcome, status }] }
    }
}
