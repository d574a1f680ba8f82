//! The quarantine: entries that could not be interpreted, and the raw payloads that they came in.
//!
//! A raw payload is stored once, however many of its entries are in quarantine, and deleted with the last of
//! them. What each source has is counted in `quarantine_usage`, in the same transaction, so that no start has
//! to look at every row.
//!
//! A file that version 6 or earlier wrote has its entries in `quarantine_6`, bodies included. After the start
//! the writer moves them in small transactions. Whoever reads looks into both tables in one transaction;
//! whoever changes an entry looks into the new one first. The bytes of entries that have not been moved yet
//! are not counted.

mod moving;
mod reading;
mod usage;

use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) use self::moving::move_all;
use self::moving::move_one;
pub(super) use self::reading::{EVERYTHING, arrivals, entries, list, one};
pub(super) use self::usage::Usage;
use crate::content::Content;
use crate::message::Timestamp;
use crate::store::{PayloadHash, QuarantineId};

/// How many bytes an entry counts for, besides its reason and raw payload: its row and its place in two
/// indexes.
const ENTRY_BYTES: u64 = 256;
/// An entry that goes to quarantine.
pub(super) struct New<'a> {
    pub(super) source: &'a str,
    pub(super) content: &'a Content,
    pub(super) hash: &'a PayloadHash,
    pub(super) entry: u32,
    pub(super) url_covered: Option<bool>,
    pub(super) reason: &'a str,
    pub(super) received_at: Timestamp,
}

/// Counts an entry that came again; says whether it is in quarantine. A repeat whose verification covered
/// the URL vouches for the URL of the first.
pub(super) fn count_again(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
    url_covered: bool,
) -> rusqlite::Result<bool> {
    const AGAIN: &str = "UPDATE quarantine SET times = times + 1, \
         url_covered = iif(?2, 1, url_covered) WHERE id = ?1";
    let mut again = db.prepare_cached(AGAIN)?;
    let counted = again.execute(params![id.as_bytes(), url_covered])? > 0;
    Ok(counted
        || (move_one(db, usage, id)? && again.execute(params![id.as_bytes(), url_covered])? > 0))
}

/// Puts an entry into quarantine that is not there; says whether there was room.
pub(super) fn insert(db: &Connection, usage: &mut Usage, new: &New<'_>) -> rusqlite::Result<bool> {
    let payload = payload(db, new.hash)?;
    let bytes = entry_bytes(new.reason) + payload.map_or_else(|| content_bytes(new.content), |_| 0);
    if !usage.has_room(new.source, bytes) {
        return Ok(false);
    }
    let payload = payload.map_or_else(|| add_payload(db, new.hash, new.content), Ok)?;
    let place = None;
    add_entry(db, new, payload, place, 1)?;
    usage.add(db, new.source, bytes)?;
    Ok(true)
}

/// Removes an entry, and its raw payload if no other entry needs it; says whether it was there.
pub(super) fn remove(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
) -> rusqlite::Result<bool> {
    const ENTRY: &str = "DELETE FROM quarantine WHERE id = ? \
         RETURNING source, payload, octet_length(reason)";
    const PAYLOAD: &str = "DELETE FROM raw_payload \
         WHERE p = ?1 AND NOT EXISTS (SELECT 1 FROM quarantine WHERE payload = ?1) \
         RETURNING octet_length(method) + octet_length(query) \
         + coalesce(octet_length(content_type), 0) + length(bytes)";
    const UNMOVED: &str = "DELETE FROM quarantine_6 WHERE id = ?";
    let removed = db
        .prepare_cached(ENTRY)?
        .query_row([id.as_bytes()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, unsigned(row, 2)?))
        })
        .optional()?;
    let Some((source, payload, reason)) = removed else {
        let removed =
            usage.is_to_be_moved() && db.prepare_cached(UNMOVED)?.execute([id.as_bytes()])? > 0;
        if removed {
            usage.is_moved();
        }
        return Ok(removed);
    };
    let freed = db.prepare_cached(PAYLOAD)?.query_row([payload], |row| unsigned(row, 0));
    let freed = freed.optional()?.unwrap_or(0);
    usage.subtract(db, &source, ENTRY_BYTES + reason + freed)?;
    Ok(true)
}

fn entry_bytes(reason: &str) -> u64 {
    ENTRY_BYTES + length(reason.as_bytes())
}

fn content_bytes(content: &Content) -> u64 {
    let Content { method, query, content_type, body } = content;
    let texts = [method.as_str(), query, content_type.as_deref().unwrap_or_default()];
    texts.map(str::as_bytes).into_iter().chain([body.as_slice()]).map(length).sum()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The row of a raw payload, if it is stored.
fn payload(db: &Connection, hash: &PayloadHash) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT p FROM raw_payload WHERE hash = ?")?
        .query_row([hash.payload()], |row| row.get(0))
        .optional()
}

/// Stores a raw payload; says in which row.
fn add_payload(db: &Connection, hash: &PayloadHash, content: &Content) -> rusqlite::Result<i64> {
    const INSERT: &str = "INSERT INTO raw_payload (hash, method, query, content_type, bytes) \
         VALUES (?, ?, ?, ?, ?)";
    let Content { method, query, content_type, body } = content;
    db.prepare_cached(INSERT)?.insert(params![hash.payload(), method, query, content_type, body])
}

fn add_entry(
    db: &Connection,
    new: &New<'_>,
    payload: i64,
    place: Option<i64>,
    times: u32,
) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO quarantine (q, id, source, entry, payload, url_covered, \
         reason, received_at, times) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(INSERT)?
        .execute(params![
            place,
            new.hash.entry(new.entry).as_bytes(),
            new.source,
            new.entry,
            payload,
            new.url_covered,
            new.reason,
            new.received_at,
            times,
        ])
        .map(drop)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_below| rusqlite::Error::IntegralValueOutOfRange(column, number))
}
