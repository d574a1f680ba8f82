//! A keep-alive connection with at most one request under way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::epoll;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// What is received at first; longer answers make more room.
const ROOM: usize = 4 << 10;
/// The most headers an answer may have.
const HEADERS: usize = 32;

/// A request that is not answered yet.
#[derive(Clone, Copy)]
pub(crate) struct UnderWay {
    /// Which one.
    pub(crate) index: usize,
    /// When it was due.
    pub(crate) due: Duration,
}

/// What a connection has come to.
pub(crate) enum Progress {
    /// Nothing new.
    Pending,
    /// The other side has closed it.
    Closed,
    /// The request is answered.
    Answered {
        /// Which.
        request: UnderWay,
        /// With what.
        status: u16,
        /// Whether the other side closes it now.
        closing: bool,
    },
}

/// A connection.
pub(crate) struct Connection {
    /// The stream that it belongs to.
    pub(crate) lane: usize,
    socket: TcpStream,
    under_way: Option<UnderWay>,
    written: usize,
    received: Vec<u8>,
    filled: usize,
    body: Range<usize>,
}

/// The head of an answer.
struct Head {
    status: u16,
    closing: bool,
    body: Range<usize>,
}

impl Connection {
    /// Begins to connect.
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
            under_way: None,
            written: 0,
            received: vec![0; ROOM],
            filled: 0,
            body: 0..0,
        })
    }

    /// Lets events of it be told under this number.
    pub(crate) fn watch(&self, epoll: impl AsFd, index: usize) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        Ok(epoll::add(epoll, &self.socket, data, flags)?)
    }

    /// The request under way.
    pub(crate) fn under_way(&self) -> Option<UnderWay> {
        self.under_way
    }

    /// Puts a request under way; `write` sends it.
    pub(crate) fn begin(&mut self, request: UnderWay) {
        self.under_way = Some(request);
        self.written = 0;
        self.filled = 0;
    }

    /// Sends what is left of the request.
    pub(crate) fn write(&mut self, request: &[u8]) -> Result<()> {
        while let Some(rest) = request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) => self.written += count,
                // Not connected yet, or the other side takes no more for now, or it has closed the
                // connection, which reading will tell.
                Err(error) if later(&error) || closed(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self) -> Result<Progress> {
        loop {
            if self.filled == self.received.len() {
                self.received.resize(self.filled * 2, 0);
            }
            let room = self.received.get_mut(self.filled..).context("no room")?;
            let size = room.len();
            let count = match self.socket.read(room) {
                Ok(0) => return Ok(Progress::Closed),
                Ok(count) => count,
                Err(error) if later(&error) => return Ok(Progress::Pending),
                Err(error) if closed(&error) => return Ok(Progress::Closed),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot receive"),
            };
            self.filled += count;
            if let Some(answered) = self.answered()? {
                return Ok(answered);
            }
            // Whatever comes after a short read is told by another event.
            if count < size {
                return Ok(Progress::Pending);
            }
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        self.received.get(self.body.clone()).unwrap_or_default()
    }

    fn answered(&mut self) -> Result<Option<Progress>> {
        let received = self.received.get(..self.filled).unwrap_or_default();
        let Some(head) = head(received)? else { return Ok(None) };
        if head.body.end > self.filled {
            return Ok(None);
        }
        ensure!(head.body.end == self.filled, "more came than one answer");
        let request = self.under_way.take().context("an answer that nobody asked for")?;
        self.body = head.body;
        self.filled = 0;
        let Head { status, closing, .. } = head;
        Ok(Some(Progress::Answered { request, status, closing }))
    }
}

fn later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn closed(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// The head of the answer that begins here, once it is whole.
fn head(received: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(received)? else { return Ok(None) };
    let status = response.code.context("an answer without a status")?;
    let mut length = None;
    let mut closing = false;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = Some(str::from_utf8(header.value)?.parse::<usize>()?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            closing = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let Some(length) = length else { bail!("an answer {status} without Content-Length") };
    Ok(Some(Head { status, closing, body: start..start + length }))
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
        assert_eq!((head.status, head.closing), (503, true));
        assert_eq!(&answer[head.body], b"bye");
    }

    #[test]
    fn an_answer_whose_end_is_unknown_is_refused() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
