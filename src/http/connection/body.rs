//! Request body as a stream, read by the handler.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

use super::link::Piece;
use super::registry::Phase;
use super::sender;
use super::state::Connection;

/// Stream of a request's body; polling it reads from the socket.
pub(crate) struct Body {
    connection: Rc<Connection>,
    request: u64,
}

impl Body {
    /// Body of the connection's current request.
    pub(crate) fn new(connection: &Rc<Connection>) -> Self {
        let request = connection.link.borrow().request();
        Self { connection: Rc::clone(connection), request }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let Connection { link, member, .. } = &*self.connection;
        let mut link = link.borrow_mut();
        if link.request() != self.request {
            return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
        }
        loop {
            match link.next_piece() {
                Ok(Piece::Chunk(chunk)) => {
                    member.end_wait();
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Ok(Piece::End) => {
                    member.end_wait();
                    return Poll::Ready(None);
                }
                Ok(Piece::Incomplete) if link.has_ended() => {
                    return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
                }
                Ok(Piece::Incomplete) => {}
                Err(_) => return Poll::Ready(Some(Err(PayloadError::EncodingCorrupted))),
            }
            let continued = link.poll_continue(cx);
            let read = match continued {
                Poll::Ready(Ok(())) => link.poll_read(cx),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            if read.is_pending() {
                // The task was woken by a timer, not by the socket: its handler is about to give up.
                if member.phase() != Phase::Answer && !link.has_unwritten() && link.read_directly()
                {
                    continue;
                }
                member.set_waker(cx.waker());
                let is_verified = sender::is_verified();
                member.wait_for(if is_verified { Phase::VerifiedBody } else { Phase::Body });
                // The request refers to its head in memory until it is answered.
                member.charge(link.head_bytes());
            }
            if let Err(error) = ready!(read) {
                return Poll::Ready(Some(Err(PayloadError::Io(error))));
            }
        }
    }
}
