//! A copy of a live database.
//!
//! Pages are copied by the writer between its batches. What it writes meanwhile goes into the copy
//! too, so that the copy is of the moment in which it ends, and no read holds the WAL up. One copy is made at
//! a time; others wait.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::command::{Order, Task};
use super::lock::{beside, with_suffix};
use super::{SqliteStore, copy, schema};
use crate::store::reply;

/// How the name of a copy ends that is not whole yet.
const PARTIAL: &str = "partial";
/// How the name of a copy goes on, beside the database, that `check` reads.
const CHECKED: &str = "check-";
/// The name, beside the database, of the file that says where such a copy is.
const UNFINISHED: &str = "backing-up";
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
        source: io::Error,
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

/// The right to make a backup.
pub(super) type Turn = OwnedMutexGuard<()>;

/// A file that becomes a backup once it is whole and durable; removed if it does not.
pub(super) struct Partial {
    path: PathBuf,
    name: PathBuf,
    /// Tells the next start where it is, should this process be killed.
    told: PathBuf,
    /// Given up last, when no file is left that the next backup needs.
    _turn: Turn,
}

impl SqliteStore {
    /// See [`Store::back_up`](crate::store::Store::back_up).
    pub(super) async fn copy_to(&self, name: PathBuf) -> Result<(), BackupError> {
        let turn = Arc::clone(&self.backups).lock_owned().await;
        let (reply, copied) = reply::channel();
        let order = Order::Other(Task::BackUp(name, turn, reply));
        self.orders.send(order).await.map_err(|_closed| BackupError::Stopped)?;
        let partial = copied.await.map_err(|_gone| BackupError::Stopped)??;
        // Not on the writer's thread, because the sync of a long file takes its time.
        let (reply, kept) = reply::channel();
        thread::spawn(move || {
            let kept = partial.keep();
            if kept.is_ok() && reply.is_gone() {
                partial.discard();
            }
            // Before the process may end.
            drop(partial);
            reply.send(kept);
        });
        kept.await.map_err(|_gone| BackupError::Stopped)?
    }
}

impl Partial {
    /// Makes an empty file beside the one that is wanted, for a copy of this database. Its name is its own: another
    /// server may make a backup of the same name.
    pub(super) fn new(database: &Path, name: &Path, turn: Turn) -> Result<Self, BackupError> {
        if name.exists() {
            return Err(BackupError::Exists(name.to_owned()));
        }
        let mut path = name.as_os_str().to_owned();
        path.push(format!(".{}.{PARTIAL}", Uuid::new_v4().simple()));
        let path = PathBuf::from(path);
        let told = beside(database, UNFINISHED);
        fs::write(&told, path.as_os_str().as_bytes())
            .map_err(|source| BackupError::File { path: told.clone(), source })?;
        let partial = Self { path, name: name.to_owned(), told, _turn: turn };
        copy::make_private(&partial.path)
            .map_err(|source| BackupError::File { path: partial.path.clone(), source })?;
        Ok(partial)
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
        let mark = |copy: &Connection| {
            copy.execute_batch("PRAGMA journal_mode = DELETE")?;
            schema::mark_backup(copy)
        };
        mark(&copy).map_err(|source| self.failed(source))?;
        copy.close().map_err(|(_still_open, source)| self.failed(source))
    }

    /// Makes it durable and gives it its name.
    fn keep(&self) -> Result<(), BackupError> {
        copy::keep_new(&self.path, &self.name).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                BackupError::Exists(self.name.clone())
            } else {
                BackupError::File { path: self.name.clone(), source }
            }
        })
    }

    /// Removes it though it has its name: nobody waits for it any more.
    fn discard(&self) {
        drop(fs::remove_file(&self.name));
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> BackupError {
        BackupError::Copy { path: self.name.clone(), source }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already if it has its name.
        drop(fs::remove_file(&self.path));
        drop(fs::remove_file(&self.told));
    }
}

/// Removes the copy that a process was making when it was killed.
pub(super) fn remove_unfinished(database: &Path) -> io::Result<()> {
    // Of checks that were killed before they had opened their copies.
    for (copy, rest) in copy::named(database, CHECKED)? {
        if Uuid::try_parse_ascii(rest.as_bytes()).is_ok() {
            copy::remove(&copy)?;
        }
    }
    let told = beside(database, UNFINISHED);
    let path = match fs::read(&told) {
        Ok(path) => PathBuf::from(OsString::from_vec(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if path.extension().is_some_and(|extension| extension == PARTIAL) {
        for path in [path.clone(), with_suffix(&path, "-journal")] {
            copy::remove(&path)?;
        }
    }
    fs::remove_file(told)
}

/// Copies some more pages; says whether those were the last.
pub(super) fn step(steps: &Backup<'_, '_>) -> rusqlite::Result<bool> {
    let step = steps.step(PAGES)?;
    if matches!(step, StepResult::Busy | StepResult::Locked) {
        thread::sleep(PAUSE);
    }
    Ok(step == StepResult::Done)
}
