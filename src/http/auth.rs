//! Who asks: everything under `/api` needs a key, before anything else is judged.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;

use super::key::{ApiKey, Scope};
use super::problem::Problem;
use super::state::Service;

/// The name of the key that a request carries.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) String);

/// The caller, whose key may do what it asks for.
pub(crate) fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
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

fn key(service: &Service, request: &HttpRequest) -> Result<ApiKey, Failed> {
    let presented =
        request.headers().get("X-Api-Key").ok_or(Failed { cause: "no key", key: None })?;
    let key = service.keys.find(presented.as_bytes());
    let key = key.ok_or(Failed { cause: "a wrong key", key: None })?;
    if key.has_expired(service.clock.now()) {
        return Err(Failed { cause: "an expired key", key: Some(key.name) });
    }
    Ok(key)
}

fn client(service: &Service, request: &HttpRequest) -> IpAddr {
    // A connection that is gone already has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = request.headers().get_all("X-Forwarded-For").map(HeaderValue::as_bytes);
    service.proxies.client(peer, forwarded)
}
