//! Store in a file that can be opened again, and its daily purge.

use actix_web::rt::{System, SystemRunner};
use statusmirror::memory_budget::MemoryBudget;
use statusmirror::message::{MessageId, Status, Timestamp};
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{DailyPurge, Entry, Purged, Store};
use tempfile::TempDir;

use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

/// Length of a day, in seconds.
pub(crate) const DAY: i64 = 24 * 60 * 60;

/// Time this many days after `at(0)`.
pub(crate) fn day(days: i64) -> Timestamp {
    at(days * DAY)
}

/// Open store in a file that can be opened again, and the runtime for its futures.
pub(crate) struct OpenedStore {
    pub(crate) system: SystemRunner,
    pub(crate) store: SqliteStore,
    closing: Closing,
    pub(crate) folder: TempDir,
    pub(crate) settings: Settings,
}

impl OpenedStore {
    /// Opens a store in a new folder.
    pub(crate) fn new() -> Self {
        Self::with_settings(|_| {})
    }

    /// Opens a store in a new folder, with changed settings.
    pub(crate) fn with_settings(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { lock_wait: INHERITED_LOCK_WAIT, ..Settings::new("") };
        change(&mut settings);
        Self::open(tempfile::tempdir().unwrap(), settings)
    }

    /// Opens the store in this folder with these settings, except their path and memory budget.
    pub(crate) fn open(folder: TempDir, settings: Settings) -> Self {
        let path = folder.path().join("mirror.db");
        let settings = Settings { path, budget: MemoryBudget::default(), ..settings };
        let (store, closing) = SqliteStore::open(&settings).unwrap();
        Self { system: System::new(), store, closing, folder, settings }
    }

    /// Closes the store; returns its folder and settings.
    pub(crate) fn close(self) -> (TempDir, Settings) {
        drop((self.store, self.system));
        assert!(self.closing.close());
        (self.folder, self.settings)
    }

    /// Ingests a delivery with a notification of this message and an unreadable entry.
    pub(crate) fn ingest(&self, number: u64, received_at: Timestamp) {
        let notification =
            with_message(message(number), &notification(statement(Status::Sent, Some(at(0)))));
        let unreadable = Entry::Unreadable { index: 1, reason: format!("number {number}") };
        let delivery = delivery(received_at, vec![entry(0, notification), unreadable]);
        assert_eq!(self.system.block_on(self.store.ingest(delivery)).unwrap().len(), 2);
    }

    /// Runs the daily purge, which removes data that arrived before this day.
    pub(crate) fn purge_daily(&self, retained_from: i64, now: Timestamp) -> Option<DailyPurge> {
        let purge = self.store.purge_daily(Some(day(retained_from)), now);
        self.system.block_on(purge).unwrap()
    }

    /// Numbers of the messages in this range that are stored.
    pub(crate) fn stored(&self, numbers: std::ops::Range<u64>) -> Vec<u64> {
        let is_stored = |number: &u64| {
            self.system.block_on(self.store.message(message(*number))).unwrap().is_some()
        };
        numbers.filter(is_stored).collect()
    }

    /// Number of messages and quarantined entries that wait until a prune is confirmed.
    pub(crate) fn prune_waiting(&self) -> u64 {
        self.system.block_on(self.store.stats()).unwrap().prune_waiting
    }
}

pub(crate) fn message(number: u64) -> MessageId {
    id(number).parse().unwrap()
}

/// Result of a purge of this many messages and as many quarantined entries.
pub(crate) fn purged(count: u64) -> Purged {
    Purged { messages: count, quarantined: count }
}
