//! Writing: one thread owns the one connection that writes.
//!
//! It takes whatever is queued, applies it in one transaction and answers once that is committed:
//! one fsync acknowledges many deliveries. It waits for nothing, so an idle service answers after
//! one fsync. Nobody is answered 2xx before the commit.
//!
//! After an I/O error nothing is acknowledged ever again, and nothing is retried: the kernel may
//! have marked pages clean that never reached the disk, and a retry would find them in its cache.

use std::cell::Cell;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc;

use super::backup::{self, BackupError, Partial, Turn};
use super::checkpoint::{self, Changing, Moved, TOO_LONG, WORTH_IT, Wake, to_be_moved};
use super::command::{Act, Batch, Job, Order, Task};
use super::failure::{Failed, Failure, Trouble, trouble};
use super::fold;
use super::ledger::Ledger;
use super::removal::FOLDED_AT_A_TIME;
use super::watch::Watched;
use super::{apply, schema, store_error};
use crate::metrics::Commits;
use crate::store::reply::Reply;
use crate::store::{StoreError, Stored};

/// So many pages at most the writer moves itself when it begins the WAL anew: 4 MiB.
const A_FEW: u32 = 1 << 10;
/// So many pages later it tries again when a reader was in the way: 1 MiB.
const AGAIN: u32 = 1 << 8;
thread_local! {
    /// How many pages the WAL had after the commit just made on this thread, if it wrote any:
    /// SQLite tells it to a plain function.
    static WAL_PAGES: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The writing thread's belongings, but for the connection.
pub(super) struct Writer {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) ledger: Ledger,
    /// Who moves the WAL's pages; none if another program does, and the WAL is left alone.
    pub(super) checkpoints: Option<SyncSender<Wake>>,
    /// How much of the WAL is in the database.
    pub(super) moved: Arc<Moved>,
    /// Held for a transaction.
    pub(super) changing: Arc<Changing>,
    /// Whoever reads shares it.
    pub(super) reading: Arc<RwLock<()>>,
    pub(super) failure: Failure,
    pub(super) watched: Watched,
    pub(super) commits: Commits,
    /// Whether the last commit found no space.
    pub(super) full: bool,
    /// Whether the last commit waited for another process in vain.
    pub(super) locked: bool,
    /// Above so many pages the WAL is begun anew.
    pub(super) anew_at: u32,
}

impl Writer {
    /// Writes until it is told to end, or nobody can ask any more.
    pub(super) fn run(mut self, db: &Connection) {
        db.wal_hook(Some(|_wal, pages| {
            WAL_PAGES.set(u32::try_from(pages).ok());
            Ok(())
        }));
        // A start may have read more from the log than may be in memory.
        self.catch_up(db);
        while let Some(order) = self.orders.blocking_recv() {
            if !self.carry_out(db, order) {
                break;
            }
        }
        self.fold_all(db);
    }

    /// So that the next start need not read the log. If it fails, that will.
    fn fold_all(&mut self, db: &Connection) {
        let fold = |db: &Connection, ledger: &mut Ledger| fold::some(db, ledger, FOLDED_AT_A_TIME);
        while matches!(self.act(db, Box::new(fold)), Ok(1..)) {}
    }

    /// Does this and what is queued behind it, up to the end of the batch; says whether it goes on.
    fn carry_out(&mut self, db: &Connection, first: Order) -> bool {
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
            Some(Task::Cut(reply)) => reply.send(self.empty_wal(db)),
            Some(Task::BackUp(name, turn, reply)) => {
                return self.back_up(db, &name, turn, reply);
            }
            Some(Task::End) => return false,
            None => {}
        }
        true
    }

    /// Writes back in pieces what a large delivery left in memory.
    fn catch_up(&mut self, db: &Connection) {
        let piece = |db: &Connection, ledger: &mut Ledger| {
            fold::surplus(db, ledger, fold::WRITTEN_BACK_TOGETHER)
        };
        while fold::is_far_behind(&self.ledger) && matches!(self.act(db, Box::new(piece)), Ok(1..))
        {
        }
    }

    /// Commits a batch and answers it.
    fn write(&mut self, db: &Connection, batch: &mut Vec<Job>) {
        if self.failure.happened() {
            answer_all(batch.drain(..), || StoreError::Stopped);
            return;
        }
        let begun = Instant::now();
        match self.commit(db, batch) {
            Ok(results) if self.still_stands() => {
                let entries = batch.iter().map(Job::entries).sum();
                self.commits.committed(batch.len(), entries, begun.elapsed());
                self.ledger.publish();
                for (job, result) in batch.drain(..).zip(results) {
                    answer(job, Ok(result));
                }
                self.tend_wal(db);
            }
            Ok(_) => answer_all(batch.drain(..), || StoreError::Stopped),
            Err(error) => self.refuse(db, batch, error),
        }
    }

    /// Whether what was just committed can be relied on.
    fn still_stands(&self) -> bool {
        if let Some(path) = self.watched.replaced() {
            let path = path.display();
            tracing::error!(%path, "the file was removed or replaced; nothing is acknowledged any more");
            self.failure.tell(Failed::Replaced);
        }
        // A checkpoint may have met a failing disk meanwhile.
        !self.failure.happened()
    }

    /// Sees after a commit that the WAL does not grow too long.
    fn tend_wal(&mut self, db: &Connection) {
        if let Some(pages) = WAL_PAGES.take() {
            if pages > self.anew_at && self.checkpoints.is_some() {
                self.begin_wal_anew(db, pages);
            }
            self.wake(Wake::Committed { pages });
        }
    }

    /// Begins the WAL anew, once the checkpoints' thread has left little of it to be moved. If a
    /// reader is in the way, it is tried again some pages later. When the WAL is too long nothing of
    /// this counts, and the readers have to wait.
    fn begin_wal_anew(&mut self, db: &Connection, pages: u32) {
        let moved = Arc::clone(&self.moved);
        let mut moved = match moved.try_lock() {
            Ok(moved) => moved,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // After the next batch, then.
            Err(TryLockError::WouldBlock) => return,
        };
        let too_long = pages > TOO_LONG;
        if !too_long && to_be_moved(pages, *moved) > A_FEW {
            return;
        }
        // Where queries come without a pause there is no moment without one, unless it is made.
        let reading = Arc::clone(&self.reading);
        let _quiet = too_long.then(|| reading.write().unwrap_or_else(PoisonError::into_inner));
        let done = without_waiting(db, |db| checkpoint::checkpoint(db, "RESTART", &mut moved));
        match done.map_err(|error| (trouble(db, &error), error)) {
            Ok(true) => self.anew_at = WORTH_IT,
            Ok(false) | Err((Trouble::Busy | Trouble::Full, _)) => {
                if too_long && self.anew_at <= TOO_LONG {
                    tracing::warn!("the WAL grows: something reads the database for a long time");
                }
                self.anew_at = pages.saturating_add(AGAIN);
            }
            Err((trouble, error)) => self.failure.report(trouble.lasting(), "a checkpoint", &error),
        }
    }

    /// Does something small in a transaction of its own.
    fn act(&mut self, db: &Connection, act: Act) -> Result<u64, StoreError> {
        if self.failure.happened() {
            return Err(StoreError::Stopped);
        }
        let mut ledger = self.ledger.clone();
        let acted = || -> rusqlite::Result<u64> {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            db.busy_timeout(schema::BUSY_TIMEOUT)?;
            let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
            let done = act(&transaction, &mut ledger)?;
            transaction.commit()?;
            Ok(done)
        };
        match acted() {
            Ok(done) if self.still_stands() => {
                self.ledger = ledger;
                self.ledger.publish();
                self.tend_wal(db);
                Ok(done)
            }
            Ok(_) => Err(StoreError::Stopped),
            Err(error) => {
                if let Trouble::Lasting(failed) = trouble(db, &error) {
                    self.failure.report(failed, "a commit", &error);
                }
                Err(store_error(error))
            }
        }
    }

    fn empty_wal(&self, db: &Connection) -> Result<bool, StoreError> {
        if self.checkpoints.is_none() {
            return Ok(false);
        }
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoint::checkpoint(db, "TRUNCATE", &mut moved).map_err(|error| {
            if let Trouble::Lasting(failed) = trouble(db, &error) {
                self.failure.report(failed, "a checkpoint", &error);
            }
            store_error(error)
        })
    }

    /// Copies the database, page by page between the batches; says whether the thread goes on.
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
                    goes_on = self.carry_out(db, order);
                }
                if !goes_on || self.failure.happened() || reply.is_gone() {
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

    /// Wakes the checkpoints' thread. A full channel means that it is about to look anyway.
    fn wake(&self, wake: Wake) {
        let Some(checkpoints) = &self.checkpoints else { return };
        if let Err(TrySendError::Disconnected(_)) = checkpoints.try_send(wake)
            && !self.failure.happened()
        {
            tracing::error!("nobody checkpoints any more; stopping");
            self.failure.tell(Failed::Disk);
        }
    }

    /// Applies a batch in one transaction.
    fn commit(&mut self, db: &Connection, batch: &[Job]) -> rusqlite::Result<Vec<Vec<Stored>>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ledger = self.ledger.clone();
        // Who has waited for the others' attempt need not wait for another.
        let patience = if self.locked { Duration::ZERO } else { schema::BUSY_TIMEOUT };
        db.busy_timeout(patience)?;
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        if self.full {
            // So that even a batch which writes nothing shows whether there is space again.
            schema::write_version(&transaction)?;
        }
        let entries: usize = batch.iter().map(Job::entries).sum();
        fold::surplus(&transaction, &mut ledger, entries + fold::WRITTEN_BACK_TOGETHER)?;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            results.push(apply::apply(&transaction, &mut ledger, &job.delivery)?);
        }
        ledger.sums.write(&transaction)?;
        transaction.commit()?;
        self.ledger = ledger;
        self.full = false;
        self.locked = false;
        Ok(results)
    }

    /// Answers a batch that was not committed. If the disk failed, that was the last one. If it is
    /// locked or full, all may come again. Else one of them is to blame, and each gets its turn.
    fn refuse(&mut self, db: &Connection, batch: &mut Vec<Job>, error: rusqlite::Error) {
        match trouble(db, &error) {
            Trouble::Lasting(failed) => {
                self.failure.report(failed, "a commit", &error);
                answer_all(batch.drain(..), || StoreError::Stopped);
            }
            Trouble::Busy => {
                if !std::mem::replace(&mut self.locked, true) {
                    tracing::warn!("the database is locked; refusing for now");
                }
                answer_all(batch.drain(..), || StoreError::Locked("locked".into()));
            }
            Trouble::Full => {
                if !std::mem::replace(&mut self.full, true) {
                    tracing::error!("the disk is full; refusing until there is space");
                }
                self.wake(Wake::Full);
                answer_all(batch.drain(..), || StoreError::DiskFull("full".into()));
            }
            Trouble::Other if batch.len() > 1 => {
                for job in std::mem::take(batch) {
                    self.write(db, &mut vec![job]);
                }
            }
            Trouble::Other => {
                let mut cause = Some(error);
                answer_all(batch.drain(..), || {
                    cause.take().map_or(StoreError::Stopped, store_error)
                });
            }
        }
    }
}

/// Does something that fails at once where it would have to wait for a lock.
fn without_waiting<T>(
    db: &Connection,
    act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    db.busy_timeout(Duration::ZERO)?;
    let done = act(db);
    db.busy_timeout(schema::BUSY_TIMEOUT)?;
    done
}

fn answer(job: Job, result: Result<Vec<Stored>, StoreError>) {
    // Whoever asked may have given up waiting; what was committed stays.
    job.reply.send(result);
}

fn answer_all(jobs: impl Iterator<Item = Job>, mut error: impl FnMut() -> StoreError) {
    for job in jobs {
        answer(job, Err(error()));
    }
}
