//! A copy of a live database.
//!
//! Pages are copied by the writer between its batches. What it writes meanwhile goes into the copy
//! too, so that the copy is of the moment in which it ends, and no read holds the WAL up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use thiserror::Error;

use super::copy;

/// How many pages are copied between two looks at the queue: 1 MiB.
const PAGES: i32 = 256;
/// How long to wait when a lock is in the way.
const PAUSE: Duration = Duration::from_millis(2);

/// Why there is no backup.
#[derive(Debug, Error)]
pub(super) enum BackupError {
    /// There is a file of that name.
    #[error("{0} exists already; remove it, or choose another name")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite could not copy it.
    #[error("cannot copy the database to {path}")]
    Copy {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The store was closed, or failed, meanwhile.
    #[error("the store has stopped; there is no backup")]
    Stopped,
}

/// A file that becomes a backup once it is whole and durable; removed if it does not.
pub(super) struct Partial {
    path: PathBuf,
    name: PathBuf,
}

impl Partial {
    /// Makes an empty file beside the one that is wanted.
    pub(super) fn new(name: &Path) -> Result<Self, BackupError> {
        if name.exists() {
            return Err(BackupError::Exists(name.to_owned()));
        }
        let mut path = name.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        // What an earlier one left is of no use.
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(BackupError::File { path, source });
            }
            Ok(()) | Err(_) => {}
        }
        copy::make_private(&path)
            .map_err(|source| BackupError::File { path: path.clone(), source })?;
        Ok(Self { path, name: name.to_owned() })
    }

    /// Opens it to be written. It need not be durable before it is whole.
    pub(super) fn open(&self) -> Result<Connection, BackupError> {
        let open = || {
            let copy = Connection::open(&self.path)?;
            copy.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;")?;
            Ok(copy)
        };
        open().map_err(|source| self.failed(source))
    }

    /// Makes the whole copy a file that needs no other beside it.
    pub(super) fn complete(&self, copy: Connection) -> Result<(), BackupError> {
        copy.execute_batch("PRAGMA journal_mode = DELETE").map_err(|source| self.failed(source))?;
        copy.close().map_err(|(_still_open, source)| self.failed(source))
    }

    /// Makes it durable and gives it its name.
    pub(super) fn keep(&self) -> Result<(), BackupError> {
        copy::keep(&self.path, &self.name)
            .map_err(|source| BackupError::File { path: self.name.clone(), source })
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> BackupError {
        BackupError::Copy { path: self.name.clone(), source }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already if it has its name.
        drop(fs::remove_file(&self.path));
    }
}

/// Copies some more pages; says whether those were the last.
pub(super) fn step(steps: &Backup<'_, '_>) -> rusqlite::Result<bool> {
    let step = steps.step(PAGES)?;
    if matches!(step, StepResult::Busy | StepResult::Locked) {
        std::thread::sleep(PAUSE);
    }
    Ok(step == StepResult::Done)
}
