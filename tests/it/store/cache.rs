//! The cache is bounded in bytes, and readers see one state of it.

use std::sync::Arc;
use std::thread;

use actix_web::rt::System;
use statusmirror::memory_budget::{MemoryBudget, Share};
use statusmirror::message::{Added, Notification, Reference, StatedProvider, Statement, Status};
use statusmirror::store::Store;
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use tempfile::TempDir;

use crate::support::faults::fault_disk::FaultyDisk;
use crate::support::http::event_client::EventClient;
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::notifications::{at, statement};
use crate::support::*;

const KIB: usize = 1 << 10;

/// A store with so many bytes for its cache.
struct OpenedStore {
    store: Arc<SqliteStore>,
    closing: Closing,
    budget: MemoryBudget,
    _folder: TempDir,
}

impl OpenedStore {
    fn new(cache_max_bytes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let budget = MemoryBudget::default();
        let (store, closing) = SqliteStore::open(&Settings {
            cache_max_bytes,
            lock_wait: INHERITED,
            budget: budget.clone(),
            ..Settings::new(folder.path().join("mirror.db"))
        })
        .unwrap();
        Self { store: Arc::new(store), closing, budget, _folder: folder }
    }

    fn close(self) {
        drop(self.store);
        assert!(self.closing.close());
    }
}

/// A notification with texts as long as they may be.
fn long(number: u64, second: i64) -> Notification {
    let text = |name: &str| format!("{name}{number:08}{}", "x".repeat(1_000));
    let short = |name: &str| format!("{:.512}", text(name));
    let (service, key) = (short("service"), short("key"));
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
    const MOST: usize = 512 * KIB;
    // Beside that: an eighth, and what one delivery brings.
    const BOUND: usize = MOST + MOST / 8 + 128 * KIB;
    let opened = OpenedStore::new(MOST);
    System::new().block_on(async {
        let mut most = 0;
        for number in (0..3_000).step_by(20) {
            let entries = (number..number + 20).map(|number| entry(0, long(number, 1)));
            opened.store.ingest(delivery(at(1), entries.collect())).await.unwrap();
            most = most.max(opened.budget.reserved(Share::Cache));
        }
        assert!((MOST / 2..BOUND).contains(&most), "{most} bytes");
        for number in [0, 1, 1_500, 2_999] {
            let known = opened.store.message(id(number).parse().unwrap()).await.unwrap().unwrap();
            assert!(known.record.provider().name.contains(&format!("{number:08}")));
        }
    });
    opened.close();
}

#[test]
fn a_large_delivery_is_written_back() {
    const MOST: usize = 512 * KIB;
    let opened = OpenedStore::new(MOST);
    System::new().block_on(async {
        let entries = (0..2_000).map(|number| entry(0, long(number, 1)));
        opened.store.ingest(delivery(at(1), entries.collect())).await.unwrap();
        // The next delivery finds the writer in order.
        opened.store.ingest(delivery(at(1), Vec::new())).await.unwrap();
        let bytes = opened.budget.reserved(Share::Cache);
        assert!(bytes <= MOST + MOST / 8, "{bytes} bytes");
        for number in [0, 1_999] {
            assert!(opened.store.message(id(number).parse().unwrap()).await.unwrap().is_some());
        }
    });
    opened.close();
}

#[test]
fn a_message_of_many_notifications_counts_with_all_of_them() {
    let opened = OpenedStore::new(512 * KIB);
    System::new().block_on(async {
        let mut before = 0;
        for number in 0..1_000 {
            let said = Notification::new(
                Statement { ..statement(Status::Sent, Some(at(number))) },
                Added::default(),
            );
            opened.store.ingest(delivery(at(number), vec![entry(0, said)])).await.unwrap();
            if number == 0 {
                before = opened.budget.reserved(Share::Cache);
            }
        }
        let grown = opened.budget.reserved(Share::Cache) - before;
        assert!((15 * KIB..40 * KIB).contains(&grown), "{grown} bytes");
    });
    opened.close();
}

#[test]
fn alternating_registrations_count_towards_the_limit() {
    let server = Server::start(GATEWAY);
    let numbers =
        ["+393331234567", "+393337654321"].map(|it| serde_json::json!({"destination": it}));
    let mut connection = server.connect();
    let mut put = |turn: usize| {
        let path = format!("/api/messages/{}", id(1));
        let headers = [("X-Api-Key", KEY), ("Content-Type", "application/json")];
        connection.send("PUT", &path, &headers, numbers[turn % 2].to_string().as_bytes())
    };
    let answers: Vec<_> = (0..1_010).map(|turn| put(turn).status).collect();
    assert_eq!(answers[0], 201);
    assert!(answers[1..1_000].iter().all(|status| *status == 200));
    // The last one that was taken may be repeated, for that adds nothing.
    assert_eq!(answers[1_000..], [409, 200].repeat(5));
    assert_eq!(put(999).json()["outcome"], "duplicate");
    assert_eq!(put(1_000).status, 409);
    let rows = || -> i64 {
        let db = rusqlite::Connection::open(server.database()).unwrap();
        db.query_row("SELECT count(*) FROM notification", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(), 1_000);
    // A report is put aside.
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
    listener.begin();
    // It takes a while from each commit until it is published.
    disk.is("unpublished");
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
            let (id, told) = (&event.data["message"]["id"], &event.data["message"]["status"]);
            let path = format!("/api/messagestatus/{}", id.as_str().unwrap());
            let found = connection.send("GET", &path, &[("X-Api-Key", KEY)], b"");
            assert_eq!(found.status, 200, "{event:?}");
            let found = found.json()["message"]["status"].as_str().unwrap().to_owned();
            assert!(rank(&found) >= rank(told.as_str().unwrap()), "{found} after {event:?}");
        }
    });
}
