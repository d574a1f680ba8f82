//! Messages as CSV (RFC 4180): a line for each, under the names that their members have in JSON.

use std::borrow::Cow;

use csv::WriterBuilder;

use crate::message::{Channel, Provider, Shown};

/// What a line takes, if it has no unusual words.
const LINE_BYTES: usize = 512;
/// The names of the columns.
const HEAD: [&str; 15] = [
    "id",
    "destination",
    "status",
    "statusChangedAt",
    "providerAcceptanceAt",
    "channel",
    "reference.service",
    "reference.action",
    "reference.key",
    "provider.name",
    "provider.id",
    "provider.status",
    "provider.code",
    "provider.message",
    "sms.segments",
];

/// The first line.
pub(crate) fn head() -> Vec<u8> {
    let mut text = Vec::new();
    add_line(&mut text, &HEAD.map(Cow::Borrowed));
    text
}

/// Adds the line of a message to a text.
pub(crate) fn add(text: &mut Vec<u8>, message: &Shown<'_>) {
    let Provider { name, id, status, code, message: words } = message.provider;
    let reference =
        [message.reference.service(), message.reference.action(), message.reference.key()];
    let [service, action, key] = reference.map(|text| harmless(text.unwrap_or_default()));
    let segments = message.segments.filter(|_| message.channel == Channel::Sms);
    let line = [
        message.id.to_string().into(),
        message.destination.map(|number| number.to_string()).unwrap_or_default().into(),
        message.status.name().into(),
        message.status_changed_at.to_string().into(),
        message.accepted_at.to_string().into(),
        message.channel.name().into(),
        service,
        action,
        key,
        harmless(name),
        harmless(id),
        harmless(status),
        harmless(code),
        harmless(words.unwrap_or_default()),
        segments.map(|segments| segments.to_string()).unwrap_or_default().into(),
    ];
    add_line(text, &line);
}

fn add_line(text: &mut Vec<u8>, cells: &[Cow<'_, str>; HEAD.len()]) {
    // Writing to memory cannot fail, and all lines are of one length.
    let _written = WriterBuilder::new()
        .buffer_capacity(LINE_BYTES)
        .from_writer(text)
        .write_record(cells.iter().map(|cell| cell.as_bytes()));
}

/// A text of others, so that no spreadsheet takes it for a formula: see
/// <https://owasp.org/www-community/attacks/CSV_Injection>.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
