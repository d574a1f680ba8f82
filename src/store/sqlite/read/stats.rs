//! Stats of the store, from the counts that the writer keeps and from figures computed on request.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::message::{Record, Status, Timestamp};
use crate::store::Stats;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::paths::with_suffix;
use crate::store::sqlite::rows::record::message_id;

/// Cached records examined under one lock, for which the writer may have to wait.
const CHUNK_RECORDS: usize = 1_024;

/// Stats of the store in this file. Runs on a read thread.
pub(crate) fn stats(db: &Connection, cache: &Cache, path: &Path) -> rusqlite::Result<Stats> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    Ok(Stats {
        database_bytes: length(path),
        wal_bytes: length(&with_suffix(path, "-wal")),
        quarantined: cache.counts.quarantined(),
        quarantined_bytes: cache.counts.quarantined_bytes(),
        without_destination: cache.without_destination(),
        prune_waiting: cache.counts.waiting().unwrap_or(0),
        oldest_unfinished: oldest_unfinished(db, cache)?,
    })
}

/// Acceptance time of the oldest message without a final status: the earlier of the oldest in the cache and
/// the first in the index that is not in the cache.
fn oldest_unfinished(db: &Connection, cache: &Cache) -> rusqlite::Result<Option<Timestamp>> {
    const SELECT: &str = "SELECT id, accepted_at FROM message INDEXED BY message_unfinished \
         WHERE status IN (0, 1) ORDER BY accepted_at";
    let cached = oldest_cached(cache);
    let mut select = db.prepare_cached(SELECT)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let accepted_at = row.get(1)?;
        if cached.is_some_and(|cached| cached <= accepted_at) {
            break;
        }
        let id = message_id(row, 0)?;
        if cache.read().get(id).is_none() {
            return Ok(Some(accepted_at));
        }
    }
    Ok(cached)
}

fn oldest_cached(cache: &Cache) -> Option<Timestamp> {
    let unfinished = |record: &&Record| record.status <= Status::Sent;
    let mut oldest = None;
    let mut first = 0;
    while let Some(entries) = cache.read().slots(first, CHUNK_RECORDS) {
        let records = entries.filter_map(|(_id, entry)| entry.record.as_deref());
        let found = records.filter(unfinished).map(Record::accepted_at).min();
        oldest = oldest.into_iter().chain(found).min();
        first += CHUNK_RECORDS;
    }
    oldest
}
