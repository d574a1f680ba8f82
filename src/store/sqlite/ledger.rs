//! What the writer knows of the tables without asking them again.

use std::sync::Arc;

use rusqlite::Connection;

use super::entry::Entry;
use super::erased::{self, HashKey};
use super::fold;
use super::open::Settings;
use super::quarantine::Usage;
use super::recent::{Changes, Committed};
use super::sums::Changed;
use crate::message::{MessageId, Record};

/// Asked once at the start, and kept up with what is committed: a transaction changes a copy.
#[derive(Clone)]
pub(super) struct Ledger {
    /// The records that `message` does not have as they are, without what this transaction changes.
    pub(super) committed: Committed,
    /// What this transaction changes.
    pub(super) changes: Changes,
    /// The greatest number that a notification ever had.
    pub(super) last_seq: i64,
    /// The greatest n that a message ever had.
    pub(super) last_n: i64,
    /// How many records have no number.
    pub(super) without_number: i64,
    /// How many of those in `message` have none.
    pub(super) folded_without_number: i64,
    /// How this transaction changes the sums of the hours, as far as it is not written yet.
    pub(super) sums: Changed,
    /// Whether there are such sums.
    hourly_sums: bool,
    /// What is in quarantine, and how much may be.
    pub(super) quarantine: Usage,
    /// How many messages may be in memory.
    pub(super) recent_max: usize,
    /// How many bytes they may take.
    pub(super) recent_max_bytes: usize,
    /// In which order messages are folded next.
    pub(super) turns: Arc<[MessageId]>,
    /// How many of these turns were taken.
    pub(super) turns_taken: usize,
    /// Whether anything is erased that could come late.
    pub(super) any_erased: bool,
    /// The key of the hashes of what is erased.
    pub(super) hash_key: HashKey,
}

impl Ledger {
    /// Asks the tables.
    pub(super) fn read(db: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        const GREATEST: &str = "SELECT hash_key, without_number, \
             max(last_seq, (SELECT coalesce(max(seq), 0) FROM notification)), \
             max(last_n, (SELECT coalesce(max(n), 0) FROM message)) FROM progress";
        let (hash_key, without_number, last_seq, last_n) = db.query_row(GREATEST, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        let mut ledger = Self {
            committed: Committed::new(&settings.budget),
            changes: Changes::default(),
            last_seq,
            last_n,
            without_number,
            folded_without_number: without_number,
            sums: Changed::default(),
            hourly_sums: settings.hourly_sums,
            quarantine: Usage::read(db, settings)?,
            recent_max: settings.recent_max_messages,
            recent_max_bytes: settings.recent_max_bytes,
            turns: Arc::default(),
            turns_taken: 0,
            any_erased: erased::is_anything(db)?,
            hash_key,
        };
        let replayed = fold::replay(db, &mut ledger)?;
        tracing::debug!(replayed, "read the log");
        Ok(ledger)
    }

    /// What is known of a message: lately, or else in the tables.
    pub(super) fn known(
        &self,
        db: &Connection,
        id: MessageId,
    ) -> rusqlite::Result<Option<Arc<Entry>>> {
        match self.changes.known(id, &self.committed) {
            Some(known) => Ok(Some(known)),
            None => Ok(fold::load(db, id)?.map(Arc::new)),
        }
    }

    /// From now on this is known of a message, of which that was known before.
    pub(super) fn put(&mut self, id: MessageId, before: Option<&Entry>, entry: Entry) {
        let before = before.and_then(|entry| entry.record.as_deref());
        self.without_number += lacks_number(entry.record.as_deref()) - lacks_number(before);
        self.changes.put(id, entry);
    }

    /// A record became another one by what was just said.
    pub(super) fn count(&mut self, before: Option<&Record>, after: Option<&Record>) {
        if self.hourly_sums {
            self.sums.moved(before, after);
        }
    }

    /// The table has all that is known of a message.
    pub(super) fn folded(&mut self, id: MessageId, entry: &Entry) {
        let before = entry.row.as_ref().and_then(|row| row.record.as_deref());
        self.folded_without_number += lacks_number(entry.record.as_deref()) - lacks_number(before);
        self.changes.remove(id);
    }

    /// A message is gone, of which this was known.
    pub(super) fn removed(&mut self, id: MessageId, entry: &Entry) {
        let row = entry.row.as_ref().and_then(|row| row.record.as_deref());
        self.folded_without_number -= lacks_number(row);
        self.without_number -= lacks_number(entry.record.as_deref());
        self.changes.remove(id);
    }

    /// The transaction was committed.
    pub(super) fn publish(&mut self) {
        self.committed.counts.set(self.without_number, &self.quarantine);
        self.committed.publish(&std::mem::take(&mut self.changes), self.last_seq);
    }
}

/// One for a record without a number, else nothing.
fn lacks_number(record: Option<&Record>) -> i64 {
    record.is_some_and(|record| record.destination.is_none()).into()
}
