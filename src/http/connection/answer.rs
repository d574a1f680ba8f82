//! Answers: writes an answer, and closes a connection that cannot be reused.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_http::body::{BodySize, MessageBody};
use actix_http::{ConnectionType, Method, Request, Response, Version};
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Bytes;

use super::link::READ_BYTES;
use super::registry::Phase;
use super::state::Connection;
use super::timer::Timer;

/// Time in which a client must take [`MIN_PROGRESS_BYTES`] of an answer while more waits for it; otherwise
/// the connection is closed.
pub(crate) const PROGRESS_WINDOW: Duration = Duration::from_mins(1);
/// Minimum number of bytes that a client must take in [`PROGRESS_WINDOW`].
const MIN_PROGRESS_BYTES: u64 = 64 << 10;
/// Bytes written at a time while more follow.
const WRITE_CHUNK_BYTES: usize = 32 << 10;
/// Time for the client to close its side after the last answer.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Properties of a request that decide the framing of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Framing {
    is_head: bool,
    allows_chunked: bool,
    closes: bool,
}

impl Framing {
    /// Framing of the answer to this request.
    pub(crate) fn of(request: &Request) -> Self {
        let head = request.head();
        Self {
            is_head: head.method == Method::HEAD,
            allows_chunked: head.version > Version::HTTP_10,
            // After CONNECT the connection no longer carries HTTP.
            closes: head.method == Method::CONNECT,
        }
    }

    /// Framing of the last answer on a connection, whose further input cannot be read.
    pub(crate) const FINAL: Self = Self { is_head: false, allows_chunked: true, closes: true };
}

/// State of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    Next,
    /// The connection is to be closed in order.
    Close,
    /// The client is gone, or the answer broke off.
    Gone,
}

/// Writes an answer and drains the request's unread body.
pub(crate) async fn send<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    answer: Response<B>,
    framing: Framing,
) -> After {
    let (mut head, body) = answer.into_parts();
    let is_drained = poll_fn(|cx| Poll::Ready(connection.link.borrow_mut().drain(cx))).await;
    let mut closes = framing.closes || !is_drained;
    let size = match body.size() {
        // HEAD states the length that GET would have, or none. An empty body here is one that was not
        // created.
        BodySize::Stream | BodySize::Sized(0) if framing.is_head => BodySize::None,
        BodySize::Stream if !framing.allows_chunked => {
            head.head_mut().no_chunking(true);
            closes = true;
            BodySize::Stream
        }
        size @ (BodySize::None | BodySize::Sized(_) | BodySize::Stream) => size,
    };
    if closes {
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    // An event stream has no end of its own, so a client that has closed its side is gone.
    let is_event_stream =
        head.headers().get(CONTENT_TYPE).is_some_and(|of| of == "text/event-stream");
    head.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let Ok(alive) = connection.link.borrow_mut().encode_head(head, size) else {
        return After::Gone;
    };
    let is_written = framing.is_head
        || match size {
            BodySize::None => true,
            BodySize::Sized(length) => send_sized(connection, timer, body, length).await,
            BodySize::Stream => send_stream(connection, timer, body, is_event_stream).await,
        };
    if !is_written || !flush(connection, timer).await {
        return After::Gone;
    }
    if alive && !closes { After::Next } else { After::Close }
}

/// Writes a body of known length; returns whether all of it was written.
async fn send_sized<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    body: B,
    length: u64,
) -> bool {
    let mut body = pin!(body);
    let mut remaining = length;
    while remaining > 0 {
        let Ok(Some(chunk)) = next_chunk(connection, body.as_mut(), false).await else {
            return false;
        };
        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let Some(rest) = remaining.checked_sub(bytes) else { return false };
        remaining = rest;
        connection.link.borrow_mut().add(chunk);
        if !flush_if_full(connection, timer, WRITE_CHUNK_BYTES).await {
            return false;
        }
    }
    true
}

/// Writes a body of unknown length; returns whether all of it was written.
async fn send_stream<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    body: B,
    is_event_stream: bool,
) -> bool {
    let mut body = pin!(body);
    // Thousands of event streams may wait for their clients, each with its unwritten bytes.
    let write_chunk_bytes = if is_event_stream { READ_BYTES } else { WRITE_CHUNK_BYTES };
    loop {
        let chunk = next_chunk(connection, body.as_mut(), is_event_stream).await;
        let Ok(chunk) = chunk else { return false };
        let is_last = chunk.is_none();
        if connection.link.borrow_mut().encode_chunk(chunk).is_err() {
            return false;
        }
        if is_last {
            return true;
        }
        if !flush_if_full(connection, timer, write_chunk_bytes).await {
            return false;
        }
    }
}

/// Next chunk of a body, `None` at its end; meanwhile encoded bytes are written. An error means that the
/// connection has ended. A chunk is never empty: an empty one would end the body for the client.
async fn next_chunk<B: MessageBody>(
    connection: &Connection,
    mut body: Pin<&mut B>,
    is_event_stream: bool,
) -> Result<Option<Bytes>, ()> {
    poll_fn(|cx| {
        loop {
            match body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                Poll::Ready(Some(Ok(chunk))) => return Poll::Ready(Ok(Some(chunk))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    let error: Box<dyn std::error::Error> = error.into();
                    tracing::warn!(%error, "a response ended early");
                    return Poll::Ready(Err(()));
                }
                Poll::Pending => break,
            }
        }
        let mut link = connection.link.borrow_mut();
        match link.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let is_gone = link.read_ahead(cx).is_err() || (is_event_stream && link.has_ended());
        if is_gone { Poll::Ready(Err(())) } else { Poll::Pending }
    })
    .await
}

async fn flush_if_full(connection: &Connection, timer: &mut Timer, bytes: usize) -> bool {
    let is_full = connection.link.borrow().is_full(bytes);
    !is_full || flush(connection, timer).await
}

/// Writes all encoded bytes; returns whether the client took them.
async fn flush(connection: &Connection, timer: &mut Timer) -> bool {
    let mut window_start: Option<(Instant, u64)> = None;
    let member = &connection.member;
    poll_fn(|cx| {
        let mut link = connection.link.borrow_mut();
        if let Poll::Ready(written) = link.poll_flush(cx) {
            member.end_wait();
            return Poll::Ready(written.is_ok());
        }
        if connection.is_public.get() {
            member.set_waker(cx.waker());
            member.wait_for(Phase::PublicAnswer);
            if member.must_close() {
                return Poll::Ready(false);
            }
        }
        loop {
            let (since, before) =
                *window_start.get_or_insert_with(|| (Instant::now(), link.written()));
            if !timer.has_passed(since + connection.progress_window, cx) {
                return Poll::Pending;
            }
            if is_too_slow(link.written() - before) {
                return Poll::Ready(false);
            }
            window_start = None;
        }
    })
    .await
}

/// Whether a client that took this many bytes in [`PROGRESS_WINDOW`] is too slow to be kept.
fn is_too_slow(taken_bytes: u64) -> bool {
    taken_bytes < MIN_PROGRESS_BYTES
}

/// Closes a connection in order, after all answers are written.
///
/// Closing a socket with unread bytes resets the connection, and the client may lose the answer. So the
/// client gets [`LINGER_TIME`] to read it and to close its side.
pub(crate) async fn close(connection: &Connection, timer: &mut Timer, is_broken: bool) {
    let is_clean = {
        let link = connection.link.borrow();
        !is_broken && !link.has_body() && link.unread() == 0
    };
    let shut = poll_fn(|cx| connection.link.borrow_mut().poll_shutdown(cx)).await;
    if is_clean || shut.is_err() {
        return;
    }
    let member = &connection.member;
    member.wait_for(Phase::Head);
    let deadline = Instant::now() + LINGER_TIME;
    poll_fn(|cx| {
        member.set_waker(cx.waker());
        if connection.link.borrow_mut().poll_discard(cx).is_ready()
            || member.must_close()
            || timer.has_passed(deadline, cx)
        {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::convert::Infallible;
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

    use actix_http::ServiceConfig;
    use actix_http::body::{BodyStream, BoxBody, SizedStream};
    use actix_web::rt::net::TcpStream as Io;
    use futures_util::stream;
    use tokio::time::timeout;

    use super::super::link::Link;
    use super::super::registry::{Limits, Registry};
    use super::*;
    use crate::memory_budget::{MemoryBudget, Share};

    /// Timeout of the test, reached if a slow client is not disconnected.
    const TEST_TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn a_client_that_reads_64_kib_per_minute_is_not_too_slow() {
        assert!(is_too_slow(0) && is_too_slow((64 << 10) - 1));
        assert!(!is_too_slow(64 << 10));
    }

    #[actix_web::test]
    async fn an_unread_answer_ends_and_releases_its_memory() {
        let budget = MemoryBudget::default();
        for is_sized in [false, true] {
            let charged = budget.reserve(Share::Answers, 1 << 20).unwrap();
            let pieces = Box::pin(stream::unfold(charged, async |charged| {
                Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 << 10])), charged))
            }));
            let body = if is_sized {
                BoxBody::new(SizedStream::new(u64::MAX, pieces))
            } else {
                BoxBody::new(BodyStream::new(pieces))
            };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            // Its client never reads.
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (io, _peer) = listener.accept().unwrap();
            io.set_nonblocking(true).unwrap();
            let connection = Connection {
                link: RefCell::new(Link::new(Io::from_std(io).unwrap(), &ServiceConfig::default())),
                member: Registry::of_this_thread(
                    Limits { connections: 1, head_bytes: 1 },
                    budget.reservation(Share::Heads),
                )
                .register(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                is_public: Cell::new(false),
                progress_window: Duration::from_millis(10),
            };
            let mut timer = Timer::new(Instant::now());
            let framing = Framing { is_head: false, allows_chunked: true, closes: false };
            let answer = Response::ok().set_body(body);
            let sent = timeout(TEST_TIMEOUT, send(&connection, &mut timer, answer, framing)).await;
            assert_eq!(sent.unwrap(), After::Gone);
            assert_eq!(budget.reserved(Share::Answers), 0);
        }
    }
}
