//! Authentication: every route under `/api` and `/ui` needs an API key, checked before anything else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderValue};

use super::app_state::Service;
use super::problem::Problem;
use crate::access::api_key::{ApiKey, Scope};
use crate::metrics::RejectReason;

/// Name of the API key that a request presented.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) String);

/// Authenticates a request and checks its key's scope. Valid keys are never rate-limited: otherwise strangers
/// behind the same proxy could lock the key's holder out. A correct guess would pass the rate limit too, but
/// keys are too long to be guessed.
pub(crate) fn authenticate(
    service: &Service,
    request: &HttpRequest,
) -> Result<Caller, KeyRejection> {
    let key = key(service, request).map_err(|rejected| {
        let (client, now) =
            (client(service, request.peer_addr(), request.headers()), Instant::now());
        if let Some(wait) = service.attempts.wait(client, now) {
            let problem = Problem::TooManyAttempts { wait };
            return KeyRejection {
                problem,
                reason: RejectReason::TooManyAttempts,
                key: rejected.key,
            };
        }
        service.attempts.count_failure(client, now);
        rejected
    })?;
    let (scope, needed) = if request.method() == Method::PUT {
        (Scope::Register, "register")
    } else {
        (Scope::Read, "read")
    };
    if !key.scopes.contains(&scope) {
        let problem = Problem::Scope { needed };
        return Err(KeyRejection {
            problem,
            reason: RejectReason::MissingScope,
            key: Some(key.name),
        });
    }
    Ok(Caller(key.name))
}

/// Rejection of an API request.
pub(crate) struct KeyRejection {
    /// Error sent to the client.
    pub(crate) problem: Problem,
    /// Reason, written only to the log.
    pub(crate) reason: RejectReason,
    /// Name of the key that lacks the scope or has expired. Written only to the log.
    pub(crate) key: Option<String>,
}

fn key(service: &Service, request: &HttpRequest) -> Result<ApiKey, KeyRejection> {
    let rejected = |reason, key| KeyRejection { problem: Problem::NoKey, reason, key };
    let presented = request
        .headers()
        .get("X-Api-Key")
        .ok_or_else(|| rejected(RejectReason::NoCredential, None))?;
    let key = service.keys.find(presented.as_bytes());
    let key = key.ok_or_else(|| rejected(RejectReason::WrongCredential, None))?;
    if key.has_expired(service.clock.now()) {
        return Err(rejected(RejectReason::ExpiredCredential, Some(key.name)));
    }
    Ok(key)
}

/// Client address of a request with these headers, received from this peer.
pub(crate) fn client(service: &Service, peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
    // A connection that is already closed has no peer address.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = headers.get_all("X-Forwarded-For").map(HeaderValue::as_bytes);
    service.proxies.client(peer, forwarded)
}
