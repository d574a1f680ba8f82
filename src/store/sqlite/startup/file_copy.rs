//! Complete copies of the database in new blocks, durable before they are used.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};
use rustix::fs::statvfs;
use rustix::io::Errno;

use super::lock::Lock;
use crate::store::sqlite::paths::{directory, with_extension, with_suffix};
use crate::store::sqlite::{OpenError, files};

/// Copies the database and the content of its WAL to new blocks, and installs the copy with [`install`].
/// Nothing is written to the old blocks.
pub(crate) fn copy_to_new_blocks(
    db: Connection,
    path: &Path,
    lock: &mut Lock,
    locks_inode: bool,
) -> Result<(), OpenError> {
    tracing::warn!(
        database = %path.display(),
        "the last write to the disk failed; copying the data to new blocks"
    );
    copy_durably(&db, path, &with_extension(path, "copied"))?;
    drop(db);
    install(path, lock, locks_inode)
}

/// Puts a complete copy in place of the database, with its inode locked. After an interruption the next call
/// finishes the work.
pub(crate) fn install(path: &Path, lock: &mut Lock, locks_inode: bool) -> Result<(), OpenError> {
    let copied = with_extension(path, "copied");
    if !copied.exists() {
        return Ok(());
    }
    if locks_inode {
        lock.hold(&copied)?;
    }
    let failed = |source| OpenError::File { path: copied.clone(), source };
    // The WAL belongs to the old database; SQLite would replay it into the new one.
    for suffix in ["-wal", "-shm"] {
        files::remove(&with_suffix(path, suffix)).map_err(failed)?;
    }
    files::sync_directory(path).map_err(failed)?;
    fs::rename(&copied, path).map_err(failed)?;
    files::sync_directory(path).map_err(failed)
}

/// Copies everything that this connection sees to a file that gets its name once it is durable.
pub(crate) fn copy_durably(db: &Connection, path: &Path, copy: &Path) -> Result<(), OpenError> {
    let partial = with_extension(path, "partial");
    let file = |source| OpenError::File { path: partial.clone(), source };
    files::remove(&partial).map_err(file)?;
    require_space(path)?;
    files::make_private(&partial).map_err(file)?;
    let target = partial.to_string_lossy();
    db.execute("VACUUM INTO ?", [&*target]).map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => OpenError::damaged(path, source.to_string()),
        _ => OpenError::Database { path: path.to_owned(), source },
    })?;
    files::persist(&partial, copy).map_err(file)
}

/// Requires free space for a copy, which is at most as long as the database and its WAL.
fn require_space(path: &Path) -> Result<(), OpenError> {
    let needed = files::length(path);
    let failed = |error: Errno| OpenError::File { path: path.to_owned(), source: error.into() };
    let disk = statvfs(directory(path)).map_err(failed)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free {
        return Err(OpenError::NoRoom { path: path.to_owned(), needed, free });
    }
    Ok(())
}
