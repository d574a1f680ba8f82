//! Stats: health figures of a store.

use crate::message::Timestamp;

/// Stats of a store. Their cost does not grow with the amount of stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Size of the database file, in bytes.
    pub database_bytes: u64,
    /// Size of the WAL, in bytes.
    pub wal_bytes: u64,
    /// Number of quarantined entries.
    pub quarantined: u64,
    /// Size of the quarantined entries, in bytes.
    pub quarantined_bytes: u64,
    /// Number of records without a destination, which therefore appear in no list by destination.
    pub without_destination: u64,
    /// Number of messages and quarantined entries that are older than the retention and wait until a prune is
    /// confirmed.
    pub prune_waiting: u64,
    /// Acceptance time of the oldest message whose status is `PROVIDER_ACCEPTANCE` or `SENT`.
    pub oldest_unfinished: Option<Timestamp>,
}
