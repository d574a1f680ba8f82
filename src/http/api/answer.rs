//! Answers to requests under `/api`: authentication, then the handler of the route.

use actix_web::http::Method;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::route::ApiRoute;
use super::{events, export, history, long_poll, messages, registration, search};
use crate::http::app_state::Service;
use crate::http::auth::{self, Caller};
use crate::http::problem::Problem;
use crate::http::request_log::{About, Line};
use crate::http::{keyed, path};
use crate::store::Key;

/// Authenticates a request before any other check, and answers it.
pub(crate) async fn answer(
    service: Data<Service>,
    request: HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let line = Line::begin(&request);
    let route = ApiRoute::parse(request.path(), request.query_string());
    let about = route.as_ref().map_or(About::NO_ROUTE, ApiRoute::about);
    let caller = auth::authenticate(&service, &request);
    let respond = async |caller: &Caller| respond(&service, caller, &request, route, payload).await;
    keyed::answer(&service, &line, about, caller, respond).await
}

async fn respond(
    service: &Data<Service>,
    caller: &Caller,
    request: &HttpRequest,
    route: Option<ApiRoute>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    path::check(request.path())?;
    let route = route.ok_or(Problem::NoRoute)?;
    let allowed = route.allowed();
    if !allowed.contains(request.method()) {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        return Err(Problem::Method { allowed });
    }
    match route {
        ApiRoute::Message(id) => messages::show(service, id?).await,
        // Boxed: otherwise every query's future would be as large as these.
        ApiRoute::LongPoll(id, wait) => Box::pin(long_poll::answer(service, id?, wait?)).await,
        ApiRoute::History(id) => Box::pin(history::show(service, id?)).await,
        ApiRoute::ByDestination(number) => {
            messages::list(service, request, Key::Destination(number?)).await
        }
        ApiRoute::ByReference(key) => messages::list(service, request, Key::Reference(key?)).await,
        ApiRoute::ByProviderId(names) => {
            let (source, id) = names?;
            messages::by_provider_id(service, request, source, id).await
        }
        ApiRoute::Messages => Box::pin(search::answer(service, request)).await,
        ApiRoute::Export => Box::pin(export::answer(service, request)).await,
        ApiRoute::Events => events::stream(service, request),
        ApiRoute::Registration(id) => {
            Box::pin(registration::register(service, caller, id?, payload)).await
        }
    }
}
