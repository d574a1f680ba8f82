//! `GET /openapi.json`, what the service answers to what, and `GET /docs`, the page that shows it.
//!
//! Nothing is made when it is asked for: the document is the file in the tree, which a test (see
//! `openapi`) holds to the code, and the page is Swagger UI, as `build.rs` compressed it.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY};
use actix_web::web::Path;

use super::problem::Problem;
use super::view::JSON;

/// The document: OpenAPI 3.1.
pub const DOCUMENT: &str = include_str!("../../docs/openapi.json");

const PAGE: &str = include_str!("docs/index.html");
const START: &str = include_str!("docs/start.js");
const STYLES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
const BUNDLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));

/// A browser asks nobody but this server, whatever the page says. Swagger UI writes styles of its own,
/// and has its pictures in them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /openapi.json`
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type(JSON).body(DOCUMENT)
}

/// `GET /docs`
pub(crate) async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE)
}

/// `GET /docs/{file}`, what the page consists of.
pub(crate) async fn file(name: Path<String>) -> HttpResponse {
    let (content_type, compressed) = match name.as_str() {
        "start.js" => return HttpResponse::Ok().content_type(SCRIPT).body(START),
        "swagger-ui.css" => ("text/css; charset=utf-8", STYLES),
        "swagger-ui-bundle.js" => (SCRIPT, BUNDLE),
        _ => return Problem::NoRoute.response(),
    };
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((CONTENT_ENCODING, "gzip"))
        .body(compressed)
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
