//! What is removed on request or by age, and how much that is.

use crate::message::{Destination, Timestamp};

/// What to remove.
#[derive(Debug, Clone, Copy)]
pub enum Purge {
    /// All that names a number.
    Number(Destination),
    /// All of which nothing arrived since.
    Older(Timestamp),
}

/// How much is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many messages.
    pub messages: u64,
    /// How many quarantined entries.
    pub quarantined: u64,
}

/// What a daily purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DailyPurge {
    /// Whether it removed anything. If not, it only counted, for it ran less than a day ago, or the clock
    /// shows a time that is long past.
    pub is_due: bool,
    /// What it removed.
    pub purged: Purged,
    /// What is older than the retention and stays until somebody confirms a prune.
    pub waiting: Purged,
    /// Whether that is because nothing was ever pruned in this file.
    pub is_first: bool,
}
