//! Move of the entries of many runs to the base.

use std::sync::Arc;

use rusqlite::Connection;

use super::blocks::{self, Block};
use super::entry::IndexEntry;
use super::runs::Runs;

/// Maximum number of entries added to the base at a time. The block that the last one changed is changed again by the
/// next piece, so a piece should not be small.
pub(crate) const MAX_PIECE_ENTRIES: usize = 512;
/// Number of blocks of each run that are read at a time. Entries are taken up to the end of the shortest part: with one
/// block of each run, that would be a few entries of each.
const READ_BLOCKS: usize = 2;
/// Maximum number of blocks deleted at a time.
const MAX_DELETED_BLOCKS: usize = 16;

/// Merge of runs into the base, in pieces. It can end after any of them: until all entries of the runs have been
/// added to the base, the runs count and keep them.
#[derive(Clone, Default)]
pub(crate) struct Merge {
    step: Step,
    /// Number of entries that may be moved now.
    due: usize,
}

/// Step of a merge.
#[derive(Clone, Default)]
enum Step {
    /// There is nothing to merge.
    #[default]
    None,
    /// Entries are added to the base.
    Moving {
        runs: Arc<[i64]>,
        /// Next entries of all runs, in their order.
        next: Arc<[IndexEntry]>,
        /// Number of them that were added.
        added: usize,
        /// Last entry that was added.
        after: IndexEntry,
    },
    /// These runs count no more, and their blocks are deleted.
    Deleting { merged: Runs },
}

impl Merge {
    /// Begins a merge of all these runs, if there are many and no merge is in progress.
    pub(crate) fn begin_if_many(&mut self, runs: &Runs, many: usize) {
        if matches!(self.step, Step::None) && runs.numbers().len() >= many {
            let runs = runs.numbers().collect();
            let step =
                Step::Moving { runs, next: Arc::default(), added: 0, after: IndexEntry::MIN };
            *self = Self { step, due: 0 };
        }
    }

    /// Allows so many more entries to be moved.
    pub(crate) fn allow(&mut self, entries: usize) {
        self.due += entries;
    }

    /// Runs that count no more, but may still have blocks.
    pub(crate) fn leftover(&self) -> Option<&Runs> {
        match &self.step {
            Step::Deleting { merged } => Some(merged),
            Step::None | Step::Moving { .. } => None,
        }
    }

    /// Forgets the entries that it has read but not added, because an entry was removed from the runs.
    pub(crate) fn read_again(&mut self) {
        if let Step::Moving { next, added, .. } = &mut self.step {
            (*next, *added) = (Arc::default(), 0);
        }
    }

    /// Moves at most `piece` entries, if that many may be moved. Returns the runs that are left, if it did: fewer than
    /// before once the base has all entries.
    pub(crate) fn advance(
        &mut self,
        db: &Connection,
        runs: &Runs,
        piece: usize,
    ) -> rusqlite::Result<Option<Runs>> {
        let Step::Moving { runs: merged, next, added, after } = &mut self.step else {
            self.due = 0;
            return Ok(None);
        };
        if self.due < piece {
            return Ok(None);
        }
        if added == &next.len() {
            (*next, *added) = (next_entries(db, merged, after)?.into(), 0);
        }
        let rest = next.get(*added..).unwrap_or_default();
        let part = rest.get(..piece.min(rest.len())).unwrap_or_default();
        if let Some(last) = part.last() {
            blocks::add_to_base(db, part)?;
            *after = *last;
            *added += part.len();
            self.due = self.due.saturating_sub(part.len());
            return Ok(Some(runs.clone()));
        }
        for run in merged.iter() {
            db.prepare_cached("DELETE FROM index_run WHERE run = ?")?.execute([run])?;
        }
        let is_merged = |run| merged.contains(&run);
        let (merged, left) = (runs.only(is_merged), runs.only(|run| !is_merged(run)));
        self.step = Step::Deleting { merged };
        Ok(Some(left))
    }

    /// Deletes some blocks of the runs that the base has, until there are none.
    pub(crate) fn delete_some(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if let Step::Deleting { merged } = &self.step {
            let last_run = merged.numbers().last().unwrap_or_default();
            if blocks::delete_some(db, last_run, MAX_DELETED_BLOCKS)? < MAX_DELETED_BLOCKS {
                self.step = Step::None;
            }
        }
        Ok(())
    }
}

/// Some of the first entries of these runs after this one, in their order. There are none if the runs have no more.
fn next_entries(
    db: &Connection,
    runs: &[i64],
    after: &IndexEntry,
) -> rusqlite::Result<Vec<IndexEntry>> {
    let mut entries = Vec::new();
    // Entries from here on may come after others that are not read.
    let mut end = IndexEntry::MAX;
    for run in runs {
        let (mut next, mut left) = (Block::of(db, *run, after)?, READ_BLOCKS);
        while let Some(block) = next.take() {
            let read = block.entries.partition_point(|entry| entry <= after);
            let unread = block.entries.get(read..).unwrap_or_default();
            entries.extend_from_slice(unread);
            left -= usize::from(!unread.is_empty());
            if left == 0 {
                end = block.next_start(db)?.map_or(end, |start| end.min(start));
                break;
            }
            next = block.next(db)?;
        }
    }
    entries.retain(|entry| *entry < end);
    entries.sort_unstable();
    Ok(entries)
}
