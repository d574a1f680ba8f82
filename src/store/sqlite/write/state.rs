//! Writer state: what the writer knows of the tables without reading them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rusqlite::Connection;

use super::write_back::progress::WriteBack;
use crate::message::{MessageId, Record};
use crate::store::sqlite::Settings;
use crate::store::sqlite::cache::entry::Entry;
use crate::store::sqlite::cache::load::load;
use crate::store::sqlite::cache::records::{Cache, Changes};
use crate::store::sqlite::index::blocks;
use crate::store::sqlite::index::entry::IndexEntry;
use crate::store::sqlite::index::id_filter::IdFilter;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::quarantine::Usage;
use crate::store::sqlite::rows::hourly_counts::Changed;
use crate::store::sqlite::rows::tombstones::{self, HashKey};

/// Writer state. It is read once at the start and kept in step with the commits by
/// [`Txn`](super::transaction::Txn).
pub(crate) struct WriterState {
    /// State that readers see, without the changes of this transaction.
    pub(crate) cache: Cache,
    /// Cache changes of this transaction.
    pub(crate) changes: Changes,
    /// Changes of the hourly counts in this transaction that are not written yet.
    pub(crate) hourly: Changed,
    /// Figures that agree with the tables, those that this transaction changed included.
    pub(crate) counters: Counters,
    /// Progress of the write-back.
    pub(crate) write_back: WriteBack,
    /// Filter of the ids in the index.
    pub(crate) ids: IdFilter,
    /// Limits of the cache.
    pub(crate) limits: CacheLimits,
    /// Numbers of runs of the index at which they are merged, for a small file and for a large one.
    pub(crate) index_runs: RangeInclusive<usize>,
    /// Whether hourly counts are kept.
    hourly_counts: bool,
    /// Keys of the tombstones' hashes.
    pub(crate) hash_key: HashKey,
}

/// Figures that agree with the tables.
#[derive(Clone)]
pub(crate) struct Counters {
    /// Greatest number that any notification ever had.
    pub(crate) last_seq: i64,
    /// Greatest `n` that any message ever had.
    pub(crate) last_n: i64,
    /// Number of rows in `message` whose record has no destination. The cache knows what its records change
    /// in it.
    pub(crate) rows_without_destination: i64,
    /// Quarantine usage, with its limits.
    pub(crate) quarantine: Usage,
    /// Whether any tombstone exists.
    pub(crate) any_erased: bool,
}

/// Limits of the cache, above which the oldest messages are written back.
#[derive(Clone, Copy)]
pub(crate) struct CacheLimits {
    /// Maximum number of messages.
    pub(crate) messages: usize,
    /// Maximum size, in bytes.
    pub(crate) bytes: usize,
}

impl WriterState {
    /// Reads the state from the tables, with an empty cache.
    pub(crate) fn read(db: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        const SELECT_PROGRESS: &str = "SELECT hash_key, without_number, \
             max(last_seq, (SELECT coalesce(max(seq), 0) FROM notification)), \
             max(last_n, (SELECT coalesce(max(n), 0) FROM message)) FROM progress";
        let (hash_key, rows_without_destination, last_seq, last_n) =
            db.query_row(SELECT_PROGRESS, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let cache = Cache::new(&settings.budget);
        let runs = Runs::read(db)?;
        cache.runs.publish(runs.clone());
        Ok(Self {
            cache,
            changes: Changes::default(),
            hourly: Changed::default(),
            counters: Counters {
                last_seq,
                last_n,
                rows_without_destination,
                quarantine: Usage::read(db, settings)?,
                any_erased: tombstones::any_exist(db)?,
            },
            write_back: WriteBack::new(runs),
            ids: IdFilter::default(),
            limits: CacheLimits {
                messages: settings.cache_max_messages,
                bytes: settings.cache_max_bytes,
            },
            index_runs: settings.index_runs.clone(),
            hourly_counts: settings.hourly_counts,
            hash_key,
        })
    }

    /// State of a message: from the cache, or else from the tables.
    pub(crate) fn entry(
        &self,
        db: &Connection,
        id: MessageId,
    ) -> rusqlite::Result<Option<Arc<Entry>>> {
        let runs = &self.write_back.runs;
        match self.changes.entry(id, &self.cache) {
            Some(known) => Ok(Some(known)),
            None if !self.ids.may_contain(runs.hash(id.into())) => Ok(None),
            None => Ok(load(db, runs, id)?.map(Arc::new)),
        }
    }

    /// Counts the change of a message's record in the hourly counts.
    pub(crate) fn count(&mut self, before: Option<&Record>, after: Option<&Record>) {
        if self.hourly_counts {
            self.hourly.count_change(before, after);
        }
    }

    /// Deletes these entries from the index, wherever they are.
    pub(crate) fn delete_index_entries(
        &mut self,
        db: &Connection,
        entries: &[IndexEntry],
    ) -> rusqlite::Result<()> {
        let write_back = &mut self.write_back;
        let unfinished = write_back.unfinished_run();
        for entry in entries {
            let Some(key) = entry.key() else { continue };
            // What is left of merged runs is not read any more, but the file would still have the key.
            let leftover = write_back.merge.leftover();
            let leftover = leftover.into_iter().flat_map(|runs| runs.in_front_having(key));
            for run in write_back.runs.having(key).into_iter().chain(unfinished).chain(leftover) {
                blocks::remove(db, run, entry)?;
            }
        }
        write_back.merge.read_again();
        Ok(())
    }

    /// Records that a message with this state was removed, and deletes its entries from the index.
    pub(crate) fn removed(
        &mut self,
        db: &Connection,
        id: MessageId,
        entry: &Entry,
    ) -> rusqlite::Result<()> {
        if let Some(row) = &entry.row {
            self.counters.rows_without_destination -= row.without_destination();
            self.write_back.row_removed(row.n);
            let entries = row.index_entries(id, self.write_back.runs.secret());
            self.delete_index_entries(db, &entries)?;
        }
        self.changes.remove(id);
        Ok(())
    }

    /// Publishes the changes after the commit.
    pub(crate) fn publish(&mut self) {
        let Counters { rows_without_destination, quarantine, last_seq, .. } = &self.counters;
        self.cache.counts.set(*rows_without_destination, quarantine);
        // Before messages are evicted from the cache, their run is known.
        if !self.write_back.runs.are(&self.cache.runs.current()) {
            self.cache.runs.publish(self.write_back.runs.clone());
        }
        self.cache.publish(&std::mem::take(&mut self.changes), *last_seq);
        self.ids.advance();
    }
}
