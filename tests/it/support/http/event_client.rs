//! A client of `GET /api/events`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{KEY, Server};

/// Maximum wait for the next bytes, longer than the heartbeat interval. After it, the test fails.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// Connection that reads the event stream.
pub(crate) struct EventClient {
    reader: BufReader<TcpStream>,
}

/// Received event. A heartbeat has no name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl EventClient {
    /// Opens the stream on a new connection: events after the one with this id, or else from now on.
    pub(crate) fn to(server: &Server, filter: &str, last_id: Option<u64>) -> Self {
        Self::on(TcpStream::connect(("127.0.0.1", server.port)).unwrap(), filter, last_id)
    }

    /// Opens the stream on this connection.
    pub(crate) fn on(mut stream: TcpStream, filter: &str, last_id: Option<u64>) -> Self {
        stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        let header = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET /api/events?{filter} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n{header}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Reads the response head and the first event; returns its id, after which this client gets events.
    pub(crate) fn read_start(&mut self) -> u64 {
        self.read_start_unless_full().expect("the server should have room for this client")
    }

    /// [`read_start`](Self::read_start), or `None` if the server answers 503: it has its maximum of event
    /// clients.
    pub(crate) fn read_start_unless_full(&mut self) -> Option<u64> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.reader.read_line(&mut head).unwrap() > 0, "closed after {head}");
        }
        if head.starts_with("HTTP/1.1 503") {
            return None;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Some(self.next().expect("the stream should begin with an event").id)
    }

    /// Reads the next event or heartbeat; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: 0, name: String::new(), data: Value::Null };
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().unwrap(),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                Some(("" | "retry", _)) => {}
                _ if line.is_empty() => return Some(event),
                _ => panic!("unexpected line in the stream: {line:?}"),
            }
        }
    }

    /// Reads the next line of the chunked body. A chunk ends with the end of an event.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        assert!(
            self.reader.read_line(&mut line).unwrap() > 0,
            "the connection was closed within the body"
        );
        if let Some(length) = line.strip_suffix("\r\n").filter(|line| !line.is_empty()) {
            if u64::from_str_radix(length, 16).unwrap() == 0 {
                return None;
            }
            return self.line();
        }
        // The end of a chunk.
        if line == "\r\n" { self.line() } else { Some(line.trim_end().to_owned()) }
    }

    /// Reads this many changes, and skips the heartbeats between them.
    pub(crate) fn changes(&mut self, count: usize) -> Vec<Event> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let event = self.next().expect("the stream should have another event");
            if !event.name.is_empty() {
                assert_eq!(event.name, "change", "{event:?}");
                changes.push(event);
            }
        }
        changes
    }
}
