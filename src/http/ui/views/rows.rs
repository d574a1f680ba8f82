//! Rows of a list of messages, each rendered where its message is read.

use askama::Template;

use super::parts::{Mark, Moment, RawHtml};
use crate::message::{MessageId, Shown};
use crate::store::Listing;

/// Row of a message.
#[derive(Template)]
#[template(path = "row.html")]
struct Row<'a> {
    id: MessageId,
    mark: Mark,
    number: Option<String>,
    key: Option<&'a str>,
    channel: &'static str,
    code: &'a str,
    description: &'a str,
    accepted_at: Moment,
    changed_at: Moment,
}

/// Appends the row of a message to a text.
pub(crate) fn write(text: &mut Vec<u8>, shown: &Shown<'_>) {
    let row = Row {
        id: shown.id,
        mark: Mark(shown.status),
        number: shown.destination.map(|number| number.to_string()),
        key: shown.reference.key(),
        channel: shown.channel.name(),
        code: shown.provider.code,
        description: shown.provider.message.unwrap_or(shown.provider.status),
        accepted_at: Moment(shown.accepted_at),
        changed_at: Moment(shown.status_changed_at),
    };
    // Writing to memory cannot fail.
    let _written = row.write_into(text);
}

/// Rows of a list, without the first `without` ones.
pub(crate) fn of(listing: &Listing, without: usize) -> RawHtml {
    let rows = listing.messages.iter().skip(without);
    let rows = rows.flat_map(|message| listing.text_of(message)).copied().collect();
    RawHtml(String::from_utf8(rows).unwrap_or_default())
}
