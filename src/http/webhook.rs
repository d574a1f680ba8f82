//! `POST /webhooks/{source}`: accepts or rejects a webhook, with checks in the order of the API contract.

use std::mem;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::app_state::Service;
use super::problem::Problem;
use super::request_log::Line;
use crate::dialect::{HeadRejection, Source, is_encoded};
use crate::http::body::request_body::{Sender, read_body, reject_unread};
use crate::http::body::response_body;
use crate::http::render::message_json::{self, JSON};
use crate::ingest::{EntryResult, Posted, Rejection};
use crate::metrics::RejectReason;
use crate::verify::{Header, Headers, Request, Verified};

/// Handles a webhook request. The source's dialect decides which methods are allowed.
pub(crate) async fn receive(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let name = source_name(request.match_info().unprocessed());
    let line = Line::begin(&request);
    match admit(&service, name, &request) {
        Ok((source, verified)) => {
            process(&service, &source, verified, &line, &request, payload).await
        }
        Err(RejectedWebhook { reason, problem }) => {
            service.metrics.rejected(name, reason);
            let source = name.and_then(|name| service.sources.get(name));
            let source = source.as_ref().map(|source| &*source.name);
            let guard =
                RejectionGuard { service: &service, line: &line, source, reason, counts: false };
            let mut response = reject_unread(problem, payload).await;
            guard.disarm();
            line.rejected(&service, source, reason, Some(&mut response));
            response
        }
    }
}

/// Source name: the only segment of the path behind `/webhooks`. Slashes around it are ignored,
/// because senders take a 4xx for final: with an extra slash in the callback URL, all webhooks would be lost.
fn source_name(path: &str) -> Option<&str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    parts.next().filter(|_| parts.next().is_none())
}

/// Rejection of a webhook: the reason for metrics and log, the problem for the sender.
struct RejectedWebhook {
    reason: RejectReason,
    problem: Problem,
}

impl RejectedWebhook {
    fn new(reason: RejectReason, problem: Problem) -> Self {
        Self { reason, problem }
    }
}

/// Guard while a body is awaited. If its connection is closed meanwhile, the handler is dropped, and the
/// guard counts and logs the rejection.
struct RejectionGuard<'a> {
    service: &'a Service,
    line: &'a Line<'a>,
    source: Option<&'a str>,
    reason: RejectReason,
    /// Whether the rejection still has to be counted.
    counts: bool,
}

impl RejectionGuard<'_> {
    /// Disarms the guard: the wait for the body is over and the handler continues.
    fn disarm(self) {
        mem::forget(self);
    }
}

impl Drop for RejectionGuard<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.service.metrics.rejected(self.source, self.reason);
        }
        self.line.rejected(self.service, self.source, self.reason, None);
    }
}

/// Checks that need no body: capacity, source, rate limit, method, content type, encoding, verification if
/// its scheme needs no body, and the announced length. A length that is not announced is checked while the
/// body is read.
fn admit(
    service: &Service,
    name: Option<&str>,
    request: &HttpRequest,
) -> Result<(Arc<Source>, Option<Verified>), RejectedWebhook> {
    let rejected =
        |rejection: Rejection| RejectedWebhook::new(rejection.reason(), rejection.into());
    service.ingest.has_room().map_err(rejected)?;
    let source = name.and_then(|name| service.sources.get(name));
    let source = source
        .ok_or_else(|| RejectedWebhook::new(RejectReason::UnknownSource, Problem::UnknownSource))?;
    if !source.is_within_rate() {
        return Err(rejected(Rejection::Rate));
    }
    let codings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_encoded = is_encoded(codings.map(HeaderValue::as_bytes));
    let method = request.method().as_str();
    let rejection = |rejection| rejected_before_verification(&source, rejection);
    source.admit(method, content_type(request), is_encoded).map_err(rejection)?;
    let head = Request {
        method,
        query: request.uri().query(),
        content_type: content_type(request),
        headers: &Received(request.headers()),
        body: b"",
    };
    let verified = source.verify_head(&head, service.clock.now()).transpose();
    let verified = verified.map_err(|unverified| rejected(Rejection::Unverified(unverified)))?;
    if verified.is_some_and(|verified| verified.expires_in_milliseconds) && source.should_warn() {
        tracing::warn!(
            source = &*source.name,
            "`expires` of a callback URL seems to be in milliseconds, but is read in seconds, so \
             the URL stays valid for thousands of years; sign it again with seconds"
        );
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    source.admit_length(announced).map_err(rejection)?;
    Ok((source, verified))
}

fn rejected_before_verification(source: &Source, rejection: HeadRejection) -> RejectedWebhook {
    match rejection {
        HeadRejection::Method => {
            let allowed = source.dialect.methods().join(", ");
            RejectedWebhook::new(RejectReason::Method, Problem::Method { allowed })
        }
        HeadRejection::Encoded => RejectedWebhook::new(
            RejectReason::ContentType,
            Problem::ContentType(
                "Send the body without a Content-Encoding: the signature covers its bytes.",
            ),
        ),
        HeadRejection::ContentType => RejectedWebhook::new(
            RejectReason::ContentType,
            Problem::ContentType(
                "The verification of this source cannot read a body of this content type.",
            ),
        ),
        HeadRejection::TooLarge => RejectedWebhook::new(
            RejectReason::TooLarge,
            Problem::TooLarge { max_bytes: source.max_body_bytes },
        ),
    }
}

async fn process(
    service: &Service,
    source: &Source,
    verified: Option<Verified>,
    line: &Line<'_>,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let sender = match verified {
        Some(_) => Sender::Verified(&source.name),
        None => Sender::Unverified(request),
    };
    let (name, reason) = (Some(&*source.name), RejectReason::Body);
    let guard = RejectionGuard { service, line, source: name, reason, counts: true };
    let body = read_body(service, sender, payload, source.max_body_bytes).await;
    guard.disarm();
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            service.metrics.rejected(Some(&source.name), rejection.reason);
            let mut response = rejection.response();
            line.rejected(service, Some(&source.name), rejection.reason, Some(&mut response));
            return response;
        }
    };
    let posted = Posted {
        method: request.method().as_str(),
        query: request.uri().query(),
        content_type: content_type(request),
        headers: &Received(request.headers()),
        body,
        verified,
    };
    let accepted = service.ingest.accept(source, posted, service.clock.now()).await;
    match accepted {
        Ok(results) => {
            for entry in &results {
                if let EntryResult::Quarantined { id, .. } = entry {
                    let log = || {
                        tracing::warn!(quarantine_id = %id, "quarantined a webhook: its payload was not \
                            understood");
                    };
                    line.webhook_span(&source.name).in_scope(log);
                }
            }
            let mut response = HttpResponse::Ok();
            response.content_type(JSON);
            // The receipt of a delivery with many short entries is larger than its body. The delivery is
            // stored, so the response is 200 in any case.
            let receipt = message_json::receipt(&results);
            let mut response = response_body::answer_or(
                service,
                &mut response,
                receipt,
                message_json::EMPTY_RECEIPT,
            );
            line.stored(&source.name, &results, &mut response);
            response
        }
        Err(rejection) => {
            let reason = rejection.reason();
            let mut response = line.webhook_span(&source.name).in_scope(|| {
                log(&rejection);
                Problem::from(rejection).response()
            });
            line.rejected(service, Some(&source.name), reason, Some(&mut response));
            response
        }
    }
}

/// Logs what an operator should look at, and nothing of the webhook's contents.
fn log(rejection: &Rejection) {
    match rejection {
        Rejection::NotEncoded(_) => {
            tracing::warn!("quarantined a webhook: its payload was not understood");
        }
        Rejection::Slow => tracing::warn!("a commit takes too long"),
        // The store has logged its own errors; each other rejection concerns a single webhook.
        Rejection::Unverified(_)
        | Rejection::TooOld
        | Rejection::Rate
        | Rejection::Overloaded
        | Rejection::Closing
        | Rejection::Store(_) => {}
    }
}

fn content_type(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// Headers as they were received.
struct Received<'a>(&'a HeaderMap);

impl Headers for Received<'_> {
    fn get(&self, name: &str) -> Header<'_> {
        let mut values = self.0.get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => Header::One(value.as_bytes()),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}
