//! The page at `/`: what became of a message, told in words, and how the mirror is doing.
//!
//! Its shell and its files need no key. What they show are fragments of HTML under `/ui`, which are asked
//! for with a key as everything under `/api` is, and come through the same functions.

mod assets;
mod causes;
mod chart;
mod found;
mod health;
mod message;
mod messages;
mod overview;
mod parts;
mod rows;
mod timeline;
mod typed;
mod usual;
mod window;
mod words;

use actix_web::http::Method;
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use askama::filters::HtmlSafe;

#[cfg(test)]
pub(crate) use self::assets::FILES;
pub(crate) use self::assets::{file, shell};
use self::parts::Written;
use super::auth::{self, Caller};
use super::bodies;
use super::line::{About, Line};
use super::problem::Problem;
use super::state::Service;
use super::{api, path};

/// Answers a fragment to whoever has a key for it.
pub(crate) async fn answer(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let path = request.match_info().unprocessed();
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let line = Line::begin(&request);
    let asked = Asked::at(path);
    let route = asked.as_ref().map_or(api::NO_ROUTE, Asked::route);
    let caller = auth::caller(&service, &request);
    let about = asked.as_ref().map(Asked::about).unwrap_or_default();
    let respond = async |_caller: &Caller| {
        path::check(request.path())?;
        let asked = asked.ok_or(Problem::NoRoute)?;
        if !is_read {
            return Err(Problem::Method { allowed: "GET, HEAD".to_owned() });
        }
        // A page waits for its turn before it reads anything, so that pages which wait hold no memory.
        let _turn = service.rendering.acquire().await.map_err(|_closed| STOPPED)?;
        // In a box, or it would be as large as the largest of all that can be asked.
        let html = Box::pin(asked.html(&service, request.query_string())).await?;
        let mut response = HttpResponse::Ok();
        response.content_type("text/html; charset=utf-8");
        bodies::answer(&service, &mut response, html.into_bytes())
    };
    api::answered(&service, &line, route, about, caller, respond).await
}

/// A fragment.
enum Asked<'a> {
    Overview,
    Messages,
    Message(&'a str),
    Search,
    Live,
    Health,
}

impl<'a> Asked<'a> {
    /// What a path behind `/ui` leads to.
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

    /// The path with a name in the place of what is asked for.
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

    /// What may be told of it.
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
            Self::Search => found::show(service, query).await,
            Self::Live => Ok(Live.render().unwrap_or_default()),
            Self::Health => health::show(service, query).await,
        }
    }
}

#[derive(Template)]
#[template(path = "live.html")]
struct Live;

/// The page could not be made.
const STOPPED: Problem = Problem::Unavailable("The page could not be rendered. Try again.");

/// Renders on a thread that serves no requests.
async fn render<T: Template>(make: impl FnOnce() -> T + Send + 'static) -> Result<String, Problem> {
    block(move || make().render().unwrap_or_default()).await.map_err(|_gone| STOPPED)
}

/// A view of a mirror that has nothing yet.
#[derive(Template)]
#[template(path = "no_data.html")]
struct NoData {
    heading: &'static str,
}

/// A list of messages, and the way to the next ones.
#[derive(Template)]
#[template(path = "list.html")]
struct Listed {
    rows: Written,
    next: Option<String>,
    next_words: &'static str,
}

/// The template escapes what came from outside.
impl HtmlSafe for Listed {}
