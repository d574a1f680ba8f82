//! View of all messages as a list, with filters.

use askama::Template;

use super::fragment::{Listed, NoData, render};
use super::parts::{Mark, Moment, counted};
use super::rows;
use crate::http::api::search_query::SearchQuery;
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::message::{Channel, Status};
use crate::store::SearchFilter;

/// `GET /ui/messages?…`
pub(crate) async fn show(service: &Service, query: &str) -> Result<String, Problem> {
    let lineage = service.store.lineage();
    let search = crate::http::api::search_query::parse(query, lineage)?;
    let found = search.find(service, rows::write).await?;
    let is_empty = found.listing.messages.is_empty();
    let is_filtered = *search.filter != SearchFilter::default();
    if is_empty && found.next.is_none() && search.after.is_none() && !is_filtered {
        return Ok(NoData { heading: "Messages" }.render().unwrap_or_default());
    }
    let next = search.next(query, &found, lineage).map(|next| format!("#/messages?{next}"));
    // Fewer messages than a page has, though there are more: the search reached its time limit.
    let count = usize::try_from(search.count).unwrap_or(usize::MAX);
    let is_partial = next.is_some() && found.listing.messages.len() < count;
    let searched_to = found.next.filter(|_| is_partial).map(|place| Moment(place.accepted_at));
    let page = Page {
        form: Form::of(&search, service),
        is_later: search.after.is_some(),
        is_empty,
        searched_to,
        without_destination: found.without_destination,
        records: counted(found.without_destination, "record"),
        list: Listed {
            rows: rows::of(&found.listing, 0),
            next,
            next_label: if is_partial { "Search on" } else { "Older messages" },
        },
    };
    render(|| page).await
}

#[derive(Template)]
#[template(path = "messages.html")]
struct Page {
    form: Form,
    is_later: bool,
    is_empty: bool,
    searched_to: Option<Moment>,
    without_destination: u64,
    records: String,
    list: Listed,
}

/// Values of the filter form.
struct Form {
    from: String,
    to: String,
    statuses: Vec<(Mark, &'static str, bool)>,
    channels: Vec<(&'static str, bool)>,
    source: String,
    sources: Vec<String>,
    code: String,
    destination: &'static str,
}

impl Form {
    fn of(search: &SearchQuery, service: &Service) -> Self {
        let filter = &search.filter;
        let sources = service.sources.all();
        let mut sources: Vec<_> = sources.iter().map(|source| source.name.clone()).collect();
        sources.sort_unstable();
        let status =
            |status: Status| (Mark(status), status.name(), filter.statuses.contains(&status));
        Self {
            from: filter.from.map(|at| at.to_string()).unwrap_or_default(),
            to: filter.to.map(|at| at.to_string()).unwrap_or_default(),
            statuses: Status::ALL.map(status).into(),
            channels: Channel::ALL
                .map(|channel| (channel.name(), filter.channel == Some(channel)))
                .into(),
            source: filter.source.clone().unwrap_or_default(),
            sources,
            code: filter.provider_code.clone().unwrap_or_default(),
            destination: match filter.has_destination {
                None => "",
                Some(true) => "with",
                Some(false) => "without",
            },
        }
    }
}
