//! A client that checks every byte of a response against HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::canaries;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and what was read of it and not taken yet.
pub(crate) struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer, as its bytes say.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header that must not be there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.split("\r\n").skip(1).filter_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = found.next();
        assert!(found.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// A request with the key, as bytes.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {}\r\n\r\n", crate::support::KEY)
}

impl RawClient {
    pub(crate) fn to(port: u16) -> Self {
        Self::from([127, 0, 0, 1], port)
    }

    /// A connection from this address of this machine.
    pub(crate) fn from(address: [u8; 4], port: u16) -> Self {
        Self::by(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(), address, port)
    }

    /// A connection with little room in the kernel for what is not read.
    pub(crate) fn with_small_buffer(port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.set_send_buffer_size(4_096).unwrap();
        Self::by(socket, [127, 0, 0, 1], port)
    }

    fn by(socket: Socket, address: [u8; 4], port: u16) -> Self {
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes; the server may have closed the connection meanwhile.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        drop(self.stream.write_all(bytes.as_ref()));
        self
    }

    /// Sends so many bytes as long as the server takes them at once; returns how many it took.
    pub(crate) fn flood(&mut self, bytes: usize) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let (piece, mut sent) = ([b'a'; 8_192], 0);
        while sent < bytes {
            match self.stream.write(&piece) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        sent
    }

    /// Whether the server has closed the connection by now.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let closed = loop {
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => break true,
                Ok(length) => self.read.extend_from_slice(&bytes[..length]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        closed
    }

    /// Whether this text has come by now.
    pub(crate) fn has(&mut self, text: &str) -> bool {
        self.is_closed();
        find(&self.read, text.as_bytes()).is_some()
    }

    /// Sends these bytes again and again until the server closes; returns what came.
    pub(crate) fn drip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let since = Instant::now();
        while !self.is_closed() {
            assert!(since.elapsed() < PATIENCE, "it is never closed");
            self.send(bytes);
            std::thread::sleep(Duration::from_millis(250));
        }
        std::mem::take(&mut self.read)
    }

    /// All that comes until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    /// Reads until this text has come; returns all up to its end.
    pub(crate) fn until(&mut self, text: &str) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.read, text.as_bytes()) {
                return self.read.drain(..at + text.len()).collect();
            }
            assert!(self.more(), "closed before {text:?}: {}", self.read.escape_ascii());
        }
    }

    /// Reads one answer to a method.
    pub(crate) fn answer(&mut self, method: &str) -> RawResponse {
        let head = String::from_utf8(self.until("\r\n\r\n")).unwrap();
        let head = head.strip_suffix("\r\n\r\n").unwrap().to_owned();
        let mut framed = RawResponse { status: 0, head, body: Vec::new() };
        let first = framed.head.split("\r\n").next().unwrap();
        assert!(first.starts_with("HTTP/1.1 ") || first.starts_with("HTTP/1.0 "), "{first:?}");
        framed.status = first.get(9..12).unwrap().parse().unwrap();
        for line in framed.head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line:?}");
            assert!(!value.contains(['\r', '\n', '\0']), "{line:?}");
        }
        let length = framed.header("content-length").map(|length| length.parse().unwrap());
        let coding = framed.header("transfer-encoding").map(str::to_owned);
        assert!(length.is_none() || coding.is_none(), "{}", framed.head);
        if method == "HEAD" || matches!(framed.status, 100 | 204 | 304) {
            return framed;
        }
        match (length, coding.as_deref()) {
            (Some(length), None) => framed.body = self.take(length),
            (None, Some("chunked")) => loop {
                let size = String::from_utf8(self.until("\r\n")).unwrap();
                let size = usize::from_str_radix(size.strip_suffix("\r\n").unwrap(), 16).unwrap();
                let mut chunk = self.take(size + 2);
                assert_eq!(chunk.split_off(size), b"\r\n", "behind a chunk");
                if size == 0 {
                    break;
                }
                framed.body.extend(chunk);
            },
            (None, None) => framed.body = self.rest(),
            other => panic!("{other:?}"),
        }
        if framed.status >= 400 {
            canaries::assert_none("an error's body", framed.text());
        }
        framed
    }

    /// Reads the rest of an answer whose first line was read; returns the length of its body.
    pub(crate) fn rest_of_answer(&mut self) -> usize {
        self.read.splice(..0, *b"HTTP/1.1 200 OK\r\n");
        self.answer("GET").body.len()
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.more(), "closed within a body: {}", self.read.escape_ascii());
        }
        self.read.drain(..length).collect()
    }

    fn more(&mut self) -> bool {
        let mut bytes = [0; 8_192];
        match self.stream.read(&mut bytes) {
            Ok(length) => {
                self.read.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
