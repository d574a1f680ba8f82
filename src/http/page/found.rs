//! What is found of what was typed into the search box: the newest message whole, the others as a list.

use askama::Template;

use super::super::cursor::{List, StaleCursor};
use super::super::query;
use super::super::{problem::Problem, state::Service};
use super::message::{self, Loaded, View};
use super::parts::{self, counted};
use super::typed::Typed;
use super::{Listed, render, rows};
use crate::store::{Key, Listing, Page};

/// So many messages are listed at a time.
const COUNT: u32 = 25;

/// `GET /ui/search?q=…`
pub(super) async fn show(service: &Service, query: &str) -> Result<String, Problem> {
    let (mut text, mut cursor) = (String::new(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "q" => value.trim().clone_into(&mut text),
            "cursor" => cursor = Some(value.into_owned()),
            _ => {}
        }
    }
    let looked = Looked { service, text: &text, cursor: cursor.as_deref() };
    let typed = Typed::of(&text);
    match &typed {
        Typed::Nothing => return Ok(Nothing.render().unwrap_or_default()),
        Typed::Id(id) => return message::show(service, &id.to_string(), "").await,
        Typed::Number(number) => {
            let key = Key::Destination(*number);
            if let Some(list) = looked.up(key, format!("number {number}")).await? {
                return Ok(list);
            }
        }
        Typed::National(_) | Typed::Key => {}
    }
    // What looks like a number can be a reference key too.
    let key = Key::Reference(query::key(text.clone())?);
    match looked.up(key, format!("reference key “{text}”")).await? {
        Some(list) => Ok(list),
        None => looked.not_found(typed).await,
    }
}

/// What is looked up.
struct Looked<'a> {
    service: &'a Service,
    text: &'a str,
    cursor: Option<&'a str>,
}

impl Looked<'_> {
    /// The messages under this key; none if there are none.
    async fn up(&self, key: Key, taken_for: String) -> Result<Option<String>, Problem> {
        let (by_key, lineage) = (List::of_key(&key), self.service.store.lineage());
        let after = match self.cursor.map(|text| by_key.place(lineage, text)).transpose() {
            Ok(after) => after,
            // It may be that of the other list that this text can be the name of.
            Err(StaleCursor::Unknown) => return Ok(None),
            Err(restored @ StaleCursor::Restored) => return Err(restored.into()),
        };
        let page = Page { count: COUNT, before: None, after };
        let listing = self.service.store.list(key, page, rows::write).await?;
        let Some(first) = listing.messages.first() else { return Ok(None) };
        // Behind the first page there are only others.
        let newest =
            if after.is_none() { message::load(self.service, first.place.id).await? } else { None };
        let shown = usize::from(newest.is_some());
        let list = Listed {
            rows: rows::of(&listing, shown),
            next: self.next(&by_key, lineage, &listing),
            next_words: "Older messages",
        };
        let others = listing.messages.len().saturating_sub(shown);
        let found = move || Found { taken_for, newest: newest.map(Loaded::view), others, list };
        render(found).await.map(Some)
    }

    fn next(&self, by_key: &List, lineage: u32, listing: &Listing) -> Option<String> {
        let last = listing.messages.last().filter(|_| listing.more)?;
        let cursor = by_key.cursor(lineage, last.place);
        Some(format!("#/search?{}", parts::query([("q", self.text), ("cursor", &cursor)])))
    }

    async fn not_found(&self, typed: Typed) -> Result<String, Problem> {
        if self.cursor.is_some() {
            return Err(Problem::BadRequest(
                "There is nothing more, or the cursor is not one that this search gave. Start without \
                 one."
                    .to_owned(),
            ));
        }
        let without_number = self.service.store.vitals().await?.without_number;
        let (number, example) = match typed {
            Typed::Number(number) => (Some(number.to_string()), None),
            Typed::National(digits) => {
                (None, Some(format!("+39 {}", digits.strip_prefix('0').unwrap_or(&digits))))
            }
            Typed::Nothing | Typed::Id(_) | Typed::Key => (None, None),
        };
        let page = NotFound {
            text: self.text,
            number,
            example,
            records: counted(without_number, "record"),
            without_number,
        };
        Ok(page.render().unwrap_or_default())
    }
}

#[derive(Template)]
#[template(path = "found.html")]
struct Found {
    taken_for: String,
    newest: Option<View>,
    others: usize,
    list: Listed,
}

#[derive(Template)]
#[template(path = "found_nothing.html")]
struct NotFound<'a> {
    text: &'a str,
    /// The number that the text was taken for.
    number: Option<String>,
    /// How the text would be written with a country, if it is a number without one.
    example: Option<String>,
    without_number: u64,
    records: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct Nothing;
