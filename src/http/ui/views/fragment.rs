//! Fragments shared by several views, and rendering off the workers.

use actix_web::web::block;
use askama::Template;
use askama::filters::HtmlSafe;

use crate::http::problem::Problem;
use crate::http::ui::views::parts::RawHtml;

/// Error when the page could not be rendered (503).
pub(crate) const RENDER_FAILED: Problem =
    Problem::Unavailable("The page could not be rendered. Try again.");

/// Renders a template on a thread that serves no requests.
pub(crate) async fn render<T: Template>(
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<String, Problem> {
    block(move || make().render().unwrap_or_default()).await.map_err(|_gone| RENDER_FAILED)
}

/// View of a service without any messages.
#[derive(Template)]
#[template(path = "no_data.html")]
pub(crate) struct NoData {
    pub(crate) heading: &'static str,
}

/// List of messages, with the link to the next page.
#[derive(Template)]
#[template(path = "list.html")]
pub(crate) struct Listed {
    pub(crate) rows: RawHtml,
    pub(crate) next: Option<String>,
    pub(crate) next_label: &'static str,
}

/// Safe: the template escapes external text.
impl HtmlSafe for Listed {}
