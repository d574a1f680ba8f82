//! Writing: one thread owns the one connection that writes.
//!
//! It takes whatever is queued, applies it in one transaction and answers once that is committed:
//! one fsync acknowledges many deliveries. It waits for nothing, so an idle service answers after
//! one fsync. Nobody is answered 2xx before the commit.
//!
//! After an I/O error nothing is acknowledged ever again, and nothing is retried: the kernel may
//! have marked pages clean that never reached the disk, and a retry would find them in its cache.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::apply::{self, NotApplied, Room};
use super::checkpoint::Wake;
use super::{Failure, store_error};
use crate::store::{Delivery, StoreError, Stored};

/// The most deliveries that share one transaction.
const LARGEST_BATCH: usize = 512;

/// A delivery, and where its answer goes.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) reply: oneshot::Sender<Result<Vec<Stored>, StoreError>>,
}

/// The writing thread's belongings.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) room: Room,
    pub(super) wal: PathBuf,
    pub(super) checkpoints: SyncSender<Wake>,
    pub(super) failure: Failure,
}

impl Writer {
    /// Writes until nobody can ask any more.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        while let Some(job) = self.jobs.blocking_recv() {
            batch.push(job);
            while batch.len() < LARGEST_BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                batch.push(job);
            }
            self.write(&mut batch);
        }
    }

    /// Commits a batch and answers it.
    fn write(&mut self, batch: &mut Vec<Job>) {
        if self.failure.happened() {
            answer_all(batch.drain(..), || StoreError::Stopped);
            return;
        }
        match self.commit(batch) {
            Ok(results) => {
                for (job, result) in batch.drain(..).zip(results) {
                    answer(job, result);
                }
                let size = std::fs::metadata(&self.wal).map_or(0, |wal| wal.len());
                // A full channel means that the checkpoints' thread is about to look anyway.
                drop(self.checkpoints.try_send(Wake::Committed { wal_bytes: size }));
            }
            Err(error) => self.refuse(batch, error),
        }
    }

    /// Applies a batch in one transaction. What one delivery may not do does not touch the others.
    fn commit(&mut self, batch: &[Job]) -> rusqlite::Result<Vec<Result<Vec<Stored>, StoreError>>> {
        let mut room = self.room;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
        Ok(results)
    }

    /// Answers a batch that was not committed. If the disk failed, that was the last one. If it is
    /// locked or full, all may come again. Else one of them is to blame, and each gets its turn.
    fn refuse(&mut self, batch: &mut Vec<Job>, error: rusqlite::Error) {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
            ) => {
                self.failure.report("a commit", &error);
                answer_all(batch.drain(..), || StoreError::Stopped);
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                tracing::warn!("the database is locked by another process; refusing for now");
                answer_all(batch.drain(..), || StoreError::Locked("locked".into()));
            }
            Some(ErrorCode::DiskFull) => {
                tracing::error!("the disk is full; refusing until there is space");
                drop(self.checkpoints.try_send(Wake::Full));
                answer_all(batch.drain(..), || StoreError::DiskFull("full".into()));
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
