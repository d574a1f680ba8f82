//! Backup of a live database.
//!
//! The writer copies pages between its batches. What it writes meanwhile goes into the copy too, so the copy
//! shows the moment at which it ends, and no read transaction holds up the WAL. One backup runs at a time;
//! others wait.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::store::sqlite::files;
use crate::store::sqlite::paths::{with_extension, with_suffix};
use crate::store::sqlite::startup::schema;

/// Suffix of the name of an unfinished copy.
const PARTIAL_SUFFIX: &str = "partial";
/// Infix, after the database's name, of a copy that `check` reads.
const CHECK_INFIX: &str = "check-";
/// Extension, after the database's name, of the file that records where an unfinished copy is.
const UNFINISHED_EXTENSION: &str = "backing-up";
/// Pages copied before the next look at the queue: 1 MiB.
const STEP_PAGES: i32 = 256;
/// Wait before the next attempt when a lock is in the way.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// Error of a backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// A file with that name exists.
    #[error("{0} exists already; remove it, or choose another name")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the error.
        source: io::Error,
    },
    /// SQLite could not copy the database.
    #[error("cannot copy the database to {path}")]
    Copy {
        /// Path of the copy.
        path: PathBuf,
        /// Error from SQLite.
        source: rusqlite::Error,
    },
    /// The store was closed, or failed, meanwhile.
    #[error("the store has stopped; no backup was made")]
    Stopped,
}

/// Lock that permits one backup.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// File that becomes a backup once it is complete and durable; removed otherwise.
pub(crate) struct Partial {
    path: PathBuf,
    name: PathBuf,
    /// File that tells the next start where the copy is, in case this process is killed.
    marker: PathBuf,
    /// Released last, when no file is left that the next backup needs.
    _turn: Turn,
}

impl Partial {
    /// Makes an empty file beside the requested one, for a copy of this database. Its name is unique: another
    /// server may make a backup with the same name.
    pub(crate) fn new(database: &Path, name: &Path, turn: Turn) -> Result<Self, BackupError> {
        if name.exists() {
            return Err(BackupError::Exists(name.to_owned()));
        }
        let path = with_suffix(name, &format!(".{}.{PARTIAL_SUFFIX}", Uuid::new_v4().simple()));
        let marker = with_extension(database, UNFINISHED_EXTENSION);
        fs::write(&marker, path.as_os_str().as_bytes())
            .map_err(|source| BackupError::File { path: marker.clone(), source })?;
        let partial = Self { path, name: name.to_owned(), marker, _turn: turn };
        files::make_private(&partial.path)
            .map_err(|source| BackupError::File { path: partial.path.clone(), source })?;
        Ok(partial)
    }

    /// Opens the file for writing. It need not be durable before it is complete.
    pub(crate) fn open(&self) -> Result<Connection, BackupError> {
        let open = || {
            let copy = Connection::open(&self.path)?;
            copy.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;")?;
            Ok(copy)
        };
        open().map_err(|source| self.failed(source))
    }

    /// Finishes the copy as a file that needs no other file beside it, and marks it as a backup.
    pub(crate) fn complete(&self, copy: Connection) -> Result<(), BackupError> {
        let mark = |copy: &Connection| {
            copy.execute_batch("PRAGMA journal_mode = DELETE")?;
            schema::mark_backup(copy)
        };
        mark(&copy).map_err(|source| self.failed(source))?;
        copy.close().map_err(|(_still_open, source)| self.failed(source))
    }

    /// Makes the copy durable and gives it its name.
    pub(crate) fn persist(&self) -> Result<(), BackupError> {
        files::persist_new(&self.path, &self.name).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                BackupError::Exists(self.name.clone())
            } else {
                BackupError::File { path: self.name.clone(), source }
            }
        })
    }

    /// Removes the finished backup: its caller has gone.
    pub(crate) fn discard(&self) {
        drop(fs::remove_file(&self.name));
    }

    pub(crate) fn failed(&self, source: rusqlite::Error) -> BackupError {
        BackupError::Copy { path: self.name.clone(), source }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The path is already gone if the file has its final name.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(&self.marker));
    }
}

/// Removes the copy of a process that was killed while making it.
pub(crate) fn remove_unfinished(database: &Path) -> io::Result<()> {
    // Copies of checks that were killed before they had opened them.
    for (copy, rest) in files::named(database, CHECK_INFIX)? {
        if Uuid::try_parse_ascii(rest.as_bytes()).is_ok() {
            files::remove(&copy)?;
        }
    }
    let marker = with_extension(database, UNFINISHED_EXTENSION);
    let path = match fs::read(&marker) {
        Ok(path) => PathBuf::from(OsString::from_vec(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if path.extension().is_some_and(|extension| extension == PARTIAL_SUFFIX) {
        for path in [path.clone(), with_suffix(&path, "-journal")] {
            files::remove(&path)?;
        }
    }
    fs::remove_file(marker)
}

/// Copies some more pages. Returns whether those were the last.
pub(crate) fn step(steps: &Backup<'_, '_>) -> rusqlite::Result<bool> {
    let step = steps.step(STEP_PAGES)?;
    if matches!(step, StepResult::Busy | StepResult::Locked) {
        thread::sleep(RETRY_PAUSE);
    }
    Ok(step == StepResult::Done)
}
