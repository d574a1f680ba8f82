//! How the records follow the log: an entry is taken from the tables, goes on in memory, and is written
//! to the tables again.
//!
//! The log ([`notification`](super::apply)) is written first and is the truth. A message of which
//! something new was said is kept in [`Recent`](super::recent), and only when there are many of them the
//! oldest are folded into `message`, together and in the order of their coming, so that the random pages
//! of its indexes are dirtied once for all that is said of a message within a while. `progress` says, in
//! the same transaction, up to where the log is folded; a start takes the rest from the log again.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::ledger::Ledger;
use super::recent::{Entry, ForeignId, listed_alike};
use super::row::{
    self, RECORD_COLUMNS, bind_indexed, bind_status, logged, logged_columns, record_columns,
};
use crate::message::{Identity, MessageId, Record};

/// How many notifications a start has to take from the log at most.
const MOST_NOTIFICATIONS: i64 = 1 << 18;

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
    let mut identities = Vec::new();
    each_back_from(db, last, "previous, kind, identity", |row| {
        if row.get::<_, i64>(1)? != row::SAID_AGAIN {
            identities.push(Identity::from_bytes(row.get(2)?));
        }
        Ok(())
    })?;
    Ok(Some(Entry {
        row: Some(n),
        moved: false,
        since: None,
        last,
        identities,
        foreign_ids: Vec::new(),
        record,
    }))
}

/// Looks at a message's notifications, the last one first. The first of the columns is `previous`.
pub(super) fn each_back_from(
    db: &Connection,
    last: i64,
    columns: &str,
    mut look: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
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
        record: Option<Record>,
    ) -> Self {
        let mut entry = before.cloned().unwrap_or_else(|| Self {
            row: None,
            moved: false,
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
        entry.moved |= match (&entry.record, &record) {
            (Some(before), Some(after)) => {
                before.began != after.began || !listed_alike(before, after)
            }
            (None, after) => after.is_some(),
            (Some(_), None) => false,
        };
        entry.record = record;
        entry
    }
}

/// Folds the oldest, as long as there is more in memory than may be.
pub(super) fn surplus(db: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
    let too_many = |ledger: &Ledger| {
        ledger.recent.len() > ledger.recent_max
            || ledger
                .recent
                .since()
                .is_some_and(|since| ledger.last_seq - since > MOST_NOTIFICATIONS)
    };
    let mut any = false;
    while too_many(ledger) {
        any |= fold_oldest(db, ledger)?;
    }
    if any { note_progress(db, ledger) } else { Ok(()) }
}

/// Folds so many of the oldest; says how many there were.
pub(super) fn some(db: &Connection, ledger: &mut Ledger, most: u64) -> rusqlite::Result<u64> {
    let mut folded = 0;
    while folded < most && fold_oldest(db, ledger)? {
        folded += 1;
    }
    note_progress(db, ledger)?;
    Ok(folded)
}

fn fold_oldest(db: &Connection, ledger: &mut Ledger) -> rusqlite::Result<bool> {
    let Some(id) = ledger.recent.oldest() else { return Ok(false) };
    if let Some(entry) = ledger.recent.remove(&id) {
        fold(db, &mut ledger.last_n, id, &entry)?;
    }
    Ok(true)
}

fn note_progress(db: &Connection, ledger: &Ledger) -> rusqlite::Result<()> {
    let folded = ledger.recent.since().map_or(ledger.last_seq, |since| since - 1);
    db.prepare_cached("UPDATE progress SET folded = ?")?.execute([folded]).map(drop)
}

/// Writes an entry to the tables.
pub(super) fn fold(
    db: &Connection,
    last_n: &mut i64,
    id: MessageId,
    entry: &Entry,
) -> rusqlite::Result<()> {
    let n = match entry.row {
        Some(n) => update(db, n, entry).map(|()| n)?,
        None => {
            *last_n += 1;
            insert(db, *last_n, id, entry).map(|()| *last_n)?
        }
    };
    for ForeignId { source, id } in &entry.foreign_ids {
        db.prepare_cached("INSERT OR IGNORE INTO foreign_id (source, id, n) VALUES (?, ?, ?)")?
            .execute(params![source, id, n])?;
    }
    Ok(())
}

fn insert(db: &Connection, n: i64, id: MessageId, entry: &Entry) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO message (last, notifications, n, id, status, \
         status_arrived_at, channel, reference_service, reference_action, provider_name, provider_id, \
         provider_status, provider_code, provider_message, segments, ranks, began_accepted, \
         began_stated, began_arrived, destination, reference_key) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = db.prepare_cached(INSERT)?;
    bind_place(&mut insert, entry)?;
    insert.raw_bind_parameter(3, n)?;
    insert.raw_bind_parameter(4, id.as_bytes())?;
    if let Some(record) = &entry.record {
        bind_status(&mut insert, 5, record)?;
        bind_indexed(&mut insert, 17, record)?;
    } else {
        for parameter in 5..=21 {
            insert.raw_bind_parameter(parameter, None::<i64>)?;
        }
    }
    insert.raw_execute().map(drop)
}

/// Leaves the columns alone that indexes read, if none of them has changed: each costs a page of its
/// index, even if it is given the value it has.
fn update(db: &Connection, n: i64, entry: &Entry) -> rusqlite::Result<()> {
    const PLACE: &str = "UPDATE message SET last = ?, notifications = ? WHERE n = ?";
    const STATUS: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, reference_service = ?, reference_action = ?, \
         provider_name = ?, provider_id = ?, provider_status = ?, provider_code = ?, \
         provider_message = ?, segments = ?, ranks = ? WHERE n = ?";
    const ALL: &str = "UPDATE message SET last = ?, notifications = ?, status = ?, \
         status_arrived_at = ?, channel = ?, reference_service = ?, reference_action = ?, \
         provider_name = ?, provider_id = ?, provider_status = ?, provider_code = ?, \
         provider_message = ?, segments = ?, ranks = ?, began_accepted = ?, began_stated = ?, \
         began_arrived = ?, destination = ?, reference_key = ? WHERE n = ?";
    let sql = match &entry.record {
        None => PLACE,
        Some(_) if !entry.moved => STATUS,
        Some(_) => ALL,
    };
    let mut update = db.prepare_cached(sql)?;
    bind_place(&mut update, entry)?;
    let mut next = 3;
    if let Some(record) = &entry.record {
        bind_status(&mut update, next, record)?;
        next += 12;
        if entry.moved {
            bind_indexed(&mut update, next, record)?;
            next += 5;
        }
    }
    update.raw_bind_parameter(next, n)?;
    update.raw_execute().map(drop)
}

fn bind_place(statement: &mut Statement<'_>, entry: &Entry) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, entry.last)?;
    statement.raw_bind_parameter(2, entry.notifications())
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
        let logged = logged(row)?;
        let id = logged.notification.statement().message;
        let known = match ledger.recent.get(&id) {
            Some(entry) => Some(Arc::clone(entry)),
            None => load(db, id)?.map(Arc::new),
        };
        // A message is folded whole, also what was said of it after the oldest of others.
        if known.as_ref().is_some_and(|entry| entry.last >= logged.seq) {
            continue;
        }
        let before = known.as_ref().and_then(|entry| entry.record.clone());
        let judged =
            Record::judge(before, &logged.notification, logged.arrived_at, logged.said_again);
        let identity = logged.notification.identity();
        let entry =
            Entry::after(known.as_deref(), logged.seq, identity, logged.foreign_id, judged.record);
        ledger.recent.put(id, entry);
        replayed += 1;
    }
    Ok(replayed)
}
