//! The page's shell and the files that it consists of. They say nothing of anybody, so they need no key.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::super::files::File;
use super::super::problem::Problem;

/// What the browser may do for the page: ask this server, and nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files, by their names behind `/page/`.
pub(crate) static FILES: [(&str, File); 10] = [
    ("page.css", File::new("text/css; charset=utf-8", include_bytes!("page.css"))),
    ("icon.svg", File::new("image/svg+xml", include_bytes!("icon.svg"))),
    ("page.js", File::new(SCRIPT, include_bytes!("page.js"))),
    ("ask.js", File::new(SCRIPT, include_bytes!("ask.js"))),
    ("times.js", File::new(SCRIPT, include_bytes!("times.js"))),
    ("copy.js", File::new(SCRIPT, include_bytes!("copy.js"))),
    ("filters.js", File::new(SCRIPT, include_bytes!("filters.js"))),
    ("message.js", File::new(SCRIPT, include_bytes!("message.js"))),
    ("live.js", File::new(SCRIPT, include_bytes!("live.js"))),
    ("events.js", File::new(SCRIPT, include_bytes!("events.js"))),
];

static SHELL: File = File::new("text/html; charset=utf-8", include_bytes!("shell.html"));

/// `GET /`
pub(crate) async fn shell(request: HttpRequest) -> HttpResponse {
    SHELL.answer(&request, &HEADERS)
}

/// `GET /page/{file}`
pub(crate) async fn file(name: Path<String>, request: HttpRequest) -> HttpResponse {
    match FILES.iter().find(|(known, _)| *known == name.as_str()) {
        Some((_, file)) => file.answer(&request, &HEADERS),
        None => Problem::NoRoute.response(),
    }
}

const HEADERS: [(HeaderName, &str); 2] =
    [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer")];
