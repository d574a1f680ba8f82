//! Progress of the write-back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::message::MessageId;
use crate::store::sqlite::index::entry::IndexEntry;
use crate::store::sqlite::index::merge::Merge;
use crate::store::sqlite::index::new_run::NewRun;
use crate::store::sqlite::index::runs::Runs;

/// Progress of the write-back. Copied before each transaction, to be put back if it fails.
#[derive(Clone)]
pub(crate) struct WriteBack {
    /// Runs of the index, with the changes of this transaction.
    pub(crate) runs: Runs,
    pub(crate) step: Step,
    /// Rows of the current batch that were removed since they were written.
    pub(crate) removed: BTreeSet<i64>,
    /// Merge of the runs.
    pub(crate) merge: Merge,
    /// Number of unwritten messages that the last call left.
    pub(crate) unwritten: usize,
    /// Last number of the notification log at the last call.
    pub(crate) last_seq: i64,
    /// Steps that the messages which arrived since allow.
    pub(crate) due_steps: usize,
}

/// Step of the current batch.
#[derive(Clone)]
pub(crate) enum Step {
    /// There is no batch.
    None,
    /// Rows are written.
    Rows {
        messages: Arc<[MessageId]>,
        /// Number of messages written.
        done: usize,
        /// Entries of the new rows. Only the first `entries` count: a transaction that failed may have left
        /// more.
        new: Arc<Mutex<Vec<IndexEntry>>>,
        entries: usize,
    },
    /// Entries are added to the run.
    Entries { messages: Arc<[MessageId]>, run: NewRun },
    /// Messages are evicted.
    Eviction {
        messages: Arc<[MessageId]>,
        /// Number of messages examined.
        done: usize,
    },
}

impl WriteBack {
    /// Write-back of an empty cache.
    pub(crate) fn new(runs: Runs) -> Self {
        Self {
            runs,
            step: Step::None,
            removed: BTreeSet::new(),
            merge: Merge::default(),
            unwritten: 0,
            last_seq: 0,
            due_steps: 0,
        }
    }

    /// Records that a row was removed, whose entries must not be added any more.
    pub(crate) fn row_removed(&mut self, n: i64) {
        if !matches!(self.step, Step::None) {
            self.removed.insert(n);
        }
    }

    /// Run of the current batch, which does not count yet.
    pub(crate) fn unfinished_run(&self) -> Option<i64> {
        match self.step {
            Step::Entries { ref run, .. } => Some(run.number()),
            Step::None | Step::Rows { .. } | Step::Eviction { .. } => None,
        }
    }
}
