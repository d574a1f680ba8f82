//! Many clients of `GET /api/events`: each gets every change once, from any start, and their number is limited.

use std::collections::BTreeMap;
use std::thread;

use serde_json::json;

use crate::support::faults::amounts::Chance;
use crate::support::http::event_client::EventClient;
use crate::support::http::raw_client::{RawClient, get};
use crate::support::*;

/// Changes that take more than the live ring has room for.
const CHANGES: u64 = 2_600;
const DESTINATIONS: u64 = 5;

fn destination(number: u64) -> String {
    format!("+39333123456{}", number % DESTINATIONS)
}

/// Makes that many changes with long texts; their event ids are 1, 2, 3 and so on.
fn make_changes(server: &Server) {
    let (key, mut connection) = ("k".repeat(512), server.connect());
    for number in 0..CHANGES {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["reference"] = json!({"service": key, "action": key, "key": key});
        body["message"]["destination"] = json!(destination(number));
        let body = body.to_string();
        let answer = connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
}

/// The changes that a listener is told, up to the last one.
fn told(server: &Server, filter: &str, from: u64) -> Vec<u64> {
    let mut listener = EventClient::to(server, filter, Some(from));
    assert_eq!(listener.begin(), from);
    let mut told = Vec::new();
    while told.last() != Some(&CHANGES) {
        let event = listener.next().expect("another event");
        if event.name == "change" {
            assert_eq!(event.data["message"]["id"], id(event.id - 1));
            told.push(event.id);
        } else if filter.is_empty() {
            assert_eq!(event.name, "", "{event:?}");
        }
        if event.id == CHANGES {
            break;
        }
    }
    told
}

#[test]
fn each_client_gets_every_change_once_from_any_start() {
    let server = Server::start(GATEWAY);
    let mut chance = Chance::of("listeners");
    // The last one has a number of its own.
    let last = format!("phonenumber={}", destination(CHANGES - 1).replace('+', "%2B"));
    let begin_late: Vec<_> = (0..12).map(|_| chance.below(CHANGES)).collect();
    thread::scope(|scope| {
        let mut listeners = BTreeMap::new();
        for number in 0..12 {
            let (server, filter) = (&server, if number % 3 == 0 { &*last } else { "" });
            listeners.insert((number, filter, 0), scope.spawn(move || told(server, filter, 0)));
        }
        make_changes(&server);
        // Some of these begin in the ring and others before it.
        for (number, from) in (12..).zip(begin_late) {
            let (server, filter) = (&server, if number % 3 == 0 { &*last } else { "" });
            let told = scope.spawn(move || told(server, filter, from));
            listeners.insert((number, filter, from), told);
        }
        for ((_, filter, from), told) in listeners {
            let wanted = (from + 1..=CHANGES)
                .filter(|id| filter.is_empty() || destination(id - 1) == destination(CHANGES - 1));
            assert_eq!(told.join().unwrap(), wanted.collect::<Vec<_>>(), "{filter} from {from}");
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
        assert_eq!(first.begin(), seen);
        post(seen);
        assert_eq!(first.changes(1)[0].id, seen + 1);
        let mut again = EventClient::to(&server, "", Some(seen));
        assert_eq!(again.begin(), seen);
        post(seen + 1);
        let ids = |listener: &mut EventClient, count| {
            listener.changes(count).iter().map(|event| event.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&mut again, 2), [seen + 1, seen + 2]);
        assert_eq!(ids(&mut first, 1), [seen + 2]);
        drop((first, again));
        // Nobody listens.
        post(seen + 2);
    }
}

#[test]
fn event_clients_beyond_the_limit_are_503() {
    let limit = ("STATUSMIRROR__SERVER__MAX_EVENT_STREAMS", "2".to_owned());
    let server = Server::start_with(GATEWAY, &[limit]);
    let [first, second] = [(); 2].map(|()| {
        let mut listener = EventClient::to(&server, "", None);
        listener.begin();
        listener
    });
    let answer = server.get("/api/events");
    answer.assert_problem(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.body.contains("server.max_event_streams"), "{answer:?}");
    // What is asked wrongly takes no place.
    server.get("/api/events?key=k").assert_problem(400);
    drop(first);
    // Beside the second.
    eventually(|| EventClient::to(&server, "", None).begin_unless_full());
    drop(second);
}

#[test]
fn exports_beyond_the_limit_are_503() {
    let server = Server::start(GATEWAY);
    make_changes(&server);
    // They take nothing of what they are sent.
    let mut exports: Vec<_> = (0..15).map(|_| export(&server)).collect();
    let path = "/api/messages?format=csv-plain";
    let refused = eventually(|| {
        // One of them may have come while another query had its place.
        exports.push(export(&server));
        let answer = server.get(path);
        (answer.status == 503).then_some(answer)
    });
    refused.assert_problem(503);
    assert!(refused.body.contains("limit of concurrent exports"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(server.get("/api/messages?count=1").status, 200);
    drop(exports);
    eventually(|| (server.get(path).status == 200).then_some(()));
}

/// Asks for an export, with little room for what it does not read.
fn export(server: &Server) -> RawClient {
    let mut raw = RawClient::with_small_buffer(server.port);
    raw.send(get("/api/messages?format=csv-plain"));
    raw
}
