//! `POST /webhooks/{source}`: takes a webhook, or says why not, in the order of the contract.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::problem::Problem;
use super::state::Service;
use super::view::Receipt;
use crate::dialect::Source;
use crate::ingest::Bytes;
use crate::proof::{Header, Headers, Request};

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);
/// A body that is not wanted is read up to here, so that the connection can be used again.
const DRAINED: usize = 256 << 10;

/// Takes a webhook; any other method is for the source's dialect to allow.
pub(crate) async fn receive(
    service: Data<Service>,
    request: HttpRequest,
    mut payload: Payload,
) -> HttpResponse {
    let refused = match admit(&service, &request) {
        Ok(source) => return take(&service, source, &request, payload).await,
        Err(refused) => refused,
    };
    let mut response = refused.response();
    if let Problem::Method { allowed, .. } = refused {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    if !drained(&mut payload).await {
        close(&mut response);
    }
    response
}

/// What can be refused before the body is read.
fn admit<'a>(service: &'a Service, request: &HttpRequest) -> Result<&'a Source, Problem> {
    service.ingest.has_room()?;
    let source = service
        .ingest
        .source(request.match_info().query("source"))
        .ok_or(Problem::UnknownSource)?;
    let method = request.method().as_str();
    if !source.dialect.methods().contains(&method) {
        let allowed = source.dialect.allow();
        return Err(Problem::Method { method: method.to_owned(), allowed });
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::ContentType(
            "Send the body as it is, without a Content-Encoding: the proof is over its bytes.",
        ));
    }
    if !source.accepts_content_type(content_type(request)) {
        return Err(Problem::ContentType(
            "The proof of this source cannot read a body of this content type.",
        ));
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > source.max_body_bytes) {
        return Err(Problem::TooLarge { most: source.max_body_bytes });
    }
    Ok(source)
}

async fn take(
    service: &Service,
    source: &Source,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let mut bytes = service.ingest.bytes();
    let body = match read_body(payload, source.max_body_bytes, &mut bytes).await {
        Ok(body) => body,
        Err(problem) => {
            let mut response = problem.response();
            close(&mut response);
            return response;
        }
    };
    let request = Request {
        method: request.method().as_str(),
        query: request.query_string(),
        content_type: content_type(request),
        headers: &Received(request.headers()),
        body: &body,
    };
    match service.ingest.accept(source, &request, service.clock.now()).await {
        Ok(done) => HttpResponse::Ok().json(Receipt::from(done)),
        Err(refusal) => Problem::from(refusal).response(),
    }
}

/// Reads a body of at most so many bytes, in time and within the budget.
pub(crate) async fn read_body(
    mut payload: Payload,
    most: usize,
    bytes: &mut Bytes,
) -> Result<Vec<u8>, Problem> {
    let read = async {
        let mut body = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_broken| {
                Problem::BadRequest("The body ended before it was complete.".to_owned())
            })?;
            if body.len() + chunk.len() > most {
                drained(&mut payload).await;
                return Err(Problem::TooLarge { most });
            }
            bytes.take(chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    timeout(BODY_TIME, read).await.unwrap_or(Err(Problem::Unavailable(
        "The body came too slowly. Nothing was stored; try again.",
    )))
}

/// Reads a body that is not wanted; says whether it came to its end.
async fn drained(payload: &mut Payload) -> bool {
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
