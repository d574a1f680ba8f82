//! Runs of the index, and the rows of a key.

use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::types::FromSqlError;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::entry::{BASE, IndexKey};
use super::filter::Filter;
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
    /// Secret of the file, for the hashes of keys.
    secret: [u8; 32],
}

impl Runs {
    /// Reads the runs of a file.
    pub(crate) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let secret = db.query_row("SELECT index_secret FROM progress", [], |row| row.get(0))?;
        let mut select = db.prepare("SELECT run, filter FROM index_run ORDER BY run")?;
        let runs = select.query_map([], |row| {
            let filter = Filter::from_bytes(row.get_ref(1)?.as_blob()?);
            Ok(Run {
                number: row.get(0)?,
                filter: Arc::new(filter.ok_or(FromSqlError::InvalidType)?),
            })
        })?;
        let list = runs.collect::<rusqlite::Result<Vec<_>>>()?.into();
        Ok(Self { list, secret })
    }

    /// These runs and one more.
    pub(crate) fn and(&self, run: Run) -> Self {
        let list = self.list.iter().cloned().chain([run]).collect();
        Self { list, secret: self.secret }
    }

    /// These runs except those with such a number.
    pub(crate) fn without(&self, numbers: &[i64]) -> Self {
        let left = self.list.iter().filter(|run| !numbers.contains(&run.number));
        Self { list: left.cloned().collect(), secret: self.secret }
    }

    /// Whether both have the same runs.
    pub(crate) fn are(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list)
    }

    /// Numbers of the runs, in their order.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = i64> {
        self.list.iter().map(|run| run.number)
    }

    /// Hash of a key, for the filters.
    pub(crate) fn hash(&self, key: &IndexKey) -> u64 {
        key.hash(&self.secret)
    }

    /// Numbers of the runs that may have the key. The base comes last: entries move there, so a reader without
    /// a transaction meets each of them.
    pub(crate) fn having(&self, key: &IndexKey) -> Vec<i64> {
        if self.list.is_empty() {
            return vec![BASE];
        }
        let hash = self.hash(key);
        let passed = self.list.iter().filter(|run| run.filter.may_contain(hash));
        passed.map(|run| run.number).chain([BASE]).collect()
    }

    /// Numbers of all runs; the base comes last.
    pub(crate) fn all(&self) -> Vec<i64> {
        self.numbers().chain([BASE]).collect()
    }

    /// Reads a message's row, if there is one. The query is one of [`select_by_id`].
    pub(crate) fn row<T>(
        &self,
        db: &Connection,
        select_by_id: &str,
        id: MessageId,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let mut select: CachedStatement<'_> = db.prepare_cached(select_by_id)?;
        for run in self.having(&id.into()) {
            let found = select.query_row(params![run, id.as_bytes()], &mut read).optional()?;
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

/// Query for these columns of `message`, by a run and a message id.
macro_rules! select_by_id {
    ($($columns:tt)+) => {
        concat!(
            "SELECT ",
            $($columns)+,
            " FROM message_index AS i CROSS JOIN message ON message.n = i.n \
             WHERE i.run = ? AND i.kind = 0 AND i.key = ?"
        )
    };
}
pub(crate) use select_by_id;
