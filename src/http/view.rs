//! What is known, as JSON: exactly the members of the gateway's own answers, in their order.
//!
//! Written straight into one text: of a list of fifty messages, what each member would cost on its way
//! through a serializer is most of the work.

use std::mem;

use super::written::Json;
use crate::ingest::Done;
use crate::message::{Channel, MessageId, Outcome, Provider, Record, Reference, Shown};
use crate::store::{Change, Found, Listing, Said};

/// The content type of all of this.
pub(crate) const JSON: &str = "application/json";
/// What a message takes, if it has no unusual words.
const BYTES: usize = 640;

/// `{"message": …}`
pub(crate) fn envelope(message: &Shown<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(BYTES);
    add_envelope(&mut text, message);
    text
}

/// Adds the same to a text.
pub(crate) fn add_envelope(text: &mut Vec<u8>, message: &Shown<'_>) {
    let mut json = Json::behind(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw("}");
    *text = json.finish();
}

/// Adds `{"message": …, "previous": …|null, "corrected": …}` to a text.
pub(crate) fn add_change(text: &mut Vec<u8>, change: &Change<'_>) {
    let Change { message, previous, .. } = change;
    let mut json = Json::behind(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw(r#","previous":"#).quoted_or_null(*previous);
    let corrected = previous.is_some_and(|previous| message.status.corrects(previous));
    json.raw(r#","corrected":"#).raw(if corrected { "true}" } else { "false}" });
    *text = json.finish();
}

/// `{"messages": [{"message": …}, …]}`, of which each was written by [`add_envelope`].
pub(crate) fn list(listing: &Listing) -> Vec<u8> {
    let mut json = Json::with_capacity(listing.messages.len() * (BYTES + 1) + BYTES);
    json.raw(r#"{"messages":"#);
    json.array(&listing.messages, |json, message| {
        json.raw(listing.text_of(message));
    });
    json.raw("}");
    json.finish()
}

/// Adds `{"message": …, "destination": …|null}` to a text.
pub(crate) fn add_found(text: &mut Vec<u8>, message: &Shown<'_>) {
    let mut json = Json::behind(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw(r#","destination":"#).quoted_or_null(message.destination).raw("}");
    *text = json.finish();
}

/// `{"messages": […], "withoutNumber": …}`, of which each was written by [`add_found`].
pub(crate) fn found(found: &Found) -> Vec<u8> {
    let listing = &found.listing;
    let mut json = Json::with_capacity(listing.messages.len() * (BYTES + 1) + BYTES);
    json.raw(r#"{"messages":"#);
    json.array(&listing.messages, |json, message| {
        json.raw(listing.text_of(message));
    });
    json.raw(r#","withoutNumber":"#).number(found.without_number).raw("}");
    json.finish()
}

/// `{"message": …|null, "history": [`, the beginning of a history.
pub(crate) fn history_head(id: MessageId, record: Option<&Record>) -> Vec<u8> {
    let mut json = Json::with_capacity(2 * BYTES);
    json.raw(r#"{"message":"#);
    write_message_or_null(&mut json, id, record);
    json.raw(r#","history":["#);
    json.finish()
}

/// Adds notifications behind the beginning of a history, or behind others.
pub(crate) fn add_history(text: &mut Vec<u8>, said: &[Said], is_first: bool) {
    let mut json = Json::behind(mem::take(text));
    let mut before = if is_first { "" } else { "," };
    for said in said {
        json.raw(before);
        write_said(&mut json, said);
        before = ",";
    }
    *text = json.finish();
}

/// The end of a history.
pub(crate) const HISTORY_END: &[u8] = b"]}";

/// `{"outcome": …, "message": …|null}`
pub(crate) fn registered(outcome: Outcome, id: MessageId, record: Option<&Record>) -> Vec<u8> {
    let mut json = Json::with_capacity(BYTES);
    json.raw(r#"{"outcome":"#).text(outcome.name()).raw(r#","message":"#);
    write_message_or_null(&mut json, id, record);
    json.raw("}");
    json.finish()
}

/// A receipt without the results, for which there is no memory.
pub(crate) const EMPTY_RECEIPT: &str = r#"{"results":[]}"#;

/// `{"results": […]}`
pub(crate) fn receipt(done: &[Done]) -> Vec<u8> {
    let mut json = Json::with_capacity(BYTES);
    json.raw(r#"{"results":"#).array(done, write_result).raw("}");
    json.finish()
}

fn write_message_or_null(json: &mut Json, id: MessageId, record: Option<&Record>) {
    match record {
        Some(record) => write_message(json, &record.shown(id)),
        None => {
            json.raw("null");
        }
    }
}

/// A message, as the gateway shows it.
fn write_message(json: &mut Json, message: &Shown<'_>) {
    json.raw(r#"{"id":"#).id(message.id);
    json.raw(r#","providerAcceptanceAt":"#).time(message.accepted_at);
    json.raw(r#","statusChangedAt":"#).time(message.status_changed_at);
    json.raw(r#","reference":"#);
    write_reference(json, &message.reference);
    json.raw(r#","channel":"#).text(message.channel.name());
    json.raw(r#","status":"#).text(message.status.name());
    json.raw(r#","provider":"#);
    write_provider(json, &message.provider);
    if let (Channel::Sms, Some(segments)) = (message.channel, message.segments) {
        json.raw(r#","sms":{"segments":"#).number(segments).raw("}");
    }
    json.raw("}");
}

fn write_reference(json: &mut Json, reference: &Reference<impl AsRef<str>>) {
    json.texts([
        (r#""service":"#, reference.service()),
        (r#""action":"#, reference.action()),
        (r#""key":"#, reference.key()),
    ]);
}

fn write_provider(json: &mut Json, provider: &Provider<impl AsRef<str>>) {
    let Provider { name, id, status, code, message } = provider.map(AsRef::as_ref);
    json.raw(r#"{"name":"#).text(name).raw(r#","id":"#).text(id);
    json.raw(r#","status":"#).text(status).raw(r#","code":"#).text(code);
    if let Some(message) = message {
        json.raw(r#","message":"#).text(message);
    }
    json.raw("}");
}

/// A notification, as it was said.
fn write_said(json: &mut Json, said: &Said) {
    json.raw(r#"{"source":"#).text(&said.source);
    json.raw(r#","status":"#).text(said.status.name());
    json.raw(r#","statusChangedAt":"#).quoted_or_null(said.stated_at);
    json.raw(r#","receivedAt":"#).time(said.received_at);
    json.raw(r#","outcome":"#).text(said.outcome.name());
    json.raw(r#","channel":"#).text(said.channel.name());
    json.raw(r#","destination":"#).quoted_or_null(said.destination);
    json.raw(r#","reference":"#);
    write_reference(json, &said.reference);
    json.raw(r#","provider":"#);
    write_provider(json, &said.provider);
    json.raw("}");
}

fn write_result(json: &mut Json, done: &Done) {
    match done {
        Done::Judged { message, outcome, status } => {
            json.raw(r#"{"messageId":"#).id(*message);
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
