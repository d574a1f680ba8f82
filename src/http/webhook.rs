//! `POST /webhooks/{source}`: takes a webhook, or says why not, in the order of the contract.

use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::line::Line;
use super::problem::Problem;
use super::state::Service;
use super::view::{self, JSON};
use crate::budget::{MemoryBudget, Share};
use crate::dialect::{Source, Unfit, is_encoded};
use crate::ingest::{Body, Done, Posted, Refusal};
use crate::metrics::Cause;
use crate::proof::{Header, Headers};

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);
/// A body that is not wanted is read up to here, so that the connection can be used again.
const DRAINED: usize = 256 << 10;

/// A body as it arrives.
pub(crate) trait Chunks: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin {}
impl<T: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin> Chunks for T {}

/// Takes a webhook; any other method is for the source's dialect to allow.
pub(crate) async fn receive(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let name = source_name(request.match_info().unprocessed());
    let line = Line::begin(&request);
    match admit(&service, name, &request) {
        Ok(source) => take(&service, &source, &line, &request, payload).await,
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

/// Refuses a webhook whose body was not read.
pub(crate) async fn refuse(problem: Problem, mut payload: impl Chunks) -> HttpResponse {
    let mut response = problem.response();
    if !drained(&mut payload).await {
        close(&mut response);
    }
    response
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

/// What can be refused before the body is read.
fn admit(
    service: &Service,
    name: Option<&str>,
    request: &HttpRequest,
) -> Result<Arc<Source>, Refused> {
    let no_room = |refusal: Refusal| Refused::new(refusal.cause(), refusal.into());
    service.ingest.has_room().map_err(no_room)?;
    let source = name.and_then(|name| service.ingest.sources.get(name));
    let source =
        source.ok_or_else(|| Refused::new(Cause::UnknownSource, Problem::UnknownSource))?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let codings = request.headers().get_all(header::CONTENT_ENCODING);
    let is_encoded = is_encoded(codings.map(HeaderValue::as_bytes));
    let method = request.method().as_str();
    let admitted = source.admit(method, content_type(request), is_encoded, announced);
    admitted.map_err(|unfit| match unfit {
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
    })?;
    Ok(source)
}

async fn take(
    service: &Service,
    source: &Source,
    line: &Line<'_>,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let budget = &service.ingest.budget;
    let body = match read_body(payload, source.max_body_bytes, budget, Share::Bodies).await {
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
            let receipt = view::receipt(&done);
            let mut response = HttpResponse::Ok().content_type(JSON).body(receipt);
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
        | Refusal::Overloaded
        | Refusal::Closing
        | Refusal::Store(_) => {}
    }
}

/// Why a body was not read, and whether the connection is in a state to be used again.
pub(crate) struct Unread {
    cause: Cause,
    problem: Problem,
    reusable: bool,
}

impl Unread {
    fn closing(cause: Cause, problem: Problem) -> Self {
        Self { cause, problem, reusable: false }
    }

    /// The answer that says so.
    pub(crate) fn response(&self) -> HttpResponse {
        let mut response = self.problem.response();
        if !self.reusable {
            close(&mut response);
        }
        response
    }
}

/// Reads a body of at most so many bytes, in time and within the budget.
pub(crate) async fn read_body(
    mut payload: Payload,
    most: usize,
    budget: &MemoryBudget,
    share: Share,
) -> Result<Body, Unread> {
    let unread = |refusal: Refusal| Unread::closing(refusal.cause(), refusal.into());
    let read = async {
        let mut bytes = budget.reserve(share, 0).map_err(|full| unread(full.into()))?;
        let mut content = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_broken| {
                let detail = "The body ended before it was complete.";
                Unread::closing(Cause::Body, Problem::BadRequest(detail.to_owned()))
            })?;
            if content.len() + chunk.len() > most {
                let reusable = drained(&mut payload).await;
                let (cause, problem) = (Cause::TooLarge, Problem::TooLarge { most });
                return Err(Unread { cause, problem, reusable });
            }
            bytes.grow(chunk.len()).map_err(|full| unread(full.into()))?;
            content.extend_from_slice(&chunk);
        }
        Ok(Body { content, bytes })
    };
    timeout(BODY_TIME, read).await.unwrap_or_else(|_elapsed| {
        let detail = "The body came too slowly. Nothing was stored; try again.";
        Err(Unread::closing(Cause::Body, Problem::Unavailable(detail)))
    })
}

/// Reads a body that is not wanted; says whether it came to its end.
async fn drained(payload: &mut impl Chunks) -> bool {
    let read = async {
        let mut length = 0;
        while let Some(chunk) = payload.next().await {
            length += chunk.map_or(DRAINED + 1, |chunk| chunk.len());
            if length > DRAINED {
                return false;
            }
        }
        true
    };
    timeout(BODY_TIME, read).await.unwrap_or(false)
}

fn close(response: &mut HttpResponse) {
    response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
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
