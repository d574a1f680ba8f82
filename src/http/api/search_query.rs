//! Query of a search: its parameters, and the messages that they select.

use std::sync::Arc;

use super::cursor::List;
use super::params::{self, DEFAULT_COUNT, MAX_COUNT};
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::http::render::Csv;
use crate::message::MessageId;
use crate::store::{Found, Place, SearchFilter, StoreError, Write};

/// Parsed query of a search.
#[derive(Debug, Default)]
pub(crate) struct SearchQuery {
    /// Filter for the messages.
    pub(crate) filter: Arc<SearchFilter>,
    /// Maximum number of messages.
    pub(crate) count: u32,
    /// Place after which the page begins.
    pub(crate) after: Option<Place>,
    /// Ids of the messages, in place of filter and page.
    ids: Option<Vec<MessageId>>,
    /// CSV variant, if all messages are wanted as CSV.
    pub(crate) csv: Option<Csv>,
}

/// Parses the parameters, for a database of this lineage. An unknown parameter may be a misspelt filter, so
/// it is an error.
pub(crate) fn parse(query: &str, lineage: u32) -> Result<SearchQuery, Problem> {
    let (mut filter, mut count, mut cursor) = (SearchFilter::default(), None, None);
    let mut search = SearchQuery::default();
    let mut filter_names = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => search.csv = csv(&value)?,
            "ids" => search.ids = Some(ids(&value)?),
            "count" => count = Some(params::count(&value)?),
            "cursor" => cursor = Some(value),
            "from" => filter.from = Some(params::time("from", &value)?),
            "to" => filter.to = Some(params::time("to", &value)?),
            "status" => filter.statuses.push(params::status(&value)?),
            "channel" => filter.channel = Some(params::channel(&value)?),
            "source" => filter.source = Some(value.into_owned()),
            "code" => filter.provider_code = Some(value.into_owned()),
            "destination" => filter.has_destination = Some(has_destination(&value)?),
            _ => {
                return Err(Problem::BadRequest(format!(
                    "Unknown parameter `{name}`; the parameters are {PARAMETER_LIST}."
                )));
            }
        }
        if !matches!(&*name, "format" | "ids") {
            filter_names.push(name);
        }
    }
    if search.ids.is_some()
        && let Some(name) = filter_names.first()
    {
        return Err(Problem::BadRequest(format!("`ids` cannot be combined with `{name}`.")));
    }
    if search.csv.is_some() && (count.is_some() || cursor.is_some()) {
        return Err(Problem::BadRequest(
            "A CSV export has all matching messages and no pages: omit `count` and `cursor`."
                .to_owned(),
        ));
    }
    search.after =
        cursor.map(|cursor| List::for_search(&filter).parse_place(lineage, &cursor)).transpose()?;
    search.count = count.unwrap_or(DEFAULT_COUNT);
    search.filter = Arc::new(filter);
    Ok(search)
}

const PARAMETER_LIST: &str = "`from`, `to`, `status`, `channel`, `source`, `code`, `destination`, `count`, \
                          `cursor`, `ids` and `format`";

pub(crate) fn csv(word: &str) -> Result<Option<Csv>, Problem> {
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

fn has_destination(word: &str) -> Result<bool, Problem> {
    match word {
        "with" => Ok(true),
        "without" => Ok(false),
        _ => Err(Problem::BadRequest(
            "`destination` is `with` or `without`: whether the message's destination is known. For the \
             messages to one phone number there is /api/messagestatus/phonenumber/."
                .to_owned(),
        )),
    }
}

fn ids(text: &str) -> Result<Vec<MessageId>, Problem> {
    let ids: Result<Vec<_>, _> = text.split(',').map(str::parse).collect();
    let max_ids = usize::try_from(MAX_COUNT).unwrap_or(usize::MAX);
    match ids {
        Ok(ids) if ids.len() <= max_ids => Ok(ids),
        Ok(ids) => Err(Problem::BadRequest(format!(
            "`ids` has {} message ids; at most {MAX_COUNT} are allowed. Send several requests.",
            ids.len()
        ))),
        Err(error) => Err(Problem::BadRequest(format!("An element of `ids` is {error}."))),
    }
}

impl SearchQuery {
    /// Reads the messages that the query selects.
    pub(crate) async fn find(&self, service: &Service, write: Write) -> Result<Found, StoreError> {
        let Some(ids) = &self.ids else {
            let filter = Arc::clone(&self.filter);
            return service.store.search(filter, self.after, self.count, write).await;
        };
        let without_destination = service.store.stats().await?.without_destination;
        let mut found = Found { without_destination, ..Found::default() };
        for id in ids {
            if let Some(message) = service.store.message(*id).await? {
                found.listing.add(&message.record.shown(*id), write);
            }
        }
        Ok(found)
    }

    /// Query string of the next page; `None` on the last page.
    pub(crate) fn next(&self, query: &str, found: &Found, lineage: u32) -> Option<String> {
        let cursor = List::for_search(&self.filter).cursor(lineage, found.next?);
        let before = form_urlencoded::parse(query.as_bytes());
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(before.filter(|(name, _)| name != "cursor"));
        Some(next.append_pair("cursor", &cursor).finish())
    }
}
