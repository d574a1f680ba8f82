//! One message: the sentence, what is known, and its newest notifications; older ones on request.

use askama::Template;
use askama::filters::HtmlSafe;

use super::super::bodies;
use super::super::query;
use super::super::{problem::Problem, state::Service};
use super::parts::Mark;
use super::render;
use super::timeline::{Event, events};
use super::usual::{ENOUGH, Times, Usual};
use super::words::{self, Answer, Case, Words};
use crate::budget::Reservation;
use crate::message::{Channel, MessageId, Record, Shown, Timestamp};
use crate::store::{History, Hour, Part, Said};

/// Times of delivery are taken from so many days.
const DAYS: i64 = 7;
/// Or, if that are too few, from so many.
const MORE_DAYS: i64 = 30;

/// Notifications that are shown at a time, the newest first.
const SHOWN: usize = 100;
/// Bytes of HTML that a byte of text may become.
const ESCAPED: usize = 6;

/// `GET /ui/message/{messageid}`; with `before`, the part of its timeline before that notification.
pub(super) async fn show(service: &Service, id: &str, query: &str) -> Result<String, Problem> {
    let id = query::message_id(id)?;
    if let Some(before) = before(query)? {
        return older(service, id, before).await;
    }
    match load(service, id).await? {
        Some(message) => render(move || Page { message: message.view() }).await,
        None => Ok(Unknown { id }.render().unwrap_or_default()),
    }
}

fn before(query: &str) -> Result<Option<i64>, Problem> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    let Some((_, number)) = parameters.find(|(name, _)| name == "before") else { return Ok(None) };
    number.parse().map(Some).map_err(|_other| {
        Problem::BadRequest("`before` is the number of an entry of the timeline.".to_owned())
    })
}

/// The part of a timeline before this notification.
async fn older(service: &Service, id: MessageId, before: i64) -> Result<String, Problem> {
    let part = Part::Newest { count: SHOWN, before: Some(before) };
    let history = service.store.history(id, part).await?.ok_or(Problem::UnknownMessage)?;
    let (now, charged) = (service.clock.now(), charge(service, &history.said)?);
    render(move || Timeline::of(id, &history, now, charged)).await
}

/// Memory for rendering these.
fn charge(service: &Service, said: &[Said]) -> Result<Reservation, Problem> {
    let bytes: usize = said.iter().map(Said::text_bytes).sum();
    bodies::reserve(service, bytes * (1 + ESCAPED))
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

/// A message as it is shown, with its newest notifications.
#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct View {
    id: MessageId,
    title: String,
    known: Option<Known>,
    timeline: Timeline,
}

/// The template escapes what came from outside.
impl HtmlSafe for View {}

/// A part of a message's timeline.
#[derive(Template)]
#[template(path = "timeline.html")]
struct Timeline {
    id: MessageId,
    /// How many are older, and the number of the first one that is shown.
    older: Option<(usize, i64)>,
    events: Vec<Event>,
    _charged: Reservation,
}

/// The template escapes what came from outside.
impl HtmlSafe for Timeline {}

impl Timeline {
    /// The part that was asked for.
    fn of(id: MessageId, history: &History, now: Timestamp, charged: Reservation) -> Self {
        let History { steps, said, begin, .. } = history;
        let (older, shown) = steps.split_at_checked(*begin).unwrap_or((steps, &[]));
        let first = shown.first().filter(|_| !older.is_empty());
        Self {
            id,
            older: first.map(|first| (older.len(), first.number)),
            events: events(older, said, now),
            _charged: charged,
        }
    }
}

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

/// What is known of a message, read and not rendered yet.
pub(super) struct Loaded {
    id: MessageId,
    history: History,
    now: Timestamp,
    usual: Usual,
    charged: Reservation,
}

/// What is known of a message; none if there is no notification of it.
pub(super) async fn load(service: &Service, id: MessageId) -> Result<Option<Loaded>, Problem> {
    let part = Part::Newest { count: SHOWN, before: None };
    let Some(history) = service.store.history(id, part).await? else { return Ok(None) };
    let charged = charge(service, &history.said)?;
    let now = service.clock.now();
    let channel = history.record.as_ref().map_or(Channel::Sms, Record::channel);
    let usual = usual(service, channel, now).await?;
    Ok(Some(Loaded { id, history, now, usual, charged }))
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

impl Loaded {
    /// As it is shown.
    pub(super) fn view(self) -> View {
        let Self { id, history, now, usual, charged } = self;
        let shown = history.record.as_ref().map(|record| record.shown(id));
        let title = shown.as_ref().map_or_else(
            || "Nothing valid is known of this message".to_owned(),
            |shown| format!("{} {}", Mark(shown.status).word(), words::noun(shown.channel)),
        );
        let known = shown.as_ref().map(|shown| Known {
            mark: Mark(shown.status),
            answer: Case { shown, steps: &history.steps, now, usual }.answer(),
            facts: facts(shown),
        });
        View { id, title, known, timeline: Timeline::of(id, &history, now, charged) }
    }
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
