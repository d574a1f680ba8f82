//! The database belongs to one process. A lock on a file beside it says so: closing any descriptor
//! of the database itself would drop SQLite's own locks.
//!
//! The file's content says how the last process ended: after an orderly end it describes the files
//! as they were left, else it is empty.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::OpenError;

/// How long to wait between two looks at a lock that another process holds.
const LOOK: Duration = Duration::from_millis(50);

/// Holds the lock for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

/// Takes the lock of this database; waits so long for a predecessor to give it up.
pub(super) fn take(database: &Path, patience: Duration) -> Result<Lock, OpenError> {
    let path = beside(database, "lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
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

impl Lock {
    /// Whether the last process that had the database ended in order, and nobody has touched the
    /// files since. From now on this one has not.
    pub(super) fn was_left_in_order(&mut self, database: &Path) -> io::Result<bool> {
        let mut left = String::new();
        self.0.read_to_string(&mut left)?;
        self.0.set_len(0)?;
        Ok(!left.is_empty() && left == described(database)?)
    }

    /// Notes that this process ended in order.
    pub(super) fn leave_in_order(mut self, database: &Path) -> io::Result<()> {
        let left = described(database)?;
        io::Seek::rewind(&mut self.0)?;
        self.0.write_all(left.as_bytes())
    }
}

/// What would change if somebody touched the database or its WAL.
fn described(database: &Path) -> io::Result<String> {
    let described = |path: PathBuf| match fs::metadata(path) {
        Ok(file) => {
            let (inode, length) = (file.ino(), file.len());
            Ok(format!("{inode} {length} {}.{:09}\n", file.mtime(), file.mtime_nsec()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("none\n".to_owned()),
        Err(error) => Err(error),
    };
    Ok(described(database.to_owned())? + &described(with_suffix(database, "-wal"))?)
}

/// The path of the database with one more extension.
pub(super) fn beside(database: &Path, extension: &str) -> PathBuf {
    with_suffix(database, &format!(".{extension}"))
}

/// The path of a file that SQLite keeps beside the database.
pub(super) fn with_suffix(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
