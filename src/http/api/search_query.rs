//! Query of a search or an export: its parameters, and the messages that they select.

use std::sync::Arc;

use super::cursor::List;
use super::params::{self, DEFAULT_COUNT, MAX_COUNT};
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::message::MessageId;
use crate::store::{Found, Place, SearchFilter, StoreError, Write};

/// Parsed query of a search.
#[derive(Debug)]
pub(crate) struct SearchQuery {
    /// Filter for the messages.
    pub(crate) filter: Arc<SearchFilter>,
    /// Maximum number of messages.
    pub(crate) count: u32,
    /// Place after which the page begins.
    pub(crate) after: Option<Place>,
    /// Ids of the messages, in place of filter and page.
    ids: Option<Vec<MessageId>>,
}

/// Parses the parameters of a page, for a database of this lineage.
pub(crate) fn parse(query: &str, lineage: u32) -> Result<SearchQuery, Problem> {
    let (mut count, mut cursor) = (None, None);
    let mut search = select(query, |name, value| {
        match name {
            "count" => count = Some(params::count(value)?),
            "cursor" => cursor = Some(value.to_owned()),
            _ => {
                return Err(Problem::BadRequest(format!(
                    "Unknown parameter `{name}`; the parameters are {FILTER_LIST}, `ids`, `count` and \
                     `cursor`. A CSV is at /api/messages.csv."
                )));
            }
        }
        Ok(())
    })?;
    if search.ids.is_some() {
        // The messages with some ids have no pages.
        let page = [("count", count.is_some()), ("cursor", cursor.is_some())];
        if let Some((name, _)) = page.into_iter().find(|(_, is_given)| *is_given) {
            return Err(combined_with_ids(name));
        }
    }
    search.count = count.unwrap_or(DEFAULT_COUNT);
    search.after = cursor
        .map(|cursor| List::for_search(&search.filter).parse_place(lineage, &cursor))
        .transpose()?;
    Ok(search)
}

/// Names of the filters, for error texts.
pub(crate) const FILTER_LIST: &str =
    "`from`, `to`, `status`, `channel`, `source`, `code`, `destination`";

/// Parses the parameters that select messages, and calls `parse_other` for each further one. An unknown
/// parameter may be a misspelt filter, so `parse_other` should reject it.
pub(crate) fn select(
    query: &str,
    mut parse_other: impl FnMut(&str, &str) -> Result<(), Problem>,
) -> Result<SearchQuery, Problem> {
    let (mut filter, mut ids, mut filter_name) = (SearchFilter::default(), None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "ids" => {
                ids = Some(parse_ids(&value)?);
                continue;
            }
            "from" => filter.from = Some(params::time("from", &value)?),
            "to" => filter.to = Some(params::time("to", &value)?),
            "status" => filter.statuses.push(params::status(&value)?),
            "channel" => filter.channel = Some(params::channel(&value)?),
            "source" => filter.source = Some(value.into_owned()),
            "code" => filter.provider_code = Some(value.into_owned()),
            "destination" => filter.has_destination = Some(has_destination(&value)?),
            _ => {
                parse_other(&name, &value)?;
                continue;
            }
        }
        filter_name.get_or_insert(name);
    }
    if ids.is_some()
        && let Some(name) = filter_name
    {
        return Err(combined_with_ids(&name));
    }
    Ok(SearchQuery { filter: Arc::new(filter), count: DEFAULT_COUNT, after: None, ids })
}

fn combined_with_ids(name: &str) -> Problem {
    Problem::BadRequest(format!("`ids` cannot be combined with `{name}`."))
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

fn parse_ids(text: &str) -> Result<Vec<MessageId>, Problem> {
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
