//! Records as JSON: exactly the members of the gateway's own answers, in their order.
//!
//! The text is written directly: for a list of fifty messages, passing each member through a serializer would
//! be most of the work.

use std::mem;

use crate::ingest::EntryResult;
use crate::json::write::Json;
use crate::message::{Channel, MessageId, Outcome, Provider, Record, Reference, Shown};
use crate::store::{Change, Found, Listing, StoredNotification};

/// Content type of JSON.
pub(crate) const JSON: &str = "application/json";
/// Typical size of a message, in bytes.
const TYPICAL_MESSAGE_BYTES: usize = 640;

/// `{"message": …}`
pub(crate) fn envelope(message: &Shown<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(TYPICAL_MESSAGE_BYTES);
    add_envelope(&mut text, message);
    text
}

/// Appends `{"message": …}` to a text.
pub(crate) fn add_envelope(text: &mut Vec<u8>, message: &Shown<'_>) {
    let mut json = Json::append_to(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw("}");
    *text = json.finish();
}

/// Appends `{"message": …, "previous": …|null, "corrected": …}` to a text.
pub(crate) fn add_change(text: &mut Vec<u8>, change: &Change<'_>) {
    let Change { message, previous, .. } = change;
    let mut json = Json::append_to(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw(r#","previous":"#).quoted_or_null(*previous);
    let corrected = previous.is_some_and(|previous| message.status.corrects(previous));
    json.raw(r#","corrected":"#).raw(if corrected { "true}" } else { "false}" });
    *text = json.finish();
}

/// `{"messages": [{"message": …}, …]}`, with entries written by [`add_envelope`].
pub(crate) fn list(listing: &Listing) -> Vec<u8> {
    let mut json = Json::with_capacity(
        listing.messages.len() * (TYPICAL_MESSAGE_BYTES + 1) + TYPICAL_MESSAGE_BYTES,
    );
    json.raw(r#"{"messages":"#);
    json.array(&listing.messages, |json, message| {
        json.raw(listing.text_of(message));
    });
    json.raw("}");
    json.finish()
}

/// Appends `{"message": …, "destination": …|null}` to a text.
pub(crate) fn add_found(text: &mut Vec<u8>, message: &Shown<'_>) {
    let mut json = Json::append_to(mem::take(text));
    json.raw(r#"{"message":"#);
    write_message(&mut json, message);
    json.raw(r#","destination":"#).quoted_or_null(message.destination).raw("}");
    *text = json.finish();
}

/// `{"messages": […], "withoutDestination": …}`, with entries written by [`add_found`].
pub(crate) fn found(found: &Found) -> Vec<u8> {
    let listing = &found.listing;
    let mut json = Json::with_capacity(
        listing.messages.len() * (TYPICAL_MESSAGE_BYTES + 1) + TYPICAL_MESSAGE_BYTES,
    );
    json.raw(r#"{"messages":"#);
    json.array(&listing.messages, |json, message| {
        json.raw(listing.text_of(message));
    });
    json.raw(r#","withoutDestination":"#).number(found.without_destination).raw("}");
    json.finish()
}

/// `{"message": …|null, "history": [`: the beginning of a history.
pub(crate) fn history_head(id: MessageId, record: Option<&Record>) -> Vec<u8> {
    let mut json = Json::with_capacity(2 * TYPICAL_MESSAGE_BYTES);
    json.raw(r#"{"message":"#);
    write_message_or_null(&mut json, id, record);
    json.raw(r#","history":["#);
    json.finish()
}

/// Appends notifications to a history, after its beginning or after other notifications.
pub(crate) fn add_history(
    text: &mut Vec<u8>,
    notifications: &[StoredNotification],
    is_first: bool,
) {
    let mut json = Json::append_to(mem::take(text));
    let mut before = if is_first { "" } else { "," };
    for notification in notifications {
        json.raw(before);
        write_notification(&mut json, notification);
        before = ",";
    }
    *text = json.finish();
}

/// End of a history.
pub(crate) const HISTORY_END: &[u8] = b"]}";

/// `{"outcome": …, "message": …|null}`
pub(crate) fn registered(outcome: Outcome, id: MessageId, record: Option<&Record>) -> Vec<u8> {
    let mut json = Json::with_capacity(TYPICAL_MESSAGE_BYTES);
    json.raw(r#"{"outcome":"#).text(outcome.name()).raw(r#","message":"#);
    write_message_or_null(&mut json, id, record);
    json.raw("}");
    json.finish()
}

/// Receipt without results, for when there is no memory for them.
pub(crate) const EMPTY_RECEIPT: &str = r#"{"results":[]}"#;

/// `{"results": […]}`
pub(crate) fn receipt(results: &[EntryResult]) -> Vec<u8> {
    let mut json = Json::with_capacity(TYPICAL_MESSAGE_BYTES);
    json.raw(r#"{"results":"#).array(results, write_result).raw("}");
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

/// Writes a message as the gateway shows it.
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

/// Writes a notification as it was stated.
fn write_notification(json: &mut Json, notification: &StoredNotification) {
    json.raw(r#"{"source":"#).text(&notification.source);
    json.raw(r#","status":"#).text(notification.status.name());
    json.raw(r#","statusChangedAt":"#).quoted_or_null(notification.stated_at);
    json.raw(r#","receivedAt":"#).time(notification.received_at);
    json.raw(r#","outcome":"#).text(notification.outcome.name());
    json.raw(r#","channel":"#).text(notification.channel.name());
    json.raw(r#","destination":"#).quoted_or_null(notification.destination);
    json.raw(r#","reference":"#);
    write_reference(json, &notification.reference);
    json.raw(r#","provider":"#);
    write_provider(json, &notification.provider);
    json.raw("}");
}

fn write_result(json: &mut Json, result: &EntryResult) {
    match result {
        EntryResult::Judged { message, outcome, status } => {
            json.raw(r#"{"messageId":"#).id(*message);
            json.raw(r#","outcome":"#).text(outcome.name());
            if let Some(status) = status {
                json.raw(r#","status":"#).text(status.name());
            }
        }
        EntryResult::Quarantined { id, reason } => {
            json.raw(r#"{"outcome":"#).text(result.outcome().name());
            json.raw(r#","reason":"#).text(reason);
            json.raw(r#","quarantineId":"#).quoted(id);
        }
        EntryResult::Ignored { reason } => {
            json.raw(r#"{"outcome":"#).text(result.outcome().name());
            json.raw(r#","reason":"#).text(reason);
        }
    }
    json.raw("}");
}
