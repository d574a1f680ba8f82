//! HTTP client for ordinary requests.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::canaries;

/// Maximum wait for an answer. After it, the test fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// HTTP answer of a server.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// Value of the first header with this name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Outcome of the first entry of a delivery.
    pub(crate) fn outcome(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["results"][0]["outcome"].as_str().unwrap().to_owned()
    }

    /// Asserts that the answer is a problem document with this status and a detail.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.json()["status"], status);
        assert!(!self.json()["detail"].as_str().unwrap().is_empty());
    }
}

/// HTTP/1.1 connection, kept open.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Opens a connection to this port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        Self::try_to(port).unwrap()
    }

    /// Opens a connection to this port of this machine; an error if the server is gone.
    pub(crate) fn try_to(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Sends these bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).unwrap();
    }

    /// Sends these bytes; an error if the server has closed the connection.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads an answer; `None` if the connection was closed instead.
    pub(crate) fn read(&mut self) -> Option<Answer> {
        read_answer(&mut self.reader, false)
    }

    /// Reads an answer; `None` if it does not begin within this time.
    pub(crate) fn read_within(&mut self, time: Duration) -> Option<Answer> {
        self.reader.get_ref().set_read_timeout(Some(time)).unwrap();
        let has_begun = self.reader.fill_buf().is_ok();
        self.reader.get_ref().set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        has_begun.then(|| self.read()).flatten()
    }

    /// Sends a request and reads its answer.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, headers, body).expect("the server closed the connection")
    }

    /// Sends a request and reads its answer; `None` if the connection was closed instead.
    pub(crate) fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        canaries::request(path, headers, body);
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: tests\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        write!(request, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
        let request = [request.as_bytes(), body].concat();
        self.reader.get_mut().write_all(&request).ok()?;
        read_answer(&mut self.reader, method == "HEAD")
    }
}

/// Reads an answer; `None` if the connection was closed before its end. Panics if the server neither begins
/// an answer nor closes the connection in time. The answer to a `HEAD` request has no body.
fn read_answer(reader: &mut impl BufRead, is_head: bool) -> Option<Answer> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        Err(error) => panic!("no answer: {error}"),
    }
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let answer = Answer { status, headers, body: String::new() };
    let mut body = Vec::new();
    let is_endless = answer.header("content-type") == Some("text/event-stream");
    if answer.header("transfer-encoding") == Some("chunked") && !is_head && !is_endless {
        while let length @ 1.. = read_length(reader)? {
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).ok()?;
            body.extend_from_slice(&chunk[..length]);
        }
        // The empty line after the last chunk.
        reader.read_line(&mut line).ok()?;
    } else {
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        body.resize(length.filter(|_| !is_head).unwrap_or(0), 0);
        reader.read_exact(&mut body).ok()?;
    }
    let body = String::from_utf8(body).unwrap();
    if status >= 400 {
        canaries::assert_none("an error's body", &body);
    }
    Some(Answer { body, ..answer })
}

/// Reads the length of the next chunk.
fn read_length(reader: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    usize::from_str_radix(line.trim_end(), 16).ok()
}
