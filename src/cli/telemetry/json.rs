//! JSON log lines: time, level, the members of the event and of the spans around it, and the target if that
//! is a library.
//!
//! The usual JSON formatter serializes each value. Here pieces of text are appended, which is faster: every
//! request writes a line.

use std::cell::Cell;
use std::{fmt, mem};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::json::write::Json;

/// Prefix of the targets of our own messages.
pub(crate) const OWN_TARGET_PREFIX: &str = "statusmirror";

thread_local! {
    /// Reused buffer for a line.
    static LINE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Layer that writes events as lines of JSON, each with one call.
pub(crate) struct JsonLines<W>(pub(crate) W);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut members = Members(Json::with_capacity(0));
        attributes.record(&mut members);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanMembers(members.0.finish()));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanMembers(members)) = span.extensions_mut().get_mut()
        {
            let mut more = Members(Json::append_to(mem::take(members)));
            values.record(&mut more);
            *members = more.0.finish();
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        // An event that is logged meanwhile finds no buffer, and creates one.
        let mut buffer = LINE_BUFFER.take();
        buffer.clear();
        let mut line = Members(Json::append_to(buffer));
        line.0.raw("{\"timestamp\":").time(Clock::System.now());
        line.0.raw(",\"level\":").text(metadata.level().as_str());
        event.record(&mut line);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanMembers(members)) = span.extensions().get() {
                line.0.raw(members);
            }
        }
        if !metadata.target().starts_with(OWN_TARGET_PREFIX) {
            line.0.raw(",\"target\":").text(metadata.target());
        }
        line.0.raw("}\n");
        let line = line.0.finish();
        (self.0)(&line);
        LINE_BUFFER.set(line);
    }
}

/// Members of a span, each after a comma.
struct SpanMembers(Vec<u8>);

/// Members of an object, each after a comma.
struct Members(Json);

impl Members {
    /// Appends the name of a member, after which its value follows.
    fn member(&mut self, field: &Field) -> &mut Json {
        self.0.raw(",\"").raw(field.name()).raw("\":")
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let mut room = zmij::Buffer::new();
        // JSON has no infinity and no NaN.
        self.member(field).raw(if value.is_finite() { room.format_finite(value) } else { "null" });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field).number(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field).number(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field).raw(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field).text(value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field).quoted(format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn log_lines_are_valid_json() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let lines = JsonLines(move |line: &[u8]| written.lock().unwrap().push(line.to_vec()));
        let strange = "a \"b\"\\\n\u{1}é";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let later = tracing::field::Empty;
            let span = tracing::error_span!("span", around = strange, later);
            span.record("later", 1);
            span.in_scope(|| {
                let whole = f64::NAN;
                tracing::warn!(strange, shown = %strange, whole, part = 0.5, below = -7, is = true, "{strange}");
                tracing::info!(target: "library", "short");
            });
        });
        let log = log.lock().unwrap();
        let around = json!({ "around": strange, "later": 1 });
        let first = json!({
            "level": "WARN", "message": strange, "strange": strange, "shown": strange, "whole": null,
            "part": 0.5, "below": -7, "is": true,
        });
        let second = json!({ "level": "INFO", "message": "short", "target": "library" });
        assert_eq!(log.len(), 2);
        for (line, mut expected) in log.iter().zip([first, second]) {
            let line = str::from_utf8(line).unwrap().strip_suffix('\n').unwrap();
            let mut line: Value = serde_json::from_str(line).unwrap();
            let members = line.as_object_mut().unwrap();
            let time = members.shift_remove("timestamp").unwrap();
            assert!(time.as_str().unwrap().parse::<crate::message::Timestamp>().is_ok(), "{time}");
            expected.as_object_mut().unwrap().extend(around.as_object().unwrap().clone());
            assert_eq!(line, expected);
        }
    }
}
