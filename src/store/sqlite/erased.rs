//! What was erased is remembered for as long as a late retry could bring it back: by hashes under a key
//! of the file, so that nobody who does not have both can tell of whom something was erased.

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Connection, params};
use sha2::Sha256;

use crate::message::Timestamp;

/// The key of the hashes of what was erased.
#[derive(Clone, Copy)]
pub(super) struct HashKey([u8; 32]);

impl HashKey {
    fn hash(&self, name: &[u8; 16]) -> [u8; 16] {
        let mut half = [0; 16];
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(name);
            for (to, from) in half.iter_mut().zip(mac.finalize().into_bytes()) {
                *to = from;
            }
        }
        half
    }
}

impl FromSql for HashKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self)
    }
}

/// Whether a message or a quarantined entry of this name was erased, and could still come late. The daily
/// purge decides that, not the clock of this moment, which may be wrong.
pub(super) fn is_erased(db: &Connection, key: &HashKey, name: &[u8; 16]) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM erased WHERE hash = ?")?.exists([key.hash(name)])
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
    db.prepare_cached(REMEMBER)?.execute(params![key.hash(name), until]).map(drop)
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
