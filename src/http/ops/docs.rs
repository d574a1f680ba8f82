//! `GET /openapi.json`, the API description, and `GET /docs`, the page that shows it.
//!
//! Nothing is generated at run time: the document is a file in the source tree, which a test (see `openapi`)
//! compares with the code, and the page is Swagger UI, as `build.rs` compressed it.

use actix_web::http::header::CONTENT_SECURITY_POLICY;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::static_files::File;
use crate::http::problem::Problem;
use crate::http::render::message_json::JSON;

/// API description, OpenAPI 3.1.
pub(crate) const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

static OPENAPI: File = File::new(JSON, DOCUMENT.as_bytes());
static PAGE: File = File::new("text/html; charset=utf-8", include_bytes!("docs/index.html"));
static START_SCRIPT: File = File::new(SCRIPT_MEDIA_TYPE, include_bytes!("docs/start.js"));
static SWAGGER_UI_STYLES: File = File::gzip(
    "text/css; charset=utf-8",
    include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz")),
);
static SWAGGER_UI_SCRIPT: File = File::gzip(
    SCRIPT_MEDIA_TYPE,
    include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz")),
);

const SCRIPT_MEDIA_TYPE: &str = "text/javascript; charset=utf-8";

/// Content security policy: the page may contact only this server. Swagger UI writes its own inline styles,
/// which contain its images.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /openapi.json`
pub(crate) async fn document(request: HttpRequest) -> HttpResponse {
    OPENAPI.answer(&request, &[])
}

/// `GET /docs`
pub(crate) async fn page(request: HttpRequest) -> HttpResponse {
    PAGE.answer(&request, &[(CONTENT_SECURITY_POLICY, CONTENT_POLICY)])
}

/// `GET /docs/{file}`: the page's scripts and styles.
pub(crate) async fn file(name: Path<String>, request: HttpRequest) -> HttpResponse {
    let file = match name.as_str() {
        "start.js" => &START_SCRIPT,
        "swagger-ui.css" => &SWAGGER_UI_STYLES,
        "swagger-ui-bundle.js" => &SWAGGER_UI_SCRIPT,
        _ => return Problem::NoRoute.response(),
    };
    file.answer(&request, &[])
}
