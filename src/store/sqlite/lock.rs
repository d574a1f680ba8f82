//! The database belongs to one process. A lock on a file beside it says so: closing any descriptor
//! of the database itself would drop SQLite's own locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::OpenError;

/// How long to wait between two looks at a lock that another process holds.
const LOOK: Duration = Duration::from_millis(50);

/// Holds the lock for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Takes the lock of this database; waits so long for a predecessor to give it up.
pub(super) fn take(database: &Path, patience: Duration) -> Result<Lock, OpenError> {
    let path = beside(database, "lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) if since.elapsed() < patience => thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(OpenError::File { path, source }),
        }
    }
}

/// The path of the database with one more extension.
pub(super) fn beside(database: &Path, extension: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}
