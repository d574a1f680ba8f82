//! The store in one SQLite file.
//!
//! [`open`] takes the file from a path to a database that may be written, and [`failure`] says what
//! ends it for good. In between one thread writes ([`writer`]), two threads read ([`reader`]), one takes
//! the WAL over into the database ([`checkpoint`]); the service's own threads never touch the file. What
//! a delivery does is in [`apply`], how the records follow in [`fold`], what is not in their table yet in
//! [`recent`], what is asked of all that in [`queries`], what is taken out again in [`removal`] and
//! by age in [`purge`], what could
//! not be interpreted in [`quarantine`], and the tables are in `schema.sql`.
//!
//! The journal is a WAL and `synchronous` is FULL, so a commit is an fsync, and the writer commits
//! whatever is queued at once. What it commits is mostly a few pages at the end of the log: a page that is
//! dirtied at random costs more than a statement, and the pages of records and their indexes are dirtied
//! later, once for all that was said of a message within a while.

mod appended;
mod apply;
mod backup;
mod changes;
mod check;
mod checkpoint;
mod closing;
mod command;
mod copy;
mod entry;
mod erased;
mod failure;
mod fold;
mod history;
mod ledger;
mod lock;
mod open;
mod purge;
mod quarantine;
mod queries;
mod reader;
mod recent;
mod removal;
mod restore;
mod row;
mod schema;
mod search;
mod sums;
mod texts;
mod value;
mod vitals;
mod wal;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{Mutex, mpsc, watch as signal};

pub use self::check::{Contents, Hashed, contents, contents_once_open};
pub use self::closing::Closing;
use self::command::{Act, Answer, Job, Order, Task};
pub use self::copy::make_private_directory;
pub use self::failure::Failed;
use self::failure::{Failure, Guard};
use self::ledger::Ledger;
pub use self::lock::real_path;
use self::open::Opened;
pub use self::open::{OpenError, Settings};
use self::reader::Readers;
use self::recent::Committed;
pub use self::restore::{Restored, restore};
pub use self::schema::{VERSION, is_application_id};
use self::search::Search;
pub use self::wal::{WalDamage, accept_wal_loss, wal_damage};
use self::watch::Watched;
use self::writer::Writer;
use crate::message::{Destination, Identity, MessageId, Timestamp};
use crate::store::news::{Latest, Waiting};
use crate::store::{
    Cause, Changes, DailyPurge, Delivery, Filter, Found, History, Hour, Key, Listing, Message,
    Page, Part, Place, Purge, Purged, QuarantineId, Quarantined, Removed, Said, Store, StoreError,
    Stored, Sum, Vitals, Wanted, Write, WriteChange, reply,
};

/// A store in one SQLite file.
pub struct SqliteStore {
    orders: mpsc::Sender<Order>,
    readers: Readers,
    recent: Committed,
    path: PathBuf,
    search_part: Duration,
    lineage: u32,
    failed: signal::Receiver<Option<Failed>>,
    /// Held for a backup: one is made at a time.
    backups: Arc<Mutex<()>>,
}

impl SqliteStore {
    /// Opens the file, makes it if there is none, and starts the threads.
    pub fn open(settings: &Settings) -> Result<(Self, Closing), OpenError> {
        let settings = &Settings { path: real_path(&settings.path), ..settings.clone() };
        let path = &settings.path;
        let failed = |source| OpenError::Database { path: path.clone(), source };
        let Opened { db, lock, marks, unchecked } = open::open(settings)?;
        let ledger = ledger(&db, settings).map_err(failed)?;
        let lineage = schema::lineage(&db).map_err(failed)?;
        let old_quarantine = ledger.quarantine.is_to_be_moved();
        let watched = Watched::new(path, &lock)
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let recent = ledger.committed.clone();
        let (failure, failed) = Failure::new(marks);
        let ends = Arc::new(AtomicBool::new(false));
        let moved = Arc::new(checkpoint::Moved::default());
        let changing = Arc::new(checkpoint::Changing::default());
        let reading = Arc::new(RwLock::new(()));
        let mut others = Vec::new();
        let mut checkpoints = None;
        if !settings.external_checkpoints {
            let (wake, wakes) = sync_channel(1);
            let (db, failure) = (schema::open_again(path)?, failure.clone());
            let (moved, changing) = (Arc::clone(&moved), Arc::clone(&changing));
            others.push(spawn("checkpoints", &failure.clone(), move || {
                checkpoint::run(&db, &wakes, &moved, &changing, &failure);
            })?);
            checkpoints = Some(wake);
        }
        let (orders, queue) = mpsc::channel(settings.queue.max(1));
        let writer = Writer {
            orders: queue,
            ledger,
            checkpoints,
            moved,
            changing,
            reading: Arc::clone(&reading),
            failure: failure.clone(),
            watched,
            commits: settings.commits.clone(),
            full: false,
            locked: false,
            anew_at: checkpoint::WORTH_IT,
        };
        let readers = Readers::start(path, &recent, &reading, &failure)?;
        let writer = spawn("writer", &failure, move || writer.run(&db))?;
        if unchecked {
            let (failure, ends) = (failure.clone(), Arc::clone(&ends));
            let db = schema::look(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.0;
            others.push(spawn("check", &failure.clone(), move || {
                check::go_on(&db, &failure, &ends);
            })?);
        }
        if old_quarantine {
            let (orders, ends) = (orders.clone(), Arc::clone(&ends));
            others
                .push(spawn("quarantine", &failure, move || quarantine::move_all(&orders, &ends))?);
        }
        let closing = Closing {
            orders: orders.clone(),
            writer,
            others,
            ends,
            settings: settings.clone(),
            lock,
            failed: failed.clone(),
        };
        let (path, search_part) = (path.clone(), settings.search_part);
        let backups = Arc::default();
        let store = Self { orders, readers, recent, path, search_part, lineage, failed, backups };
        Ok((store, closing))
    }

    /// Waits until the store fails and says how; for ever, if all is well.
    pub async fn failure(&self) -> Failed {
        let mut failed = self.failed.clone();
        let told = failed.wait_for(Option::is_some).await.ok().and_then(|told| *told);
        // Nobody tells any more if the threads have ended that should not.
        told.unwrap_or(Failed::Disk)
    }

    /// Has the writer do something small.
    async fn act(&self, act: Act) -> Result<u64, StoreError> {
        self.task(|reply| Task::Act(act, reply)).await
    }

    async fn task<T: Send + 'static>(
        &self,
        task: impl FnOnce(Answer<T>) -> Task,
    ) -> Result<T, StoreError> {
        let (reply, done) = reply::channel();
        let order = Order::Other(task(reply));
        self.orders.send(order).await.map_err(|_closed| StoreError::Stopped)?;
        done.await.map_err(|_gone| StoreError::Stopped)?
    }
}

/// What the writer knows at the start. A file that was just migrated has no sums yet: they are made of the
/// table, once it has everything.
fn ledger(db: &Connection, settings: &Settings) -> rusqlite::Result<Ledger> {
    let mut ledger = Ledger::read(db, settings)?;
    if !sums::are_made(db)? {
        let transaction = db.unchecked_transaction()?;
        fold::some(&transaction, &mut ledger, usize::MAX)?;
        sums::make(&transaction)?;
        transaction.commit()?;
        ledger.publish();
    }
    Ok(ledger)
}

/// Starts a thread without which the store cannot go on.
fn spawn(
    name: &str,
    failure: &Failure,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let guard = Guard(failure.clone());
    let run = move || {
        let _guard = guard;
        run();
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|source| OpenError::Thread { source })
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
        let (reply, result) = reply::channel();
        self.orders.try_send(Order::Store(Job { delivery, reply })).map_err(
            |refused| match refused {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
            },
        )?;
        result.await.map_err(|_gone| StoreError::Stopped)?
    }

    async fn holds(&self, notifications: Vec<(MessageId, Identity)>) -> Result<bool, StoreError> {
        let recent = self.recent.clone();
        self.readers.query(move |db| queries::holds(db, &recent, &notifications)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let lately = self.recent.now().get(id).cloned();
        match lately {
            Some(entry) => {
                Ok(entry.record.as_deref().cloned().map(|record| Message { id, record }))
            }
            None => self.readers.query(move |db| queries::message(db, id)).await,
        }
    }

    async fn list(&self, key: Key, page: Page, write: Write) -> Result<Listing, StoreError> {
        let recent = self.recent.clone();
        self.readers.query(move |db| queries::list(db, &recent, &key, page, write)).await
    }

    async fn search(
        &self,
        wanted: Arc<Wanted>,
        after: Option<Place>,
        count: u32,
        write: Write,
    ) -> Result<Found, StoreError> {
        let (recent, lasts) = (self.recent.clone(), self.search_part);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.readers
            .query(move |db| {
                Search { db, recent: &recent, wanted: &wanted, after, count, lasts, write }.part()
            })
            .await
    }

    async fn sums(&self, since: Hour) -> Result<Vec<Sum>, StoreError> {
        self.readers.query(move |db| sums::sums(db, since)).await
    }

    async fn history(&self, id: MessageId, part: Part) -> Result<Option<History>, StoreError> {
        let recent = self.recent.clone();
        self.readers.query(move |db| history::history(db, &recent, id, part)).await
    }

    async fn notifications(
        &self,
        numbers: Vec<i64>,
        bytes: usize,
    ) -> Result<Option<Vec<Said>>, StoreError> {
        self.readers.query(move |db| history::notifications(db, &numbers, bytes)).await
    }

    fn news(&self, id: MessageId) -> Waiting {
        self.recent.news.of(id)
    }

    fn latest_change(&self) -> Latest {
        self.recent.news.latest()
    }

    async fn changes(
        &self,
        after: i64,
        filter: Arc<Filter>,
        write: WriteChange,
    ) -> Result<Changes, StoreError> {
        let (recent, lineage) = (self.recent.clone(), self.lineage());
        self.readers
            .query(move |db| changes::changes(db, &recent, after, &filter, write, lineage))
            .await
    }

    async fn quarantine(&self, after: i64, count: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.readers.query(move |db| quarantine::list(db, after, count)).await
    }

    async fn erase(
        &self,
        number: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError> {
        self.remove_number(number, now, until).await
    }

    async fn prune(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.purge_older(before).await
    }

    async fn purge_daily(
        &self,
        retained_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError> {
        self.purge_old(retained_from, now).await
    }

    async fn count_purge(&self, what: Purge) -> Result<Purged, StoreError> {
        self.count(what).await
    }

    async fn back_up(&self, file: PathBuf) -> Result<(), Cause> {
        Ok(self.copy_to(file).await?)
    }

    fn lineage(&self) -> u32 {
        self.lineage
    }

    async fn vitals(&self) -> Result<Vitals, StoreError> {
        let (recent, path) = (self.recent.clone(), self.path.clone());
        self.readers.query(move |db| vitals::vitals(db, &recent, &path)).await
    }

    async fn quarantined(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError> {
        self.readers.query(move |db| quarantine::one(db, id)).await
    }
}
