//! Connection loop: read a request, call the service, write the answer.

use std::cell::{Cell, RefCell};
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

use super::answer::{After, Framing, PROGRESS_WINDOW, close, send};
use super::body::Body;
use super::link::Link;
use super::registry::{Member, Phase, Registry};
use super::state::Connection;
use super::timer::Timer;
use crate::http::problem::Problem;

/// Time limit for a request's head from its first byte, and for the first byte of a new connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of an idle connection after an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// State shared by all connections of a worker.
pub(crate) struct Worker {
    /// Settings of the codec.
    pub(crate) config: ServiceConfig,
    /// Registry of the worker's connections.
    pub(crate) registry: Rc<Registry>,
}

/// Answer to a request.
pub(crate) struct Answer<B> {
    pub(crate) response: Response<B>,
    /// Whether anyone gets this answer without a credential.
    pub(crate) is_public: bool,
}

/// Serves one connection until it is closed.
pub(crate) async fn serve<A, B>(
    worker: &Worker,
    io: TcpStream,
    peer: Option<SocketAddr>,
    call: impl Fn(Request) -> A,
) where
    A: Future<Output = Answer<B>>,
    B: MessageBody,
{
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let connection = Rc::new(Connection {
        link: RefCell::new(Link::new(io, &worker.config)),
        member: worker.registry.register(address),
        is_public: Cell::new(true),
        progress_window: PROGRESS_WINDOW,
    });
    let mut wait = Wait::first();
    let mut timer = Timer::new(wait.deadline);
    loop {
        let next = poll_fn(|cx| wait.poll_next(&connection, &mut timer, cx)).await;
        let mut request = match next {
            Next::Request(request) => request,
            Next::Reject(problem) => {
                connection.link.borrow_mut().discard_input();
                connection.is_public.set(true);
                let answer = Response::from(problem.response());
                if send(&connection, &mut timer, answer, Framing::FINAL).await != After::Gone {
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
        let Some(answer) = wait_for_answer(&connection, call(request)).await else { return };
        connection.is_public.set(answer.is_public);
        match send(&connection, &mut timer, answer.response, framing).await {
            After::Next => {}
            After::Close => return close(&connection, &mut timer, false).await,
            After::Gone => return,
        }
        connection.member.wait_for(Phase::Head);
        wait = Wait::idle();
    }
}

/// Waits for the service's answer; `None` if the client is gone, or the connection must close before its body
/// has arrived.
async fn wait_for_answer<B>(
    connection: &Connection,
    answer: impl Future<Output = Answer<B>>,
) -> Option<Answer<B>> {
    let mut answer = pin!(answer);
    let member = &connection.member;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            member.end_wait();
            member.cancel_close_request();
            return Poll::Ready(Some(answer));
        }
        if member.must_close() && member.phase() != Phase::Answer {
            return Poll::Ready(None);
        }
        match connection.link.borrow_mut().read_ahead(cx) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// Next step of a connection that waited for a request.
enum Next {
    Request(Request),
    Reject(Problem),
    Close,
}

/// Wait for the next request's head.
struct Wait {
    deadline: Instant,
    has_started: bool,
}

impl Wait {
    /// Wait of a new connection.
    fn first() -> Self {
        Self { deadline: Instant::now() + HEAD_TIMEOUT, has_started: false }
    }

    /// Wait after an answer.
    fn idle() -> Self {
        Self { deadline: Instant::now() + IDLE_TIMEOUT, has_started: false }
    }

    fn poll_next(
        &mut self,
        connection: &Connection,
        timer: &mut Timer,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let Connection { link, member, .. } = connection;
        let mut link = link.borrow_mut();
        loop {
            if let Some(next) = Self::read(&mut link, member, cx) {
                if !matches!(next, Next::Close) {
                    member.start_request();
                }
                return Poll::Ready(next);
            }
            if link.unread() > 0 && !self.has_started {
                self.has_started = true;
                self.deadline = Instant::now() + HEAD_TIMEOUT;
                member.start_head();
            }
            member.charge(link.shrink_input());
            member.set_waker(cx.waker());
            if !member.must_close() && !timer.has_passed(self.deadline, cx) {
                return Poll::Pending;
            }
            // All available bytes are read before the limit is applied.
            if link.read_directly() {
                continue;
            }
            if self.has_started && !member.must_close() {
                member.start_request();
                return Poll::Ready(reject(StatusCode::REQUEST_TIMEOUT));
            }
            return Poll::Ready(Next::Close);
        }
    }

    /// Reads until a request is complete or no more input is available.
    fn read(link: &mut Link, member: &Member, cx: &mut Context<'_>) -> Option<Next> {
        loop {
            let before = link.unread();
            match link.next_head() {
                // A large head may be completed by the first read that passes the limit.
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
            if member.must_wait_to_read(cx.waker()) {
                return None;
            }
            match link.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Some(Next::Close),
                Poll::Pending => return None,
            }
        }
    }
}

fn reject(status: StatusCode) -> Next {
    Next::Reject(Problem::Protocol(status))
}
