//! Writer state: what the writer knows of the tables without reading them.

use std::sync::Arc;

use rusqlite::Connection;

use super::tombstones::{self, HashKey};
use crate::message::{MessageId, Record};
use crate::store::sqlite::Settings;
use crate::store::sqlite::cache::entry::Entry;
use crate::store::sqlite::cache::load::load;
use crate::store::sqlite::cache::records::{Changes, Committed};
use crate::store::sqlite::quarantine::Usage;
use crate::store::sqlite::rows::hourly_counts::Changed;

/// Writer state. It is read once at the start and kept in step with the commits: a transaction changes a
/// copy.
#[derive(Clone)]
pub(crate) struct WriterState {
    /// Committed cache, without the changes of this transaction.
    pub(crate) committed: Committed,
    /// Cache changes of this transaction.
    pub(crate) changes: Changes,
    /// Greatest number that any notification ever had.
    pub(crate) last_seq: i64,
    /// Greatest `n` that any message ever had.
    pub(crate) last_n: i64,
    /// Number of records without a destination.
    pub(crate) without_number: i64,
    /// Number of rows in `message` whose record has no destination.
    pub(crate) folded_without_number: i64,
    /// Changes of the hourly counts in this transaction that are not written yet.
    pub(crate) hourly: Changed,
    /// Whether hourly counts are kept.
    hourly_sums: bool,
    /// Quarantine usage, with its limits.
    pub(crate) quarantine: Usage,
    /// Maximum number of cached messages.
    pub(crate) recent_max: usize,
    /// Maximum size of the cached messages, in bytes.
    pub(crate) recent_max_bytes: usize,
    /// Order in which messages are written back next.
    pub(crate) turns: Arc<[MessageId]>,
    /// Number of messages of this order that were taken.
    pub(crate) turns_taken: usize,
    /// Whether any tombstone exists.
    pub(crate) any_erased: bool,
    /// Keys of the tombstones' hashes.
    pub(crate) hash_key: HashKey,
}

impl WriterState {
    /// Reads the state from the tables, with an empty cache.
    pub(crate) fn read(db: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        const SELECT_PROGRESS: &str = "SELECT hash_key, without_number, \
             max(last_seq, (SELECT coalesce(max(seq), 0) FROM notification)), \
             max(last_n, (SELECT coalesce(max(n), 0) FROM message)) FROM progress";
        let (hash_key, without_number, last_seq, last_n) =
            db.query_row(SELECT_PROGRESS, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        Ok(Self {
            committed: Committed::new(&settings.budget),
            changes: Changes::default(),
            last_seq,
            last_n,
            without_number,
            folded_without_number: without_number,
            hourly: Changed::default(),
            hourly_sums: settings.hourly_sums,
            quarantine: Usage::read(db, settings)?,
            recent_max: settings.recent_max_messages,
            recent_max_bytes: settings.recent_max_bytes,
            turns: Arc::default(),
            turns_taken: 0,
            any_erased: tombstones::is_anything(db)?,
            hash_key,
        })
    }

    /// State of a message: from the cache, or else from the tables.
    pub(crate) fn known(
        &self,
        db: &Connection,
        id: MessageId,
    ) -> rusqlite::Result<Option<Arc<Entry>>> {
        match self.changes.known(id, &self.committed) {
            Some(known) => Ok(Some(known)),
            None => Ok(load(db, id)?.map(Arc::new)),
        }
    }

    /// Sets the cached state of a message, given the previous one.
    pub(crate) fn put(&mut self, id: MessageId, before: Option<&Entry>, entry: Entry) {
        let before = before.and_then(|entry| entry.record.as_deref());
        self.without_number += lacks_number(entry.record.as_deref()) - lacks_number(before);
        self.changes.put(id, entry);
    }

    /// Counts the change of a message's record in the hourly counts.
    pub(crate) fn count(&mut self, before: Option<&Record>, after: Option<&Record>) {
        if self.hourly_sums {
            self.hourly.moved(before, after);
        }
    }

    /// Records that a message was written back, and evicts it from the cache.
    pub(crate) fn written_back(&mut self, id: MessageId, entry: &Entry) {
        let before = entry.row.as_ref().and_then(|row| row.record.as_deref());
        self.folded_without_number += lacks_number(entry.record.as_deref()) - lacks_number(before);
        self.changes.remove(id);
    }

    /// Records that a message with this state was removed.
    pub(crate) fn removed(&mut self, id: MessageId, entry: &Entry) {
        let row = entry.row.as_ref().and_then(|row| row.record.as_deref());
        self.folded_without_number -= lacks_number(row);
        self.without_number -= lacks_number(entry.record.as_deref());
        self.changes.remove(id);
    }

    /// Publishes the changes after the commit.
    pub(crate) fn publish(&mut self) {
        self.committed.counts.set(self.without_number, &self.quarantine);
        self.committed.publish(&std::mem::take(&mut self.changes), self.last_seq);
    }
}

/// 1 for a record without a destination, otherwise 0.
fn lacks_number(record: Option<&Record>) -> i64 {
    record.is_some_and(|record| record.destination.is_none()).into()
}
