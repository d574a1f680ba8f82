//! Tombstones: erased messages and entries are remembered for as long as a late retry could bring them back.
//! A tombstone is a hash under a key of the file, so that only a holder of both can tell whose data was
//! erased.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, params};
use sha2::Sha256;

use crate::message::Timestamp;

/// Keys of the tombstones' hashes, 32 bytes each. New hashes are made under the first key. The others belong
/// to databases whose tombstones a restore carried over.
#[derive(Clone)]
pub(crate) struct HashKey(Arc<[[u8; 32]]>);

impl HashKey {
    /// Hashes of an id, under each key.
    pub(crate) fn hashes(&self, name: &[u8; 16]) -> impl Iterator<Item = [u8; 16]> {
        self.0.iter().map(|key| hash(key, name))
    }

    /// These keys, followed by those of `other` that are not among them.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let more = other.0.iter().filter(|key| !self.0.contains(key));
        Self(self.0.iter().chain(more).copied().collect())
    }

    /// Keys as stored in the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }
}

fn hash(key: &[u8; 32], name: &[u8; 16]) -> [u8; 16] {
    let mut half = [0; 16];
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(name);
        for (to, from) in half.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }
    half
}

impl FromSql for HashKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_blob()?.as_chunks() {
            (keys @ [_, ..], []) => Ok(Self(keys.into())),
            (_, rest) => {
                Err(FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: rest.len() })
            }
        }
    }
}

/// Whether a message or a quarantined entry with this id was erased and could still arrive late. The daily
/// purge decides that, not the current clock, which may be wrong.
pub(crate) fn is_erased(db: &Connection, key: &HashKey, name: &[u8; 16]) -> rusqlite::Result<bool> {
    let mut select = db.prepare_cached("SELECT 1 FROM erased WHERE hash = ?")?;
    for hash in key.hashes(name) {
        if select.exists([hash])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Leaves a tombstone for this id that lasts at least until `until`.
pub(crate) fn add_tombstone(
    db: &Connection,
    key: &HashKey,
    name: &[u8; 16],
    until: Timestamp,
) -> rusqlite::Result<()> {
    const INSERT_TOMBSTONE: &str = "INSERT INTO erased (hash, until) VALUES (?, ?) \
         ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until)";
    db.prepare_cached(INSERT_TOMBSTONE)?.execute(params![key.hashes(name).next(), until]).map(drop)
}

/// Whether any tombstone exists.
pub(crate) fn any_exist(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM erased LIMIT 1")?.exists([])
}

/// Deletes tombstones that ended before this time. Returns their number.
pub(crate) fn delete_expired(db: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let forgotten = db.execute("DELETE FROM erased WHERE until < ?", [now])?;
    Ok(u64::try_from(forgotten).unwrap_or(0))
}

/// Clock for tombstones: their cut-off, set by the last daily purge, if it is ahead of `now`; otherwise
/// `now`.
pub(crate) fn clock(db: &Connection, now: Timestamp) -> rusqlite::Result<Timestamp> {
    let cutoff: Option<Timestamp> =
        db.prepare_cached("SELECT erased_cutoff FROM progress")?.query_row([], |row| row.get(0))?;
    Ok(cutoff.map_or(now, |cutoff| cutoff.max(now)))
}
