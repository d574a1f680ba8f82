//! Request bodies: read within the memory budget and the time limit, or drained.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::ConnectionType;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::select;
use tokio::time::timeout;

use super::pending_bodies::{Evicted, Group, WaitingBodies};
use crate::http::app_state::Service;
use crate::http::auth;
use crate::http::connection::SenderBody;
use crate::http::problem::Problem;
use crate::ingest::{Body, Rejection};
use crate::memory_budget::{Reservation, Share};
use crate::metrics::RejectReason;

/// Time limit for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of bytes of an unwanted body that are drained, so that the connection can be reused.
const MAX_DRAINED_BYTES: usize = 256 << 10;

/// Body as a stream of chunks.
pub(crate) trait Chunks: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin {}
impl<T: Stream<Item = Result<web::Bytes, PayloadError>> + Unpin> Chunks for T {}

/// Rejection of a request whose body was not read, and whether its connection can be reused.
pub(crate) struct BodyRejection {
    pub(crate) reason: RejectReason,
    problem: Problem,
    reusable: bool,
}

impl BodyRejection {
    fn closing(reason: RejectReason, problem: Problem) -> Self {
        Self { reason, problem, reusable: false }
    }

    fn overloaded() -> Self {
        Self::closing(Rejection::Overloaded.reason(), Rejection::Overloaded.into())
    }

    /// Creates the response; it closes the connection unless the connection can be reused.
    pub(crate) fn response(&self) -> HttpResponse {
        let mut response = self.problem.response();
        if !self.reusable {
            close(&mut response);
        }
        response
    }
}

/// Rejects a request whose body was not read, and drains the body.
pub(crate) async fn reject_unread(problem: Problem, mut payload: impl Chunks) -> HttpResponse {
    let mut response = problem.response();
    if !drain(&mut payload).await {
        close(&mut response);
    }
    response
}

/// Sender of a body.
#[derive(Clone, Copy)]
pub(crate) enum Sender<'a> {
    /// Sender with a credential of this source or this API key.
    Verified(&'a str),
    /// Sender of this request, unverified: its body is needed for verification, or nothing verifies it.
    Unverified(&'a HttpRequest),
}

/// Reads a body of at most `max_bytes` bytes, within the time limit and its share of the memory budget.
pub(crate) async fn read_body(
    service: &Service,
    sender: Sender<'_>,
    payload: Payload,
    max_bytes: usize,
) -> Result<Body, BodyRejection> {
    let mut payload = SenderBody::new(payload, matches!(sender, Sender::Verified(_)));
    let (share, waiting_bodies) = match sender {
        Sender::Verified(_) => (Share::Bodies, &service.verified_bodies),
        Sender::Unverified(_) => (Share::UnverifiedBodies, &service.unverified_bodies),
    };
    let read = async {
        let reservation =
            service.budget.reserve(share, 0).map_err(|_full| BodyRejection::overloaded())?;
        let mut partial =
            PartialBody { service, sender, waiting_bodies, reservation, number: None };
        let mut content = Vec::new();
        while let Some(chunk) = partial.next(&mut payload).await? {
            let chunk = chunk.map_err(|_broken| {
                let detail = "The body ended before it was complete.";
                BodyRejection::closing(RejectReason::Body, Problem::BadRequest(detail.to_owned()))
            })?;
            if content.len() + chunk.len() > max_bytes {
                drop(partial);
                let reusable = drain(&mut payload).await;
                let (reason, problem) = (RejectReason::TooLarge, Problem::TooLarge { max_bytes });
                return Err(BodyRejection { reason, problem, reusable });
            }
            partial.grow(chunk.len())?;
            if content.capacity() - content.len() < chunk.len() {
                // No doubling, which could take twice the memory that is reserved for the body.
                content.reserve_exact(chunk.len().max(content.len() / 4));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Body { content, bytes: partial.reservation })
    };
    timeout(BODY_TIMEOUT, read).await.unwrap_or_else(|_elapsed| {
        let detail = "The body arrived too slowly. Nothing was stored; try again.";
        Err(BodyRejection::closing(RejectReason::Body, Problem::Unavailable(detail)))
    })
}

/// Body in progress, with the memory reserved for it.
struct PartialBody<'a> {
    service: &'a Service,
    sender: Sender<'a>,
    waiting_bodies: &'a WaitingBodies,
    reservation: Reservation,
    /// Sequence number among the waiting bodies, once the body had to wait.
    number: Option<u64>,
}

impl PartialBody<'_> {
    /// Next chunk. The bytes received so far may be evicted while the rest is awaited.
    async fn next(
        &mut self,
        payload: &mut SenderBody<Payload>,
    ) -> Result<Option<Result<web::Bytes, PayloadError>>, BodyRejection> {
        if self.reservation.bytes() == 0 {
            return Ok(payload.next().await);
        }
        if let Some(chunk) = payload.next().now_or_never() {
            return Ok(chunk);
        }
        let group = match self.sender {
            Sender::Verified(name) => Group::Verified(name.to_owned()),
            Sender::Unverified(request) => Group::for_client(auth::client(
                self.service,
                request.peer_addr(),
                request.headers(),
            )),
        };
        let reservation = self.reservation.split();
        let waiting = self.waiting_bodies.wait(&mut self.number, group, reservation);
        let chunk = select! {
            biased;
            () = waiting.evicted() => None,
            chunk = payload.next() => Some(chunk),
        };
        self.reservation = waiting.resume().map_err(|Evicted| BodyRejection::overloaded())?;
        chunk.ok_or_else(BodyRejection::overloaded)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), BodyRejection> {
        while self.reservation.grow(bytes).is_err() {
            if !self.waiting_bodies.evict() {
                // A body larger than the whole share is read if it is the only one.
                return self
                    .reservation
                    .grow_or_alone(bytes)
                    .map_err(|_full| BodyRejection::overloaded());
            }
        }
        Ok(())
    }
}

/// Drains an unwanted body; returns whether its end was reached.
async fn drain(payload: &mut impl Chunks) -> bool {
    let read = async {
        let mut length = 0;
        while let Some(chunk) = payload.next().await {
            length += chunk.map_or(MAX_DRAINED_BYTES + 1, |chunk| chunk.len());
            if length > MAX_DRAINED_BYTES {
                return false;
            }
        }
        true
    };
    timeout(BODY_TIMEOUT, read).await.unwrap_or(false)
}

fn close(response: &mut HttpResponse) {
    response.head_mut().set_connection_type(ConnectionType::Close);
}
