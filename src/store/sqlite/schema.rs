//! The file: made, recognised, and opened with the settings that durability needs.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, TransactionBehavior};

use super::OpenError;

/// Says that a file is ours (`SMir` in ASCII).
const APPLICATION_ID: i64 = 0x534d_6972;
/// The version of `schema.sql`.
const VERSION: i64 = 1;
/// How long to wait for a lock that another process holds; less than a commit may take.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const SCHEMA: &str = include_str!("../../../schema.sql");

/// Opens the writing connection and makes the tables if there are none. A file of another program
/// or of a later version is left as it is.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    make_private(path)?;
    let mut db = Connection::open(path).map_err(failed)?;
    // Closing it again must not write what a crash left in the WAL of a file that is not ours.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    // Recognised first: the settings below would already write to a file that is not ours.
    let found = match recognise(&db) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Found::Foreign,
        found => found.map_err(failed)?,
    };
    match found {
        Found::Nothing | Found::Ours { version: VERSION } => {}
        Found::Ours { version } => {
            return Err(OpenError::Version {
                path: path.to_owned(),
                found: version,
                ours: VERSION,
            });
        }
        Found::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
    }
    if db.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    set_up(&db, path)?;
    if matches!(found, Found::Nothing) {
        make(&mut db).map_err(failed)?;
    }
    Ok(db)
}

/// Makes the file for its owner alone: it will hold phone numbers. SQLite gives the files beside it
/// the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::File { path: path.to_owned(), source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Opens a second connection, for checkpoints.
pub(super) fn open_again(path: &Path) -> Result<Connection, OpenError> {
    let db = Connection::open(path)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    set_up(&db, path)?;
    Ok(db)
}

enum Found {
    Nothing,
    Ours { version: i64 },
    Foreign,
}

fn recognise(db: &Connection) -> rusqlite::Result<Found> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, version, tables) {
        (APPLICATION_ID, version, _) => Found::Ours { version },
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
fn set_up(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA secure_delete = FAST; PRAGMA temp_store = MEMORY;",
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
