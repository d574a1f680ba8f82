//! Write-back: the records follow the notification log. An entry is loaded from the tables, changes in the
//! cache, and is written back to the tables.
//!
//! The notification log ([`apply`](super::apply)) is written first and is the truth. A message with a new
//! notification is kept in the [cache](crate::store::sqlite::cache::records). Only when the cache exceeds its
//! limits is its oldest quarter written back, as one batch, in steps that are spread over the transactions of
//! the deliveries:
//!
//! 1. The rows, in the order of destinations: so the rows of a list lie side by side, as far as their messages
//!    came within that time.
//! 2. The entries of new rows in the [index](crate::store::sqlite::index), as one sorted run.
//! 3. Once the run counts, the messages are evicted.
//!
//! When there are many runs, their entries are moved to the base, in the same way: a piece at a time.
//!
//! `progress` records, in the transaction that makes the run count, up to where the notification log is
//! written back; a start replays the rest of it. Of an unfinished batch nothing counts, and a start removes
//! its new rows and their entries
//! ([`unfinished_batch`](crate::store::sqlite::startup::unfinished_batch)).
//!
//! A batch advances with the messages that arrive: it ends a little before the cache has as many new ones. So
//! each transaction does about the same, and an idle service writes nothing.
//!
//! [`steps`] takes these steps, [`progress`] is where they have come to, and [`rows`] writes rows.

pub(crate) mod progress;
pub(crate) mod rows;
pub(crate) mod steps;
