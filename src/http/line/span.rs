//! The span of a request, for whoever collects traces: what its line says, but for what tells of a person.
//!
//! Names are those of the semantic conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server>); what they do not know is named
//! as in the line, behind `statusmirror.`.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use actix_web::HttpResponse;
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use super::{Line, given};
use crate::clock::Clock;

/// Where webhooks come.
pub(super) const WEBHOOKS: &str = "/webhooks/{source}";

/// What makes spans, which are recorded if somebody collects them. That is settled before the first request.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| {
    let scope =
        InstrumentationScope::builder("statusmirror").with_version(env!("CARGO_PKG_VERSION"));
    global::tracer_with_scope(scope.build())
});

/// A span that is exported when it is dropped.
pub(super) struct Exported(BoxedSpan);

impl Exported {
    /// That of a request on this route that was answered so; none if nobody wants to know.
    pub(super) fn of(line: &Line<'_>, route: &str, answer: &HttpResponse) -> Option<Self> {
        let method = line.method();
        let span = SpanBuilder::from_name(format!("{} {route}", method.unwrap_or("HTTP")))
            .with_kind(SpanKind::Server)
            .with_start_time(began(line));
        let context = Context::new();
        let context = match parent(line) {
            Some(parent) => context.with_remote_span_context(parent),
            None => context,
        };
        let mut span = TRACER.build_with_context(span, &context);
        if !span.is_recording() {
            return None;
        }
        let status = answer.status();
        span.set_attributes([
            KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
            KeyValue::new("statusmirror.request_id", line.id.clone()),
        ]);
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        Some(Self(span))
    }

    /// Adds a fact that the line has under this name.
    pub(super) fn tell(&mut self, name: &str, fact: Option<impl ToString>) {
        if let Some(fact) = fact {
            self.0.set_attribute(KeyValue::new(format!("statusmirror.{name}"), fact.to_string()));
        }
    }
}

/// When the request began.
fn began(line: &Line<'_>) -> SystemTime {
    let now = u64::try_from(Clock::System.now().micros()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(now).saturating_sub(line.took())
}

/// The span of whoever sent the request, if its `traceparent` is one.
fn parent(line: &Line<'_>) -> Option<SpanContext> {
    let headers = line.request.headers();
    let trace = TraceId::from_hex(given::trace_id(headers)?).ok()?;
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut rest = parent.split('-').skip(2);
    let span = SpanId::from_hex(rest.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(rest.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}
