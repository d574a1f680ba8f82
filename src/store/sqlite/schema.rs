//! The file: made, recognised, and opened with the settings that durability needs.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::lock::beside;
use super::restore::UNKNOWN_LINEAGES;
use super::{OpenError, copy};

/// Says that a file is ours (`SMir` in ASCII).
const APPLICATION_ID: i64 = 0x534d_6972;
/// Says that a file is a backup of one of ours (`SMbk`). Like the other it is in the file's header, so a start
/// knows a backup before SQLite plays the WAL of another file into it.
const BACKUP_ID: i64 = 0x534d_626b;
/// The version of `schema.sql`.
pub const VERSION: i64 = 7;
/// What each earlier version lacks, beginning with version 1. Together with the tables that version
/// had, it makes those of `schema.sql`.
const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/1-to-2.sql"),
    include_str!("migrations/2-to-3.sql"),
    include_str!("migrations/3-to-4.sql"),
    include_str!("migrations/4-to-5.sql"),
    include_str!("migrations/5-to-6.sql"),
    include_str!("migrations/6-to-7.sql"),
];
/// From this version on a migration takes a time that depends on the number of messages alone, about two
/// seconds for a million, not on the length of the file.
const QUICKLY_MIGRATED: i64 = 6;
/// The longest file of such a version of which a copy is kept: 256 MiB. A longer one would make the start
/// wait, and need as much space again.
const LARGEST_COPY: u64 = 256 << 20;
/// How long to wait for a lock that another process holds; less than a commit may take.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const SCHEMA: &str = include_str!("../../../schema.sql");

/// Whether this is the application id of a file that is ours.
pub fn is_application_id(id: i64) -> bool {
    [APPLICATION_ID, BACKUP_ID].contains(&id)
}

/// Opens the writing connection of a file that is there, ours or empty. Writes nothing to it.
pub(super) fn connect(path: &Path) -> Result<(Connection, Found), OpenError> {
    let (db, found) = look(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    if db.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    Ok((db, found))
}

/// Opens a file and recognises it; refuses one of another program or of a later version.
pub(super) fn look(path: &Path, how: OpenFlags) -> Result<(Connection, Found), OpenError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::damaged(path, source.to_string()),
        _ => OpenError::Database { path: path.to_owned(), source },
    };
    let flags = how | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Closing it again must not write what a crash left in the WAL of a file that is not ours.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    match recognise(&db).map_err(failed)? {
        Found::Ours { version } if version > VERSION => {
            Err(OpenError::Version { path: path.to_owned(), found: version, ours: VERSION })
        }
        Found::Foreign => Err(OpenError::Foreign { path: path.to_owned() }),
        found @ (Found::Nothing | Found::Ours { .. }) => Ok((db, found)),
    }
}

/// Makes the tables if there are none, and brings those of earlier versions up to date, in one
/// transaction. A copy of the file as it was is kept beside it, unless that would make the start wait: a
/// file of version 6 is migrated in the same time whatever its size.
pub(super) fn bring_up_to_date(
    db: &mut Connection,
    path: &Path,
    found: Found,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let from = match found {
        Found::Nothing => return make(db).map_err(failed),
        Found::Ours { version: VERSION } => return Ok(()),
        Found::Ours { version } => version,
        Found::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
    };
    if from >= QUICKLY_MIGRATED && copy::length(path) > LARGEST_COPY {
        let kept = format!("none: the file has more than {LARGEST_COPY} bytes");
        tracing::info!(from, to = VERSION, kept, "migrating the database");
        return migrate(db, from).map_err(failed);
    }
    let kept = beside(path, &format!("version-{from}"));
    copy::durably(db, path, &kept)?;
    tracing::info!(from, to = VERSION, kept = %kept.display(), "migrating the database");
    migrate(db, from).map_err(failed)
}

pub(super) fn migrate(db: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (version, step) in (1..).zip(MIGRATIONS) {
        if version >= from {
            transaction.execute_batch(step)?;
        }
    }
    write_version(&transaction)?;
    transaction.commit()
}

/// The lineage of the file.
pub(super) fn lineage(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("SELECT lineage FROM progress", [], |row| row.get(0))
}

/// Makes the file one that is served, of this lineage.
pub(super) fn begin_lineage(db: &Connection, lineage: u32) -> rusqlite::Result<()> {
    db.execute("UPDATE progress SET lineage = ?", [lineage])?;
    db.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Makes a file that is served a backup.
pub(super) fn mark_backup(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "application_id", BACKUP_ID)
}

/// Whether the first bytes of a file say that it is a backup.
pub(super) fn is_backup(header: &[u8]) -> bool {
    let id = header.get(68..).and_then(|rest| rest.first_chunk());
    id.is_some_and(|id| i64::from(u32::from_be_bytes(*id)) == BACKUP_ID)
}

/// Makes a backup that was put in the place of the database the database.
pub(super) fn adopt(db: &Connection) -> rusqlite::Result<()> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != BACKUP_ID {
        return Ok(());
    }
    tracing::warn!(
        "the database is a backup: what was erased since it was taken is in it again; erase it again, or \
         use `statusmirror restore`, which carries erasures over"
    );
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let lineage = lineage(&transaction)?;
    begin_lineage(&transaction, lineage + UNKNOWN_LINEAGES)?;
    transaction.commit()
}

/// Opens a second connection, for checkpoints.
pub(super) fn open_again(path: &Path) -> Result<Connection, OpenError> {
    let db = Connection::open(path)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    set_up(&db, path)?;
    Ok(db)
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// An empty one.
    Nothing,
    /// One of this program.
    Ours {
        /// The version of its schema.
        version: i64,
    },
    /// One of another program.
    Foreign,
}

pub(super) fn recognise(db: &Connection) -> rusqlite::Result<Found> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, version, tables) {
        (APPLICATION_ID | BACKUP_ID, version, _) => Found::Ours { version },
        (0, 0, 0) => Found::Nothing,
        _ => Found::Foreign,
    })
}

fn make(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    write_version(&transaction)?;
    transaction.commit()
}

/// Writes the version, which is there already in all files but new ones. It takes a page.
pub(super) fn write_version(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "user_version", VERSION)
}

/// Sets what durability and safety need, and reads back what would go unnoticed if it did not hold.
pub(super) fn set_up(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;",
    )
    .map_err(failed)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(failed)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(64);
    let mode: String =
        db.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    let synchronous: i64 =
        db.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" || synchronous != 2 {
        return Err(OpenError::NotDurable { path: path.to_owned(), mode, synchronous });
    }
    Ok(())
}
