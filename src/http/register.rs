//! `PUT /api/messages/{messageid}`: the sender's own word about a message.

use actix_web::HttpResponse;
use actix_web::web::Payload;
use serde::Deserialize;

use super::auth::Caller;
use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view::{self, JSON};
use super::webhook::read_body;
use crate::json::Object;
use crate::message::{
    Added, Channel, Destination, Kind, MessageId, Notification, Reference, StatedProvider,
    Statement, Status, Timestamp,
};
use crate::store::Stored;

/// A registration has few members; what is larger is something else.
const MAX_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    destination: String,
    reference: Option<Object<ReferenceBody>>,
    channel: Option<String>,
    provider_acceptance_at: Option<String>,
    provider: Option<Object<ProviderBody>>,
    sms: Option<Object<Sms>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReferenceBody {
    service: Option<String>,
    action: Option<String>,
    key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ProviderBody {
    name: Option<String>,
    id: Option<String>,
    status: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sms {
    segments: Option<u32>,
}

/// Registers a message: 201 if nothing was known of it, else 200.
pub(crate) async fn register(
    service: &Service,
    caller: &Caller,
    id: &str,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id = query::message_id(id)?;
    let body = match read_body(payload, MAX_BYTES, service.ingest.bytes()).await {
        Ok(body) => body,
        Err(unread) => return Ok(unread.response()),
    };
    let notification = notification(id, &body.content).map_err(Problem::BadRequest)?;
    let now = service.clock.now();
    let stored = service.ingest.register(&caller.0, notification, body.bytes, now).await?;
    let (outcome, record, new) = match stored {
        Stored::Judged { outcome, record, new, .. } => (outcome, record, new),
        Stored::Erased => return Err(Problem::Erased),
        Stored::TooMany | Stored::Quarantined { .. } => return Err(Problem::TooMany),
    };
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.content_type(JSON).body(view::registered(outcome, id, record.as_deref())))
}

/// The notification that the body of a registration states, or what is wrong with it.
fn notification(message: MessageId, body: &[u8]) -> Result<Notification, String> {
    let Object(body): Object<Body> = serde_json::from_slice(body)
        .map_err(|error| format!("The body is no registration: {error}."))?;
    let destination: Destination =
        body.destination.parse().map_err(|error| format!("`destination` is {error}."))?;
    let channel = body.channel.as_deref().map(str::parse::<Channel>).transpose();
    let channel = channel.map_err(|error| format!("`channel`: {error}; use SMS or RCS."))?;
    let accepted_at = body.provider_acceptance_at.as_deref().map(str::parse::<Timestamp>);
    let accepted_at =
        accepted_at.transpose().map_err(|error| format!("`providerAcceptanceAt` is {error}."))?;
    let Object(ReferenceBody { service, action, key }) = body.reference.unwrap_or_default();
    let reference = Reference::new(service, action, key)
        .map_err(|error| format!("`reference.key`: {error}."))?;
    let Object(provider) = body.provider.unwrap_or_default();
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
