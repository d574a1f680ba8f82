//! Index of the messages: runs of written-back batches, their merge into the base, and what a start and a check
//! make of them.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, params};
use statusmirror::message::{Destination, Outcome, Reference, Status};
use statusmirror::store::sqlite::{OpenError, contents, restore};
use statusmirror::store::{Entry, Key, Page, Store, StoredEntry};

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
    /// Ingests this message, with a destination, a reference key and a provider's id that depend on its number. Returns
    /// whether it was a duplicate.
    fn ingest_indexed(&self, number: u64) -> bool {
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
        let stored = self.system.block_on(self.store.ingest(delivery)).unwrap();
        matches!(stored[0], StoredEntry::Judged { outcome: Outcome::Duplicate, .. })
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

/// Blocks of runs that were merged.
const LEFTOVER_BLOCKS: &str = "SELECT count(*) FROM index_block_start \
    WHERE run > 0 AND run < (SELECT min(run) FROM index_run)";
/// Length of an entry in a block; see `src/store/sqlite/index/entry.rs`.
const ENTRY_BYTES: usize = 25;
/// Byte behind the last entry of a block.
const NO_ENTRY: u8 = 0xff;

/// A block of the index, and its run.
struct Block {
    run: i64,
    b: i64,
    entries: Vec<[u8; ENTRY_BYTES]>,
}

impl Block {
    fn all(path: &Path) -> Vec<Self> {
        let db = Connection::open(path).unwrap();
        let select = "SELECT run, b, entries FROM index_block_start JOIN index_block USING (b) ORDER BY run, start";
        let mut select = db.prepare(select).unwrap();
        let blocks = select.query_map([], |row| {
            let (entries, rest) = row.get_ref(2)?.as_blob()?.as_chunks();
            assert!(rest.is_empty());
            let entries = entries.iter().filter(|entry| entry[0] != NO_ENTRY).copied().collect();
            Ok(Self { run: row.get(0)?, b: row.get(1)?, entries })
        });
        blocks.unwrap().map(Result::unwrap).collect()
    }

    /// Overwrites the stored block.
    fn store(&self, path: &Path) {
        let mut bytes = self.entries.concat();
        bytes.resize(4_000, NO_ENTRY);
        let update = "UPDATE index_block SET entries = ? WHERE b = ?";
        assert_eq!(Connection::open(path).unwrap().execute(update, params![bytes, self.b]), Ok(1));
    }
}

/// Number of entries in the base or in front of it.
fn count_entries(path: &Path, is_base: bool) -> usize {
    let blocks = Block::all(path).into_iter().filter(|block| (block.run == 0) == is_base);
    blocks.map(|block| block.entries.len()).sum()
}

const RUNS: &str = "SELECT count(*) FROM index_run";
/// Blocks of runs that do not count, and what a merge or a batch has not finished.
const UNCOUNTED_BLOCKS: &str = "SELECT count(*) FROM index_block_start \
    WHERE run > 0 AND run NOT IN (SELECT run FROM index_run)";
const UNINDEXED_ROWS: &str =
    "SELECT count(*) FROM message WHERE n > (SELECT indexed_n FROM progress)";

#[test]
fn messages_are_found_in_the_cache_in_runs_and_in_the_base() {
    let opened = opened();
    let (mut most_runs, mut most_entries) = (0, 0);
    for number in 1..=600 {
        opened.ingest_indexed(number);
        most_runs = most_runs.max(opened.count(RUNS));
        most_entries = most_entries.max(count_entries(&opened.settings.path, false));
        if number % 50 == 0 || (300..340).contains(&number) {
            opened.assert_found(&(1..=number).collect::<Vec<_>>());
        }
    }
    let in_base = count_entries(&opened.settings.path, true);
    assert!(in_base > 1_000, "{in_base} entries");
    // A merge ends before as many runs have been added again, and then their blocks are deleted.
    assert!((4..=8).contains(&most_runs), "{most_runs} runs");
    assert!(most_entries < 12 * 6 * 3, "{most_entries} entries in runs");
}

/// Runs of several blocks each, and a base whose blocks are divided.
#[test]
fn large_runs_are_merged_and_read_block_by_block() {
    let opened = OpenedStore::with_settings(|settings| {
        settings.cache_max_messages = 600;
        settings.index_runs = 3..=3;
    });
    let mut merges = 0;
    let mut runs = 0;
    for number in 1..=3_000 {
        opened.ingest_indexed(number);
        if number % 250 == 0 {
            opened.assert_found(&(1..=number).collect::<Vec<_>>());
        }
        let runs_before = std::mem::replace(&mut runs, opened.count(RUNS));
        merges += i64::from(runs < runs_before);
    }
    assert!(merges >= 3, "{merges} merges");
    let blocks = Block::all(&opened.settings.path);
    assert!(blocks.iter().filter(|block| block.run == 0).count() > 20);
    let (_folder, settings) = opened.close();
    contents(&settings.path).unwrap();
}

/// The writer does not search the index for an id that its filter lacks. A thread fills the filter after a start.
#[test]
fn repeated_notifications_are_duplicates_of_messages_in_runs_and_in_the_base() {
    let mut opened = opened();
    for number in 1..=400 {
        assert!(!opened.ingest_indexed(number), "message {number} is new");
    }
    for start in 1..=2 {
        for number in 1..=400 {
            assert!(opened.ingest_indexed(number), "message {number} is known, start {start}");
            assert!(!opened.ingest_indexed(1_000 * start + number));
        }
        let (folder, settings) = opened.close();
        opened = OpenedStore::open(folder, settings);
    }
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
    // A batch has several blocks.
    let opened = OpenedStore::with_settings(|settings| {
        settings.cache_max_messages = 1_000;
        settings.index_runs = 2..=4;
    });
    let mut unfinished = (0, 0);
    for number in 1..=2_500 {
        opened.ingest_indexed(number);
        let rows = opened.count(UNINDEXED_ROWS);
        let entries = opened.count(
            "SELECT count(*) FROM index_block_start \
             WHERE run > (SELECT coalesce(max(run), 0) FROM index_run)",
        );
        if entries == 0 && number % 40 != 0 {
            continue;
        }
        unfinished = (unfinished.0 + i64::from(rows > 0), unfinished.1 + i64::from(entries > 0));
        let folder = tempfile::tempdir().unwrap();
        for name in ["mirror.db", "mirror.db-wal"] {
            fs::copy(opened.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("mirror.db");
        // Before a start has changed anything.
        assert_eq!(contents(&path).unwrap().records.rows, number);
        let killed = OpenedStore::open(folder, opened.settings.clone());
        assert_eq!((killed.count(UNINDEXED_ROWS), killed.count(UNCOUNTED_BLOCKS)), (0, 0));
        let blocks =
            "SELECT count(*) FROM index_block WHERE b NOT IN (SELECT b FROM index_block_start)";
        assert_eq!(killed.count(blocks), 0);
        let foreign = "SELECT count(*) FROM foreign_id WHERE n NOT IN (SELECT n FROM message)";
        assert_eq!(killed.count(foreign), 0);
        killed.assert_found(&(1..=number).collect::<Vec<_>>());
        let (_folder, settings) = killed.close();
        assert_eq!(contents(&settings.path).unwrap().records.rows, number);
    }
    assert!(unfinished.0 > 10 && unfinished.1 >= 3, "{unfinished:?}");
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
    assert_eq!(count_entries_of(&settings.path, erased), 0);
    // Every entry has its message, and the reverse.
    contents(&settings.path).unwrap();
}

/// Number of entries of a destination, in blocks that count or do not.
fn count_entries_of(path: &Path, destination: Destination) -> usize {
    let number = destination.number().to_be_bytes();
    let blocks = Block::all(path).into_iter().flat_map(|block| block.entries);
    blocks.filter(|entry| entry[0] == 2 && entry[1..9] == number).count()
}

/// At each moment of merges: what they have read, and what they have yet to delete.
#[test]
fn an_erasure_during_a_merge_leaves_no_entry() {
    // Merged runs have more blocks than a transaction deletes.
    let opened = OpenedStore::with_settings(|settings| {
        settings.cache_max_messages = 200;
        settings.index_runs = 20..=20;
    });
    let mut leftover = 0;
    for number in 1..=5_000 {
        opened.ingest_indexed(number);
        let is_left = opened.count(LEFTOVER_BLOCKS) > 0;
        if is_left || number > 1_000 && number % 300 == 0 {
            leftover += u32::from(is_left);
            let erased = destination(number);
            opened.system.block_on(opened.store.erase(erased, at(300), at(400))).unwrap();
            assert_eq!(count_entries_of(&opened.settings.path, erased), 0, "after {number}");
        }
    }
    assert!(leftover > 0);
    let (_folder, settings) = opened.close();
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
    let path = &settings.path;
    for kind in 1..=3 {
        for is_base in [true, false] {
            let mut block = Block::all(path)
                .into_iter()
                .find(|block| {
                    (block.run == 0) == is_base
                        && block.entries.iter().any(|entry| entry[0] == kind)
                })
                .unwrap();
            let place = block.entries.iter().position(|entry| entry[0] == kind).unwrap();
            let entry = block.entries.remove(place);
            block.store(path);
            assert_damaged(path, "do not match their indexes");
            block.entries.insert(place, entry);
            block.store(path);
            contents(path).unwrap();
        }
    }
    let mut block = Block::all(path).into_iter().next().unwrap();
    let mut excess = block.entries[0];
    excess[ENTRY_BYTES - 1] ^= 1;
    block.entries.push(excess);
    block.entries.sort_unstable();
    block.store(path);
    assert_damaged(path, "excess entries in the index: 1");
}

fn assert_damaged(path: &Path, words: &str) {
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
