//! Purge requests, and the counts of removed messages.

use crate::message::{Destination, Timestamp};

/// Selection of what to purge.
#[derive(Debug, Clone, Copy)]
pub enum Purge {
    /// Everything that names this destination.
    Destination(Destination),
    /// Everything for which nothing has arrived since this time.
    Older(Timestamp),
}

/// Counts of a purge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Number of messages.
    pub messages: u64,
    /// Number of quarantined entries.
    pub quarantined: u64,
}

/// Result of a daily purge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DailyPurge {
    /// Whether the run was allowed to remove data. Otherwise it only counted, because the last run was less
    /// than a day ago or the clock shows a time long past.
    pub is_due: bool,
    /// Counts of what was removed.
    pub purged: Purged,
    /// Counts of what is older than the retention and stays until a prune is confirmed.
    pub waiting: Purged,
    /// Whether a confirmation is needed because nothing was ever pruned in this file.
    pub is_first: bool,
}
