//! The shapes of what is posted and answered, where no type of the service's own has them: answers are
//! written member by member (see `view`), and a dialect reads what it knows.
//!
//! Nothing of this exists but its description. That answers have these shapes, and no member besides, is
//! what `tests/it/openapi.rs` tries.

#![expect(dead_code, reason = "only what these describe is used")]

use std::borrow::Cow;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::message::{Channel as OurChannel, Outcome as OurOutcome, Status as OurStatus};

/// What is known of a message.
#[derive(ToSchema)]
pub(super) struct MessageStatus {
    message: Message,
}

/// What is known of several messages.
#[derive(ToSchema)]
pub(super) struct MessageStatusList {
    /// Newest `providerAcceptanceAt` first.
    messages: Vec<MessageStatus>,
}

/// Messages that were searched for.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct FoundMessages {
    /// Newest `providerAcceptanceAt` first; with `ids` in their order.
    messages: Vec<FoundMessage>,
    /// How many of all messages have no phone number, so that no query by number finds them.
    #[schema(minimum = 0)]
    without_number: i64,
}

/// A message, and to whom it went.
#[derive(ToSchema)]
pub(super) struct FoundMessage {
    message: Message,
    /// The recipient; null if nobody stated it.
    #[schema(required)]
    destination: Option<PhoneNumber>,
}

/// A message, as the gateway shows it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Message {
    /// Message identifier.
    #[schema(format = Uuid)]
    id: String,
    /// When the message was accepted by the provider; the time of the initial `PROVIDER_ACCEPTANCE`.
    #[schema(format = DateTime)]
    provider_acceptance_at: String,
    /// When its status changed last.
    #[schema(format = DateTime)]
    status_changed_at: String,
    reference: Reference,
    channel: Channel,
    status: Status,
    provider: Provider,
    /// For SMS alone, where it is known.
    #[schema(required = false)]
    sms: Sms,
}

/// The reference that the send request gave; empty if it gave none.
#[derive(ToSchema)]
pub(super) struct Reference {
    /// The client's service.
    #[schema(required = false)]
    service: String,
    /// The service's action.
    #[schema(required = false)]
    action: String,
    /// The client's key, by which messages are found.
    #[schema(required = false)]
    key: String,
}

/// The aggregator behind the gateway, in its own words; empty where nothing is known.
#[derive(ToSchema)]
pub(super) struct Provider {
    /// Provider name.
    name: String,
    /// Provider's message identifier.
    id: String,
    /// Provider-specific status.
    status: String,
    /// Provider status or error code.
    code: String,
    /// Provider error details.
    #[schema(required = false)]
    message: String,
}

/// What there is to know of an SMS alone.
#[derive(ToSchema)]
pub(super) struct Sms {
    /// Number of SMS segments used.
    #[schema(format = Int64, minimum = 0, maximum = 4_294_967_295_u64)]
    segments: i64,
}

/// All that was said of a message.
#[derive(ToSchema)]
pub(super) struct MessageHistory {
    /// What follows from it; null if nothing that was said can be.
    #[schema(required)]
    message: Option<Message>,
    /// Every notification, in the order of arrival.
    history: Vec<Notification>,
}

/// One statement about a message, as it arrived.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct Notification {
    /// The source that posted it; `api:` and the name of the key that registered it.
    source: String,
    status: Status,
    /// When the status changed; null if that was not stated.
    #[schema(format = DateTime, required)]
    status_changed_at: Option<String>,
    /// When it arrived.
    #[schema(format = DateTime)]
    received_at: String,
    outcome: Outcome,
    channel: Channel,
    /// The recipient; null if that was not stated.
    #[schema(required)]
    destination: Option<PhoneNumber>,
    reference: Reference,
    provider: Provider,
}

/// What became of a message: the `data` of an event called `change`.
#[derive(ToSchema)]
pub(super) struct MessageChange {
    /// The message after the change.
    message: Message,
    /// The status before it; null if nothing was known.
    #[schema(required)]
    previous: Option<Status>,
    /// Whether a failure turned out to be none.
    corrected: bool,
}

/// Why a stream of events ends: the `data` of the event called `end`.
#[derive(ToSchema)]
pub(super) struct StreamEnd {
    reason: EndReason,
    /// The same in words, and what to do.
    detail: String,
}

/// closing: the service stops. slow: the client took nothing for 10 seconds. unavailable: the store cannot
/// be read.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum EndReason {
    Closing,
    Slow,
    Unavailable,
}

/// What a registration did.
#[derive(ToSchema)]
pub(super) struct Registered {
    outcome: Outcome,
    /// The message after it.
    #[schema(required)]
    message: Option<Message>,
}

/// What was done with each notification of a webhook.
#[derive(ToSchema)]
pub(super) struct WebhookReceipt {
    results: Vec<WebhookResult>,
}

/// What was done with one notification.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum WebhookResult {
    /// It was read, and is stored.
    #[schema(rename_all = "camelCase")]
    Judged {
        /// The message that it is about.
        #[schema(format = Uuid)]
        message_id: String,
        outcome: Outcome,
        /// The message's status after it; absent if nothing that was said of it can be.
        #[schema(required = false)]
        status: Status,
    },
    /// It is authentic, but was not understood; it is kept whole.
    #[schema(rename_all = "camelCase")]
    Quarantined {
        outcome: Quarantined,
        /// What was not understood.
        reason: String,
        /// The entry's name for `statusmirror quarantine`.
        quarantine_id: String,
    },
    /// It says nothing about a status, or is about a message that was erased; it is not kept.
    Ignored {
        outcome: Ignored,
        /// Why.
        reason: String,
    },
}

/// The outcome of what was not understood.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Quarantined {
    Quarantined,
}

/// The outcome of what is no statement about a status.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Ignored {
    Ignored,
}

/// A webhook of a source of the dialect `gateway`. Members it does not name are ignored; a number and its
/// text are taken for each other.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct GatewayWebhook {
    #[schema(required = false)]
    id: String,
    #[schema(required = false)]
    webhook_configuration_id: String,
    r#type: WebhookType,
    #[schema(format = DateTime, required = false)]
    created_at: String,
    message: GatewayMessage,
}

/// Of any other type nothing is known.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum WebhookType {
    StatusUpdate,
}

/// What a webhook says of a message.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct GatewayMessage {
    #[schema(format = Uuid)]
    id: String,
    /// When the provider accepted it. A time without a zone is not understood.
    #[schema(format = DateTime)]
    provider_acceptance_at: Option<String>,
    /// When the status changed. A time without a zone is not understood.
    #[schema(format = DateTime)]
    status_changed_at: String,
    reference: Option<Reference>,
    channel: Channel,
    status: Status,
    provider: Option<GatewayProvider>,
    sms: Option<Sms>,
    /// The recipient, where who posts says it: an extension of the gateway's shape.
    destination: Option<PhoneNumber>,
}

/// The aggregator behind the gateway, in its own words.
#[derive(ToSchema)]
pub(super) struct GatewayProvider {
    name: Option<String>,
    id: Option<String>,
    status: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

/// A status callback of Twilio's, for a source of the dialect `twilio`. Fields it does not name are
/// ignored.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(super) struct TwilioCallback {
    /// Twilio's id of the message.
    message_sid: String,
    /// Twilio's word for the status.
    message_status: String,
    /// The recipient.
    #[schema(required = false)]
    to: String,
    /// The sender.
    #[schema(required = false)]
    from: String,
    /// Why it failed.
    #[schema(required = false)]
    error_code: String,
    /// The same in words.
    #[schema(required = false)]
    error_message: String,
    /// The way it travelled, where that is not SMS.
    #[schema(required = false)]
    channel_prefix: String,
    /// What the channel says of a failure.
    #[schema(required = false)]
    channel_status_message: String,
    /// `READ`, where an older sender says so of what was delivered.
    #[schema(required = false)]
    event_type: String,
}

/// A phone number, as E.164.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^\+[1-9][0-9]{6,14}$", example = "+393331234567")]
pub(crate) struct PhoneNumber(String);

/// Describes a set of words by the type that has them.
macro_rules! words {
    ($name:ident, $all:expr, $description:expr) => {
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .enum_values(Some($all.map(|word| word.name())))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

words!(
    Status,
    OurStatus::ALL,
    "PROVIDER_ACCEPTANCE: accepted by the provider. SENT: sent by the provider. REJECTED: rejected by the \
     provider, not sent. UNDELIVERED: failed to deliver. DELIVERED: delivered to the handset. READ: (RCS \
     only) read by the recipient."
);
words!(Channel, OurChannel::ALL, "Delivery channel.");
words!(
    Outcome,
    OurOutcome::ALL,
    "applied: the record changed. superseded: nothing in it changed. duplicate: the same is stored \
     already. conflict: it contradicts the record's status, and may have moved it. invalid: it cannot be, \
     and never counts."
);
