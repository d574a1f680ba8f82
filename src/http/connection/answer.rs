//! Writes an answer, and closes a connection that cannot be used again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_http::body::{BodySize, MessageBody};
use actix_http::{ConnectionType, Method, Request, Response, Version};
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Bytes;

use super::registry::Phase;
use super::serve::Connection;
use super::timer::Timer;

/// A client that takes less than [`TAKEN_BYTES`] in this time while more waits for it is given up.
pub(super) const TAKING_TIME: Duration = Duration::from_mins(1);
/// Bytes that a client takes in [`TAKING_TIME`] at least.
const TAKEN_BYTES: u64 = 64 << 10;
/// Time that the client of a closed connection has to close its side.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What of a request decides how its answer is framed.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    is_head: bool,
    has_chunks: bool,
    closes: bool,
}

impl Framing {
    /// Framing of the answer to this request.
    pub(super) fn of(request: &Request) -> Self {
        let head = request.head();
        Self {
            is_head: head.method == Method::HEAD,
            has_chunks: head.version > Version::HTTP_10,
            // What comes behind it is no HTTP.
            closes: head.method == Method::CONNECT,
        }
    }

    /// Framing of an answer behind which nothing can be read.
    pub(super) const LAST: Self = Self { is_head: false, has_chunks: true, closes: true };
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Next,
    /// The end of the connection, in order.
    Close,
    /// Nothing: the client is gone, or the answer broke off.
    Gone,
}

/// Writes an answer.
pub(super) async fn send<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    answer: Response<B>,
    framing: Framing,
) -> After {
    let (mut head, body) = answer.into_parts();
    let is_drained = poll_fn(|cx| Poll::Ready(connection.link.borrow_mut().drain(cx))).await;
    let mut closes = framing.closes || !is_drained;
    let size = match body.size() {
        // HEAD states the length that GET would have, or none. An empty body here is one that was not made.
        BodySize::Stream | BodySize::Sized(0) if framing.is_head => BodySize::None,
        BodySize::Stream if !framing.has_chunks => {
            head.head_mut().no_chunking(true);
            closes = true;
            BodySize::Stream
        }
        size @ (BodySize::None | BodySize::Sized(_) | BodySize::Stream) => size,
    };
    if closes {
        head.head_mut().set_connection_type(ConnectionType::Close);
    }
    // Such a stream has no end of its own, so a client that has closed its side is gone.
    let is_endless = head.headers().get(CONTENT_TYPE).is_some_and(|of| of == "text/event-stream");
    head.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let Ok(alive) = connection.link.borrow_mut().encode_head(head, size) else {
        return After::Gone;
    };
    let is_written = framing.is_head
        || match size {
            BodySize::None => true,
            BodySize::Sized(length) => send_sized(connection, timer, body, length).await,
            BodySize::Stream => send_stream(connection, timer, body, is_endless).await,
        };
    if !is_written || !flush(connection, timer).await {
        return After::Gone;
    }
    if alive && !closes { After::Next } else { After::Close }
}

/// Writes a body of a stated length; says whether all of it was written.
async fn send_sized<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    body: B,
    length: u64,
) -> bool {
    let mut body = pin!(body);
    let mut left = length;
    while left > 0 {
        let Ok(Some(chunk)) = next_chunk(connection, body.as_mut(), false).await else {
            return false;
        };
        let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        let Some(rest) = left.checked_sub(bytes) else { return false };
        left = rest;
        connection.link.borrow_mut().add(chunk);
        if !flush_if_full(connection, timer).await {
            return false;
        }
    }
    true
}

/// Writes a body of unknown length; says whether all of it was written.
async fn send_stream<B: MessageBody>(
    connection: &Connection,
    timer: &mut Timer,
    body: B,
    is_endless: bool,
) -> bool {
    let mut body = pin!(body);
    loop {
        let chunk = next_chunk(connection, body.as_mut(), is_endless).await;
        let Ok(chunk) = chunk else { return false };
        let is_last = chunk.is_none();
        if connection.link.borrow_mut().encode_chunk(chunk).is_err() {
            return false;
        }
        if is_last {
            return true;
        }
        if !flush_if_full(connection, timer).await {
            return false;
        }
    }
}

/// Next bytes of a body, none at its end; meanwhile writes what there is. An error is the end of the
/// connection. A chunk is never empty: an empty one would be the end for the client.
async fn next_chunk<B: MessageBody>(
    connection: &Connection,
    mut body: Pin<&mut B>,
    is_endless: bool,
) -> Result<Option<Bytes>, ()> {
    poll_fn(|cx| {
        loop {
            match body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                Poll::Ready(Some(Ok(chunk))) => return Poll::Ready(Ok(Some(chunk))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => {
                    let error: Box<dyn std::error::Error> = error.into();
                    tracing::warn!(%error, "an answer broke off");
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
        let is_gone = link.look_ahead(cx).is_err() || (is_endless && link.has_ended());
        if is_gone { Poll::Ready(Err(())) } else { Poll::Pending }
    })
    .await
}

async fn flush_if_full(connection: &Connection, timer: &mut Timer) -> bool {
    let is_full = connection.link.borrow().is_full();
    !is_full || flush(connection, timer).await
}

/// Writes all that is encoded; says whether the client took it.
async fn flush(connection: &Connection, timer: &mut Timer) -> bool {
    let mut begun: Option<(Instant, u64)> = None;
    poll_fn(|cx| {
        let mut link = connection.link.borrow_mut();
        if let Poll::Ready(written) = link.poll_flush(cx) {
            return Poll::Ready(written.is_ok());
        }
        loop {
            let (since, before) = *begun.get_or_insert_with(|| (Instant::now(), link.written()));
            if !timer.has_passed(since + connection.taking_time, cx) {
                return Poll::Pending;
            }
            if is_too_slow(link.written() - before) {
                return Poll::Ready(false);
            }
            begun = None;
        }
    })
    .await
}

/// Whether a client that took so many bytes in [`TAKING_TIME`] is given up.
fn is_too_slow(taken_bytes: u64) -> bool {
    taken_bytes < TAKEN_BYTES
}

/// Ends a connection in order: all answers are written.
///
/// To close a socket with unread bytes resets the connection, and the client may lose the answer. So the
/// client gets some time to read it and to close its side.
pub(super) async fn close(connection: &Connection, timer: &mut Timer, is_broken: bool) {
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
        member.wakes(cx.waker());
        if connection.link.borrow_mut().poll_discard(cx).is_ready()
            || member.is_asked_to_leave()
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
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};

    use actix_http::ServiceConfig;
    use actix_http::body::{BodyStream, BoxBody, SizedStream};
    use actix_web::rt::net::TcpStream as Io;
    use futures_util::stream;
    use tokio::time::timeout;

    use super::super::link::Link;
    use super::super::registry::Registry;
    use super::*;
    use crate::budget::{MemoryBudget, Share};

    /// Time after which a test fails because a client is not given up.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_client_that_takes_64_kib_in_each_time_is_not_too_slow() {
        assert!(is_too_slow(0) && is_too_slow((64 << 10) - 1));
        assert!(!is_too_slow(64 << 10));
    }

    #[actix_web::test]
    async fn an_answer_that_is_not_taken_ends_and_gives_its_memory_back() {
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
                member: Registry::of_this_thread(1).enter(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                taking_time: Duration::from_millis(10),
            };
            let mut timer = Timer::new(Instant::now());
            let framing = Framing { is_head: false, has_chunks: true, closes: false };
            let answer = Response::ok().set_body(body);
            let sent = timeout(PATIENCE, send(&connection, &mut timer, answer, framing)).await;
            assert_eq!(sent.unwrap(), After::Gone);
            assert_eq!(budget.reserved(Share::Answers), 0);
        }
    }
}
