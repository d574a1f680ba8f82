//! Time until a service with many messages is ready after a kill.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use statusmirror::message::Status;
use statusmirror::store::sqlite::{Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, Store};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

/// Number of messages per delivery.
const MESSAGES_PER_DELIVERY: u64 = 1_000;
/// Time after which the test fails. Two seconds are promised, for an optimised program; the report shows the
/// time, but a busy machine must not fail the test.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

/// Stores this number of messages in the server's database, which no other process may use meanwhile.
fn store_messages(server: &Server, messages: u64) {
    let (store, closing) = SqliteStore::open(&Settings {
        max_in_flight: 64,
        lock_wait: INHERITED_LOCK_WAIT,
        ..Settings::new(server.database())
    })
    .unwrap();
    System::new().block_on(async {
        for first in (0..messages).step_by(usize::try_from(MESSAGES_PER_DELIVERY).unwrap()) {
            let entry = |number| {
                let mut statement = statement(Status::Sent, Some(at(0)));
                statement.message = id(1_000_000_000 + number).parse().unwrap();
                statement.destination = format!("+39333{number:07}").parse().ok();
                let notification = Box::new(notification(statement));
                Entry::Notification { index: 0, notification, by_provider_id: false }
            };
            let delivery = Delivery {
                source: "gateway".to_owned(),
                received_at: at(0),
                content: None,
                url_covered: false,
                entries: (first..first + MESSAGES_PER_DELIVERY).map(entry).collect(),
                replay_of: None,
            };
            store.ingest(delivery).await.unwrap();
        }
    });
    drop(store);
    assert!(closing.close());
}

#[test]
fn a_service_with_many_messages_is_ready_soon_after_a_kill() {
    let rng = SeededRng::for_test("restart");
    let since = Instant::now();
    let messages = repetitions(5_000, 1_000_000, 1_000_000);
    let wal_bytes = repetitions(4, 16, 16) << 20;
    let mut server = Server::start(GATEWAY);
    let wal = server.folder.path().join("mirror.db-wal");
    assert_eq!(server.terminate(), Some(0));
    store_messages(&server, messages);
    server.restart();
    // The WAL grows, and then the server is killed.
    let (next, is_enough) = (AtomicU64::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = server.connect();
                while !is_enough.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = webhook(&id(number * 7_919 % 1_000_003), "SENT", 1).to_string();
                    let path = webhook_path(&format!("&key={number}&action={}", "a".repeat(2_000)));
                    connection.send("POST", &path, JSON, body.as_bytes());
                    let is_long = fs::metadata(&wal).unwrap().len() >= wal_bytes;
                    is_enough.fetch_or(is_long, Ordering::Relaxed);
                }
            });
        }
    });
    server.kill();
    let left = fs::metadata(&wal).unwrap().len();
    assert!(left >= wal_bytes, "{left} bytes");
    let killed = Instant::now();
    server.restart();
    let ready = killed.elapsed();
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
    assert_eq!(server.history(&id(1_000_000_000)).len(), 1);
    assert!(ready < READY_TIMEOUT, "ready after {ready:?}");
    let figures = [
        ("messages", messages),
        ("MiB of WAL", left >> 20),
        ("ms until ready", u64::try_from(ready.as_millis()).unwrap()),
    ];
    report("P13", &rng, &figures, since);
}
