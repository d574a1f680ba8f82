//! What is known, as JSON: exactly the members of the gateway's own answers, in their order.
//!
//! Written straight into one text: of a list of fifty messages, what each member would cost on its way
//! through a serializer is most of the work.

use super::written::Json;
use crate::ingest::Done;
use crate::message::{Channel, MessageId, Outcome, Provider, Record, Reference};
use crate::store::{History, Listing, Message, Said};

/// The content type of all of this.
pub(crate) const JSON: &str = "application/json";
/// What a message takes, if it has no unusual words.
const BYTES: usize = 512;

/// `{"message": …}`
pub(crate) fn envelope(found: &Message) -> String {
    let mut json = Json::with_capacity(BYTES);
    write_envelope(&mut json, found);
    json.finish()
}

/// `{"messages": [{"message": …}, …]}`
pub(crate) fn list(listing: &Listing) -> String {
    let mut json = Json::with_capacity((listing.messages.len() + 1) * BYTES);
    json.raw(r#"{"messages":"#).array(&listing.messages, write_envelope).raw("}");
    json.finish()
}

/// `{"message": …|null, "history": […]}`
pub(crate) fn history(id: MessageId, history: &History) -> String {
    let mut json = Json::with_capacity((history.said.len() + 1) * BYTES);
    json.raw(r#"{"message":"#);
    write_message_or_null(&mut json, id, history.record.as_ref());
    json.raw(r#","history":"#).array(&history.said, write_said).raw("}");
    json.finish()
}

/// `{"outcome": …, "message": …|null}`
pub(crate) fn registered(outcome: Outcome, id: MessageId, record: Option<&Record>) -> String {
    let mut json = Json::with_capacity(BYTES);
    json.raw(r#"{"outcome":"#).text(outcome.name()).raw(r#","message":"#);
    write_message_or_null(&mut json, id, record);
    json.raw("}");
    json.finish()
}

/// `{"results": […]}`
pub(crate) fn receipt(done: &[Done]) -> String {
    let mut json = Json::with_capacity(BYTES);
    json.raw(r#"{"results":"#).array(done, write_result).raw("}");
    json.finish()
}

fn write_envelope(json: &mut Json, found: &Message) {
    json.raw(r#"{"message":"#);
    write_message(json, found.id, &found.record);
    json.raw("}");
}

fn write_message_or_null(json: &mut Json, id: MessageId, record: Option<&Record>) {
    match record {
        Some(record) => write_message(json, id, record),
        None => {
            json.raw("null");
        }
    }
}

/// A message, as the gateway shows it.
fn write_message(json: &mut Json, id: MessageId, record: &Record) {
    json.raw(r#"{"id":"#).quoted(id);
    json.raw(r#","providerAcceptanceAt":"#).quoted(record.accepted_at());
    json.raw(r#","statusChangedAt":"#).quoted(record.status_changed_at());
    json.raw(r#","reference":"#);
    write_reference(json, record.reference.as_ref().map(|claim| &claim.value));
    json.raw(r#","channel":"#).text(record.channel().name());
    json.raw(r#","status":"#).text(record.status.name());
    json.raw(r#","provider":"#);
    write_provider(json, record.provider());
    if let (Channel::Sms, Some(claim)) = (record.channel(), &record.segments) {
        json.raw(r#","sms":{"segments":"#).number(claim.value).raw("}");
    }
    json.raw("}");
}

fn write_reference(json: &mut Json, reference: Option<&Reference>) {
    json.texts(&[
        ("service", reference.and_then(Reference::service)),
        ("action", reference.and_then(Reference::action)),
        ("key", reference.and_then(Reference::key)),
    ]);
}

fn write_provider(json: &mut Json, provider: &Provider) {
    let Provider { name, id, status, code, message } = provider;
    json.texts(&[
        ("name", Some(name)),
        ("id", Some(id)),
        ("status", Some(status)),
        ("code", Some(code)),
        ("message", message.as_deref()),
    ]);
}

/// A notification, as it was said.
fn write_said(json: &mut Json, said: &Said) {
    json.raw(r#"{"source":"#).text(&said.source);
    json.raw(r#","status":"#).text(said.status.name());
    json.raw(r#","statusChangedAt":"#).quoted_or_null(said.stated_at);
    json.raw(r#","receivedAt":"#).quoted(said.received_at);
    json.raw(r#","outcome":"#).text(said.outcome.name());
    json.raw(r#","channel":"#).text(said.channel.name());
    json.raw(r#","destination":"#).quoted_or_null(said.destination);
    json.raw(r#","reference":"#);
    write_reference(json, Some(&said.reference));
    json.raw(r#","provider":"#);
    write_provider(json, &said.provider);
    json.raw("}");
}

fn write_result(json: &mut Json, done: &Done) {
    match done {
        Done::Judged { message, outcome, status } => {
            json.raw(r#"{"messageId":"#).quoted(message);
            json.raw(r#","outcome":"#).text(outcome.name());
            if let Some(status) = status {
                json.raw(r#","status":"#).text(status.name());
            }
        }
        Done::Quarantined { id, reason } => {
            json.raw(r#"{"outcome":"quarantined","reason":"#).text(reason);
            json.raw(r#","quarantineId":"#).quoted(id);
        }
        Done::Ignored { reason } => {
            json.raw(r#"{"outcome":"ignored","reason":"#).text(reason);
        }
    }
    json.raw("}");
}
