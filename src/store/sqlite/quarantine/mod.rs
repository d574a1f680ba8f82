//! Quarantine: entries that could not be interpreted, and the raw payloads that they came in.
//!
//! A raw payload is stored once, however many of its entries are in quarantine, and deleted with the last of
//! them. [`usage`] counts each source's rows and bytes in the same transaction, so that no start scans the
//! table.
//!
//! A file written by version 6 or earlier has its entries in `quarantine_6`, bodies included. After the start
//! the writer moves them in small transactions ([`backfill`]). A reader searches both tables in one
//! transaction; code that changes an entry searches the new table first. The bytes of entries that were not
//! moved yet are not counted.
//!
//! The ids of quarantined entries are hashes of their content, so the same content is kept once without an
//! index of its own. A replay trusts what the first reading could trust: each entry records whether
//! verification covered the URL on arrival. The current configuration decides only for entries of version 6
//! and earlier.

pub(crate) mod backfill;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod usage;

pub(crate) use self::backfill::move_all;
pub(crate) use self::read::{SELECT_ALL, arrivals, entries, list, one};
pub(crate) use self::rows::{NewEntry, count_repeat, insert, remove};
pub(crate) use self::usage::Usage;
