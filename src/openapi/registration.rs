//! Schema of the body of a registration. Its members are those of `http::api::registration`.

#![expect(dead_code, reason = "only what these describe is used")]

use utoipa::ToSchema;

use super::schemas::{Channel, PhoneNumber};

/// Sender's statement about a message.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(rename_all = "camelCase")]
pub(crate) struct Registration {
    /// Recipient's phone number, in E.164 format.
    destination: PhoneNumber,
    /// Sender's reference of the message.
    reference: Option<RegisteredReference>,
    /// Channel of the message. Defaults to SMS.
    channel: Option<Channel>,
    /// Time at which the provider accepted the message. A time without a zone is rejected.
    #[schema(format = DateTime)]
    provider_acceptance_at: Option<String>,
    /// Provider, which is the aggregator behind the gateway, in its own terms.
    provider: Option<RegisteredProvider>,
    /// Members that apply only to SMS.
    sms: Option<RegisteredSms>,
}

/// Sender's reference of the message.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisteredReference {
    /// Name of the client's service.
    #[schema(max_length = 512)]
    service: Option<String>,
    /// Action of the service.
    #[schema(max_length = 512)]
    action: Option<String>,
    /// Client's key, by which messages are found. At most 512 bytes.
    #[schema(max_length = 512)]
    key: Option<String>,
}

/// Provider, which is the aggregator behind the gateway, in its own terms.
#[derive(ToSchema, Default)]
#[serde(deny_unknown_fields)]
#[schema(default)]
struct RegisteredProvider {
    /// Name of the provider.
    name: Option<String>,
    /// Provider's own id of the message.
    #[schema(max_length = 256)]
    id: Option<String>,
    /// Provider's own term for the status.
    status: Option<String>,
    /// Provider's status or error code.
    code: Option<String>,
    /// Description of the failure.
    message: Option<String>,
}

/// Members that apply only to SMS.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct RegisteredSms {
    /// Number of SMS segments.
    #[schema(format = Int64, maximum = 4_294_967_295_u64)]
    segments: Option<u32>,
}
