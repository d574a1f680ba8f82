//! What the writer knows of the tables without asking them again.

use rusqlite::Connection;

use super::removal::{self, HashKey};

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
        let (hash_key, last_n, any_erased) = removal::remembered(db)?;
        let quarantined = u64::try_from(quarantined).unwrap_or(0);
        Ok(Self { quarantined, quarantine_max, last_n, any_erased, hash_key })
    }
}
