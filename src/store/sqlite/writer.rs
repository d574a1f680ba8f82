//! Writing: one thread owns the one connection that writes.
//!
//! It takes whatever is queued, applies it in one transaction and answers once that is committed:
//! one fsync acknowledges many deliveries. It waits for nothing, so an idle service answers after
//! one fsync. Nobody is answered 2xx before the commit.
//!
//! After an I/O error nothing is acknowledged ever again, and nothing is retried: the kernel may
//! have marked pages clean that never reached the disk, and a retry would find them in its cache.

use std::cell::Cell;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::apply::{self, NotApplied, Room};
use super::checkpoint::{self, TOO_LONG, Wake};
use super::{Failure, is_full, schema, store_error};
use crate::store::{Delivery, StoreError, Stored};

/// So many pages later the WAL is tried to be cut again when a reader was in the way: 4 MiB.
const CUT_AGAIN: u32 = 1 << 10;
/// The most deliveries that share one transaction.
const LARGEST_BATCH: usize = 512;

thread_local! {
    /// How many pages the WAL had after the commit just made on this thread, if it wrote any:
    /// SQLite tells it to a plain function.
    static WAL_PAGES: Cell<Option<u32>> = const { Cell::new(None) };
}

/// What the thread is asked for.
pub(super) enum Order {
    /// To store a delivery.
    Store(Job),
    /// To end, once everything that was asked before is done.
    End,
}

/// A delivery, and where its answer goes.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) reply: oneshot::Sender<Result<Vec<Stored>, StoreError>>,
}

/// The writing thread's belongings.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) room: Room,
    pub(super) checkpoints: SyncSender<Wake>,
    /// Who has it may checkpoint.
    pub(super) turn: Arc<Mutex<()>>,
    /// Whoever reads shares it.
    pub(super) reading: Arc<RwLock<()>>,
    pub(super) failure: Failure,
    /// Whether the last commit found no space.
    pub(super) full: bool,
    /// Whether the last commit waited for another process in vain.
    pub(super) locked: bool,
    /// Above so many pages the WAL is cut.
    pub(super) cut_at: u32,
}

impl Writer {
    /// Writes until it is told to end, or nobody can ask any more.
    pub(super) fn run(mut self) {
        self.db.wal_hook(Some(|_wal, pages| {
            WAL_PAGES.set(u32::try_from(pages).ok());
            Ok(())
        }));
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        while let Some(Order::Store(job)) = self.orders.blocking_recv() {
            batch.push(job);
            let mut ends = false;
            while batch.len() < LARGEST_BATCH && !ends {
                match self.orders.try_recv() {
                    Ok(Order::Store(job)) => batch.push(job),
                    Ok(Order::End) => ends = true,
                    Err(_nothing) => break,
                }
            }
            self.write(&mut batch);
            if ends {
                break;
            }
        }
    }

    /// Commits a batch and answers it.
    fn write(&mut self, batch: &mut Vec<Job>) {
        if self.failure.happened() {
            answer_all(batch.drain(..), || StoreError::Stopped);
            return;
        }
        match self.commit(batch) {
            // A checkpoint may have met a failing disk meanwhile.
            Ok(_) if self.failure.happened() => {
                answer_all(batch.drain(..), || StoreError::Stopped);
            }
            Ok(results) => {
                for (job, result) in batch.drain(..).zip(results) {
                    answer(job, result);
                }
                if let Some(pages) = WAL_PAGES.take() {
                    if pages > self.cut_at {
                        self.cut(pages);
                    }
                    self.wake(Wake::Committed { pages });
                }
            }
            Err(error) => self.refuse(batch, error),
        }
    }

    /// Begins the WAL anew. If a reader is in the way, it is tried again some pages later, and then
    /// the readers have to wait; if the checkpoints' thread is, after the next batch.
    fn cut(&mut self, pages: u32) {
        let turn = Arc::clone(&self.turn);
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Where queries come without a pause there is no moment without one, unless it is made.
        let reading = Arc::clone(&self.reading);
        let _quiet = (self.cut_at > TOO_LONG)
            .then(|| reading.write().unwrap_or_else(PoisonError::into_inner));
        match self.without_waiting(|db| checkpoint::checkpoint(db, "TRUNCATE")) {
            Ok(done) if done.whole => self.cut_at = TOO_LONG,
            Ok(_) => self.cut_at = pages.saturating_add(CUT_AGAIN),
            Err(error) if checkpoint::passes(&error) => {
                self.cut_at = pages.saturating_add(CUT_AGAIN);
            }
            Err(error) => self.failure.report("a checkpoint", &error),
        }
    }

    /// Wakes the checkpoints' thread. A full channel means that it is about to look anyway.
    fn wake(&self, wake: Wake) {
        if let Err(TrySendError::Disconnected(_)) = self.checkpoints.try_send(wake)
            && !self.failure.happened()
        {
            tracing::error!("nobody checkpoints any more; stopping");
            self.failure.tell();
        }
    }

    /// Does something that fails at once where it would have to wait for a lock.
    fn without_waiting<T>(
        &self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.db.busy_timeout(Duration::ZERO)?;
        let done = act(&self.db);
        self.db.busy_timeout(schema::BUSY_TIMEOUT)?;
        done
    }

    /// Applies a batch in one transaction. What one delivery may not do does not touch the others.
    fn commit(&mut self, batch: &[Job]) -> rusqlite::Result<Vec<Result<Vec<Stored>, StoreError>>> {
        let mut room = self.room;
        // Who has waited for the others' attempt need not wait for another.
        let patience = if self.locked { Duration::ZERO } else { schema::BUSY_TIMEOUT };
        self.db.busy_timeout(patience)?;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.full {
            // So that even a batch which writes nothing shows whether there is space again.
            schema::write_version(&transaction)?;
        }
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(match apply::apply(&transaction, &mut room, &job.delivery) {
                Ok(stored) => Ok(stored),
                Err(NotApplied::QuarantineFull) => Err(StoreError::QuarantineFull),
                Err(NotApplied::Sqlite(error)) => return Err(error),
            });
        }
        transaction.commit()?;
        self.room = room;
        self.full = false;
        self.locked = false;
        Ok(results)
    }

    /// Answers a batch that was not committed. If the disk failed, that was the last one. If it is
    /// locked or full, all may come again. Else one of them is to blame, and each gets its turn.
    fn refuse(&mut self, batch: &mut Vec<Job>, error: rusqlite::Error) {
        match error.sqlite_error_code() {
            _ if is_full(&error) => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!("the disk is full; refusing until there is space");
                }
                self.wake(Wake::Full);
                answer_all(batch.drain(..), || StoreError::DiskFull("full".into()));
            }
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
            ) => {
                self.failure.report("a commit", &error);
                answer_all(batch.drain(..), || StoreError::Stopped);
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                if !std::mem::replace(&mut self.locked, true) {
                    tracing::warn!("the database is locked; refusing for now");
                }
                answer_all(batch.drain(..), || StoreError::Locked("locked".into()));
            }
            _ if batch.len() > 1 => {
                for job in std::mem::take(batch) {
                    self.write(&mut vec![job]);
                }
            }
            _ => {
                let mut cause = Some(error);
                answer_all(batch.drain(..), || {
                    cause.take().map_or(StoreError::Stopped, store_error)
                });
            }
        }
    }
}

fn answer(job: Job, result: Result<Vec<Stored>, StoreError>) {
    // Whoever asked may have given up waiting; what was committed stays.
    drop(job.reply.send(result));
}

fn answer_all(jobs: impl Iterator<Item = Job>, mut error: impl FnMut() -> StoreError) {
    for job in jobs {
        answer(job, Err(error()));
    }
}
