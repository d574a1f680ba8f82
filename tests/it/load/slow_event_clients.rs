//! Clients of `GET /api/events` that read slowly, or stop reading.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::event_clients::make_changes;
use crate::support::http::event_client::EventClient;
use crate::support::*;

/// Number of changes, more than the buffers between the server and a client hold.
const CHANGES: u64 = 1_000;

/// Starts an event client from the first change, with a small receive buffer.
fn client_with_small_buffer(server: &Server) -> EventClient {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], server.port)).into()).unwrap();
    EventClient::on(socket.into(), "", Some(0))
}

#[test]
fn a_slow_client_is_asked_to_reconnect() {
    let mut server = Server::start(GATEWAY);
    let mut slow = client_with_small_buffer(&server);
    let mut other = EventClient::to(&server, "status=READ", None);
    other.read_start();
    make_changes(&server, CHANGES);
    // Longer than the server waits for a client that reads nothing.
    thread::sleep(Duration::from_secs(11));
    slow.read_start();
    let mut ids = Vec::new();
    let end = loop {
        let event = slow.next().expect("the stream ends with an `end` event");
        if event.name == "end" {
            break event;
        }
        assert_eq!(event.name, "change", "the client got all changes and was never slow");
        ids.push(event.id);
    };
    assert_eq!(end.data["reason"], "slow");
    assert_eq!(slow.next(), None);
    assert_eq!(ids, (1..=end.id).collect::<Vec<_>>());
    assert!(end.id < CHANGES, "the client got all changes and was never slow");
    let mut resumed = EventClient::to(&server, "", Some(end.id));
    resumed.read_start();
    let rest = resumed.changes(usize::try_from(CHANGES - end.id).unwrap());
    assert_eq!((rest[0].id, rest[rest.len() - 1].id), (end.id + 1, CHANGES));
    // A client whose filter selects no change gets heartbeats with the id of the latest change.
    let heartbeat =
        std::iter::from_fn(|| other.next()).find(|heartbeat| heartbeat.id == CHANGES).unwrap();
    assert_eq!(heartbeat.name, "");
    server.signal("-TERM");
    let end = std::iter::from_fn(|| other.next()).last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("end", &json!("closing")));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_client_that_stops_reading_is_closed() {
    let server = Server::start(GATEWAY);
    let client = client_with_small_buffer(&server);
    make_changes(&server, CHANGES);
    // Established connections of the server, as the kernel lists them.
    let is_established = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (own, state) = (fields.next(), fields.nth(1));
        own.is_some_and(|own| own.ends_with(&format!(":{:04X}", server.port)))
            && state == Some("01")
    };
    let since = Instant::now();
    while fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_established) {
        assert!(since.elapsed() < Duration::from_mins(3), "the connection is still open");
        thread::sleep(Duration::from_millis(100));
    }
    drop(client);
}
