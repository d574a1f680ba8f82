//! Backfill: moves the quarantine of a file written by version 6 or earlier to the tables of this version.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::mpsc;

use super::read::{SELECT_WITH_BODIES, quarantined};
use super::rows::move_entry;
use super::usage::Usage;
use crate::store::sqlite::write::command::{Action, Order, Task};
use crate::store::{StoreError, reply};

/// Limit of a backfill transaction, in bytes of raw payloads: 512 KiB.
const BATCH_BYTES: u64 = 512 << 10;
/// Limit of a backfill transaction, in entries.
const BATCH_ENTRIES: u64 = 256;

/// Wait before the next attempt while the database is locked or the disk is full.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Moves some entries of an earlier version. Returns their number.
fn move_batch(db: &Connection, usage: &mut Usage) -> rusqlite::Result<u64> {
    let [_moved, unmoved] = SELECT_WITH_BODIES;
    let (mut entries, mut bytes) = (0, 0);
    while bytes < BATCH_BYTES && entries < BATCH_ENTRIES {
        let next = db.prepare_cached(unmoved)?.query_row([0, 1], quarantined).optional()?;
        let Some(entry) = next else { break };
        bytes += move_entry(db, usage, &entry)?;
        entries += 1;
    }
    Ok(entries)
}

/// Has the writer move all entries of an earlier version, until the store ends. After each transaction it
/// waits as long as the transaction took, so that webhooks have the writer for half of the time.
pub(crate) fn move_all(orders: &mpsc::Sender<Order>, is_closing: &AtomicBool) {
    tracing::info!("moving the quarantine of an earlier version to its new tables");
    let mut total: u64 = 0;
    while !is_closing.load(Ordering::Relaxed) {
        let started = Instant::now();
        let (reply, moved) = reply::channel();
        let action: Action = Box::new(|db, state| move_batch(db, &mut state.counters.quarantine));
        if orders.blocking_send(Order::Other(Task::Act(action, reply))).is_err() {
            return;
        }
        match moved.blocking_recv() {
            Ok(Ok(0)) => {
                tracing::info!(entries = total, "the quarantine has been moved");
                return;
            }
            Ok(Ok(moved)) => total += moved,
            Ok(Err(StoreError::Locked(_) | StoreError::DiskFull(_))) => thread::sleep(RETRY_PAUSE),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot move the quarantine; the next start tries again");
                return;
            }
            Err(_ended) => return,
        }
        thread::sleep(started.elapsed());
    }
}
