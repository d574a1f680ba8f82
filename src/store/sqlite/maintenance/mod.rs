//! Maintenance of a live store: operations that take many steps, between which the store serves webhooks and
//! queries.
//!
//! [`mod@backup`] copies the database, [`mod@erase`] removes everything that names a destination, and
//! [`mod@purge`] removes by age.
//!
//! # Maintenance comes in small pieces
//!
//! A backup is made by the writer, page by page between its batches: a copy through another connection would
//! start over with every commit, and one long read would hold up the WAL. For erasures and purges, readers
//! find the messages and the writer removes a hundred at a time. Deleted bytes are overwritten at once
//! (`secure_delete`), which costs nothing where nothing is deleted. Quarantined entries that an operator drops
//! are removed like old ones, without tombstones, so that a repetition is quarantined again. Erased messages
//! leave keyed hashes of their ids ([`tombstones`](super::rows::tombstones)), so the file does not say whose
//! messages were erased, and a late retry is recognised.

pub(crate) mod backup;
pub(crate) mod erase;
pub(crate) mod purge;
