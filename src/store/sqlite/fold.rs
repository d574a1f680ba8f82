//! How the records follow the log: an entry is taken from the tables, goes on in memory, and is written
//! to the tables again.
//!
//! The log ([`apply`](super::apply)) is written first and is the truth. A message of which something new
//! was said is kept in memory ([`recent`](super::recent)), and only when there are many of them the
//! oldest are folded into `message`, so that the random pages of its indexes are dirtied once for all that
//! is said of a message within a while. The oldest quarter takes its turns by recipient: so the rows of a list
//! lie side by side, as far as its messages came within that time, and share pages of the indexes.
//! `progress` says, in the same transaction, up to where the log is folded; a start takes the rest from
//! the log again.

use std::cmp::Reverse;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::entry::{Entry, ForeignId, Row};
use super::ledger::Ledger;
use super::row::{
    self, RECORD_COLUMNS, REPORT_BY_FOREIGN_ID, SAID_AGAIN, bind_indexed, bind_status,
    indexed_alike, logged, logged_columns, record_columns,
};
use crate::message::{Identity, MessageId, Record};

/// How many notifications a start has to take from the log at most, for each message that may be in
/// memory.
const NOTIFICATIONS_EACH: usize = 8;
/// Which part of the messages that may be in memory has its turns together: a quarter.
const SHARE: usize = 4;
/// Which part of what may be in memory may be there beside it, until the next delivery: an eighth.
const SLACK: usize = 8;
/// Messages that are written back in one transaction, beside as many as a batch brings.
pub(super) const WRITTEN_BACK_TOGETHER: usize = 512;

/// What the tables know of a message.
pub(super) fn load(db: &Connection, id: MessageId) -> rusqlite::Result<Option<Entry>> {
    const SELECT: &str =
        concat!("SELECT ", record_columns!(), ", n, last FROM message WHERE id = ?");
    let found = db
        .prepare_cached(SELECT)?
        .query_row([id.as_bytes()], |row| {
            Ok((row::record(row)?, row.get(RECORD_COLUMNS)?, row.get(RECORD_COLUMNS + 1)?))
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

/// Looks at a message's notifications, the last one first. The first of the columns is `previous`.
pub(super) fn each_back_from(
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

/// Writes back what is more in memory than may be, at most so many messages. To be done before anything is
/// added. Says how many messages it wrote back.
pub(super) fn surplus(db: &Connection, ledger: &mut Ledger, most: usize) -> rusqlite::Result<u64> {
    let log = ledger.recent_max.saturating_mul(NOTIFICATIONS_EACH);
    let log = i64::try_from(log).unwrap_or(i64::MAX);
    let bound = ledger.last_seq.saturating_sub(log);
    let (too_many, too_large, long_ago): (_, _, Vec<_>) = {
        let recent = ledger.committed.now();
        let long_ago = recent.oldest().take_while(|(_id, entry)| entry.since <= Some(bound));
        (
            recent.len().saturating_sub(ledger.recent_max),
            recent.bytes().saturating_sub(ledger.recent_max_bytes),
            long_ago.map(|(id, _entry)| id).take(most).collect(),
        )
    };
    if too_many == 0 && too_large == 0 && long_ago.is_empty() {
        return Ok(0);
    }
    let (mut folded, mut bytes) = (0, 0);
    for id in &long_ago {
        bytes += fold_known(db, ledger, *id)?.unwrap_or(0);
        folded += 1;
    }
    while folded < most
        && (folded < too_many || bytes < too_large)
        && let Some(id) = next_turn(ledger)
    {
        if let Some(freed) = fold_known(db, ledger, id)? {
            bytes += freed;
            folded += 1;
        }
    }
    note_progress(db, ledger)?;
    Ok(u64::try_from(folded).unwrap_or(u64::MAX))
}

/// Whether so much more is in memory than may be that it has to be written back before anything is added.
pub(super) fn is_far_behind(ledger: &Ledger) -> bool {
    let recent = ledger.committed.now();
    recent.len() > ledger.recent_max + ledger.recent_max / SLACK + WRITTEN_BACK_TOGETHER
        || recent.bytes() > ledger.recent_max_bytes + ledger.recent_max_bytes / SLACK
}

/// Folds so many of those whose turn it is, and notes up to where the log is folded; says how many there
/// were.
pub(super) fn some(db: &Connection, ledger: &mut Ledger, most: usize) -> rusqlite::Result<u64> {
    let mut folded = 0;
    while folded < most
        && let Some(id) = next_turn(ledger)
    {
        folded += usize::from(fold_known(db, ledger, id)?.is_some());
    }
    note_progress(db, ledger)?;
    Ok(u64::try_from(folded).unwrap_or(u64::MAX))
}

/// The message whose turn it is. The oldest have their turns by recipient, for each the newest acceptance
/// first, as lists are.
fn next_turn(ledger: &mut Ledger) -> Option<MessageId> {
    if ledger.turns_taken == ledger.turns.len() {
        let recent = ledger.committed.now();
        let unfolded = recent.oldest().filter(|(id, _entry)| !ledger.changes.removes(*id));
        let mut turns: Vec<_> = unfolded
            .take(ledger.recent_max / SHARE + 1)
            .map(|(id, entry)| {
                let record = entry.record.as_deref();
                let destination = record.and_then(|record| record.destination.as_ref());
                let number = destination.map(|claim| claim.value.number());
                (number, Reverse(record.map(Record::accepted_at)), id)
            })
            .collect();
        drop(recent);
        turns.sort_unstable();
        ledger.turns = turns.into_iter().map(|(_number, _accepted_at, id)| id).collect();
        ledger.turns_taken = 0;
    }
    let id = ledger.turns.get(ledger.turns_taken).copied()?;
    ledger.turns_taken += 1;
    Some(id)
}

/// Folds a message, if it is in memory; says how many bytes it took there.
fn fold_known(
    db: &Connection,
    ledger: &mut Ledger,
    id: MessageId,
) -> rusqlite::Result<Option<usize>> {
    let Some(entry) = ledger.changes.known(id, &ledger.committed) else { return Ok(None) };
    fold(db, &mut ledger.last_n, id, &entry)?;
    ledger.folded(id, &entry);
    Ok(Some(entry.bytes()))
}

/// Notes up to where the log is folded now.
fn note_progress(db: &Connection, ledger: &Ledger) -> rusqlite::Result<()> {
    let next = {
        let recent = ledger.committed.now();
        let mut unfolded = recent.oldest().filter(|(id, _entry)| !ledger.changes.removes(*id));
        unfolded.next().and_then(|(_id, entry)| entry.since)
    };
    let folded = next.map_or(ledger.last_seq, |since| since - 1);
    db.prepare_cached("UPDATE progress SET folded = ?, without_number = ?")?
        .execute([folded, ledger.folded_without_number])
        .map(drop)
}

/// Writes an entry to the tables.
pub(super) fn fold(
    db: &Connection,
    last_n: &mut i64,
    id: MessageId,
    entry: &Entry,
) -> rusqlite::Result<()> {
    let (n, known) = if let Some(row) = &entry.row {
        update(db, row, entry)?;
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
         began_stated, began_arrived, destination, reference_key) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = db.prepare_cached(INSERT)?;
    bind_place(&mut insert, entry)?;
    insert.raw_bind_parameter(3, n)?;
    insert.raw_bind_parameter(4, id.as_bytes())?;
    if let Some(record) = &entry.record {
        bind_status(&mut insert, 5, record)?;
        bind_indexed(&mut insert, 12, record)?;
    } else {
        for parameter in 5..=16 {
            insert.raw_bind_parameter(parameter, None::<i64>)?;
        }
    }
    insert.raw_execute().map(drop)
}

/// Leaves the columns alone that indexes read, if none of them has changed: each costs a page of its
/// index, even if it is given the value it has.
fn update(db: &Connection, row: &Row, entry: &Entry) -> rusqlite::Result<()> {
    const PLACE: &str = "UPDATE message SET last = ?, notifications = ? WHERE n = ?";
    const STATUS: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, provider_code = ?, texts = ?, segments = ?, ranks = ? \
         WHERE n = ?";
    const ALL: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, provider_code = ?, texts = ?, segments = ?, ranks = ?, \
         began_accepted = ?, began_stated = ?, began_arrived = ?, destination = ?, \
         reference_key = ? WHERE n = ?";
    let (sql, indexes_stay) = match (&row.record, &entry.record) {
        (_, None) => (PLACE, true),
        (Some(before), Some(after)) if indexed_alike(before, after) => (STATUS, true),
        (_, Some(_)) => (ALL, false),
    };
    let mut update = db.prepare_cached(sql)?;
    bind_place(&mut update, entry)?;
    let mut next = 3;
    if let Some(record) = &entry.record {
        bind_status(&mut update, next, record)?;
        next += 7;
        if !indexes_stay {
            bind_indexed(&mut update, next, record)?;
            next += 5;
        }
    }
    update.raw_bind_parameter(next, row.n)?;
    update.raw_execute().map(drop)
}

fn bind_place(statement: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, entry.last)?;
    statement.raw_bind_parameter(2, entry.notifications())
}

/// The last notification that the row of a message has.
fn last_folded(db: &Connection, id: MessageId) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT last FROM message WHERE id = ?")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
}

/// Takes from the log what the tables have not followed; says how many notifications that were.
pub(super) fn replay(db: &Connection, ledger: &mut Ledger) -> rusqlite::Result<u64> {
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
        let known = match ledger.changes.known(id, &ledger.committed) {
            Some(known) => Some(known),
            // A message is folded whole, also what was said of it after the oldest of others.
            None => match last_folded(db, id)? {
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
        ledger.put(id, known.as_deref(), entry);
        replayed += 1;
    }
    ledger.publish();
    Ok(replayed)
}
