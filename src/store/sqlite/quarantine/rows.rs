//! Rows of the quarantine: inserted, counted, moved from the table of an earlier version, and removed.

use rusqlite::{Connection, OptionalExtension, params};

use super::read::{SELECT_ONE, quarantined};
use super::usage::Usage;
use crate::message::Timestamp;
use crate::payload::RawPayload;
use crate::store::sqlite::rows::column::unsigned;
use crate::store::{PayloadHash, QuarantineId, Quarantined};

/// Size charged for an entry besides its reason and raw payload, in bytes: its row and its places in two
/// indexes.
const ENTRY_BYTES: u64 = 256;
/// Entry to be quarantined.
pub(crate) struct NewEntry<'a> {
    pub(crate) source: &'a str,
    pub(crate) content: &'a RawPayload,
    pub(crate) hash: &'a PayloadHash,
    pub(crate) entry: u32,
    pub(crate) url_covered: Option<bool>,
    pub(crate) reason: &'a str,
    pub(crate) received_at: Timestamp,
}

/// Counts a repeat of an entry. Returns whether the entry is in quarantine. A repeat whose verification
/// covered the URL also vouches for the URL of the first.
pub(crate) fn count_repeat(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
    url_covered: bool,
) -> rusqlite::Result<bool> {
    const COUNT_REPEAT: &str = "UPDATE quarantine SET times = times + 1, \
         url_covered = iif(?2, 1, url_covered) WHERE id = ?1";
    let mut count = db.prepare_cached(COUNT_REPEAT)?;
    let counted = count.execute(params![id.as_bytes(), url_covered])? > 0;
    Ok(counted
        || (move_one(db, usage, id)? && count.execute(params![id.as_bytes(), url_covered])? > 0))
}

/// Quarantines an entry that is not there yet. Returns whether there was room.
pub(crate) fn insert(
    db: &Connection,
    usage: &mut Usage,
    new: &NewEntry<'_>,
) -> rusqlite::Result<bool> {
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

/// Removes an entry, and its raw payload if no other entry needs it. Returns whether the entry existed.
pub(crate) fn remove(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
) -> rusqlite::Result<bool> {
    const DELETE_ENTRY: &str = "DELETE FROM quarantine WHERE id = ? \
         RETURNING source, payload, octet_length(reason)";
    const DELETE_PAYLOAD: &str = "DELETE FROM raw_payload \
         WHERE p = ?1 AND NOT EXISTS (SELECT 1 FROM quarantine WHERE payload = ?1) \
         RETURNING octet_length(method) + octet_length(query) \
         + coalesce(octet_length(content_type), 0) + length(bytes)";
    const DELETE_UNMOVED: &str = "DELETE FROM quarantine_6 WHERE id = ?";
    let removed = db
        .prepare_cached(DELETE_ENTRY)?
        .query_row([id.as_bytes()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, unsigned(row, 2)?))
        })
        .optional()?;
    let Some((source, payload, reason)) = removed else {
        let removed =
            usage.has_unmoved() && db.prepare_cached(DELETE_UNMOVED)?.execute([id.as_bytes()])? > 0;
        if removed {
            usage.count_moved();
        }
        return Ok(removed);
    };
    let freed = db.prepare_cached(DELETE_PAYLOAD)?.query_row([payload], |row| unsigned(row, 0));
    let freed = freed.optional()?.unwrap_or(0);
    usage.subtract(db, &source, ENTRY_BYTES + reason + freed)?;
    Ok(true)
}

pub(crate) fn entry_bytes(reason: &str) -> u64 {
    ENTRY_BYTES + length(reason.as_bytes())
}

pub(crate) fn content_bytes(content: &RawPayload) -> u64 {
    let RawPayload { method, query, content_type, body } = content;
    let texts = [method.as_str(), query, content_type.as_deref().unwrap_or_default()];
    texts.map(str::as_bytes).into_iter().chain([body.as_slice()]).map(length).sum()
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Row of a raw payload, if it is stored.
pub(crate) fn payload(db: &Connection, hash: &PayloadHash) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT p FROM raw_payload WHERE hash = ?")?
        .query_row([hash.payload()], |row| row.get(0))
        .optional()
}

/// Stores a raw payload. Returns its row.
pub(crate) fn add_payload(
    db: &Connection,
    hash: &PayloadHash,
    content: &RawPayload,
) -> rusqlite::Result<i64> {
    const INSERT: &str = "INSERT INTO raw_payload (hash, method, query, content_type, bytes) \
         VALUES (?, ?, ?, ?, ?)";
    let RawPayload { method, query, content_type, body } = content;
    db.prepare_cached(INSERT)?.insert(params![hash.payload(), method, query, content_type, body])
}

pub(crate) fn add_entry(
    db: &Connection,
    new: &NewEntry<'_>,
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

/// Moves the entry with this id if an earlier version wrote it and it was not moved yet. Returns whether it
/// was moved.
pub(crate) fn move_one(
    db: &Connection,
    usage: &mut Usage,
    id: QuarantineId,
) -> rusqlite::Result<bool> {
    if !usage.has_unmoved() {
        return Ok(false);
    }
    let [_moved, unmoved] = SELECT_ONE;
    let found = db.prepare_cached(unmoved)?.query_row([id.as_bytes()], quarantined).optional()?;
    found.map(|entry| move_entry(db, usage, &entry)).transpose().map(|moved| moved.is_some())
}

/// Moves an entry with its id, place and count. Returns the length of its raw payload in bytes.
pub(crate) fn move_entry(
    db: &Connection,
    usage: &mut Usage,
    entry: &Quarantined,
) -> rusqlite::Result<u64> {
    let Quarantined { place, source, content, reason, received_at, times, .. } = entry;
    let hash = PayloadHash::of(source, content);
    let new = NewEntry {
        source,
        content,
        hash: &hash,
        entry: entry.entry,
        url_covered: None,
        reason,
        received_at: *received_at,
    };
    let read = content_bytes(content);
    let (payload, added) = match payload(db, &hash)? {
        Some(payload) => (payload, 0),
        None => (add_payload(db, &hash, content)?, read),
    };
    add_entry(db, &new, payload, Some(*place), *times)?;
    db.prepare_cached("DELETE FROM quarantine_6 WHERE q = ?")?.execute([place])?;
    usage.count_moved();
    usage.add(db, source, entry_bytes(reason) + added)?;
    Ok(read)
}
