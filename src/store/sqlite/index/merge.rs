//! Move of the entries of many runs to the base.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::entry::{BASE, IndexEntry};
use super::runs::Runs;

/// Maximum number of entries moved at a time. A piece also rewrites the first page of each run, so it should not
/// be small.
pub(crate) const MAX_PIECE_ENTRIES: usize = 512;

/// Merge of runs into the base, in pieces. It can stop after any of them: what remains is in the tables.
#[derive(Clone, Default)]
pub(crate) struct Merge {
    /// Runs whose entries are moved; none if there is nothing to do.
    runs: Option<Arc<[i64]>>,
    /// Number of entries that may be moved now.
    due: usize,
}

impl Merge {
    /// Begins a merge of all these runs, if there are many and no merge is in progress.
    pub(crate) fn begin_if_many(&mut self, runs: &Runs, many: usize) {
        if self.runs.is_none() && runs.numbers().len() >= many {
            *self = Self { runs: Some(runs.numbers().collect()), due: 0 };
        }
    }

    /// Allows so many more entries to be moved.
    pub(crate) fn allow(&mut self, entries: usize) {
        self.due += entries;
    }

    /// Moves a piece of about `piece` entries, if that many may be moved. Returns the runs that are left, if it did:
    /// fewer than before once the merge is complete.
    pub(crate) fn advance(
        &mut self,
        db: &Connection,
        runs: &Runs,
        piece: usize,
    ) -> rusqlite::Result<Option<Runs>> {
        let Some(merged) = self.runs.clone() else {
            self.due = 0;
            return Ok(None);
        };
        if self.due < piece {
            return Ok(None);
        }
        let moved = move_first(db, &merged, piece)?;
        self.due = self.due.saturating_sub(moved);
        if moved > 0 {
            return Ok(Some(runs.clone()));
        }
        for run in merged.iter() {
            db.prepare_cached("DELETE FROM index_run WHERE run = ?")?.execute([run])?;
        }
        *self = Self::default();
        Ok(Some(runs.without(&merged)))
    }
}

/// Moves the first entries of these runs, in the order of all their entries, to the base: about
/// `piece`. Returns their number, which is 0 when the runs are empty.
fn move_first(db: &Connection, runs: &[i64], piece: usize) -> rusqlite::Result<usize> {
    const READ: &str = "SELECT kind, key, list_order, n FROM message_index WHERE run = ? \
         ORDER BY kind, key, list_order, n LIMIT ?";
    // Twice as many as are to be moved, because some must wait for those of other runs.
    let count = (2 * piece / runs.len().max(1)).max(1);
    let mut entries = Vec::new();
    let mut end: Option<IndexEntry> = None;
    for run in runs {
        let mut read = db.prepare_cached(READ)?;
        let first: Vec<_> = read
            .query_map(params![run, i64::try_from(count).unwrap_or(i64::MAX)], IndexEntry::read)?
            .collect::<rusqlite::Result<_>>()?;
        // Behind its last entry that was read, a run may have entries that come before those of other runs.
        if first.len() == count
            && let Some(last) = first.last()
            && end.as_ref().is_none_or(|end| last < end)
        {
            end = Some(last.clone());
        }
        entries.extend(first.into_iter().map(|entry| (entry, *run)));
    }
    if let Some(end) = &end {
        entries.retain(|(entry, _run)| entry <= end);
    }
    entries.sort_unstable();
    IndexEntry::insert_all(db, BASE, entries.iter().map(|(entry, _run)| entry))?;
    for run in runs {
        if let Some((last, _run)) = entries.iter().rfind(|(_entry, other)| other == run) {
            last.delete_up_to(db, *run)?;
        }
    }
    Ok(entries.len())
}
