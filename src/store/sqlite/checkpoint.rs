//! Moving the WAL's pages into the database, mostly on a thread of its own.
//!
//! SQLite's own automatic checkpoint ignores I/O errors, so it is off, and every result is looked
//! at here. While there is traffic the thread moves pages without stopping the writer. Only the
//! writer can begin the WAL anew under load, because nobody else ever finds it at rest: it cuts the
//! WAL between two batches when that has grown too long, which is quick, as most of it has been
//! moved. The thread cuts it when the service has been idle for a while, or the disk is full.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::failure::{Failure, Trouble, trouble};

/// So many pages that were not moved yet are worth a checkpoint: 16 MiB.
const WORTH_IT: u32 = 4 << 10;
/// Above so many pages the writer cuts the WAL: 48 MiB.
pub(super) const TOO_LONG: u32 = 12 << 10;
/// Without traffic for so long, the WAL is cut.
const IDLE: Duration = Duration::from_secs(5);

/// Why the thread should look.
#[derive(Debug)]
pub(super) enum Wake {
    /// A batch was committed, and the WAL has so many pages now.
    Committed {
        /// Its length in pages.
        pages: u32,
    },
    /// The disk is full.
    Full,
}

/// What a checkpoint came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// Whether all was done that was asked for.
    pub(super) whole: bool,
    /// How many of the WAL's pages are in the database now.
    pages: u32,
}

/// Checkpoints until the writer is gone. Whoever checkpoints has the turn.
pub(super) fn run(db: &Connection, wakes: &Receiver<Wake>, turn: &Mutex<()>, failure: &Failure) {
    let mut moved = 0;
    let mut to_be_cut = false;
    loop {
        let mode = match wakes.recv_timeout(IDLE) {
            Ok(Wake::Full) => "TRUNCATE",
            Ok(Wake::Committed { pages }) => {
                to_be_cut = true;
                // A WAL that is shorter than what was moved of it has begun anew.
                moved = if pages < moved { 0 } else { moved };
                if pages - moved <= WORTH_IT {
                    continue;
                }
                "PASSIVE"
            }
            Err(RecvTimeoutError::Timeout) if to_be_cut => "TRUNCATE",
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if failure.happened() {
            return;
        }
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Cutting keeps the writer out. What is moved before, without doing so, need not be then.
        match checkpoint(db, "PASSIVE").and_then(|done| match mode {
            "PASSIVE" => Ok(done),
            mode => checkpoint(db, mode),
        }) {
            Ok(done) => {
                moved = done.pages;
                to_be_cut = mode != "TRUNCATE" || !done.whole;
            }
            Err(error) => match trouble(db, &error) {
                Trouble::Busy | Trouble::Full => {
                    tracing::warn!(%error, mode, "the checkpoint has to wait");
                }
                trouble @ (Trouble::Lasting(_) | Trouble::Other) => {
                    failure.report(trouble.lasting(), "a checkpoint", &error);
                    return;
                }
            },
        }
    }
}

/// One checkpoint. Being kept from finishing by readers or the writer is no error: the next one
/// goes on.
pub(super) fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<Moved> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        // The pages are -1 where there is no WAL.
        let pages = u32::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        Ok(Moved { whole: row.get::<_, i64>(0)? == 0, pages })
    })
}
