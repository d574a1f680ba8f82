//! Contract of a store: the trait, its inputs, and its errors.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::change_feed::{Changes, Filter, WriteChange};
use super::history::{History, Part, StoredNotification};
use super::hourly_counts::{Hour, HourlyCount};
use super::list::{Key, Listing, Page, Place, Write};
use super::notifier::{LatestChange, Waiting};
use super::purge::{DailyPurge, Purge, Purged};
use super::quarantine::{QuarantineId, Quarantined};
use super::search::{Found, SearchFilter};
use super::stats::Stats;
use crate::message::{Destination, Identity, MessageId, Notification, Outcome, Record, Timestamp};
use crate::payload::RawPayload;

/// Stores notifications durably and answers queries about them.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores one delivery whole or not at all, except entries for which the quarantine has no room. Returns
    /// once the delivery is durable, with one result for each entry, in their order. A delivery without
    /// entries tests whether the store can be written.
    async fn ingest(&self, delivery: Delivery) -> Result<Vec<StoredEntry>, StoreError>;

    /// Whether all these notifications are stored.
    async fn holds(&self, notifications: Vec<(MessageId, Identity)>) -> Result<bool, StoreError>;

    /// Current record of a message.
    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// A page of the messages under this key: newest acceptance first, ties by id, ascending.
    async fn list(&self, key: Key, page: Page, write: Write) -> Result<Listing, StoreError>;

    /// One part of a search: up to `count` messages that match, after this place, in the order of lists.
    async fn search(
        &self,
        filter: Arc<SearchFilter>,
        after: Option<Place>,
        count: u32,
        write: Write,
    ) -> Result<Found, StoreError>;

    /// Hourly counts of the messages accepted since this hour, in no order.
    async fn hourly_counts(&self, since: Hour) -> Result<Vec<HourlyCount>, StoreError>;

    /// History of a message, with the requested part in full; none if the message has no notification.
    async fn history(&self, id: MessageId, part: Part) -> Result<Option<History>, StoreError>;

    /// Notifications by number, in this order: at least one, ending with the one that exceeds `bytes` bytes
    /// of text. None if one of them was removed meanwhile.
    async fn notifications(
        &self,
        numbers: Vec<i64>,
        bytes: usize,
    ) -> Result<Option<Vec<StoredNotification>>, StoreError>;

    /// Subscribes to changes of this message, from now on.
    fn subscribe(&self, id: MessageId) -> Waiting;

    /// Subscribes to changes of any record.
    fn latest_change(&self) -> LatestChange;

    /// The next changes after this number in the sequence of all changes that pass the filter.
    async fn changes(
        &self,
        after: i64,
        filter: Arc<Filter>,
        write: WriteChange,
    ) -> Result<Changes, StoreError>;

    /// Quarantined entries after this place, oldest first: at most `count` entries, bodies left empty.
    async fn quarantine(&self, after: i64, count: u32) -> Result<Vec<Quarantined>, StoreError>;

    /// Erases everything that names this destination: messages with their histories, and quarantined entries.
    /// A late retry of them before `until` is answered with [`StoredEntry::Erased`].
    async fn erase(
        &self,
        destination: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError>;

    /// Removes the messages, with their histories, and the quarantined entries for which nothing has arrived
    /// since `before`.
    async fn prune(&self, before: Timestamp) -> Result<Purged, StoreError>;

    /// Daily purge: removes what arrived before `retained_from` as [`Self::prune`] does, and deletes
    /// tombstones of data that can no longer arrive late. A wrong clock cannot make one run's step longer.
    /// Does nothing, and returns none, if the last run was less than a day ago.
    async fn purge_daily(
        &self,
        retained_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError>;

    /// Removes these quarantined entries, each with its raw payload unless another entry needs it. Returns how
    /// many of them existed. A repetition that arrives later is quarantined again.
    async fn drop_quarantined(&self, entries: Vec<QuarantineId>) -> Result<u64, StoreError>;

    /// Counts what [`Self::erase`] or [`Self::prune`] would remove.
    async fn count_purge(&self, what: Purge) -> Result<Purged, StoreError>;

    /// Copies the whole database to this file, which must not exist yet. The copy is complete and durable
    /// when this returns.
    async fn back_up(&self, file: PathBuf) -> Result<(), Cause>;

    /// Lineage of the data: 0, and a greater number after each restore from a backup. A place in the change
    /// feed or in a list is not valid in another lineage.
    fn lineage(&self) -> u32;

    /// Stats of the store.
    async fn stats(&self) -> Result<Stats, StoreError>;

    /// One quarantined entry, with its body.
    async fn quarantined(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError>;
}

/// Content of one request to the store.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Origin of the delivery: a source's name, or `api:` and the name of an API key.
    pub source: String,
    /// Time of arrival.
    pub received_at: Timestamp,
    /// Raw payload, in case an entry has to go to quarantine. None for a registration: a registration that
    /// cannot be stored is rejected instead.
    pub content: Option<RawPayload>,
    /// Whether verification covered the URL, so that a replay may use the URL's parameters.
    pub url_covered: bool,
    /// Entries of the delivery, in order.
    pub entries: Vec<Entry>,
    /// Quarantined entry that this delivery replays. It is released if it can be interpreted now, and left
    /// unchanged otherwise.
    pub replay_of: Option<QuarantineId>,
}

/// One entry of a delivery.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The entry was interpreted.
    Notification {
        /// Index of the entry in the raw payload, in case it has to go to quarantine.
        index: u32,
        /// The notification.
        notification: Box<Notification>,
        /// Whether the source names the message by the provider's id, so that it is listed under that id.
        by_provider_id: bool,
    },
    /// The entry could not be interpreted.
    Unreadable {
        /// Index of the entry in the raw payload.
        index: u32,
        /// Reason why the entry could not be interpreted.
        reason: String,
    },
    /// The entry states no message status. It is not stored, and keeps its place among the results.
    Ignored {
        /// Reason why the entry is ignored.
        reason: String,
    },
}

/// Outcome of storing an entry.
#[derive(Debug, Clone)]
pub enum StoredEntry {
    /// The notification was judged.
    Judged {
        /// The message of the notification.
        message: MessageId,
        /// Outcome of the notification.
        outcome: Outcome,
        /// Record afterwards.
        record: Option<Arc<Record>>,
        /// Whether the message had no record before.
        new: bool,
    },
    /// The entry is in quarantine.
    Quarantined {
        /// Id of the quarantined entry.
        id: QuarantineId,
        /// Reason for the quarantine.
        reason: String,
    },
    /// The entry had to go to quarantine, but the quarantine is full. The entry is not kept; the rest of the
    /// delivery is.
    QuarantineFull,
    /// The entry states no message status.
    Ignored {
        /// Reason why the entry is ignored.
        reason: String,
    },
    /// The message or entry was erased before, so it is not kept.
    Erased,
    /// A registration of a message that already has the maximum number of notifications.
    TooMany,
}

/// A message with a valid record.
#[derive(Debug, Clone)]
pub struct Message {
    /// The message's id.
    pub id: MessageId,
    /// The message's record.
    pub record: Record,
}

/// Counts of a prune or an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Number of messages.
    pub messages: u64,
    /// Number of quarantined entries.
    pub quarantined: u64,
    /// Whether the WAL was emptied too, so that no trace is left in files from which data is not removed at
    /// once.
    pub wal_emptied: bool,
}

/// Source error of a [`StoreError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Error of a store request. Nothing was acknowledged. All but the last can be resolved by a retry.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The queue is full.
    #[error("the store is overloaded")]
    Overloaded,
    /// Another process locks the database.
    #[error("the database is locked")]
    Locked(#[source] Cause),
    /// The query exceeded its time limit.
    #[error("the query takes too long")]
    TooSlow,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull(#[source] Cause),
    /// The quarantine has reached its maximum number of rows.
    #[error("the quarantine is full")]
    QuarantineFull,
    /// The disk failed, or the store is closed; nothing is written any more.
    #[error("the store has stopped")]
    Stopped,
    /// The database returned an error.
    #[error("database error")]
    Failed(#[source] Cause),
    /// A stored row cannot be decoded.
    #[error("corrupt row in the database")]
    Corrupt(#[source] Cause),
}
