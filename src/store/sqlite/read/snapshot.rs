//! Read transaction of a query that executes several statements.

use std::ops::Deref;

use rusqlite::Connection;

/// Read transaction: all its statements see the same state of the database. It ends when this is dropped.
pub(crate) struct Snapshot<'db>(&'db Connection);

impl<'db> Snapshot<'db> {
    /// Begins a read transaction. The connection keeps the statements that begin and end it, so that they are not
    /// prepared for each query.
    pub(crate) fn begin(db: &'db Connection) -> rusqlite::Result<Self> {
        db.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(db))
    }
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // After some errors SQLite has ended the transaction itself.
        if self.0.is_autocommit() {
            return;
        }
        let ended = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if let Err(error) = ended {
            tracing::warn!(%error, "a read transaction did not end");
        }
    }
}
