//! A client of `GET /api/events`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::{KEY, Server};

/// How long nothing may come before a test gives up; a heartbeat comes sooner.
const PATIENCE: Duration = Duration::from_secs(40);

/// A client that listens.
pub(crate) struct EventClient {
    reader: BufReader<TcpStream>,
}

/// An event as it came; a heartbeat has no name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl EventClient {
    /// Listens from behind this event on, or from now on.
    pub(crate) fn to(server: &Server, filter: &str, last: Option<u64>) -> Self {
        Self::on(TcpStream::connect(("127.0.0.1", server.port)).unwrap(), filter, last)
    }

    /// The same, on this connection.
    pub(crate) fn on(mut stream: TcpStream, filter: &str, last: Option<u64>) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let request = format!(
            "GET /api/events?{filter} HTTP/1.1\r\nHost: t\r\nX-Api-Key: {KEY}\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// Reads the head and the first event; returns the id after which this client gets events.
    pub(crate) fn begin(&mut self) -> u64 {
        self.begin_unless_full().expect("too many clients")
    }

    /// The same, or none if the server has as many clients as it may have.
    pub(crate) fn begin_unless_full(&mut self) -> Option<u64> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.reader.read_line(&mut head).unwrap() > 0, "closed after {head}");
        }
        if head.starts_with("HTTP/1.1 503") {
            return None;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Some(self.next().expect("a beginning").id)
    }

    /// The next thing that comes; none when there is nothing more.
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
                _ => panic!("what is {line:?}?"),
            }
        }
    }

    /// A line of the body, whose chunks end with events.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "cut off");
        if let Some(length) = line.strip_suffix("\r\n").filter(|line| !line.is_empty()) {
            if u64::from_str_radix(length, 16).unwrap() == 0 {
                return None;
            }
            return self.line();
        }
        // The end of a chunk.
        if line == "\r\n" { self.line() } else { Some(line.trim_end().to_owned()) }
    }

    /// The next changes, without what comes between them.
    pub(crate) fn changes(&mut self, count: usize) -> Vec<Event> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let event = self.next().expect("another event");
            if !event.name.is_empty() {
                assert_eq!(event.name, "change", "{event:?}");
                changes.push(event);
            }
        }
        changes
    }
}
