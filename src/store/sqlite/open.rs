//! The start: from a path to a database that may be written, or a clear refusal that leaves the
//! file as it is.
//!
//! Lock, file system, what an earlier start left, recognition, check, copy to new blocks, settings,
//! migration: in this order, so that nothing is written before it is known to be right.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::statfs;
use thiserror::Error;

use super::check::{self, Verdict};
use super::failure::{Marks, Trouble, trouble};
use super::lock::{self, Lock, with_suffix};
use super::schema::{self, Found};
use super::{backup, checkpoint, copy, make_private_directory, restore, wal};
use crate::budget::{MemoryBudget, Share};
use crate::metrics::Commits;

/// How long the start waits for the check of a database that was not left in order.
const CHECK_TIME: Duration = Duration::from_secs(1);

/// How many messages are kept in memory: all that most senders speak of within half a minute, at a
/// thousand messages a second.
const RECENT_MAX_MESSAGES: usize = 1 << 15;

/// How long a part of a search reads what is in memory, and then what is in the table; other queries wait
/// for the thread meanwhile.
const SEARCH_PART: Duration = Duration::from_millis(25);

/// File systems on which locks or syncs cannot be relied on, by the numbers of `statfs(2)`.
const UNRELIABLE: [(u64, &str); 6] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
];

/// What the store is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database's path; its directory is made if there is none.
    pub path: PathBuf,
    /// How many deliveries may wait for the writer.
    pub queue: usize,
    /// How many rows the quarantine may have.
    pub quarantine_max_rows: u64,
    /// How many bytes the quarantine may have.
    pub quarantine_max_bytes: u64,
    /// How many messages are in memory at most before the oldest are folded into the table.
    pub recent_max_messages: usize,
    /// How many bytes they take at most.
    pub recent_max_bytes: usize,
    /// How long a part of a search reads what is in memory, and then what is in the table.
    pub search_part: Duration,
    /// How long to wait for another process to let go of the database.
    pub lock_wait: Duration,
    /// Whether a file system will do on which locks or syncs cannot be relied on.
    pub any_filesystem: bool,
    /// Whether another program takes the WAL over into the database, and this one leaves it alone.
    pub external_checkpoints: bool,
    /// Where to leave word for the next start of this boot, besides the database's directory.
    pub runtime_directory: Option<PathBuf>,
    /// Where to tell of commits.
    pub commits: Commits,
    /// The memory of the service, of which the records in memory take their share.
    pub budget: MemoryBudget,
    /// Whether the sums of the hours are kept; not to do so is for measuring what that costs.
    pub hourly_sums: bool,
}

impl Settings {
    /// The database at this path, with the defaults of the configuration.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            queue: 1_024,
            quarantine_max_rows: 100_000,
            quarantine_max_bytes: 1 << 30,
            recent_max_messages: RECENT_MAX_MESSAGES,
            recent_max_bytes: Share::Cache.limit(),
            search_part: SEARCH_PART,
            lock_wait: Duration::ZERO,
            any_filesystem: false,
            external_checkpoints: false,
            runtime_directory: None,
            commits: Commits::default(),
            budget: MemoryBudget::default(),
            hourly_sums: true,
        }
    }
}

/// Why the database could not be opened. No data was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file or directory could not be made or opened.
    #[error("cannot open {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the database.
    #[error(
        "another process holds {path}; stop it, or wait for it with `statusmirror serve --lock-wait 60s`"
    )]
    InUse {
        /// The lock's file.
        path: PathBuf,
    },
    /// The database has more than one hard link.
    #[error(
        "{path} has {links} hard links, and another server could use it through another one; remove all \
         but one"
    )]
    Linked {
        /// The database.
        path: PathBuf,
        /// How many there are.
        links: u64,
    },
    /// The file system cannot be relied on.
    #[error(
        "{path} is on {kind}, where locks and syncs cannot be relied on; set store.url to a local \
         disk, or take the risk with store.any_filesystem = true"
    )]
    Filesystem {
        /// The database.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// The file is no database of ours.
    #[error("{path} is not a database of statusmirror; set store.url to another file")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by another version.
    #[error("{path} has schema version {found}, this program knows {ours}; use the newer program")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        ours: i64,
    },
    /// The file is damaged.
    #[error(
        "{path} is damaged ({what}); it was left as it is: look at the disk, and restore a backup with \
         `statusmirror restore FILE`, which keeps the damaged files"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A backup was put in the place of the database, whose WAL is still there.
    #[error(
        "{path} is a backup, and the -wal beside it belongs to another database; nothing was changed. \
         Move the backup to another place and restore it with `statusmirror restore FILE`"
    )]
    BackupBesideWal {
        /// The backup.
        path: PathBuf,
    },
    /// A file cannot be restored.
    #[error("{path} cannot be restored: {why}; nothing was changed")]
    NotRestorable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The WAL is damaged in the middle.
    #[error(
        "{path} is damaged: at least {transactions} transactions that were acknowledged lie behind the \
         damage; nothing was changed. Copy it and the database to another place. Then restore a backup \
         with `statusmirror restore FILE`, or accept the loss with `statusmirror accept-wal-loss {salt}`"
    )]
    WalDamaged {
        /// The WAL.
        path: PathBuf,
        /// Its salt.
        salt: String,
        /// How many commit frames lie at or behind the damage.
        transactions: u64,
    },
    /// No loss is to be accepted.
    #[error("{path} is not damaged; nothing was changed")]
    WalSound {
        /// The WAL.
        path: PathBuf,
    },
    /// There is no space for a copy that is needed first.
    #[error(
        "a copy of {path} must be made first, which needs {needed} bytes of space where there are \
         {free}; make room, or move the database and its -wal to another disk"
    )]
    NoRoom {
        /// The database.
        path: PathBuf,
        /// How many bytes are needed.
        needed: u64,
        /// How many there are.
        free: u64,
    },
    /// The file cannot be written.
    #[error("{path} may not be written; give it to the user that this program runs as")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// A setting on which durability rests does not hold.
    #[error("{path} cannot be kept durably: journal mode {mode}, synchronous {synchronous}")]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The journal mode found.
        mode: String,
        /// The synchronous setting found.
        synchronous: i64,
    },
    /// SQLite refused.
    #[error("cannot use the database {path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The connections for reading could not be opened.
    #[error("cannot open the connections for reading")]
    Readers {
        /// Why.
        source: r2d2::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

impl OpenError {
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// A database that may be written.
pub(super) struct Opened {
    pub(super) db: Connection,
    pub(super) lock: Lock,
    pub(super) marks: Marks,
    /// Whether the check took longer than the start waits for it.
    pub(super) unchecked: bool,
}

/// Opens the database, makes it if there is none, and brings it to the present version.
pub(super) fn open(settings: &Settings) -> Result<Opened, OpenError> {
    let path = &settings.path;
    let file = |source| OpenError::File { path: path.clone(), source };
    let failed = |source| OpenError::Database { path: path.clone(), source };
    let (mut lock, locks_inode) = claim(settings)?;
    require_database_of_wal(path)?;
    if locks_inode {
        lock.hold_or_make(path)?;
    } else {
        copy::make_private(path).map_err(file)?;
    }
    if lock.header().is_some_and(|header| schema::is_backup(&header))
        && copy::length(&with_suffix(path, "-wal")) > 0
    {
        return Err(OpenError::BackupBesideWal { path: path.clone() });
    }
    wal::require_sound(path, lock.page_bytes())?;
    backup::remove_unfinished(path).map_err(file)?;
    let marks = Marks::of(path, settings.runtime_directory.as_deref());
    let (mut db, mut found) = schema::connect(path)?;
    let mut unchecked = false;
    // What nobody has touched since an orderly end need not be read again.
    let in_order = lock.was_left_in_order(path).map_err(file)?;
    if !matches!(found, Found::Nothing) && (!in_order || marks.are_left()) {
        match check::quickly(&db, CHECK_TIME).map_err(failed)? {
            Verdict::Sound => {}
            Verdict::Unfinished => unchecked = true,
            Verdict::Damaged(what) => return Err(OpenError::damaged(path, what)),
        }
    }
    if marks.are_left() {
        copy::out(db, path, &mut lock, locks_inode)?;
        (db, found) = schema::connect(path)?;
    }
    marks.clear().map_err(file)?;
    // Before there is a WAL, so that the file itself says that it is a backup no more.
    schema::adopt(&db).map_err(failed)?;
    schema::set_up(&db, path)?;
    if !settings.external_checkpoints
        && let Err(error) = checkpoint::cut(&db)
    {
        match trouble(&db, &error) {
            // Queries are answered meanwhile, and webhooks once there is space.
            Trouble::Full => tracing::error!(%error, "the disk is full; the WAL stays as it is"),
            Trouble::Busy | Trouble::Lasting(_) | Trouble::Other => return Err(failed(error)),
        }
    }
    schema::bring_up_to_date(&mut db, path, found)?;
    Ok(Opened { db, lock, marks, unchecked })
}

/// Takes the locks and finishes what an earlier process began to put in the place of the database. Says whether
/// the database's inode is locked too.
pub(super) fn claim(settings: &Settings) -> Result<(Lock, bool), OpenError> {
    let path = &settings.path;
    make_private_directory(path)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let mut lock = lock::take(path, settings.lock_wait)?;
    let locks_inode = locks_inode(path, settings.any_filesystem)?;
    if locks_inode {
        lock.hold(path)?;
    }
    copy::install(path, &mut lock, locks_inode)?;
    restore::finish(path, &mut lock, locks_inode)?;
    Ok((lock, locks_inode))
}

/// Whether the database's inode is to be locked. Rejects a file system that cannot be relied on, unless it
/// may be any: of those, only FUSE keeps this lock and SQLite's locks apart.
fn locks_inode(path: &Path, any: bool) -> Result<bool, OpenError> {
    let source =
        |error: rustix::io::Errno| OpenError::File { path: path.to_owned(), source: error.into() };
    let found = statfs(copy::directory(path)).map_err(source)?.f_type;
    let unreliable = UNRELIABLE.iter().find(|(number, _)| i64::try_from(*number) == Ok(found));
    match unreliable {
        Some((_, kind)) if !any => Err(OpenError::Filesystem { path: path.to_owned(), kind }),
        Some((_, kind)) => Ok(*kind == "FUSE"),
        None => Ok(true),
    }
}

/// SQLite takes a WAL for left over, and removes it, if the database that it belongs to is gone.
fn require_database_of_wal(path: &Path) -> Result<(), OpenError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    if length(&with_suffix(path, "-wal")) > 0 && length(path) == 0 {
        return Err(OpenError::damaged(path, "its -wal file is there, it itself is gone or empty"));
    }
    Ok(())
}
