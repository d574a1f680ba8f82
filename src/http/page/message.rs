//! One message: the sentence, what is known, and everything that was said of it.

use askama::Template;
use askama::filters::HtmlSafe;

use super::super::query;
use super::super::view;
use super::super::{problem::Problem, state::Service};
use super::parts::Mark;
use super::timeline::{Event, events};
use super::usual::{ENOUGH, Times, Usual};
use super::words::{self, Answer, Case, Words};
use crate::message::{Channel, MessageId, Record, Shown, Timestamp};
use crate::store::{History, Hour};

/// Times of delivery are taken from so many days.
const DAYS: i64 = 7;
/// Or, if that are too few, from so many.
const MORE_DAYS: i64 = 30;

/// `GET /ui/message/{messageid}`
pub(super) async fn show(service: &Service, id: &str) -> Result<String, Problem> {
    let id = query::message_id(id)?;
    match view_of(service, id).await? {
        Some(message) => Ok(Page { message }.render().unwrap_or_default()),
        None => Ok(Unknown { id }.render().unwrap_or_default()),
    }
}

#[derive(Template)]
#[template(path = "message_page.html")]
struct Page {
    message: View,
}

#[derive(Template)]
#[template(path = "message_unknown.html")]
struct Unknown {
    id: MessageId,
}

/// A message as it is shown, with all that was said of it.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct View {
    id: MessageId,
    title: String,
    known: Option<Known>,
    events: Vec<Event>,
    raw: String,
}

/// The template escapes what came from outside.
impl HtmlSafe for View {}

/// What is known of a message of which something valid was said.
struct Known {
    mark: Mark,
    answer: Answer,
    facts: Vec<Fact>,
}

/// A thing that is known, by its name.
struct Fact {
    name: &'static str,
    words: Words,
    /// Whether it needs a line of its own.
    is_long: bool,
}

/// What is shown of a message; none if nothing was ever said of it.
pub(super) async fn view_of(service: &Service, id: MessageId) -> Result<Option<View>, Problem> {
    let Some(history) = service.store.history(id).await? else { return Ok(None) };
    let now = service.clock.now();
    let channel = history.record.as_ref().map_or(Channel::Sms, Record::channel);
    let usual = usual(service, channel, now).await?;
    Ok(Some(view(id, &history, now, usual)))
}

/// How long messages of this channel take here.
async fn usual(service: &Service, channel: Channel, now: Timestamp) -> Result<Usual, Problem> {
    let since = |days: i64| Hour(Hour::of(now).0 - days * 24);
    let sums = service.store.sums(since(DAYS)).await?;
    let times = Times::of(&sums, Some(channel));
    if times.deliveries() >= ENOUGH {
        return Ok(Usual::of(channel, &times, DAYS));
    }
    let sums = service.store.sums(since(MORE_DAYS)).await?;
    Ok(Usual::of(channel, &Times::of(&sums, Some(channel)), MORE_DAYS))
}

fn view(id: MessageId, history: &History, now: Timestamp, usual: Usual) -> View {
    let shown = history.record.as_ref().map(|record| record.shown(id));
    let said = &history.said;
    let title = shown.as_ref().map_or_else(
        || "Nothing valid is known of this message".to_owned(),
        |shown| format!("{} {}", Mark(shown.status).word(), words::noun(shown.channel)),
    );
    let known = shown.as_ref().map(|shown| Known {
        mark: Mark(shown.status),
        answer: Case { shown, said, now, usual }.answer(),
        facts: facts(shown),
    });
    let raw = String::from_utf8(view::history(id, history)).unwrap_or_default();
    View { id, title, known, events: events(said, now), raw }
}

/// A longer text needs a line of its own.
const LONG: usize = 60;

fn facts(shown: &Shown<'_>) -> Vec<Fact> {
    let Shown { destination, reference, provider, .. } = shown;
    let number = destination.map_or_else(
        || "nobody stated it, so it is not found by number".to_owned(),
        |number| number.to_string(),
    );
    let mut facts = vec![Fact { name: "Number", words: Words::of(number), is_long: false }];
    let mut tell = |name, text: Option<&str>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            facts.push(Fact { name, words: Words::of(text), is_long: text.len() > LONG });
        }
    };
    tell("Reference key", reference.key());
    tell("Service", reference.service());
    tell("Action", reference.action());
    tell("Channel", Some(shown.channel.name()));
    let segments = shown.segments.map(|segments| segments.to_string());
    tell("SMS segments", segments.as_deref().filter(|_| shown.channel == Channel::Sms));
    tell("Provider", Some(provider.name));
    tell("Provider status", Some(provider.status));
    tell("Provider code", Some(provider.code));
    tell("Provider text", provider.message);
    tell("Provider id", Some(provider.id));
    let accepted = Words::default().at(shown.accepted_at);
    let status = Words::of(format!("{}, since ", shown.status)).at(shown.status_changed_at);
    let times = [("Accepted", accepted), ("Status", status)];
    facts.extend(times.map(|(name, words)| Fact { name, words, is_long: false }));
    facts
}
