//! A store in a file that can be opened again, and its daily purge.

use actix_web::rt::System;
use statusmirror::message::{MessageId, Status, Timestamp};
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{DailyPurge, Entry, Purged, Store};

use crate::support::store::deliveries::{about, delivery, entry};
use crate::support::store::notifications::{at, notification, statement};
use crate::support::*;

pub(crate) const DAY: i64 = 24 * 60 * 60;

/// So many days after the first of these tests.
pub(crate) fn day(days: i64) -> Timestamp {
    at(days * DAY)
}

/// A store in a file, which can be opened again.
pub(crate) struct OpenedStore {
    pub(crate) system: actix_web::rt::SystemRunner,
    pub(crate) store: SqliteStore,
    pub(crate) closing: Closing,
    pub(crate) folder: tempfile::TempDir,
}

impl OpenedStore {
    pub(crate) fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap())
    }

    /// The store in this folder.
    pub(crate) fn of(folder: tempfile::TempDir) -> Self {
        let (store, closing) = SqliteStore::open(&Self::settings(&folder)).unwrap();
        Self { system: System::new(), store, closing, folder }
    }

    pub(crate) fn settings(folder: &tempfile::TempDir) -> Settings {
        let path = folder.path().join("mirror.db");
        Settings { lock_wait: INHERITED, ..Settings::new(path) }
    }

    /// A message arrives at this time, and something that is quarantined.
    pub(crate) fn arrives(&self, number: u64, when: Timestamp) {
        let said = about(message(number), &notification(statement(Status::Sent, Some(at(0)))));
        let unreadable = Entry::Unreadable { index: 1, reason: format!("number {number}") };
        let delivery = delivery(when, vec![entry(0, said), unreadable]);
        assert_eq!(self.system.block_on(self.store.ingest(delivery)).unwrap().len(), 2);
    }

    pub(crate) fn daily(&self, retained_from: i64, now: Timestamp) -> Option<DailyPurge> {
        let purge = self.store.purge_daily(Some(day(retained_from)), now);
        self.system.block_on(purge).unwrap()
    }

    /// Which of these messages are there.
    pub(crate) fn there(&self, numbers: std::ops::Range<u64>) -> Vec<u64> {
        let there = |number: &u64| {
            self.system.block_on(self.store.message(message(*number))).unwrap().is_some()
        };
        numbers.filter(there).collect()
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.system.block_on(self.store.stats()).unwrap().prune_waiting
    }
}

pub(crate) fn message(number: u64) -> MessageId {
    id(number).parse().unwrap()
}

pub(crate) fn both(number: u64) -> Purged {
    Purged { messages: number, quarantined: number }
}
