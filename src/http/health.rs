//! Is the process alive, and can it do its work?

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::problem::Problem;
use super::state::Service;

/// The process answers.
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The store can be written, and the service is not shutting down.
pub(crate) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    service.ingest.is_ready().await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ready\n"))
}
