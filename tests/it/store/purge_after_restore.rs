//! Purges after a restore: what was removed is removed again, by the same rule and under any clock.

use statusmirror::message::{Status, Timestamp};
use statusmirror::store::sqlite::restore;
use statusmirror::store::{Store, StoredEntry};

use crate::support::store::deliveries::{about, delivery, entry};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::store::opened::{OpenedStore, both, day, message};

const NUMBER: &str = "+393331234567";

impl OpenedStore {
    fn back_up(&self) {
        let backup = self.folder.path().join("backup.db");
        self.system.block_on(self.store.back_up(backup)).unwrap();
    }

    /// Closes the store, restores the backup at this time and opens it.
    fn restored(self, now: Timestamp) -> Self {
        let Self { system, store, closing, folder } = self;
        drop((store, system));
        assert!(closing.close());
        restore(&Self::settings(&folder), &folder.path().join("backup.db"), now).unwrap();
        Self::of(folder)
    }

    /// Runs the daily purge without a retention.
    fn forgets(&self, now: Timestamp) {
        self.system.block_on(self.store.purge_daily(None, now)).unwrap().unwrap();
    }

    /// Posts the message of the number; says whether it is rejected because the number was erased.
    fn is_erased(&self, when: Timestamp) -> bool {
        let mut said = statement(Status::Sent, Some(at(0)));
        said.destination = Some(NUMBER.parse().unwrap());
        let delivery = delivery(when, vec![entry(0, about(message(1), &notification(said)))]);
        let stored = self.system.block_on(self.store.ingest(delivery)).unwrap();
        matches!(stored[0], StoredEntry::Erased)
    }

    fn erase(&self, now: Timestamp, until: Timestamp) {
        let number = NUMBER.parse().unwrap();
        self.system.block_on(self.store.erase(number, now, until)).unwrap();
    }
}

/// A store with a retention of 10 days that was purged daily, backed up on day 12, and restored on day 18.
fn restored() -> OpenedStore {
    let opened = OpenedStore::new();
    opened.daily(-10, day(0)).unwrap();
    for number in 0..10 {
        opened.arrives(number, day(number.try_into().unwrap()));
    }
    for today in 1..=18 {
        opened.daily(today - 10, day(today)).unwrap();
        if today == 12 {
            opened.back_up();
        }
    }
    assert_eq!(opened.there(0..10), [8, 9]);
    let opened = opened.restored(day(18));
    assert_eq!(opened.there(0..10), (2..10).collect::<Vec<_>>());
    opened
}

#[test]
fn messages_pruned_since_the_backup_are_pruned_again() {
    let opened = restored();
    let again = opened.daily(8, day(18)).unwrap();
    assert_eq!((again.purged, again.waiting, again.is_first), (both(6), both(0), false));
    assert_eq!(opened.there(0..10), [8, 9]);
    let next = opened.daily(9, day(19)).unwrap();
    assert_eq!((next.purged, next.waiting), (both(1), both(0)));
}

#[test]
fn a_wrong_clock_after_a_restore_removes_seven_days_at_most() {
    let opened = restored();
    let wrong = opened.daily(908, day(918)).unwrap();
    assert_eq!((wrong.purged, wrong.waiting), (both(7), both(1)));
    assert_eq!(opened.there(0..10), [9]);
    assert_eq!(opened.daily(908, at(918 * 24 * 60 * 60 + 1)), None, "not again on the same day");
}

#[test]
fn tombstones_are_kept_whichever_of_the_two_clocks_was_ahead() {
    for is_ahead_at_backup in [false, true] {
        let opened = OpenedStore::new();
        opened.forgets(day(0));
        assert!(!opened.is_erased(day(0)));
        let wrong_clock = || (30..34).for_each(|wrong| opened.forgets(day(wrong)));
        if is_ahead_at_backup {
            wrong_clock();
            opened.back_up();
            opened.forgets(day(1));
        } else {
            opened.back_up();
            wrong_clock();
        }
        opened.erase(day(1), day(15));
        let opened = opened.restored(day(1));
        // The first purge runs under a clock that is far ahead again.
        opened.forgets(day(60));
        assert!(opened.is_erased(day(1)), "ahead at the backup: {is_ahead_at_backup}");
        opened.forgets(day(2));
        for today in 3..=15 {
            opened.forgets(day(today));
            assert!(opened.is_erased(day(today)), "day {today}");
        }
    }
}

#[test]
fn erased_messages_are_removed_although_their_tombstones_expired() {
    let opened = OpenedStore::new();
    opened.forgets(day(0));
    assert!(!opened.is_erased(day(0)));
    opened.back_up();
    opened.erase(day(1), day(2));
    // It is forgotten only by a daily purge, and none has run since.
    let opened = opened.restored(day(3));
    assert_eq!(opened.there(1..2), Vec::<u64>::new());
}
