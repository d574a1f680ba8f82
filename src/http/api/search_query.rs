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
pub(crate) struct Asked {
    /// Filter for the messages.
    pub(crate) wanted: Arc<SearchFilter>,
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
pub(crate) fn read(query: &str, lineage: u32) -> Result<Asked, Problem> {
    let (mut wanted, mut count, mut cursor) = (SearchFilter::default(), None, None);
    let mut asked = Asked::default();
    let mut filters = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => asked.csv = csv(&value)?,
            "ids" => asked.ids = Some(ids(&value)?),
            "count" => count = Some(params::count(&value)?),
            "cursor" => cursor = Some(value),
            "from" => wanted.from = Some(params::time("from", &value)?),
            "to" => wanted.to = Some(params::time("to", &value)?),
            "status" => wanted.statuses.push(params::status(&value)?),
            "channel" => wanted.channel = Some(params::channel(&value)?),
            "source" => wanted.source = Some(value.into_owned()),
            "code" => wanted.provider_code = Some(value.into_owned()),
            "destination" => wanted.has_destination = Some(has_destination(&value)?),
            _ => {
                return Err(Problem::BadRequest(format!(
                    "Unknown parameter `{name}`; the parameters are {PARAMETER_LIST}."
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
        return Err(Problem::BadRequest(format!("`ids` cannot be combined with `{filter}`.")));
    }
    if asked.csv.is_some() && (count.is_some() || cursor.is_some()) {
        return Err(Problem::BadRequest(
            "A CSV export has all matching messages and no pages: omit `count` and `cursor`."
                .to_owned(),
        ));
    }
    asked.after =
        cursor.map(|cursor| List::of_search(&wanted).place(lineage, &cursor)).transpose()?;
    asked.count = count.unwrap_or(DEFAULT_COUNT);
    asked.wanted = Arc::new(wanted);
    Ok(asked)
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
    let most = usize::try_from(MAX_COUNT).unwrap_or(usize::MAX);
    match ids {
        Ok(ids) if ids.len() <= most => Ok(ids),
        Ok(ids) => Err(Problem::BadRequest(format!(
            "`ids` names {} messages; it may name {MAX_COUNT}. Ask several times.",
            ids.len()
        ))),
        Err(error) => Err(Problem::BadRequest(format!("An element of `ids` is {error}."))),
    }
}

impl Asked {
    /// Reads the messages that the query selects.
    pub(crate) async fn found(&self, service: &Service, write: Write) -> Result<Found, StoreError> {
        let Some(ids) = &self.ids else {
            let wanted = Arc::clone(&self.wanted);
            return service.store.search(wanted, self.after, self.count, write).await;
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
        let cursor = List::of_search(&self.wanted).cursor(lineage, found.next?);
        let before = form_urlencoded::parse(query.as_bytes());
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(before.filter(|(name, _)| name != "cursor"));
        Some(next.append_pair("cursor", &cursor).finish())
    }
}
