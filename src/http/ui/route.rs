//! Routes of the page, and rendering off the workers.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use crate::http::api::route;
use crate::http::app_state::Service;
use crate::http::auth::{self, Caller};
use crate::http::body::response_body;
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request_log::{About, Line};
use crate::http::ui::views::fragment::STOPPED;
use crate::http::ui::views::{health, message, messages, overview, search};

/// Authenticates a request and answers it with a fragment.
pub(crate) async fn answer(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let path = request.match_info().unprocessed();
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let line = Line::begin(&request);
    let asked = Asked::at(path);
    let route = asked.as_ref().map_or(route::NO_ROUTE, Asked::route);
    let caller = auth::caller(&service, &request);
    let about = asked.as_ref().map(Asked::about).unwrap_or_default();
    let respond = async |_caller: &Caller| {
        path::check(request.path())?;
        let asked = asked.ok_or(Problem::NoRoute)?;
        if !is_read {
            return Err(Problem::Method { allowed: "GET, HEAD".to_owned() });
        }
        // A request waits for its turn before it reads anything, so that waiting requests hold no memory.
        let _turn = service.rendering.acquire().await.map_err(|_closed| STOPPED)?;
        // Boxed: otherwise the future would be as large as the largest of all views.
        let html = Box::pin(asked.html(&service, request.query_string())).await?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/html; charset=utf-8");
        response_body::answer(&service, &mut response, html.into_bytes())
    };
    route::answered(&service, &line, route, about, caller, respond).await
}

/// Fragment that a request asks for.
enum Asked<'a> {
    Overview,
    Messages,
    Message(&'a str),
    Search,
    Live,
    Health,
}

impl<'a> Asked<'a> {
    /// Fragment of a path behind `/ui`.
    fn at(path: &'a str) -> Option<Self> {
        match path {
            "/overview" => Some(Self::Overview),
            "/messages" => Some(Self::Messages),
            "/search" => Some(Self::Search),
            "/live" => Some(Self::Live),
            "/health" => Some(Self::Health),
            _ => {
                let id = path.strip_prefix("/message/")?;
                (!id.is_empty() && !id.contains('/')).then_some(Self::Message(id))
            }
        }
    }

    /// Route name: the path with a placeholder.
    fn route(&self) -> &'static str {
        match self {
            Self::Overview => "/ui/overview",
            Self::Messages => "/ui/messages",
            Self::Message(_) => "/ui/message/{messageid}",
            Self::Search => "/ui/search",
            Self::Live => "/ui/live",
            Self::Health => "/ui/health",
        }
    }

    /// Subject of the request, as far as it may be logged.
    fn about(&self) -> About {
        match self {
            Self::Message(id) => About { message: id.parse().ok(), destination: None },
            Self::Overview | Self::Messages | Self::Search | Self::Live | Self::Health => {
                About::default()
            }
        }
    }

    async fn html(&self, service: &Service, query: &str) -> Result<String, Problem> {
        match self {
            Self::Overview => overview::show(service, query).await,
            Self::Messages => messages::show(service, query).await,
            Self::Message(id) => message::show(service, id, query).await,
            Self::Search => search::show(service, query).await,
            Self::Live => Ok(Live.render().unwrap_or_default()),
            Self::Health => health::show(service, query).await,
        }
    }
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live;
