//! Limits of a transaction: entries and bytes of the deliveries that share it.

use actix_web::rt::System;
use rusqlite::Connection;
use statusmirror::message::{Notification, Statement, Status};
use statusmirror::metrics::Metrics;
use statusmirror::store::{Delivery, Entry, Store, StoredEntry};
use statusmirror::verify::Scheme;

use crate::support::id;
use crate::support::store::deliveries::{delivery, entry};
use crate::support::store::ingest_service::{IngestService, poll_once};
use crate::support::store::notifications::{at, notification, statement};

/// Number of entries after which no further delivery joins a transaction.
const TRANSACTION_ENTRIES: u64 = 512;

/// Number of transactions with more than `bound` entries or deliveries, from the histogram `name`.
fn above(metrics: &Metrics, name: &str, bound: u64) -> u64 {
    let mut text = String::new();
    metrics.write(&mut text).unwrap();
    let number = |line: Option<&str>| -> u64 {
        line.unwrap_or_else(|| panic!("{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (up_to, all) = (
        format!("statusmirror_{name}_bucket{{le=\"{bound}.0\"}}"),
        format!("statusmirror_{name}_count"),
    );
    let find = |start: &str| text.lines().find(|line| line.starts_with(start));
    number(find(&all)) - number(find(&up_to))
}

/// Stores deliveries that are all queued before the writer takes the first.
fn store_at_once(service: &IngestService, deliveries: Vec<Delivery>) -> Vec<Vec<StoredEntry>> {
    let database = service.folder.path().join("mirror.db");
    let blocker = Connection::open(database).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    System::new().block_on(async {
        let mut storing: Vec<_> = deliveries
            .into_iter()
            .map(|delivery| Box::pin(service.store.ingest(delivery)))
            .collect();
        for storing in &mut storing {
            assert!(poll_once(storing).await.is_pending());
        }
        blocker.execute_batch("ROLLBACK").unwrap();
        let mut stored = Vec::new();
        for storing in storing {
            stored.push(storing.await.unwrap());
        }
        stored
    })
}

fn sent(number: u64) -> Notification {
    let message = id(number).parse().unwrap();
    notification(Statement { message, ..statement(Status::Sent, Some(at(1))) })
}

#[test]
fn a_transaction_ends_with_the_delivery_that_passes_512_entries() {
    const DELIVERIES: u64 = 40;
    const ENTRIES_EACH: u64 = 100;
    let service = IngestService::new(&Scheme::None, 64);
    let deliveries = (0..DELIVERIES).map(|number| {
        let first = number * ENTRIES_EACH;
        let entries = (first..first + ENTRIES_EACH).map(|number| entry(0, sent(number)));
        delivery(at(1), entries.collect())
    });
    let stored = store_at_once(&service, deliveries.collect());
    assert!(stored.iter().all(|stored| stored.len() == 100));
    assert_eq!(above(&service.metrics, "commit_entries", 2 * TRANSACTION_ENTRIES), 0);
    // Deliveries were committed together up to the limit.
    assert!(above(&service.metrics, "commit_entries", TRANSACTION_ENTRIES) > 0);
    service.close();
}

#[test]
fn a_transaction_ends_with_the_delivery_that_passes_4_mib() {
    let service = IngestService::new(&Scheme::None, 256);
    let unreadable = (0..200_u8).map(|number| {
        let mut delivery =
            delivery(at(1), vec![Entry::Unreadable { index: 0, reason: "no number".to_owned() }]);
        delivery.content.as_mut().unwrap().body = vec![number; 250_000];
        delivery
    });
    let stored = store_at_once(&service, unreadable.collect());
    assert!(stored.iter().flatten().all(|entry| matches!(entry, StoredEntry::Quarantined { .. })));
    assert_eq!(above(&service.metrics, "commit_deliveries", 32), 0);
    assert!(above(&service.metrics, "commit_deliveries", 8) > 0);
    service.close();
}
