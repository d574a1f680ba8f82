//! Read threads. Each holds two connections of the pool for as long as it lives, so that no query ever runs
//! on a worker that serves requests. The essay of [`super`] says when each connection is used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::mpsc;

use crate::memory_budget::MemoryBudget;
use crate::store::StoreError;
use crate::store::reply::{self, Replies};
use crate::store::sqlite::OpenError;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::error::store_error;
use crate::store::sqlite::fail_stop::{Failure, Guard, StopCause};
use crate::store::sqlite::index::blocks;

/// Number of read threads.
const THREADS: u32 = 2;
/// Queue length of each read thread, in queries.
const QUEUE_LENGTH: usize = 1_024;
/// Time limit of a query; a longer one would hold up checkpoints.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without commits after which the mapping is used.
const COMMIT_MAPPING_DELAY: Duration = Duration::from_millis(100);
/// Time during which the mapping is not used after a page of it was not in memory.
const PAGE_FAULT_MAPPING_DELAY: Duration = Duration::from_secs(1);
/// Maximum length of the file that each thread maps, in bytes: 64 MiB. Pages behind it are read.
const MAPPED_BYTES: u32 = 64 << 20;
/// SQLite virtual-machine steps between two checks of the time limit.
const STEPS_PER_CHECK: i32 = 10_000;

/// Number of statements that a connection keeps.
const KEPT_STATEMENTS: usize = 64;

/// Maximum delay of a reply, so that it goes out together with those of other waiting queries.
const REPLY_WINDOW: Duration = Duration::from_millis(1);

type Query = Box<dyn FnOnce(&Connection, &mut Replies) + Send>;

/// Distributes queries to the read threads in turn.
pub(crate) struct Readers {
    queues: Vec<mpsc::Sender<Query>>,
    next: AtomicUsize,
    failure: Failure,
}

impl Readers {
    /// Starts the threads, each of which holds this lock shared while it reads.
    pub(crate) fn start(
        path: &std::path::Path,
        cache: &Cache,
        read_lock: &Arc<RwLock<()>>,
        budget: &MemoryBudget,
        failure: &Failure,
    ) -> Result<Self, OpenError> {
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|db| {
                db.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
                blocks::add_functions(db)?;
                db.execute_batch(
                    // Without `cell_size_check`, SQLite's additional check of each page, which the writer
                    // has: on mapped pages it would run for every row.
                    "PRAGMA query_only = ON; PRAGMA busy_timeout = 500; PRAGMA temp_store = MEMORY;
                     PRAGMA trusted_schema = OFF;",
                )
            });
        let pool = Pool::builder()
            .max_size(2 * THREADS)
            .build(manager)
            .map_err(|source| OpenError::Readers { source })?;
        let mut queues = Vec::new();
        for number in 0..THREADS {
            let get = || pool.get().map_err(|source| OpenError::Readers { source });
            let connections = Connections::new(get()?, get()?, cache.clone(), budget.clone());
            let (queue, queries) = mpsc::channel(QUEUE_LENGTH);
            let (read_lock, guard) = (Arc::clone(read_lock), Guard(failure.clone()));
            thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(move || {
                    let _guard = guard;
                    read(connections, queries, &read_lock);
                })
                .map_err(|source| OpenError::Thread { source })?;
            queues.push(queue);
        }
        let weak_queues: Vec<_> = queues.iter().map(mpsc::Sender::downgrade).collect();
        budget.on_pressure(move || {
            for queue in weak_queues.iter().filter_map(mpsc::WeakSender::upgrade) {
                // An empty query wakes the thread. A thread with a query in its queue is awake already, and
                // looks at the budget before each query.
                if queue.capacity() == queue.max_capacity() {
                    drop(queue.try_send(Box::new(|_, _| ())));
                }
            }
        });
        Ok(Self { queues, next: AtomicUsize::new(0), failure: failure.clone() })
    }

    /// Runs a query on one of the threads.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = reply::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        let queue = self.queues.get(turn).ok_or(StoreError::Stopped)?;
        let query: Query = Box::new(move |db, replies| replies.add(reply, query(db)));
        queue.try_send(query).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
        })?;
        result.await.map_err(|_gone| StoreError::Stopped)?.map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) {
                self.failure.report(StopCause::Damaged, "a query", &error);
            }
            store_error(error)
        })
    }
}

/// The two connections of a read thread.
struct Connections {
    mapping: PooledConnection<SqliteConnectionManager>,
    plain: PooledConnection<SqliteConnectionManager>,
    /// Start of the running query.
    started: Arc<Mutex<Instant>>,
    cache: Cache,
    budget: MemoryBudget,
    /// Whether a part of the file is mapped, or will be by the next query.
    is_mapped: bool,
    /// Number of commits, and this thread's number of waits for a mapped page, at the last check.
    commits: u64,
    page_faults: i64,
    /// Time until which the mapping is not used.
    plain_until: Instant,
}

impl Connections {
    fn new(
        mapping: PooledConnection<SqliteConnectionManager>,
        plain: PooledConnection<SqliteConnectionManager>,
        cache: Cache,
        budget: MemoryBudget,
    ) -> Self {
        let now = Instant::now();
        let started = Arc::new(Mutex::new(now));
        for db in [&mapping, &plain] {
            let seen = Arc::clone(&started);
            let is_long = move || {
                seen.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > QUERY_TIMEOUT
            };
            if let Err(error) = db.progress_handler(STEPS_PER_CHECK, Some(is_long)) {
                tracing::warn!(%error, "long queries cannot be interrupted");
            }
        }
        let (commits, plain_until) = (cache.commits(), now + COMMIT_MAPPING_DELAY);
        let (is_mapped, page_faults) = (false, 0);
        Self {
            mapping,
            plain,
            started,
            cache,
            budget,
            is_mapped,
            commits,
            page_faults,
            plain_until,
        }
    }

    /// Connection for a query that begins now.
    fn select(&mut self, now: Instant) -> &Connection {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let (commits, page_faults) = (self.cache.commits(), page_faults());
        if commits != self.commits {
            self.plain_until = self.plain_until.max(now + COMMIT_MAPPING_DELAY);
        }
        if page_faults != self.page_faults {
            self.plain_until = self.plain_until.max(now + PAGE_FAULT_MAPPING_DELAY);
        }
        (self.commits, self.page_faults) = (commits, page_faults);
        if self.budget.is_under_pressure() {
            self.plain_until = self.plain_until.max(now + PAGE_FAULT_MAPPING_DELAY);
            self.map(false);
        }
        if now < self.plain_until {
            return &self.plain;
        }
        self.map(true);
        &self.mapping
    }

    /// Maps a part of the file, or gives the mapping up.
    fn map(&mut self, is_mapped: bool) {
        if self.is_mapped == is_mapped {
            return;
        }
        let bytes = if is_mapped { MAPPED_BYTES } else { 0 };
        if let Err(error) = self.mapping.pragma_update(None, "mmap_size", bytes) {
            tracing::warn!(%error, "the database cannot be mapped into memory; lists are slower");
        }
        self.is_mapped = is_mapped;
    }
}

/// Number of times this thread has waited for a mapped page to be read from the disk.
fn page_faults() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.major_page_faults())
}

/// Main loop of a read thread; ends when no sender of queries is left.
fn read(mut connections: Connections, mut queries: mpsc::Receiver<Query>, read_lock: &RwLock<()>) {
    let mut replies = Replies::default();
    while let Some(first) = queries.blocking_recv() {
        let _read_guard = read_lock.read().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + REPLY_WINDOW;
        let mut next = Some(first);
        while let Some(query) = next {
            let now = Instant::now();
            query(connections.select(now), &mut replies);
            next = if now < until { queries.try_recv().ok() } else { None };
        }
        replies.send();
    }
}

#[cfg(test)]
mod tests {
    use super::{MAPPED_BYTES, THREADS};
    use crate::memory_budget::{PROCESS_BYTES, Share};

    #[test]
    fn mappings_and_shares_below_pressure_fit_in_256_mib() {
        let shares = Share::ALL.iter().map(|share| share.limit().min(share.pressure()));
        let mapped = usize::try_from(THREADS * MAPPED_BYTES).unwrap();
        let all = PROCESS_BYTES + shares.sum::<usize>() + mapped;
        assert!(all <= 256 << 20, "{all} bytes");
    }
}
