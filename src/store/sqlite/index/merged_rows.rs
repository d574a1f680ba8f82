//! Rows of several runs, read as if they were one.

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator as _;
use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, Row, Rows, ToSql};

/// Statements of the same query, one for each run.
pub(crate) struct RunStatements<'db>(Vec<(i64, CachedStatement<'db>)>);

impl<'db> RunStatements<'db> {
    /// Prepares a query for these runs.
    pub(crate) fn prepare(db: &'db Connection, sql: &str, runs: &[i64]) -> rusqlite::Result<Self> {
        let mut statements = Vec::with_capacity(runs.len());
        let mut sql = sql.to_owned();
        for run in runs {
            statements.push((*run, db.prepare_cached(&sql)?));
            // The connection keeps one statement for each text. A comment makes the texts of the runs differ.
            sql.push_str("--");
        }
        Ok(Self(statements))
    }

    /// Runs the query. Its first parameter is the run; these are the others. Each run gives its rows in the
    /// order of the column `key`, and so does the result.
    pub(crate) fn query<K: FromSql + Ord>(
        &mut self,
        parameters: &[&dyn ToSql],
        key: usize,
    ) -> rusqlite::Result<MergedRows<'_, K>> {
        let mut runs = Vec::with_capacity(self.0.len());
        for (run, statement) in &mut self.0 {
            let run: &dyn ToSql = run;
            let all: Vec<_> = [run].into_iter().chain(parameters.iter().copied()).collect();
            let mut rows = statement.query(&all[..])?;
            rows.advance()?;
            let next = rows.get().map(|row| row.get(key)).transpose()?;
            runs.push((next, rows));
        }
        Ok(MergedRows { runs, key, current: None })
    }
}

/// Rows of several runs in the order of their keys.
pub(crate) struct MergedRows<'stmt, K> {
    /// Rows of each run, and the key of the row at which they are; none behind the last.
    runs: Vec<(Option<K>, Rows<'stmt>)>,
    /// Column of the key.
    key: usize,
    /// Run whose row was returned last.
    current: Option<usize>,
}

impl<K: FromSql + Ord> MergedRows<'_, K> {
    /// The next row.
    pub(crate) fn next(&mut self) -> rusqlite::Result<Option<&Row<'_>>> {
        if let Some((next, rows)) = self.current.and_then(|run| self.runs.get_mut(run)) {
            rows.advance()?;
            *next = rows.get().map(|row| row.get(self.key)).transpose()?;
        }
        let keys =
            self.runs.iter().enumerate().filter_map(|(run, (key, _))| Some((key.as_ref()?, run)));
        self.current = keys.min().map(|(_key, run)| run);
        Ok(self.current.and_then(|run| self.runs.get(run)).and_then(|(_, rows)| rows.get()))
    }
}
