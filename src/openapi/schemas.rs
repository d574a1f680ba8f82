//! Schemas of request and response bodies that no other type of the service has: responses are written member
//! by member (see `message_json`), and a dialect reads only the members that it knows.
//!
//! These types only describe. `tests/it/api/openapi.rs` checks that responses match their schemas and have no
//! other members.

#![expect(dead_code, reason = "only what these describe is used")]

use std::borrow::Cow;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::message::{Channel as OurChannel, Outcome as OurOutcome, Status as OurStatus};

/// Current state of a message.
#[derive(ToSchema)]
pub(crate) struct MessageStatus {
    message: Message,
}

/// Current state of several messages.
#[derive(ToSchema)]
pub(crate) struct MessageStatusList {
    /// Messages, newest `providerAcceptanceAt` first.
    messages: Vec<MessageStatus>,
}

/// Result of a search.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct FoundMessages {
    /// Messages found, newest `providerAcceptanceAt` first. With `ids`, in the order of the ids.
    messages: Vec<FoundMessage>,
    /// Number of all messages without a known destination. Queries by phone number do not find them.
    #[schema(minimum = 0)]
    without_destination: i64,
}

/// Message with its destination.
#[derive(ToSchema)]
pub(crate) struct FoundMessage {
    message: Message,
    /// Recipient's phone number. Null if no webhook and no registration stated it.
    #[schema(required)]
    destination: Option<PhoneNumber>,
}

/// Message, in the gateway's format.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Message {
    /// Message identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Time at which the provider accepted the message: the time of the initial `PROVIDER_ACCEPTANCE`.
    #[schema(format = DateTime)]
    provider_acceptance_at: String,
    /// Time of the last status change.
    #[schema(format = DateTime)]
    status_changed_at: String,
    reference: Reference,
    channel: Channel,
    status: Status,
    provider: Provider,
    /// Members that apply only to SMS. Absent if unknown.
    #[schema(required = false)]
    sms: Sms,
}

/// Reference stated in the send request. Empty if the request stated none.
#[derive(ToSchema)]
pub(crate) struct Reference {
    /// Name of the client's service.
    #[schema(required = false)]
    service: String,
    /// Action of the service.
    #[schema(required = false)]
    action: String,
    /// Client's key, by which messages are found.
    #[schema(required = false)]
    key: String,
}

/// Provider, which is the aggregator behind the gateway, in its own terms. Unknown members are empty.
#[derive(ToSchema)]
pub(crate) struct Provider {
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

/// Members that apply only to SMS.
#[derive(ToSchema)]
pub(crate) struct Sms {
    /// Number of SMS segments used.
    #[schema(format = Int64, minimum = 0, maximum = 4_294_967_295_u64)]
    segments: i64,
}

/// Current state of a message, and all notifications about it.
#[derive(ToSchema)]
pub(crate) struct MessageHistory {
    /// Current state of the message. Null if no notification is valid.
    #[schema(required)]
    message: Option<Message>,
    /// Notifications, in the order of arrival.
    history: Vec<Notification>,
}

/// Notification about a message, as it arrived.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Notification {
    /// Source that posted the notification. For a registration, `api:` followed by the name of the API key.
    source: String,
    status: Status,
    /// Time of the status change. Null if not stated.
    #[schema(format = DateTime, required)]
    status_changed_at: Option<String>,
    /// Time of arrival.
    #[schema(format = DateTime)]
    received_at: String,
    outcome: Outcome,
    channel: Channel,
    /// Recipient's phone number. Null if not stated.
    #[schema(required)]
    destination: Option<PhoneNumber>,
    reference: Reference,
    provider: Provider,
}

/// Change of a record: the `data` of an event named `change`.
#[derive(ToSchema)]
pub(crate) struct MessageChange {
    /// Message after the change.
    message: Message,
    /// Status before the change. Null if the message was unknown.
    #[schema(required)]
    previous: Option<Status>,
    /// Whether the change corrects a failure: from REJECTED or UNDELIVERED to DELIVERED or READ.
    corrected: bool,
}

/// End of an event stream: the `data` of the event named `end`.
#[derive(ToSchema)]
pub(crate) struct StreamEnd {
    reason: EndReason,
    /// Description of the reason, and the next step for the client.
    detail: String,
}

/// closing: the service is stopping. slow: the client read nothing for 10 seconds. unavailable: the store
/// cannot be read, or too many clients have unread events.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum EndReason {
    Closing,
    Slow,
    Unavailable,
}

/// Result of a registration.
#[derive(ToSchema)]
pub(crate) struct Registered {
    outcome: Outcome,
    /// Message after the registration.
    #[schema(required)]
    message: Option<Message>,
}

/// Results of all notifications of a webhook.
#[derive(ToSchema)]
pub(crate) struct WebhookReceipt {
    results: Vec<WebhookResult>,
}

/// Result of one notification.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum WebhookResult {
    /// Notification that was read and stored.
    #[schema(rename_all = "camelCase")]
    Judged {
        /// Message of the notification.
        #[schema(format = Uuid)]
        message_id: String,
        outcome: Outcome,
        /// Status of the message after the notification. Absent if the message has no valid notification.
        #[schema(required = false)]
        status: Status,
    },
    /// Notification that is authentic but was not understood. It is kept whole, in quarantine.
    #[schema(rename_all = "camelCase")]
    Quarantined {
        outcome: Quarantined,
        /// Reason why the notification was not understood.
        reason: String,
        /// Id of the quarantined entry, for the command `statusmirror quarantine`.
        quarantine_id: String,
    },
    /// Notification that states no status, or that is about an erased message. It is not kept.
    Ignored {
        outcome: Ignored,
        /// Reason why the notification was ignored.
        reason: String,
    },
}

/// Outcome of a notification that was not understood.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Quarantined {
    Quarantined,
}

/// Outcome of a notification that is ignored.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Ignored {
    Ignored,
}

/// Webhook for a source of the dialect `gateway`. Unknown members are ignored. A number may be written as a
/// string, and a string as a number.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct GatewayWebhook {
    #[schema(required = false)]
    id: String,
    #[schema(required = false)]
    webhook_configuration_id: String,
    r#type: WebhookType,
    #[schema(format = DateTime, required = false)]
    created_at: String,
    message: GatewayMessage,
}

/// Type of the webhook. No other type states a status.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum WebhookType {
    StatusUpdate,
}

/// Message in a webhook of the dialect `gateway`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct GatewayMessage {
    #[schema(format = Uuid)]
    id: String,
    /// Time at which the provider accepted the message. A time without a zone is not understood.
    #[schema(format = DateTime)]
    provider_acceptance_at: Option<String>,
    /// Time of the status change. A time without a zone is not understood.
    #[schema(format = DateTime)]
    status_changed_at: String,
    reference: Option<Reference>,
    channel: Channel,
    status: Status,
    provider: Option<GatewayProvider>,
    sms: Option<Sms>,
    /// Recipient's phone number, if the sender of the webhook states it. Extends the gateway's format.
    destination: Option<PhoneNumber>,
}

/// Provider, which is the aggregator behind the gateway, in its own terms.
#[derive(ToSchema)]
pub(crate) struct GatewayProvider {
    name: Option<String>,
    id: Option<String>,
    status: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

/// Twilio status callback, for a source of the dialect `twilio`. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(crate) struct TwilioCallback {
    /// Twilio's id of the message.
    message_sid: String,
    /// Twilio's term for the status.
    message_status: String,
    /// Recipient of the message.
    #[schema(required = false)]
    to: String,
    /// Sender of the message.
    #[schema(required = false)]
    from: String,
    /// Error code of a failure.
    #[schema(required = false)]
    error_code: String,
    /// Description of the failure.
    #[schema(required = false)]
    error_message: String,
    /// Channel of the message, if it is not SMS.
    #[schema(required = false)]
    channel_prefix: String,
    /// Channel's description of a failure.
    #[schema(required = false)]
    channel_status_message: String,
    /// `READ` marks a delivered message as read. Older senders use this field.
    #[schema(required = false)]
    event_type: String,
}

/// Error, as a problem details object (RFC 9457).
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// Always `about:blank`: the status code is the kind of error.
    r#type: String,
    /// Reason phrase of the status code.
    title: String,
    /// HTTP status code.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Description of the error, and its remedy.
    detail: String,
}

/// Phone number in E.164 format.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^\+[1-9][0-9]{6,14}$", example = "+393331234567")]
pub(crate) struct PhoneNumber(String);

/// Schema of an enumeration, from the names of the type that it describes.
macro_rules! named_enum {
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

named_enum!(
    Status,
    OurStatus::ALL,
    "PROVIDER_ACCEPTANCE: accepted by the provider. SENT: sent by the provider. REJECTED: rejected by the \
     provider, not sent. UNDELIVERED: failed to deliver. DELIVERED: delivered to the handset. READ: (RCS \
     only) read by the recipient."
);
named_enum!(Channel, OurChannel::ALL, "Delivery channel.");
named_enum!(
    Outcome,
    OurOutcome::ALL,
    "applied: the record changed. superseded: the record did not change. duplicate: the same notification is \
     already stored. conflict: the notification contradicts the record's status, and may have changed that \
     status. invalid: the notification states something impossible, and never counts."
);
