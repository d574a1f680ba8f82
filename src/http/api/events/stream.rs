//! Stream of events to one client of `GET /api/events`.

use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::feed::Membership;
use super::render::{MIN_READ_INTERVAL, write_event};
use super::ring::Next;
use crate::http::api::params;
use crate::http::app_state::Service;
use crate::http::concurrency_limit;
use crate::http::problem::Problem;
use crate::json::write::Json;
use crate::memory_budget::{Reservation, Share};
use crate::store::{Changes, EventId, StoreError};

/// Interval of heartbeats: something is sent at least this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Time after which a client that takes nothing is disconnected and told to reconnect.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Memory of answers in bytes beyond which streams get none: clients that read their streams slowly leave the
/// other half to queries.
const MAX_ANSWER_BYTES: usize = Share::Answers.limit() / 2;
/// Reconnection time for clients, in milliseconds.
const RETRY_MILLISECONDS: &str = "1000";

/// Answers with the events that pass the client's filter, from its `Last-Event-ID` or from now on.
pub(crate) fn stream(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let filter = params::filter(request)?;
    let last_published = service.store.latest_change().current();
    let lineage = service.store.lineage();
    let last = last_event_id(request, lineage)?.unwrap_or(last_published);
    if last > last_published {
        return Err(Problem::BadRequest(format!(
            "`Last-Event-ID` is greater than the id of the last event, {}. If the database was \
             replaced by an older one, read the messages again and reconnect without this header.",
            EventId::new(lineage, last_published)
        )));
    }
    let permit = service.live.add_listener().ok_or(Problem::Unavailable(TOO_MANY_STREAMS))?;
    let now = Instant::now();
    let event_stream = EventStream {
        service: Data::clone(service),
        membership: Membership::new(&service.live, filter, last),
        lineage,
        is_first: true,
        next_read_at: now,
        heartbeat_at: now + HEARTBEAT_INTERVAL,
        last_sent_at: now,
        ended: false,
        charged: service.budget.reservation(Share::Answers),
        _permit: permit,
    };
    let events = stream::unfold(event_stream, |mut event_stream| async move {
        let text = event_stream.next().await?;
        Some((Ok::<_, Infallible>(text), event_stream))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Without it nginx would buffer events until it has a buffer full of them.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(events)))
}

/// Error text when the limit of event streams is reached.
pub(crate) const TOO_MANY_STREAMS: &str =
    "The limit of event streams (`server.max_event_streams`) is reached. Try again later.";

/// Number of the last event that the client has, from `Last-Event-ID`. Fails if that is no event of this
/// lineage.
fn last_event_id(request: &HttpRequest, lineage: u32) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok()).and_then(EventId::from_i64);
    let Some(id) = id else {
        return Err(Problem::BadRequest(
            "`Last-Event-ID` is the `id` of the last event that was received, a whole number; 0 is \
             before the first one."
                .to_owned(),
        ));
    };
    match id.number(lineage) {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::BadRequest(format!(
            "`Last-Event-ID: {id}` is not an event of this database: the database was restored from a backup \
             since, and events after the backup are lost. Read the messages again, then listen without this \
             header, or with `Last-Event-ID: 0` from the first event on."
        ))),
    }
}

/// Event stream of one client.
struct EventStream {
    service: Data<Service>,
    membership: Membership,
    lineage: u32,
    /// Whether nothing has been sent yet.
    is_first: bool,
    /// Earliest time of the next read of the notification log, while the client is behind the ring.
    next_read_at: Instant,
    /// Time of the next heartbeat.
    heartbeat_at: Instant,
    /// Time at which the client last got something.
    last_sent_at: Instant,
    ended: bool,
    /// Memory of the events that the client has not taken.
    charged: Reservation,
    _permit: concurrency_limit::Permit,
}

impl EventStream {
    /// Next text to send; `None` after the last event.
    async fn next(&mut self) -> Option<Bytes> {
        // The previous text has been written, except for a small rest.
        self.charged.set(0);
        if self.ended {
            return None;
        }
        let text = if mem::take(&mut self.is_first) {
            format!("retry: {RETRY_MILLISECONDS}\nid: {}\n\n", self.id()).into()
        } else if self.last_sent_at.elapsed() > READ_TIMEOUT {
            self.end("slow", "The client read the events too slowly.")
        } else {
            self.charged_text().await
        };
        self.last_sent_at = Instant::now();
        self.heartbeat_at = self.last_sent_at + HEARTBEAT_INTERVAL;
        Some(text)
    }

    /// Id of the last change checked for the client.
    fn id(&self) -> EventId {
        EventId::new(self.lineage, self.membership.listener().position())
    }

    /// Next text to send, charged until the client has taken it; ends the stream if the memory budget is
    /// exhausted.
    async fn charged_text(&mut self) -> Bytes {
        let position = self.membership.listener().position();
        let text = self.text().await;
        match self.charged.grow_within(text.len(), MAX_ANSWER_BYTES) {
            Ok(()) => text,
            Err(exhausted) => {
                // The client reconnects for these events.
                self.membership.listener().set_position(position);
                self.end("unavailable", &Problem::from(exhausted).to_string())
            }
        }
    }

    /// Waits for events or the next heartbeat, whichever comes first.
    async fn text(&mut self) -> Bytes {
        let live = Arc::clone(&self.service.live);
        loop {
            if self.service.shutdown.is_triggered() {
                return self.end("closing", "The service is stopping.");
            }
            let listener = self.membership.listener();
            let is_behind = match listener.next(&live.ring) {
                Next::Part { text, last } => {
                    listener.set_position(last);
                    return text;
                }
                Next::Nothing { last } => {
                    listener.set_position(last);
                    false
                }
                Next::Behind => true,
            };
            let due = async {
                if is_behind { sleep_until(self.next_read_at).await } else { listener.wait().await }
            };
            let is_due = tokio::select! {
                () = self.service.shutdown.triggered() => continue,
                () = sleep_until(self.heartbeat_at) => false,
                () = due => true,
            };
            listener.stop_waiting();
            if !is_due {
                // The heartbeat carries the id, so that a reconnecting client skips changes that its filter
                // rejected.
                return format!(": nothing new\nid: {}\n\n", self.id()).into();
            }
            if is_behind && let Some(text) = self.read_log().await {
                return text;
            }
        }
    }

    /// Reads the next part of the notification log; `None` if no change in it passes the filter.
    async fn read_log(&mut self) -> Option<Bytes> {
        let read_at = Instant::now();
        let (filter, position) = (self.membership.filter(), self.membership.listener().position());
        match self.service.store.changes(position, filter, write_event).await {
            Ok(Changes { text, last, more, .. }) => {
                self.membership.listener().set_position(last);
                self.next_read_at = if more { read_at } else { read_at + MIN_READ_INTERVAL };
                (!text.is_empty()).then(|| text.into())
            }
            Err(StoreError::Overloaded) => {
                self.next_read_at = read_at + MIN_READ_INTERVAL;
                None
            }
            Err(error) => Some(self.end("unavailable", &Problem::from(error).to_string())),
        }
    }

    /// Ends the stream with its last event.
    fn end(&mut self, reason: &str, detail: &str) -> Bytes {
        self.ended = true;
        let id = self.id();
        let detail = format!("{detail} Reconnect with `Last-Event-ID: {id}`.");
        let head = format!("id: {id}\nevent: end\ndata: ");
        let mut json = Json::append_to(head.into_bytes());
        json.raw(r#"{"reason":"#).text(reason).raw(r#","detail":"#).text(&detail).raw("}\n\n");
        json.finish().into()
    }
}
