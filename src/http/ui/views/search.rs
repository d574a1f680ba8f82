//! Search view: the newest message found is shown whole, the others as a list.

use askama::Template;

use super::fragment::{Listed, render};
use super::message::{self, Loaded, View};
use super::parts::{self, counted};
use super::rows;
use crate::http::api::cursor::{List, StaleCursor};
use crate::http::api::params;
use crate::http::app_state::Service;
use crate::http::problem::Problem;
use crate::http::ui::model::search_input::SearchInput;
use crate::store::{Key, Listing, Page};

/// Number of messages on a page.
const PAGE_MESSAGES: u32 = 25;

/// `GET /ui/search?q=…`
pub(crate) async fn show(service: &Service, query: &str) -> Result<String, Problem> {
    let (mut text, mut cursor) = (String::new(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "q" => value.trim().clone_into(&mut text),
            "cursor" => cursor = Some(value.into_owned()),
            _ => {}
        }
    }
    let lookup = Lookup { service, text: &text, cursor: cursor.as_deref() };
    let input = SearchInput::parse(&text);
    match &input {
        SearchInput::Nothing => return Ok(Nothing.render().unwrap_or_default()),
        SearchInput::Id(id) => return message::show(service, *id, "").await,
        SearchInput::Number(number) => {
            let key = Key::Destination(*number);
            if let Some(list) = lookup.find(key, format!("number {number}")).await? {
                return Ok(list);
            }
        }
        SearchInput::National(_) | SearchInput::Key => {}
    }
    // A text that looks like a phone number can be a reference key too.
    let key = Key::Reference(params::key(text.clone())?);
    match lookup.find(key, format!("reference key “{text}”")).await? {
        Some(list) => Ok(list),
        None => lookup.not_found(input).await,
    }
}

/// Lookup of a typed text.
struct Lookup<'a> {
    service: &'a Service,
    text: &'a str,
    cursor: Option<&'a str>,
}

impl Lookup<'_> {
    /// Renders the messages under this key; `None` if there are none.
    async fn find(&self, key: Key, interpretation: String) -> Result<Option<String>, Problem> {
        let (by_key, lineage) = (List::for_key(&key), self.service.store.lineage());
        let after = match self.cursor.map(|text| by_key.parse_place(lineage, text)).transpose() {
            Ok(after) => after,
            // The cursor may belong to the other list that this text can name.
            Err(StaleCursor::Unknown) => return Ok(None),
            Err(restored @ StaleCursor::Restored) => return Err(restored.into()),
        };
        let page = Page { count: PAGE_MESSAGES, before: None, after };
        let listing = self.service.store.list(key, page, rows::write).await?;
        let Some(first) = listing.messages.first() else { return Ok(None) };
        // Pages after the first one have only the list.
        let newest =
            if after.is_none() { message::load(self.service, first.place.id).await? } else { None };
        let shown = usize::from(newest.is_some());
        let list = Listed {
            rows: rows::of(&listing, shown),
            next: self.next(&by_key, lineage, &listing),
            next_label: "Older messages",
        };
        let others = listing.messages.len().saturating_sub(shown);
        let found =
            move || Found { interpretation, newest: newest.map(Loaded::view), others, list };
        render(found).await.map(Some)
    }

    fn next(&self, by_key: &List, lineage: u32, listing: &Listing) -> Option<String> {
        let last = listing.messages.last().filter(|_| listing.more)?;
        let cursor = by_key.cursor(lineage, last.place);
        Some(format!("#/search?{}", parts::query([("q", self.text), ("cursor", &cursor)])))
    }

    async fn not_found(&self, input: SearchInput) -> Result<String, Problem> {
        if self.cursor.is_some() {
            return Err(Problem::BadRequest(
                "There is nothing more, or the cursor is not one that this search gave. Start without \
                 one."
                    .to_owned(),
            ));
        }
        let without_destination = self.service.store.stats().await?.without_destination;
        let (number, example) = match input {
            SearchInput::Number(number) => (Some(number.to_string()), None),
            SearchInput::National(digits) => {
                (None, Some(format!("+39 {}", digits.strip_prefix('0').unwrap_or(&digits))))
            }
            SearchInput::Nothing | SearchInput::Id(_) | SearchInput::Key => (None, None),
        };
        let page = NotFound {
            text: self.text,
            number,
            example,
            records: counted(without_destination, "record"),
            without_destination,
        };
        Ok(page.render().unwrap_or_default())
    }
}

#[derive(Template)]
#[template(path = "found.html")]
struct Found {
    interpretation: String,
    newest: Option<View>,
    others: usize,
    list: Listed,
}

#[derive(Template)]
#[template(path = "found_nothing.html")]
struct NotFound<'a> {
    text: &'a str,
    /// Phone number that the text was taken for.
    number: Option<String>,
    /// Example of the text with a country code, if it is a phone number without one.
    example: Option<String>,
    without_destination: u64,
    records: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct Nothing;
