//! What the writing thread is asked for, and which deliveries share a transaction.

use std::path::PathBuf;

use rusqlite::Connection;

use super::backup::{BackupError, Partial, Turn};
use super::ledger::Ledger;
use crate::store::reply::Reply;
use crate::store::{Delivery, StoreError, Stored};

/// A transaction ends after so many entries, or with the delivery that passes them.
const TRANSACTION_ENTRIES: usize = 512;
/// It ends after so many bytes of raw payloads too, all of which may have to go to quarantine: the WAL must
/// hold them.
const TRANSACTION_BYTES: usize = 4 << 20;

/// What the thread is asked for.
pub(super) enum Order {
    /// To store a delivery.
    Store(Job),
    /// Something else.
    Other(Task),
}

/// A delivery, and where its answer goes.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) reply: Answer<Vec<Stored>>,
}

impl Job {
    /// Entries that the delivery adds to a transaction.
    pub(super) fn entries(&self) -> usize {
        self.delivery.entries.len().max(1)
    }

    /// Bytes of its raw payload.
    fn bytes(&self) -> usize {
        self.delivery.content.as_ref().map_or(0, |content| content.body.len())
    }
}

/// What is done between two batches.
pub(super) enum Task {
    /// Something small, in a transaction of its own.
    Act(Act, Answer<u64>),
    /// To begin the WAL anew, so that nothing old is left in it; says whether that could be done.
    Cut(Answer<bool>),
    /// To copy the database; the answer is a copy that is whole, but not durable yet.
    BackUp(PathBuf, Turn, Reply<Result<Partial, BackupError>>),
    /// To end, once everything that was asked before is done.
    End,
}

/// Where the answer to an order goes.
pub(super) type Answer<T> = Reply<Result<T, StoreError>>;

/// Something small to be done in a transaction of its own.
pub(super) type Act = Box<dyn FnOnce(&Connection, &mut Ledger) -> rusqlite::Result<u64> + Send>;

/// Deliveries that share a transaction.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    entries: usize,
    bytes: usize,
}

impl Batch {
    /// Adds a delivery.
    pub(super) fn push(&mut self, job: Job) {
        self.entries += job.entries();
        self.bytes += job.bytes();
        self.jobs.push(job);
    }

    /// Whether the transaction ends with what is in it.
    pub(super) fn is_full(&self) -> bool {
        self.entries >= TRANSACTION_ENTRIES || self.bytes >= TRANSACTION_BYTES
    }
}
