//! `PUT /api/messages/{messageid}`: the sender's own word about a message.

use actix_web::HttpResponse;
use actix_web::web::Payload;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
#[cfg(test)]
use utoipa::ToSchema;

use super::auth::Caller;
use super::body::{Sender, read_body};
#[cfg(test)]
use super::openapi::schemas;
use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view::{self, JSON};
use crate::json::{self, Object};
use crate::message::{
    Added, Channel, Destination, Kind, MAX_PROVIDER_ID_BYTES, MessageId, Notification, Reference,
    StatedProvider, Statement, Status, Timestamp,
};
use crate::store::Stored;

/// A registration has few members; what is larger is something else.
const MAX_BYTES: usize = 64 << 10;

/// What the sender says of a message.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ToSchema), schema(as = Registration))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Body {
    /// The recipient's phone number, as E.164.
    #[cfg_attr(test, schema(value_type = schemas::PhoneNumber))]
    destination: String,
    /// What the message is to its sender.
    #[cfg_attr(test, schema(value_type = Option<ReferenceBody>))]
    reference: Option<Object<ReferenceBody>>,
    /// The way it travels; SMS if not given.
    #[cfg_attr(test, schema(value_type = Option<schemas::Channel>))]
    channel: Option<String>,
    /// When the provider accepted it. A time without a zone is refused.
    #[cfg_attr(test, schema(format = DateTime))]
    provider_acceptance_at: Option<String>,
    /// The aggregator behind the gateway, in its own words.
    #[cfg_attr(test, schema(value_type = Option<ProviderBody>))]
    provider: Option<Object<ProviderBody>>,
    /// What there is to know of an SMS alone.
    #[cfg_attr(test, schema(value_type = Option<Sms>))]
    sms: Option<Object<Sms>>,
}

/// What the message is to its sender.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(ToSchema), schema(as = RegisteredReference))]
#[serde(deny_unknown_fields)]
struct ReferenceBody {
    /// The client's service.
    #[cfg_attr(test, schema(max_length = 512))]
    service: Option<String>,
    /// The service's action.
    #[cfg_attr(test, schema(max_length = 512))]
    action: Option<String>,
    /// The client's key, by which messages are found: at most 512 bytes.
    #[cfg_attr(test, schema(max_length = 512))]
    key: Option<String>,
}

/// The aggregator behind the gateway, in its own words.
#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(ToSchema), schema(as = RegisteredProvider))]
#[serde(deny_unknown_fields, default)]
struct ProviderBody {
    /// The aggregator's name.
    name: Option<String>,
    /// The aggregator's own id of the message.
    #[cfg_attr(test, schema(max_length = 256))]
    id: Option<String>,
    /// The aggregator's own word for the status.
    status: Option<String>,
    /// The aggregator's status or error code.
    code: Option<String>,
    /// What went wrong, in words.
    message: Option<String>,
}

/// What there is to know of an SMS alone.
#[derive(Deserialize)]
#[cfg_attr(test, derive(ToSchema), schema(as = RegisteredSms))]
#[serde(deny_unknown_fields)]
struct Sms {
    /// How many SMS it took.
    #[serde(default, deserialize_with = "whole")]
    #[cfg_attr(test, schema(format = Int64, maximum = 4_294_967_295_u64))]
    segments: Option<u32>,
}

/// A whole number, however it is written.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    json::whole_number(&number.to_string())
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{number} is not a number of segments")))
}

/// Registers a message: 201 if nothing was known of it, else 200.
pub(crate) async fn register(
    service: &Service,
    caller: &Caller,
    id: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id = query::message_id(id)?;
    let body = match read_body(service, Sender::Verified(&caller.0), payload, MAX_BYTES).await {
        Ok(body) => body,
        Err(unread) => return Ok(unread.response()),
    };
    let notification = notification(id, &body.content).map_err(Problem::BadRequest)?;
    let now = service.clock.now();
    let stored = service.ingest.register(&caller.0, notification, body.bytes, now).await?;
    let (outcome, record, new) = match stored {
        Stored::Judged { outcome, record, new, .. } => (outcome, record, new),
        Stored::Erased => return Err(Problem::Erased),
        Stored::TooMany | Stored::Quarantined { .. } | Stored::QuarantineFull => {
            return Err(Problem::TooMany);
        }
    };
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.content_type(JSON).body(view::registered(outcome, id, record.as_deref())))
}

/// Reads JSON as the dialects do: a byte order mark and halves of surrogate pairs do no harm.
fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let body = json::without_mark(body);
    let mended = |error| {
        let text = str::from_utf8(body).ok().and_then(json::without_half_pairs);
        text.map_or(Err(error), |text| serde_json::from_str(&text))
    };
    serde_json::from_slice(body).or_else(mended)
}

/// The notification that the body of a registration states, or what is wrong with it.
fn notification(message: MessageId, body: &[u8]) -> Result<Notification, String> {
    let Object(body): Object<Body> =
        read(body).map_err(|error| format!("The body is no registration: {error}."))?;
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
        // The acceptance is the change of status that a registration speaks of.
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
