//! The loop of a connection: read a request, call the service, write the answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::body::MessageBody;
use actix_http::error::ParseError;
use actix_http::{Payload, Request, Response, ServiceConfig, StatusCode};
use actix_web::rt::net::TcpStream;

use super::super::problem::Problem;
use super::answer::{After, Framing, TAKING_TIME, close, send};
use super::body::Body;
use super::link::Link;
use super::registry::{Member, Phase, Registry};
use super::timer::Timer;
use crate::budget::{MemoryBudget, Reservation, Share};

/// Time that a request's head may take from its first byte, and a new connection until its first byte.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Time that a connection may be idle after an answer.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// A head has at most this many bytes.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// What all connections of a worker share.
pub(crate) struct Worker {
    /// Settings of the codec, with the date that it writes.
    pub(crate) config: ServiceConfig,
    /// The worker's connections.
    pub(crate) registry: Rc<Registry>,
    /// Memory that unfinished heads may hold.
    pub(crate) budget: MemoryBudget,
}

/// One connection.
pub(super) struct Connection {
    /// Socket and buffers.
    pub(super) link: RefCell<Link>,
    /// Place in the registry.
    pub(super) member: Rc<Member>,
    /// Time in which a client must take a part of its answer.
    pub(super) taking_time: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.member.leave();
    }
}

/// Serves one connection until it is closed.
pub(crate) async fn serve<A, B>(
    worker: &Worker,
    io: TcpStream,
    peer: Option<SocketAddr>,
    call: impl Fn(Request) -> A,
) where
    A: Future<Output = Response<B>>,
    B: MessageBody,
{
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let connection = Rc::new(Connection {
        link: RefCell::new(Link::new(io, &worker.config)),
        member: worker.registry.enter(address),
        taking_time: TAKING_TIME,
    });
    let mut wait = Wait::first();
    let mut timer = Timer::new(wait.deadline);
    loop {
        let next = poll_fn(|cx| wait.poll_next(&connection, worker, &mut timer, cx)).await;
        let mut request = match next {
            Next::Request(request) => request,
            Next::Reject(problem) => {
                let answer = Response::from(problem.response());
                if send(&connection, &mut timer, answer, Framing::LAST).await != After::Gone {
                    close(&connection, &mut timer, true).await;
                }
                return;
            }
            Next::Close => return,
        };
        request.head_mut().peer_addr = peer;
        let framing = Framing::of(&request);
        if connection.link.borrow().has_body() {
            *request.payload() = Payload::Stream { payload: Box::pin(Body::new(&connection)) };
        }
        let Some(answer) = answered(&connection, call(request)).await else { return };
        match send(&connection, &mut timer, answer, framing).await {
            After::Next => {}
            After::Close => return close(&connection, &mut timer, false).await,
            After::Gone => return,
        }
        connection.link.borrow_mut().rest();
        connection.member.wait_for(Phase::Head);
        wait = Wait::idle();
    }
}

/// Waits for the service's answer; none if the client is gone, or must leave before its body came.
async fn answered<B>(
    connection: &Connection,
    answer: impl Future<Output = Response<B>>,
) -> Option<Response<B>> {
    let mut answer = pin!(answer);
    let member = &connection.member;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            member.set_phase(Phase::Answer);
            member.stay();
            return Poll::Ready(Some(answer));
        }
        if member.is_asked_to_leave() && member.phase() == Phase::Body {
            return Poll::Ready(None);
        }
        match connection.link.borrow_mut().look_ahead(cx) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// What a connection that waited for a request does next.
enum Next {
    Request(Request),
    Reject(Problem),
    Close,
}

/// Wait for the next request's head.
struct Wait {
    deadline: Instant,
    has_begun: bool,
    /// Memory of the unfinished head.
    held: Option<Reservation>,
}

impl Wait {
    /// Wait of a new connection.
    fn first() -> Self {
        Self { deadline: Instant::now() + HEAD_TIME, has_begun: false, held: None }
    }

    /// Wait after an answer.
    fn idle() -> Self {
        Self { deadline: Instant::now() + IDLE_TIME, has_begun: false, held: None }
    }

    fn poll_next(
        &mut self,
        connection: &Connection,
        worker: &Worker,
        timer: &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let Connection { link, member, .. } = connection;
        let mut link = link.borrow_mut();
        loop {
            if let Some(next) = Self::read(&mut link, cx) {
                if matches!(next, Next::Request(_)) {
                    self.held = None;
                    member.set_phase(Phase::Answer);
                    member.stay();
                }
                return Poll::Ready(next);
            }
            if link.unread() > 0 && !self.has_begun {
                self.has_begun = true;
                self.deadline = Instant::now() + HEAD_TIME;
            }
            if !self.holds(link.unread(), worker) {
                return Poll::Ready(Next::Reject(Problem::Unavailable(
                    "Too many requests have unfinished headers. Try again.",
                )));
            }
            member.wakes(cx.waker());
            if !member.is_asked_to_leave() && !timer.has_passed(self.deadline, cx) {
                return Poll::Pending;
            }
            // Before the limit is judged, all that is available is read.
            if link.read_directly() {
                continue;
            }
            if self.has_begun && !member.is_asked_to_leave() {
                return Poll::Ready(reject(StatusCode::REQUEST_TIMEOUT));
            }
            return Poll::Ready(Next::Close);
        }
    }

    /// Reads until a request is complete or nothing more is there.
    fn read(link: &mut Link, cx: &mut Context<'_>) -> Option<Next> {
        loop {
            let before = link.unread();
            match link.next_head() {
                // A large head may be complete with the first read that passes the limit.
                Ok(Some(_)) if before - link.unread() > MAX_HEAD_BYTES => {
                    return Some(reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
                }
                Ok(Some(request)) => return Some(Next::Request(request)),
                Ok(None) if link.unread() > MAX_HEAD_BYTES => {
                    return Some(reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
                }
                Ok(None) => {}
                Err(ParseError::TooLarge) => {
                    return Some(reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
                }
                Err(_) => return Some(reject(StatusCode::BAD_REQUEST)),
            }
            match link.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Some(Next::Close),
                Poll::Pending => return None,
            }
        }
    }

    /// Reserves memory for an unfinished head of so many bytes; says whether there is some.
    fn holds(&mut self, bytes: usize, worker: &Worker) -> bool {
        match &mut self.held {
            None if bytes == 0 => true,
            None => {
                self.held = worker.budget.reserve(Share::Heads, bytes).ok();
                self.held.is_some()
            }
            Some(held) => held.grow(bytes.saturating_sub(held.bytes())).is_ok(),
        }
    }
}

fn reject(status: StatusCode) -> Next {
    Next::Reject(Problem::Protocol(status))
}
