//! The gateway's three queries, and the search by a provider's own id.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::bodies;
use super::cursor::List;
use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view::{self, JSON};
use crate::store::{Key, Message};

/// `GET /api/messagestatus/{messageid}`
pub(crate) async fn show(service: &Service, id: &str) -> Result<HttpResponse, Problem> {
    let id = query::message_id(id)?;
    answer(service.store.message(id).await?)
}

/// The answer with what is known of a message.
pub(super) fn answer(message: Option<Message>) -> Result<HttpResponse, Problem> {
    let Message { id, record } = message.ok_or(Problem::UnknownMessage)?;
    Ok(HttpResponse::Ok().content_type(JSON).body(view::envelope(&record.shown(id))))
}

/// `GET /api/messagestatus/phonenumber/{phonenumber}`
pub(crate) async fn by_destination(
    service: &Service,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let number = query::destination(request)?;
    list(service, request, Key::Destination(number)).await
}

/// `GET /api/messagestatus/reference/{referencekey}`
pub(crate) async fn by_reference(
    service: &Service,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let key = query::reference_key(request)?;
    list(service, request, Key::Reference(key)).await
}

/// `GET /api/messagestatus/provider/{source}/{providerid}`
pub(crate) async fn by_foreign_id(
    service: &Service,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (source, id) = query::foreign_id(request)?;
    if service.ingest.sources.get(&source).is_none() {
        return Err(Problem::UnknownSource);
    }
    list(service, request, Key::Foreign { source, id }).await
}

async fn list(service: &Service, request: &HttpRequest, key: Key) -> Result<HttpResponse, Problem> {
    let (list, lineage) = (List::of_key(&key), service.store.lineage());
    let page = query::page(request, &list, lineage)?;
    let listing = service.store.list(key, page, view::add_envelope).await?;
    let mut response = HttpResponse::Ok();
    if let Some(last) = listing.messages.last().filter(|_| listing.more) {
        let (path, count) = (request.uri().path(), page.count);
        let cursor = list.cursor(lineage, last.place);
        // The cursor lies behind every bound that the first page had.
        let next = format!("<{path}?count={count}&cursor={cursor}>; rel=\"next\"");
        response.insert_header((header::LINK, next));
    }
    bodies::answer(service, response.content_type(JSON), view::list(&listing))
}
