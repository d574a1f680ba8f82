//! Runs of the index, and when they are merged.

use std::collections::BTreeMap;
use std::mem;

use rusqlite::Connection;

use crate::entry::{BASE, Entry};
use crate::layout::{BATCH_MESSAGES, Merging};
use crate::merge::{Merge, NewRun};
use crate::message::Message;

/// Number of entries of a message.
const MESSAGE_ENTRIES: usize = 3;

/// Runs of the index, and the batch of the newest messages, which is in memory.
pub(crate) struct Runs {
    merging: Merging,
    /// Entries of the newest messages.
    batch: Vec<Entry>,
    /// Batch before it, while it is being written.
    new_run: Option<NewRun>,
    /// Runs by how often their entries were merged.
    levels: BTreeMap<usize, Level>,
    /// Greatest number of a run.
    last_run: i64,
    /// Number of messages that are in the runs.
    indexed: i64,
    /// Number of messages that will be when the new run is complete.
    indexed_next: i64,
}

/// Runs of about the same size.
#[derive(Default)]
struct Level {
    /// Complete runs that are not being merged.
    runs: Vec<i64>,
    /// Merge of others.
    merge: Option<Merge>,
}

impl Runs {
    /// Index without entries.
    pub(crate) fn new(merging: Merging) -> Self {
        Self {
            merging,
            batch: Vec::new(),
            new_run: None,
            levels: BTreeMap::new(),
            last_run: BASE,
            indexed: 0,
            indexed_next: 0,
        }
    }

    /// Numbers of the runs in which an entry may be.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        let mut numbers = Vec::new();
        if self.merging.has_base() {
            numbers.push(BASE);
        }
        for level in self.levels.values() {
            numbers.extend(&level.runs);
            numbers.extend(level.merge.iter().flat_map(Merge::runs).filter(|run| *run != BASE));
        }
        numbers
    }

    /// Number of messages that are in the runs: the rows up to this one.
    pub(crate) fn indexed(&self) -> i64 {
        self.indexed
    }

    /// Adds the message to the batch.
    pub(crate) fn add(&mut self, message: &Message, n: i64) {
        self.batch.extend(message.entries(n));
        if self.new_run.is_none() && self.batch.len() >= BATCH_MESSAGES * MESSAGE_ENTRIES {
            let run = if self.merging == Merging::Never { BASE } else { next(&mut self.last_run) };
            self.new_run = Some(NewRun::new(run, mem::take(&mut self.batch)));
            self.indexed_next = n;
        }
    }

    /// Writes and merges as many entries as are due after so many new messages.
    pub(crate) fn advance(&mut self, db: &Connection, messages: usize) -> rusqlite::Result<()> {
        // An eighth more than arrive, so that a batch is written before the next one is full, and runs are merged
        // before as many others are complete.
        let due = messages * MESSAGE_ENTRIES * 9 / 8;
        if let Some(new_run) = &mut self.new_run
            && new_run.advance(db, due)?
        {
            self.indexed = self.indexed_next;
            let run = new_run.run();
            self.new_run = None;
            self.complete(0, run);
        }
        let Some(fan_out) = self.merging.fan_out() else { return Ok(()) };
        let mut merged = Vec::new();
        for (number, level) in &mut self.levels {
            if let Some(merge) = &mut level.merge
                && merge.advance(db, due)?
            {
                merged.push((number + 1, merge.target()));
                level.merge = None;
            }
            if level.merge.is_none() && level.runs.len() >= fan_out {
                let target = if self.merging.has_base() { BASE } else { next(&mut self.last_run) };
                level.merge = Some(Merge::new(level.runs.drain(..fan_out).collect(), target));
            }
        }
        for (level, run) in merged {
            self.complete(level, run);
        }
        Ok(())
    }

    /// Counts a complete run, unless it is the base.
    fn complete(&mut self, level: usize, run: i64) {
        if run != BASE {
            self.levels.entry(level).or_default().runs.push(run);
        }
    }
}

/// Number of a new run.
fn next(last_run: &mut i64) -> i64 {
    *last_run += 1;
    *last_run
}
