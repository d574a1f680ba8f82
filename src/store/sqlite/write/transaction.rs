//! Transaction of the writer: changes of the tables and of the writer state, which take effect together.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::state::{Counters, WriterState};
use super::write_back::progress::WriteBack;
use crate::store::sqlite::cache::records::Changes;
use crate::store::sqlite::rows::hourly_counts::Changed;

/// Transaction in progress. Dropped without [`commit`](Self::commit), it leaves the tables and the writer
/// state as they were at its beginning.
pub(crate) struct Txn<'a> {
    tables: Transaction<'a>,
    changed: ChangedState<'a>,
}

/// Writer state, which is taken back to its earlier figures unless they were given up.
struct ChangedState<'a> {
    state: &'a mut WriterState,
    undo: Option<(Counters, WriteBack)>,
}

impl<'a> Txn<'a> {
    /// Begins a transaction. Waits for another process's lock as long as the connection's busy timeout.
    pub(crate) fn begin(db: &'a Connection, state: &'a mut WriterState) -> rusqlite::Result<Self> {
        let tables = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        let undo = Some((state.counters.clone(), state.write_back.clone()));
        Ok(Self { tables, changed: ChangedState { state, undo } })
    }

    /// The tables and the writer state, to be changed.
    pub(crate) fn parts(&mut self) -> (&Connection, &mut WriterState) {
        (&self.tables, self.changed.state)
    }

    /// Commits the changes. Readers see those of the cache once the state is
    /// [published](WriterState::publish).
    pub(crate) fn commit(mut self) -> rusqlite::Result<()> {
        self.changed.state.hourly.write(&self.tables)?;
        self.tables.commit()?;
        self.changed.undo = None;
        Ok(())
    }
}

impl Drop for ChangedState<'_> {
    fn drop(&mut self) {
        if let Some((counters, write_back)) = self.undo.take() {
            self.state.counters = counters;
            self.state.write_back = write_back;
            self.state.changes = Changes::default();
            self.state.hourly = Changed::default();
        }
    }
}
