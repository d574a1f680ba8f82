//! Socket of a connection, its buffers and the codec.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_codec::{Decoder as _, Encoder as _, poll_read_buf};
use actix_http::body::BodySize;
use actix_http::error::ParseError;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::{HttpMessage as _, Method, Request, Response, ServiceConfig, Version};
use actix_web::http::header;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Buf as _, Bytes, BytesMut};
use rustix::net::{RecvFlags, recv};
use tokio::io::AsyncWrite as _;

use super::buffers::{Buffers, READ_BUFFERS, WRITE_BUFFERS};
use super::date;

/// Minimum free room of the buffer before a read, in bytes.
const MIN_FREE_BYTES: usize = 1 << 10;
/// Bytes read at a time.
pub(crate) const READ_BYTES: usize = 8 << 10;
/// Limit in bytes for reading ahead of the current request.
const MAX_AHEAD_BYTES: usize = 16 << 10;
/// Allocation step for the memory of an unfinished head, in bytes.
const ALLOCATION_STEP_BYTES: usize = 256;
/// Bytes of an unwanted body that are drained, if they are available.
const MAX_DRAINED_BYTES: usize = 64 << 10;

/// Result of decoding a body.
pub(crate) enum Piece {
    /// Some bytes of the body.
    Chunk(Bytes),
    /// The end of the body.
    End,
    /// More input is needed.
    Incomplete,
}

/// Socket, codec and buffers of a connection.
pub(crate) struct Link {
    io: TcpStream,
    codec: Codec,
    config: ServiceConfig,
    input: BytesMut,
    /// Whether `input` has only as much memory as its bytes need.
    is_shrunk: bool,
    output: BytesMut,
    /// Bytes to be written after `output`, not copied into it.
    uncopied: Bytes,
    /// Bytes written since the connection began.
    written: u64,
    /// Whether the client has closed its side.
    ended: bool,
    /// Whether `100 Continue` is still to be sent.
    expects_continue: bool,
    /// Number of the current request.
    request: u64,
    /// Bytes of the current request's head.
    head_bytes: usize,
}

impl Link {
    pub(crate) fn new(io: TcpStream, config: &ServiceConfig) -> Self {
        Self {
            io,
            codec: Codec::new(config.clone()),
            config: config.clone(),
            input: BytesMut::new(),
            is_shrunk: false,
            output: BytesMut::new(),
            uncopied: Bytes::new(),
            written: 0,
            ended: false,
            expects_continue: false,
            request: 0,
            head_bytes: 0,
        }
    }

    /// Decodes the next request's head, if it is complete.
    ///
    /// A protocol upgrade is declined: the request is answered as if it had not asked for one.
    pub(crate) fn next_head(&mut self) -> Result<Option<Request>, ParseError> {
        // Some clients send a line break after a body; it does not begin a request (RFC 9112, section 2.2).
        let breaks = self.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.input.advance(breaks);
        if self.input.is_empty() {
            return Ok(None);
        }
        let before = self.input.len();
        let Some(Message::Item(request)) = self.codec.decode(&mut self.input)? else {
            return Ok(None);
        };
        self.is_shrunk = false;
        self.head_bytes = before - self.input.len();
        if self.codec.upgrade() || self.codec.message_type() == MessageType::Stream {
            self.codec = codec_without_upgrade(&self.config, &request)?;
        }
        self.expects_continue = request.head().expect();
        self.request += 1;
        Ok(Some(request))
    }

    /// Number of the current request.
    pub(crate) fn request(&self) -> u64 {
        self.request
    }

    /// Bytes of the current request's head.
    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Whether the current request's body has not come to its end.
    pub(crate) fn has_body(&self) -> bool {
        self.codec.message_type() != MessageType::None
    }

    /// Number of bytes read and not decoded.
    pub(crate) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Whether the client has closed its side.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes written since the connection began.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Decodes the next piece of the current request's body.
    pub(crate) fn next_piece(&mut self) -> Result<Piece, ParseError> {
        if !self.has_body() {
            return Ok(Piece::End);
        }
        match self.codec.decode(&mut self.input)? {
            Some(Message::Chunk(Some(chunk))) => Ok(Piece::Chunk(chunk)),
            Some(Message::Chunk(None) | Message::Item(_)) => Ok(Piece::End),
            None => Ok(Piece::Incomplete),
        }
    }

    /// Reads once; zero bytes mean that the client has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() == 0 {
            self.input = READ_BUFFERS.with(Buffers::take);
        }
        if self.input.capacity() - self.input.len() < MIN_FREE_BYTES {
            self.input.reserve(READ_BYTES);
            self.is_shrunk = false;
        }
        let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input);
        // The memory budget has no share for idle connections.
        if read.is_pending() && self.input.is_empty() {
            let input = mem::take(&mut self.input);
            READ_BUFFERS.with(|buffers| buffers.give_back(input));
        }
        let read = ready!(read)?;
        self.ended |= read == 0;
        Poll::Ready(Ok(read))
    }

    /// Shrinks the input buffer to its undecoded bytes, since further ones may take long to arrive; returns
    /// the remaining memory in bytes.
    pub(crate) fn shrink_input(&mut self) -> usize {
        let bytes = self.input.len().next_multiple_of(ALLOCATION_STEP_BYTES);
        if !self.input.is_empty() && !self.is_shrunk {
            let mut shrunk = BytesMut::with_capacity(bytes);
            shrunk.extend_from_slice(&self.input);
            let input = mem::replace(&mut self.input, shrunk);
            READ_BUFFERS.with(|buffers| buffers.give_back(input));
            self.is_shrunk = true;
        }
        bytes
    }

    /// Drops all bytes read and not decoded.
    pub(crate) fn discard_input(&mut self) {
        self.input = BytesMut::new();
    }

    /// Reads directly from the kernel, without asking the runtime, which may not know of the bytes yet, above
    /// all when the process was stopped for a while. Returns whether bytes were read.
    pub(crate) fn read_directly(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES];
        match recv(&self.io, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((read @ 1.., _)) => {
                self.input.extend_from_slice(bytes.get(..read).unwrap_or_default());
                self.is_shrunk = false;
                true
            }
            // The next read finds the end of the input or an error.
            Ok(_) | Err(_) => false,
        }
    }

    /// Sends `100 Continue` if the client waits for it, before the body is read.
    pub(crate) fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.expects_continue {
            self.expects_continue = false;
            self.take_output();
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.poll_flush(cx)
    }

    /// Reads ahead, within bounds, while a request is in flight; an error means that the client is gone.
    pub(crate) fn read_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // An unread body stays in the kernel.
        while !self.ended && !self.has_body() && self.input.len() < MAX_AHEAD_BYTES {
            match self.poll_read(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Drains the rest of an unwanted body as far as it is available; returns whether its end was reached, so
    /// that the connection can be reused.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        let mut drained = 0;
        while self.has_body() && !self.expects_continue {
            match self.next_piece() {
                Ok(Piece::Chunk(chunk)) => drained += chunk.len(),
                Ok(Piece::End) => {}
                Ok(Piece::Incomplete) if self.ended || drained > MAX_DRAINED_BYTES => return false,
                Ok(Piece::Incomplete) => {
                    if !matches!(self.poll_read(cx), Poll::Ready(Ok(1..))) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        !self.has_body()
    }

    /// Reads and drops all input; ready when the client has closed its side.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.input.clear();
            match self.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Encodes an answer's head; returns whether the connection can be reused.
    pub(crate) fn encode_head(
        &mut self,
        mut head: Response<()>,
        size: BodySize,
    ) -> io::Result<bool> {
        if let Some(date) = date::now() {
            head.headers_mut().insert(header::DATE, date);
        }
        self.take_output();
        self.codec.encode(Message::Item((head, size)), &mut self.output)?;
        Ok(self.codec.keep_alive())
    }

    /// Encodes a piece of a streamed body, or its end.
    pub(crate) fn encode_chunk(&mut self, chunk: Option<Bytes>) -> io::Result<()> {
        self.take_output();
        self.codec.encode(Message::Chunk(chunk), &mut self.output)
    }

    fn take_output(&mut self) {
        if self.output.is_empty() {
            self.output = WRITE_BUFFERS.with(Buffers::take);
        }
    }

    /// Whether encoded bytes remain that the client has not taken.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.output.is_empty() || !self.uncopied.is_empty()
    }

    /// Adds bytes of a body with known length.
    pub(crate) fn add(&mut self, bytes: Bytes) {
        if bytes.len() < READ_BYTES {
            self.take_output();
            self.output.extend_from_slice(&bytes);
        } else {
            self.uncopied = bytes;
        }
    }

    /// Whether this many bytes are encoded, or uncopied ones wait: they are written before more is added.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        !self.uncopied.is_empty() || self.output.len() >= bytes
    }

    /// Writes all encoded bytes.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            self.count(written)?;
            self.output.advance(written);
            if self.output.is_empty() {
                let output = mem::take(&mut self.output);
                WRITE_BUFFERS.with(|buffers| buffers.give_back(output));
            }
        }
        while !self.uncopied.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.uncopied))?;
            self.count(written)?;
            self.uncopied.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn count(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Shuts down the sending side of the connection.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Creates a codec in the state after this request's head, as if the request had not asked for an upgrade.
fn codec_without_upgrade(config: &ServiceConfig, request: &Request) -> Result<Codec, ParseError> {
    let head = request.head();
    let method = if head.method == Method::HEAD { "HEAD" } else { "GET" };
    let version = if head.version == Version::HTTP_10 { "1.0" } else { "1.1" };
    let framing = if request.chunked().map_err(|_not_text| ParseError::Header)? {
        "transfer-encoding: chunked\r\n".to_owned()
    } else if let Some(length) = head.headers.get(header::CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|length| length.trim().parse::<u64>().ok());
        format!("content-length: {}\r\n", length.ok_or(ParseError::Header)?)
    } else {
        String::new()
    };
    let text = format!("{method} / HTTP/{version}\r\nhost: upgrade.invalid\r\n{framing}\r\n");
    let mut codec = Codec::new(config.clone());
    codec.decode(&mut BytesMut::from(text.as_bytes()))?;
    Ok(codec)
}
