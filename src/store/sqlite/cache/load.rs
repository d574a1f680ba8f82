//! Loading of a message's cached state from the tables.

use std::sync::Arc;

use rusqlite::Connection;

use super::entry::{Entry, ForeignId, IndexedColumns, Row};
use crate::message::{Identity, MessageId};
use crate::store::sqlite::index::blocks::select_row;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::{
    self, RECORD_COLUMNS, RENEWAL, REPORT_BY_FOREIGN_ID, record_columns,
};

/// Cached state of a message, loaded from the tables.
pub(crate) fn load(db: &Connection, runs: &Runs, id: MessageId) -> rusqlite::Result<Option<Entry>> {
    const SELECT: &str = select_row!(record_columns!(), ", n, last");
    let found = runs.row(db, SELECT, id, |row| {
        Ok((record::record(row)?, row.get(RECORD_COLUMNS)?, row.get(RECORD_COLUMNS + 1)?))
    })?;
    let Some((record, n, last)) = found else { return Ok(None) };
    let indexed = record.as_ref().map(IndexedColumns::of);
    let row = Row { n, indexed, foreign_ids: 0 };
    let mut entry = Entry::new(Some(row), record.map(Arc::new), None, last);
    visit_backwards(db, last, "previous, kind, identity, source, provider_id", |row| {
        let kind: i64 = row.get(1)?;
        if kind == RENEWAL {
            entry.renewals += 1;
        } else {
            entry.identities.push(Identity::from_bytes(row.get(2)?));
        }
        if kind == REPORT_BY_FOREIGN_ID {
            entry.add_foreign_id(ForeignId { source: row.get(3)?, id: row.get(4)? });
        }
        Ok(())
    })?;
    if let Some(row) = &mut entry.row {
        row.foreign_ids = entry.foreign_ids.len();
    }
    Ok(Some(entry))
}
