//! Rows of `message`, as an entry of the cache gives them.

use rusqlite::{Connection, Statement, params};

use crate::message::MessageId;
use crate::store::sqlite::cache::entry::{Entry, ForeignId, IndexedColumns, Row};
use crate::store::sqlite::rows::record::{bind_indexed, bind_status};

/// Writes an entry to `message` and `foreign_id`, and returns its row. A new row is not in the index yet.
pub(crate) fn write_row(
    db: &Connection,
    last_n: &mut i64,
    id: MessageId,
    entry: &Entry,
) -> rusqlite::Result<Row> {
    let (n, known) = if let Some(row) = &entry.row {
        update(db, row, id, entry)?;
        (row.n, row.foreign_ids)
    } else {
        *last_n += 1;
        insert(db, *last_n, id, entry)?;
        (*last_n, 0)
    };
    for ForeignId { source, id } in entry.foreign_ids.iter().skip(known) {
        db.prepare_cached("INSERT OR IGNORE INTO foreign_id (source, id, n) VALUES (?, ?, ?)")?
            .execute(params![source, id, n])?;
    }
    let indexed = entry.record.as_deref().map(IndexedColumns::of);
    Ok(Row { n, indexed, foreign_ids: entry.foreign_ids.len() })
}

fn insert(db: &Connection, n: i64, id: MessageId, entry: &Entry) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO message (last, notifications, n, id, status, \
         status_arrived_at, channel, provider_code, texts, segments, ranks, began_accepted, \
         began_stated, began_arrived, destination, reference_key, list_order) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = db.prepare_cached(INSERT)?;
    bind_position(&mut insert, entry)?;
    insert.raw_bind_parameter(3, n)?;
    insert.raw_bind_parameter(4, id.as_bytes())?;
    if let Some(record) = &entry.record {
        bind_status(&mut insert, 5, record)?;
        bind_indexed(&mut insert, 12, id, record)?;
    } else {
        for parameter in 5..=17 {
            insert.raw_bind_parameter(parameter, None::<i64>)?;
        }
    }
    insert.raw_execute().map(drop)
}

/// Updates a row. Indexed columns are left alone if none of them has changed: each costs a page of its index,
/// even if it is set to the value it has.
fn update(db: &Connection, row: &Row, id: MessageId, entry: &Entry) -> rusqlite::Result<()> {
    const UPDATE_POSITION: &str = "UPDATE message SET last = ?, notifications = ? WHERE n = ?";
    const UPDATE_STATUS: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, provider_code = ?, texts = ?, segments = ?, ranks = ? \
         WHERE n = ?";
    const UPDATE_ALL: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, provider_code = ?, texts = ?, segments = ?, ranks = ?, \
         began_accepted = ?, began_stated = ?, began_arrived = ?, destination = ?, \
         reference_key = ?, list_order = ? WHERE n = ?";
    let (sql, keeps_indexed_columns) = match (&row.indexed, &entry.record) {
        (_, None) => (UPDATE_POSITION, true),
        (Some(indexed), Some(record)) if indexed.match_record(record) => (UPDATE_STATUS, true),
        (_, Some(_)) => (UPDATE_ALL, false),
    };
    let mut update = db.prepare_cached(sql)?;
    bind_position(&mut update, entry)?;
    let mut next = 3;
    if let Some(record) = &entry.record {
        bind_status(&mut update, next, record)?;
        next += 7;
        if !keeps_indexed_columns {
            bind_indexed(&mut update, next, id, record)?;
            next += 6;
        }
    }
    update.raw_bind_parameter(next, row.n)?;
    update.raw_execute().map(drop)
}

fn bind_position(statement: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, entry.last)?;
    statement.raw_bind_parameter(2, entry.notifications())
}
