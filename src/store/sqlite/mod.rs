//! The store in one SQLite file.
//!
//! One thread writes ([`writer`]), two threads read ([`reader`]), one takes the WAL over into the
//! database ([`checkpoint`]); the service's own threads never touch the file. What a delivery does
//! to the tables is in [`apply`], what is asked of them in [`queries`], and the tables are in
//! `schema.sql`.
//!
//! The journal is a WAL and `synchronous` is FULL, so a commit is an fsync, and the writer commits
//! whatever is queued at once. A message is found by its UUID; its notifications lie beside each
//! other in one tree under the message's small number, where a duplicate is a look at a page that
//! the insert needs anyway. Random keys are kept out of every other tree, because a page that is
//! dirtied at random costs more than a statement.

mod apply;
mod checkpoint;
mod lock;
mod queries;
mod reader;
mod row;
mod schema;
mod writer;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{ErrorCode, ffi};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use self::apply::Room;
use self::reader::Readers;
use self::writer::{Job, Order, Writer};
use crate::message::{Identity, MessageId};
use crate::store::{
    Delivery, History, Key, Listing, Message, Page, QuarantineId, Quarantined, Store, StoreError,
    Stored,
};

/// What the store is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database's path; its directory is made if there is none.
    pub path: PathBuf,
    /// How many deliveries may wait for the writer.
    pub queue: usize,
    /// How many rows the quarantine may have.
    pub quarantine_max_rows: u64,
    /// How long to wait for another process to let go of the database.
    pub lock_wait: Duration,
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

/// Whether the disk has failed, which is told once and never taken back.
#[derive(Debug, Clone)]
struct Failure(Arc<watch::Sender<bool>>);

impl Failure {
    fn report(&self, during: &str, error: &rusqlite::Error) {
        tracing::error!(%error, during, "the store failed; nothing is acknowledged any more");
        self.tell();
    }

    fn tell(&self) {
        self.0.send_replace(true);
    }

    fn happened(&self) -> bool {
        *self.0.borrow()
    }
}

/// A store in one SQLite file.
pub struct SqliteStore {
    orders: mpsc::Sender<Order>,
    readers: Readers,
    failed: watch::Receiver<bool>,
}

/// What must be closed when the store has done its work.
pub struct Closing {
    orders: mpsc::Sender<Order>,
    writer: JoinHandle<()>,
    checkpoints: JoinHandle<()>,
    path: PathBuf,
    lock: lock::Lock,
    failed: watch::Receiver<bool>,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and starts the threads.
    pub fn open(settings: &Settings) -> Result<(Self, Closing), OpenError> {
        let path = &settings.path;
        make_private_directory(path)
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let lock = lock::take(path, settings.lock_wait)?;
        let db = schema::open(path)?;
        let failed = |source| OpenError::Database { path: path.clone(), source };
        checkpoint::checkpoint(&db, "TRUNCATE").map_err(failed)?;
        let taken: i64 = db
            .query_row("SELECT count(*) FROM quarantine", [], |row| row.get(0))
            .map_err(failed)?;
        let taken = u64::try_from(taken).unwrap_or(0);
        let second = schema::open_again(path)?;
        let (failure, failed) = watch::channel(false);
        let failure = Failure(Arc::new(failure));
        let (wake, wakes) = sync_channel(1);
        let turn = Arc::new(Mutex::new(()));
        let reading = Arc::new(RwLock::new(()));
        let (orders, queue) = mpsc::channel(settings.queue.max(1));
        let writer = Writer {
            db,
            orders: queue,
            room: Room { taken, max: settings.quarantine_max_rows },
            checkpoints: wake,
            turn: Arc::clone(&turn),
            reading: Arc::clone(&reading),
            failure: failure.clone(),
            full: false,
            locked: false,
            cut_at: checkpoint::TOO_LONG,
        };
        let readers = Readers::start(path, &reading)?;
        let writer = spawn("writer", move || writer.run())?;
        let checkpoints =
            spawn("checkpoints", move || checkpoint::run(&second, &wakes, &turn, &failure))?;
        let closing = Closing {
            orders: orders.clone(),
            writer,
            checkpoints,
            path: path.clone(),
            lock,
            failed: failed.clone(),
        };
        Ok((Self { orders, readers, failed }, closing))
    }

    /// Waits until the disk fails, or the threads end that should not; for ever, if all is well.
    pub async fn failure(&self) {
        let mut failed = self.failed.clone();
        drop(failed.wait_for(|failed| *failed).await);
    }
}

impl Closing {
    /// Ends the threads once what was asked of them is done, empties the WAL and gives the database
    /// up. Says whether all was well to the end. Blocks, so it has no place on an async worker.
    pub fn close(self) -> bool {
        // Who cannot be told has ended already.
        drop(self.orders.blocking_send(Order::End));
        let ended = self.writer.join().is_ok() && self.checkpoints.join().is_ok();
        if *self.failed.borrow() {
            return false;
        }
        let emptied = schema::open_again(&self.path)
            .is_ok_and(|db| checkpoint::checkpoint(&db, "TRUNCATE").is_ok());
        drop(self.lock);
        ended && emptied
    }
}

/// Makes the directory of a file, if there is none, for its owner alone.
pub fn make_private_directory(file: &Path) -> std::io::Result<()> {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)
        }
        _ => Ok(()),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Thread { source })
}

/// Whether an error says that there is no space. Where the WAL's index cannot grow, which is rebuilt
/// at need and holds nothing to lose, SQLite calls that an I/O error.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

/// What an error of SQLite means to whoever asked.
fn store_error(error: rusqlite::Error) -> StoreError {
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
        _ => StoreError::Refused(error.into()),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ingest(&self, delivery: Delivery) -> Result<Vec<Stored>, StoreError> {
        let (reply, result) = oneshot::channel();
        self.orders.try_send(Order::Store(Job { delivery, reply })).map_err(
            |refused| match refused {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
            },
        )?;
        result.await.map_err(|_gone| StoreError::Stopped)?
    }

    async fn holds(&self, notifications: Vec<(MessageId, Identity)>) -> Result<bool, StoreError> {
        self.readers.query(move |db| queries::holds(db, &notifications)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.readers.query(move |db| queries::message(db, id)).await
    }

    async fn list(&self, key: Key, page: Page) -> Result<Listing, StoreError> {
        self.readers.query(move |db| queries::list(db, &key, page)).await
    }

    async fn history(&self, id: MessageId) -> Result<Option<History>, StoreError> {
        self.readers.query(move |db| queries::history(db, id)).await
    }

    async fn quarantine(&self, after: i64, count: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.readers.query(move |db| queries::quarantine(db, after, count)).await
    }

    async fn quarantined(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError> {
        self.readers.query(move |db| queries::quarantined(db, id)).await
    }
}
