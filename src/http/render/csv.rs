//! Messages as CSV (RFC 4180): a line for each, with columns named like the JSON members.

use std::borrow::Cow;

use csv::WriterBuilder;

use super::formula_guard::guard;
use crate::message::{Channel, Provider, Shown};
use crate::store::Write;

/// Typical size of a line, in bytes.
const LINE_BYTES: usize = 512;
/// Names of the columns.
const COLUMNS: [&str; 15] = [
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

/// Byte order mark, from which a spreadsheet recognises UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Variant of the CSV, by its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Csv {
    /// For spreadsheets, which would run, round or reformat unguarded cells.
    Guarded,
    /// For programs, which take every text as it is.
    Plain,
}

impl Csv {
    /// Header line, preceded by the byte order mark for spreadsheets.
    pub(crate) fn head(self) -> Vec<u8> {
        let mut text = match self {
            Self::Guarded => BYTE_ORDER_MARK.into(),
            Self::Plain => Vec::new(),
        };
        add_line(&mut text, &COLUMNS.map(Cow::Borrowed));
        text
    }

    /// Function that appends the line of a message to a text.
    pub(crate) fn write(self) -> Write {
        match self {
            Self::Guarded => |text, message| add(text, message, guard),
            Self::Plain => |text, message| add(text, message, |cell| Cow::Borrowed(cell)),
        }
    }
}

fn add(text: &mut Vec<u8>, message: &Shown<'_>, cell: fn(&str) -> Cow<'_, str>) {
    let Provider { name, id, status, code, message: description } = message.provider;
    let reference =
        [message.reference.service(), message.reference.action(), message.reference.key()];
    let [service, action, key] = reference.map(|text| cell(text.unwrap_or_default()));
    let segments = message.segments.filter(|_| message.channel == Channel::Sms);
    let destination = message.destination.map(|number| number.to_string()).unwrap_or_default();
    let line = [
        message.id.to_string().into(),
        cell(&destination),
        message.status.name().into(),
        message.status_changed_at.to_string().into(),
        message.accepted_at.to_string().into(),
        message.channel.name().into(),
        service,
        action,
        key,
        cell(name),
        cell(id),
        cell(status),
        cell(code),
        cell(description.unwrap_or_default()),
        segments.map(|segments| segments.to_string()).unwrap_or_default().into(),
    ];
    add_line(text, &line);
}

fn add_line(text: &mut Vec<u8>, cells: &[Cow<'_, str>; COLUMNS.len()]) {
    // Writing to memory cannot fail, and all lines are of one length.
    let _written = WriterBuilder::new()
        .buffer_capacity(LINE_BYTES)
        .from_writer(text)
        .write_record(cells.iter().map(|cell| cell.as_bytes()));
}
