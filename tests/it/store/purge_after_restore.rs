//! Purges after a restore: what was purged since the backup is purged again, by the same rule and under any
//! clock.

use statusmirror::message::{Status, Timestamp};
use statusmirror::store::sqlite::restore;
use statusmirror::store::{Store, StoredEntry};

use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::store::opened::{OpenedStore, day, message, purged};

const DESTINATION: &str = "+393331234567";

impl OpenedStore {
    fn back_up(&self) {
        let backup = self.folder.path().join("backup.db");
        self.system.block_on(self.store.back_up(backup)).unwrap();
    }

    /// Closes the store, restores the backup under this clock, and opens the store again.
    fn restored(self, now: Timestamp) -> Self {
        let (folder, settings) = self.close();
        restore(&settings, &folder.path().join("backup.db"), now).unwrap();
        Self::open(folder, settings)
    }

    /// Runs the daily purge without a retention: only expired tombstones are removed.
    fn purge_tombstones(&self, now: Timestamp) {
        self.system.block_on(self.store.purge_daily(None, now)).unwrap().unwrap();
    }

    /// Posts a message to the destination; returns whether it is rejected as erased.
    fn is_erased(&self, now: Timestamp) -> bool {
        let mut statement = statement(Status::Sent, Some(at(0)));
        statement.destination = Some(DESTINATION.parse().unwrap());
        let delivery =
            delivery(now, vec![entry(0, with_message(message(1), &notification(statement)))]);
        let stored = self.system.block_on(self.store.ingest(delivery)).unwrap();
        matches!(stored[0], StoredEntry::Erased)
    }

    fn erase(&self, now: Timestamp, until: Timestamp) {
        let destination = DESTINATION.parse().unwrap();
        self.system.block_on(self.store.erase(destination, now, until)).unwrap();
    }
}

/// Store with a retention of 10 days, purged daily, backed up on day 12 and restored on day 18.
fn restored() -> OpenedStore {
    let opened = OpenedStore::new();
    opened.purge_daily(-10, day(0)).unwrap();
    for number in 0..10 {
        opened.ingest(number, day(number.try_into().unwrap()));
    }
    for today in 1..=18 {
        opened.purge_daily(today - 10, day(today)).unwrap();
        if today == 12 {
            opened.back_up();
        }
    }
    assert_eq!(opened.stored(0..10), [8, 9]);
    let opened = opened.restored(day(18));
    assert_eq!(opened.stored(0..10), (2..10).collect::<Vec<_>>());
    opened
}

#[test]
fn messages_pruned_since_the_backup_are_pruned_again() {
    let opened = restored();
    let first = opened.purge_daily(8, day(18)).unwrap();
    assert_eq!((first.purged, first.waiting, first.is_first), (purged(6), purged(0), false));
    assert_eq!(opened.stored(0..10), [8, 9]);
    let next = opened.purge_daily(9, day(19)).unwrap();
    assert_eq!((next.purged, next.waiting), (purged(1), purged(0)));
}

#[test]
fn a_wrong_clock_after_a_restore_removes_seven_days_at_most() {
    let opened = restored();
    let wrong = opened.purge_daily(908, day(918)).unwrap();
    assert_eq!((wrong.purged, wrong.waiting), (purged(7), purged(1)));
    assert_eq!(opened.stored(0..10), [9]);
    assert_eq!(
        opened.purge_daily(908, at(918 * 24 * 60 * 60 + 1)),
        None,
        "no second purge on the same day"
    );
}

#[test]
fn tombstones_are_kept_whichever_of_the_two_clocks_was_ahead() {
    for is_ahead_at_backup in [false, true] {
        let opened = OpenedStore::new();
        opened.purge_tombstones(day(0));
        assert!(!opened.is_erased(day(0)));
        let run_wrong_clock = || (30..34).for_each(|today| opened.purge_tombstones(day(today)));
        if is_ahead_at_backup {
            run_wrong_clock();
            opened.back_up();
            opened.purge_tombstones(day(1));
        } else {
            opened.back_up();
            run_wrong_clock();
        }
        opened.erase(day(1), day(15));
        let opened = opened.restored(day(1));
        // The first purge runs under a clock that is far ahead again.
        opened.purge_tombstones(day(60));
        assert!(opened.is_erased(day(1)), "ahead at the backup: {is_ahead_at_backup}");
        opened.purge_tombstones(day(2));
        for today in 3..=15 {
            opened.purge_tombstones(day(today));
            assert!(opened.is_erased(day(today)), "day {today}");
        }
    }
}

#[test]
fn erased_messages_are_removed_although_their_tombstones_expired() {
    let opened = OpenedStore::new();
    opened.purge_tombstones(day(0));
    assert!(!opened.is_erased(day(0)));
    opened.back_up();
    opened.erase(day(1), day(2));
    // Only a daily purge removes an expired tombstone, and none has run since.
    let opened = opened.restored(day(3));
    assert_eq!(opened.stored(1..2), Vec::<u64>::new());
}
