//! Health probes: `/livez` (the process is alive) and `/readyz` (it can do its work).

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::http::app_state::Service;
use crate::http::problem::Problem;

/// `GET /livez`: 200 while the process answers.
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// `GET /readyz`: 200 if the store can be written and the service is not shutting down, else 503.
pub(crate) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    service.ingest.is_ready().await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ready\n"))
}
