//! Writing of entries in pieces: of a batch to a run, and of runs to another run.

use rusqlite::Connection;

use crate::entry::Entry;

/// Number of entries written at a time.
const PIECE_ENTRIES: usize = 512;

/// Batch that is being written to a run.
pub(crate) struct NewRun {
    run: i64,
    /// Entries that are not written yet, the first one last.
    rest: Vec<Entry>,
    /// Number of entries that may be written now.
    due: usize,
}

impl NewRun {
    /// Sorts the entries of a batch for this run.
    pub(crate) fn new(run: i64, mut batch: Vec<Entry>) -> Self {
        batch.sort_unstable_by(|one, other| other.cmp(one));
        Self { run, rest: batch, due: 0 }
    }

    /// Number of the run.
    pub(crate) fn run(&self) -> i64 {
        self.run
    }

    /// Allows `due` more entries to be written, and writes a piece if that many may be. Returns whether all
    /// entries are written.
    pub(crate) fn advance(&mut self, db: &Connection, due: usize) -> rusqlite::Result<bool> {
        self.due += due;
        if self.due >= PIECE_ENTRIES {
            self.due -= PIECE_ENTRIES;
            let left = self.rest.len().saturating_sub(PIECE_ENTRIES);
            for entry in self.rest.drain(left..).rev() {
                entry.insert(db, self.run)?;
            }
        }
        Ok(self.rest.is_empty())
    }
}

/// Merge of runs into another run.
pub(crate) struct Merge {
    /// Runs whose entries are moved.
    sources: Vec<i64>,
    /// Run to which they are moved.
    target: i64,
    /// Number of entries that may be moved now.
    due: usize,
}

impl Merge {
    /// Merge of the runs `sources` into `target`.
    pub(crate) fn new(sources: Vec<i64>, target: i64) -> Self {
        Self { sources, target, due: 0 }
    }

    /// Run to which the entries are moved.
    pub(crate) fn target(&self) -> i64 {
        self.target
    }

    /// Runs that have entries until the merge is complete.
    pub(crate) fn runs(&self) -> impl Iterator<Item = i64> {
        self.sources.iter().copied().chain([self.target])
    }

    /// Allows `due` more entries to be moved, and moves a piece if that many may be. Returns whether the merge
    /// is complete.
    pub(crate) fn advance(&mut self, db: &Connection, due: usize) -> rusqlite::Result<bool> {
        self.due += due;
        if self.due < PIECE_ENTRIES {
            return Ok(false);
        }
        let moved = self.move_first(db)?;
        self.due = self.due.saturating_sub(moved);
        Ok(moved == 0)
    }

    /// Moves the first entries of the runs, in the order of all their entries: about a piece. Returns their
    /// number, which is 0 when the runs are empty.
    fn move_first(&self, db: &Connection) -> rusqlite::Result<usize> {
        // Twice as many as are to be moved, because some must wait for those of other runs.
        let count = (2 * PIECE_ENTRIES / self.sources.len().max(1)).max(1);
        let mut entries = Vec::new();
        let mut end: Option<Entry> = None;
        for run in &self.sources {
            let first = Entry::first_of_run(db, *run, count)?;
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
        for (entry, _run) in &entries {
            entry.insert(db, self.target)?;
        }
        for run in &self.sources {
            if let Some((last, _run)) = entries.iter().rfind(|(_entry, other)| other == run) {
                last.delete_up_to(db, *run)?;
            }
        }
        Ok(entries.len())
    }
}
