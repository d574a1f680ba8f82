//! The cache: its bound in bytes, and one consistent state for readers.

use std::thread;

use statusmirror::memory_budget::Share;
use statusmirror::message::{Added, Notification, Reference, StatedProvider, Statement, Status};
use statusmirror::store::Store;

use crate::support::faults::fault_disk::FaultyDisk;
use crate::support::http::event_client::EventClient;
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::notifications::{at, statement};
use crate::support::store::opened::OpenedStore;
use crate::support::*;

const KIB: usize = 1 << 10;

/// Opens a store with a cache of at most this many bytes.
fn open(cache_max_bytes: usize) -> OpenedStore {
    OpenedStore::with_settings(|settings| settings.cache_max_bytes = cache_max_bytes)
}

/// Notification whose texts have the maximum length.
fn long_notification(number: u64, second: i64) -> Notification {
    let text = |name: &str| format!("{name}{number:08}{}", "x".repeat(1_000));
    let short_text = |name: &str| format!("{:.512}", text(name));
    let (service, key) = (short_text("service"), short_text("key"));
    Notification::new(
        Statement {
            message: id(number).parse().unwrap(),
            reference: Reference::new(Some(service), None, Some(key)).unwrap(),
            provider: StatedProvider {
                name: text("name"),
                id: "p".to_owned(),
                status: text("status"),
                code: text("code"),
                message: text("message"),
            },
            ..statement(Status::Sent, Some(at(second)))
        },
        Added::default(),
    )
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    const CACHE_MAX_BYTES: usize = 512 * KIB;
    // The limit may be exceeded by an eighth, and by one delivery.
    const BOUND: usize = CACHE_MAX_BYTES + CACHE_MAX_BYTES / 8 + 128 * KIB;
    let opened = open(CACHE_MAX_BYTES);
    opened.system.block_on(async {
        let mut max_bytes = 0;
        for number in (0..3_000).step_by(20) {
            let entries =
                (number..number + 20).map(|number| entry(0, long_notification(number, 1)));
            opened.store.ingest(delivery(at(1), entries.collect())).await.unwrap();
            max_bytes = max_bytes.max(opened.settings.budget.reserved(Share::Cache));
        }
        assert!((CACHE_MAX_BYTES / 2..BOUND).contains(&max_bytes), "{max_bytes} bytes");
        for number in [0, 1, 1_500, 2_999] {
            let message = opened.store.message(id(number).parse().unwrap()).await.unwrap().unwrap();
            assert!(message.record.provider().name.contains(&format!("{number:08}")));
        }
    });
    opened.close();
}

#[test]
fn a_large_delivery_is_written_back() {
    const CACHE_MAX_BYTES: usize = 512 * KIB;
    let opened = open(CACHE_MAX_BYTES);
    opened.system.block_on(async {
        let entries = (0..2_000).map(|number| entry(0, long_notification(number, 1)));
        opened.store.ingest(delivery(at(1), entries.collect())).await.unwrap();
        // The writer writes back the excess before it takes the next delivery.
        opened.store.ingest(delivery(at(1), Vec::new())).await.unwrap();
        let bytes = opened.settings.budget.reserved(Share::Cache);
        assert!(bytes <= CACHE_MAX_BYTES + CACHE_MAX_BYTES / 8, "{bytes} bytes");
        for number in [0, 1_999] {
            assert!(opened.store.message(id(number).parse().unwrap()).await.unwrap().is_some());
        }
    });
    opened.close();
}

#[test]
fn a_message_of_many_notifications_counts_with_all_of_them() {
    let opened = open(512 * KIB);
    opened.system.block_on(async {
        let mut before = 0;
        for number in 0..1_000 {
            let notification = Notification::new(
                Statement { ..statement(Status::Sent, Some(at(number))) },
                Added::default(),
            );
            opened.store.ingest(delivery(at(number), vec![entry(0, notification)])).await.unwrap();
            if number == 0 {
                before = opened.settings.budget.reserved(Share::Cache);
            }
        }
        let growth = opened.settings.budget.reserved(Share::Cache) - before;
        assert!((15 * KIB..40 * KIB).contains(&growth), "{growth} bytes");
    });
    opened.close();
}

#[test]
fn alternating_registrations_count_towards_the_limit() {
    let server = Server::start(GATEWAY);
    let registrations = ["+393331234567", "+393337654321"]
        .map(|destination| serde_json::json!({ "destination": destination }));
    let mut connection = server.connect();
    let mut put = |turn: usize| {
        let path = format!("/api/messages/{}", id(1));
        let headers = [("X-Api-Key", KEY), ("Content-Type", "application/json")];
        connection.send("PUT", &path, &headers, registrations[turn % 2].to_string().as_bytes())
    };
    let statuses: Vec<_> = (0..1_010).map(|turn| put(turn).status).collect();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..1_000].iter().all(|status| *status == 200));
    // A repetition of the last accepted registration adds no row, so it is accepted.
    assert_eq!(statuses[1_000..], [409, 200].repeat(5));
    assert_eq!(put(999).json()["outcome"], "duplicate");
    assert_eq!(put(1_000).status, 409);
    let rows = || -> i64 {
        let db = rusqlite::Connection::open(server.database()).unwrap();
        db.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(), 1_000);
    // A report beyond the limit is quarantined.
    assert_eq!(server.post(&webhook(&id(1), "SENT", 1).to_string()).outcome(), "quarantined");
}

#[test]
fn a_query_after_an_event_shows_its_change() {
    const STATUSES: [&str; 6] =
        ["PROVIDER_ACCEPTANCE", "SENT", "REJECTED", "UNDELIVERED", "DELIVERED", "READ"];
    let rank = |status: &str| STATUSES.iter().position(|known| *known == status).unwrap();
    let disk = FaultyDisk::new();
    let server = Server::start_with(GATEWAY, &disk.envs());
    let mut listener = EventClient::to(&server, "", None);
    listener.read_start();
    // Delays the publication of each commit.
    disk.set_fault("slow-statx");
    thread::scope(|scope| {
        for first in [0, 1_000] {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                for number in first..first + 30 {
                    for (status, second) in [("SENT", 1), ("DELIVERED", 2)] {
                        let body = webhook(&id(number), status, second).to_string();
                        let answer =
                            connection.send("POST", &webhook_path(""), JSON, body.as_bytes());
                        assert_eq!(answer.status, 200, "{answer:?}");
                    }
                }
            });
        }
        let mut connection = server.connect();
        for _ in 0..120 {
            let event = listener.changes(1).pop().unwrap();
            let (id, status) = (&event.data["message"]["id"], &event.data["message"]["status"]);
            let path = format!("/api/messagestatus/{}", id.as_str().unwrap());
            let answer = connection.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            assert_eq!(answer.status, 200, "{event:?}");
            let found = answer.json()["message"]["status"].as_str().unwrap().to_owned();
            assert!(rank(&found) >= rank(status.as_str().unwrap()), "{found} after {event:?}");
        }
    });
}
