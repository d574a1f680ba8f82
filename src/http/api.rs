//! Everything under `/api`: who asks, what for, and the answer.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::auth::{self, Caller, Denied};
use super::line::{About, Line};
use super::problem::Problem;
use super::state::Service;
use super::waiting::{self, is_waited};
use super::{events, history, messages, path, query, register, search};

/// The route of what leads nowhere.
pub(super) const NO_ROUTE: &str = "none";

/// Answers whoever has a key for it, before anything else is judged.
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

/// The answer to a caller, with its line in the log and its place in the metrics; or why there is none.
pub(super) async fn answered(
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
    service.ingest.metrics.answered(route, answer.status().as_u16(), line.took());
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
        // In boxes, or they would make every query's future as large as they are.
        Asked::MessageToCome(id) => Box::pin(waiting::wait(service, id, request)).await,
        Asked::History(id) => Box::pin(history::show(service, id)).await,
        Asked::ByDestination => messages::by_destination(service, request).await,
        Asked::ByReference => messages::by_reference(service, request).await,
        Asked::ByForeignId => messages::by_foreign_id(service, request).await,
        Asked::Messages => Box::pin(search::answer(service, request)).await,
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
    Messages,
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
            [Some("messages"), None, ..] => Some(Self::Messages),
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
            Self::Messages => "/api/messages",
            Self::Events => "/api/events",
            Self::Registration(_) => "/api/messages/{messageid}",
        }
    }

    /// What may be told of it.
    fn about(&self, request: &HttpRequest) -> About {
        match self {
            Self::Message(id)
            | Self::MessageToCome(id)
            | Self::History(id)
            | Self::Registration(id) => About { message: id.parse().ok(), destination: None },
            Self::ByDestination => {
                About { message: None, destination: query::destination(request).ok() }
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
            // Not HEAD, for which the framework would wait until there are no more events.
            Self::Events => &[Method::GET],
            Self::Registration(_) => &[Method::PUT],
        }
    }
}
