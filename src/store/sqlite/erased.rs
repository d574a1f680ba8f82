//! What was erased is remembered for as long as a late retry could bring it back: by hashes under a key
//! of the file, so that nobody who does not have both can tell of whom something was erased.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, params};
use sha2::Sha256;

use crate::message::Timestamp;

/// The keys of the hashes of what was erased, 32 bytes each. New hashes are made under the first one. The
/// others are those of databases whose tombstones a restore carried over.
#[derive(Clone)]
pub(super) struct HashKey(Arc<[[u8; 32]]>);

impl HashKey {
    /// The hashes of a name, under each key.
    pub(super) fn hashes(&self, name: &[u8; 16]) -> impl Iterator<Item = [u8; 16]> {
        self.0.iter().map(|key| hash(key, name))
    }

    /// These keys, and those of the other that are not among them.
    pub(super) fn and(&self, other: &Self) -> Self {
        let more = other.0.iter().filter(|key| !self.0.contains(key));
        Self(self.0.iter().chain(more).copied().collect())
    }

    /// As it is stored.
    pub(super) fn bytes(&self) -> Vec<u8> {
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

/// Whether a message or a quarantined entry of this name was erased, and could still come late. The daily
/// purge decides that, not the clock of this moment, which may be wrong.
pub(super) fn is_erased(db: &Connection, key: &HashKey, name: &[u8; 16]) -> rusqlite::Result<bool> {
    let mut select = db.prepare_cached("SELECT 1 FROM erased WHERE hash = ?")?;
    for hash in key.hashes(name) {
        if select.exists([hash])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Remembers that what has this name was erased.
pub(super) fn remember(
    db: &Connection,
    key: &HashKey,
    name: &[u8; 16],
    until: Timestamp,
) -> rusqlite::Result<()> {
    const REMEMBER: &str = "INSERT INTO erased (hash, until) VALUES (?, ?) \
         ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until)";
    db.prepare_cached(REMEMBER)?.execute(params![key.hashes(name).next(), until]).map(drop)
}

/// Whether anything was erased that could still come late.
pub(super) fn is_anything(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM erased LIMIT 1")?.exists([])
}

/// Forgets what cannot come late any more; says how much that was.
pub(super) fn forget(db: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let forgotten = db.execute("DELETE FROM erased WHERE until < ?", [now])?;
    Ok(u64::try_from(forgotten).unwrap_or(0))
}
