//! A client that checks every byte of a response against HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::canaries;

/// Maximum wait for a read, a write or the end of a connection. After it, the test fails.
const IO_TIMEOUT: Duration = Duration::from_secs(30);

/// Connection with a buffer of received bytes.
pub(crate) struct RawClient {
    stream: TcpStream,
    /// Bytes that were read from the connection and not returned yet.
    received: Vec<u8>,
}

/// Response whose bytes conform to HTTP.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl RawResponse {
    /// Value of a header. Asserts that the header occurs at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.split("\r\n").skip(1).filter_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} occurs twice: {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// `GET` request with the API key, as HTTP/1.1 text.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {}\r\n\r\n", crate::support::KEY)
}

impl RawClient {
    pub(crate) fn to(port: u16) -> Self {
        Self::from([127, 0, 0, 1], port)
    }

    /// Opens a connection from this loopback address.
    pub(crate) fn from(address: [u8; 4], port: u16) -> Self {
        Self::connect(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap(), address, port)
    }

    /// Opens a connection with send and receive buffers of 4 KiB in the kernel.
    pub(crate) fn with_small_buffer(port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.set_send_buffer_size(4_096).unwrap();
        Self::connect(socket, [127, 0, 0, 1], port)
    }

    fn connect(socket: Socket, address: [u8; 4], port: u16) -> Self {
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(IO_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(IO_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes. Ignores errors, as the server may have closed the connection.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        drop(self.stream.write_all(bytes.as_ref()));
        self
    }

    /// Sends this many bytes, until a write would block; returns the number of bytes sent.
    pub(crate) fn flood(&mut self, bytes: usize) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let (chunk, mut sent) = ([b'a'; 8_192], 0);
        while sent < bytes {
            match self.stream.write(&chunk) {
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
        let is_closed = loop {
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) => break true,
                Ok(length) => self.received.extend_from_slice(&bytes[..length]),
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        is_closed
    }

    /// Whether the received bytes contain this text.
    pub(crate) fn has(&mut self, text: &str) -> bool {
        self.is_closed();
        find(&self.received, text.as_bytes()).is_some()
    }

    /// Sends these bytes every 250 ms until the server closes the connection; returns the received bytes.
    pub(crate) fn drip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let since = Instant::now();
        while !self.is_closed() {
            assert!(
                since.elapsed() < IO_TIMEOUT,
                "timed out waiting for the server to close the connection"
            );
            self.send(bytes);
            std::thread::sleep(Duration::from_millis(250));
        }
        std::mem::take(&mut self.received)
    }

    /// Reads until the server closes the connection; returns the received bytes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.receive() {}
        std::mem::take(&mut self.received)
    }

    /// Reads until this text; returns the received bytes up to its end.
    pub(crate) fn until(&mut self, text: &str) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.received, text.as_bytes()) {
                return self.received.drain(..at + text.len()).collect();
            }
            assert!(self.receive(), "closed before {text:?}: {}", self.received.escape_ascii());
        }
    }

    /// Reads the response to a request with this method, and asserts that it conforms to HTTP.
    pub(crate) fn answer(&mut self, method: &str) -> RawResponse {
        let head = String::from_utf8(self.until("\r\n\r\n")).unwrap();
        let head = head.strip_suffix("\r\n\r\n").unwrap().to_owned();
        let mut response = RawResponse { status: 0, head, body: Vec::new() };
        let status_line = response.head.split("\r\n").next().unwrap();
        assert!(
            status_line.starts_with("HTTP/1.1 ") || status_line.starts_with("HTTP/1.0 "),
            "{status_line:?}"
        );
        response.status = status_line.get(9..12).unwrap().parse().unwrap();
        for line in response.head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line:?}");
            assert!(!value.contains(['\r', '\n', '\0']), "{line:?}");
        }
        let length = response.header("content-length").map(|length| length.parse().unwrap());
        let coding = response.header("transfer-encoding").map(str::to_owned);
        assert!(length.is_none() || coding.is_none(), "{}", response.head);
        if method == "HEAD" || matches!(response.status, 100 | 204 | 304) {
            return response;
        }
        match (length, coding.as_deref()) {
            (Some(length), None) => response.body = self.take(length),
            (None, Some("chunked")) => loop {
                let size = String::from_utf8(self.until("\r\n")).unwrap();
                let size = usize::from_str_radix(size.strip_suffix("\r\n").unwrap(), 16).unwrap();
                let mut chunk = self.take(size + 2);
                assert_eq!(chunk.split_off(size), b"\r\n", "a chunk must end with a line break");
                if size == 0 {
                    break;
                }
                response.body.extend(chunk);
            },
            (None, None) => response.body = self.rest(),
            unknown => panic!("unknown framing: {unknown:?}"),
        }
        if response.status >= 400 {
            canaries::assert_none("an error's body", response.text());
        }
        response
    }

    /// Reads the rest of a response to a `GET`, after its status line; returns the length of its body.
    pub(crate) fn rest_of_answer(&mut self) -> usize {
        self.received.splice(..0, *b"HTTP/1.1 200 OK\r\n");
        self.answer("GET").body.len()
    }

    /// Reads this many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            assert!(self.receive(), "closed within a body: {}", self.received.escape_ascii());
        }
        self.received.drain(..length).collect()
    }

    /// Receives more bytes; returns whether there were any before the connection was closed.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 8_192];
        match self.stream.read(&mut bytes) {
            Ok(length) => {
                self.received.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("cannot read: {error}"),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
