//! Log line of a request: caller, outcome and duration.
//!
//! The line contains no body, query, key or whole phone number. Other log lines of the same request have the
//! same names, through a span that is created only where something is logged. With the feature `otlp`, the
//! same facts go to a trace collector.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_http::{HttpMessage as _, Request};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tracing::Span;

use super::client_names;
#[cfg(feature = "otlp")]
use super::span;
use crate::http::app_state::Service;
use crate::http::auth::{self, KeyRejection};
use crate::ingest::EntryResult;
use crate::message::{Destination, MessageId};
use crate::metrics::RejectReason;

/// Header with the request id, in the request and in the response.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Methods named in a line: those defined by HTTP. Any other method is whatever a stranger sends, and is not
/// logged.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Number of request ids generated.
static GENERATED_IDS: AtomicU64 = AtomicU64::new(0);

/// Request in flight, whose line is logged when it is answered.
pub(crate) struct Line<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    peer: Option<SocketAddr>,
    started: Instant,
    id: String,
    trace: Option<Cow<'a, str>>,
}

/// Fields of a request's line; those that do not apply are absent. The request's ids and its duration are
/// added to each line. The span for a collector has the same fields, except those that tell of a person.
#[derive(Clone, Copy, Default)]
struct LogFields<'a> {
    /// Source of a webhook.
    source: Option<&'a str>,
    /// Name of the API key.
    key: Option<&'a str>,
    /// Reason for a rejection.
    reason: Option<RejectReason>,
    /// Address of a rejected client.
    client: Option<IpAddr>,
    /// Route of an API request.
    route: Option<&'static str>,
    /// Message of the request.
    message: Option<MessageId>,
    /// Destination of the request; logged masked.
    destination: Option<Destination>,
    /// Outcomes of a webhook's entries.
    outcome: Option<&'a str>,
    /// Number of a webhook's entries, if it is not one.
    entries: Option<usize>,
}

/// Route and subject of an API request, as far as they may be logged.
#[derive(Clone, Copy)]
pub(crate) struct About {
    /// Route name.
    pub(crate) route: &'static str,
    /// Message of the request.
    pub(crate) message: Option<MessageId>,
    /// Destination of the request; logged masked.
    pub(crate) destination: Option<Destination>,
}

impl About {
    /// Path that matches no route.
    pub(crate) const NO_ROUTE: Self = Self { route: "none", message: None, destination: None };
}

impl<'a> Line<'a> {
    /// Starts the line of a request that begins now.
    pub(crate) fn begin(request: &'a HttpRequest) -> Self {
        Self::of(request.method(), request.headers(), request.peer_addr())
    }

    /// Starts the line of a request that has not reached a handler.
    pub(crate) fn for_unrouted(request: &'a Request) -> Self {
        Self::of(request.method(), request.headers(), request.peer_addr())
    }

    fn of(method: &'a Method, headers: &'a HeaderMap, peer: Option<SocketAddr>) -> Self {
        let id = client_names::id(headers, &REQUEST_ID).map_or_else(new_id, str::to_owned);
        let trace = client_names::trace_id(headers).map(client_names::with_phone_numbers_masked);
        Self { method, headers, peer, started: Instant::now(), id, trace }
    }

    /// Span for log lines written while a webhook is handled.
    pub(crate) fn webhook_span(&self, source: &str) -> Span {
        // Of the highest level, so that the span is enabled at every log level.
        tracing::error_span!(
            "webhook",
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source
        )
    }

    /// Span for log lines written while an API request is handled.
    pub(crate) fn request_span(&self, key: &str) -> Span {
        tracing::error_span!("request", request_id = self.id, trace_id = self.trace.as_deref(), key)
    }

    /// Logs an accepted webhook.
    pub(crate) fn stored(&self, source: &str, results: &[EntryResult], answer: &mut HttpResponse) {
        let message = match results {
            [EntryResult::Judged { message, .. }] => Some(*message),
            _ => None,
        };
        let fields = LogFields {
            source: Some(source),
            message,
            outcome: Some(&outcomes(results)),
            entries: Some(results.len()).filter(|entries| *entries != 1),
            ..LogFields::default()
        };
        self.log("accepted a webhook", &fields, Some(answer));
    }

    /// Logs a rejected webhook, with its source if one of that name is configured. Without an answer, its
    /// connection was closed before it had one: its client is gone, or its file descriptor or memory was
    /// needed.
    pub(crate) fn rejected(
        &self,
        service: &Service,
        source: Option<&str>,
        reason: RejectReason,
        answer: Option<&mut HttpResponse>,
    ) {
        let client = Some(self.client(service));
        let fields = LogFields { source, reason: Some(reason), client, ..LogFields::default() };
        self.log("rejected a webhook", &fields, answer);
    }

    /// Logs an answered API request.
    pub(crate) fn answered(&self, key: &str, about: &About, answer: &mut HttpResponse) {
        let fields = LogFields {
            key: Some(key),
            route: Some(about.route),
            message: about.message,
            destination: about.destination,
            ..LogFields::default()
        };
        self.log("answered an API request", &fields, Some(answer));
    }

    /// Logs an API request that was rejected for its key.
    pub(crate) fn key_rejected(
        &self,
        service: &Service,
        route: &'static str,
        rejection: &KeyRejection,
        answer: &mut HttpResponse,
    ) {
        let fields = LogFields {
            key: rejection.key.as_deref(),
            reason: Some(rejection.reason),
            client: Some(self.client(service)),
            route: Some(route),
            ..LogFields::default()
        };
        self.log("rejected an API request", &fields, Some(answer));
    }

    /// Writes the line, exports the span, and puts the request id into the answer, so that the request can be
    /// found in the log.
    fn log(&self, text: &str, fields: &LogFields<'_>, answer: Option<&mut HttpResponse>) {
        let mut buffer = [0; 36];
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source = fields.source,
            key = fields.key,
            reason = fields.reason.map(RejectReason::name),
            client = fields.client.map(tracing::field::display),
            // The line of a webhook has neither route nor method.
            method = fields.route.and_then(|_| self.method()),
            route = fields.route,
            message_id = fields.message.map(|message| message.write(&mut buffer)),
            phonenumber = fields.destination.map(Masked).map(tracing::field::display),
            outcome = fields.outcome,
            entries = fields.entries,
            status = answer.as_ref().map(|answer| answer.status().as_u16()),
            ms = self.milliseconds(),
            "{text}"
        );
        let Some(answer) = answer else { return };
        #[cfg(feature = "otlp")]
        self.export(fields, answer);
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
    }

    /// Exports the span of the request, if a collector records it.
    #[cfg(feature = "otlp")]
    fn export(&self, fields: &LogFields<'_>, answer: &HttpResponse) {
        let request = span::Request {
            method: self.method(),
            headers: self.headers,
            id: &self.id,
            duration: self.elapsed(),
        };
        let route = fields.route.unwrap_or(span::WEBHOOKS);
        if let Some(mut span) = span::RequestSpan::of(&request, route, answer) {
            span.set("source", fields.source);
            span.set("key", fields.key);
            span.set("reason", fields.reason.map(RejectReason::name));
            span.set("message_id", fields.message);
            span.set("outcome", fields.outcome);
        }
    }

    /// Time since the request began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn client(&self, service: &Service) -> IpAddr {
        auth::client(service, self.peer, self.headers)
    }

    fn method(&self) -> Option<&'static str> {
        METHODS.into_iter().find(|method| *method == self.method.as_str())
    }

    fn milliseconds(&self) -> f64 {
        let micros = u32::try_from(self.elapsed().as_micros()).unwrap_or(u32::MAX);
        f64::from(micros) / 1_000.0
    }
}

/// Request id that is unique in this process.
fn new_id() -> String {
    format!("{:x}-{:x}", process::id(), GENERATED_IDS.fetch_add(1, Ordering::Relaxed))
}

/// Outcomes of the entries, each named once.
fn outcomes(results: &[EntryResult]) -> Cow<'static, str> {
    if let [only] = results {
        return only.outcome().name().into();
    }
    let mut names = Vec::new();
    for name in results.iter().map(|entry| entry.outcome().name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(",").into()
}

/// Phone number of which only the first three and the last four characters are shown.
struct Masked(Destination);

impl Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.to_string();
        let (start, end) = (number.get(..3), number.get(number.len().saturating_sub(4)..));
        write!(f, "{}…{}", start.unwrap_or_default(), end.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Outcome;

    /// No dialect so far has deliveries with several entries.
    #[test]
    fn each_outcome_of_a_delivery_is_named_once() {
        let message = MessageId::from_bytes([1; 16]);
        let judged = |outcome| EntryResult::Judged { message, outcome, status: None };
        let ignored = || EntryResult::Ignored { reason: String::new() };
        assert_eq!(outcomes(&[ignored()]), "ignored");
        let several = [judged(Outcome::Applied), ignored(), judged(Outcome::Applied), ignored()];
        assert_eq!(outcomes(&several), "applied,ignored");
        assert_eq!(outcomes(&[]), "");
    }
}
