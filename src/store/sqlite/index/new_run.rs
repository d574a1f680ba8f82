//! Run that is being written.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::entry::{BASE, IndexEntry};
use super::filter::Filter;
use super::runs::{Run, Runs};

/// Run whose entries are being added, a few in each transaction. Copies share the entries.
#[derive(Clone)]
pub(crate) struct NewRun {
    number: i64,
    /// Entries in their order.
    entries: Arc<[IndexEntry]>,
    filter: Arc<Filter>,
    /// Number of entries added.
    added: usize,
}

impl NewRun {
    /// Sorts the entries of a run behind these runs.
    pub(crate) fn new(mut entries: Vec<IndexEntry>, runs: &Runs) -> Self {
        entries.sort_unstable();
        let mut filter = Filter::for_keys(entries.len());
        for entry in &entries {
            filter.add(runs.hash(&entry.key));
        }
        let last = runs.numbers().last().unwrap_or(BASE);
        Self { number: last + 1, entries: entries.into(), filter: Arc::new(filter), added: 0 }
    }

    /// Number of the run.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// Whether all entries are added.
    pub(crate) fn is_complete(&self) -> bool {
        self.added == self.entries.len()
    }

    /// Adds the next entries, at most `most`, except those of rows that were removed; returns their number.
    pub(crate) fn add_next(
        &mut self,
        db: &Connection,
        most: usize,
        is_removed: impl Fn(i64) -> bool,
    ) -> rusqlite::Result<usize> {
        let next = self.entries.iter().skip(self.added).take(most);
        let count = next.len();
        IndexEntry::insert_all(db, self.number, next.filter(|entry| !is_removed(entry.n)))?;
        self.added += count;
        Ok(count)
    }

    /// Makes the run count; none if it has no entries.
    pub(crate) fn finish(self, db: &Connection) -> rusqlite::Result<Option<Run>> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        db.prepare_cached("INSERT INTO index_run (run, filter) VALUES (?, ?)")?
            .execute(params![self.number, self.filter.to_bytes()])?;
        Ok(Some(Run { number: self.number, filter: self.filter }))
    }
}
