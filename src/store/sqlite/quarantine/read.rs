//! Queries of the quarantine, including entries of an earlier version. They run on a read thread.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::message::Timestamp;
use crate::payload::RawPayload;
use crate::store::sqlite::rows::column::Bytes16;
use crate::store::{QuarantineId, Quarantined};

/// Columns of a quarantined entry, in the order that [`quarantined`] reads; `$bytes` is the body.
macro_rules! columns {
    ($bytes:literal, $covered:literal) => {
        concat!(
            "SELECT q, id, e.source, entry, method, query, content_type, ",
            $bytes,
            ", reason, received_at, times, ",
            $covered
        )
    };
}

/// Selects of entries without their bodies: of this version and of an earlier one.
const SELECT_WITHOUT_BODIES: [&str; 2] = [
    concat!(
        columns!("x''", "url_covered"),
        " FROM quarantine AS e JOIN raw_payload ON p = payload WHERE q > ? ORDER BY q LIMIT ?"
    ),
    concat!(columns!("x''", "NULL"), " FROM quarantine_6 AS e WHERE q > ? ORDER BY q LIMIT ?"),
];
/// Selects of entries with their bodies: of this version and of an earlier one.
pub(crate) const SELECT_WITH_BODIES: [&str; 2] = [
    concat!(
        columns!("bytes", "url_covered"),
        " FROM quarantine AS e JOIN raw_payload ON p = payload WHERE q > ? ORDER BY q LIMIT ?"
    ),
    concat!(columns!("body", "NULL"), " FROM quarantine_6 AS e WHERE q > ? ORDER BY q LIMIT ?"),
];
/// Selects of one entry: of this version and of an earlier one.
pub(crate) const SELECT_ONE: [&str; 2] = [
    concat!(
        columns!("bytes", "url_covered"),
        " FROM quarantine AS e JOIN raw_payload ON p = payload WHERE id = ?"
    ),
    concat!(columns!("body", "NULL"), " FROM quarantine_6 AS e WHERE id = ?"),
];
/// Selects of first arrivals: of this version and of an earlier one.
const SELECT_ARRIVALS: [&str; 2] = [
    "SELECT q, id, received_at FROM quarantine WHERE q > ? ORDER BY q LIMIT ?",
    "SELECT q, id, received_at FROM quarantine_6 WHERE q > ? ORDER BY q LIMIT ?",
];

/// Select of the whole quarantine, in the order of the entries' ids.
pub(crate) const SELECT_ALL: &str = "SELECT id, e.source, entry, method, query, content_type, \
     reason, received_at, times, url_covered, bytes \
     FROM quarantine AS e JOIN raw_payload ON p = payload \
     UNION ALL SELECT id, source, entry, method, query, content_type, reason, received_at, times, \
     NULL, body FROM quarantine_6 ORDER BY id";

/// Entries after this place, with empty bodies.
pub(crate) fn list(db: &Connection, after: i64, count: u32) -> rusqlite::Result<Vec<Quarantined>> {
    in_order(db, SELECT_WITHOUT_BODIES, after, count, quarantined, |entry| entry.place)
}

/// Entries after this place, with their bodies.
pub(crate) fn entries(
    db: &Connection,
    after: i64,
    count: u32,
) -> rusqlite::Result<Vec<Quarantined>> {
    in_order(db, SELECT_WITH_BODIES, after, count, quarantined, |entry| entry.place)
}

/// First arrival of an entry.
pub(crate) struct FirstArrival {
    pub(crate) place: i64,
    pub(crate) id: QuarantineId,
    pub(crate) received_at: Timestamp,
}

/// First arrivals of the entries after this place.
pub(crate) fn arrivals(
    db: &Connection,
    after: i64,
    count: u32,
) -> rusqlite::Result<Vec<FirstArrival>> {
    let arrived = |row: &Row<'_>| {
        let Bytes16(id) = row.get(1)?;
        let id = QuarantineId::from_bytes(id);
        Ok(FirstArrival { place: row.get(0)?, id, received_at: row.get(2)? })
    };
    in_order(db, SELECT_ARRIVALS, after, count, arrived, |arrival| arrival.place)
}

/// One entry, with its body.
pub(crate) fn one(db: &Connection, id: QuarantineId) -> rusqlite::Result<Option<Quarantined>> {
    let snapshot = db.unchecked_transaction()?;
    for select in SELECT_ONE {
        let found = snapshot.prepare_cached(select)?.query_row([id.as_bytes()], quarantined);
        if let Some(found) = found.optional()? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The next rows after a place, of both tables together, in the order of their places.
fn in_order<T>(
    db: &Connection,
    selects: [&str; 2],
    after: i64,
    count: u32,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    place: impl Fn(&T) -> i64,
) -> rusqlite::Result<Vec<T>> {
    let snapshot = db.unchecked_transaction()?;
    let mut found = Vec::new();
    for select in selects {
        let mut select = snapshot.prepare_cached(select)?;
        for row in select.query_map(params![after, count], &read)? {
            found.push(row?);
        }
    }
    found.sort_by_key(place);
    found.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(found)
}

/// Reads an entry from the columns of [`columns!`].
pub(crate) fn quarantined(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let Bytes16(id) = row.get(1)?;
    Ok(Quarantined {
        place: row.get(0)?,
        id: QuarantineId::from_bytes(id),
        source: row.get(2)?,
        entry: row.get(3)?,
        content: RawPayload {
            method: row.get(4)?,
            query: row.get(5)?,
            content_type: row.get(6)?,
            body: row.get(7)?,
        },
        reason: row.get(8)?,
        received_at: row.get(9)?,
        times: row.get(10)?,
        url_covered: row.get(11)?,
    })
}
