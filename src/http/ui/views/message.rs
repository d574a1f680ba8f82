//! View of one message: its explanation, its record and its newest notifications; older ones on request.

use askama::Template;
use askama::filters::HtmlSafe;

use super::fragment::render;
use super::parts::Mark;
use crate::http::app_state::Service;
use crate::http::body::response_body;
use crate::http::problem::Problem;
use crate::http::ui::model::delivery_times::{MIN_DELIVERIES, Times, UsualTime};
use crate::http::ui::model::explanation::{self, Answer, Case, RichText};
use crate::http::ui::model::timeline::{Event, events};
use crate::memory_budget::Reservation;
use crate::message::{Channel, MessageId, Record, Shown, Timestamp};
use crate::store::{History, Hour, Part, StoredNotification};

/// Number of days that usual delivery times are taken from.
const DELIVERY_TIME_DAYS: i64 = 7;
/// Number of days if those have too few deliveries.
const MAX_DELIVERY_TIME_DAYS: i64 = 30;

/// Number of notifications shown at a time, the newest first.
const PAGE_NOTIFICATIONS: usize = 100;
/// Maximum number of bytes of HTML per byte of text.
const MAX_HTML_PER_BYTE: usize = 6;

/// `GET /ui/message/{messageid}`; with `before`, the part of its timeline before that notification.
pub(crate) async fn show(service: &Service, id: MessageId, query: &str) -> Result<String, Problem> {
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

/// Renders the part of a timeline before this notification.
async fn older(service: &Service, id: MessageId, before: i64) -> Result<String, Problem> {
    let part = Part::Newest { count: PAGE_NOTIFICATIONS, before: Some(before) };
    let history = service.store.history(id, part).await?.ok_or(Problem::UnknownMessage)?;
    let (now, charged) = (service.clock.now(), charge(service, &history.in_full)?);
    render(move || Timeline::of(id, &history, now, charged)).await
}

/// Reserves memory for rendering these notifications.
fn charge(service: &Service, notifications: &[StoredNotification]) -> Result<Reservation, Problem> {
    let bytes: usize = notifications.iter().map(StoredNotification::text_bytes).sum();
    response_body::reserve(service, bytes * (1 + MAX_HTML_PER_BYTE))
}

#[derive(Template)]
#[template(path = "message/page.html")]
struct Page {
    message: View,
}

#[derive(Template)]
#[template(path = "message/unknown.html")]
struct Unknown {
    id: MessageId,
}

/// Message as it is shown, with its newest notifications.
#[derive(Template)]
#[template(path = "message/view.html")]
pub(crate) struct View {
    id: MessageId,
    title: String,
    known: Option<Known>,
    timeline: Timeline,
}

/// Safe: the template escapes external text.
impl HtmlSafe for View {}

/// Part of a message's timeline.
#[derive(Template)]
#[template(path = "message/timeline.html")]
struct Timeline {
    id: MessageId,
    /// Number of older notifications, and the number of the first one shown in the notification log.
    older: Option<(usize, i64)>,
    events: Vec<Event>,
    _charged: Reservation,
}

/// Safe: the template escapes external text.
impl HtmlSafe for Timeline {}

impl Timeline {
    /// Creates the requested part of a timeline.
    fn of(id: MessageId, history: &History, now: Timestamp, charged: Reservation) -> Self {
        let History { steps, in_full, begin, .. } = history;
        let (older, shown) = steps.split_at_checked(*begin).unwrap_or((steps, &[]));
        let first = shown.first().filter(|_| !older.is_empty());
        Self {
            id,
            older: first.map(|first| (older.len(), first.number)),
            events: events(older, in_full, now),
            _charged: charged,
        }
    }
}

/// Record of a message that has a valid notification, as it is shown.
struct Known {
    mark: Mark,
    answer: Answer,
    facts: Vec<Fact>,
}

/// Named fact of a record.
struct Fact {
    name: &'static str,
    text: RichText,
    /// Whether the fact needs a line of its own.
    is_long: bool,
}

/// Message, read and not rendered yet.
pub(crate) struct Loaded {
    id: MessageId,
    history: History,
    now: Timestamp,
    usual: UsualTime,
    charged: Reservation,
}

/// Reads a message; `None` if it has no notification.
pub(crate) async fn load(service: &Service, id: MessageId) -> Result<Option<Loaded>, Problem> {
    let part = Part::Newest { count: PAGE_NOTIFICATIONS, before: None };
    let Some(history) = service.store.history(id, part).await? else { return Ok(None) };
    let charged = charge(service, &history.in_full)?;
    let now = service.clock.now();
    let channel = history.record.as_ref().map_or(Channel::Sms, Record::channel);
    let usual = usual(service, channel, now).await?;
    Ok(Some(Loaded { id, history, now, usual, charged }))
}

/// Usual delivery time of this channel.
async fn usual(service: &Service, channel: Channel, now: Timestamp) -> Result<UsualTime, Problem> {
    let since = |days: i64| Hour(Hour::of(now).0 - days * 24);
    let hourly_counts = service.store.hourly_counts(since(DELIVERY_TIME_DAYS)).await?;
    let times = Times::of(&hourly_counts, Some(channel));
    if times.deliveries() >= MIN_DELIVERIES {
        return Ok(UsualTime::of(channel, &times, DELIVERY_TIME_DAYS));
    }
    let hourly_counts = service.store.hourly_counts(since(MAX_DELIVERY_TIME_DAYS)).await?;
    Ok(UsualTime::of(channel, &Times::of(&hourly_counts, Some(channel)), MAX_DELIVERY_TIME_DAYS))
}

impl Loaded {
    /// Converts the message to the form in which it is shown.
    pub(crate) fn view(self) -> View {
        let Self { id, history, now, usual, charged } = self;
        let shown = history.record.as_ref().map(|record| record.shown(id));
        let title = shown.as_ref().map_or_else(
            || "Nothing valid is known of this message".to_owned(),
            |shown| format!("{} {}", Mark(shown.status).word(), explanation::noun(shown.channel)),
        );
        let known = shown.as_ref().map(|shown| Known {
            mark: Mark(shown.status),
            answer: Case { shown, steps: &history.steps, now, usual }.answer(),
            facts: facts(shown),
        });
        View { id, title, known, timeline: Timeline::of(id, &history, now, charged) }
    }
}

/// Length in bytes above which a text needs a line of its own.
const LONG_TEXT_BYTES: usize = 60;

fn facts(shown: &Shown<'_>) -> Vec<Fact> {
    let Shown { destination, reference, provider, .. } = shown;
    let number = destination.map_or_else(
        || "not stated by any webhook, so a search by number does not find the message".to_owned(),
        |number| number.to_string(),
    );
    let mut facts = vec![Fact { name: "Number", text: RichText::of(number), is_long: false }];
    let mut add = |name, text: Option<&str>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            facts.push(Fact {
                name,
                text: RichText::of(text),
                is_long: text.len() > LONG_TEXT_BYTES,
            });
        }
    };
    add("Reference key", reference.key());
    add("Service", reference.service());
    add("Action", reference.action());
    add("Channel", Some(shown.channel.name()));
    let segments = shown.segments.map(|segments| segments.to_string());
    add("SMS segments", segments.as_deref().filter(|_| shown.channel == Channel::Sms));
    add("Provider", Some(provider.name));
    add("Provider status", Some(provider.status));
    add("Provider code", Some(provider.code));
    add("Provider text", provider.message);
    add("Provider id", Some(provider.id));
    let accepted = RichText::default().at(shown.accepted_at);
    let status = RichText::of(format!("{}, since ", shown.status)).at(shown.status_changed_at);
    let times = [("Accepted", accepted), ("Status", status)];
    facts.extend(times.map(|(name, text)| Fact { name, text, is_long: false }));
    facts
}
