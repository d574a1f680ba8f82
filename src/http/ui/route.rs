//! Routes of the page, and rendering off the workers.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use crate::http::api::params;
use crate::http::api::route::Parsed;
use crate::http::app_state::Service;
use crate::http::auth::{self, Caller};
use crate::http::body::response_body;
use crate::http::problem::Problem;
use crate::http::request_log::{About, Line};
use crate::http::ui::views::fragment::RENDER_FAILED;
use crate::http::ui::views::{health, message, messages, overview, search};
use crate::http::{keyed, path};
use crate::message::MessageId;

/// Authenticates a request and answers it with a fragment.
pub(crate) async fn answer(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let is_get_or_head = [Method::GET, Method::HEAD].contains(request.method());
    let line = Line::begin(&request);
    let route = UiRoute::parse(request.path());
    let about = route.as_ref().map_or(About::NO_ROUTE, UiRoute::about);
    let caller = auth::authenticate(&service, &request);
    let respond = async |_caller: &Caller| {
        path::check(request.path())?;
        let route = route.ok_or(Problem::NoRoute)?;
        if !is_get_or_head {
            return Err(Problem::Method { allowed: "GET, HEAD".to_owned() });
        }
        // A request waits for its turn before it reads anything, so that waiting requests hold no memory.
        let _slot = service.render_slots.acquire().await.map_err(|_closed| RENDER_FAILED)?;
        // Boxed: otherwise the future would be as large as the largest of all views.
        let html = Box::pin(route.html(&service, request.query_string())).await?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/html; charset=utf-8");
        response_body::answer(&service, &mut response, html.into_bytes())
    };
    keyed::answer(&service, &line, about, caller, respond).await
}

/// Route of a request for a fragment, with the parsed part of its path.
enum UiRoute {
    Overview,
    Messages,
    Message(Parsed<MessageId>),
    Search,
    Live,
    Health,
}

impl UiRoute {
    /// Parses a path; `None` if no route matches.
    fn parse(path: &str) -> Option<Self> {
        match path.strip_prefix("/ui")? {
            "/overview" => Some(Self::Overview),
            "/messages" => Some(Self::Messages),
            "/search" => Some(Self::Search),
            "/live" => Some(Self::Live),
            "/health" => Some(Self::Health),
            path => {
                let id = path.strip_prefix("/message/")?;
                let is_id = !id.is_empty() && !id.contains('/');
                is_id.then(|| Self::Message(params::message_id(id)))
            }
        }
    }

    /// Route name, the path with a placeholder, and subject of the request.
    fn about(&self) -> About {
        let (route, id) = match self {
            Self::Overview => ("/ui/overview", None),
            Self::Messages => ("/ui/messages", None),
            Self::Message(id) => ("/ui/message/{messageid}", id.as_ref().ok()),
            Self::Search => ("/ui/search", None),
            Self::Live => ("/ui/live", None),
            Self::Health => ("/ui/health", None),
        };
        About { route, message: id.copied(), destination: None }
    }

    async fn html(self, service: &Service, query: &str) -> Result<String, Problem> {
        match self {
            Self::Overview => overview::show(service, query).await,
            Self::Messages => messages::show(service, query).await,
            Self::Message(id) => message::show(service, id?, query).await,
            Self::Search => search::show(service, query).await,
            Self::Live => Ok(Live.render().unwrap_or_default()),
            Self::Health => health::show(service, query).await,
        }
    }
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live;
