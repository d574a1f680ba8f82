//! Request bodies: read within the memory budget and in time, or drained.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::select;
use tokio::time::timeout;

use super::auth;
use super::problem::Problem;
use super::state::Service;
use super::waiting_bodies::{Evicted, Group, WaitingBodies};
use crate::budget::{Reservation, Share};
use crate::ingest::{Body, Refusal};
use crate::metrics::Cause;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(5);
/// A body that is not wanted is read up to here, so that the connection can be used again.
const DRAINED: usize = 256 << 10;

/// A body as it arrives.
pub(crate) trait Chunks: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin {}
impl<T: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin> Chunks for T {}

/// Why a body was not read, and whether the connection is in a state to be used again.
pub(crate) struct Unread {
    pub(crate) cause: Cause,
    problem: Problem,
    reusable: bool,
}

impl Unread {
    fn closing(cause: Cause, problem: Problem) -> Self {
        Self { cause, problem, reusable: false }
    }

    fn overloaded() -> Self {
        Self::closing(Refusal::Overloaded.cause(), Refusal::Overloaded.into())
    }

    /// The answer that says so.
    pub(crate) fn response(&self) -> HttpResponse {
        let mut response = self.problem.response();
        if !self.reusable {
            close(&mut response);
        }
        response
    }
}

/// Refuses a request whose body was not read.
pub(crate) async fn refuse(problem: Problem, mut payload: impl Chunks) -> HttpResponse {
    let mut response = problem.response();
    if !drained(&mut payload).await {
        close(&mut response);
    }
    response
}

/// Who sends a body.
#[derive(Clone, Copy)]
pub(crate) enum Sender<'a> {
    /// Somebody with a credential of this source or this API key.
    Verified(&'a str),
    /// Whoever sent this request. Its body is needed to verify it, or nothing verifies it.
    Unverified(&'a HttpRequest),
}

/// Reads a body of at most so many bytes, in time and within its share of the budget.
pub(crate) async fn read_body(
    service: &Service,
    sender: Sender<'_>,
    mut payload: Payload,
    most: usize,
) -> Result<Body, Unread> {
    let (share, others) = match sender {
        Sender::Verified(_) => (Share::Bodies, &service.verified_bodies),
        Sender::Unverified(_) => (Share::UnverifiedBodies, &service.unverified_bodies),
    };
    let read = async {
        let room = service.ingest.budget.reserve(share, 0).map_err(|_full| Unread::overloaded())?;
        let mut held = Held { service, sender, others, room, place: None };
        let mut content = Vec::new();
        while let Some(chunk) = held.next(&mut payload).await? {
            let chunk = chunk.map_err(|_broken| {
                let detail = "The body ended before it was complete.";
                Unread::closing(Cause::Body, Problem::BadRequest(detail.to_owned()))
            })?;
            if content.len() + chunk.len() > most {
                drop(held);
                let reusable = drained(&mut payload).await;
                let (cause, problem) = (Cause::TooLarge, Problem::TooLarge { most });
                return Err(Unread { cause, problem, reusable });
            }
            held.grow(chunk.len())?;
            if content.capacity() - content.len() < chunk.len() {
                // Not twice as much, or a body would take twice of what is reserved for it.
                content.reserve_exact(chunk.len().max(content.len() / 4));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Body { content, bytes: held.room })
    };
    timeout(BODY_TIME, read).await.unwrap_or_else(|_elapsed| {
        let detail = "The body came too slowly. Nothing was stored; try again.";
        Err(Unread::closing(Cause::Body, Problem::Unavailable(detail)))
    })
}

/// Memory of a body that is being read.
struct Held<'a> {
    service: &'a Service,
    sender: Sender<'a>,
    others: &'a WaitingBodies,
    room: Reservation,
    /// Its place among the bodies that wait, once it had to.
    place: Option<u64>,
}

impl Held<'_> {
    /// The next chunk. What has been sent may be evicted while its rest is waited for.
    async fn next(
        &mut self,
        payload: &mut Payload,
    ) -> Result<Option<Result<web::Bytes, PayloadError>>, Unread> {
        if self.room.bytes() == 0 {
            return Ok(payload.next().await);
        }
        if let Some(chunk) = payload.next().now_or_never() {
            return Ok(chunk);
        }
        let group = match self.sender {
            Sender::Verified(name) => Group::Verified(name.to_owned()),
            Sender::Unverified(request) => Group::of_client(auth::client(self.service, request)),
        };
        let room = self.room.split();
        let waiting = self.others.wait(&mut self.place, group, room);
        let chunk = select! {
            biased;
            () = waiting.evicted() => None,
            chunk = payload.next() => Some(chunk),
        };
        self.room = waiting.go_on().map_err(|Evicted| Unread::overloaded())?;
        chunk.ok_or_else(Unread::overloaded)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Unread> {
        while self.room.grow(bytes).is_err() {
            if !self.others.evict() {
                // A body that is larger than the whole share is read when it is the only one.
                return self.room.grow_or_alone(bytes).map_err(|_full| Unread::overloaded());
            }
        }
        Ok(())
    }
}

/// Reads a body that is not wanted; says whether it came to its end.
async fn drained(payload: &mut impl Chunks) -> bool {
    let read = async {
        let mut length = 0;
        while let Some(chunk) = payload.next().await {
            length += chunk.map_or(DRAINED + 1, |chunk| chunk.len());
            if length > DRAINED {
                return false;
            }
        }
        true
    };
    timeout(BODY_TIME, read).await.unwrap_or(false)
}

fn close(response: &mut HttpResponse) {
    response.head_mut().set_connection_type(ConnectionType::Close);
}
