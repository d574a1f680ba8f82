//! Requests under `/api`: authentication, routing and answer.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::long_poll::{self, is_waited};
use super::{events, history, messages, params, registration, search};
use crate::http::app_state::Service;
use crate::http::auth::{self, Caller, Denied};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request_log::{About, Line};

/// Route name of paths that match no route.
pub(crate) const NO_ROUTE: &str = "none";

/// Authenticates a request before any other check, and answers it.
pub(crate) async fn answer(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let line = Line::begin(&request);
    let asked = Asked::at(request.match_info().unprocessed(), request.query_string());
    let route = asked.as_ref().map_or(NO_ROUTE, Asked::route);
    let caller = auth::caller(&service, &request);
    let about = match (&caller, &asked) {
        (Ok(_), Some(asked)) => asked.about(&request),
        (Ok(_), None) | (Err(_), _) => About::default(),
    };
    let respond = async |caller: &Caller| respond(&service, caller, &request, asked, payload).await;
    answered(&service, &line, route, about, caller, respond).await
}

/// Answers a caller, or rejects the request; logs the request's line and counts it in the metrics.
pub(crate) async fn answered(
    service: &Service,
    line: &Line<'_>,
    route: &'static str,
    about: About,
    caller: Result<Caller, Denied>,
    respond: impl AsyncFnOnce(&Caller) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    let answer = match caller {
        Ok(caller) => {
            let mut answer = respond(&caller).await.unwrap_or_else(|problem| {
                line.request_span(&caller.0).in_scope(|| problem.response())
            });
            line.answered(&caller.0, route, about, &mut answer);
            answer
        }
        Err(denied) => {
            let mut answer = denied.problem.response();
            line.denied(service, route, &denied, &mut answer);
            answer
        }
    };
    service.ingest.metrics.answered(route, answer.status().as_u16(), line.elapsed());
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
    path::check(request.path())?;
    let asked = asked.ok_or(Problem::NoRoute)?;
    let allowed = asked.allowed();
    if !allowed.contains(method) {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        return Err(Problem::Method { allowed });
    }
    match asked {
        Asked::Message(id) => messages::show(service, id).await,
        // Boxed: otherwise every query's future would be as large as these.
        Asked::MessageToCome(id) => Box::pin(long_poll::wait(service, id, request)).await,
        Asked::History(id) => Box::pin(history::show(service, id)).await,
        Asked::ByDestination => messages::by_destination(service, request).await,
        Asked::ByReference => messages::by_reference(service, request).await,
        Asked::ByForeignId => messages::by_foreign_id(service, request).await,
        Asked::Messages => Box::pin(search::answer(service, request)).await,
        Asked::Events => events::stream(service, request),
        Asked::Registration(id) => {
            Box::pin(registration::register(service, caller, id, payload)).await
        }
    }
}

/// Route of a request. The keys of lists may be percent-encoded in several ways, and are parsed by the
/// handlers.
pub(crate) enum Asked<'a> {
    Message(&'a str),
    MessageToCome(&'a str),
    History(&'a str),
    ByDestination,
    ByReference,
    ByForeignId,
    Messages,
    Events,
    Registration(&'a str),
}

impl<'a> Asked<'a> {
    /// Route of a path behind `/api` with this query.
    pub(crate) fn at(path: &'a str, query: &str) -> Option<Self> {
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
            [Some("messages"), None, ..] => Some(Self::Messages),
            [Some("events"), None, ..] => Some(Self::Events),
            [Some("messages"), Some(id), None, None] if !id.is_empty() => {
                Some(Self::Registration(id))
            }
            _ => None,
        }
    }

    /// Route name: the path with placeholders.
    fn route(&self) -> &'static str {
        match self {
            Self::Message(_) => "/api/messagestatus/{messageid}",
            // Separate, since a long poll takes as long as its client says.
            Self::MessageToCome(_) => "/api/messagestatus/{messageid}?wait",
            Self::History(_) => "/api/messagestatus/{messageid}/history",
            Self::ByDestination => "/api/messagestatus/phonenumber/{phonenumber}",
            Self::ByReference => "/api/messagestatus/reference/{key}",
            Self::ByForeignId => "/api/messagestatus/provider/{source}/{id}",
            Self::Messages => "/api/messages",
            Self::Events => "/api/events",
            Self::Registration(_) => "/api/messages/{messageid}",
        }
    }

    /// Subject of the request, as far as it may be logged.
    fn about(&self, request: &HttpRequest) -> About {
        match self {
            Self::Message(id)
            | Self::MessageToCome(id)
            | Self::History(id)
            | Self::Registration(id) => About { message: id.parse().ok(), destination: None },
            Self::ByDestination => {
                About { message: None, destination: params::destination(request).ok() }
            }
            Self::ByReference | Self::ByForeignId | Self::Messages | Self::Events => {
                About::default()
            }
        }
    }

    fn allowed(&self) -> &'static [Method] {
        match self {
            Self::Message(_)
            | Self::MessageToCome(_)
            | Self::History(_)
            | Self::ByDestination
            | Self::ByReference
            | Self::ByForeignId
            | Self::Messages => &[Method::GET, Method::HEAD],
            // Not HEAD: the framework would read the stream to its end, which never comes.
            Self::Events => &[Method::GET],
            Self::Registration(_) => &[Method::PUT],
        }
    }
}
