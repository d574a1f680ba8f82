//! Shell and files of the page. They contain no data, so they need no key.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use crate::http::ops::static_files::File;
use crate::http::problem::Problem;

/// Content security policy: the page may contact only this server.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPT_MEDIA_TYPE: &str = "text/javascript; charset=utf-8";

/// Style sheet in one file, so that the browser asks for it once. Later parts refine earlier ones.
const STYLE_SHEET: &str = concat!(
    include_str!("assets/css/theme.css"),
    include_str!("assets/css/controls.css"),
    include_str!("assets/css/header.css"),
    include_str!("assets/css/content.css"),
    include_str!("assets/css/status.css"),
    include_str!("assets/css/message.css"),
    include_str!("assets/css/lists.css"),
    include_str!("assets/css/overview.css"),
    include_str!("assets/css/health.css"),
    include_str!("assets/css/small_screens.css"),
);

/// Files by their names under `/page/`.
pub(crate) static FILES: [(&str, File); 10] = [
    ("page.css", File::new("text/css; charset=utf-8", STYLE_SHEET.as_bytes())),
    ("icon.svg", File::new("image/svg+xml", include_bytes!("assets/icon.svg"))),
    ("page.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/page.js"))),
    ("ask.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/ask.js"))),
    ("times.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/times.js"))),
    ("copy.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/copy.js"))),
    ("filters.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/filters.js"))),
    ("message.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/message.js"))),
    ("live.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/live.js"))),
    ("events.js", File::new(SCRIPT_MEDIA_TYPE, include_bytes!("assets/events.js"))),
];

static SHELL: File = File::new("text/html; charset=utf-8", include_bytes!("assets/shell.html"));

/// `GET /`
pub(crate) async fn shell(request: HttpRequest) -> HttpResponse {
    SHELL.answer(&request, &SECURITY_HEADERS)
}

/// `GET /page/{file}`
pub(crate) async fn file(name: Path<String>, request: HttpRequest) -> HttpResponse {
    match FILES.iter().find(|(file_name, _)| *file_name == name.as_str()) {
        Some((_, file)) => file.answer(&request, &SECURITY_HEADERS),
        None => Problem::NoRoute.response(),
    }
}

const SECURITY_HEADERS: [(HeaderName, &str); 2] =
    [(CONTENT_SECURITY_POLICY, CONTENT_POLICY), (REFERRER_POLICY, "no-referrer")];
