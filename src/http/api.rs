//! Everything under `/api`: who asks, what for, and the answer.

use std::time::Instant;

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use tracing::Level;

use super::auth::{self, Caller};
use super::problem::Problem;
use super::state::Service;
use super::waiting::{self, is_waited};
use super::{events, messages, register};

/// The route of what leads nowhere.
const NO_ROUTE: &str = "none";

/// Answers whoever has a key for it, before anything else is judged. What is logged on the way names
/// the key.
pub(crate) async fn answer(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let began = Instant::now();
    let asked = Asked::at(request.match_info().unprocessed(), request.query_string());
    let route = asked.as_ref().map_or(NO_ROUTE, Asked::route);
    let answer = answer_to(&service, &request, asked, payload).await;
    service.ingest.metrics.answered(route, answer.status().as_u16(), began.elapsed());
    answer
}

async fn answer_to(
    service: &Data<Service>,
    request: &HttpRequest,
    asked: Option<Asked<'_>>,
    payload: Payload,
) -> HttpResponse {
    let caller = match auth::caller(service, request) {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let answer = respond(service, &caller, request, asked, payload).await;
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
    asked: Option<Asked<'_>>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let method = request.method();
    let asked = asked.ok_or_else(|| Problem::NoRoute { method: method.to_string() })?;
    let allowed = asked.allowed();
    if !allowed.contains(method) {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        return Err(Problem::Method { method: method.to_string(), allowed });
    }
    match asked {
        Asked::Message(id) => messages::show(service, id).await,
        // In boxes, or they would make every query's future as large as they are.
        Asked::MessageToCome(id) => Box::pin(waiting::wait(service, id, request)).await,
        Asked::History(id) => messages::history(service, id).await,
        Asked::ByDestination => messages::by_destination(service, request).await,
        Asked::ByReference => messages::by_reference(service, request).await,
        Asked::ByForeignId => messages::by_foreign_id(service, request).await,
        Asked::Events => events::stream(service, request),
        Asked::Registration(id) => Box::pin(register::register(service, caller, id, payload)).await,
    }
}

/// What is asked for. What names a list may be percent-encoded in ways of its own, and is read later.
pub(super) enum Asked<'a> {
    Message(&'a str),
    MessageToCome(&'a str),
    History(&'a str),
    ByDestination,
    ByReference,
    ByForeignId,
    Events,
    Registration(&'a str),
}

impl<'a> Asked<'a> {
    /// What a path behind `/api` leads to with this query.
    pub(super) fn at(path: &'a str, query: &str) -> Option<Self> {
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
                Some(if is_waited(query) { Self::MessageToCome(id) } else { Self::Message(id) })
            }
            [Some("events"), None, ..] => Some(Self::Events),
            [Some("messages"), Some(id), None, None] if !id.is_empty() => {
                Some(Self::Registration(id))
            }
            _ => None,
        }
    }

    /// The path with names in the place of what is asked for.
    fn route(&self) -> &'static str {
        match self {
            Self::Message(_) => "/api/messagestatus/{messageid}",
            // Apart, since it takes as long as it is told to.
            Self::MessageToCome(_) => "/api/messagestatus/{messageid}?wait",
            Self::History(_) => "/api/messagestatus/{messageid}/history",
            Self::ByDestination => "/api/messagestatus/phonenumber/{phonenumber}",
            Self::ByReference => "/api/messagestatus/reference/{key}",
            Self::ByForeignId => "/api/messagestatus/provider/{source}/{id}",
            Self::Events => "/api/events",
            Self::Registration(_) => "/api/messages/{messageid}",
        }
    }

    fn allowed(&self) -> &'static [Method] {
        match self {
            Self::Message(_)
            | Self::MessageToCome(_)
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
