//! Everything under `/api`: who asks, what for, and the answer.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tracing::Level;

use super::auth::{self, Caller};
use super::problem::Problem;
use super::state::Service;
use super::{events, messages, register};

/// Answers whoever has a key for it, before anything else is judged. What is logged on the way names
/// the key.
pub(crate) async fn answer(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let caller = match auth::caller(&service, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let answer = respond(&service, &caller, &request, payload).await;
    // Of the highest level, so that it is there whatever is logged; and made only where something is.
    let span = || tracing::error_span!("request", key = caller.0);
    let answer = answer.unwrap_or_else(|problem| span().in_scope(|| problem.response()));
    if tracing::enabled!(Level::DEBUG) {
        let status = answer.status().as_u16();
        span().in_scope(|| tracing::debug!(status, "answered an API request"));
    }
    answer
}

async fn respond(
    service: &Data<Service>,
    caller: &Caller,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let method = request.method();
    let asked = Asked::at(request.match_info().unprocessed())
        .ok_or_else(|| Problem::NoRoute { method: method.to_string() })?;
    let allowed = asked.allowed();
    if !allowed.contains(method) {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        return Err(Problem::Method { method: method.to_string(), allowed });
    }
    match asked {
        Asked::Message(id) => messages::show(service, id, request).await,
        Asked::History(id) => messages::history(service, id).await,
        Asked::ByDestination => messages::by_destination(service, request).await,
        Asked::ByReference => messages::by_reference(service, request).await,
        Asked::ByForeignId => messages::by_foreign_id(service, request).await,
        Asked::Events => events::stream(service, request),
        // In a box, or it would make every query's future as large as it is.
        Asked::Registration(id) => Box::pin(register::register(service, caller, id, payload)).await,
    }
}

/// What is asked for. What names a list may be percent-encoded in ways of its own, and is read later.
enum Asked<'a> {
    Message(&'a str),
    History(&'a str),
    ByDestination,
    ByReference,
    ByForeignId,
    Events,
    Registration(&'a str),
}

impl<'a> Asked<'a> {
    /// What a path behind `/api` leads to.
    fn at(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(4, '/');
        let parts = [(); 4].map(|()| parts.next());
        match parts {
            [Some("messagestatus"), Some("phonenumber"), Some(_), _] => Some(Self::ByDestination),
            [Some("messagestatus"), Some("reference"), Some(_), _] => Some(Self::ByReference),
            [Some("messagestatus"), Some("provider"), Some(source), Some(_)]
                if !source.is_empty() =>
            {
                Some(Self::ByForeignId)
            }
            [Some("messagestatus"), Some(id), Some("history"), None] if !id.is_empty() => {
                Some(Self::History(id))
            }
            [Some("messagestatus"), Some(id), None, None] if !id.is_empty() => {
                Some(Self::Message(id))
            }
            [Some("events"), None, ..] => Some(Self::Events),
            [Some("messages"), Some(id), None, None] if !id.is_empty() => {
                Some(Self::Registration(id))
            }
            _ => None,
        }
    }

    fn allowed(&self) -> &'static [Method] {
        match self {
            Self::Message(_)
            | Self::History(_)
            | Self::ByDestination
            | Self::ByReference
            | Self::ByForeignId => &[Method::GET, Method::HEAD],
            // Not HEAD, for which the framework would wait until there are no more events.
            Self::Events => &[Method::GET],
            Self::Registration(_) => &[Method::PUT],
        }
    }
}
