//! Writer: one thread owns the only connection that writes.
//!
//! It takes everything that is queued, applies it in one transaction and replies once that is committed: one
//! fsync acknowledges many deliveries. It waits for nothing, so an idle service replies after one fsync. No
//! 2xx is sent before the commit.
//!
//! After an I/O error nothing is acknowledged ever again, and nothing is retried: the kernel may have marked
//! pages clean that never reached the disk, and a retry would find them in its cache.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::backup::{self, BackupError, Partial, Turn};
use super::checkpoint::{
    self, CheckpointedPages, FORCED_RESTART_PAGES, MIN_CHECKPOINT_PAGES, TransactionLock, Wake,
    to_be_moved,
};
use super::command::{Action, Batch, Job, Order, Task};
use super::state::WriterState;
use super::{apply, write_back};
use crate::metrics::Commits;
use crate::store::reply::Reply;
use crate::store::sqlite::error::store_error;
use crate::store::sqlite::fail_stop::{ErrorClass, Failure, StopCause, classify};
use crate::store::sqlite::startup::file_identity::WatchedFiles;
use crate::store::sqlite::startup::schema;
use crate::store::{StoreError, StoredEntry};

/// Maximum number of pages that the writer itself moves when it restarts the WAL: 4 MiB.
const RESTART_PAGES: u32 = 1 << 10;
/// Pages after which the writer tries again to restart the WAL when a reader was in the way: 1 MiB.
const RESTART_RETRY_PAGES: u32 = 1 << 8;
thread_local! {
    /// Length of the WAL in pages after the last commit on this thread, if it wrote any. Thread-local,
    /// because SQLite reports it to a plain function.
    static WAL_PAGES: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Writer thread's data, except the connection.
pub(crate) struct Writer {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) state: WriterState,
    /// Channel to the checkpoint thread; none if another program checkpoints, so that the WAL is left alone.
    pub(crate) checkpoints: Option<SyncSender<Wake>>,
    /// Number of WAL pages that are in the database.
    pub(crate) moved: Arc<CheckpointedPages>,
    /// Lock held during a transaction.
    pub(crate) changing: Arc<TransactionLock>,
    /// Lock that readers hold shared.
    pub(crate) reading: Arc<RwLock<()>>,
    pub(crate) failure: Failure,
    pub(crate) watched: WatchedFiles,
    pub(crate) commits: Commits,
    /// Whether the last commit found the disk full.
    pub(crate) full: bool,
    /// Whether the last commit waited in vain for another process's lock.
    pub(crate) locked: bool,
    /// WAL length in pages above which the WAL is restarted.
    pub(crate) anew_at: u32,
}

impl Writer {
    /// Main loop of the writer; ends on [`Task::End`] or when no sender of commands is left.
    pub(crate) fn run(mut self, db: &Connection) {
        db.wal_hook(Some(|_wal, pages| {
            WAL_PAGES.set(u32::try_from(pages).ok());
            Ok(())
        }));
        // A start may have replayed more messages into the cache than its limit allows.
        self.catch_up(db);
        while let Some(order) = self.orders.blocking_recv() {
            if !self.execute(db, order) {
                break;
            }
        }
        self.write_back_all(db);
    }

    /// Writes back the whole cache, so that the next start need not replay the notification log. If this
    /// fails, the next start replays it.
    fn write_back_all(&mut self, db: &Connection) {
        let fold = |db: &Connection, state: &mut WriterState| {
            write_back::write_back_some(db, state, write_back::WRITE_BACK_MESSAGES)
        };
        while matches!(self.act(db, Box::new(fold)), Ok(1..)) {}
    }

    /// Carries out this command and those queued behind it, up to the end of the batch. Returns whether the
    /// loop continues.
    fn execute(&mut self, db: &Connection, first: Order) -> bool {
        let mut batch = Batch::default();
        let mut next = Some(first);
        let mut task = None;
        while let Some(order) = next.take() {
            match order {
                Order::Store(job) => batch.push(job),
                Order::Other(other) => {
                    task = Some(other);
                    break;
                }
            }
            if !batch.is_full() {
                next = self.orders.try_recv().ok();
            }
        }
        if !batch.jobs.is_empty() {
            self.write(db, &mut batch.jobs);
        }
        self.catch_up(db);
        match task {
            Some(Task::Act(act, reply)) => reply.send(self.act(db, act)),
            Some(Task::Cut(reply)) => reply.send(self.truncate_wal(db)),
            Some(Task::BackUp(name, turn, reply)) => {
                return self.back_up(db, &name, turn, reply);
            }
            Some(Task::End) => return false,
            None => {}
        }
        true
    }

    /// Writes back in pieces what a large delivery left in the cache above its limit.
    fn catch_up(&mut self, db: &Connection) {
        let piece = |db: &Connection, state: &mut WriterState| {
            write_back::evict_surplus(db, state, write_back::TRANSACTION_MESSAGES)
        };
        while write_back::is_far_behind(&self.state)
            && matches!(self.act(db, Box::new(piece)), Ok(1..))
        {}
    }

    /// Commits a batch and replies to its deliveries.
    fn write(&mut self, db: &Connection, batch: &mut Vec<Job>) {
        if self.failure.has_begun() {
            answer_all(batch.drain(..), || StoreError::Stopped);
            return;
        }
        let begun = Instant::now();
        match self.commit(db, batch) {
            Ok(results) if self.still_stands() => {
                let entries = batch.iter().map(Job::entries).sum();
                self.commits.committed(batch.len(), entries, begun.elapsed());
                self.state.publish();
                for (job, result) in batch.drain(..).zip(results) {
                    answer(job, Ok(result));
                }
                self.maintain_wal(db);
            }
            Ok(_) => answer_all(batch.drain(..), || StoreError::Stopped),
            Err(error) => self.fail_batch(db, batch, error),
        }
    }

    /// Whether the last commit can be relied on.
    fn still_stands(&self) -> bool {
        if let Some(path) = self.watched.replaced() {
            let path = path.display();
            tracing::error!(%path, "the database file was removed or replaced; no further webhook is \
                acknowledged");
            self.failure.begin(StopCause::Replaced);
        }
        // A checkpoint may have met a failing disk meanwhile.
        !self.failure.has_begun()
    }

    /// Keeps the WAL short, after a commit.
    fn maintain_wal(&mut self, db: &Connection) {
        if let Some(pages) = WAL_PAGES.take() {
            if pages > self.anew_at && self.checkpoints.is_some() {
                self.restart_wal(db, pages);
            }
            self.wake(Wake::Committed { pages });
        }
    }

    /// Restarts the WAL once the checkpoint thread has left little of it to move. If a reader is in the way,
    /// the writer tries again some pages later. Above [`FORCED_RESTART_PAGES`] the WAL is restarted regardless, and
    /// readers have to wait.
    fn restart_wal(&mut self, db: &Connection, pages: u32) {
        let moved = Arc::clone(&self.moved);
        let mut moved = match moved.try_lock() {
            Ok(moved) => moved,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Tried again after the next batch.
            Err(TryLockError::WouldBlock) => return,
        };
        let too_long = pages > FORCED_RESTART_PAGES;
        if !too_long && to_be_moved(pages, *moved) > RESTART_PAGES {
            return;
        }
        // Where queries come without a pause, the lock makes the pause.
        let reading = Arc::clone(&self.reading);
        let _quiet = too_long.then(|| reading.write().unwrap_or_else(PoisonError::into_inner));
        let done = without_waiting(db, |db| checkpoint::checkpoint(db, "RESTART", &mut moved));
        match done.map_err(|error| (classify(db, &error), error)) {
            Ok(true) => self.anew_at = MIN_CHECKPOINT_PAGES,
            Ok(false) | Err((ErrorClass::Busy | ErrorClass::Full, _)) => {
                if too_long && self.anew_at <= FORCED_RESTART_PAGES {
                    tracing::warn!(
                        "the WAL grows: a long-running reader of the database blocks checkpoints"
                    );
                }
                self.anew_at = pages.saturating_add(RESTART_RETRY_PAGES);
            }
            Err((trouble, error)) => self.failure.report(trouble.lasting(), "a checkpoint", &error),
        }
    }

    /// Runs a small action in a transaction of its own.
    fn act(&mut self, db: &Connection, act: Action) -> Result<u64, StoreError> {
        if self.failure.has_begun() {
            return Err(StoreError::Stopped);
        }
        let mut state = self.state.clone();
        let acted = || -> rusqlite::Result<u64> {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            db.busy_timeout(schema::BUSY_TIMEOUT)?;
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            let done = act(&transaction, &mut state)?;
            transaction.commit()?;
            Ok(done)
        };
        match acted() {
            Ok(done) if self.still_stands() => {
                self.state = state;
                self.state.publish();
                self.maintain_wal(db);
                Ok(done)
            }
            Ok(_) => Err(StoreError::Stopped),
            Err(error) => {
                if let ErrorClass::Lasting(failed) = classify(db, &error) {
                    self.failure.report(failed, "a commit", &error);
                }
                Err(store_error(error))
            }
        }
    }

    fn truncate_wal(&self, db: &Connection) -> Result<bool, StoreError> {
        if self.checkpoints.is_none() {
            return Ok(false);
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoint::checkpoint(db, "TRUNCATE", &mut moved).map_err(|error| {
            if let ErrorClass::Lasting(failed) = classify(db, &error) {
                self.failure.report(failed, "a checkpoint", &error);
            }
            store_error(error)
        })
    }

    /// Copies the database, page by page between the batches. Returns whether the loop continues.
    fn back_up(
        &mut self,
        db: &Connection,
        name: &Path,
        turn: Turn,
        reply: Reply<Result<Partial, BackupError>>,
    ) -> bool {
        let mut goes_on = true;
        let copied = |reply: &Reply<_>| -> Result<Partial, BackupError> {
            let partial = Partial::new(self.watched.database(), name, turn)?;
            let mut copy = partial.open()?;
            let steps = Backup::new(db, &mut copy).map_err(|source| partial.failed(source))?;
            while !backup::step(&steps).map_err(|source| partial.failed(source))? {
                if let Ok(order) = self.orders.try_recv() {
                    goes_on = self.execute(db, order);
                }
                if !goes_on || self.failure.has_begun() || reply.is_gone() {
                    return Err(BackupError::Stopped);
                }
            }
            drop(steps);
            partial.complete(copy)?;
            Ok(partial)
        };
        let copied = copied(&reply);
        reply.send(copied);
        goes_on
    }

    /// Wakes the checkpoint thread. A full channel means that it is about to run anyway.
    fn wake(&self, wake: Wake) {
        let Some(checkpoints) = &self.checkpoints else { return };
        if let Err(TrySendError::Disconnected(_)) = checkpoints.try_send(wake)
            && !self.failure.has_begun()
        {
            tracing::error!("the checkpoint thread exited; shutting down");
            self.failure.begin(StopCause::Disk);
        }
    }

    /// Applies a batch in one transaction.
    fn commit(
        &mut self,
        db: &Connection,
        batch: &[Job],
    ) -> rusqlite::Result<Vec<Vec<StoredEntry>>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state.clone();
        // After one wait for another process's lock, the next attempts do not wait again.
        let patience = if self.locked { Duration::ZERO } else { schema::BUSY_TIMEOUT };
        db.busy_timeout(patience)?;
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        if self.full {
            // So that even a batch which writes nothing shows whether there is space again.
            schema::write_version(&transaction)?;
        }
        let entries: usize = batch.iter().map(Job::entries).sum();
        write_back::evict_surplus(
            &transaction,
            &mut state,
            entries + write_back::TRANSACTION_MESSAGES,
        )?;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(apply::apply(&transaction, &mut state, &job.delivery)?);
        }
        state.hourly.write(&transaction)?;
        transaction.commit()?;
        self.state = state;
        self.full = false;
        self.locked = false;
        Ok(results)
    }

    /// Replies to a batch that was not committed. After a disk failure the store stops. If the database is
    /// locked or the disk is full, all deliveries may be retried. Otherwise one of them caused the error, and
    /// each is written on its own.
    fn fail_batch(&mut self, db: &Connection, batch: &mut Vec<Job>, error: rusqlite::Error) {
        match classify(db, &error) {
            ErrorClass::Lasting(failed) => {
                self.failure.report(failed, "a commit", &error);
                answer_all(batch.drain(..), || StoreError::Stopped);
            }
            ErrorClass::Busy => {
                if !std::mem::replace(&mut self.locked, true) {
                    tracing::warn!(
                        "the database is locked; rejecting webhooks until it is released"
                    );
                }
                answer_all(batch.drain(..), || StoreError::Locked("locked".into()));
            }
            ErrorClass::Full => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!("the disk is full; rejecting webhooks until there is space");
                }
                self.wake(Wake::Full);
                answer_all(batch.drain(..), || StoreError::DiskFull("full".into()));
            }
            ErrorClass::Other if batch.len() > 1 => {
                for job in std::mem::take(batch) {
                    self.write(db, &mut vec![job]);
                }
            }
            ErrorClass::Other => {
                let mut cause = Some(error);
                answer_all(batch.drain(..), || {
                    cause.take().map_or(StoreError::Stopped, store_error)
                });
            }
        }
    }
}

/// Runs an operation with a busy timeout of zero, so that it fails instead of waiting for a lock.
fn without_waiting<T>(
    db: &Connection,
    act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    db.busy_timeout(Duration::ZERO)?;
    let done = act(db);
    db.busy_timeout(schema::BUSY_TIMEOUT)?;
    done
}

fn answer(job: Job, result: Result<Vec<StoredEntry>, StoreError>) {
    // The caller may have stopped waiting; what was committed stays.
    job.reply.send(result);
}

fn answer_all(jobs: impl Iterator<Item = Job>, mut error: impl FnMut() -> StoreError) {
    for job in jobs {
        answer(job, Err(error()));
    }
}
