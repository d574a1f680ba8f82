//! Who asks: everything under `/api` needs a key, before anything else is judged.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use tracing::Instrument;

use super::key::{ApiKey, Scope};
use super::problem::Problem;
use super::state::Service;

/// The name of the key that a request carries.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) String);

/// Lets a request pass whose key may do what it asks for. What is logged on its way names the key.
pub(crate) async fn require_key(
    service: Data<Service>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    match caller(&service, &request) {
        Ok(caller) => {
            // Of the highest level, so that it is there whatever is logged.
            let span = tracing::error_span!("request", key = caller.0);
            request.extensions_mut().insert(caller);
            let answer = next.call(request).instrument(span.clone()).await?;
            let status = answer.status().as_u16();
            span.in_scope(|| tracing::debug!(status, "answered an API request"));
            Ok(answer.map_into_left_body())
        }
        Err(problem) => Ok(request.into_response(problem.response()).map_into_right_body()),
    }
}

fn caller(service: &Service, request: &ServiceRequest) -> Result<Caller, Problem> {
    let client = client(service, request);
    let now = Instant::now();
    if let Some(wait) = service.attempts.wait(client, now) {
        return Err(Problem::TooManyAttempts { wait });
    }
    let key = key(service, request).map_err(|failed| {
        service.attempts.fail(client, now);
        let Failed { cause, key } = failed;
        tracing::info!(%client, key, cause, "refused an API request");
        Problem::NoKey
    })?;
    let (scope, needed) = if request.method() == Method::PUT {
        (Scope::Register, "register")
    } else {
        (Scope::Read, "read")
    };
    if !key.scopes.contains(&scope) {
        return Err(Problem::Scope { needed });
    }
    Ok(Caller(key.name))
}

/// Why a request has no valid key, and the name of one that is no longer valid. For the log alone.
struct Failed {
    cause: &'static str,
    key: Option<String>,
}

fn key(service: &Service, request: &ServiceRequest) -> Result<ApiKey, Failed> {
    let presented =
        request.headers().get("X-Api-Key").ok_or(Failed { cause: "no key", key: None })?;
    let key = service.keys.find(presented.as_bytes());
    let key = key.ok_or(Failed { cause: "a wrong key", key: None })?;
    if key.has_expired(service.clock.now()) {
        return Err(Failed { cause: "an expired key", key: Some(key.name) });
    }
    Ok(key)
}

fn client(service: &Service, request: &ServiceRequest) -> IpAddr {
    // A connection that is gone already has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = request.headers().get_all("X-Forwarded-For").map(HeaderValue::as_bytes);
    service.proxies.client(peer, forwarded)
}
