//! `GET /api/events`: every change of a record as a server-sent event, in the order of the commits.
//!
//! Each client has a place in the log and reads on from there when it has taken what it was given, so that a
//! slow one costs nobody anything but its connection. The format is that of the HTML standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

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

use super::problem::Problem;
use super::query;
use super::state::Service;
use super::view;
use super::written::Json;
use crate::store::news::Latest;
use crate::store::{Change, Changes, Filter, StoreError};

/// So often something is sent, also if there is nothing to tell.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is told to come again.
const SLOW: Duration = Duration::from_secs(10);
/// So long after a look at the log the next one comes at the earliest, unless there is more already.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// How soon a client should come again, in milliseconds.
const RETRY: &str = "1000";

/// Answers with the events that are wanted, from where the client was or from now on.
pub(crate) fn stream(
    service: &Data<Service>,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let filter = query::filter(request)?;
    let latest = service.store.latest_change();
    let given = latest.now();
    let last = last_event_id(request)?.unwrap_or(given);
    if last > given {
        return Err(Problem::BadRequest(format!(
            "`Last-Event-ID: {last}` is none that was given: the last one is {given}. If the database was \
             replaced by an older one, read the messages anew and come without this header."
        )));
    }
    let now = Instant::now();
    let feed = Feed {
        service: Data::clone(service),
        filter: Arc::new(filter),
        latest,
        last,
        first: true,
        look_at: now,
        beat_at: now + HEARTBEAT,
        given_at: now,
        ended: false,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let text = feed.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), feed))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Or nginx would hold events back until it has a buffer full of them.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(Box::pin(events)))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number @ 0..) => Ok(Some(number)),
        _ => Err(Problem::BadRequest(
            "`Last-Event-ID` is the `id` of the last event that was received, a whole number; 0 is \
             before the first one."
                .to_owned(),
        )),
    }
}

/// What one client is sent.
struct Feed {
    service: Data<Service>,
    filter: Arc<Filter>,
    latest: Latest,
    /// Up to here everything was sent that is wanted.
    last: i64,
    /// Whether nothing was sent yet.
    first: bool,
    /// When to look into the log at the earliest.
    look_at: Instant,
    /// When to send something in any case.
    beat_at: Instant,
    /// When the client was last given something.
    given_at: Instant,
    ended: bool,
}

impl Feed {
    /// What is sent next; none behind the last event.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let text = if mem::take(&mut self.first) {
            format!("retry: {RETRY}\nid: {}\n\n", self.last).into_bytes()
        } else if self.given_at.elapsed() > SLOW {
            self.end("slow", "Events were not read as fast as they came.")
        } else {
            self.text().await
        };
        self.given_at = Instant::now();
        self.beat_at = self.given_at + HEARTBEAT;
        Some(text)
    }

    /// Waits for events, or until it is time to send something in any case.
    async fn text(&mut self) -> Vec<u8> {
        loop {
            let news = async {
                self.latest.exceeds(self.last).await;
                sleep_until(self.look_at).await;
            };
            tokio::select! {
                () = self.service.ingest.closing.begins() => {
                    return self.end("closing", "The service is stopping.");
                }
                () = sleep_until(self.beat_at) => {
                    // With the place, so that it is not behind what was looked at without being wanted.
                    return format!(": nothing new\nid: {}\n\n", self.last).into_bytes();
                }
                () = news => {}
            }
            let looked_at = Instant::now();
            let filter = Arc::clone(&self.filter);
            match self.service.store.changes(self.last, filter, write_event).await {
                Ok(Changes { text, last, more }) => {
                    self.last = last;
                    self.look_at = if more { looked_at } else { looked_at + BETWEEN_LOOKS };
                    if !text.is_empty() {
                        return text;
                    }
                }
                Err(StoreError::Overloaded) => self.look_at = looked_at + BETWEEN_LOOKS,
                Err(error) => return self.end("unavailable", &Problem::from(error).to_string()),
            }
        }
    }

    /// The last event.
    fn end(&mut self, reason: &str, detail: &str) -> Vec<u8> {
        self.ended = true;
        let detail = format!("{detail} Come again with `Last-Event-ID: {}`.", self.last);
        let head = format!("id: {}\nevent: end\ndata: ", self.last);
        let mut json = Json::behind(head.into_bytes());
        json.raw(r#"{"reason":"#).text(reason).raw(r#","detail":"#).text(&detail).raw("}\n\n");
        json.finish()
    }
}

/// Adds a change as an event. JSON has no line break, so that one line holds it.
fn write_event(text: &mut Vec<u8>, change: &Change<'_>) {
    // Writing to memory cannot fail.
    let _written = write!(text, "id: {}\nevent: change\ndata: ", change.number);
    view::add_change(text, change);
    text.extend_from_slice(b"\n\n");
}
