//! Moving the WAL's pages into the database, mostly on a thread of its own.
//!
//! SQLite's own automatic checkpoint ignores I/O errors, so it is off, and every result is looked
//! at here. While there is traffic the thread moves pages without stopping the writer. Only the
//! writer can begin the WAL anew under load, because nobody else ever finds it at rest: it does so
//! between two batches, just after the thread has moved nearly everything. The file keeps its length
//! then, because to write over a file that is already as long costs the disk less than to cut it and
//! let it grow. The thread cuts it when the service has been idle for a while, or the disk is full.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::failure::{Failure, Trouble, trouble};

/// So many pages that were not moved yet are worth a checkpoint: 16 MiB.
pub(super) const WORTH_IT: u32 = 4 << 10;
/// Above so many pages the WAL is begun anew though readers have to wait for it: 48 MiB.
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

/// How many of the WAL's pages are in the database. Whoever holds it may checkpoint.
pub(super) type Moved = Mutex<u32>;

/// Held by the writer for a transaction and by the thread while it cuts the WAL, which locks the
/// database: the writer would take our own lock on a slow disk for that of another process.
pub(super) type Changing = Mutex<()>;

/// Checkpoints until the writer is gone.
pub(super) fn run(
    db: &Connection,
    wakes: &Receiver<Wake>,
    moved: &Moved,
    changing: &Changing,
    failure: &Failure,
) {
    let mut to_be_cut = false;
    loop {
        let wake = wakes.recv_timeout(IDLE);
        let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
        let cuts = match wake {
            Ok(Wake::Full) => true,
            Ok(Wake::Committed { pages }) => {
                to_be_cut = true;
                if to_be_moved(pages, *moved) <= WORTH_IT {
                    continue;
                }
                false
            }
            Err(RecvTimeoutError::Timeout) if to_be_cut => true,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if failure.happened() {
            return;
        }
        // What the writer adds during the first one is little for it, or the second, to move.
        let done = checkpoint(db, "PASSIVE", &mut moved).and_then(|_| {
            let at_rest = if cuts { changing.try_lock().ok() } else { None };
            let mode = if at_rest.is_some() { "TRUNCATE" } else { "PASSIVE" };
            Ok(checkpoint(db, mode, &mut moved)? && at_rest.is_some())
        });
        match done {
            Ok(cut) => to_be_cut = !cut,
            Err(error) => match trouble(db, &error) {
                Trouble::Busy | Trouble::Full => {
                    tracing::warn!(%error, cuts, "the checkpoint has to wait");
                }
                trouble @ (Trouble::Lasting(_) | Trouble::Other) => {
                    failure.report(trouble.lasting(), "a checkpoint", &error);
                    return;
                }
            },
        }
    }
}

/// How many of so many pages in the WAL are not in the database. A WAL that is shorter than what was
/// moved of it has begun anew.
pub(super) fn to_be_moved(pages: u32, moved: u32) -> u32 {
    pages.checked_sub(moved).unwrap_or(pages)
}

/// One checkpoint; says whether all was done that was asked for. Being kept from it by readers or the
/// writer is no error: the next one goes on.
pub(super) fn checkpoint(db: &Connection, mode: &str, moved: &mut u32) -> rusqlite::Result<bool> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let whole = row.get::<_, i64>(0)? == 0;
        let begins_anew = whole && mode != "PASSIVE";
        // The pages are -1 where there is no WAL.
        *moved = if begins_anew { 0 } else { u32::try_from(row.get::<_, i64>(2)?).unwrap_or(0) };
        Ok(whole)
    })
}

/// Moves everything and cuts the WAL, if nobody else uses it; says whether that could be done.
pub(super) fn cut(db: &Connection) -> rusqlite::Result<bool> {
    checkpoint(db, "TRUNCATE", &mut 0)
}
