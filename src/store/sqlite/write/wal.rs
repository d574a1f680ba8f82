//! WAL policy of the writer: when to wake the checkpoint thread, when to restart the WAL, how to empty it.

use std::cell::Cell;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use rusqlite::Connection;

use super::checkpoint::{
    self, CheckpointedPages, FORCED_RESTART_PAGES, MIN_CHECKPOINT_PAGES, Wake, pages_to_checkpoint,
};
use crate::store::StoreError;
use crate::store::sqlite::error::store_error;
use crate::store::sqlite::fail_stop::{ErrorClass, Failure, StopCause, classify};
use crate::store::sqlite::startup::schema;

/// Maximum number of pages that the writer itself moves when it restarts the WAL: 4 MiB.
const RESTART_PAGES: u32 = 1 << 10;
/// Pages after which the writer tries again to restart the WAL when a reader was in the way: 1 MiB.
const RESTART_RETRY_PAGES: u32 = 1 << 8;
thread_local! {
    /// Length of the WAL in pages after the last commit on this thread, if it wrote any. Thread-local,
    /// because SQLite reports it to a plain function.
    static WAL_PAGES: Cell<Option<u32>> = const { Cell::new(None) };
}

/// WAL as the writer sees it, between two transactions.
pub(crate) struct Wal {
    /// Channel to the checkpoint thread; none if another program checkpoints, so that the WAL is left alone.
    checkpoints: Option<SyncSender<Wake>>,
    /// Number of WAL pages that are in the database.
    checkpointed: Arc<CheckpointedPages>,
    /// Lock that readers hold shared.
    read_lock: Arc<RwLock<()>>,
    /// Length in pages above which the WAL is restarted.
    restart_at: u32,
}

impl Wal {
    pub(crate) fn new(
        checkpoints: Option<SyncSender<Wake>>,
        checkpointed: Arc<CheckpointedPages>,
        read_lock: Arc<RwLock<()>>,
    ) -> Self {
        Self { checkpoints, checkpointed, read_lock, restart_at: MIN_CHECKPOINT_PAGES }
    }

    /// Has SQLite report the WAL's length after each commit of this connection on this thread.
    pub(crate) fn watch(db: &Connection) {
        db.wal_hook(Some(|_wal, pages| {
            WAL_PAGES.set(u32::try_from(pages).ok());
            Ok(())
        }));
    }

    /// Keeps the WAL short, after a commit.
    pub(crate) fn maintain(&mut self, db: &Connection, failure: &Failure) {
        if let Some(pages) = WAL_PAGES.take() {
            if pages > self.restart_at && self.checkpoints.is_some() {
                self.restart(db, pages, failure);
            }
            self.wake_checkpoint_thread(Wake::Committed { pages }, failure);
        }
    }

    /// Restarts the WAL once the checkpoint thread has left little of it to move. If a reader is in the way,
    /// the writer tries again some pages later. Above [`FORCED_RESTART_PAGES`] the WAL is restarted
    /// regardless, and readers have to wait.
    fn restart(&mut self, db: &Connection, pages: u32, failure: &Failure) {
        let checkpointed = Arc::clone(&self.checkpointed);
        let mut checkpointed = match checkpointed.try_lock() {
            Ok(checkpointed) => checkpointed,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Tried again after the next batch.
            Err(TryLockError::WouldBlock) => return,
        };
        let too_long = pages > FORCED_RESTART_PAGES;
        if !too_long && pages_to_checkpoint(pages, *checkpointed) > RESTART_PAGES {
            return;
        }
        // Where queries come without a pause, the lock makes the pause.
        let read_lock = Arc::clone(&self.read_lock);
        let _read_lock_guard =
            too_long.then(|| read_lock.write().unwrap_or_else(PoisonError::into_inner));
        let done =
            without_busy_timeout(db, |db| checkpoint::checkpoint(db, "RESTART", &mut checkpointed));
        match done.map_err(|error| (classify(db, &error), error)) {
            Ok(true) => self.restart_at = MIN_CHECKPOINT_PAGES,
            Ok(false) | Err((ErrorClass::Busy | ErrorClass::Full, _)) => {
                if too_long && self.restart_at <= FORCED_RESTART_PAGES {
                    tracing::warn!(
                        "the WAL grows: a long-running reader of the database blocks checkpoints"
                    );
                }
                self.restart_at = pages.saturating_add(RESTART_RETRY_PAGES);
            }
            Err((class, error)) => failure.report(class.to_stop_cause(), "a checkpoint", &error),
        }
    }

    /// Empties the WAL. Returns whether that succeeded; it does not while a reader uses the WAL.
    pub(crate) fn truncate(&self, db: &Connection, failure: &Failure) -> Result<bool, StoreError> {
        if self.checkpoints.is_none() {
            return Ok(false);
        }
        let mut checkpointed = self.checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoint::checkpoint(db, "TRUNCATE", &mut checkpointed).map_err(|error| {
            if let ErrorClass::Lasting(failed) = classify(db, &error) {
                failure.report(failed, "a checkpoint", &error);
            }
            store_error(error)
        })
    }

    /// Wakes the checkpoint thread. A full channel means that it is about to run anyway.
    pub(crate) fn wake_checkpoint_thread(&self, reason: Wake, failure: &Failure) {
        let Some(checkpoints) = &self.checkpoints else { return };
        if let Err(TrySendError::Disconnected(_)) = checkpoints.try_send(reason)
            && !failure.has_stopped()
        {
            tracing::error!("the checkpoint thread exited; shutting down");
            failure.stop(StopCause::Disk);
        }
    }
}

/// Runs an operation with a busy timeout of zero, so that it fails instead of waiting for a lock.
fn without_busy_timeout<T>(
    db: &Connection,
    action: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    db.busy_timeout(Duration::ZERO)?;
    let done = action(db);
    db.busy_timeout(schema::BUSY_TIMEOUT)?;
    done
}
