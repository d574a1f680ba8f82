//! A line of the log as JSON: time, level, the event's members, those of the spans around it, and the module.
//!
//! What the library has for it takes several times as long as what it writes about, see
//! `docs/performance.md`: one line is written for each request.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

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
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut members = Members { line: line.by_ref(), written: Ok(()) };
        event.record(&mut members);
        members.written?;
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            let fields = fields.and_then(|fields| fields.strip_prefix('{')?.strip_suffix('}'));
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                write!(line, ",{fields}")?;
            }
        }
        writeln!(line, ",\"target\":\"{}\"}}", event.metadata().target())
    }
}

/// Writes the members of an event.
struct Members<'a> {
    line: Writer<'a>,
    /// What came of it.
    written: fmt::Result,
}

impl Members<'_> {
    /// What needs no quotes.
    fn raw(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let line = &mut self.line;
        let written = write!(line, ",\"{}\":{value}", field.name());
        self.written = self.written.and(written);
    }

    fn text(&mut self, field: &Field, text: &str) {
        if is_plain(text) {
            self.raw(field, format_args!("\"{text}\""));
        } else {
            // No text fails to be written.
            let escaped = serde_json::to_string(text).unwrap_or_default();
            self.raw(field, format_args!("{escaped}"));
        }
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.raw(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
