//! What tells an operator how a store is doing.

use crate::message::Timestamp;

/// How a store is doing. Costs nothing that grows with what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// How many bytes the database has.
    pub database_bytes: u64,
    /// How many bytes the log has that is written before the database is.
    pub wal_bytes: u64,
    /// How many entries are in quarantine.
    pub quarantined: u64,
    /// How many bytes they take.
    pub quarantined_bytes: u64,
    /// How many records have no number, so that no list by number has them.
    pub without_number: u64,
    /// How many messages and quarantined entries are older than the retention, and wait until a prune is
    /// confirmed.
    pub prune_waiting: u64,
    /// When the oldest message was accepted that is accepted or sent, and of which nothing else is known.
    pub oldest_unfinished: Option<Timestamp>,
}
