//! Socket of a connection, its buffers and the codec.

use std::io;
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

/// Room that a read finds at least, in bytes.
const LEAST_ROOM: usize = 1 << 10;
/// Bytes that are read at a time.
const READ_BYTES: usize = 8 << 10;
/// Requests behind the current one are read up to this many bytes.
const AHEAD_BYTES: usize = 16 << 10;
/// An idle connection keeps buffers up to this size, in bytes.
const KEPT_BYTES: usize = 16 << 10;
/// An unwanted body is read up to this many bytes if they are available.
const UNWANTED_BYTES: usize = 64 << 10;

/// What decoding a body found.
pub(super) enum Piece {
    /// Some bytes of the body.
    Chunk(Bytes),
    /// The end of the body.
    End,
    /// Nothing until more is read.
    Incomplete,
}

/// Socket, codec and buffers of a connection.
pub(super) struct Link {
    io: TcpStream,
    codec: Codec,
    config: ServiceConfig,
    input: BytesMut,
    output: BytesMut,
    /// Bytes to be written behind `output` that were not copied there.
    large: Bytes,
    /// Bytes written since the connection began.
    written: u64,
    /// Whether the client has closed its side.
    ended: bool,
    /// Whether `100 Continue` is still to be sent.
    continues: bool,
    /// Number of the current request.
    request: u64,
}

impl Link {
    pub(super) fn new(io: TcpStream, config: &ServiceConfig) -> Self {
        Self {
            io,
            codec: Codec::new(config.clone()),
            config: config.clone(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            large: Bytes::new(),
            written: 0,
            ended: false,
            continues: false,
            request: 0,
        }
    }

    /// Decodes the next request's head, if it is complete.
    ///
    /// A wish to change the protocol is declined: the answer is written as if it had not been there.
    pub(super) fn next_head(&mut self) -> Result<Option<Request>, ParseError> {
        // Some clients send a line break behind a body; it begins no request (RFC 9112, section 2.2).
        let breaks = self.input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.input.advance(breaks);
        if self.input.is_empty() {
            return Ok(None);
        }
        let Some(Message::Item(request)) = self.codec.decode(&mut self.input)? else {
            return Ok(None);
        };
        if self.codec.upgrade() || self.codec.message_type() == MessageType::Stream {
            self.codec = codec_without_upgrade(&self.config, &request)?;
        }
        self.continues = request.head().expect();
        self.request += 1;
        Ok(Some(request))
    }

    /// Number of the current request.
    pub(super) fn request(&self) -> u64 {
        self.request
    }

    /// Whether the current request's body has not come to its end.
    pub(super) fn has_body(&self) -> bool {
        self.codec.message_type() != MessageType::None
    }

    /// Bytes that were read and not decoded.
    pub(super) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Whether the client has closed its side.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes written since the connection began.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Decodes the next piece of the current request's body.
    pub(super) fn next_piece(&mut self) -> Result<Piece, ParseError> {
        if !self.has_body() {
            return Ok(Piece::End);
        }
        match self.codec.decode(&mut self.input)? {
            Some(Message::Chunk(Some(chunk))) => Ok(Piece::Chunk(chunk)),
            Some(Message::Chunk(None) | Message::Item(_)) => Ok(Piece::End),
            None => Ok(Piece::Incomplete),
        }
    }

    /// Reads once; zero bytes are the end of what the client sends.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < LEAST_ROOM {
            self.input.reserve(READ_BYTES);
        }
        let read = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input))?;
        self.ended |= read == 0;
        Poll::Ready(Ok(read))
    }

    /// Reads what the kernel has, without asking the runtime: it may not know yet, above all when the
    /// process was stopped for a while. Says whether there was something.
    pub(super) fn read_directly(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES];
        match recv(&self.io, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((read @ 1.., _)) => {
                self.input.extend_from_slice(bytes.get(..read).unwrap_or_default());
                true
            }
            // An end or an error is found by the next read.
            Ok(_) | Err(_) => false,
        }
    }

    /// Sends `100 Continue` if the client waits for it; the body is about to be read.
    pub(super) fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.continues {
            self.continues = false;
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.poll_flush(cx)
    }

    /// Reads what comes while a request is under way, within bounds; an error says that the client is gone.
    pub(super) fn look_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // What the handler does not read stays in the kernel.
        while !self.ended && !self.has_body() && self.input.len() < AHEAD_BYTES {
            match self.poll_read(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Reads and drops the rest of a body that nobody wants, as far as it is available; says whether that
    /// was all of it, so that the connection can be used again.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        let mut drained = 0;
        while self.has_body() && !self.continues {
            match self.next_piece() {
                Ok(Piece::Chunk(chunk)) => drained += chunk.len(),
                Ok(Piece::End) => {}
                Ok(Piece::Incomplete) if self.ended || drained > UNWANTED_BYTES => return false,
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

    /// Reads and drops whatever comes; ready when the client has closed its side.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.input.clear();
            match self.poll_read(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    // The budget has no share for connections that are only waited for.
                    self.input = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Encodes an answer's head; says whether the connection may be used again.
    pub(super) fn encode_head(&mut self, head: Response<()>, size: BodySize) -> io::Result<bool> {
        self.codec.encode(Message::Item((head, size)), &mut self.output)?;
        Ok(self.codec.keep_alive())
    }

    /// Encodes a piece of a streamed body, or its end.
    pub(super) fn encode_chunk(&mut self, chunk: Option<Bytes>) -> io::Result<()> {
        self.codec.encode(Message::Chunk(chunk), &mut self.output)
    }

    /// Whether something is encoded that the client has not taken.
    pub(super) fn waits_to_write(&self) -> bool {
        !self.output.is_empty() || !self.large.is_empty()
    }

    /// Adds bytes of a body whose length was stated.
    pub(super) fn add(&mut self, bytes: Bytes) {
        if bytes.len() < READ_BYTES {
            self.output.extend_from_slice(&bytes);
        } else {
            self.large = bytes;
        }
    }

    /// Whether enough is encoded to be written before more is.
    pub(super) fn is_full(&self) -> bool {
        !self.large.is_empty() || self.output.len() >= 4 * READ_BYTES
    }

    /// Writes all that is encoded.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output))?;
            self.count(written)?;
            self.output.advance(written);
        }
        while !self.large.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.large))?;
            self.count(written)?;
            self.large.advance(written);
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

    /// Tells the client that nothing more comes.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Gives back the memory of large requests and answers while nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() && self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
    }
}

/// A codec in the state behind this request's head, as if the request had not asked for another protocol.
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
