//! Reading: threads of their own, each with two connections of the pool for as long as it lives, so
//! that no query ever runs on a worker that serves requests.
//!
//! One of the two maps the file, so that nothing is copied of what is read. But SQLite gives the whole
//! mapping up after every commit, and each page then has to be mapped anew; and of a file that is larger
//! than memory a mapping brings in far more than is asked for. So while webhooks arrive, or when a page was
//! not in memory, the other one reads pages as they are needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::mpsc;

use super::failure::{Failed, Failure, Guard};
use super::recent::Committed;
use super::{OpenError, store_error};
use crate::store::StoreError;
use crate::store::reply::{self, Replies};

/// How many threads read.
const THREADS: u32 = 2;
/// How many queries may wait for one thread.
const WAITING: usize = 1_024;
/// How long a query may take; a longer one would keep the WAL from being taken over.
const LONGEST_QUERY: Duration = Duration::from_secs(2);
/// For so long nothing must have been committed before the mapping is used.
const QUIET: Duration = Duration::from_millis(100);
/// For so long the mapping is not used after a page of it was not in memory.
const DISK: Duration = Duration::from_secs(1);
/// How many of SQLite's steps go by between two looks at the clock.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// For so long a reply may wait for those of queries that wait already, so that they go out together.
const TOGETHER: Duration = Duration::from_millis(1);

type Query = Box<dyn FnOnce(&Connection, &mut Replies) + Send>;

/// Hands queries to the read threads, in turn.
pub(super) struct Readers {
    queues: Vec<mpsc::Sender<Query>>,
    next: AtomicUsize,
    failure: Failure,
}

impl Readers {
    /// Starts the threads, each of which shares this lock while it reads.
    pub(super) fn start(
        path: &std::path::Path,
        committed: &Committed,
        reading: &Arc<RwLock<()>>,
        failure: &Failure,
    ) -> Result<Self, OpenError> {
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(|db| {
                db.execute_batch(
                    // Without SQLite's additional check of each page it takes, which the writer has: of
                    // pages that are mapped it would be done for every row.
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
            let connections = Connections::new(get()?, get()?, committed.clone());
            let (queue, queries) = mpsc::channel(WAITING);
            let (reading, guard) = (Arc::clone(reading), Guard(failure.clone()));
            thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(move || {
                    let _guard = guard;
                    read(connections, queries, &reading);
                })
                .map_err(|source| OpenError::Thread { source })?;
            queues.push(queue);
        }
        Ok(Self { queues, next: AtomicUsize::new(0), failure: failure.clone() })
    }

    /// Runs a query on one of the threads.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = reply::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len().max(1);
        let queue = self.queues.get(turn).ok_or(StoreError::Stopped)?;
        let query: Query = Box::new(move |db, replies| replies.add(reply, query(db)));
        queue.try_send(query).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopped,
        })?;
        result.await.map_err(|_gone| StoreError::Stopped)?.map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) {
                self.failure.report(Failed::Damaged, "a query", &error);
            }
            store_error(error)
        })
    }
}

/// The two connections of a read thread.
struct Connections {
    mapping: PooledConnection<SqliteConnectionManager>,
    plain: PooledConnection<SqliteConnectionManager>,
    /// When the query began that runs.
    started: Arc<Mutex<Instant>>,
    committed: Committed,
    /// How often something was committed, and how often this thread had to wait for a mapped page, when
    /// that was last looked at.
    commits: u64,
    waits: i64,
    /// Until then the mapping is not used.
    plain_until: Instant,
}

impl Connections {
    fn new(
        mapping: PooledConnection<SqliteConnectionManager>,
        plain: PooledConnection<SqliteConnectionManager>,
        committed: Committed,
    ) -> Self {
        let now = Instant::now();
        let started = Arc::new(Mutex::new(now));
        for db in [&mapping, &plain] {
            let seen = Arc::clone(&started);
            let is_long = move || {
                seen.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > LONGEST_QUERY
            };
            if let Err(error) = db.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_long)) {
                tracing::warn!(%error, "long queries cannot be interrupted");
            }
        }
        if let Err(error) = mapping.pragma_update(None, "mmap_size", 1_i64 << 40) {
            tracing::warn!(%error, "the database cannot be mapped into memory; lists are slower");
        }
        let commits = committed.commits();
        Self { mapping, plain, started, committed, commits, waits: 0, plain_until: now + QUIET }
    }

    /// The one for a query that begins now.
    fn next(&mut self, now: Instant) -> &Connection {
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = now;
        let (commits, waits) = (self.committed.commits(), waits());
        if commits != self.commits {
            self.plain_until = self.plain_until.max(now + QUIET);
        }
        if waits != self.waits {
            self.plain_until = self.plain_until.max(now + DISK);
        }
        (self.commits, self.waits) = (commits, waits);
        if now < self.plain_until { &self.plain } else { &self.mapping }
    }
}

/// How often this thread has waited for a page of a mapping to come from the disk.
fn waits() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.major_page_faults())
}

/// The life of a read thread: until nobody can ask any more.
fn read(mut connections: Connections, mut queries: mpsc::Receiver<Query>, reading: &RwLock<()>) {
    let mut replies = Replies::default();
    while let Some(first) = queries.blocking_recv() {
        let _reading = reading.read().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + TOGETHER;
        let mut next = Some(first);
        while let Some(query) = next {
            let now = Instant::now();
            query(connections.next(now), &mut replies);
            next = if now < until { queries.try_recv().ok() } else { None };
        }
        replies.send();
    }
}
