//! Checkpoints: moving WAL pages into the database, mostly on a thread of its own.
//!
//! SQLite's automatic checkpoint ignores I/O errors, so it is off, and every result is checked here. Under
//! traffic the thread checkpoints without stopping the writer. Only the writer can restart the WAL under
//! load, because no other thread ever finds it at rest: it does so between two batches, just after the thread
//! has moved nearly everything. The file keeps its length then, because overwriting a file that is already
//! long enough costs the disk less than truncating it and letting it grow. The thread truncates it when the
//! service has been idle for a while, or the disk is full.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::store::sqlite::fail_stop::{ErrorClass, Failure, classify};

/// Number of unmoved pages that are worth a checkpoint: 16 MiB.
pub(crate) const MIN_CHECKPOINT_PAGES: u32 = 4 << 10;
/// WAL length in pages above which the WAL is restarted even though readers have to wait: 48 MiB.
pub(crate) const FORCED_RESTART_PAGES: u32 = 12 << 10;
/// Time without traffic after which the WAL is truncated.
const IDLE_TRUNCATE_TIME: Duration = Duration::from_secs(5);

/// Reason for waking the checkpoint thread.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A batch was committed.
    Committed {
        /// Length of the WAL after the commit, in pages.
        pages: u32,
    },
    /// The disk is full.
    Full,
}

/// Number of WAL pages that are in the database. Only the holder of this lock may checkpoint.
pub(crate) type CheckpointedPages = Mutex<u32>;

/// Lock held by the writer for a transaction and by the checkpoint thread while it truncates the WAL, which
/// locks the database: on a slow disk the writer would take our own lock for that of another process.
pub(crate) type TransactionLock = Mutex<()>;

/// Main loop of the checkpoint thread; ends when the writer is gone.
pub(crate) fn run(
    db: &Connection,
    wake_receiver: &Receiver<Wake>,
    checkpointed: &CheckpointedPages,
    transaction_lock: &TransactionLock,
    failure: &Failure,
) {
    let mut needs_truncation = false;
    loop {
        let reason = wake_receiver.recv_timeout(IDLE_TRUNCATE_TIME);
        let mut checkpointed = checkpointed.lock().unwrap_or_else(PoisonError::into_inner);
        let truncates = match reason {
            Ok(Wake::Full) => true,
            Ok(Wake::Committed { pages }) => {
                needs_truncation = true;
                if pages_to_checkpoint(pages, *checkpointed) <= MIN_CHECKPOINT_PAGES {
                    continue;
                }
                false
            }
            Err(RecvTimeoutError::Timeout) if needs_truncation => true,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if failure.has_stopped() {
            return;
        }
        // The first checkpoint leaves little for it or for the second one to move of what the writer adds
        // meanwhile.
        let done = checkpoint(db, "PASSIVE", &mut checkpointed).and_then(|_| {
            let idle_writer = if truncates { transaction_lock.try_lock().ok() } else { None };
            let mode = if idle_writer.is_some() { "TRUNCATE" } else { "PASSIVE" };
            Ok(checkpoint(db, mode, &mut checkpointed)? && idle_writer.is_some())
        });
        match done {
            Ok(cut) => needs_truncation = !cut,
            Err(error) => match classify(db, &error) {
                ErrorClass::Busy | ErrorClass::Full => {
                    tracing::warn!(%error, cuts = truncates, "checkpoint deferred");
                }
                class @ (ErrorClass::Lasting(_) | ErrorClass::Other) => {
                    failure.report(class.to_stop_cause(), "a checkpoint", &error);
                    return;
                }
            },
        }
    }
}

/// Number of WAL pages that are not in the database, of `pages` in the WAL. A WAL that is shorter than the
/// part that was moved has been restarted.
pub(crate) fn pages_to_checkpoint(pages: u32, checkpointed: u32) -> u32 {
    pages.checked_sub(checkpointed).unwrap_or(pages)
}

/// Runs one checkpoint. Returns whether it completed. Being blocked by readers or the writer is no error: the
/// next checkpoint continues.
pub(crate) fn checkpoint(
    db: &Connection,
    mode: &str,
    checkpointed: &mut u32,
) -> rusqlite::Result<bool> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let is_complete = row.get::<_, i64>(0)? == 0;
        let restarts = is_complete && mode != "PASSIVE";
        // The number of pages is -1 where there is no WAL.
        *checkpointed =
            if restarts { 0 } else { u32::try_from(row.get::<_, i64>(2)?).unwrap_or(0) };
        Ok(is_complete)
    })
}

/// Moves all pages and truncates the WAL, if no other connection uses it. Returns whether that succeeded.
pub(crate) fn truncate(db: &Connection) -> rusqlite::Result<bool> {
    checkpoint(db, "TRUNCATE", &mut 0)
}
