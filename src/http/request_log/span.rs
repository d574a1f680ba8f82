//! Span of a request for a trace collector: the facts of its log line, except those that tell of a person.
//!
//! Names follow the semantic conventions for HTTP
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server>). Facts without a name there
//! are named as in the line, with the prefix `statusmirror.`.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use actix_web::HttpResponse;
use actix_web::http::header::HeaderMap;
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use super::client_names;
use crate::clock::Clock;

/// Route of webhooks.
pub(crate) const WEBHOOKS: &str = "/webhooks/{source}";

/// Tracer of the spans. Whether they are recorded is settled before the first request: only with a collector.
static TRACER: LazyLock<BoxedTracer> = LazyLock::new(|| {
    let scope =
        InstrumentationScope::builder("statusmirror").with_version(env!("CARGO_PKG_VERSION"));
    global::tracer_with_scope(scope.build())
});

/// Facts of a request that its span has, whatever its outcome.
pub(crate) struct Request<'a> {
    /// Method, if it is one that a log line names.
    pub(crate) method: Option<&'static str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) id: &'a str,
    pub(crate) duration: Duration,
}

/// Span that is exported when it is dropped.
pub(crate) struct RequestSpan(BoxedSpan);

impl RequestSpan {
    /// Creates the span of an answered request on this route; `None` if no collector records it.
    pub(crate) fn of(request: &Request<'_>, route: &str, answer: &HttpResponse) -> Option<Self> {
        let method = request.method;
        let span = SpanBuilder::from_name(format!("{} {route}", method.unwrap_or("HTTP")))
            .with_kind(SpanKind::Server)
            .with_start_time(start_time(request.duration));
        let context = Context::new();
        let context = match parent(request.headers) {
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
            KeyValue::new("statusmirror.request_id", request.id.to_owned()),
        ]);
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        Some(Self(span))
    }

    /// Adds a fact under the name that it has in the log line.
    pub(crate) fn set(&mut self, name: &str, fact: Option<impl ToString>) {
        if let Some(fact) = fact {
            self.0.set_attribute(KeyValue::new(format!("statusmirror.{name}"), fact.to_string()));
        }
    }
}

/// Time at which the request began.
fn start_time(duration: Duration) -> SystemTime {
    let now = u64::try_from(Clock::System.now().micros()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(now).saturating_sub(duration)
}

/// Parent span, stated in the client's `traceparent` header; `None` if that is invalid or absent.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let trace = TraceId::from_hex(client_names::trace_id(headers)?).ok()?;
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut rest = parent.split('-').skip(2);
    let span = SpanId::from_hex(rest.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(rest.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}
