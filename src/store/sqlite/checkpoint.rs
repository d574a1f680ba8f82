//! Moving the WAL's pages into the database, on a thread of its own.
//!
//! SQLite's own automatic checkpoint ignores I/O errors, so it is off, and every result is looked
//! at here. While there is traffic the WAL is emptied without stopping the writer; it is cut to
//! nothing when the service has been idle for a while, has grown too long, or the disk is full.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::Failure;

/// Above this a checkpoint is worth its cost.
const WORTH_IT: u64 = 16 << 20;
/// Above this the WAL is cut even if the writer has to wait.
const TOO_LONG: u64 = 48 << 20;
/// Without traffic for so long, the WAL is cut.
const IDLE: Duration = Duration::from_secs(5);

/// Why the thread should look.
pub(super) enum Wake {
    /// A batch was committed, and the WAL is so long now.
    Committed {
        /// Its length.
        wal_bytes: u64,
    },
    /// The disk is full.
    Full,
}

/// Checkpoints until the writer is gone.
pub(super) fn run(db: &Connection, wakes: &Receiver<Wake>, failure: &Failure) {
    let mut written = false;
    loop {
        let mode = match wakes.recv_timeout(IDLE) {
            Ok(Wake::Full) => "TRUNCATE",
            Ok(Wake::Committed { wal_bytes }) if wal_bytes > TOO_LONG => "TRUNCATE",
            Ok(Wake::Committed { wal_bytes }) if wal_bytes > WORTH_IT => "PASSIVE",
            Ok(Wake::Committed { .. }) => {
                written = true;
                continue;
            }
            Err(RecvTimeoutError::Timeout) if written => "TRUNCATE",
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        written = mode == "PASSIVE";
        if failure.happened() {
            return;
        }
        if let Err(error) = checkpoint(db, mode) {
            written = true;
            let passes = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            );
            if !passes {
                failure.report("a checkpoint", &error);
                return;
            }
            tracing::warn!(%error, mode, "the checkpoint has to wait");
        }
    }
}

/// One checkpoint. Being kept from finishing by readers or the writer is no error: the next one
/// goes on.
pub(super) fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<()> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_counts| Ok(()))
}
