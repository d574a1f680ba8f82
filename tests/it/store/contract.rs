//! The contract of every store, independent of its tables. A second store runs the same tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::rt::System;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use statusmirror::message::{
    Kind, MAX_NOTIFICATIONS, MessageId, Notification, Outcome, Record, Status,
};
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, Store, StoredEntry};
use tempfile::TempDir;

use crate::support::id;
use crate::support::store::deliveries::{delivery, entry, visible_values, with_message};
use crate::support::store::notifications::{
    Arrived, at, expected_record, notification, set_in_two_orders, statement,
};

/// Store in a folder of its own, with at most `quarantine_max_rows` rows in quarantine.
fn open(quarantine_max_rows: u64) -> (Arc<dyn Store>, Closing, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (store, closing) = SqliteStore::open(&Settings {
        max_in_flight: 64,
        quarantine_max_rows,
        // A limit so low that records are written back all the time.
        cache_max_messages: 5,
        ..Settings::new(folder.path().join("mirror.db"))
    })
    .unwrap();
    (Arc::new(store), closing, folder)
}

#[test]
fn any_order_and_repetition_gives_the_record_of_the_model() {
    let (first, second) = (open(10), open(10));
    let mut runner = TestRunner::deterministic();
    System::new().block_on(async {
        for number in 1..=400 {
            let orders = set_in_two_orders().new_tree(&mut runner).unwrap().current();
            // The result depends on the order of registrations, so each set keeps only one of them.
            let mut notifications = orders.0.iter().map(|(notification, _)| notification.clone());
            let registration = notifications
                .find(|notification| notification.statement().kind == Kind::Registration);
            let message: MessageId = id(number).parse().unwrap();
            let mut records = Vec::new();
            for (arriving, store) in [(orders.0, &first.0), (orders.1, &second.0)] {
                let arriving: Vec<Arrived> = arriving
                    .iter()
                    .filter(|(notification, _)| {
                        notification.statement().kind == Kind::Report
                            || Some(notification) == registration.as_ref()
                    })
                    .map(|(notification, time)| (with_message(message, notification), *time))
                    .collect();
                let expected = expected_record(&arriving, Notification::identity);
                for (notification, arrived_at) in arriving {
                    store.ingest(delivery(arrived_at, vec![entry(0, notification)])).await.unwrap();
                }
                let record = store.message(message).await.unwrap().map(|found| found.record);
                let record = record.as_ref().map(visible_values);
                assert_eq!(record, expected.as_ref().map(visible_values));
                records.push(record);
            }
            assert_eq!(records[0], records[1]);
        }
    });
    for (store, closing, _folder) in [first, second] {
        drop(store);
        assert!(closing.close());
    }
}

#[test]
fn the_last_registration_wins_although_the_clock_was_set_back() {
    let (store, _closing, _folder) = open(10);
    let message: MessageId = id(1).parse().unwrap();
    let registered = |destination: &str| {
        let mut statement = statement(Status::ProviderAcceptance, None);
        statement.kind = Kind::Registration;
        statement.destination = destination.parse().ok();
        with_message(message, &notification(statement))
    };
    let destinations = ["+393331234567", "+393337654321", "+393331234567", "+393337654321"];
    System::new().block_on(async {
        let times = [at(50), at(40), at(40), at(10)];
        for (destination, arrived_at) in destinations.into_iter().zip(times) {
            let stored = store
                .ingest(delivery(arrived_at, vec![entry(0, registered(destination))]))
                .await
                .unwrap();
            assert_eq!(outcomes(&stored), [Some(Outcome::Applied)]);
            let record = store.message(message).await.unwrap().unwrap().record;
            assert_eq!(record.destination.unwrap().value.to_string(), destination);
        }
    });
}

#[test]
fn a_delivery_of_many_entries_equals_many_deliveries() {
    let (many, single) = (open(10), open(10));
    let mut runner = TestRunner::deterministic();
    System::new().block_on(async {
        for number in 1..=100 {
            let arriving = prop::collection::vec(
                crate::support::store::notifications::any_notification(),
                2..8,
            )
            .new_tree(&mut runner)
            .unwrap()
            .current();
            let message: MessageId = id(number).parse().unwrap();
            let notifications: Vec<Notification> = arriving
                .iter()
                .map(|(notification, _)| with_message(message, notification))
                .collect();
            let entries = (0..)
                .zip(notifications.iter().cloned())
                .map(|(index, notification)| entry(index, notification));
            let together = many.0.ingest(delivery(at(20), entries.collect())).await.unwrap();
            let mut apart = Vec::new();
            for notification in notifications {
                let delivery = delivery(at(20), vec![entry(0, notification)]);
                apart.extend(single.0.ingest(delivery).await.unwrap());
            }
            assert_eq!(outcomes(&together), outcomes(&apart));
            let found = |store: Arc<dyn Store>| async move {
                store.message(message).await.unwrap().map(|found| found.record)
            };
            let record: Option<Record> = found(Arc::clone(&many.0)).await;
            assert_eq!(record, found(Arc::clone(&single.0)).await);
        }
    });
}

fn outcomes(stored: &[StoredEntry]) -> Vec<Option<Outcome>> {
    let outcome = |stored: &StoredEntry| match stored {
        StoredEntry::Judged { outcome, .. } => Some(*outcome),
        StoredEntry::Quarantined { .. }
        | StoredEntry::QuarantineFull
        | StoredEntry::Ignored { .. }
        | StoredEntry::Erased
        | StoredEntry::TooMany => None,
    };
    stored.iter().map(outcome).collect()
}

#[test]
fn an_unreadable_entry_is_quarantined_and_the_rest_is_stored() {
    // One source may use half of the rows: 2.
    let (store, _closing, _folder) = open(4);
    let unreadable = |index| Entry::Unreadable { index, reason: "a test".to_owned() };
    let sent = |number: u64| {
        let message = id(number).parse().unwrap();
        with_message(message, &notification(statement(Status::Sent, Some(at(1)))))
    };
    let with = |first: u64, second: u64| {
        let entries =
            vec![entry(0, sent(first)), unreadable(1), entry(2, sent(second)), unreadable(3)];
        delivery(at(2), entries)
    };
    System::new().block_on(async {
        let is_stored =
            async |number: u64| store.message(id(number).parse().unwrap()).await.unwrap().is_some();
        let stored = store.ingest(with(1, 2)).await.unwrap();
        assert_eq!(outcomes(&stored), [Some(Outcome::Applied), None, Some(Outcome::Applied), None]);
        assert!(is_stored(1).await && is_stored(2).await);
        // A repeated delivery increments the counters of its rows. Another delivery finds the
        // quarantine full, and only its readable entries are stored.
        store.ingest(with(1, 2)).await.unwrap();
        let rows = store.quarantine(0, 10).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.entry, row.times)).collect::<Vec<_>>(),
            [(1, 2), (3, 2)]
        );
        let full = store.ingest(with(3, 4)).await.unwrap();
        assert_eq!(outcomes(&full), [Some(Outcome::Applied), None, Some(Outcome::Applied), None]);
        assert!(
            matches!(full[1], StoredEntry::QuarantineFull)
                && matches!(full[3], StoredEntry::QuarantineFull)
        );
        assert!(is_stored(3).await && is_stored(4).await);
        assert_eq!(store.quarantine(0, 10).await.unwrap().len(), 2);
        // The full quarantine still counts repetitions.
        store.ingest(with(1, 2)).await.unwrap();
        assert_eq!(store.quarantine(0, 10).await.unwrap()[0].times, 3);
    });
}

#[test]
fn every_change_of_a_record_is_in_one_sequence() {
    let (store, closing, folder) = open(10);
    let mut runner = TestRunner::deterministic();
    let mut changes = Vec::new();
    System::new().block_on(async {
        for round in 0..300_u64 {
            let (notification, arrived_at) =
                crate::support::store::notifications::any_notification()
                    .new_tree(&mut runner)
                    .unwrap()
                    .current();
            let message: MessageId = id(round % 20).parse().unwrap();
            let before = store.message(message).await.unwrap().map(|found| found.record);
            store
                .ingest(delivery(arrived_at, vec![entry(0, with_message(message, &notification))]))
                .await
                .unwrap();
            let after = store.message(message).await.unwrap().map(|found| found.record);
            let shown = |record: &Option<Record>| record.as_ref().map(visible_values);
            if shown(&before) != shown(&after) {
                changes.push((message, before.map(|record| record.status)));
            }
        }
    });
    drop(store);
    assert!(closing.close());
    let db = Connection::open(folder.path().join("mirror.db")).unwrap();
    let mut select = db
        .prepare(
            "SELECT seq, message, nullif(changed_from, -1) FROM notification \
             WHERE changed_from IS NOT NULL ORDER BY seq",
        )
        .unwrap();
    let rows: Vec<(i64, Vec<u8>, Option<u32>)> = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(changes.len() > 50);
    assert_eq!(rows.len(), changes.len());
    let mut last = 0;
    for ((seq, message, previous), (changed, status)) in rows.iter().zip(&changes) {
        assert!(*seq > last);
        last = *seq;
        assert_eq!(message, changed.as_bytes());
        assert_eq!(previous.map(|place| Status::ALL[usize::try_from(place).unwrap()]), *status);
    }
}

#[test]
fn a_registration_beyond_the_limit_is_rejected_and_a_report_quarantined() {
    let (store, _closing, _folder) = open(10);
    let message: MessageId = id(1).parse().unwrap();
    let sent_at = |second: u32| {
        with_message(message, &notification(statement(Status::Sent, Some(at(i64::from(second))))))
    };
    System::new().block_on(async {
        let entries = (0..MAX_NOTIFICATIONS).map(|second| entry(second, sent_at(second))).collect();
        let stored = store.ingest(delivery(at(1), entries)).await.unwrap();
        let mut counted = BTreeMap::new();
        for outcome in outcomes(&stored) {
            *counted.entry(format!("{outcome:?}")).or_insert(0) += 1;
        }
        assert_eq!(counted.values().sum::<u32>(), MAX_NOTIFICATIONS);
        assert!(!counted.contains_key("None"), "{counted:?}");
        let further = delivery(at(2), vec![entry(0, sent_at(MAX_NOTIFICATIONS))]);
        let stored = store.ingest(further.clone()).await.unwrap();
        assert!(matches!(stored[..], [StoredEntry::Quarantined { .. }]), "{stored:?}");
        let stored = store.ingest(Delivery { content: None, ..further }).await.unwrap();
        assert!(matches!(stored[..], [StoredEntry::TooMany]), "{stored:?}");
    });
}
