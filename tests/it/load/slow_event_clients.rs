//! Clients of `GET /api/events` that read slowly, or stop reading.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::http::event_client::EventClient;
use crate::support::*;

/// Listens from the beginning on, with little room for what it does not read.
fn with_little_room(server: &Server) -> EventClient {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], server.port)).into()).unwrap();
    EventClient::on(socket.into(), "", Some(0))
}

/// Makes more events than there is room for between a server and a client, which the server bounds; says how
/// many.
fn make_many(server: &Server) -> u64 {
    let (key, count) = ("k".repeat(512), 1_000);
    let mut connection = server.connect();
    for number in 0..count {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": key, "action": key, "key": key});
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    count
}

#[test]
fn a_slow_client_is_asked_to_reconnect() {
    let mut server = Server::start(GATEWAY);
    let mut slow = with_little_room(&server);
    let mut other = EventClient::to(&server, "status=READ", None);
    other.begin();
    let count = make_many(&server);
    // Longer than anybody is waited for who takes nothing.
    thread::sleep(Duration::from_secs(11));
    slow.begin();
    let mut told = Vec::new();
    let end = loop {
        let event = slow.next().expect("an end");
        if event.name == "end" {
            break event;
        }
        assert_eq!(event.name, "change", "all was told, and nothing is slow");
        told.push(event.id);
    };
    assert_eq!(end.data["reason"], "slow");
    assert_eq!(slow.next(), None);
    assert_eq!(told, (1..=end.id).collect::<Vec<_>>());
    assert!(end.id < count, "it was never slow");
    let mut again = EventClient::to(&server, "", Some(end.id));
    again.begin();
    let rest = again.changes(usize::try_from(count - end.id).unwrap());
    assert_eq!((rest[0].id, rest[rest.len() - 1].id), (end.id + 1, count));
    // Who wants nothing of it is told that somebody is there, and up to where there was nothing.
    let beat = std::iter::from_fn(|| other.next()).find(|beat| beat.id == count).unwrap();
    assert_eq!(beat.name, "");
    server.signal("-TERM");
    let end = std::iter::from_fn(|| other.next()).last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("closing")));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_client_that_stops_reading_is_closed() {
    let server = Server::start(GATEWAY);
    let gone = with_little_room(&server);
    make_many(&server);
    // The server's ends of open connections, as the kernel lists them.
    let is_open = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (own, state) = (words.next(), words.nth(1));
        own.is_some_and(|own| own.ends_with(&format!(":{:04X}", server.port)))
            && state == Some("01")
    };
    let since = Instant::now();
    while fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_open) {
        assert!(since.elapsed() < Duration::from_mins(3), "it is still there");
        thread::sleep(Duration::from_millis(100));
    }
    drop(gone);
}
