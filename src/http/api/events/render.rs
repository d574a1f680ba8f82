//! Text of a server-sent event (HTML standard).

use std::io::Write as _;
use std::time::Duration;

use crate::http::render::message_json;
use crate::store::Change;

/// Minimum interval between two reads of the notification log, unless it has more changes already.
pub(crate) const MIN_READ_INTERVAL: Duration = Duration::from_millis(10);

/// Appends a change as an event. The JSON has no line breaks, so one `data` line holds it.
pub(crate) fn write_event(text: &mut Vec<u8>, change: &Change<'_>) {
    // Writing to memory cannot fail.
    let _written = write!(text, "id: {}\nevent: change\ndata: ", change.id);
    message_json::add_change(text, change);
    text.extend_from_slice(b"\n\n");
}
