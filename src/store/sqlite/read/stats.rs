//! Stats of the store: counts kept by the writer, and figures computed on request.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use crate::message::{Record, Status, Timestamp};
use crate::store::Stats;
use crate::store::sqlite::cache::records::Committed;
use crate::store::sqlite::quarantine::Usage;
use crate::store::sqlite::rows::record::message_id;
use crate::store::sqlite::startup::lock::with_suffix;

/// Cached records examined under one lock, for which the writer may have to wait.
const CHUNK_RECORDS: usize = 1_024;

/// Counts kept by the writer, as of the last commit.
#[derive(Default)]
pub(crate) struct Counts {
    without_destination: AtomicU64,
    quarantined: AtomicU64,
    quarantined_bytes: AtomicU64,
    /// Number of messages and entries that wait for a confirmed prune, plus one; 0 if not known yet.
    waiting: AtomicU64,
}

impl Counts {
    /// Sets the number of records without a destination, and the quarantine usage.
    pub(crate) fn set(&self, without_destination: i64, quarantine: &Usage) {
        let without_destination = u64::try_from(without_destination).unwrap_or(0);
        self.without_destination.store(without_destination, Ordering::Relaxed);
        self.quarantined.store(quarantine.entries(), Ordering::Relaxed);
        self.quarantined_bytes.store(quarantine.bytes(), Ordering::Relaxed);
    }

    /// Sets the number of messages and entries that wait for a confirmed prune.
    pub(crate) fn set_waiting(&self, waiting: u64) {
        self.waiting.store(waiting.saturating_add(1), Ordering::Relaxed);
    }

    /// Number of messages and entries that wait for a confirmed prune; none if not known yet.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.waiting.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Number of records without a destination.
    pub(crate) fn without_number(&self) -> u64 {
        self.without_destination.load(Ordering::Relaxed)
    }
}

/// Stats of the store in this file. Runs on a read thread.
pub(crate) fn stats(db: &Connection, recent: &Committed, path: &Path) -> rusqlite::Result<Stats> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    Ok(Stats {
        database_bytes: length(path),
        wal_bytes: length(&with_suffix(path, "-wal")),
        quarantined: recent.counts.quarantined.load(Ordering::Relaxed),
        quarantined_bytes: recent.counts.quarantined_bytes.load(Ordering::Relaxed),
        without_destination: recent.counts.without_number(),
        prune_waiting: recent.counts.waiting().unwrap_or(0),
        oldest_unfinished: oldest_unfinished(db, recent)?,
    })
}

/// Acceptance time of the oldest message without a final status: the earlier of the oldest in the cache and
/// the first in the index that is not in the cache.
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
    while let Some(entries) = recent.now().slots(first, CHUNK_RECORDS) {
        let records = entries.filter_map(|(_id, entry)| entry.record.as_deref());
        let found = records.filter(unfinished).map(Record::accepted_at).min();
        oldest = oldest.into_iter().chain(found).min();
        first += CHUNK_RECORDS;
    }
    oldest
}
