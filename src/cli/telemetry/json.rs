//! A line of the log as JSON: time, level, the event's members, those of the spans around it, and the module.
//!
//! What the library has for it takes each value through a serializer; here pieces of text are enough, and one
//! line is written for each request.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::json::is_plain;

/// Writes events as lines of JSON.
pub(super) struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (metadata, mut time) = (event.metadata(), [0; 27]);
        line.write_str("{\"timestamp\":\"")?;
        line.write_str(str::from_utf8(Clock::System.now().write(&mut time)).unwrap_or_default())?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(metadata.level().as_str())?;
        line.write_str("\"")?;
        let mut members = Members { line: line.by_ref(), written: Ok(()) };
        event.record(&mut members);
        members.written?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| fields.strip_prefix('{')?.strip_suffix('}'));
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                line.write_str(",")?;
                line.write_str(fields)?;
            }
        }
        line.write_str(",\"target\":\"")?;
        line.write_str(metadata.target())?;
        line.write_str("\"}\n")
    }
}

/// Writes the members of an event, piece by piece: what `write!` prepares takes longer than most pieces.
struct Members<'a> {
    line: Writer<'a>,
    /// What came of it.
    written: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let line = &mut self.line;
        let name = [",\"", field.name(), "\":"];
        let written = name.into_iter().try_for_each(|piece| line.write_str(piece));
        self.written = self.written.and_then(|()| written.and_then(|()| value(line)));
    }

    /// What needs no quotes.
    fn raw(&mut self, field: &Field, value: &str) {
        self.member(field, |line| line.write_str(value));
    }

    fn text(&mut self, field: &Field, write: impl FnOnce(&mut Quoted<'_, '_>) -> fmt::Result) {
        self.member(field, |line| {
            line.write_str("\"")?;
            write(&mut Quoted(line))?;
            line.write_str("\"")
        });
    }
}

/// A text between quotes, as it comes.
struct Quoted<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Quoted<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_plain(text) {
            return self.0.write_str(text);
        }
        // No text fails to be written.
        let escaped = serde_json::to_string(text).unwrap_or_default();
        self.0.write_str(
            escaped.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default(),
        )
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let mut room = zmij::Buffer::new();
        // JSON knows no others.
        self.raw(field, if value.is_finite() { room.format_finite(value) } else { "null" });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, itoa::Buffer::new().format(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| text.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| write!(text, "{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_line_is_json_whatever_it_says() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let writer = move || Written(Arc::clone(&written));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(writer)
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .finish();
        let strange = "a \"b\"\\\n\u{1}é";
        tracing::subscriber::with_default(subscriber, || {
            tracing::error_span!("span", around = strange).in_scope(|| {
                let whole = f64::NAN;
                tracing::warn!(strange, shown = %strange, whole, part = 0.5, below = -7, is = true, "{strange}");
            });
        });
        let log = log.lock().unwrap();
        let line = str::from_utf8(&log).unwrap().strip_suffix('\n').unwrap();
        let mut line: Value = serde_json::from_str(line).unwrap();
        let time = line.as_object_mut().unwrap().shift_remove("timestamp").unwrap();
        assert!(time.as_str().unwrap().parse::<crate::message::Timestamp>().is_ok(), "{time}");
        assert_eq!(
            line,
            json!({
                "level": "WARN", "message": strange, "strange": strange, "shown": strange, "whole": null,
                "part": 0.5, "below": -7, "is": true, "around": strange, "target": module_path!(),
            })
        );
    }

    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
