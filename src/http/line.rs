//! The one line that is logged of a request: who asked, what came of it, and how long that took.
//!
//! No body, no query, no key and no whole number is in it. What else is logged on the way has the same
//! names, through a span that is made only where something is. With the feature `otlp` the same goes to a
//! collector of traces.

mod given;
#[cfg(feature = "otlp")]
mod span;

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use tracing::Span;

use super::auth::{self, Denied};
use super::state::Service;
use crate::ingest::Done;
use crate::message::{Destination, MessageId};
use crate::metrics::Cause;

/// Where a request says its name, and the answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The methods that a line names: those that HTTP and its clients have words for.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// How many requests were given names.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// A request that is under way.
pub(crate) struct Line<'a> {
    request: &'a HttpRequest,
    began: Instant,
    id: String,
    trace: Option<Cow<'a, str>>,
}

/// What an API request was about, as far as it may be told.
#[derive(Clone, Copy, Default)]
pub(crate) struct About {
    /// The message.
    pub(crate) message: Option<MessageId>,
    /// The recipient.
    pub(crate) destination: Option<Destination>,
}

impl<'a> Line<'a> {
    /// That of a request that begins now.
    pub(crate) fn begin(request: &'a HttpRequest) -> Self {
        let headers = request.headers();
        let id = given::id(headers, &REQUEST_ID).map_or_else(new_id, str::to_owned);
        let trace = given::trace_id(headers).map(given::without_number);
        Self { request, began: Instant::now(), id, trace }
    }

    /// What is logged on the way of a webhook.
    pub(crate) fn webhook_span(&self, source: &str) -> Span {
        // Of the highest level, so that it is there whatever is logged.
        tracing::error_span!(
            "webhook",
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source
        )
    }

    /// What is logged on the way of an API request.
    pub(crate) fn request_span(&self, key: &str) -> Span {
        tracing::error_span!("request", request_id = self.id, trace_id = self.trace.as_deref(), key)
    }

    /// The webhook was taken.
    pub(crate) fn stored(&self, source: &str, done: &[Done], answer: &mut HttpResponse) {
        let message = match done {
            [Done::Judged { message, .. }] => Some(*message),
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
            "took a webhook"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(self, span::WEBHOOKS, answer) {
            span.tell("source", Some(source));
            span.tell("message_id", message);
            span.tell("outcome", Some(outcome));
        }
        self.name(answer);
    }

    /// The webhook was refused, which is for this source, if there is such a one.
    pub(crate) fn refused(
        &self,
        service: &Service,
        source: Option<&str>,
        cause: Cause,
        answer: &mut HttpResponse,
    ) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            source,
            cause = cause.name(),
            client = %auth::client(service, self.request),
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "refused a webhook"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(self, span::WEBHOOKS, answer) {
            span.tell("source", source);
            span.tell("cause", Some(cause.name()));
        }
        self.name(answer);
    }

    /// The API request was answered.
    pub(crate) fn answered(&self, key: &str, route: &str, about: About, answer: &mut HttpResponse) {
        tracing::info!(
            request_id = self.id,
            trace_id = self.trace.as_deref(),
            key,
            method = self.method(),
            route,
            message_id = about.message.map(tracing::field::display),
            phonenumber = about.destination.map(Masked).map(tracing::field::display),
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "answered an API request"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(self, route, answer) {
            span.tell("key", Some(key));
            span.tell("message_id", about.message);
        }
        self.name(answer);
    }

    /// The API request was not answered.
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
            cause = denied.cause,
            client = %auth::client(service, self.request),
            method = self.method(),
            route,
            status = answer.status().as_u16(),
            ms = self.milliseconds(),
            "refused an API request"
        );
        #[cfg(feature = "otlp")]
        if let Some(mut span) = span::Exported::of(self, route, answer) {
            span.tell("key", denied.key.as_ref());
            span.tell("cause", Some(denied.cause));
        }
        self.name(answer);
    }

    /// How long it has taken.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// Its method, if there is such a one: others are whatever a stranger sends.
    fn method(&self) -> Option<&'static str> {
        METHODS.into_iter().find(|method| *method == self.request.method().as_str())
    }

    fn milliseconds(&self) -> f64 {
        let micros = u32::try_from(self.took().as_micros()).unwrap_or(u32::MAX);
        f64::from(micros) / 1_000.0
    }

    /// Says in the answer under which name the request is found in the log.
    fn name(&self, answer: &mut HttpResponse) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
    }
}

/// A name that no other request of this process has.
fn new_id() -> String {
    format!("{:x}-{:x}", process::id(), NAMED.fetch_add(1, Ordering::Relaxed))
}

/// What became of each entry, each word once.
fn outcomes(done: &[Done]) -> Cow<'static, str> {
    if let [only] = done {
        return only.became().name().into();
    }
    let mut words = Vec::new();
    for word in done.iter().map(|entry| entry.became().name()) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(",").into()
}

/// A phone number of which only the ends are shown.
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

    /// No dialect so far has webhooks of several entries.
    #[test]
    fn what_became_of_several_entries_is_said_once() {
        let message = MessageId::from_bytes([1; 16]);
        let judged = |outcome| Done::Judged { message, outcome, status: None };
        let ignored = || Done::Ignored { reason: String::new() };
        assert_eq!(outcomes(&[ignored()]), "ignored");
        let several = [judged(Outcome::Applied), ignored(), judged(Outcome::Applied), ignored()];
        assert_eq!(outcomes(&several), "applied,ignored");
        assert_eq!(outcomes(&[]), "");
    }
}
