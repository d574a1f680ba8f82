//! What the writer knows of the tables without asking them again.

use rusqlite::Connection;

use super::erased::{self, HashKey};

/// Asked once at the start, and kept up with what is committed.
#[derive(Clone, Copy)]
pub(super) struct Ledger {
    /// How many rows the quarantine has.
    pub(super) quarantined: u64,
    /// How many rows the quarantine may have.
    pub(super) quarantine_max: u64,
    /// The greatest n that a message ever had.
    pub(super) last_n: i64,
    /// Whether anything is erased that could come late.
    pub(super) any_erased: bool,
    /// The key of the hashes of what is erased.
    pub(super) hash_key: HashKey,
}

impl Ledger {
    /// Asks the tables.
    pub(super) fn read(db: &Connection, quarantine_max: u64) -> rusqlite::Result<Self> {
        let quarantined: i64 =
            db.query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))?;
        let (hash_key, removed): (_, i64) =
            db.query_row("SELECT hash_key, last_n FROM removal", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let greatest: Option<i64> =
            db.query_row("SELECT max(n) FROM message", [], |row| row.get(0))?;
        Ok(Self {
            quarantined: u64::try_from(quarantined).unwrap_or(0),
            quarantine_max,
            last_n: removed.max(greatest.unwrap_or(0)),
            any_erased: erased::is_anything(db)?,
            hash_key,
        })
    }
}
