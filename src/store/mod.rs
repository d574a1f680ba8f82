//! The seam between the service and its storage, in the domain's words.
//!
//! A store keeps notifications and answers from them. It knows nothing of webhooks, signatures or
//! HTTP. Each method is one transaction; what a method has answered is durable and is seen by every
//! later call.

mod changes;
mod history;
mod list;
pub mod news;
mod purge;
mod quarantine;
pub mod reply;
mod search;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod sums;
mod vitals;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

pub use self::changes::{Change, Changes, EventId, Filter, Told, WriteChange};
pub use self::history::{History, Part, Said, Step, is_api};
pub use self::list::{Key, Listed, Listing, Page, Place, Write};
use self::news::{Latest, Waiting};
pub use self::purge::{DailyPurge, Purge, Purged};
pub use self::quarantine::{PayloadHash, QuarantineId, Quarantined};
pub use self::search::{Found, Wanted};
pub use self::sums::{Counted, Hour, OTHER_CODES, Sum, Took, is_counted_by_itself};
pub use self::vitals::Vitals;
use crate::content::Content;
use crate::message::{Destination, Identity, MessageId, Notification, Outcome, Record, Timestamp};

/// Keeps what was said of messages, and answers from it.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores one delivery whole or not at all, but for entries that the quarantine has no room for, and
    /// returns once it is durable: one result for each entry, in their order. A delivery without entries
    /// shows that the store can be written.
    async fn ingest(&self, delivery: Delivery) -> Result<Vec<Stored>, StoreError>;

    /// Whether all of these notifications are stored.
    async fn holds(&self, notifications: Vec<(MessageId, Identity)>) -> Result<bool, StoreError>;

    /// What is known of a message.
    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// A page of the messages under this key: newest acceptance first, ties by id, ascending.
    async fn list(&self, key: Key, page: Page, write: Write) -> Result<Listing, StoreError>;

    /// The messages that are wanted behind this place, up to so many: in the order of lists.
    async fn search(
        &self,
        wanted: Arc<Wanted>,
        after: Option<Place>,
        count: u32,
        write: Write,
    ) -> Result<Found, StoreError>;

    /// What became of the messages that were accepted since this hour, in no order.
    async fn sums(&self, since: Hour) -> Result<Vec<Sum>, StoreError>;

    /// The history of a message, and this part of it whole; none if there is no notification of it.
    async fn history(&self, id: MessageId, part: Part) -> Result<Option<History>, StoreError>;

    /// The notifications of these numbers, in their order: at least one, and the last one is that which
    /// passes so many bytes of text. None if one of them was removed meanwhile.
    async fn notifications(
        &self,
        numbers: Vec<i64>,
        bytes: usize,
    ) -> Result<Option<Vec<Said>>, StoreError>;

    /// Waits for news of this message, from now on.
    fn news(&self, id: MessageId) -> Waiting;

    /// Waits for changes of any record.
    fn latest_change(&self) -> Latest;

    /// The next changes behind this number in the sequence of all changes, of those that pass.
    async fn changes(
        &self,
        after: i64,
        filter: Arc<Filter>,
        write: WriteChange,
    ) -> Result<Changes, StoreError>;

    /// What is in quarantine, oldest first, after this place: at most `count` entries, bodies left
    /// empty.
    async fn quarantine(&self, after: i64, count: u32) -> Result<Vec<Quarantined>, StoreError>;

    /// Removes all that names this number: messages with their histories, and quarantined entries.
    /// What comes of it late, until then, is [`Stored::Erased`].
    async fn erase(
        &self,
        number: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError>;

    /// Removes the messages, with their histories, and the quarantined entries of which nothing
    /// arrived since then.
    async fn prune(&self, before: Timestamp) -> Result<Purged, StoreError>;

    /// The daily purge: removes what arrived before `retained_from` as [`Self::prune`] does, and forgets
    /// what was erased and cannot come late any more, each in steps that a wrong clock makes no longer. Does
    /// nothing, and returns none, if it has run less than a day ago.
    async fn purge_daily(
        &self,
        retained_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError>;

    /// How much [`Self::erase`] or [`Self::prune`] would remove.
    async fn count_purge(&self, what: Purge) -> Result<Purged, StoreError>;

    /// Copies everything that is stored to a file of this name, which must not be there yet. It is
    /// whole and durable when this returns.
    async fn back_up(&self, file: PathBuf) -> Result<(), Cause>;

    /// Number of the data's lineage: 0, and a greater one after each restore from a backup. A place in the
    /// sequence of changes or in a list means nothing in another lineage.
    fn lineage(&self) -> u32;

    /// How the store is doing.
    async fn vitals(&self) -> Result<Vitals, StoreError>;

    /// One quarantined entry, whole.
    async fn quarantined(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError>;
}

/// What one request brings to the store.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Who says it: a source's name, or `api:` and the name of a key.
    pub source: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What was posted, should it have to go to quarantine. A registration brings nothing: what
    /// cannot be stored of it is refused.
    pub content: Option<Content>,
    /// Whether verification covered the URL, so that a replay may use the URL's parameters.
    pub url_covered: bool,
    /// What it says, entry by entry.
    pub entries: Vec<Entry>,
    /// The quarantined entry that this delivery reads again. It is released if it is understood
    /// now, and left as it is if not.
    pub replay_of: Option<QuarantineId>,
}

/// One entry of a delivery.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Understood.
    Notification {
        /// Which entry of the posted content it is, should it have to go to quarantine.
        index: u32,
        /// What is said.
        notification: Box<Notification>,
        /// The provider's id, where the source's messages are named by it.
        foreign_id: Option<String>,
    },
    /// Not understood.
    Unreadable {
        /// Which entry of the posted content it is.
        index: u32,
        /// What could not be understood.
        reason: String,
    },
}

/// What became of an entry.
#[derive(Debug, Clone)]
pub enum Stored {
    /// It was judged.
    Judged {
        /// The message it is about.
        message: MessageId,
        /// What it did.
        outcome: Outcome,
        /// The record after it.
        record: Option<Arc<Record>>,
        /// Whether there was no record before.
        new: bool,
    },
    /// It was put aside.
    Quarantined {
        /// Under this name.
        id: QuarantineId,
        /// For this reason.
        reason: String,
    },
    /// It would have been put aside, but the quarantine is full; it is not kept. The rest of the delivery
    /// is.
    QuarantineFull,
    /// It was erased before, so it is not kept.
    Erased,
    /// A registration of a message that has as many notifications as it may have.
    TooMany,
}

/// A message of which something valid is known.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// What is known of it.
    pub record: Record,
}

/// Counts of a prune or an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// How many messages.
    pub messages: u64,
    /// How many quarantined entries.
    pub quarantined: u64,
    /// Whether no trace is left in files from which it was not removed at once.
    pub wal_emptied: bool,
}

/// What lies beneath a [`StoreError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked. Nothing was acknowledged; all but the last can be
/// mended by trying again.
#[derive(Debug, Error)]
pub enum StoreError {
    /// More is waiting to be done than may wait.
    #[error("the store has too much to do")]
    Overloaded,
    /// Another process holds the database.
    #[error("the database is locked")]
    Locked(#[source] Cause),
    /// A query took longer than it may.
    #[error("the query takes too long")]
    TooSlow,
    /// No space is left.
    #[error("the disk is full")]
    DiskFull(#[source] Cause),
    /// The quarantine has as many rows as it may have.
    #[error("the quarantine is full")]
    QuarantineFull,
    /// The disk failed, or the store is closed; nothing is written any more.
    #[error("the store has stopped")]
    Stopped,
    /// The database did not do it.
    #[error("the database refused")]
    Refused(#[source] Cause),
    /// A stored row makes no sense.
    #[error("a stored row makes no sense")]
    Corrupt(#[source] Cause),
}
