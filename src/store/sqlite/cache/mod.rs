//! Cache: recent records in memory, written back to the table `message` later.
//!
//! [`records`] is shared by readers and the writer. [`entry`] is the cached state of one message, and [`load`]
//! reads it from the tables. [`places`] are the messages' places in lists. [`append_list`] is a list whose copies
//! share their items. [`counts`] are figures that the writer keeps for the stats.
//!
//! A record in the cache takes precedence over its row, and the cache is searched first. So a list is
//! complete without a lock that holds up the writer: the table may be ahead of what was found in the cache,
//! or behind it, but never behind what was not found there. A cached message is also listed under the keys of
//! its row, so that the row is left out.

pub(crate) mod append_list;
pub(crate) mod counts;
pub(crate) mod entry;
pub(crate) mod load;
pub(crate) mod places;
pub(crate) mod records;
