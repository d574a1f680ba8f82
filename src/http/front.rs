//! Checks and headers that apply to every request and response, whatever the route.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::rc::Rc;

use actix_http::{HttpMessage as _, Request, Response};
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev;
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue};
use actix_web::http::uri::{PathAndQuery, Uri};
use actix_web::{Error, HttpResponse};
use percent_encoding::percent_decode_str;

use super::app_state::Service;
use super::connection::Answer;
use super::path::{Area, normalize};
use super::problem::Problem;
use super::request_log::Line;
use super::shedding::{Lateness, shed_or_call};
use crate::metrics::RejectReason;

/// Answers a request: rejects an invalid host or path, sheds webhooks under overload, and passes the rest to
/// the application.
pub(crate) async fn answer<S, B>(
    service: &Service,
    lateness: &Rc<Lateness>,
    mut request: Request,
    app: &S,
) -> Answer<EitherBody<B>>
where
    S: dev::Service<Request, Response = dev::ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    if let Err(problem) = check(&mut request) {
        let mut response = problem.response();
        if is_for_webhooks(request.path()) {
            let reason = RejectReason::Malformed;
            service.metrics.rejected(None, reason);
            Line::for_unrouted(&request).rejected(service, None, reason, Some(&mut response));
        }
        let response = HttpResponse::into(response.map_into_right_body());
        return Answer { response, is_public: true };
    }
    let area = Area::of(request.path());
    let answer = shed_or_call(service, lateness, area, request, app).await;
    let mut answer = answer.unwrap_or_else(|error| {
        let answer: Response<BoxBody> = error.error_response().into();
        answer.map_body(|_, body| EitherBody::right(body))
    });
    // Data about messages must not be cached for others. The files are the same for everybody.
    if matches!(area, Area::Keyed | Area::Other) && !answer.headers().contains_key(CACHE_CONTROL) {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let is_public = area != Area::Keyed || !answer.status().is_success();
    Answer { response: answer, is_public }
}

/// Checks the host and the path, and replaces the path by the normalized one.
fn check(request: &mut Request) -> Result<(), Problem> {
    if let Some(host) = request.headers().get(HOST)
        && !is_host(host.as_bytes())
    {
        return Err(Problem::BadRequest(
            "Invalid `Host` header: expected a name or an address, optionally with a port."
                .to_owned(),
        ));
    }
    if let Cow::Owned(path) = normalize(request.path())? {
        let target = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(target).map_err(|_no_path| invalid_target())?);
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_no_uri| invalid_target())?;
    }
    Ok(())
}

/// Whether a rejected path is under `/webhooks`, with or without percent-encoding and extra slashes.
fn is_for_webhooks(path: &str) -> bool {
    let path = percent_decode_str(path.trim_start_matches('/')).decode_utf8_lossy();
    path.split('/').next() == Some("webhooks")
}

fn invalid_target() -> Problem {
    Problem::BadRequest("The request target is not a path.".to_owned())
}

/// Whether this is a host with or without a port (RFC 3986, section 3.2.2). Its value is not used.
fn is_host(text: &[u8]) -> bool {
    let (name, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, port_part) = rest.split_at(end);
            let is_address = str::from_utf8(address).is_ok_and(|text| {
                let address = text.split_once("%25").map_or(text, |(address, _zone)| address);
                address.parse::<Ipv6Addr>().is_ok()
            });
            if !is_address {
                return false;
            }
            (&b"address"[..], port_part.get(1..).unwrap_or_default())
        }
        None => text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len())),
    };
    let is_port = match port.strip_prefix(b":") {
        Some(digits) => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        None => port.is_empty(),
    };
    let is_host_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    is_port && !name.is_empty() && name.iter().all(is_host_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in [
            "x",
            "hooks.example.com",
            "hooks.example.com:8080",
            "a_b:",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::7]:8080",
            "[fe80::1%25eth0]:1",
            "x%2Dy",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "http://a",
            "a:b",
            "a:80:80",
            "a:123456",
            "[::1",
            "[x]",
            "::1",
            "a?b",
            "a#b",
            "a\"b",
            "<a>",
            "é",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
