//! `PUT /api/messages/{messageid}`: registers a message, as its sender states it.

use actix_web::HttpResponse;
use actix_web::web::Payload;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

use crate::http::app_state::Service;
use crate::http::auth::Caller;
use crate::http::body::request_body::{Sender, read_body};
use crate::http::problem::Problem;
use crate::http::render::message_json::{self, JSON};
use crate::json::read::{self, Object};
use crate::message::{
    Added, Channel, Destination, Kind, MAX_PROVIDER_ID_BYTES, MessageId, Notification, Reference,
    StatedProvider, Statement, Status, Timestamp,
};
use crate::store::StoredEntry;

/// Maximum size of a registration, in bytes. It has few members; a larger body is something else.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Body of a registration.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// Phone number of the recipient, in E.164 format.
    destination: String,
    /// Sender's reference of the message.
    reference: Option<Object<ReferenceBody>>,
    /// Channel of the message; SMS if absent.
    channel: Option<String>,
    /// Time at which the provider accepted the message. A time without a zone is rejected.
    provider_acceptance_at: Option<String>,
    /// Provider, which is the aggregator behind the gateway, in its own words.
    provider: Option<Object<ProviderBody>>,
    /// Members that apply only to SMS.
    sms: Option<Object<Sms>>,
}

/// Sender's reference of the message.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReferenceBody {
    /// Name of the client's service.
    service: Option<String>,
    /// Action of the service.
    action: Option<String>,
    /// Client's key, by which messages are found: at most 512 bytes.
    key: Option<String>,
}

/// Provider, which is the aggregator behind the gateway, in its own words.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ProviderBody {
    /// Name of the provider.
    name: Option<String>,
    /// Provider's own id of the message.
    id: Option<String>,
    /// Provider's own word for the status.
    status: Option<String>,
    /// Provider's status or error code.
    code: Option<String>,
    /// Description of the failure.
    message: Option<String>,
}

/// Members that apply only to SMS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sms {
    /// Number of SMS segments.
    #[serde(default, deserialize_with = "whole_number")]
    segments: Option<u32>,
}

/// Deserializes a whole number in any notation.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    read::whole_number(&number.to_string())
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{number} is not a number of segments")))
}

/// Registers a message: 201 if it was unknown, else 200.
pub(crate) async fn register(
    service: &Service,
    caller: &Caller,
    id: MessageId,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = match read_body(service, Sender::Verified(&caller.0), payload, MAX_BODY_BYTES).await
    {
        Ok(body) => body,
        Err(rejection) => return Ok(rejection.response()),
    };
    let notification = notification(id, &body.content).map_err(Problem::BadRequest)?;
    let now = service.clock.now();
    let stored = service.ingest.register(&caller.0, notification, body.bytes, now).await?;
    let (outcome, record, new) = match stored {
        StoredEntry::Judged { outcome, record, new, .. } => (outcome, record, new),
        StoredEntry::Erased => return Err(Problem::Erased),
        // A registration is a notification, so the others are not possible.
        StoredEntry::TooMany
        | StoredEntry::Quarantined { .. }
        | StoredEntry::QuarantineFull
        | StoredEntry::Ignored { .. } => return Err(Problem::TooMany),
    };
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.content_type(JSON).body(message_json::registered(outcome, id, record.as_deref())))
}

/// Reads JSON like the dialects: a byte order mark and unpaired surrogates are tolerated.
fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let body = read::without_byte_order_mark(body);
    let repaired = |error| {
        let text = str::from_utf8(body).ok().and_then(read::replace_lone_surrogates);
        text.map_or(Err(error), |text| serde_json::from_str(&text))
    };
    serde_json::from_slice(body).or_else(repaired)
}

/// Notification stated by the body of a registration, or the reason why the body is invalid.
fn notification(message: MessageId, body: &[u8]) -> Result<Notification, String> {
    let Object(body): Object<Body> =
        read(body).map_err(|error| format!("Invalid registration: {error}."))?;
    let destination: Destination =
        body.destination.parse().map_err(|error| format!("`destination` is {error}."))?;
    let channel = body.channel.as_deref().map(str::parse::<Channel>).transpose();
    let channel = channel.map_err(|error| format!("`channel`: {error}; use SMS or RCS."))?;
    let accepted_at = body.provider_acceptance_at.as_deref().map(str::parse::<Timestamp>);
    let accepted_at =
        accepted_at.transpose().map_err(|error| format!("`providerAcceptanceAt` is {error}."))?;
    let Object(ReferenceBody { service, action, key }) = body.reference.unwrap_or_default();
    let reference = Reference::new(service, action, key)
        .map_err(|error| format!("`reference.{}`: {error}.", error.member))?;
    let Object(provider) = body.provider.unwrap_or_default();
    let id_bytes = provider.id.as_ref().map_or(0, String::len);
    if id_bytes > MAX_PROVIDER_ID_BYTES {
        return Err(format!(
            "`provider.id` has {id_bytes} bytes; at most {MAX_PROVIDER_ID_BYTES} are allowed."
        ));
    }
    let statement = Statement {
        message,
        kind: Kind::Registration,
        status: Status::ProviderAcceptance,
        // The status that a registration states is the acceptance, so its time is that of the acceptance.
        stated_at: accepted_at,
        accepted_at,
        channel: channel.unwrap_or(Channel::Sms),
        destination: Some(destination),
        reference,
        provider: StatedProvider {
            name: provider.name.unwrap_or_default(),
            id: provider.id.unwrap_or_default(),
            status: provider.status.unwrap_or_default(),
            code: provider.code.unwrap_or_default(),
            message: provider.message.unwrap_or_default(),
        },
        segments: body.sms.and_then(|Object(sms)| sms.segments),
    };
    Ok(Notification::new(statement, Added::default()))
}
