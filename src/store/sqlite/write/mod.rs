//! Writing: one thread, one connection, one transaction for everything that is queued.
//!
//! [`mod@thread`] is the loop. It takes [`command`]s, applies deliveries ([`apply`]), moves records from the
//! cache to their table ([`mod@write_back`]) and replies after the commit. [`state`] is the writer state: what
//! the writer knows of the tables without reading them; a [`transaction`] changes both or neither. [`wal`]
//! keeps the WAL short, with [`checkpoint`], which moves WAL pages into the database on a thread of its own.
//! [`remove_messages`] deletes messages and leaves [`tombstones`](super::rows::tombstones). [`backup`]
//! copies pages of the live database. A start brings the cache up to date by [`replay`].
//!
//! # Checkpoints are our own
//!
//! SQLite's automatic checkpoint ignores I/O errors. The checkpoint thread moves WAL pages while the writer
//! goes on, 16 MiB at a time. Under load only the writer can restart the WAL, and does so between two batches
//! when the thread has left little to move. The file keeps its length: it is truncated only when the service
//! is idle, the disk is full or something was erased. The writer waits for the truncation, because on a
//! stalled disk it would otherwise take our own lock for that of another process. Where queries come without
//! a pause the WAL grows up to 48 MiB, and then the queries wait.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod checkpoint;
pub(crate) mod command;
pub(crate) mod remove_messages;
pub(crate) mod replay;
pub(crate) mod state;
pub(crate) mod thread;
pub(crate) mod transaction;
pub(crate) mod wal;
pub(crate) mod write_back;
