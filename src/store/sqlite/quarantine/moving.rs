//! Moving the quarantine of a file that version 6 or earlier wrote to the tables of this version.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::mpsc;

use super::super::command::{Act, Order, Task};
use super::reading::{ONE, WHOLE, quarantined};
use super::{New, Usage, add_entry, add_payload, content_bytes, entry_bytes, payload};
use crate::store::{PayloadHash, QuarantineId, Quarantined, StoreError, reply};

/// After so many bytes a transaction that moves entries ends.
const MOVED_BYTES: u64 = 512 << 10;
/// After so many entries it ends too.
const MOVED_ENTRIES: u64 = 256;

/// How long to wait while the database is locked or the disk is full.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves the entry of this name, if an earlier version wrote it and it has not been moved; says whether it
/// was.
pub(super) fn move_one(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
) -> rusqlite::Result<bool> {
    if !usage.is_to_be_moved() {
        return Ok(false);
    }
    let [_moved, unmoved] = ONE;
    let found = db.prepare_cached(unmoved)?.query_row([id.as_bytes()], quarantined).optional()?;
    found.map(|entry| move_entry(db, usage, &entry)).transpose().map(|moved| moved.is_some())
}

/// Moves some entries that an earlier version wrote; says how many.
fn move_some(db: &Connection, usage: &mut Usage) -> rusqlite::Result<u64> {
    let [_moved, unmoved] = WHOLE;
    let (mut entries, mut bytes) = (0, 0);
    while bytes < MOVED_BYTES && entries < MOVED_ENTRIES {
        let next = db.prepare_cached(unmoved)?.query_row([0, 1], quarantined).optional()?;
        let Some(entry) = next else { break };
        bytes += move_entry(db, usage, &entry)?;
        entries += 1;
    }
    Ok(entries)
}

/// Moves an entry with its name, place and count; says how many bytes it has.
fn move_entry(db: &Connection, usage: &mut Usage, entry: &Quarantined) -> rusqlite::Result<u64> {
    let Quarantined { place, source, content, reason, received_at, times, .. } = entry;
    let hash = PayloadHash::of(source, content);
    let new = New {
        source,
        content,
        hash: &hash,
        entry: entry.entry,
        url_covered: None,
        reason,
        received_at: *received_at,
    };
    let read = content_bytes(content);
    let (payload, added) = match payload(db, &hash)? {
        Some(payload) => (payload, 0),
        None => (add_payload(db, &hash, content)?, read),
    };
    add_entry(db, &new, payload, Some(*place), *times)?;
    db.prepare_cached("DELETE FROM quarantine_6 WHERE q = ?")?.execute([place])?;
    usage.is_moved();
    usage.add(db, source, entry_bytes(reason) + added)?;
    Ok(read)
}

/// Has the writer move all entries that an earlier version wrote, until the store ends. Waits as long
/// after each transaction as it took, so that webhooks have the writer for half of the time.
pub(in super::super) fn move_all(orders: &mpsc::Sender<Order>, ends: &AtomicBool) {
    tracing::info!("moving the quarantine of an earlier version to its new tables");
    let mut all: u64 = 0;
    while !ends.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let (reply, moved) = reply::channel();
        let act: Act = Box::new(|db, ledger| move_some(db, &mut ledger.quarantine));
        if orders.blocking_send(Order::Other(Task::Act(act, reply))).is_err() {
            return;
        }
        match moved.blocking_recv() {
            Ok(Ok(0)) => {
                tracing::info!(entries = all, "the quarantine has been moved");
                return;
            }
            Ok(Ok(moved)) => all += moved,
            Ok(Err(StoreError::Locked(_) | StoreError::DiskFull(_))) => thread::sleep(PAUSE),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot move the quarantine; the next start tries again");
                return;
            }
            Err(_ended) => return,
        }
        thread::sleep(begun.elapsed());
    }
}
