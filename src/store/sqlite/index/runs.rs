//! Runs of the index, and the rows of a key.

use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::blocks;
use super::entry::{BASE, IndexEntry, IndexKey, IndexSecret};
use super::filter::{Filter, KeyBits, RUN_PROBES};
use crate::message::MessageId;

/// A run with its filter.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Number of the run.
    pub(crate) number: i64,
    /// Filter of its keys.
    pub(crate) filter: Arc<Filter>,
}

/// Runs in front of the base, at one time.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    /// In the order of their numbers.
    list: Arc<[Run]>,
    /// Greatest number that any run has had since the start. No number is used twice, because blocks of a merged run
    /// may still be there.
    last_number: i64,
    secret: IndexSecret,
}

impl Runs {
    /// Reads the runs of a file.
    pub(crate) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let secret = db.query_row("SELECT index_secret FROM progress", [], |row| row.get(0))?;
        let secret = IndexSecret(secret);
        let mut select = db.prepare("SELECT run, filter FROM index_run ORDER BY run")?;
        let runs = select.query_map([], |row| {
            let filter = Filter::from_bytes(row.get_ref(1)?.as_blob()?);
            Ok(Run {
                number: row.get(0)?,
                filter: Arc::new(filter.ok_or(FromSqlError::InvalidType)?),
            })
        })?;
        let list: Arc<[_]> = runs.collect::<rusqlite::Result<Vec<Run>>>()?.into();
        let last_number = list.last().map_or(BASE, |run| run.number);
        Ok(Self { list, last_number, secret })
    }

    /// These runs and one more.
    pub(crate) fn and(&self, run: Run) -> Self {
        let last_number = run.number;
        let list = self.list.iter().cloned().chain([run]).collect();
        Self { list, last_number, secret: self.secret }
    }

    /// Those of these runs whose number meets the condition.
    pub(crate) fn only(&self, condition: impl Fn(i64) -> bool) -> Self {
        let kept = self.list.iter().filter(|run| condition(run.number));
        Self { list: kept.cloned().collect(), ..self.clone() }
    }

    /// Whether both have the same runs.
    pub(crate) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list)
    }

    /// Number for a new run.
    pub(crate) fn next_number(&self) -> i64 {
        self.last_number + 1
    }

    /// Numbers of the runs, in their order.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        self.list.iter().map(|run| run.number)
    }

    /// Secret of the file.
    pub(crate) fn secret(&self) -> &IndexSecret {
        &self.secret
    }

    /// Hash of a key, for the filters.
    pub(crate) fn hash(&self, key: IndexKey) -> u64 {
        key.hash(&self.secret)
    }

    /// Numbers of the runs that may have the key, without the base.
    pub(crate) fn in_front_having(&self, key: IndexKey) -> impl Iterator<Item = i64> {
        let hash = if self.list.is_empty() { 0 } else { self.hash(key) };
        let bits = KeyBits::of(hash, RUN_PROBES);
        let passed = self.list.iter().filter(move |run| run.filter.may_contain(&bits));
        passed.map(|run| run.number)
    }

    /// Numbers of the runs that may have the key. The base comes last: entries move there, so a reader without
    /// a transaction meets each of them.
    pub(crate) fn having(&self, key: IndexKey) -> Vec<i64> {
        self.in_front_having(key).chain([BASE]).collect()
    }

    /// Numbers of all runs; the base comes last.
    pub(crate) fn all(&self) -> Vec<i64> {
        self.numbers().chain([BASE]).collect()
    }

    /// Whether one of the runs has the entry.
    pub(crate) fn have(&self, db: &Connection, entry: &IndexEntry) -> rusqlite::Result<bool> {
        for run in entry.key().map(|key| self.having(key)).unwrap_or_default() {
            if blocks::last_up_to(db, run, entry)? == Some(*entry) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads a message's row, if there is one. The query is made by `select_row!`.
    pub(crate) fn row<T>(
        &self,
        db: &Connection,
        select_row: &str,
        id: MessageId,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let key = IndexKey::from(id);
        let last = IndexEntry::new(key, 0, i64::MAX);
        let mut select = db.prepare_cached(select_row)?;
        for run in self.having(key) {
            let found = select.query_row(params![run, last.0], &mut read).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The committed runs, shared by the writer and the readers.
///
/// A reader looks at them after the cache and before it reads: a message that is not cached any more is then
/// in a known run or in the base. A run whose entries have been moved meanwhile is empty, and the base has
/// them.
#[derive(Clone, Default)]
pub(crate) struct CommittedRuns(Arc<RwLock<Runs>>);

impl CommittedRuns {
    /// The current runs.
    pub(crate) fn current(&self) -> Runs {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the runs, after the commit that changed them.
    pub(crate) fn publish(&self, runs: Runs) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_merged_run_is_not_given_to_another_one() {
        let run = Run { number: 1, filter: Arc::new(Filter::for_keys(1)) };
        let runs = Runs::default().and(run);
        assert_eq!(runs.only(|_run| false).next_number(), 2);
    }
}
