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

use rusqlite::{Connection, Statement, params};

use super::state::WriterState;
use crate::message::{MessageId, Record};
use crate::store::sqlite::cache::entry::{Entry, ForeignId, Row};
use crate::store::sqlite::rows::record::{bind_indexed, bind_status};

/// Messages written back in one transaction.
pub(crate) const WRITE_BACK_MESSAGES: usize = 1_000;
/// Maximum number of notifications that a start replays, per message that may be cached.
const NOTIFICATIONS_PER_MESSAGE: usize = 8;
/// Divisor for the part of the cache that is ordered by destination at a time: a quarter.
const ORDERED_DIVISOR: usize = 4;
/// Divisor for the excess over the cache's limits that may stay until the next delivery: an eighth.
const SLACK_DIVISOR: usize = 8;
/// Messages written back in one transaction, besides as many as a batch brings.
pub(crate) const TRANSACTION_MESSAGES: usize = 512;

/// Writes back the cache's excess over its limits, at most `max_messages` messages. To be called before
/// anything is added. Returns the number of messages written back.
pub(crate) fn evict_excess(
    db: &Connection,
    state: &mut WriterState,
    max_messages: usize,
) -> rusqlite::Result<u64> {
    let max_replayed = state.limits.messages.saturating_mul(NOTIFICATIONS_PER_MESSAGE);
    let max_replayed = i64::try_from(max_replayed).unwrap_or(i64::MAX);
    let bound = state.counters.last_seq.saturating_sub(max_replayed);
    let (too_many, too_large, overdue): (_, _, Vec<_>) = {
        let cache = state.cache.read();
        let overdue = cache.oldest().take_while(|(_id, entry)| entry.since <= Some(bound));
        (
            cache.len().saturating_sub(state.limits.messages),
            cache.bytes().saturating_sub(state.limits.bytes),
            overdue.map(|(id, _entry)| id).take(max_messages).collect(),
        )
    };
    if too_many == 0 && too_large == 0 && overdue.is_empty() {
        return Ok(0);
    }
    let (mut written, mut bytes) = (0, 0);
    for id in &overdue {
        bytes += write_back_if_cached(db, state, *id)?.unwrap_or(0);
        written += 1;
    }
    while written < max_messages
        && (written < too_many || bytes < too_large)
        && let Some(id) = next_in_order(state)
    {
        if let Some(freed) = write_back_if_cached(db, state, id)? {
            bytes += freed;
            written += 1;
        }
    }
    record_progress(db, state)?;
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

/// Whether the cache exceeds its limits so far that it must be written back before anything is added.
pub(crate) fn exceeds_limits(state: &WriterState) -> bool {
    let cache = state.cache.read();
    cache.len()
        > state.limits.messages + state.limits.messages / SLACK_DIVISOR + TRANSACTION_MESSAGES
        || cache.bytes() > state.limits.bytes + state.limits.bytes / SLACK_DIVISOR
}

/// Writes back at most `max_messages` messages in their order, and records the progress. Returns their
/// number.
pub(crate) fn write_back_batch(
    db: &Connection,
    state: &mut WriterState,
    max_messages: usize,
) -> rusqlite::Result<u64> {
    let mut written = 0;
    while written < max_messages
        && let Some(id) = next_in_order(state)
    {
        written += usize::from(write_back_if_cached(db, state, id)?.is_some());
    }
    record_progress(db, state)?;
    Ok(u64::try_from(written).unwrap_or(u64::MAX))
}

/// The next message to write back. The oldest messages are ordered by destination, and for each the newest
/// acceptance comes first, as in lists.
fn next_in_order(state: &mut WriterState) -> Option<MessageId> {
    if state.order.taken == state.order.messages.len() {
        let cache = state.cache.read();
        let unwritten = cache.oldest().filter(|(id, _entry)| !state.changes.removes(*id));
        let mut sorted: Vec<_> = unwritten
            .take(state.limits.messages / ORDERED_DIVISOR + 1)
            .map(|(id, entry)| {
                let record = entry.record.as_deref();
                let destination = record.and_then(|record| record.destination.as_ref());
                let number = destination.map(|claim| claim.value.number());
                (number, Reverse(record.map(Record::accepted_at)), id)
            })
            .collect();
        drop(cache);
        sorted.sort_unstable();
        state.order.messages = sorted.into_iter().map(|(_number, _accepted_at, id)| id).collect();
        state.order.taken = 0;
    }
    let id = state.order.messages.get(state.order.taken).copied()?;
    state.order.taken += 1;
    Some(id)
}

/// Writes back a message if it is cached. Returns the memory it took, in bytes.
fn write_back_if_cached(
    db: &Connection,
    state: &mut WriterState,
    id: MessageId,
) -> rusqlite::Result<Option<usize>> {
    let Some(entry) = state.changes.entry(id, &state.cache) else { return Ok(None) };
    write_record(db, &mut state.counters.last_n, id, &entry)?;
    state.written_back(id, &entry);
    Ok(Some(entry.bytes()))
}

/// Records up to where the notification log is written back.
fn record_progress(db: &Connection, state: &WriterState) -> rusqlite::Result<()> {
    let next = {
        let cache = state.cache.read();
        let mut unwritten = cache.oldest().filter(|(id, _entry)| !state.changes.removes(*id));
        unwritten.next().and_then(|(_id, entry)| entry.since)
    };
    let written = next.map_or(state.counters.last_seq, |since| since - 1);
    db.prepare_cached("UPDATE progress SET folded = ?, without_number = ?")?
        .execute([written, state.counters.rows_without_destination])
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
