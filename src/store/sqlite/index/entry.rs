//! One entry of the index, and how it is stored.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params};
use sha2::{Digest, Sha256};

use crate::message::{Destination, MessageId};

/// Number of the base among the runs.
pub(crate) const BASE: i64 = 0;

/// Key under which the index lists a message. Keys are ordered as SQLite orders them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexKey {
    Id([u8; 16]),
    Destination(i64),
    Reference(Box<str>),
}

/// Kinds of keys, as the schema numbers them.
const ID: i64 = 0;
const DESTINATION: i64 = 1;
const REFERENCE: i64 = 2;

impl IndexKey {
    /// Kind of the key, as the schema numbers it.
    pub(crate) fn kind(&self) -> i64 {
        match self {
            Self::Id(_) => ID,
            Self::Destination(_) => DESTINATION,
            Self::Reference(_) => REFERENCE,
        }
    }

    /// Hash of the key for the filters. It is keyed with a secret of the file, so that a sender cannot choose keys
    /// that pass all filters.
    pub(crate) fn hash(&self, secret: &[u8; 32]) -> u64 {
        let mut hash = Sha256::new_with_prefix(secret);
        hash.update(self.kind().to_be_bytes());
        match self {
            Self::Id(id) => hash.update(id),
            Self::Destination(number) => hash.update(number.to_be_bytes()),
            Self::Reference(key) => hash.update(key.as_bytes()),
        }
        hash.finalize().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl From<MessageId> for IndexKey {
    fn from(id: MessageId) -> Self {
        Self::Id(*id.as_bytes())
    }
}

impl From<Destination> for IndexKey {
    fn from(destination: Destination) -> Self {
        Self::Destination(i64::try_from(destination.number()).unwrap_or(i64::MAX))
    }
}

impl ToSql for IndexKey {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Id(id) => ToSqlOutput::Borrowed(ValueRef::Blob(id)),
            Self::Destination(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Reference(key) => ToSqlOutput::Borrowed(ValueRef::Text(key.as_bytes())),
        })
    }
}

/// Entry of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexEntry {
    pub(crate) key: IndexKey,
    /// Place of the message in lists; 0 under its id.
    pub(crate) list_order: i64,
    /// The message's row.
    pub(crate) n: i64,
}

impl IndexEntry {
    /// Reads an entry from the columns `kind`, `key`, `list_order`, `n`, which come first.
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let key = match row.get(0)? {
            ID => IndexKey::Id(row.get(1)?),
            DESTINATION => IndexKey::Destination(row.get(1)?),
            REFERENCE => IndexKey::Reference(row.get(1)?),
            other => return Err(rusqlite::Error::IntegralValueOutOfRange(0, other)),
        };
        Ok(Self { key, list_order: row.get(2)?, n: row.get(3)? })
    }

    /// Adds entries to a run. One that the run has already stays as it is.
    pub(crate) fn insert_all<'a>(
        db: &Connection,
        run: i64,
        entries: impl Iterator<Item = &'a Self>,
    ) -> rusqlite::Result<()> {
        const INSERT: &str = "INSERT OR IGNORE INTO message_index (run, kind, key, list_order, n) \
             VALUES (?, ?, ?, ?, ?)";
        let mut insert = db.prepare_cached(INSERT)?;
        for Self { key, list_order, n } in entries {
            insert.execute(params![run, key.kind(), key, list_order, n])?;
        }
        Ok(())
    }

    /// Deletes the entry from a run, if the run has it.
    pub(crate) fn delete(&self, db: &Connection, run: i64) -> rusqlite::Result<()> {
        const DELETE: &str = "DELETE FROM message_index \
             WHERE run = ? AND kind = ? AND key = ? AND list_order = ? AND n = ?";
        self.execute(db, DELETE, run)
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
