//! Database file: creation, recognition, migration, and the settings that durability needs.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::file_copy;
use crate::message::MessageId;
use crate::store::Place;
use crate::store::sqlite::index::{blocks, stored_rows};
use crate::store::sqlite::paths::with_extension;
use crate::store::sqlite::rows::column::Bytes16;
use crate::store::sqlite::rows::list_order::list_order;
use crate::store::sqlite::{OpenError, files};

/// Application id of a database of this program (`SMir` in ASCII).
const APPLICATION_ID: i64 = 0x534d_6972;
/// Application id of a backup (`SMbk`). Like the other id it is in the file's header, so a start recognises a
/// backup before SQLite replays the WAL of another file into it.
const BACKUP_ID: i64 = 0x534d_626b;
/// Increment of the lineage if that of the old database is not known.
pub(crate) const UNKNOWN_LINEAGE_STEP: u32 = 64;
/// Version of `schema.sql`.
pub const VERSION: i64 = 10;
/// Migrations, one per version before version 8, beginning with version 1. Applied to the tables of that
/// version, they give the tables of version 8, except its indexes of lists.
const MIGRATIONS: [&str; 7] = [
    include_str!("migrations/1-to-2.sql"),
    include_str!("migrations/2-to-3.sql"),
    include_str!("migrations/3-to-4.sql"),
    include_str!("migrations/4-to-5.sql"),
    include_str!("migrations/5-to-6.sql"),
    include_str!("migrations/6-to-7.sql"),
    include_str!("migrations/7-to-8.sql"),
];
/// First version whose migration time depends on the number of messages alone, about twelve seconds for a
/// million (five from version 8), and not on the length of the file.
const QUICK_MIGRATION_VERSION: i64 = 6;
/// Longest file of such a version of which a copy is kept: 256 MiB. Copying a longer one would delay the
/// start and need as much space again.
const MAX_COPY_BYTES: u64 = 256 << 20;
/// Wait for a lock that another process holds; shorter than a commit may take.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const SCHEMA: &str = include_str!("../../../../schema.sql");

/// Whether this is the application id of a database or backup of this program.
pub fn is_application_id(id: i64) -> bool {
    [APPLICATION_ID, BACKUP_ID].contains(&id)
}

/// Opens the write connection of an existing file, which must be a database of this program or empty. Writes
/// nothing to it.
pub(crate) fn connect(path: &Path) -> Result<(Connection, Found), OpenError> {
    let (db, found) = open_existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    if db.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::ReadOnly { path: path.to_owned() });
    }
    Ok((db, found))
}

/// Opens a file and recognises it; rejects a file of another program or of a later version.
pub(crate) fn open_existing(
    path: &Path,
    flags: OpenFlags,
) -> Result<(Connection, Found), OpenError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::damaged(path, source.to_string()),
        _ => OpenError::Database { path: path.to_owned(), source },
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    // Without a checkpoint on close, which would write the WAL that a crash left into a file of another
    // program.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    blocks::add_functions(&db).map_err(failed)?;
    match recognise(&db).map_err(failed)? {
        Found::Ours { version } if version > VERSION => {
            Err(OpenError::Version { path: path.to_owned(), found: version, ours: VERSION })
        }
        Found::Foreign => Err(OpenError::Foreign { path: path.to_owned() }),
        found @ (Found::Nothing | Found::Ours { .. }) => Ok((db, found)),
    }
}

/// Creates the tables if there are none, and migrates those of earlier versions, in one transaction. A copy
/// of the old file is kept beside it, unless the copy would delay the start: the migration time of a file of
/// version 6 does not depend on its size.
pub(crate) fn bring_up_to_date(
    db: &mut Connection,
    path: &Path,
    found: Found,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let from = match found {
        Found::Nothing => return create_tables(db).map_err(failed),
        Found::Ours { version: VERSION } => return Ok(()),
        Found::Ours { version } => version,
        Found::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
    };
    if from >= QUICK_MIGRATION_VERSION && files::length(path) > MAX_COPY_BYTES {
        let kept = format!("none: the file has more than {MAX_COPY_BYTES} bytes");
        tracing::info!(from, to = VERSION, kept, "migrating the database");
        return migrate(db, from).map_err(failed);
    }
    let kept = with_extension(path, &format!("version-{from}"));
    file_copy::copy_durably(db, path, &kept)?;
    tracing::info!(from, to = VERSION, kept = %kept.display(), "migrating the database");
    migrate(db, from).map_err(failed)
}

pub(crate) fn migrate(db: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (version, step) in (1..).zip(MIGRATIONS) {
        if version >= from {
            transaction.execute_batch(step)?;
        }
    }
    if from < 8 {
        fill_list_order(&transaction)?;
        transaction.execute_batch(include_str!("migrations/7-to-8-lists.sql"))?;
    }
    if from < 9 {
        transaction.execute_batch(include_str!("migrations/8-to-9.sql"))?;
    }
    transaction.execute_batch(include_str!("migrations/9-to-10.sql"))?;
    stored_rows::fill(&transaction)?;
    write_version(&transaction)?;
    transaction.commit()
}

/// Sets the list-order value of each message in a file that is being migrated. It works piece by piece: a
/// statement keeps in memory which rows it changes.
fn fill_list_order(db: &Connection) -> rusqlite::Result<()> {
    const CHUNK_MESSAGES: i64 = 1_000;
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_UTF8;
    db.create_scalar_function("list_order", 2, flags, |arguments| {
        let Bytes16(id) = arguments.get(1)?;
        Ok(list_order(Place { accepted_at: arguments.get(0)?, id: MessageId::from_bytes(id) }))
    })?;
    let mut fill = db.prepare(
        "UPDATE message SET list_order = list_order(accepted_at, id) \
         WHERE n > ? AND n <= ? AND accepted_at IS NOT NULL",
    )?;
    let last: Option<i64> = db.query_row("SELECT max(n) FROM message", [], |row| row.get(0))?;
    let mut after = 0;
    while Some(after) < last {
        fill.execute([after, after + CHUNK_MESSAGES])?;
        after += CHUNK_MESSAGES;
    }
    Ok(())
}

/// Lineage of the file.
pub(crate) fn lineage(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("SELECT lineage FROM progress", [], |row| row.get(0))
}

/// Marks the file as a served database with this lineage.
pub(crate) fn begin_lineage(db: &Connection, lineage: u32) -> rusqlite::Result<()> {
    db.execute("UPDATE progress SET lineage = ?", [lineage])?;
    db.pragma_update(None, "application_id", APPLICATION_ID)
}

/// Marks the file as a backup.
pub(crate) fn mark_backup(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "application_id", BACKUP_ID)
}

/// Whether a file's header marks it as a backup.
pub(crate) fn is_backup(header: &[u8]) -> bool {
    let id = header.get(68..).and_then(|rest| rest.first_chunk());
    id.is_some_and(|id| i64::from(u32::from_be_bytes(*id)) == BACKUP_ID)
}

/// Turns a backup that was put at the database's path into a served database.
pub(crate) fn adopt_backup(db: &Connection) -> rusqlite::Result<()> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != BACKUP_ID {
        return Ok(());
    }
    tracing::warn!(
        "the database is a backup, and again holds the data erased after the backup; repeat these \
         erasures, or use `statusmirror restore`, which applies them"
    );
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let lineage = lineage(&transaction)?;
    begin_lineage(&transaction, lineage + UNKNOWN_LINEAGE_STEP)?;
    transaction.commit()
}

/// Opens a second connection, for checkpoints.
pub(crate) fn open_second_connection(path: &Path) -> Result<Connection, OpenError> {
    let db = Connection::open(path)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    set_up(&db, path)?;
    Ok(db)
}

/// Kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// An empty file.
    Nothing,
    /// A database of this program.
    Ours {
        /// Version of its schema.
        version: i64,
    },
    /// A file of another program.
    Foreign,
}

pub(crate) fn recognise(db: &Connection) -> rusqlite::Result<Found> {
    let id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (id, version, tables) {
        (APPLICATION_ID | BACKUP_ID, version, _) => Found::Ours { version },
        (0, 0, 0) => Found::Nothing,
        _ => Found::Foreign,
    })
}

fn create_tables(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    write_version(&transaction)?;
    transaction.commit()
}

/// Writes the schema version, which only a new file lacks. The write takes one page.
pub(crate) fn write_version(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "user_version", VERSION)
}

/// Applies the settings for durability and safety, and reads back those whose failure SQLite would not
/// report.
pub(crate) fn set_up(db: &Connection, path: &Path) -> Result<(), OpenError> {
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
