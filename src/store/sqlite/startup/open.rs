//! Opening of a database for writing, or a clear rejection that leaves the file as it is.
//!
//! Lock, file system, leftovers of an earlier start, recognition, check, copy to new blocks, settings,
//! migration: in this order, so that nothing is written before it is known to be right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::statfs;
use thiserror::Error;

use super::integrity::{self, Verdict};
use super::lock::{self, Lock, with_suffix};
use super::schema::{self, Found};
use super::{file_copy, restore, wal_damage};
use crate::memory_budget::{MemoryBudget, Share};
use crate::metrics::Commits;
use crate::store::sqlite::fail_stop::{ErrorClass, Marks, classify};
use crate::store::sqlite::make_private_directory;
use crate::store::sqlite::write::{backup, checkpoint};

/// Time limit for the check at the start, if the last process did not end in order.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Default maximum number of cached messages: those that most senders report on within half a minute, at a
/// thousand messages a second.
const RECENT_MAX_MESSAGES: usize = 1 << 15;

/// Default time limit of a search part for the cache, and again for the table; other queries wait for the
/// thread meanwhile.
const SEARCH_PART: Duration = Duration::from_millis(25);

/// File systems whose locks or syncs are unreliable, by their `statfs(2)` magic numbers.
const UNRELIABLE_FILESYSTEMS: [(u64, &str); 6] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
];

/// Settings of the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of the database; its directory is created if it does not exist.
    pub path: PathBuf,
    /// Maximum number of commands queued for the writer, deliveries among them.
    pub max_in_flight: usize,
    /// Maximum number of rows in quarantine.
    pub quarantine_max_rows: u64,
    /// Maximum size of the quarantine, in bytes.
    pub quarantine_max_bytes: u64,
    /// Maximum number of cached messages; above it the oldest are written back to the table.
    pub recent_max_messages: usize,
    /// Maximum size of the cached messages, in bytes.
    pub recent_max_bytes: usize,
    /// Time limit of a search part for the cache, and again for the table.
    pub search_part: Duration,
    /// Time to wait for another process to release the database.
    pub lock_wait: Duration,
    /// Whether to accept a file system with unreliable locks or syncs.
    pub allow_network_filesystem: bool,
    /// Whether another program checkpoints the WAL, and this one does not.
    pub external_checkpoints: bool,
    /// Directory for a second fail-stop mark for the next start of this boot, besides the database's
    /// directory.
    pub runtime_directory: Option<PathBuf>,
    /// Commit metrics.
    pub commits: Commits,
    /// Memory budget of the service, in which the cache has its share.
    pub budget: MemoryBudget,
    /// Whether hourly counts are kept; set to false only to measure their cost.
    pub hourly_sums: bool,
}

impl Settings {
    /// Settings for the database at this path, with the defaults of the configuration.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_in_flight: 1_024,
            quarantine_max_rows: 100_000,
            quarantine_max_bytes: 1 << 30,
            recent_max_messages: RECENT_MAX_MESSAGES,
            recent_max_bytes: Share::Cache.limit(),
            search_part: SEARCH_PART,
            lock_wait: Duration::ZERO,
            allow_network_filesystem: false,
            external_checkpoints: false,
            runtime_directory: None,
            commits: Commits::default(),
            budget: MemoryBudget::default(),
            hourly_sums: true,
        }
    }
}

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
        "{path} has {links} hard links, and another server could use it through another one; remove all \
         but one"
    )]
    Linked {
        /// Path of the database.
        path: PathBuf,
        /// Number of hard links.
        links: u64,
    },
    /// The file system is unreliable.
    #[error(
        "{path} is on {kind}, where locks and syncs cannot be relied on; set store.url to a local \
         disk, or take the risk with store.allow_network_filesystem = true"
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
    #[error("{path} has schema version {found}, this program knows {ours}; use the newer program")]
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
        "{path} is damaged ({what}); it was left as it is: look at the disk, and restore a backup with \
         `statusmirror restore FILE`, which keeps the damaged files"
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
        "{path} is damaged: at least {transactions} transactions that were acknowledged lie behind the \
         damage; nothing was changed. Copy it and the database to another place. Then restore a backup \
         with `statusmirror restore FILE`, or accept the loss with `statusmirror accept-wal-loss {salt}`"
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
        "a copy of {path} must be made first, which needs {needed} bytes of space where there are \
         {free}; make room, or move the database and its -wal to another disk"
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
    #[error("{path} may not be written; give it to the user that this program runs as")]
    ReadOnly {
        /// Path of the file.
        path: PathBuf,
    },
    /// A setting that durability depends on did not take effect.
    #[error("{path} cannot be kept durably: journal mode {mode}, synchronous {synchronous}")]
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

/// An opened database, ready to be written.
pub(crate) struct Opened {
    pub(crate) db: Connection,
    pub(crate) lock: Lock,
    pub(crate) marks: Marks,
    /// Whether the check did not finish within the start's time limit.
    pub(crate) unchecked: bool,
}

/// Opens the database, creates it if it does not exist, and migrates it to the current version.
pub(crate) fn open(settings: &Settings) -> Result<Opened, OpenError> {
    let path = &settings.path;
    let file = |source| OpenError::File { path: path.clone(), source };
    let failed = |source| OpenError::Database { path: path.clone(), source };
    let (mut lock, locks_inode) = claim(settings)?;
    require_database_of_wal(path)?;
    if locks_inode {
        lock.hold_or_create(path)?;
    } else {
        file_copy::make_private(path).map_err(file)?;
    }
    if lock.header().is_some_and(|header| schema::is_backup(&header))
        && file_copy::length(&with_suffix(path, "-wal")) > 0
    {
        return Err(OpenError::BackupBesideWal { path: path.clone() });
    }
    wal_damage::require_sound(path, lock.page_bytes())?;
    backup::remove_unfinished(path).map_err(file)?;
    let marks = Marks::of(path, settings.runtime_directory.as_deref());
    let (mut db, mut found) = schema::connect(path)?;
    let mut unchecked = false;
    // Files that were not touched since an orderly end need no check.
    let in_order = lock.was_clean(path).map_err(file)?;
    if !matches!(found, Found::Nothing) && (!in_order || marks.exist()) {
        match integrity::quick_check(&db, CHECK_TIMEOUT).map_err(failed)? {
            Verdict::Sound => {}
            Verdict::Unfinished => unchecked = true,
            Verdict::Damaged(what) => return Err(OpenError::damaged(path, what)),
        }
    }
    if marks.exist() {
        file_copy::out(db, path, &mut lock, locks_inode)?;
        (db, found) = schema::connect(path)?;
    }
    marks.clear().map_err(file)?;
    // Before the WAL exists, so that the file itself records that it is no longer a backup.
    schema::adopt(&db).map_err(failed)?;
    schema::set_up(&db, path)?;
    if !settings.external_checkpoints
        && let Err(error) = checkpoint::truncate(&db)
    {
        match classify(&db, &error) {
            // Queries are answered meanwhile, and webhooks once there is space.
            ErrorClass::Full => tracing::error!(%error, "the disk is full; the WAL stays as it is"),
            ErrorClass::Busy | ErrorClass::Lasting(_) | ErrorClass::Other => {
                return Err(failed(error));
            }
        }
    }
    schema::bring_up_to_date(&mut db, path, found)?;
    Ok(Opened { db, lock, marks, unchecked })
}

/// Takes the locks and finishes an installation or restore that an earlier process began. Returns whether the
/// database's inode is locked too.
pub(crate) fn claim(settings: &Settings) -> Result<(Lock, bool), OpenError> {
    let path = &settings.path;
    make_private_directory(path)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let mut lock = lock::take(path, settings.lock_wait)?;
    let locks_inode = locks_inode(path, settings.allow_network_filesystem)?;
    if locks_inode {
        lock.hold(path)?;
    }
    file_copy::install(path, &mut lock, locks_inode)?;
    restore::finish(path, &mut lock, locks_inode)?;
    Ok((lock, locks_inode))
}

/// Whether to lock the database's inode. Rejects an unreliable file system unless `any` allows it: of the
/// unreliable ones, only FUSE keeps this lock and SQLite's locks apart.
fn locks_inode(path: &Path, any: bool) -> Result<bool, OpenError> {
    let source =
        |error: rustix::io::Errno| OpenError::File { path: path.to_owned(), source: error.into() };
    let found = statfs(file_copy::directory(path)).map_err(source)?.f_type;
    let unreliable =
        UNRELIABLE_FILESYSTEMS.iter().find(|(number, _)| i64::try_from(*number) == Ok(found));
    match unreliable {
        Some((_, kind)) if !any => Err(OpenError::Filesystem { path: path.to_owned(), kind }),
        Some((_, kind)) => Ok(*kind == "FUSE"),
        None => Ok(true),
    }
}

/// Rejects a WAL whose database is gone: SQLite would take such a WAL for a leftover and remove it.
fn require_database_of_wal(path: &Path) -> Result<(), OpenError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    if length(&with_suffix(path, "-wal")) > 0 && length(path) == 0 {
        return Err(OpenError::damaged(path, "its -wal file is there, it itself is gone or empty"));
    }
    Ok(())
}
