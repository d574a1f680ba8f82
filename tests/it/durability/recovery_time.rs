//! Time until a service with many messages is ready after a kill.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use statusmirror::message::Status;
use statusmirror::store::sqlite::{Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, Store};

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

/// How many messages are stored at a time.
const AT_A_TIME: u64 = 1_000;
/// How long this waits. Two seconds are promised, of an optimised program; the report shows the time, but
/// a busy machine must not decide.
const PATIENCE: Duration = Duration::from_mins(1);

/// Stores so many messages in this server's file, which nobody else may use meanwhile.
fn store_messages(server: &Server, many: u64) {
    let (store, closing) = SqliteStore::open(&Settings {
        max_in_flight: 64,
        lock_wait: INHERITED,
        ..Settings::new(server.database())
    })
    .unwrap();
    System::new().block_on(async {
        for first in (0..many).step_by(usize::try_from(AT_A_TIME).unwrap()) {
            let entry = |number| {
                let mut said = statement(Status::Sent, Some(at(0)));
                said.message = id(1_000_000_000 + number).parse().unwrap();
                said.destination = format!("+39333{number:07}").parse().ok();
                let notification = Box::new(notification(said));
                Entry::Notification { index: 0, notification, by_provider_id: false }
            };
            let delivery = Delivery {
                source: "gateway".to_owned(),
                received_at: at(0),
                content: None,
                url_covered: false,
                entries: (first..first + AT_A_TIME).map(entry).collect(),
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
    let chance = Chance::of("restart");
    let since = Instant::now();
    let many = times(5_000, 1_000_000, 1_000_000);
    let left_behind = times(4, 16, 16) << 20;
    let mut server = Server::start(GATEWAY);
    let wal = server.folder.path().join("mirror.db-wal");
    assert_eq!(server.terminate(), Some(0));
    store_messages(&server, many);
    server.start_again();
    // Then it is killed with a long WAL.
    let (next, enough) = (AtomicU64::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = server.connect();
                while !enough.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = webhook(&id(number * 7_919 % 1_000_003), "SENT", 1).to_string();
                    let path = webhook_path(&format!("&key={number}&action={}", "a".repeat(2_000)));
                    connection.send("POST", &path, JSON, body.as_bytes());
                    let long = fs::metadata(&wal).unwrap().len() >= left_behind;
                    enough.fetch_or(long, Ordering::Relaxed);
                }
            });
        }
    });
    server.kill();
    let left = fs::metadata(&wal).unwrap().len();
    assert!(left >= left_behind, "{left} bytes");
    let killed = Instant::now();
    server.start_again();
    let ready = killed.elapsed();
    assert_eq!(server.send("GET", "/readyz", &[], b"").status, 200);
    assert_eq!(server.history(&id(1_000_000_000)).len(), 1);
    assert!(ready < PATIENCE, "it took {ready:?}");
    let figures = [
        ("messages", many),
        ("MiB of WAL", left >> 20),
        ("ms until ready", u64::try_from(ready.as_millis()).unwrap()),
    ];
    report("P13", &chance, &figures, since);
}
