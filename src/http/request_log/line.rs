//! Log line of a request: caller, outcome and duration.
//!
//! The line contains no body, query, key or whole phone number. Other log lines of the same request have the
//! same names, through a span that is created only where something is logged. With the feature `otlp`, the
//! same facts go to a trace collector.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_http::{HttpMessage as _, Request};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tracing::Span;

use super::client_names;
#[cfg(feature = "otlp")]
use super::span;
use crate::http::app_state::Service;
use crate::http::auth::{self, Denied};
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
    request: &'a HttpRequest,
    began: Instant,
    id: String,
    trace: Option<Cow<'a, str>>,
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
        let headers = request.headers();
        let id = client_names::id(headers, &REQUEST_ID).map_or_else(new_id, str::to_owned);
        let trace = client_names::trace_id(headers).map(client_names::without_number);
        Self { request, began: Instant::now(), id, trace }
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
    pub(crate) fn stored(&self, source: &str, done: &[EntryResult], answer: &mut HttpResponse) {
        let message = match done {
            [EntryResult::Judged { message, .. }] => Some(*message),
            _ => None,
        };
        let (outcome, mut room) = (outcomes(done), [0; 36]);
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source,
            message_id = message.map(|message| message.write(&mut room)),
            outcome = &*outcome,
            entries = if done.len() == 1 { None } else { Some(done.len()) },
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "accepted a webhook"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(&self.facts(), span::WEBHOOKS, answer) {
            span.set("source", Some(source));
            span.set("message_id", message);
            span.set("outcome", Some(outcome));
        }
        self.name(answer);
    }

    /// Logs a rejected webhook, with its source if one of that name is configured.
    pub(crate) fn rejected(
        &self,
        service: &Service,
        source: Option<&str>,
        reason: RejectReason,
        answer: &mut HttpResponse,
    ) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source,
            reason = reason.name(),
            client = %auth::client(service, self.request),
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "rejected a webhook"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(&self.facts(), span::WEBHOOKS, answer) {
            span.set("source", source);
            span.set("reason", Some(reason.name()));
        }
        self.name(answer);
    }

    /// Logs a rejected webhook whose connection was closed before it had an answer: its client is gone, or
    /// its file descriptor or memory was needed.
    pub(crate) fn closed(&self, service: &Service, source: Option<&str>, reason: RejectReason) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source,
            reason = reason.name(),
            client = %auth::client(service, self.request),
            ms = self.milliseconds(),
            "rejected a webhook"
        );
    }

    /// Logs an answered API request.
    pub(crate) fn answered(&self, key: &str, about: &About, answer: &mut HttpResponse) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            key,
            method = self.method(),
            route = about.route,
            message_id = about.message.map(tracing::field::display),
            phonenumber = about.destination.map(Masked).map(tracing::field::display),
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "answered an API request"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(&self.facts(), about.route, answer) {
            span.set("key", Some(key));
            span.set("message_id", about.message);
        }
        self.name(answer);
    }

    /// Logs a rejected API request.
    pub(crate) fn denied(
        &self,
        service: &Service,
        route: &str,
        denied: &Denied,
        answer: &mut HttpResponse,
    ) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            key = denied.key,
            reason = denied.reason,
            client = %auth::client(service, self.request),
            method = self.method(),
            route,
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "rejected an API request"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(&self.facts(), route, answer) {
            span.set("key", denied.key.as_ref());
            span.set("reason", Some(denied.reason));
        }
        self.name(answer);
    }

    /// Time since the request began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Facts of the request for its span.
    #[cfg(feature = "otlp")]
    fn facts(&self) -> span::Request<'_> {
        span::Request {
            method: self.method(),
            headers: self.request.headers(),
            id: &self.id,
            took: self.elapsed(),
        }
    }

    fn method(&self) -> Option<&'static str> {
        METHODS.into_iter().find(|method| *method == self.request.method().as_str())
    }

    fn milliseconds(&self) -> f64 {
        let micros = u32::try_from(self.elapsed().as_micros()).unwrap_or(u32::MAX);
        f64::from(micros) / 1_000.0
    }

    /// Puts the request id into the response, so that the request can be found in the log.
    fn name(&self, answer: &mut HttpResponse) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
    }
}

/// Logs a webhook that was rejected before it reached a handler, and puts its id into the response.
pub(crate) fn rejected_at_once(
    service: &Service,
    request: &Request,
    reason: RejectReason,
    answer: &mut HttpResponse,
) {
    let headers = request.headers();
    let id = client_names::id(headers, &REQUEST_ID).map_or_else(new_id, str::to_owned);
    let trace = client_names::trace_id(headers).map(client_names::without_number);
    tracing::info!(
        request_id = id,
        trace_id = trace.as_deref(),
        reason = reason.name(),
        client = %auth::client_behind(service, request.peer_addr(), headers),
        status = answer.status().as_u16(),
        "rejected a webhook"
    );
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Request id that is unique in this process.
fn new_id() -> String {
    format!("{:x}-{:x}", process::id(), GENERATED_IDS.fetch_add(1, Ordering::Relaxed))
}

/// Outcomes of the entries, each named once.
fn outcomes(done: &[EntryResult]) -> Cow<'static, str> {
    if let [only] = done {
        return only.outcome().name().into();
    }
    let mut words = Vec::new();
    for word in done.iter().map(|entry| entry.outcome().name()) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(",").into()
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
    fn what_became_of_several_entries_is_said_once() {
        let message = MessageId::from_bytes([1; 16]);
        let judged = |outcome| EntryResult::Judged { message, outcome, status: None };
        let ignored = || EntryResult::Ignored { reason: String::new() };
        assert_eq!(outcomes(&[ignored()]), "ignored");
        let several = [judged(Outcome::Applied), ignored(), judged(Outcome::Applied), ignored()];
        assert_eq!(outcomes(&several), "applied,ignored");
        assert_eq!(outcomes(&[]), "");
    }
}
