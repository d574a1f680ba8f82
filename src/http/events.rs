//! `GET /api/events`: every change of a record as a server-sent event, in the order of the commits.
//!
//! Each client has a place in the sequence of changes. A client that keeps up is given parts of the live
//! [`ring`], in which each event is rendered once for all. A client that is behind the ring reads the log at its
//! own pace until it has caught up, so that a slow one costs nobody anything but its connection. The format is
//! that of the HTML standard (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

mod live;
mod ring;

use std::convert::Infallible;
use std::io::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::live::Live;
use self::live::Place;
use self::ring::Next;
use super::places;
use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view;
use super::written::Json;
use crate::store::{Change, Changes, EventId, StoreError};

/// So often something is sent, also if there is nothing to tell.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is told to come again.
const SLOW: Duration = Duration::from_secs(10);
/// The shortest time between two looks at the log, unless there is more already.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How soon a client should come again, in milliseconds.
const RETRY: &str = "1000";

/// Answers with the events that are wanted, from where the client was or from now on.
pub(crate) fn stream(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let filter = query::filter(request)?;
    let given = service.store.latest_change().now();
    let lineage = service.store.lineage();
    let last = last_event_id(request, lineage)?.unwrap_or(given);
    if last > given {
        return Err(Problem::BadRequest(format!(
            "`Last-Event-ID` is none that was given: the last one is {}. If the database was replaced by an older \
             one, read the messages anew and come without this header.",
            EventId::new(lineage, given)
        )));
    }
    let open = service.live.open().ok_or(Problem::Unavailable(TOO_MANY))?;
    let now = Instant::now();
    let feed = Feed {
        service: Data::clone(service),
        place: Place::new(&service.live, filter, last),
        lineage,
        first: true,
        look_at: now,
        beat_at: now + HEARTBEAT,
        given_at: now,
        ended: false,
        _open: open,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let text = feed.next().await?;
        Some((Ok::<_, Infallible>(text), feed))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Or nginx would hold events back until it has a buffer full of them.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(events)))
}

/// The reason for refusing one more stream.
pub(crate) const TOO_MANY: &str = "As many clients listen to events as `server.max_event_streams` allows. Try again \
                                   later.";

/// The number of the last event that the client has.
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

/// What one client is sent.
struct Feed {
    service: Data<Service>,
    place: Place,
    lineage: u32,
    /// Whether nothing was sent yet.
    first: bool,
    /// When to look into the log at the earliest, behind the ring.
    look_at: Instant,
    /// When to send something in any case.
    beat_at: Instant,
    /// When the client was last given something.
    given_at: Instant,
    ended: bool,
    _open: places::Place,
}

impl Feed {
    /// What is sent next; none behind the last event.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let text = if mem::take(&mut self.first) {
            format!("retry: {RETRY}\nid: {}\n\n", self.id()).into()
        } else if self.given_at.elapsed() > SLOW {
            self.end("slow", "Events were not read as fast as they came.")
        } else {
            self.text().await
        };
        self.given_at = Instant::now();
        self.beat_at = self.given_at + HEARTBEAT;
        Some(text)
    }

    /// Where the client is.
    fn id(&self) -> EventId {
        EventId::new(self.lineage, self.place.listener().position())
    }

    /// Waits for events, or until it is time to send something in any case.
    async fn text(&mut self) -> Bytes {
        let live = Arc::clone(&self.service.live);
        loop {
            if self.service.ingest.closing.has_begun() {
                return self.end("closing", "The service is stopping.");
            }
            let listener = self.place.listener();
            let is_behind = match listener.next(&live.ring) {
                Next::Part { text, last } => {
                    listener.go_on(last);
                    return text;
                }
                Next::Nothing { last } => {
                    listener.go_on(last);
                    false
                }
                Next::Behind => true,
            };
            let due = async {
                if is_behind { sleep_until(self.look_at).await } else { listener.wait().await }
            };
            let is_due = tokio::select! {
                () = self.service.ingest.closing.begins() => continue,
                () = sleep_until(self.beat_at) => false,
                () = due => true,
            };
            listener.stop_waiting();
            if !is_due {
                // With the place, so that it is not behind what was looked at without being wanted.
                return format!(": nothing new\nid: {}\n\n", self.id()).into();
            }
            if is_behind && let Some(text) = self.read_log().await {
                return text;
            }
        }
    }

    /// Reads the next part of the log; none if nothing in it is wanted.
    async fn read_log(&mut self) -> Option<Bytes> {
        let looked_at = Instant::now();
        let (filter, position) = (self.place.filter(), self.place.listener().position());
        match self.service.store.changes(position, filter, write_event).await {
            Ok(Changes { text, last, more, .. }) => {
                self.place.listener().go_on(last);
                self.look_at = if more { looked_at } else { looked_at + LOOK_INTERVAL };
                (!text.is_empty()).then(|| text.into())
            }
            Err(StoreError::Overloaded) => {
                self.look_at = looked_at + LOOK_INTERVAL;
                None
            }
            Err(error) => Some(self.end("unavailable", &Problem::from(error).to_string())),
        }
    }

    /// The last event.
    fn end(&mut self, reason: &str, detail: &str) -> Bytes {
        self.ended = true;
        let id = self.id();
        let detail = format!("{detail} Come again with `Last-Event-ID: {id}`.");
        let head = format!("id: {id}\nevent: end\ndata: ");
        let mut json = Json::behind(head.into_bytes());
        json.raw(r#"{"reason":"#).text(reason).raw(r#","detail":"#).text(&detail).raw("}\n\n");
        json.finish().into()
    }
}

/// Adds a change as an event. JSON has no line break, so that one line holds it.
fn write_event(text: &mut Vec<u8>, change: &Change<'_>) {
    // Writing to memory cannot fail.
    let _written = write!(text, "id: {}\nevent: change\ndata: ", change.id);
    view::add_change(text, change);
    text.extend_from_slice(b"\n\n");
}
