//! Write-back: records are shown alike from the cache and from the table.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use statusmirror::message::{Destination, Kind, Notification, Outcome, Record, Shown, Status};
use statusmirror::store::sqlite::contents;
use statusmirror::store::{
    Entry, Key, Listed, Page, Part, Place, SearchFilter, Store, StoredEntry,
};

use crate::support::faults::amounts::{SeededRng, repetitions, report};
use crate::support::id;
use crate::support::store::deliveries::{delivery, entry, visible_values, with_message};
use crate::support::store::model::Model;
use crate::support::store::notifications::{Arrived, any_notification, at};
use crate::support::store::opened::OpenedStore;
use crate::support::store::search_check;

const DESTINATIONS: [&str; 2] = ["+393331234567", "+393337654321"];

/// Step of a random scenario.
#[derive(Debug, Clone)]
enum Step {
    /// Notifications of these messages, in one delivery.
    Deliver(Vec<(u64, Arrived)>),
    /// Orderly stop and start.
    Restart,
    /// Kill and start.
    Crash,
    /// Erasure of this destination.
    Erase(&'static str),
}

fn any_step() -> impl Strategy<Value = Step> {
    let notifications = prop::collection::vec((1..10_u64, any_notification()), 1..4);
    prop_oneof![
        20 => notifications.prop_map(Step::Deliver),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => select(DESTINATIONS.to_vec()).prop_map(Step::Erase),
    ]
}

/// Opens a store that caches at most this many messages.
fn open(cache_max_messages: usize) -> OpenedStore {
    OpenedStore::with_settings(|settings| {
        settings.cache_max_messages = cache_max_messages;
        let most_runs = 1 + cache_max_messages % 3;
        settings.index_runs = most_runs.min(2)..=most_runs;
        if cache_max_messages.is_multiple_of(2) {
            // Each part of a search ends as early as possible.
            settings.search_part = Duration::ZERO;
        }
    })
}

impl OpenedStore {
    fn restarted(self) -> Self {
        let (folder, settings) = self.close();
        assert!(
            count_replayed(&settings.path) <= 0,
            "an orderly stop must leave nothing to replay"
        );
        Self::open(folder, settings)
    }

    /// Store on a copy of the files as they are now, as after a kill.
    fn crashed(self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["mirror.db", "mirror.db-wal"] {
            fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let crashed = Self::open(folder, self.settings.clone());
        self.close();
        crashed
    }

    /// Asserts that all queries return what the model has.
    async fn assert_equals(&self, model: &Model) {
        for (id, known) in &model.known {
            let found = self.store.message(*id).await.unwrap().map(|message| message.record);
            assert_eq!(
                found.as_ref().map(visible_values),
                known.record.as_ref().map(visible_values),
                "{id}"
            );
            let history = self.store.history(*id, Part::First { bytes: usize::MAX }).await.unwrap();
            assert_eq!(history.is_some(), !known.notifications.is_empty(), "{id}");
            if let Some(history) = history {
                assert_eq!(
                    history.record.as_ref().map(visible_values),
                    found.as_ref().map(visible_values)
                );
                let notifications = history
                    .in_full
                    .iter()
                    .map(|notification| (notification.received_at, notification.outcome));
                let expected = known.notifications.iter().map(|(_, at, outcome)| (*at, *outcome));
                assert!(notifications.eq(expected), "{id}");
            }
            let identities =
                known.notifications.iter().map(|(identity, ..)| (*id, *identity)).collect();
            assert!(self.store.holds(identities).await.unwrap());
        }
        let records = || model.known.values().filter_map(|known| known.record.as_ref());
        let stats = self.store.stats().await.unwrap();
        let without_destination = records().filter(|record| record.destination.is_none()).count();
        assert_eq!(stats.without_destination, u64::try_from(without_destination).unwrap());
        let unfinished = records().filter(|record| record.status <= Status::Sent);
        assert_eq!(stats.oldest_unfinished, unfinished.map(Record::accepted_at).min());
        let destinations =
            DESTINATIONS.map(|destination| Key::Destination(destination.parse().unwrap()));
        let references = ["a", "b"].map(|key| Key::Reference(key.to_owned()));
        let provider_ids =
            ["p1", "p2"].map(|id| Key::Foreign { source: "laws".to_owned(), id: id.to_owned() });
        for key in destinations.into_iter().chain(references).chain(provider_ids) {
            for count in [1, 2, 50] {
                let listed = pages(&self.store, &key, count).await;
                let places: Vec<_> = listed.iter().map(|(place, _)| *place).collect();
                assert_eq!(places, model.list(&key), "{key:?}");
                for (place, text) in listed {
                    let message = self.store.message(place.id).await.unwrap().unwrap();
                    let mut written = Vec::new();
                    write(&mut written, &message.record.shown(place.id));
                    assert_eq!(text, written);
                }
            }
        }
        search_check::assert_searches(&self.store, model).await;
    }
}

/// Number of notifications that a start would replay.
fn count_replayed(database: &Path) -> i64 {
    const QUERY: &str =
        "SELECT (SELECT coalesce(max(seq), 0) FROM notification) - folded FROM progress";
    let db = Connection::open(database).unwrap();
    db.query_row(QUERY, [], |row| row.get(0)).unwrap()
}

fn write(text: &mut Vec<u8>, message: &Shown<'_>) {
    text.extend(format!("{message:?}").bytes());
}

/// Reads a list page by page: the place and the text of each message.
async fn pages(store: &dyn Store, key: &Key, count: u32) -> Vec<(Place, Vec<u8>)> {
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = Page { count, before: None, after };
        let listing = store.list(key.clone(), page, write).await.unwrap();
        let text_of = |message: &Listed| listing.text_of(message).to_owned();
        listed.extend(listing.messages.iter().map(|message| (message.place, text_of(message))));
        if !listing.more {
            return listed;
        }
        let next = listed.last().map(|(place, _)| *place);
        assert_ne!(after, next, "each page must continue after the one before");
        after = next;
    }
}

/// Runs the steps with a store and with the model, and compares the two after each step.
fn run_steps(cache_max_messages: usize, steps: Vec<Step>) {
    let mut opened = open(cache_max_messages);
    let mut model = Model::default();
    for (second, step) in (1..).zip(steps) {
        match step {
            Step::Deliver(notifications) => {
                // A registration is the only entry of its delivery.
                let is_separate = notifications
                    .iter()
                    .any(|(_, (notification, _))| is_registration(notification));
                let deliveries = if is_separate { notifications.len() } else { 1 };
                let mut entries = (0..).zip(notifications).map(entry_of);
                for number in 0..i64::try_from(deliveries).unwrap() {
                    let now = at(second * 10 + number);
                    let entries: Vec<_> =
                        entries.by_ref().take(if is_separate { 1 } else { 9 }).collect();
                    let expected: Vec<_> =
                        entries.iter().map(|entry| model.ingest(entry, now)).collect();
                    let stored = opened.store.ingest(delivery(now, entries));
                    let stored = opened.system.block_on(stored).unwrap();
                    compare(&stored, &expected);
                }
            }
            Step::Restart => opened = opened.restarted(),
            Step::Crash => opened = opened.crashed(),
            Step::Erase(destination) => {
                let destination = destination.parse().unwrap();
                let erase = opened.store.erase(destination, at(second * 10), at(1_000_000));
                opened.system.block_on(erase).unwrap();
                model.erase(destination);
            }
        }
        opened.system.block_on(opened.assert_equals(&model));
    }
    let (_folder, settings) = opened.close();
    // The index has the entries of all messages, and no others.
    contents(&settings.path).unwrap();
    let db = Connection::open(&settings.path).unwrap();
    let orphans = "SELECT count(*) FROM foreign_id WHERE n NOT IN (SELECT n FROM message)";
    assert_eq!(db.query_row(orphans, [], |row| row.get(0)), Ok(0));
}

fn compare(stored: &[StoredEntry], expected: &[Option<(Outcome, Option<Record>)>]) {
    assert_eq!(stored.len(), expected.len());
    for (stored, expected) in stored.iter().zip(expected) {
        match (stored, expected) {
            (StoredEntry::Judged { outcome, record, .. }, Some(expected)) => {
                assert_eq!(*outcome, expected.0);
                assert_eq!(
                    record.as_deref().map(visible_values),
                    expected.1.as_ref().map(visible_values)
                );
            }
            (StoredEntry::Erased, None) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn is_registration(notification: &Notification) -> bool {
    notification.statement().kind == Kind::Registration
}

/// Entry with this notification. If it states a provider's id, the source names the message by that id.
fn entry_of((index, (number, (notification, _))): (u32, (u64, Arrived))) -> Entry {
    // A registration names the message by the message's own id.
    let is_named_by_provider =
        !notification.provider().id.is_empty() && !is_registration(&notification);
    let mut entry = entry(index, with_message(id(number).parse().unwrap(), &notification));
    if let Entry::Notification { by_provider_id, .. } = &mut entry {
        *by_provider_id = is_named_by_provider;
    }
    entry
}

#[test]
fn cached_and_written_back_messages_are_shown_alike() {
    let rng = SeededRng::for_test("folding");
    let since = Instant::now();
    let scenarios = u32::try_from(repetitions(24, 150, 10_000)).unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: scenarios, failure_persistence: None, ..Config::default() },
        rng.test_rng(),
    );
    let scenario = (0..9_usize, prop::collection::vec(any_step(), 1..30));
    runner
        .run(&scenario, |(cache_max_messages, steps)| {
            run_steps(cache_max_messages, steps);
            Ok(())
        })
        .unwrap();
    report("P3, P15", &rng, &[("lives", u64::from(scenarios))], since);
}

/// The bound also holds for two messages, one of which receives all notifications but the first.
#[test]
fn a_start_reads_a_bounded_part_of_the_log() {
    const CACHE_MAX_MESSAGES: usize = 5;
    let opened = open(CACHE_MAX_MESSAGES);
    let mut runner = TestRunner::deterministic();
    for second in 1..200 {
        let (notification, _) = any_notification().new_tree(&mut runner).unwrap().current();
        let message = id(if second == 1 { 1 } else { 2 }).parse().unwrap();
        let delivery = delivery(at(second), vec![entry(0, with_message(message, &notification))]);
        opened.system.block_on(opened.store.ingest(delivery)).unwrap();
        let replayed = count_replayed(&opened.settings.path);
        let limit = 8 * i64::try_from(CACHE_MAX_MESSAGES).unwrap() + 1;
        assert!(replayed <= limit, "{replayed} notifications");
    }
    opened.close();
}

/// Lists and searches run while their messages move from the cache to the table, and back.
#[test]
fn a_list_is_complete_during_write_back() {
    const MESSAGES: u64 = 40;
    let rng = SeededRng::for_test("lists");
    let since = Instant::now();
    let rounds = repetitions(25, 150, 10_000);
    let opened = open(5);
    let destination: Destination = DESTINATIONS[0].parse().unwrap();
    let sent = |message: u64, round: u64| {
        let mut statement = crate::support::store::notifications::statement(
            Status::Sent,
            Some(at(i64::try_from(round).unwrap())),
        );
        statement.accepted_at = Some(at(i64::try_from(message / 4).unwrap()));
        statement.destination = Some(destination);
        with_message(
            id(message).parse().unwrap(),
            &crate::support::store::notifications::notification(statement),
        )
    };
    let post = |round: u64| {
        for message in 1..=MESSAGES {
            let delivery = delivery(at(1), vec![entry(0, sent(message, round))]);
            opened.system.block_on(opened.store.ingest(delivery)).unwrap();
        }
    };
    post(0);
    let (is_ended, lists) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            System::new().block_on(async {
                while !is_ended.load(Ordering::Relaxed) {
                    let mut found =
                        search_check::pages(&opened.store, SearchFilter::default(), 7).await;
                    let length = found.len();
                    found.dedup_by_key(|place| place.id);
                    assert_eq!((length, found.len()), (40, 40), "a search");
                }
            });
        });
        for count in [7, 100] {
            let (is_ended, lists, store) = (&is_ended, &lists, &opened.store);
            scope.spawn(move || {
                System::new().block_on(async {
                    while !is_ended.load(Ordering::Relaxed) {
                        let key = Key::Destination(destination);
                        let mut found = pages(store, &key, count).await;
                        let length = found.len();
                        found.dedup_by_key(|(place, _)| place.id);
                        assert_eq!((length, found.len()), (40, 40), "count {count}");
                        lists.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        (1..=rounds).for_each(post);
        is_ended.store(true, Ordering::Relaxed);
    });
    let lists = lists.into_inner();
    assert!(lists > 0);
    opened.close();
    report("P18", &rng, &[("lists", lists), ("incomplete", 0)], since);
}

#[test]
fn records_not_written_back_are_in_a_backup_and_in_its_check() {
    let opened = open(2);
    let hashes = |path: &Path| contents(path).unwrap();
    let mut runner = TestRunner::deterministic();
    let backup = opened.folder.path().join("backup.db");
    opened.system.block_on(async {
        for second in 1..40 {
            let (notification, _) = any_notification().new_tree(&mut runner).unwrap().current();
            let message = id(u64::try_from(second).unwrap() % 7 + 1).parse().unwrap();
            let entries = vec![entry(0, with_message(message, &notification))];
            opened.store.ingest(delivery(at(second), entries)).await.unwrap();
        }
        opened.store.back_up(backup.clone()).await.unwrap();
    });
    let (_folder, settings) = opened.close();
    assert_eq!(
        hashes(&backup),
        hashes(&settings.path),
        "the backup must equal the database after write-back"
    );
    assert_eq!(hashes(&backup).records.rows, 7);
}
