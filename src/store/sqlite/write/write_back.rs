//! Write-back: the records follow the notification log. An entry is loaded from the tables, changes in the
//! cache, and is written back to the tables.
//!
//! The notification log ([`apply`](super::apply)) is written first and is the truth. A message with a new
//! notification is kept in the [cache](crate::store::sqlite::cache::records). Only when the cache exceeds its
//! limits are the oldest messages written back to `message`, so that the random pages of its indexes are
//! dirtied once for all notifications of a message within a while. The oldest quarter is written back in the
//! order of destinations: so the rows of a list lie side by side, as far as its messages came within that
//! time, and share pages of the indexes. `progress` records, in the same transaction, up to where the
//! notification log is written back; a start replays the rest of it.

use std::cmp::Reverse;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::state::WriterState;
use crate::message::{Identity, MessageId, Record};
use crate::store::sqlite::cache::entry::{Entry, ForeignId, Row};
use crate::store::sqlite::rows::record::{
    self, RECORD_COLUMNS, REPORT_BY_FOREIGN_ID, SAID_AGAIN, bind_indexed, bind_status,
    indexed_alike, logged, logged_columns, record_columns,
};

/// Maximum number of notifications that a start replays, per message that may be cached.
const NOTIFICATIONS_PER_MESSAGE: usize = 8;
/// Divisor for the part of the cache that is ordered by destination at a time: a quarter.
const ORDERED_DIVISOR: usize = 4;
/// Divisor for the excess over the cache's limits that may stay until the next delivery: an eighth.
const SLACK_DIVISOR: usize = 8;
/// Messages written back in one transaction, besides as many as a batch brings.
pub(crate) const TRANSACTION_MESSAGES: usize = 512;

/// Cached state of a message, loaded from the tables.
pub(crate) fn load(db: &Connection, id: MessageId) -> rusqlite::Result<Option<Entry>> {
    const SELECT: &str =
        concat!("SELECT ", record_columns!(), ", n, last FROM message WHERE id = ?");
    let found = db
        .prepare_cached(SELECT)?
        .query_row([id.as_bytes()], |row| {
            Ok((record::record(row)?, row.get(RECORD_COLUMNS)?, row.get(RECORD_COLUMNS + 1)?))
        })
        .optional()?;
    let Some((record, n, last)) = found else { return Ok(None) };
    let row = Row { n, record: record.map(Arc::new), foreign_ids: 0 };
    let mut entry = Entry::new(Some(row), None, last);
    each_back_from(db, last, "previous, kind, identity, source, provider_id", |row| {
        let kind: i64 = row.get(1)?;
        if kind == SAID_AGAIN {
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

/// Visits the notifications of a message, the last one first. The first of the columns must be `previous`.
pub(crate) fn each_back_from(
    db: &Connection,
    last: i64,
    columns: &str,
    mut look: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select =
        db.prepare_cached(&format!("SELECT {columns} FROM notification WHERE seq = ?"))?;
    let mut next = Some(last);
    while let Some(seq) = next {
        next = select.query_row([seq], |row| {
            look(row)?;
            row.get(0)
        })?;
    }
    Ok(())
}

/// Writes back the cache's excess over its limits, at most `most` messages. To be called before anything is
/// added. Returns the number of messages written back.
pub(crate) fn evict_surplus(
    db: &Connection,
    state: &mut WriterState,
    most: usize,
) -> rusqlite::Result<u64> {
    let log = state.recent_max.saturating_mul(NOTIFICATIONS_PER_MESSAGE);
    let log = i64::try_from(log).unwrap_or(i64::MAX);
    let bound = state.last_seq.saturating_sub(log);
    let (too_many, too_large, long_ago): (_, _, Vec<_>) = {
        let recent = state.committed.now();
        let long_ago = recent.oldest().take_while(|(_id, entry)| entry.since <= Some(bound));
        (
            recent.len().saturating_sub(state.recent_max),
            recent.bytes().saturating_sub(state.recent_max_bytes),
            long_ago.map(|(id, _entry)| id).take(most).collect(),
        )
    };
    if too_many == 0 && too_large == 0 && long_ago.is_empty() {
        return Ok(0);
    }
    let (mut written, mut bytes) = (0, 0);
    for id in &long_ago {
        bytes += write_back_known(db, state, *id)?.unwrap_or(0);
        written += 1;
    }
    while written < most
        && (written < too_many || bytes < too_large)
        && let Some(id) = next_in_order(state)
    {
        if let Some(freed) = write_back_known(db, state, id)? {
            bytes += freed;
            written += 1;
        }
    }
    record_progress(db, state)?;
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

/// Whether the cache exceeds its limits so far that it must be written back before anything is added.
pub(crate) fn is_far_behind(state: &WriterState) -> bool {
    let recent = state.committed.now();
    recent.len() > state.recent_max + state.recent_max / SLACK_DIVISOR + TRANSACTION_MESSAGES
        || recent.bytes() > state.recent_max_bytes + state.recent_max_bytes / SLACK_DIVISOR
}

/// Writes back at most `most` messages in their order, and records the progress. Returns their number.
pub(crate) fn write_back_some(
    db: &Connection,
    state: &mut WriterState,
    most: usize,
) -> rusqlite::Result<u64> {
    let mut written = 0;
    while written < most
        && let Some(id) = next_in_order(state)
    {
        written += usize::from(write_back_known(db, state, id)?.is_some());
    }
    record_progress(db, state)?;
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

/// The next message to write back. The oldest messages are ordered by destination, and for each the newest
/// acceptance comes first, as in lists.
fn next_in_order(state: &mut WriterState) -> Option<MessageId> {
    if state.turns_taken == state.turns.len() {
        let recent = state.committed.now();
        let unwritten = recent.oldest().filter(|(id, _entry)| !state.changes.removes(*id));
        let mut turns: Vec<_> = unwritten
            .take(state.recent_max / ORDERED_DIVISOR + 1)
            .map(|(id, entry)| {
                let record = entry.record.as_deref();
                let destination = record.and_then(|record| record.destination.as_ref());
                let number = destination.map(|claim| claim.value.number());
                (number, Reverse(record.map(Record::accepted_at)), id)
            })
            .collect();
        drop(recent);
        turns.sort_unstable();
        state.turns = turns.into_iter().map(|(_number, _accepted_at, id)| id).collect();
        state.turns_taken = 0;
    }
    let id = state.turns.get(state.turns_taken).copied()?;
    state.turns_taken += 1;
    Some(id)
}

/// Writes back a message if it is cached. Returns the memory it took, in bytes.
fn write_back_known(
    db: &Connection,
    state: &mut WriterState,
    id: MessageId,
) -> rusqlite::Result<Option<usize>> {
    let Some(entry) = state.changes.known(id, &state.committed) else { return Ok(None) };
    write_record(db, &mut state.last_n, id, &entry)?;
    state.written_back(id, &entry);
    Ok(Some(entry.bytes()))
}

/// Records up to where the notification log is written back.
fn record_progress(db: &Connection, state: &WriterState) -> rusqlite::Result<()> {
    let next = {
        let recent = state.committed.now();
        let mut unwritten = recent.oldest().filter(|(id, _entry)| !state.changes.removes(*id));
        unwritten.next().and_then(|(_id, entry)| entry.since)
    };
    let written = next.map_or(state.last_seq, |since| since - 1);
    db.prepare_cached("UPDATE progress SET folded = ?, without_number = ?")?
        .execute([written, state.folded_without_number])
        .map(drop)
}

/// Writes an entry to the tables.
pub(crate) fn write_record(
    db: &Connection,
    last_n: &mut i64,
    id: MessageId,
    entry: &Entry,
) -> rusqlite::Result<()> {
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
    Ok(())
}

fn insert(db: &Connection, n: i64, id: MessageId, entry: &Entry) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO message (last, notifications, n, id, status, \
         status_arrived_at, channel, provider_code, texts, segments, ranks, began_accepted, \
         began_stated, began_arrived, destination, reference_key, list_order) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = db.prepare_cached(INSERT)?;
    bind_place(&mut insert, entry)?;
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
    let (sql, indexes_stay) = match (&row.record, &entry.record) {
        (_, None) => (UPDATE_POSITION, true),
        (Some(before), Some(after)) if indexed_alike(before, after) => (UPDATE_STATUS, true),
        (_, Some(_)) => (UPDATE_ALL, false),
    };
    let mut update = db.prepare_cached(sql)?;
    bind_place(&mut update, entry)?;
    let mut next = 3;
    if let Some(record) = &entry.record {
        bind_status(&mut update, next, record)?;
        next += 7;
        if !indexes_stay {
            bind_indexed(&mut update, next, id, record)?;
            next += 6;
        }
    }
    update.raw_bind_parameter(next, row.n)?;
    update.raw_execute().map(drop)
}

fn bind_place(statement: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, entry.last)?;
    statement.raw_bind_parameter(2, entry.notifications())
}

/// Number of the last notification that a message's row includes.
fn last_written(db: &Connection, id: MessageId) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT last FROM message WHERE id = ?")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
}

/// Replays the part of the notification log that the tables lack. Returns the number of notifications.
pub(crate) fn replay(db: &Connection, state: &mut WriterState) -> rusqlite::Result<u64> {
    const SELECT: &str = concat!(
        "SELECT ",
        logged_columns!(),
        " FROM notification WHERE seq > (SELECT folded FROM progress) ORDER BY seq"
    );
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    let mut replayed = 0;
    while let Some(row) = rows.next()? {
        let logged = logged(row, 0)?;
        let id = logged.notification.statement().message;
        let known = match state.changes.known(id, &state.committed) {
            Some(known) => Some(known),
            // A message is written back with all its notifications, also those after the oldest of other
            // messages.
            None => match last_written(db, id)? {
                Some(last) if last >= logged.seq => continue,
                Some(_) => load(db, id)?.map(Arc::new),
                None => None,
            },
        };
        let before = known.as_ref().and_then(|entry| entry.record.as_deref());
        let judged =
            Record::judge(before, &logged.notification, logged.arrived_at, logged.said_again);
        let identity = logged.notification.identity();
        let entry = Entry::after(
            known.as_deref(),
            logged.seq,
            (!logged.said_again).then_some(identity),
            logged.foreign_id,
            judged.record.map(Arc::new),
        );
        state.put(id, known.as_deref(), entry);
        replayed += 1;
    }
    state.publish();
    Ok(replayed)
}
