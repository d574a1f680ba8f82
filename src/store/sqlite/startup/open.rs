//! Opening of a database for writing, or a clear rejection that leaves the file as it is.
//!
//! Lock, file system, leftovers of an earlier start, recognition, check, copy to new blocks, settings,
//! migration: in this order, so that nothing is written before it is known to be right.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::claim::claim;
use super::integrity::{self, Verdict};
use super::lock::Lock;
use super::schema::{self, Found};
use super::{file_copy, wal_damage};
use crate::store::sqlite::fail_stop::{ErrorClass, Marks, classify};
use crate::store::sqlite::paths::with_suffix;
use crate::store::sqlite::write::{backup, checkpoint};
use crate::store::sqlite::{OpenError, Settings, files};

/// Time limit for the check at the start, if the last process did not end in order.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

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
        files::make_private(path).map_err(file)?;
    }
    if lock.header().is_some_and(|header| schema::is_backup(&header))
        && files::length(&with_suffix(path, "-wal")) > 0
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
        file_copy::copy_to_new_blocks(db, path, &mut lock, locks_inode)?;
        (db, found) = schema::connect(path)?;
    }
    marks.clear().map_err(file)?;
    // Before the WAL exists, so that the file itself records that it is no longer a backup.
    schema::adopt_backup(&db).map_err(failed)?;
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

/// Rejects a WAL whose database is gone: SQLite would take such a WAL for a leftover and remove it.
fn require_database_of_wal(path: &Path) -> Result<(), OpenError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    if length(&with_suffix(path, "-wal")) > 0 && length(path) == 0 {
        return Err(OpenError::damaged(
            path,
            "the file is missing or empty, but its -wal file exists",
        ));
    }
    Ok(())
}
