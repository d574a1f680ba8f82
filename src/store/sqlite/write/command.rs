//! Commands to the writer, and the batches of deliveries that share a transaction.

use std::path::PathBuf;

use rusqlite::Connection;

use super::backup::{BackupError, Partial, Turn};
use super::state::WriterState;
use crate::store::reply::Reply;
use crate::store::{Delivery, StoreError, StoredEntry};

/// Number of entries at which a transaction ends; the delivery that exceeds it is included.
const TRANSACTION_ENTRIES: usize = 512;
/// Length of raw payloads at which a transaction ends, in bytes: 4 MiB. All of them may have to go to
/// quarantine, and the WAL must hold them.
const TRANSACTION_BYTES: usize = 4 << 20;

/// Command to the writer.
pub(crate) enum Order {
    /// Store a delivery.
    Store(Job),
    /// Run a task.
    Other(Task),
}

/// A delivery, and the channel for its result.
pub(crate) struct Job {
    pub(crate) delivery: Delivery,
    pub(crate) reply: Answer<Vec<StoredEntry>>,
}

impl Job {
    /// Number of entries that the delivery adds to a transaction, at least 1.
    pub(crate) fn entries(&self) -> usize {
        self.delivery.entries.len().max(1)
    }

    /// Length of the raw payload's body, in bytes.
    fn bytes(&self) -> usize {
        self.delivery.content.as_ref().map_or(0, |content| content.body.len())
    }
}

/// Task that runs between two batches.
pub(crate) enum Task {
    /// Small action, in a transaction of its own.
    Act(Action, Answer<u64>),
    /// Empty the WAL, so that no old data is left in it. The reply says whether that succeeded.
    TruncateWal(Answer<bool>),
    /// Copy the database. The reply is a copy that is complete, but not durable yet.
    BackUp(PathBuf, Turn, Reply<Result<Partial, BackupError>>),
    /// End, once everything that was queued before is done.
    End,
}

/// Channel for the result of a command.
pub(crate) type Answer<T> = Reply<Result<T, StoreError>>;

/// Small action that runs in a transaction of its own.
pub(crate) type Action =
    Box<dyn FnOnce(&Connection, &mut WriterState) -> rusqlite::Result<u64> + Send>;

/// Deliveries that share a transaction.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Job>,
    entries: usize,
    bytes: usize,
}

impl Batch {
    /// Adds a delivery.
    pub(crate) fn push(&mut self, job: Job) {
        self.entries += job.entries();
        self.bytes += job.bytes();
        self.jobs.push(job);
    }

    /// Whether the transaction takes no more deliveries.
    pub(crate) fn is_full(&self) -> bool {
        self.entries >= TRANSACTION_ENTRIES || self.bytes >= TRANSACTION_BYTES
    }
}
