//! What is asked of the tables. Runs on a read thread.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::row::{self, RECORD_COLUMNS, record_columns, said_columns};
use crate::message::{Identity, MessageId, Timestamp};
use crate::store::{History, Key, Listing, Message, Page, QuarantineId, Quarantined};

/// Whether all of these notifications are stored.
pub(super) fn holds(
    db: &Connection,
    notifications: &[(MessageId, Identity)],
) -> rusqlite::Result<bool> {
    const SELECT: &str = "SELECT 1 FROM message JOIN notification USING (n) \
         WHERE message.id = ? AND identity = ?";
    let mut select = db.prepare_cached(SELECT)?;
    for (message, identity) in notifications {
        if !select.exists(params![message.as_bytes(), identity.as_bytes()])? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is known of a message.
pub(super) fn message(db: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    const SELECT: &str = concat!("SELECT ", record_columns!(), " FROM message WHERE id = ?");
    let record = db.prepare_cached(SELECT)?.query_row([id.as_bytes()], row::record).optional()?;
    Ok(record.flatten().map(|record| Message { id, record }))
}

/// Everything that was said of a message.
pub(super) fn history(db: &Connection, id: MessageId) -> rusqlite::Result<Option<History>> {
    const MESSAGE: &str = concat!("SELECT ", record_columns!(), ", n FROM message WHERE id = ?");
    const SAID: &str =
        concat!("SELECT ", said_columns!(), " FROM notification WHERE n = ? ORDER BY arrival");
    // One transaction, so that record and history belong together.
    let both = db.unchecked_transaction()?;
    let found = both
        .prepare_cached(MESSAGE)?
        .query_row([id.as_bytes()], |row| {
            Ok((row::record(row)?, row.get::<_, i64>(RECORD_COLUMNS)?))
        })
        .optional()?;
    let Some((record, n)) = found else { return Ok(None) };
    let said = both.prepare_cached(SAID)?.query_map([n], row::said)?.collect::<Result<_, _>>()?;
    Ok(Some(History { record, said }))
}

/// Quarantined entries after this place, their bodies left empty.
pub(super) fn quarantine(
    db: &Connection,
    after: i64,
    count: u32,
) -> rusqlite::Result<Vec<Quarantined>> {
    const SELECT: &str = "SELECT q, id, source, entry, method, query, content_type, x'', \
         reason, received_at, times FROM quarantine WHERE q > ? ORDER BY q LIMIT ?";
    db.prepare_cached(SELECT)?.query_map(params![after, count], row::quarantined)?.collect()
}

/// One quarantined entry, whole.
pub(super) fn quarantined(
    db: &Connection,
    id: QuarantineId,
) -> rusqlite::Result<Option<Quarantined>> {
    const SELECT: &str = "SELECT q, id, source, entry, method, query, content_type, body, \
         reason, received_at, times FROM quarantine WHERE id = ?";
    db.prepare_cached(SELECT)?.query_row([id.as_bytes()], row::quarantined).optional()
}

/// Reads a page of a list, and one message more to see whether it goes on.
pub(super) fn list(db: &Connection, key: &Key, page: Page) -> rusqlite::Result<Listing> {
    macro_rules! select {
        ($from:literal) => {
            concat!(
                "SELECT ",
                record_columns!(),
                ", message.id FROM ",
                $from,
                " AND status IS NOT NULL AND accepted_at <= ?3 \
                 AND (accepted_at < ?3 OR message.id > ?4) \
                 ORDER BY accepted_at DESC, message.id LIMIT ?5"
            )
        };
    }
    const BY_DESTINATION: &str = select!("message WHERE destination = ?1 AND ?2 IS NULL");
    const BY_REFERENCE: &str = select!("message WHERE reference_key = ?1 AND ?2 IS NULL");
    const BY_FOREIGN: &str =
        select!("foreign_id AS f JOIN message USING (n) WHERE f.source = ?1 AND f.id = ?2");
    let (sql, first, second): (_, Value, _) = match key {
        Key::Destination(number) => {
            (BY_DESTINATION, i64::try_from(number.number()).unwrap_or(i64::MAX).into(), None)
        }
        Key::Reference(text) => (BY_REFERENCE, text.clone().into(), None),
        Key::Foreign { source, id } => (BY_FOREIGN, source.clone().into(), Some(id.as_str())),
    };
    // One bound, because SQLite takes only the first for where to begin in the index. Behind a
    // bound of time alone nothing has this time and an id above the greatest.
    let (place, before) = (page.after, page.before.map(Timestamp::micros));
    let (at, id) = match place.map(|place| (place.accepted_at.micros(), *place.id.as_bytes())) {
        Some((at, id)) if before.is_none_or(|before| at < before) => (at, id),
        _ => (before.unwrap_or(i64::MAX), [u8::MAX; 16]),
    };
    let mut select = db.prepare_cached(sql)?;
    let rows = select
        .query_map(params![first, second, at, id.as_slice(), page.count + 1], |row| {
            Ok((row::message_id(row, RECORD_COLUMNS)?, row::record(row)?))
        })?;
    let mut messages = Vec::new();
    for row in rows {
        if let (id, Some(record)) = row? {
            messages.push(Message { id, record });
        }
    }
    let wanted = usize::try_from(page.count).unwrap_or(usize::MAX);
    let more = messages.len() > wanted;
    messages.truncate(wanted);
    Ok(Listing { messages, more })
}
