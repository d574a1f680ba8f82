//! Entries of several runs, read as if they were one.

use rusqlite::Connection;

use super::blocks::Block;
use super::entry::IndexEntry;

/// Entries of several runs from a first to a last one, in their order. While a merge goes on, an entry is in two
/// runs; it is read once.
///
/// The runs are read block by block, so the connection should be in a transaction.
pub(crate) struct MergedEntries<'db> {
    db: &'db Connection,
    runs: Vec<RunEntries>,
    last: IndexEntry,
}

/// Entries of one run that are not read yet.
struct RunEntries {
    /// Current block; none at the end of the run.
    block: Option<Block>,
    /// Number of its entries that are read.
    read: usize,
}

impl<'db> MergedEntries<'db> {
    /// Finds the first entries.
    pub(crate) fn new(
        db: &'db Connection,
        runs: &[i64],
        first: IndexEntry,
        last: IndexEntry,
    ) -> rusqlite::Result<Self> {
        let runs = runs.iter().map(|run| RunEntries::from(db, *run, &first));
        Ok(Self { db, runs: runs.collect::<rusqlite::Result<_>>()?, last })
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> rusqlite::Result<Option<IndexEntry>> {
        let first = self.runs.iter().filter_map(RunEntries::first).min();
        let Some(first) = first.filter(|first| *first <= self.last) else { return Ok(None) };
        for run in &mut self.runs {
            if run.first() == Some(first) {
                run.read += 1;
                run.skip_read_blocks(self.db)?;
            }
        }
        Ok(Some(first))
    }
}

impl RunEntries {
    /// Entries of the run from this one on.
    fn from(db: &Connection, run: i64, first: &IndexEntry) -> rusqlite::Result<Self> {
        let block = Block::of(db, run, first)?;
        let before = |block: &Block| block.entries.partition_point(|entry| entry < first);
        let mut found = Self { read: block.as_ref().map_or(0, before), block };
        found.skip_read_blocks(db)?;
        Ok(found)
    }

    /// The first entry that is not read yet.
    fn first(&self) -> Option<IndexEntry> {
        self.block.as_ref()?.entries.get(self.read).copied()
    }

    /// Reads the next blocks until there is an entry, or no further block.
    fn skip_read_blocks(&mut self, db: &Connection) -> rusqlite::Result<()> {
        while let Some(block) = &self.block
            && self.read >= block.entries.len()
        {
            *self = Self { block: block.next(db)?, read: 0 };
        }
        Ok(())
    }
}
