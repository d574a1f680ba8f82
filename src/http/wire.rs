//! The connection beneath the framework, where its own errors get a body.
//!
//! What is no HTTP, comes too slowly or has too large a head never reaches a handler: the framework
//! answers it by itself, with a head alone. Every answer of ours has a body, so that a bare head of a
//! 4xx is the framework's; it goes out as a problem like all others.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::http::StatusCode;
use actix_web::rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::Problem;

/// A connection that adds bodies to bare errors.
pub(crate) struct Wire {
    io: TcpStream,
    /// What was taken to be written, and is not yet.
    pending: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(io: TcpStream) -> Self {
        Self { io, pending: Vec::new() }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The same bytes, with a body behind the bare error that they end with; none if they do not.
fn with_body(bytes: &[u8]) -> Option<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    const START: &[u8] = b"HTTP/1.1 4";
    const EMPTY: &str = "\r\ncontent-length: 0";
    let head = bytes.strip_suffix(END)?;
    let start = head.windows(START.len()).rposition(|window| window == START)?;
    let (before, head) = head.split_at(start);
    let head = str::from_utf8(head).ok().filter(|head| head.contains(EMPTY))?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = Problem::Protocol(StatusCode::from_u16(status).ok()?).body();
    let length = body.len();
    let about = format!("\r\ncontent-length: {length}\r\ncontent-type: application/problem+json");
    let head = head.replacen(EMPTY, &about, 1);
    Some([before, head.as_bytes(), END, body.as_bytes()].concat())
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        match with_body(bytes) {
            Some(more) => {
                self.pending = more;
                // What does not go out now does with the flush that follows.
                match self.poll_pending(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
                }
            }
            None => Pin::new(&mut self.io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl ActixStream for Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.io, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.io, cx)
    }
}
