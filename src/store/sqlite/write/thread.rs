//! Writer: one thread owns the only connection that writes.
//!
//! It takes everything that is queued, applies it in one transaction and replies once that is committed: one
//! fsync acknowledges many deliveries. It waits for nothing, so an idle service replies after one fsync. No
//! 2xx is sent before the commit.
//!
//! After an I/O error nothing is acknowledged ever again, and nothing is retried: the kernel may have marked
//! pages clean that never reached the disk, and a retry would find them in its cache.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::Backup;
use tokio::sync::mpsc;

use super::apply;
use super::backup::{self, BackupError, Partial, Turn};
use super::checkpoint::{TransactionLock, Wake};
use super::command::{Action, Batch, Job, Order, Task};
use super::state::WriterState;
use super::transaction::Txn;
use super::wal::Wal;
use super::write_back::steps::{self, Pace};
use crate::metrics::Commits;
use crate::store::reply::Reply;
use crate::store::sqlite::error::store_error;
use crate::store::sqlite::fail_stop::{ErrorClass, Failure, StopCause, classify};
use crate::store::sqlite::startup::file_identity::WatchedFiles;
use crate::store::sqlite::startup::schema;
use crate::store::{StoreError, StoredEntry};

/// Maximum number of pieces by which a shutdown advances the merge of the index's runs: a few milliseconds.
const SHUTDOWN_MERGE_PIECES: usize = 20;

/// Writer thread's data, except the connection.
pub(crate) struct Writer {
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) state: WriterState,
    pub(crate) wal: Wal,
    /// Lock held during a transaction.
    pub(crate) transaction_lock: Arc<TransactionLock>,
    pub(crate) failure: Failure,
    pub(crate) watched: WatchedFiles,
    pub(crate) commits: Commits,
    /// Whether the last commit found the disk full.
    pub(crate) disk_full: bool,
    /// Whether the last commit waited in vain for another process's lock.
    pub(crate) locked: bool,
}

/// Reason why the main loop pauses.
enum Pause {
    /// The writer has to end.
    End,
    /// A backup is requested. It borrows both connections, so the loop is entered again with it.
    BackUp(PathBuf, Turn, Reply<Result<Partial, BackupError>>),
    /// The running backup has all pages, or a step of it failed.
    Copied(rusqlite::Result<()>),
    /// The store has failed, or the client of the running backup is gone.
    Abandoned,
}

/// Backup that is copied step by step in the main loop.
struct RunningBackup<'a> {
    steps: &'a Backup<'a, 'a>,
    reply: &'a Reply<Result<Partial, BackupError>>,
}

impl Writer {
    /// Runs the writer; ends on [`Task::End`] or when no sender of commands is left.
    pub(crate) fn run(mut self, db: &Connection) {
        Wal::watch(db);
        // A start may have replayed more messages into the cache than its limit allows.
        self.evict_excess(db);
        while let Pause::BackUp(name, turn, reply) = self.serve(db, None) {
            if !self.back_up(db, &name, turn, reply) {
                break;
            }
        }
        self.write_back_all(db);
    }

    /// Main loop: carries out commands. A running backup is copied by one step in each turn.
    fn serve(&mut self, db: &Connection, backup: Option<&RunningBackup<'_>>) -> Pause {
        loop {
            let order = match backup {
                // Without a sender of commands nothing is left to do.
                None => match self.orders.blocking_recv() {
                    None => return Pause::End,
                    order => order,
                },
                Some(_) => self.orders.try_recv().ok(),
            };
            if let Some(pause) = order.and_then(|order| self.execute(db, order)) {
                return pause;
            }
            let Some(RunningBackup { steps, reply }) = backup else { continue };
            if self.failure.has_stopped() || reply.is_abandoned() {
                return Pause::Abandoned;
            }
            match backup::step(steps) {
                Ok(false) => {}
                Ok(true) => return Pause::Copied(Ok(())),
                Err(error) => return Pause::Copied(Err(error)),
            }
        }
    }

    /// Writes back the whole cache, so that the next start need not replay the notification log. If this
    /// fails, the next start replays it.
    fn write_back_all(&mut self, db: &Connection) {
        let piece = |db: &Connection, state: &mut WriterState| steps::advance(db, state, Pace::All);
        while matches!(self.run_action(db, Box::new(piece)), Ok(1..)) {}
        // A service that is often restarted makes a small run each time.
        let merge = |db: &Connection, state: &mut WriterState| steps::merge_more(db, state);
        for _ in 0..SHUTDOWN_MERGE_PIECES {
            if !matches!(self.run_action(db, Box::new(merge)), Ok(1)) {
                break;
            }
        }
    }

    /// Carries out this command and those queued behind it, up to the end of the batch. Returns the reason if
    /// the loop has to pause.
    fn execute(&mut self, db: &Connection, first: Order) -> Option<Pause> {
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
        self.evict_excess(db);
        match task {
            Some(Task::Act(action, reply)) => reply.send(self.run_action(db, action)),
            Some(Task::TruncateWal(reply)) => reply.send(self.wal.truncate(db, &self.failure)),
            Some(Task::BackUp(name, turn, reply)) => {
                return Some(Pause::BackUp(name, turn, reply));
            }
            Some(Task::End) => return Some(Pause::End),
            None => {}
        }
        None
    }

    /// Writes back in pieces what a large delivery left in the cache above its limit.
    fn evict_excess(&mut self, db: &Connection) {
        let piece =
            |db: &Connection, state: &mut WriterState| steps::advance(db, state, Pace::Limits);
        while steps::exceeds_limits(&self.state)
            && matches!(self.run_action(db, Box::new(piece)), Ok(1..))
        {}
    }

    /// Commits a batch and replies to its deliveries.
    fn write(&mut self, db: &Connection, batch: &mut Vec<Job>) {
        if self.failure.has_stopped() {
            answer_all(batch.drain(..), || StoreError::Stopped);
            return;
        }
        let started = Instant::now();
        match self.commit(db, batch) {
            Ok(results) if self.is_commit_reliable() => {
                let entries = batch.iter().map(Job::entries).sum();
                self.commits.committed(batch.len(), entries, started.elapsed());
                self.state.publish();
                for (job, result) in batch.drain(..).zip(results) {
                    answer(job, Ok(result));
                }
                self.wal.maintain(db, &self.failure);
            }
            Ok(_) => answer_all(batch.drain(..), || StoreError::Stopped),
            Err(error) => self.fail_batch(db, batch, error),
        }
    }

    /// Whether the last commit can be relied on.
    fn is_commit_reliable(&self) -> bool {
        if let Some(path) = self.watched.replaced() {
            let path = path.display();
            tracing::error!(%path, "the database file was removed or replaced; no further webhook is \
                acknowledged");
            self.failure.stop(StopCause::Replaced);
        }
        // A checkpoint may have met a failing disk meanwhile.
        !self.failure.has_stopped()
    }

    /// Runs a small action in a transaction of its own.
    fn run_action(&mut self, db: &Connection, action: Action) -> Result<u64, StoreError> {
        if self.failure.has_stopped() {
            return Err(StoreError::Stopped);
        }
        let acted = || -> rusqlite::Result<u64> {
            let _transaction_guard =
                self.transaction_lock.lock().unwrap_or_else(PoisonError::into_inner);
            db.busy_timeout(schema::BUSY_TIMEOUT)?;
            let mut txn = Txn::begin(db, &mut self.state)?;
            let (tables, state) = txn.parts();
            let done = action(tables, state)?;
            txn.commit()?;
            Ok(done)
        };
        match acted() {
            Ok(done) if self.is_commit_reliable() => {
                self.state.publish();
                self.wal.maintain(db, &self.failure);
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

    /// Copies the database: opens the copy, then continues the main loop with the steps in it. Returns whether
    /// the writer continues.
    fn back_up(
        &mut self,
        db: &Connection,
        name: &Path,
        turn: Turn,
        reply: Reply<Result<Partial, BackupError>>,
    ) -> bool {
        let mut continues = true;
        let copied = |reply: &Reply<_>| -> Result<Partial, BackupError> {
            let partial = Partial::new(self.watched.database(), name, turn)?;
            let mut copy = partial.open()?;
            let steps = Backup::new(db, &mut copy).map_err(|source| partial.failed(source))?;
            match self.serve(db, Some(&RunningBackup { steps: &steps, reply })) {
                Pause::Copied(copied) => copied.map_err(|source| partial.failed(source))?,
                pause @ (Pause::End | Pause::BackUp(..) | Pause::Abandoned) => {
                    continues = !matches!(pause, Pause::End);
                    return Err(BackupError::Stopped);
                }
            }
            drop(steps);
            partial.complete(copy)?;
            Ok(partial)
        };
        let copied = copied(&reply);
        reply.send(copied);
        continues
    }

    /// Applies a batch in one transaction.
    fn commit(
        &mut self,
        db: &Connection,
        batch: &[Job],
    ) -> rusqlite::Result<Vec<Vec<StoredEntry>>> {
        let _transaction_guard =
            self.transaction_lock.lock().unwrap_or_else(PoisonError::into_inner);
        // After one wait for another process's lock, the next attempts do not wait again.
        let busy_timeout = if self.locked { Duration::ZERO } else { schema::BUSY_TIMEOUT };
        db.busy_timeout(busy_timeout)?;
        let mut txn = Txn::begin(db, &mut self.state)?;
        let (tables, state) = txn.parts();
        if self.disk_full {
            // So that even a batch which writes nothing shows whether there is space again.
            schema::write_version(tables)?;
        }
        steps::advance(tables, state, Pace::Arrivals)?;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(apply::apply(tables, state, &job.delivery)?);
        }
        txn.commit()?;
        self.disk_full = false;
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
                if !std::mem::replace(&mut self.disk_full, true) {
                    tracing::error!("the disk is full; rejecting webhooks until there is space");
                }
                self.wal.wake_checkpoint_thread(Wake::Full, &self.failure);
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

fn answer(job: Job, result: Result<Vec<StoredEntry>, StoreError>) {
    // The caller may have stopped waiting; what was committed stays.
    job.reply.send(result);
}

fn answer_all(jobs: impl Iterator<Item = Job>, mut error: impl FnMut() -> StoreError) {
    for job in jobs {
        answer(job, Err(error()));
    }
}
