//! One entry of the index, and how a run stores it.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params};

/// Number of the base among the runs.
pub(crate) const BASE: i64 = 0;

/// Kind of entries by id.
pub(crate) const ID: i64 = 0;
/// Kind of entries by destination.
pub(crate) const DESTINATION: i64 = 1;
/// Kind of entries by reference key.
const REFERENCE: i64 = 2;

/// Key under which the index lists a message. Keys are ordered as SQLite orders them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Id([u8; 16]),
    Destination(i64),
    Reference(Box<str>),
}

impl Key {
    /// Kind of the key, as the table numbers it.
    fn kind(&self) -> i64 {
        match self {
            Self::Id(_) => ID,
            Self::Destination(_) => DESTINATION,
            Self::Reference(_) => REFERENCE,
        }
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Id(id) => ToSqlOutput::Borrowed(ValueRef::Blob(id)),
            Self::Destination(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Reference(key) => ToSqlOutput::Borrowed(ValueRef::Text(key.as_bytes())),
        })
    }
}

/// Entry of the index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// Place of the message in lists; 0 under its id.
    pub(crate) list_order: i64,
    /// Number of the message's row.
    pub(crate) n: i64,
}

impl Entry {
    /// Reads the first entries of a run in their order, at most `most`.
    pub(crate) fn first_of_run(
        db: &Connection,
        run: i64,
        most: usize,
    ) -> rusqlite::Result<Vec<Self>> {
        const READ: &str = "SELECT kind, key, list_order, n FROM message_index WHERE run = ? \
             ORDER BY kind, key, list_order, n LIMIT ?";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        db.prepare_cached(READ)?.query_map(params![run, most], Self::read)?.collect()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let key = match row.get(0)? {
            ID => Key::Id(row.get(1)?),
            DESTINATION => Key::Destination(row.get(1)?),
            REFERENCE => Key::Reference(row.get(1)?),
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
        };
        Ok(Self { key, list_order: row.get(2)?, n: row.get(3)? })
    }

    /// Adds the entry to a run.
    pub(crate) fn insert(&self, db: &Connection, run: i64) -> rusqlite::Result<()> {
        const INSERT: &str = "INSERT OR IGNORE INTO message_index (run, kind, key, list_order, n) \
             VALUES (?, ?, ?, ?, ?)";
        self.execute(db, INSERT, run)
    }

    /// Deletes the entries of a run up to this one.
    pub(crate) fn delete_up_to(&self, db: &Connection, run: i64) -> rusqlite::Result<()> {
        const DELETE: &str = "DELETE FROM message_index \
             WHERE run = ? AND (kind, key, list_order, n) <= (?, ?, ?, ?)";
        self.execute(db, DELETE, run)
    }

    fn execute(&self, db: &Connection, sql: &str, run: i64) -> rusqlite::Result<()> {
        let Self { key, list_order, n } = self;
        db.prepare_cached(sql)?.execute(params![run, key.kind(), key, list_order, n]).map(drop)
    }
}
