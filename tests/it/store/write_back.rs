//! Write-back: records are shown alike from the cache and from the table.

use std::fs;
use std::path::Path;
use std::sync::Arc;
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
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{
    Entry, Key, Listed, Page, Part, Place, SearchFilter, Store, StoredEntry,
};
use tempfile::TempDir;

use crate::support::faults::amounts::{Chance, report, times};
use crate::support::store::deliveries::{about, delivery, entry, shown};
use crate::support::store::model::Model;
use crate::support::store::notifications::{Arrived, any_notification, at};
use crate::support::store::search_check;
use crate::support::{INHERITED, id};

const NUMBERS: [&str; 2] = ["+393331234567", "+393337654321"];

/// What happens to a store.
#[derive(Debug, Clone)]
enum Step {
    /// These are said of these messages, in one delivery.
    Said(Vec<(u64, Arrived)>),
    /// It is stopped and started.
    Restart,
    /// The program is gone from one moment to the next.
    Crash,
    /// All that names this number is removed.
    Erase(&'static str),
}

fn any_step() -> impl Strategy<Value = Step> {
    let said = prop::collection::vec((1..10_u64, any_notification()), 1..4);
    prop_oneof![
        20 => said.prop_map(Step::Said),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => select(NUMBERS.to_vec()).prop_map(Step::Erase),
    ]
}

struct OpenedStore {
    store: Arc<SqliteStore>,
    closing: Closing,
    folder: TempDir,
    most: usize,
}

const FILE: &str = "mirror.db";

impl OpenedStore {
    fn new(folder: TempDir, most: usize) -> Self {
        let mut settings = Settings {
            cache_max_messages: most,
            lock_wait: INHERITED,
            ..Settings::new(folder.path().join(FILE))
        };
        if most.is_multiple_of(2) {
            // Each part of a search ends as soon as it may.
            settings.search_part = Duration::ZERO;
        }
        let (store, closing) = SqliteStore::open(&settings).unwrap();
        Self { store: Arc::new(store), closing, folder, most }
    }

    fn restarted(self) -> Self {
        drop(self.store);
        assert!(self.closing.close());
        assert!(to_be_read(&self.folder) <= 0, "an orderly stop leaves nothing to be read again");
        Self::new(self.folder, self.most)
    }

    /// As if the program was killed: what goes on is a copy of its files.
    fn crashed(self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in [FILE, "mirror.db-wal"] {
            fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let other = Self::new(folder, self.most);
        drop(self.store);
        assert!(self.closing.close());
        other
    }

    async fn assert_is(&self, model: &Model) {
        for (id, known) in &model.known {
            let found = self.store.message(*id).await.unwrap().map(|message| message.record);
            assert_eq!(found.as_ref().map(shown), known.record.as_ref().map(shown), "{id}");
            let history = self.store.history(*id, Part::First { bytes: usize::MAX }).await.unwrap();
            assert_eq!(history.is_some(), !known.said.is_empty(), "{id}");
            if let Some(history) = history {
                assert_eq!(history.record.as_ref().map(shown), found.as_ref().map(shown));
                let said = history.in_full.iter().map(|said| (said.received_at, said.outcome));
                let expected = known.said.iter().map(|(_, at, outcome)| (*at, *outcome));
                assert!(said.eq(expected), "{id}");
            }
            let held = known.said.iter().map(|(identity, ..)| (*id, *identity)).collect();
            assert!(self.store.holds(held).await.unwrap());
        }
        let records = || model.known.values().filter_map(|known| known.record.as_ref());
        let vitals = self.store.stats().await.unwrap();
        let without_number = records().filter(|record| record.destination.is_none()).count();
        assert_eq!(vitals.without_destination, u64::try_from(without_number).unwrap());
        let unfinished = records().filter(|record| record.status <= Status::Sent);
        assert_eq!(vitals.oldest_unfinished, unfinished.map(Record::accepted_at).min());
        let numbers = NUMBERS.map(|number| Key::Destination(number.parse().unwrap()));
        let references = ["a", "b"].map(|key| Key::Reference(key.to_owned()));
        let foreign =
            ["p1", "p2"].map(|id| Key::Foreign { source: "laws".to_owned(), id: id.to_owned() });
        for key in numbers.into_iter().chain(references).chain(foreign) {
            for count in [1, 2, 50] {
                let listed = pages(&*self.store, &key, count).await;
                let places: Vec<_> = listed.iter().map(|(place, _)| *place).collect();
                assert_eq!(places, model.list(&key), "{key:?}");
                for (place, text) in listed {
                    let alone = self.store.message(place.id).await.unwrap().unwrap();
                    let mut written = Vec::new();
                    write(&mut written, &alone.record.shown(place.id));
                    assert_eq!(text, written);
                }
            }
        }
        search_check::assert_found(&*self.store, model).await;
    }
}

/// How many notifications a start would read again.
fn to_be_read(folder: &TempDir) -> i64 {
    const QUERY: &str =
        "SELECT (SELECT coalesce(max(seq), 0) FROM notification) - folded FROM progress";
    let file = Connection::open(folder.path().join(FILE)).unwrap();
    file.query_row(QUERY, [], |row| row.get(0)).unwrap()
}

fn write(text: &mut Vec<u8>, message: &Shown<'_>) {
    text.extend(format!("{message:?}").bytes());
}

/// A whole list, page by page, with what was written of each message.
async fn pages(store: &dyn Store, key: &Key, count: u32) -> Vec<(Place, Vec<u8>)> {
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = Page { count, before: None, after };
        let listing = store.list(key.clone(), page, write).await.unwrap();
        let text_of = |one: &Listed| listing.text_of(one).to_owned();
        listed.extend(listing.messages.iter().map(|one| (one.place, text_of(one))));
        if !listing.more {
            return listed;
        }
        let next = listed.last().map(|(place, _)| *place);
        assert_ne!(after, next, "it goes on");
        after = next;
    }
}

fn live(most: usize, steps: Vec<Step>) {
    let system = System::new();
    let mut opened = OpenedStore::new(tempfile::tempdir().unwrap(), most);
    let mut model = Model::default();
    for (second, step) in (1..).zip(steps) {
        match step {
            Step::Said(said) => {
                // Registrations come alone, one after the other.
                let alone = said.iter().any(|(_, (said, _))| is_registration(said));
                let deliveries = if alone { said.len() } else { 1 };
                let mut entries = (0..).zip(said).map(said_of);
                for number in 0..i64::try_from(deliveries).unwrap() {
                    let now = at(second * 10 + number);
                    let entries: Vec<_> =
                        entries.by_ref().take(if alone { 1 } else { 9 }).collect();
                    let expected: Vec<_> =
                        entries.iter().map(|entry| model.said(entry, now)).collect();
                    let stored = opened.store.ingest(delivery(now, entries));
                    let stored = system.block_on(stored).unwrap();
                    compare(&stored, &expected);
                }
            }
            Step::Restart => opened = opened.restarted(),
            Step::Crash => opened = opened.crashed(),
            Step::Erase(number) => {
                let number = number.parse().unwrap();
                system
                    .block_on(opened.store.erase(number, at(second * 10), at(1_000_000)))
                    .unwrap();
                model.erase(number);
            }
        }
        system.block_on(opened.assert_is(&model));
    }
    drop(opened.store);
    assert!(opened.closing.close());
}

fn compare(stored: &[StoredEntry], expected: &[Option<(Outcome, Option<Record>)>]) {
    assert_eq!(stored.len(), expected.len());
    for (stored, expected) in stored.iter().zip(expected) {
        match (stored, expected) {
            (StoredEntry::Judged { outcome, record, .. }, Some(expected)) => {
                assert_eq!(*outcome, expected.0);
                assert_eq!(record.as_deref().map(shown), expected.1.as_ref().map(shown));
            }
            (StoredEntry::Erased, None) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn is_registration(said: &Notification) -> bool {
    said.statement().kind == Kind::Registration
}

/// What is said of a message, by a sender that knows it by an id of its own if one is stated.
fn said_of((index, (number, (said, _))): (u32, (u64, Arrived))) -> Entry {
    // A registration names the message by its own id.
    let named_by_provider = !said.provider().id.is_empty() && !is_registration(&said);
    let mut entry = entry(index, about(id(number).parse().unwrap(), &said));
    if let Entry::Notification { by_provider_id, .. } = &mut entry {
        *by_provider_id = named_by_provider;
    }
    entry
}

#[test]
fn cached_and_written_back_messages_are_shown_alike() {
    let chance = Chance::of("folding");
    let since = Instant::now();
    let lives = u32::try_from(times(24, 150, 10_000)).unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: lives, failure_persistence: None, ..Config::default() },
        chance.random(),
    );
    let life = (0..9_usize, prop::collection::vec(any_step(), 1..30));
    runner
        .run(&life, |(most, steps)| {
            live(most, steps);
            Ok(())
        })
        .unwrap();
    report("P3, P15", &chance, &[("lives", u64::from(lives))], since);
}

/// However few messages there are, and however much is said of some while nothing is said of others.
#[test]
fn a_start_reads_a_bounded_part_of_the_log() {
    const MOST: usize = 5;
    let opened = OpenedStore::new(tempfile::tempdir().unwrap(), MOST);
    let mut runner = TestRunner::deterministic();
    for second in 1..200 {
        let (said, _) = any_notification().new_tree(&mut runner).unwrap().current();
        let message = id(if second == 1 { 1 } else { 2 }).parse().unwrap();
        let said = delivery(at(second), vec![entry(0, about(message, &said))]);
        System::new().block_on(opened.store.ingest(said)).unwrap();
        let to_be_read = to_be_read(&opened.folder);
        assert!(to_be_read <= 8 * i64::try_from(MOST).unwrap() + 1, "{to_be_read}");
    }
    drop(opened.store);
    assert!(opened.closing.close());
}

/// A page of a list is read while its messages move from memory to the table, and back.
#[test]
fn a_list_is_complete_during_write_back() {
    const MESSAGES: u64 = 40;
    let chance = Chance::of("lists");
    let since = Instant::now();
    let rounds = times(25, 150, 10_000);
    let opened = OpenedStore::new(tempfile::tempdir().unwrap(), 5);
    let number: Destination = NUMBERS[0].parse().unwrap();
    let said = |message: u64, round: u64| {
        let mut said = crate::support::store::notifications::statement(
            Status::Sent,
            Some(at(i64::try_from(round).unwrap())),
        );
        said.accepted_at = Some(at(i64::try_from(message / 4).unwrap()));
        said.destination = Some(number);
        about(
            id(message).parse().unwrap(),
            &crate::support::store::notifications::notification(said),
        )
    };
    let post = |round: u64| {
        for message in 1..=MESSAGES {
            let delivery = delivery(at(1), vec![entry(0, said(message, round))]);
            System::new().block_on(opened.store.ingest(delivery)).unwrap();
        }
    };
    post(0);
    let (ended, lists) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            System::new().block_on(async {
                while !ended.load(Ordering::Relaxed) {
                    let mut found =
                        search_check::pages(&*opened.store, SearchFilter::default(), 7).await;
                    let length = found.len();
                    found.dedup_by_key(|place| place.id);
                    assert_eq!((length, found.len()), (40, 40), "a search");
                }
            });
        });
        for count in [7, 100] {
            let (ended, lists, opened) = (&ended, &lists, &opened);
            scope.spawn(move || {
                System::new().block_on(async {
                    while !ended.load(Ordering::Relaxed) {
                        let key = Key::Destination(number);
                        let mut found = pages(&*opened.store, &key, count).await;
                        let length = found.len();
                        found.dedup_by_key(|(place, _)| place.id);
                        assert_eq!((length, found.len()), (40, 40), "count {count}");
                        lists.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        (1..=rounds).for_each(post);
        ended.store(true, Ordering::Relaxed);
    });
    let lists = lists.into_inner();
    assert!(lists > 0);
    drop(opened.store);
    assert!(opened.closing.close());
    report("P18", &chance, &[("lists", lists), ("incomplete", 0)], since);
}

#[test]
fn records_not_written_back_are_in_a_backup_and_in_its_check() {
    let opened = OpenedStore::new(tempfile::tempdir().unwrap(), 2);
    let hashes = |path: &Path| statusmirror::store::sqlite::contents(path).unwrap();
    let mut runner = TestRunner::deterministic();
    let backup = opened.folder.path().join("backup.db");
    System::new().block_on(async {
        for second in 1..40 {
            let (said, _) = any_notification().new_tree(&mut runner).unwrap().current();
            let message = id(u64::try_from(second).unwrap() % 7 + 1).parse().unwrap();
            let said = vec![entry(0, about(message, &said))];
            opened.store.ingest(delivery(at(second), said)).await.unwrap();
        }
        opened.store.back_up(backup.clone()).await.unwrap();
    });
    let path = opened.folder.path().join(FILE);
    drop(opened.store);
    assert!(opened.closing.close());
    assert_eq!(hashes(&backup), hashes(&path), "folded or not, it is the same");
    assert_eq!(hashes(&backup).records.rows, 7);
}
