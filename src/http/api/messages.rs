//! Handlers of the gateway's three queries, and of the query by a provider's own id.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::cursor::List;
use super::params;
use crate::http::app_state::Service;
use crate::http::body::response_body;
use crate::http::problem::Problem;
use crate::http::render::message_json::{self, JSON};
use crate::message::MessageId;
use crate::store::{Key, Message};

/// `GET /api/messagestatus/{messageid}`
pub(crate) async fn show(service: &Service, id: MessageId) -> Result<HttpResponse, Problem> {
    answer(service.store.message(id).await?)
}

/// Answers with a message's record, or with 404 if the message is unknown.
pub(crate) fn answer(message: Option<Message>) -> Result<HttpResponse, Problem> {
    let Message { id, record } = message.ok_or(Problem::UnknownMessage)?;
    Ok(HttpResponse::Ok().content_type(JSON).body(message_json::envelope(&record.shown(id))))
}

/// `GET /api/messagestatus/provider/{source}/{providerid}`
pub(crate) async fn by_provider_id(
    service: &Service,
    request: &HttpRequest,
    source: String,
    id: String,
) -> Result<HttpResponse, Problem> {
    if service.sources.get(&source).is_none() {
        return Err(Problem::UnknownSource);
    }
    list(service, request, Key::Foreign { source, id }).await
}

/// List of the messages under a key, such as `GET /api/messagestatus/phonenumber/{phonenumber}`.
pub(crate) async fn list(
    service: &Service,
    request: &HttpRequest,
    key: Key,
) -> Result<HttpResponse, Problem> {
    let (list, lineage) = (List::for_key(&key), service.store.lineage());
    let page = params::page(request, &list, lineage)?;
    let listing = service.store.list(key, page, message_json::add_envelope).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = listing.messages.last().filter(|_| listing.more) {
        let (path, count) = (request.uri().path(), page.count);
        let cursor = list.cursor(lineage, last.place);
        // The cursor is behind every bound of the first page, so `sendDate` is not repeated.
        let next = format!("<{path}?count={count}&cursor={cursor}>; rel=\"next\"");
        response.insert_header((header::LINK, next));
    }
    response_body::answer(service, response.content_type(JSON), message_json::list(&listing))
}
