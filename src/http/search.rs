//! `GET /api/messages`: those of all messages that are wanted, as JSON in pages, or as CSV as a whole.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use std::sync::Arc;

use super::bodies;
use super::csv::Csv;
use super::cursor::List;
use super::export;
use super::problem::Problem;
use super::query::{self, DEFAULT_COUNT, LARGEST_COUNT};
use super::state::Service;
use super::view::{self, JSON};
use crate::message::MessageId;
use crate::store::{Found, Place, StoreError, Wanted, Write};

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Which messages.
    pub(crate) wanted: Arc<Wanted>,
    /// How many at most.
    pub(crate) count: u32,
    /// Behind which place.
    pub(crate) after: Option<Place>,
    /// Instead of all that, the messages of these names.
    ids: Option<Vec<MessageId>>,
    /// Whom all of them are wanted for as CSV, if they are.
    csv: Option<Csv>,
}

/// Reads the parameters, for a database of this lineage. What is not known may be a filter that was misspelt, so
/// it is an error.
pub(crate) fn read(query: &str, lineage: u32) -> Result<Asked, Problem> {
    let (mut wanted, mut count, mut cursor) = (Wanted::default(), None, None);
    let mut asked = Asked::default();
    let mut filters = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => asked.csv = csv(&value)?,
            "ids" => asked.ids = Some(ids(&value)?),
            "count" => count = Some(query::count(&value)?),
            "cursor" => cursor = Some(value),
            "from" => wanted.from = Some(query::time("from", &value)?),
            "to" => wanted.to = Some(query::time("to", &value)?),
            "status" => wanted.statuses.push(query::status(&value)?),
            "channel" => wanted.channel = Some(query::channel(&value)?),
            "source" => wanted.source = Some(value.into_owned()),
            "code" => wanted.provider_code = Some(value.into_owned()),
            "number" => wanted.has_number = Some(has_number(&value)?),
            _ => {
                return Err(Problem::BadRequest(format!(
                    "`{name}` is no parameter here; there are {PARAMETERS}."
                )));
            }
        }
        if !matches!(&*name, "format" | "ids") {
            filters.push(name);
        }
    }
    if asked.ids.is_some()
        && let Some(filter) = filters.first()
    {
        return Err(Problem::BadRequest(format!(
            "`ids` says which messages are wanted, so `{filter}` has no place beside it."
        )));
    }
    if asked.csv.is_some() && (count.is_some() || cursor.is_some()) {
        return Err(Problem::BadRequest(
            "A CSV has all messages that are wanted, so it has no pages: leave `count` and `cursor` \
             out."
                .to_owned(),
        ));
    }
    asked.after =
        cursor.map(|cursor| List::of_search(&wanted).place(lineage, &cursor)).transpose()?;
    asked.count = count.unwrap_or(DEFAULT_COUNT);
    asked.wanted = Arc::new(wanted);
    Ok(asked)
}

const PARAMETERS: &str = "`from`, `to`, `status`, `channel`, `source`, `code`, `number`, `count`, \
                          `cursor`, `ids` and `format`";

fn csv(word: &str) -> Result<Option<Csv>, Problem> {
    match word {
        "csv" => Ok(Some(Csv::Guarded)),
        "csv-plain" => Ok(Some(Csv::Plain)),
        "json" => Ok(None),
        _ => Err(Problem::BadRequest(
            "`format` is `json`, `csv` (for spreadsheets) or `csv-plain` (for programs)."
                .to_owned(),
        )),
    }
}

fn has_number(word: &str) -> Result<bool, Problem> {
    match word {
        "with" => Ok(true),
        "without" => Ok(false),
        _ => Err(Problem::BadRequest(
            "`number` is `with` or `without`: whether the message's number is known. For the \
             messages to one number there is /api/messagestatus/phonenumber/."
                .to_owned(),
        )),
    }
}

fn ids(text: &str) -> Result<Vec<MessageId>, Problem> {
    let ids: Result<Vec<_>, _> = text.split(',').map(str::parse).collect();
    let most = usize::try_from(LARGEST_COUNT).unwrap_or(usize::MAX);
    match ids {
        Ok(ids) if ids.len() <= most => Ok(ids),
        Ok(ids) => Err(Problem::BadRequest(format!(
            "`ids` names {} messages; it may name {LARGEST_COUNT}. Ask several times.",
            ids.len()
        ))),
        Err(error) => Err(Problem::BadRequest(format!(
            "`ids` has something between its commas that is {error}."
        ))),
    }
}

impl Asked {
    /// The messages that are asked for.
    pub(crate) async fn found(&self, service: &Service, write: Write) -> Result<Found, StoreError> {
        let Some(ids) = &self.ids else {
            let wanted = Arc::clone(&self.wanted);
            return service.store.search(wanted, self.after, self.count, write).await;
        };
        let without_number = service.store.vitals().await?.without_number;
        let mut found = Found { without_number, ..Found::default() };
        for id in ids {
            if let Some(message) = service.store.message(*id).await? {
                found.listing.add(&message.record.shown(*id), write);
            }
        }
        Ok(found)
    }

    /// The query for what follows; none if there is nothing more.
    pub(crate) fn next(&self, query: &str, found: &Found, lineage: u32) -> Option<String> {
        let cursor = List::of_search(&self.wanted).cursor(lineage, found.next?);
        let before = form_urlencoded::parse(query.as_bytes());
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(before.filter(|(name, _)| name != "cursor"));
        Some(next.append_pair("cursor", &cursor).finish())
    }
}

/// `GET /api/messages`
pub(crate) async fn answer(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = request.query_string();
    let lineage = service.store.lineage();
    let asked = read(query, lineage)?;
    if let Some(csv) = asked.csv {
        return export::answer(service, asked, csv, request.method()).await;
    }
    let found = asked.found(service, view::add_found).await?;
    let mut response = HttpResponse::Ok();
    if let Some(next) = asked.next(query, &found, lineage) {
        response.insert_header((header::LINK, format!("</api/messages?{next}>; rel=\"next\"")));
    }
    bodies::answer(service, response.content_type(JSON), view::found(&found))
}
