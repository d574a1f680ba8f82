//! `GET /api/messages`: search for messages, answered as JSON in pages.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::search_query::parse;
use crate::http::app_state::Service;
use crate::http::body::response_body;
use crate::http::problem::Problem;
use crate::http::render::message_json::{self, JSON};

/// `GET /api/messages`
pub(crate) async fn answer(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string();
    let lineage = service.store.lineage();
    let search = parse(query, lineage)?;
    let found = search.find(service, message_json::add_found).await?;
    let mut response = HttpResponse::Ok();
    if let Some(next) = search.next(query, &found, lineage) {
        response.insert_header((header::LINK, format!("</api/messages?{next}>; rel=\"next\"")));
    }
    response_body::answer(service, response.content_type(JSON), message_json::found(&found))
}
