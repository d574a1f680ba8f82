//! Many clients of `GET /api/events`: each gets every change once from any start. Their number is limited.

use std::collections::BTreeMap;
use std::thread;

use serde_json::json;

use crate::support::faults::amounts::SeededRng;
use crate::support::http::event_client::EventClient;
use crate::support::http::raw_client::{RawClient, get};
use crate::support::*;

/// Number of changes, more than the live ring has room for.
const CHANGES: u64 = 2_600;
const DESTINATIONS: u64 = 5;

fn destination(number: u64) -> String {
    format!("+39333123456{}", number % DESTINATIONS)
}

/// Makes this many changes with long texts; their event ids are 1, 2, 3 and so on.
pub(super) fn make_changes(server: &Server, count: u64) {
    let (key, mut connection) = ("k".repeat(512), server.connect());
    for number in 0..count {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": key, "action": key, "key": key});
        body["message"]["destination"] = json!(destination(number));
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
}

/// Ids of the changes that a client gets, up to the last change.
fn streamed_ids(server: &Server, filter: &str, from: u64) -> Vec<u64> {
    let mut client = EventClient::to(server, filter, Some(from));
    assert_eq!(client.read_start(), from);
    let mut ids = Vec::new();
    while ids.last() != Some(&CHANGES) {
        let event = client.next().expect("another event");
        if event.name == "change" {
            assert_eq!(event.data["message"]["id"], id(event.id - 1));
            ids.push(event.id);
        } else if filter.is_empty() {
            assert_eq!(event.name, "", "{event:?}");
        }
        if event.id == CHANGES {
            break;
        }
    }
    ids
}

#[test]
fn each_client_gets_every_change_once_from_any_start() {
    let server = Server::start(GATEWAY);
    let mut rng = SeededRng::for_test("listeners");
    // The filter selects the last change, so that a client with it ends.
    let last_filter = format!("phonenumber={}", destination(CHANGES - 1).replace('+', "%2B"));
    let late_starts: Vec<_> = (0..12).map(|_| rng.below(CHANGES)).collect();
    thread::scope(|scope| {
        let mut clients = BTreeMap::new();
        for number in 0..12 {
            let (server, filter) = (&server, if number % 3 == 0 { &*last_filter } else { "" });
            clients
                .insert((number, filter, 0), scope.spawn(move || streamed_ids(server, filter, 0)));
        }
        make_changes(&server, CHANGES);
        // Some of these clients start in the ring, others before it.
        for (number, from) in (12..).zip(late_starts) {
            let (server, filter) = (&server, if number % 3 == 0 { &*last_filter } else { "" });
            let client = scope.spawn(move || streamed_ids(server, filter, from));
            clients.insert((number, filter, from), client);
        }
        for ((_, filter, from), client) in clients {
            let expected = (from + 1..=CHANGES)
                .filter(|id| filter.is_empty() || destination(id - 1) == destination(CHANGES - 1));
            assert_eq!(
                client.join().unwrap(),
                expected.collect::<Vec<_>>(),
                "{filter} from {from}"
            );
        }
    });
}

#[test]
fn a_client_gets_changes_after_a_pause_without_clients() {
    let server = Server::start(GATEWAY);
    let post = |number| {
        assert_eq!(server.post(&webhook(&id(number), "SENT", 1).to_string()).status, 200);
    };
    for round in 0..5_u64 {
        let seen = round * 3;
        let mut first = EventClient::to(&server, "", None);
        assert_eq!(first.read_start(), seen);
        post(seen);
        assert_eq!(first.changes(1)[0].id, seen + 1);
        let mut second = EventClient::to(&server, "", Some(seen));
        assert_eq!(second.read_start(), seen);
        post(seen + 1);
        let ids = |client: &mut EventClient, count| {
            client.changes(count).iter().map(|event| event.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&mut second, 2), [seen + 1, seen + 2]);
        assert_eq!(ids(&mut first, 1), [seen + 2]);
        drop((first, second));
        // No client is connected.
        post(seen + 2);
    }
}

#[test]
fn event_clients_beyond_the_limit_are_503() {
    let limit = ("STATUSMIRROR__SERVER__MAX_EVENT_STREAMS", "2".to_owned());
    let server = Server::start_with(GATEWAY, &[limit]);
    let [first, second] = [(); 2].map(|()| {
        let mut client = EventClient::to(&server, "", None);
        client.read_start();
        client
    });
    let answer = server.get("/api/events");
    answer.assert_problem(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.body.contains("server.max_event_streams"), "{answer:?}");
    // An invalid request does not count towards the limit.
    server.get("/api/events?key=k").assert_problem(400);
    drop(first);
    // The second client is still connected.
    wait_for(|| EventClient::to(&server, "", None).read_start_unless_full());
    drop(second);
}

#[test]
fn exports_beyond_the_limit_are_503() {
    let server = Server::start(GATEWAY);
    make_changes(&server, CHANGES);
    // These clients read nothing.
    let mut exports: Vec<_> = (0..15).map(|_| start_export(&server)).collect();
    let path = "/api/messages.csv?variant=plain";
    let rejection = wait_for(|| {
        // One export may have been rejected because the query below had its place.
        exports.push(start_export(&server));
        let answer = server.get(path);
        (answer.status == 503).then_some(answer)
    });
    rejection.assert_problem(503);
    assert!(rejection.body.contains("limit of concurrent exports"), "{rejection:?}");
    assert!(rejection.header("retry-after").is_some(), "{rejection:?}");
    assert_eq!(server.get("/api/messages?count=1").status, 200);
    drop(exports);
    wait_for(|| (server.get(path).status == 200).then_some(()));
}

/// Starts an export without reading it, with a small receive buffer.
fn start_export(server: &Server) -> RawClient {
    let mut client = RawClient::with_small_buffer(server.port);
    client.send(get("/api/messages.csv?variant=plain"));
    client
}
