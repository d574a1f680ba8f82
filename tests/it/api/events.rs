//! `GET /api/events`: every change, in order, once.

use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::rt::System;
use actix_web::rt::time::timeout;
use actix_web::test::{self, TestRequest};
use actix_web::web::Data;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use statusmirror::access::api_key::{ApiKey, Scope};
use statusmirror::access::trusted_proxies::TrustedProxies;
use statusmirror::clock::Clock;
use statusmirror::http;
use statusmirror::http::app_state::Service as HttpService;
use statusmirror::memory_budget::Share;
use statusmirror::message::{Added, MessageId, Notification, Record, Status};
use statusmirror::store::sqlite::SqliteStore;
use statusmirror::store::{Change, Changes, Filter, Store};
use statusmirror::verify::Scheme;

use crate::support::faults::amounts::SeededRng;
use crate::support::http::event_client::EventClient;
use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::ingest_service::IngestService;
use crate::support::store::logged_run::{DATABASE, folder, open, random_index};
use crate::support::store::notifications::{any_notification, at, statement};
use crate::support::*;

fn post(server: &Server, body: &Value) {
    assert_eq!(server.post(&body.to_string()).status, 200);
}

#[test]
fn an_event_has_the_message_and_the_previous_status() {
    let server = Server::start(GATEWAY);
    let mut client = EventClient::to(&server, "", None);
    assert_eq!(client.read_start(), 0);
    let id = id(1);
    for (status, second) in [("SENT", 2), ("SENT", 2), ("SENT", 3), ("UNDELIVERED", 4)] {
        post(&server, &webhook(&id, status, second));
    }
    assert_eq!(server.put(&id, &json!({"destination": "+393331234567"})).status, 200);
    post(&server, &webhook(&id, "DELIVERED", 5));
    let events = client.changes(4);
    let changes: Vec<_> = events.iter().map(|event| &event.data).collect();
    let status = |change: &Value| change["message"]["status"].as_str().unwrap().to_owned();
    let actual: Vec<_> = changes
        .iter()
        .map(|change| (status(change), change["previous"].clone(), change["corrected"] == true))
        .collect();
    let expected = [
        ("SENT", Value::Null, false),
        ("UNDELIVERED", json!("SENT"), false),
        ("UNDELIVERED", json!("UNDELIVERED"), false),
        ("DELIVERED", json!("UNDELIVERED"), true),
    ]
    .map(|(status, previous, corrected)| (status.to_owned(), previous, corrected));
    assert_eq!(actual, expected);
    let current = server.get(&format!("/api/messagestatus/{id}")).json();
    assert_eq!(changes[3]["message"], current["message"]);
}

#[test]
fn filters_select_events() {
    let server = Server::start(GATEWAY);
    let post_about = |number: u64, status: &str, key: &str| {
        let mut body = webhook(&id(number), status, 1);
        body["message"]["reference"] = json!({"service": "s", "key": key});
        body["message"]["destination"] = json!(format!("+39333123456{number}"));
        post(&server, &body);
    };
    post_about(1, "SENT", "a b");
    post_about(2, "DELIVERED", "c");
    post_about(1, "REJECTED", "a b");
    post_about(3, "UNDELIVERED", "a b");
    let selected = |filter: &str, count| {
        let mut client = EventClient::to(&server, filter, Some(0));
        client.read_start();
        let events = client.changes(count);
        // No filter of this test selects this change.
        post_about(9, "DELIVERED", "c");
        events.iter().map(|event| event.id).collect::<Vec<_>>()
    };
    assert_eq!(selected("phonenumber=%2B393331234561", 2), [1, 3]);
    assert_eq!(selected("phonenumber=+393331234561&final=true", 1), [3]);
    assert_eq!(selected("referencekey=a+b", 3), [1, 3, 4]);
    assert_eq!(selected("final=false", 1), [1]);
    assert_eq!(selected("status=SENT&status=UNDELIVERED", 2), [1, 4]);
    for filter in ["phonenumber=1", "referencekey=", "status=sent", "final=yes", "key=a", "count=5"]
    {
        server.get(&format!("/api/events?{filter}")).assert_problem(400);
    }
    assert_eq!(server.send("HEAD", "/api/events", &[("X-Api-Key", KEY)], b"").status, 405);
    server.send("GET", "/api/events", &[], b"").assert_problem(403);
}

#[test]
fn a_client_resumes_from_its_last_event_id_also_after_a_kill() {
    let mut server = Server::start(GATEWAY);
    let mut rng = SeededRng::for_test("events");
    let mut events = Vec::new();
    let mut last_id = 0;
    for round in 0..4_u64 {
        thread::scope(|scope| {
            for sender in 0..4 {
                let server = &server;
                scope.spawn(move || {
                    for number in 0..40 {
                        let id = id(sender * 1_000 + number / 2);
                        let status = ["SENT", "UNDELIVERED", "DELIVERED"]
                            [usize::try_from(round % 3).unwrap()];
                        let second = u32::try_from(round * 40 + number).unwrap();
                        post(server, &webhook(&id, status, second));
                    }
                });
            }
            for _ in 0..5 {
                let mut client = EventClient::to(&server, "", Some(last_id));
                assert_eq!(client.read_start(), last_id);
                let count = usize::try_from(1 + rng.below(4)).unwrap();
                events.extend(client.changes(count));
                last_id = events.last().unwrap().id;
            }
        });
        if round % 2 == 0 {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        server.restart();
    }
    // The remaining events, up to that of a last message.
    let mut client = EventClient::to(&server, "", Some(last_id));
    client.read_start();
    post(&server, &webhook(&id(9_999), "SENT", 1));
    while events.last().unwrap().data["message"]["id"] != id(9_999) {
        events.extend(client.changes(1));
    }
    assert_eq!(server.terminate(), Some(0));
    server.restart();
    // The whole feed again, from the database: after a restart, nothing of it is in memory.
    let mut replayed = EventClient::to(&server, "", Some(0));
    replayed.read_start();
    assert_eq!(replayed.changes(events.len()), events);
    assert!(events.is_sorted_by(|a, b| a.id < b.id));
    let mut statuses = std::collections::BTreeMap::new();
    for event in &events {
        let message = &event.data["message"];
        let previous = statuses.insert(message["id"].to_string(), message["status"].clone());
        assert_eq!(event.data["previous"], previous.unwrap_or(Value::Null), "{event:?}");
    }
    for (last_id, is_ahead) in [("1000000", true), ("-1", false), ("x", false)] {
        let headers = [("X-Api-Key", KEY), ("Last-Event-ID", last_id)];
        let answer = server.send("GET", "/api/events", &headers, b"");
        answer.assert_problem(400);
        assert_eq!(
            answer.body.contains("is greater than the id of the last event"),
            is_ahead,
            "{answer:?}"
        );
    }
}

#[test]
fn erased_messages_have_no_events() {
    let server = Server::start(GATEWAY);
    for number in 1..=3 {
        let mut body = webhook(&id(number), "SENT", 1);
        body["message"]["destination"] = json!(format!("+39333123456{number}"));
        post(&server, &body);
    }
    assert!(server.run(&["erase", "--destination", "+393331234563", "--yes"]).status.success());
    let mut client = EventClient::to(&server, "", Some(1));
    assert_eq!(client.read_start(), 1);
    assert_eq!(client.changes(1)[0].id, 2);
    post(&server, &webhook(&id(1), "DELIVERED", 2));
    assert_eq!(client.changes(1)[0].id, 4);
}

/// Writes a change as one line: its number, the previous status, and the message as the API shows it.
fn write(text: &mut Vec<u8>, change: &Change<'_>) {
    writeln!(text, "{} {:?} {:?}", change.number, change.previous, change.message).unwrap();
}

/// Changes after the number `after`, each with its number.
async fn changes_after(store: &dyn Store, mut after: i64) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    loop {
        let Changes { text: lines, last, more, .. } =
            store.changes(after, Arc::new(Filter::default()), write).await.unwrap();
        found.extend(text(&lines).lines().map(|line| {
            let (number, rest) = line.split_once(' ').unwrap();
            (number.parse().unwrap(), rest.to_owned())
        }));
        after = last;
        if !more {
            return found;
        }
    }
}

#[test]
fn the_change_feed_equals_the_model_wherever_the_records_are() {
    let folder = folder();
    let path = folder.path().join(DATABASE);
    let mut rng = SeededRng::for_test("changes");
    let mut runner = TestRunner::deterministic();
    let mut model: std::collections::HashMap<MessageId, (Option<Record>, Vec<_>)> =
        std::collections::HashMap::new();
    let mut expected = Vec::new();
    for period in 1..=6 {
        let (store, closing) = open(&path).unwrap();
        System::new().block_on(async {
            for second in 1..=60 {
                let received_at = at(period * 100 + second);
                let message = id(rng.below(20)).parse().unwrap();
                let (notification, _) = any_notification().new_tree(&mut runner).unwrap().current();
                let notification = with_message(message, &notification);
                let (record, identities) = model.entry(message).or_default();
                let is_stored = identities.contains(&notification.identity());
                let judged = Record::judge(record.as_ref(), &notification, received_at, is_stored);
                if judged.changed {
                    let (previous, current) = (
                        record.as_ref().map(|record| record.status),
                        judged.record.as_ref().unwrap(),
                    );
                    expected.push(format!("{previous:?} {:?}", current.shown(message)));
                }
                *record = judged.record;
                identities.push(notification.identity());
                store.ingest(delivery(received_at, vec![entry(0, notification)])).await.unwrap();
            }
            let feed = changes_after(&store, 0).await;
            let changes: Vec<_> = feed.iter().map(|(_, change)| change.clone()).collect();
            assert_eq!(changes, expected);
            assert!(feed.is_sorted_by_key(|(number, _)| *number));
            let from = random_index(&mut rng, feed.len());
            assert_eq!(changes_after(&store, feed[from].0).await, feed[from + 1..]);
        });
        drop(store);
        assert!(closing.close());
    }
}

#[test]
fn event_streams_leave_half_of_the_memory_for_answers() {
    let service = IngestService::new(&Scheme::None, 64);
    let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&service.store);
    let keys = vec![ApiKey::new("tests", KEY, vec![Scope::Read])];
    let (ingest, proxies) = (Arc::clone(&service.ingest), TrustedProxies::default());
    let http = HttpService::new(ingest, store, keys, proxies, Clock::Fixed(at(1)));
    let half = service.budget.reserve(Share::Answers, Share::Answers.limit() / 2).unwrap();
    System::new().block_on(async {
        let app = test::init_service(http::app(Data::new(http), http::all)).await;
        let get = async |path: &str| {
            let request = TestRequest::get().uri(path).insert_header(("X-Api-Key", KEY));
            let request = request.insert_header(("Last-Event-ID", "0"));
            test::call_service(&app, request.to_request()).await
        };
        let sent = Notification::new(statement(Status::Sent, Some(at(1))), Added::default());
        service.store.ingest(delivery(at(1), vec![entry(0, sent)])).await.unwrap();
        let stream = get("/api/events").await.into_body();
        // A stream that could take more memory would not end.
        let text = timeout(Duration::from_secs(10), to_bytes(stream)).await.unwrap();
        let text = String::from_utf8(text.ok().unwrap().to_vec()).unwrap();
        assert!(text.contains("\"unavailable\""), "{text}");
        assert_eq!(get("/api/messages").await.status(), 200);
    });
    drop(half);
    service.close();
}
