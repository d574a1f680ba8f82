//! Index of the messages: runs of written-back batches, their merge into the base, and what a start and a check
//! make of them.

use std::fs;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use statusmirror::message::{Destination, Reference, Status};
use statusmirror::store::sqlite::{OpenError, contents, restore};
use statusmirror::store::{Entry, Key, Page, Store};

use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::store::opened::{OpenedStore, message};

const DESTINATIONS: [&str; 3] = ["+393331234567", "+393337654321", "+393330000000"];

/// Store with small batches and few runs.
fn opened() -> OpenedStore {
    OpenedStore::with_settings(|settings| {
        settings.cache_max_messages = 20;
        settings.index_runs = 2..=4;
    })
}

impl OpenedStore {
    /// Ingests this message, with a destination, a reference key and a provider's id that depend on its number.
    fn ingest_indexed(&self, number: u64) {
        let second = i64::try_from(number).unwrap();
        let mut sent = statement(Status::Sent, Some(at(second)));
        sent.destination = Some(destination(number));
        sent.provider.id = format!("provider-{number}");
        sent.reference = Reference::new(None, None, Some(format!("key-{}", number % 7))).unwrap();
        let mut sent = entry(0, with_message(message(number), &notification(sent)));
        if let Entry::Notification { by_provider_id, .. } = &mut sent {
            *by_provider_id = true;
        }
        let delivery = delivery(at(second), vec![sent]);
        self.system.block_on(self.store.ingest(delivery)).unwrap();
    }

    /// Asserts that these messages, and no others, are found by id and in the lists.
    fn assert_found(&self, numbers: &[u64]) {
        let last = numbers.iter().max().copied().unwrap_or_default();
        assert_eq!(self.stored(1..last + 2), numbers);
        let listed = |key: Key| {
            let page = Page { count: 1_000, before: None, after: None };
            let listing = self.system.block_on(self.store.list(key, page, |_, _| {})).unwrap();
            listing.messages.into_iter().map(|listed| listed.place.id).collect::<Vec<_>>()
        };
        let newest_first = |is_listed: &dyn Fn(u64) -> bool| {
            let listed = numbers.iter().rev().filter(|number| is_listed(**number));
            listed.map(|number| message(*number)).collect::<Vec<_>>()
        };
        for text in DESTINATIONS {
            let wanted: Destination = text.parse().unwrap();
            let expected = newest_first(&|number| destination(number) == wanted);
            assert_eq!(listed(Key::Destination(wanted)), expected, "{text}");
        }
        for remainder in 0..7 {
            let expected = newest_first(&|number| number % 7 == remainder);
            assert_eq!(listed(Key::Reference(format!("key-{remainder}"))), expected);
        }
    }

    fn count(&self, select: &str) -> i64 {
        count(&Connection::open(&self.settings.path).unwrap(), select)
    }
}

fn destination(number: u64) -> Destination {
    let place = usize::try_from(number).unwrap() % DESTINATIONS.len();
    DESTINATIONS[place].parse().unwrap()
}

fn count(db: &Connection, select: &str) -> i64 {
    db.query_row(select, [], |row| row.get(0)).unwrap()
}

const RUNS: &str = "SELECT count(*) FROM index_run";
const BASE_ENTRIES: &str = "SELECT count(*) FROM message_index WHERE run = 0";
const RUN_ENTRIES: &str = "SELECT count(*) FROM message_index WHERE run > 0";
const UNINDEXED_ROWS: &str =
    "SELECT count(*) FROM message WHERE n > (SELECT indexed_n FROM progress)";

#[test]
fn messages_are_found_in_the_cache_in_runs_and_in_the_base() {
    let opened = opened();
    let (mut most_runs, mut most_entries) = (0, 0);
    for number in 1..=600 {
        opened.ingest_indexed(number);
        most_runs = most_runs.max(opened.count(RUNS));
        most_entries = most_entries.max(opened.count(RUN_ENTRIES));
        if number % 50 == 0 {
            opened.assert_found(&(1..=number).collect::<Vec<_>>());
        }
    }
    assert!(opened.count(BASE_ENTRIES) > 1_000, "{}", opened.count(BASE_ENTRIES));
    // A merge ends before as many runs have been added again.
    assert!((4..=8).contains(&most_runs), "{most_runs} runs");
    assert!(most_entries < 8 * 6 * 3, "{most_entries} entries in runs");
}

#[test]
fn restarts_do_not_add_runs_without_bound() {
    let mut opened = opened();
    for number in 1..=30 {
        opened.ingest_indexed(number);
        let (folder, settings) = opened.close();
        opened = OpenedStore::open(folder, settings);
        assert!(opened.count(RUNS) <= 4, "{} runs", opened.count(RUNS));
    }
    opened.assert_found(&(1..=30).collect::<Vec<_>>());
}

/// The files of each moment are opened, as after a kill.
#[test]
fn a_start_discards_an_unfinished_batch() {
    let opened = opened();
    let mut unfinished = (0, 0);
    for number in 1..=120 {
        opened.ingest_indexed(number);
        let folder = tempfile::tempdir().unwrap();
        for name in ["mirror.db", "mirror.db-wal"] {
            fs::copy(opened.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let rows = opened.count(UNINDEXED_ROWS);
        let entries = opened.count(
            "SELECT count(*) FROM message_index \
             WHERE run > (SELECT coalesce(max(run), 0) FROM index_run)",
        );
        unfinished = (unfinished.0 + i64::from(rows > 0), unfinished.1 + i64::from(entries > 0));
        let path = folder.path().join("mirror.db");
        // Before a start has changed anything.
        assert_eq!(contents(&path).unwrap().records.rows, number);
        let killed = OpenedStore::open(folder, opened.settings.clone());
        assert_eq!(killed.count(UNINDEXED_ROWS), 0);
        let foreign = "SELECT count(*) FROM foreign_id WHERE n NOT IN (SELECT n FROM message)";
        assert_eq!(killed.count(foreign), 0);
        killed.assert_found(&(1..=number).collect::<Vec<_>>());
        let (_folder, settings) = killed.close();
        assert_eq!(contents(&settings.path).unwrap().records.rows, number);
    }
    assert!(unfinished.0 > 10 && unfinished.1 > 10, "{unfinished:?}");
}

#[test]
fn erased_and_changed_messages_leave_no_entry() {
    let opened = opened();
    for number in 1..=100 {
        opened.ingest_indexed(number);
    }
    // Messages in runs and in the base get another destination.
    for number in [2, 50, 80] {
        let mut earlier = statement(Status::ProviderAcceptance, Some(at(0)));
        earlier.destination = Some(DESTINATIONS[0].parse().unwrap());
        earlier.accepted_at = Some(at(0));
        let delivery = delivery(
            at(200),
            vec![entry(0, with_message(message(number), &notification(earlier)))],
        );
        opened.system.block_on(opened.store.ingest(delivery)).unwrap();
    }
    let erased: Destination = DESTINATIONS[1].parse().unwrap();
    let removed = opened.system.block_on(opened.store.erase(erased, at(300), at(400))).unwrap();
    assert_eq!(removed.messages, 34);
    for number in 101..=160 {
        opened.ingest_indexed(number + u64::from(destination(number) == erased));
    }
    let (_folder, settings) = opened.close();
    let db = Connection::open(&settings.path).unwrap();
    let number = i64::try_from(erased.number()).unwrap();
    assert_eq!(count(&db, &format!("SELECT count(*) FROM message_index WHERE key = {number}")), 0);
    drop(db);
    // Every entry has its message, and the reverse.
    contents(&settings.path).unwrap();
}

#[test]
fn a_row_removed_during_its_batch_gets_no_entry() {
    let opened = opened();
    let mut erased = 0;
    for number in 1..=200 {
        opened.ingest_indexed(number);
        let destination: Option<i64> = Connection::open(&opened.settings.path)
            .unwrap()
            .query_row(
                "SELECT max(destination) FROM message WHERE n > (SELECT indexed_n FROM progress)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        if let Some(destination) = destination {
            let destination: Destination = format!("+{destination}").parse().unwrap();
            let erase = opened.store.erase(destination, at(300), at(400));
            erased += opened.system.block_on(erase).unwrap().messages;
        }
    }
    assert!(erased > 20, "{erased} messages");
    let (_folder, settings) = opened.close();
    contents(&settings.path).unwrap();
}

#[test]
fn a_check_finds_missing_and_superfluous_entries() {
    let opened = opened();
    for number in 1..=100 {
        opened.ingest_indexed(number);
    }
    let (_folder, settings) = opened.close();
    contents(&settings.path).unwrap();
    let db = Connection::open(&settings.path).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
    for kind in 0..=2 {
        for run in ["run = 0", "run = (SELECT max(run) FROM index_run)"] {
            db.execute_batch("SAVEPOINT damage").unwrap();
            let one =
                format!("(SELECT n FROM message_index WHERE {run} AND kind = {kind} LIMIT 1)");
            let deleted = db
                .execute(
                    &format!("DELETE FROM message_index WHERE kind = {kind} AND n = {one}"),
                    [],
                )
                .unwrap();
            assert_eq!(deleted, 1, "kind {kind}, {run}");
            db.execute_batch("RELEASE damage").unwrap();
            assert_damaged(&settings.path, "do not match their indexes");
            let mended = format!(
                "INSERT INTO message_index SELECT 0, {kind}, \
                     CASE {kind} WHEN 0 THEN id WHEN 1 THEN destination ELSE reference_key END, \
                     CASE {kind} WHEN 0 THEN 0 ELSE list_order END, n \
                 FROM message WHERE n NOT IN (SELECT n FROM message_index WHERE kind = {kind})"
            );
            assert_eq!(db.execute(&mended, []).unwrap(), 1);
            contents(&settings.path).unwrap();
        }
    }
    db.execute("INSERT INTO message_index VALUES (0, 1, 393331112233, 5, 1)", []).unwrap();
    assert_damaged(&settings.path, "excess entries in the index: 1");
}

fn assert_damaged(path: &std::path::Path, words: &str) {
    match contents(path) {
        Err(error @ OpenError::Damaged { .. }) => {
            assert!(error.to_string().contains(words), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// The restore carries tombstones over, with the key of their hashes.
#[test]
fn a_restored_backup_finds_its_messages() {
    let mut opened = opened();
    for number in 1..=90 {
        opened.ingest_indexed(number);
    }
    // A start, so that the backup has runs of several processes.
    let (folder, settings) = opened.close();
    opened = OpenedStore::open(folder, settings);
    let backup = opened.folder.path().join("backup.db");
    opened.system.block_on(opened.store.back_up(backup.clone())).unwrap();
    let erased: Destination = DESTINATIONS[2].parse().unwrap();
    opened.system.block_on(opened.store.erase(erased, at(300), at(90_000))).unwrap();
    let (folder, settings) = opened.close();
    let restored = restore(&settings, &backup, at(400)).unwrap();
    assert_eq!((restored.tombstones, restored.removed), (30, 30));
    let opened = OpenedStore::open(folder, settings);
    assert!(opened.count(RUNS) > 0);
    let kept: Vec<_> = (1..=90).filter(|number| destination(*number) != erased).collect();
    opened.assert_found(&kept);
}
