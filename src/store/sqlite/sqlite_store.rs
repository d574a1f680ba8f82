//! `SqliteStore`: forwards each call to the thread that carries it out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::{Mutex, mpsc, watch as signal};

use super::error::OpenError;
use super::fail_stop::{Failure, Guard, StopCause};
use super::paths::real_path;
use super::quarantine;
use super::settings::Settings;
use super::shutdown::Closing;
use crate::message::{Destination, Identity, MessageId, Timestamp};
use crate::store::notifier::{LatestChange, Waiting};
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::index::id_filter::{self, IdFilter};
use crate::store::sqlite::read::search::Search;
use crate::store::sqlite::read::snapshot::Snapshot;
use crate::store::sqlite::read::thread::Readers;
use crate::store::sqlite::read::{change_feed, history, messages, stats};
use crate::store::sqlite::rows::hourly_counts;
use crate::store::sqlite::startup::file_identity::WatchedFiles;
use crate::store::sqlite::startup::open::Opened;
use crate::store::sqlite::startup::{integrity, open, schema, unfinished_batch};
use crate::store::sqlite::write::checkpoint;
use crate::store::sqlite::write::command::{Action, Answer, Job, Order, Task};
use crate::store::sqlite::write::replay;
use crate::store::sqlite::write::state::WriterState;
use crate::store::sqlite::write::thread::Writer;
use crate::store::sqlite::write::transaction::Txn;
use crate::store::sqlite::write::wal::Wal;
use crate::store::sqlite::write::write_back::steps::{self, Pace};
use crate::store::{
    Cause, Changes, DailyPurge, Delivery, Filter, Found, History, Hour, HourlyCount, Key, Listing,
    Message, Page, Part, Place, Purge, Purged, QuarantineId, Quarantined, Removed, SearchFilter,
    Stats, Store, StoreError, StoredEntry, StoredNotification, Write, WriteChange, reply,
};

/// Store in one SQLite file.
pub struct SqliteStore {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) readers: Readers,
    pub(crate) cache: Cache,
    path: PathBuf,
    search_part: Duration,
    lineage: u32,
    failed: signal::Receiver<Option<StopCause>>,
    /// Lock of a running backup: backups run one at a time.
    pub(crate) backups: Arc<Mutex<()>>,
}

impl SqliteStore {
    /// Opens the file, creates it if it does not exist, and starts the threads.
    pub fn open(settings: &Settings) -> Result<(Self, Closing), OpenError> {
        let settings = &Settings { path: real_path(&settings.path), ..settings.clone() };
        let path = &settings.path;
        let failed = |source| OpenError::Database { path: path.clone(), source };
        let Opened { db, lock, marks, unchecked } = open::open(settings)?;
        let mut state = initial_writer_state(&db, settings).map_err(failed)?;
        let lineage = schema::lineage(&db).map_err(failed)?;
        let old_quarantine = state.counters.quarantine.has_unmoved();
        let watched = WatchedFiles::new(path, &lock)
            .map_err(|source| OpenError::File { path: path.clone(), source })?;
        let cache = state.cache.clone();
        let (failure, failed) = Failure::new(marks);
        let is_closing = Arc::new(AtomicBool::new(false));
        let checkpointed = Arc::new(checkpoint::CheckpointedPages::default());
        let transaction_lock = Arc::new(checkpoint::TransactionLock::default());
        let read_lock = Arc::new(RwLock::new(()));
        let mut others = Vec::new();
        let mut checkpoints = None;
        if !settings.external_checkpoints {
            let (wake_sender, wake_receiver) = sync_channel(1);
            let (db, failure) = (schema::open_second_connection(path)?, failure.clone());
            let (checkpointed, transaction_lock) =
                (Arc::clone(&checkpointed), Arc::clone(&transaction_lock));
            others.push(spawn("checkpoints", &failure.clone(), move || {
                checkpoint::run(&db, &wake_receiver, &checkpointed, &transaction_lock, &failure);
            })?);
            checkpoints = Some(wake_sender);
        }
        let (ids, ids_thread) = start_id_filter(path, &failure, &is_closing)?;
        state.ids = ids;
        others.push(ids_thread);
        let (orders, queue) = mpsc::channel(settings.max_in_flight.max(1));
        let writer = Writer {
            orders: queue,
            state,
            wal: Wal::new(checkpoints, checkpointed, Arc::clone(&read_lock)),
            transaction_lock,
            failure: failure.clone(),
            watched,
            commits: settings.commits.clone(),
            disk_full: false,
            locked: false,
        };
        let readers = Readers::start(path, &cache, &read_lock, &settings.budget, &failure)?;
        let writer = spawn("writer", &failure, move || writer.run(&db))?;
        if unchecked {
            let (failure, is_closing) = (failure.clone(), Arc::clone(&is_closing));
            let db = schema::open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.0;
            others.push(spawn("check", &failure.clone(), move || {
                integrity::continue_check(&db, &failure, &is_closing);
            })?);
        }
        if old_quarantine {
            let (orders, is_closing) = (orders.clone(), Arc::clone(&is_closing));
            others.push(spawn("quarantine", &failure, move || {
                quarantine::move_all(&orders, &is_closing);
            })?);
        }
        let closing = Closing {
            orders: orders.clone(),
            writer,
            others,
            should_stop: is_closing,
            settings: settings.clone(),
            lock,
            failed: failed.clone(),
        };
        let (path, search_part) = (path.clone(), settings.search_part);
        let backups = Arc::default();
        let store = Self { orders, readers, cache, path, search_part, lineage, failed, backups };
        Ok((store, closing))
    }

    /// Waits for a fail-stop and returns its cause. Does not return while the store works.
    pub async fn failure(&self) -> StopCause {
        let mut failed = self.failed.clone();
        let cause = failed.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        // The channel closes only if threads have ended that should not.
        cause.unwrap_or(StopCause::Disk)
    }

    /// Has the writer run a small task in a transaction of its own.
    pub(crate) async fn run_action(&self, action: Action) -> Result<u64, StoreError> {
        self.run_task(|reply| Task::Act(action, reply)).await
    }

    pub(crate) async fn run_task<T: Send + 'static>(
        &self,
        task: impl FnOnce(Answer<T>) -> Task,
    ) -> Result<T, StoreError> {
        let (reply, done) = reply::channel();
        let order = Order::Other(task(reply));
        self.orders.send(order).await.map_err(|_closed| StoreError::Stopped)?;
        done.await.map_err(|_gone| StoreError::Stopped)?
    }
}

/// Makes the initial writer state. A file that was just migrated has no hourly counts yet: they are made from
/// the table, once all records have been written back.
fn initial_writer_state(db: &Connection, settings: &Settings) -> rusqlite::Result<WriterState> {
    let discard = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    unfinished_batch::discard(&discard)?;
    discard.commit()?;
    let mut state = replay::read_writer_state(db, settings)?;
    if !hourly_counts::are_built(db)? {
        loop {
            let mut txn = Txn::begin(db, &mut state)?;
            let (tables, changed) = txn.parts();
            let steps = steps::advance(tables, changed, Pace::All)?;
            if steps == 0 {
                hourly_counts::build(tables)?;
            }
            txn.commit()?;
            state.publish();
            if steps == 0 {
                break;
            }
        }
    }
    Ok(state)
}

/// Starts the thread that fills the filter of message ids.
fn start_id_filter(
    path: &Path,
    failure: &Failure,
    is_closing: &Arc<AtomicBool>,
) -> Result<(IdFilter, JoinHandle<()>), OpenError> {
    let db = schema::open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.0;
    let (requests, requested) = sync_channel(1);
    let (sender, filled) = sync_channel(1);
    let (stopped, is_closing) = (failure.clone(), Arc::clone(is_closing));
    let thread = spawn("ids", failure, move || {
        let may_continue = || !is_closing.load(Ordering::Relaxed) && !stopped.has_stopped();
        id_filter::fill_all(&db, &requested, &sender, may_continue);
    })?;
    Ok((IdFilter::new(id_filter::Thread { requests, filled }), thread))
}

/// Starts a thread that the store needs; a panic in it is a fail-stop.
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

#[async_trait]
impl Store for SqliteStore {
    async fn ingest(&self, delivery: Delivery) -> Result<Vec<StoredEntry>, StoreError> {
        let (reply, result) = reply::channel();
        self.orders.try_send(Order::Store(Job { delivery, reply })).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
            },
        )?;
        result.await.map_err(|_gone| StoreError::Stopped)?
    }

    async fn holds(&self, notifications: Vec<(MessageId, Identity)>) -> Result<bool, StoreError> {
        let cache = self.cache.clone();
        self.readers.query(move |db| messages::holds(db, &cache, &notifications)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let cached = self.cache.read().get(id).cloned();
        if let Some(entry) = cached {
            return Ok(entry.record.as_deref().cloned().map(|record| Message { id, record }));
        }
        let cache = self.cache.clone();
        self.readers.query(move |db| messages::message(db, &cache.runs.current(), id)).await
    }

    async fn list(&self, key: Key, page: Page, write: Write) -> Result<Listing, StoreError> {
        let cache = self.cache.clone();
        let read = move |db: &Connection| {
            // The index is read block by block.
            let snapshot = Snapshot::begin(db)?;
            messages::list(&snapshot, &cache, &key, page, write)
        };
        self.readers.query(read).await
    }

    async fn search(
        &self,
        filter: Arc<SearchFilter>,
        after: Option<Place>,
        count: u32,
        write: Write,
    ) -> Result<Found, StoreError> {
        let (cache, time_limit) = (self.cache.clone(), self.search_part);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.readers
            .query(move |db| {
                Search { db, cache: &cache, filter: &filter, after, count, time_limit, write }
                    .read_part()
            })
            .await
    }

    async fn hourly_counts(&self, since: Hour) -> Result<Vec<HourlyCount>, StoreError> {
        self.readers.query(move |db| hourly_counts::hourly_counts(db, since)).await
    }

    async fn history(&self, id: MessageId, part: Part) -> Result<Option<History>, StoreError> {
        let cache = self.cache.clone();
        self.readers.query(move |db| history::history(db, &cache, id, part)).await
    }

    async fn notifications(
        &self,
        numbers: Vec<i64>,
        bytes: usize,
    ) -> Result<Option<Vec<StoredNotification>>, StoreError> {
        self.readers.query(move |db| history::notifications(db, &numbers, bytes)).await
    }

    fn subscribe(&self, id: MessageId) -> Waiting {
        self.cache.notifier.subscribe(id)
    }

    fn latest_change(&self) -> LatestChange {
        self.cache.notifier.subscribe_latest()
    }

    async fn changes(
        &self,
        after: i64,
        filter: Arc<Filter>,
        write: WriteChange,
    ) -> Result<Changes, StoreError> {
        let (cache, lineage) = (self.cache.clone(), self.lineage());
        self.readers
            .query(move |db| change_feed::changes(db, &cache, after, &filter, write, lineage))
            .await
    }

    async fn quarantine(&self, after: i64, count: u32) -> Result<Vec<Quarantined>, StoreError> {
        self.readers.query(move |db| quarantine::list(db, after, count)).await
    }

    async fn erase(
        &self,
        destination: Destination,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Removed, StoreError> {
        self.erase_destination(destination, now, until).await
    }

    async fn prune(&self, before: Timestamp) -> Result<Purged, StoreError> {
        self.purge_before(before).await
    }

    async fn purge_daily(
        &self,
        retained_from: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<DailyPurge>, StoreError> {
        self.run_daily_purge(retained_from, now).await
    }

    async fn drop_quarantined(&self, entries: Vec<QuarantineId>) -> Result<u64, StoreError> {
        self.remove_entries(entries, None).await
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

    async fn stats(&self) -> Result<Stats, StoreError> {
        let (cache, path) = (self.cache.clone(), self.path.clone());
        self.readers.query(move |db| stats::stats(db, &cache, &path)).await
    }

    async fn quarantined(&self, id: QuarantineId) -> Result<Option<Quarantined>, StoreError> {
        self.readers.query(move |db| quarantine::one(db, id)).await
    }
}
