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

use super::ledger::Ledger;
use super::recent::{Entry, ForeignId, Row};
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
    let record = record.map(Arc::new);
    let mut identities = Vec::new();
    let mut foreign_ids = Vec::new();
    each_back_from(db, last, "previous, kind, identity, source, provider_id", |row| {
        let kind: i64 = row.get(1)?;
        if kind != SAID_AGAIN {
            identities.push(Identity::from_bytes(row.get(2)?));
        }
        if kind == REPORT_BY_FOREIGN_ID {
            let id = ForeignId { source: row.get(3)?, id: row.get(4)? };
            if !foreign_ids.contains(&id) {
                foreign_ids.push(id);
            }
        }
        Ok(())
    })?;
    let row = Row { n, record: record.clone(), foreign_ids: foreign_ids.len() };
    Ok(Some(Entry { row: Some(row), since: None, last, identities, foreign_ids, record }))
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

impl Entry {
    /// What is known of a message after one more notification.
    pub(super) fn after(
        before: Option<&Self>,
        seq: i64,
        identity: Identity,
        foreign_id: Option<ForeignId>,
        record: Option<Arc<Record>>,
    ) -> Self {
        let mut entry = before.cloned().unwrap_or_else(|| Self {
            row: None,
            since: None,
            last: seq,
            identities: Vec::with_capacity(1),
            foreign_ids: Vec::new(),
            record: None,
        });
        entry.since = entry.since.or(Some(seq));
        entry.last = seq;
        if !entry.identities.contains(&identity) {
            entry.identities.push(identity);
        }
        entry.foreign_ids.extend(foreign_id.filter(|id| !entry.foreign_ids.contains(id)));
        entry.record = record;
        entry
    }
}

/// Folds what has to be, if there is more in memory than may be. To be done before anything is added.
pub(super) fn surplus(db: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
    let most =
        i64::try_from(ledger.recent_max.saturating_mul(NOTIFICATIONS_EACH)).unwrap_or(i64::MAX);
    let bound = ledger.last_seq.saturating_sub(most);
    let (too_many, long_ago): (_, Vec<_>) = {
        let recent = ledger.committed.now();
        let long_ago = recent.oldest().take_while(|(_id, entry)| entry.since <= Some(bound));
        (recent.len().saturating_sub(ledger.recent_max), long_ago.map(|(id, _entry)| id).collect())
    };
    if too_many == 0 && long_ago.is_empty() {
        return Ok(());
    }
    for id in &long_ago {
        fold_known(db, ledger, *id)?;
    }
    some(db, ledger, too_many.saturating_sub(long_ago.len())).map(drop)
}

/// Folds so many of those whose turn it is, and notes up to where the log is folded; says how many there
/// were.
pub(super) fn some(db: &Connection, ledger: &mut Ledger, most: usize) -> rusqlite::Result<u64> {
    let mut folded = 0;
    while folded < most
        && let Some(id) = next_turn(ledger)
    {
        folded += usize::from(fold_known(db, ledger, id)?);
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

/// Folds a message, if it is in memory; says whether it was.
fn fold_known(db: &Connection, ledger: &mut Ledger, id: MessageId) -> rusqlite::Result<bool> {
    let Some(entry) = ledger.changes.known(id, &ledger.committed) else { return Ok(false) };
    fold(db, &mut ledger.last_n, id, &entry)?;
    ledger.folded(id, &entry);
    Ok(true)
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
            identity,
            logged.foreign_id,
            judged.record.map(Arc::new),
        );
        ledger.put(id, known.as_deref(), entry);
        replayed += 1;
    }
    ledger.publish();
    Ok(replayed)
}
