//! The store in one SQLite file.
//!
//! - [`startup`] turns a path into an open, checked, locked database of the current schema.
//! - [`mod@write`]: one thread owns the connection that writes, another checkpoints the WAL.
//! - [`read`]: two threads answer queries, each with connections of its own. The service's threads never
//!   touch the file.
//! - [`cache`]: records in memory that the table `message` does not have yet (write-back).
//! - [`index`]: where the row of a message is, by its id, destination and reference key.
//! - [`rows`] converts between rows and the domain's types. [`quarantine`]: rejected entries and their raw
//!   payloads.
//! - [`sqlite_store`] implements the trait by sending commands to these threads. [`maintenance`] has its long
//!   operations: backup, erasure, purge. [`fail_stop`] ends the store for good after an I/O error;
//!   [`shutdown`] ends it in order.
//! - [`settings`], [`error`], [`paths`] and [`files`] are used by all of them and know none of them.
//!
//! No files import one another in a circle. An item that two files need from each other lies in a third file
//! below both.
//!
//! The journal is a WAL and `synchronous` is FULL, so a commit is one fsync, and the writer commits
//! everything queued at once. A commit is mostly a few pages at the end of the notification log, because a
//! page that is dirtied at random costs more than a statement. The pages of records and their indexes are
//! dirtied later, once for all notifications of a message within a while.
//!
//! # The notification log is the truth, and records follow it
//!
//! A message travels like this:
//!
//! 1. Each notification becomes a row at the end of one table, the notification log, so a commit writes few
//!    pages. The record is joined in the cache.
//! 2. When the record is among the oldest of the cache, it is [written back](write::write_back): its row goes to
//!    the end of the table `message`, mostly once for all of its notifications. Its entries in the index go to a
//!    sorted run, together with those of thousands of others.
//! 3. Later the entries of many runs are merged into the base of the index, again in their order. There the
//!    message rests.
//!
//! So nothing is ever written at a place of its own: a page takes many rows, or many entries. Therefore the bytes
//! written for a webhook hardly grow with the file. To search a large index for each new id would take longer than
//! all other work, so a filter in memory tells the writer of most ids that they are new. `docs/performance.md` has
//! the figures.
//!
//! `progress` records up to where the table has followed, and a start replays the rest of the notification log.
//!
//! - Numbers of the notification log are never used twice, and each row says whether it changed the record
//!   and from which status, so a reader can go on from any number.
//! - The notifications of a message are a chain: each names the one before it, and the record's row names the
//!   last. History and duplicates need no index, which would be written at random places.
//! - A small integer names a message's row. Random UUIDs as keys would dirty a page per write. Only the
//!   [`index`] has random keys.
//! - An update leaves indexed columns alone unless one of them changed, because SQLite rewrites the entry of its
//!   index by acceptance even for an equal value.

pub(crate) mod cache;
pub(crate) mod error;
pub(crate) mod fail_stop;
pub(crate) mod files;
pub(crate) mod index;
pub(crate) mod maintenance;
pub(crate) mod paths;
pub(crate) mod quarantine;
pub(crate) mod read;
pub(crate) mod rows;
pub(crate) mod settings;
pub(crate) mod shutdown;
pub(crate) mod sqlite_store;
pub(crate) mod startup;
pub(crate) mod write;

pub use self::error::OpenError;
pub use self::fail_stop::StopCause;
pub use self::files::make_private_directory;
pub use self::paths::{directory, real_path, with_suffix};
pub use self::settings::Settings;
pub use self::shutdown::Closing;
pub use self::sqlite_store::SqliteStore;
pub use self::startup::accept_wal_loss::accept_wal_loss;
pub use self::startup::integrity::{Contents, Hashed, contents, contents_once_open};
pub use self::startup::restore::{Restored, restore};
pub use self::startup::schema::{VERSION, is_application_id};
pub use self::startup::wal_damage::{WalDamage, wal_damage};
