//! Keep-alive connection with at most one request in flight.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::epoll;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// Initial size of the receive buffer, in bytes. It grows for longer answers.
const RECEIVE_BUFFER_BYTES: usize = 4 << 10;
/// Maximum number of headers of an answer.
const MAX_HEADERS: usize = 32;

/// Request in flight.
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    /// Index of the request in its stream.
    pub(crate) index: usize,
    /// Time at which it was due, since the run began.
    pub(crate) due: Duration,
}

/// Result of reading from a connection.
pub(crate) enum Progress {
    /// The answer is not complete.
    Pending,
    /// The server closed the connection.
    Closed,
    /// The answer is complete.
    Answered {
        /// Answered request.
        request: InFlight,
        /// HTTP status.
        status: u16,
        /// Whether the server closes the connection after the answer.
        is_closing: bool,
    },
}

/// Connection to a server.
pub(crate) struct Connection {
    /// Index of the stream that it belongs to.
    pub(crate) lane: usize,
    socket: TcpStream,
    in_flight: Option<InFlight>,
    written: usize,
    received: Vec<u8>,
    received_length: usize,
    body: Range<usize>,
}

/// Head of an answer.
struct Head {
    status: u16,
    is_closing: bool,
    body: Range<usize>,
}

impl Connection {
    /// Starts to connect, without waiting for the result.
    pub(crate) fn open(address: SocketAddr, lane: usize) -> Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).context("cannot connect"),
        }
        Ok(Self {
            lane,
            socket: socket.into(),
            in_flight: None,
            written: 0,
            received: vec![0; RECEIVE_BUFFER_BYTES],
            received_length: 0,
            body: 0..0,
        })
    }

    /// Registers the socket with `epoll`; `index` identifies it in events.
    pub(crate) fn watch(&self, epoll: impl AsFd, index: usize) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        Ok(epoll::add(epoll, &self.socket, data, flags)?)
    }

    /// Request in flight.
    pub(crate) fn in_flight(&self) -> Option<InFlight> {
        self.in_flight
    }

    /// Begins a request, which [`write`](Self::write) sends.
    pub(crate) fn begin(&mut self, request: InFlight) {
        self.in_flight = Some(request);
        self.written = 0;
        self.received_length = 0;
    }

    /// Sends the rest of the request, as far as the socket takes it.
    pub(crate) fn write(&mut self, request: &[u8]) -> Result<()> {
        while let Some(rest) = request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) => self.written += count,
                // The socket is not connected yet, its buffer is full, or the server closed the connection.
                // The next read reports a closed connection.
                Err(error) if would_block(&error) || is_closed(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    /// Reads until the answer is complete or the socket would block.
    pub(crate) fn read(&mut self) -> Result<Progress> {
        loop {
            if self.received_length == self.received.len() {
                self.received.resize(self.received_length * 2, 0);
            }
            let room = self.received.get_mut(self.received_length..).context("no room")?;
            let room_length = room.len();
            let count = match self.socket.read(room) {
                Ok(0) => return Ok(Progress::Closed),
                Ok(count) => count,
                Err(error) if would_block(&error) => return Ok(Progress::Pending),
                Err(error) if is_closed(&error) => return Ok(Progress::Closed),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot receive"),
            };
            self.received_length += count;
            if let Some(answered) = self.complete_answer()? {
                return Ok(answered);
            }
            // After a short read the socket is empty. New data causes another event.
            if count < room_length {
                return Ok(Progress::Pending);
            }
        }
    }

    /// Body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        self.received.get(self.body.clone()).unwrap_or_default()
    }

    /// The answer, if it was received completely.
    fn complete_answer(&mut self) -> Result<Option<Progress>> {
        let received = self.received.get(..self.received_length).unwrap_or_default();
        let Some(head) = head(received)? else { return Ok(None) };
        if head.body.end > self.received_length {
            return Ok(None);
        }
        ensure!(head.body.end == self.received_length, "data after the end of the answer");
        let request = self.in_flight.take().context("an answer without a request")?;
        self.body = head.body;
        self.received_length = 0;
        let Head { status, is_closing, .. } = head;
        Ok(Some(Progress::Answered { request, status, is_closing }))
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn is_closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Parses the head of an answer; `None` while it is incomplete.
fn head(received: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(received)? else { return Ok(None) };
    let status = response.code.context("an answer without a status")?;
    let mut length = None;
    let mut is_closing = false;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(str::from_utf8(header.value)?.parse::<usize>()?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            is_closing = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let Some(length) = length else {
        bail!("an answer with status {status} without Content-Length")
    };
    Ok(Some(Head { status, is_closing, body: start..start + length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nconnection: CLOSE\r\nContent-Length: 3\r\n\r\nbye";
        for cut in 0..answer.len() - 3 {
            assert!(head(&answer[..cut]).unwrap().is_none(), "{cut}");
        }
        let head = head(answer).unwrap().unwrap();
        assert_eq!((head.status, head.is_closing), (503, true));
        assert_eq!(&answer[head.body], b"bye");
    }

    #[test]
    fn an_answer_whose_end_is_unknown_is_refused() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
