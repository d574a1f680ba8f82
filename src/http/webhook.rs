//! `POST /webhooks/{source}`: takes a webhook, or says why not, in the order of the contract.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::bodies;
use super::body::{Sender, read_body, refuse};
use super::line::Line;
use super::problem::Problem;
use super::state::Service;
use super::view::{self, JSON};
use crate::dialect::{Source, Unfit, is_encoded};
use crate::ingest::{Done, Posted, Refusal};
use crate::metrics::Cause;
use crate::proof::{Header, Headers, Request, Verified};

/// Takes a webhook; any other method is for the source's dialect to allow.
pub(crate) async fn receive(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let name = source_name(request.match_info().unprocessed());
    let line = Line::begin(&request);
    match admit(&service, name, &request) {
        Ok((source, verified)) => take(&service, &source, verified, &line, &request, payload).await,
        Err(Refused { cause, problem }) => {
            service.ingest.metrics.refused(name, cause);
            let mut response = refuse(problem, payload).await;
            let source = name.and_then(|name| service.ingest.sources.get(name));
            line.refused(
                &service,
                source.as_ref().map(|source| &*source.name),
                cause,
                &mut response,
            );
            response
        }
    }
}

/// The one part of the path behind `/webhooks`. Slashes around it make no difference: what adds them
/// to an address is not told so by the sender, whose webhooks would be lost.
fn source_name(path: &str) -> Option<&str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    parts.next().filter(|_| parts.next().is_none())
}

/// Why a webhook was refused, for those who watch and for its sender.
struct Refused {
    cause: Cause,
    problem: Problem,
}

impl Refused {
    fn new(cause: Cause, problem: Problem) -> Self {
        Self { cause, problem }
    }
}

/// What can be refused before the body is read: of an address that proves itself, all but the length
/// of a body that is not announced.
fn admit(
    service: &Service,
    name: Option<&str>,
    request: &HttpRequest,
) -> Result<(Arc<Source>, Option<Verified>), Refused> {
    let no_room = |refusal: Refusal| Refused::new(refusal.cause(), refusal.into());
    service.ingest.has_room().map_err(no_room)?;
    let source = name.and_then(|name| service.ingest.sources.get(name));
    let source =
        source.ok_or_else(|| Refused::new(Cause::UnknownSource, Problem::UnknownSource))?;
    if !source.is_within_rate() {
        return Err(no_room(Refusal::Rate));
    }
    let codings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_encoded = is_encoded(codings.map(HeaderValue::as_bytes));
    let method = request.method().as_str();
    let unfit = |unfit| refused(&source, unfit);
    source.admit(method, content_type(request), is_encoded).map_err(unfit)?;
    let head = Request {
        method,
        query: request.uri().query(),
        content_type: content_type(request),
        headers: &Received(request.headers()),
        body: b"",
    };
    let verified = source.verify_head(&head, service.clock.now()).transpose();
    let verified = verified.map_err(|unproven| no_room(Refusal::Unproven(unproven)))?;
    if verified.is_some_and(|verified| verified.expires_in_milliseconds) && source.warns() {
        tracing::warn!(
            source = &*source.name,
            "`expires` of a callback URL seems to be in milliseconds, and is read in seconds: the \
             URL does not expire in our days; sign it again with seconds"
        );
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    source.admit_length(announced).map_err(unfit)?;
    Ok((source, verified))
}

fn refused(source: &Source, unfit: Unfit) -> Refused {
    match unfit {
        Unfit::Method => {
            let allowed = source.dialect.methods().join(", ");
            Refused::new(Cause::Method, Problem::Method { allowed })
        }
        Unfit::Encoded => Refused::new(
            Cause::ContentType,
            Problem::ContentType(
                "Send the body as it is, without a Content-Encoding: the proof is over its bytes.",
            ),
        ),
        Unfit::ContentType => Refused::new(
            Cause::ContentType,
            Problem::ContentType(
                "The proof of this source cannot read a body of this content type.",
            ),
        ),
        Unfit::TooLarge => {
            Refused::new(Cause::TooLarge, Problem::TooLarge { most: source.max_body_bytes })
        }
    }
}

async fn take(
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
    let body = match read_body(service, sender, payload, source.max_body_bytes).await {
        Ok(body) => body,
        Err(unread) => {
            service.ingest.metrics.refused(Some(&source.name), unread.cause);
            let mut response = unread.response();
            line.refused(service, Some(&source.name), unread.cause, &mut response);
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
    let taken = service.ingest.accept(source, posted, service.clock.now()).await;
    match taken {
        Ok(done) => {
            for entry in &done {
                if let Done::Quarantined { id, .. } = entry {
                    let log =
                        || tracing::warn!(quarantine_id = %id, "a webhook was not understood");
                    line.webhook_span(&source.name).in_scope(log);
                }
            }
            let mut response = HttpResponse::Ok();
            response.content_type(JSON);
            // A delivery of many short entries has a receipt that is larger than its body. It is stored, so
            // its answer is 200 in any case.
            let receipt = view::receipt(&done);
            let mut response =
                bodies::answer_or(service, &mut response, receipt, view::EMPTY_RECEIPT);
            line.stored(&source.name, &done, &mut response);
            response
        }
        Err(refusal) => {
            let cause = refusal.cause();
            let mut response = line.webhook_span(&source.name).in_scope(|| {
                log(&refusal);
                Problem::from(refusal).response()
            });
            line.refused(service, Some(&source.name), cause, &mut response);
            response
        }
    }
}

/// Says what an operator should look at, and nothing of what the webhook says.
fn log(refusal: &Refusal) {
    match refusal {
        Refusal::NotEncoded(_) => tracing::warn!("a webhook was not understood"),
        Refusal::Slow => tracing::warn!("a commit takes too long"),
        // The store has said what it met with; the rest is no more than one webhook that is refused.
        Refusal::Unproven(_)
        | Refusal::TooOld
        | Refusal::Rate
        | Refusal::Overloaded
        | Refusal::Closing
        | Refusal::Store(_) => {}
    }
}

fn content_type(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// The headers as they were received.
struct Received<'a>(&'a HeaderMap);

impl Headers for Received<'_> {
    fn one(&self, name: &str) -> Header<'_> {
        let mut values = self.0.get_all(name);
        match (values.next(), values.next()) {
            (None, _) => Header::Absent,
            (Some(value), None) => Header::One(value.as_bytes()),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}
