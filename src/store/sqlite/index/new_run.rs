//! Run that is being written.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::blocks::{self, BLOCK_ENTRIES};
use super::entry::{IndexEntry, IndexKey};
use super::filter::{Filter, KeyBits, RUN_PROBES};
use super::id_filter::IdFilter;
use super::runs::{Run, Runs};

/// Run whose entries are being added, a few blocks in each transaction. Copies share the entries.
#[derive(Clone)]
pub(crate) struct NewRun {
    number: i64,
    /// Entries in their order.
    entries: Arc<[IndexEntry]>,
    filter: Arc<Filter>,
    /// Hashes of its ids.
    ids: Arc<[u64]>,
    /// Number of entries added.
    added: usize,
}

impl NewRun {
    /// Sorts the entries of a run that comes after all others.
    pub(crate) fn new(mut entries: Vec<IndexEntry>, runs: &Runs) -> Self {
        entries.sort_unstable();
        let (mut filter, mut ids) = (Filter::for_keys(entries.len()), Vec::new());
        for key in entries.iter().filter_map(IndexEntry::key) {
            let hash = runs.hash(key);
            filter.add(&KeyBits::of(hash, RUN_PROBES));
            if matches!(key, IndexKey::Id(_)) {
                ids.push(hash);
            }
        }
        Self {
            number: runs.next_number(),
            entries: entries.into(),
            filter: Arc::new(filter),
            ids: ids.into(),
            added: 0,
        }
    }

    /// Number of the run.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Whether all entries are added.
    pub(crate) fn is_complete(&self) -> bool {
        self.added == self.entries.len()
    }

    /// Adds the next blocks, at most `most`, except the entries of rows that were removed. Returns the number of
    /// blocks.
    pub(crate) fn add_next(
        &mut self,
        db: &Connection,
        most: usize,
        is_removed: impl Fn(i64) -> bool,
    ) -> rusqlite::Result<usize> {
        let rest = self.entries.get(self.added..).unwrap_or_default();
        let mut added = 0;
        for block in rest.chunks(BLOCK_ENTRIES).take(most) {
            let first = block.first().filter(|_| self.added > 0).copied();
            let kept: Vec<_> =
                block.iter().filter(|entry| !is_removed(entry.n())).copied().collect();
            blocks::insert(db, self.number, &first.unwrap_or(IndexEntry::MIN), &kept)?;
            self.added += block.len();
            added += 1;
        }
        Ok(added)
    }

    /// Makes the run count, and adds its ids to the filter of all ids; none if it has no entries.
    pub(crate) fn finish(
        self,
        db: &Connection,
        ids: &mut IdFilter,
    ) -> rusqlite::Result<Option<Run>> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        for hash in self.ids.iter() {
            ids.add(*hash);
        }
        db.prepare_cached("INSERT INTO index_run (run, filter) VALUES (?, ?)")?
            .execute(params![self.number, self.filter.to_bytes()])?;
        Ok(Some(Run { number: self.number, filter: self.filter }))
    }
}
