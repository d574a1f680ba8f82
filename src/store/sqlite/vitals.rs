//! How the store is doing: what is counted as it changes, and what is looked for when somebody asks.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::lock::with_suffix;
use super::quarantine::Usage;
use super::recent::Committed;
use super::row::message_id;
use crate::message::{Record, Status, Timestamp};
use crate::store::Vitals;

/// How many records in memory are looked at in one piece: the writer may have to wait for it.
const AT_A_TIME: usize = 1_024;

/// What the writer counts, as far as it is committed.
#[derive(Default)]
pub(super) struct Counts {
    without_number: AtomicU64,
    quarantined: AtomicU64,
    quarantined_bytes: AtomicU64,
    /// How much waits for a confirmed prune, and one more; 0 if that is not known yet.
    waiting: AtomicU64,
}

impl Counts {
    /// From now on there are so many records without a number, and this is in quarantine.
    pub(super) fn set(&self, without_number: i64, quarantine: &Usage) {
        let without_number = u64::try_from(without_number).unwrap_or(0);
        self.without_number.store(without_number, Ordering::Relaxed);
        self.quarantined.store(quarantine.entries(), Ordering::Relaxed);
        self.quarantined_bytes.store(quarantine.bytes(), Ordering::Relaxed);
    }

    /// From now on so much waits for a confirmed prune.
    pub(super) fn set_waiting(&self, waiting: u64) {
        self.waiting.store(waiting.saturating_add(1), Ordering::Relaxed);
    }

    /// How much waits for a confirmed prune; none if that is not known yet.
    pub(super) fn waiting(&self) -> Option<u64> {
        self.waiting.load(Ordering::Relaxed).checked_sub(1)
    }

    /// How many records have no number.
    pub(super) fn without_number(&self) -> u64 {
        self.without_number.load(Ordering::Relaxed)
    }
}

/// How the store in this file is doing. Runs on a read thread.
pub(super) fn vitals(db: &Connection, recent: &Committed, path: &Path) -> rusqlite::Result<Vitals> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    Ok(Vitals {
        database_bytes: length(path),
        wal_bytes: length(&with_suffix(path, "-wal")),
        quarantined: recent.counts.quarantined.load(Ordering::Relaxed),
        quarantined_bytes: recent.counts.quarantined_bytes.load(Ordering::Relaxed),
        without_number: recent.counts.without_number(),
        prune_waiting: recent.counts.waiting().unwrap_or(0),
        oldest_unfinished: oldest_unfinished(db, recent)?,
    })
}

/// When the oldest message was accepted of which the end is not known: of those in memory, and of the
/// first in the index that is not in memory.
fn oldest_unfinished(db: &Connection, recent: &Committed) -> rusqlite::Result<Option<Timestamp>> {
    const SELECT: &str = "SELECT id, accepted_at FROM message INDEXED BY message_unfinished \
         WHERE status IN (0, 1) ORDER BY accepted_at";
    let lately = oldest_in_memory(recent);
    let mut select = db.prepare_cached(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let accepted_at = row.get(1)?;
        if lately.is_some_and(|lately| lately <= accepted_at) {
            break;
        }
        let id = message_id(row, 0)?;
        if recent.now().get(id).is_none() {
            return Ok(Some(accepted_at));
        }
    }
    Ok(lately)
}

fn oldest_in_memory(recent: &Committed) -> Option<Timestamp> {
    let unfinished = |record: &&Record| record.status <= Status::Sent;
    let mut oldest = None;
    let mut first = 0;
    while let Some(entries) = recent.now().slots(first, AT_A_TIME) {
        let records = entries.filter_map(|(_id, entry)| entry.record.as_deref());
        let found = records.filter(unfinished).map(Record::accepted_at).min();
        oldest = oldest.into_iter().chain(found).min();
        first += AT_A_TIME;
    }
    oldest
}
