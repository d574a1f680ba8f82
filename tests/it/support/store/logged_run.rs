//! A run of a store that logs its operations on files: deliveries, checkpoints, restarts.

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

use crate::support::faults::amounts::Chance;
use crate::support::faults::logging_vfs::{Log, Operation};
use crate::support::store::deliveries::{about, delivery, entry};
use crate::support::store::notifications::{any_notification, at};
use crate::support::{INHERITED, id};

/// How often a store is opened and closed in one life.
const PERIODS: u64 = 4;
/// How many tasks deliver at a time: many share a commit, and few hardly do.
const MANY: usize = 8;
const FEW: usize = 2;
/// How many deliveries each of them makes.
const DELIVERIES: usize = 6;
/// The database's file.
pub(crate) const DATABASE: &str = "mirror.db";
const WAL: &str = "mirror.db-wal";

/// A notification or an entry in quarantine, by its place in [`StoreRun::said`].
pub(crate) type Event = usize;
/// Whatever went wrong.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What a store was told, what it answered, and what it did to its files.
#[derive(Default)]
pub(crate) struct StoreRun {
    pub(crate) operations: Vec<Operation>,
    /// Each event by message and identity, or by its name in quarantine.
    events: HashMap<Vec<u8>, Event>,
    /// The notification, if the event is one.
    pub(crate) said: Vec<Option<Notification>>,
    /// How often each event was delivered.
    pub(crate) times: Vec<u32>,
    /// The events of each delivery.
    pub(crate) deliveries: Vec<Vec<Event>>,
    /// Which deliveries were answered, and how long the log was by then. The length is read after
    /// the answer: no operation from this place on was done before it.
    pub(crate) acknowledged: Vec<(usize, usize)>,
}

/// Lets a store live: deliveries at a time, checkpoints of all kinds, and restarts.
pub(crate) fn run_store(chance: &mut Chance, runner: &mut TestRunner) -> StoreRun {
    let folder = folder();
    let log = Log::of(folder.path());
    let path = folder.path().join(DATABASE);
    let life = Mutex::new(StoreRun::default());
    let mut senders = Senders { chance, runner, clock: 0, past: vec![Vec::new(); MANY] };
    for period in 1..=PERIODS {
        let (store, closing) = open(&path).unwrap();
        let mut deliver = |tasks| {
            let tasks: Vec<_> = (0..tasks).map(|task| senders.next(task, 30 * period)).collect();
            let deliver = async |delivery| {
                let number = life.lock().unwrap().note(&delivery);
                store.ingest(delivery).await.unwrap();
                let length = log.length();
                life.lock().unwrap().acknowledged.push((length, number));
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
                    move_pages(&path);
                }
            });
            deliver(MANY);
        });
        // When all is moved, the next commit begins the WAL anew over its old pages.
        move_pages(&path);
        // Somebody who reads keeps the store's last checkpoint from moving anything, and the next
        // start has to.
        let reading = (period == 1).then(|| read(&path));
        deliver(FEW);
        drop(store);
        assert!(closing.close());
        drop(reading);
    }
    StoreRun { operations: log.end(), ..life.into_inner().unwrap() }
}

/// A folder in memory, if there is one: the cuts are made up, and the disk need not be slow.
pub(crate) fn folder() -> TempDir {
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix("statusmirror-");
    folder.tempdir_in("/dev/shm").or_else(|_none| folder.tempdir()).unwrap()
}

/// Opens the store in this file.
pub(crate) fn open(path: &Path) -> Result<(SqliteStore, Closing), Failure> {
    let settings = Settings {
        max_in_flight: 64,
        cache_max_messages: 5,
        lock_wait: INHERITED,
        ..Settings::new(path)
    };
    Ok(SqliteStore::open(&settings)?)
}

/// A checkpoint beside the writer, as the store's own thread makes it when there is more to move.
fn move_pages(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
}

/// A connection that reads until it is dropped.
fn read(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    db
}

/// What is delivered.
struct Senders<'a> {
    chance: &'a mut Chance,
    runner: &'a mut TestRunner,
    clock: i64,
    /// What each task delivered.
    past: Vec<Vec<Delivery>>,
}

impl Senders<'_> {
    /// What a task delivers next, about some of so many messages.
    fn next(&mut self, task: usize, messages: u64) -> Vec<Delivery> {
        (0..DELIVERIES).map(|_| self.delivery(task, messages)).collect()
    }

    /// Registrations of a message come from one task, so that their order is known.
    fn delivery(&mut self, task: usize, messages: u64) -> Delivery {
        self.clock += 1;
        let Self { chance, runner, past, .. } = self;
        let past = &mut past[task];
        if !past.is_empty() && chance.below(6) == 0 {
            let again = &past[place(chance, past.len())];
            return Delivery { received_at: at(self.clock), ..again.clone() };
        }
        let entries = (0..=u32::try_from(chance.below(4)).unwrap()).map(|index| {
            if chance.below(8) == 0 {
                let reason = "a test ".repeat(place(chance, 1_000));
                return Entry::Unreadable { index, reason };
            }
            let (said, _) = any_notification().new_tree(runner).unwrap().current();
            let of_all = chance.below(messages);
            let (senders, own) = (u64::try_from(MANY).unwrap(), u64::try_from(task).unwrap());
            let message = match said.statement().kind {
                Kind::Report => of_all,
                Kind::Registration => of_all - of_all % senders + own,
            };
            entry(index, about(id(message).parse().unwrap(), &said))
        });
        let delivery = delivery(at(self.clock), entries.collect());
        past.push(delivery.clone());
        delivery
    }
}

/// A place below this one, by chance.
pub(crate) fn place(chance: &mut Chance, end: usize) -> usize {
    usize::try_from(chance.below(u64::try_from(end).unwrap())).unwrap()
}

impl StoreRun {
    /// Notes a delivery that is about to be made; returns its number.
    fn note(&mut self, delivery: &Delivery) -> usize {
        let content = delivery.content.as_ref().unwrap();
        let mut events = Vec::new();
        for entry in &delivery.entries {
            let (name, said) = match entry {
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
            let event = *self.events.entry(name).or_insert(self.said.len());
            if event == self.said.len() {
                self.said.push(said);
                self.times.push(0);
            }
            self.times[event] += 1;
            events.push(event);
        }
        self.deliveries.push(events);
        self.deliveries.len() - 1
    }

    /// The event with this name.
    pub(crate) fn event(&self, name: &[u8]) -> Result<Event, Failure> {
        Ok(*self.events.get(name).ok_or("what was never delivered")?)
    }

    /// A test of power cuts says nothing if not much happened in the life that they end.
    pub(crate) fn assert_eventful(&self) {
        let (mut names, mut lengths) = (Vec::new(), Vec::new());
        let mut syncs = BTreeMap::new();
        let (mut commits, mut cut, mut begun_anew) = (0, 0, 0);
        for operation in &self.operations {
            match operation {
                Operation::Create { name, .. } => {
                    names.push(name.as_str());
                    lengths.push(0);
                }
                Operation::Write { file, at, bytes } => {
                    if names[*file] == WAL {
                        begun_anew += u64::from(*at == 0 && lengths[*file] > 0);
                        // The header of a frame says whether a transaction ends with it.
                        commits += usize::from(bytes.len() == 24 && bytes[4..8] != [0; 4]);
                    }
                    lengths[*file] = lengths[*file].max(at + bytes.len());
                }
                Operation::Truncate { file, length } => {
                    cut += u64::from(names[*file] == WAL && *length == 0 && lengths[*file] > 0);
                    lengths[*file] = *length;
                }
                Operation::Sync { file, .. } => *syncs.entry(names[*file]).or_insert(0) += 1,
                Operation::Delete { .. } | Operation::SyncNames { .. } => {}
            }
        }
        let figures = format!("{commits} commits, {cut} cuts, {begun_anew} anew, {syncs:?}");
        assert!(commits < self.acknowledged.len(), "no commit is shared: {figures}");
        assert!(cut >= PERIODS && begun_anew > 0, "{figures}");
        assert!(syncs[DATABASE] > PERIODS && syncs[WAL] > PERIODS, "{figures}");
    }
}
