//! Run of a store whose file operations are logged: deliveries, checkpoints, restarts.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use actix_web::rt::System;
use futures_util::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use statusmirror::message::{Kind, Notification};
use statusmirror::store::sqlite::{Closing, Settings, SqliteStore};
use statusmirror::store::{Delivery, Entry, PayloadHash, Store};
use tempfile::TempDir;

use crate::support::faults::amounts::SeededRng;
use crate::support::faults::logging_vfs::{Log, Operation};
use crate::support::store::deliveries::{delivery, entry, with_message};
use crate::support::store::notifications::{any_notification, at};
use crate::support::{INHERITED_LOCK_WAIT, id};

/// Number of times that a run opens and closes the store.
const PERIODS: u64 = 4;
/// Number of tasks that deliver at the same time, so that deliveries share commits.
const MANY_TASKS: usize = 8;
/// Number of tasks that deliver at the same time and hardly ever share a commit.
const FEW_TASKS: usize = 2;
/// Number of consecutive deliveries of a task.
const DELIVERIES_PER_TASK: usize = 6;
/// File name of the database.
pub(crate) const DATABASE: &str = "mirror.db";
const WAL: &str = "mirror.db-wal";

/// Index in [`StoreRun::notifications`] of a notification or a quarantined entry.
pub(crate) type Event = usize;
/// Any error.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Deliveries to a store, its acknowledgements, and its operations on files.
#[derive(Default)]
pub(crate) struct StoreRun {
    pub(crate) operations: Vec<Operation>,
    /// Events by name: a message's id and a notification's identity, or the id of a quarantined entry.
    events: HashMap<Vec<u8>, Event>,
    /// Notification of each event; `None` for a quarantined entry.
    pub(crate) notifications: Vec<Option<Notification>>,
    /// Number of deliveries of each event.
    pub(crate) delivery_counts: Vec<u32>,
    /// Events of each delivery.
    pub(crate) deliveries: Vec<Vec<Event>>,
    /// Length of the log at each acknowledgement, and the number of the acknowledged delivery. The length is
    /// read after the acknowledgement: no operation from that index on preceded it.
    pub(crate) acknowledged: Vec<(usize, usize)>,
}

/// Runs a store with concurrent deliveries, checkpoints of all kinds, and restarts.
pub(crate) fn run_store(rng: &mut SeededRng, runner: &mut TestRunner) -> StoreRun {
    let folder = folder();
    let log = Log::of(folder.path());
    let path = folder.path().join(DATABASE);
    let run = Mutex::new(StoreRun::default());
    let mut senders = Senders { rng, runner, clock: 0, past: vec![Vec::new(); MANY_TASKS] };
    for period in 1..=PERIODS {
        let (store, closing) = open(&path).unwrap();
        let mut deliver = |tasks| {
            let tasks: Vec<_> =
                (0..tasks).map(|task| senders.next_deliveries(task, 30 * period)).collect();
            let deliver = async |delivery| {
                let number = run.lock().unwrap().add_delivery(&delivery);
                store.ingest(delivery).await.unwrap();
                let length = log.length();
                run.lock().unwrap().acknowledged.push((length, number));
            };
            let in_turn = async |deliveries| {
                for delivery in deliveries {
                    deliver(delivery).await;
                }
            };
            System::new().block_on(join_all(tasks.into_iter().map(in_turn)));
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    thread::sleep(Duration::from_millis(2));
                    checkpoint(&path);
                }
            });
            deliver(MANY_TASKS);
        });
        // After a complete checkpoint, the next commit restarts the WAL and overwrites its old pages.
        checkpoint(&path);
        // The open reader prevents the checkpoint at shutdown, so that the next start has to make it.
        let reader = (period == 1).then(|| open_reader(&path));
        deliver(FEW_TASKS);
        drop(store);
        assert!(closing.close());
        drop(reader);
    }
    StoreRun { operations: log.end(), ..run.into_inner().unwrap() }
}

/// Temporary folder, in memory if `/dev/shm` exists: power cuts are simulated, so no disk is needed.
pub(crate) fn folder() -> TempDir {
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("statusmirror-");
    folder.tempdir_in("/dev/shm").or_else(|_error| folder.tempdir()).unwrap()
}

/// Opens the store in this file.
pub(crate) fn open(path: &Path) -> Result<(SqliteStore, Closing), Failure> {
    let settings = Settings {
        max_in_flight: 64,
        cache_max_messages: 5,
        index_runs: 2..=2,
        lock_wait: INHERITED_LOCK_WAIT,
        ..Settings::new(path)
    };
    Ok(SqliteStore::open(&settings)?)
}

/// Makes a passive checkpoint beside the writer, as the store's checkpoint thread does for a longer WAL.
fn checkpoint(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
}

/// Opens a connection with a read transaction, which ends when the connection is dropped.
fn open_reader(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    db
}

/// Generator of the deliveries of all tasks.
struct Senders<'a> {
    rng: &'a mut SeededRng,
    runner: &'a mut TestRunner,
    /// Arrival of the last delivery, in seconds after the start of the run.
    clock: i64,
    /// Earlier deliveries of each task.
    past: Vec<Vec<Delivery>>,
}

impl Senders<'_> {
    /// Next deliveries of a task, with entries about the first `messages` messages.
    fn next_deliveries(&mut self, task: usize, messages: u64) -> Vec<Delivery> {
        (0..DELIVERIES_PER_TASK).map(|_| self.delivery(task, messages)).collect()
    }

    /// Next delivery of a task, which sometimes repeats an earlier one. Each message is registered by one
    /// task only, so that the order of its registrations is known.
    fn delivery(&mut self, task: usize, messages: u64) -> Delivery {
        self.clock += 1;
        let Self { rng, runner, past, .. } = self;
        let past = &mut past[task];
        if !past.is_empty() && rng.below(6) == 0 {
            let earlier = &past[random_index(rng, past.len())];
            return Delivery { received_at: at(self.clock), ..earlier.clone() };
        }
        let entries = (0..=u32::try_from(rng.below(4)).unwrap()).map(|index| {
            if rng.below(8) == 0 {
                let reason = "a test ".repeat(random_index(rng, 1_000));
                return Entry::Unreadable { index, reason };
            }
            let (notification, _) = any_notification().new_tree(runner).unwrap().current();
            let any_message = rng.below(messages);
            let (tasks, task) = (u64::try_from(MANY_TASKS).unwrap(), u64::try_from(task).unwrap());
            let message = match notification.statement().kind {
                Kind::Report => any_message,
                Kind::Registration => any_message - any_message % tasks + task,
            };
            entry(index, with_message(id(message).parse().unwrap(), &notification))
        });
        let delivery = delivery(at(self.clock), entries.collect());
        past.push(delivery.clone());
        delivery
    }
}

/// Random index below `end`.
pub(crate) fn random_index(rng: &mut SeededRng, end: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(end).unwrap())).unwrap()
}

impl StoreRun {
    /// Adds a delivery that is about to be made; returns its number.
    fn add_delivery(&mut self, delivery: &Delivery) -> usize {
        let content = delivery.content.as_ref().unwrap();
        let mut events = Vec::new();
        for entry in &delivery.entries {
            let (name, notification) = match entry {
                Entry::Notification { notification, .. } => {
                    let message = *notification.statement().message.as_bytes();
                    let name = [message, *notification.identity().as_bytes()].concat();
                    (name, Some((**notification).clone()))
                }
                Entry::Unreadable { index, .. } => {
                    let id = PayloadHash::of(&delivery.source, content).entry(*index);
                    (id.as_bytes().to_vec(), None)
                }
                Entry::Ignored { .. } => continue,
            };
            let event = *self.events.entry(name).or_insert(self.notifications.len());
            if event == self.notifications.len() {
                self.notifications.push(notification);
                self.delivery_counts.push(0);
            }
            self.delivery_counts[event] += 1;
            events.push(event);
        }
        self.deliveries.push(events);
        self.deliveries.len() - 1
    }

    /// Event with this name; an error if it was never delivered.
    pub(crate) fn event(&self, name: &[u8]) -> Result<Event, Failure> {
        Ok(*self.events.get(name).ok_or("an event that was never delivered")?)
    }

    /// Asserts that the run had shared commits, restarts and truncations of the WAL, and syncs. Without them,
    /// a test of power cuts would prove little.
    pub(crate) fn assert_covers_wal(&self) {
        let (mut names, mut lengths) = (Vec::new(), Vec::new());
        let mut syncs = BTreeMap::new();
        let (mut commits, mut truncations, mut restarts) = (0, 0, 0);
        for operation in &self.operations {
            match operation {
                Operation::Create { name, .. } => {
                    names.push(name.as_str());
                    lengths.push(0);
                }
                Operation::Write { file, at, bytes } => {
                    if names[*file] == WAL {
                        restarts += u64::from(*at == 0 && lengths[*file] > 0);
                        // The header of a transaction's last frame holds the database's size, which is not 0.
                        commits += usize::from(bytes.len() == 24 && bytes[4..8] != [0; 4]);
                    }
                    lengths[*file] = lengths[*file].max(at + bytes.len());
                }
                Operation::Truncate { file, length } => {
                    truncations +=
                        u64::from(names[*file] == WAL && *length == 0 && lengths[*file] > 0);
                    lengths[*file] = *length;
                }
                Operation::Sync { file, .. } => *syncs.entry(names[*file]).or_insert(0) += 1,
                Operation::Delete { .. } | Operation::SyncNames { .. } => {}
            }
        }
        let figures = format!(
            "{commits} commits, {truncations} WAL truncations, {restarts} WAL restarts, {syncs:?} syncs"
        );
        assert!(commits < self.acknowledged.len(), "no deliveries shared a commit: {figures}");
        assert!(truncations >= PERIODS && restarts > 0, "{figures}");
        assert!(syncs[DATABASE] > PERIODS && syncs[WAL] > PERIODS, "{figures}");
    }
}
