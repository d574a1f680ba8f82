//! The page's shell and the files that it consists of. They say nothing of anybody, so they need no key.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::Path;

use super::super::problem::Problem;

/// What the browser may do for the page: ask this server, and nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files: their names behind `/page/`, what they are, and what is in them.
pub(crate) const FILES: [(&str, &str, &str); 9] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("ask.js", SCRIPT, include_str!("ask.js")),
    ("times.js", SCRIPT, include_str!("times.js")),
    ("copy.js", SCRIPT, include_str!("copy.js")),
    ("filters.js", SCRIPT, include_str!("filters.js")),
    ("live.js", SCRIPT, include_str!("live.js")),
    ("events.js", SCRIPT, include_str!("events.js")),
];

/// `GET /`
pub(crate) async fn shell() -> HttpResponse {
    answer("text/html; charset=utf-8", include_str!("shell.html"))
}

/// `GET /page/{file}`
pub(crate) async fn file(name: Path<String>) -> HttpResponse {
    match FILES.into_iter().find(|(known, ..)| *known == name.as_str()) {
        Some((_, content_type, content)) => answer(content_type, content),
        None => Problem::NoRoute.response(),
    }
}

fn answer(content_type: &'static str, content: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        // So that a new program is not looked at with the files of the old one.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(content)
}
