//! Store: durable notifications, and the queries answered from them.
//!
//! [`contract`] is the trait, in the domain's words; the files beside it define its inputs and outputs. A
//! store knows nothing of webhooks, signatures or HTTP. `sqlite` is the implementation in one SQLite file.
//!
//! # Events are made from the notification log
//!
//! An event is rendered when it is read. The record after a notification is in the cache, or is derived from
//! the chain of notifications before it. So a client that connects late gets the same events as one that
//! listened, and a slow client fills no queue.
//!
//! # Hourly counts follow the records
//!
//! A message moves from one count to another in the transaction that changes its record, so the counts match
//! the records in whatever order notifications arrive ([`hourly_counts`]). Only the time to delivery stays
//! counted when the message is read, because the record no longer contains it. Pruned and erased messages
//! stay counted, so no count is kept under a text that could contain a phone number. At most 200 codes of an
//! hour and channel have a count of their own.
//!
//! # Replies reach a worker through one task
//!
//! A busy worker polls tasks that other threads have woken only now and then, so replies come through one
//! task of its own ([`reply`]). A read thread answers all queries waiting for it together, for at most a
//! millisecond, so a worker is woken once for all of them.

pub(crate) mod change_feed;
pub(crate) mod contract;
pub(crate) mod history;
pub(crate) mod hourly_counts;
pub(crate) mod list;
pub mod notifier;
pub(crate) mod purge;
pub(crate) mod quarantine;
pub mod reply;
pub(crate) mod search;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub(crate) mod stats;

pub use self::change_feed::{Change, Changes, EventId, Filter, RenderedChange, WriteChange};
pub use self::contract::{
    Cause, Delivery, Entry, Message, Removed, Store, StoreError, StoredEntry,
};
pub use self::history::{History, Part, Step, StoredNotification, is_api};
pub use self::hourly_counts::{
    CountKind, DeliveryTime, Hour, HourlyCount, OTHER_CODES, has_own_count,
};
pub use self::list::{Key, Listed, Listing, Page, Place, Write};
pub use self::purge::{DailyPurge, Purge, Purged};
pub use self::quarantine::{PayloadHash, QuarantineId, Quarantined};
pub use self::search::{Found, SearchFilter};
pub use self::stats::Stats;
