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

/// The caller, whose key may do what it asks for. A valid key is never limited: strangers behind the
/// same proxy could otherwise lock its holder out. A guess that is right would be let in behind the
/// limit too, but keys are too long to be guessed.
pub(crate) fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Denied> {
    let key = key(service, request).map_err(|denied| {
        let (client, now) = (client(service, request), Instant::now());
        if let Some(wait) = service.attempts.wait(client, now) {
            let problem = Problem::TooManyAttempts { wait };
            return Denied { problem, cause: "too many attempts", key: denied.key };
        }
        service.attempts.fail(client, now);
        denied
    })?;
    let (scope, needed) = if request.method() == Method::PUT {
        (Scope::Register, "register")
    } else {
        (Scope::Read, "read")
    };
    if !key.scopes.contains(&scope) {
        let problem = Problem::Scope { needed };
        return Err(Denied { problem, cause: "a key without the scope", key: Some(key.name) });
    }
    Ok(Caller(key.name))
}

/// Why a request is not answered.
pub(crate) struct Denied {
    /// What is answered instead.
    pub(crate) problem: Problem,
    /// What is wrong, for the log alone.
    pub(crate) cause: &'static str,
    /// The name of a key that may not, or no longer. For the log alone.
    pub(crate) key: Option<String>,
}

fn key(service: &Service, request: &HttpRequest) -> Result<ApiKey, Denied> {
    let denied = |cause, key| Denied { problem: Problem::NoKey, cause, key };
    let presented = request.headers().get("X-Api-Key").ok_or_else(|| denied("no key", None))?;
    let key = service.keys.find(presented.as_bytes());
    let key = key.ok_or_else(|| denied("a wrong key", None))?;
    if key.has_expired(service.clock.now()) {
        return Err(denied("an expired key", Some(key.name)));
    }
    Ok(key)
}

/// Where a request comes from.
pub(crate) fn client(service: &Service, request: &HttpRequest) -> IpAddr {
    // A connection that is gone already has no peer.
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = request.headers().get_all("X-Forwarded-For").map(HeaderValue::as_bytes);
    service.proxies.client(peer, forwarded)
}
