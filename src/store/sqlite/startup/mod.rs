//! Startup: from a path to an open database, or a clear rejection that leaves the file as it was.
//!
//! [`mod@open`] runs the steps: [`mod@claim`] takes the [`lock`]s (one process owns the database) and
//! finishes what an earlier process began, [`wal_damage`] rejects a damaged WAL but not a torn tail,
//! [`schema`] recognises and migrates the tables. [`file_identity`] notices when a file is removed or replaced
//! later. [`file_copy`] makes complete copies in new blocks. Beside them lie the offline commands:
//! [`integrity`] (`check`), [`mod@restore`] and [`mod@accept_wal_loss`].
//!
//! # A start is a sequence of rejections
//!
//! Lock, file system, recognition, check: only after these steps is anything written. The lock file says how
//! the last process ended; after an orderly end it describes the files, so that a restart does not read them
//! all again. After an I/O error nothing is retried ([`fail_stop`](super::fail_stop)): a mark is left, the
//! process ends without closing anything, and the next start copies everything to new blocks. The copy counts
//! from the moment it is renamed to `….copied`; its installation can be interrupted anywhere and is repeated.

pub(crate) mod accept_wal_loss;
pub(crate) mod claim;
pub(crate) mod file_copy;
pub(crate) mod file_identity;
pub(crate) mod integrity;
pub(crate) mod lock;
pub(crate) mod open;
pub(crate) mod restore;
pub(crate) mod schema;
pub(crate) mod unfinished_batch;
pub(crate) mod wal_damage;
