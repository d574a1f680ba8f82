//! Errors of opening a database, and store errors for errors from SQLite.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::store::StoreError;

/// Error of opening a database. No data was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file or directory could not be created or opened.
    #[error("cannot open {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        source: std::io::Error,
    },
    /// Another process holds the database.
    #[error(
        "another process holds {path}; stop it, or wait for it with `statusmirror serve --lock-wait 60s`"
    )]
    InUse {
        /// Path of the lock file.
        path: PathBuf,
    },
    /// The database has more than one hard link.
    #[error(
        "{path} has {links} hard links, and another server could open the database through another \
         link; remove all links but one"
    )]
    Linked {
        /// Path of the database.
        path: PathBuf,
        /// Number of hard links.
        links: u64,
    },
    /// The file system is unreliable.
    #[error(
        "{path} is on {kind}, where locks and syncs are unreliable; set store.url to a local disk, \
         or accept the risk with store.allow_network_filesystem = true"
    )]
    Filesystem {
        /// Path of the database.
        path: PathBuf,
        /// Name of the file system.
        kind: &'static str,
    },
    /// The file is not a database of this program.
    #[error("{path} is not a database of statusmirror; set store.url to another file")]
    Foreign {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file has the schema of another version.
    #[error(
        "{path} has schema version {found}, and this program supports {ours}; use a newer version \
         of the program"
    )]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// Schema version of the file.
        found: i64,
        /// Schema version of this program.
        ours: i64,
    },
    /// The file is damaged.
    #[error(
        "{path} is damaged ({what}); nothing was changed. Check the disk, and restore a backup \
         with `statusmirror restore FILE`, which keeps the damaged files"
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Description of the damage.
        what: String,
    },
    /// The file at the database's path is a backup, and the WAL of another database is beside it.
    #[error(
        "{path} is a backup, and the -wal beside it belongs to another database; nothing was changed. \
         Move the backup to another place and restore it with `statusmirror restore FILE`"
    )]
    BackupBesideWal {
        /// Path of the backup.
        path: PathBuf,
    },
    /// The file cannot be restored.
    #[error("{path} cannot be restored: {why}; nothing was changed")]
    NotRestorable {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// The WAL is damaged in the middle.
    #[error(
        "{path} is damaged, and acknowledged transactions lie behind the damage (at least \
         {transactions}); nothing was changed. Copy this file and the database to another place. \
         Then restore a backup with `statusmirror restore FILE`, or accept the loss with \
         `statusmirror accept-wal-loss {salt}`"
    )]
    WalDamaged {
        /// Path of the WAL.
        path: PathBuf,
        /// Salt of the WAL.
        salt: String,
        /// Number of commit frames at or after the damage.
        transactions: u64,
    },
    /// The WAL has no damage whose loss could be accepted.
    #[error("{path} is not damaged; nothing was changed")]
    WalSound {
        /// Path of the WAL.
        path: PathBuf,
    },
    /// Not enough space for a copy that must be made first.
    #[error(
        "not enough disk space for the required copy of {path}: {needed} bytes are needed, and \
         {free} are free; free disk space, or move the database and its -wal to another disk"
    )]
    NoRoom {
        /// Path of the database.
        path: PathBuf,
        /// Required space, in bytes.
        needed: u64,
        /// Available space, in bytes.
        free: u64,
    },
    /// The file is not writable.
    #[error("{path} is not writable; make the user that runs this program its owner")]
    ReadOnly {
        /// Path of the file.
        path: PathBuf,
    },
    /// A setting that durability depends on did not take effect.
    #[error("{path} would not be durable: journal mode {mode}, synchronous {synchronous}")]
    NotDurable {
        /// Path of the file.
        path: PathBuf,
        /// Journal mode in effect.
        mode: String,
        /// Value of `synchronous` in effect.
        synchronous: i64,
    },
    /// SQLite returned an error.
    #[error("cannot use the database {path}")]
    Database {
        /// Path of the file.
        path: PathBuf,
        /// Error from SQLite.
        source: rusqlite::Error,
    },
    /// The read connections could not be opened.
    #[error("cannot open the connections for reading")]
    Readers {
        /// Cause of the error.
        source: r2d2::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread {
        /// Cause of the error.
        source: std::io::Error,
    },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// Store error for an SQLite error.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Locked(error.into())
        }
        Some(ErrorCode::OperationInterrupted) => StoreError::TooSlow,
        Some(ErrorCode::DiskFull) => StoreError::DiskFull(error.into()),
        _ if matches!(
            error,
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)
        ) =>
        {
            StoreError::Corrupt(error.into())
        }
        _ => StoreError::Failed(error.into()),
    }
}
