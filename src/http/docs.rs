//! `GET /openapi.json`, what the service answers to what, and `GET /docs`, the page that shows it.
//!
//! Nothing is made when it is asked for: the document is the file in the tree, which a test (see
//! `openapi`) holds to the code, and the page is Swagger UI, as `build.rs` compressed it.

use actix_web::http::header::CONTENT_SECURITY_POLICY;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::files::File;
use super::problem::Problem;
use super::view::JSON;

/// The document: OpenAPI 3.1.
pub const DOCUMENT: &str = include_str!("../../docs/openapi.json");

static OPENAPI: File = File::new(JSON, DOCUMENT.as_bytes());
static PAGE: File = File::new("text/html; charset=utf-8", include_bytes!("docs/index.html"));
static START: File = File::new(SCRIPT, include_bytes!("docs/start.js"));
static STYLES: File = File::gzip(
    "text/css; charset=utf-8",
    include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz")),
);
static BUNDLE: File =
    File::gzip(SCRIPT, include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz")));

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A browser asks nobody but this server, whatever the page says. Swagger UI writes styles of its own,
/// and has its pictures in them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /openapi.json`
pub(crate) async fn document(request: HttpRequest) -> HttpResponse {
    OPENAPI.answer(&request, &[])
}

/// `GET /docs`
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    PAGE.answer(&request, &[(CONTENT_SECURITY_POLICY, POLICY)])
}

/// `GET /docs/{file}`, what the page consists of.
pub(crate) async fn file(name: Path<String>, request: HttpRequest) -> HttpResponse {
    let file = match name.as_str() {
        "start.js" => &START,
        "swagger-ui.css" => &STYLES,
        "swagger-ui-bundle.js" => &BUNDLE,
        _ => return Problem::NoRoute.response(),
    };
    file.answer(&request, &[])
}
